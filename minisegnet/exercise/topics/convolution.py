"""Exercises conv2d and dilated-conv."""

import numpy as np

from kernels import ops_for
from kernels.shapes import pads, pair

from ... import layers
from ...gradcheck.mistakes.evidence import stamp
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer


def output_size(size, k, stride, padding, dilation):
    return (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def conv_case(rng, N, C, O, H, W, k, stride=1, padding=0, dilation=None, label=None):
    """One case; dilation only where the layer has it."""
    named = {"stride": stride, "padding": padding} if dilation is None else {"padding": padding, "dilation": dilation}
    rows, cols = (output_size(size, k, stride, padding, dilation or 1) for size in (H, W))
    text = ", ".join(f"{name} {value}" for name, value in named.items())
    return Case(
        label or f"{N} picture{'s' * (N > 1)} {C}x{H}x{W} to {O} channels, kernel {k}, {text}",
        {"x": normal(rng, N, C, H, W), "dy": normal(rng, N, O, rows, cols)},
        {"in_channels": C, "out_channels": O, "kernel_size": k, **named},
        {"weight": normal(rng, O, C, k, k), "bias": normal(rng, O)},
    )


def ours(case):
    return layers.Conv2d(**case.arguments, rng=0, dtype=np.float64)


def geometry(case):
    """stride, padding, dilation."""
    return tuple(case.arguments.get(name, plain) for name, plain in (("stride", 1), ("padding", 0), ("dilation", 1)))


def unpadded(case):
    """dw where x is not padded, but followed by zeros; None where there is no padding to forget."""
    stride, padding, dilation = geometry(case)
    if not padding:
        return None
    x = np.pad(case.x, ((0, 0), (0, 0), (0, 2 * padding), (0, 2 * padding)))
    return ops_for(x).conv2d_backward_weight(case.dy, x, case.weight.shape, stride, 0, dilation, 1)


def overwritten(case, order):
    """dx where of all products that belong to a pixel only the last one is left, with loops as people write them.

    The last output channel comes last, whichever loop is outside; order: then the last window, or the last tap.
    """
    stride, padding, dilation = geometry(case)
    parts = np.einsum("nij,crs->ncijrs", case.dy[:, -1], case.weight[-1])
    return stamp(parts, case.x.shape, pair(stride), pads(padding), pair(dilation), order)


def last_only(case, axes):
    """dw where only the last index of these axes of dy counts."""
    last = np.zeros_like(case.dy)
    place = tuple(-1 if axis in axes else slice(None) for axis in range(case.dy.ndim))
    last[place] = case.dy[place]
    return ops_for(last).conv2d_backward_weight(last, case.x, case.weight.shape, *geometry(case), 1)


HINTS = {
    "dbias": (
        "b[o] is added to every pixel of channel o, in every picture.",
        "db[o] = sum over n,i,j of dy[n,o,i,j]",
        "self.bias.grad += dy.sum(axis=(...))   # all axes but that of o",
    ),
    "dweight": (
        "Forward goes through the windows and multiplies w[o] by each window of xp. Go through the same windows: what "
        "is the derivative of y[n,o,i,j] by w[o,c,r,s]?",
        "dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * xp[n, c, {place}]. For one window (i, j): the window times "
        "dy[n,o,i,j], summed over n.",
        "for i, j in np.ndindex(dy.shape[2:]):\n    window = xp[:, :, {rows}, {cols}]    # (N, C, kH, kW)\n"
        "    for o in range(O):\n        g = dy[:, o, i, j][:, None, None, None]    # one number for each picture\n"
        "        self.weight.grad[o] += (g * window).sum(axis=...)",
    ),
    "dx": (
        "Forward gathers: a window of xp, times the weights, into one y. Backward scatters: one dy, times the same "
        "weights, onto the same window, adding up where windows overlap. The padding is cut off at the end.",
        "dxp[n, c, {place}] += sum over o of dy[n,o,i,j] * w[o,c,r,s], for all i, j, r, s; then "
        "dx[n,c,a,b] = dxp[n, c, a + padding, b + padding].",
        "dxp = np.zeros_like(xp)\nfor i, j in np.ndindex(dy.shape[2:]):\n    for o in range(O):\n"
        "        g = dy[:, o, i, j][:, None, None, None]    # one number for each picture\n"
        "        dxp[:, :, {rows}, {cols}] += g * w[o]\n"
        "return dxp[:, :, p : p + H, ...]",
    ),
}


def hints(place, rows, cols):
    """HINTS with the places that windows have."""
    return {
        name: tuple(text.replace("{place}", place).replace("{rows}", rows).replace("{cols}", cols) for text in texts)
        for name, texts in HINTS.items()
    }


CONV_MISTAKES = (
    Mistake(
        "bias-mean",
        "dbias",
        lambda case, right: right["dbias"] / (case.dy.size / case.dy.shape[1]),
        "it is the mean of dy; b[o] is added to every pixel of its channel, so db is the sum",
    ),
    Mistake(
        "mean-over-batch",
        "dweight",
        lambda case, right: right["dweight"] / len(case.x) if len(case.x) > 1 else None,
        "it is divided by N: the mean over the batch belongs into the loss, the layers only add up",
    ),
)

PADDING_IGNORED = Mistake(
    "padding-ignored",
    "dweight",
    lambda case, right: unpadded(case),
    "the padding is ignored: forward multiplied w by the padded picture, so windows begin at -padding",
)

OVERWRITING = (
    Mistake(
        "products-overwrite",
        "dx",
        lambda case, right: overwritten(case, "windows"),
        "each product overwrites the one before: a pixel gets the sum over all its windows and all output channels, "
        "`+=` and not `=`",
    ),
    Mistake(
        "taps-overwrite",
        "dx",
        lambda case, right: overwritten(case, "taps"),
        "each product overwrites the one before: a pixel gets the sum over all places of the kernel and all output "
        "channels, `+=` and not `=`",
    ),
    Mistake(
        "products-overwrite",
        "dweight",
        lambda case, right: last_only(case, (0, 2, 3)),
        "each product overwrites the one before: dw[o,c,r,s] is the sum over all pictures n and all windows (i, j), "
        "`+=` and not `=`",
    ),
    Mistake(
        "last-window-only",
        "dweight",
        lambda case, right: last_only(case, (2, 3)),
        "each window overwrites the one before: dw[o,c,r,s] is the sum over all windows (i, j), `+=` and not `=`",
    ),
)

CONV2D = Exercise(
    name="conv2d",
    title="the backward pass of a convolution",
    tutorial="02_convolution_backward",
    stars=3,
    kind=OfLayer,
    subject="Conv2d",
    ours=ours,
    hand=(
        Case(
            "one 3x3 picture, kernel 2, no padding",
            {"x": np.array([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]]), "dy": np.array([[[[1.0, 10], [0, 0]]]])},
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "stride": 1, "padding": 0},
            {"weight": np.array([[[[1.0, 2], [3, 4]]]]), "bias": np.array([0.0])},
            expected={
                "y": [[[[37, 47], [67, 77]]]],
                "dx": [[[[1, 12, 20], [3, 34, 40], [0, 0, 0]]]],
                "dweight": [[[[21, 32], [54, 65]]]],
                "dbias": [11],
            },
            because={
                "dx": (
                    "x[0,1] (the 2) stands in y[0,0], times w[0,1] = 2, and in y[0,1], times w[0,0] = 1: "
                    "dx[0,1] = 1*2 + 10*1 = 12"
                ),
                "dweight": (
                    "w[0,0] was multiplied by x[0,0] = 1 for y[0,0] and by x[0,1] = 2 for y[0,1]: dw[0,0] = 1*1 + 10*2 "
                    "= 21"
                ),
                "dbias": "b was added to every pixel of y: db = 1 + 10 + 0 + 0 = 11",
            },
        ),
        Case(
            "one 2x2 picture, kernel 2, stride 2, padding 1",
            {"x": np.array([[[[1.0, 2], [3, 4]]]]), "dy": np.array([[[[1.0, 10], [100, 1000]]]])},
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "stride": 2, "padding": 1},
            {"weight": np.array([[[[1.0, 2], [3, 4]]]]), "bias": np.array([0.5])},
            expected={
                "y": [[[[4.5, 6.5], [6.5, 4.5]]]],
                "dx": [[[[4, 30], [200, 1000]]]],
                "dweight": [[[[4000, 300], [20, 1]]]],
                "dbias": [1111],
            },
            because={
                "dx": (
                    "each pixel is in one window only, in its inner corner: x[0,0] was multiplied by w[1,1] = 4 for "
                    "y[0,0], so dx[0,0] = 1*4"
                ),
                "dweight": (
                    "w[0,0] lay on the padding everywhere but in the last window, y[1,1], where it was multiplied by "
                    "x[1,1] = 4: dw[0,0] = 1000*4"
                ),
                "dbias": "b was added to every pixel of y: db = 1 + 10 + 100 + 1000 = 1111",
            },
        ),
        Case(
            "two 2x2 pictures, kernel 2, no padding: one window each",
            {"x": np.array([[[[1.0, 2], [3, 4]]], [[[5, 6], [7, 8]]]]), "dy": np.array([[[[1.0]]], [[[10]]]])},
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "stride": 1, "padding": 0},
            {"weight": np.array([[[[1.0, 2], [3, 4]]]]), "bias": np.array([0.0])},
            expected={
                "y": [[[[30]]], [[[70]]]],
                "dx": [[[[1, 2], [3, 4]]], [[[10, 20], [30, 40]]]],
                "dweight": [[[[51, 62], [73, 84]]]],
                "dbias": [11],
            },
            because={
                "dweight": (
                    "both pictures were multiplied by the same weights, so dw is the sum over both: "
                    "dw[0,0] = 1*1 + 10*5 = 51"
                ),
                "dx": (
                    "each picture has a dy of its own: x[0,0] of the second one was multiplied by w[0,0] = 1, so its "
                    "dx[0,0] = 10*1"
                ),
                "dbias": "b was added in both pictures: db = 1 + 10 = 11",
            },
        ),
    ),
    cases=lambda rng: [
        conv_case(rng, *size)
        for size in (
            (1, 1, 1, 4, 4, 3, 1, 0),
            (2, 2, 3, 4, 5, 3, 1, 1),
            (1, 3, 3, 5, 4, 2, 1, 0),
            (2, 2, 2, 6, 5, 3, 2, 1),
            (2, 1, 2, 5, 6, 3, 2, 0),
            (1, 2, 2, 4, 4, 1, 1, 0),
            (2, 2, 2, 4, 4, 2, 3, 1),
            (3, 2, 1, 3, 3, 3, 1, 2),
            (2, 1, 2, 4, 5, 3, 2, 1),
        )
    ],
    mistakes=(*CONV_MISTAKES, *OVERWRITING, PADDING_IGNORED),
    hints=hints("i*stride + r, j*stride + s", "i*s : i*s + kH", "j*s : j*s + kW"),
    first="db is the easiest. Then dw: go through the windows of forward's loop again.",
    done="Now dilated-conv and transposed-conv are small steps. Or see how the same sums are made hundreds of times "
    "faster: tutorial 12_making_it_fast.",
    source="kernels/reference/conv_loops.py",
    speed=lambda rng: conv_case(rng, 2, 8, 8, 32, 32, 3, 1, 1, label="2 pictures 8x32x32 to 8 channels, kernel 3"),
)

