"""Batch normalisation: sums over all pixels of a channel, then one formula for each pixel.

A sum has two stages: each block writes what its share of a channel gives, then one block for each channel puts the
shares together, in a tree. How a channel is shared out is told in `channels`. Forward is three launches, backward too:

    forward    statistics of the shares, of the channels; y        x is read twice, y written once
    backward   sums over the shares, over the channels; dx         dy, x (with ReLU y) are read twice, dx written once

With a ReLU behind, the same kernels do its work: forward, y is at least `floor`, which is -inf without; backward, dy
counts as 0 where gate <= closed, and without ReLU the gate is dy itself and `closed` NaN, which nothing is <= to.

Sources: Ioffe and Szegedy, Batch Normalization (2015), section 3; Chan, Golub, LeVeque, Algorithms for computing the
sample variance (1983).
"""

import math

import numpy as np
from numba import cuda

from ..shapes import check_rank, check_shape, same_dtype
from .arrays import check_device, empty, empty_like, flat, plain, zeros
from .channels import BATCH, Walk, first_pixel, next_pixels
from .launch import device_function, kernel, launch
from .reduce import WIDTH, block_sum

# ------------------------------------------------------------------ forward


def batch_norm_train_forward(x, weight, bias, eps):
    return train_forward(x, weight, bias, eps, -np.inf)


def batch_norm_relu_train_forward(x, weight, bias, eps):
    return train_forward(x, weight, bias, eps, 0)


def train_forward(x, weight, bias, eps, floor):
    check_device(x=x, weight=weight, bias=bias)
    dtype = same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    x, C = plain(x), x.shape[1]
    if x.size == 0:
        mean, var, rest = zeros((C,), dtype), zeros((C,), dtype), None
    else:
        mean, var, rest = empty((C,), dtype), empty((C,), dtype), empty((C,), dtype)
        walk = Walk(x)
        partials = empty((3, *walk.grid), dtype)
        walk.launch(partial_statistics, partials, flat(x))
        launch(statistics, C, WIDTH, mean, var, rest, partials, flat(x), x.shape[2] * x.shape[3])
    return normalised(x, weight, bias, mean, var, rest, eps, floor), mean, var


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    return eval_forward(x, weight, bias, mean, var, eps, -np.inf)


def batch_norm_relu_eval_forward(x, weight, bias, mean, var, eps):
    return eval_forward(x, weight, bias, mean, var, eps, 0)


def eval_forward(x, weight, bias, mean, var, eps, floor):
    check_device(x=x, weight=weight, bias=bias, mean=mean, var=var)
    same_dtype(x=x, weight=weight, bias=bias, mean=mean, var=var)
    check_rank("x", x, 4, "(N, C, H, W)")
    return normalised(plain(x), weight, bias, plain(mean), plain(var), None, eps, floor)


def normalised(x, weight, bias, mean, var, rest, eps, floor):
    """y of a plain x. weight, bias and rest may be None: kernels get another array then, and that it does not count."""
    y, number = empty_like(x), x.dtype.type
    for name, array in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if array is not None:
            check_shape(name, array, tuple(x.shape)[1:2])
    options = [array for a in (weight, bias, rest) for array in ((mean, False) if a is None else (plain(a), True))]
    if x.size:
        Walk(x).launch(normalise, flat(y), flat(x), mean, var, *options, number(eps), number(floor))
    return y


@kernel
def partial_statistics(partials, x, walk):
    """How many pixels each share has, their mean, and the sum of squared distances from it: partials (3, C, parts).

    Everything is counted from the channel's first value. Beside a large mean float32 has few digits left for what
    differs from pixel to pixel; of the differences it keeps them all. A thread takes its pixels in by the batch:

        new mean = mean + sum of (value - mean) / seen,   squares += sum of (value - mean)*(value - new mean)
    """
    zero, one = x.dtype.type(0), x.dtype.type(1)
    lines = cuda.shared.array((3, WIDTH), x.dtype)
    places, values = cuda.local.array(BATCH, np.uint64), cuda.local.array(BATCH, x.dtype)
    origin = x[cuda.blockIdx.x * walk[2]]
    seen, mean, squares = zero, zero, zero
    left, place, p = first_pixel(walk)
    while left > 0:
        place, p = next_pixels(places, left, place, p, walk)
        for k in range(BATCH):
            values[k] = x[places[k]]
        total = zero
        for k in range(BATCH):
            values[k] = values[k] - origin if k < left else mean  # the mean itself changes nothing
            seen += one if k < left else zero
            total += values[k] - mean
        middle = mean + total / seen
        for k in range(BATCH):
            squares += (values[k] - mean) * (values[k] - middle)
        mean = middle
        left = np.int32(left - BATCH)
    seen, mean, squares = merged_over_block(seen, mean, squares, lines)
    if cuda.threadIdx.x == 0:
        c, part = cuda.blockIdx.x, cuda.blockIdx.y
        partials[0, c, part], partials[1, c, part], partials[2, c, part] = seen, mean, squares


