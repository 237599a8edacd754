"""The threads that compute: they share the parts of a kernel's work.

    run(kernel, arguments)      calls kernel(*arguments, (part, parts)) for part = 0, ..., parts - 1, on all threads

A kernel does the share of its work that (part, parts) names, without Python's global lock, and no two shares write to
the same place. The calling thread works itself; the others wait in a queue for jobs. Shares are taken one after the
other by whoever is free, so that a thread which has to wait for its core holds nobody up.

Ordinary Python threads, and not those of OpenMP, which Numba's prange would use: they wait asleep, out of the way of
BLAS and other processes, and are awake sooner; a kernel compiles faster; several Python threads may compute at once;
and a forked process simply starts new ones.
"""

import itertools
import numbers
import os
import threading
from queue import SimpleQueue

SHARES = 4  # shares for each thread: more even out better, each costs some microseconds


class Job:
    """A kernel at work: shares are taken and given back by counting, which can't be interrupted."""

    def __init__(self, kernel, arguments, parts):
        self.kernel, self.arguments, self.parts = kernel, arguments, parts
        self.taken, self.done, self.error = itertools.count(), itertools.count(1), None
        self.finished = threading.Lock()
        self.finished.acquire()

    def work(self):
        """Do shares until there are none left."""
        while (part := next(self.taken)) < self.parts:
            try:
                self.kernel(*self.arguments, (part, self.parts))
            except BaseException as error:
                self.error = error
            if next(self.done) == self.parts:
                self.finished.release()


class Pool:
    """Threads that wait for jobs; started when first needed, and again in a forked process."""

    def __init__(self):
        self.size = default_threads()
        self.start_anew()

    def start_anew(self):
        self.queue, self.threads = SimpleQueue(), 0

    def run(self, kernel, arguments):
        if self.size == 1:
            kernel(*arguments, (0, 1))
            return
        job = Job(kernel, arguments, SHARES * self.size)
        for _ in range(self.size - 1 - self.threads):
            threading.Thread(target=serve, args=(self.queue,), name="minisegnet kernels", daemon=True).start()
            self.threads += 1
        for _ in range(self.size - 1):
            self.queue.put(job)
        job.work()
        job.finished.acquire()
        error = job.error
        job.kernel = job.arguments = job.error = None  # a thread that comes too late must not keep arrays alive
        if error is not None:
            try:
                raise error
            finally:
                del error  # it knows this frame, which knows it


def serve(queue):
    """Work on the jobs of a queue for ever."""
    while True:
        queue.get().work()


def default_threads():
    """As many threads as the process may use cores, or as the environment variable NUMBA_NUM_THREADS says."""
    try:
        return max(1, int(os.environ["NUMBA_NUM_THREADS"]))
    except (KeyError, ValueError):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


pool = Pool()
run = pool.run
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.start_anew)


def set_num_threads(n):
    """Compute on n threads from now on, in the whole process. Results are the same bits on any number of them.

    This holds for the compiled kernels and for NumPy's matrix products (BLAS), which `reference` and the im2col rung
    use. Without this call kernels use as many threads as the process may use cores, or as NUMBA_NUM_THREADS says, and
    BLAS goes by rules of its own.

    Raises TypeError unless n is an integer, ValueError if it is less than 1.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    if isinstance(n, bool) or not isinstance(n, numbers.Integral):
        raise TypeError(f"the number of threads must be an integer, got {n!r}")
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1, got {n}")
    import threadpoolctl

    pool.size = int(n)
    threadpoolctl.threadpool_limits(limits=int(n), user_api="blas")


def get_num_threads():
    """How many threads compute in the compiled kernels; at first as many as the process may use cores.

    >>> get_num_threads() >= 1
    True
    """
    return pool.size
