"""Mistakes in the backward pass of a convolution and of a transposed convolution."""

import itertools

import numpy as np

from kernels import ops_for
from kernels.reference.conv import channel_groups
from kernels.reference.windows import pad_or_crop
from kernels.shapes import conv2d_output_shape, conv_transpose2d_output_shape, pads, pair

from .evidence import Suspect, computed, computes, pair_of, parameter, stamp, wrong_bias

SIZES = tuple(itertools.product(range(1, 5), range(5), range(1, 4)))  # stride, padding, dilation: what to guess


def conv2d(subject):
    """Mistakes in a convolution's backward."""
    geometry = conv2d_geometry(subject)
    if geometry is None:
        return
    weight, w = parameter(subject, 4)
    yield from kernel_or_channels(subject, geometry)
    if w.shape[2:] != (1, 1):
        yield from overwritten(subject, geometry)
    if geometry[0] != (1, 1) or geometry[2] != (1, 1):
        yield from stride_or_dilation_ignored(subject, geometry)
    if geometry[1] != pads(0):
        yield from padding_ignored(subject, geometry)
    yield from one_image(
        weight, subject.dy, lambda dy, x: ops_for(x).conv2d_backward_weight(dy, x, w.shape, *geometry), subject.x
    )
    yield from wrong_bias(parameter(subject, 1)[0], subject.dy)


def kernel_or_channels(subject, geometry):
    """The kernel rotated the wrong way, its channels the wrong way round."""
    (weight, w), x, dy, ops = parameter(subject, 4), subject.x, subject.dy, ops_for(subject.x)
    dx = ops.conv2d_backward_input(dy, w[:, :, ::-1, ::-1], x.shape, *geometry)
    text = (
        "the kernel is not rotated by 180 degrees (either never flipped, or flipped twice): dx is the correlation of "
        "dy with w[:, :, ::-1, ::-1]"
    )
    yield Suspect("x", dx, text)
    dw = ops.conv2d_backward_weight(dy, x, w.shape, *geometry)
    yield Suspect(weight, dw[:, :, ::-1, ::-1], "it is rotated by 180 degrees: flipped once too often")
    if w.shape[0] == w.shape[1] and geometry[3] == 1:
        dx = ops.conv2d_backward_input(dy, w.swapaxes(0, 1), x.shape, *geometry)
        text = "input and output channels are swapped: "
        yield Suspect("x", dx, text + "dx[c] sums over the output channels o of w[o, c], not of w[c, o]")
        yield Suspect(weight, dw.swapaxes(0, 1), text + "weight is (out, in, kH, kW)")


def overwritten(subject, geometry):
    """Windows that overlap overwrite each other's dx."""
    (stride, padding, dilation, groups), (_, w) = geometry, parameter(subject, 4)
    x_shape, dy = subject.x.shape, subject.dy
    parts = np.empty((*x_shape[:2], *dy.shape[2:], *w.shape[2:]))
    for xs, ys in channel_groups(x_shape[1], len(w), groups):
        parts[:, xs] = np.einsum("noij,ocrs->ncijrs", dy[:, ys], w[ys])
    text = "windows that overlap overwrite each other: a pixel gets the sum over all its windows, `+=` and not `=`"
    for order in ("windows", "taps"):
        yield Suspect("x", stamp(parts, x_shape, stride, padding, dilation, order), text)


def stride_or_dilation_ignored(subject, geometry):
    (stride, padding, dilation, groups), (weight, w) = geometry, parameter(subject, 4)
    x, ops = subject.x, ops_for(subject.x)

    def both(stride, dilation, text, text_dw):
        shape = conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups)
        dy = resized(subject.dy, shape)  # in the corner of the output that the wrong geometry would have
        yield Suspect("x", ops.conv2d_backward_input(dy, w, x.shape, stride, padding, dilation, groups), text)
        dw = ops.conv2d_backward_weight(dy, x, w.shape, stride, padding, dilation, groups)
        yield Suspect(weight, dw, text_dw)

    if stride != (1, 1):
        text = "the stride is ignored: output pixel i belongs to input pixel i*stride, so "
        dx_text, dw_text = "dy must be spread out with stride - 1 zeros", "x must be read in steps of stride"
        yield from both((1, 1), dilation, text + dx_text, text + dw_text)
    if dilation != (1, 1):
        text = "the dilation is ignored: tap r belongs to input pixel i + r*dilation"
        yield from both(stride, (1, 1), text, text)


