"""Convolution on vectors: one engine for forward, backward-input and transposed convolution, one for the weights.

Every one of them is a sum over taps. A tap is an input channel and an offset: with taps k = (c, row, col),

    gather    y[n,o,i,j] = b[o] + sum over k of w[o,k] * x[n, c_k, i*stride + row_k, j*stride + col_k]
    weights   dw[o,k] = sum over n,i,j of dy[n,o,i,j] * x[n, c_k, i*stride + row_k, j*stride + col_k]

In forward the taps are the kernel's, in backward-input those of the rotated kernel. With a stride, backward-input falls
apart into stride*stride smaller ones: input pixels of one phase (a % stride) all meet the same taps, so dy is never
spread out with zeros.

Work is cut into blocks of rows. A block's input rows are copied once into a small buffer that stays in the L2 cache,
with zeros where the padding is and with the columns sorted by phase, so that neighbouring outputs always read
neighbouring numbers. Then `micro.dot_tile` runs over it with a table of tap offsets; kernel size, dilation and stride
are nothing but other numbers in that table. No im2col matrix exists at any time.

Blocks depend on the shapes alone, never on the number of threads, and their sums are added in a fixed order: so the
results are the same bits on any number of threads.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import prange

from ..reference.conv import resized
from ..shapes import (
    check_rank,
    check_shape,
    conv2d_output_shape,
    conv_transpose2d_output_shape,
    pads,
    pair,
    same_dtype,
)
from . import conv_parallel
from .arrays import plain
from .jit import jit, parallel
from .micro import MACHINE, dot_tile, lanes, outer_tile

BLOCK_BYTES = 192 * 1024  # of input rows in a block: a part of a usual L2 cache
BLOCKS = 8  # cut at least so many blocks where there are rows enough, so that threads are evenly busy
SEGMENT = 256  # pixels of dy that `weights` takes at a time: a tile's dy then stays in the L1 cache
PARTIAL_BYTES = 16 * 2**20  # `weights` keeps a sum for each block, but no more than this of them

(R, V), (WR, WV) = MACHINE.pixels_tile, MACHINE.weights_tile
dot, dot_single = dot_tile(R, V), dot_tile(1, V)
outer = outer_tile(WR, WV)


# ------------------------------------------------------------------ the plan: what a block looks like in memory


class Plan(NamedTuple):
    """Where everything is in a block's buffer. Sizes are in numbers, not in bytes."""

    blocks: int  # blocks of rows in one image
    block_rows: int  # output rows in a block (the last one may have fewer)
    cols: int  # output columns
    step_down: int  # from one output to the next, in input rows; and in columns
    step_right: int
    first_row: int  # the smallest row and column of a tap
    first_col: int
    phases: np.ndarray  # (phases, 2): remainder of row and column by the stride; only those that a tap needs
    buffer_rows: int  # rows of one channel and phase
    pitch: int  # columns of one channel and phase
    channel: int  # numbers in one channel, and in one group
    group: int
    offsets: np.ndarray  # (taps,): where a tap of the first output pixel is; padded with zeros to whole tiles
    lanes: int


