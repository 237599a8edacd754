"""Exercise batchnorm: three ways back.   (tutorial 11_deep_nets_learn)

Forward is given, in training mode and without running statistics. For each channel c, over its m = N*H*W values:

    mean = sum of x / m,   var = sum of (x - mean)^2 / m
    xhat = (x - mean) / sqrt(var + eps)
    y    = weight[c] * xhat + bias[c]

Shapes: x, xhat, y and dy (N, C, H, W), weight, bias, mean and var (C,).

You write backward. It gets dy[n,c,i,j] = dL/dy[n,c,i,j] and has to find three gradients:

    dbias     dL/dbias[c],       added to self.bias.grad       (+= and not =: a layer may be used twice in a net)
    dweight   dL/dweight[c],     added to self.weight.grad
    dx        dL/dx[n,c,i,j],    returned

One x acts on every y of its channel, because mean and var depend on it. That is the difficulty.

Check it:   minisegnet exercise check batchnorm.py             (or run this file)
Stuck?      minisegnet exercise check batchnorm.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter

EXERCISE = "batchnorm"


class Saved(NamedTuple):
    xhat: np.ndarray  # what forward keeps for backward
    std: np.ndarray  # sqrt(var + eps), (C,)


class BatchNorm2d(Layer):
    def __init__(self, num_features, eps=1e-5):
        self.eps = eps
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))

    def forward(self, x):
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        std = np.sqrt(var + self.eps)
        xhat = (x - mean[:, None, None]) / std[:, None, None]  # (C, 1, 1): one number per channel
        y = self.weight.value[:, None, None] * xhat + self.bias.value[:, None, None]
        return y, Saved(xhat, std)

    def backward(self, dy, saved):
        (xhat, std), w = saved, self.weight.value
        # forward: y = weight[c] * xhat + bias[c], xhat = (x - mean) / sqrt(var + eps)
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
