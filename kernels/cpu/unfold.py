"""Convolution with few outputs, as in the depths of a net: rung 3's matrix is small then, and one product does it all.

In maps of 4x4 pixels most of a tile or of a block of rows would be margin. Written out as a matrix, each column what
one output sees, no number is there in vain.
"""

import numpy as np

from ..shapes import pair
from . import products
from .arrays import plain
from .jit import parallel, part_of
from .memory import empty

FEW = 640  # outputs of a batch, for one channel


def few_pixels(images, rows, cols, groups):
    """Whether there are so few outputs."""
    return 0 < images * rows * cols <= FEW and groups == 1


def unfolded(x, kernel, stride, before, dilation, size, pixels_first=False):
    """(K, N*rows*cols): for each tap (channel, row, column of the kernel) what it meets in all outputs; or transposed.

    before: rows of padding above and columns on the left.
    """
    taps, pixels = x.shape[1] * kernel[0] * kernel[1], len(x) * size[0] * size[1]
    matrix = empty((pixels, taps) if pixels_first else (taps, pixels), x.dtype)
    steps = (1, taps) if pixels_first else (pixels, 1)
    unfold(matrix.reshape(-1), plain(x), steps, kernel, size, pair(stride), before, pair(dilation))
    return matrix


@parallel
def unfold(matrix, x, steps, kernel, size, stride, before, dilation, share):
    N, C, H, W = x.shape
    for item in part_of(C * kernel[0], share):
        c, r = item // kernel[0], item % kernel[0]
        for s in range(kernel[1]):
            to = (item * kernel[1] + s) * steps[0]
            for n in range(N):
                for i in range(size[0]):
                    row = i * stride[0] + r * dilation[0] - before[0]
                    for j in range(size[1]):
                        col, value = j * stride[1] + s * dilation[1] - before[1], x.dtype.type(0)
                        if 0 <= row < H and 0 <= col < W:
                            value = x[n, c, row, col]
                        matrix[to] = value
                        to += steps[1]


def channels_outside(a):
    """(N, C, H, W) as (C, N*H*W)."""
    return np.ascontiguousarray(a.swapaxes(0, 1)).reshape(a.shape[1], -1)


def multiply_unfolded(y_shape, x, packed, kernel, stride, before, dilation, floor):
    """A convolution as one matrix product, like rung 3. packed: of `pack_weights`."""
    (N, O, rows, cols), (weights, bias) = y_shape, packed
    y = empty((O, N, rows, cols), x.dtype)
    matrix = unfolded(x, kernel, stride, before, dilation, (rows, cols))
    products.mix_packed(y.reshape(1, O, -1), matrix[None], weights.reshape(-1), bias[0, :O], floor)
    result = empty(y_shape, x.dtype)
    result[...] = y.swapaxes(0, 1)
    return result
