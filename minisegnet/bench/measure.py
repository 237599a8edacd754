"""Taking times in turns, threads, and what a figure's reader must know about the machine."""

import contextlib
import gc
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import kernels

FULL = {"rounds": 7, "seconds": 0.3}  # for `alternate`: turns for everybody, and about how long is timed in all
QUICK = {"rounds": 3, "seconds": 0.06}
WARM_UP = 0.02  # seconds: the threads of libgomp, which PyTorch uses, wait awake for more than 10 ms
LONGEST = 20.0  # seconds for all turns of one row: something that takes long gets fewer of them


def duration(call):
    """The seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def turn(call, repeats, warm_up=WARM_UP):
    """The seconds that each of `repeats` calls takes. Calls for `warm_up` seconds before, at least one, don't count."""
    end = time.perf_counter() + warm_up
    call()
    while time.perf_counter() < end:
        call()
    return [duration(call) for _ in range(repeats)]


def alternate(calls, rounds, seconds, turns=None):
    """{name: [seconds of each timed call]} for several contenders {name: call} that take turns.

    In every round each of them has its turn, so a machine that gets slower or faster does so for all alike, and only
    the ratio of two medians of one run means anything. A turn begins with calls that are not counted, for at least
    WARM_UP seconds: they bring the contender's data into the caches and its threads to the cores, and meanwhile the
    threads of the one before fall asleep, which in OpenMP wait awake for more work.
    Each contender is called once beforehand, to compile and to choose its algorithms.

    `turns` may have another function like `turn` for some contenders, such as one that reads a GPU's clock.

    >>> times = alternate({"a": lambda: sum(range(99)), "b": lambda: sum(range(9))}, rounds=3, seconds=0.01)
    >>> list(times), min(len(times["a"]), len(times["b"])) >= 3
    (['a', 'b'], True)
    """
    turns = dict.fromkeys(calls, turn) | (turns or {})
    expected = {name: max(1e-7, *turns[name](call, 1, 0)) for name, call in calls.items()}
    each = seconds / rounds / len(calls)
    repeats = {name: min(1000, max(1, int(each / t))) for name, t in expected.items()}
    per_round = sum(max(t, WARM_UP) + repeats[name] * t for name, t in expected.items())
    rounds = max(1, min(rounds, int(LONGEST / per_round)))
    times = {name: [] for name in calls}
    with no_garbage_collection():
        for number in range(rounds):
            # there and back, so that nobody always comes after the same one
            for name in list(calls) if number % 2 == 0 else reversed(calls):
                times[name] += turns[name](calls[name], repeats[name])
    return times


@contextlib.contextmanager
def no_garbage_collection():
    """Within the block Python's collector of reference cycles can't run in the midst of somebody's turn."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def milliseconds(times):
    """{name: median in milliseconds} of what `alternate` returns.

    >>> milliseconds({"a": [0.5, 0.001, 0.002]})
    {'a': 2.0}
    """
    return {name: 1e3 * statistics.median(took) for name, took in times.items()}


def best(times):
    """{name: shortest in milliseconds} of what `alternate` returns.

    >>> best({"a": [0.5, 0.001, 0.002]})
    {'a': 1.0}
    """
    return {name: 1e3 * min(took) for name, took in times.items()}


def ratio(ours, theirs):
    """How many times our time PyTorch's better variant takes: above 1 we are faster. None without PyTorch.

    >>> ratio(2.0, {"NCHW": 6.0, "channels_last": 5.0})
    2.5
    """
    return min(theirs.values()) / ours if theirs else None


# ------------------------------------------------------------------ threads


@contextlib.contextmanager
def threads(count=None):
    """Within the block our kernels, NumPy's BLAS and PyTorch use `count` threads each (None: as many as kernels do).

    Yields the number. Raises ValueError for more threads than there are cores.
    """
    torch, before = import_torch(), kernels.get_num_threads()
    count = before if count is None else count
    if count > os.cpu_count():
        raise ValueError(f"{count} threads on {os.cpu_count()} cores would only wait for each other; use fewer")
    torch_before = torch.get_num_threads() if torch else None
    with threadpool_limits(count, "blas"):  # sets BLAS back afterwards
        kernels.set_num_threads(count)
        if torch:
            torch.set_num_threads(count)
        try:
            yield count
        finally:
            kernels.set_num_threads(before)
            if torch:
                torch.set_num_threads(torch_before)


def thread_environment(count):
    """The environment variables that make a new process use `count` threads in the same three places."""
    return dict.fromkeys(
        ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(count)
    )


def import_torch():
    """The module torch, or None where PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


# ------------------------------------------------------------------ the machine


class Others:
    """How many cores other processes keep busy, on average since this object was made.

    >>> cores = Others().cores()
    >>> cores is None or cores >= 0
    True
    """

    def __init__(self):
        self.start, self.busy, self.own = time.perf_counter(), busy_seconds(), own_seconds()

    def cores(self):
        """The number, or None where the system does not tell."""
        if self.busy is None:
            return None
        others = busy_seconds() - self.busy - (own_seconds() - self.own)
        return max(0.0, others / max(time.perf_counter() - self.start, 1e-9))


def busy_seconds():
    """Seconds that all cores together have been busy since the system was started; None if this isn't Linux."""
    path = Path("/proc/stat")
    if not path.exists():
        return None
    user, nice, system, _, _, irq, soft, steal = map(int, path.read_text(encoding="ascii").split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Seconds of all cores that this process and its finished children have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def machine():
    """What the figures were measured on and with, as a dict for the head of the output."""
    import numba

    from kernels.cpu.micro import MACHINE

    from .._version import __version__

    torch = import_torch()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "simd": MACHINE.name,
        "minisegnet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "torch": torch.__version__ if torch else None,
    }


def processor():
    """The processor's name."""
    listed = Path("/proc/cpuinfo")  # of Linux
    for line in listed.read_text(encoding="utf-8", errors="replace").splitlines() if listed.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
