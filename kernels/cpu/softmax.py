"""Softmax cross-entropy, fused: the scores are read from memory once, and what happens to them stays in the cache.

Pixels are taken in chunks. Within a chunk the channels are the outer loop and the pixels, which are neighbours in
memory, the inner one, so that the compiler turns each inner loop into vector instructions.
"""

import math

import numpy as np
from numba import types
from numba.extending import overload

from ..reference.softmax import check_target
from ..shapes import check_shape, same_dtype
from .arrays import plain
from .jit import FAST, jit, parallel, part_of
from .memory import empty

CHUNK = 512  # pixels: even with a hundred classes, scores and p of a chunk fit into a usual L2 cache


def softmax_cross_entropy_forward(scores, target, weight, ignore_index, label_smoothing):
    dtype = same_dtype(scores=scores, weight=weight)
    check_target(scores, target, weight, ignore_index)
    losses, p = empty(target.shape, dtype), empty(scores.shape, dtype)
    q = shares(scores.shape[1], weight, label_smoothing)
    probabilities(per_pixel(losses), per_class(p), per_class(plain(scores)), labels(target), int(ignore_index), *q)
    return losses, p


def softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, label_smoothing):
    one_each = np.ndim(dlosses) > 0
    dtype = same_dtype(dlosses=dlosses if one_each else None, p=p, weight=weight)
    check_target(p, target, weight, ignore_index)  # a label out of range would write where it must not
    if one_each:
        check_shape("dlosses", dlosses, target.shape)
    else:
        dlosses = np.full(target.shape, dlosses, dtype)
    dscores = empty(p.shape, dtype)
    q = shares(p.shape[1], weight, label_smoothing)
    gradient(per_class(dscores), per_pixel(plain(dlosses)), per_class(plain(p)), labels(target), int(ignore_index), *q)
    return dscores


def shares(classes, weight, label_smoothing):
    """The two parts of q, (C,) each in float64: of the label's own class, and of any class."""
    w = np.ones(classes) if weight is None else weight.astype(np.float64)
    return (1 - label_smoothing) * w, label_smoothing / classes * w


def per_class(a):
    """(N, C, ...) as (N, C, pixels)."""
    return a.reshape(*a.shape[:2], math.prod(a.shape[2:]))


def per_pixel(a):
    """(N, ...) as (N, pixels)."""
    return a.reshape(len(a), math.prod(a.shape[1:]))


def labels(target):
    """target as (N, pixels) in the one integer type that the kernels are compiled for."""
    return per_pixel(plain(target.astype(np.int64, copy=False)))


