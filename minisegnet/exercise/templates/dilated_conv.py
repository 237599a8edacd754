"""Exercise dilated-conv: a kernel with holes.   (tutorial 10_from_fcn_to_deeplab)

Forward is given. It is a convolution with stride 1 whose kernel looks at every dilation-th pixel only, so that a few
weights see far. With xp = x with `padding` rows and columns of zeros on each side:

    y[n,o,i,j] = b[o] + sum over c,r,s of w[o,c,r,s] * xp[n, c, i + r*dilation, j + s*dilation]

n: picture, o: output channel, c: input channel, i, j: output pixel, r, s: place in the kernel.
Shapes: x (N, C, H, W), w (O, C, kH, kW), b (O,), y and dy (N, O, H', W') with H' = H + 2*padding - dilation*(kH-1).

You write backward, for the three gradients as in conv2d: db and dw are added to self.bias.grad and self.weight.grad,
dx is returned. If you have solved conv2d: which of its lines change?

Check it:   minisegnet exercise check dilated_conv.py             (or run this file)
Stuck?      minisegnet exercise check dilated_conv.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "dilated-conv"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


def pad(x, p):
    """x with p rows and columns of zeros on each side."""
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))


class Conv2d(Layer):
    def __init__(self, in_channels, out_channels, kernel_size, padding=0, dilation=1, rng=None):
        self.padding, self.dilation = padding, dilation
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        w = as_rng(rng).normal(size=shape) / np.sqrt(in_channels * kernel_size**2)
        self.weight = Parameter(w.astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32))

    def forward(self, x):
        w, b, d = self.weight.value, self.bias.value, self.dilation
        xp = pad(x, self.padding)
        O, _, kH, kW = w.shape
        rows, cols = xp.shape[2] - d * (kH - 1), xp.shape[3] - d * (kW - 1)
        y = np.zeros((len(x), O, rows, cols), x.dtype)
        for i in range(rows):
            for j in range(cols):
                window = xp[:, :, i : i + d * (kH - 1) + 1 : d, j : j + d * (kW - 1) + 1 : d]  # (N, C, kH, kW)
                for o in range(O):
                    y[:, o, i, j] = b[o] + (w[o] * window).sum(axis=(1, 2, 3))
        return y, Saved(x)

    def backward(self, dy, saved):
        x, w, d, p = saved.x, self.weight.value, self.dilation, self.padding
        # forward: y[n,o,i,j] = b[o] + sum over c,r,s of w[o,c,r,s] * xp[n, c, i + r*dilation, j + s*dilation]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F841
