"""What this machine can do at best, measured by two loops that do nothing else.

    multiply-adds    the convolutions' own micro-kernel, with all its data in the L1 cache
    memory traffic   a triad, a = b + s*c, over arrays that no cache holds (2 reads and 1 write for each element, as
                     everybody counts it, although a processor may read the line that it is about to overwrite, too)

Every op is under two roofs: with F operations and B bytes to move it takes at least max(F/peak, B/bandwidth).
Source: Williams, Waterman, Patterson, Roofline: an insightful visual performance model for multicore architectures
(2009); McCalpin, Memory bandwidth and machine balance in current high performance computers (1995), for the triad.
"""

from typing import NamedTuple

import numpy as np

from kernels.cpu.jit import parallel, part_of
from kernels.cpu.micro import MACHINE, dot_tile, lanes

from .measure import duration

R, V = MACHINE.pixels_tile
L = lanes(np.dtype(np.float32))
dot = dot_tile(R, V)
NO_FLOOR = np.float32(-np.inf)  # below which no result is cut off
TAPS, REPEATS = 256, 150
TRIAD_NUMBERS = 2**24  # 64 MiB in each of three arrays


class Peaks(NamedTuple):
    """The two roofs of this machine, with the threads in use."""

    gflops: float  # 10^9 floating-point operations a second; a multiply-add is two
    gbs: float  # 10^9 bytes a second to and from memory

    def seconds(self, flops, moved):
        """The shortest time in which so many operations can be done and so many bytes moved."""
        return max(flops / self.gflops, moved / self.gbs) / 1e9


class PeakMeter:
    """Runs both loops for a few milliseconds whenever `sample` is called, and keeps the best of all samples.

    A busy machine only ever makes a sample slower, so samples all over a run find the peak also where there are others
    at work.
    """

    def __init__(self, threads):
        size, self.tiles = V * L, 12 * threads
        self.y = np.zeros(self.tiles * R * size, np.float32)
        self.x, self.w, self.bias = (np.ones(count, np.float32) for count in (16 * size, TAPS * R, R))
        self.offsets = np.arange(TAPS) % 16 * size
        self.arrays = [np.ones(TRIAD_NUMBERS, np.float32) for _ in range(3)]  # ones: every page has been written to
        self.multiply_add(1)  # compiles, as does the next line
        triad(*(array[:1] for array in self.arrays), np.float32(2))
        self.peaks = Peaks(0.0, 0.0)
        self.sample()

    def sample(self):
        flops = 2 * self.tiles * REPEATS * TAPS * R * V * L
        gflops = flops / min(duration(lambda: self.multiply_add(REPEATS)) for _ in range(3)) / 1e9
        moved = sum(array.nbytes for array in self.arrays)
        gbs = moved / min(duration(lambda: triad(*self.arrays, np.float32(2))) for _ in range(2)) / 1e9
        self.peaks = Peaks(max(self.peaks.gflops, gflops), max(self.peaks.gbs, gbs))

    def multiply_add(self, repeats):
        multiply_add(self.y, self.tiles, self.w, self.x, self.offsets, self.bias, repeats)


@parallel
def multiply_add(y, tiles, w, x, offsets, bias, repeats, share):
    """Each tile `repeats` times: R*V*L sums of `len(offsets)` products."""
    for tile in part_of(tiles, share):
        for _ in range(repeats):
            dot(y, tile * R * V * L, V * L, w, 0, x, 0, L, offsets, len(offsets), bias, 0, NO_FLOOR)


@parallel
def triad(a, b, c, s, share):
    part = part_of(len(a), share)
    out, first, second = a[part.start : part.stop], b[part.start : part.stop], c[part.start : part.stop]
    for i in range(len(out)):
        out[i] = first[i] + s * second[i]
