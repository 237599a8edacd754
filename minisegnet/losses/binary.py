"""Binary cross-entropy: each score is a yes-or-no question of its own."""

from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for

from ..core import check_int
from .base import Loss, check_arrays, check_reduction, check_same, check_weights


class BCEWithLogitsSaved(NamedTuple):
    p: np.ndarray  # sigmoid(scores)
    y: np.ndarray  # target in the dtype of scores
    keep: np.ndarray  # False where ignored


class BCEWithLogitsLoss(Loss):
    """Sigmoid and binary cross-entropy in one, for raw scores x and targets y in 0..1.

    Forward, with p = sigmoid(x), softplus(x) = log(1 + exp(x)) = -log(1 - p) and softplus(-x) = -log p:
        loss = weight * (pos_weight * y * softplus(-x)  +  (1 - y) * softplus(x))

    Backward: the derivative of softplus(x) is p, and that of softplus(-x) is p - 1, so
        dx = dloss * weight * (pos_weight * y * (p - 1)  +  (1 - y) * p)
    which without weights is dloss * (p - y).

    Shapes: scores of any shape, target of the same; with reduction="none" so is the value.

    Parameters
        weight: factor of every loss, pos_weight: factor of the positive part only; each a number, or a list or array
            (C,) that holds along axis 1 (PyTorch lines it up with the last axis: there it must be (C, 1, 1) for images)
        reduction: "mean" (divides by the number of elements, whatever their weights), "sum" or "none"
        ignore_index: elements with this target (void pixels, such as 255) have loss 0 and gradient 0, and the mean
            divides by the number of the others; None: there are none. PyTorch has no such argument.

    Integer and boolean targets are converted. The mean of nothing is 0, and so is its gradient (PyTorch: NaN).

    Raises ValueError for targets outside 0..1, ShapeError where shapes don't fit, TypeError for mixed dtypes.
    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.2.

    >>> loss = BCEWithLogitsLoss(ignore_index=255)
    >>> value, saved = loss.forward(np.array([[0.0, 1e4, 3.0]]), np.array([[1, 0, 255]]))
    >>> round(value, 4)  # (log 2 + 10000) / 2
    5000.3466
    >>> loss.backward(saved)
    array([[-0.25,  0.5 ,  0.  ]])
    """

    def __init__(self, weight=None, pos_weight=None, reduction="mean", ignore_index=None):
        self.weight = check_weights("weight", weight, single=True)
        self.pos_weight = check_weights("pos_weight", pos_weight, single=True)
        self.reduction = check_reduction(reduction)
        self.ignore_index = ignore_index
        if ignore_index is not None:
            self.ignore_index = check_int("ignore_index", ignore_index, minimum=-np.inf)

    def forward(self, scores, target):
        y, keep = binary_target(scores, target, self.ignore_index)
        p = ops_for(scores).sigmoid_forward(scores)
        weight, pos_weight = self.factors(scores)
        losses = weight * (pos_weight * y * softplus(-scores) + (1 - y) * softplus(scores))
        return self.reduce(np.where(keep, losses, 0), int(keep.sum())), BCEWithLogitsSaved(p, y, keep)

    def backward(self, saved, dvalue=1.0):
        p, y, keep = self.check_saved(saved, BCEWithLogitsSaved)
        dlosses = self.reduce_backward(dvalue, int(keep.sum()), p.shape, p.dtype)  # forward: value = reduce(losses)
        weight, pos_weight = self.factors(p)
        # forward: losses = weight * (pos_weight * y * softplus(-scores) + (1 - y) * softplus(scores)), 0 unless kept
        return np.where(keep, dlosses * weight * (pos_weight * y * (p - 1) + (1 - y) * p), 0)

    def factors(self, scores):
        """weight and pos_weight, in a shape and dtype that multiply scores."""
        return per_channel("weight", self.weight, scores), per_channel("pos_weight", self.pos_weight, scores)


