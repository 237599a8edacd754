"""Measuring one row of `minisegnet bench ops`: the same op in both frameworks, on the same numbers, in turns.

Forward passes are called as a net calls them. For backward passes PyTorch's graph is built once, and what is timed is
autograd going back through it, for the one gradient that the row is about. Before anything is timed, the results must
agree.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import kernels

from ..core import arrays_in
from .measure import alternate, best, import_torch, milliseconds, ratio

AGREEMENT = 1e-3  # the largest |ours - theirs| / |theirs|, |a| being the root of the sum of squares, in float32


class Row(NamedTuple):
    """One line of the table, before it is measured."""

    group: str  # for the summary
    op: str
    shape: str
    flops: int  # additions, multiplications, comparisons, ..., each counting as one
    make: Callable  # (draw) -> Contest, draw(*shape) being random numbers

    @property
    def name(self):
        return f"{self.op} {self.shape}"


class Contest(NamedTuple):
    """One op with its arguments, ready to run in both frameworks, on the device "cpu" or "cuda"."""

    ours: Callable  # (device) -> Ours
    theirs: Callable  # (variant, device) -> a call that gives a list of tensors
    variants: tuple  # of PyTorch: memory layouts, or other ways to get the same


class Ours(NamedTuple):
    """Our side of a Contest."""

    call: Callable  # () -> list of arrays
    moved: int  # bytes: what goes in and what comes out, each once


def measure(row, backend, rung, timing):
    """One finished line, as a dict. `timing` are the options of `alternate`.

    Raises RuntimeError if the two frameworks' results differ.
    """
    with kernels.use(backend, conv=rung):
        contest = row.make(functools.partial(uniform, np.random.default_rng(0)))
        ours = contest.ours("cpu")
        calls = {"ours": ours.call}
        if import_torch():
            theirs = {variant: contest.theirs(variant, "cpu") for variant in contest.variants}
            expected = ours.call()
            for variant, call in theirs.items():
                check_agreement(f"{row.name}, PyTorch {variant}", expected, call())
            calls |= theirs
        times = alternate(calls, **timing)
    found = finished(row, ours.moved, times)
    return found | {"ratio": ratio(found["ms"], found["torch_ms"])}


def finished(row, moved, times):
    """One line, as a dict, from what `alternate` returned; all but the ratio."""
    median = milliseconds(times)
    ours = median.pop("ours")
    return {
        "group": row.group,
        "op": row.op,
        "shape": row.shape,
        "flops": row.flops,
        "bytes": moved,
        "ms": ours,
        "gflops": row.flops / ours / 1e6 if row.flops else None,
        "gbs": moved / ours / 1e6,
        "timed_calls": len(times["ours"]),
        "best_ms": best(times),
        "torch_ms": median,
    }


def uniform(rng, *shape):
    """Random float32 numbers between -1/2 and 1/2."""
    return rng.random(shape, np.float32) - np.float32(0.5)


def check_agreement(name, ours, theirs, tolerance=AGREEMENT):
    """Raise RuntimeError unless the lists of results agree; PyTorch's may be shorter (without the softmax, say)."""
    for number, (array, tensor) in enumerate(zip(ours, theirs, strict=False)):
        a, b = kernels.to_host(array), tensor.detach().cpu().numpy()
        if a.shape != b.shape:
            raise RuntimeError(f"{name}: result {number} has shape {b.shape}, ours {a.shape}")
        a, b = a.astype(np.float64), b.astype(np.float64)
        distance = np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)
        if not distance <= tolerance:
            raise RuntimeError(
                f"{name}: result {number} differs from ours by {distance:.1e} (relative), expected at most "
                f"{tolerance:g}; times of different computations can't be compared"
            )


# ------------------------------------------------------------------ both frameworks' calls


def contest(op, *arguments, torch):
    """The Contest of our op with these arguments, from the backend in use; `torch` is made by one of the next two."""

    def ours(device):
        given = on_device(arguments, device)
        arrays = arrays_in(given)
        run = functools.partial(getattr(kernels.ops_for(arrays[0]), op), *given)
        moved = sum(array.nbytes for array in [*arrays, *listed(run())])
        return Ours(lambda: listed(run()), moved)

    images = any(array.ndim == 4 for array in arrays_in(arguments))
    return Contest(ours, torch, ("NCHW", "channels_last") if images else ("default",))


def on_device(value, device):
    """An op's arguments, for "cuda" with copies of all arrays on the GPU, where statistics are float32 as well."""
    if device == "cpu":
        return value
    if isinstance(value, (tuple, list)):
        return type(value)(on_device(item, device) for item in value)
    if not isinstance(value, np.ndarray):
        return value
    return kernels.to_device(value.astype(np.float32) if value.dtype == np.float64 else value, device)


def forward(function, *arrays):
    """PyTorch's function(*tensors) without a graph: (layout, device) -> call."""

    def make(layout, device):
        torch, given = import_torch(), tensors(arrays, layout, device)

        def call():
            with torch.no_grad():
                return listed(function(*given))

        return call

    return make


def backward(function, dy, *arrays, wrt=(0,)):
    """Autograd's way back through function(*tensors), from dy to tensors number `wrt`: (layout, device) -> call."""

    def make(layout, device):
        torch, given, (dy_given,) = import_torch(), tensors(arrays, layout, device), tensors([dy], layout, device)
        wanted = [given[i].requires_grad_() for i in wrt]
        y = function(*given)
        return lambda: torch.autograd.grad(y, wanted, dy_given, retain_graph=True)

    return make


def update(op, options, arrays, torch_options):
    """The Contest of an optimiser's update: `arrays` are value, grad and the buffers, all but grad changed in place.

    PyTorch takes part with torch.optim's class as it comes ("default") and as one kernel (fused=True).
    """

    def ours(device):
        given = on_device(arrays, device)
        value, _, *buffers = given
        run = functools.partial(getattr(kernels.ops_for(value), f"{op.lower()}_update"), *given, *options)

        def call():
            run()
            return [value]

        return Ours(call, sum(array.nbytes for array in [*given, value, *buffers]))

    def theirs(variant, device):
        torch, (value, grad, *_) = import_torch(), arrays
        parameter = torch.nn.Parameter(torch.tensor(value, device=device))
        parameter.grad = torch.tensor(grad, device=device)
        fused = True if variant == "fused" else None
        optimiser = getattr(torch.optim, op)([parameter], fused=fused, **torch_options)

        def call():
            optimiser.step()
            return [parameter]

        return call

    return Contest(ours, theirs, ("default", "fused"))


def tensors(arrays, layout, device):
    """Copies of arrays as tensors, images in the memory layout "channels_last" if that is asked for."""
    torch = import_torch()
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    found = [torch.tensor(array, device=device) for array in arrays]
    return [tensor.contiguous(memory_format=order) if tensor.ndim == 4 else tensor for tensor in found]


def listed(result):
    """One or several results as a list."""
    return list(result) if isinstance(result, (tuple, list)) else [result]
