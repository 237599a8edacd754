"""Data sets whose samples are files: pictures with masks, and pictures in a folder for each class."""

import functools
from pathlib import Path

import numpy as np

from .dataset import DataError, Dataset
from .files import has_colour, read_image, read_mask


class PictureFiles(Dataset):
    """Base of data sets whose pictures are files below the folder `root`. Nothing is read until it is asked for."""

    def __init__(self, name, split, root, images, classes, **more):
        super().__init__(name, split, classes, **more)
        self.root, self.images = Path(root), tuple(images)

    def __len__(self):
        return len(self.images)

    def image_path(self, i):
        return self.images[self.position(i)]

    def image(self, i):
        return read_image(self.image_path(i), self.channels)

    @functools.cached_property
    def names(self):
        return [shown(path, self.root) for path in self.images]


class MaskedPictures(PictureFiles):
    """Pictures and their masks. `pairs` are (picture, mask) paths; `coding` says what a mask's pixels mean."""

    def __init__(self, name, split, root, pairs, coding, classes, **more):
        super().__init__(name, split, root, [image for image, _ in pairs], classes, **more)
        self.masks, self.coding = tuple(mask for _, mask in pairs), coding

    def mask_path(self, i):
        return self.masks[self.position(i)]

    def mask(self, i):
        return read_mask(self.mask_path(i), self.coding)


class SortedPictures(PictureFiles):
    """Pictures that each have one label as a whole, their class's index; for classification."""

    kind = "classification"

    def __init__(self, name, split, root, labelled, classes, **more):
        super().__init__(name, split, root, [image for image, _ in labelled], classes, **more)
        self.labels = tuple(label for _, label in labelled)

    def mask(self, i):
        return self.labels[self.position(i)]


def shown(path, root):
    """A path as text for messages: relative to root where it is below it, with forward slashes."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def guess_channels(images, problems):
    """3 if any of the pictures is a colour one, else 1; looks at headers only. Bad files are added to `problems`."""
    for path in images:
        try:
            if has_colour(path):
                return 3
        except DataError as error:
            problems.append((error.file, error.text))
    return 1


def drawn_apart(items, fraction, seed):
    """(train, val): a random part of the items, at least one of them, is set apart; both keep the items' order.

    The same items, fraction and seed give the same parts. Of a single item, val is empty.
    """
    count = min(len(items) - 1, max(1, round(fraction * len(items)))) if items else 0
    chosen = set(np.random.default_rng(seed).permutation(len(items))[:count].tolist())
    train = [item for i, item in enumerate(items) if i not in chosen]
    return train, [item for i, item in enumerate(items) if i in chosen]