DILATED_CONV = Exercise(
    name="dilated-conv",
    title="a kernel with holes, as DeepLab has it",
    tutorial="10_from_fcn_to_deeplab",
    stars=3,
    kind=OfLayer,
    subject="Conv2d",
    ours=ours,
    hand=(
        Case(
            "one 3x3 picture, kernel 2, dilation 2: the kernel sees the four corners",
            {"x": np.array([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]]), "dy": np.array([[[[10.0]]]])},
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "padding": 0, "dilation": 2},
            {"weight": np.array([[[[1.0, 2], [3, 4]]]]), "bias": np.array([0.0])},
            expected={
                "y": [[[[64]]]],
                "dx": [[[[10, 0, 20], [0, 0, 0], [30, 0, 40]]]],
                "dweight": [[[[10, 30], [70, 90]]]],
                "dbias": [10],
            },
            because={
                "dx": (
                    "the corner x[0,2] = 3 was multiplied by w[0,1] = 2, so dx[0,2] = 10*2; what lies between the taps "
                    "gets nothing"
                ),
                "dweight": "w[0,1] was multiplied by the corner x[0,2] = 3: dw[0,1] = 10*3",
                "dbias": "y has one pixel, to which b was added: db = 10",
            },
        ),
    ),
    cases=lambda rng: [
        conv_case(rng, *size[:6], padding=size[6], dilation=size[7])
        for size in (
            (1, 1, 1, 5, 5, 3, 0, 2),
            (2, 2, 3, 5, 6, 2, 1, 3),
            (2, 2, 2, 5, 4, 3, 2, 2),
            (1, 2, 2, 4, 4, 3, 1, 1),
            (2, 3, 1, 6, 6, 2, 0, 4),
        )
    ],
    mistakes=(*CONV_MISTAKES, *OVERWRITING, PADDING_IGNORED),
    hints=hints("i + r*dilation, j + s*dilation", "i : i + d*(kH-1) + 1 : d", "j : j + d*(kW-1) + 1 : d"),
    first="the windows are now slices with a step: x[..., i : i + d*(kH-1) + 1 : d, ...]. All else is as in conv2d.",
    done="With rates 6, 12 and 18 side by side this is DeepLab's ASPP: minisegnet/models/deeplab.py.",
    source="minisegnet/layers/conv.py",
    speed=lambda rng: conv_case(
        rng, 2, 8, 8, 32, 32, 3, 1, 2, 2, label="2 pictures 8x32x32 to 8 channels, kernel 3, dilation 2"
    ),
)
