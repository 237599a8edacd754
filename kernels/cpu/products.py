"""Matrix products on the micro-kernels: fully connected layers, 1x1 convolutions, and patches.

Two products are all that these need. x is a batch of matrices (N, C, P): for a convolution images of P pixels, for
a fully connected layer a single matrix.

    mix       y[n, o, p] = bias[o] + sum over c of w[o, c] * x[n, c, p]
    gram      c[o, c] = sum over n and p of a[n, o, p] * b[n, c, p]

A 1x1 convolution is `mix` with its weights; its gradients are `mix` with the transposed weights and the `gram` of dy
and x. A transposed convolution whose kernel is as large as its stride writes a patch of outputs for each input pixel,
and no two overlap: it is a 1x1 convolution with a channel for each pixel of the patch, which are then put in place.

We do not call BLAS for them: its threads and Numba's would get into each other's way.
"""

import numpy as np

from ..reference.linear import check_linear, rows
from ..shapes import check_rank, check_shape, same_dtype
from .arrays import plain
from .jit import jit, parallel, part_of
from .memory import empty
from .micro import MACHINE, dot_tile, inner_tile, lanes

(R, V), (IR, IS) = MACHINE.pixels_tile, MACHINE.inner_tile
dot, inner = dot_tile(R, V), inner_tile(IR, IS)

CHUNK_NUMBERS = 64 * 1024  # of x that are copied at a time: a part of an L2 cache
LONGEST = 480  # pixels in a chunk
PARTS = 8  # `gram` keeps so many sums, which are added in a fixed order: the same bits on any number of threads


def rounded(number, multiple):
    """The next multiple."""
    return -(-number // multiple) * multiple


def packed(matrix):
    """A matrix (rows, columns) as `dot` reads it: flat, (tiles of R rows, columns, R), with zeros in the last tile."""
    rows, columns = matrix.shape
    tiles = np.zeros((-(-rows // R), columns, R), matrix.dtype)
    for r in range(R):
        part = matrix[r::R]
        tiles[: len(part), :, r] = part
    return tiles.reshape(-1)


def mix(y, x, w, bias=None, floor=-np.inf):
    """y[n, o, p] = max(bias[o] + sum over c of w[o, c]*x[n, c, p], floor). y and x are C-contiguous, w any (O, C)."""
    dtype, (O, C) = x.dtype, w.shape
    beside = V * lanes(dtype)
    size = min(max(CHUNK_NUMBERS // max(1, C) // beside, 1), LONGEST // beside) * beside
    bias_ = np.zeros(rounded(O, R), dtype)
    if bias is not None:
        bias_[:O] = bias
    mix_chunks(y, x, packed(w), bias_, dtype.type(floor), np.arange(C) * size, size, lanes(dtype))


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
        source, line = x[x0 + r * x_step : x0 + r * x_step + some], to[r * step : (r + 1) * step]
        for p in range(len(source)):
            line[p] = source[p]
        for p in range(some, -(-some // multiple) * multiple):
            line[p] = 0


def gram(a, b):
    """c[o, c] = sum over n, p of a[n, o, p]*b[n, c, p]; a and b are C-contiguous."""
    (N, O, P), C, L = a.shape, b.shape[1], lanes(a.dtype)
    size = rounded(min(max(CHUNK_NUMBERS // (O + C), 64), LONGEST, P), L)
    chunks = N * -(-P // size)
    partial = np.zeros((max(1, min(PARTS, chunks)), -(-O // IR), -(-C // IS), IR * IS), a.dtype)
    gram_parts(partial, a, b, size, L)
    sums = partial.sum(axis=0).reshape(*partial.shape[1:3], IR, IS).swapaxes(1, 2)
    return sums.reshape(partial.shape[1] * IR, partial.shape[2] * IS)[:O, :C]


@parallel
def gram_parts(partial, a, b, size, L, share):
    per_matrix = -(-a.shape[2] // size)
    chunks, parts = len(a) * per_matrix, len(partial)
    for item in part_of(parts, share):
        part = item
        for chunk in range(part * chunks // parts, (part + 1) * chunks // parts):
            gram_chunk(partial[part], a, b, chunk // per_matrix, chunk % per_matrix * size, size, L)


@jit
def gram_chunk(sums, a, b, n, start, size, L):
    (O, P), C, (tiles_a, tiles_b, _) = a.shape[1:], b.shape[1], sums.shape
    some = min(size, P - start)
    left, right = np.zeros(tiles_a * IR * size, a.dtype), np.zeros(tiles_b * IS * size, a.dtype)
    copy_rows(left, a.reshape(a.size), n * O * P + start, P, O, some, size, L)
    copy_rows(right, b.reshape(b.size), n * C * P + start, P, C, some, size, L)
    flat, place = sums.reshape(sums.size), 0
    for i in range(tiles_a):
        for j in range(tiles_b):
            inner(flat, place, left, i * IR * size, size, right, j * IS * size, size, -(-some // L))
            place += IR * IS


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
                    values, to = z[item, a, b, i], line[b:]
                    if kW == 2:  # a number that the compiler knows lets it use vectors
                        for j in range(w):
                            to[2 * j] = values[j]
                    else:
                        for j in range(w):
                            to[kW * j] = values[j]


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
                    to, values = z[item, a, b, i], line[b:]
                    if kW == 2:
                        for j in range(w):
                            to[j] = values[2 * j]
                    else:
                        for j in range(w):
                            to[j] = values[kW * j]