def padding_ignored(subject, geometry):
    (stride, padding, dilation, groups), (weight, w) = geometry, parameter(subject, 4)
    x, dy, ops = subject.x, subject.dy, ops_for(subject.x)
    N, C, H, W = x.shape
    (top, bottom), (left, right) = padding
    padded = ops.conv2d_backward_input(dy, w, (N, C, top + H + bottom, left + W + right), stride, 0, dilation, groups)
    text = "the padding is not cropped: dx of the padded image has to lose its first rows and columns, "
    yield Suspect("x", padded[:, :, :H, :W], text + "dx = dxp[:, :, p:p + H, p:p + W]")
    corner = pad_or_crop(x, (0, top + bottom), (0, left + right))
    dw = ops.conv2d_backward_weight(dy, corner, w.shape, stride, 0, dilation, groups)
    yield Suspect(weight, dw, "the padding is ignored: windows begin at -padding, not at 0")


def conv_transpose2d(subject):
    """Mistakes in a transposed convolution's backward."""
    geometry = conv_transpose2d_geometry(subject)
    if geometry is None:
        return
    (weight, w), x, dy, ops = parameter(subject, 4), subject.x, subject.dy, ops_for(subject.x)
    dx = ops.conv_transpose2d_backward_input(dy, w[:, :, ::-1, ::-1], x.shape, *geometry)
    yield Suspect("x", dx, "the kernel is rotated by 180 degrees: dx is a plain convolution of dy with w as it is")
    dw = ops.conv_transpose2d_backward_weight(dy, x, w.shape, *geometry)
    yield Suspect(weight, dw[:, :, ::-1, ::-1], "it is rotated by 180 degrees: flipped once too often")
    if w.shape[0] == w.shape[1] and geometry[4] == 1:
        dx = ops.conv_transpose2d_backward_input(dy, w.swapaxes(0, 1), x.shape, *geometry)
        text = "input and output channels are swapped: "
        yield Suspect("x", dx, text + "dx[c] sums over the output channels o of w[c, o], not of w[o, c]")
        yield Suspect(weight, dw.swapaxes(0, 1), text + "weight is (in, out, kH, kW)")
    yield from one_image(weight, dy, lambda dy, x: ops.conv_transpose2d_backward_weight(dy, x, w.shape, *geometry), x)
    yield from wrong_bias(parameter(subject, 1)[0], dy)


def one_image(weight, dy, backward_weight, x):
    """dw of one image alone, where all of the batch should be added up."""
    text = "only the {} image counts: dw is the sum over the batch, `+=` and not `=`"
    if len(x) > 1:
        yield Suspect(weight, backward_weight(dy[:1], x[:1]), text.format("first"))
        yield Suspect(weight, backward_weight(dy[-1:], x[-1:]), text.format("last"))


# ------------------------------------------------------------------ stride, padding and so on, from the numbers


def conv2d_geometry(subject):
    """(stride, padding, dilation, groups) with which a convolution gives the layer's y, or None: it is none."""
    (_, w), (_, b), x, y = parameter(subject, 4), parameter(subject, 1), subject.x, subject.y
    if w is None or x.ndim != 4 or y.ndim != 4:
        return None
    groups = x.shape[1] // max(1, w.shape[1])
    for stride, padding, dilation in (attributes(subject.layer), *SIZES):
        geometry = stride, padding, dilation, groups
        shape = computed(lambda g=geometry: conv2d_output_shape(x.shape, w.shape, *g))
        if shape == y.shape and computes(subject, lambda g=geometry: ops_for(x).conv2d_forward(x, w, b, *g)):
            return pair(stride), pads(padding), pair(dilation), groups
    return None


def conv_transpose2d_geometry(subject):
    """The same for a transposed convolution: (stride, padding, output_padding, dilation, groups) or None."""
    (_, w), (_, b), x, y = parameter(subject, 4), parameter(subject, 1), subject.x, subject.y
    if w is None or x.ndim != 4 or y.ndim != 4:
        return None
    groups = y.shape[1] // max(1, w.shape[1])
    for stride, padding, dilation in (attributes(subject.layer), *SIZES):
        bare = computed(
            lambda g=(stride, padding, 0, dilation, groups): conv_transpose2d_output_shape(x.shape, w.shape, *g)
        )
        output_padding = bare and (y.shape[2] - bare[2], y.shape[3] - bare[3])  # whatever makes the sizes agree
        geometry = stride, padding, output_padding, dilation, groups
        if bare and computes(subject, lambda g=geometry: ops_for(x).conv_transpose2d_forward(x, w, b, *g)):
            return geometry
    return None


def attributes(layer):
    """stride, padding and dilation as the layer's attributes name them, if it has such."""
    padding = computed(lambda: pads(getattr(layer, "pads", getattr(layer, "padding", 0))))
    return pair_of(layer, "stride", 1), padding or pads(0), pair_of(layer, "dilation", 1)


def resized(dy, shape):
    """dy in the upper left corner of an array of `shape`."""
    return pad_or_crop(dy, (0, shape[2] - dy.shape[2]), (0, shape[3] - dy.shape[3]))
