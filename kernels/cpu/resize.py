"""Upsampling: one kernel for nearest and bilinear, forward and backward; `fit2d` falls back to `reference`.

All of them are sparse matrices along the rows and along the columns: every output is a weighted sum of a few inputs.
Backward is the same with both matrices transposed, and as each of its outputs still gathers what belongs to it, no two
threads ever write to one place.
"""

import functools
from typing import NamedTuple

import numpy as np
from numba import prange

from ..errors import ShapeError
from ..reference.resize import bilinear_source, nearest_source, nearest_sources
from ..shapes import check_rank, check_shape, check_size, same_dtype
from .arrays import plain
from .jit import parallel

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
    return resized(x, nearest(H, rows, scale[0], x.dtype), nearest(W, cols, scale[1], x.dtype))


def upsample_nearest2d_backward(dy, x_shape, scale):
    dtype = check_gradient(dy, x_shape)
    (rows, cols), (H, W) = dy.shape[2:], x_shape[2:]
    return resized(dy, nearest(H, rows, scale[0], dtype, True), nearest(W, cols, scale[1], dtype, True))


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    (rows, cols), (H, W) = check_size(size), x.shape[2:]
    if 0 in (H, W):
        raise ShapeError(f"x has shape {x.shape}: there is nothing to resize")
    along = functools.partial(bilinear, dtype=dtype, align_corners=bool(align_corners))
    return resized(x, along(H, rows, scale[0]), along(W, cols, scale[1]))


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    dtype = check_gradient(dy, x_shape)
    (rows, cols), (H, W) = dy.shape[2:], x_shape[2:]
    along = functools.partial(bilinear, dtype=dtype, align_corners=bool(align_corners), backward=True)
    return resized(dy, along(H, rows, scale[0]), along(W, cols, scale[1]))


def check_gradient(dy, x_shape):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    return dtype


# ------------------------------------------------------------------ the matrices, remembered from step to step


@functools.lru_cache(maxsize=256)
def nearest(size, count, scale, dtype, backward=False):
    """The Matrix from `size` to `count` pixels, or for backward its transpose."""
    matrix = Matrix(nearest_source(size, count, scale)[None], np.ones((1, count), dtype))
    return transposed(matrix, size) if backward else matrix


@functools.lru_cache(maxsize=256)
def bilinear(size, count, scale, dtype, align_corners, backward=False):
    """The Matrix from `size` to `count` pixels, or for backward its transpose."""
    low, high, t = bilinear_source(size, count, scale, align_corners)
    matrix = Matrix(np.stack([low, high]), np.stack([1 - t, t]).astype(dtype))
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
    index = np.full((term.max() + 1, size), count)
    weight = np.zeros(index.shape, matrix.weight.dtype)
    index[term, source], weight[term, source] = order % count, matrix.weight.ravel()[order]
    return Matrix(index, weight)


# ------------------------------------------------------------------ the kernel


def resized(x, rows, cols):
    """rows @ x @ cols.T in each plane."""
    N, C, H, W = x.shape
    y = np.empty((N, C, rows.index.shape[1], cols.index.shape[1]), x.dtype)
    resize(y.reshape(N * C, *y.shape[2:]), plain(x).reshape(N * C, H, W), *rows, *cols)
    return y


@parallel
def resize(y, x, row_index, row_weight, col_index, col_weight):
    """y[i, j] = sum over k, l of row_weight[k, i] * col_weight[l, j] * x[row_index[k, i], col_index[l, j]].

    Rows first: a sum of whole rows runs on vectors. It has one more place, a 0, where a term that is not there leads.
    """
    planes, rows, cols = y.shape
    H, W = x.shape[1:]
    blocks = -(-rows // BLOCK)
    for item in prange(planes * blocks):
        plane, first = np.int64(item) // blocks, np.int64(item) % blocks * BLOCK
        line = np.empty(W + 1, x.dtype)
        for i in range(first, min(rows, first + BLOCK)):
            out = y[plane, i]
            again = i > first  # nearest repeats rows
            for k in range(len(row_index)):
                again &= row_index[k, i] == row_index[k, i - 1] and row_weight[k, i] == row_weight[k, i - 1]
            if again:
                out[:] = y[plane, i - 1]
                continue
            line[:] = 0
            for k in range(len(row_index)):
                if row_index[k, i] < H:
                    row, weight = x[plane, row_index[k, i]], row_weight[k, i]
                    for b in range(W):
                        line[b] += weight * row[b]
            for j in range(cols):
                out[j] = col_weight[0, j] * line[col_index[0, j]]
            for l in range(1, len(col_index)):
                for j in range(cols):
                    out[j] += col_weight[l, j] * line[col_index[l, j]]
