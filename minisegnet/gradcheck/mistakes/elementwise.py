"""Mistakes in the backward pass of activations, dropout and softmax."""

import numpy as np

from kernels import ops_for

from .evidence import Suspect, computes


def relu(subject):
    """ReLU, and LeakyReLU with whatever slope it has."""
    x, y, dy = subject.x, subject.y, subject.dy
    if subject.parameters or x.shape != y.shape or not (x < 0).any() or not (x > 0).any():
        return
    slope = float(np.median(y[x < 0] / x[x < 0]))
    if slope == 1 or not computes(subject, lambda: ops_for(x).leaky_relu_forward(x, slope)):
        return
    right = f", dx = dy where x > 0, else {slope:g}*dy" if slope else ", dx = dy * (x > 0)"
    wrong = np.where(dy > 0, dy, slope * dy)
    yield Suspect("x", wrong, "the mask is taken from dy: the gate depends on the sign of x" + right)
    yield Suspect("x", dy, "the mask is missing: the gate is open only where x > 0" + right)
    yield Suspect("x", np.where(x > 0, slope * dy, dy), "the mask is inverted" + right)
    yield Suspect("x", np.where(x > 0, 1.0, slope), "dy is missing: the derivative has to be multiplied by dy")
    if slope:
        yield Suspect("x", np.where(x > 0, dy, 0), "the slope of the negative side is missing" + right)


def sigmoid(subject):
    x, y, dy = subject.x, subject.y, subject.dy
    if not subject.parameters and computes(subject, lambda: ops_for(x).sigmoid_forward(x)):
        yield Suspect("x", dy * x * (1 - x), "the derivative is y*(1 - y) of the output y, not of the input x")
        yield Suspect("x", dy * y, "a factor is missing: the derivative is y*(1 - y)")
        yield Suspect("x", y * (1 - y), "dy is missing: the derivative has to be multiplied by dy")


def tanh(subject):
    x, y, dy = subject.x, subject.y, subject.dy
    if not subject.parameters and computes(subject, lambda: ops_for(x).tanh_forward(x)):
        yield Suspect("x", dy * (1 - x * x), "the derivative is 1 - y² of the output y, not of the input x")
        yield Suspect("x", dy * (1 - y), "the square is missing: the derivative is 1 - y²")
        yield Suspect("x", 1 - y * y, "dy is missing: the derivative has to be multiplied by dy")


def dropout(subject):
    """Whatever multiplies each x by either 0 or one number."""
    x, y, dy = subject.x, subject.y, subject.dy
    keep = y != 0
    if subject.parameters or x.shape != y.shape or not keep.any() or keep.all() or (x == 0).any():
        return
    scale = float(np.median(y[keep] / x[keep]))
    if scale != 1 and computes(subject, lambda: ops_for(x).dropout_forward(x, keep, scale)):
        yield Suspect("x", dy, "the mask is missing: what forward dropped gets no gradient, dx = keep * dy / (1 - p)")
        yield Suspect(
            "x", dy * scale, "the mask is missing: what forward dropped gets no gradient, dx = keep * dy / (1 - p)"
        )
        yield Suspect("x", dy * keep, "the factor 1/(1 - p) is missing: dx = keep * dy / (1 - p)")


def softmax(subject):
    """Mistakes in the backward of a softmax or log-softmax along any axis."""
    x, y, dy, ops = subject.x, subject.y, subject.dy, ops_for(subject.x)
    if subject.parameters or y.shape != x.shape:
        return
    for dim in range(x.ndim):
        if computes(subject, lambda dim=dim: ops.softmax_forward(x, dim)):
            text = (
                "the Jacobian is replaced by its diagonal: each score also moves all other probabilities of its axis, "
                "dx = y * (dy - Σ dy*y)"
            )
            yield Suspect("x", dy * y * (1 - y), text)
            yield Suspect("x", dy * y, text)
            yield from wrong_axis(y * (dy - (dy * y).sum(axis=a, keepdims=True)) for a in (*others(x, dim), None))
        if computes(subject, lambda dim=dim: ops.log_softmax_forward(x, dim)):
            p, text = np.exp(y), "the sum is missing: dx = dy - exp(y) * Σ dy"
            yield Suspect("x", dy - p, text)
            yield Suspect("x", dy - p * dy, text)
            yield from wrong_axis(dy - p * dy.sum(axis=a, keepdims=True) for a in (*others(x, dim), None))


def others(x, dim):
    """All axes but one."""
    return [axis for axis in range(x.ndim) if axis != dim]


def wrong_axis(results):
    for wrong in results:
        yield Suspect(
            "x", wrong, "the sum runs over the wrong axes: over that of the classes alone, with keepdims=True"
        )
