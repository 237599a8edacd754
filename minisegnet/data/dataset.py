"""What every data set is: a sequence of (image, mask), with names and colours of its classes."""

import functools

import numpy as np

from ..colours import distinct_colours

VOID = 255  # the label of pixels that nobody has classified


class DataError(ValueError):
    """Something is wrong with a file of a data set. The text begins with the file; `file` holds its name alone.

    >>> print(DataError("a.png", "is empty"))
    a.png: is empty
    """

    def __init__(self, file, text):
        super().__init__(str(file), text)  # both are kept as args, so that it survives the way out of a worker process
        self.file, self.text = str(file), text

    def __str__(self):
        return f"{self.file}: {self.text}"


class Dataset:
    """A sequence of samples; `dataset[i]` is (image, mask).

    image: uint8 (H, W, C) with C = `channels`, 1 or 3. mask: int64 (H, W), class indices, VOID where nothing is known.
    With `kind` "classification" the mask is the label of the whole picture, an int.

    name      where it is from: "camvid"
    split     which part of it: "train"
    classes   names, index = class
    colours   uint8 (classes, 3), to show masks with
    names     names[i] is a short text for messages: "train/0001.png"
    notes     what was decided or noticed while opening, in plain words
    problems  (file, text) of what is wrong with files or lists; `data.open` raises an error if there is any

    Subclasses say how long they are, and implement `image` and `mask`. Raises ValueError for channels or colours that
    don't fit, IndexError for a sample that there is not, DataError for a mask of another size than its picture.

    >>> class Halves(Dataset):
    ...     def __len__(self):
    ...         return 3
    ...     def image(self, i):
    ...         return np.full((2, 4, 1), 100 * i, np.uint8)
    ...     def mask(self, i):
    ...         return np.tile([0, 0, 1, 1], (2, 1))
    >>> dataset = Halves("halves", "train", classes=("left", "right"), channels=1)
    >>> dataset, dataset.names[2]
    (<halves train: 3 pictures, 2 classes, grey>, 'halves train 2')
    >>> image, mask = dataset[2]
    >>> image.shape, int(image.max()), mask.tolist()
    ((2, 4, 1), 200, [[0, 0, 1, 1], [0, 0, 1, 1]])
    """

    kind = "segmentation"

    def __init__(self, name, split, classes, colours=None, channels=3, notes=(), problems=()):
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
        self.name, self.split, self.channels = name, split, channels
        self.classes = tuple(classes)
        self.colours = distinct_colours(len(self.classes)) if colours is None else np.asarray(colours, np.uint8)
        if self.colours.shape != (len(self.classes), 3):
            raise ValueError(
                f"colours must be a table of {len(self.classes)} rows of (red, green, blue), one for each class, "
                f"got shape {self.colours.shape}"
            )
        self.notes, self.problems = tuple(notes), tuple((str(file), text) for file, text in problems)

    def __len__(self):
        raise NotImplementedError(f"{type(self).__name__} must say how many samples it has")

    def image(self, i):
        """The picture alone: uint8 (H, W, C)."""
        raise NotImplementedError(f"{type(self).__name__} must make the picture of sample {i}")

    def mask(self, i):
        """The truth alone: int64 (H, W)."""
        raise NotImplementedError(f"{type(self).__name__} must make the mask of sample {i}")

    def image_path(self, i):
        """The file that the picture is in; None if it is in none."""
        return None

    def mask_path(self, i):
        """The file that the mask is in; None if it is in none."""
        return None

    @functools.cached_property
    def names(self):
        return [f"{self.name} {self.split} {i}" for i in range(len(self))]

    def __getitem__(self, i):
        i = self.position(i)
        image, mask = self.image(i), self.mask(i)
        check_sizes(self, i, image, mask)
        return image, mask

    def position(self, i):
        """The index i, counted from the start if it is negative; IndexError if there is no such sample."""
        if isinstance(i, (bool, np.bool_)) or not isinstance(i, (int, np.integer)):
            raise TypeError(f"a sample's index must be an integer, got {i!r}")
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self.name} {self.split} has {len(self)} samples, got index {i}")
        return int(i) % len(self)

    def __repr__(self):
        return (
            f"<{self.name} {self.split}: {len(self)} pictures, {len(self.classes)} classes, "
            f"{'grey' if self.channels == 1 else 'colour'}>"
        )


def check_sizes(dataset, i, image, mask):
    """DataError unless a picture and its mask have the same height and width. Nothing is ever resized to fit."""
    if dataset.kind == "segmentation" and image.shape[:2] != mask.shape:
        file = dataset.mask_path(i) or dataset.names[i]
        raise DataError(
            file,
            f"the mask is {mask.shape[1]}x{mask.shape[0]} pixels, but its picture {dataset.names[i]} is "
            f"{image.shape[1]}x{image.shape[0]} (width x height, after turning each by its own EXIF tag)",
        )
