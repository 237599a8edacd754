"""From the samples of a data set to one batch: read, transform, join; with errors that name the sample."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kernels import ShapeError

from .dataset import DataError
from .transforms import ToArray
from .transforms.base import check_image, check_mask


class Batch(NamedTuple):
    """What a step of training needs; a DataLoader gives them.

    Attributes
        images: float32 (N, C, H, W)
        targets: class indices, int64 (N, H, W), or (N,) for labels of whole pictures; None where there are none
        indices: which samples of the data set, a tuple

    >>> from minisegnet.data import DataLoader
    >>> dataset = [(np.full((2, 2, 1), 255, np.uint8), np.array([[0, 1], [0, 1]])) for _ in range(3)]
    >>> for images, targets, indices in DataLoader(dataset, batch_size=2):
    ...     print(images.shape, targets.shape, indices)
    (2, 1, 2, 2) (2, 2, 2) (0, 1)
    (1, 1, 2, 2) (1, 2, 2) (2,)
    """

    images: np.ndarray
    targets: np.ndarray | None
    indices: tuple


class Source(NamedTuple):
    """Where samples come from, and all that decides what they look like."""

    dataset: Sequence
    transform: Callable
    seed: int


def make_batch(source, epoch, samples):
    """The Batch of the samples (index, repeat), where repeat counts the sample's earlier occurrences in the epoch.

    The errors of reading and transforming a sample become a DataError with its name, if they aren't one already.
    """
    made = [make_sample(source, epoch, i, repeat) for i, repeat in samples]
    images, masks = zip(*made, strict=True)
    indices = tuple(i for i, _ in samples)
    for i, image, mask in zip(indices, images, masks, strict=True):
        check_alike(source.dataset, (indices[0], images[0], masks[0]), (i, image, mask))
    targets = None if masks[0] is None else np.stack([np.asarray(mask, np.int64) for mask in masks])
    return Batch(np.stack(images), targets, indices)


def make_sample(source, epoch, i, repeat):
    """(image, mask) of sample i, transformed with random numbers that depend on (seed, epoch, i, repeat) alone."""
    rng = np.random.default_rng([source.seed, epoch, 1 + i, repeat])  # [seed, epoch, 0, 0] is that of the order
    with naming(source.dataset, i):
        image, mask = source.transform(*source.dataset[i], rng)
        if getattr(image, "dtype", None) == np.uint8:
            image, mask = ToArray()(image, mask)
        check_image(image, "CHW")
        check_mask(mask, image.shape[1:])
        return image.astype(np.float32, copy=False), mask


@contextlib.contextmanager
def naming(dataset, i):
    """Makes an exception a DataError with the name of sample i, unless it is one or the memory is exhausted."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(name_of(dataset, i), f"{type(error).__name__}: {error}") from error


def name_of(dataset, i):
    """What messages call sample i."""
    names = getattr(dataset, "names", None)
    return f"sample {i}" if names is None else names[i]


def check_alike(dataset, first, other):
    """ShapeError unless two samples (index, image, mask) fit into one batch."""
    (i, image, mask), (j, image_j, mask_j) = first, other
    if image.shape == image_j.shape and np.shape(mask) == np.shape(mask_j) and (mask is None) == (mask_j is None):
        return
    (C, H, W), (C_j, H_j, W_j) = image.shape, image_j.shape
    a, b = name_of(dataset, i), name_of(dataset, j)
    if (H, W) != (H_j, W_j):
        raise ShapeError(
            f"pictures of different sizes can't form a batch: {a} is {H}x{W}, {b} is {H_j}x{W_j} (height x width); "
            f"make them alike by a transform, such as RandomCrop({min(H, H_j)}, {min(W, W_j)}), CenterCrop or Resize, "
            f"or take batch_size=1"
        )
    if C != C_j:
        raise ShapeError(
            f"pictures of different channels can't form a batch: {a} has {C}, {b} has {C_j}; open the data set with "
            f"channels=1 (grey) or channels=3 (colour)"
        )
    kinds = ["no mask" if m is None else "a mask" if np.ndim(m) else "one label" for m in (mask, mask_j)]
    raise ShapeError(f"samples of different kinds can't form a batch: {a} has {kinds[0]}, {b} has {kinds[1]}")
