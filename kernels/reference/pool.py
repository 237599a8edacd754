"""Max, average and adaptive pooling, and max-unpooling.

Sources: Zeiler and Fergus, Visualizing and understanding convolutional networks (2014), for the switches;
Badrinarayanan et al., SegNet (2017), for unpooling with the encoder's switches.
"""

import numpy as np

from ..errors import ShapeError
from ..shapes import check_rank, check_shape, check_size, pair, pool2d_output_shape, same_dtype
from .windows import pad_or_crop, windows


def max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode):
    same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    N, C, rows, cols = pool2d_output_shape(x.shape, kernel, stride, padding, dilation, ceil_mode)
    (kH, kW), (sh, sw), (ph, pw), (dh, dw) = pair(kernel), pair(stride), pair(padding, minimum=0), pair(dilation)
    H, W = x.shape[2:]

    def taps(plane, outside):
        """Every window of plane as one row of kH*kW values, `outside` where the window leaves the picture."""
        below = (rows - 1) * sh + dh * (kH - 1) + 1 - H - ph
        after = (cols - 1) * sw + dw * (kW - 1) + 1 - W - pw
        padded = pad_or_crop(plane, (ph, below), (pw, after), outside)
        return windows(padded, (kH, kW), (sh, sw), (dh, dw)).reshape(*plane.shape[:2], rows, cols, kH * kW)

    values = taps(x, -np.inf)
    winner = values.argmax(axis=-1)  # the first maximum; argmax lets NaN win
    y = np.take_along_axis(values, winner[..., None], -1)[..., 0]
    # Where all is -inf, argmax may have named a tap in the padding: take the window's first real pixel instead.
    first_real = taps(np.ones((1, 1, H, W)), 0.0).argmax(axis=-1)
    winner = np.where(y == -np.inf, first_real, winner)

    row = np.arange(rows)[:, None] * sh - ph + winner // kW * dh
    col = np.arange(cols) * sw - pw + winner % kW * dw
    return y, (row * W + col).astype(np.int32)


def max_pool2d_backward(dy, argmax, x_shape):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, argmax.shape)
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    N, C, H, W = x_shape
    planes = np.arange(N * C).reshape(N, C, 1, 1)
    target = (planes * (H * W) + argmax).ravel()  # the winner's position in all of x, flattened
    # In the forward pass y copied x[winner]; windows that overlap may share a winner, so their dy add up.
    dx = np.bincount(target, weights=dy.ravel(), minlength=N * C * H * W)
    return dx.reshape(x_shape).astype(dtype)


def max_unpool2d_forward(x, argmax, y_shape):
    same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("argmax", argmax, x.shape)
    N, C, H, W = y_shape
    if (N, C) != x.shape[:2]:
        raise ShapeError(f"x has shape {x.shape}, expected {(N, C)} images and channels, as in y {tuple(y_shape)}")
    check_switches(argmax, H, W)
    switches = flat_switches(argmax)
    y = np.zeros((N, C, H * W), x.dtype)
    np.put_along_axis(y, switches, x.reshape(switches.shape), axis=2)
    return y.reshape(y_shape)


def max_unpool2d_backward(dy, argmax):
    same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*argmax.shape[:2], *dy.shape[2:]))
    N, C, H, W = dy.shape
    check_switches(argmax, H, W)
    switches = flat_switches(argmax)
    dx = np.take_along_axis(dy.reshape(N, C, H * W), switches, axis=2)
    # In the forward pass a later value at the same position replaced an earlier one, which then had no effect.
    order = np.broadcast_to(np.arange(switches.shape[2]), switches.shape)
    last = np.zeros((N, C, H * W), np.int64)
    np.put_along_axis(last, switches, order, axis=2)
    dx[np.take_along_axis(last, switches, axis=2) != order] = 0
    return dx.reshape(argmax.shape)


def check_switches(argmax, H, W):
    """Raise IndexError for a switch that is outside a plane of H x W pixels."""
    if argmax.size and not 0 <= argmax.min() <= argmax.max() < H * W:
        bad = argmax.min() if argmax.min() < 0 else argmax.max()
        raise IndexError(f"switch {bad} is outside an output of {H}x{W} = {H * W} pixels")


