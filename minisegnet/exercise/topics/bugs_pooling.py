"""The gallery: bugs of pooling that real frameworks had."""

import numpy as np

from ... import layers
from ...core import Layer
from ..exercise import Case, Exercise, Story, normal
from ..kinds import OfLayer
from . import pooling


def after_relu(rng, case):
    """The same case with an x as it comes out of a ReLU: half of it 0."""
    return Case(case.label + ", after a ReLU", case.inputs | {"x": np.maximum(case.x, 0)}, case.arguments, case.values)


MAX_POOL_TIES = Exercise(
    name="bug-max-pool-ties",
    title="a max pool behind a ReLU",
    tutorial="03_pooling",
    stars=1,
    kind=OfLayer,
    subject="MaxPool2d",
    ours=lambda case: layers.MaxPool2d(**case.arguments),
    hand=(
        Case(
            "a window of zeros, as a ReLU leaves it",
            {"x": np.array([[[[0.0, 0, 3, 1], [0, 0, 2, 0]]]]), "dy": np.array([[[[8.0, 1]]]])},
            {"kernel_size": 2, "stride": 2},
            expected={"y": [[[[0, 3]]]], "dx": [[[[8, 0, 1, 0], [0, 0, 0, 0]]]]},
            because={"dx": "all four pixels of the first window are 0, and the first of them is the winner"},
        ),
        pooling.MAX_POOL_HAND,
    ),
    cases=lambda rng: [after_relu(rng, pooling.pool_case(rng, *size)) for size in pooling.SIZES],
    hints={
        "dx": (
            "How much of dy arrives at x altogether? Add up dx, add up dy.",
            "A comparison `x == y` finds every pixel that is as large as the largest one. How many of them may win?",
            "k*k numbers of a window as one row: flat = window.reshape(N, C, -1); flat.argmax(axis=2) is the place of "
            "the first maximum; np.put_along_axis(winners, place[..., None], 1, axis=2) marks it in an array of zeros.",
        )
    },
    done="",
    source="kernels/reference/pool.py",
    story=Story(
        "Theano compared every pixel of a window with the maximum, and each one that was equal got the whole gradient. "
        "With random numbers ties never happen, so a test with them sees nothing. But behind a ReLU, or on pictures "
        "with a black background such as MNIST, whole windows are 0. cuDNN gave the gradient to one pixel only, so the "
        "same net learned differently on CPU and GPU. The discussion lists three conventions: all of them get all of "
        "it, they share it, one gets all of it. The sum of what goes back is right for the last two only.",
        ("Theano/Theano issue #5248", "Theano/Theano issue #5404"),
    ),
)


def with_nan(case):
    x = case.x.copy()
    x[(0,) * (x.ndim - 1) + (1,)] = np.nan
    return Case(case.label + ", one NaN", case.inputs | {"x": x}, case.arguments)


