"""Exercise bilinear-upsampling: each dy is shared out by the same weights.   (tutorial 09_upsampling)

Forward is given. It makes a picture `factor` times as large. Rows and columns are treated one after the other; along
one axis, output i lies at place[i] between two input pixels and is a mean of them:

    place[i] = (i + 1/2)/factor - 1/2, but at least 0       low[i] = place[i] rounded down, high[i] = low[i] + 1
    y[i] = (1 - t[i]) * x[low[i]] + t[i] * x[high[i]]       t[i] = place[i] - low[i]

(At the end of the row, high stays on the last pixel.) First the rows: h from x, then the columns: y from h.
Shapes: x (N, C, H, W), h (N, C, H*factor, W), y and dy (N, C, H*factor, W*factor).

You write backward. It gets dy and returns dx[n,c,a,b] = dL/dx[n,c,a,b], of the shape of x.

Check it:   minisegnet exercise check bilinear_upsampling.py             (or run this file)
Stuck?      minisegnet exercise check bilinear_upsampling.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bilinear-upsampling"


class Saved(NamedTuple):
    x_shape: tuple  # what forward keeps for backward: the weights depend on no value of x


def places(size, factor):
    """low, high and t for each of size*factor outputs."""
    place = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = place.astype(int)
    return low, np.minimum(low + 1, size - 1), place - low


class BilinearUpsample(Layer):
    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        N, C, H, W = x.shape
        h = np.zeros((N, C, H * self.factor, W), x.dtype)
        for i, (low, high, t) in enumerate(zip(*places(H, self.factor), strict=True)):
            h[:, :, i, :] = (1 - t) * x[:, :, low, :] + t * x[:, :, high, :]
        y = np.zeros((N, C, H * self.factor, W * self.factor), x.dtype)
        for j, (low, high, t) in enumerate(zip(*places(W, self.factor), strict=True)):
            y[:, :, :, j] = (1 - t) * h[:, :, :, low] + t * h[:, :, :, high]
        return y, Saved(x.shape)

    def backward(self, dy, saved):
        (N, C, H, W), factor = saved.x_shape, self.factor
        # forward: along each axis y[i] = (1 - t[i]) * x[low[i]] + t[i] * x[high[i]], rows first
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
