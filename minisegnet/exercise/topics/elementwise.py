"""Exercises about functions of each number by itself: relu, leaky-relu, sigmoid, dropout."""

from typing import NamedTuple

import numpy as np

from ... import layers
from ...core import Layer, as_rng
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer

TUTORIAL = "04_relu_softmax_cross_entropy"
SHAPES = ((3,), (2, 5), (2, 3, 4), (1, 2, 3, 5), (4, 1), (2, 2, 2, 2))


def of_all_shapes(**arguments):
    """Cases of several shapes for an activation."""

    more = "".join(f", {name} {value:g}" for name, value in arguments.items())

    def cases(rng):
        return [
            Case(f"x of shape {shape}{more}", {"x": normal(rng, *shape), "dy": normal(rng, *shape)}, arguments)
            for shape in SHAPES
        ]

    return cases


RELU = Exercise(
    name="relu",
    title="the rectifier: a gate for the gradient",
    tutorial=TUTORIAL,
    stars=1,
    kind=OfLayer,
    subject="ReLU",
    ours=lambda case: layers.ReLU(),
    hand=(
        Case(
            "six numbers, one of them 0",
            {
                "x": np.array([[-2.0, 0.0, 3.0], [5.0, -1.0, 0.5]]),
                "dy": np.array([[1.0, 2.0, 3.0], [4.0, -5.0, -6.0]]),
            },
            expected={"y": [[0, 0, 3], [5, 0, 0.5]], "dx": [[0, 0, 3], [4, 0, -6]]},
            because={
                "dx": (
                    "x[0,2] = 3 went through unchanged, so dx[0,2] is dy[0,2] = 3; x[0,0] = -2 was stopped, so dx is 0"
                ),
            },
        ),
    ),
    cases=of_all_shapes(),
    mistakes=(
        Mistake(
            "open-at-zero",
            "dx",
            lambda case, right: np.where(case.x >= 0, case.dy, 0) if (case.x == 0).any() else None,
            "at x = 0 there is no derivative, and 0 is what everybody takes there: x > 0, not x >= 0",
        ),
        Mistake(
            "times-y",
            "dx",
            lambda case, right: case.dy * np.maximum(case.x, 0),
            "dy is multiplied by y, the value; what is needed is the derivative of y, which is 1 where the gate is "
            "open",
        ),
    ),
    hints={
        "dx": (
            "Each y depends on one x. Draw y over x: what is its slope left of 0, and what right of 0? The chain rule "
            "says dx = dy * slope.",
            "dx[k] = dy[k] * (1 if x[k] > 0 else 0), for every index k. No loop is needed: a comparison of arrays "
            "gives an array of True and False, which count as 1 and 0.",
            "(x,) = saved\nreturn dy * (where is x > 0?)",
        )
    },
    first="what is dy/dx for x = 3, and for x = -2?",
    done="The next one is leaky-relu, or `sigmoid`, whose slope is not just 0 or 1.",
    source="minisegnet/layers/activation.py",
)

LEAKY_RELU = Exercise(
    name="leaky-relu",
    title="a gate that lets a little through",
    tutorial=TUTORIAL,
    stars=1,
    kind=OfLayer,
    subject="LeakyReLU",
    ours=lambda case: layers.LeakyReLU(**case.arguments),
    hand=(
        Case(
            "slope 0.1 on the negative side",
            {"x": np.array([-10.0, 2.0, 0.5, -1.0]), "dy": np.array([1.0, 2.0, 3.0, -4.0])},
            {"negative_slope": 0.1},
            expected={"y": [-1, 2, 0.5, -0.1], "dx": [0.1, 2, 3, -0.4]},
            because={"dx": "left of 0 the line has the slope 0.1: dx[0] = 0.1 * dy[0] = 0.1"},
        ),
    ),
    cases=lambda rng: of_all_shapes(negative_slope=0.2)(rng) + of_all_shapes(negative_slope=0.01)(rng),
    mistakes=(
        Mistake(
            "slope-forgotten-in-sign",
            "dx",
            lambda case, right: np.where(case.x > 0, case.dy, -case.negative_slope * case.dy),
            "the slope of the negative side is +negative_slope, not -negative_slope: the line goes up there, too",
        ),
        Mistake(
            "slope-times-x",
            "dx",
            lambda case, right: np.where(case.x > 0, case.dy, case.negative_slope * case.x),
            "on the negative side dy is replaced by x: the derivative of slope*x is slope, so dx = slope * dy",
        ),
    ),
    hints={
        "dx": (
            "Draw y over x: two straight lines that meet at 0. What is the slope of each?",
            "dx[k] = dy[k] where x[k] > 0, else negative_slope * dy[k]. It is x that decides, not dy.",
            "(x,) = saved\nreturn np.where(x > 0, ..., self.negative_slope * ...)",
        )
    },
    first="what is dy/dx for x = 2, and for x = -10?",
    done="Put it into a net in place of ReLU. Then take `sigmoid`, whose slope changes everywhere.",
    source="minisegnet/layers/activation.py",
)


def logistic(x):
    return 1 / (1 + np.exp(-x))


