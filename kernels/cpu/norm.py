"""Batch normalisation: one read of x for both statistics, one pass to normalise; two passes back, channel by channel.

The statistics of a channel are sums over its pixels. They are taken in float64 of x minus the channel's first value:
sum and sum of squares then come from one read, without the cancellation that the textbook formula E[x²] - E[x]² suffers
when the mean is large. Source: Chan, Golub, LeVeque, Algorithms for computing the sample variance (1983).
"""

import numpy as np

from ..reference.norm import scale_of
from ..shapes import check_rank, check_shape, same_dtype
from .arrays import plain
from .jit import jit, parallel, part_of
from .memory import empty_like

# With a ReLU behind, the same loops do its work: forward, y is at least `floor`, which is -inf without; backward, dy
# counts as 0 where y <= 0, and without ReLU y is None.


def batch_norm_train_forward(x, weight, bias, eps):
    return train_forward(x, weight, bias, eps, -np.inf)


def batch_norm_relu_train_forward(x, weight, bias, eps):
    return train_forward(x, weight, bias, eps, 0)


def train_forward(x, weight, bias, eps, floor):
    same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    x = plain(x)
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    statistics(mean, var, planes(x))
    return eval_forward(x, weight, bias, mean, var, eps, floor), mean, var


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    return train_backward(dy, None, x, weight, mean, var, eps)


def batch_norm_relu_train_backward(dy, y, x, weight, mean, var, eps):
    return train_backward(dy, y, x, weight, mean, var, eps)


