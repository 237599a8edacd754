"""Measuring on the GPU, ours and PyTorch's in turns.

Calls only put work into a queue of the GPU and return, so Python's clock would tell how long that takes, not the work.
Events are put into the same queue, and the GPU notes the time when it comes by:

    event  call  event  call  event  ...        then wait for the queue, and subtract

The queue is never empty meanwhile, unless Python needs longer for a call than the GPU does: then that is what is
measured, in both frameworks alike, and it is what a training step would cost, too.

PyTorch computes in float32 with TF32 off, and cuDNN tries all its algorithms and takes the fastest (benchmark=True).
With TF32 on, its convolutions and matrix products keep 10 bits of each factor's 23: faster, but something else.
"""

import functools
import gc
import itertools
import time

import numpy as np
from numba import cuda

from kernels.cuda.launch import SIMULATED, stream
from kernels.cuda.memory import pool

from . import measure, ops, step
from .measure import WARM_UP, alternate, import_torch, ratio

TF32 = " TF32"  # how the names of such contenders end
ROUNDING = 1e-2  # agreement of results that TF32 has rounded
PRODUCTS = ("conv 3x3", "other convolutions", "linear")  # the groups of rows in which TF32 plays a part
LOSS_AGREEMENT = 2e-5  # a bit more than on the CPU, as cuDNN may use Winograd; one step changes losses by 7e-5 and more


# ------------------------------------------------------------------ queues


class OurQueue:
    """The queue of our kernels, the clock beside it, and the memory that they use."""

    def begin(self):
        pass  # nothing has to be set

    def mark(self):
        """An event in the queue."""
        event = cuda.event()
        event.record(stream())
        return event

    def wait(self):
        stream().synchronize()

    def end(self):
        """Hand memory that is kept for reuse to the driver, so that the other framework can have it."""
        pool().empty()

    def in_use(self):
        return pool().in_use

    def reset_peak(self):
        pool().peak = pool().in_use

    def peak(self):
        return pool().peak


class TorchQueue:
    """The same of PyTorch, with TF32 off or on."""

    device = "cuda"

    def __init__(self, tf32=False):
        self.torch, self.tf32 = import_torch(), tf32

    def begin(self):
        backends = self.torch.backends
        backends.cudnn.benchmark = True
        if hasattr(backends.cuda.matmul, "fp32_precision"):  # since PyTorch 2.9
            for products in (backends.cuda.matmul, backends.cudnn.conv):
                products.fp32_precision = "tf32" if self.tf32 else "ieee"
        else:
            backends.cuda.matmul.allow_tf32 = backends.cudnn.allow_tf32 = self.tf32

    def mark(self):
        event = self.torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def wait(self):
        self.torch.cuda.synchronize()

    def end(self):
        self.torch.cuda.empty_cache()

    def in_use(self):
        return self.torch.cuda.memory_allocated()

    def reset_peak(self):
        self.torch.cuda.reset_peak_memory_stats()

    def peak(self):
        return self.torch.cuda.max_memory_allocated()


def turn(queue, call, repeats, warm_up=WARM_UP):
    """What `measure.turn` does, for calls that put work into a queue: the seconds that the GPU took for each."""
    queue.begin()
    end = time.perf_counter() + warm_up
    while True:
        call()
        queue.wait()
        if time.perf_counter() >= end:
            break
    call()  # on the GPU while the first of those that count is put into the queue
    events = [queue.mark()]
    for _ in range(repeats):
        call()
        events.append(queue.mark())
    queue.wait()
    queue.end()
    return [start.elapsed_time(end) / 1e3 for start, end in itertools.pairwise(events)]  # from milliseconds


# the simulator's events know no time, but its kernels are done when a call returns
OUR_TURN = measure.turn if SIMULATED else functools.partial(turn, OurQueue())


def torch_on_gpu():
    """Whether PyTorch is installed, and with CUDA, and sees a GPU."""
    torch = import_torch()
    return bool(torch) and torch.cuda.is_available() and not SIMULATED


def race(ours, theirs, timing):
    """What `alternate` returns for our call and PyTorch's, {name: (call, queue)}."""
    calls = {"ours": ours} | {name: call for name, (call, _) in theirs.items()}
    turns = {"ours": OUR_TURN} | {name: functools.partial(turn, queue) for name, (_, queue) in theirs.items()}
    return alternate(calls, **timing, turns=turns)


def ratios(row):
    """The ratios to PyTorch's best time with TF32 off, and with TF32 on, for the end of a row."""
    kinds = {True: {}, False: {}}
    for name, ms in row["torch_ms"].items():
        kinds[name.endswith(TF32)][name] = ms
    return {"ratio": ratio(row["ms"], kinds[False]), "ratio_tf32": ratio(row["ms"], kinds[True])}


# ------------------------------------------------------------------ rows


def measure_op(row, timing):
    """One finished line of `bench ops`. Raises RuntimeError if the two frameworks' results differ."""
    contest = row.make(functools.partial(ops.uniform, np.random.default_rng(0)))
    ours, theirs = contest.ours("cuda"), {}
    if torch_on_gpu():
        expected = ours.call()
        for variant in contest.variants:
            call = contest.theirs(variant, TorchQueue.device)
            for tf32 in (False, True) if row.group in PRODUCTS else (False,):
                name, queue = variant + TF32 * tf32, TorchQueue(tf32)
                queue.begin()
                ops.check_agreement(
                    f"{row.name}, PyTorch {name}", expected, call(), ROUNDING if tf32 else ops.AGREEMENT
                )
                theirs[name] = call, queue
    found = ops.finished(row, ours.moved, race(ours.call, theirs, timing))
    return found | ratios(found)


def measure_step(model, timing):
    """One finished line of `bench step`. Raises RuntimeError if the two frameworks' losses differ."""
    ours, expected, memory = build(lambda: step.our_step(model, "cuda"), OurQueue())
    theirs, torch_memory = {}, {}
    for layout in step.LAYOUTS if torch_on_gpu() else ():
        queue = TorchQueue()
        make = functools.partial(step.torch_step, model, layout, device=queue.device)
        call, losses, torch_memory[layout] = build(make, queue)
        step.check_agreement(f"{model.name}, PyTorch {layout}", expected, losses, LOSS_AGREEMENT)
        theirs |= {layout: (call, queue), layout + TF32: (call, TorchQueue(tf32=True))}
    found = step.finished(model, race(ours, theirs, timing))
    return found | ratios(found) | {"memory_peak_bytes": memory, "torch_memory_peak_bytes": torch_memory}


def build(make, queue):
    """(the step that make() gives, its first two losses, the bytes that its net and its training take at most).

    Memory is that of the third step: in the first ones cuDNN tries algorithms that need more. None where nothing is
    counted (in the simulator).
    """
    gc.collect()  # what is left of the nets before must not be given back while this one is measured
    queue.begin()
    before = queue.in_use()
    step = make()
    losses = step(), step()
    queue.reset_peak()
    step()
    queue.wait()
    return step, losses, queue.peak() - before or None
