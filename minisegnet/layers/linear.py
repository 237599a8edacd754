"""The fully connected layer, Flatten in front of it, and Identity."""

import math
from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for
from kernels.shapes import check_shape

from ..core import Layer, check_int
from .conv import starting_weights


class LinearSaved(NamedTuple):
    x: np.ndarray


class Linear(Layer):
    """Fully connected layer: every output sees every input.

    Forward:   y[n,o] = b[o] + Σ_i x[n,i] * w[o,i],   y = x wᵀ + b
    Backward:  dx[n,i] = Σ_o dy[n,o] * w[o,i],        dx = dy w
               dw[o,i] = Σ_n dy[n,o] * x[n,i],        dw = dyᵀ x, a sum of outer products
               db[o]   = Σ_n dy[n,o]

    Shapes: x (..., I) to y (..., O); weight (O, I), bias (O,). Initial weights uniform within ±1/sqrt(I).
    Raises ValueError or TypeError for a bad argument, ShapeError for an input that doesn't fit.
    Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (1986).

    >>> fc = Linear(2, 1, rng=0)
    >>> fc.weight.value[:], fc.bias.value[:] = [[3, 4]], [1]
    >>> y, saved = fc.forward(np.array([[1, 2]], np.float32))
    >>> y, fc.backward(np.array([[10]], np.float32), saved), fc.weight.grad
    (array([[12.]], dtype=float32), array([[30., 40.]], dtype=float32), array([[10., 20.]], dtype=float32))
    """

    def __init__(self, in_features, out_features, bias=True, rng=None, dtype=np.float32):
        self.in_features = check_int("in_features", in_features)
        self.out_features = check_int("out_features", out_features)
        w_shape = (self.out_features, self.in_features)
        self.weight, self.bias = starting_weights(w_shape, self.out_features, bias, rng, dtype)

    def forward(self, x):
        b = None if self.bias is None else self.bias.value
        return ops_for(x).linear_forward(x, self.weight.value, b), LinearSaved(x)

    def backward(self, dy, saved):
        (x,) = self.check_saved(saved, LinearSaved)
        check_shape("the saved x", x, (*x.shape[:-1], self.in_features))
        ops, w = ops_for(dy), self.weight.value
        # forward: y = x wᵀ + b
        dx = ops.linear_backward_input(dy, w)
        self.weight.add_grad(ops.linear_backward_weight(dy, x))
        if self.bias is not None:
            self.bias.add_grad(ops.linear_backward_bias(dy))
        return dx

    def multiply_adds(self, x_shape, y_shape):
        return math.prod(y_shape) * self.in_features

    def config(self):
        return f"{self.in_features}, {self.out_features}" + ("" if self.bias is not None else ", bias=False")


class FlattenSaved(NamedTuple):
    x_shape: tuple


class Flatten(Layer):
    """All axes from start_dim on as one: what stands between convolutions and a Linear layer.

    Forward:   y = x, reshaped (N, C, H, W) to (N, C*H*W)
    Backward:  dx = dy, reshaped back

    >>> Flatten()(np.zeros((2, 3, 4, 5))).shape
    (2, 60)
    """

    def __init__(self, start_dim=1):
        self.start_dim = check_int("start_dim", start_dim, 0)

    def forward(self, x):
        return x.reshape(self.y_shape(x.shape)), FlattenSaved(x.shape)

    def backward(self, dy, saved):
        (x_shape,) = self.check_saved(saved, FlattenSaved)
        if dy.shape != self.y_shape(x_shape):
            raise ShapeError(f"dy has shape {dy.shape}, expected {self.y_shape(x_shape)}")
        return dy.reshape(x_shape)

    def y_shape(self, x_shape):
        """x's shape with the axes from start_dim on multiplied together."""
        if len(x_shape) <= self.start_dim:
            raise ShapeError(f"x has shape {x_shape}, expected more than start_dim={self.start_dim} axes")
        return (*x_shape[: self.start_dim], math.prod(x_shape[self.start_dim :]))

    def config(self):
        return "" if self.start_dim == 1 else f"start_dim={self.start_dim}"


class IdentitySaved(NamedTuple):
    pass


class Identity(Layer):
    """Passes its input on: the short way round in Sum (a residual block) and Concat (a U-Net skip).

    Forward:   y = x
    Backward:  dx = dy

    >>> Identity()(np.ones(2))
    array([1., 1.])
    """

    def forward(self, x):
        return x, IdentitySaved()

    def backward(self, dy, saved):
        self.check_saved(saved, IdentitySaved)
        return dy
