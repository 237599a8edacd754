"""Arrays in, arrays out: the numerical ops of minisegnet, in interchangeable backends.

`table` documents every op once; `reference` has all of them in readable NumPy, `cpu` the hot ones in fast Numba, which
compiles each when it is first called, `cuda` all of them for GPUs. A caller asks for the table that owns its array and
never needs to know which backend that is:

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
import sys
import types

import numpy as np

from .errors import DeviceError, ShapeError
from .table import OPS, OpTable
from .threads import get_num_threads, set_num_threads

__all__ = [
    "CONV_RUNGS",
    "DEVICES",
    "OPS",
    "DeviceError",
    "OpTable",
    "ShapeError",
    "ahead",
    "available",
    "check_device_name",
    "device_of",
    "get_num_threads",
    "ops_for",
    "set_num_threads",
    "to_device",
    "to_host",
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
    if name == "cuda":  # whole in itself: what works on NumPy arrays is of no use to it
        return OpTable(name, importlib.import_module(".cuda", __name__))
    modules = [importlib.import_module(f".{module}", __name__) for module in (name, "reference")]
    if conv is None:
        return OpTable(name, *modules)
    rung = vars(importlib.import_module(f".{CONV_RUNGS[conv]}", __name__))
    convolutions = types.SimpleNamespace(**{op: rung[op] for op in OPS if op.startswith("conv") and op in rung})
    return OpTable(f"{name}, conv={conv}", convolutions, *modules)


def ops_for(array):
    """The op table that owns `array`: for NumPy arrays the host backend in use, for arrays on the GPU `cuda`.

    Raises TypeError for anything that no backend here can compute with, arrays of other GPU libraries among them.

    >>> ops_for([1, 2])
    Traceback (most recent call last):
    ...
    TypeError: expected a NumPy array, got list; convert it: np.asarray(x, dtype=np.float32)
    """
    if isinstance(array, np.ndarray):
        return _table(*_current)
    if is_device_array(array):
        return _table("cuda")
    if hasattr(array, "__cuda_array_interface__"):
        raise TypeError(
            f"expected an array of this package's own on the GPU, got {type(array).__module__}.{type(array).__name__}; "
            f"copy it: kernels.to_device(numpy_array)"
        )
    raise TypeError(f"expected a NumPy array, got {type(array).__name__}; convert it: np.asarray(x, dtype=np.float32)")


# ------------------------------------------------------------------ devices

DEVICES = ("cpu", "cuda")


def is_device_array(array):
    """Whether it is an array on the GPU that `to_device` or an op made."""
    loaded = sys.modules.get(f"{__name__}.cuda.arrays")  # before that module is loaded there can be none
    return loaded is not None and loaded.is_device_array(array)


def device_of(array):
    """Where an array is: "cpu" or "cuda". TypeError for anything else.

    >>> device_of(np.zeros(2))
    'cpu'
    """
    ops_for(array)
    return "cpu" if isinstance(array, np.ndarray) else "cuda"


def check_device_name(device):
    """The name itself, if this machine can compute on that device.

    ValueError for an unknown name, DeviceError that says what is missing for "cuda".

    >>> check_device_name("tpu")
    Traceback (most recent call last):
    ...
    ValueError: unknown device 'tpu', expected cpu or cuda
    """
    if device not in DEVICES:
        raise ValueError(f"unknown device {device!r}, expected {' or '.join(DEVICES)}")
    if device == "cuda":
        missing = importlib.import_module(".cuda.device", __name__).missing()
        if missing:
            raise DeviceError(f"device 'cuda' can't be used: {missing}; device 'cpu' works everywhere")
    return device


def to_device(array, device="cuda"):
    """A copy of an array, of whichever device, on `device`. The only way there: nothing is ever copied silently.

    Raises ValueError for an unknown device, DeviceError where there is no GPU, TypeError for what is no array.

    >>> x = np.array([1.0, 2.0])
    >>> copy = to_device(x, "cpu")  # to_device(x) copies it to the GPU
    >>> device_of(copy), copy is x
    ('cpu', False)
    """
    if check_device_name(device) == "cpu":
        return to_host(array)
    ops_for(array)
    return importlib.import_module(".cuda.arrays", __name__).from_host(array)


def ahead(batches, device):
    """A generator of the same batches (sequences of arrays), each as a list of arrays on `device`.

    For a GPU the next batch is on its way while the caller uses this one, which is good until the next is asked for.
    Raises ValueError for an unknown device, DeviceError where there is no GPU.

    >>> batches = ((np.full(2, k), np.full(1, 10 * k)) for k in range(3))
    >>> for images, targets in ahead(batches, "cpu"):
    ...     print(images, targets)
    [0 0] [0]
    [1 1] [10]
    [2 2] [20]
    """
    if check_device_name(device) == "cpu":
        return (list(batch) for batch in batches)
    return importlib.import_module(".cuda.transfer", __name__).ahead(batches)


def to_host(array):
    """A copy of an array as a NumPy array. Of one on the GPU: waits for all that is being computed there.

    Raises IndexError for a label or a switch outside its range that a kernel has come across since the last wait.

    >>> x = np.array([1.0, 2.0])
    >>> copy = to_host(x)
    >>> copy, copy is x
    (array([1., 2.]), False)
    """
    return ops_for(array).to_host(array)


@contextlib.contextmanager
def use(name, conv=None):
    """Within a `with` block, compute on the host with the backend `name` (one of `available()`).

    `conv` takes the convolution from one rung of its ladder (a key of `CONV_RUNGS`; see `kernels.cpu`), to compare
    them. It holds for the whole process, not only for this thread. Yields the op table; raises ValueError for an
    unknown name.

    >>> x, w = np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))
    >>> with use("reference", conv="loops") as ops:
    ...     print(ops.name, ops_for(x) is ops, ops.conv2d_forward(x, w, None, 1, 0, 1, 1))
    reference, conv=loops True [[[[9.]]]]
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
