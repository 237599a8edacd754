"""Batch normalisation: one read of x for both statistics, one pass to normalise; two passes back.

The statistics of a channel are sums over its pixels. They are taken in float64 of x minus the channel's first value:
sum and sum of squares then come from one read, without the cancellation that the textbook formula E[x²] - E[x]² suffers
when the mean is large. Source: Chan, Golub, LeVeque, Algorithms for computing the sample variance (1983).
"""

import numpy as np
from numba import prange

from ..reference.norm import scale_of
from ..shapes import check_rank, check_shape, same_dtype
from .arrays import plain
from .jit import jit, parallel


def batch_norm_train_forward(x, weight, bias, eps):
    same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    x = plain(x)
    mean, var = statistics(planes(x))
    return batch_norm_eval_forward(x, weight, bias, mean, var, eps), mean, var


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    for name, a in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if a is not None:
            check_shape(name, a, x.shape[1:2])
    x = plain(x)
    scale, centre = scale_of(weight, var, eps), mean.astype(x.dtype)
    shift = (0.0 if bias is None else bias) - (mean - centre) * scale  # what rounding the mean took away
    y = np.empty_like(x)
    affine(planes(y), planes(x), centre, scale.astype(x.dtype), shift.astype(x.dtype))
    return y


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    dtype = same_dtype(dy=dy, x=x, weight=weight)
    check_shape("dy", dy, x.shape)
    dy, x = plain(dy), plain(x)
    sums, products = gradient_sums(planes(dy), planes(x), mean.astype(np.float64))
    dx = np.empty_like(x)
    zero = np.zeros(x.shape[1], dtype)
    input_gradient(planes(dx), planes(dy), planes(x), zero, scale_of(weight, var, eps).astype(dtype), zero, zero)
    return dx, (products / np.sqrt(var + eps)).astype(dtype), sums.astype(dtype)


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    dtype = same_dtype(dy=dy, x=x, weight=weight)
    check_shape("dy", dy, x.shape)
    dy, x = plain(dy), plain(x)
    sums, products = gradient_sums(planes(dy), planes(x), mean)
    # dx = scale*(dy - dbias/m - x̂*dweight/m) is, for each channel, a*dy + b*(x - mean) + c with three numbers:
    std, scale, count = np.sqrt(var + eps), scale_of(weight, var, eps), max(1, x.size // x.shape[1])
    centre, slope = mean.astype(dtype), -scale * products / (std * std * count)
    shift = -scale * sums / count - slope * (mean - centre)
    dx = np.empty_like(x)
    input_gradient(planes(dx), planes(dy), planes(x), centre, *(a.astype(dtype) for a in (scale, slope, shift)))
    return dx, (products / std).astype(dtype), sums.astype(dtype)


def planes(x):
    """(N, C, H, W) as (N, C, H*W)."""
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


@parallel
def statistics(x):
    """Mean and biased variance of each channel."""
    N, C, P = x.shape
    mean, var = np.zeros(C), np.zeros(C)
    for c in prange(C):
        if N > 0:
            origin = np.float64(x[0, c, 0])
            total, squares = 0.0, 0.0
            for n in range(N):
                s, q = shifted_sums(x[n, c], origin)
                total += s
                squares += q
            mean[c] = origin + total / (N * P)
            var[c] = max(0.0, squares / (N * P) - (total / (N * P)) ** 2)
    return mean, var


@jit
def shifted_sums(row, origin):
    total, squares = 0.0, 0.0
    for i in range(len(row)):
        d = row[i] - origin
        total += d
        squares += d * d
    return total, squares


@parallel
def affine(y, x, centre, scale, shift):
    """y = (x - centre)*scale + shift; subtracting first keeps the digits of a small spread around a large mean."""
    N, C, _ = x.shape
    for item in prange(N * C):
        n, c = item // C, item % C
        m, a, b = centre[c], scale[c], shift[c]
        row, out = x[n, c], y[n, c]
        for i in range(len(row)):
            out[i] = a * (row[i] - m) + b


@parallel
def gradient_sums(dy, x, mean):
    """Per channel the sums of dy and of dy*(x - mean), in float64."""
    N, C, _ = x.shape
    sums, products = np.zeros(C), np.zeros(C)
    for c in prange(C):
        total, product = 0.0, 0.0
        for n in range(N):
            s, p = product_sums(dy[n, c], x[n, c], mean[c])
            total += s
            product += p
        sums[c], products[c] = total, product
    return sums, products


@jit
def product_sums(dy, x, mean):
    total, product = 0.0, 0.0
    for i in range(len(x)):
        g = np.float64(dy[i])
        total += g
        product += g * (x[i] - mean)
    return total, product


@parallel
def input_gradient(dx, dy, x, centre, scale, slope, shift):
    """dx = scale*dy + slope*(x - centre) + shift."""
    N, C, _ = x.shape
    for item in prange(N * C):
        n, c = item // C, item % C
        m, a, b, d = centre[c], scale[c], slope[c], shift[c]
        gradient, row, out = dy[n, c], x[n, c], dx[n, c]
        for i in range(len(row)):
            out[i] = a * gradient[i] + b * (row[i] - m) + d
