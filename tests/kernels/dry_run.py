"""Compiling the CUDA kernels for real GPUs on a machine without one.

Within `dry_run` the ops of `kernels.cuda` run as always, up to the launch: arrays are stand-ins that know their shape
and dtype, and a launch is only written down. So each kernel is known with the types and the grid that the ops start it
with, and can be compiled to PTX (by NVVM) and on to machine code (by ptxas, where it is installed).
"""

import contextlib
import re
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
from numba import cuda, types
from numba.np import numpy_support

from kernels.cuda import arrays, faults, launch, memory


class StandIn:
    """What the ops see of a device array, around a NumPy array that nothing is ever computed in."""

    def __init__(self, array):
        self.array = array

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    nbytes = property(lambda self: self.array.nbytes)
    strides = property(lambda self: self.array.strides)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return StandIn(self.array[index])

    def reshape(self, *shape):
        return StandIn(self.array.reshape(*shape))

    def view(self, dtype):
        return StandIn(self.array.view(dtype))

    def is_c_contiguous(self):
        return self.array.flags.c_contiguous

    def copy_to_host(self, stream=0):
        return self.array.copy()

    def copy_to_device(self, array, stream=0):
        self.array[...] = array

    @property
    def _numba_type_(self):
        return types.Array(numpy_support.from_dtype(self.dtype), self.ndim, "C" if self.is_c_contiguous() else "A")


class Launch(NamedTuple):
    """A kernel as it was launched."""

    kernel: object
    name: str
    grid: object
    threads: int  # in a block
    signature: tuple  # Numba types of the arguments


class Compiled(NamedTuple):
    """What the compilers say about a kernel."""

    ptx: str
    registers: int | None = None  # per thread; None where there is no ptxas
    shared: int | None = None  # bytes of a block
    spills: int | None = None  # bytes


class NoStream:
    def synchronize(self):
        """Nothing is under way."""


@contextlib.contextmanager
def dry_run():
    """Within a `with` block, ops run on stand-ins; yields the list that launches are added to."""
    launches = []

    def note(kernel, grid, threads, arguments):
        name = next(name for name, known in launch.KERNELS.items() if known is kernel)
        count = int(np.prod(threads))
        launches.append(Launch(kernel, name, grid, count, tuple(map(type_of, arguments))))

    patches = [
        (launch, "start", note),
        (arrays, "allocate", lambda shape, dtype: StandIn(np.zeros(tuple(map(int, shape)), dtype))),
        (arrays, "DeviceArray", StandIn),
        (arrays, "stream", NoStream),
        (faults, "board", lambda: StandIn(faults.clean())),
        (faults, "check", lambda: None),
    ]
    before = [(module, name, getattr(module, name)) for module, name, _ in patches]
    memory.allocate, kept = patches[1][2], memory.allocate
    try:
        for module, name, value in patches:
            setattr(module, name, value)
        yield launches
    finally:
        memory.allocate = kept
        for module, name, value in before:
            setattr(module, name, value)


def type_of(value):
    """The Numba type of a kernel's argument."""
    if isinstance(value, StandIn):
        return value._numba_type_
    if isinstance(value, tuple):
        return types.Tuple([type_of(item) for item in value])
    return numpy_support.from_dtype(value.dtype) if isinstance(value, np.generic) else cuda.typeof(value)


def smallest():
    """A Launch that says whether anything can be compiled here at all."""
    return Launch(launch.KERNELS["arrays.fill"], "arrays.fill", 1, 32, (types.float32[::1], types.float32))


def compile_kernel(found, cc, folder=None):
    """Compile a Launch for the compute capability `cc`, a pair; raises what the compilers say is wrong.

    Without a `folder` for its files ptxas is left out.
    """
    ptx, _ = cuda.compile_ptx(found.kernel.py_func, found.signature, cc=cc)
    if folder is None or not shutil.which("ptxas"):
        return Compiled(ptx)
    source = folder / "kernel.ptx"
    source.write_text(ptx, encoding="utf-8")
    options = [f"-arch=sm_{cc[0]}{cc[1]}", "-v", str(source), "-o", str(folder / "kernel.cubin")]
    limit = found.kernel.targetoptions.get("max_registers")
    if limit:
        options.append(f"-maxrregcount={limit}")
    done = subprocess.run(["ptxas", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{found.name}: ptxas failed\n{done.stderr}")

    def number(pattern):
        match = re.search(pattern, done.stderr)
        return int(match.group(1)) if match else 0

    spills = number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes stack frame")
    return Compiled(ptx, number(r"Used (\d+) registers"), number(r"(\d+) bytes smem"), spills)
