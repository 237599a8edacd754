"""The fully connected layer: one matrix product forward, two backward.

    forward y = x @ w.T      backward dx = dy @ w      dw = dy.T @ x

All three are the one kernel `multiply`, made for each layout: who loads which number of a tile depends on where its
neighbours lie in memory. See `gemm` for the tiles.
"""

import numpy as np
from numba import cuda

from ..reference.linear import check_linear
from ..shapes import check_rank, check_shape, same_dtype
from .arrays import check_device, empty, flat, plain
from .conv_ops import check_countable, readable
from .gemm import (
    DEPTH,
    GAP,
    LARGE,
    LONG,
    SMALL,
    add_parts,
    add_products,
    choose_parts,
    choose_tile,
    clear,
    count_tiles,
    run_start,
)
from .launch import blocks, kernel, launch
from .vectors import ALIGNMENT

i32, u32, u64 = np.int32, np.uint32, np.uint64


def make_multiply(tile, a_along_k, b_along_k):
    """The kernel for a tile; along_k: whether neighbours in memory are neighbours along K (else along M or N).

    Neighbouring threads must read neighbours in memory, so this decides who loads what.
    """
    BM, BN, TM, TN = tile
    threads, count, across = tile.threads, TM * TN, BN // TN
    A, B = BM * DEPTH // threads, BN * DEPTH // threads  # numbers that a thread loads in a step
    size_a, size_b = DEPTH * (BM + GAP), DEPTH * (BN + GAP)
    shared_a, shared_b = 2 * size_a, 2 * size_b

    def multiply(y, a, b, bias, has_bias, a_steps, b_steps, span, M, N, K):
        tiles_a = cuda.shared.array(shared_a, y.dtype, alignment=ALIGNMENT)
        tiles_b = cuda.shared.array(shared_b, y.dtype, alignment=ALIGNMENT)
        next_a = cuda.local.array(A, y.dtype)
        next_b = cuda.local.array(B, y.dtype)
        sums = cuda.local.array(count, y.dtype)
        zero = y.dtype.type(0)
        thread = u32(cuda.threadIdx.x)
        first_m, first_n = u32(cuda.blockIdx.y * BM), u32(cuda.blockIdx.x * BN)
        row, col = u32(thread // u32(across) * u32(4)), u32(thread % u32(across) * u32(4))
        begin = u32(cuda.blockIdx.z * span)
        stop = min(u32(K), u32(begin + u32(span)))
        steps = i32((u32(stop - begin) + u32(DEPTH - 1)) // u32(DEPTH))
        clear(sums, count)
        half = u32(0)  # of shared memory, that is filled next
        for step in range(steps + 1):
            # the tiles of this step leave for the registers ...
            for q in range(A):
                e = u32(thread + u32(q * threads))
                m = u32(first_m + (u32(e // u32(DEPTH)) if a_along_k else u32(e % u32(BM))))
                k = u32(begin + u32(step * DEPTH) + (u32(e % u32(DEPTH)) if a_along_k else u32(e // u32(BM))))
                next_a[q] = a[u32(m * u32(a_steps[0]) + k * u32(a_steps[1]))] if m < u32(M) and k < stop else zero
            for q in range(B):
                e = u32(thread + u32(q * threads))
                n = u32(first_n + (u32(e // u32(DEPTH)) if b_along_k else u32(e % u32(BN))))
                k = u32(begin + u32(step * DEPTH) + (u32(e % u32(DEPTH)) if b_along_k else u32(e // u32(BN))))
                next_b[q] = b[u32(k * u32(b_steps[0]) + n * u32(b_steps[1]))] if n < u32(N) and k < stop else zero
            # ... while those of the step before are multiplied
            if step > 0:
                other = u32(u32(1) - half)
                at_a, at_b = u64(other * u32(size_a) + row), u64(other * u32(size_b) + col)
                add_products(sums, tiles_a, tiles_b, at_a, at_b, BM, BN, TM, TN)
            for q in range(A):
                e = u32(thread + u32(q * threads))
                m = u32(e // u32(DEPTH)) if a_along_k else u32(e % u32(BM))
                k = u32(e % u32(DEPTH)) if a_along_k else u32(e // u32(BM))
                tiles_a[u32(half * u32(size_a) + k * u32(BM + GAP) + m)] = next_a[q]
            for q in range(B):
                e = u32(thread + u32(q * threads))
                n = u32(e // u32(DEPTH)) if b_along_k else u32(e % u32(BN))
                k = u32(e % u32(DEPTH)) if b_along_k else u32(e // u32(BN))
                tiles_b[u32(half * u32(size_b) + k * u32(BN + GAP) + n)] = next_b[q]
            cuda.syncthreads()
            half = u32(u32(1) - half)
        for q in range(TM):
            m = u32(first_m + row + u32(run_start(q, BM, TM)))
            for r in range(TN):
                n = u32(first_n + col + u32(run_start(r, BN, TN)))
                if m < u32(M) and n < u32(N):
                    value = sums[q * TN + r]
                    if has_bias:
                        value += bias[n]
                    y[u32((u32(cuda.blockIdx.z) * u32(M) + m) * u32(N) + n)] = value

    multiply.__name__ = f"multiply_{tile.name}_{'NT'[a_along_k]}{'NT'[b_along_k]}"
    return kernel(multiply)


LAYOUTS = (True, True), (True, False), (False, False)  # of linear's forward, backward-input and backward-weight
KERNELS = {(tile, *layout): make_multiply(tile, *layout) for tile in (LARGE, SMALL) for layout in LAYOUTS}


def product(shape, a, a_steps, b, b_steps, bias, layout):
    """A new array y[m,n] = bias[n] + sum over k of a[m,k] * b[k,n], for shape (M, N, K).

    a[m,k] is element m*a_steps[0] + k*a_steps[1] of a's memory, b[k,n] element k*b_steps[0] + n*b_steps[1] of b's: so a
    transposed matrix is the same matrix with its steps exchanged. Where there are few tiles, the sums are cut in parts.
    """
    M, N, K = shape
    check_countable("the result", (M, N))
    y = empty((M, N), a.dtype)
    tile = LARGE if choose_tile(M, N, y.dtype, max(1, K // LONG)) == LARGE else SMALL
    parts, span = choose_parts(count_tiles(tile, M, N), K)
    whole = parts == 1
    target = y if whole else empty((parts, M, N), y.dtype)
    grid = blocks(N, tile.N), blocks(M, tile.M), parts
    now = bias if whole else None
    numbers = (now is not None, a_steps, b_steps, span, M, N, K)
    launch(
        KERNELS[tile, *layout],
        grid,
        tile.threads,
        flat(target),
        flat(a),
        flat(b),
        flat(a) if now is None else now,
        *numbers,
    )
    if not whole:
        add_parts(flat(y), flat(target), parts, bias)
    return y


def linear_forward(x, w, b):
    check_device(x=x, w=w, b=b)
    check_linear(x, w, b)
    O, I = w.shape
    M = x.size // I
    y = product((M, O, I), readable("x", x), (I, 1), plain(w), (1, I), b if b is None else plain(b), LAYOUTS[0])
    return y.reshape(*tuple(x.shape)[:-1], O)


def linear_backward_input(dy, w):
    check_device(dy=dy, w=w)
    same_dtype(dy=dy, w=w)
    check_rank("w", w, 2, "(O, I)")
    check_shape("dy", dy, (*tuple(dy.shape)[:-1], w.shape[0]))
    O, I = w.shape
    dx = product((dy.size // O, I, O), readable("dy", dy), (O, 1), plain(w), (I, 1), None, LAYOUTS[1])
    return dx.reshape(*tuple(dy.shape)[:-1], I)


def linear_backward_weight(dy, x):
    check_device(dy=dy, x=x)
    same_dtype(dy=dy, x=x)
    O, I = tuple(dy.shape)[-1], tuple(x.shape)[-1]
    check_shape("dy", dy, (*tuple(x.shape)[:-1], O))
    return product((O, I, x.size // I), readable("dy", dy), (1, O), readable("x", x), (I, 1), None, LAYOUTS[2])
