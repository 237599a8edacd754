"""Names the mistake behind a wrong gradient.

First it finds out what the layer computes, from its numbers alone: is y what a convolution with these weights would
give? a max pool? a softmax? Then it works out the gradients that the classic mistakes for that function would produce,
and says which one is exactly what backward returned.
"""

import math
from typing import NamedTuple

import numpy as np

from kernels import ops_for
from kernels.reference.pool import avg_pool_divisor
from kernels.reference.windows import pad_or_crop, windows
from kernels.shapes import conv2d_output_shape, pads, pair


class Suspect(NamedTuple):
    """What a mistake would have made of one tensor's gradient."""

    tensor: str
    wrong: np.ndarray
    text: str


def diagnose(subject, report):
    """Sentences that say which mistake the failing tensors fit; one that admits it where none does."""
    sentences = [contract.text for contract in report.contracts if not (contract.kept or contract.is_consequence)]
    suspects = [s for find in FAMILIES for s in find(subject)]
    for row in report.rows:
        if row.ok or row.problem:
            continue
        got = subject.grads[row.name]
        named = [s.text for s in suspects if s.tensor == row.name and fits(got, s.wrong)]
        named = named or constant_factor(subject, row)
        sentences += [f"the gradient of {row.name}: {text}" for text in dict.fromkeys(named)]
        if not named:
            sentences.append(f"the gradient of {row.name} fits none of the classic mistakes; start at the worst entry")
    return sentences


def fits(got, wrong):
    """Whether a gradient is what a mistake would give, to rounding; an array that is zero fits nothing."""
    scale = np.abs(wrong).max(initial=0)
    return got.shape == wrong.shape and scale > 0 and np.allclose(got, wrong, rtol=1e-8, atol=1e-10 * scale)


# ------------------------------------------------------------------ mistakes that need no knowledge of the layer


def constant_factor(subject, row):
    """The analytic gradient is zero, or a constant times the right one: what might that constant be?"""
    pairs = np.array([(a, n) for index, a, n in row.compared if not isinstance(index, str)] or [(0.0, 0.0)])
    analytic, numeric = pairs[:, 0], pairs[:, 1]
    large = np.abs(numeric) > 1e-3 * np.abs(numeric).max()
    if not large.any():
        return []
    if not analytic.any():
        return ["it is zero everywhere: backward never adds to it, or loses it on the way"]
    factor = float(np.median(analytic[large] / numeric[large]))
    if not np.allclose(analytic, factor * numeric, rtol=1e-4, atol=1e-7 * np.abs(numeric).max()):
        return []
    if math.isclose(factor, -1, rel_tol=1e-4):
        return ["it has the wrong sign"]
    x_shape = subject.x.shape
    counts = {"N, the batch": x_shape[0] if x_shape else 1, "H*W, the pixels": math.prod(x_shape[2:])}
    counts["N*H*W, all pixels"] = math.prod(x_shape[:1] + x_shape[2:])
    counts["the number of entries of x"] = subject.x.size
    counts["the kernel's area"] = math.prod(pair(getattr(subject.layer, "kernel_size", 1)))
    for name, count in counts.items():
        if count > 1 and math.isclose(factor, count, rel_tol=1e-4):
            return [f"it is {count} times too large, and {count} is {name}: a factor 1/{count} is missing"]
        if count > 1 and math.isclose(factor, 1 / count, rel_tol=1e-4):
            return [f"it is {count} times too small, and {count} is {name}: a factor 1/{count} was applied twice"]
    return [f"it is {factor:.6g} times the right one everywhere"]


# ------------------------------------------------------------------ convolution


