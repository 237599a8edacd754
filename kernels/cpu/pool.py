"""Pooling and unpooling: every output is computed by one thread, forward and backward.

Backward would naturally scatter: each window gives its dy to the pixel that won. Threads that own whole planes can do
just that, one window after the other, without getting into each other's way.
"""

import numpy as np

from ..errors import ShapeError
from ..reference.pool import avg_pool_divisor, check_switches
from ..shapes import check_rank, check_shape, pair, pool2d_output_shape, same_dtype
from .arrays import plain, planes
from .jit import jit, parallel, part_of
from .memory import empty
from .rows import add_row
from .twofold import gather, spread


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    shape = pool2d_output_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y, argmax = empty(shape, dtype), empty(shape, np.int32)
    x = plain(x)
    (kH, kW), padding = pair(kernel), pair(padding, minimum=0)
    if (kH, kW) == pair(stride) == (2, 2) and padding == (0, 0) and pair(dilation) == (1, 1) and not ceil_mode:
        integer = np.dtype(f"i{dtype.itemsize}").type
        infinity, largest = dtype.type(np.inf).view(integer), np.iinfo(integer).max
        max_of_four(bits(y), flat_planes(argmax), bits(x), y.shape[2], x.shape[3], infinity, integer(largest))
    else:
        max_of_windows(y, argmax, x, (kH, kW), pair(stride), padding, pair(dilation))
    return y, argmax


@parallel
def max_of_windows(y, argmax, x, kernel, stride, padding, dilation, share):
    N, C, rows, cols = y.shape
    H, W = x.shape[2:]
    for item in part_of(N * C, share):
        n, c = item // C, item % C
        for i in range(rows):
            for j in range(cols):
                place, best = np.int64(-1), x[n, c, 0, 0]
                for r in range(kernel[0]):
                    row = i * stride[0] + r * dilation[0] - padding[0]
                    if 0 <= row < H:
                        for s in range(kernel[1]):
                            col = j * stride[1] + s * dilation[1] - padding[1]
                            if 0 <= col < W:
                                value = x[n, c, row, col]
                                # the first real pixel, or a larger one, or a NaN after which nothing is larger
                                if place < 0 or value > best or (value != value and best == best):
                                    place, best = row * W + col, value
                y[n, c, i, j], argmax[n, c, i, j] = best, place


def bits(a):
    """(planes, pixels) of an array, its numbers as integers of the same size."""
    return flat_planes(a).view(f"i{a.itemsize}")


@parallel
def max_of_four(y, argmax, x, rows, W, infinity, largest, share):
    """The pool that nearly every net uses: 2x2, without overlap. y and x as `bits`.

    Integers, because where vectors do not fit the compiler chooses among floating numbers by jumps, which the processor
    can't foresee.
    """
    cols = W // 2
    for plane in part_of(len(y), share):
        values, best, place = x[plane], y[plane], argmax[plane]
        for i in range(rows):
            upper, lower = values[2 * i * W : (2 * i + 1) * W], values[(2 * i + 1) * W : (2 * i + 2) * W]
            span = slice(i * cols, (i + 1) * cols)
            max_of_two_rows(best[span], place[span], upper, lower, 2 * i * W, infinity, largest)


@jit
def max_of_two_rows(y, argmax, upper, lower, start, infinity, largest):
    """`start` is where the upper row begins in its plane."""
    down, integer = np.int32(len(upper)), y.dtype.type  # integers keep their size only if every result is cast to it
    for j in range(len(y)):
        best, place, highest = upper[2 * j], np.int32(0), integer(0)
        for k in range(4):
            value = upper[2 * j + k % 2] if k < 2 else lower[2 * j + k % 2]
            # the bits without the highest one, the sign, are in order as integers; NaN is beyond infinity
            magnitude = integer(value & largest)
            height = integer(magnitude if value >= 0 else -magnitude)
            height = largest if magnitude > infinity else height
            wins = (k == 0) | (height > highest)
            highest = height if wins else highest
            best = value if wins else best
            place = np.int32(k) if wins else place
        y[j] = best
        argmax[j] = np.int32(np.int32(start + 2 * j) + np.int32(np.int32(place & 1) + np.int32(place >> 1) * down))


def max_pool2d_backward(dy, argmax, x_shape):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, argmax.shape)
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    dx = empty(x_shape, dtype)
    give_to_winners(flat_planes(dx), flat_planes(plain(dy)), flat_planes(plain(argmax)))
    return dx


@parallel
def give_to_winners(dx, dy, argmax, share):
    for plane in part_of(len(dy), share):
        dx[plane, :] = 0
        for p in range(dy.shape[1]):
            dx[plane, argmax[plane, p]] += dy[plane, p]


