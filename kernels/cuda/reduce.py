"""Sums over many elements, always in the same order, so that the same bits come out every time.

Two stages: each block adds up its share and writes one partial sum; one more block adds up the partial sums. Float
atomics would need one stage only, but add in whatever order the blocks happen to finish.
"""

import numpy as np
from numba import cuda

from .arrays import empty, flat, plain, to_host
from .launch import SIMULATED, blocks, device_function, kernel, launch

WIDTH = 32 if SIMULATED else 256  # threads that add up together; a power of two
PARTIALS = 8 if SIMULATED else 256  # blocks of the first stage


@device_function
def block_sum(value, lines, thread, width):
    """The sum of `value` over the block's threads, in a tree: thread t adds what t + half has, and half shrinks.

    lines is shared memory, one element for each of the `width` threads (a power of two). Every thread must call this;
    every thread gets the sum. The barrier at the end lets `lines` be used again at once.
    """
    lines[thread] = value
    cuda.syncthreads()
    half = width // 2
    while half > 0:
        if thread < half:
            lines[thread] += lines[thread + half]
        cuda.syncthreads()
        half //= 2
    total = lines[0]
    cuda.syncthreads()
    return total


@kernel
def partial_sums(partials, x):
    lines = cuda.shared.array(WIDTH, x.dtype)
    i, value = cuda.grid(1), x.dtype.type(0)
    while i < x.size:
        value += x[i]
        i += cuda.gridsize(1)
    total = block_sum(value, lines, cuda.threadIdx.x, WIDTH)
    if cuda.threadIdx.x == 0:
        partials[cuda.blockIdx.x] = total


def total(x):
    """The sum of all elements as a Python float. Waits for the GPU.

    The partial sums are added up on the host, in float64.
    """
    if x.size == 0:
        return 0.0
    partials = empty((min(PARTIALS, blocks(x.size, WIDTH)),), x.dtype)
    launch(partial_sums, partials.size, WIDTH, partials, flat(plain(x)))
    return float(to_host(partials).sum(dtype=np.float64))