def conv2d(subject):
    """Mistakes in a convolution's backward."""
    w, b, geometry = convolution_of(subject)
    ops, x, dy = ops_for(subject.x), subject.x, subject.dy
    if w is None or not computes(subject, lambda: ops.conv2d_forward(x, w, b, *geometry)):
        return
    stride, padding, dilation, groups = geometry
    (top, bottom), (left, right) = pads(padding)

    def dx(dy=dy, w=w, x_shape=x.shape, stride=stride, padding=padding, dilation=dilation):
        return ops.conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups)

    def dw(dy=dy, x=x, stride=stride, padding=padding, dilation=dilation):
        return ops.conv2d_backward_weight(dy, x, w.shape, stride, padding, dilation, groups)

    def output(stride=stride, dilation=dilation):
        """dy in the corner of the output that another stride or dilation would have."""
        return resized(dy, conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups))

    yield Suspect(
        "x",
        dx(w=w[:, :, ::-1, ::-1]),
        "the kernel is not rotated by 180 degrees (either never flipped, or flipped twice): dx is the correlation of "
        "dy with w[:, :, ::-1, ::-1]",
    )
    yield Suspect("weight", dw()[:, :, ::-1, ::-1], "it is rotated by 180 degrees: flipped once too often")
    if w.shape[0] == w.shape[1] and groups == 1:
        yield Suspect(
            "x",
            dx(w=w.swapaxes(0, 1)),
            "input and output channels are swapped: dx sums over the output channels, w[o, c], not w[c, o]",
        )
        yield Suspect(
            "weight", dw().swapaxes(0, 1), "input and output channels are swapped: weight is [out, in, kH, kW]"
        )
    if pair(stride) != (1, 1):
        text = "the stride is ignored: output pixel i belongs to input pixel i*stride, so "
        yield Suspect("x", dx(output(stride=1), stride=1), text + "dy must be spread out with stride - 1 zeros")
        yield Suspect("weight", dw(output(stride=1), stride=1), text + "x must be read in steps of stride")
    if pair(dilation) != (1, 1):
        text = "the dilation is ignored: tap r belongs to input pixel i + r*dilation"
        yield Suspect("x", dx(output(dilation=1), dilation=1), text)
        yield Suspect("weight", dw(output(dilation=1), dilation=1), text)
    if top or left or bottom or right:
        N, C, H, W = x.shape
        padded = dx(x_shape=(N, C, top + H + bottom, left + W + right), padding=0)
        yield Suspect(
            "x",
            padded[:, :, :H, :W],
            "the padding is not cropped: dx of the padded image has to lose its first rows and columns, "
            "dx = dxp[:, :, p:p + H, p:p + W]",
        )
        corner = pad_or_crop(x, (0, top + bottom), (0, left + right))
        yield Suspect("weight", dw(x=corner, padding=0), "the padding is ignored: windows begin at -padding, not at 0")
    yield from wrong_bias(dy)


def conv_transpose2d(subject):
    """Mistakes in a transposed convolution's backward."""
    w, b, (stride, padding, dilation, groups) = convolution_of(subject)
    ops, x, dy = ops_for(subject.x), subject.x, subject.dy
    geometry = stride, padding, getattr(subject.layer, "output_padding", 0), dilation, groups
    if w is None or not computes(subject, lambda: ops.conv_transpose2d_forward(x, w, b, *geometry)):
        return
    flipped = w[:, :, ::-1, ::-1]
    yield Suspect(
        "x",
        ops.conv_transpose2d_backward_input(dy, flipped, x.shape, *geometry),
        "the kernel is rotated: dx is a plain convolution of dy with w as it is",
    )
    dw = ops.conv_transpose2d_backward_weight(dy, x, w.shape, *geometry)
    yield Suspect("weight", dw[:, :, ::-1, ::-1], "it is rotated by 180 degrees: flipped once too often")
    if w.shape[0] == w.shape[1] and groups == 1:
        swapped = ops.conv_transpose2d_backward_input(dy, w.swapaxes(0, 1), x.shape, *geometry)
        yield Suspect("x", swapped, "input and output channels are swapped: dx sums over the output channels, w[c, o]")
        yield Suspect("weight", dw.swapaxes(0, 1), "input and output channels are swapped: weight is [in, out, kH, kW]")
    yield from wrong_bias(dy)


def convolution_of(subject):
    """(w, b, (stride, padding, dilation, groups)) from the layer's attributes; w None if it can be no convolution."""
    layer, weight = subject.layer, subject.parameters.get("weight")
    if weight is None or len(weight.shape) != 4 or subject.x.ndim != 4:
        return None, None, (1, 0, 1, 1)
    bias = subject.parameters.get("bias")
    padding = getattr(layer, "pads", getattr(layer, "padding", 0))
    geometry = getattr(layer, "stride", 1), padding, getattr(layer, "dilation", 1), getattr(layer, "groups", 1)
    return weight.value, None if bias is None else bias.value, geometry


def wrong_bias(dy):
    """dy summed over other axes than it should be: all but the channels (axis 1)."""
    O = dy.shape[1]
    text = "it is summed over the wrong axes: "
    right = "; db sums dy over all axes but the channels, " + (
        "dy.sum(axis=(0, 2, 3))" if dy.ndim == 4 else "dy.sum(axis=0)"
    )
    rest = tuple(range(2, dy.ndim))
    yield Suspect("bias", dy[:1].sum(axis=(0, *rest)), text + "only the first image counts" + right)
    yield Suspect("bias", np.full(O, dy.sum()), text + "the channels are summed too" + right)
    for axis in range(dy.ndim):
        if axis != 1 and dy.shape[axis] == O:
            others = tuple(a for a in range(dy.ndim) if a != axis)
            yield Suspect("bias", dy.sum(axis=others), text + f"axis {axis} is kept instead of axis 1" + right)
    if dy.ndim == 4:
        yield Suspect("bias", dy[:, :, 0, 0].sum(axis=0), text + "only the first pixel counts" + right)


