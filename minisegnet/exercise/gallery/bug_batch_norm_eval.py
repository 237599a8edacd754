"""Exercise bug-batch-norm-eval: find the bug and repair it.

Batch normalisation. In training each channel is normalised with the batch's own mean and variance; in eval mode with
the running ones, which were estimated before:

    training:  y = weight * (x - mean) / sqrt(var + eps) + bias,   mean and var of this batch
    eval:      y = weight * (x - running_mean) / sqrt(running_var + eps) + bias

Someone went on training a net on very few pictures, with its normalisation frozen in eval mode, as one does then. It
would not learn.

Check it:   minisegnet exercise check bug_batch_norm_eval.py             (or run this file)
Stuck?      minisegnet exercise check bug_batch_norm_eval.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter

EXERCISE = "bug-batch-norm-eval"


class Saved(NamedTuple):
    xhat: np.ndarray
    std: np.ndarray
    training: bool


class BatchNorm2d(Layer):
    buffers = ("running_mean", "running_var")  # belong to the layer, but are not trained

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean, self.running_var = np.zeros(num_features, np.float32), np.ones(num_features, np.float32)

    def forward(self, x):
        if self.training:
            mean, var, m = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3)), x.size // x.shape[1]
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            self.running_var = self.running_var + self.momentum * (var * m / (m - 1) - self.running_var)
        else:
            mean, var = self.running_mean, self.running_var
        std = np.sqrt(var + self.eps)
        xhat = (x - mean[:, None, None]) / std[:, None, None]
        y = self.weight.value[:, None, None] * xhat + self.bias.value[:, None, None]
        return y, Saved(xhat, std, self.training)

    def backward(self, dy, saved):
        xhat, std, _ = saved
        m = dy.size // dy.shape[1]
        dbias, dweight = dy.sum(axis=(0, 2, 3)), (dy * xhat).sum(axis=(0, 2, 3))
        self.bias.grad += dbias
        self.weight.grad += dweight
        centred = dy - dbias[:, None, None] / m - xhat * dweight[:, None, None] / m
        return (self.weight.value / std)[:, None, None] * centred


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
