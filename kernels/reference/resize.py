"""Nearest and bilinear upsampling, and padding or cropping to a size.

Both upsamplings treat rows and columns one after the other: along one axis, output i is a weighted mean of input
pixels `low[i]` and `high[i]`. The backward pass gives each dy back to the same pixels with the same weights.
"""

import numpy as np

from ..errors import ShapeError
from ..shapes import check_rank, check_shape, check_size, same_dtype
from .windows import pad_or_crop


def upsample_nearest2d_forward(x, size, scale):
    rows, cols = nearest_sources(x, size, scale)
    return x[:, :, rows[:, None], cols]


def upsample_nearest2d_backward(dy, x_shape, scale):
    same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    for axis in (2, 3):
        source = nearest_source(x_shape[axis], dy.shape[axis], scale[axis - 2])
        dy = give_back(dy, axis, x_shape[axis], [(source, None)])
    return dy


def nearest_sources(x, size, scale):
    same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    rows, cols = check_size(size)
    if 0 in x.shape[2:]:
        raise ShapeError(f"x has shape {x.shape}: there is nothing to resize")
    return nearest_source(x.shape[2], rows, scale[0]), nearest_source(x.shape[3], cols, scale[1])


def nearest_source(size, count, scale):
    """The input pixel that each of `count` output pixels copies, of `size` pixels.

    >>> nearest_source(5, 2, 5 / 2), nearest_source(3, 4, 1 / 1.5)
    (array([0, 2]), array([0, 0, 1, 2]))
    """
    if count == size:
        return np.arange(count)
    if count == 2 * size:  # PyTorch takes these two short cuts whatever the scale
        return np.arange(count) // 2
    source = np.floor(np.arange(count, dtype=np.float32) * np.float32(scale)).astype(np.int64)
    return np.minimum(source, size - 1)


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    size = check_size(size)
    if 0 in x.shape[2:]:
        raise ShapeError(f"x has shape {x.shape}: there is nothing to resize")
    y = x
    for axis in (2, 3):
        low, high, t = bilinear_source(x.shape[axis], size[axis - 2], scale[axis - 2], align_corners)
        t = along(axis, t.astype(x.dtype))
        y = (1 - t) * y.take(low, axis) + t * y.take(high, axis)
    return y


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    for axis in (3, 2):
        low, high, t = bilinear_source(x_shape[axis], dy.shape[axis], scale[axis - 2], align_corners)
        # forward: y[i] = (1 - t[i]) * x[low[i]] + t[i] * x[high[i]]
        dy = give_back(dy, axis, x_shape[axis], [(low, 1 - t), (high, t)])
    return dy


def bilinear_source(size, count, scale, align_corners):
    """For each of `count` output pixels: the lower and upper input pixel, and the weight t of the upper one.

    >>> low, high, t = bilinear_source(2, 4, 0.5, False)
    >>> low, high, t
    (array([0, 0, 0, 1]), array([1, 1, 1, 1]), array([0.  , 0.25, 0.75, 0.25]))
    """
    if count == size:  # an identity, also where a given scale would shift it; PyTorch does the same
        return np.arange(count), np.arange(count), np.zeros(count)
    if align_corners:
        place = np.arange(count) * ((size - 1) / (count - 1) if count > 1 else 0.0)
    else:
        place = np.maximum((np.arange(count) + 0.5) * scale - 0.5, 0.0)
    low = np.minimum(place.astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    return low, high, np.clip(place - low, 0.0, 1.0)


def give_back(dy, axis, size, parts):
    """Add each slice i of dy along `axis`, times weight[i], to slice index[i] of a result with `size` slices."""
    dx = np.zeros((*dy.shape[:axis], size, *dy.shape[axis + 1 :]), dy.dtype)
    target, source = np.moveaxis(dx, axis, 0), np.moveaxis(dy, axis, 0)
    for index, weight in parts:
        for i, place in enumerate(index):
            target[place] += source[i] if weight is None else source[i] * dy.dtype.type(weight[i])
    return dx


def along(axis, values):
    """One value per row (axis 2) or per column (axis 3), shaped to multiply an (N, C, H, W) array."""
    return values[:, None] if axis == 2 else values


def fit2d_forward(x, size):
    same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    return pad_or_crop(x, *fit_margins(x.shape[2:], check_size(size)))


def fit2d_backward(dy, x_shape):
    same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    (top, bottom), (left, right) = fit_margins(x_shape[2:], dy.shape[2:])
    return pad_or_crop(dy, (-top, -bottom), (-left, -right))  # forward padded by these margins


def fit_margins(before, after):
    """Rows (above, below) and columns (left, right) to add; negative where there is too much.

    >>> fit_margins((4, 4), (5, 1))
    ((0, 1), (-1, -2))
    """
    margins = []
    for old, new in zip(before, after, strict=True):
        half = abs(new - old) // 2
        first, second = (half, new - old - half) if new >= old else (-half, new - old + half)
        margins.append((first, second))
    return tuple(margins)
