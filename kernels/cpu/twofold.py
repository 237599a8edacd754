"""Halving and doubling both sides of an image, as nearly all nets do: 2x2 average pool and twofold upsampling.

Here columns need no table of indices, so that vectors do. Each kernel is another one's transpose, and so its backward:

    gather    average pool forward, nearest upsampling backward
    spread    average pool backward, nearest upsampling forward
    blend     bilinear upsampling forward
    unblend   bilinear upsampling backward
"""

import numpy as np

from .jit import jit, parallel, part_of


@parallel
def gather(y, x, weight, share):
    """y[i, j] = weight * the sum of the four pixels of x from [2i, 2j]. Both (planes, rows, columns)."""
    for plane in part_of(len(y), share):
        for i in range(y.shape[1]):
            add_pairs(y[plane, i], x[plane, 2 * i])  # one row after the other, in the order in which they are stored
            add_pairs_to(y[plane, i], x[plane, 2 * i + 1], weight)


@jit
def add_pairs(y, x):
    for j in range(len(y)):
        y[j] = x[2 * j] + x[2 * j + 1]


@jit
def add_pairs_to(y, x, weight):
    for j in range(len(y)):
        y[j] = weight * (y[j] + (x[2 * j] + x[2 * j + 1]))


@parallel
def spread(y, x, weight, share):
    """The four pixels of y from [2i, 2j] = weight * x[i, j]."""
    for plane in part_of(len(y), share):
        for i in range(y.shape[1]):
            spread_row(y[plane, i], x[plane, i // 2], weight)


@jit
def spread_row(y, x, weight):
    for j in range(len(x)):
        value = weight * x[j]
        y[2 * j] = value
        y[2 * j + 1] = value


@parallel
def blend(y, x, share):
    """y[2i] = x[i-1]/4 + 3*x[i]/4, y[2i+1] = 3*x[i]/4 + x[i+1]/4 along both axes; beyond the edge is the edge again.

    Only neighbours count: an infinite pixel further off does no harm, where the general formula has 0 * inf = NaN.
    """
    H, W = x.shape[1:]
    near, far = x.dtype.type(0.75), x.dtype.type(0.25)
    line = np.empty(W + 2, x.dtype)  # a row and its two neighbours, blended, with an edge on both sides
    for plane in part_of(len(y), share):
        for i in range(2 * H):
            neighbour = min(i // 2 + 1, H - 1) if i % 2 else max(i // 2 - 1, 0)
            add_rows(line[1:], x[plane, i // 2], near, x[plane, neighbour], far)
            line[0], line[-1] = line[1], line[-2]
            blend_row(y[plane, i], line, near, far)


@jit
def add_rows(out, a, weight_a, b, weight_b):
    for j in range(len(a)):
        out[j] = weight_a * a[j] + weight_b * b[j]


@jit
def blend_row(y, line, near, far):
    for j in range(len(y) // 2):
        value = near * line[j + 1]
        y[2 * j] = far * line[j] + value
        y[2 * j + 1] = value + far * line[j + 2]


@parallel
def unblend(dx, dy, share):
    """dx[i] = dy[2i-1]/4 + 3*dy[2i]/4 + 3*dy[2i+1]/4 + dy[2i+2]/4 along both axes, with the edge again beyond it."""
    H, W = dx.shape[1:]
    near, far = dx.dtype.type(0.75), dx.dtype.type(0.25)
    line = np.empty(2 * W + 2, dx.dtype)
    for plane in part_of(len(dx), share):
        for i in range(H):
            rows = dy[plane]
            before, after = rows[max(2 * i - 1, 0)], rows[min(2 * i + 2, 2 * H - 1)]
            unblend_rows(line[1:], before, rows[2 * i], rows[2 * i + 1], after, near, far)
            line[0], line[-1] = line[1], line[-2]
            unblend_row(dx[plane, i], line, near, far)


@jit
def unblend_rows(out, before, upper, lower, after, near, far):
    for j in range(len(upper)):
        out[j] = near * (upper[j] + lower[j]) + far * (before[j] + after[j])


@jit
def unblend_row(dx, line, near, far):
    for j in range(len(dx)):
        dx[j] = near * (line[2 * j + 1] + line[2 * j + 2]) + far * (line[2 * j] + line[2 * j + 3])
