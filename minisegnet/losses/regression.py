"""Losses between two arrays of numbers: squared and absolute difference."""

from typing import NamedTuple

import numpy as np

from .base import Loss, check_reduction, check_same


class MSESaved(NamedTuple):
    difference: np.ndarray  # scores - target


class MSELoss(Loss):
    """Squared difference.

    Forward: loss = (scores - target)**2
    Backward: dscores = dloss * 2 * (scores - target)

    Shapes: scores of any shape, target of the same shape and dtype; with reduction="none" so is the value.
    reduction: "mean" (over all elements; 0 for an empty batch), "sum" or "none".

    Raises ShapeError for different shapes, TypeError for different dtypes: nothing is broadcast or converted.
    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 1.1.

    >>> loss = MSELoss()
    >>> value, saved = loss.forward(np.array([1.0, 5.0]), np.array([1.0, 2.0]))
    >>> value, loss.backward(saved)
    (4.5, array([0., 3.]))
    """

    def __init__(self, reduction="mean"):
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target):
        check_same(scores, target)
        difference = scores - target
        return self.reduce(difference * difference, difference.size), MSESaved(difference)

    def backward(self, saved, dvalue=1.0):
        self.check_saved(saved, MSESaved)
        d = saved.difference
        dlosses = self.reduce_backward(dvalue, d.size, d.shape, d.dtype)  # forward: value = reduce(losses)
        return dlosses * 2 * d  # forward: losses = difference * difference


class L1Saved(NamedTuple):
    sign: np.ndarray  # of scores - target


class L1Loss(Loss):
    """Absolute difference.

    Forward: loss = |scores - target|
    Backward: dscores = dloss * sign(scores - target), which is 0 where both are equal

    Shapes: scores of any shape, target of the same shape and dtype; with reduction="none" so is the value.
    reduction: "mean" (over all elements; 0 for an empty batch), "sum" or "none".

    Raises ShapeError for different shapes, TypeError for different dtypes: nothing is broadcast or converted.
    Source: Boyd and Vandenberghe, Convex Optimization (2004), section 6.1.2.

    >>> loss = L1Loss()
    >>> value, saved = loss.forward(np.array([1.0, 5.0, 1.0, 1.0]), np.array([1.0, 2.0, 2.0, 1.0]))
    >>> value, loss.backward(saved)
    (1.0, array([ 0.  ,  0.25, -0.25,  0.  ]))
    """

    def __init__(self, reduction="mean"):
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target):
        check_same(scores, target)
        difference = scores - target
        return self.reduce(np.abs(difference), difference.size), L1Saved(np.sign(difference))

    def backward(self, saved, dvalue=1.0):
        self.check_saved(saved, L1Saved)
        sign = saved.sign
        dlosses = self.reduce_backward(dvalue, sign.size, sign.shape, sign.dtype)  # forward: value = reduce(losses)
        return dlosses * sign  # forward: losses = |difference|