@kernel
def statistics(mean, var, rest, partials, x, P):
    """One block for each channel puts its shares together.

    The mean as such is rounded to its own last digit, which for a large mean may be much beside the spread: `rest`
    is what that took away.
    """
    zero = partials.dtype.type(0)
    lines = cuda.shared.array((3, WIDTH), partials.dtype)
    c, part = cuda.blockIdx.x, cuda.threadIdx.x
    seen, middle, squares = zero, zero, zero
    while part < partials.shape[2]:
        seen, middle, squares = merged(
            seen, middle, squares, partials[0, c, part], partials[1, c, part], partials[2, c, part]
        )
        part += WIDTH
    seen, middle, squares = merged_over_block(seen, middle, squares, lines)
    if cuda.threadIdx.x == 0:
        origin = x[c * P]
        rounded = origin + middle
        mean[c] = rounded
        var[c] = squares / seen
        rest[c] = (origin - rounded) + middle


@device_function
def merged(seen, mean, squares, seen2, mean2, squares2):
    """Number, mean and squared distances of two sets of values together (Chan, Golub, LeVeque, 1983)."""
    both = seen + seen2
    share = seen2 / both if seen2 > 0 else seen2
    apart = mean2 - mean
    return both, mean + apart * share, squares + squares2 + apart * apart * seen * share


@device_function
def merged_over_block(seen, mean, squares, lines):
    """Those of all threads of the block together, in a tree, as `block_sum` does it. lines is shared, (3, WIDTH)."""
    thread, half = cuda.threadIdx.x, WIDTH // 2
    lines[0, thread], lines[1, thread], lines[2, thread] = seen, mean, squares
    cuda.syncthreads()
    while half > 0:
        if thread < half:
            lines[0, thread], lines[1, thread], lines[2, thread] = merged(
                lines[0, thread],
                lines[1, thread],
                lines[2, thread],
                lines[0, thread + half],
                lines[1, thread + half],
                lines[2, thread + half],
            )
        cuda.syncthreads()
        half //= 2
    return lines[0, 0], lines[1, 0], lines[2, 0]


@kernel
def normalise(y, x, mean, var, weight, has_weight, bias, has_bias, rest, has_rest, eps, floor, walk):
    """y = (x - mean)*scale + shift, at least floor. Subtracting first keeps the digits of a small spread."""
    places, values = cuda.local.array(BATCH, np.uint64), cuda.local.array(BATCH, x.dtype)
    c, zero = cuda.blockIdx.x, x.dtype.type(0)
    centre, scale = mean[c], scale_of(weight, has_weight, var, eps)
    shift = (bias[c] if has_bias else zero) - (rest[c] if has_rest else zero) * scale
    left, place, p = first_pixel(walk)
    while left > 0:
        place, p = next_pixels(places, left, place, p, walk)
        for k in range(BATCH):
            values[k] = x[places[k]]
        for k in range(BATCH):
            value = (values[k] - centre) * scale + shift
            y[places[k]] = floor if value <= floor else value  # a NaN is not <= 0, so it stays
        left = np.int32(left - BATCH)


@device_function
def scale_of(weight, has_weight, var, eps):
    """weight / sqrt(var + eps) of this block's channel, the factor that x is multiplied by."""
    c = cuda.blockIdx.x
    return (weight[c] if has_weight else var.dtype.type(1)) / math.sqrt(var[c] + eps)


# ------------------------------------------------------------------ backward


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    return gradients(dy, None, x, weight, mean, var, eps, training=True)


def batch_norm_relu_train_backward(dy, y, x, weight, mean, var, eps):
    return gradients(dy, y, x, weight, mean, var, eps, training=True)


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    return gradients(dy, None, x, weight, mean, var, eps, training=False)


def batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps):
    return gradients(dy, y, x, weight, mean, var, eps, training=False)


