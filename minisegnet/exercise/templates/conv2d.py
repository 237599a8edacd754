"""Exercise conv2d: the backward pass of a convolution.   (tutorial 02_convolution_backward)

Forward is given. With xp = x with `padding` rows and columns of zeros on each side:

    y[n,o,i,j] = b[o] + sum over c,r,s of w[o,c,r,s] * xp[n, c, i*stride + r, j*stride + s]

n: picture, o: output channel, c: input channel, i, j: output pixel, r, s: place in the kernel.
Shapes: x (N, C, H, W), w (O, C, kH, kW), b (O,), y and dy (N, O, H', W') with H' = (H + 2*padding - kH)//stride + 1.

You write backward. It gets dy[n,o,i,j] = dL/dy[n,o,i,j] and has to find three gradients, each as large as what it
belongs to:

    db   dL/db[o],         added to self.bias.grad       (+= and not =: a layer may be used twice in a net)
    dw   dL/dw[o,c,r,s],   added to self.weight.grad
    dx   dL/dx[n,c,a,b],   returned

y is a sum of products w*x. So the derivative by w has x in it, and the derivative by x has w in it: the whole
difficulty is the indices. Loops as in forward are welcome; the check uses small pictures.

Check it:   minisegnet exercise check conv2d.py             (or run this file)
Stuck?      minisegnet exercise check conv2d.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "conv2d"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


def pad(x, p):
    """x with p rows and columns of zeros on each side."""
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))


class Conv2d(Layer):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, rng=None):
        self.stride, self.padding = stride, padding
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        w = as_rng(rng).normal(size=shape) / np.sqrt(in_channels * kernel_size**2)
        self.weight = Parameter(w.astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32))

    def forward(self, x):
        w, b, s = self.weight.value, self.bias.value, self.stride
        xp = pad(x, self.padding)
        O, _, kH, kW = w.shape
        rows, cols = (xp.shape[2] - kH) // s + 1, (xp.shape[3] - kW) // s + 1
        y = np.zeros((len(x), O, rows, cols), x.dtype)
        for i in range(rows):
            for j in range(cols):
                window = xp[:, :, i * s : i * s + kH, j * s : j * s + kW]  # (N, C, kH, kW)
                for o in range(O):
                    y[:, o, i, j] = b[o] + (w[o] * window).sum(axis=(1, 2, 3))
        return y, Saved(x)

    def backward(self, dy, saved):
        x, w, s, p = saved.x, self.weight.value, self.stride, self.padding
        # forward: y[n,o,i,j] = b[o] + sum over c,r,s of w[o,c,r,s] * xp[n, c, i*stride + r, j*stride + s]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
