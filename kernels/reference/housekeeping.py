"""What layers, losses and optimisers do with whole arrays; see the end of `kernels.table`."""

import numpy as np


def to_host(array):
    return array.copy()


def from_host(array):
    return array.copy()


def zeros_like(array):
    return np.zeros_like(array)


def assign(target, source):
    target[...] = source


def add_into(total, array):
    total += array


def scale(array, factor):
    array *= factor


def multiply_into(array, factors):
    array *= factors


def add_sign_into(total, array, factor):
    total += array.dtype.type(factor) * np.sign(array)


def nonzero(array):
    return (array != 0).astype(array.dtype)


def total(array):
    return float(array.sum(dtype=np.float64))


def weighted_total(losses, target, weight, ignore_index):
    valid = target != ignore_index
    weights = valid if weight is None else np.where(valid, weight[np.where(valid, target, 0)], 0)
    return total(losses), float(weights.sum(dtype=np.float64))


def sum_of_squares(arrays):
    return sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)


def dropout_mask(shape, p, rng):
    return rng.random(shape, np.float32) >= p


def batch_norm_running(running_mean, running_var, mean, var, momentum, count):
    dtype, keep, unbiased = running_mean.dtype, 1 - momentum, var * (count / (count - 1))
    new_mean, new_var = keep * running_mean + momentum * mean, keep * running_var + momentum * unbiased
    return new_mean.astype(dtype), new_var.astype(dtype)
