"""Exercises about losses: softmax with cross-entropy, and the Dice loss."""

from typing import NamedTuple

import numpy as np

from ... import losses
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLoss


def scores_case(rng, N, C):
    inputs = {"scores": normal(rng, N, C), "target": rng.integers(0, C, N), "dvalue": float(rng.uniform(1.5, 3))}
    return Case(f"{N} sample{'s' * (N > 1)}, {C} classes, dvalue {inputs['dvalue']:.2f}", inputs)


def scores_cases(rng):
    return [scores_case(rng, *size) for size in ((2, 3), (3, 3), (5, 2), (1, 4), (4, 7), (6, 5))]


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def onehot(case):
    return np.eye(case.scores.shape[1])[case.target]


SOFTMAX_CROSS_ENTROPY = Exercise(
    name="softmax-cross-entropy",
    title="softmax and cross-entropy in one: p minus the truth",
    tutorial="04_relu_softmax_cross_entropy",
    stars=2,
    kind=OfLoss,
    subject="SoftmaxCrossEntropy",
    ours=lambda case: losses.CrossEntropyLoss(),
    hand=(
        Case(
            "two samples, two classes",
            {"scores": np.array([[0.0, 0.0], [0.0, np.log(3)]]), "target": np.array([0, 1]), "dvalue": 1.0},
            expected={"value": (np.log(2) + np.log(4 / 3)) / 2, "dscores": [[-0.25, 0.25], [0.125, -0.125]]},
            because={"dscores": "sample 0 has p = (1/2, 1/2) and the label 0: (p - (1, 0)) / 2 samples = (-1/4, 1/4)"},
        ),
        Case(
            "the same with dvalue = 8",
            {"scores": np.array([[0.0, 0.0], [0.0, np.log(3)]]), "target": np.array([0, 1]), "dvalue": 8.0},
            expected={"value": (np.log(2) + np.log(4 / 3)) / 2, "dscores": [[-2, 2], [1, -1]]},
            because={
                "dscores": "dvalue says how much the final loss depends on this value: everything is 8 times as large"
            },
        ),
    ),
    cases=scores_cases,
    mistakes=(
        Mistake(
            "not-averaged",
            "dscores",
            lambda case, right: right["dscores"] * len(case.target) if len(case.target) > 1 else None,
            "it is not divided by N; the value is a mean over the samples, so each of them counts 1/N",
        ),
        Mistake(
            "dvalue-ignored",
            "dscores",
            lambda case, right: right["dscores"] / case.dvalue if case.dvalue != 1 else None,
            "dvalue is ignored: it is dL/dvalue, and the chain rule multiplies by it",
        ),
        Mistake(
            "neither-averaged-nor-dvalue",
            "dscores",
            lambda case, right: right["dscores"] * len(case.target) / case.dvalue,
            "it is p minus the truth, which is nearly it; but the value is a mean over N samples, and dvalue is to be "
            "multiplied in",
        ),
        Mistake(
            "divided-by-all-scores",
            "dscores",
            lambda case, right: right["dscores"] / case.scores.shape[1],
            "it is divided by N*C; the mean is over the N samples, not over all scores",
        ),
        Mistake(
            "only-the-label",
            "dscores",
            lambda case, right: right["dscores"] * onehot(case),
            "only the score of the label gets a gradient; but the other scores stand in the softmax's denominator, and "
            "pushing them down helps, too",
        ),
        Mistake(
            "derivative-of-log-alone",
            "dscores",
            lambda case, right: -onehot(case) / softmax(case.scores) * case.dvalue / len(case.target),
            "that is dL/dp, of the logarithm alone: it still has to go back through the softmax",
        ),
    ),
    hints={
        "dscores": (
            "Write the loss of one sample with its scores: L = -log(exp(s[label]) / sum over k of exp(s[k])). The "
            "logarithm of a quotient is a difference: L = log(sum over k of exp(s[k])) - s[label]. Now differentiate.",
            "dL/ds[c] = exp(s[c]) / (sum over k of exp(s[k])) - (1 if c is the label else 0), that is "
            "p[n,c] - (c == target[n]). The value is the mean over N samples, and dL/dvalue is dvalue: multiply by "
            "dvalue / N.",
            "p, target = saved\ndscores = p.copy()   # never modify what was saved\n"
            "dscores[np.arange(len(target)), target] -= ...\nreturn dscores * ...",
        )
    },
    first="write the loss of one sample as log(sum of exp(s)) - s[label] and differentiate by s[c].",
    done="You have linear, relu and this: train a small net of your own layers on two spirals, or go on with max-pool "
    "and conv2d to see pictures.",
    source="minisegnet/losses/cross_entropy.py",
)


# ------------------------------------------------------------------ dice


