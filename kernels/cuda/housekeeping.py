"""What layers, losses and optimisers do with whole arrays; see the end of `kernels.table`.

`weighted_total` and `sum_of_squares` give Python numbers, so they wait for the GPU: once each, whatever they add up.
"""

import numpy as np
from numba import cuda

from ..shapes import check_shape, same_dtype
from . import faults
from .arrays import check_device, empty, empty_like, flat, plain, to_host
from .faults import LABEL, note
from .launch import THREADS, blocks, device_function, kernel, launch
from .reduce import PARTIALS, WIDTH, block_sum
from .update import check_in_place

# ------------------------------------------------------------------ in place


def add_into(total, array):
    check_device(total=total, array=array)
    same_dtype(total=total, array=array)
    check_shape("array", array, total.shape)
    check_in_place(total)
    launch(add, blocks(total.size), THREADS, flat(total), flat(plain(array)))


@kernel
def add(total, x):
    i = cuda.grid(1)
    if i < total.size:
        total[i] += x[i]


def scale(array, factor):
    check_device(array=array)
    dtype = same_dtype(array=array)
    check_in_place(array)
    launch(multiply, blocks(array.size), THREADS, flat(array), dtype.type(factor))


@kernel
def multiply(x, factor):
    i = cuda.grid(1)
    if i < x.size:
        x[i] *= factor


def multiply_into(array, factors):
    check_device(array=array, factors=factors)
    same_dtype(array=array, factors=factors)
    check_shape("factors", factors, tuple(array.shape))
    check_in_place(array)
    launch(multiply_each, blocks(array.size), THREADS, flat(array), flat(plain(factors)))


@kernel
def multiply_each(x, factors):
    i = cuda.grid(1)
    if i < x.size:
        x[i] *= factors[i]


def add_sign_into(total, array, factor):
    check_device(total=total, array=array)
    dtype = same_dtype(total=total, array=array)
    check_shape("array", array, tuple(total.shape))
    check_in_place(total)
    launch(add_sign, blocks(total.size), THREADS, flat(total), flat(plain(array)), dtype.type(factor))


@kernel
def add_sign(total, x, factor):
    i = cuda.grid(1)
    if i < total.size:
        if x[i] > 0:
            total[i] += factor
        elif x[i] < 0:
            total[i] -= factor


def nonzero(array):
    check_device(array=array)
    same_dtype(array=array)
    result = empty_like(array)
    launch(one_where_not_zero, blocks(array.size), THREADS, flat(result), flat(plain(array)))
    return result


@kernel
def one_where_not_zero(y, x):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x.dtype.type(0) if x[i] == 0 else x.dtype.type(1)


# ------------------------------------------------------------------ sums
# In two stages, as `reduce.total`. With this many blocks no thread adds up more than some hundred numbers of even the
# largest arrays, which costs float32 the last digit or two, and the host adds up what the blocks found in float64.

PARTS = 4 * PARTIALS


def weighted_total(losses, target, weight, ignore_index):
    check_device(losses=losses, target=target, weight=weight)
    dtype = same_dtype(losses=losses, weight=weight)
    check_shape("target", target, losses.shape)
    if losses.size == 0:
        return 0.0, 0.0
    losses, partials = flat(plain(losses)), empty((2, min(PARTS, blocks(losses.size, WIDTH))), dtype)
    weights = (losses, False, -1) if weight is None else (plain(weight), True, weight.size)
    rest = flat(plain(target)), *weights, np.int64(ignore_index), faults.board()
    launch(partial_totals, partials.shape[1], WIDTH, partials, losses, *rest)
    total, weight_total = to_host(partials).sum(axis=1, dtype=np.float64).tolist()
    return total, weight_total


