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
are nothing but other numbers in that table. No im2col matrix exists, unless it is tiny: see `unfold`.

Blocks depend on the shapes alone, never on the number of threads, and their sums are added in a fixed order: so the
results are the same bits on any number of threads.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

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
from . import conv_parallel, products
from .arrays import plain
from .conv_parallel import pads_before
from .jit import jit, parallel, part_of
from .memory import empty
from .micro import MACHINE, dot_tile, inner_tile, lanes
from .rows import copy_row
from .unfold import channels_outside, few_pixels, multiply_unfolded, unfolded

BLOCK_BYTES = 192 * 1024  # of input rows in a block: a part of a usual L2 cache
BLOCKS = 8  # cut at least so many blocks where there are rows enough, so that threads are evenly busy
SEGMENT = 512  # pixels of dy that `weights` takes at a time: a tile's dy then stays in the L1 cache
ITEMS = 8  # `weights` cuts its work into so many, and adds up at most so many sums, in a fixed order

(R, V), (IR, IS) = MACHINE.pixels_tile, MACHINE.inner_tile
dot, inner = dot_tile(R, V), inner_tile(IR, IS)


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


@functools.lru_cache(maxsize=1024)  # a training step asks for the same plans again and again
def make_plan(channels, groups, tap_rows, tap_cols, stride, out_size, dtype):
    """The Plan for taps in each channel of a group at all of `tap_rows` and `tap_cols`, in this order."""
    (sh, sw), (rows, cols) = stride, out_size
    taps = np.stack(np.meshgrid(np.arange(channels // groups), tap_rows, tap_cols, indexing="ij"), -1).reshape(-1, 3)
    first = min(tap_rows), min(tap_cols)
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
    offsets = np.concatenate([offsets, np.zeros(-len(offsets) % IS, np.int64)])
    channel = len(phases) * buffer_rows * pitch
    group = channels // groups * channel
    return Plan(
        blocks, block_rows, cols, sh, sw, *first, phases, buffer_rows, pitch, channel, group, offsets, lanes(dtype)
    )


@jit
def fill_block(buffer, x, n, row0, plan):
    """Copy the rows of image n that a block starting at output row `row0` needs to a buffer of zeros: the padding."""
    C, H, W = x.shape[1:]
    sh, sw, flat = plan.step_down, plan.step_right, x.reshape(x.size)
    p = 0
    for c in range(C):
        for f in range(len(plan.phases)):
            left = plan.first_col + plan.phases[f, 1]  # the input column of buffer column 0
            start = min(plan.pitch, max(0, -(left // sw)))  # the first buffer column inside the picture
            stop = max(start, min(plan.pitch, (W - 1 - left) // sw + 1))
            for i in range(plan.buffer_rows):
                row = (row0 + i) * sh + plan.first_row + plan.phases[f, 0]
                if 0 <= row < H and start < stop:
                    x0 = ((n * C + c) * H + row) * W + left + start * sw
                    copy_row(buffer[p + start :], 1, flat[x0:], sw, stop - start)
                p += plan.pitch


# ------------------------------------------------------------------ gather: forward and backward-input


@parallel
def gather(y, x, w, bias, floor, place, rows, plan, share):
    """y[n, o, place[0] + i*place[2], place[1] + j*place[3]] = bias[o] + sum over taps, for i < rows, j < plan.cols.

    But at least floor: 0 makes it a ReLU, -inf changes nothing.
    w is packed by `pack_weights`: (groups, tiles, taps, outputs in a tile), bias to match.
    """
    for item in part_of(len(x) * plan.blocks, share):
        n, row0 = item // plan.blocks, item % plan.blocks * plan.block_rows
        gather_block(y, x, w, bias, floor, place, n, row0, min(plan.block_rows, rows - row0), plan)


@jit
def gather_block(y, x, w, bias, floor, place, n, row0, rows, plan):
    """All output channels of a tile of pixels come one after the other: its inputs stay in the L1 cache meanwhile.

    In narrow pictures tiles are taken as the pixels lie in the buffer, also across the ends of rows.
    """
    (groups, tiles, taps, _), (O, H, W), size = w.shape, y.shape[1:], V * plan.lanes
    buffer = np.zeros(x.shape[1] * plan.channel + plan.pitch + size, x.dtype)
    tile = np.empty(R * size, x.dtype)
    fill_block(buffer, x, n, row0, plan)
    flat, weights_, biases, outputs = y.reshape(y.size), w.reshape(w.size), bias.reshape(bias.size), O // groups
    per_row = -(-plan.cols // size)
    wide = plan.cols >= 2 * size
    for spot in range(rows * per_row if wide else -(-rows * plan.pitch // size)):
        p = spot * size
        if wide:  # the last tile of a row begins early enough to end with it, and computes some pixels again
            p = spot // per_row * plan.pitch + min(spot % per_row * size, plan.cols - size)
        i, j = row0 + p // plan.pitch, p % plan.pitch
        corner = (place[0] + i * place[2]) * W + place[1] + j * place[3]
        for number in range(groups * tiles):
            g, o = number // tiles, number % tiles * R
            some, y0 = min(R, outputs - o), (n * O + g * outputs + o) * H * W + corner
            fits = some == R and place[3] == 1 and j + size <= plan.cols  # it can go right where it belongs
            to, start, step = (flat, y0, H * W) if fits else (tile, 0, size)
            x0, w0 = p + g * plan.group, number * taps * R
            dot(to, start, step, weights_, w0, buffer, x0, plan.lanes, plan.offsets, taps, biases, number * R, floor)
            if not fits:
                copy_pixels(flat, y0, H * W, tile, some, size, j, min(size, rows * plan.pitch - p), place, W, plan)


@jit
def copy_pixels(y, y0, y_step, tile, outputs, tile_step, j, pixels, place, W, plan):
    """Copy the pixels of a tile that starts in column j and may go on in the next rows, but no junk between them."""
    start = 0
    while start < pixels:
        count = min(pixels - start, plan.cols - j)
        for o in range(outputs):
            for k in range(count):
                y[y0 + o * y_step + k * place[3]] = tile[o * tile_step + start + k]
        start += plan.pitch - j
        y0 += place[2] * W - j * place[3]
        j = 0


def pack_weights(w, b, groups, rows, cols, swapped=False):
    """The kernel's `rows` and `cols` of w as (groups, tiles, taps, R), and b as (groups, tiles, R), filled with zeros.

    swapped: w (inputs, outputs of a group, kH, kW), as backward-input reads it, in place of (outputs, inputs, ...).
    """
    inputs = len(w) // groups if swapped else w.shape[1]
    outputs = w.shape[1] if swapped else len(w) // groups
    tiles = -(-outputs // R)
    packed = empty((groups, tiles, inputs * len(rows) * len(cols), R), w.dtype)
    places = np.array([i * w.shape[3] + j for i in rows for j in cols])
    copy_weights(packed, plain(w).reshape(-1), places, inputs, outputs, swapped)
    bias = np.zeros((groups, tiles * R), w.dtype)
    if b is not None:
        bias[:, :outputs] = b.reshape(groups, outputs)
    return packed, bias


@parallel
def copy_weights(packed, w, places, inputs, outputs, swapped, share):
    """w is flat; places: of the taps within a kernel of `area` weights."""
    groups, tiles, taps, _ = packed.shape
    area, flat = len(w) // (groups * inputs * outputs), packed.reshape(packed.size)
    for item in part_of(groups * tiles, share):
        g, t = item // tiles, item % tiles
        for k in range(R):
            o, to = t * R + k, item * taps * R + k
            for c in range(inputs):
                start = ((g * inputs + c) * outputs + o if swapped else (g * outputs + o) * inputs + c) * area
                for place in places:
                    flat[to] = w[start + place] if o < outputs else 0
                    to += R


# ------------------------------------------------------------------ weights


@parallel
def weights(partial, dy, x, rows, chunk, plan, share):
    """partial[part, g, t, k, ...] = sum of dy*x over the blocks of a part; an item takes `chunk` tiles of taps."""
    (parts, _, _, tiles, _), total = partial.shape, len(x) * plan.blocks
    chunks = -(-tiles // chunk)
    for item in part_of(parts * chunks, share):
        part, first = item // chunks, item % chunks * chunk
        for index in range(part * total // parts, (part + 1) * total // parts):
            n, row0 = index // plan.blocks, index % plan.blocks * plan.block_rows
            last = min(first + chunk, tiles)
            weights_block(partial[part], dy, x, n, row0, min(plan.block_rows, rows - row0), first, last, plan)


@jit
def weights_block(partial, dy, x, n, row0, rows, first, last, plan):
    """dy is laid out at x's pitch, with zeros where only x has columns."""
    (groups, tiles_o, tiles_k, _), (O, H, W) = partial.shape, dy.shape[1:]
    outputs, pixels = O // groups, -(-rows * plan.pitch // plan.lanes) * plan.lanes
    xs = np.zeros(x.shape[1] * plan.channel + plan.pitch + plan.lanes, x.dtype)
    fill_block(xs, x, n, row0, plan)
    dys, gradients, dw = np.zeros((O + IR) * pixels, x.dtype), dy.reshape(dy.size), partial.reshape(partial.size)
    for o in range(O):
        for i in range(rows):
            start = ((n * O + o) * H + row0 + i) * W
            copy_row(dys[o * pixels + i * plan.pitch :], 1, gradients[start:], 1, W)
    for p in range(0, pixels, SEGMENT):
        vectors = min(SEGMENT, pixels - p) // plan.lanes
        for g in range(groups):
            for t in range(tiles_o):
                dy0, place = (g * outputs + t * IR) * pixels + p, (g * tiles_o + t) * tiles_k
                for k in range(first, last):
                    dw0 = (place + k) * IR * IS
                    inner(dw, dw0, dys, dy0, pixels, xs, g * plan.group + p, plan.offsets, k * IS, vectors)


@parallel
def channel_sums(sums, dy, share):
    """Sum over images, rows and columns, in float64."""
    N, O, H, W = dy.shape
    for o in part_of(O, share):
        total = 0.0
        for n in range(N):
            for i in range(H):
                for j in range(W):
                    total += dy[n, o, i, j]
        sums[o] = total


# ------------------------------------------------------------------ the ops


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, -np.inf)


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, 0)


def checked(x, w, b, stride, padding, dilation, groups):
    """The shape of y; an error if the arrays do not belong together."""
    same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y_shape = conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (len(w),))
    return y_shape


def convolve(x, w, b, stride, padding, dilation, groups, floor):
    """max(conv(x, w) + b, floor)."""
    y_shape = checked(x, w, b, stride, padding, dilation, groups)
    if is_pointwise(w.shape, stride, padding, groups):
        return products.pointwise(x, w[:, :, 0, 0], b, floor)
    if len(w) == groups:  # one output for each group: nothing to share in registers
        op = conv_parallel.conv2d_relu_forward if floor == 0 else conv_parallel.conv2d_forward
        return op(x, w, b, stride, padding, dilation, groups)
    packed = pack_weights(w, b, groups, range(w.shape[2]), range(w.shape[3]))
    if few_pixels(len(x), *y_shape[2:], groups):
        return multiply_unfolded(y_shape, x, packed, w.shape[2:], stride, pads_before(padding), dilation, floor)
    y = empty(y_shape, x.dtype)
    places = tap_places(w.shape, padding, dilation)
    plan = make_plan(x.shape[1], groups, *places, pair(stride), y.shape[2:], x.dtype)
    gather(y, plain(x), *packed, x.dtype.type(floor), (0, 0, 1, 1), y.shape[2], plan)
    return y


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    if is_pointwise(w.shape, stride, padding, groups):
        return products.pointwise(dy, w[:, :, 0, 0].T)
    if w.shape[1] == 1 and groups > 1:
        return conv_parallel.conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups)
    if few_pixels(len(dy), *x_shape[2:], groups) and pair(stride) == (1, 1):
        (kH, kW), (dh, dw), (top, left) = w.shape[2:], pair(dilation), pads_before(padding)
        packed = pack_weights(w, None, 1, range(kH)[::-1], range(kW)[::-1], swapped=True)
        before = dh * (kH - 1) - top, dw * (kW - 1) - left
        return multiply_unfolded(x_shape, dy, packed, (kH, kW), 1, before, dilation, -np.inf)
    return scatter(plain(dy), w, None, x_shape, stride, padding, dilation, groups)


def scatter(dy, w, bias, x_shape, stride, padding, dilation, groups):
    """dx of `x_shape` plus a bias per channel: one `gather` for each phase of the stride."""
    (sh, sw), (dh, dw), ((top, _), (left, _)) = pair(stride), pair(dilation), pads(padding)
    (O, _, kH, kW), (H, W) = w.shape, x_shape[2:]
    dx, lowest = empty(x_shape, dy.dtype), dy.dtype.type(-np.inf)
    for a in range(min(sh, H)):
        for b in range(min(sw, W)):
            # forward: output i read input i*sh + r*dh - top; so input a + m*sh reads output m + (a + top - r*dh)/sh
            rs = [r for r in range(kH) if (a + top - r * dh) % sh == 0]
            ss = [s for s in range(kW) if (b + left - s * dw) % sw == 0]
            if not rs or not ss:
                dx[:, :, a::sh, b::sw] = 0 if bias is None else bias[:, None, None]
                continue
            size = -(-(H - a) // sh), -(-(W - b) // sw)
            shifts = tuple((a + top - r * dh) // sh for r in rs), tuple((b + left - s * dw) // sw for s in ss)
            plan = make_plan(O, groups, *shifts, (1, 1), size, dy.dtype)
            gather(dx, dy, *pack_weights(w, bias, groups, rs, ss, swapped=True), lowest, (a, b, sh, sw), size[0], plan)
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    if is_pointwise(w_shape, stride, padding, groups):
        return products.pointwise_weight(dy, x).reshape(w_shape)
    if few_pixels(len(x), *dy.shape[2:], groups):
        matrix = unfolded(x, w_shape[2:], stride, pads_before(padding), dilation, dy.shape[2:], pixels_first=True)
        dw = empty(w_shape, dtype)
        products.mix(dw.reshape(1, len(dw), -1), matrix[None], channels_outside(dy))
        return dw
    if w_shape[0] == groups:  # one output for each group: nothing to share in registers
        return conv_parallel.conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
    plan = make_plan(x.shape[1], groups, *tap_places(w_shape, padding, dilation), pair(stride), dy.shape[2:], dtype)
    tiles = len(plan.offsets) // IS
    parts = max(1, min(len(x) * plan.blocks, ITEMS))
    chunk = -(-tiles // -(-ITEMS // parts))  # where there are few blocks, an item takes some of the taps only
    partial = empty((parts, groups, -(-(w_shape[0] // groups) // IR), tiles, IR * IS), dtype)
    partial[...] = 0
    weights(partial, plain(dy), plain(x), dy.shape[2], chunk, plan)
    dw = empty((w_shape[0], math.prod(w_shape[1:])), dtype)
    for g in range(groups):
        products.add_parts(dw[g * len(dw) // groups : (g + 1) * len(dw) // groups], plain(partial[:, g]))
    return dw.reshape(w_shape)


def conv2d_backward_bias(dy):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, O, H', W')")
    sums = np.empty(dy.shape[1])
    channel_sums(sums, plain(dy))
    return sums.astype(dtype)


def conv_transpose2d_forward(x, w, b, stride, padding, output_padding, dilation, groups):
    same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x.shape, w.shape, stride, padding, output_padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (y_shape[1],))
    if are_patches(w.shape, stride, padding, output_padding, dilation, groups):
        each = None if b is None else np.repeat(b, math.prod(w.shape[2:]))
        return products.put_patches(products.pointwise(x, w.reshape(len(w), -1).T, each), w.shape[2:])
    return scatter(plain(x), w, b, y_shape, stride, padding, dilation, groups)


def conv_transpose2d_backward_input(dy, w, x_shape, stride, padding, output_padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x_shape, w.shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    if are_patches(w.shape, stride, padding, output_padding, dilation, groups):
        return products.pointwise(products.take_patches(dy, w.shape[2:]), w.reshape(len(w), -1))
    dx = empty(x_shape, dtype)
    places = tap_places(w.shape, padding, dilation)
    plan = make_plan(dy.shape[1], groups, *places, pair(stride), dx.shape[2:], dtype)
    packed = pack_weights(w, None, groups, range(w.shape[2]), range(w.shape[3]))
    gather(dx, plain(dy), *packed, dtype.type(-np.inf), (0, 0, 1, 1), dx.shape[2], plan)
    return dx


def conv_transpose2d_backward_weight(dy, x, w_shape, stride, padding, output_padding, dilation, groups):
    same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y_shape = conv_transpose2d_output_shape(x.shape, w_shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    if are_patches(w_shape, stride, padding, output_padding, dilation, groups):
        return products.pointwise_weight(x, products.take_patches(dy, w_shape[2:])).reshape(w_shape)
    whole = conv2d_output_shape(y_shape, w_shape, stride, padding, dilation, groups)
    return conv2d_backward_weight(resized(x, whole), dy, w_shape, stride, padding, dilation, groups)


def tap_places(w_shape, padding, dilation):
    """Rows and columns of a kernel's taps, as seen from the output in the corner."""
    (top, _), (left, _) = pads(padding)
    dh, dw = pair(dilation)
    return tuple(r * dh - top for r in range(w_shape[2])), tuple(s * dw - left for s in range(w_shape[3]))


def is_pointwise(w_shape, stride, padding, groups):
    """Whether each output is a sum over the channels of the same pixel and of no other."""
    return (*w_shape[2:], *pair(stride), groups) == (1, 1, 1, 1, 1) and pads(padding) == ((0, 0), (0, 0))


def are_patches(w_shape, stride, padding, output_padding, dilation, groups):
    """Whether a transposed convolution's kernel stamps patches side by side that neither overlap nor leave gaps."""
    no_more = (pads(padding), pair(output_padding, minimum=0), pair(dilation), groups)
    return w_shape[2:] == pair(stride) and no_more == (((0, 0), (0, 0)), (0, 0), (1, 1), 1)
