"""Dilated convolutions: without dilation, or without the taps that see nothing but padding.

A kernel with dilation d reads every d-th pixel. It sees far, and on a small map beyond the edge: with d = 12 on a map
of 22x30 more than half of all products are with padding. Two ideas, for convolutions with stride 1:

    phases        Output i reads input i + r*d - padding at tap r: only pixels i, i + d, i + 2d, ... belong together.
                  So a convolution with dilation d is d*d convolutions with dilation 1, one for each phase
                  (i % d, j % d), of maps a d-th as high and wide. They are laid side by side on one sheet, with zeros
                  between them, and Winograd's transforms spare most of its products (`winograd`).

                      map    a b c d e f g      sheet, d = 3    a d g . b e . . c f

    rectangles    Tap r sees the map for one run of outputs i, and padding for the others. The ends of these runs, in
                  rows and in columns, cut the output into rectangles. All pixels of a rectangle see the same taps; the
                  other taps are left out, and what remains is one matrix product (`products`). From d >= height and
                  width on, of a 3x3 kernel with padding d the tap in the middle is left, a 1x1 convolution.

Phases pay on maps much larger than d, rectangles where d comes near the map's size; `way` counts what each costs.
Backward-input is forward with the kernel turned by half a turn and its channels exchanged, in both. Everything else
goes to `winograd` and from there to `conv`: strides, groups, no dilation, few channels.

    forward of 4x128x22x30 to 64 channels, 3x3, padding = dilation = d, one thread of an AMD EPYC, ms
    d            2       4       6      12      18      24      36
    conv       6.3     8.7    10.4    16.4    19.1    25.2    34.4
    here       3.3     5.5     6.7     4.2     2.6     1.5     0.9

Whole sums are computed by one thread each and always in the same order: the same bits on any number of threads.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..shapes import check_rank, check_shape, conv2d_output_shape, pair, same_dtype
from . import conv, products, winograd
from .arrays import plain
from .conv_parallel import pads_before
from .jit import parallel, part_of
from .memory import empty
from .rows import copy_row

NUMBERS = 4 * 2**20  # in the matrix of a rectangle, for one image or as many as fit
COPY, TRANSFORM, RECTANGLE = 8, 40, 2**20  # what these cost, in multiplications: see `way`

# ------------------------------------------------------------------ the axes


class Axis(NamedTuple):
    """One direction of a convolution with stride 1: output i reads input i + r*dilation - before at tap r."""

    outputs: int
    inputs: int
    kernel: int
    dilation: int
    before: int  # padding; negative where the first inputs are read by no tap

    def turned(self):
        """The axis of backward-input: input a of forward reads output a + before - r*dilation, taps from last to first.

        >>> Axis(8, 10, 3, 2, 1).turned()
        Axis(outputs=10, inputs=8, kernel=3, dilation=2, before=3)
        """
        return Axis(
            self.inputs, self.outputs, self.kernel, self.dilation, self.dilation * (self.kernel - 1) - self.before
        )

    def spans(self):
        """[(start, stop, first tap, last tap + 1)]: runs of outputs that see the same taps inside the map.

        >>> Axis(outputs=5, inputs=5, kernel=3, dilation=3, before=3).spans()
        [(0, 2, 1, 3), (2, 3, 1, 2), (3, 5, 0, 2)]
        """
        runs = [(start, start + count) for start, count in map(self.run, range(self.kernel)) if count]
        ends = sorted({0, self.outputs, *itertools.chain(*runs)})
        found = []
        for start, stop in itertools.pairwise(ends):
            seen = [r for r in range(self.kernel) if self.run(r)[0] <= start < sum(self.run(r))]
            found.append((start, stop, seen[0], seen[-1] + 1) if seen else (start, stop, 0, 0))
        return found

    def run(self, tap):
        """(start, count) of the outputs for which a tap sees a pixel and not padding."""
        first = self.before - tap * self.dilation  # the output, if there is one, that reads input 0
        start = max(0, first)
        return start, max(0, min(self.outputs, first + self.inputs) - start)

    def products(self):
        """How many pairs of an output and a tap see a pixel."""
        return sum(self.run(tap)[1] for tap in range(self.kernel))

    def sheet(self):
        """(of the inputs, of the outputs): how the phases lie on a sheet side by side, as a `Strip` each.

        A phase of m outputs reads m + kernel - 1 inputs. Those at its ends that are padding in all phases are shared
        with the neighbour; at the ends of the sheet Winograd's transforms take them for zeros, up to two in front.

        >>> inputs, outputs = Axis(outputs=7, inputs=7, kernel=3, dilation=2, before=2).sheet()
        >>> inputs  # of abcdefg: aceg.bdf.
        Strip(first=0, count=2, size=4, period=5, length=9, before=1)
        """
        count, outputs = min(self.dilation, self.outputs), -(-self.outputs // self.dilation)
        needed = outputs + self.kernel - 1
        before = min(max(0, self.before // self.dilation), 2)
        first = before * self.dilation - self.before
        inside = max(1, (self.inputs - 1 - first) // self.dilation + 1)  # behind these no phase has anything
        size = min(needed - before, inside)
        period = needed - min(before, needed - before - size)
        others = (count - 1) * period
        inputs = Strip(first, count, size, period, others + size, before)
        return inputs, Strip(0, count, outputs, period, others + outputs, 0)


class Strip(NamedTuple):
    """Phases side by side along an axis: pixel k of phase a is first + a + k*dilation in the map."""

    first: int
    count: int  # phases
    size: int  # pixels of a phase; those of them that the map does not have are zeros
    period: int  # from one phase to the next; between them are zeros
    length: int  # of the whole
    before: int  # zeros to assume in front


def axes_of(x_shape, w_shape, y_shape, padding, dilation):
    """The vertical and the horizontal Axis."""
    found = zip(y_shape[2:], x_shape[2:], w_shape[2:], pair(dilation), pads_before(padding), strict=True)
    return tuple(Axis(*numbers) for numbers in found)


# ------------------------------------------------------------------ phases


@parallel
def exchange(sheets, maps, down, right, steps, back, share):
    """Write the phases of maps (N, C, H, W) to sheets (N, C, h, w), with zeros where there is nothing.

    sheets[n, c, a*period + i, b*period + j] = maps[n, c, first + a + i*step, first + b + j*step], where period, first
    and step are those of the rows (`down`, a Strip) and of the columns (`right`). back: from sheets to maps instead.
    """
    N, C, H, W = maps.shape
    h, w = sheets.shape[2:]
    small, large = sheets.reshape(sheets.size), maps.reshape(maps.size)
    for item in part_of(N * C, share):
        for k in range(h):
            line, i = (item * h + k) * w, k % down.period
            row = down.first + k // down.period + i * steps[0]
            inside = i < down.size and 0 <= row < H
            for b in range(right.count):
                left, p = right.first + b, line + b * right.period
                low = min(right.size, max(0, -(left // steps[1])))  # columns low, ..., high - 1 are inside the map
                high = max(low, min(right.size, (W - 1 - left) // steps[1] + 1)) if inside else low
                q = (item * H + row) * W + left + low * steps[1]
                if back:
                    copy_row(large[q:], steps[1], small[p + low :], 1, high - low)
                else:
                    small[p : p + low] = 0
                    copy_row(small[p + low :], 1, large[q:], steps[1], high - low)
                    small[p + high : min(p + right.period, line + w)] = 0


def sheets_of(maps, strips, steps):
    """The phases of each map on a sheet."""
    sheets = empty((*maps.shape[:2], *(strip.length for strip in strips)), maps.dtype)
    exchange(sheets, plain(maps), *strips, steps, False)
    return sheets


def phases_forward(x, w, bias, axes, floor, turned=False):
    """max(conv(x, w) + bias, floor); `turned`: with w rotated, and outputs and inputs exchanged."""
    (ins, outs), steps = strips_of(axes)
    O = w.shape[1] if turned else len(w)
    sheets = empty((len(x), O, *(strip.length for strip in outs)), x.dtype)
    winograd.multiply(sheets, sheets_of(x, ins, steps), w, bias, tuple(strip.before for strip in ins), floor, turned)
    y = empty((len(x), O, *(axis.outputs for axis in axes)), x.dtype)
    exchange(sheets, y, *outs, steps, True)
    return y


def phases_weight(dy, x, axes):
    """dw. The outputs between the phases do not exist: their gradients are the zeros there."""
    (ins, outs), steps = strips_of(axes)
    inputs, gradients = sheets_of(x, ins, steps), sheets_of(dy, outs, steps)
    return winograd.weight_gradient(gradients, inputs, tuple(strip.before for strip in ins))


def strips_of(axes):
    """((down, right) of the inputs, the same of the outputs), and the dilations."""
    return zip(*(axis.sheet() for axis in axes), strict=True), tuple(axis.dilation for axis in axes)


# ------------------------------------------------------------------ rectangles


@parallel
def copy_rectangles(rectangles, maps, corners, back, share):
    """rectangles[t, c, n, i, j] = maps[n, c, corners[t, 0] + i, corners[t, 1] + j]; `back`: the other way round."""
    T, C, N, h, w = rectangles.shape
    H, W = maps.shape[2:]
    small, large = rectangles.reshape(rectangles.size), maps.reshape(maps.size)
    for item in part_of(T * C, share):
        t, c, p = item // C, item % C, item * N * h * w
        for n in range(N):
            for i in range(h):
                q = ((n * C + c) * H + corners[t, 0] + i) * W + corners[t, 1]
                if back:
                    copy_row(large[q:], 1, small[p:], 1, w)
                else:
                    copy_row(small[p:], 1, large[q:], 1, w)
                p += w


def taken(maps, corners, size):
    """The rectangles of `size` at `corners`, as a matrix (corners * channels, images * pixels)."""
    N, C = maps.shape[:2]
    rectangles = empty((len(corners), C, N, *size), maps.dtype)
    copy_rectangles(rectangles, maps, np.array(corners, np.int64).reshape(-1, 2), False)
    return rectangles.reshape(len(corners) * C, N * math.prod(size))


def rectangles_forward(x, w, bias, axes, floor, turned=False):
    """max(conv(x, w) + bias, floor); `turned`: with w rotated, and outputs and inputs exchanged."""
    w = w[:, :, ::-1, ::-1].swapaxes(0, 1) if turned else w
    (O, C, kH, kW), x = w.shape, plain(x)
    y = empty((len(x), O, *(axis.outputs for axis in axes)), x.dtype)
    weights = products.packed(w.transpose(0, 2, 3, 1).reshape(O, -1)).reshape(-1, kH, kW, C, products.R)
    for top, bottom, r0, r1 in axes[0].spans():
        for left, right, s0, s1 in axes[1].spans():
            size, corners = (bottom - top, right - left), corners_of(axes, (top, left), range(r0, r1), range(s0, s1))
            some = max(1, NUMBERS // max(1, len(corners) * C * math.prod(size)))
            seen = plain(weights[:, r0:r1, s0:s1]).reshape(-1)
            for n in range(0, len(x), some):
                matrix = taken(x[n : n + some], corners, size)
                part = empty((1, O, matrix.shape[1]), x.dtype)
                products.mix_packed(part, matrix[None], seen, bias, floor)
                part = part.reshape(1, O, -1, *size)
                copy_rectangles(part, y[n : n + some], np.array([(top, left)], np.int64), True)
    return y


def rectangles_weight(dy, x, axes):
    """dw, tap by tap: the sum over the rectangle of outputs that it gives something to."""
    dy, x = plain(dy), plain(x)
    dw = empty((dy.shape[1], x.shape[1], *(axis.kernel for axis in axes)), x.dtype)
    for r in range(axes[0].kernel):
        for s in range(axes[1].kernel):
            starts, sizes = zip(*(axis.run(tap) for axis, tap in zip(axes, (r, s), strict=True)), strict=True)
            if min(sizes) <= 0:
                dw[:, :, r, s] = 0
                continue
            gradients, inputs = taken(dy, [starts], sizes), taken(x, corners_of(axes, starts, [r], [s]), sizes)
            dw[:, :, r, s] = products.gram(gradients[None], inputs[None])
    return dw


def corners_of(axes, start, rows, cols):
    """Where the inputs of a rectangle of outputs begin that starts at `start`, for all taps of `rows` and `cols`."""
    ends = zip(axes, start, (rows, cols), strict=True)
    return list(itertools.product(*([i + t * axis.dilation - axis.before for t in taps] for axis, i, taps in ends)))


# ------------------------------------------------------------------ the ops


class Way(NamedTuple):
    """How to compute: the function for forward and backward-input, and the one for backward-weight."""

    forward: Callable
    weight: Callable


PHASES, RECTANGLES = Way(phases_forward, phases_weight), Way(rectangles_forward, rectangles_weight)


def way(axes, images, w_shape, fewest=1):
    """The cheapest Way for a convolution, or None for the last rung's. fewest: tiles that phases must have at least.

    Cost is counted in multiplications, and measured with AVX-512: to copy a number of a matrix takes as long as
    COPY of them, to transform one of a tile as TRANSFORM, and to call the kernels for a rectangle as RECTANGLE.
    """
    (O, C, kH, kW), sheet = w_shape, [axis.sheet()[1].length for axis in axes]
    outputs, seen = (math.prod(numbers) for numbers in zip(*((a.outputs, a.products()) for a in axes), strict=True))
    spans = math.prod(len(axis.spans()) for axis in axes)
    costs = {
        None: images * outputs * kH * kW * C * O,
        RECTANGLES: images * seen * (C * O + COPY * (C + O)) + RECTANGLE * spans,
    }
    if (kH, kW) == (3, 3) and winograd.pays(w_shape, images, *sheet, fewest):
        tiles = images * math.prod(-(-length // winograd.STEP) for length in sheet)
        costs[PHASES] = winograd.TERMS * tiles * (C * O + TRANSFORM * (C + O))
    return min(costs, key=costs.get)


def takes(stride, dilation, groups):
    """Whether this module has anything to offer."""
    return pair(dilation, "dilation") != (1, 1) and pair(stride, "stride") == (1, 1) and groups == 1


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, -np.inf)


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, 0)


def convolve(x, w, b, stride, padding, dilation, groups, floor):
    """max(conv(x, w) + b, floor)."""
    if takes(stride, dilation, groups):
        y_shape = conv.checked(x, w, b, stride, padding, dilation, groups)
        axes = axes_of(x.shape, w.shape, y_shape, padding, dilation)
        if found := way(axes, len(x), w.shape):
            return found.forward(x, w, b, axes, floor)
    return winograd.convolve(x, w, b, stride, padding, dilation, groups, floor)


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    if takes(stride, dilation, groups):
        same_dtype(dy=dy, w=w)
        check_rank("w", w, 4, "(O, C/groups, kH, kW)")
        y_shape = conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups)
        check_shape("dy", dy, y_shape)
        axes = tuple(axis.turned() for axis in axes_of(x_shape, w.shape, y_shape, padding, dilation))
        if found := way(axes, len(dy), w.shape):
            return found.forward(dy, w, None, axes, -np.inf, turned=True)
    return winograd.conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups)


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    if takes(stride, dilation, groups):
        same_dtype(dy=dy, x=x)
        check_rank("x", x, 4, "(N, C, H, W)")
        y_shape = conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups)
        check_shape("dy", dy, y_shape)
        axes = axes_of(x.shape, w_shape, y_shape, padding, dilation)
        if found := way(axes, len(x), w_shape, winograd.FEWEST):
            return found.weight(dy, x, axes)
    return winograd.conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
