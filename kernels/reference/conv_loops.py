"""Convolution as the textbook writes it: nested loops over every multiplication that there is.

All three passes visit the same products in the same order. Forward collects them in y; backward asks, of the one line
`y += x * w`, what each factor did: x was multiplied by w, so dx gets dy * w; w was multiplied by x, so dw gets dy * x.
Nothing else happens in a convolution's backward pass.

Far too slow for training; the tests hold it against `conv`.
"""

import numpy as np

from ..shapes import check_shape, conv2d_output_shape, pads, pair, same_dtype
from .activation import relu_forward


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    dtype = same_dtype(x=x, w=w, b=b)
    y = np.zeros(conv2d_output_shape(x.shape, w.shape, stride, padding, dilation, groups), dtype)
    if b is not None:
        y += b[:, None, None]
    for (n, o, i, j), (c, row, col), (k, r, s) in products(
        x.shape, w.shape, y.shape, stride, padding, dilation, groups
    ):
        y[n, o, i, j] += x[n, c, row, col] * w[o, k, r, s]
    return y


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return relu_forward(conv2d_forward(x, w, b, stride, padding, dilation, groups))


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    dx = np.zeros(x_shape, same_dtype(dy=dy, w=w))
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    for (n, o, i, j), (c, row, col), (k, r, s) in products(
        x_shape, w.shape, dy.shape, stride, padding, dilation, groups
    ):
        dx[n, c, row, col] += dy[n, o, i, j] * w[o, k, r, s]
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    dw = np.zeros(w_shape, same_dtype(dy=dy, x=x))
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    for (n, o, i, j), (c, row, col), (k, r, s) in products(
        x.shape, w_shape, dy.shape, stride, padding, dilation, groups
    ):
        dw[o, k, r, s] += dy[n, o, i, j] * x[n, c, row, col]
    return dw


def products(x_shape, w_shape, y_shape, stride, padding, dilation, groups):
    """The loop nest: yields (output pixel), (input channel, row, column), (kernel channel, row, column).

    Taps that fall into the zero padding are skipped: they would add 0.
    """
    N, C, H, W = x_shape
    O, per_group, kH, kW = w_shape
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    (top, _), (left, _) = pads(padding)
    for n in range(N):
        for o in range(O):
            first = o // (O // groups) * per_group  # the first input channel of o's group
            for i in range(y_shape[2]):
                for j in range(y_shape[3]):
                    for k in range(per_group):
                        for r in range(kH):
                            for s in range(kW):
                                row, col = i * sh + r * dh - top, j * sw + s * dw - left
                                if 0 <= row < H and 0 <= col < W:
                                    yield (n, o, i, j), (first + k, row, col), (k, r, s)
