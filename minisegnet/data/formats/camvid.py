"""CamVid in SegNet's layout: lists of pairs.

    PATH/train.txt val.txt test.txt    "train/NAME.png trainannot/NAME.png", one pair a line
    PATH/train/  trainannot/ ...       pictures, and masks with a class index in each pixel

Paths in the lists are relative to PATH; in the original lists they begin with /SegNet/CamVid/, which is left out. The
label of unlabelled pixels is 255, or 11 in the original: both mean void.

Source: Brostow et al., Semantic object classes in video (2009); Badrinarayanan et al., SegNet (2017).
"""

from ..dataset import VOID
from ..files import Coding
from ..lists import located, read_list
from ..on_disk import MaskedPictures
from .folders import missing_split

NAMED_COLOURS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
COLOURS = list(NAMED_COLOURS.values())
SPLITS = ("train", "val", "test")
CODING = Coding.plain(
    len(COLOURS),
    colours={colour: c for c, colour in enumerate(COLOURS)} | {(0, 0, 0): VOID},
    void=(len(COLOURS), VOID),
)


def recognise(path):
    """Whether the folder looks like this layout."""
    return (path / "train.txt").is_file() and (path / "trainannot").is_dir()


def splits(path):
    return tuple(split for split in SPLITS if (path / f"{split}.txt").is_file())


def find(path, split, channels=3):
    """The data set, with what is wrong with its list in `problems`."""
    if split not in splits(path):
        raise missing_split(path, split, splits(path), f"a list {split}.txt")
    pairs, problems, notes = read_pairs(path / f"{split}.txt", path)
    return MaskedPictures(
        "camvid", split, path, pairs, CODING, NAMED_COLOURS,
        colours=COLOURS, channels=channels, notes=notes, problems=problems,
    )  # fmt: skip


def read_pairs(list_path, root):
    """(pairs, problems, notes) of a list of "picture mask" lines. Missing files are all found here, none later."""
    lines, notes = read_list(list_path)
    pairs, problems, used = [], [], {}
    for line in lines:
        entries = line.text.split()
        if len(entries) != 2:
            problems.append((list_path, f'line {line.number} is {line.text!r}, expected "PICTURE MASK"'))
            continue
        pair, faults = located(root, entries)
        if not faults and pair[0] in used:
            faults = [f"names the picture {entries[0]} again, after line {used[pair[0]]}, with another mask"]
        problems += [(list_path, f"line {line.number} {text}") for text in faults]
        if not faults:
            used[pair[0]] = line.number
            pairs.append(pair)
    if not lines:
        problems.append((list_path, "names no pictures"))
    return pairs, problems, notes
