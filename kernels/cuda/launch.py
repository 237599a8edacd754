"""Kernels and how they are started: everything of this folder that runs on the GPU passes through `launch`.

    @kernel
    def double(y, x):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = x[i] + x[i]

    launch(double, blocks(x.size), THREADS, y, x)

A kernel is compiled when it is first launched with arguments of these types. What a kernel must keep to:

    * outputs first, sizes last; it neither allocates nor checks (the op around it has done both)
    * one thread owns one output, or one block does: no float atomics, so the same bits come out every time
    * numbers of the arrays' own type: `x.dtype.type(0)`, never a bare 0.5, which is float64 and slow on a GPU
    * integers arrive as int32; products of them that may pass 2**31 are widened by Numba

`SIMULATED` is true where NUMBA_ENABLE_CUDASIM=1 was set before Python started: kernels then run as Python threads on
the host, thousands of times slower, and can be stepped through in a debugger.
"""

import functools

import numba
import numpy as np
from numba import cuda

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
THREADS = 32 if SIMULATED else 256  # per block, for kernels that work element by element
MAX_BLOCKS = 2**31 - 1  # along x; along y and z a grid has at most 65535

KERNELS = {}  # every kernel by "module.name": what the tests compile one by one

numba.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # Numba warns of small grids, and small layers have small grids


def kernel(function=None, **options):
    """Decorator: a function that runs on the GPU, compiled when it is first launched.

    options are `cuda.jit`'s (max_registers=128), which the simulator does not know and does not get.
    """
    if function is None:
        return functools.partial(kernel, **options)
    made = cuda.jit(function, **({} if SIMULATED else options))
    KERNELS[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"] = made
    return made


def device_function(function):
    """Decorator: a function that kernels call; it is compiled into each of them."""
    return cuda.jit(function, device=True, inline="always")


@functools.cache
def stream():
    """The queue in which all kernels and copies of this process run, one after the other."""
    return cuda.stream()


def launch(kernel, grid, threads, *arguments):
    """Put a kernel into the queue: `grid` blocks of `threads` threads, both numbers or tuples of up to three.

    Returns at once. Integers become int32. Nothing happens where there are no blocks: an empty batch needs no kernel.
    """
    if 0 in (grid if isinstance(grid, tuple) else (grid,)):
        return
    start(kernel, grid, threads, tuple(map(argument, arguments)))


def start(kernel, grid, threads, arguments):
    """The launch itself, apart so that tests can put something in its place that only compiles."""
    kernel[grid, threads, stream()](*arguments)


def argument(value):
    """What a kernel gets for a Python value.

    >>> argument(7), argument((2, 3))
    (np.int32(7), (np.int32(2), np.int32(3)))
    """
    if isinstance(value, tuple):
        return tuple(map(argument, value))
    if type(value) is float:  # np.float64 is one by inheritance, but says what it is
        raise TypeError(f"a kernel was given the Python float {value}, which would be float64: use x.dtype.type(value)")
    if not isinstance(value, int):
        return value
    if abs(value) >= 2**31:
        raise ValueError(f"an array or a shape has {value} elements; kernels count in 32 bits, so use a smaller batch")
    return np.int32(value)


def blocks(count, threads=THREADS):
    """How many blocks of `threads` it takes to have one thread for each of `count` elements.

    >>> blocks(1000, 256)
    4
    """
    return -(-count // threads)
