"""Softmax, log-softmax and the cross-entropy that is fused with them.

x is seen as (outer, length, inner) with the axis in question in the middle: a line is x[o, :, i]. Of an image's scores
(N, C, H, W) along the channels, inner is H*W and lines are short, so one thread owns a line: it steps from channel to
channel, and its neighbours stand at the neighbouring pixels. Where instead the elements of a long line are neighbours,
a whole block works on it, and adds up in shared memory. Both are one kernel with blocks (team, lines) of two shapes.

Source: as in `kernels.reference.softmax`. A thread reads its line again rather than keep it: it comes from the cache.
"""

import math

import numpy as np
from numba import cuda

from ..errors import ShapeError
from ..shapes import check_shape, same_dtype
from . import faults
from .arrays import check_device, empty, empty_like, flat, plain
from .faults import LABEL, note
from .launch import THREADS, blocks, device_function, kernel, launch
from .reduce import WIDTH, block_sum

APART = 32  # elements of memory: from here on neighbouring lines are what a warp should read at once
LOWEST, NOTHING = -math.inf, math.nan


def along_lines(kernel, dim, *arrays):
    """A new array y of the first array's shape, from kernel(y, *arrays, lines, length, inner), line by line."""
    y, shape = empty_like(arrays[0]), tuple(arrays[0].shape)
    if not -len(shape) <= dim < len(shape):
        raise np.exceptions.AxisError(dim, len(shape))
    dim %= len(shape)
    length, inner = shape[dim], math.prod(shape[dim + 1 :])
    lines = math.prod(shape[:dim]) * inner
    team = WIDTH if inner < APART and length >= WIDTH else 1
    if y.size:
        grid, block = blocks(lines, WIDTH // team), (team, WIDTH // team)
        launch(kernel, grid, block, flat(y), *(flat(plain(a)) for a in arrays), lines, length, inner)
    return y


@device_function
def line_of_thread(lines, length, inner):
    """(start, step, count): where in memory this thread's part of its line is, every team-th element of it.

    A thread for which there is no line has nothing to do, but the barriers need every thread.
    """
    member, team = cuda.threadIdx.x, cuda.blockDim.x
    line = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    start = line // inner * length * inner + line % inner + member * inner
    return start, team * inner, (length - member + team - 1) // team if line < lines else 0


@device_function
def own_part(shared):
    """The elements of a shared array that this thread's team has to itself."""
    return shared[cuda.threadIdx.y * cuda.blockDim.x : (cuda.threadIdx.y + 1) * cuda.blockDim.x]


@device_function
def team_max(value, own, thread, width):
    """The largest value of a team's threads; like `block_sum`."""
    own[thread] = value
    cuda.syncthreads()
    half = width // 2
    while half > 0:
        if thread < half:
            own[thread] = max(own[thread], own[thread + half])
        cuda.syncthreads()
        half //= 2
    peak = own[0]
    cuda.syncthreads()
    return peak


@device_function
def peak_and_total(x, own, start, step, count):
    """The largest element of a line, and the sum of exp(x - peak): no exp can overflow, the largest is exp(0) = 1."""
    peak = x.dtype.type(LOWEST)
    for k in range(count):
        peak = max(peak, x[start + k * step])
    peak = team_max(peak, own, cuda.threadIdx.x, cuda.blockDim.x)
    total = x.dtype.type(0)
    for k in range(count):
        total += math.exp(x[start + k * step] - peak)
    return peak, block_sum(total, own, cuda.threadIdx.x, cuda.blockDim.x)


# ------------------------------------------------------------------ softmax


def softmax_forward(x, dim):
    check_device(x=x)
    same_dtype(x=x)
    return along_lines(softmax, dim, x)


@kernel
def softmax(y, x, lines, length, inner):
    own = own_part(cuda.shared.array(WIDTH, x.dtype))
    start, step, count = line_of_thread(lines, length, inner)
    peak, total = peak_and_total(x, own, start, step, count)
    for k in range(count):
        y[start + k * step] = math.exp(x[start + k * step] - peak) / total


def softmax_backward(dy, y, dim):
    check_device(dy=dy, y=y)
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    return along_lines(softmax_gradient, dim, dy, y)


@kernel
def softmax_gradient(dx, dy, y, lines, length, inner):
    """dx = y * (dy - total), total = sum of dy*y, since dy[k]/dx[c] = y[k]*((k == c) - y[c])."""
    own = own_part(cuda.shared.array(WIDTH, y.dtype))
    start, step, count = line_of_thread(lines, length, inner)
    total = y.dtype.type(0)
    for k in range(count):
        total += dy[start + k * step] * y[start + k * step]
    total = block_sum(total, own, cuda.threadIdx.x, cuda.blockDim.x)
    for k in range(count):
        dx[start + k * step] = y[start + k * step] * (dy[start + k * step] - total)


def log_softmax_forward(x, dim):
    check_device(x=x)
    same_dtype(x=x)
    return along_lines(log_softmax, dim, x)


@kernel
def log_softmax(y, x, lines, length, inner):
    own = own_part(cuda.shared.array(WIDTH, x.dtype))
    start, step, count = line_of_thread(lines, length, inner)
    peak, total = peak_and_total(x, own, start, step, count)
    for k in range(count):
        y[start + k * step] = x[start + k * step] - peak - math.log(total)


def log_softmax_backward(dy, y, dim):
    check_device(dy=dy, y=y)
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    return along_lines(log_softmax_gradient, dim, dy, y)


@kernel
def log_softmax_gradient(dx, dy, y, lines, length, inner):
    """dx = dy - exp(y)*total, total = sum of dy: dy[k]/dx[c] = (k == c) - exp(y[c])."""
    own = own_part(cuda.shared.array(WIDTH, y.dtype))
    start, step, count = line_of_thread(lines, length, inner)
    total = y.dtype.type(0)
    for k in range(count):
        total += dy[start + k * step]
    total = block_sum(total, own, cuda.threadIdx.x, cuda.blockDim.x)
    for k in range(count):
        dx[start + k * step] = dy[start + k * step] - math.exp(y[start + k * step]) * total


# ------------------------------------------------------------------ cross-entropy
# q[c] = own*w[t]*(c == t) + any_class*w[c], with own = 1 - label_smoothing and any_class = label_smoothing/C, is the
# distribution asked for; the loss is -sum of q[c]*log p[c]. One thread for each element of target (pixel).


def softmax_cross_entropy_forward(scores, target, weight, ignore_index, label_smoothing):
    check_device(scores=scores, target=target, weight=weight)
    dtype = same_dtype(scores=scores, weight=weight)
    check_target(scores, target, weight)
    losses, p, C, P = empty(target.shape, dtype), empty_like(scores), scores.shape[1], math.prod(scores.shape[2:])
    scores = flat(plain(scores))
    arrays = flat(losses), flat(p), scores, flat(plain(target))
    q = distribution(scores, C, weight, label_smoothing)
    launch(cross_entropy, blocks(losses.size), THREADS, *arrays, *q, np.int64(ignore_index), C, P, faults.board())
    return losses, p


@kernel
def cross_entropy(losses, p, scores, target, weight, has_weight, own, any_class, ignored, C, P, board):
    """-log p[c] = log(total) - (scores[c] - peak), with peak and total of the pixel's scores as for softmax.

    What has no part in the loss is not multiplied by 0 but left out: its -log p may be infinite.
    """
    i = cuda.grid(1)
    if i >= losses.size:
        return
    start, zero, one = i // P * C * P + i % P, scores.dtype.type(0), scores.dtype.type(1)
    peak, total = scores.dtype.type(LOWEST), zero
    for c in range(C):
        peak = max(peak, scores[start + c * P])
    for c in range(C):
        total += math.exp(scores[start + c * P] - peak)
    log_total, smooth = math.log(total), zero
    for c in range(C):
        below = scores[start + c * P] - peak
        p[start + c * P] = math.exp(below) / total
        share = any_class * weight[c] if has_weight else any_class
        if share != 0:
            smooth += share * (log_total - below)
    label = np.int64(target[i])
    if label == ignored:
        losses[i] = zero
    elif 0 <= label < C:
        share = own * (weight[label] if has_weight else one)
        if share != 0:
            smooth += share * (log_total - (scores[start + label * P] - peak))
        losses[i] = smooth
    else:
        losses[i] = scores.dtype.type(NOTHING)
        note(board, LABEL, i, label, C - 1)


def softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, label_smoothing):
    one_each = np.ndim(dlosses) > 0
    check_device(dlosses=dlosses if one_each else None, p=p, target=target, weight=weight)
    dtype = same_dtype(dlosses=dlosses if one_each else None, p=p, weight=weight)
    check_target(p, target, weight)
    if one_each:
        check_shape("dlosses", dlosses, target.shape)
    dscores, C, P, p = empty_like(p), p.shape[1], math.prod(p.shape[2:]), flat(plain(p))
    slopes = (flat(plain(dlosses)), True, dtype.type(0)) if one_each else (p, False, dtype.type(dlosses))
    q = distribution(p, C, weight, label_smoothing)
    rest = p, flat(plain(target)), *q, np.int64(ignore_index), C, P, faults.board()
    launch(cross_entropy_gradient, blocks(target.size), THREADS, flat(dscores), *slopes, *rest)
    return dscores


