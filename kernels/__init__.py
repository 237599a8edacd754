"""Arrays in, arrays out: the numerical ops of minisegnet, in interchangeable backends.

`table` documents every op once; `reference` has all of them in readable NumPy, `cpu` the hot ones in fast Numba, which
compiles each when it is first called. A caller asks for the table that owns its array and never needs to know which
backend that is:

>>> import numpy as np, kernels
>>> x = np.array([[-1.0, 2.0]])
>>> kernels.ops_for(x).relu_forward(x)
array([[0., 2.]])
>>> kernels.available()  # the first one is the default
('cpu', 'reference')
>>> with kernels.use("reference") as ops:
...     print(ops.name)
reference
"""

import contextlib
import functools
import importlib
import types

import numpy as np

from .errors import ShapeError
from .table import OPS, OpTable
from .threads import get_num_threads, set_num_threads

__all__ = [
    "CONV_RUNGS",
    "OPS",
    "OpTable",
    "ShapeError",
    "available",
    "get_num_threads",
    "ops_for",
    "set_num_threads",
    "use",
]

OWNER = "minisegnet"  # tells this package from others of the same name; `import minisegnet` looks at it

_HOST_BACKENDS = ("cpu", "reference")  # the first one is the default
_current = (_HOST_BACKENDS[0], None)  # the backend in use, and the rung of the convolution ladder

CONV_RUNGS = {
    "loops": "reference.conv_loops",
    "windows": "reference.conv",
    "im2col": "cpu.conv_im2col",
    "parallel": "cpu.conv_parallel",
    "micro": "cpu.conv",
    "winograd": "cpu.dilated",
}


def available():
    """Names of the backends that can be used on this machine, the default first.

    >>> "reference" in available()
    True
    """
    return _HOST_BACKENDS


@functools.cache
def _table(name, conv=None):
    modules = [importlib.import_module(f".{module}", __name__) for module in (name, "reference")]
    if conv is None:
        return OpTable(name, *modules)
    rung = vars(importlib.import_module(f".{CONV_RUNGS[conv]}", __name__))
    convolutions = types.SimpleNamespace(**{op: rung[op] for op in OPS if op.startswith("conv") and op in rung})
    return OpTable(f"{name}, conv={conv}", convolutions, *modules)


def ops_for(array):
    """The op table that owns `array`: for NumPy arrays the host backend in use.

    Raises TypeError for anything that no backend here can compute with.

    >>> ops_for([1, 2])
    Traceback (most recent call last):
    ...
    TypeError: expected a NumPy array, got list; convert it: np.asarray(x, dtype=np.float32)
    """
    if isinstance(array, np.ndarray):
        return _table(*_current)
    raise TypeError(f"expected a NumPy array, got {type(array).__name__}; convert it: np.asarray(x, dtype=np.float32)")


@contextlib.contextmanager
def use(name, conv=None):
    """Within a `with` block, compute on the host with the backend `name` (one of `available()`).

    `conv` takes the convolution from one rung of its ladder (a key of `CONV_RUNGS`; see `kernels.cpu`), to compare
    them. It holds for the whole process, not only for this thread. Yields the op table; raises ValueError for an
    unknown name.
    """
    global _current
    if name not in available():
        raise ValueError(f"unknown backend {name!r}; available here: {', '.join(available())}")
    if conv is not None and conv not in CONV_RUNGS:
        raise ValueError(f"unknown convolution {conv!r}; the ladder has {', '.join(CONV_RUNGS)}")
    before, _current = _current, (name, conv)
    try:
        yield _table(name, conv)
    finally:
        _current = before
