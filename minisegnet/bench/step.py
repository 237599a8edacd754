"""The rows of `minisegnet bench step`: one training step of each model (forward, loss, backward, Adam).

PyTorch trains the net's twin, on the same batch, from the same weights, in both memory layouts; each also with Adam as
one kernel (fused=True), which it doesn't do by itself. The first two losses must agree before anything is timed.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kernels

from .. import losses, models, optim
from ..combine import Sequential
from ..layers import Conv2d
from .measure import alternate, best, import_torch, milliseconds, ratio, thread_environment

LEARNING_RATE = 1e-4
AGREEMENT = 1e-5  # relative, of the losses: one step changes them by 7e-5 and more
LAYOUTS = ("NCHW", "channels_last")
NUMPY_RUNGS = {"windows": ("cpu", "windows"), "reference": ("reference", None)}  # name: arguments of kernels.use
RUNG_ROUNDS = {"rounds": 2, "seconds": 0.0}  # steps of the slow rungs take seconds


class Model(NamedTuple):
    """A net, and the batch that it is trained on."""

    name: str
    build: Callable  # () -> net
    x_shape: tuple
    classes: int
    one_label: bool  # for the whole picture, rather than for each pixel

    def batch(self):
        """Random pictures and labels."""
        rng, (N, _, H, W) = np.random.default_rng(0), self.x_shape
        x = rng.standard_normal(self.x_shape, np.float32)
        return x, rng.integers(0, self.classes, N if self.one_label else (N, H, W))


MODELS = {
    "unet": Model("U-Net 16", lambda: models.UNet(3, 11, width=16, rng=0), (4, 3, 176, 240), 11, False),
    "unet-plain": Model(
        "U-Net 16, no BatchNorm",
        lambda: models.UNet(1, 2, width=16, norm=False, rng=0),
        (8, 1, 64, 64),
        2,
        False,
    ),
    "simple": Model("SimpleCNN", lambda: models.SimpleCNN(3, 2, rng=0), (32, 3, 16, 16), 2, True),
}

LARGE = {"unet-64": Model("U-Net 64", lambda: models.UNet(3, 11, width=64, rng=0), (16, 3, 256, 256), 11, False)}
TINY = {"conv": Model("one convolution", lambda: Sequential(Conv2d(1, 2, 3, padding=1, rng=0)), (1, 1, 3, 4), 2, False)}
ALL_MODELS = MODELS | LARGE | TINY  # MODELS fit everywhere, LARGE is for a GPU, TINY for the simulator


# ------------------------------------------------------------------ one step


def our_step(model, device="cpu"):
    """A call that takes one training step and returns the loss."""
    net, (x, target) = model.build().to(device), (kernels.to_device(array, device) for array in model.batch())
    criterion, optimiser = losses.CrossEntropyLoss(), optim.Adam(net.parameters(), LEARNING_RATE)

    def step():
        net.zero_grad()  # before forward, as PyTorch's: the gradients' memory serves it in the meantime
        scores, saved = net.forward(x)
        loss, loss_saved = criterion.forward(scores, target)
        net.backward(criterion.backward(loss_saved), saved)
        optimiser.step()
        return loss

    return step


def on(backend, rung, step):
    """The same call, computed by another backend or rung."""

    def call():
        with kernels.use(backend, conv=rung):
            return step()

    return call


def torch_step(model, layout, fused=False, device="cpu"):
    """The same of PyTorch's twin of the net, in the memory layout "NCHW" or "channels_last"."""
    from .twin import twin  # not above: a process that measures ours alone has no use for PyTorch

    torch = import_torch()
    net, (x, target) = twin(model.build()).to(device), (torch.from_numpy(a).to(device) for a in model.batch())
    if layout == "channels_last":
        net, x = (thing.to(memory_format=torch.channels_last) for thing in (net, x))
    criterion = torch.nn.CrossEntropyLoss()
    optimiser = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True if fused else None)

    def step():
        optimiser.zero_grad()
        loss = criterion(net(x), target)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


# ------------------------------------------------------------------ one row


