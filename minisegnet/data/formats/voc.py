"""PASCAL VOC, the part of it that is about segmentation.

    PATH/VOCdevkit/VOC2012/    or any folder on the way to it
      JPEGImages/ID.jpg
      SegmentationClass/ID.png                      palette pictures: a pixel's index is its class, 255 void
      ImageSets/Segmentation/{train,val,trainval}.txt    one ID a line

Most of the JPEGs have no mask: the lists decide. The border around objects is void.

Source: Everingham et al., The PASCAL visual object classes challenge (2010).
"""

import numpy as np

from ..dataset import VOID, DataError
from ..files import Coding
from ..lists import located, read_list
from ..on_disk import MaskedPictures
from .folders import missing_split

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def palette(count=256):
    """The colours (count, 3) of PASCAL VOC.

    The index's bits are taken three at a time, lowest first; the k-th triple gives bit 7-k of red (its lowest bit),
    green and blue.

    >>> palette(16)[[1, 8, 15]].tolist()
    [[128, 0, 0], [64, 0, 0], [192, 128, 128]]
    """
    index = np.arange(count)[:, None]
    channel = np.arange(3)
    return sum(((index >> (3 * k + channel)) & 1) << (7 - k) for k in range(8)).astype(np.uint8)


COLOURS = palette()
CODING = Coding.plain(
    len(CLASSES),
    colours={tuple(map(int, COLOURS[c])): c for c in range(len(CLASSES))} | {tuple(map(int, COLOURS[VOID])): VOID},
)


def bases(path):
    """The folders of a year at or below path."""
    places = [path, *path.glob("VOC[0-9]*"), *path.glob("VOCdevkit/VOC[0-9]*"), *path.glob("TrainVal/*/VOC[0-9]*")]
    return sorted({place for place in places if (place / "ImageSets" / "Segmentation").is_dir()})


def recognise(path):
    """Whether the folder looks like this layout."""
    return bool(bases(path))


def splits(path):
    existing = {list_path.stem for list_path in (base(path) / "ImageSets" / "Segmentation").glob("*.txt")}
    return tuple(split for split in ("train", "val", "trainval", "test") if split in existing)


def base(path):
    """The one folder of a year; DataError if there is none, or several."""
    found = bases(path)
    if not found:
        raise DataError(path, "isn't in VOC's layout: no folder ImageSets/Segmentation in it, nor in VOCdevkit/VOC2012")
    if len(found) > 1:
        raise DataError(path, f"holds several years, take one: {', '.join(map(str, found))}")
    return found[0]


def find(path, split, channels=3):
    """The data set, with what is wrong with its list in `problems`."""
    root = base(path)
    if split not in splits(path):
        raise missing_split(root, split, splits(path), f"a list ImageSets/Segmentation/{split}.txt")
    list_path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    lines, notes = read_list(list_path)
    pairs, problems = [], []
    for line in lines:
        pair, faults = located(root, (f"JPEGImages/{line.text}.jpg", f"SegmentationClass/{line.text}.png"))
        problems += [(list_path, f"line {line.number} {text}") for text in faults]
        pairs += [] if faults else [pair]
    if not lines:
        problems.append((list_path, "names no pictures"))
    return MaskedPictures(
        "voc", split, root, pairs, CODING, CLASSES,
        colours=COLOURS[: len(CLASSES)], channels=channels, notes=notes, problems=problems,
    )  # fmt: skip
