"""Exercise linear: the backward pass of the fully connected layer.   (tutorial 05_fully_connected)

Forward is given. Every output o of a sample n sees every input i of it:

    y[n,o] = b[o] + sum over i of x[n,i] * w[o,i]

Shapes: x (N, I), w (O, I), b (O,), y and dy (N, O).

You write backward. It gets dy[n,o] = dL/dy[n,o] and has to find three gradients, each as large as what it belongs to:

    db   dL/db[o],     added to self.bias.grad
    dw   dL/dw[o,i],   added to self.weight.grad
    dx   dL/dx[n,i],   returned

Added, `+=` and not `=`: a layer that stands twice in a net gets a gradient from each place.
Ask of each number: in which y does it stand, and what is it multiplied by there?

Check it:   minisegnet exercise check linear.py             (or run this file)
Stuck?      minisegnet exercise check linear.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "linear"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


class Linear(Layer):
    def __init__(self, in_features, out_features, rng=None):
        w = as_rng(rng).normal(size=(out_features, in_features)) / np.sqrt(in_features)
        self.weight = Parameter(w.astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def forward(self, x):
        w, b = self.weight.value, self.bias.value
        y = x @ w.T + b
        return y, Saved(x)

    def backward(self, dy, saved):
        x, w = saved.x, self.weight.value
        # forward: y[n,o] = b[o] + sum over i of x[n,i] * w[o,i]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
