"""Memory for results, used again and again: a training step that repeats takes no fresh memory from the system.

Fresh memory is dear. The system gives a large array as a promise; each page of it is fetched and filled with zeros when
it is first written, which takes longer than most of our kernels, and all of it goes back when the array dies. Here the
buffer of a large array waits in a pool for the next array of its size, or of down to half of it.

    y = empty((4, 16, 176, 240), np.float32)    an ordinary array; its contents are undefined
    del y                                       once the last view of it is gone, its buffer waits in the pool

How does the pool learn that the last view is gone? An array keeps its `base` alive, the object whose memory it shows.
Here that is a small `Owner`, to which nothing else refers: so Python deletes the owner together with the last view, and
its `__del__` puts the buffer back.

How much may wait: all buffers, in use or waiting, are together at most a quarter more than what was in use at once at
the highest (for small nets, 16 MiB more). Without that quarter a net would run short of buffers of one size while some
of another wait, for its maps are large first, then small, then large. Where a new buffer would break the rule, waiting
ones are given back to the system before it is made, first of the size of which none was made for longest. `release()`
gives back all that wait.

Arrays die at any moment: in any thread, while Python collects garbage in the midst of these functions, when the
interpreter shuts down. So there are no locks, which could wait for each other, and `__del__` only appends to a list:
neither this nor taking from a list can be interrupted. (Threads that need fresh memory at the same moment don't see
each other's new buffers yet, and may go beyond the rule by these.)
"""

import bisect
import contextlib
import ctypes
import itertools
import math
from typing import NamedTuple

import numpy as np

SMALL = 64 * 1024  # bytes; for smaller arrays malloc has memory at hand
ALIGNMENT = 64  # bytes in a cache line, and in the widest vector
SPARE = 16 * 2**20  # bytes beyond the peak that are always allowed


def owner_class(size):
    """The class of the owners of all buffers of one size. NumPy can show the memory of a ctypes array."""

    class Owner(ctypes.c_char * size):
        __slots__ = ("buffer",)
        waiting = []  # noqa: RUF012  # the buffers that no array uses: one list for all owners of this size
        made_last = 0  # when a new one was made

        def __del__(self):
            self.waiting.append(self.buffer)

    return Owner


class Buffer(NamedTuple):
    memory: np.ndarray  # a little larger than it need be
    address: int  # the first one in it that is aligned


def new_buffer(size):
    try:
        memory = np.empty(size + ALIGNMENT, np.uint8)
    except ValueError:  # more than there are addresses
        raise MemoryError from None
    return Buffer(memory, -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT)


def rounded(nbytes):
    """The size of the buffer for an array: up to a sixteenth larger, so that nearly equal arrays share their buffers.

    What an array leaves untouched at the end takes no memory, unless a larger one used the buffer before.

    >>> rounded(2**20), rounded(2**20 + 1) - 2**20 == 2**16
    (1048576, True)
    """
    step = 1 << ((nbytes - 1).bit_length() - 5)
    return -(-nbytes // step) * step


class Pool:
    """Buffers of many sizes. One pool, below, serves all ops.

    >>> pool = Pool()
    >>> y = pool.empty((100, 200), np.float32)
    >>> y.shape, y.flags.carray, pool.in_use() == 80 * 1024, pool.unused()
    ((100, 200), True, True, 0)
    >>> view = y[50:]
    >>> del y
    >>> pool.unused()
    0
    >>> del view
    >>> pool.in_use(), pool.unused() == 80 * 1024
    (0, True)
    """

    def __init__(self, spare=SPARE):
        self.spare = spare
        self.owners = {}  # size: class of owners
        self.sizes = []  # the same sizes in order
        self.made = []  # the size of each buffer, in use or waiting
        self.peak = 0  # the largest number of bytes that was in use at once
        self.clock = itertools.count()

    def empty(self, shape, dtype):
        """An array like np.empty(shape, dtype), in C order and aligned to a cache line; its contents are undefined.

        MemoryError names the array if there is no memory, even after all that waits has been given back.
        """
        dtype = np.dtype(dtype)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < SMALL:
            return np.empty(shape, dtype)
        size = rounded(nbytes)
        try:
            Owner = self.owners[size]
            buffer = Owner.waiting.pop()
        except LookupError:
            Owner, buffer = self.larger(size) or self.fresh(size, shape, dtype)
        owner = Owner.from_address(buffer.address)
        owner.buffer = buffer
        return np.ndarray(shape, dtype, owner)

    def larger(self, size):
        """The smallest buffer up to twice as large that waits, and the class of its owners; None if there is none."""
        for other in self.sizes[bisect.bisect(self.sizes, size) : bisect.bisect(self.sizes, 2 * size)]:
            Owner = self.owners[other]
            if Owner.waiting:
                with contextlib.suppress(IndexError):  # another thread took the last one
                    return Owner, Owner.waiting.pop()
        return None

    def fresh(self, size, shape, dtype):
        """A new buffer, for which others may have to go, and the class of its owners; shape and dtype: for an error."""
        self.peak = max(self.peak, self.in_use() + size)
        self.discard(sum(self.made) + size - self.peak - max(self.peak // 4, self.spare))
        try:
            buffer = new_buffer(size)
        except MemoryError:
            self.release()
            try:
                buffer = new_buffer(size)
            except MemoryError:
                nbytes = math.prod(shape) * dtype.itemsize
                what = f"an array of shape {tuple(shape)}, {dtype}: {nbytes / 2**20:,.1f} MiB"
                raise MemoryError(f"no memory for {what}; use a smaller batch, image or net") from None
        self.made.append(size)
        if size not in self.owners:
            self.owners.setdefault(size, owner_class(size))
            bisect.insort(self.sizes, size)
        self.owners[size].made_last = next(self.clock)
        return self.owners[size], buffer

    def in_use(self):
        """Bytes of all buffers that arrays use."""
        return sum(self.made) - self.unused()

    def unused(self):
        """Bytes of all buffers that wait."""
        return sum(size * len(Owner.waiting) for size, Owner in tuple(self.owners.items()))

    def discard(self, excess):
        """Give waiting buffers of `excess` bytes or more back to the system, or all there are."""
        for size, Owner in sorted(self.owners.items(), key=lambda item: item[1].made_last):
            with contextlib.suppress(IndexError):  # there is no other left
                while excess > 0:
                    Owner.waiting.pop()
                    self.made.remove(size)
                    excess -= size

    def release(self):
        """Give all memory that waits back to the system; the peak counts anew from what is in use."""
        self.discard(math.inf)
        self.peak = self.in_use()


pool = Pool()
empty, release = pool.empty, pool.release


def empty_like(a):
    """An array of a's shape and dtype, in C order whatever a's is."""
    return empty(a.shape, a.dtype)


def zeros(shape, dtype):
    """An array of zeros."""
    a = empty(shape, dtype)
    a.fill(0)
    return a
