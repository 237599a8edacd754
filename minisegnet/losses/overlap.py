"""Dice and Jaccard loss: how badly the predicted and the true region of each class overlap."""

from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for

from ..core import check_int, check_number
from .base import Loss, check_arrays
from .binary import binary_target

EMPTY = 1e-12  # a union below this is none; it also keeps 1/union in the range of float32


class OverlapSaved(NamedTuple):
    p: np.ndarray  # probabilities, of scores' shape
    y: np.ndarray  # what they should be, 0 where ignored
    keep: np.ndarray  # False where ignored
    ratio: np.ndarray  # (C,), and its denominator, in float64
    union: np.ndarray


class OverlapLoss(Loss):
    """One minus the overlap of prediction and truth, relative to their size, averaged over the classes.

    What DiceLoss and JaccardLoss share; they differ in two numbers, a (how often the overlap counts above) and b (how
    often it is taken off below). Forward, with probabilities p, truth y, sums over the batch and all pixels:
        I = Σ p*y,  P = Σ p,  Y = Σ y                        for each class
        ratio = (a*I + smooth) / U,  U = P + Y - b*I + smooth   (1 without any U: nothing was there, nothing was found)
        value = mean over classes of (1 - ratio)

    Backward, by the quotient rule:
        dI = dratio * (a + b*ratio) / U,   dP = dratio * -ratio / U
        dp = dI*y + dP,   and from there through the softmax or sigmoid to dscores.
    """

    gain, drop = 2, 0  # a and b

    def __init__(self, activation="softmax", smooth=1.0, ignore_index=-100, classes=None):
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"unknown activation {activation!r}, expected softmax or sigmoid")
        self.activation = activation
        self.smooth = check_number("smooth", smooth, 0, np.inf, open_high=True)
        self.ignore_index = check_int("ignore_index", ignore_index, minimum=-np.inf)
        self.classes = None if classes is None else tuple(check_int("classes", c, 0) for c in classes)
        if self.classes is not None and len(set(self.classes)) != max(len(self.classes), 1):
            raise ValueError(f"classes must be one or more different class numbers, got {self.classes}")

    def forward(self, scores, target):
        check_arrays(scores, target)
        p, y, keep = self.activate(scores, target)
        share = self.class_share(scores.shape)
        axes = (0, *range(2, scores.ndim))
        overlap = (p * y).sum(axis=axes, dtype=np.float64)
        predicted, actual = (p * keep).sum(axis=axes, dtype=np.float64), y.sum(axis=axes, dtype=np.float64)
        union = predicted + actual - self.drop * overlap + self.smooth
        ratio = np.divide(self.gain * overlap + self.smooth, union, out=np.ones_like(union), where=union > EMPTY)
        value = float((share * (1 - ratio)).sum())
        return value, OverlapSaved(p, y, keep, ratio, union)

    def backward(self, saved, dvalue=1.0):
        p, y, keep, ratio, union = self.check_saved(saved, OverlapSaved)
        dratio = -check_number("dvalue", dvalue) * self.class_share(p.shape)  # forward: value = Σ share * (1 - ratio)
        # forward: ratio = (gain*overlap + smooth) / union, union = predicted + actual - drop*overlap + smooth
        over_union = np.divide(dratio, union, out=np.zeros_like(union), where=union > EMPTY)
        doverlap, dpredicted = over_union * (self.gain + self.drop * ratio), -over_union * ratio
        # forward: overlap = Σ p*y, predicted = Σ p*keep
        doverlap, dpredicted = per_class(doverlap.astype(p.dtype), p), per_class(dpredicted.astype(p.dtype), p)
        dp = (doverlap * y + dpredicted) * keep
        if self.activation == "softmax":
            return ops_for(p).softmax_backward(dp, p, 1)  # forward: p = softmax(scores)
        return ops_for(p).sigmoid_backward(dp, p)  # forward: p = sigmoid(scores)

    def activate(self, scores, target):
        """Probabilities p, truth y and keep (False where ignored), each of a shape that multiplies scores."""
        if scores.ndim < 2:
            raise ShapeError(f"scores have shape {scores.shape}, expected (N, C) or (N, C, H, W)")
        ops, (N, C, *rest) = ops_for(scores), scores.shape
        if self.activation == "sigmoid":
            if C == 1 and target.shape == (N, *rest):
                target = target[:, None]
            y, keep = binary_target(scores, target, self.ignore_index)
            return ops.sigmoid_forward(scores), y, keep
        if C == 1:
            raise ShapeError(f"scores have shape {scores.shape}: softmax of one channel is 1; use activation='sigmoid'")
        # the cross-entropy itself is not needed here, but its check of the labels and its softmax are
        _, p = ops.softmax_cross_entropy_forward(scores, target, None, self.ignore_index, 0.0)
        label = target[:, None]
        keep = label != self.ignore_index
        return p, (per_class(np.arange(C), p) == label) & keep, keep

    def class_share(self, shape):
        """(C,): what each class counts in the mean."""
        C = shape[1]
        classes = range(C) if self.classes is None else self.classes
        if max(classes) >= C:
            raise IndexError(f"class {max(classes)} of classes={self.classes} is outside 0..{C - 1}")
        share = np.zeros(C)
        share[list(classes)] = 1 / len(classes)
        return share