def max_unpool2d_forward(x, argmax, y_shape):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("argmax", argmax, x.shape)
    N, C, H, W = y_shape
    if (N, C) != x.shape[:2]:
        raise ShapeError(f"x has shape {x.shape}, expected {(N, C)} images and channels, as in y {tuple(y_shape)}")
    check_switches(argmax, H, W)
    y = empty(y_shape, dtype)
    put(flat_planes(y), flat_planes(plain(x)), flat_planes(plain(argmax)))
    return y


@parallel
def put(y, x, argmax, share):
    """y[argmax] = x in each plane, the last of equal switches winning; zeros elsewhere."""
    for plane in part_of(len(x), share):
        y[plane, :] = 0
        for p in range(x.shape[1]):
            y[plane, argmax[plane, p]] = x[plane, p]


def max_unpool2d_backward(dy, argmax):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*argmax.shape[:2], *dy.shape[2:]))
    check_switches(argmax, *dy.shape[2:])
    dx = empty(argmax.shape, dtype)
    take(flat_planes(dx), flat_planes(plain(dy)), flat_planes(plain(argmax)))
    return dx


@parallel
def take(dx, dy, argmax, share):
    """dx = dy[argmax] in each plane, 0 for all but the last of equal switches."""
    for plane in part_of(len(dx), share):
        taken = np.zeros(dy.shape[1], np.bool_)
        for p in range(dx.shape[1] - 1, -1, -1):
            place = argmax[plane, p]
            dx[plane, p] = 0 if taken[place] else dy[plane, place]
            taken[place] = True


def flat_planes(a):
    """(N, C, H, W) as (N*C, H*W)."""
    N, C, H, W = a.shape
    return a.reshape(N * C, H * W)


def halves(x_shape, kernel, stride, padding):
    """Whether the windows are 2x2 and cut an image into equal parts: each pixel then belongs to just one."""
    even = x_shape[2] % 2 == x_shape[3] % 2 == 0
    return even and pair(kernel) == pair(stride) == (2, 2) and pair(padding, minimum=0) == (0, 0)


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y = empty(pool2d_output_shape(x.shape, kernel, stride, padding, 1, ceil_mode), dtype)
    if halves(x.shape, kernel, stride, padding):
        gather(planes(y), planes(plain(x)), dtype.type(0.25))
        return y
    scale = 1 / avg_pool_divisor(x.shape, y.shape, kernel, stride, padding, count_include_pad)
    mean_of_windows(y, plain(x), scale.astype(dtype), pair(kernel), pair(stride), pair(padding, minimum=0))
    return y


@parallel
def mean_of_windows(y, x, scale, kernel, stride, padding, share):
    """The rows of a window are added up first, whole rows at a time; then its columns."""
    N, C, rows, cols = y.shape
    H, W = x.shape[2:]
    one, width = x.dtype.type(1), max(W + padding[1], (cols - 1) * stride[1] + kernel[1])
    for item in part_of(N * C, share):
        n, c = item // C, item % C
        line = np.zeros(width, x.dtype)  # with the padding, whose zeros stay
        inside = line[padding[1] : padding[1] + W]
        for i in range(rows):
            top = i * stride[0] - padding[0]
            inside[:] = 0
            for row in range(max(top, 0), min(top + kernel[0], H)):
                add_row(inside, 1, x[n, c, row], 1, one, W)
            out = y[n, c, i]
            out[:] = 0
            for s in range(kernel[1]):
                add_row(out, 1, line[s:], stride[1], one, cols)
            for j in range(cols):
                out[j] *= scale[i, j]


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, pool2d_output_shape(x_shape, kernel, stride, padding, 1, ceil_mode))
    dx = empty(x_shape, dtype)
    if halves(x_shape, kernel, stride, padding):
        spread(planes(dx), planes(plain(dy)), dtype.type(0.25))
        return dx
    scale = 1 / avg_pool_divisor(x_shape, dy.shape, kernel, stride, padding, count_include_pad)
    share_out(dx, plain(dy), scale.astype(dtype), pair(kernel), pair(stride), pair(padding, minimum=0))
    return dx


@parallel
def share_out(dx, dy, scale, kernel, stride, padding, share):
    """The same backward: a row of gradients is spread over its windows' columns, and that line added to the rows."""
    N, C, rows, cols = dy.shape
    H, W = dx.shape[2:]
    one, width = dx.dtype.type(1), max(W + padding[1], (cols - 1) * stride[1] + kernel[1])
    for item in part_of(N * C, share):
        n, c = item // C, item % C
        line, part = np.empty(width, dx.dtype), np.empty(cols, dx.dtype)
        dx[n, c] = 0
        for i in range(rows):
            top, gradients = i * stride[0] - padding[0], dy[n, c, i]
            for j in range(cols):
                part[j] = gradients[j] * scale[i, j]
            line[:] = 0
            for s in range(kernel[1]):
                add_row(line[s:], stride[1], part, 1, one, cols)
            for row in range(max(top, 0), min(top + kernel[0], H)):
                add_row(dx[n, c, row], 1, line[padding[1] :], 1, one, W)
