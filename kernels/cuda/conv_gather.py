"""Rung 3, gather and spread: sums over taps, as a product of the weights with patches that are never written down.

    y[o,p] = sum over k of w[o,k] * patch[k,p],   k = tap (c,r,s),   p = pixel (n,i,j)

A thread that loads patch[k,p] into shared memory works out where in x it is. Its pixel p stays the same over all steps,
so that is divided into (n,i,j) once; what changes with k is in a table of one row for each tap,

    (row, column, row*W + column + c*H*W, 0)    relative to the pixel's first row and column

Kernel size, dilation and padding are nothing but other numbers in it. An address then takes one addition, and two
comparisons tell padding: a negative row, seen as an unsigned number, is larger than any picture.

`pack` makes the table, and puts the weights into the order in which they are read: by step, with zeros where a tile
reaches beyond the last output or the last tap. So the inner loop asks for neither.
"""

import math

import numpy as np
from numba import cuda

from .arrays import empty, flat
from .conv_ops import OUTSIDE
from .gemm import DEPTH, GAP, TILES, add_products, choose_tile, clear, run_start
from .launch import THREADS, blocks, device_function, kernel, launch
from .vectors import ALIGNMENT, four, put_four

i32, u32, u64 = np.int32, np.uint32, np.uint64

# ------------------------------------------------------------------ the product


