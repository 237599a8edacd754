"""Mean and standard deviation of a data set's pictures, for `Normalize`."""

import numpy as np

from ..core import check_int
from .dataset import DataError
from .samples import name_of, naming
from .transforms.base import check_image


def statistics(dataset, limit=None):
    """(mean, std): arrays (channels,) in 0..1, over all pixels of all pictures; the masks play no part.

    One pass counts how often each of the 256 values occurs in each channel, n(v). These are whole numbers, so nothing
    is rounded however many pixels there are; and then, in float64,

        mean = Σ n(v)·v / Σ n(v)          std² = Σ n(v)·(v - mean)² / Σ n(v)

    Parameters
        dataset: a sequence of (image, mask) with uint8 images (H, W, C)
        limit: look at that many pictures at most, spread evenly over the data set

    Raises ValueError for an empty data set; DataError with the picture's name for one that can't be read, is no uint8
    image, or has other channels than the first.

    >>> dataset = [(np.array([[[0], [255]]], np.uint8), None), (np.array([[[255]]], np.uint8), None)]
    >>> mean, std = statistics(dataset)
    >>> mean.round(4), std.round(4)
    (array([0.6667]), array([0.4714]))
    """
    count = len(dataset) if limit is None else min(check_int("limit", limit), len(dataset))
    if not count:
        raise ValueError("statistics: the data set has no pictures")
    counts = None
    for i in (np.arange(count) * len(dataset) // count).tolist():
        with naming(dataset, i):
            image = dataset.image(i) if hasattr(dataset, "image") else dataset[i][0]  # without the mask, if possible
            check_image(image, "HWC")
        if counts is None:
            counts = np.zeros((image.shape[2], 256), np.int64)
        if image.shape[2] != len(counts):
            raise DataError(
                name_of(dataset, i),
                f"the picture has {image.shape[2]} channels, those before it {len(counts)}; open the data set with "
                f"channels=1 (grey) or channels=3 (colour)",
            )
        for channel, plane in enumerate(np.moveaxis(image, 2, 0)):
            counts[channel] += np.bincount(plane.ravel(), minlength=256)
    value, total = np.arange(256) / 255, counts.sum(1)
    mean = counts @ value / total
    variance = (counts * (value - mean[:, None]) ** 2).sum(1) / total
    return mean, np.sqrt(variance)
