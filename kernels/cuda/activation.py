"""Functions applied to each element by itself, and dropout: one thread for each element.

Such a kernel computes next to nothing: its time is that of reading and writing each element once. So what counts is
that neighbouring threads own neighbouring elements, whose reads the GPU then joins into one.
"""

import math

from numba import cuda

from ..shapes import check_shape, same_dtype
from .arrays import check_device, empty_like, flat, plain
from .launch import THREADS, blocks, kernel, launch


def element_by_element(kernel, *arrays, numbers=()):
    """A new array y of the first array's shape, from kernel(y, *arrays, *numbers), all as one axis."""
    y = empty_like(arrays[0])
    launch(kernel, blocks(y.size), THREADS, flat(y), *(flat(plain(array)) for array in arrays), *numbers)
    return y


def check_forward(x):
    check_device(x=x)
    return same_dtype(x=x)


def check_backward(dy, **saved):
    """dy and the one array that forward saved have to be alike."""
    ((name, array),) = saved.items()
    check_device(dy=dy, **saved)
    dtype = same_dtype(dy=dy, **saved)
    check_shape("dy", dy, array.shape)
    return dtype


# ------------------------------------------------------------------ ReLU


def relu_forward(x):
    check_forward(x)
    return element_by_element(relu, x)


@kernel
def relu(y, x):
    i = cuda.grid(1)
    if i < y.size:
        value = x[i]
        y[i] = x.dtype.type(0) if value <= 0 else value  # a NaN is not <= 0, so it stays


def relu_backward(dy, y):
    check_backward(dy, y=y)
    return element_by_element(relu_gradient, dy, y)


@kernel
def relu_gradient(dx, dy, y):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy.dtype.type(0) if y[i] <= 0 else dy[i]  # y > 0 exactly where x > 0


def leaky_relu_forward(x, slope):
    dtype = check_forward(x)
    return element_by_element(leaky_relu, x, numbers=[dtype.type(slope)])


@kernel
def leaky_relu(y, x, slope):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] if x[i] > 0 else slope * x[i]


def leaky_relu_backward(dy, x, slope):
    dtype = check_backward(dy, x=x)
    return element_by_element(leaky_relu_gradient, dy, x, numbers=[dtype.type(slope)])


@kernel
def leaky_relu_gradient(dx, dy, x, slope):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy[i] if x[i] > 0 else slope * dy[i]


# ------------------------------------------------------------------ curves that end in two levels


def sigmoid_forward(x):
    check_forward(x)
    return element_by_element(sigmoid, x)


@kernel
def sigmoid(y, x):
    i = cuda.grid(1)
    if i < y.size:
        one = x.dtype.type(1)
        e = math.exp(-abs(x[i]))  # at most 1, so nothing overflows
        y[i] = (one if x[i] >= 0 else e) / (one + e)


def sigmoid_backward(dy, y):
    check_backward(dy, y=y)
    return element_by_element(sigmoid_gradient, dy, y)


@kernel
def sigmoid_gradient(dx, dy, y):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy[i] * y[i] * (dy.dtype.type(1) - y[i])


def tanh_forward(x):
    check_forward(x)
    return element_by_element(tanh, x)


@kernel
def tanh(y, x):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = math.tanh(x[i])


def tanh_backward(dy, y):
    check_backward(dy, y=y)
    return element_by_element(tanh_gradient, dy, y)


@kernel
def tanh_gradient(dx, dy, y):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy[i] * (dy.dtype.type(1) - y[i] * y[i])


# ------------------------------------------------------------------ dropout


def dropout_forward(x, keep, scale):
    dtype = check_forward(x)
    check_device(keep=keep)
    check_shape("keep", keep, x.shape)
    return element_by_element(kept, x, keep, numbers=[dtype.type(scale)])


def dropout_backward(dy, keep, scale):
    check_device(dy=dy, keep=keep)
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, keep.shape)
    return element_by_element(kept, dy, keep, numbers=[dtype.type(scale)])  # forward: y = x*scale where kept


@kernel
def kept(y, x, keep, scale):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] * scale if keep[i] else x.dtype.type(0)
