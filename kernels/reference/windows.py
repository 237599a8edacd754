"""Views that show every window of a kernel at once, and the zero padding that goes with them."""

import numpy as np


def pad_or_crop(x, vertical, horizontal, value=0):
    """x with (before, after) rows and columns added, filled with `value`; negative numbers crop instead.

    >>> pad_or_crop(np.ones((1, 1, 2, 2)), (1, -1), (0, 1))[0, 0]
    array([[0., 0., 0.],
           [1., 1., 0.]])
    """
    N, C, H, W = x.shape
    (top, bottom), (left, right) = vertical, horizontal
    y = np.full((N, C, top + H + bottom, left + W + right), value, x.dtype)
    inside_y = y[:, :, max(top, 0) : max(top + H, 0), max(left, 0) : max(left + W, 0)]
    rows, cols = inside_y.shape[2:]
    inside_y[...] = x[:, :, max(-top, 0) : max(-top, 0) + rows, max(-left, 0) : max(-left, 0) + cols]
    return y


def windows(x, kernel, stride, dilation):
    """All windows of x (N, C, H, W) as a read-only view (N, C, H', W', kH, kW): no value is copied.

    windows(x, ...)[n, c, i, j, r, s] is x[n, c, i*stride + r*dilation, j*stride + s*dilation].

    >>> windows(np.arange(5.0).reshape(1, 1, 1, 5), (1, 2), (1, 2), (1, 2))[0, 0, 0, :, 0]
    array([[0., 2.],
           [2., 4.]])
    """
    (kH, kW), (sh, sw), (dh, dw) = kernel, stride, dilation
    reach = (dh * (kH - 1) + 1, dw * (kW - 1) + 1)
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, ::sh, ::sw, ::dh, ::dw]
