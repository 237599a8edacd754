"""Every public loss in its main configurations, each with scores and a target that suit it, and two oracles."""

from typing import Any, NamedTuple

import numpy as np

from minisegnet import losses

VOID = 255


class Case(NamedTuple):
    loss: losses.Loss
    make: Any  # make(rng, dtype, shape) -> scores, target
    shape: tuple = (2, 3, 2, 2)

    def arrays(self, dtype=np.float64, seed=0, N=None):
        shape = self.shape if N is None else (N, *self.shape[1:])
        return self.make(np.random.default_rng(seed), dtype, shape)

    def __str__(self):
        return f"{self.loss}-{len(self.shape)}d"


def normal(rng, dtype, shape):
    return (2 * rng.standard_normal(shape)).astype(dtype)


def labels(rng, dtype, shape):
    """Class numbers, a quarter of them void (but never all)."""
    N, C, *rest = shape
    target = rng.integers(0, C, (N, *rest))
    target[rng.random(target.shape) < 0.25] = VOID
    target[:1] = rng.integers(0, C, target[:1].shape)
    return normal(rng, dtype, shape), target


def bits(rng, dtype, shape):
    """0 and 1, a quarter of them void (but never all)."""
    target = rng.integers(0, 2, shape)
    target[rng.random(shape) < 0.25] = VOID
    target[:1] = rng.integers(0, 2, target[:1].shape)
    return normal(rng, dtype, shape), target


def fractions(rng, dtype, shape):
    return normal(rng, dtype, shape), rng.random(shape).astype(dtype)


def probabilities(rng, dtype, shape):
    return rng.uniform(0.05, 0.95, shape).astype(dtype), rng.integers(0, 2, shape)


def numbers(rng, dtype, shape):
    return normal(rng, dtype, shape), normal(rng, dtype, shape)


def alone(rng, dtype, shape):
    return normal(rng, dtype, shape), None


CE, BCE, FL = losses.CrossEntropyLoss, losses.BCEWithLogitsLoss, losses.FocalLoss
W = [0.5, 2.0, 1.25]

CASES = [
    Case(CE(ignore_index=VOID), labels),
    Case(CE(ignore_index=VOID), labels, (4, 3)),
    Case(CE(W, VOID, "mean", 0.2), labels),
    Case(CE(W, VOID, "sum"), labels),
    Case(CE(W, VOID, "none", 0.1), labels),
    Case(BCE(), fractions),
    Case(BCE(W, [3.0, 0.25, 1.0], "mean", VOID), bits),
    Case(BCE(0.5, 4.0, "sum", VOID), bits, (5, 2)),
    Case(BCE(W, W, "none", VOID), bits),
    Case(losses.BCELoss(), probabilities),
    Case(losses.BCELoss("sum"), probabilities, (7,)),
    Case(losses.BCELoss("none"), probabilities),
    Case(losses.MSELoss(), numbers),
    Case(losses.MSELoss("sum"), numbers, (7,)),
    Case(losses.MSELoss("none"), numbers),
    Case(losses.L1Loss(), numbers),
    Case(losses.L1Loss("sum"), numbers, (7,)),
    Case(losses.L1Loss("none"), numbers),
    Case(losses.DiceLoss(ignore_index=VOID), labels),
    Case(losses.DiceLoss(smooth=0, ignore_index=VOID, classes=[2, 1]), labels, (6, 3)),
    Case(losses.DiceLoss("sigmoid", 0.5, VOID), bits),
    Case(losses.JaccardLoss(ignore_index=VOID), labels),
    Case(losses.JaccardLoss(smooth=0, ignore_index=VOID, classes=[2, 1]), labels, (6, 3)),
    Case(losses.JaccardLoss("sigmoid", 0.5, VOID), bits),
    Case(FL(ignore_index=VOID), labels),
    Case(FL(0.5, W, VOID), labels, (4, 3)),
    Case(FL(0.0, W, VOID, "sum"), labels),
    Case(FL(3.0, W, VOID, "none"), labels),
    Case(losses.DistillationLoss(), numbers),
    Case(losses.DistillationLoss(1.0, "sum"), numbers, (4, 3)),
    Case(losses.DistillationLoss(5.0, "none"), numbers),
    Case(losses.L1Penalty(), alone),
    Case(losses.L1Penalty("sum"), alone, (7,)),
    Case(losses.L1Penalty("none"), alone),
    Case(losses.EntropyPenalty(), alone),
    Case(losses.EntropyPenalty(-1, "sum"), alone),
    Case(losses.EntropyPenalty(2, "none"), alone),
    Case(losses.WeightedSum([CE(ignore_index=VOID), losses.DiceLoss(ignore_index=VOID)], [1, 0.5]), labels),
    Case(losses.WeightedSum([losses.MSELoss(), losses.L1Penalty(), losses.L1Loss("sum")]), numbers),
    Case(losses.OnHost(losses.DiceLoss(ignore_index=VOID)), labels),
]


def some_dvalue(value, seed=1):
    """A random, non-uniform upstream gradient of the value's shape and dtype."""
    rng = np.random.default_rng(seed)
    if isinstance(value, float):
        return float(rng.uniform(0.5, 2))
    return rng.standard_normal(value.shape).astype(value.dtype)


def numerical_gradient(loss, scores, target, dvalue, eps=1e-6):
    """d(Σ dvalue * value)/d(scores) by central differences, one score after the other."""
    gradient = np.empty_like(scores)
    for place in np.ndindex(scores.shape):
        moved = scores.copy()
        moved[place] = scores[place] + eps
        above = np.sum(dvalue * loss(moved, target))
        moved[place] = scores[place] - eps
        gradient[place] = (above - np.sum(dvalue * loss(moved, target))) / (2 * eps)
    return gradient


def check_against_torch(loss, function, scores, target, rtol=1e-10):
    """Value and gradient must agree with those of function(scores, target), written in PyTorch.

    rtol is that of float64.
    """
    import torch

    value, saved = loss.forward(scores, target)
    dvalue = some_dvalue(value)
    x = torch.tensor(scores, requires_grad=True)
    expected = function(x, None if target is None else torch.tensor(target))
    expected.backward(torch.as_tensor(dvalue, dtype=expected.dtype))
    close = {"rtol": rtol, "atol": 1e-11} if scores.dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-5}
    dscores = loss.backward(saved, dvalue)
    np.testing.assert_allclose(value, expected.detach().numpy(), **close)
    np.testing.assert_allclose(dscores, x.grad.numpy(), **close)
    assert dscores.dtype == scores.dtype
