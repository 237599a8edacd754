"""Optimiser updates in one pass over memory, where the NumPy expressions of `reference` take about a dozen."""

import numpy as np

from ..reference import update as reference
from ..shapes import check_shape, same_dtype
from .arrays import PIECE, plain
from .jit import jit, parallel, part_of


def sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    dtype = same_dtype(value=value, grad=grad, velocity=velocity)
    check_shape("grad", grad, value.shape)
    if not in_place(value, velocity=velocity):
        reference.sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov)
        return
    velocity = np.empty(0, dtype) if velocity is None else velocity.reshape(-1)
    numbers = [dtype.type(number) for number in (lr, momentum, weight_decay)]
    update = sgd if value.size > PIECE else sgd_piece
    update(value.reshape(-1), plain(grad).reshape(-1), velocity, *numbers, bool(nesterov))


@parallel
def sgd(value, grad, velocity, lr, momentum, weight_decay, nesterov, share):
    for piece in part_of(-(-len(value) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        sgd_piece(value[part], grad[part], velocity[part], lr, momentum, weight_decay, nesterov)


@jit
def sgd_piece(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    """An empty velocity means that there is none."""
    for i in range(len(value)):
        g = grad[i]
        if weight_decay:
            g += weight_decay * value[i]
        if len(velocity):
            velocity[i] = momentum * velocity[i] + g
            g = g + momentum * velocity[i] if nesterov else velocity[i]
        value[i] -= lr * g


def adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    dtype = same_dtype(value=value, grad=grad, m=m, v=v)
    check_shape("grad", grad, value.shape)
    if not in_place(value, m=m, v=v):
        reference.adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled)
        return
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    # value -= lr * m/(1 - beta1^step) / (sqrt(v/(1 - beta2^step)) + eps), with what is the same for all put together
    rate, unbias = lr / (1 - beta1**step), 1 / (1 - beta2**step)
    numbers = (keep, decay, beta1, 1 - beta1, beta2, 1 - beta2, rate, unbias, eps)
    update = adam if value.size > PIECE else adam_piece
    arrays = [a.reshape(-1) for a in (value, plain(grad), m, v)]
    update(*arrays, tuple(dtype.type(number) for number in numbers))


@parallel
def adam(value, grad, m, v, numbers, share):
    for piece in part_of(-(-len(value) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        adam_piece(value[part], grad[part], m[part], v[part], numbers)


@jit
def adam_piece(value, grad, m, v, numbers):
    keep, decay, beta1, rest1, beta2, rest2, rate, unbias, eps = numbers
    for i in range(len(value)):
        g = grad[i]
        if decay:
            g += decay * value[i]
        m[i] = beta1 * m[i] + rest1 * g
        v[i] = beta2 * v[i] + rest2 * g * g
        value[i] = keep * value[i] - rate * m[i] / (np.sqrt(unbias * v[i]) + eps)


def in_place(value, **others):
    """Whether the compiled loops can change all these arrays where they are: a copy, as for inputs, is no help here."""
    arrays = [value]
    for name, a in others.items():
        if a is not None:
            check_shape(name, a, value.shape)
            arrays.append(a)
    return all(a.flags.carray for a in arrays)
