"""Max pooling and unpooling: one thread for each output, forward and backward.

Forward, a thread owns a window: it looks at the window's pixels and writes one number. Backward, the arrows turn round.
Each window could give its dy to the pixel that won, but where windows overlap, two threads would then add to one pixel
at once. So here a thread owns a pixel and collects: it asks the few windows that may have chosen this pixel. The
switches themselves tell which windows these are (`find_spans`).

Unpooling has the same difficulty where several values have the same switch: the last one must win, whichever thread
comes last. Here the values' numbers compete first (`claim`), then the winners move.
"""

import numpy as np
from numba import cuda

from ..errors import ShapeError
from ..shapes import check_rank, check_shape, pair, pool2d_output_shape, same_dtype
from . import faults
from .arrays import check_device, empty, zeros
from .faults import SWITCH, note
from .launch import THREADS, blocks, device_function, kernel, launch
from .planes import flat_planes, grid_over, sizes, window

# ------------------------------------------------------------------ maxima


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    check_device(x=x)
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    shape = pool2d_output_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    y, argmax = empty(shape, dtype), empty(shape, np.int32)
    geometry = pair(kernel), pair(stride), pair(padding, minimum=0), pair(dilation)
    over = flat_planes(y)
    launch(max_of_windows, *grid_over(over.shape), over, flat_planes(argmax), flat_planes(x), *sizes(y, x), *geometry)
    return y, argmax


@kernel
def max_of_windows(y, argmax, x, out, size, kernel, stride, padding, dilation):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        j = place - i * out[1]
        top, bottom = window(i, kernel[0], stride[0], padding[0], dilation[0], size[0])
        left, right = window(j, kernel[1], stride[1], padding[1], dilation[1], size[1])
        while plane < y.shape[0]:
            row, winner = top, top * size[1] + left
            best = x[plane, winner]
            while row < bottom:
                pixel = row * size[1] + left
                while pixel < row * size[1] + right:
                    value = x[plane, pixel]
                    if value > best or (value != value and best == best):  # a NaN wins, and after it nothing does
                        winner, best = pixel, value
                    pixel += dilation[1]
                row += dilation[0]
            y[plane, place] = best
            argmax[plane, place] = winner
            plane += cuda.gridsize(2)[1]


def max_pool2d_backward(dy, argmax, x_shape):
    """dx[p] = sum of dy over the windows whose switch is p; each pixel's thread asks the windows in its span."""
    check_device(dy=dy, argmax=argmax)
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, argmax.shape)
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    dx = empty(x_shape, dtype)
    over, switches, (out, size) = flat_planes(dx), flat_planes(argmax), sizes(dy, dx)
    spans = empty((2, sum(size)), np.int32)
    launch(no_spans, blocks(spans.shape[1]), THREADS, spans, max(out))
    launch(find_spans, *grid_over(switches.shape), spans, switches, out, size, faults.board())
    launch(collect_from_winners, *grid_over(over.shape), over, flat_planes(dy), switches, spans, out, size)
    return dx


@kernel
def no_spans(spans, end):
    i = cuda.grid(1)
    if i < spans.shape[1]:
        spans[0, i], spans[1, i] = end, -1


@device_function
def widen(spans, at, number):
    """Take `number` into a span. To look first saves most of the atomics; an old value that is seen costs only one."""
    if number < spans[0, at]:
        cuda.atomic.min(spans, (0, at), np.int32(number))
    if number > spans[1, at]:
        cuda.atomic.max(spans, (1, at), np.int32(number))


