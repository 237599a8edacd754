"""How much of a picture the explorer shows: all of it, made smaller, or a square cut out at full size."""

import copy
from typing import NamedTuple

import numpy as np

from ..core import Layer, ShapeError
from ..data.transforms import LongestSide
from .subject import VOID

MOST = 1_000_000  # pixels of a picture that the net is run over at full size, to compare


class View(NamedTuple):
    """A picture's file, a net, and the recipe that says how pictures are prepared for it."""

    path: str
    net: Layer
    recipe: object

    def shown(self, image, truth, size, crop, training):
        """(image, truth, notes): what is looked at, and what the reader should know about it.

        crop: None: the whole picture, its longest side brought to `size`; otherwise a square of `size` pixels around
            (row, column), for () where most pixels are wrong
        """
        if crop is not None:
            return self.cut(image, truth, size, crop)
        small, small_truth = LongestSide(size)(image, truth) if size else (image, truth)
        if small.shape == image.shape:
            return image, truth, []
        how = f"from {by(image)} to {by(small)} (--size)"
        if truth is None or training:
            return small, small_truth, [f"brought {how}"]
        note = f"{percent(self.right(small, small_truth))} of the pixels right"
        if truth.size <= MOST:
            note += f", {percent(self.right(image, truth))} at full size"
        return small, small_truth, [f"{note}: brought {how}"]

    def cut(self, image, truth, size, crop):
        if not size:
            raise ValueError("a crop needs a size; give --size, the side of the square that is cut out, above 0")
        if crop:
            top, left = (place - size // 2 for place in crop)
        elif truth is None:
            raise ValueError("--crop alone needs a --mask to know where the net is wrong; or say --crop ROW,COLUMN")
        else:
            top, left = fullest((self.predicted(image) != truth) & (truth != VOID), size)
        top, left = (max(0, min(start, side - size)) for start, side in zip((top, left), image.shape[:2], strict=True))
        part = (slice(top, top + size), slice(left, left + size))
        note = f"rows {top} to {min(top + size, len(image)) - 1} and columns {left} to "
        note += f"{min(left + size, image.shape[1]) - 1} of {by(image)}, at full size (--crop)"
        return image[part], None if truth is None else truth[part], [note]

    def predicted(self, image, training=False):
        """Class indices (H, W), by the net as it predicts; or by a copy of it, as it is in a step of training."""
        net = copy.deepcopy(self.net).train() if training else self.net.eval()
        try:
            return net(self.recipe.transform()(image, None)[0][None])[0].argmax(axis=0)
        except ShapeError as error:
            text = f"{self.path}: {by(image)} is too narrow for this net, give a larger --size ({error})"
            raise ValueError(text) from error

    def right(self, image, truth):
        """Share of the pixels that have a label whose label is predicted."""
        known = truth != VOID
        return (self.predicted(image) == truth)[known].mean() if known.any() else 0.0


def fullest(mask, side):
    """(top, left) of the window of `side` x `side` pixels with the most True; the first of several.

    A table of sums over all that lies above and left gives each window's count in four look-ups.

    >>> mask = np.zeros((6, 8), bool)
    >>> mask[3:5, 5:7] = True
    >>> fullest(mask, 2)
    (3, 5)
    """
    height, width = (min(side, length) for length in mask.shape)
    sums = np.pad(mask.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    counts = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    return tuple(int(place) for place in np.unravel_index(counts.argmax(), counts.shape))


def by(image):
    """Width x height, as people write sizes of pictures."""
    return f"{image.shape[1]}x{image.shape[0]}"


def percent(share):
    return f"{100 * share:.0f} %"