def make_gather(tile):
    """The kernel for a tile of outputs x pixels."""
    BM, BN, TM, TN = tile
    threads, count, across = tile.threads, TM * TN, BN // TN
    quads, quads_across = BM * DEPTH // 4, BM // 4  # of the weights' tile, and of a row of it
    A, B = blocks(quads, threads), BN * DEPTH // threads  # a thread's loads in a step: of four weights, of one pixel
    rows_a, rows_b = threads // quads_across, threads // BN  # of the tiles, that all threads together load at once
    registers_a, pitch_a, pitch_b = 4 * A, BM + GAP, BN + GAP
    size_a, size_b = DEPTH * pitch_a, DEPTH * pitch_b
    shared_a, shared_b = 2 * size_a, 2 * size_b

    def gather_tile(
        y,
        x,
        packed,
        table,
        counts,
        b,
        has_bias,
        relu,
        in_fours,
        y_shape,
        x_shape,
        groups,
        stride,
        phases,
        M,
        depth,
        width,
    ):
        """y[n, o, phase + i*phases, ...] from x around (i*stride, ...): blockIdx.z tells phase and group.

        packed (phase, group, depth, width), table (phase, depth, 4) and counts (phase,) come from `pack`; M is the
        number of outputs in a group.
        """
        tiles_a = cuda.shared.array(shared_a, y.dtype, alignment=ALIGNMENT)
        tiles_b = cuda.shared.array(shared_b, y.dtype, alignment=ALIGNMENT)
        next_a = cuda.local.array(registers_a, y.dtype)
        next_b = cuda.local.array(B, y.dtype)
        sums = cuda.local.array(count, y.dtype)
        zero = y.dtype.type(0)
        thread = u32(cuda.threadIdx.x)

        # this block's part of y
        phase, group = u32(u32(cuda.blockIdx.z) // u32(groups)), u32(u32(cuda.blockIdx.z) % u32(groups))
        phase_row, phase_col = u32(phase // u32(phases[1])), u32(phase % u32(phases[1]))
        rows = u32(u32(y_shape[2] - 1 - i32(phase_row) + phases[0]) // u32(phases[0]))  # of this phase
        cols = u32(u32(y_shape[3] - 1 - i32(phase_col) + phases[1]) // u32(phases[1]))
        plane = u32(rows * cols)
        pixels = u32(u32(y_shape[0]) * plane)
        first_m, first_p = u32(cuda.blockIdx.y * BM), u32(cuda.blockIdx.x * BN)
        if first_p >= pixels:
            return  # another phase has more pixels

        # what this thread loads: pixel p, and where it begins in the weights and in the table
        H, W = u32(x_shape[2]), u32(x_shape[3])
        p = u32(first_p + thread % u32(BN))
        n, place = u32(p // plane), u32(p % plane)
        row0, col0 = i32(u32(place // cols) * u32(stride[0])), i32(u32(place % cols) * u32(stride[1]))
        channel = u32(n * u32(x_shape[1]) + group * u32(u32(x_shape[1]) // u32(groups)))
        start = i32(u32(channel * H + u32(row0)) * W + u32(col0))
        if p >= pixels:
            row0 = i32(OUTSIDE)
        row_a, col_a = u32(thread // u32(quads_across)), u32(u32(thread % u32(quads_across)) * u32(4))
        row_b, col_b = u32(thread // u32(BN)), u32(thread % u32(BN))
        at_packed = u32(u32(u32(cuda.blockIdx.z) * u32(depth) + row_a) * u32(width) + u32(first_m + col_a))
        at_table = u32(u32(phase * u32(depth) + row_b) * u32(4))
        put_a, put_b = u32(row_a * u32(pitch_a) + col_a), u32(row_b * u32(pitch_b) + col_b)

        row, col = u32(u32(thread // u32(across)) * u32(4)), u32(u32(thread % u32(across)) * u32(4))
        clear(sums, count)
        half = u32(0)  # of shared memory, that is filled next
        for step in range(i32(u32(counts[phase] + DEPTH - 1) // u32(DEPTH)) + 1):
            # the tiles of this step leave for the registers (those behind the last are zeros) ...
            for q in range(A):
                if (q + 1) * threads <= quads or thread < u32(quads - q * threads):
                    loaded = four(packed, u32(at_packed + u32(q * rows_a) * u32(width)))
                    for r in range(4):
                        next_a[4 * q + r] = loaded[r]
            for q in range(B):
                tap_row, tap_col, tap, _ = four(table, u32(at_table + u32(4 * rows_b * q)))
                inside = u32(row0 + tap_row) < H and u32(col0 + tap_col) < W
                next_b[q] = x[u32(start + tap)] if inside else zero
            at_packed = u32(at_packed + u32(DEPTH) * u32(width))
            at_table = u32(at_table + u32(4 * DEPTH))
            # ... while those of the step before are multiplied
            if step > 0:
                other = u32(u32(1) - half)
                add_products(
                    sums,
                    tiles_a,
                    tiles_b,
                    u64(other * u32(size_a) + row),
                    u64(other * u32(size_b) + col),
                    BM,
                    BN,
                    TM,
                    TN,
                )
            for q in range(A):
                if (q + 1) * threads <= quads or thread < u32(quads - q * threads):
                    for r in range(4):
                        tiles_a[u64(half * u32(size_a) + put_a) + u64(q * rows_a * pitch_a + r)] = next_a[4 * q + r]
            for q in range(B):
                tiles_b[u64(half * u32(size_b) + put_b) + u64(q * rows_b * pitch_b)] = next_b[q]
            cuda.syncthreads()
            half = u32(u32(1) - half)

        first_m = u32(first_m + row)
        first_o = u32(group * u32(M) + first_m)
        for q in range(TM):
            o = u32(first_o + u32(run_start(q, BM, TM)))
            bias = b[o] if has_bias and o < u32(y_shape[1]) else zero
            for r in range(TN):
                value = sums[q * TN + r] + bias
                sums[q * TN + r] = zero if relu and value <= zero else value
        W_y, plane_y = u32(y_shape[3]), u32(u32(y_shape[2]) * u32(y_shape[3]))
        if in_fours:  # one phase only, and four neighbouring pixels are always in one picture: plane = plane_y
            for r in range(0, TN, 4):
                p = u32(first_p + u32(col + u32(run_start(r, BN, TN))))
                start = u32(u32(u32(p // plane_y) * u32(y_shape[1]) + first_o) * plane_y + u32(p % plane_y))
                for q in range(TM):
                    m = u32(run_start(q, BM, TM))
                    if p < pixels and u32(first_m + m) < u32(M):
                        s = q * TN + r
                        put_four(y, u32(start + m * plane_y), sums[s], sums[s + 1], sums[s + 2], sums[s + 3])
        else:
            for r in range(TN):
                p = u32(first_p + u32(col + u32(run_start(r, BN, TN))))
                n, place = u32(p // plane), u32(p % plane)
                i = u32(u32(place // cols) * u32(phases[0]) + phase_row)
                j = u32(u32(place % cols) * u32(phases[1]) + phase_col)
                start = u32(u32(n * u32(y_shape[1]) + first_o) * plane_y + u32(i * W_y + j))
                for q in range(TM):
                    m = u32(run_start(q, BM, TM))
                    if p < pixels and u32(first_m + m) < u32(M):
                        y[u32(start + m * plane_y)] = sums[q * TN + r]

    gather_tile.__name__ = f"gather_{tile.name}"
    return kernel(gather_tile)


KERNELS = {tile: make_gather(tile) for tile in TILES}

# ------------------------------------------------------------------ the taps


def period(stride, dilation):
    """What spread needs to know about one axis: (common, inverse, P).

    Forward reads row = i*stride + r*dilation - top for output i. So the rows of phase f (row % stride = f) are met by
    the taps r for which f + top - r*dilation is a multiple of stride. Among any P = stride/common neighbouring taps
    there is one such, or none for all; common is the greatest common divisor of the two. The first is
    (f + top)/common * inverse % P, if that division leaves no remainder: inverse undoes dilation/common, modulo P.

    >>> period(3, 2)  # f + top = 1 is met by tap 2: 1 - 2*2 is -3
    (1, 2, 3)
    """
    common = math.gcd(stride, dilation)
    P = stride // common
    return common, pow(dilation // common, -1, P), P


@device_function
def first_tap(position, common, inverse, P, taps):
    """The first of the taps that meet this position; `taps`, which is none, if there are no such."""
    return position // common * inverse % P if position % common == 0 else taps


@kernel
def pack(
    packed, table, counts, w, spread, x_shape, taps, stride, before, dilation, down, right, C, M, groups, depth, width
):
    """One thread for each packed[phase, group, k, m]; those of m = 0 write the table too, those of k = 0 the counts.

    C channels of x meet M outputs in a group. For gather w is (groups*M, C, kH, kW) and there is one phase. For spread
    w is (groups*C, M, kH, kW), and phase is that of a pixel of dx (row % stride, column % stride); down and right are
    the `period` of rows and columns.
    """
    index = u32(cuda.grid(1))
    if index >= u32(packed.size):
        return
    m, rest = i32(index % u32(width)), u32(index // u32(width))
    k, rest = i32(rest % u32(depth)), u32(rest // u32(depth))
    group, phase = i32(rest % u32(groups)), u32(rest // u32(groups))
    r, s, r_step, s_step = i32(0), i32(0), i32(1), i32(1)
    row, col = -before[0], -before[1]  # what the first tap sees
    if spread:
        row, col = i32(phase // u32(stride[1])) + before[0], i32(phase % u32(stride[1])) + before[1]
        r = i32(first_tap(row, down[0], down[1], down[2], taps[0]))
        s = i32(first_tap(col, right[0], right[1], right[2], taps[1]))
        r_step, s_step = down[2], right[2]
    R, S = i32(u32(taps[0] - r + r_step - 1) // u32(r_step)), i32(u32(taps[1] - s + s_step - 1) // u32(s_step))
    K = C * R * S

    weight, c = w.dtype.type(0), i32(0)
    if k < K:
        c = i32(u32(k) // u32(R * S))
        r += i32(u32(u32(k) % u32(R * S)) // u32(S)) * r_step
        s += i32(u32(k) % u32(S)) * s_step
        if m < M:
            matrix = (group * C + c) * M + m if spread else (group * M + m) * C + c
            weight = w[(matrix * taps[0] + r) * taps[1] + s]
    packed[index] = weight
    if m == 0 and group == 0:
        if spread:
            row, col = (row - r * dilation[0]) // stride[0], (col - s * dilation[1]) // stride[1]
        else:
            row, col = row + r * dilation[0], col + s * dilation[1]
        at = 4 * (i32(phase) * depth + k)
        table[at] = row if k < K else OUTSIDE
        table[at + 1] = col
        table[at + 2] = (c * x_shape[2] + row) * x_shape[3] + col
        table[at + 3] = 0
        if k == 0:
            counts[i32(phase)] = K


def multiply_patches(y, x, w, b, relu, steps, spread):
    """Fill y by gather, or by spread (then y is what the convolution calls its input)."""
    groups, taps = steps.groups, (w.shape[2], w.shape[3])
    C, M = x.shape[1] // groups, y.shape[1] // groups
    down, right = (period(*axis) for axis in zip(steps.stride, steps.dilation, strict=True))
    phases, stride = (steps.stride, (1, 1)) if spread else ((1, 1), steps.stride)
    deepest = C * blocks(taps[0], down[2]) * blocks(taps[1], right[2]) if spread else C * taps[0] * taps[1]
    pixels = y.shape[0] * blocks(y.shape[2], phases[0]) * blocks(y.shape[3], phases[1])
    count = phases[0] * phases[1]

    tile = choose_tile(M, pixels, y.dtype, count * groups)
    depth, width = (blocks(deepest, DEPTH) + 1) * DEPTH, blocks(M, tile.M) * tile.M
    packed = empty((count * groups * depth * width,), w.dtype)
    table, counts = empty((count * depth * 4,), i32), empty((count,), i32)
    numbers = (
        tuple(x.shape),
        taps,
        steps.stride,
        steps.before,
        steps.dilation,
        down,
        right,
        C,
        M,
        groups,
        depth,
        width,
    )
    launch(pack, blocks(packed.size), THREADS, packed, table, counts, flat(w), spread, *numbers)

    in_fours = count == 1 and y.shape[2] * y.shape[3] % 4 == 0
    grid = blocks(pixels, tile.N), blocks(M, tile.M), count * groups
    bias = packed if b is None else b
    numbers = (tuple(y.shape), tuple(x.shape), groups, stride, phases, M, depth, width)
    arrays = (flat(y), flat(x), packed, table, counts, bias)
    launch(KERNELS[tile], grid, tile.threads, *arrays, b is not None, relu, in_fours, *numbers)
