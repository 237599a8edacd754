"""Memory of the GPU, kept and reused: asking the driver for it costs as much as a small kernel, giving it back waits.

A step of training asks for the same sizes again and again. An array's memory therefore goes back to a list when the
array and all views of it have died, and the next array of that size takes it from there. Since everything runs in one
queue, whatever still reads the old array is done before the new one is written.

Source: the caching allocator of PyTorch (Paszke et al., PyTorch, 2019, section 5.3).
"""

import functools
import threading
import weakref

import numpy as np
from numba import cuda

from .launch import SIMULATED

GRAIN = 512  # bytes; every block is a multiple of it
LARGE = 2**20  # bytes; larger blocks are rounded up to a multiple of this, so that nearly equal sizes share blocks


def rounded(size):
    """The size of the block that an array of `size` bytes gets.

    >>> rounded(1), rounded(513), rounded(3 * 2**20 + 1) == 4 * 2**20
    (512, 1024, True)
    """
    grain = GRAIN if size < LARGE else LARGE
    return -(-size // grain) * grain


class Pool:
    """Blocks of memory by size. `allocate(size)` asks the driver for one; it raises where there is none left."""

    def __init__(self, allocate):
        self.allocate = allocate
        self.idle = {}  # size: blocks
        self.in_use = 0  # bytes
        self.peak = 0  # the most that this has been; whoever wants to measure sets it back
        self.lock = threading.RLock()  # arrays may die in any thread, also in the middle of `take`

    def take(self, size):
        """A block of at least `size` bytes."""
        size = rounded(size)
        with self.lock:
            kept = self.idle.get(size)
            block = kept.pop() if kept else None
        if block is None:
            try:
                block = self.allocate(size)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                self.empty()
                block = self.allocate(size)  # whatever was kept in other sizes is free now
        with self.lock:
            self.in_use += size
            self.peak = max(self.peak, self.in_use)
        return block

    def give_back(self, size, block):
        with self.lock:
            self.in_use -= rounded(size)
            self.idle.setdefault(rounded(size), []).append(block)

    def empty(self):
        """Hand everything that is kept back to the driver."""
        with self.lock:
            self.idle.clear()

    def kept(self):
        """Bytes that are kept for reuse."""
        with self.lock:
            return sum(size * len(blocks) for size, blocks in self.idle.items())


def is_out_of_memory(error):
    return "OUT_OF_MEMORY" in str(error) or isinstance(error, MemoryError)


@functools.cache
def pool():
    """This process's pool."""
    return Pool(lambda size: cuda.current_context().memalloc(size))


def allocate(shape, dtype):
    """A new device array (C order, not initialised). Raises MemoryError that says how much was wanted and free."""
    shape, dtype = tuple(int(length) for length in shape), np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if SIMULATED or size == 0:
        return cuda.device_array(shape, dtype)
    try:
        block = pool().take(size)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryError(out_of_memory_text(shape, dtype, size)) from error
    context = cuda.current_context()
    lease = cuda.cudadrv.driver.MemoryPointer(
        weakref.proxy(context),
        block.device_pointer,
        size,
        finalizer=functools.partial(pool().give_back, size, block),  # when the last array that uses it has died
    )
    strides = tuple(dtype.itemsize * int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
    return cuda.devicearray.DeviceNDArray(shape, strides, dtype, gpu_data=lease)


def out_of_memory_text(shape, dtype, size):
    free, total = cuda.current_context().get_memory_info()
    return (
        f"the GPU has no room for an array {shape} of {dtype}, {mib(size)}: {mib(free)} of {mib(total)} are free, "
        f"{mib(pool().in_use)} hold arrays of this process; use a smaller batch or smaller pictures"
    )


def mib(size):
    return f"{size / 2**20:.0f} MiB"