def flat_switches(argmax):
    """argmax as (N, C, switches), in row-major order in memory too, because that is the order NumPy assigns in.

    Where two of them name the same position, the last must come last.
    """
    N, C, rows, cols = argmax.shape
    return np.ascontiguousarray(argmax).reshape(N, C, rows * cols)


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    shape = pool2d_output_shape(x.shape, kernel, stride, padding, 1, ceil_mode)
    y = np.zeros(shape, dtype)
    for window, part in avg_pool_taps(x.shape, shape, kernel, stride, padding):
        y[:, :, *part] += x[:, :, *window]
    return y / avg_pool_divisor(x.shape, shape, kernel, stride, padding, count_include_pad).astype(dtype)


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, pool2d_output_shape(x_shape, kernel, stride, padding, 1, ceil_mode))
    share = dy / avg_pool_divisor(x_shape, dy.shape, kernel, stride, padding, count_include_pad).astype(dtype)
    dx = np.zeros(x_shape, dtype)
    for window, part in avg_pool_taps(x_shape, dy.shape, kernel, stride, padding):
        dx[:, :, *window] += share[:, :, *part]  # forward: y[part] += x[window]
    return dx


def avg_pool_taps(x_shape, y_shape, kernel, stride, padding):
    """For each kernel tap the slices of x's rows and columns that it reads, and the slices of y that they go to."""
    (kH, kW), (sh, sw), (ph, pw) = pair(kernel), pair(stride), pair(padding, minimum=0)

    def along(size, count, tap, stride, pad):
        first = max(0, -(-(pad - tap) // stride))  # the first output whose tap lies inside the image
        last = min(count - 1, (size - 1 + pad - tap) // stride)
        start = first * stride + tap - pad
        number = max(0, last - first + 1)
        return slice(start, start + number * stride, stride), slice(first, first + number)

    for r in range(kH):
        for s in range(kW):
            x_rows, y_rows = along(x_shape[2], y_shape[2], r, sh, ph)
            x_cols, y_cols = along(x_shape[3], y_shape[3], s, sw, pw)
            yield (x_rows, x_cols), (y_rows, y_cols)


def avg_pool_divisor(x_shape, y_shape, kernel, stride, padding, count_include_pad):
    """How many pixels each window counts, as an array (H', W')."""
    (kH, kW), (sh, sw), (ph, pw) = pair(kernel), pair(stride), pair(padding, minimum=0)
    counts = []
    for size, count, k, s, p in zip(x_shape[2:], y_shape[2:], (kH, kW), (sh, sw), (ph, pw), strict=True):
        start = np.arange(count) * s - p
        end = np.minimum(start + k, size + p)  # the overflow of ceil_mode is never counted
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        counts.append(end - start)
    return counts[0][:, None] * counts[1]


def adaptive_avg_pool2d_forward(x, size):
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    if 0 in x.shape[2:]:
        raise ShapeError(f"x has shape {x.shape}: there is nothing to compute")
    N, C, H, W = x.shape
    rows, cols = check_size(size)
    y = np.empty((N, C, rows, cols), dtype)
    for i, row_bin in enumerate(adaptive_bins(H, rows)):
        for j, col_bin in enumerate(adaptive_bins(W, cols)):
            y[:, :, i, j] = x[:, :, row_bin, col_bin].mean(axis=(2, 3), dtype=np.float64)
    return y


def adaptive_avg_pool2d_backward(dy, x_shape):
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    dx = np.zeros(x_shape, dtype)
    for i, row_bin in enumerate(adaptive_bins(x_shape[2], dy.shape[2])):
        for j, col_bin in enumerate(adaptive_bins(x_shape[3], dy.shape[3])):
            area = (row_bin.stop - row_bin.start) * (col_bin.stop - col_bin.start)
            dx[:, :, row_bin, col_bin] += dy[:, :, i, j, None, None] / area  # forward: y = mean over the bin
    return dx


def adaptive_bins(size, count):
    """`count` bins that cover `size` pixels: floor(i*size/count) to ceil((i+1)*size/count); they may overlap.

    >>> adaptive_bins(7, 3)
    [slice(0, 3, None), slice(2, 5, None), slice(4, 7, None)]
    """
    return [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
