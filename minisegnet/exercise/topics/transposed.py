"""Exercise transposed-conv."""

from dataclasses import replace

import numpy as np

from ... import layers
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer
from .convolution import CONV_MISTAKES, HINTS


def transposed_case(rng, N, C, O, H, W, k, stride, padding, label=None):
    rows, cols = ((size - 1) * stride - 2 * padding + k for size in (H, W))
    return Case(
        label
        or f"{N} picture{'s' * (N > 1)} {C}x{H}x{W} to {O} channels, kernel {k}, stride {stride}, padding {padding}",
        {"x": normal(rng, N, C, H, W), "dy": normal(rng, N, O, rows, cols)},
        {"in_channels": C, "out_channels": O, "kernel_size": k, "stride": stride, "padding": padding},
        {"weight": normal(rng, C, O, k, k), "bias": normal(rng, O)},
    )


def read_at(case, stride, padding):
    """dx where dy is read at i*stride + r - padding; what lies outside counts 0."""
    k, (H, W) = case.weight.shape[2], case.x.shape[2:]
    reach = max(H, W) * stride + k
    dy = np.pad(case.dy, ((0, 0), (0, 0), (padding, reach), (padding, reach)))
    dx = np.zeros_like(case.x)
    for i, j in np.ndindex(H, W):
        window = dy[:, :, i * stride : i * stride + k, j * stride : j * stride + k]
        dx[:, :, i, j] = np.einsum("nors,cors->nc", window, case.weight)
    return dx


def last_product(case):
    """dx where of all products that belong to a pixel only the last one is left."""
    alone = np.zeros_like(case.weight)
    alone[:, -1, -1, -1] = case.weight[:, -1, -1, -1]
    return read_at(replace(case, values=case.values | {"weight": alone}), case.stride, case.padding)


TRANSPOSED_CONV = Exercise(
    name="transposed-conv",
    title="stamping a kernel, and reading it back",
    tutorial="09_upsampling",
    stars=3,
    kind=OfLayer,
    subject="ConvTranspose2d",
    ours=lambda case: layers.ConvTranspose2d(**case.arguments, rng=0, dtype=np.float64),
    hand=(
        Case(
            "two pixels, kernel 2, stride 1: the stamps overlap",
            {"x": np.array([[[[1.0, 10]]]]), "dy": np.array([[[[1.0, 2, 3], [0, 1, 0]]]])},
            {"in_channels": 1, "out_channels": 1, "kernel_size": 2, "stride": 1, "padding": 0},
            {"weight": np.array([[[[1.0, 2], [3, 4]]]]), "bias": np.array([0.0])},
            expected={
                "y": [[[[1, 12, 20], [3, 34, 40]]]],
                "dx": [[[[9, 11]]]],
                "dweight": [[[[21, 32], [10, 1]]]],
                "dbias": [7],
            },
            because={
                "dx": "x[0,0] was stamped onto the first two columns: dx[0,0] = 1*1 + 2*2 + 0*3 + 1*4 = 9",
                "dweight": (
                    "w[0,0] was multiplied by x[0,0] = 1 for y[0,0] and by x[0,1] = 10 for y[0,1]: dw[0,0] = 1*1 + "
                    "2*10 = 21"
                ),
                "dbias": "b was added to every pixel of y: db = 1 + 2 + 3 + 0 + 1 + 0 = 7",
            },
        ),
    ),
    cases=lambda rng: [
        transposed_case(rng, *size)
        for size in (
            (1, 1, 1, 2, 2, 2, 2, 0),
            (2, 2, 3, 3, 2, 3, 2, 1),
            (1, 3, 2, 3, 3, 3, 1, 0),
            (2, 2, 2, 3, 4, 2, 2, 0),
            (2, 2, 2, 3, 3, 4, 2, 1),
            (1, 2, 2, 2, 3, 2, 3, 0),
        )
    ],
    mistakes=(
        *CONV_MISTAKES,
        Mistake(
            "stride-ignored",
            "dx",
            lambda case, right: read_at(case, 1, case.padding) if case.stride > 1 else None,
            "the stride is ignored: pixel (i, j) was stamped at row i*stride, column j*stride of y",
        ),
        Mistake(
            "products-overwrite",
            "dx",
            lambda case, right: last_product(case),
            "each product overwrites the one before: dx[n,c,i,j] is the sum over all output channels o and all places "
            "of the kernel, `+=` and not `=`",
        ),
        Mistake(
            "padding-ignored",
            "dx",
            lambda case, right: read_at(case, case.stride, 0) if case.padding else None,
            "the padding is ignored: forward cut it off all round at the end, so row 0 of dy is row `padding` of the "
            "stamps",
        ),
    ),
    hints={
        "dbias": HINTS["dbias"],
        "dweight": (
            "Take one pixel x[n,c,i,j]: it was multiplied by all of w[c] and added to a window of y. What is the "
            "derivative of that window by w[c,o,r,s]?",
            "dw[c,o,r,s] = sum over n,i,j of x[n,c,i,j] * dyp[n, o, i*stride + r, j*stride + s], dyp being dy with the "
            "padding put back round it (zeros: what was cut off doesn't count).",
            "for i, j in np.ndindex(H, W):\n    window = dyp[:, :, i*s : i*s + kH, j*s : j*s + kW]   # (N, O, kH, kW)\n"
            "    for c in range(C):\n        self.weight.grad[c] += (x[:, c, i, j][:, None, None, None] * "
            "...).sum(axis=0)",
        ),
        "dx": (
            "Forward scatters: one pixel, times the kernel, onto a window. Backward gathers: the same window of dy, "
            "times the same kernel, summed, into one dx. You have written that before: it is a convolution.",
            "dx[n,c,i,j] = sum over o,r,s of dyp[n, o, i*stride + r, j*stride + s] * w[c,o,r,s]. The kernel is not "
            "rotated.",
            "for i, j in np.ndindex(H, W):\n    window = dyp[:, :, i*s : i*s + kH, j*s : j*s + kW]\n"
            "    for c in range(C):\n        dx[:, c, i, j] = (window * ...).sum(axis=(1, 2, 3))",
        ),
    },
    first="put the padding back round dy, with zeros; then read where forward stamped.",
    done="One direction of a convolution is the other's transpose. gradcheck uses just that: <f(x), y> = <x, f'(y)>.",
    source="minisegnet/layers/conv.py",
    speed=lambda rng: transposed_case(rng, 2, 8, 8, 16, 16, 2, 2, 0, label="2 pictures 8x16x16, kernel 2, stride 2"),
)
