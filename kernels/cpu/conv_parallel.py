"""Rung 4 of the convolution ladder: the textbook's loops, compiled, on all cores.

Each thread owns whole output rows, so nobody waits for anybody. The innermost loop runs along a row, where neighbours
in memory are neighbours in the picture: that is what lets the compiler use vector instructions. For each tap it adds
`weight * row of x` to `row of y`; both rows stay in the cache, but the sums travel there and back once for each tap.
Rung 5 keeps them in registers.
"""

import numpy as np

from ..shapes import check_rank, check_shape, conv2d_output_shape, pads, pair, same_dtype
from .activation import relu_forward
from .arrays import plain
from .jit import jit, parallel, part_of


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y = np.empty(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        check_shape("b", b, (len(w),))
    bias = np.zeros(len(w), dtype) if b is None else plain(b)
    forward(y, plain(x), plain(w), bias, pair(stride), pads_before(padding), pair(dilation), groups)
    return y


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return relu_forward(conv2d_forward(x, w, b, stride, padding, dilation, groups))


@parallel
def forward(y, x, w, bias, stride, before, dilation, groups, share):
    N, O, rows, cols = y.shape
    C, H, W = x.shape[1:]
    for item in part_of(N * O * rows, share):
        n, o, i = item // (O * rows), item // rows % O, item % rows
        y[n, o, i] = bias[o]
        first = o // (O // groups) * (C // groups)
        for c in range(C // groups):
            for r in range(w.shape[2]):
                row = i * stride[0] + r * dilation[0] - before[0]
                if 0 <= row < H:
                    for s in range(w.shape[3]):
                        shift = s * dilation[1] - before[1]
                        start, stop = inside(shift, stride[1], cols, W)
                        if start < stop:
                            out, source = y[n, o, i, start:stop], x[n, first + c, row, start * stride[1] + shift :]
                            add_row(out, 1, source, stride[1], w[o, c, r, s], stop - start)


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    dx = np.zeros(x_shape, dtype)
    backward_input(dx, plain(dy), plain(w), pair(stride), pads_before(padding), pair(dilation), groups)
    return dx


@parallel
def backward_input(dx, dy, w, stride, before, dilation, groups, share):
    N, C, H, W = dx.shape
    O, rows, cols = dy.shape[1:]
    per_group = C // groups
    for item in part_of(N * C * H, share):
        n, c, a = item // (C * H), item // H % C, item % H
        group = c // per_group
        for o in range(group * (O // groups), (group + 1) * (O // groups)):
            for r in range(w.shape[2]):
                up = a + before[0] - r * dilation[0]  # forward read row a for output row up/stride
                if up >= 0 and up % stride[0] == 0 and up // stride[0] < rows:
                    for s in range(w.shape[3]):
                        shift = s * dilation[1] - before[1]
                        start, stop = inside(shift, stride[1], cols, W)
                        if start < stop:
                            out, source = (
                                dx[n, c, a, start * stride[1] + shift :],
                                dy[n, o, up // stride[0], start:stop],
                            )
                            add_row(out, stride[1], source, 1, w[o, c % per_group, r, s], stop - start)


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    dw = np.empty(w_shape, dtype)
    backward_weight(dw, plain(dy), plain(x), pair(stride), pads_before(padding), pair(dilation), groups)
    return dw


@parallel
def backward_weight(dw, dy, x, stride, before, dilation, groups, share):
    O, per_group, kH, kW = dw.shape
    N, _, rows, cols = dy.shape
    H, W = x.shape[2:]
    for item in part_of(O * per_group, share):
        o, k = item // per_group, item % per_group
        c = o // (O // groups) * per_group + k
        for r in range(kH):
            for s in range(kW):
                shift = s * dilation[1] - before[1]
                start, stop = inside(shift, stride[1], cols, W)
                total = x.dtype.type(0)
                for n in range(N):
                    for i in range(rows):
                        row = i * stride[0] + r * dilation[0] - before[0]
                        if 0 <= row < H and start < stop:
                            source = x[n, c, row, start * stride[1] + shift :]
                            total += row_product(dy[n, o, i, start:stop], source, stride[1])
                dw[o, k, r, s] = total


def pads_before(padding):
    """The rows of padding above and the columns on the left."""
    (top, _), (left, _) = pads(padding)
    return top, left


@jit
def inside(shift, stride, count, size):
    """The outputs start..stop-1 of `count` for which j*stride + shift lies within 0..size-1."""
    start = min(count, max(0, -(shift // stride)))
    return start, max(start, min(count, (size - 1 - shift) // stride + 1))


@jit
def add_row(out, out_step, source, step, weight, count):
    """out[j*out_step] += weight * source[j*step]. Indices that start at 0 need no check for being negative."""
    if out_step == 1 and step == 1:
        for j in range(count):
            out[j] += weight * source[j]
    elif out_step == 1 and step == 2:  # the most common one; a number that the compiler knows can be vectors, too
        for j in range(count):
            out[j] += weight * source[2 * j]
    elif out_step == 2 and step == 1:
        for j in range(count):
            out[2 * j] += weight * source[j]
    else:
        for j in range(count):
            out[j * out_step] += weight * source[j * step]


@jit
def row_product(dy, source, step):
    """The sum of dy[j] * source[j*step]."""
    total = dy.dtype.type(0)
    if step == 1:
        for j in range(len(dy)):
            total += dy[j] * source[j]
    else:
        for j in range(len(dy)):
            total += dy[j] * source[j * step]
    return total
