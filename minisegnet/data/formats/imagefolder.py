"""A folder for each class, for classification.

    PATH/CLASS/anything/below/x.png                     train and val are drawn from each class by `val_fraction`
    PATH/train/CLASS/x.png    PATH/val/CLASS/x.png      or are folders of their own

Classes are the folders' names, sorted; a class's index is its position.
"""

from ...core import check_int, check_number
from ..dataset import DataError
from ..on_disk import SortedPictures, drawn_apart, guess_channels
from .folders import missing_split, no_pictures, pictures_below

DRAWN = ("train", "val")


def class_folders(path):
    """The folders of the classes, sorted by name."""
    return sorted(
        (folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")),
        key=lambda folder: folder.name,
    )


def recognise(path):
    """Whether the folder holds nothing but at least two folders with pictures."""
    folders = class_folders(path)
    return len(folders) >= 2 and all(any(pictures_below(folder)) for folder in folders)


def splits(path):
    return tuple(split for split in ("train", "val", "test") if (path / split).is_dir()) or DRAWN


def find(path, split, channels=None, val_fraction=0.2, seed=0):
    """The data set, with empty folders in `problems`."""
    val_fraction = check_number("val_fraction", val_fraction, 0, 1, open_low=True, open_high=True)
    seed = check_int("seed", seed, 0)
    has_folders = (path / "train").is_dir()
    if split not in (*splits(path), "all"):
        raise missing_split(path, split, (*splits(path), "all"), f"a folder {split}")
    if split == "all" and has_folders:
        parts = [path / name for name in splits(path)]
    else:
        parts = [path / split if has_folders else path]
    classes = [folder.name for folder in class_folders(path / "train" if has_folders else path)]
    if not classes:
        raise DataError(parts[0], "holds no folders: each class's pictures belong into a folder with the class's name")
    labelled, problems = [], []
    for part in parts:
        for folder in class_folders(part):
            if folder.name not in classes:
                problems.append((folder, f"is no class of {path / 'train'}: {', '.join(classes)}"))
                continue
            images = pictures_below(folder)
            if not images:
                problems.append(no_pictures(folder))
            if not has_folders and split in DRAWN:
                images = dict(zip(DRAWN, drawn_apart(images, val_fraction, seed), strict=True))[split]
            labelled += [(image, classes.index(folder.name)) for image in images]
    if channels is None:
        channels = guess_channels(pictures_below(path), problems)  # of all splits, which must be alike
    return SortedPictures("imagefolder", split, path, labelled, classes, channels=channels, problems=problems)
