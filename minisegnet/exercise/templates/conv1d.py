"""Exercise conv1d: a convolution of one row of pixels.   (tutorial 02_convolution_backward)

Forward is given. A window of k pixels slides along the row; each output is the sum of its pixels, times the weights:

    y[n,i] = b + sum over r of w[r] * x[n, i+r],   r = 0 .. k-1,  i = 0 .. L-k

Shapes: x (N, L), w (k,), b (1,), y and dy (N, L-k+1). (Strictly speaking it is a cross-correlation: the kernel is not
turned round.)

You write backward. It gets dy[n,i] = dL/dy[n,i] and has to find three gradients, each as large as what it belongs to:

    db   dL/db,        added to self.bias.grad       (+= and not =: a layer may be used twice in a net)
    dw   dL/dw[r],     added to self.weight.grad
    dx   dL/dx[n,a],   returned

A pixel x[n,a] stands in several outputs. In which, and what is it multiplied by in each? Do it by hand for k = 2 first.

Check it:   minisegnet exercise check conv1d.py             (or run this file)
Stuck?      minisegnet exercise check conv1d.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "conv1d"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


class Conv1d(Layer):
    def __init__(self, kernel_size, rng=None):
        self.weight = Parameter(as_rng(rng).normal(size=kernel_size).astype(np.float32))
        self.bias = Parameter(np.zeros(1, np.float32))

    def forward(self, x):
        w, b = self.weight.value, self.bias.value
        k, (N, L) = len(w), x.shape
        y = np.zeros((N, L - k + 1), x.dtype)
        for i in range(L - k + 1):
            for r in range(k):
                y[:, i] += w[r] * x[:, i + r]
        return y + b, Saved(x)

    def backward(self, dy, saved):
        x, w = saved.x, self.weight.value
        # forward: y[n,i] = b + sum over r of w[r] * x[n, i+r]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