def make_plan(channels, groups, taps, stride, out_size, dtype):
    """The Plan for `taps`, an integer array (K, 3) of channel within the group, row and column."""
    (sh, sw), (rows, cols) = stride, out_size
    first = int(taps[:, 1].min()), int(taps[:, 2].min())
    down, right = taps[:, 1] - first[0], taps[:, 2] - first[1]
    phase_of = np.stack([down % sh, right % sw], axis=1)
    phases, phase = np.unique(phase_of, axis=0, return_inverse=True)
    pitch, halo = cols + int(right.max()) // sw, int(down.max()) // sh
    wanted = BLOCK_BYTES // (channels * len(phases) * pitch * dtype.itemsize) - halo
    block_rows = max(1, min(wanted, rows, max(4, -(-rows // BLOCKS))))
    blocks = -(-rows // block_rows)
    block_rows = -(-rows // blocks)  # as even as can be
    buffer_rows = block_rows + halo
    offsets = (taps[:, 0] * len(phases) + phase.ravel()) * (buffer_rows * pitch) + down // sh * pitch + right // sw
    offsets = np.concatenate([offsets, np.zeros(-len(offsets) % WR, np.int64)])
    channel = len(phases) * buffer_rows * pitch
    group = channels // groups * channel
    return Plan(
        blocks, block_rows, cols, sh, sw, *first, phases, buffer_rows, pitch, channel, group, offsets, lanes(dtype)
    )


@jit
def fill_block(buffer, x, n, row0, plan):
    """Copy the rows of image n that a block starting at output row `row0` needs, zeros where there is padding."""
    C, H, W = x.shape[1:]
    sh, sw = plan.step_down, plan.step_right
    p = 0
    for c in range(C):
        for f in range(len(plan.phases)):
            left = plan.first_col + plan.phases[f, 1]  # the input column of buffer column 0
            start = min(plan.pitch, max(0, -(left // sw)))  # the first buffer column inside the picture
            stop = max(start, min(plan.pitch, (W - 1 - left) // sw + 1))
            for i in range(plan.buffer_rows):
                row = (row0 + i) * sh + plan.first_row + plan.phases[f, 0]
                line = buffer[p : p + plan.pitch]
                if 0 <= row < H:
                    line[:start] = 0
                    copy(line[start:stop], x[n, c, row, max(left + start * sw, 0) :], sw)
                    line[stop:] = 0
                else:
                    line[:] = 0
                p += plan.pitch
    buffer[p:] = 0  # read by the last tile, beyond the last row


@jit
def copy(to, source, step):
    """to[i] = source[i*step]. An index that starts at 0 needs no check for being negative, so vectors can be used."""
    if step == 1:
        for i in range(len(to)):
            to[i] = source[i]
    else:
        for i in range(len(to)):
            to[i] = source[i * step]


# ------------------------------------------------------------------ gather: forward and backward-input


@parallel
def gather(y, x, w, bias, place, rows, plan):
    """y[n, o, place[0] + i*place[2], place[1] + j*place[3]] = bias[o] + sum over taps, for i < rows, j < plan.cols.

    w is packed by `pack_weights`: (groups, tiles, taps, outputs in a tile), bias to match.
    """
    for item in prange(len(x) * plan.blocks):
        n, block = np.int64(item) // plan.blocks, np.int64(item) % plan.blocks
        row0 = block * plan.block_rows
        gather_block(y, x, w, bias, place, n, row0, min(plan.block_rows, rows - row0), plan)


@jit
def gather_block(y, x, w, bias, place, n, row0, rows, plan):
    L, pitch = plan.lanes, plan.pitch
    buffer = np.empty(x.shape[1] * plan.channel + V * (pitch + L), x.dtype)
    fill_block(buffer, x, n, row0, plan)
    tile, beside = np.empty(R * V * L, x.dtype), V * L
    full = plan.cols - plan.cols % beside
    for i in range(rows):  # tiles whose vectors lie beside each other
        for j in range(0, full, beside):
            outputs_of_tile(y, tile, buffer, i * pitch + j, L, w, bias, place, n, row0 + i, j, 1, beside, plan)
    for j in range(full, plan.cols, L):  # the rest, with vectors below each other
        for i in range(0, rows, V):
            width = min(L, plan.cols - j)
            height = min(V, rows - i)
            outputs_of_tile(y, tile, buffer, i * pitch + j, pitch, w, bias, place, n, row0 + i, j, height, width, plan)


@jit
def outputs_of_tile(y, tile, x, x0, x_step, w, bias, place, n, i, j, height, width, plan):
    """All output channels of a tile of pixels; each pixel's inputs stay in the L1 cache meanwhile."""
    groups, tiles, taps, per_tile = w.shape
    outputs, area, size = y.shape[1] // groups, y.shape[2] * y.shape[3], V * plan.lanes
    flat, weights_, biases = y.reshape(y.size), w.reshape(w.size), bias.reshape(bias.size)
    straight = height == 1 and width == size and place[3] == 1
    corner = (place[0] + i * place[2]) * y.shape[3] + place[1] + j * place[3]
    for g in range(groups):
        for t in range(tiles):
            number, some = g * tiles + t, min(per_tile, outputs - t * per_tile)
            y0 = (n * y.shape[1] + g * outputs + t * per_tile) * area + corner
            at_once = (
                straight and some == per_tile
            )  # the tile can go where it belongs; otherwise a part of it is copied
            to, start, step = (flat, y0, area) if at_once else (tile, 0, size)
            w0, b0, from_x = number * taps * per_tile, number * per_tile, x0 + g * plan.group
            if per_tile == 1:
                dot_single(to, start, step, weights_, w0, x, from_x, x_step, plan.offsets, taps, biases, b0)
            else:
                dot(to, start, step, weights_, w0, x, from_x, x_step, plan.offsets, taps, biases, b0)
            if not at_once:
                for o in range(some):
                    down, right = place[2] * y.shape[3], place[3]
                    copy_tile(flat, y0 + o * area, tile, o * size, height, width, down, right, plan.lanes)


@jit
def copy_tile(y, y0, tile, start, height, width, down, right, L):
    """Copy what is valid of one output's tile: `width` pixels in each of `height` rows, vectors below each other."""
    for a in range(height):
        row, values = y[y0 + a * down :], tile[start + a * L : start + a * L + width]
        if right == 1:
            for b in range(len(values)):
                row[b] = values[b]
        else:
            for b in range(len(values)):
                row[b * right] = values[b]


def pack_weights(w, b, groups):
    """w (O, K) as (groups, tiles, K, outputs in a tile), and b (O,) likewise; zeros fill up a group's last tile."""
    outputs, per_tile = len(w) // groups, R if len(w) > groups else 1
    tiles = -(-outputs // per_tile)
    packed = np.zeros((groups, tiles * per_tile, w.shape[1]), w.dtype)
    packed[:, :outputs] = w.reshape(groups, outputs, -1)
    bias = np.zeros((groups, tiles * per_tile), w.dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return np.ascontiguousarray(packed.reshape(groups, tiles, per_tile, -1).swapaxes(2, 3)), bias


# ------------------------------------------------------------------ weights


@parallel
def weights(partial, dy, x, rows, plan):
    """partial[item, g, t, k, o] = sum of dy*x over the blocks of one item: always the same blocks for one shape."""
    total = len(x) * plan.blocks
    for item in prange(len(partial)):
        for index in range(np.int64(item) * total // len(partial), (np.int64(item) + 1) * total // len(partial)):
            n, row0 = index // plan.blocks, index % plan.blocks * plan.block_rows
            weights_block(partial[item], dy, x, n, row0, min(plan.block_rows, rows - row0), plan)


@jit
def weights_block(partial, dy, x, n, row0, rows, plan):
    groups, tiles, taps, wide = partial.shape
    outputs, pixels = dy.shape[1] // groups, rows * plan.pitch
    xs = np.empty(x.shape[1] * plan.channel + pixels, x.dtype)
    fill_block(xs, x, n, row0, plan)
    # dy with the pixel first and the outputs of a tile last, at x's pitch: zeros where x has columns that y has not
    dys = np.zeros(groups * tiles * pixels * wide, x.dtype)
    for c in range(dy.shape[1]):
        g, o = c // outputs, c % outputs
        start = (g * tiles + o // wide) * pixels * wide + o % wide
        for i in range(rows):
            line, gradients = dys[start + i * plan.pitch * wide :], dy[n, c, row0 + i]
            for j in range(plan.cols):
                line[j * wide] = gradients[j]
    dw = partial.reshape(partial.size)
    for p in range(0, pixels, SEGMENT):
        some = min(SEGMENT, pixels - p)
        for tile in range(groups * tiles):
            x0, dy0 = tile // tiles * plan.group + p, (tile * pixels + p) * wide
            for k in range(0, taps, WR):
                outer(dw, (tile * taps + k) * wide, wide, xs, x0, plan.offsets, k, dys, dy0, some)


@parallel
def channel_sums(dy):
    """Sum over images, rows and columns, in float64."""
    N, O, H, W = dy.shape
    sums = np.zeros(O, np.float64)
    for o in prange(O):
        total = 0.0
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    total += dy[n, o, i, j]
        sums[o] = total
    return sums


# ------------------------------------------------------------------ the ops


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y = np.empty(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        check_shape("b", b, (len(w),))
    plan = plan_for(
        x.shape[1], groups, kernel_taps(w.shape, pads(padding), pair(dilation)), pair(stride), y.shape[2:], dtype
    )
    gather(y, plain(x), *pack_weights(w.reshape(len(w), -1), b, groups), (0, 0, 1, 1), y.shape[2], plan)
    return y


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    return scatter(plain(dy), w, None, x_shape, stride, padding, dilation, groups)


def scatter(dy, w, bias, x_shape, stride, padding, dilation, groups):
    """dx of `x_shape` plus a bias per channel: one `gather` for each phase of the stride."""
    (sh, sw), (dh, dw), ((top, _), (left, _)) = pair(stride), pair(dilation), pads(padding)
    (O, per_group, kH, kW), (_, C, H, W) = w.shape, x_shape
    # x's channels are the outputs now, and the taps run over the output channels of a group
    turned = w.reshape(groups, O // groups, per_group, kH, kW).swapaxes(1, 2).reshape(C, O // groups, kH, kW)
    dx = np.empty(x_shape, dy.dtype)
    for a in range(min(sh, H)):
        for b in range(min(sw, W)):
            # forward: output i read input i*sh + r*dh - top; so input a + m*sh reads output m + (a + top - r*dh)/sh
            rs = [r for r in range(kH) if (a + top - r * dh) % sh == 0]
            ss = [s for s in range(kW) if (b + left - s * dw) % sw == 0]
            if not rs or not ss:
                dx[:, :, a::sh, b::sw] = 0 if bias is None else bias[:, None, None]
                continue
            size = -(-(H - a) // sh), -(-(W - b) // sw)
            shifts = [(a + top - r * dh) // sh for r in rs], [(b + left - s * dw) // sw for s in ss]
            taps = tuple((c, i, j) for c in range(O // groups) for i in shifts[0] for j in shifts[1])
            plan = plan_for(O, groups, taps, (1, 1), size, dy.dtype)
            part = turned[:, :, rs][:, :, :, ss].reshape(C, -1)
            gather(dx, dy, *pack_weights(part, bias, groups), (a, b, sh, sw), size[0], plan)
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    if w_shape[0] <= 2 * groups:  # one or two outputs in a group would leave most lanes empty
        return conv_parallel.conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    taps, outputs, wide = kernel_taps(w_shape, pads(padding), pair(dilation)), w_shape[0] // groups, WV * lanes(dtype)
    plan = plan_for(x.shape[1], groups, taps, pair(stride), dy.shape[2:], dtype)
    shape = (groups, -(-outputs // wide), len(plan.offsets), wide)
    items = max(1, min(len(x) * plan.blocks, max(BLOCKS, PARTIAL_BYTES // (math.prod(shape) * dtype.itemsize))))
    partial = np.zeros((items, *shape), dtype)
    weights(partial, plain(dy), plain(x), dy.shape[2], plan)
    dw = partial.sum(axis=0)[:, :, : len(taps)].swapaxes(2, 3).reshape(groups, -1, len(taps))[:, :outputs]
    return dw.reshape(w_shape)


def conv2d_backward_bias(dy):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, O, H', W')")
    return channel_sums(plain(dy)).astype(dtype)


def conv_transpose2d_forward(x, w, b, stride, padding, output_padding, dilation, groups):
    same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x.shape, w.shape, stride, padding, output_padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (y_shape[1],))
    return scatter(plain(x), w, b, y_shape, stride, padding, dilation, groups)


def conv_transpose2d_backward_input(dy, w, x_shape, stride, padding, output_padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x_shape, w.shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    dx = np.empty(x_shape, dtype)
    plan = plan_for(
        dy.shape[1], groups, kernel_taps(w.shape, pads(padding), pair(dilation)), pair(stride), dx.shape[2:], dtype
    )
    gather(dx, plain(dy), *pack_weights(w.reshape(len(w), -1), None, groups), (0, 0, 1, 1), dx.shape[2], plan)
    return dx


def conv_transpose2d_backward_weight(dy, x, w_shape, stride, padding, output_padding, dilation, groups):
    same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y_shape = conv_transpose2d_output_shape(x.shape, w_shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    whole = conv2d_output_shape(y_shape, w_shape, stride, padding, dilation, groups)
    return conv2d_backward_weight(resized(x, whole), dy, w_shape, stride, padding, dilation, groups)


def kernel_taps(w_shape, padding, dilation):
    """The taps (channel in its group, row, column) of a kernel, as a hashable tuple."""
    _, channels, kH, kW = w_shape
    (top, _), (left, _) = padding
    return tuple(
        (c, r * dilation[0] - top, s * dilation[1] - left)
        for c in range(channels)
        for r in range(kH)
        for s in range(kW)
    )


@functools.lru_cache(maxsize=1024)
def plan_for(channels, groups, taps, stride, out_size, dtype):
    """make_plan, remembered: a training step asks for the same plans again and again."""
    return make_plan(channels, groups, np.array(taps, np.int64), stride, out_size, dtype)