class BCESaved(NamedTuple):
    p: np.ndarray
    y: np.ndarray  # target in the dtype of p


class BCELoss(Loss):
    """Binary cross-entropy of probabilities p and targets y in 0..1. For raw scores BCEWithLogitsLoss is more exact.

    Forward: loss = -(y * log p + (1 - y) * log(1 - p)), with each log at least -100, as in PyTorch

    Backward: dp = dloss * ((1 - y)/(1 - p) - y/p) = dloss * (p - y) / (p * (1 - p)), with a denominator of at least
    1e-12, as in PyTorch: so a confident error keeps a large but finite gradient.

    Shapes: p of any shape, target of the same; with reduction="none" so is the value. Integer and boolean targets are
    converted. The mean over an empty batch is 0.

    Raises ValueError for probabilities or targets outside 0..1, ShapeError where shapes don't fit, TypeError for mixed
    dtypes.
    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.2.

    >>> loss = BCELoss(reduction="none")
    >>> value, saved = loss.forward(np.array([0.5, 0.0]), np.array([1.0, 1.0]))
    >>> value
    array([  0.69314718, 100.        ])
    >>> loss.backward(saved)
    array([-2.e+00, -1.e+12])
    """

    def __init__(self, reduction="mean"):
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target):
        y, _ = binary_target(scores, target, None)
        p = scores
        check_unit("scores", p, "probabilities are needed; for raw scores use BCEWithLogitsLoss")
        with np.errstate(divide="ignore"):  # log 0 = -inf is clamped
            log_p, log_not_p = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
        losses = -(y * log_p + (1 - y) * log_not_p)
        return self.reduce(losses, losses.size), BCESaved(p, y)

    def backward(self, saved, dvalue=1.0):
        p, y = self.check_saved(saved, BCESaved)
        dlosses = self.reduce_backward(dvalue, p.size, p.shape, p.dtype)  # forward: value = reduce(losses)
        return dlosses * (p - y) / np.maximum(p * (1 - p), 1e-12)  # forward: losses = -(y*log p + (1 - y)*log(1 - p))


def softplus(x):
    """log(1 + exp(x)), without overflow.

    >>> softplus(np.array([-1e4, 0, 1e4]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+04])
    """
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def per_channel(name, weights, scores):
    """Weights (C,) shaped to multiply scores (N, C, ...), in their dtype; one number, or None for 1, as a float."""
    if weights is None or weights.ndim == 0:
        return 1.0 if weights is None else float(weights)
    if scores.ndim < 2 or weights.shape != scores.shape[1:2]:
        raise ShapeError(
            f"{name} has shape {weights.shape}, but scores have shape {scores.shape}: "
            f"expected a number, or one for each channel (axis 1)"
        )
    return weights.astype(scores.dtype).reshape(1, -1, *[1] * (scores.ndim - 2))


def binary_target(scores, target, ignore_index):
    """(y, keep): the target in scores' dtype, 0 where ignored; False there, else True. Raises if it doesn't fit."""
    check_arrays(scores, target)
    y = target.astype(scores.dtype) if target.dtype.kind in "biu" else target
    hint = ""
    if scores.shape[1:2] == (1,) and target.shape == (scores.shape[0], *scores.shape[2:]):
        hint = "; add a channel axis: target[:, None]"
    check_same(scores, y, hint)
    if ignore_index is None:
        keep = np.broadcast_to(True, target.shape)
    else:
        keep = target != ignore_index
        y = np.where(keep, y, 0)
    check_unit("target", y, "divide a 0/255 mask by 255; a label of void pixels belongs into ignore_index")
    return y, keep


def check_unit(name, values, hint):
    """Raise ValueError unless all values are in 0..1."""
    wrong = ~((values >= 0) & (values <= 1))  # in this form NaN is wrong too
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"{name} is {values[place]:g} at {place}, expected values in 0..1 ({int(wrong.sum())} are outside); {hint}"
        )