MAX_POOL_NAN = Exercise(
    name="bug-max-pool-nan",
    title="a max pool that swallows NaN",
    tutorial="03_pooling",
    stars=1,
    kind=OfLayer,
    subject="MaxPool2d",
    ours=lambda case: layers.MaxPool2d(**case.arguments),
    hand=(
        Case(
            "two windows, a NaN in the first",
            {"x": np.array([[[[1.0, np.nan, 3, 1], [5, 6, 2, 0]]]]), "dy": np.array([[[[8.0, 1]]]])},
            {"kernel_size": 2, "stride": 2},
            expected={"y": [[[[np.nan, 3]]]], "dx": [[[[0, 8, 1, 0], [0, 0, 0, 0]]]]},
            because={
                "y": "the first window has a NaN in it, so its result is NaN",
                "dx": "the NaN won the first window, so the gradient 8 goes to that pixel",
            },
        ),
    ),
    cases=lambda rng: [
        f(pooling.pool_case(rng, *size)) for size in pooling.SIZES[:5] for f in (with_nan, lambda case: case)
    ],
    hints={
        "y": (
            "What is np.nan > 1? And 1 > np.nan?",
            "Every comparison with NaN is False. So a NaN never becomes the largest, unless it is treated by itself: "
            "np.isnan(value).",
            "if value > largest or np.isnan(value): take it. (A NaN that has won can't be beaten any more: a "
            "comparison with it is False, too. Of several the last one wins then; only one at a time is checked here.)",
        )
    },
    done="",
    source="kernels/cpu/pool.py",
    story=Story(
        "PyTorch's max pooling compared with `>` and started from the smallest number there is. A window of NaN alone "
        "gave -3.4e38, and a single NaN beside ordinary numbers just disappeared, while torch.max gave NaN for the "
        "same numbers. A net that has gone wrong then looks healthy behind its first pool. TensorFlow, Theano and "
        "Keras had reports of the same, and in 2026 burn's new backend had it again.",
        ("pytorch/pytorch issue #7645", "pytorch/pytorch PR #7670", "tracel-ai/burn PR #5662"),
    ),
)


class RowMeans(Layer):
    """What bug_average_pool_border.py has to compute: an average pool along rows, rounded up."""

    def __init__(self, kernel_size, stride):
        self.pool = layers.AvgPool2d((1, kernel_size), (1, stride), ceil_mode=True)

    def forward(self, x):
        y, saved = self.pool.forward(x[:, :, None])
        return y[:, :, 0], saved

    def backward(self, dy, saved):
        return self.pool.backward(dy[:, :, None], saved)[:, :, 0]


def row_case(rng, N, C, L, k, s):
    inputs = {"x": normal(rng, N, C, L), "dy": normal(rng, N, C, -(-(L - k) // s) + 1)}
    return Case(f"rows of {L} pixels, kernel {k}, stride {s}", inputs, {"kernel_size": k, "stride": s})


AVERAGE_POOL_BORDER = Exercise(
    name="bug-average-pool-border",
    title="an average pool whose last window hangs over",
    tutorial="03_pooling",
    stars=1,
    kind=OfLayer,
    subject="AvgPool1d",
    ours=lambda case: RowMeans(**case.arguments),
    hand=(
        Case(
            "a row of five pixels, kernel 2, stride 2: the last window has one pixel",
            {"x": np.array([[[1.0, 2, 3, 4, 5]]]), "dy": np.array([[[2.0, 4, 8]]])},
            {"kernel_size": 2, "stride": 2},
            expected={"y": [[[1.5, 3.5, 5]]], "dx": [[[1, 1, 2, 2, 8]]]},
            because={"dx": "the last y is the mean of one pixel, which is that pixel: so it gets all of dy = 8"},
        ),
    ),
    cases=lambda rng: [
        row_case(rng, *size)
        for size in ((1, 1, 4, 2, 2), (2, 3, 7, 3, 2), (1, 2, 8, 3, 3), (2, 1, 6, 4, 3), (1, 1, 5, 3, 1))
    ],
    hints={
        "dx": (
            "In which windows is it wrong, and what is special about them?",
            "By how many pixels does forward divide in the last window? By how many does backward?",
            "window = dx[:, :, i*s : i*s + k] is as long as there are pixels: divide by window.shape[2].",
        )
    },
    done="",
    source="kernels/reference/pool.py",
    story=Story(
        "burn, a framework in Rust, rounded the output size up if asked to. Forward divided the overhanging window by "
        "the pixels that were there, backward by the full kernel. When someone repaired it, the same mistake turned up "
        "in the GPU kernels, and in the reference on the CPU that those kernels were tested against: two "
        "implementations with the same mistake agree. Finite differences have no opinion of their own, which is why "
        "they find such things.",
        ("tracel-ai/burn issue #5604", "tracel-ai/burn PR #5653", "tracel-ai/cubek PR #648"),
    ),
)