def gradients(dy, y, x, weight, mean, var, eps, training):
    """(dx, dweight, dbias). y is None without ReLU."""
    check_device(dy=dy, y=y, x=x, weight=weight, mean=mean, var=var)
    dtype = same_dtype(dy=dy, x=x, y=y, weight=weight, mean=mean, var=var)
    check_shape("dy", dy, x.shape)
    check_rank("x", x, 4, "(N, C, H, W)")
    if y is not None:
        check_shape("y", y, x.shape)
    C = x.shape[1]
    for name, array in (("mean", mean), ("var", var), ("weight", weight)):
        if array is not None:
            check_shape(name, array, (C,))
    dy, x, mean, var, number = plain(dy), plain(x), plain(mean), plain(var), dtype.type
    dx = empty_like(x)
    if x.size == 0:
        return dx, zeros((C,), dtype), zeros((C,), dtype)
    dweight, dbias, walk = empty((C,), dtype), empty((C,), dtype), Walk(x)
    gate = (flat(dy), number(np.nan)) if y is None else (flat(plain(y)), number(0))
    partials = empty((2, *walk.grid), dtype)
    walk.launch(partial_gradients, partials, flat(dy), *gate, flat(x), mean)
    launch(gradients_of_channels, C, WIDTH, dweight, dbias, partials, var, number(eps))
    weights = (mean, False) if weight is None else (plain(weight), True)
    statistics = dweight, dbias, mean, var, *weights, number(eps)
    walk.launch(input_gradient, flat(dx), flat(dy), *gate, flat(x), *statistics, number(walk.count), training)
    return dx, dweight, dbias


@kernel
def partial_gradients(partials, dy, gate, closed, x, mean, walk):
    """The sums of dy and of dy*(x - mean) over each share: partials (2, C, parts)."""
    zero = x.dtype.type(0)
    lines = cuda.shared.array(WIDTH, x.dtype)
    places, values = cuda.local.array(BATCH, np.uint64), cuda.local.array(BATCH, x.dtype)
    slopes = cuda.local.array(BATCH, x.dtype)
    centre, total, product = mean[cuda.blockIdx.x], zero, zero
    left, place, p = first_pixel(walk)
    while left > 0:
        place, p = next_pixels(places, left, place, p, walk)
        for k in range(BATCH):
            slope = dy[places[k]]
            slopes[k] = zero if gate[places[k]] <= closed else slope
            values[k] = x[places[k]]
        for k in range(BATCH):
            total += slopes[k] if k < left else zero
            product += slopes[k] * (values[k] - centre) if k < left else zero
        left = np.int32(left - BATCH)
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    product = block_sum(product, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        partials[0, cuda.blockIdx.x, cuda.blockIdx.y] = total
        partials[1, cuda.blockIdx.x, cuda.blockIdx.y] = product


@kernel
def gradients_of_channels(dweight, dbias, partials, var, eps):
    """One block for each channel adds up its shares."""
    lines = cuda.shared.array(WIDTH, partials.dtype)
    c, part = cuda.blockIdx.x, cuda.threadIdx.x
    total, product = partials.dtype.type(0), partials.dtype.type(0)
    while part < partials.shape[2]:
        total += partials[0, c, part]
        product += partials[1, c, part]
        part += WIDTH
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    product = block_sum(product, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        dbias[c] = total
        dweight[c] = product / math.sqrt(var[c] + eps)  # sum of dy*x^, with x^ = (x - mean)/sqrt(var + eps)


@kernel
def input_gradient(dx, dy, gate, closed, x, dweight, dbias, mean, var, weight, has_weight, eps, m, training, walk):
    """dx = scale*(dy - dbias/m - x^*dweight/m) with m pixels each; in eval mode scale*dy alone.

    For each channel that is scale*dy + slope*(x - mean) + shift, with three numbers.
    """
    places, values = cuda.local.array(BATCH, np.uint64), cuda.local.array(BATCH, x.dtype)
    slopes = cuda.local.array(BATCH, x.dtype)
    c, zero = cuda.blockIdx.x, x.dtype.type(0)
    centre, scale, slope, shift = mean[c], scale_of(weight, has_weight, var, eps), zero, zero
    if training:
        slope = -scale * dweight[c] / (math.sqrt(var[c] + eps) * m)
        shift = -scale * dbias[c] / m
    left, place, p = first_pixel(walk)
    while left > 0:
        place, p = next_pixels(places, left, place, p, walk)
        for k in range(BATCH):
            gradient = dy[places[k]]
            slopes[k] = zero if gate[places[k]] <= closed else gradient
            values[k] = x[places[k]]
        for k in range(BATCH):
            through_statistics = slope * (values[k] - centre) if slope != 0 else zero  # an infinite x then does no harm
            dx[places[k]] = scale * slopes[k] + through_statistics + shift
        left = np.int32(left - BATCH)
