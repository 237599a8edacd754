"""Exercise bug-average-pool-border: find the bug and repair it.

An average pool in one direction, along rows of L pixels. The output size is rounded up, so that the last window may
hang over the end of the row; it is the mean of those pixels that are there:

    y[n,c,i] = mean of x[n, c, i*stride + r] over r = 0 .. k-1, as far as the row goes

Someone's net learned something odd at the right border of its pictures, and only there.

Check it:   minisegnet exercise check bug_average_pool_border.py             (or run this file)
Stuck?      minisegnet exercise check bug_average_pool_border.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bug-average-pool-border"


class Saved(NamedTuple):
    x_shape: tuple


class AvgPool1d(Layer):
    def __init__(self, kernel_size, stride):
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x):
        N, C, L = x.shape
        k, s = self.kernel_size, self.stride
        count = -(-(L - k) // s) + 1  # rounded up
        y = np.zeros((N, C, count), x.dtype)
        for i in range(count):
            y[:, :, i] = x[:, :, i * s : i * s + k].mean(axis=2)
        return y, Saved(x.shape)

    def backward(self, dy, saved):
        k, s = self.kernel_size, self.stride
        dx = np.zeros(saved.x_shape, dy.dtype)
        for i in range(dy.shape[2]):
            dx[:, :, i * s : i * s + k] += dy[:, :, i : i + 1] / k
        return dx


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