@kernel
def partial_totals(partials, losses, target, weight, has_weight, C, ignored, board):
    """Each block's part of both sums. How many classes there are, the weights tell: without them any label is right."""
    zero, one = losses.dtype.type(0), losses.dtype.type(1)
    lines = cuda.shared.array(WIDTH, losses.dtype)
    i, total, weights = cuda.grid(1), zero, zero
    while i < losses.size:
        total += losses[i]
        label = np.int64(target[i])
        if label != ignored:
            if not has_weight:
                weights += one
            elif 0 <= label < C:
                weights += weight[label]
            else:
                note(board, LABEL, i, label, C - 1)
        i += cuda.gridsize(1)
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    weights = block_sum(weights, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        partials[0, cuda.blockIdx.x] = total
        partials[1, cuda.blockIdx.x] = weights


def sum_of_squares(arrays):
    check_device(**{f"array {i}": array for i, array in enumerate(arrays)})
    arrays = [array for array in arrays if array.size]
    if not arrays:
        return 0.0
    dtype = same_dtype(**{f"array {i}": array for i, array in enumerate(arrays)})
    parts = [min(PARTS, blocks(array.size, WIDTH)) for array in arrays]
    partials = empty((sum(parts),), dtype)
    for i, array in enumerate(arrays):
        launch(partial_squares, parts[i], WIDTH, partials, sum(parts[:i]), flat(plain(array)))
    return float(to_host(partials).sum(dtype=np.float64))


@kernel
def partial_squares(partials, first, x):
    """Each block's part of the sum, to partials[first + block]."""
    lines = cuda.shared.array(WIDTH, x.dtype)
    i, total = cuda.grid(1), x.dtype.type(0)
    while i < x.size:
        total += x[i] * x[i]
        i += cuda.gridsize(1)
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        partials[first + cuda.blockIdx.x] = total


# ------------------------------------------------------------------ batch normalisation


def batch_norm_running(running_mean, running_var, mean, var, momentum, count):
    arrays = {"running_mean": running_mean, "running_var": running_var, "mean": mean, "var": var}
    check_device(**arrays)
    dtype = same_dtype(**arrays)
    for name, array in arrays.items():
        check_shape(name, array, running_mean.shape)
    if count < 2:
        raise ValueError(f"{count} values per channel have no unbiased variance; at least 2 are needed")
    new_mean, new_var = empty_like(running_mean), empty_like(running_var)
    numbers = [dtype.type(number) for number in (1 - momentum, momentum, momentum * count / (count - 1))]
    found = [plain(array) for array in arrays.values()]
    launch(move_statistics, blocks(new_mean.size), THREADS, new_mean, new_var, *found, *numbers)
    return new_mean, new_var


@kernel
def move_statistics(new_mean, new_var, running_mean, running_var, mean, var, keep, momentum, momentum_of_var):
    c = cuda.grid(1)
    if c < new_mean.size:
        new_mean[c] = keep * running_mean[c] + momentum * mean[c]
        new_var[c] = keep * running_var[c] + momentum_of_var * var[c]


# ------------------------------------------------------------------ dropout
# Numbers that look random can be computed from an element's position alone: encrypt it with a key. So threads need no
# state, and the mask depends on the key only, not on the grid. The host draws the key.

ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)  # all numbers are below 2^32, and computed as uint64, in which their products fit
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
KEY_STEPS = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # the golden ratio's digits, and the square root of 3's
WORDS = 4  # numbers that come out at once


def dropout_mask(shape, p, rng):
    if not 0 <= p <= 1:
        raise ValueError(f"p must be from 0 to 1, got {p}")
    keep, key = empty(shape, np.bool_), rng.integers(2**32, size=2, dtype=np.uint64)
    limit = np.uint64(round(p * 2**32))  # a number below 2^32 is below the limit with probability p
    launch(draw_mask, blocks(blocks(keep.size, WORDS)), THREADS, flat(keep), limit, key[0], key[1])
    return keep


@kernel
def draw_mask(keep, limit, key0, key1):
    """One thread for each four elements."""
    i = cuda.grid(1)
    a, b, c, d = philox(np.uint64(i) & LOW, np.uint64(i) >> HALF, np.uint64(0), np.uint64(0), key0, key1)
    i *= WORDS
    if i < keep.size:
        keep[i] = a >= limit
    if i + 1 < keep.size:
        keep[i + 1] = b >= limit
    if i + 2 < keep.size:
        keep[i + 2] = c >= limit
    if i + 3 < keep.size:
        keep[i + 3] = d >= limit


@device_function
def philox(a, b, c, d, key0, key1):
    """Philox4x32-10: four numbers below 2^32 from a counter of four such numbers and a key of two.

    Source: Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011).
    """
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]
        a, b, c, d = (second >> HALF) ^ b ^ key0, second & LOW, (first >> HALF) ^ d ^ key1, first & LOW
        key0, key1 = (key0 + KEY_STEPS[0]) & LOW, (key1 + KEY_STEPS[1]) & LOW
    return a, b, c, d
