"""Mistakes in the backward pass of max and average pooling."""

import itertools
import math

import numpy as np

from kernels import ops_for
from kernels.reference.pool import avg_pool_divisor
from kernels.reference.windows import pad_or_crop, windows
from kernels.shapes import pair, pool2d_output_shape

from .evidence import Suspect, computed, computes, pair_of, stamp

GUESSES = [
    (pair(kernel), pair(stride), pair(padding, minimum=0), (1, 1), False)
    for kernel, stride, padding in itertools.product(range(2, 6), range(1, 5), range(3))
]


def max_pool2d(subject):
    """Mistakes in a max pool's backward."""
    x, dy, max_pool = subject.x, subject.dy, ops_for(subject.x).max_pool2d_forward
    geometry = matching(subject, lambda *geometry: max_pool(x, *geometry)[0])
    if geometry is None:
        return
    kernel, stride, padding, dilation, _ = geometry
    (y, argmax), pads = max_pool(x, *geometry), tuple((p, p) for p in padding)
    view = windows(padded_for(x, y, kernel, stride, padding, dilation), kernel, stride, dilation)
    winners = view[:, :, : y.shape[2], : y.shape[3]] == y[..., None, None]
    everyone = np.where(winners, dy[..., None, None], 0)
    text = "every one of several tied maxima gets the whole gradient; only the first one in the window may (use argmax)"
    yield Suspect("x", stamp(everyone, x.shape, stride, pads, dilation, "add"), text)

    if all(s > d * (k - 1) for k, s, d in zip(kernel, stride, dilation, strict=True)):
        return  # no windows overlap
    text = (
        "gradients are lost where windows overlap: a pixel that won several windows gets the sum, `+=` and not `=` "
        "(NumPy's dx[index] += dy also keeps only the last one of equal indices: use np.add.at)"
    )
    lost = np.zeros((*x.shape[:2], math.prod(x.shape[2:])))
    np.put_along_axis(lost, argmax.reshape(*lost.shape[:2], -1), dy.reshape(*lost.shape[:2], -1), axis=2)
    yield Suspect("x", lost.reshape(x.shape), text)
    for order in ("windows", "taps"):
        yield Suspect("x", stamp(everyone, x.shape, stride, pads, dilation, order), text)


def avg_pool2d(subject):
    """Mistakes in an average pool's backward."""
    x, dy, ops = subject.x, subject.dy, ops_for(subject.x)
    include_pad = bool(getattr(subject.layer, "count_include_pad", True))

    def average(kernel, stride, padding, dilation, ceil_mode):
        return ops.avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, include_pad)

    geometry = matching(subject, average)
    if geometry is None:
        return
    kernel, stride, padding, _, ceil_mode = geometry
    last = kernel, stride, padding, ceil_mode, include_pad
    divisor = avg_pool_divisor(x.shape, dy.shape, kernel, stride, padding, include_pad)
    text = "it is not divided by the window's size: y is a mean, so each pixel gets dy/(kH*kW) from its window"
    yield Suspect("x", ops.avg_pool2d_backward(dy * divisor, x.shape, *last), text)
    text = "windows that overlap overwrite each other: a pixel gets the sum over all its windows, `+=` and not `=`"
    share = np.broadcast_to((dy / divisor)[..., None, None], (*dy.shape, *kernel))
    for order in ("windows", "taps"):
        yield Suspect("x", stamp(share, x.shape, stride, tuple((p, p) for p in padding), (1, 1), order), text)
    if padding != (0, 0):
        other = ops.avg_pool2d_backward(dy, x.shape, kernel, stride, padding, ceil_mode, not include_pad)
        text = "at the border it is divided by another number than in forward: does the padding count or not?"
        yield Suspect("x", other, text)


def matching(subject, forward):
    """The (kernel, stride, padding, dilation, ceil_mode) with which forward gives the layer's y, or None."""
    x_shape, y_shape = subject.x.shape, subject.y.shape
    if subject.parameters or len(x_shape) != 4 or len(y_shape) != 4:
        return None
    for geometry in (*attributes(subject.layer), *GUESSES):
        shape = computed(lambda g=geometry: pool2d_output_shape(x_shape, *g))
        if shape == y_shape and computes(subject, lambda g=geometry: forward(*g)):
            return geometry
    return None


def attributes(layer):
    """The geometry that the layer's attributes name, if it has such, in a list."""
    kernel = pair_of(layer, "kernel_size", 1)
    own = kernel, pair_of(layer, "stride", kernel), pair_of(layer, "padding", 0, 0), pair_of(layer, "dilation", 1)
    return [(*own, bool(getattr(layer, "ceil_mode", False)))] if hasattr(layer, "kernel_size") else []


def padded_for(x, y, kernel, stride, padding, dilation):
    """x with -inf around it, so far that all windows fit in (in ceil_mode the last ones hang over)."""
    margins = []
    for size, count, k, s, p, d in zip(x.shape[2:], y.shape[2:], kernel, stride, padding, dilation, strict=True):
        margins.append((p, max(0, (count - 1) * s + d * (k - 1) + 1 - size - p)))
    return pad_or_crop(x, *margins, -np.inf)
