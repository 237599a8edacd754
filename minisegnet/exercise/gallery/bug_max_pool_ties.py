"""Exercise bug-max-pool-ties: find the bug and repair it.

A max pool. Of several equal maxima in a window the first one, row by row, is the winner and gets all of dy:

    y[n,c,i,j] = max over r,s of x[n, c, i*stride + r, j*stride + s]

Someone trained a net with this layer behind a ReLU. It learned, but its gradients were larger than they should be.

Check it:   minisegnet exercise check bug_max_pool_ties.py             (or run this file)
Stuck?      minisegnet exercise check bug_max_pool_ties.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bug-max-pool-ties"


class Saved(NamedTuple):
    x: np.ndarray
    y: np.ndarray


class MaxPool2d(Layer):
    def __init__(self, kernel_size, stride):
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x):
        N, C, H, W = x.shape
        k, s = self.kernel_size, self.stride
        rows, cols = (H - k) // s + 1, (W - k) // s + 1
        y = np.zeros((N, C, rows, cols), x.dtype)
        for i in range(rows):
            for j in range(cols):
                y[:, :, i, j] = x[:, :, i * s : i * s + k, j * s : j * s + k].max(axis=(2, 3))
        return y, Saved(x, y)

    def backward(self, dy, saved):
        (x, y), k, s = saved, self.kernel_size, self.stride
        dx = np.zeros_like(x)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                rows, cols = slice(i * s, i * s + k), slice(j * s, j * s + k)
                winners = x[:, :, rows, cols] == y[:, :, i, j][:, :, None, None]
                dx[:, :, rows, cols] += winners * dy[:, :, i, j][:, :, None, None]
        return dx


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
