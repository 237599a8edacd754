"""The gallery: bugs of upsampling that real frameworks had."""

import numpy as np

from ... import layers
from ...core import Layer
from ..exercise import Case, Exercise, Story, normal
from ..kinds import OfLayer
from .transposed import transposed_case


def output_padded(case, extra):
    """The same transposed convolution with output_padding."""
    rng = np.random.default_rng(len(case.label))
    rows, cols = (size + extra for size in case.dy.shape[2:])
    return Case(
        f"{case.label}, output_padding {extra}",
        case.inputs | {"dy": normal(rng, *case.dy.shape[:2], rows, cols)},
        case.arguments | {"output_padding": extra},
        case.values,
    )


TRANSPOSED_OUTPUT_PADDING = Exercise(
    name="bug-transposed-output-padding",
    title="a transposed convolution with a dark line at its border",
    tutorial="09_upsampling",
    stars=3,
    kind=OfLayer,
    subject="ConvTranspose2d",
    ours=lambda case: layers.ConvTranspose2d(**case.arguments, rng=0, dtype=np.float64),
    hand=(
        Case(
            "one pixel, kernel 3, stride 2, padding 1, output_padding 1",
            {"x": np.array([[[[10.0]]]]), "dy": np.array([[[[1.0, 2], [3, 4]]]])},
            {
                "in_channels": 1,
                "out_channels": 1,
                "kernel_size": 3,
                "stride": 2,
                "padding": 1,
                "output_padding": 1,
            },
            {"weight": np.array([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]]), "bias": np.array([0.0])},
            expected={
                "y": [[[[50, 60], [80, 90]]]],
                "dx": [[[[77]]]],
                "dweight": [[[[0, 0, 0], [0, 10, 20], [0, 30, 40]]]],
                "dbias": [10],
            },
            because={
                "y": (
                    "the stamp is 10 * w; without its first row and column, but with its last ones, y is 50 60 / 80 90"
                ),
                "dx": (
                    "the stamp 10 * w is cut off above and on the left, so y is x times 5 6 / 8 9, the rest of the "
                    "kernel: dx = 1*5 + 2*6 + 3*8 + 4*9 = 77"
                ),
                "dweight": (
                    "the first row and column of w were cut off, the others were multiplied by x = 10: dw[1,1] = 1*10"
                ),
                "dbias": "b was added to every pixel of y: db = 1 + 2 + 3 + 4 = 10",
            },
        ),
    ),
    cases=lambda rng: [
        output_padded(transposed_case(rng, *size), extra)
        for size, extra in (
            ((1, 1, 1, 2, 2, 3, 2, 1), 0),
            ((2, 2, 3, 2, 3, 3, 2, 1), 1),
            ((1, 2, 2, 3, 2, 4, 3, 2), 2),
            ((1, 2, 1, 2, 2, 2, 3, 1), 1),
            ((1, 1, 2, 2, 2, 2, 3, 0), 2),
        )
    ],
    hints={
        "y": (
            "output_padding makes y larger. What should be in the rows and columns that are new?",
            "The formula says y[a,b] = b[o] + yp[a + padding, b + padding] there, too: what was stamped, not zeros. "
            "Only where nothing was stamped is it b alone, and yp must reach that far.",
            "Make yp larger by `extra` at the bottom and right (zeros), and cut off less there: "
            "yp[:, :, p : yp.shape[2] - p, ...]. In backward don't cut dy; pad it by p on all sides.",
        )
    },
    done="",
    source="kernels/reference/conv.py",
    story=Story(
        "TVM, a compiler for nets, took output_padding literally and appended zeros. In PyTorch and elsewhere the word "
        "means something else: several input sizes of a convolution with stride give the same output size, and "
        "output_padding says which of them the transposed convolution should give back; the additional rows are "
        "computed like the others. Someone who ran PyTorch's nets on TVM found the last row and column full of zeros. "
        "The first repair (#4318) had to be reverted, the second stayed. Users of PyTorch expect the zeros, too: that "
        "has been reported as a bug again and again.",
        ("apache/tvm PR #5758", "mila-iqia/myia PR #338", "pytorch/pytorch issue #8816"),
    ),
)


class RowUpsample(Layer):
    """What bug_bilinear_half_pixel.py has to compute: bilinear upsampling along rows."""

    def __init__(self, factor):
        self.factor = factor

    def inside(self, L):
        return layers.Upsample(size=(1, L * self.factor), mode="bilinear")

    def forward(self, x):
        y, saved = self.inside(x.shape[2]).forward(x[:, :, None])
        return y[:, :, 0], saved

    def backward(self, dy, saved):
        return self.inside(dy.shape[2] // self.factor).backward(dy[:, :, None], saved)[:, :, 0]


def upsample_row(rng, N, C, L, factor):
    inputs = {"x": normal(rng, N, C, L), "dy": normal(rng, N, C, L * factor)}
    return Case(f"rows of {L} pixels, {factor} times as long", inputs, {"factor": factor})


BILINEAR_HALF_PIXEL = Exercise(
    name="bug-bilinear-half-pixel",
    title="an upsampling that shifts the picture",
    tutorial="09_upsampling",
    stars=2,
    kind=OfLayer,
    subject="BilinearUpsample1d",
    ours=lambda case: RowUpsample(**case.arguments),
    hand=(
        Case(
            "two pixels become four",
            {"x": np.array([[[1.0, 2]]]), "dy": np.array([[[4.0, 4, 8, 1]]])},
            {"factor": 2},
            expected={"y": [[[1, 1.25, 1.75, 2]]], "dx": [[[9, 8]]]},
            because={
                "y": "read backwards, 2 1 must give 2 1.75 1.25 1: left and right are alike",
                "dx": (
                    "with the right weights 1, 3/4, 1/4, 0 of x[0] in the four outputs: dx[0] = 1*4 + 3/4*4 + 1/4*8 = 9"
                ),
            },
        ),
    ),
    cases=lambda rng: [
        upsample_row(rng, *size) for size in ((1, 1, 3, 1), (2, 3, 4, 2), (1, 2, 3, 3), (2, 1, 5, 4), (1, 1, 1, 2))
    ],
    hints={
        "y": (
            "Upsample 1 2, and then 2 1. One result should be the other one read backwards. Is it?",
            "Pixel i of the large picture is a square from i to i + 1, its centre is at i + 1/2. In the small picture "
            "that is (i + 1/2)/factor; and there, too, a pixel's centre is half a pixel behind its beginning.",
            "place = (i + 0.5) / self.factor - 0.5, and then not smaller than 0 and not larger than size - 1",
        )
    },
    done="",
    source="kernels/reference/resize.py",
    story=Story(
        "TensorFlow 1 resized pictures with place = i * scale: output pixel 0 sat on the middle of input pixel 0, and "
        "the whole picture moved to the upper left, by up to half a pixel of the small one. The lower right border was "
        "repeated to fill up. Nets that were trained with it had learned to live with it, so it could not simply be "
        "repaired: TensorFlow 2 got a new function. For nets that went from one framework to another it meant masks "
        "beside the objects.",
        ("tensorflow/tensorflow issue #6720", "PAIR-code/saliency PR #50"),
    ),
)
