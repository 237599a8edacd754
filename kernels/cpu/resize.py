"""Upsampling, nearest and bilinear, forward and backward; `fit2d` falls back to `reference`.

Enlarging by two, which nearly all nets do, has kernels of its own (`twofold`). One kernel does all other sizes.

These are sparse matrices along the rows and along the columns: every output is a weighted sum of a few inputs.
Backward is the same with both matrices transposed, and as each of its outputs still gathers what belongs to it, no two
threads ever write to one place.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..errors import ShapeError
from ..reference.resize import bilinear_source, nearest_source, nearest_sources
from ..shapes import check_rank, check_shape, check_size, same_dtype
from .arrays import plain, planes
from .jit import jit, parallel, part_of
from .memory import empty
from .rows import add_row
from .twofold import blend, gather, spread, unblend

BLOCK = 32  # output rows that one thread takes at a time


class Matrix(NamedTuple):
    """A sparse matrix: output i is the sum over k of weight[k, i] * input[index[k, i]].

    Where there are fewer terms, index is the number of inputs and weight is 0.
    """

    index: np.ndarray  # (terms, outputs)
    weight: np.ndarray  # (terms, outputs)


def upsample_nearest2d_forward(x, size, scale):
    nearest_sources(x, size, scale)  # for its checks
    rows, cols = check_size(size)
    H, W = x.shape[2:]
    if twofold((H, W), (rows, cols), scale):
        return resized(spread, x, (rows, cols), x.dtype.type(1))
    return resized(resize, x, (rows, cols), *nearest(H, rows, scale[0], x.dtype), *nearest(W, cols, scale[1], x.dtype))


def upsample_nearest2d_backward(dy, x_shape, scale):
    dtype = check_gradient(dy, x_shape)
    (rows, cols), (H, W) = dy.shape[2:], x_shape[2:]
    if twofold((H, W), (rows, cols), scale):
        return resized(gather, dy, (H, W), dtype.type(1))
    matrices = *nearest(H, rows, scale[0], dtype, True), *nearest(W, cols, scale[1], dtype, True)
    return resized(resize, dy, (H, W), *matrices)


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    (rows, cols), (H, W) = check_size(size), x.shape[2:]
    if 0 in (H, W):
        raise ShapeError(f"x has shape {x.shape}: there is nothing to resize")
    if twofold((H, W), (rows, cols), scale) and not align_corners:
        return resized(blend, x, (rows, cols))
    along = functools.partial(bilinear, dtype=dtype, align_corners=bool(align_corners))
    return resized(resize, x, (rows, cols), *along(H, rows, scale[0]), *along(W, cols, scale[1]))


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    dtype = check_gradient(dy, x_shape)
    (rows, cols), (H, W) = dy.shape[2:], x_shape[2:]
    if twofold((H, W), (rows, cols), scale) and not align_corners:
        return resized(unblend, dy, (H, W))
    along = functools.partial(bilinear, dtype=dtype, align_corners=bool(align_corners), backward=True)
    return resized(resize, dy, (H, W), *along(H, rows, scale[0]), *along(W, cols, scale[1]))


def twofold(size, enlarged, scale):
    """Whether both axes are doubled."""
    return enlarged == (2 * size[0], 2 * size[1]) and tuple(scale) == (0.5, 0.5)


def check_gradient(dy, x_shape):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    return dtype


# ------------------------------------------------------------------ the matrices, remembered from step to step


@functools.lru_cache(maxsize=256)
def nearest(size, count, scale, dtype, backward=False):
    """The Matrix from `size` to `count` pixels, or for backward its transpose."""
    matrix = Matrix(nearest_source(size, count, scale)[None].astype(np.uint32), np.ones((1, count), dtype))
    return transposed(matrix, size) if backward else matrix


@functools.lru_cache(maxsize=256)
def bilinear(size, count, scale, dtype, align_corners, backward=False):
    """The Matrix from `size` to `count` pixels, or for backward its transpose."""
    low, high, t = bilinear_source(size, count, scale, align_corners)
    matrix = Matrix(np.stack([low, high]).astype(np.uint32), np.stack([1 - t, t]).astype(dtype))
    return transposed(matrix, size) if backward else matrix


def transposed(matrix, size):
    """The transpose of a matrix with `size` inputs.

    >>> index, weight = transposed(Matrix(np.array([[0, 0, 2]]), np.array([[1.0, 2.0, 4.0]])), 3)
    >>> index, weight
    (array([[0, 3, 2],
           [1, 3, 3]]), array([[1., 0., 4.],
           [2., 0., 0.]]))
    """
    count = matrix.index.shape[1]
    order = np.argsort(matrix.index, axis=None, kind="stable")  # all terms, sorted by the input that they read
    source = matrix.index.ravel()[order]
    term = np.arange(len(source)) - np.searchsorted(source, source)  # 0, 1, ... among those of the same input
    index = np.full((term.max() + 1, size), count, matrix.index.dtype)
    weight = np.zeros(index.shape, matrix.weight.dtype)
    index[term, source], weight[term, source] = order % count, matrix.weight.ravel()[order]
    return Matrix(index, weight)


# ------------------------------------------------------------------ the kernel


def resized(kernel, x, size, *arguments):
    """What `kernel` makes of the planes of x: an array (N, C, *size)."""
    y = empty((*x.shape[:2], *size), x.dtype)
    kernel(planes(y), planes(plain(x)), *arguments)
    return y


@parallel
def resize(y, x, row_index, row_weight, col_index, col_weight, share):
    """y[i, j] = sum over k, l of row_weight[k, i] * col_weight[l, j] * x[row_index[k, i], col_index[l, j]].

    Columns are resized where there are fewer rows, in x or in y; rows are added whole, on vectors.
    """
    planes, rows, cols = y.shape
    H = x.shape[1]
    blocks = -(-rows // BLOCK)
    for item in part_of(planes * blocks, share):
        plane, first = item // blocks, item % blocks * BLOCK
        last = min(rows, first + BLOCK)
        if rows >= H:
            enlarge_rows(y[plane], x[plane], first, last, row_index, row_weight, col_index, col_weight)
        else:
            reduce_rows(y[plane], x[plane], first, last, row_index, row_weight, col_index, col_weight)


@jit
def enlarge_rows(y, x, first, last, row_index, row_weight, col_index, col_weight):
    H, W = x.shape
    lowest, highest = H, -1  # the rows of x that these rows of y are made of
    for i in range(first, last):
        for k in range(len(row_index)):
            if row_index[k, i] < H:
                lowest, highest = min(lowest, row_index[k, i]), max(highest, row_index[k, i])
    wide, line = np.zeros((max(0, highest - lowest + 1), y.shape[1]), x.dtype), np.zeros(W + 1, x.dtype)
    one = x.dtype.type(1)
    for row in range(len(wide)):
        line[:] = 0
        add_row(line, 1, x[lowest + row], 1, one, W)
        resize_row(wide[row], line, col_index, col_weight)
    for i in range(first, last):
        out = y[i]
        out[:] = 0
        for k in range(len(row_index)):
            if row_index[k, i] < H:
                add_row(out, 1, wide[row_index[k, i] - lowest], 1, row_weight[k, i], len(out))


@jit
def reduce_rows(y, x, first, last, row_index, row_weight, col_index, col_weight):
    H, W = x.shape
    line = np.zeros(W + 1, x.dtype)
    for i in range(first, last):
        line[:] = 0
        for k in range(len(row_index)):
            if row_index[k, i] < H:
                add_row(line, 1, x[row_index[k, i]], 1, row_weight[k, i], W)
        resize_row(y[i], line, col_index, col_weight)


@jit
def resize_row(out, line, col_index, col_weight):
    """out[j] = sum over l of col_weight[l, j] * line[col_index[l, j]]; the index of no term leads to a 0 at the end."""
    out[:] = 0
    for l in range(len(col_index)):
        index, weight = col_index[l], col_weight[l]
        for j in range(len(out)):
            out[j] += weight[j] * line[index[j]]
