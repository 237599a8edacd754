"""Rung 3, weights: sums over all pixels of the batch, as a product of dy with patches that are never written down.

    dw[o,k] = sum over p of dy[o,p] * patch[k,p],   k = tap (c,r,s),   p = pixel (n,i,j)

Here the taps stay with a thread over all steps, and the pixel moves on by DEPTH. It has to be divided into (n,i,j) each
time, by numbers that only the call knows; a GPU has no instruction for that, so it is done with a product (`divisor`).

The result is small and the sums are long: 64*64*9 weights are 5 tiles, for 132 multiprocessors. So the pixels are cut
into parts, each block adds up one tile over one part, and a second kernel adds the parts, always in the same order.
"""

import numpy as np
from numba import cuda

from .arrays import empty, flat
from .conv_ops import OUTSIDE
from .gemm import (
    DEPTH,
    GAP,
    LONG,
    TILES,
    add_parts,
    add_products,
    choose_parts,
    choose_tile,
    clear,
    count_tiles,
    run_start,
)
from .launch import blocks, device_function, kernel, launch
from .vectors import ALIGNMENT

i32, u32, u64 = np.int32, np.uint32, np.uint64


def divisor(d):
    """(factor, shift) with p // d == p * factor >> shift for all 0 <= p < 2**31.

    Source: Granlund and Montgomery, Division by invariant integers using multiplication (1994).

    >>> factor, shift = divisor(7)
    >>> 2_000_000_001 * int(factor) >> int(shift), 2_000_000_001 // 7
    (285714285, 285714285)
    """
    shift = 31 + (d - 1).bit_length()
    return u32((1 << shift) // d + 1), u32(shift)


@device_function
def divided(p, by):
    return u32(u64(p) * u64(by[0]) >> u64(by[1]))


def make_weights(tile):
    """The kernel for a tile of outputs x taps."""
    BM, BN, TM, TN = tile
    threads, count, across = tile.threads, TM * TN, BN // TN
    A, B = BM * DEPTH // threads, BN * DEPTH // threads  # numbers that a thread loads in a step
    at_once, pitch_a, pitch_b = threads // DEPTH, BM + GAP, BN + GAP
    size_a, size_b = DEPTH * pitch_a, DEPTH * pitch_b
    shared_a, shared_b = 2 * size_a, 2 * size_b

    def weights_tile(
        parts, dy, x, dy_shape, x_shape, taps, groups, stride, before, dilation, by_plane, by_cols, span, M, K
    ):
        """parts[part, group*M + m, k]: blockIdx.z tells part and group; M outputs and K taps in a group.

        A part is `span` pixels, a multiple of DEPTH.
        """
        tiles_a = cuda.shared.array(shared_a, parts.dtype, alignment=ALIGNMENT)
        tiles_b = cuda.shared.array(shared_b, parts.dtype, alignment=ALIGNMENT)
        next_a = cuda.local.array(A, parts.dtype)
        next_b = cuda.local.array(B, parts.dtype)
        tap_row = cuda.local.array(B, i32)
        tap_col = cuda.local.array(B, i32)
        tap_start = cuda.local.array(B, i32)
        sums = cuda.local.array(count, parts.dtype)
        zero = parts.dtype.type(0)
        thread = u32(cuda.threadIdx.x)
        part, group = u32(u32(cuda.blockIdx.z) // u32(groups)), u32(u32(cuda.blockIdx.z) % u32(groups))
        first_m, first_k = u32(cuda.blockIdx.y * BM), u32(cuda.blockIdx.x * BN)
        lane, line = u32(thread % u32(DEPTH)), u32(thread // u32(DEPTH))  # the pixel and the row of a tile to load

        H, W = u32(x_shape[2]), u32(x_shape[3])
        per_group = u32(u32(x_shape[1]) // u32(groups))
        for q in range(B):
            k = u32(first_k + u32(line + u32(q * at_once)))
            c, rest = u32(k // u32(taps[0] * taps[1])), u32(k % u32(taps[0] * taps[1]))
            tap_row[q] = i32(i32(rest // u32(taps[1])) * dilation[0]) - before[0]
            tap_col[q] = i32(i32(rest % u32(taps[1])) * dilation[1]) - before[1]
            channel = i32(group * per_group + c)
            tap_start[q] = (channel * x_shape[2] + tap_row[q]) * x_shape[3] + tap_col[q]
            if k >= u32(K):
                tap_row[q] = OUTSIDE
        plane, cols = u32(u32(dy_shape[2]) * u32(dy_shape[3])), u32(dy_shape[3])
        left, top_a = u32(u32(M) - min(u32(M), u32(first_m + line))), u32(group * u32(M) + u32(first_m + line))
        p = u32(part * u32(span))
        stop = min(u32(u32(dy_shape[0]) * plane), u32(p + u32(span)))
        steps = i32(u32(stop - min(p, stop) + u32(DEPTH - 1)) // u32(DEPTH))
        p = u32(p + lane)
        put_a, put_b = u32(lane * u32(pitch_a) + line), u32(lane * u32(pitch_b) + line)

        row, col = u32(u32(thread // u32(across)) * u32(4)), u32(u32(thread % u32(across)) * u32(4))
        clear(sums, count)
        half = u32(0)  # of shared memory, that is filled next
        for step in range(steps + 1):
            # the tiles of this step leave for the registers ...
            n = divided(p, by_plane)
            place = u32(p - n * plane)
            i = divided(place, by_cols)
            j = u32(place - i * cols)
            row0, col0 = i32(i * u32(stride[0])), i32(j * u32(stride[1]))
            start_a = u32(u32(n * u32(dy_shape[1]) + top_a) * plane + place)
            start_b = i32(u32(n * u32(x_shape[1]) * H + u32(row0)) * W + u32(col0))
            rows_left = left
            if p >= stop:
                row0, rows_left = i32(OUTSIDE), u32(0)
            for q in range(A):
                next_a[q] = dy[u32(start_a + u32(q * at_once) * plane)] if u32(q * at_once) < rows_left else zero
            for q in range(B):
                inside = u32(row0 + tap_row[q]) < H and u32(col0 + tap_col[q]) < W
                next_b[q] = x[u32(start_b + tap_start[q])] if inside else zero
            p = u32(p + u32(DEPTH))
            # ... while those of the step before are multiplied
            if step > 0:
                other = u32(u32(1) - half)
                at_a, at_b = u64(other * u32(size_a) + row), u64(other * u32(size_b) + col)
                add_products(sums, tiles_a, tiles_b, at_a, at_b, BM, BN, TM, TN)
            for q in range(A):
                tiles_a[u64(half * u32(size_a) + put_a) + u64(q * at_once)] = next_a[q]
            for q in range(B):
                tiles_b[u64(half * u32(size_b) + put_b) + u64(q * at_once)] = next_b[q]
            cuda.syncthreads()
            half = u32(u32(1) - half)

        first_m, first_k = u32(first_m + row), u32(first_k + col)
        top = u32(u32(part * u32(dy_shape[1])) + u32(group * u32(M) + first_m))
        for q in range(TM):
            m = u32(run_start(q, BM, TM))
            for r in range(TN):
                k = u32(first_k + u32(run_start(r, BN, TN)))
                if u32(first_m + m) < u32(M) and k < u32(K):
                    parts[u32(u32(top + m) * u32(K) + k)] = sums[q * TN + r]

    weights_tile.__name__ = f"weights_{tile.name}"
    return kernel(weights_tile)


KERNELS = {tile: make_weights(tile) for tile in TILES}


def multiply_pixels(dw, dy, x, steps):
    """Fill dw."""
    groups, taps = steps.groups, (dw.shape[2], dw.shape[3])
    M, K = dw.shape[0] // groups, dw.shape[1] * taps[0] * taps[1]
    pixels = dy.shape[0] * dy.shape[2] * dy.shape[3]
    tile = choose_tile(M, K, dw.dtype, groups * max(1, pixels // LONG))
    parts, span = choose_parts(count_tiles(tile, M, K) * groups, pixels)
    target = flat(dw) if parts == 1 else empty((parts * dw.size,), dw.dtype)
    grid = blocks(K, tile.N), blocks(M, tile.M), parts * groups
    divisors = divisor(dy.shape[2] * dy.shape[3]), divisor(dy.shape[3])
    numbers = (
        tuple(dy.shape),
        tuple(x.shape),
        taps,
        groups,
        steps.stride,
        steps.before,
        steps.dilation,
        *divisors,
        span,
        M,
        K,
    )
    launch(KERNELS[tile], grid, tile.threads, target, flat(dy), flat(x), *numbers)
    if parts > 1:
        add_parts(flat(dw), target, parts)
