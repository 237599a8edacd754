"""Distillation: learning from another net's scores instead of labels."""

from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for

from ..core import check_number
from .base import Loss, check_reduction, check_same


class DistillationSaved(NamedTuple):
    difference: np.ndarray  # softmax(scores/T) - softmax(teacher/T)


class DistillationLoss(Loss):
    """How far a student's scores are from its teacher's, both softened by a temperature T.

    Forward, with q = softmax(teacher/T) and p = softmax(scores/T) over the C classes:
        loss = T**2 * Σ_c q[c] * (log q[c] - log p[c])        the Kullback-Leibler divergence of p from q
        "mean": over all samples or pixels, N or N*H*W (not over classes)

    Backward, for d(log p[c])/d(scores[k]) = ((c == k) - p[k])/T and Σ_c q[c] = 1:
        dscores = dloss * T**2 * (p - q)/T = dloss * T * (p - q)
    p - q shrinks like 1/T, so the factor T**2 keeps the gradient's size the same for every temperature. The teacher is
    a constant: nothing flows back to it.

    Shapes: scores (N, C) or (N, C, H, W) with any number of further axes; target, the teacher's scores, of the same
    shape and dtype; with reduction="none" the value is an array (N) or (N, H, W).

    Parameters
        temperature: T > 0; the higher, the more the teacher's small probabilities count
        reduction: "mean" (0 for an empty batch), "sum" or "none"

    Raises ShapeError for different shapes, TypeError for different dtypes.
    Source: Hinton et al., Distilling the knowledge in a neural network (2015), section 2.

    >>> loss = DistillationLoss(temperature=1)
    >>> value, saved = loss.forward(np.zeros((1, 2)), np.log(np.array([[1.0, 3.0]])))
    >>> round(value, 4)  # 1/4 log(1/2) + 3/4 log(3/2)
    0.1308
    >>> loss.backward(saved)  # p - q = 1/2 - 1/4, 1/2 - 3/4
    array([[ 0.25, -0.25]])
    """

    def __init__(self, temperature=2.0, reduction="mean"):
        self.temperature = check_number("temperature", temperature, 0, np.inf, open_low=True, open_high=True)
        self.reduction = check_reduction(reduction)

    def forward(self, scores, target):
        check_same(scores, target, "; it holds the teacher's scores, not labels")
        if scores.ndim < 2:
            raise ShapeError(f"scores have shape {scores.shape}, expected (N, C) or (N, C, H, W)")
        ops, T = ops_for(scores), self.temperature
        log_p, log_q = ops.log_softmax_forward(scores / T, 1), ops.log_softmax_forward(target / T, 1)
        q = np.exp(log_q)
        losses = T**2 * (q * (log_q - log_p)).sum(axis=1)
        return self.reduce(losses, losses.size), DistillationSaved(np.exp(log_p) - q)

    def backward(self, saved, dvalue=1.0):
        self.check_saved(saved, DistillationSaved)
        d = saved.difference
        losses_shape = (d.shape[0], *d.shape[2:])
        # forward: value = reduce(losses), one of them for all classes of a pixel
        dlosses = self.reduce_backward(dvalue, int(np.prod(losses_shape)), losses_shape, d.dtype)
        if np.ndim(dlosses):
            dlosses = dlosses[:, None]
        return dlosses * self.temperature * d  # forward: losses = T**2 * Σ q*(log q - log p), p = softmax(scores/T)