@kernel
def cross_entropy_gradient(
    dscores, dlosses, one_each, dloss_of_all, p, target, weight, has_weight, own, any_class, ignored, C, P, board
):
    """dscores[k] = dloss * (p[k] * sum over c of q[c] - q[k]), since d(log p[c])/d(scores[k]) = (c == k) - p[k]."""
    i = cuda.grid(1)
    if i >= target.size:
        return
    start, zero, one = i // P * C * P + i % P, p.dtype.type(0), p.dtype.type(1)
    label, dloss = np.int64(target[i]), dlosses[i] if one_each else dloss_of_all
    if label == ignored:
        for c in range(C):
            dscores[start + c * P] = zero  # also where p is NaN
    elif 0 <= label < C:
        share = own * (weight[label] if has_weight else one)
        whole = share
        for c in range(C):
            whole += any_class * weight[c] if has_weight else any_class
        for c in range(C):
            q = (any_class * weight[c] if has_weight else any_class) + (share if c == label else zero)
            dscores[start + c * P] = dloss * (p[start + c * P] * whole - q)
    else:
        for c in range(C):
            dscores[start + c * P] = p.dtype.type(NOTHING)
        note(board, LABEL, i, label, C - 1)


def distribution(scores, C, weight, label_smoothing):
    """What q is made of, as the kernels take it: weight, whether there is one, own, any_class."""
    number = scores.dtype.type
    weights = (scores, False) if weight is None else (plain(weight), True)
    return *weights, number(1 - label_smoothing), number(label_smoothing / C)


def check_target(scores, target, weight):
    """Raise unless target can hold labels for scores. Whether they are classes is for the kernels to see."""
    if scores.ndim < 2:
        raise ShapeError(f"scores have shape {scores.shape}, expected (N, C) or (N, C, H, W)")
    N, C, *rest = scores.shape
    if target.dtype.kind not in "iu":
        raise TypeError(f"target is {target.dtype}, expected integer class labels; convert it: target.astype(np.int64)")
    if target.shape != (N, *rest):
        hint = ""
        if target.shape == (N, 1, *rest):
            hint = "; drop its channel axis: target[:, 0]"
        elif target.shape == scores.shape:
            hint = "; labels are class numbers, not one-hot: target.argmax(axis=1)"
        raise ShapeError(f"target has shape {target.shape}, expected {(N, *rest)}{hint}")
    if weight is not None and weight.shape != (C,):
        raise ShapeError(f"weight has shape {weight.shape}, expected {(C,)}: one for each class")
