"""Exercise average-pool: each pixel gets its share.   (tutorial 03_pooling)

Forward is given. Each output pixel is the mean of a window of kernel_size x kernel_size pixels (k for short):

    y[n,c,i,j] = 1/(k*k) * sum over r,s of x[n, c, i*stride + r, j*stride + s],   r, s = 0 .. k-1

Shapes: x (N, C, H, W), y and dy (N, C, H', W') with H' = (H - k)//stride + 1. If stride is smaller than k the windows
overlap; if it is larger some pixels are in no window.

You write backward. It gets dy[n,c,i,j] = dL/dy[n,c,i,j] and returns dx[n,c,a,b] = dL/dx[n,c,a,b], of the shape of x.

Check it:   minisegnet exercise check average_pool.py             (or run this file)
Stuck?      minisegnet exercise check average_pool.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "average-pool"


class Saved(NamedTuple):
    x_shape: tuple  # what forward keeps for backward: a mean is linear, so its gradient depends on no value of x


class AvgPool2d(Layer):
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
                y[:, :, i, j] = window.mean(axis=(2, 3))
        return y, Saved(x.shape)

    def backward(self, dy, saved):
        x_shape, k, s = saved.x_shape, self.kernel_size, self.stride
        # forward: y[n,c,i,j] = 1/(k*k) * sum over r,s of x[n, c, i*stride + r, j*stride + s]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
