"""The gradients of biases: sums over everything but the channels.

A float32 running sum over a million values would lose its last digits one by one. Here no sum is long: each thread
adds up a few values, each block adds up its threads' sums in a tree, and the blocks' sums are added up in turns of
`RUN`, as often as it takes. A value passes through some 100 additions instead of a million, so float32 is enough where
the host takes float64 (which is slow on most GPUs).
"""

from numba import cuda

from ..shapes import check_rank, same_dtype
from .arrays import check_device, empty, plain
from .launch import SIMULATED, THREADS, blocks, kernel, launch
from .reduce import WIDTH, block_sum

PIECE = WIDTH * (2 if SIMULATED else 32)  # pixels of a plane that one block adds up
RUN = 4 if SIMULATED else 32  # rows that one thread adds up


def conv2d_backward_bias(dy):
    check_device(dy=dy)
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, O, H', W')")
    N, O, rows, cols = dy.shape
    pieces = blocks(rows * cols, PIECE)
    partials = empty((N * pieces, O), dtype)
    launch(sum_pieces, N * pieces * O, WIDTH, partials, plain(dy).reshape(N, O, rows * cols), pieces)
    return sum_rows(partials)


@kernel
def sum_pieces(partials, x, pieces):
    """One block for each piece of each plane of x (N, O, pixels): partials[n*pieces + piece, o]."""
    lines = cuda.shared.array(WIDTH, x.dtype)
    row, o = cuda.blockIdx.x // x.shape[1], cuda.blockIdx.x % x.shape[1]
    n, piece = row // pieces, row % pieces
    total = x.dtype.type(0)
    for p in range(piece * PIECE + cuda.threadIdx.x, min(x.shape[2], (piece + 1) * PIECE), WIDTH):
        total += x[n, o, p]
    total = block_sum(total, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        partials[row, o] = total


def linear_backward_bias(dy):
    check_device(dy=dy)
    same_dtype(dy=dy)
    O = dy.shape[dy.ndim - 1]
    return sum_rows(plain(dy).reshape(dy.size // O, O))


def sum_rows(x):
    """The sum over the first axis of x (M, O), a new array (O,); zeros for M = 0."""
    while True:
        M, O = x.shape
        y = empty((max(1, blocks(M, RUN)), O), x.dtype)
        launch(sum_runs, blocks(y.size), THREADS, y, x)
        if y.shape[0] == 1:
            return y.reshape(O)
        x = y


@kernel
def sum_runs(y, x):
    """y[i,o] = sum of x[i*RUN : (i + 1)*RUN, o]: one thread each; neighbours read neighbouring columns."""
    index = cuda.grid(1)
    if index >= y.size:
        return
    i, o = index // x.shape[1], index % x.shape[1]
    total = x.dtype.type(0)
    for row in range(i * RUN, min(x.shape[0], (i + 1) * RUN)):
        total += x[row, o]
    y[i, o] = total
