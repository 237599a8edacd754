"""How kernels are compiled: when first called, for one thread or for many, kept on disk, announced if it is long."""

import contextlib
import functools
import gc
import os
import sys
import time

import numba
import numpy as np
from numba.core import event

from .. import threads
from .cache import KernelCache

SMALL = 64 * 1024  # bytes of arrays for which no other thread is woken: that takes as long as the work
FAST = {"contract", "nsz", "reassoc"}  # sums may be reordered and fused; NaN and infinity keep their meaning


def jit(function=None, **options):
    """@njit with the options that all kernels share; `@jit` or `@jit(inline="always")`."""
    if function is None:
        return functools.partial(jit, **options)
    common = {"fastmath": FAST, "error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}  # C never calls them
    compiled = numba.njit(function, **common, **options)
    compiled._cache = KernelCache(function)  # what cache=True does, with Numba's own
    return compiled


def parallel(function):
    """@jit for a kernel that threads share: its last parameter is `share`, and callers leave it out.

    @parallel
    def double(y, x, share):
        for i in part_of(len(x), share):
            y[i] = 2 * x[i]
    """
    compiled = jit(function)

    @functools.wraps(function)
    def call(*arguments):
        if sum(a.nbytes for a in arguments if type(a) is np.ndarray) < SMALL:
            compiled(*arguments, (0, 1))
        else:
            threads.run(compiled, arguments)

    return call


@jit
def part_of(count, share):
    """The range of 0, ..., count - 1 that belongs to share (part, parts)."""
    part, parts = share
    return range(part * count // parts, (part + 1) * count // parts)


class Compiling(event.Listener):
    """While a kernel is compiled: says once what the wait is for, when that has taken a second in sum.

    Python's collector of reference cycles waits meanwhile. Numba makes millions of objects that live until the kernel
    is done, and looking through them again and again takes an eighth of the time.
    """

    TEXT = (
        "minisegnet: compiling the kernels that are needed here for the first time: their loops become code for this "
        "processor, within half a minute; it is kept on disk, so the same work starts at once the next time"
    )

    def __init__(self):
        self.depth, self.before, self.said = 0, 0.0, False

    def on_start(self, event):
        if self.depth or event.data["dispatcher"].py_func.__module__.startswith(f"{__package__}."):
            if not self.depth:
                self.start, self.collecting = time.perf_counter(), gc.isenabled()
                gc.disable()
            self.depth += 1  # Numba compiles what a kernel calls within the kernel, and one kernel at a time
            self.look_at_the_clock()

    def on_end(self, event):
        if self.depth:
            self.depth -= 1
            if not self.depth:
                if self.collecting:  # before anything that an exception could keep from happening
                    gc.enable()
                self.before += time.perf_counter() - self.start
            self.look_at_the_clock()

    def after_fork(self):
        """In a forked process nothing is being compiled, even if another thread of the parent was at it."""
        if self.depth:
            self.depth = 0
            if self.collecting:
                gc.enable()

    def look_at_the_clock(self):
        running = time.perf_counter() - self.start if self.depth else 0
        if not self.said and self.before + running > 1:
            self.said = True
            with contextlib.suppress(AttributeError, OSError, ValueError):  # no console, a broken pipe, a closed file
                sys.stderr.write(self.TEXT + "\n")
                sys.stderr.flush()


compiling = Compiling()
event.register("numba:compile", compiling)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=compiling.after_fork)
