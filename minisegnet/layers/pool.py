"""Max, average and adaptive average pooling. Max-unpooling is in `combine.PoolUnpool`, which needs both ends."""

from typing import NamedTuple

import numpy as np

from kernels import ops_for
from kernels.shapes import check_pool_padding, check_rank, check_shape, pair

from ..core import Layer
from .conv import brief


class MaxPool2dSaved(NamedTuple):
    argmax: np.ndarray  # the switches: each winner's position row*W + column in its plane of x
    x_shape: tuple


class MaxPool2d(Layer):
    """The largest value of each window.

    Forward:   y[n,c,i,j] = max over r,s of x[n, c, i*stride + r*dilation - padding, j*stride + s*dilation - padding]
    Backward:  the winner gets the whole dy, the others nothing; a pixel that won several overlapping windows gets the
               sum. Ties go to the first in row-major order; padding counts as -inf and never wins; NaN wins.

    Shapes: x (N, C, H, W) to y (N, C, H', W'), H' = floor((H + 2*padding - dilation*(kernel - 1) - 1)/stride) + 1, with
    ceil_mode rounded up (without a window that would start in the padding on the right).

    Parameters
        kernel_size: int or (vertical, horizontal)
        stride: the same as kernel_size unless given
        padding: at most half the kernel
        dilation, ceil_mode: see above

    Raises ValueError or TypeError for a bad argument, ShapeError for an input that doesn't fit, and for a dilated
    window that would lie in the padding alone (PyTorch gives -inf there).
    Source: Ranzato et al., Unsupervised learning of invariant feature hierarchies (2007).

    >>> pool = MaxPool2d(2)
    >>> y, saved = pool.forward(np.array([[[[1.0, 5.0], [2.0, 3.0]]]]))
    >>> y, saved.argmax
    (array([[[[5.]]]]), array([[[[1]]]], dtype=int32))
    >>> pool.backward(np.array([[[[7.0]]]]), saved)
    array([[[[0., 7.],
             [0., 0.]]]])
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        self.kernel_size, self.stride, self.padding = pool_geometry(kernel_size, stride, padding)
        self.dilation, self.ceil_mode = pair(dilation, "dilation"), bool(ceil_mode)

    def forward(self, x):
        y, argmax = ops_for(x).max_pool2d_forward(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return y, MaxPool2dSaved(argmax, x.shape)

    def backward(self, dy, saved):
        argmax, x_shape = self.check_saved(saved, MaxPool2dSaved)
        return ops_for(dy).max_pool2d_backward(dy, argmax, x_shape)  # forward: y = x[argmax]

    def config(self):
        return pool_config(self)


class AvgPool2dSaved(NamedTuple):
    x_shape: tuple  # a mean is linear: its gradient depends on no value


class AvgPool2d(Layer):
    """The mean of each window.

    Forward:   y[n,c,i,j] = 1/D * Σ_{r,s} x[n, c, i*stride + r - padding, j*stride + s - padding]
    Backward:  dy is shared out: each pixel gets dy/D from every window it was in

    D is the number of pixels in the window: those in the picture, plus those in the padding if count_include_pad; the
    part of a last window in ceil_mode that hangs over the padding is not counted.

    Shapes and parameters as MaxPool2d (without dilation). Source: LeCun et al., Gradient-based learning (1998).

    >>> pool = AvgPool2d(2)
    >>> y, saved = pool.forward(np.array([[[[1.0, 5.0], [2.0, 4.0]]]]))
    >>> y, pool.backward(np.array([[[[8.0]]]]), saved)
    (array([[[[3.]]]]), array([[[[2., 2.],
             [2., 2.]]]]))
    """

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        self.kernel_size, self.stride, self.padding = pool_geometry(kernel_size, stride, padding)
        self.ceil_mode, self.count_include_pad = bool(ceil_mode), bool(count_include_pad)

    def forward(self, x):
        return ops_for(x).avg_pool2d_forward(x, *self.geometry()), AvgPool2dSaved(x.shape)

    def backward(self, dy, saved):
        (x_shape,) = self.check_saved(saved, AvgPool2dSaved)
        return ops_for(dy).avg_pool2d_backward(dy, x_shape, *self.geometry())

    def geometry(self):
        """What both average-pooling ops take last."""
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad

    def config(self):
        return pool_config(self)


class AdaptiveAvgPool2dSaved(NamedTuple):
    x_shape: tuple


class AdaptiveAvgPool2d(Layer):
    """The mean of each of output_size bins, however large the input: 1 makes it a global average.

    Forward:   bin i covers rows floor(i*H/H') to ceil((i+1)*H/H') - 1, and so the columns; y is the mean of its bin.
               Bins may overlap by a row or column where H' does not divide H.
    Backward:  each pixel gets dy/area from every bin it was in

    Shapes: x (N, C, H, W) to y (N, C, *output_size). output_size is an int or (vertical, horizontal); None in it keeps
    the input's size. Source: Lin et al., Network in network (2014), section 3.2, for the global average.

    >>> AdaptiveAvgPool2d(1)(np.array([[[[1.0, 5.0], [2.0, 4.0]]]]))
    array([[[[3.]]]])
    """

    def __init__(self, output_size):
        sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
        pair([1 if size is None else size for size in sizes], "output_size")
        self.output_size = tuple(size if size is None else int(size) for size in sizes)

    def forward(self, x):
        check_rank("x", x, 4, "(N, C, H, W)")
        return ops_for(x).adaptive_avg_pool2d_forward(x, self.y_size(x.shape)), AdaptiveAvgPool2dSaved(x.shape)

    def backward(self, dy, saved):
        (x_shape,) = self.check_saved(saved, AdaptiveAvgPool2dSaved)
        check_shape("dy", dy, (*x_shape[:2], *self.y_size(x_shape)))
        return ops_for(dy).adaptive_avg_pool2d_backward(dy, x_shape)

    def y_size(self, x_shape):
        """(H', W') for an input of this shape."""
        return tuple(own if size is None else size for size, own in zip(self.output_size, x_shape[2:], strict=True))

    def config(self):
        return f"{brief(self.output_size)}"


def pool_geometry(kernel_size, stride, padding):
    """Checked pairs of kernel_size, stride (the kernel's size unless given) and padding."""
    kernel_size, padding = pair(kernel_size, "kernel_size"), pair(padding, "padding", 0)
    check_pool_padding(kernel_size, padding)
    return kernel_size, kernel_size if stride is None else pair(stride, "stride"), padding


def pool_config(layer):
    """The kernel, then whatever differs from the defaults."""
    text = f"{brief(layer.kernel_size)}"
    defaults = {
        "stride": layer.kernel_size,
        "padding": (0, 0),
        "dilation": (1, 1),
        "ceil_mode": False,
        "count_include_pad": True,
    }
    for name, default in defaults.items():
        value = getattr(layer, name, default)
        if value != default:
            text += f", {name}={brief(value)}"
    return text
