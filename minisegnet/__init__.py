"""minisegnet: learn backpropagation by watching it learn to segment images.

>>> import numpy as np, minisegnet as ms
>>> net = ms.Sequential(ms.layers.Conv2d(3, 8, 3, padding=1, rng=0), ms.layers.ReLU())
>>> x = np.ones((1, 3, 4, 4), np.float32)
>>> y, saved = net.forward(x)  # saved holds what backward needs
>>> y.shape, net.backward(np.ones_like(y), saved).shape
((1, 8, 4, 4), (1, 3, 4, 4))
"""

import importlib

import kernels

if getattr(kernels, "OWNER", None) != "minisegnet":
    raise ImportError(
        f"minisegnet needs its own package `kernels`, but `import kernels` found another one at "
        f"{getattr(kernels, '__file__', None)}; install minisegnet into a virtual environment of its own"
    )

from kernels import ShapeError, get_num_threads, set_num_threads

from . import init, layers, losses, models, optim, schedules
from ._version import __version__
from .combine import Concat, PoolUnpool, SameSize, Sequential, Sum
from .core import Layer, Parameter, watch
from .pairs import fusion

__all__ = [
    "Concat",
    "Layer",
    "Parameter",
    "PoolUnpool",
    "SameSize",
    "Sequential",
    "ShapeError",
    "Sum",
    "__version__",
    "fusion",
    "get_num_threads",
    "init",
    "layers",
    "losses",
    "models",
    "optim",
    "schedules",
    "set_num_threads",
    "watch",
]

LATER = ("bench", "checkpoint", "class_weights", "data", "gradcheck", "metrics", "pictures", "trace", "train")


def __getattr__(name):
    """Modules that take other libraries to do their work are loaded when they are first used."""
    if name in LATER:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
