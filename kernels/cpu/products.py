"""Matrix products on the micro-kernels: fully connected layers, 1x1 convolutions, and patches.

Two products are all that these need. x is a batch of matrices (N, C, P): for a convolution images of P pixels, for
a fully connected layer a single matrix.

    mix       y[n, o, p] = bias[o] + sum over c of w[o, c] * x[n, c, p]
    gram      c[o, c] = sum over n and p of a[n, o, p] * b[n, c, p]

A 1x1 convolution is `mix` with its weights; its gradients are `mix` with the transposed weights and the `gram` of dy
and x. A transposed convolution whose kernel is as large as its stride writes a patch of outputs for each input pixel,
and no two overlap: it is a 1x1 convolution with a channel for each pixel of the patch, which are then put in place.

We do not call BLAS for them: its threads and ours would get into each other's way.
"""

import numpy as np

from ..reference.linear import check_linear, rows
from ..shapes import check_rank, check_shape, same_dtype
from .arrays import plain
from .jit import jit, parallel, part_of
from .memory import empty
from .micro import MACHINE, dot_tile, inner_tile, lanes
from .rows import copy_row

(R, V), (IR, IS) = MACHINE.pixels_tile, MACHINE.inner_tile
dot, inner = dot_tile(R, V), inner_tile(IR, IS)

CHUNK_NUMBERS = 128 * 1024  # of x that are copied at a time: a part of an L2 cache
LONGEST = 480  # pixels in a chunk
ROWS = 64  # tiles of b's rows that `gram` takes at a time
PARTS = 8  # `gram` keeps so many sums, which are added in a fixed order: the same bits on any number of threads


