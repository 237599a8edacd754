"""Cityscapes: 19 classes, made from the 34 ids of the files.

    PATH/leftImg8bit/SPLIT/CITY/CITY_SSSSSS_FFFFFF_leftImg8bit.png
    PATH/gtFine/SPLIT/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelIds.png         ids 0..33, as shipped
    PATH/gtFine/SPLIT/CITY/CITY_SSSSSS_FFFFFF_gtFine_labelTrainIds.png    0..18 and 255, if one has made them

`ids="labelIds"` reads the first kind of masks and translates them, `ids="trainIds"` reads the second kind as they are.
`annotation="gtCoarse"` takes the coarse masks. Masks of the one kind under the name of the other are noticed: 255
never occurs among ids, and 19 to 33 never among train ids.

Source: Cordts et al., The Cityscapes dataset (2016); ids and colours as in cityscapesScripts' labels.py.
"""

from ..dataset import VOID, DataError
from ..files import Coding
from ..on_disk import MaskedPictures, shown
from .folders import missing_split, no_pictures, pictures_below

# name: (id, colour), in the order of the train ids
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
IDS = 34  # 0 to 33
TRAIN_ID = dict.fromkeys(range(IDS), VOID) | {id_: c for c, (id_, _) in enumerate(CLASSES.values())}
NOT_IDS = 'Only train ids have 255: this mask holds trainIds, but labelIds were expected; open with ids="trainIds"'
NOT_TRAIN_IDS = (
    "19 to 33 occur only among labelIds: this mask holds labelIds, but trainIds were expected; translate them, or open "
    'the data set as cityscapes:PATH with ids="labelIds", which does it'
)
CODINGS = {
    "labelIds": Coding(TRAIN_ID, None, len(CLASSES), {VOID: NOT_IDS}),
    "trainIds": Coding.plain(len(CLASSES), hint=dict.fromkeys(range(len(CLASSES), IDS), NOT_TRAIN_IDS)),
}
FILES = {"labelIds": "labelIds", "trainIds": "labelTrainIds"}


def recognise(path):
    """Whether the folder looks like this layout."""
    return (path / "leftImg8bit").is_dir() and ((path / "gtFine").is_dir() or (path / "gtCoarse").is_dir())


def splits(path):
    """The folders in leftImg8bit; the masks of "test" are dummies, so it isn't one of them."""
    return tuple(split for split in ("train", "val", "train_extra") if (path / "leftImg8bit" / split).is_dir())


def find(path, split, ids="labelIds", annotation="gtFine", channels=3):
    """The data set, with pictures that have no mask in `problems`."""
    if ids not in FILES:
        raise ValueError(f'ids must be "labelIds" or "trainIds", got {ids!r}')
    if annotation not in ("gtFine", "gtCoarse"):
        raise ValueError(f'annotation must be "gtFine" or "gtCoarse", got {annotation!r}')
    images = path / "leftImg8bit" / split
    if not images.is_dir():
        raise missing_split(path, split, splits(path), f"a folder leftImg8bit/{split}")
    if not (path / annotation / split).is_dir():
        raise DataError(path, f"has no folder {annotation}/{split}, where the masks should be")
    pairs, problems = [], []
    for image in pictures_below(images):
        stem = image.stem.removesuffix("_leftImg8bit")
        folder = path / annotation / split / image.parent.relative_to(images)
        mask = folder / f"{stem}_{annotation}_{FILES[ids]}.png"
        if mask.is_file():
            pairs.append((image, mask))
        else:
            problems.append((image, f"has no mask: there is no {shown(mask, path)}{other_kind(mask, ids)}"))
    if not pairs and not problems:
        problems.append(no_pictures(images))
    colours = [colour for _, colour in CLASSES.values()]
    return MaskedPictures(
        "cityscapes", split, path, pairs, CODINGS[ids], CLASSES, colours=colours, channels=channels, problems=problems
    )


def other_kind(mask, ids):
    """A hint if the mask is there as the other kind of ids."""
    for other, name in FILES.items():
        beside = mask.with_name(mask.name.replace(f"_{FILES[ids]}.", f"_{name}."))
        if other != ids and beside.is_file():
            return f'; {beside.name} is there: open with ids="{other}"'
    return ""