def train_backward(dy, y, x, weight, mean, var, eps):
    dy, y, x = prepared(dy, y, x, weight)
    sums, products, dx = np.empty(x.shape[1]), np.empty(x.shape[1]), empty_like(x)
    std, scale = np.sqrt(var + eps), scale_of(weight, var, eps)
    arrays = planes(dx), sums, products, planes(dy), planes(y), *gate(y, x), planes(x)
    train_gradients(*arrays, mean, mean.astype(x.dtype), scale, std * std * max(1, x.size // x.shape[1]))
    return dx, (products / std).astype(x.dtype), sums.astype(x.dtype)


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    return eval_forward(x, weight, bias, mean, var, eps, -np.inf)


def batch_norm_relu_eval_forward(x, weight, bias, mean, var, eps):
    return eval_forward(x, weight, bias, mean, var, eps, 0)


def eval_forward(x, weight, bias, mean, var, eps, floor):
    dtype = same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    for name, a in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if a is not None:
            check_shape(name, a, x.shape[1:2])
    x = plain(x)
    scale, centre = scale_of(weight, var, eps), mean.astype(dtype)
    shift = (0.0 if bias is None else bias) - (mean - centre) * scale  # what rounding the mean took away
    y = empty_like(x)
    affine(planes(y), planes(x), centre, scale.astype(dtype), shift.astype(dtype), dtype.type(floor))
    return y


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    return eval_backward(dy, None, x, weight, mean, var, eps)


def batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps):
    return eval_backward(dy, y, x, weight, mean, var, eps)


def eval_backward(dy, y, x, weight, mean, var, eps):
    dy, y, x = prepared(dy, y, x, weight)
    sums, products = np.empty(x.shape[1]), np.empty(x.shape[1])
    gradient_sums(sums, products, planes(dy), planes(y), planes(x), mean.astype(np.float64))
    zero, scale = np.zeros(x.shape[1], x.dtype), scale_of(weight, var, eps).astype(x.dtype)
    dx = empty_like(x)
    input_gradient(planes(dx), planes(dy), *gate(y, x), planes(x), zero, scale, zero, zero)
    return dx, (products / np.sqrt(var + eps)).astype(x.dtype), sums.astype(x.dtype)


def prepared(dy, y, x, weight):
    """dy, y (or None) and x as the kernels take them."""
    same_dtype(dy=dy, x=x, y=y, weight=weight)
    check_shape("dy", dy, x.shape)
    if y is not None:
        check_shape("y", y, x.shape)
        y = plain(y)
    return plain(dy), y, plain(x)


def gate(y, x):
    """An array and a number: dy counts as 0 where the array is <= the number. Nothing is <= NaN.

    If the compiler left the question out without ReLU, as in the sums, it would also round the rest in another order.
    """
    return (planes(x), x.dtype.type(np.nan)) if y is None else (planes(y), x.dtype.type(0))


def planes(x):
    """(N, C, H, W) as (N, C, H*W); None stays None."""
    return None if x is None else x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


@parallel
def statistics(mean, var, x, share):
    """Mean and biased variance of each channel."""
    N, C, P = x.shape
    for c in part_of(C, share):
        if N > 0:
            origin = np.float64(x[0, c, 0])
            total, squares = 0.0, 0.0
            for n in range(N):
                s, q = shifted_sums(x[n, c], origin)
                total += s
                squares += q
            mean[c] = origin + total / (N * P)
            var[c] = max(0.0, squares / (N * P) - (total / (N * P)) ** 2)


@jit
def shifted_sums(row, origin):
    total, squares = 0.0, 0.0
    for i in range(len(row)):
        d = row[i] - origin
        total += d
        squares += d * d
    return total, squares


@parallel
def affine(y, x, centre, scale, shift, floor, share):
    """y = (x - centre)*scale + shift, at least floor.

    Subtracting first keeps the digits of a small spread around a large mean.
    """
    N, C, _ = x.shape
    for item in part_of(N * C, share):
        n, c = item // C, item % C
        m, a, b = centre[c], scale[c], shift[c]
        row, out = x[n, c], y[n, c]
        for i in range(len(row)):
            value = a * (row[i] - m) + b
            out[i] = floor if value <= floor else value  # a NaN is not <= 0, so it stays


@parallel
def train_gradients(dx, sums, products, dy, y, gates, closed, x, mean, centre, scale, spread, share):
    """`gradient_sums`, then dx, channel by channel: its numbers are still in the cache when they are read again.

    dx = scale*(dy - dbias/m - x̂*dweight/m) is, for each channel, a*dy + b*(x - centre) + c with three numbers; spread
    is m*(var + eps), with m the pixels of a channel, and centre the mean as x's type has it.
    """
    N, C, P = x.shape
    number = dx.dtype.type
    for c in part_of(C, share):
        sum_of_channel(sums, products, dy, y, x, mean, c)
        slope = -scale[c] * products[c] / spread[c]
        shift = -scale[c] * sums[c] / max(1, N * P) - slope * (mean[c] - centre[c])
        numbers = centre[c], number(scale[c]), number(slope), number(shift)
        for n in range(N):
            input_gradient_of_row(dx[n, c], dy[n, c], gates[n, c], closed, x[n, c], numbers)


@parallel
def gradient_sums(sums, products, dy, y, x, mean, share):
    """Per channel the sums of dy and of dy*(x - mean), in float64, where dy is 0 if y <= 0."""
    for c in part_of(x.shape[1], share):
        sum_of_channel(sums, products, dy, y, x, mean, c)


@jit
def sum_of_channel(sums, products, dy, y, x, mean, c):
    total, product = 0.0, 0.0
    for n in range(len(x)):
        s, p = product_sums(dy[n, c], None if y is None else y[n, c], x[n, c], mean[c])
        total += s
        product += p
    sums[c], products[c] = total, product


@jit
def product_sums(dy, y, x, mean):
    total, product = 0.0, 0.0
    for i in range(len(x)):
        g = np.float64(dy[i])
        if y is not None:  # known when this is compiled
            g = 0.0 if y[i] <= 0 else g
        total += g
        product += g * (x[i] - mean)
    return total, product


@parallel
def input_gradient(dx, dy, y, closed, x, centre, scale, slope, shift, share):
    """dx = scale*dy + slope*(x - centre) + shift, where dy is 0 if y <= closed."""
    N, C, _ = x.shape
    for item in part_of(N * C, share):
        n, c = item // C, item % C
        numbers = centre[c], scale[c], slope[c], shift[c]
        input_gradient_of_row(dx[n, c], dy[n, c], y[n, c], closed, x[n, c], numbers)


@jit
def input_gradient_of_row(dx, dy, y, closed, x, numbers):
    m, a, b, d = numbers
    zero = dx.dtype.type(0)
    for i in range(len(x)):
        gradient = dy[i]  # read before the choice, so that the choice needs no branch
        gradient = zero if y[i] <= closed else gradient
        through_statistics = b * (x[i] - m) if b != 0 else zero  # without any, an infinite x does no harm
        dx[i] = a * gradient + through_statistics + d
