"""Exercise transposed-conv: stamping a kernel, and reading it back.   (tutorial 09_upsampling)

Forward is given. Every input pixel stamps the kernel, times its value, onto a larger picture yp; where stamps overlap
they add up. At the end `padding` rows and columns are cut off on each side:

    yp[n, o, i*stride + r, j*stride + s] += x[n,c,i,j] * w[c,o,r,s]    for all n, o, c, i, j, r, s
    y[n,o,a,b] = b[o] + yp[n, o, a + padding, b + padding]

Shapes: x (N, C, H, W), w (C, O, kH, kW), b (O,), y and dy (N, O, H', W') with H' = (H-1)*stride + kH - 2*padding.

You write backward. It gets dy[n,o,a,b] = dL/dy[n,o,a,b] and has to find three gradients, each as large as what it
belongs to:

    db   dL/db[o],         added to self.bias.grad       (+= and not =: a layer may be used twice in a net)
    dw   dL/dw[c,o,r,s],   added to self.weight.grad
    dx   dL/dx[n,c,i,j],   returned

Check it:   minisegnet exercise check transposed_conv.py             (or run this file)
Stuck?      minisegnet exercise check transposed_conv.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "transposed-conv"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


class ConvTranspose2d(Layer):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, rng=None):
        self.stride, self.padding = stride, padding
        shape = (in_channels, out_channels, kernel_size, kernel_size)
        w = as_rng(rng).normal(size=shape) / np.sqrt(in_channels * kernel_size**2)
        self.weight = Parameter(w.astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32))

    def forward(self, x):
        w, b, s, p = self.weight.value, self.bias.value, self.stride, self.padding
        N, C, H, W = x.shape
        _, O, kH, kW = w.shape
        yp = np.zeros((N, O, (H - 1) * s + kH, (W - 1) * s + kW), x.dtype)
        for i in range(H):
            for j in range(W):
                for c in range(C):
                    stamp = x[:, c, i, j][:, None, None, None] * w[c]  # (N, O, kH, kW)
                    yp[:, :, i * s : i * s + kH, j * s : j * s + kW] += stamp
        y = yp[:, :, p : yp.shape[2] - p, p : yp.shape[3] - p] + b[:, None, None]
        return y, Saved(x)

    def backward(self, dy, saved):
        x, w, s, p = saved.x, self.weight.value, self.stride, self.padding
        # forward: yp[n, o, i*stride + r, j*stride + s] += x[n,c,i,j] * w[c,o,r,s], then the padding is cut off
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
