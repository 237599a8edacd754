"""Matrix products in register tiles: what rung 3 of the convolution ladder and `linear` are made of.

A product of an M x K with a K x N matrix takes M*N*K multiplications on M*K + K*N numbers: each number is needed often.
The further down one keeps a number, the less it costs to have it again:

    global memory   each block owns a tile of the result (128 x 128 say). For each step of 8 along K it reads 128 x 8
                    numbers of one matrix and 8 x 128 of the other, and uses every one 128 times.
    shared memory   holds these 2 * 1024 numbers. Twice, in fact: while the block multiplies one pair of tiles, the
                    next pair is on its way from global memory, and one barrier a step is enough.
    registers       each of the 256 threads owns 8 x 8 of the tile's sums. For each k it takes 8 + 8 numbers out of
                    shared memory, as four loads of 16 bytes, and does 64 multiply-adds with them.

So a thread has 64 multiply-adds for 4 loads, where rung 1 had one for two. Its 8 rows are two runs of four, half a tile
apart, and so are its columns: then neighbouring threads read neighbouring 16 bytes, from different banks.

Source: Volkov and Demmel, Benchmarking GPUs to tune dense linear algebra (2008); NVIDIA's CUTLASS, "Efficient GEMM".
"""

from typing import NamedTuple

import numpy as np
from numba import cuda

from .launch import SIMULATED, THREADS, blocks, device_function, kernel, launch

u64 = np.uint64

DEPTH = 8  # steps along K that are in shared memory at a time
GAP = 4  # numbers between the rows of a tile in shared memory, so that a column is not in one bank
ENOUGH = 4 if SIMULATED else 256  # blocks that keep a large GPU busy
LONG = 8 if SIMULATED else 256  # steps along K below which splitting them is not worth a second kernel


class Tile(NamedTuple):
    """A block's part of the result, and a thread's part of that."""

    M: int
    N: int
    rows: int  # of a thread: 4 or 8
    cols: int

    @property
    def threads(self):
        return self.M // self.rows * (self.N // self.cols)

    @property
    def name(self):
        return f"{self.M}x{self.N}"


if SIMULATED:  # the same kernels, with so few threads that the simulator can run them
    LARGE, WIDE, FLAT, SMALL = Tile(32, 16, 4, 8), Tile(32, 8, 8, 4), Tile(16, 8, 4, 4), Tile(32, 8, 4, 4)
else:
    LARGE, WIDE, FLAT, SMALL = Tile(128, 128, 8, 8), Tile(64, 128, 8, 8), Tile(32, 128, 4, 8), Tile(64, 64, 4, 4)
TILES = LARGE, WIDE, FLAT, SMALL


def choose_tile(M, N, dtype, batch=1):
    """The tile for an M x N result (`batch` of them): as large as is useful, but so that there are enough blocks.

    float64 takes twice the registers, so it gets the small one.
    """
    if dtype == np.float64:
        return SMALL
    tile = FLAT if M <= FLAT.M else WIDE if M <= WIDE.M else LARGE
    return tile if count_tiles(tile, M, N) * batch >= ENOUGH else SMALL if M > FLAT.M else FLAT


def count_tiles(tile, M, N):
    return blocks(M, tile.M) * blocks(N, tile.N)


def choose_parts(tiles, K):
    """Into how many parts the sums along K are cut so that there are enough blocks, and how long a part is.

    A part's length is a multiple of DEPTH; the last may be shorter.
    """
    parts = max(1, min(ENOUGH * 2 // max(1, tiles), K // LONG))
    span = max(1, blocks(blocks(K, parts), DEPTH)) * DEPTH
    return max(1, blocks(K, span)), span


@device_function
def run_start(m, M, rows):
    """The place in the tile of a thread's row number m, counted from its first: rows come in runs of four."""
    return m // 4 * (M * 4 // rows) + m % 4


@device_function
def clear(sums, count):
    for q in range(count):
        sums[q] = 0


@device_function
def add_outer_product(sums, a, b, at_a, at_b, M, N, rows, cols):
    """sums[m,n] += a[at_a + row m] * b[at_b + column n] for a thread's rows and columns of a tile: one k.

    All loops have a fixed length and the compiler unrolls them, so `sums`, `left` and `right` are registers, and no
    index is computed. Indices are 64 bits wide for once: adding in 32 bits might wrap for all the compiler knows, and
    then four neighbours could not be loaded as one.
    """
    left = cuda.local.array(8, a.dtype)
    right = cuda.local.array(8, a.dtype)
    for m in range(rows):
        left[m] = a[at_a + u64(m // 4 * (M * 4 // rows) + m % 4)]
    for n in range(cols):
        right[n] = b[at_b + u64(n // 4 * (N * 4 // cols) + n % 4)]
    for m in range(rows):
        for n in range(cols):
            sums[m * cols + n] += left[m] * right[n]


@device_function
def add_products(sums, a, b, at_a, at_b, M, N, rows, cols):
    """The outer products of all DEPTH steps that are in shared memory; at_a, at_b: the thread's first row and column.

    The eight are written out, because the compiler would keep a loop. As it is, the numbers for the next step are
    loaded while those of this one are multiplied.
    """
    next_a, next_b = u64(M + GAP), u64(N + GAP)
    add_outer_product(sums, a, b, at_a, at_b, M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a, at_b + next_b, M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(2), at_b + next_b * u64(2), M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(3), at_b + next_b * u64(3), M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(4), at_b + next_b * u64(4), M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(5), at_b + next_b * u64(5), M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(6), at_b + next_b * u64(6), M, N, rows, cols)
    add_outer_product(sums, a, b, at_a + next_a * u64(7), at_b + next_b * u64(7), M, N, rows, cols)


# ------------------------------------------------------------------ sums of parts


def add_parts(y, parts, count, bias=None):
    """y[i] = sum over the parts of parts[part*len(y) + i] + bias[i % len(bias)], for flat arrays."""
    launch(add_up, blocks(y.size), THREADS, y, parts, parts if bias is None else bias, bias is not None, count)


@kernel
def add_up(y, parts, bias, has_bias, count):
    i = cuda.grid(1)
    if i < y.size:
        total = parts[i]
        for part in range(1, count):
            total += parts[part * y.size + i]
        if has_bias:
            total += bias[i % bias.size]
        y[i] = total
