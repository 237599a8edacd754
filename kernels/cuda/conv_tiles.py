"""Rung 2 of the convolution ladder on the GPU: the block's threads load what they share once, into shared memory.

The threads of a block own a square of output pixels. For one input channel they all read from the same piece of the
picture: the square and a rim as wide as the kernel reaches, the halo. And they all need the same few weights. So for
each channel

    the threads load the piece with its halo and the channel's weights into shared memory, each some of it,
    wait for each other (a barrier), since they are going to read what others have loaded,
    add up the taps of their own pixels, reading from shared memory alone,
    and wait again, before anybody overwrites the piece with the next channel's.

A pixel now comes from global memory once for a block and output channel (1.3 times with the halo of a 3x3 kernel),
instead of nine times. But every product still fetches a number from shared memory: rung 3 lets each number that a
thread has fetched take part in several.

The halo must fit, and with a stride most of a piece would be skipped: other convolutions, and the weights' gradient,
are rung 1's.
"""

import numpy as np
from numba import cuda

from . import conv_plain
from .arrays import flat
from .conv_ops import Rung
from .launch import SIMULATED, blocks, kernel, launch

i32, u32 = np.int32, np.uint32

TILE = 4 if SIMULATED else 16  # rows and columns of outputs in a block
REACH = 4 if SIMULATED else 24  # pixels that a kernel may reach beyond its first tap
SIDE = TILE + REACH
PIECE = SIDE * SIDE
MOST_TAPS = 9 if SIMULATED else 169
MOST = 65535  # blocks that a grid has along y and z


def gather(y, x, w, b, relu, steps):
    if fits(y, w, steps):
        start(y, x, w, b, relu, False, steps.before, steps)
    else:
        conv_plain.gather(y, x, w, b, relu, steps)


def spread(dx, dy, w, b, steps):
    """Forward, output i met pixel i + r*dilation - top with tap r; so pixel a collects from a - r*dilation + top.

    Counted from the last tap, r = kH - 1 - t, that is a + t*dilation - (dilation*(kH - 1) - top): forward again, with
    another padding, the kernel turned by 180 degrees, and the roles of its channels exchanged.
    """
    if fits(dx, w, steps):
        reach = reach_of(w, steps)
        before = reach[0] - steps.before[0], reach[1] - steps.before[1]
        start(dx, dy, w, b, False, True, before, steps)
    else:
        conv_plain.spread(dx, dy, w, b, steps)


def reach_of(w, steps):
    return steps.dilation[0] * (w.shape[2] - 1), steps.dilation[1] * (w.shape[3] - 1)


def fits(y, w, steps):
    small = max(reach_of(w, steps)) <= REACH and w.shape[2] * w.shape[3] <= MOST_TAPS
    return small and steps.stride == (1, 1) and max(y.shape[0], y.shape[1]) <= MOST


def start(y, x, w, b, relu, turned, before, steps):
    grid = blocks(y.shape[2], TILE) * blocks(y.shape[3], TILE), y.shape[1], y.shape[0]
    bias = flat(w) if b is None else b
    numbers = (tuple(x.shape), (w.shape[2], w.shape[3]), before, steps.dilation, steps.groups)
    launch(gather_tile, grid, (TILE, TILE), y, flat(x), flat(w), bias, b is not None, relu, turned, *numbers)


@kernel
def gather_tile(y, x, w, b, has_bias, relu, turned, x_shape, taps, before, dilation, groups):
    """One block for each square of y[n,o]; turned: w is (channels of x, of y / groups, ...) and rotated.

    Shared memory is seen as one axis, with unsigned indices: Numba would test signed ones for x[-1], at every product.
    """
    piece = cuda.shared.array(PIECE, y.dtype)
    weights = cuda.shared.array(MOST_TAPS, y.dtype)
    o, n = cuda.blockIdx.y, cuda.blockIdx.z
    across = (y.shape[3] + TILE - 1) // TILE
    down, right = u32(cuda.threadIdx.y), u32(cuda.threadIdx.x)
    i0, j0 = cuda.blockIdx.x // across * TILE, cuda.blockIdx.x % across * TILE  # the square's first pixel
    rows, cols = TILE + (taps[0] - 1) * dilation[0], TILE + (taps[1] - 1) * dilation[1]  # of the piece
    count, per_group, outputs = taps[0] * taps[1], x_shape[1] // groups, y.shape[1] // groups
    first = o // outputs * per_group
    total = y.dtype.type(0)
    for c in range(first, first + per_group):
        a = down
        while a < u32(rows):
            row = i32(i0 - before[0] + i32(a))
            start = i32(((n * x_shape[1] + c) * x_shape[2] + row) * x_shape[3])
            e = right
            while e < u32(cols):
                col = i32(j0 - before[1] + i32(e))
                inside = u32(row) < u32(x_shape[2]) and u32(col) < u32(x_shape[3])  # -1 is large as an unsigned number
                piece[u32(a * u32(SIDE) + e)] = x[u32(start + col)] if inside else y.dtype.type(0)
                e = u32(e + u32(TILE))
            a = u32(a + u32(TILE))
        matrix = i32(c * outputs + o % outputs) if turned else i32(o * per_group + c - first)
        t = u32(down * u32(TILE) + right)
        while t < u32(count):
            weights[t] = w[u32(matrix * count + (count - 1 - i32(t) if turned else i32(t)))]
            t = u32(t + u32(TILE * TILE))
        cuda.syncthreads()
        at, t = u32(down * u32(SIDE) + right), u32(0)
        for _ in range(taps[0]):
            here = at
            for _ in range(taps[1]):
                total += piece[here] * weights[t]
                here, t = u32(here + u32(dilation[1])), u32(t + u32(1))
            at = u32(at + u32(dilation[0] * SIDE))
        cuda.syncthreads()
    if has_bias:
        total += b[o]
    i, j = i0 + i32(down), j0 + i32(right)
    if i < y.shape[2] and j < y.shape[3]:
        y[n, o, i, j] = y.dtype.type(0) if relu and total <= 0 else total


rung = Rung(gather, spread, conv_plain.weights)
conv2d_forward = rung.conv2d_forward
conv2d_relu_forward = rung.conv2d_relu_forward
conv2d_backward_input = rung.conv2d_backward_input
conv2d_backward_weight = rung.conv2d_backward_weight
conv_transpose2d_forward = rung.conv_transpose2d_forward
conv_transpose2d_backward_input = rung.conv_transpose2d_backward_input
conv_transpose2d_backward_weight = rung.conv_transpose2d_backward_weight
