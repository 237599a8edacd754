"""Which ops `minisegnet bench ops` measures: the hot ones, at the sizes that they have in a U-Net.

Each function below yields the rows of one layer, a row for each of its passes. In it `run` is what PyTorch computes,
and `passes(draw)` says for each pass how to set up our op beside it.
"""

import math
from typing import NamedTuple

import numpy as np

from kernels import ops_for

from .measure import import_torch
from .ops import Row, backward, contest, forward, update

CLASSES, VOID = 11, 255


class Scale(NamedTuple):
    """The U-Net whose sizes the rows have."""

    batch: int
    width: int  # channels of its maps of full size
    image: tuple

    def map(self, channels, level):
        """The shape of a map with so many channels; from one level to the next the sides are halved."""
        return (self.batch, channels, *(side >> level for side in self.image))


CPU = Scale(4, 16, (176, 240))
SMALL = Scale(1, 16, (22, 30))  # for plain Python loops
GPU = Scale(16, 64, (256, 256))
TINY = Scale(1, 1, (8, 8))  # for the simulator


def rows(quick=False, scale=CPU):
    """All rows, or with `quick` fewer."""
    x, (full, half, quarter, eighth) = scale.map, range(4)
    w, w2, w4, w8 = (scale.width << level for level in range(4))

    def some(*cases):
        return cases[:1] if quick else cases

    convolutions = [(3, w, full), (w, w, full), (w2, w2, half), (w4, w4, quarter), (w8, w8, eighth)]
    for C, O, level in convolutions[1::2] if quick else convolutions:
        yield from conv("conv 3x3", x(C, level), O, 3)
    for C, O, level in some((w, CLASSES, full), (w4, w4, quarter)):
        yield from conv("conv 1x1", x(C, level), O, 1)
    yield from conv("conv 3x3 depthwise", x(w2, half), w2, 3, groups=w2)
    for C, O, level in some((w2, w, half), (w8, w4, eighth)):
        yield from conv_transpose(x(C, level), O)
    for C, level in some((w, full), (w4, quarter)):
        yield from max_pool(x(C, level))
    yield from avg_pool(x(w, full))
    yield from upsample("nearest", x(w2, half))
    yield from upsample("bilinear", x(w2, half))
    for C, level in some((w, full), (w4, quarter)):
        yield from batch_norm(x(C, level))
    yield from cross_entropy(x(CLASSES, full))
    yield from relu(x(w, full))
    yield from concat(x(w, full))
    yield from linear(2 * w, 128 * w, 64 * w)
    yield from updates(64 * w, 128 * w)


def family(group, layer, shape, passes, flops):
    """The rows of one layer: `flops` are the operations of each pass, by the names that `passes` has."""
    for name, count in flops.items():
        yield Row(group, f"{layer} {name}", shape, count, lambda draw, name=name: passes(draw)[name]())


def text(shape, *more):
    """A shape as text.

    >>> text((4, 16, 176, 240), "to 32")
    '4x16x176x240 to 32'
    """
    return " ".join(["x".join(map(str, shape)), *more])


def functional():
    return import_torch().nn.functional


# ------------------------------------------------------------------ convolution


