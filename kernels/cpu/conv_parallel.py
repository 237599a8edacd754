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
from .jit import parallel, part_of
from .rows import add_row, row_product


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y = np.empty(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        check_shape("b", b, (len(w),))
    bias = np.zeros(len(w), dtype) if b is None else plain(b)
    columns = columns_of(w.shape, y.shape[3], x.shape[3], stride, padding, dilation)
    down = pair(stride), pads_before(padding)[0], pair(dilation)[0]
    forward(y, plain(x), plain(w), bias, *down, columns, groups)
    return y


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return relu_forward(conv2d_forward(x, w, b, stride, padding, dilation, groups))


@parallel
def forward(y, x, w, bias, stride, top, dilation, columns, groups, share):
    N, O, rows, cols = y.shape
    C, H, W = x.shape[1:]
    flat = x.reshape(x.size)  # a row of an array with one axis is found in a fraction of the time
    for item in part_of(N * O * rows, share):
        n, o, i = item // (O * rows), item // rows % O, item % rows
        line = y[n, o, i]
        line[:] = bias[o]
        first = o // (O // groups) * (C // groups)
        for c in range(C // groups):
            for r in range(w.shape[2]):
                row = i * stride[0] + r * dilation - top
                if 0 <= row < H:
                    x0 = ((n * C + first + c) * H + row) * W
                    for s in range(w.shape[3]):
                        start, count, col = columns[s]
                        if count > 0:
                            add_row(line[start:], 1, flat[x0 + col :], stride[1], w[o, c, r, s], count)


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    dx = np.zeros(x_shape, dtype)
    columns = columns_of(w.shape, dy.shape[3], x_shape[3], stride, padding, dilation)
    down = pair(stride), pads_before(padding)[0], pair(dilation)[0]
    backward_input(dx, plain(dy), plain(w), *down, columns, groups)
    return dx


@parallel
def backward_input(dx, dy, w, stride, top, dilation, columns, groups, share):
    N, C, H, W = dx.shape
    O, rows, cols = dy.shape[1:]
    per_group, flat = C // groups, dy.reshape(dy.size)
    for item in part_of(N * C * H, share):
        n, c, a = item // (C * H), item // H % C, item % H
        line, group = dx[n, c, a], c // per_group
        for r in range(w.shape[2]):
            up = a + top - r * dilation  # forward read row a for output row up/stride
            if up >= 0 and up % stride[0] == 0 and up // stride[0] < rows:
                for o in range(group * (O // groups), (group + 1) * (O // groups)):
                    dy0 = ((n * O + o) * rows + up // stride[0]) * cols
                    for s in range(w.shape[3]):
                        start, count, col = columns[s]
                        if count > 0:
                            weight = w[o, c % per_group, r, s]
                            add_row(line[col:], stride[1], flat[dy0 + start :], 1, weight, count)


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    dw = np.empty(w_shape, dtype)
    columns = columns_of(w_shape, dy.shape[3], x.shape[3], stride, padding, dilation)
    down = pair(stride), pads_before(padding)[0], pair(dilation)[0]
    backward_weight(dw, plain(dy), plain(x), *down, columns, groups)
    return dw


@parallel
def backward_weight(dw, dy, x, stride, top, dilation, columns, groups, share):
    O, per_group, kH, kW = dw.shape
    N, _, rows, cols = dy.shape
    C, H, W = x.shape[1:]
    flat_x, flat_dy = x.reshape(x.size), dy.reshape(dy.size)
    for item in part_of(O * per_group, share):
        o, k = item // per_group, item % per_group
        c = o // (O // groups) * per_group + k
        for r in range(kH):
            for s in range(kW):
                start, count, col = columns[s]
                total = x.dtype.type(0)
                for n in range(N):
                    for i in range(rows):
                        row = i * stride[0] + r * dilation - top
                        if 0 <= row < H and count > 0:
                            x0 = ((n * C + c) * H + row) * W + col
                            dy0 = ((n * O + o) * rows + i) * cols + start
                            total += row_product(flat_dy[dy0 : dy0 + count], flat_x[x0:], stride[1])
                dw[o, k, r, s] = total


def columns_of(w_shape, cols, W, stride, padding, dilation):
    """For each column s of the kernel (start, count, col): outputs start, ..., start + count - 1 see pixels of the row.

    The first of them sees the one in column col; the others see padding.
    """
    _, left = pads_before(padding)
    stride, found = pair(stride)[1], []
    for s in range(w_shape[3]):
        shift = s * pair(dilation)[1] - left  # of output 0
        start = min(cols, max(0, -(shift // stride)))
        stop = min(cols, (W - 1 - shift) // stride + 1)
        found.append((start, max(0, stop - start), start * stride + shift if stop > start else 0))
    return np.array(found)


def pads_before(padding):
    """The rows of padding above and the columns on the left."""
    (top, _), (left, _) = pads(padding)
    return top, left
