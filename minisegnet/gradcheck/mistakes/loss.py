"""Mistakes in the backward pass of losses. A mean that is missing or taken twice is found by `general`."""

from typing import NamedTuple

import numpy as np

from kernels import ops_for

from ..subject import LossAsLayer
from .evidence import Suspect, agrees, computes


class CrossEntropy(NamedTuple):
    """What there is to know about a loss that turned out to be a cross-entropy."""

    onehot: np.ndarray  # (N, C, ...): 1 at the label, also of an ignored element if it has one
    keep: np.ndarray  # (N, 1, ...): False where ignored
    weight: np.ndarray  # (N, 1, ...): the class weight of the label, 1 without weights
    divisors: dict  # {description: number}: what one may divide by
    divisor: str  # what forward divides by


def cross_entropy(subject):
    """Mistakes in the gradient of softmax and cross-entropy."""
    case = recognised(subject)
    if case is None:
        return
    onehot, keep, w, divisors, divisor = case
    x, dvalue = subject.x, float(subject.dy)
    p, scale = ops_for(x).softmax_forward(x, 1), dvalue / divisors[divisor]
    for count in divisors.values():
        text = "ignore_index is forgotten: elements with that label get no gradient"
        for label in () if keep.all() else (onehot, onehot * keep):
            yield Suspect("x", w * (p - label) * dvalue / count, text)
        text = "the class weights are forgotten: the gradient of each element is multiplied by the weight of its label"
        if (w != 1).any():
            yield Suspect("x", keep * (p - onehot) * dvalue / count, text)
    text = "dscores = weight * (p - onehot) / count"
    yield Suspect("x", keep * w * p * scale, f"the 1 of the label is not taken off: {text}")
    yield Suspect("x", keep * w * (x - onehot) * scale, f"the softmax is missing: {text}, p = softmax(scores)")


def recognised(subject):
    """The CrossEntropy that the subject is, or None."""
    layer, x = subject.layer, subject.x
    target = getattr(layer, "target", None)
    if not isinstance(layer, LossAsLayer) or subject.y.ndim or x.ndim < 2 or not isinstance(target, np.ndarray):
        return None
    if target.dtype.kind not in "iu" or target.shape != (x.shape[0], *x.shape[2:]):
        return None
    legal = (target >= 0) & (target < x.shape[1])
    keep, label = legal & (target != getattr(layer.loss, "ignore_index", -100)), np.where(legal, target, 0)
    weight = getattr(layer.loss, "weight", None)
    if weight is None or np.shape(weight) != x.shape[1:2]:
        weight = np.ones(x.shape[1])
    w = np.where(legal, np.asarray(weight, np.float64)[label], 1)
    divisors = {"the number of labels": target.size, "the number of labels that are not ignored": int(keep.sum())}
    divisors |= {"the sum of the labels' class weights": float(w[keep].sum()), "1": 1}
    divisors = {name: count for name, count in divisors.items() if count}
    onehot = (np.arange(x.shape[1]).reshape(1, -1, *[1] * (x.ndim - 2)) == label[:, None]) * legal[:, None]
    log_p = ops_for(x).log_softmax_forward(x, 1)
    total = -(log_p * onehot * (w * keep)[:, None]).sum()
    for name, count in divisors.items():
        if agrees(np.asarray(total / count), subject.y):
            return CrossEntropy(onehot, keep[:, None], w[:, None], divisors, name)
    return None


def wrong_divisor(subject, factor):
    """A sentence, if a cross-entropy's gradient is wrong by this factor because of what it is divided by; else ""."""
    case = recognised(subject)
    if case is None:
        return ""
    *_, divisors, name = case
    right = divisors[name]
    if right != 1 and np.isclose(factor, right, rtol=1e-4):
        return f"it is not divided by {name} ({right:g}), as the value is: a factor 1/{right:g} is missing"
    if right != 1 and np.isclose(factor, 1 / right, rtol=1e-4):
        return f"it is divided by {name} ({right:g}) twice: a factor 1/{right:g} is there once too often"
    for other, count in divisors.items():
        if count != right and np.isclose(factor, right / count, rtol=1e-4):
            value = "not divided at all" if right == 1 else f"divided by {name} ({right:g})"
            return f"it is divided by {other} ({count:g}), but the value is {value}"
    return ""


def difference(subject):
    """Mistakes in the gradient of a squared or absolute difference."""
    layer, x = subject.layer, subject.x
    target = getattr(layer, "target", None)
    if not isinstance(layer, LossAsLayer) or not isinstance(target, np.ndarray) or target.shape != x.shape:
        return
    d = x - target
    for count in (x.size, 1) if x.size else ():
        wrong = d * float(subject.dy) / count
        if computes(subject, lambda n=count: np.asarray((d * d).sum() / n)):
            yield Suspect("x", wrong, "the derivative of d² is 2*d, not d")
        elif computes(subject, lambda n=count: np.asarray(np.abs(d).sum() / n)):
            yield Suspect("x", wrong, "the derivative of |d| is sign(d), not d")
