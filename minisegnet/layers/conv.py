"""Convolution and transposed convolution."""

import math
from typing import NamedTuple

import numpy as np

from kernels import ops_for
from kernels.shapes import check_groups, check_output_padding, pads, pair

from ..core import Layer, Parameter, as_rng, check_float, check_int
from ..init import kaiming_uniform, uniform


class Convolution(Layer):
    """What both convolutions have in common: channels, kernel, stride, dilation and groups, checked."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, dilation, groups):
        self.in_channels = check_int("in_channels", in_channels)
        self.out_channels = check_int("out_channels", out_channels)
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size"), pair(stride, "stride")
        self.dilation, self.groups = pair(dilation, "dilation"), check_int("groups", groups)
        check_groups(self.in_channels, self.out_channels, self.groups)

    def config(self):
        """Channels and kernel, then whatever differs from the defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={brief(self.kernel_size)}"
        defaults = {"stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                text += f", {name}={brief(value)!r}"
        return text + ("" if self.bias is not None else ", bias=False")


class Conv2dSaved(NamedTuple):
    x: np.ndarray  # dw needs the input; dx needs only the weights


class Conv2d(Convolution):
    """2-D convolution (in truth a cross-correlation: the kernel is not flipped).

    Forward, with xp = x padded by zeros:
        y[n,o,i,j] = b[o] + Σ_{c,r,s} xp[n, c, i*stride + r*dilation, j*stride + s*dilation] * w[o,c,r,s]
    With groups, c counts the channels of o's own group only.

    Backward: y is a sum of products x*w, so each factor gets dy times the other one:
        dw[o,c,r,s] = Σ_{n,i,j} dy[n,o,i,j] * xp[n, c, i*stride + r*dilation, j*stride + s*dilation]
        db[o]       = Σ_{n,i,j} dy[n,o,i,j]
        dx[n,c,a,b] = Σ_{o,r,s} dy[n,o,i,j] * w[o,c,r,s]  over all i, j, r, s with i*stride + r*dilation - padding = a
                      and j*stride + s*dilation - padding = b. For stride 1 this is a correlation of dy with the kernel
                      rotated by 180 degrees.

    Shapes: x (N, C, H, W) to y (N, O, H', W'), H' = floor((H + 2*padding - dilation*(kH - 1) - 1)/stride) + 1;
    weight (O, C/groups, kH, kW), bias (O,).

    Parameters
        in_channels, out_channels: C and O
        kernel_size, stride, dilation: int or (vertical, horizontal)
        padding: int, (vertical, horizontal), or "same" (y as large as x; needs stride 1; where the total is odd, the
            extra row and column are at the bottom and right) or "valid" (none)
        groups: C and O are split into this many groups that don't see each other; groups=C is a depthwise convolution
        bias: whether to add b
        rng: seed or numpy.random.Generator for the initial weights, uniform within ±1/sqrt(C/groups*kH*kW)
        dtype: float32 or float64

    Raises ValueError or TypeError for a bad argument, ShapeError for an input that doesn't fit.
    Source: LeCun et al., Gradient-based learning applied to document recognition (1998); Goodfellow et al., Deep
    Learning (2016), section 9.5.

    >>> conv = Conv2d(1, 1, 3, padding=1, rng=0)
    >>> conv.weight.value[:] = 1
    >>> conv.bias.value[:] = 0
    >>> y, saved = conv.forward(np.ones((1, 1, 3, 3), np.float32))
    >>> y[0, 0]  # the number of pixels under the kernel
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]], dtype=float32)
    >>> dx = conv.backward(np.ones_like(y), saved)
    >>> conv.bias.grad
    array([9.], dtype=float32)
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.padding = padding if isinstance(padding, str) else pair(padding, "padding", 0)
        conv_pads(self.padding, self.kernel_size, self.stride, self.dilation)  # raises for padding that can't be
        w_shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        self.weight, self.bias = starting_weights(w_shape, self.out_channels, bias, rng, dtype)

    def forward(self, x):
        b = None if self.bias is None else self.bias.value
        y = ops_for(x).conv2d_forward(x, self.weight.value, b, *self.geometry())
        return y, Conv2dSaved(x)

    def backward(self, dy, saved):
        (x,) = self.check_saved(saved, Conv2dSaved)
        ops, w = ops_for(dy), self.weight.value
        # forward: y = conv(x, w) + b
        dx = ops.conv2d_backward_input(dy, w, x.shape, *self.geometry())
        self.weight.add_grad(ops.conv2d_backward_weight(dy, x, w.shape, *self.geometry()))
        if self.bias is not None:
            self.bias.add_grad(ops.conv2d_backward_bias(dy))
        return dx

    @property
    def pads(self):
        """The padding as numbers: ((top, bottom), (left, right))."""
        return conv_pads(self.padding, self.kernel_size, self.stride, self.dilation)

    def geometry(self):
        """stride, padding, dilation, groups: what every convolution op takes last."""
        return self.stride, self.pads, self.dilation, self.groups

    def multiply_adds(self, x_shape, y_shape):
        return math.prod(y_shape) * math.prod(self.weight.shape[1:])  # each y is a sum over one channel's kernel


class ConvTranspose2dSaved(NamedTuple):
    x: np.ndarray


class ConvTranspose2d(Convolution):
    """Transposed convolution: the linear map of a convolution, read backwards. It enlarges maps by learning how.

    Forward: every input pixel stamps the kernel, times its value, onto the output; overlapping stamps add:
        y[n, o, i*stride + r*dilation - padding, j*stride + s*dilation - padding] += x[n,c,i,j] * w[c,o,r,s],  + b[o]

    Backward: the same products, so each factor gets dy times the other one. Reading dy where the stamp went is an
    ordinary convolution:
        dx[n,c,i,j] = Σ_{o,r,s} dy[n, o, i*stride + r*dilation - padding, ...] * w[c,o,r,s]
        dw[c,o,r,s] = Σ_{n,i,j} x[n,c,i,j] * dy[n, o, i*stride + r*dilation - padding, ...]
        db[o]       = Σ_{n,i,j} dy[n,o,i,j]

    Shapes: x (N, C, H, W) to y (N, O, H', W'),
    H' = (H - 1)*stride - 2*padding + dilation*(kH - 1) + output_padding + 1; weight (C, O/groups, kH, kW), bias (O,).

    Parameters as Conv2d's, but padding is a number or two, and the initial weights are uniform within
    ±1/sqrt(O/groups*kH*kW), as PyTorch has it; output_padding (smaller than stride or dilation) adds rows below and
    columns to the right, because several sizes of y belong to one size of x when stride > 1.

    Raises ValueError or TypeError for a bad argument, ShapeError for an input that doesn't fit.
    Source: Zeiler et al., Deconvolutional networks (2010); Dumoulin and Visin, A guide to convolution arithmetic for
    deep learning (2016), chapter 4.

    >>> up = ConvTranspose2d(1, 1, 2, stride=2, bias=False, rng=0)
    >>> up.weight.value[:] = [[1, 2], [3, 4]]
    >>> up(np.array([[[[1, 10]]]], np.float32))[0, 0]
    array([[ 1.,  2., 10., 20.],
           [ 3.,  4., 30., 40.]], dtype=float32)
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        rng=None,
        dtype=np.float32,
    ):
        super().__init__(in_channels, out_channels, kernel_size, stride, dilation, groups)
        if isinstance(padding, str):
            raise TypeError(f"padding must be a number or two, got {padding!r}: only Conv2d knows words for it")
        self.padding = pair(padding, "padding", 0)
        self.output_padding = pair(output_padding, "output_padding", 0)
        check_output_padding(self.output_padding, self.stride, self.dilation)
        w_shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self.weight, self.bias = starting_weights(w_shape, self.out_channels, bias, rng, dtype)

    def forward(self, x):
        b = None if self.bias is None else self.bias.value
        y = ops_for(x).conv_transpose2d_forward(x, self.weight.value, b, *self.geometry())
        return y, ConvTranspose2dSaved(x)

    def backward(self, dy, saved):
        (x,) = self.check_saved(saved, ConvTranspose2dSaved)
        ops, w = ops_for(dy), self.weight.value
        # forward: y = transposed conv(x, w) + b
        dx = ops.conv_transpose2d_backward_input(dy, w, x.shape, *self.geometry())
        self.weight.add_grad(ops.conv_transpose2d_backward_weight(dy, x, w.shape, *self.geometry()))
        if self.bias is not None:
            self.bias.add_grad(ops.conv2d_backward_bias(dy))
        return dx

    def geometry(self):
        """stride, padding, output_padding, dilation, groups: what every transposed convolution op takes last."""
        return self.stride, self.padding, self.output_padding, self.dilation, self.groups

    def multiply_adds(self, x_shape, y_shape):
        return math.prod(x_shape) * math.prod(self.weight.shape[1:])  # each x is stamped once per kernel weight


def conv_pads(padding, kernel, stride, dilation):
    """Padding as ((top, bottom), (left, right)), with the words "same" and "valid" turned into numbers."""
    if not isinstance(padding, str):
        return pads(padding)
    if padding == "valid":
        return pads(0)
    if padding != "same":
        raise ValueError(f'padding must be numbers, "same" or "valid", got {padding!r}')
    if stride != (1, 1):
        raise ValueError(f'padding="same" needs stride 1, got stride={stride}; give the padding as numbers')
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def starting_weights(w_shape, out_channels, bias, rng, dtype):
    """Weight and bias (or None) as PyTorch starts them: uniform within ±1/sqrt(fan_in)."""
    rng, dtype = as_rng(rng), check_float(dtype)
    weight = Parameter(kaiming_uniform(w_shape, a=math.sqrt(5), rng=rng, dtype=dtype))
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(math.prod(w_shape[1:]))
    return weight, Parameter(uniform((out_channels,), -bound, bound, rng=rng, dtype=dtype))


def brief(value):
    """(3, 3) as 3; anything else as it is."""
    return value[0] if isinstance(value, tuple) and value[0] == value[1] else value
