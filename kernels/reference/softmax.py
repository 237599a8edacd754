"""Softmax, log-softmax and the cross-entropy that is fused with them.

Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4; label smoothing: Szegedy et al.,
Rethinking the Inception architecture (2016), section 7.
"""

import numpy as np

from ..errors import ShapeError
from ..shapes import check_shape, same_dtype


def softmax_forward(x, dim):
    same_dtype(x=x)
    e = np.exp(x - peak(x, dim))
    return e / e.sum(axis=dim, keepdims=True)


def softmax_backward(dy, y, dim):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    # Every y[k] depends on every x[c]: dy[k]/dx[c] = y[k]*((k == c) - y[c]). Summed over k with dy[k]:
    return y * (dy - (dy * y).sum(axis=dim, keepdims=True))


def log_softmax_forward(x, dim):
    same_dtype(x=x)
    shifted = x - peak(x, dim)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


def log_softmax_backward(dy, y, dim):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    # dy[k]/dx[c] = (k == c) - exp(y[c])
    return dy - np.exp(y) * dy.sum(axis=dim, keepdims=True)


def peak(x, dim):
    """The maximum along `dim`, kept as an axis of 1; 0 for an empty array, which has none."""
    return x.max(axis=dim, keepdims=True, initial=None if x.size else 0)


def softmax_cross_entropy_forward(scores, target, weight, ignore_index, label_smoothing):
    dtype = same_dtype(scores=scores, weight=weight)
    check_target(scores, target, weight, ignore_index)
    log_p = log_softmax_forward(scores, 1)
    q = target_distribution(scores, target, weight, ignore_index, label_smoothing)
    # Where q is 0 nothing is added, also where log p is -inf: 0 * inf would be NaN.
    terms = np.multiply(q, log_p, out=np.zeros_like(log_p), where=q != 0)
    return -terms.sum(axis=1, dtype=dtype), np.exp(log_p)


def softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, label_smoothing):
    one_each = np.ndim(dlosses) > 0
    dtype = same_dtype(dlosses=dlosses if one_each else None, p=p, weight=weight)
    q = target_distribution(p, target, weight, ignore_index, label_smoothing)
    if one_each:
        check_shape("dlosses", dlosses, target.shape)
    dlosses = dlosses[:, None] if one_each else dtype.type(dlosses)
    # forward: loss = -sum over c of q[c]*log p[c], and d(log p[c])/d(scores[k]) = (c == k) - p[k]
    dscores = dlosses * (p * q.sum(axis=1, keepdims=True) - q)
    return np.where((target != ignore_index)[:, None], dscores, 0)  # also where p is NaN


def target_distribution(scores, target, weight, ignore_index, label_smoothing):
    """q of scores' shape: (1-e)*w[t] at the label, plus e/C*w everywhere; all zeros for an ignored element."""
    C = scores.shape[1]
    w = np.ones(C, scores.dtype) if weight is None else weight
    valid = target != ignore_index
    label = np.where(valid, target, 0)[:, None]
    per_class = w.reshape(1, C, *[1] * (scores.ndim - 2))
    onehot = np.arange(C).reshape(per_class.shape) == label
    q = per_class * ((1 - label_smoothing) * onehot + label_smoothing / C).astype(scores.dtype)
    return np.where(valid[:, None], q, 0)


def check_target(scores, target, weight, ignore_index):
    """Raise unless target holds one legal integer label for every element of scores."""
    if scores.ndim < 2:
        raise ShapeError(f"scores have shape {scores.shape}, expected (N, C) or (N, C, H, W)")
    N, C, *rest = scores.shape
    if target.dtype.kind not in "iu":
        raise TypeError(f"target is {target.dtype}, expected integer class labels; convert it: target.astype(np.int64)")
    if target.shape != (N, *rest):
        hint = ""
        if target.shape == (N, 1, *rest):
            hint = "; drop its channel axis: target[:, 0]"
        elif target.shape == scores.shape:
            hint = "; labels are class numbers, not one-hot: target.argmax(axis=1)"
        raise ShapeError(f"target has shape {target.shape}, expected {(N, *rest)}{hint}")
    if weight is not None and weight.shape != (C,):
        raise ShapeError(f"weight has shape {weight.shape}, expected {(C,)}: one for each class")
    wrong = (target != ignore_index) & ((target < 0) | (target >= C))
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise IndexError(
            f"label {target[place]} at {place} is outside 0..{C - 1} ({int(wrong.sum())} such elements); "
            f"if it marks void pixels, pass ignore_index={target[place]}"
        )