@kernel
def find_spans(spans, argmax, out, size, board):
    """For each row and column of pixels: the first and last row or column of windows that have a switch there.

    The kernel's size, stride and dilation do not have to be known, and switches that no pooling has made are right
    too (only then a span may be long). spans (2, H + W) has the first ones and the last ones: H numbers for the rows of
    pixels, then W for the columns. A thread owns one window, in several planes. Taking in more windows than necessary
    does no harm, so it widens the spans of all rows and columns between its outermost switches. (Integer minima and
    maxima: the result is certain, whichever thread is first.)
    """
    place, plane = cuda.grid(2)
    if place < argmax.shape[1]:
        i = place // out[1]
        j = place - i * out[1]
        top, bottom, left, right = size[0], -1, size[1], -1
        while plane < argmax.shape[0]:
            switch = argmax[plane, place]
            if 0 <= switch < size[0] * size[1]:
                row = switch // size[1]
                col = switch - row * size[1]
                top, bottom, left, right = min(top, row), max(bottom, row), min(left, col), max(right, col)
            else:
                note(board, SWITCH, plane * argmax.shape[1] + place, switch, size[0] * size[1] - 1)
            plane += cuda.gridsize(2)[1]
        for row in range(top, bottom + 1):
            widen(spans, row, i)
        for col in range(left, right + 1):
            widen(spans, size[0] + col, j)


@kernel
def collect_from_winners(dx, dy, argmax, spans, out, size):
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        row = place // size[1]
        col = size[0] + place - row * size[1]
        top, bottom, left, right = spans[0, row], spans[1, row] + 1, spans[0, col], spans[1, col] + 1
        while plane < dx.shape[0]:
            total = dx.dtype.type(0)
            for i in range(top, bottom):
                for number in range(i * out[1] + left, i * out[1] + right):
                    if argmax[plane, number] == place:
                        total += dy[plane, number]
            dx[plane, place] = total
            plane += cuda.gridsize(2)[1]


# ------------------------------------------------------------------ unpooling


def max_unpool2d_forward(x, argmax, y_shape):
    check_device(x=x, argmax=argmax)
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("argmax", argmax, x.shape)
    N, C, H, W = y_shape
    if (N, C) != tuple(x.shape[:2]):
        raise ShapeError(f"x has shape {x.shape}, expected {(N, C)} images and channels, as in y {tuple(y_shape)}")
    y = empty(y_shape, dtype)
    owner = owners(flat_planes(argmax), y.shape)
    launch(put, *grid_over(owner.shape), flat_planes(y), flat_planes(x), owner)
    return y


def owners(switches, shape):
    """For each pixel of (N*C, H*W): 1 + the last of the values whose switch it is, 0 where there is none."""
    N, C, H, W = shape
    owner = zeros((N * C, H * W), np.int32)
    launch(claim, *grid_over(switches.shape), owner, switches, faults.board())
    return owner


@kernel
def claim(owner, argmax, board):
    """The largest claim stays, whichever thread comes first: integer maxima are certain."""
    place, plane = cuda.grid(2)
    if place < argmax.shape[1]:
        while plane < argmax.shape[0]:
            switch = argmax[plane, place]
            if 0 <= switch < owner.shape[1]:
                cuda.atomic.max(owner, (plane, switch), np.int32(place + 1))
            else:
                note(board, SWITCH, plane * argmax.shape[1] + place, switch, owner.shape[1] - 1)
            plane += cuda.gridsize(2)[1]


@kernel
def put(y, x, owner):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        while plane < y.shape[0]:
            claimed = owner[plane, place]
            y[plane, place] = x[plane, claimed - 1] if claimed > 0 else y.dtype.type(0)
            plane += cuda.gridsize(2)[1]


def max_unpool2d_backward(dy, argmax):
    check_device(dy=dy, argmax=argmax)
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*argmax.shape[:2], *dy.shape[2:]))
    switches = flat_planes(argmax)
    dx = empty(argmax.shape, dtype)
    owner = owners(switches, dy.shape)
    launch(take, *grid_over(switches.shape), flat_planes(dx), flat_planes(dy), switches, owner)
    return dx


@kernel
def take(dx, dy, argmax, owner):
    """In the forward pass y[argmax] was x, unless a later value had the same switch: then x had no effect."""
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        while plane < dx.shape[0]:
            switch, gradient = argmax[plane, place], dx.dtype.type(0)
            if 0 <= switch < owner.shape[1] and owner[plane, switch] == place + 1:
                gradient = dy[plane, switch]
            dx[plane, place] = gradient
            plane += cuda.gridsize(2)[1]
