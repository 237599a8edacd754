"""Penalties on the scores alone: they ask for small numbers, or for clear decisions, whatever the target is."""

from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for

from ..core import check_int
from .base import Loss, check_reduction, check_scores
from .regression import L1Loss


class L1Penalty(L1Loss):
    """Absolute size: the L1 loss against zero, which pulls numbers to exactly 0.

    Forward: loss = |scores|
    Backward: dscores = dloss * sign(scores), which is 0 at 0

    Shapes: scores of any shape; with reduction="none" so is the value. A target may be given and is ignored, so that
    the penalty can stand in a WeightedSum. reduction: "mean" (over all elements; 0 for an empty batch), "sum" or
    "none". Raises TypeError for scores that are not float32 or float64.
    Source: Tibshirani, Regression shrinkage and selection via the lasso (1996).

    >>> loss = L1Penalty()
    >>> value, saved = loss.forward(np.array([3.0, -1.0, 0.0, 0.0]))
    >>> value, loss.backward(saved)
    (1.0, array([ 0.25, -0.25,  0.  ,  0.  ]))
    """

    def forward(self, scores, target=None):
        check_scores(scores)
        return super().forward(scores, np.zeros_like(scores))  # the backward pass is L1Loss's


class EntropySaved(NamedTuple):
    log_p: np.ndarray  # log_softmax(scores)


class EntropyPenalty(Loss):
    """Indecision: the entropy of softmax(scores), 0 where one class has it all, log C where all are equally likely.

    Forward, with p = softmax(scores) along the axis `dim`:
        loss = -Σ_c p[c] * log p[c]
        "mean": over all pixels, not over classes

    Backward, for loss = -Σ_c exp(l[c]) * l[c] with l = log p:
        dl = dloss * -p * (l + 1),  and from there through the log-softmax to dscores.

    Shapes: scores with an axis `dim`, such as (N, C, H, W) with dim=1; with reduction="none" the value is an array
    without that axis. A target may be given and is ignored, so that the penalty can stand in a WeightedSum.
    reduction: "mean" (0 for an empty batch), "sum" or "none".

    Raises ShapeError for scores without the axis, TypeError for scores that are not float32 or float64.
    Source: Grandvalet and Bengio, Semi-supervised learning by entropy minimization (2005).

    >>> loss = EntropyPenalty()
    >>> value, saved = loss.forward(np.array([[0.0, 0.0], [0.0, 1e4]]))
    >>> round(value, 4)  # (log 2 + 0) / 2
    0.3466
    >>> EntropyPenalty(reduction="sum")(np.zeros((1, 4)))
    1.3862943611198906
    """

    def __init__(self, dim=1, reduction="mean"):
        self.dim = check_int("dim", dim, minimum=-np.inf)
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target=None):
        check_scores(scores)
        if not -scores.ndim <= self.dim < scores.ndim:
            raise ShapeError(f"scores have shape {scores.shape}, which has no axis {self.dim}")
        log_p = ops_for(scores).log_softmax_forward(scores, self.dim)
        losses = -(np.exp(log_p) * log_p).sum(axis=self.dim)
        return self.reduce(losses, losses.size), EntropySaved(log_p)

    def backward(self, saved, dvalue=1.0):
        self.check_saved(saved, EntropySaved)
        log_p, dim = saved.log_p, self.dim
        losses_shape = tuple(np.delete(log_p.shape, dim).tolist())
        # forward: value = reduce(losses), one of them for all classes of a pixel
        dlosses = self.reduce_backward(dvalue, int(np.prod(losses_shape)), losses_shape, log_p.dtype)
        if np.ndim(dlosses):
            dlosses = np.expand_dims(dlosses, dim)
        dlog_p = dlosses * -np.exp(log_p) * (log_p + 1)  # forward: losses = -Σ exp(log_p) * log_p
        return ops_for(log_p).log_softmax_backward(dlog_p, log_p, dim)  # forward: log_p = log_softmax(scores)