class DiceSaved(NamedTuple):
    p: np.ndarray
    t: np.ndarray
    above: float
    below: float


class Dice(losses.Loss):
    """What dice.py has to compute."""

    def __init__(self, smooth=1.0):
        self.smooth = smooth

    def forward(self, scores, target):
        above = 2 * (scores * target).sum() + self.smooth
        below = scores.sum() + target.sum() + self.smooth
        return float(1 - above / below), DiceSaved(scores, target, above, below)

    def backward(self, saved, dvalue=1.0):
        return dice_gradient(saved.t, saved.above, saved.below, dvalue)


def dice_gradient(t, above, below, dvalue, sign=-1):
    """-dvalue * (2*t*below - above) / below**2; the quotient rule, with its minus sign as a parameter."""
    return -dvalue * (2 * t * below + sign * above) / below**2


def dice_parts(case, smooth=None):
    smooth = case.smooth if smooth is None else smooth
    return 2 * (case.scores * case.target).sum() + smooth, case.scores.sum() + case.target.sum() + smooth


def dice_cases(rng):
    cases = []
    for shape in ((4,), (3, 5), (2, 3, 4), (1, 4, 4)):
        for smooth in (0.0, 1.0):
            p, t = rng.uniform(0.05, 0.95, shape), (rng.random(shape) < 0.4).astype(np.float64)
            t.flat[0] = 1
            inputs = {"scores": p, "target": t, "dvalue": float(rng.uniform(1.5, 3))}
            cases.append(Case(f"probabilities of shape {shape}, smooth = {smooth:g}", inputs, {"smooth": smooth}))
    return cases


DICE_HAND = Case(
    "four pixels, two of them in the region",
    {"scores": np.array([0.5, 0.5, 1.0, 0.0]), "target": np.array([1.0, 0.0, 1.0, 0.0]), "dvalue": 16.0},
    {"smooth": 0.0},
    expected={"value": 0.25, "dscores": [-5, 3, -5, 3]},
    because={
        "dscores": (
            "above = 2 * (0.5 + 1) = 3 and below = 2 + 2 = 4; for a pixel of the region (2*4 - 3) / 16 = 5/16, times "
            "-dvalue = -16"
        )
    },
)

DICE = Exercise(
    name="dice",
    title="the Dice loss: a quotient of two sums",
    tutorial="08_segmentation_losses",
    stars=2,
    kind=OfLoss,
    subject="DiceLoss",
    ours=lambda case: Dice(**case.arguments),
    hand=(DICE_HAND,),
    cases=dice_cases,
    mistakes=(
        Mistake(
            "quotient-rule-sign",
            "dscores",
            lambda case, right: dice_gradient(case.target, *dice_parts(case), case.dvalue, sign=1),
            "the sign inside the quotient rule is wrong: (u/v)' = (u'*v - u*v') / v^2, with a minus",
        ),
        Mistake(
            "below-constant",
            "dscores",
            lambda case, right: -case.dvalue * 2 * case.target / dice_parts(case)[1],
            "p stands below the line, too: this treats `below` as a constant",
        ),
        Mistake(
            "not-squared",
            "dscores",
            lambda case, right: right["dscores"] * dice_parts(case)[1],
            "the quotient rule divides by below**2, not by below",
        ),
        Mistake(
            "two-forgotten",
            "dscores",
            lambda case, right: (
                -case.dvalue * (case.target * dice_parts(case)[1] - dice_parts(case)[0]) / dice_parts(case)[1] ** 2
            ),
            "a factor 2 is missing: above = 2 * (sum of p*t) + smooth, so d(above)/dp = 2*t",
        ),
        Mistake(
            "one-minus-forgotten",
            "dscores",
            lambda case, right: -right["dscores"],
            "it is the gradient of the Dice score, which should grow; the loss is 1 - score, so there is a minus",
        ),
        Mistake(
            "dvalue-ignored",
            "dscores",
            lambda case, right: right["dscores"] / case.dvalue,
            "dvalue is ignored: it is dL/dvalue, and the chain rule multiplies by it",
        ),
    ),
    hints={
        "dscores": (
            "value = 1 - above/below, and p stands in both sums. Differentiate above and below by one p[k] first.",
            "d(above)/dp[k] = 2*t[k], d(below)/dp[k] = 1, and (u/v)' = (u'*v - u*v') / v^2. So "
            "dscores[k] = -dvalue * (2*t[k]*below - above) / below^2.",
            "p, t, above, below = saved\nreturn -dvalue * (2 * t * ... - ...) / ...",
        )
    },
    first="differentiate `above` by one p[k], then `below`, then use the quotient rule.",
    done="The gallery has this loss with a bug that stood in a popular U-Net: bug-dice-quotient.",
    source="minisegnet/losses/overlap.py",
)