# ------------------------------------------------------------------ fully connected


def linear(subject):
    """Mistakes in a fully connected layer's backward."""
    weight, bias = subject.parameters.get("weight"), subject.parameters.get("bias")
    if weight is None or len(weight.shape) != 2 or subject.x.ndim != 2:
        return
    ops, x, dy, w = ops_for(subject.x), subject.x, subject.dy, weight.value
    b = None if bias is None else bias.value
    if not computes(subject, lambda: ops.linear_forward(x, w, b)):
        return
    if w.shape[0] == w.shape[1]:
        yield Suspect("x", dy @ w.T, "the weight is transposed: forward is y = x @ w.T, so dx = dy @ w")
        yield Suspect("weight", x.T @ dy, "it is transposed: weight is (out, in), so dw = dy.T @ x")
    yield from wrong_bias(dy)


# ------------------------------------------------------------------ pooling


def max_pool2d(subject):
    """Mistakes in a max pool's backward."""
    geometry = pooling_of(subject)
    if geometry is None:
        return
    kernel, stride, padding = geometry
    dilation, ceil_mode = pair(getattr(subject.layer, "dilation", 1)), getattr(subject.layer, "ceil_mode", False)
    ops, x, dy = ops_for(subject.x), subject.x, subject.dy
    forward = computed(lambda: ops.max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode))
    if forward is None or not agrees(forward[0], subject.y):
        return
    y, argmax = forward
    N, C, H, W = x.shape
    rows, cols = y.shape[2:]
    below = max(0, (rows - 1) * stride[0] + dilation[0] * (kernel[0] - 1) + 1 - H - padding[0])
    after = max(0, (cols - 1) * stride[1] + dilation[1] * (kernel[1] - 1) + 1 - W - padding[1])
    margins = (padding[0], below), (padding[1], after)
    winners = (
        windows(pad_or_crop(x, *margins, -np.inf), kernel, stride, dilation)[:, :, :rows, :cols] == y[..., None, None]
    )
    everyone = np.zeros((N, C, padding[0] + H + below, padding[1] + W + after))
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            top, left = r * dilation[0], s * dilation[1]
            part = everyone[:, :, top : top + rows * stride[0] : stride[0], left : left + cols * stride[1] : stride[1]]
            part[:, :, :rows, :cols] += np.where(winners[..., r, s], dy, 0)
    yield Suspect(
        "x",
        everyone[:, :, padding[0] : padding[0] + H, padding[1] : padding[1] + W],
        "every one of several tied maxima gets the whole gradient; only the first one in the window may (use argmax)",
    )
    lost = np.zeros((N, C, H * W))
    np.put_along_axis(lost, argmax.reshape(N, C, -1), dy.reshape(N, C, -1), axis=2)
    yield Suspect(
        "x",
        lost.reshape(x.shape),
        "gradients are lost where windows overlap: a pixel that won several windows gets the sum, `+=` and not `=` "
        "(NumPy's dx[index] += dy also keeps only the last one of equal indices: use np.add.at)",
    )


def avg_pool2d(subject):
    """Mistakes in an average pool's backward."""
    geometry = pooling_of(subject)
    if geometry is None:
        return
    ceil_mode = getattr(subject.layer, "ceil_mode", False)
    include_pad = getattr(subject.layer, "count_include_pad", True)
    ops, x, dy = ops_for(subject.x), subject.x, subject.dy
    arguments = (*geometry, ceil_mode, include_pad)
    if not computes(subject, lambda: ops.avg_pool2d_forward(x, *arguments)):
        return
    divisor = avg_pool_divisor(x.shape, dy.shape, *geometry, include_pad)
    yield Suspect(
        "x",
        ops.avg_pool2d_backward(dy * divisor, x.shape, *arguments),
        "it is not divided by the window's size: y is a mean, so each pixel gets dy/(kH*kW) from its window",
    )


def pooling_of(subject):
    """(kernel, stride, padding) as pairs from the layer's attributes, or None if it can be no pooling."""
    layer = subject.layer
    if not hasattr(layer, "kernel_size") or subject.parameters or subject.x.ndim != 4:
        return None
    kernel = pair(layer.kernel_size)
    stride = getattr(layer, "stride", None)
    return kernel, kernel if stride is None else pair(stride), pair(getattr(layer, "padding", 0), minimum=0)