def measure(model, backend, rung, timing, fused=True):
    """Times of one model, as a dict; `fused` says whether PyTorch's fused Adam takes part, too.

    Raises RuntimeError if the two frameworks' losses differ.
    """
    steps = {"ours": on(backend, rung, our_step(model))}
    expected = steps["ours"](), steps["ours"]()
    if import_torch():
        steps |= {layout: torch_step(model, layout) for layout in LAYOUTS}
        steps |= {f"{layout} fused": torch_step(model, layout, True) for layout in LAYOUTS if fused}
    for name, step in steps.items():
        if name != "ours":
            check_agreement(f"{model.name}, PyTorch {name}", expected, (step(), step()))
    found = finished(model, alternate(steps, **timing))
    median = found["torch_ms"]
    return found | {
        "ratio": ratio(found["ms"], {layout: median[layout] for layout in LAYOUTS if layout in median}),
        "ratio_fused": ratio(found["ms"], median) if fused else None,
    }


def finished(model, times):
    """One line, as a dict, from what `alternate` returned; all but the ratios."""
    median, flops = milliseconds(times), step_flops(model)
    ours = median.pop("ours")
    return {
        "model": model.name,
        "input": list(model.x_shape),
        "flops": flops,
        "ms": ours,
        "gflops": flops / ours / 1e6,
        "timed_calls": len(times["ours"]),
        "best_ms": best(times),
        "torch_ms": median,
    }


def check_agreement(name, ours, theirs, tolerance=AGREEMENT):
    """Raise RuntimeError unless the losses of the first steps agree: the second one depends on all gradients."""
    if not all(math.isclose(a, b, rel_tol=tolerance) for a, b in zip(ours, theirs, strict=True)):
        raise RuntimeError(
            f"{name}: the first losses are {', '.join(f'{b:.5f}' for b in theirs)}, ours "
            f"{', '.join(f'{a:.5f}' for a in ours)}; times of different computations can't be compared"
        )


def step_flops(model):
    """Operations of one step: a multiply-add is two, and forward, dx and dw have equally many."""
    N, *image = model.x_shape
    with kernels.use("reference"):
        return 3 * 2 * N * model.build().summary((1, *image)).multiply_adds


def against_numpy(model, backend, rung, names):
    """How much faster than the NumPy rungs: {name: {"ms": theirs, "times": theirs / ours}}, of one run in turns."""
    names = [name for name in names if NUMPY_RUNGS[name] != (backend, rung)]
    steps = {"ours": on(backend, rung, our_step(model))}
    steps |= {name: on(*NUMPY_RUNGS[name], our_step(model)) for name in names}
    median = milliseconds(alternate(steps, **RUNG_ROUNDS))
    return {name: {"ms": median[name], "times": median[name] / median["ours"]} for name in names}


# ------------------------------------------------------------------ in a fresh process


def probe(key, contender, backend, rung, threads):
    """What `probe.main` prints in a process of its own, for the model ALL_MODELS[key].

    contender is "ours" or one of LAYOUTS. Raises RuntimeError with the process's last words if it fails.
    """
    task = {"model": key, "contender": contender, "backend": backend, "rung": rung}
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "minisegnet.bench.probe", json.dumps(task)],
        env=os.environ | thread_environment(threads) | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing; was there not enough memory?"]
        raise RuntimeError(
            f"measuring {ALL_MODELS[key].name} ({contender}) ended with code {done.returncode}: {last[0]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def fresh_process(key, backend, rung, threads, layouts):
    """First step and memory peak of ours, and of PyTorch in some memory layouts, as a part of a row."""
    ours = probe(key, "ours", backend, rung, threads)
    theirs = {layout: probe(key, layout, backend, rung, threads) for layout in layouts}
    return {
        "first_step_seconds": ours["first_step_seconds"],
        "memory_peak_bytes": ours["memory_peak_bytes"],
        "memory_is_exact": ours["memory_is_exact"],
        "torch_first_step_seconds": {layout: found["first_step_seconds"] for layout, found in theirs.items()},
        "torch_memory_peak_bytes": {layout: found["memory_peak_bytes"] for layout, found in theirs.items()},
    }
