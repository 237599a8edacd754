"""The gallery: bugs of what makes deep nets learn that real frameworks had."""

import numpy as np

from ... import layers
from ...combine import Sum
from ...core import Layer
from ..exercise import Case, Exercise, Story, normal
from ..kinds import OfLayer
from . import elementwise, norm
from .joining import Mix


def bn_statistics(case):
    return layers.BatchNorm2d(**case.arguments, dtype=np.float64)


def with_statistics(rng, case, off=False):
    """A case of the exercise batchnorm, with running statistics."""
    C = case.x.shape[1]
    running = {"running_mean": normal(rng, C), "running_var": rng.uniform(0.5, 2, C)}
    label = case.label + (", eval mode" if off else "")
    return Case(label, case.inputs, case.arguments, case.values | running, eval=off)


NORM_SIZES = ((2, 2, 2, 2, 1e-5), (1, 3, 3, 3, 0.1), (3, 1, 1, 2, 1e-5))

BATCH_NORM_VARIANCE = Exercise(
    name="bug-batch-norm-variance",
    title="a BatchNorm that is worse in eval mode",
    tutorial="11_deep_nets_learn",
    stars=2,
    kind=OfLayer,
    subject="BatchNorm2d",
    ours=bn_statistics,
    hand=(
        Case(
            "one channel, two pixels: 0 and 2",
            {"x": np.array([[[[0.0, 2]]]]), "dy": np.array([[[[1.0, 3]]]])},
            {"num_features": 1, "eps": norm.HAND_EPS, "momentum": 0.1},
            {"weight": np.array([1.0]), "bias": np.array([0.0])},
            expected={"y": [[[[-1, 1]]]], "running_mean": [0.1], "running_var": [1.1]},
            because={
                "running_var": (
                    "the squares of the deviations are 1 and 1, their sum 2: the batch's own variance is 2/2 = 1, the "
                    "unbiased estimate 2/(2 - 1) = 2, so running_var = 1 + 0.1 * (2 - 1) = 1.1"
                ),
                "running_mean": "the batch's mean is 1: running_mean = 0 + 0.1 * (1 - 0) = 0.1",
            },
        ),
    ),
    cases=lambda rng: [with_statistics(rng, norm.norm_case(rng, *size)) for size in NORM_SIZES],
    hints={
        "running_var": (
            "There are two variances in the text at the top. Which one does each line of forward need?",
            "x is normalised with the variance that the batch has: divided by m. What is remembered is an estimate for "
            "other data: divided by m - 1.",
            "m = x.size // x.shape[1]; the running variance moves towards var * m / (m - 1)",
        )
    },
    done="",
    source="minisegnet/layers/norm.py",
    story=Story(
        "The paper (algorithm 2) asks for the unbiased variance at inference, and PyTorch does that: it normalises "
        "with one variance and remembers another. It looks like a mistake, has been reported as one over and over, and "
        "other frameworks got it wrong: Keras in 2018, MLX until 2026. With 32 pictures of 64x64 pixels the two differ "
        "by 1/131071, nobody sees that; with two values per channel the remembered variance is half of what it should "
        "be.",
        ("ml-explore/mlx PR #3817", "keras-team/keras issue #8982", "pytorch/pytorch issue #3122"),
    ),
)

BATCH_NORM_EVAL = Exercise(
    name="bug-batch-norm-eval",
    title="a BatchNorm that is frozen, but not in backward",
    tutorial="11_deep_nets_learn",
    stars=2,
    kind=OfLayer,
    subject="BatchNorm2d",
    ours=bn_statistics,
    hand=(
        Case(
            "eval mode: mean 0, variance 4, weight 6",
            {"x": np.array([[[[2.0, 4]]]]), "dy": np.array([[[[1.0, 3]]]])},
            {"num_features": 1, "eps": norm.HAND_EPS, "momentum": 0.1},
            {
                "weight": np.array([6.0]),
                "bias": np.array([0.0]),
                "running_mean": np.array([0.0]),
                "running_var": np.array([4.0]),
            },
            expected={"y": [[[[6, 12]]]], "dx": [[[[3, 9]]]], "dweight": [7], "dbias": [4]},
            because={
                "dx": "in eval mode y = 6 * x / 2 = 3 * x, so dx = 3 * dy",
                "dweight": "xhat = x/2 = 1, 2, and dweight is the sum of dy*xhat = 1*1 + 3*2 = 7",
                "dbias": "dbias is the sum of dy: 1 + 3 = 4",
            },
            eval=True,
        ),
    ),
    cases=lambda rng: [
        with_statistics(rng, norm.norm_case(rng, *size), off) for size in NORM_SIZES for off in (False, True)
    ],
    hints={
        "dx": (
            "In which mode is it wrong? Write down y for that mode: what in it depends on x?",
            "In eval mode mean and var are constants, so y is a multiple of x plus a constant, and "
            "dx = dy * weight / sqrt(running_var + eps). The other two terms are there because in training mean and "
            "var depend on x.",
            "saved.training says which mode it was; in eval mode leave out the two terms that are subtracted from dy",
        )
    },
    done="",
    source="kernels/reference/norm.py",
    story=Story(
        "PyTorch's backend for TPUs called the backward pass for training in eval mode, too, with other gradients than "
        "on the CPU; cuDNN had no backward for eval mode at all, and PyTorch called the one for training. Does anybody "
        "need it? That was the first question in the discussion. Whoever trains on with frozen normalisation does, and "
        "whoever asks for the gradient of a trained net by its picture.",
        ("pytorch/xla issue #913", "pytorch/pytorch issue #586", "pytorch/xla issue #3361"),
    ),
)


