"""Pooling and unpooling: every output is computed by one thread, forward and backward.

Backward would naturally scatter: each window gives its dy to the pixel that won. Threads that own whole planes can do
just that, one window after the other, without getting into each other's way.
"""

import numpy as np
from numba import prange

from ..errors import ShapeError
from ..reference.pool import avg_pool_divisor, check_switches
from ..shapes import check_rank, check_shape, pair, pool2d_output_shape, same_dtype
from .arrays import plain
from .jit import parallel


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    shape = pool2d_output_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y, argmax = np.empty(shape, dtype), np.empty(shape, np.int32)
    x = plain(x)
    (kH, kW), padding = pair(kernel), pair(padding, minimum=0)
    if (kH, kW) == pair(stride) == (2, 2) and padding == (0, 0) and pair(dilation) == (1, 1) and not ceil_mode:
        max_of_four(y, argmax, x)
    else:
        max_of_windows(y, argmax, x, (kH, kW), pair(stride), padding, pair(dilation))
    return y, argmax


@parallel
def max_of_windows(y, argmax, x, kernel, stride, padding, dilation):
    N, C, rows, cols = y.shape
    H, W = x.shape[2:]
    for item in prange(N * C):
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


@parallel
def max_of_four(y, argmax, x):
    """The pool that nearly every net uses: 2x2, without overlap."""
    N, C, rows, cols = y.shape
    W = x.shape[3]
    for item in prange(N * C):
        n, c = item // C, item % C
        for i in range(rows):
            for j in range(cols):
                place, best = 2 * i * W + 2 * j, x[n, c, 2 * i, 2 * j]
                for tap in range(1, 4):
                    row, col = 2 * i + tap // 2, 2 * j + tap % 2
                    value = x[n, c, row, col]
                    if value > best or (value != value and best == best):
                        place, best = row * W + col, value
                y[n, c, i, j], argmax[n, c, i, j] = best, place


def max_pool2d_backward(dy, argmax, x_shape):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, argmax.shape)
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    dx = np.empty(x_shape, dtype)
    give_to_winners(planes(dx), planes(plain(dy)), planes(plain(argmax)))
    return dx


@parallel
def give_to_winners(dx, dy, argmax):
    for plane in prange(len(dy)):
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
    y = np.empty(y_shape, dtype)
    put(planes(y), planes(plain(x)), planes(plain(argmax)))
    return y


@parallel
def put(y, x, argmax):
    """y[argmax] = x in each plane, the last of equal switches winning; zeros elsewhere."""
    for plane in prange(len(x)):
        y[plane, :] = 0
        for p in range(x.shape[1]):
            y[plane, argmax[plane, p]] = x[plane, p]


def max_unpool2d_backward(dy, argmax):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*argmax.shape[:2], *dy.shape[2:]))
    check_switches(argmax, *dy.shape[2:])
    dx = np.empty(argmax.shape, dtype)
    take(planes(dx), planes(plain(dy)), planes(plain(argmax)))
    return dx


@parallel
def take(dx, dy, argmax):
    """dx = dy[argmax] in each plane, 0 for all but the last of equal switches."""
    for plane in prange(len(dx)):
        taken = np.zeros(dy.shape[1], np.bool_)
        for p in range(dx.shape[1] - 1, -1, -1):
            place = argmax[plane, p]
            dx[plane, p] = 0 if taken[place] else dy[plane, place]
            taken[place] = True


def planes(a):
    """(N, C, H, W) as (N*C, H*W)."""
    N, C, H, W = a.shape
    return a.reshape(N * C, H * W)


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y = np.empty(pool2d_output_shape(x.shape, kernel, stride, padding, 1, ceil_mode), dtype)
    share = 1 / avg_pool_divisor(x.shape, y.shape, kernel, stride, padding, count_include_pad)
    mean_of_windows(y, plain(x), share.astype(dtype), pair(kernel), pair(stride), pair(padding, minimum=0))
    return y


@parallel
def mean_of_windows(y, x, share, kernel, stride, padding):
    N, C, rows, cols = y.shape
    H, W = x.shape[2:]
    for item in prange(N * C):
        n, c = item // C, item % C
        for i in range(rows):
            top = i * stride[0] - padding[0]
            for j in range(cols):
                left, total = j * stride[1] - padding[1], x.dtype.type(0)
                for row in range(max(top, 0), min(top + kernel[0], H)):
                    for col in range(max(left, 0), min(left + kernel[1], W)):
                        total += x[n, c, row, col]
                y[n, c, i, j] = total * share[i, j]


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, pool2d_output_shape(x_shape, kernel, stride, padding, 1, ceil_mode))
    dx = np.empty(x_shape, dtype)
    share = 1 / avg_pool_divisor(x_shape, dy.shape, kernel, stride, padding, count_include_pad)
    share_out(dx, plain(dy), share.astype(dtype), pair(kernel), pair(stride), pair(padding, minimum=0))
    return dx


@parallel
def share_out(dx, dy, share, kernel, stride, padding):
    N, C, rows, cols = dy.shape
    H, W = dx.shape[2:]
    for item in prange(N * C):
        n, c = item // C, item % C
        dx[n, c] = 0
        for i in range(rows):
            top = i * stride[0] - padding[0]
            for j in range(cols):
                left, part = j * stride[1] - padding[1], dy[n, c, i, j] * share[i, j]
                for row in range(max(top, 0), min(top + kernel[0], H)):
                    for col in range(max(left, 0), min(left + kernel[1], W)):
                        dx[n, c, row, col] += part
