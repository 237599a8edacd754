"""Exercise bug-bilinear-half-pixel: find the bug and repair it.

Bilinear upsampling along one axis, rows of L pixels that become `factor` times as long. Pixels are squares, and those
of the small picture cover the same area as those of the large one: so the centre of output i lies at

    place[i] = (i + 1/2)/factor - 1/2      in the small picture (not before its first, not after its last centre)

and y[i] = (1 - t) * x[low] + t * x[low + 1] with low = place[i] rounded down, t = place[i] - low.

Someone's masks sat a little too far to the left on the pictures. Nobody could say by how much, but training took it in
its stride.

Check it:   minisegnet exercise check bug_bilinear_half_pixel.py             (or run this file)
Stuck?      minisegnet exercise check bug_bilinear_half_pixel.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bug-bilinear-half-pixel"


class Saved(NamedTuple):
    x_shape: tuple


class BilinearUpsample1d(Layer):
    def __init__(self, factor):
        self.factor = factor

    def sources(self, size):
        """(low, high, t) of each output pixel."""
        for i in range(size * self.factor):
            place = min(i / self.factor, size - 1)
            low = int(place)
            yield low, min(low + 1, size - 1), place - low

    def forward(self, x):
        N, C, L = x.shape
        y = np.zeros((N, C, L * self.factor), x.dtype)
        for i, (low, high, t) in enumerate(self.sources(L)):
            y[:, :, i] = (1 - t) * x[:, :, low] + t * x[:, :, high]
        return y, Saved(x.shape)

    def backward(self, dy, saved):
        dx = np.zeros(saved.x_shape, dy.dtype)
        for i, (low, high, t) in enumerate(self.sources(saved.x_shape[2])):
            dx[:, :, low] += (1 - t) * dy[:, :, i]
            dx[:, :, high] += t * dy[:, :, i]
        return dx


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
