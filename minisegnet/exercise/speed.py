"""How fast is a right solution beside the framework's kernel, on one shape?"""

import time

import numpy as np

from . import loading
from .kinds import build, prepare

ENOUGH = 0.3  # seconds to repeat for, so that a quick one is not measured by chance


def compare(path):
    """{"case": label, "yours": seconds, "ours": seconds} of one backward pass."""
    text = loading.read(path)
    exercise = loading.exercise_of(text, path)
    case, module = exercise.speed(np.random.default_rng(0)), loading.load(text, path, exercise)
    yours, ours = (seconds(layer, case) for layer in (build(module, exercise, case), exercise.ours(case)))
    return {"case": case.label, "yours": yours, "ours": ours}


def seconds(layer, case):
    """The shortest time of a backward pass in float32, the first one (which may compile) aside if others fit in."""
    layer = prepare(layer, case).astype(np.float32)
    x, dy = case.x.astype(np.float32), case.dy.astype(np.float32)
    _, saved = layer.forward(x)
    times, begin = [], time.perf_counter()
    while len(times) < 2 or (time.perf_counter() - begin < ENOUGH and len(times) < 100):
        start = time.perf_counter()
        layer.backward(dy, saved)
        times.append(time.perf_counter() - start)
        if times[0] > 5:
            break
    return min(times)
