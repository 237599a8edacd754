"""Optimiser updates, in place: one thread for each number of the parameters.

Everything that all parameters share, such as Adam's bias corrections, is worked out on the host in float64. Many small
arrays would mean as many launches, each costing more than its work; so an optimiser had best keep all parameters in
one long array.
"""

import math

from numba import cuda

from ..shapes import check_shape, same_dtype
from .arrays import check_device, flat, is_plain, plain
from .launch import THREADS, blocks, kernel, launch


def sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    check_device(value=value, grad=grad, velocity=velocity)
    dtype = same_dtype(value=value, grad=grad, velocity=velocity)
    check_shape("grad", grad, value.shape)
    check_in_place(value, velocity=velocity)
    arrays = value, plain(grad), value if velocity is None else velocity
    numbers = [dtype.type(number) for number in (lr, momentum, weight_decay)]
    flags = velocity is not None, bool(nesterov)
    launch(sgd, blocks(value.size), THREADS, *map(flat, arrays), *numbers, *flags)


@kernel
def sgd(value, grad, velocity, lr, momentum, weight_decay, has_velocity, nesterov):
    i = cuda.grid(1)
    if i < value.size:
        g = grad[i]
        if weight_decay != 0:
            g += weight_decay * value[i]
        if has_velocity:
            v = momentum * velocity[i] + g
            velocity[i] = v
            g = g + momentum * v if nesterov else v
        value[i] -= lr * g


def adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    check_device(value=value, grad=grad, m=m, v=v)
    dtype = same_dtype(value=value, grad=grad, m=m, v=v)
    check_shape("grad", grad, value.shape)
    check_in_place(value, m=m, v=v)
    keep, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    # value -= lr * m/(1 - beta1^step) / (sqrt(v/(1 - beta2^step)) + eps), with what is the same for all put together
    rate, unbias = lr / (1 - beta1**step), 1 / (1 - beta2**step)
    numbers = (keep, decay, beta1, 1 - beta1, beta2, 1 - beta2, rate, unbias, eps)
    arrays = value, plain(grad), m, v
    launch(adam, blocks(value.size), THREADS, *map(flat, arrays), *(dtype.type(number) for number in numbers))


@kernel
def adam(value, grad, m, v, keep, decay, beta1, rest1, beta2, rest2, rate, unbias, eps):
    i = cuda.grid(1)
    if i < value.size:
        g = grad[i]
        if decay != 0:
            g += decay * value[i]
        mean, square = beta1 * m[i] + rest1 * g, beta2 * v[i] + rest2 * g * g
        m[i], v[i] = mean, square
        value[i] = keep * value[i] - rate * mean / (math.sqrt(unbias * square) + eps)


def check_in_place(array, **others):
    """Raise unless the kernels can change these arrays where they are, element by element alike; None is skipped."""
    for name, other in others.items():
        if other is not None:
            check_shape(name, other, array.shape)
    for a in (array, *others.values()):
        if a is not None and not is_plain(a):
            raise ValueError(
                f"an array {tuple(a.shape)} that is to be changed in place is a view with gaps or in another order; "
                f"give the array that it was taken from, or a copy"
            )
