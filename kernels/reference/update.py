"""Optimiser updates: the only ops that change what they are given.

Sources: Sutskever et al., On the importance of initialization and momentum (2013); Kingma and Ba, Adam (2015);
Loshchilov and Hutter, Decoupled weight decay regularization (2019).
"""

import numpy as np

from ..shapes import check_shape, same_dtype


def sgd_update(value, grad, velocity, lr, momentum, weight_decay, nesterov):
    same_dtype(value=value, grad=grad, velocity=velocity)
    check_shape("grad", grad, value.shape)
    g = grad + weight_decay * value if weight_decay else grad
    if velocity is not None:
        velocity *= momentum
        velocity += g
        g = g + momentum * velocity if nesterov else velocity
    value -= lr * g


def adam_update(value, grad, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled):
    same_dtype(value=value, grad=grad, m=m, v=v)
    check_shape("grad", grad, value.shape)
    g = grad
    if weight_decay and decoupled:
        value *= 1 - lr * weight_decay
    elif weight_decay:
        g = grad + weight_decay * value
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    # m and v started at zero; dividing by 1 - beta^step takes that pull towards zero out of both means
    unbiased_m, unbiased_v = m / (1 - beta1**step), v / (1 - beta2**step)
    value -= lr * unbiased_m / (np.sqrt(unbiased_v) + eps)
