"""What all rungs of the convolution ladder share: checking, allocating, and which pass is which.

A rung is three functions that start kernels (`Rung`). Each writes one array that exists already:

    gather    y[n,o,i,j] = b[o] + sum over c,r,s of x[n, c, i*stride + r*dilation - top, ...] * w[o,c,r,s]
    spread    dx[n,c,a,e] = b[c] + sum over all o,r,s and i,j with a = i*stride + r*dilation - top, e = ...
                            of dy[n,o,i,j] * w[o,c,r,s]
    weights   dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * x[n, c, i*stride + r*dilation - top, ...]

Convolution uses them as forward, backward-input and backward-weight. Transposed convolution is the adjoint, so it uses
the first two the other way round: its forward is `spread` (that is why spread has a bias), its backward-input `gather`.
All three take the numbers of rows and columns from the arrays. So they also work where y has fewer rows than the
convolution could make, which happens where a transposed convolution's output_padding reaches the stride.
"""

from typing import NamedTuple

import numpy as np

from ..shapes import (
    check_rank,
    check_shape,
    conv2d_output_shape,
    conv_transpose2d_output_shape,
    pads,
    pair,
    same_dtype,
)
from .arrays import check_device, empty, plain

OUTSIDE = -(2**30)  # a row that is in no picture, whatever is added to it
LARGEST = 2**31 - 1  # elements of an array: the kernels count them in 32 bits


class Steps(NamedTuple):
    """How output pixels and taps are laid over the input: vertical first."""

    stride: tuple
    before: tuple  # rows of padding above, columns on the left
    dilation: tuple
    groups: int


def steps(stride, padding, dilation, groups):
    """The Steps of an op's arguments.

    >>> steps(2, ((0, 1), (2, 1)), 1, 1)
    Steps(stride=(2, 2), before=(0, 2), dilation=(1, 1), groups=1)
    """
    (top, _), (left, _) = pads(padding)
    return Steps(pair(stride), (top, left), pair(dilation), groups)


class Rung:
    """The ops of table.py that belong to a convolution, from a rung's three functions.

    gather(y, x, w, b, relu, steps), spread(dx, dy, w, b, steps) and weights(dw, dy, x, steps) get arrays without gaps
    (b may be None) and write all of their first argument. None of them is called for an empty batch, except `weights`.
    """

    def __init__(self, gather, spread, weights):
        self.gather, self.spread, self.weights = gather, spread, weights

    def conv2d_forward(self, x, w, b, stride, padding, dilation, groups):
        return self._forward(x, w, b, steps_of=(stride, padding, dilation, groups), relu=False)

    def conv2d_relu_forward(self, x, w, b, stride, padding, dilation, groups):
        return self._forward(x, w, b, steps_of=(stride, padding, dilation, groups), relu=True)

    def _forward(self, x, w, b, steps_of, relu):
        check_device(x=x, w=w, b=b)
        dtype = same_dtype(x=x, w=w, b=b)
        check_rank("x", x, 4, "(N, C, H, W)")
        check_rank("w", w, 4, "(O, C/groups, kH, kW)")
        y_shape = conv2d_output_shape(x.shape, w.shape, *steps_of)
        if b is not None:
            check_shape("b", b, (w.shape[0],))
        y = new(y_shape, dtype)
        if y.size:
            self.gather(y, readable("x", x), plain(w), b if b is None else plain(b), relu, steps(*steps_of))
        return y

    def conv2d_backward_input(self, dy, w, x_shape, stride, padding, dilation, groups):
        check_device(dy=dy, w=w)
        dtype = same_dtype(dy=dy, w=w)
        check_rank("w", w, 4, "(O, C/groups, kH, kW)")
        check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
        dx = new(x_shape, dtype)
        if dx.size:
            self.spread(dx, readable("dy", dy), plain(w), None, steps(stride, padding, dilation, groups))
        return dx

    def conv2d_backward_weight(self, dy, x, w_shape, stride, padding, dilation, groups):
        check_device(dy=dy, x=x)
        dtype = same_dtype(dy=dy, x=x)
        check_rank("x", x, 4, "(N, C, H, W)")
        check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
        dw = new(w_shape, dtype)
        self.weights(dw, readable("dy", dy), readable("x", x), steps(stride, padding, dilation, groups))
        return dw

    def conv_transpose2d_forward(self, x, w, b, stride, padding, output_padding, dilation, groups):
        check_device(x=x, w=w, b=b)
        dtype = same_dtype(x=x, w=w, b=b)
        check_rank("x", x, 4, "(N, C, H, W)")
        check_rank("w", w, 4, "(C, O/groups, kH, kW)")
        y_shape = conv_transpose2d_output_shape(x.shape, w.shape, stride, padding, output_padding, dilation, groups)
        if b is not None:
            check_shape("b", b, (y_shape[1],))
        y = new(y_shape, dtype)
        if y.size:
            bias = b if b is None else plain(b)
            self.spread(y, readable("x", x), plain(w), bias, steps(stride, padding, dilation, groups))
        return y

    def conv_transpose2d_backward_input(self, dy, w, x_shape, stride, padding, output_padding, dilation, groups):
        check_device(dy=dy, w=w)
        dtype = same_dtype(dy=dy, w=w)
        check_rank("w", w, 4, "(C, O/groups, kH, kW)")
        y_shape = conv_transpose2d_output_shape(x_shape, w.shape, stride, padding, output_padding, dilation, groups)
        check_shape("dy", dy, y_shape)
        dx = new(x_shape, dtype)
        if dx.size:
            self.gather(dx, readable("dy", dy), plain(w), None, False, steps(stride, padding, dilation, groups))
        return dx

    def conv_transpose2d_backward_weight(self, dy, x, w_shape, stride, padding, output_padding, dilation, groups):
        check_device(dy=dy, x=x)
        dtype = same_dtype(dy=dy, x=x)
        check_rank("x", x, 4, "(N, C, H, W)")
        y_shape = conv_transpose2d_output_shape(x.shape, w_shape, stride, padding, output_padding, dilation, groups)
        check_shape("dy", dy, y_shape)
        dw = new(w_shape, dtype)
        self.weights(dw, readable("x", x), readable("dy", dy), steps(stride, padding, dilation, groups))
        return dw


def new(shape, dtype):
    """A new device array, if the kernels can count its elements."""
    check_countable("the result", shape)
    return empty(tuple(shape), dtype)


def readable(name, array):
    """The array without gaps, if the kernels can count its elements."""
    check_countable(name, array.shape)
    return plain(array)


def check_countable(name, shape):
    """Raise ValueError for an array that is too large to be counted in 32 bits.

    >>> check_countable("x", (4, 1024, 1024, 1024))
    Traceback (most recent call last):
    ...
    ValueError: x has shape (4, 1024, 1024, 1024), more than the 2147483647 elements a convolution on the GPU can \
address; use a smaller batch or smaller pictures
    """
    if int(np.prod(tuple(shape), dtype=np.int64)) > LARGEST:
        raise ValueError(
            f"{name} has shape {tuple(shape)}, more than the {LARGEST} elements a convolution on the GPU can address; "
            "use a smaller batch or smaller pictures"
        )
