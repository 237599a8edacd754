"""Convolution with strided windows: each pass is one sum of products over a view of all windows.

`conv_loops` writes the same three sums as plain loops. Transposed convolution is the same three with the roles
exchanged: its forward is the convolution's backward-input, and the other way round.

Source: Goodfellow, Bengio, Courville, Deep Learning (2016), section 9.5; Dumoulin and Visin, A guide to convolution
arithmetic for deep learning (2016).
"""

import numpy as np

from ..shapes import (
    check_rank,
    check_shape,
    conv2d_output_shape,
    conv_transpose2d_output_shape,
    pads,
    pair,
    same_dtype,
)
from .activation import relu_forward
from .windows import pad_or_crop, windows


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y = np.empty(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        check_shape("b", b, (len(w),))

    # view[n,c,i,j,r,s] is the input pixel that kernel tap (r,s) sees when it computes output pixel (i,j)
    view = windows(pad_or_crop(x, *pads(padding)), w.shape[2:], pair(stride), pair(dilation))
    for xs, ys in channel_groups(x.shape[1], len(w), groups):
        # y[n,o,i,j] = sum over c,r,s of view[n,c,i,j,r,s] * w[o,c,r,s]
        product = np.tensordot(w[ys], view[:, xs], axes=((1, 2, 3), (1, 4, 5)))
        y[:, ys] = product.swapaxes(0, 1)
    if b is not None:
        y += b[:, None, None]
    return y


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return relu_forward(conv2d_forward(x, w, b, stride, padding, dilation, groups))


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    """How the sum over taps turns into a convolution again.

    In the forward pass, output i reads input a = i*stride + r*dilation - top. So input a collects from every tap r
    whose output i = (a + top - r*dilation)/stride is a whole number. Spread dy out with stride - 1 zeros between its
    pixels, and "is a whole number" takes care of itself: a reads spread dy at a + top - r*dilation. The minus sign
    before r means: the same window sum as in forward, with the kernel rotated by 180 degrees.
    """
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    N, C, H, W = x_shape
    O, _, kH, kW = w.shape
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    (top, _), (left, _) = pads(padding)

    rows, cols = (dy.shape[2] - 1) * sh + 1, (dy.shape[3] - 1) * sw + 1
    spread = np.zeros((N, O, rows, cols), dtype)
    spread[:, :, ::sh, ::sw] = dy
    # Tap r = kH - 1 comes first in the rotated kernel; for input row 0 it reads spread row top - (kH - 1)*dilation.
    above, before = dh * (kH - 1) - top, dw * (kW - 1) - left
    below, after = H + dh * (kH - 1) - rows - above, W + dw * (kW - 1) - cols - before
    view = windows(pad_or_crop(spread, (above, below), (before, after)), (kH, kW), (1, 1), (dh, dw))
    rotated = w[:, :, ::-1, ::-1]

    dx = np.empty(x_shape, dtype)
    for xs, ys in channel_groups(C, O, groups):
        # dx[n,c,a,b] = sum over o,r,s of view[n,o,a,b,r,s] * rotated[o,c,r,s]
        product = np.tensordot(rotated[ys], view[:, ys], axes=((0, 2, 3), (1, 4, 5)))
        dx[:, xs] = product.swapaxes(0, 1)
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    view = windows(pad_or_crop(x, *pads(padding)), w_shape[2:], pair(stride), pair(dilation))
    dw = np.empty(w_shape, dtype)
    for xs, ys in channel_groups(x.shape[1], w_shape[0], groups):
        # in the forward pass w[o,c,r,s] was multiplied by view[n,c,i,j,r,s] for y[n,o,i,j], so now
        # dw[o,c,r,s] = sum over n,i,j of dy[n,o,i,j] * view[n,c,i,j,r,s]
        product = np.tensordot(view[:, xs], dy[:, ys], axes=((0, 2, 3), (0, 2, 3)))
        dw[ys] = np.moveaxis(product, -1, 0)
    return dw


def conv2d_backward_bias(dy):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, O, H', W')")
    return dy.sum(axis=(0, 2, 3), dtype=np.float64).astype(dtype)


def channel_groups(in_channels, out_channels, groups):
    """For each group the slice of input channels and the slice of output channels.

    >>> list(channel_groups(4, 2, 2))
    [(slice(0, 2, None), slice(0, 1, None)), (slice(2, 4, None), slice(1, 2, None))]
    """
    ins, outs = in_channels // groups, out_channels // groups
    for g in range(groups):
        yield slice(g * ins, (g + 1) * ins), slice(g * outs, (g + 1) * outs)


# ------------------------------------------------------------------ transposed convolution
# A convolution turns a map of y's shape into a map of x's shape; the transposed convolution goes the other way, with
# the same kernel. So below, "the convolution" has y as its input and x as its output.


def conv_transpose2d_forward(x, w, b, stride, padding, output_padding, dilation, groups):
    same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x.shape, w.shape, stride, padding, output_padding, dilation, groups)
    if b is not None:
        check_shape("b", b, (y_shape[1],))
    whole = conv2d_output_shape(y_shape, w.shape, stride, padding, dilation, groups)
    y = conv2d_backward_input(resized(x, whole), w, y_shape, stride, padding, dilation, groups)
    if b is not None:
        y += b[:, None, None]
    return y


def conv_transpose2d_backward_input(dy, w, x_shape, stride, padding, output_padding, dilation, groups):
    same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(C, O/groups, kH, kW)")
    y_shape = conv_transpose2d_output_shape(x_shape, w.shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    dx = conv2d_forward(dy, w, None, stride, padding, dilation, groups)
    return resized(dx, x_shape)


def conv_transpose2d_backward_weight(dy, x, w_shape, stride, padding, output_padding, dilation, groups):
    same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y_shape = conv_transpose2d_output_shape(x.shape, w_shape, stride, padding, output_padding, dilation, groups)
    check_shape("dy", dy, y_shape)
    whole = conv2d_output_shape(y_shape, w_shape, stride, padding, dilation, groups)
    return conv2d_backward_weight(resized(x, whole), dy, w_shape, stride, padding, dilation, groups)


def resized(x, shape):
    """x with zero rows and columns added or cut off at the bottom and right, until it has `shape`.

    Needed only where output_padding reaches the stride (possible with a dilated kernel): the convolution that is
    being transposed then makes a few more pixels than x has.
    """
    if x.shape == tuple(shape):
        return x
    return pad_or_crop(x, (0, shape[2] - x.shape[2]), (0, shape[3] - x.shape[3]))
