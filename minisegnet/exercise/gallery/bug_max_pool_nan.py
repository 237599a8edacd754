"""Exercise bug-max-pool-nan: find the bug and repair it.

A max pool. NaN ("not a number") is what a computation gives that went wrong. Where there is a NaN in a window the
result has to be NaN, so that it is noticed:

    y[n,c,i,j] = max over r,s of x[n, c, i*stride + r, j*stride + s],   NaN if one of them is NaN

Someone's net had gone wrong in its first layer for weeks, and nobody saw it behind this pool.

Check it:   minisegnet exercise check bug_max_pool_nan.py             (or run this file)
Stuck?      minisegnet exercise check bug_max_pool_nan.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bug-max-pool-nan"


class Saved(NamedTuple):
    row: np.ndarray  # where the winner of each window is
    col: np.ndarray
    x_shape: tuple


class MaxPool2d(Layer):
    def __init__(self, kernel_size, stride):
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, x):
        N, C, H, W = x.shape
        k, s = self.kernel_size, self.stride
        rows, cols = (H - k) // s + 1, (W - k) // s + 1
        y = np.full((N, C, rows, cols), -np.inf, x.dtype)
        row, col = np.zeros(y.shape, int), np.zeros(y.shape, int)
        for n, c, i, j in np.ndindex(y.shape):
            row[n, c, i, j], col[n, c, i, j] = i * s, j * s
            for a in range(i * s, i * s + k):
                for b in range(j * s, j * s + k):
                    if x[n, c, a, b] > y[n, c, i, j]:
                        y[n, c, i, j], row[n, c, i, j], col[n, c, i, j] = x[n, c, a, b], a, b
        return y, Saved(row, col, x.shape)

    def backward(self, dy, saved):
        row, col, x_shape = saved
        dx = np.zeros(x_shape, dy.dtype)
        for n, c, i, j in np.ndindex(dy.shape):
            dx[n, c, row[n, c, i, j], col[n, c, i, j]] += dy[n, c, i, j]
        return dx


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