SIGMOID = Exercise(
    name="sigmoid",
    title="an S-shaped curve, and a derivative that needs only y",
    tutorial=TUTORIAL,
    stars=1,
    kind=OfLayer,
    subject="Sigmoid",
    ours=lambda case: layers.Sigmoid(),
    hand=(
        Case(
            "y of 1/2 and 3/4",
            {"x": np.array([0.0, np.log(3.0)]), "dy": np.array([4.0, 16.0])},
            expected={"y": [0.5, 0.75], "dx": [1, 3]},
            because={"dx": "at x = 0 y is 1/2 and the slope 1/2 * 1/2 = 1/4, so dx[0] = 4 * 1/4 = 1"},
        ),
    ),
    cases=of_all_shapes(),
    mistakes=(
        Mistake(
            "factor-y-missing",
            "dx",
            lambda case, right: case.dy * (1 - logistic(case.x)),
            "a factor is missing: the derivative is y*(1 - y), and here there is only 1 - y",
        ),
        Mistake(
            "sigmoid-of-y",
            "dx",
            lambda case, right: case.dy * logistic(right["y"]) * (1 - logistic(right["y"])),
            "the sigmoid is taken twice: y is the sigmoid of x already, so the derivative is y*(1 - y)",
        ),
    ),
    hints={
        "dx": (
            "Write y = 1/(1 + e), e = exp(-x). Differentiate: dy/dx = e/(1 + e)^2. Can you write that with y alone?",
            "e/(1 + e)^2 = 1/(1 + e) * e/(1 + e) = y * (1 - y), so dx[k] = dy[k] * y[k] * (1 - y[k]).",
            "(y,) = saved\nreturn dy * (two factors made of y)",
        )
    },
    first="differentiate 1/(1 + exp(-x)) by hand, then write it with y alone.",
    done="At its steepest the slope is 1/4. What does that do to dy on its way through ten such layers? Tutorial "
    "11_deep_nets_learn shows it.",
    source="minisegnet/layers/activation.py",
)


class DropoutSaved(NamedTuple):
    keep: np.ndarray | None


class SeededDropout(Layer):
    """What dropout.py has to compute, with the draw that its forward makes."""

    def __init__(self, p, rng):
        self.p, self.rng = p, as_rng(rng)

    def forward(self, x):
        if not self.training:
            return x, DropoutSaved(None)
        keep = self.rng.random(x.shape) >= self.p
        return keep * x / (1 - self.p), DropoutSaved(keep)

    def backward(self, dy, saved):
        return dy if saved.keep is None else saved.keep * dy / (1 - self.p)


def drawn(case, times):
    """The mask of the last of that many draws."""
    rng = as_rng(case.rng)
    for _ in range(times):
        keep = rng.random(case.x.shape) >= case.p
    return keep


def dropout_cases(rng):
    cases = []
    for shape in ((40,), (5, 8), (2, 3, 4, 4)):
        for p, off in ((0.25, False), (0.6, False), (0.5, True)):
            inputs = {"x": normal(rng, *shape), "dy": normal(rng, *shape)}
            label = f"x of shape {shape}, p = {p}" + (", eval mode" if off else "")
            cases.append(Case(label, inputs, {"p": p, "rng": 3}, eval=off))
    return cases


DROPOUT = Exercise(
    name="dropout",
    title="what forward dropped gets no gradient",
    tutorial="11_deep_nets_learn",
    stars=1,
    kind=OfLayer,
    subject="Dropout",
    ours=lambda case: SeededDropout(**case.arguments),
    hand=(
        Case(
            "six numbers, half of them dropped",
            {"x": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "dy": np.array([1.0, 1.0, 2.0, 3.0, 5.0, 8.0])},
            {"p": 0.5, "rng": 0},
            expected={"y": [2, 0, 0, 0, 10, 12], "dx": [2, 0, 0, 0, 10, 16]},
            because={"dx": "the first number was kept and doubled (1/(1 - 0.5) = 2), so dx[0] = 2 * dy[0] = 2"},
        ),
        Case(
            "the same in eval mode: nothing is dropped",
            {"x": np.array([1.0, 2.0, 3.0]), "dy": np.array([1.0, 1.0, 2.0])},
            {"p": 0.5, "rng": 0},
            expected={"y": [1, 2, 3], "dx": [1, 1, 2]},
            because={"dx": "in eval mode y = x, so dx = dy"},
            eval=True,
        ),
    ),
    cases=dropout_cases,
    mistakes=(
        Mistake(
            "new-mask",
            "dx",
            lambda case, right: None if case.eval else drawn(case, 2) * case.dy / (1 - case.p),
            "backward draws a new mask: it must use the one that forward drew, which is in saved",
        ),
        Mistake(
            "scaled-by-p",
            "dx",
            lambda case, right: None if case.eval else drawn(case, 1) * case.dy / case.p,
            "it is divided by p: those that were kept, a share of 1 - p, were divided by 1 - p",
        ),
        Mistake(
            "scaled-twice",
            "dx",
            lambda case, right: None if case.eval else drawn(case, 1) * case.dy / (1 - case.p) ** 2,
            "it is divided by 1 - p twice: is the mask divided already?",
        ),
    ),
    hints={
        "dx": (
            "Once the mask is drawn, dropout is a multiplication of each x by a fixed number. Which one?",
            "y[k] = keep[k] / (1 - p) * x[k], so dx[k] = keep[k] / (1 - p) * dy[k]. In eval mode y = x, and saved.keep "
            "is None.",
            "(keep,) = saved\nif keep is None:\n    return dy\nreturn keep * dy / ...",
        )
    },
    first="with the mask fixed, by what number is each x multiplied?",
    done="How can gradcheck check something random? Forward draws the same mask each time: read "
    "minisegnet/gradcheck/subject.py.",
    source="minisegnet/layers/dropout.py",
)
