"""Rung 1 of the convolution ladder on the GPU: one thread for each output.

The loops over outputs of `reference/conv_loops.py` become the grid: thread t owns output number t, runs the loops over
channels and taps that are left, and writes once. Neighbouring threads own neighbouring pixels, so what the 32 threads
of a warp read at one moment are neighbours in memory (one transaction instead of 32), and they all need the same
weight.

Nothing is kept: a 3x3 convolution to 64 channels reads every pixel of x 9*64 times, and for each product two numbers
travel from the caches to the thread. The memory system is busy, the arithmetic units wait. Rung 2 keeps a tile of the
picture in the block's shared memory, rung 3 a tile of the outputs in each thread's registers.
"""

from numba import cuda

from .arrays import flat
from .conv_ops import Rung
from .launch import THREADS, blocks, device_function, kernel, launch
from .reduce import WIDTH, block_sum


@device_function
def unravel(index, shape):
    """Where element number `index` of an array with four axes lies."""
    plane, place = index // (shape[2] * shape[3]), index % (shape[2] * shape[3])
    return plane // shape[1], plane % shape[1], place // shape[3], place % shape[3]


def gather(y, x, w, b, relu, steps):
    launch(gather_each, blocks(y.size), THREADS, y, x, w, flat(w) if b is None else b, b is not None, relu, *steps)


@kernel
def gather_each(y, x, w, b, has_bias, relu, stride, before, dilation, groups):
    """One thread for each y[n,o,i,j]."""
    index = cuda.grid(1)
    if index >= y.size:
        return
    n, o, i, j = unravel(index, y.shape)
    first = o // (y.shape[1] // groups) * w.shape[1]  # the first channel of this output's group
    total = x.dtype.type(0)
    for c in range(w.shape[1]):
        for r in range(w.shape[2]):
            row = i * stride[0] + r * dilation[0] - before[0]
            for s in range(w.shape[3]):
                col = j * stride[1] + s * dilation[1] - before[1]
                if 0 <= row < x.shape[2] and 0 <= col < x.shape[3]:
                    total += x[n, first + c, row, col] * w[o, c, r, s]
    if has_bias:
        total += b[o]
    y[n, o, i, j] = x.dtype.type(0) if relu and total <= 0 else total


def spread(dx, dy, w, b, steps):
    launch(spread_each, blocks(dx.size), THREADS, dx, dy, w, flat(w) if b is None else b, b is not None, *steps)


@kernel
def spread_each(dx, dy, w, b, has_bias, stride, before, dilation, groups):
    """One thread for each dx[n,c,row,col].

    Forward read this pixel for output i with tap r where row = i*stride + r*dilation - top. To spread each dy over the
    pixels that it came from, threads would have to add to the same pixel at once. So the pixel collects instead: for
    each tap, from the one output i = (row + top - r*dilation)/stride, if that is a whole number and there is such an i.
    """
    index = cuda.grid(1)
    if index >= dx.size:
        return
    n, c, row, col = unravel(index, dx.shape)
    per_group = dy.shape[1] // groups
    first = c // w.shape[1] * per_group  # the first output of this channel's group
    total = dx.dtype.type(0)
    for r in range(w.shape[2]):
        i = row + before[0] - r * dilation[0]
        if i >= 0 and i % stride[0] == 0 and i // stride[0] < dy.shape[2]:
            for s in range(w.shape[3]):
                j = col + before[1] - s * dilation[1]
                if j >= 0 and j % stride[1] == 0 and j // stride[1] < dy.shape[3]:
                    for o in range(first, first + per_group):
                        total += dy[n, o, i // stride[0], j // stride[1]] * w[o, c % w.shape[1], r, s]
    if has_bias:
        total += b[c]
    dx[n, c, row, col] = total


def weights(dw, dy, x, steps):
    launch(weights_each, dw.size, WIDTH, dw, dy, x, *steps)


@kernel
def weights_each(dw, dy, x, stride, before, dilation, groups):
    """One block for each dw[o,c,r,s].

    There are few weights, and each is a sum over all pixels of all images: the block's threads share the pixels (thread
    t takes pixels t, t + WIDTH, ...) and add up their sums in a tree.
    """
    lines = cuda.shared.array(WIDTH, dw.dtype)
    o, c, r, s = unravel(cuda.blockIdx.x, dw.shape)
    channel = o // (dw.shape[0] // groups) * dw.shape[1] + c
    pixels = dy.shape[2] * dy.shape[3]
    total = dw.dtype.type(0)
    for n in range(dy.shape[0]):
        p = cuda.threadIdx.x
        while p < pixels:
            i, j = p // dy.shape[3], p % dy.shape[3]
            row = i * stride[0] + r * dilation[0] - before[0]
            col = j * stride[1] + s * dilation[1] - before[1]
            if 0 <= row < x.shape[2] and 0 <= col < x.shape[3]:
                total += dy[n, o, i, j] * x[n, channel, row, col]
            p += WIDTH
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        dw[o, c, r, s] = total


rung = Rung(gather, spread, weights)
conv2d_forward = rung.conv2d_forward
conv2d_relu_forward = rung.conv2d_relu_forward
conv2d_backward_input = rung.conv2d_backward_input
conv2d_backward_weight = rung.conv2d_backward_weight
conv_transpose2d_forward = rung.conv_transpose2d_forward
conv_transpose2d_backward_input = rung.conv_transpose2d_backward_input
conv_transpose2d_backward_weight = rung.conv_transpose2d_backward_weight
