"""Exercise max-pool: the winner takes it all.   (tutorial 03_pooling)

Forward is given. Each output pixel is the largest of a window of kernel_size x kernel_size pixels (k for short):

    y[n,c,i,j] = max over r,s of x[n, c, i*stride + r, j*stride + s],   r, s = 0 .. k-1

Shapes: x (N, C, H, W), y and dy (N, C, H', W') with H' = (H - k)//stride + 1. If stride is smaller than k the windows
overlap.

You write backward. It gets dy[n,c,i,j] = dL/dy[n,c,i,j] and returns dx[n,c,a,b] = dL/dx[n,c,a,b], of the shape of x.
If several pixels of a window are equal and largest, the first of them (row by row) counts as the winner.

Check it:   minisegnet exercise check max_pool.py             (or run this file)
Stuck?      minisegnet exercise check max_pool.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "max-pool"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


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
                window = x[:, :, i * s : i * s + k, j * s : j * s + k]
                y[:, :, i, j] = window.max(axis=(2, 3))
        return y, Saved(x)

    def backward(self, dy, saved):
        x, k, s = saved.x, self.kernel_size, self.stride
        # forward: y[n,c,i,j] = max over r,s of x[n, c, i*stride + r, j*stride + s]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
