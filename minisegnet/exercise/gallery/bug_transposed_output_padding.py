"""Exercise bug-transposed-output-padding: find the bug and repair it.

A transposed convolution. Every input pixel stamps the kernel, times its value, onto yp; then `padding` rows and columns
are cut off on each side, except that at the bottom and right `output_padding` of them are kept:

    yp[n, o, i*stride + r, j*stride + s] += x[n,c,i,j] * w[c,o,r,s]
    y[n,o,a,b] = b[o] + yp[n, o, a + padding, b + padding],   0 <= a < (H-1)*stride + kH - 2*padding + output_padding

Someone's decoder drew a dark line at the bottom and at the right of every mask.

Check it:   minisegnet exercise check bug_transposed_output_padding.py             (or run this file)
Stuck?      minisegnet exercise check bug_transposed_output_padding.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "bug-transposed-output-padding"


class Saved(NamedTuple):
    x: np.ndarray


class ConvTranspose2d(Layer):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, rng=None):
        self.stride, self.padding, self.output_padding = stride, padding, output_padding
        shape = (in_channels, out_channels, kernel_size, kernel_size)
        self.weight = Parameter(as_rng(rng).normal(size=shape).astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32))

    def window(self, i, j):
        """Where input pixel (i, j) stamps."""
        s, k = self.stride, self.weight.shape[2]
        return slice(i * s, i * s + k), slice(j * s, j * s + k)

    def forward(self, x):
        w, s, p, extra = self.weight.value, self.stride, self.padding, self.output_padding
        N, C, H, W = x.shape
        k = w.shape[2]
        yp = np.zeros((N, w.shape[1], (H - 1) * s + k, (W - 1) * s + k), x.dtype)
        for i, j in np.ndindex(H, W):
            rows, cols = self.window(i, j)
            yp[:, :, rows, cols] += np.einsum("nc,cors->nors", x[:, :, i, j], w)
        y = yp[:, :, p : yp.shape[2] - p, p : yp.shape[3] - p] + self.bias.value[:, None, None]
        y = np.pad(y, ((0, 0), (0, 0), (0, extra), (0, extra)))
        return y, Saved(x)

    def backward(self, dy, saved):
        x, w, p, extra = saved.x, self.weight.value, self.padding, self.output_padding
        dy = dy[:, :, : dy.shape[2] - extra, : dy.shape[3] - extra]
        self.bias.grad += dy.sum(axis=(0, 2, 3))
        dyp = np.pad(dy, ((0, 0), (0, 0), (p, p), (p, p)))
        dx = np.zeros_like(x)
        for i, j in np.ndindex(x.shape[2:]):
            rows, cols = self.window(i, j)
            dx[:, :, i, j] = np.einsum("nors,cors->nc", dyp[:, :, rows, cols], w)
            self.weight.grad += np.einsum("nc,nors->cors", x[:, :, i, j], dyp[:, :, rows, cols])
        return dx


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
