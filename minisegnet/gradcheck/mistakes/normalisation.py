"""Mistakes in the backward pass of batch normalisation."""

import itertools

import numpy as np

from kernels import ops_for
from kernels.reference.norm import PIXELS, per_channel

from .evidence import Suspect, agrees, computed, computes, wrong_bias


class Norm:
    """A batch normalisation as its numbers show it: which parameter is which, mean, var and eps."""

    def __init__(self, weight, bias, eps, mean, var):
        (self.weight, self.w), (self.bias, self.b) = weight, bias
        self.eps, self.mean, self.var = eps, mean, var


def batch_norm(subject):
    """Mistakes in batch normalisation's backward, in training and in eval mode."""
    x, dy, ops = subject.x, subject.dy, ops_for(subject.x)
    norm = recognised(subject)
    if norm is not None:
        yield from ways_back(norm, x, dy)
        _, dweight, _ = ops.batch_norm_eval_backward(dy, x, norm.w, norm.mean, norm.var, norm.eps)
        unweighted, *_ = ops.batch_norm_train_backward(dy, x, None, norm.mean, norm.var, norm.eps)
        yield Suspect("x", unweighted, "the factor weight is missing: forward multiplies x̂ by it")
        if norm.weight is not None:
            text = "it is the sum of dy*x; forward multiplies weight by x̂, not by x"
            yield Suspect(norm.weight, (dy * x).sum(axis=PIXELS), text)
            yield Suspect(norm.weight, dweight * norm.w, "dy is multiplied by weight; only dx is, dweight = Σ dy*x̂")
            yield Suspect(norm.weight, dy.sum(axis=PIXELS), "it is the gradient of bias; dweight = Σ dy*x̂")
        yield from wrong_bias(norm.bias, dy)
        return
    mean, var = getattr(subject.layer, "running_mean", None), getattr(subject.layer, "running_var", None)
    if mean is None or var is None or x.ndim != 4 or subject.y.shape != x.shape:
        return
    for (_, w), (_, b), eps in assignments(subject):
        if computes(subject, lambda w=w, b=b, eps=eps: ops.batch_norm_eval_forward(x, w, b, mean, var, eps)):
            own = x.mean(axis=PIXELS), x.var(axis=PIXELS)
            text = "in eval mode mean and variance are constants: no gradient passes through them"
            for statistics in (own, (mean, var)):
                yield Suspect("x", ops.batch_norm_train_backward(dy, x, w, *statistics, eps)[0], text)


def ways_back(norm, x, dy):
    """dx with one or two of its three ways left out."""
    first, _, _ = ops_for(x).batch_norm_eval_backward(dy, x, norm.w, norm.mean, norm.var, norm.eps)
    normed = (x - per_channel(norm.mean)) / per_channel(np.sqrt(norm.var + norm.eps))
    text = "of the three ways back, through x̂, the mean and the variance, "
    yield Suspect("x", first, text + "only the first is there: mean and variance are treated as constants")
    without_var = first - first.mean(axis=PIXELS, keepdims=True)
    yield Suspect("x", without_var, text + "the one through the variance is missing")
    without_mean = first - normed * (first * normed).mean(axis=PIXELS, keepdims=True)
    yield Suspect("x", without_mean, text + "the one through the mean is missing")


def recognised(subject):
    """The Norm whose training forward gives the layer's y, or None."""
    x, ops = subject.x, ops_for(subject.x)
    if x.ndim != 4 or subject.y.shape != x.shape or any(p.shape != x.shape[1:2] for p in subject.parameters.values()):
        return None
    for weight, bias, eps in assignments(subject):
        forward = computed(lambda w=weight[1], b=bias[1], e=eps: ops.batch_norm_train_forward(x, w, b, e))
        if forward is not None and agrees(forward[0], subject.y):
            return Norm(weight, bias, eps, *forward[1:])
    return None


def assignments(subject):
    """(weight, bias, eps) to try: each of the first two is (name, value), or (None, None)."""
    named = [(name, p.value) for name, p in subject.parameters.items()]
    epsilons = [getattr(subject.layer, name, None) for name in ("eps", "epsilon")]
    epsilons = [eps for eps in epsilons if isinstance(eps, float)] + [1e-5, 1e-8, 1e-3, 1e-12, 0.0]
    if len(named) > 2:
        return
    for roles in itertools.permutations([*named, (None, None), (None, None)][:2]):
        yield from ((*roles, eps) for eps in epsilons)