def conv(name, x_shape, O, kernel, groups=1):
    """A convolution with stride 1 that keeps the map's size."""
    N, C, H, W = x_shape
    geometry = 1, kernel // 2, 1, groups  # stride, padding, dilation, groups
    w_shape, y_shape = (O, C // groups, kernel, kernel), (N, O, H, W)

    def run(x, w, b=None):
        return functional().conv2d(x, w, b, *geometry)

    def passes(draw):
        x, w, b, dy = draw(*x_shape), draw(*w_shape), draw(O), draw(*y_shape)
        to_x, to_w = backward(run, dy, x, w, wrt=[0]), backward(run, dy, x, w, wrt=[1])
        return {
            "forward": lambda: contest("conv2d_forward", x, w, b, *geometry, torch=forward(run, x, w, b)),
            "backward-input": lambda: contest("conv2d_backward_input", dy, w, x_shape, *geometry, torch=to_x),
            "backward-weight": lambda: contest("conv2d_backward_weight", dy, x, w_shape, *geometry, torch=to_w),
        }

    flops = 2 * math.prod(y_shape) * math.prod(w_shape[1:])
    each = dict.fromkeys(("forward", "backward-input", "backward-weight"), flops)
    return family(
        "conv 3x3" if name == "conv 3x3" else "other convolutions", name, text(x_shape, f"to {O}"), passes, each
    )


def conv_transpose(x_shape, O):
    """The 2x2 transposed convolution with stride 2 that doubles a map's sides."""
    N, C, H, W = x_shape
    geometry = 2, 0, 0, 1, 1  # stride, padding, output_padding, dilation, groups
    w_shape, y_shape = (C, O, 2, 2), (N, O, 2 * H, 2 * W)

    def run(x, w, b=None):
        return functional().conv_transpose2d(x, w, b, stride=2)

    def passes(draw):
        x, w, b, dy = draw(*x_shape), draw(*w_shape), draw(O), draw(*y_shape)
        to_x, to_w = backward(run, dy, x, w, wrt=[0]), backward(run, dy, x, w, wrt=[1])
        op = "conv_transpose2d"
        return {
            "forward": lambda: contest(f"{op}_forward", x, w, b, *geometry, torch=forward(run, x, w, b)),
            "backward-input": lambda: contest(f"{op}_backward_input", dy, w, x_shape, *geometry, torch=to_x),
            "backward-weight": lambda: contest(f"{op}_backward_weight", dy, x, w_shape, *geometry, torch=to_w),
        }

    flops = 2 * math.prod(x_shape) * math.prod(w_shape[1:])
    each = dict.fromkeys(("forward", "backward-input", "backward-weight"), flops)
    return family("other convolutions", "conv transposed 2x2/2", text(x_shape, f"to {O}"), passes, each)


# ------------------------------------------------------------------ pooling, upsampling


def max_pool(x_shape):
    N, C, H, W = x_shape
    y_shape, geometry = (N, C, H // 2, W // 2), (2, 2, 0, 1, False)  # kernel, stride, padding, dilation, ceil_mode

    def run(x):
        return functional().max_pool2d(x, 2)

    def run_with_switches(x):
        return functional().max_pool2d(x, 2, return_indices=True)

    def passes(draw):
        x, dy = draw(*x_shape), draw(*y_shape)
        _, switches = ops_for(x).max_pool2d_forward(x, *geometry)
        return {
            "forward": lambda: contest("max_pool2d_forward", x, *geometry, torch=forward(run_with_switches, x)),
            "backward": lambda: contest("max_pool2d_backward", dy, switches, x_shape, torch=backward(run, dy, x)),
        }

    pooled = math.prod(y_shape)  # each the winner of 3 comparisons; backward adds it to a place
    return family("pooling", "max pool 2", text(x_shape), passes, {"forward": 3 * pooled, "backward": pooled})


def avg_pool(x_shape):
    N, C, H, W = x_shape
    y_shape, geometry = (N, C, H // 2, W // 2), (2, 2, 0, False, True)  # kernel, stride, padding, two switches

    def run(x):
        return functional().avg_pool2d(x, 2)

    def passes(draw):
        x, dy = draw(*x_shape), draw(*y_shape)
        return {
            "forward": lambda: contest("avg_pool2d_forward", x, *geometry, torch=forward(run, x)),
            "backward": lambda: contest("avg_pool2d_backward", dy, x_shape, *geometry, torch=backward(run, dy, x)),
        }

    pooled = math.prod(y_shape)  # 3 additions and a division; backward only divides
    return family("pooling", "average pool 2", text(x_shape), passes, {"forward": 4 * pooled, "backward": pooled})


def upsample(mode, x_shape):
    """Sides twice as long."""
    N, C, H, W = x_shape
    y_shape, op = (N, C, 2 * H, 2 * W), f"upsample_{mode}2d"
    geometry = ((0.5, 0.5), False) if mode == "bilinear" else ((0.5, 0.5),)  # scale, align_corners

    def run(x):
        return functional().interpolate(x, scale_factor=2, mode=mode)

    def passes(draw):
        x, dy = draw(*x_shape), draw(*y_shape)
        return {
            "forward": lambda: contest(f"{op}_forward", x, y_shape[2:], *geometry, torch=forward(run, x)),
            "backward": lambda: contest(f"{op}_backward", dy, x_shape, *geometry, torch=backward(run, dy, x)),
        }

    # nearest only copies, and backward adds; bilinear has four products and their sum for each y, both ways
    pixels = math.prod(y_shape)
    flops = {"forward": 8 * pixels if mode == "bilinear" else 0, "backward": (8 if mode == "bilinear" else 1) * pixels}
    return family("upsampling", f"upsample {mode} x2", text(x_shape), passes, flops)


# ------------------------------------------------------------------ normalisation, loss


def batch_norm(x_shape):
    C, eps = x_shape[1], 1e-5

    def run(x, weight, bias):
        return functional().batch_norm(x, None, None, weight, bias, training=True, eps=eps)

    def passes(draw):
        x, weight, bias, dy = draw(*x_shape), draw(C) + 1, draw(C), draw(*x_shape)
        _, mean, var = ops_for(x).batch_norm_train_forward(x, weight, bias, eps)
        there, back = forward(run, x, weight, bias), backward(run, dy, x, weight, bias, wrt=[0, 1, 2])
        return {
            "forward": lambda: contest("batch_norm_train_forward", x, weight, bias, eps, torch=there),
            "backward": lambda: contest("batch_norm_train_backward", dy, x, weight, mean, var, eps, torch=back),
        }

    # forward: mean 1, variance 3, scale and shift 2; backward: the two sums 1 + 4, dx 4
    count = math.prod(x_shape)
    return family("batch norm", "batch norm", text(x_shape), passes, {"forward": 6 * count, "backward": 9 * count})


def cross_entropy(x_shape):
    """With class weights, and a tenth of the pixels to be ignored."""
    N, C, H, W = x_shape

    def run(scores, target, weight):
        return functional().cross_entropy(scores, target, weight, ignore_index=VOID, reduction="none")

    def passes(draw):
        scores, weight, dlosses, chance = 4 * draw(*x_shape), draw(C) + 1, draw(N, H, W), draw(N, H, W) + 0.5
        target = np.where(chance < 0.1, VOID, (997 * chance).astype(np.int64) % C)
        options = target, weight, VOID, 0.0  # the last is label_smoothing
        _, p = ops_for(scores).softmax_cross_entropy_forward(scores, *options)
        there, back = forward(run, scores, target, weight), backward(run, dlosses, scores, target, weight)
        return {
            "forward": lambda: contest("softmax_cross_entropy_forward", scores, *options, torch=there),
            "backward": lambda: contest("softmax_cross_entropy_backward", dlosses, p, *options, torch=back),
        }

    # for each score: maximum, difference, exponential, sum, quotient; backward a product, a difference, a product
    count = math.prod(x_shape)
    flops = {"forward": 5 * count, "backward": 3 * count}
    return family("cross-entropy", "cross-entropy", text(x_shape), passes, flops)


# ------------------------------------------------------------------ element by element, fully connected, updates


def relu(x_shape):
    def run(x):
        return functional().relu(x)

    def passes(draw):
        x, dy = draw(*x_shape), draw(*x_shape)
        return {
            "forward": lambda: contest("relu_forward", x, torch=forward(run, x)),
            "backward": lambda: contest("relu_backward", dy, ops_for(x).relu_forward(x), torch=backward(run, dy, x)),
        }

    flops = dict.fromkeys(("forward", "backward"), math.prod(x_shape))
    return family("element by element", "ReLU", text(x_shape), passes, flops)


def concat(x_shape):
    """Of two maps of this shape. Only forward: going back, both frameworks need no more than views."""

    def run(*tensors):
        return import_torch().cat(tensors, 1)

    def passes(draw):
        arrays = [draw(*x_shape), draw(*x_shape)]
        return {"forward": lambda: contest("concat_forward", arrays, torch=forward(run, *arrays))}

    return family("element by element", "concat", text(x_shape, "twice"), passes, {"forward": 0})


def linear(N, I, O):
    def run(x, w, b=None):
        return functional().linear(x, w, b)

    def passes(draw):
        x, w, b, dy = draw(N, I), draw(O, I), draw(O), draw(N, O)
        to_x, to_w = backward(run, dy, x, w, wrt=[0]), backward(run, dy, x, w, wrt=[1])
        return {
            "forward": lambda: contest("linear_forward", x, w, b, torch=forward(run, x, w, b)),
            "backward-input": lambda: contest("linear_backward_input", dy, w, torch=to_x),
            "backward-weight": lambda: contest("linear_backward_weight", dy, x, torch=to_w),
        }

    each = dict.fromkeys(("forward", "backward-input", "backward-weight"), 2 * N * I * O)
    return family("linear", "linear", text((N, I), f"to {O}"), passes, each)


def updates(*shape):
    """One parameter's update. The learning rate is large, so that a wrong update would show in the comparison."""
    lr, momentum = 0.5, 0.9

    def passes(draw):
        value, grad, *buffers = draw(*shape), draw(*shape), np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        sgd = lr, momentum, 0.0, False  # weight_decay, nesterov
        adam = 1, lr, 0.9, 0.999, 1e-8, 0.0, False  # step, then betas, eps, weight_decay, decoupled
        return {
            "SGD": lambda: update("SGD", sgd, [value, grad, buffers[0]], {"lr": lr, "momentum": momentum}),
            "Adam": lambda: update("Adam", adam, [value, grad, *buffers], {"lr": lr}),
        }

    count = math.prod(shape)
    return family("updates", "update", text(shape), passes, {"SGD": 4 * count, "Adam": 13 * count})