# ------------------------------------------------------------------ element by element, softmax, normalisation


def activation(subject):
    """Mistakes in the backward of ReLU, sigmoid and tanh."""
    if subject.parameters:
        return
    ops, x, y, dy = ops_for(subject.x), subject.x, subject.y, subject.dy
    if computes(subject, lambda: ops.relu_forward(x)):
        yield Suspect("x", np.where(dy > 0, dy, 0), "the mask is taken from dy; the gate depends on x: dy * (x > 0)")
        yield Suspect("x", dy, "the mask is missing: where x <= 0 no gradient passes, dy * (x > 0)")
        yield Suspect("x", np.where(x > 0, 1.0, 0.0), "dy is missing: the derivative has to be multiplied by dy")
    if computes(subject, lambda: ops.sigmoid_forward(x)):
        yield Suspect("x", dy * x * (1 - x), "the derivative is y*(1 - y) of the output y, not of the input x")
        yield Suspect("x", y * (1 - y), "dy is missing: the derivative has to be multiplied by dy")
    if computes(subject, lambda: ops.tanh_forward(x)):
        yield Suspect("x", dy * (1 - x * x), "the derivative is 1 - y² of the output y, not of the input x")
        yield Suspect("x", 1 - y * y, "dy is missing: the derivative has to be multiplied by dy")


def softmax(subject):
    """Mistakes in a softmax's backward."""
    ops, x, y, dy = ops_for(subject.x), subject.x, subject.y, subject.dy
    if subject.parameters or y.shape != x.shape:
        return
    for dim in range(x.ndim):
        if computes(subject, lambda dim=dim: ops.softmax_forward(x, dim)):
            text = (
                "the Jacobian is replaced by its diagonal: each score also moves all other probabilities of its axis, "
            )
            yield Suspect("x", dy * y * (1 - y), text + "dx = y * (dy - Σ dy*y)")
            yield Suspect("x", dy * y, text + "dx = y * (dy - Σ dy*y)")
        if computes(subject, lambda dim=dim: ops.log_softmax_forward(x, dim)):
            text = "only dy - exp(y) without the sum: dx = dy - exp(y) * Σ dy"
            yield Suspect("x", dy - np.exp(y), text)


def batch_norm(subject):
    """Mistakes in batch normalisation's backward in training."""
    ops, x, dy, eps = ops_for(subject.x), subject.x, subject.dy, getattr(subject.layer, "eps", 1e-5)
    weight, bias = subject.parameters.get("weight"), subject.parameters.get("bias")
    if x.ndim != 4 or subject.y.shape != x.shape:
        return
    w, b = (None if p is None else p.value for p in (weight, bias))
    forward = computed(lambda: ops.batch_norm_train_forward(x, w, b, eps))
    if forward is None or not agrees(forward[0], subject.y):
        return
    _, mean, var = forward
    constants, _, _ = ops.batch_norm_eval_backward(dy, x, w, mean, var, eps)
    text = "of the three ways back, through x̂, the mean and the variance, "
    yield Suspect("x", constants, text + "only the first is there: mean and variance are treated as constants")
    without_var = constants - constants.mean(axis=(0, 2, 3), keepdims=True)
    yield Suspect("x", without_var, text + "the one through the variance is missing")
    normed = (x - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None]
    without_mean = constants - normed * (constants * normed).mean(axis=(0, 2, 3), keepdims=True)
    yield Suspect("x", without_mean, text + "the one through the mean is missing")
    yield Suspect(
        "weight", (dy * x).sum(axis=(0, 2, 3)), "it is the sum of dy*x; forward multiplies weight by x̂, not by x"
    )
    yield from wrong_bias(dy)


FAMILIES = (conv2d, conv_transpose2d, linear, max_pool2d, avg_pool2d, activation, softmax, batch_norm)


# ------------------------------------------------------------------ what does the layer compute?


def computes(subject, forward):
    """Whether the layer's y is what this forward gives."""
    y = computed(forward)
    return y is not None and agrees(y, subject.y)


def computed(forward):
    """The forward's result, or None where the layer's arguments don't fit this kind of layer at all."""
    try:
        return forward()
    except (ValueError, TypeError):
        return None


def agrees(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)


def resized(dy, shape):
    """dy in the upper left corner of an array of `shape`."""
    return pad_or_crop(dy, (0, shape[2] - dy.shape[2]), (0, shape[3] - dy.shape[3]))