class Gate(Layer):
    """A ReLU that keeps its result, as many do: y > 0 exactly where x > 0."""

    def forward(self, x):
        y = np.where(x > 0, x, 0)
        return y, (y,)

    def backward(self, dy, saved):
        return dy * (saved[0] > 0)


class Same(Layer):
    """Passes x on, the very array."""

    def forward(self, x):
        return x, ()

    def backward(self, dy, saved):
        return dy


def two_ways(rng, first, second, N, C, H):
    x = normal(rng, N, C, H, H)
    return Case(
        f"{type(first).__name__} + {type(second).__name__}, x {N}x{C}x{H}x{H}",
        {"x": x, "dy": normal(rng, *x.shape)},
        {"first": first, "second": second},
    )


def copied(layer):
    return Mix(layer.weight.value.copy()) if isinstance(layer, Mix) else layer


ADD_IN_PLACE = Exercise(
    name="bug-add-in-place",
    title="a residual block with right outputs and wrong gradients",
    tutorial="11_deep_nets_learn",
    stars=2,
    kind=OfLayer,
    subject="Add",
    ours=lambda case: Sum(first=copied(case.first), second=copied(case.second)),
    hand=(
        Case(
            "first a ReLU (it keeps its result), second a layer that multiplies by 2",
            {"x": np.array([[[[1.0]], [[-1.0]]]]), "dy": np.array([[[[1.0]], [[10.0]]]])},
            {"first": Gate(), "second": Mix([[2.0, 0.0], [0.0, -2.0]])},
            expected={"y": [[[[3]], [[2]]]], "dx": [[[[3]], [[-20]]]]},
            because={
                "dx": (
                    "at x = -1 the ReLU is closed, so of dy = 10 only what comes through the second layer is left: -20"
                ),
            },
        ),
    ),
    cases=lambda rng: [
        two_ways(rng, Gate(), Mix(normal(rng, 2, 2)), 1, 2, 2),
        two_ways(rng, Mix(normal(rng, 3, 3)), Gate(), 2, 3, 2),
        two_ways(rng, Same(), Mix(normal(rng, 2, 2)), 2, 2, 1),
        two_ways(rng, Gate(), Gate(), 1, 1, 3),
    ],
    hints={
        "dx": (
            "Look at what the ReLU saved, before and after the line that adds. Is it still what the ReLU computed?",
            "`y += h` changes the array that `first` returned, and what `first` saved is that very array. (And if "
            "`first` passes its input on, it is x itself.)",
            "`+=` on an array that somebody else made is not yours to use; y + h makes a new one",
        )
    },
    done="",
    source="minisegnet/combine.py",
    story=Story(
        "thinc, the library below spaCy, composes layers with small functions. Its `add` computes Y += layer_Y on the "
        "result of the first layer, and in backward dX += callback(dY) on the first gradient. If the first layer kept "
        "its own result for backward it finds other numbers there; if it passes its input on, that is changed, too. "
        "Outputs are right, so nothing shows. vq-vae-2-pytorch had a relative of it: a ReLU that worked in place at "
        "the beginning of a residual block, so that the skip carried the rectified values.",
        (
            "explosion/thinc, thinc/layers/add.py (commit 1b7565c)",
            "rosinality/vq-vae-2-pytorch issue #60",
        ),
    ),
)

DROPOUT_ZEROS = Exercise(
    name="bug-dropout-zeros",
    title="a dropout that wanted to save memory",
    tutorial="11_deep_nets_learn",
    stars=2,
    kind=OfLayer,
    subject="Dropout",
    ours=lambda case: elementwise.SeededDropout(**case.arguments),
    hand=(
        Case(
            "six numbers, three of them 0, as after a ReLU; the mask keeps numbers 0, 4 and 5",
            {"x": np.array([1.0, 0.0, 3.0, 0.0, 0.0, 6.0]), "dy": np.array([1.0, 1.0, 2.0, 3.0, 5.0, 8.0])},
            {"p": 0.5, "rng": 0},
            expected={"y": [2, 0, 0, 0, 0, 12], "dx": [2, 0, 0, 0, 10, 16]},
            because={
                "dx": (
                    "number 3 was dropped, so its dx is 0; number 4 was kept and doubled, so its dx is 2 * 5, though x "
                    "is 0"
                )
            },
        ),
    ),
    cases=lambda rng: [
        Case(case.label + ", after a ReLU", case.inputs | {"x": np.maximum(case.x, 0)}, case.arguments, eval=case.eval)
        for case in elementwise.dropout_cases(rng)
    ],
    hints={
        "dx": (
            "At which x is it wrong? What can be seen from x and y there?",
            "Where x is 0, y is 0 whether it was kept or not: the mask can't be found out afterwards.",
            "save keep instead of x and y (None in eval mode), and use it: dx = keep * dy / (1 - p)",
        )
    },
    done="",
    source="minisegnet/layers/dropout.py",
    story=Story(
        "Kaldi, a toolkit for speech recognition, found its dropout mask by dividing output by input, and where the "
        "input was 0 it passed the gradient on undiminished. Whoever reported it asked for a mask; the answer was that "
        "it would matter for no net that could be imagined, and it saves memory. That may be right: not every bug has "
        "to be repaired, but somebody has to know about it.",
        ("kaldi-asr/kaldi issue #3890",),
    ),
)
