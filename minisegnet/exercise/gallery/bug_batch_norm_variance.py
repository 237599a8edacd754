"""Exercise bug-batch-norm-variance: find the bug and repair it.

Batch normalisation in training. For each channel, over its m = N*H*W values:

    mean = sum of x / m,   var = sum of (x - mean)^2 / m,   y = weight * (x - mean) / sqrt(var + eps) + bias

Besides, it estimates mean and variance of all data, for eval mode. For data of which a batch is a sample, the unbiased
estimate of the variance is sum of (x - mean)^2 / (m - 1):

    running_mean += momentum * (mean - running_mean)
    running_var  += momentum * (unbiased variance - running_var)

Someone's net was a little worse in eval mode than in training; with batches of two small pictures, much worse.

Check it:   minisegnet exercise check bug_batch_norm_variance.py             (or run this file)
Stuck?      minisegnet exercise check bug_batch_norm_variance.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter

EXERCISE = "bug-batch-norm-variance"


class Saved(NamedTuple):
    xhat: np.ndarray
    std: np.ndarray


class BatchNorm2d(Layer):
    buffers = ("running_mean", "running_var")  # belong to the layer, but are not trained

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter(np.ones(num_features, np.float32))
        self.bias = Parameter(np.zeros(num_features, np.float32))
        self.running_mean, self.running_var = np.zeros(num_features, np.float32), np.ones(num_features, np.float32)

    def forward(self, x):
        mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
        self.running_var = self.running_var + self.momentum * (var - self.running_var)
        std = np.sqrt(var + self.eps)
        xhat = (x - mean[:, None, None]) / std[:, None, None]
        return self.weight.value[:, None, None] * xhat + self.bias.value[:, None, None], Saved(xhat, std)

    def backward(self, dy, saved):
        xhat, std = saved
        m = dy.size // dy.shape[1]
        dbias, dweight = dy.sum(axis=(0, 2, 3)), (dy * xhat).sum(axis=(0, 2, 3))
        self.bias.grad += dbias
        self.weight.grad += dweight
        centred = dy - dbias[:, None, None] / m - xhat * dweight[:, None, None] / m
        return (self.weight.value / std)[:, None, None] * centred


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