@parallel
def probabilities(losses, p, scores, target, ignored, own, any_class, share):
    """p = softmax of the scores; losses = own[t]*nll[t] + sum over c of any_class[c]*nll[c], where nll = -log p."""
    N, C, pixels = scores.shape
    chunks = -(-pixels // CHUNK)
    for item in part_of(N * chunks, share):
        n, start = item // chunks, item % chunks * CHUNK
        stop = min(pixels, start + CHUNK)
        chunk_of_probabilities(losses[n], p[n], scores[n], target[n], start, stop, ignored, own, any_class)


@jit
def chunk_of_probabilities(losses, p, scores, target, start, stop, ignored, own, any_class):
    """The largest score of a pixel is taken off all its scores, which changes nothing, and no exp can overflow:

    p[c] = exp(x[c] - peak) / total, -log p[c] = log(total) - (x[c] - peak), total = sum over c of exp(x[c] - peak).
    """
    size, every = stop - start, 0.0
    label, weight = np.empty(size, np.int32), np.empty(size)
    label_of_each(label, weight, target[start:stop], ignored, own)
    peak, higher, total = np.empty(size, scores.dtype), np.empty(size, scores.dtype), np.empty(size, scores.dtype)
    picked, smooth = np.empty(size, scores.dtype), np.empty(size)
    zero, one = scores.dtype.type(0), scores.dtype.type(1)
    for i in range(size):  # loops, not np.zeros or .sum(): Numba compiles them in a fraction of the time
        peak[i], total[i], picked[i], smooth[i] = scores[0, start + i], 0, 0, 0
    for c in range(1, len(scores)):
        x = scores[c, start:stop]
        for i in range(size):
            score, highest = x[i], peak[i]  # read before the choice, so that the choice needs no branch
            higher[i] = score if score > highest else highest
        peak, higher = higher, peak  # into one and the same array the compiler would write only what is new, slowly
    for c in range(len(scores)):
        x, y, this = scores[c, start:stop], p[c, start:stop], np.int32(c)
        every += any_class[c]
        for i in range(size):
            y[i] = exp(x[i] - peak[i])
        for i in range(size):
            total[i] += y[i]
        for i in range(size):
            below = x[i] - peak[i]
            picked[i] += below if label[i] == this else zero
        if any_class[c] != 0:  # where a share is 0 nothing is added, also where -log p is infinite: 0 * inf is NaN
            for i in range(size):
                smooth[i] += any_class[c] * (peak[i] - x[i])
    log_total, part = higher, peak  # arrays that are no longer needed
    for i in range(size):
        log_total[i] = log(total[i])
    for i in range(size):
        part[i] = one / total[i]
    for c in range(len(scores)):
        y = p[c, start:stop]
        for i in range(size):
            y[i] *= part[i]
    for i in range(size):
        loss = weight[i] * (log_total[i] - np.float64(picked[i]))
        losses[start + i] = loss if weight[i] != 0 else 0.0
    if every != 0:
        for i in range(size):
            losses[start + i] += every * log_total[i] + smooth[i] if label[i] >= 0 else 0.0


@jit
def label_of_each(label, weight, target, ignored, own):
    """label = target, weight = own[target]; -1 and 0 where the target is `ignored`."""
    for i in range(len(label)):
        label[i] = np.int32(-1) if target[i] == ignored else np.int32(target[i])
    for i in range(len(label)):
        share = own[max(label[i], 0)]  # read before the choice, so that the choice needs no branch
        weight[i] = 0.0 if label[i] < 0 else share


def exp(x):
    """exp of a number x <= 0, for compiled code: NumPy's is a call for each number, this one runs on vectors.

    exp(x) = 2^n * exp(r) with n = round(x / ln 2), so that |r| <= ln(2)/2 and a few terms of the Taylor series do; 2^n
    is written right into the exponent bits of a floating number. Below `lowest`, where that would not fit, it is 0.
    """
    raise NotImplementedError("exp is for compiled code; use np.exp elsewhere")


@overload(exp, jit_options={"fastmath": FAST})
def exp_of_type(x):
    """The same formula with the constants of x's type."""
    if x == types.float32:
        real, integer, bias, mantissa, lowest, degree = np.float32, np.int32, 127, 23, -87, 7
    else:
        real, integer, bias, mantissa, lowest, degree = np.float64, np.int64, 1023, 52, -708, 11
    ln2, per_ln2, zero, lowest = real(math.log(2)), real(1 / math.log(2)), real(0), real(lowest)
    series = tuple(real(1 / math.factorial(k)) for k in range(degree, -1, -1))

    def compiled(x):
        inside = x if x > lowest else lowest  # so it is for a NaN, which has no n
        n = np.rint(inside * per_ln2)
        r, total = inside - n * ln2, zero
        for coefficient in series:
            total = total * r + coefficient
        power = integer((integer(np.int32(n)) + bias) << mantissa).view(real)
        return total * power if x > lowest else x if x != x else zero

    return compiled


def log(x):
    """log of a positive number, for compiled code, on vectors.

    log(x) = n * ln 2 + log(m), with x = 2^n * m and m between sqrt(1/2) and sqrt(2): n is read from the exponent bits.
    log(m) = 2 * (s + s^3/3 + s^5/5 + ...), with s = (m - 1)/(m + 1), which is less than 0.18.
    """
    raise NotImplementedError("log is for compiled code; use np.log elsewhere")


@overload(log, jit_options={"fastmath": FAST})
def log_of_type(x):
    """The same formula with the constants of x's type."""
    if x == types.float32:
        real, integer, bias, mantissa, terms = np.float32, np.int32, 127, 23, 6
    else:
        real, integer, bias, mantissa, terms = np.float64, np.int64, 1023, 52, 12
    ln2, one, two, half, root, zero = (real(v) for v in (math.log(2), 1, 2, 0.5, math.sqrt(2), 0))
    series = tuple(real(1 / (2 * k + 1)) for k in range(terms - 1, -1, -1))
    fraction, exponent = (1 << mantissa) - 1, bias << mantissa

    def compiled(x):
        bits = real(x).view(integer)
        n = real(np.int32(bits >> mantissa) - np.int32(bias))
        m = integer((bits & fraction) | exponent).view(real)  # between 1 and 2
        large = m > root
        m, n = m * half if large else m, n + one if large else n
        s = (m - one) / (m + one)
        square, total = s * s, zero
        for coefficient in series:
            total = total * square + coefficient
        return n * ln2 + two * s * total if x == x else x

    return compiled


@parallel
def gradient(dscores, dlosses, p, target, ignored, own, any_class, share):
    """dscores[c] = dlosses * (p[c] * sum over k of q[k] - q[c]), q[c] = own[c]*(c == t) + any_class[c]."""
    N, C, pixels = p.shape
    chunks = -(-pixels // CHUNK)
    for item in part_of(N * chunks, share):
        n, start = item // chunks, item % chunks * CHUNK
        stop = min(pixels, start + CHUNK)
        chunk_of_gradient(dscores[n], dlosses[n], p[n], target[n], start, stop, ignored, own, any_class)


@jit
def chunk_of_gradient(dscores, dlosses, p, target, start, stop, ignored, own, any_class):
    size, every, zero = stop - start, 0.0, p.dtype.type(0)
    for c in range(len(p)):
        every += any_class[c]
    label, sum_of_q = np.empty(size, np.int32), np.empty(size, p.dtype)
    label_of_each(label, sum_of_q, target[start:stop], ignored, own)
    for i in range(size):
        sum_of_q[i] += every
    dloss = dlosses[start:stop]
    for c in range(len(p)):
        y, dx, this = p[c, start:stop], dscores[c, start:stop], np.int32(c)
        part, whole = p.dtype.type(any_class[c]), p.dtype.type(any_class[c] + own[c])
        for i in range(size):
            gradient = dloss[i] * (y[i] * sum_of_q[i] - (whole if label[i] == this else part))
            dx[i] = gradient if label[i] >= 0 else zero
