"""Rung 3 of the convolution ladder: im2col and matrix multiplication.

Write all windows out as the columns of a matrix, once, and each pass is a single matrix product, which a BLAS library
does at nearly the speed of the machine:

    y = w cols,    dw = dy colsᵀ,    dcols = wᵀ dy, added back to the pixels that the columns were copied from (col2im)

The price is that matrix: kH*kW times the size of the input, written to memory and read again.
Source: Chellapilla, Puri, Simard, High performance convolutional neural networks for document processing (2006).
"""

import math

import numpy as np

from ..reference.conv import channel_groups
from ..reference.windows import pad_or_crop, windows
from ..shapes import check_rank, check_shape, conv2d_output_shape, pads, pair, same_dtype
from .activation import relu_forward


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    y = np.empty(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        check_shape("b", b, (len(w),))
    for n in range(len(x)):
        cols = im2col(x[n], w.shape[2:], stride, padding, dilation)
        for xs, ys in channel_groups(x.shape[1], len(w), groups):
            y[n, ys] = (matrix(w[ys], 1) @ matrix(cols[xs], 3)).reshape(y[n, ys].shape)
    if b is not None:
        y += b[:, None, None]
    return y


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return relu_forward(conv2d_forward(x, w, b, stride, padding, dilation, groups))


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    dx = np.empty(x_shape, dtype)
    dcols = np.empty((x_shape[1], *w.shape[2:], *dy.shape[2:]), dtype)
    for n in range(len(dy)):
        for xs, ys in channel_groups(x_shape[1], len(w), groups):
            product = matrix(w[ys], 1).T @ matrix(dy[n, ys], 1)  # forward: y = w @ cols
            dcols[xs] = product.reshape(dcols[xs].shape)
        dx[n] = col2im(dcols, x_shape[1:], stride, padding, dilation)
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    dw = np.zeros(w_shape, dtype)
    for n in range(len(x)):
        cols = im2col(x[n], w_shape[2:], stride, padding, dilation)
        for xs, ys in channel_groups(x.shape[1], w_shape[0], groups):
            product = matrix(dy[n, ys], 1) @ matrix(cols[xs], 3).T  # forward: y = w @ cols
            dw[ys] += product.reshape(dw[ys].shape)
    return dw


def im2col(image, kernel, stride, padding, dilation):
    """All windows of an image (C, H, W), copied: (C, kH, kW, H', W')."""
    view = windows(pad_or_crop(image[None], *pads(padding)), kernel, pair(stride), pair(dilation))[0]
    return np.ascontiguousarray(view.transpose(0, 3, 4, 1, 2))


def col2im(dcols, shape, stride, padding, dilation):
    """The adjoint of im2col: add every copied value back to the pixel (of an image of `shape`) that it came from."""
    (sh, sw), (dh, dw), ((top, bottom), (left, right)) = pair(stride), pair(dilation), pads(padding)
    C, H, W = shape
    kH, kW, rows, cols = dcols.shape[1:]
    padded = np.zeros((C, top + H + bottom, left + W + right), dcols.dtype)
    for r in range(kH):
        for s in range(kW):
            a, b = r * dh, s * dw
            padded[:, a : a + (rows - 1) * sh + 1 : sh, b : b + (cols - 1) * sw + 1 : sw] += dcols[:, r, s]
    return padded[:, top : top + H, left : left + W]


def matrix(a, rows):
    """The first `rows` axes as one, and the others as one: (O, C, kH, kW) to (O, C*kH*kW), say."""
    return a.reshape(math.prod(a.shape[:rows]), math.prod(a.shape[rows:]))