def rounded(number, multiple):
    """The next multiple."""
    return -(-number // multiple) * multiple


def packed(matrix):
    """A matrix (rows, columns) as `dot` reads it: flat, (tiles of R rows, columns, R), with zeros in the last tile."""
    rows, columns = matrix.shape
    tiles = empty((-(-rows // R), columns, R), matrix.dtype)
    turned = matrix.T.flags.c_contiguous
    pack_rows(tiles, plain(matrix.T if turned else matrix), turned)
    return tiles.reshape(-1)


@parallel
def pack_rows(tiles, matrix, turned, share):
    rows = matrix.shape[1] if turned else matrix.shape[0]
    for tile in part_of(len(tiles), share):
        for k in range(tiles.shape[1]):
            for r in range(R):
                row, value = tile * R + r, tiles.dtype.type(0)
                if row < rows:
                    value = matrix[k, row] if turned else matrix[row, k]
                tiles[tile, k, r] = value


def mix(y, x, w, bias=None, floor=-np.inf):
    """y[n, o, p] = max(bias[o] + sum over c of w[o, c]*x[n, c, p], floor). y and x are C-contiguous, w any (O, C)."""
    mix_packed(y, x, packed(w), bias, floor)


def mix_packed(y, x, w, bias=None, floor=-np.inf):
    """The same with w packed already."""
    dtype, O, C = x.dtype, y.shape[1], x.shape[1]
    beside = V * lanes(dtype)
    size = min(max(CHUNK_NUMBERS // max(1, C) // beside, 1), LONGEST // beside) * beside
    bias_ = np.zeros(rounded(O, R), dtype)
    if bias is not None:
        bias_[:O] = bias
    mix_chunks(y, x, w, bias_, dtype.type(floor), np.arange(C) * size, size, lanes(dtype))


@parallel
def mix_chunks(y, x, w, bias, floor, offsets, size, L, share):
    chunks = -(-x.shape[2] // size)
    for item in part_of(len(x) * chunks, share):
        n, start = item // chunks, item % chunks * size
        mix_chunk(y, x, n, start, w, bias, floor, offsets, size, L)


@jit
def mix_chunk(y, x, n, start, w, bias, floor, offsets, size, L):
    C, P, O = x.shape[1], x.shape[2], y.shape[1]
    some, beside = min(size, P - start), V * L
    chunk, tile = np.empty(C * size, x.dtype), np.empty(R * beside, x.dtype)
    copy_rows(chunk, x.reshape(x.size), n * C * P + start, P, C, some, size, beside)
    out = y.reshape(y.size)
    for o in range(0, O, R):
        for p in range(0, some, beside):
            y0 = (n * O + o) * P + start + p
            if p + beside <= some and o + R <= O:
                dot(out, y0, P, w, o * C, chunk, p, L, offsets, C, bias, o, floor)
            else:  # a tile that hangs over
                dot(tile, 0, beside, w, o * C, chunk, p, L, offsets, C, bias, o, floor)
                for r in range(min(R, O - o)):
                    for k in range(min(beside, some - p)):
                        out[y0 + r * P + k] = tile[r * beside + k]


@jit
def copy_rows(to, x, x0, x_step, rows, some, step, multiple):
    """to[r*step + p] = x[x0 + r*x_step + p] for p < some, zeros up to the next multiple."""
    for r in range(rows):
        line = to[r * step : (r + 1) * step]
        copy_row(line, 1, x[x0 + r * x_step :], 1, some)
        for p in range(some, -(-some // multiple) * multiple):
            line[p] = 0


def gram(a, b):
    """c[o, c] = sum over n, p of a[n, o, p]*b[n, c, p]; a and b are C-contiguous."""
    (N, O, P), C, L = a.shape, b.shape[1], lanes(a.dtype)
    size = rounded(min(LONGEST, P), L)
    parts, tiles = max(1, min(PARTS, N * -(-P // size))), -(-C // IS)
    some = -(-tiles // -(-PARTS // parts))  # where there are few chunks, an item takes some of b's rows only
    partial = empty((parts, -(-O // IR), tiles, IR * IS), a.dtype)
    partial[...] = 0
    gram_parts(partial, a, b, size, some, np.arange(min(some, ROWS) * IS) * size, L)
    c = empty((O, C), a.dtype)
    add_parts(c, partial)
    return c


@parallel
def gram_parts(partial, a, b, size, some, offsets, L, share):
    (parts, _, tiles, _), per_matrix = partial.shape, -(-a.shape[2] // size)
    ranges, chunks = -(-tiles // some), len(a) * per_matrix
    for item in part_of(parts * ranges, share):
        part, first = item // ranges, item % ranges * some
        for chunk in range(part * chunks // parts, (part + 1) * chunks // parts):
            n, start = chunk // per_matrix, chunk % per_matrix * size
            for tile in range(first, min(first + some, tiles), ROWS):  # not more of b than the L2 cache holds
                last = min(tile + ROWS, first + some, tiles)
                gram_chunk(partial[part], a, b, n, start, size, tile, last, offsets, L)


@jit
def gram_chunk(sums, a, b, n, start, size, first, last, offsets, L):
    (O, P), C, (tiles_a, tiles_b, _) = a.shape[1:], b.shape[1], sums.shape
    pixels, rows = min(size, P - start), min(C, last * IS) - first * IS
    left, right = np.zeros(tiles_a * IR * size, a.dtype), np.zeros((last - first) * IS * size, a.dtype)
    copy_rows(left, a.reshape(a.size), n * O * P + start, P, O, pixels, size, L)
    copy_rows(right, b.reshape(b.size), (n * C + first * IS) * P + start, P, rows, pixels, size, L)
    flat = sums.reshape(sums.size)
    for i in range(tiles_a):
        for j in range(first, last):
            place = (i * tiles_b + j) * IR * IS
            inner(flat, place, left, i * IR * size, size, right, 0, offsets, (j - first) * IS, -(-pixels // L))


@parallel
def add_parts(c, partial, share):
    for o in part_of(len(c), share):
        tile, r = o // IR, o % IR
        for k in range(c.shape[1]):
            total = partial[0, tile, k // IS, r * IS + k % IS]
            for part in range(1, len(partial)):
                total += partial[part, tile, k // IS, r * IS + k % IS]
            c[o, k] = total


# ------------------------------------------------------------------ fully connected


def linear_forward(x, w, b):
    check_linear(x, w, b)
    y = gram(plain(rows(x))[None], plain(w)[None])
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(w))


def linear_backward_input(dy, w):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 2, "(O, I)")
    check_shape("dy", dy, (*dy.shape[:-1], len(w)))
    dx = empty((*dy.shape[:-1], w.shape[1]), dtype)
    mix(rows(dx)[None], plain(w)[None], rows(dy))  # dx[n, i] = sum over o of dy[n, o] * w[o, i]
    return dx


def linear_backward_weight(dy, x):
    dtype = same_dtype(dy=dy, x=x)
    check_shape("dy", dy, (*x.shape[:-1], dy.shape[-1]))
    dw = empty((dy.shape[-1], x.shape[-1]), dtype)
    mix(dw[None], plain(rows(x))[None], rows(dy).T)  # dw[o, i] = sum over n of dy[n, o] * x[n, i]
    return dw


# ------------------------------------------------------------------ 1x1 convolution


def channels_first(a):
    """(N, C, H, W) as (N, C, H*W)."""
    return plain(a).reshape(*a.shape[:2], a.shape[2] * a.shape[3])


def pointwise(x, w, b=None, floor=-np.inf):
    """y of a 1x1 convolution with stride 1, w (O, C)."""
    y = empty((len(x), len(w), *x.shape[2:]), x.dtype)
    mix(channels_first(y), channels_first(x), w, b, floor)
    return y


def pointwise_weight(dy, x):
    """dw (O, C) of a 1x1 convolution with stride 1."""
    return gram(channels_first(dy), channels_first(x))


# ------------------------------------------------------------------ patches


def put_patches(z, kernel):
    """(N, O*kH*kW, h, w) to (N, O, h*kH, w*kW): the channels (o, a, b) of a pixel become its patch of y[o]."""
    (kH, kW), (N, _, h, w) = kernel, z.shape
    y = empty((N, z.shape[1] // (kH * kW), h * kH, w * kW), z.dtype)
    scatter_patches(y.reshape(-1, h, kH, w * kW), z.reshape(-1, kH, kW, h, w))
    return y


@parallel
def scatter_patches(y, z, share):
    planes, kH, kW, h, w = z.shape
    for item in part_of(planes, share):
        for i in range(h):
            for a in range(kH):
                line = y[item, i, a]
                for b in range(kW):
                    copy_row(line[b:], kW, z[item, a, b, i], 1, w)


def take_patches(y, kernel):
    """The inverse of put_patches, and its gradient."""
    (kH, kW), (N, O, H, W) = kernel, y.shape
    z = empty((N, O * kH * kW, H // kH, W // kW), y.dtype)
    gather_patches(z.reshape(-1, kH, kW, *z.shape[2:]), plain(y).reshape(-1, H // kH, kH, W))
    return z


@parallel
def gather_patches(z, y, share):
    planes, kH, kW, h, w = z.shape
    for item in part_of(planes, share):
        for i in range(h):
            for a in range(kH):
                line = y[item, i, a]
                for b in range(kW):
                    copy_row(z[item, a, b, i], 1, line[b:], kW, w)