def per_class(values, p):
    """Values (C,), shaped to multiply p (N, C, ...)."""
    return values.reshape(1, -1, *[1] * (p.ndim - 2))


class DiceLoss(OverlapLoss):
    """Soft Dice loss: one minus twice the overlap over the sum of both sizes, averaged over the classes.

    Forward, with p = softmax or sigmoid of the scores, y the truth as 0 and 1, sums over the batch and all pixels:
        dice[c] = (2 * Σ p*y + smooth) / (Σ p + Σ y + smooth)
        value = 1 - mean over classes of dice[c]

    Backward, with U[c] = Σ p + Σ y + smooth, by the quotient rule:
        dp = ddice[c] * (2*y - dice[c]) / U[c],  ddice[c] = -dvalue / (number of classes)
    and from there through the softmax or sigmoid to dscores.

    Shapes: scores (N, C) or (N, C, H, W) with any number of further axes; value is always a float. With
    activation="softmax" target holds one class number for each pixel, integers (N, H, W); with "sigmoid" each channel
    is a yes-or-no question of its own: target has scores' shape (0, 1 or a probability), or (N, H, W) if C is 1.

    Parameters
        activation: "softmax" or "sigmoid"
        smooth: keeps the ratio defined and the gradient small where a class is hardly there; at least 0
        ignore_index: elements with this target (void pixels) count in none of the sums
        classes: the class numbers to average over (to leave the background out, say); None: all

    A class that is neither in the target nor predicted counts as found: its dice is 1. So an empty batch, or one with
    every pixel ignored, has loss 0 and gradient 0.

    Raises TypeError, ShapeError and IndexError as CrossEntropyLoss (softmax) and BCEWithLogitsLoss (sigmoid) do.
    Source: Milletari et al., V-Net (2016), section 3, here with p rather than p**2 in the denominator.

    >>> loss = DiceLoss(activation="sigmoid", smooth=0)
    >>> value, saved = loss.forward(np.zeros((1, 1, 1, 4)), np.array([[[1, 1, 0, 0]]]))
    >>> value  # half of each pixel: 1 - 2*1 / (2 + 2)
    0.5
    >>> loss.backward(saved)[0, 0]
    array([[-0.09375, -0.09375,  0.03125,  0.03125]])
    """


class JaccardLoss(OverlapLoss):
    """Soft Jaccard loss: one minus intersection over union, averaged over the classes.

    Forward, with p = softmax or sigmoid of the scores, y the truth as 0 and 1, sums over the batch and all pixels:
        U[c] = Σ p + Σ y - Σ p*y + smooth
        iou[c] = (Σ p*y + smooth) / U[c]
        value = 1 - mean over classes of iou[c]

    Backward, by the quotient rule, for dU/dp = 1 - y:
        dp = diou[c] * (y - iou[c]*(1 - y)) / U[c],  diou[c] = -dvalue / (number of classes)
    and from there through the softmax or sigmoid to dscores.

    Shapes, parameters, conventions and errors are those of DiceLoss.
    Source: Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image segmentation (2016).

    >>> loss = JaccardLoss(activation="sigmoid", smooth=0)
    >>> value, saved = loss.forward(np.zeros((1, 1, 1, 4)), np.array([[[1, 1, 0, 0]]]))
    >>> round(value, 4)  # 1 - 1 / (2 + 2 - 1)
    0.6667
    """

    gain, drop = 1, 1
