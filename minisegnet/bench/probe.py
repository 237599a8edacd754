"""What only a fresh process can tell: how long its first training step takes, and how much memory training needs.

`python -m minisegnet.bench.probe '{"model": ..., "contender": ..., "backend": ..., "rung": ...}'` prints one line of
JSON; `step.probe` is what calls it. Our steps and PyTorch's are measured by the same code.
"""

import ctypes
import gc
import json
import os
import statistics
import sys
from pathlib import Path

import kernels

from .measure import duration
from .step import ALL_MODELS, our_step, torch_step

STEPS = 3


def main(text):
    task = json.loads(text)
    model, contender = ALL_MODELS[task["model"]], task["contender"]
    if contender == "ours":
        with kernels.use(task["backend"], conv=task["rung"]):
            found = measure(lambda: our_step(model))
    else:
        found = measure(lambda: torch_step(model, contender))
    print(json.dumps(found))


def measure(make):
    """First step, a later step, and memory peak of the step that make() builds.

    The peak is the growth of resident memory over what it was before the net was built, at its highest during a few
    steps. Libraries, compiled code and compilers are not part of it: there was a first net before, to load them, and
    what it used has been given back. Where the system can't count a peak anew, the first net is the one measured, so
    the number is an upper bound and not exact; on Windows it is None.
    """
    exact = reset_peak()
    before = peak_bytes()
    step = make()
    first = duration(step)
    if exact:
        del step
        give_back()
        before = resident_bytes()
        reset_peak()
        step = make()
    later = [duration(step) for _ in range(STEPS)]
    peak = peak_bytes()
    grown = None if peak is None else peak - before
    return {
        "first_step_seconds": first,
        "step_seconds": statistics.median(later),
        "memory_peak_bytes": grown,
        "memory_is_exact": exact,
    }


def give_back():
    """Give the memory of everything that is no longer needed back to the system."""
    gc.collect()
    pool = sys.modules.get("kernels.cpu.memory")  # loaded with the compiled kernels
    if pool:
        pool.release()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):  # glibc
        ctypes.CDLL(None).malloc_trim(0)


# ------------------------------------------------------------------ what the system says


def reset_peak():
    """Let the peak of resident memory be counted from now on; returns whether that is possible (on Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def resident_bytes():
    """Memory of this process that is in RAM now."""
    return linux_status("VmRSS")


def peak_bytes():
    """The most that it has been since the process began, or since `reset_peak`; None on Windows."""
    if Path("/proc/self/status").exists():
        return linux_status("VmHWM")
    if os.name == "nt":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def linux_status(name):
    """A line of Linux's report on this process, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(sys.argv[1])
