"""Focal loss: cross-entropy that cares less about what is already right."""

from typing import NamedTuple

import numpy as np

from kernels import ops_for
from kernels.shapes import check_shape

from ..core import check_int, check_number
from .base import Loss, check_arrays, check_reduction, check_weights
from .cross_entropy import as_dtype, label_weights


class FocalSaved(NamedTuple):
    p: np.ndarray  # softmax(scores)
    ce: np.ndarray  # -log p[t], 0 where ignored
    target: np.ndarray
    weight_sum: float  # what the mean divided by


class FocalLoss(Loss):
    """Cross-entropy, scaled down by (1 - p[t])**gamma: a pixel that is right already hardly counts any more.

    Forward, with p = softmax(scores) over the C classes, t the label, w the class weights:
        loss = w[t] * (1 - p[t])**gamma * -log p[t]
        "mean": Σ loss / Σ w[t], both over the elements that are not ignored

    Backward, with ce = -log p[t], so p[t] = exp(-ce) and miss = 1 - p[t]: by the product rule
        dce = dloss * w[t] * (miss**gamma + gamma * miss**(gamma - 1) * p[t] * ce)
            = dloss * w[t] * miss**gamma * (1 + gamma * p[t] * ce/miss)
    and from there as in the cross-entropy: dscores = dce * (p - onehot(t)). The second form is the one to compute:
    where p[t] comes near 1, ce/miss goes to 1, while miss**(gamma - 1) grows without bound for gamma < 1.

    Shapes: scores (N, C) or (N, C, H, W) with any number of further axes, target integers (N) or (N, H, W), value a
    float, or with reduction="none" an array of target's shape.

    Parameters
        gamma: 0 gives CrossEntropyLoss, the larger the less easy pixels count; at least 0
        weight: one factor for each class, a list or array (C,)
        ignore_index: elements with this label (void pixels) have loss 0 and gradient 0
        reduction: "mean", "sum" or "none"

    The mean of nothing is 0, and so is its gradient, as in CrossEntropyLoss; errors are as there too.
    Source: Lin et al., Focal loss for dense object detection (2017), section 3, here with a softmax.

    >>> scores = np.array([[0.0, np.log(3)]])  # p = 1/4, 3/4
    >>> value, saved = FocalLoss(gamma=2).forward(scores, np.array([1]))
    >>> round(value, 6)  # (1/4)**2 * log(4/3)
    0.01798
    """

    def __init__(self, gamma=2.0, weight=None, ignore_index=-100, reduction="mean"):
        self.gamma = check_number("gamma", gamma, 0, np.inf, open_high=True)
        self.weight = check_weights("weight", weight)
        self.ignore_index = check_int("ignore_index", ignore_index, minimum=-np.inf)
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target):
        check_arrays(scores, target)
        ce, p = ops_for(scores).softmax_cross_entropy_forward(scores, target, None, self.ignore_index, 0.0)
        weight = as_dtype(self.weight, scores.dtype)
        if weight is not None:
            check_shape("weight", weight, p.shape[1:2])
        w = label_weights(target, weight, self.ignore_index)
        miss = -np.expm1(-ce)  # 1 - p[t], but without loss of digits where p[t] is nearly 1
        weight_sum = float(w.sum(dtype=np.float64))
        return self.reduce(w * miss**self.gamma * ce, weight_sum), FocalSaved(p, ce, target, weight_sum)

    def backward(self, saved, dvalue=1.0):
        p, ce, target, weight_sum = self.check_saved(saved, FocalSaved)
        dlosses = self.reduce_backward(dvalue, weight_sum, target.shape, p.dtype)  # forward: value = reduce(losses)
        miss = -np.expm1(-ce)
        ce_over_miss = np.divide(ce, miss, out=np.ones_like(ce), where=miss > 0)
        # forward: losses = w * miss**gamma * ce, miss = 1 - exp(-ce); the op below multiplies by w
        dce = dlosses * miss**self.gamma * (1 + self.gamma * np.exp(-ce) * ce_over_miss)
        # forward: ce = -log p[t]
        return ops_for(p).softmax_cross_entropy_backward(
            dce, p, target, as_dtype(self.weight, p.dtype), self.ignore_index, 0.0
        )
