"""Cross-entropy: the standard loss for one class out of several."""

from typing import NamedTuple

import numpy as np

from kernels import device_of, ops_for, to_device

from ..core import check_int, check_number
from .base import Loss, check_arrays, check_reduction, check_weights


class CrossEntropySaved(NamedTuple):
    p: np.ndarray  # softmax(scores): the gradient is p minus the distribution that was asked for
    target: np.ndarray
    weight_sum: float  # what the mean divided by


class CrossEntropyLoss(Loss):
    """Softmax and cross-entropy in one: how surprising the right class was.

    Forward, with p = softmax(scores) over the C classes, t the label, w the class weights, e = label_smoothing:
        loss = (1 - e) * w[t] * -log p[t]  +  e/C * Σ_c w[c] * -log p[c]
        "mean": Σ loss / Σ w[t], both over the elements that are not ignored

    Backward: loss = -Σ_c q[c] * log p[c] with q[c] = (1 - e)*w[t]*(c == t) + e/C*w[c], and
    d(log p[c])/d(scores[k]) = (c == k) - p[k], so
        dscores[k] = dloss * (p[k] * Σ_c q[c] - q[k])
    which without weights and smoothing is dloss * (p - onehot(t)).

    Shapes: scores (N, C) or (N, C, H, W) with any number of further axes, target integers (N) or (N, H, W), value a
    float, or with reduction="none" an array of target's shape.

    Parameters
        weight: one factor for each class, a list or array (C,)
        ignore_index: elements with this label (void pixels) have loss 0 and gradient 0
        reduction: "mean", "sum" or "none"
        label_smoothing: the share e of the distribution asked for that is spread evenly over all classes, in [0, 1]

    Unlike PyTorch, which gives NaN, the mean is 0, and so is its gradient, where nothing is left to divide by: all
    elements ignored, weights that sum to 0, an empty batch.

    Raises TypeError for targets that are not integers, ShapeError where shapes don't fit, IndexError for a label that
    is neither ignored nor in 0..C-1.
    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4; label smoothing: Szegedy et al.,
    Rethinking the Inception architecture (2016), section 7.

    >>> loss = CrossEntropyLoss(ignore_index=255)
    >>> scores = np.zeros((2, 4))  # undecided between 4 classes
    >>> value, saved = loss.forward(scores, np.array([1, 255]))
    >>> round(value, 4)  # log 4
    1.3863
    >>> loss.backward(saved)
    array([[ 0.25, -0.75,  0.25,  0.25],
           [ 0.  ,  0.  ,  0.  ,  0.  ]])
    """

    on_gpu = True

    def __init__(self, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
        self.weight, self._placed = check_weights("weight", weight), {}
        self.ignore_index = check_int("ignore_index", ignore_index, minimum=-np.inf)
        self.reduction = check_reduction(reduction)
        self.label_smoothing = check_number("label_smoothing", label_smoothing, 0, 1)

    def forward(self, scores, target):
        check_arrays(scores, target)
        ops, w = ops_for(scores), self.weight_for(scores)
        losses, p = ops.softmax_cross_entropy_forward(scores, target, w, self.ignore_index, self.label_smoothing)
        loss_sum, weight_sum = ops.weighted_total(losses, target, w, self.ignore_index)
        return self.reduced(losses, loss_sum, weight_sum), CrossEntropySaved(p, target, weight_sum)

    def backward(self, saved, dvalue=1.0):
        p, target, weight_sum = self.check_saved(saved, CrossEntropySaved)
        dlosses = self.reduce_backward(dvalue, weight_sum, target.shape, p.dtype)  # forward: value = reduce(losses)
        # forward: losses = -Σ_c q[c] * log p[c] of the softmax p
        return ops_for(p).softmax_cross_entropy_backward(
            dlosses, p, target, self.weight_for(p), self.ignore_index, self.label_smoothing
        )

    def weight_for(self, scores):
        """The class weights in the dtype of the scores and where they are; None stays None."""
        if self.weight is None:
            return None
        key = (device_of(scores), scores.dtype)
        if key not in self._placed:  # copying them to a GPU at every step would mean to wait for it at every step
            self._placed[key] = to_device(self.weight.astype(scores.dtype), key[0])
        return self._placed[key]


def as_dtype(weights, dtype):
    """The class weights in the dtype of the scores; None stays None."""
    return None if weights is None else weights.astype(dtype)


def label_weights(target, weight, ignore_index):
    """w[target] for each element and 0 where it is ignored; without weights True and False, which count as 1 and 0.

    >>> label_weights(np.array([0, 255, 1]), np.array([2.0, 3.0]), 255)
    array([2., 0., 3.])
    """
    valid = target != ignore_index
    return valid if weight is None else np.where(valid, weight[np.where(valid, target, 0)], 0)
