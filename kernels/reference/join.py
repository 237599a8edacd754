"""Adding maps up and joining them along the channels: what skip connections do."""

import numpy as np

from ..errors import ShapeError
from ..shapes import check_shape, same_dtype


def add_forward(arrays):
    first, *others = arrays
    same_dtype(**{f"branch {i}": a for i, a in enumerate(arrays)})
    total = first.copy()
    for i, other in enumerate(others, 1):
        check_shape(f"branch {i}", other, first.shape)
        total += other
    return total


def concat_forward(arrays):
    same_dtype(**{f"branch {i}": a for i, a in enumerate(arrays)})
    N, _, *rest = arrays[0].shape
    for i, a in enumerate(arrays):
        if (a.shape[0], *a.shape[2:]) != (N, *rest):
            raise ShapeError(f"branch {i} has shape {a.shape}, expected {(N, 'any', *rest)}, as branch 0 has")
    return np.concatenate(arrays, axis=1)


def concat_backward(dy, channels):
    same_dtype(dy=dy)
    if sum(channels) != dy.shape[1]:
        raise ShapeError(f"dy has shape {dy.shape}: {dy.shape[1]} channels, expected {sum(channels)}")
    return np.split(dy, np.cumsum(channels)[:-1], axis=1)
