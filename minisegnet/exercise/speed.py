"""How fast is a right solution beside the framework's kernel, on one shape?"""

import math
import time

import numpy as np

from . import loading
from .kinds import build, prepare

ENOUGH = 0.3  # seconds to repeat for, so that a quick one is not measured by chance
LONG = 1.0  # seconds of one pass, after which there is no second one


def compare(path):
    """{"case": label, "yours": seconds, "ours": seconds} of one backward pass."""
    text = loading.read(path)
    exercise = loading.exercise_of(text, path)
    case, module = exercise.speed(np.random.default_rng(0)), loading.load(text, path, exercise)
    yours, ours = seconds(build(module, exercise, case), case, LONG), seconds(exercise.ours(case), case)
    return {"case": case.label, "yours": yours, "ours": ours}


def seconds(layer, case, long=math.inf):
    """The shortest time of a backward pass in float32, but for the first one, unless that took `long`."""
    layer = prepare(layer, case).astype(np.float32)
    x, dy = case.x.astype(np.float32), case.dy.astype(np.float32)
    _, saved = layer.forward(x)
    times, begin = [], time.perf_counter()  # Numba may compile in the first one
    while len(times) < 2 or (time.perf_counter() - begin < ENOUGH and len(times) < 100):
        start = time.perf_counter()
        layer.backward(dy, saved)
        times.append(time.perf_counter() - start)
        if times[0] > long:
            break
    return min(times)
