"""Functions applied to each element by itself, and dropout."""

import numpy as np

from ..shapes import check_shape, same_dtype


def relu_forward(x):
    same_dtype(x=x)
    return np.maximum(x, 0)  # np.maximum keeps NaN


def relu_backward(dy, y):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    return np.where(y <= 0, 0, dy)  # y > 0 exactly where x > 0; a NaN lets dy pass, as in PyTorch


def leaky_relu_forward(x, slope):
    same_dtype(x=x)
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(dy, x, slope):
    same_dtype(dy=dy, x=x)
    check_shape("dy", dy, x.shape)
    return np.where(x > 0, dy, slope * dy)


def sigmoid_forward(x):
    same_dtype(x=x)
    e = np.exp(-np.abs(x))  # at most 1, so nothing overflows
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy, y):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    return dy * y * (1 - y)


def tanh_forward(x):
    same_dtype(x=x)
    return np.tanh(x)


def tanh_backward(dy, y):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    return dy * (1 - y * y)


def dropout_forward(x, keep, scale):
    same_dtype(x=x)
    check_shape("keep", keep, x.shape)
    return np.where(keep, x * scale, 0)


def dropout_backward(dy, keep, scale):
    same_dtype(dy=dy)
    check_shape("dy", dy, keep.shape)
    return np.where(keep, dy * scale, 0)  # forward: y = x*scale where kept
