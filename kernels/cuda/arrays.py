"""Device arrays: made, checked, copied. What the ops use before and after their kernels."""

import numpy as np
from numba import cuda

from ..shapes import check_shape
from . import faults
from .launch import SIMULATED, THREADS, blocks, kernel, launch, stream
from .memory import allocate

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray as DeviceArray
else:
    from numba.cuda.cudadrv.devicearray import DeviceNDArray as DeviceArray

# ------------------------------------------------------------------ making


def empty(shape, dtype):
    """A new device array whose elements are anything."""
    return allocate(shape, dtype)


def empty_like(array):
    """A new device array of the same shape and dtype, in C order."""
    return allocate(array.shape, array.dtype)


def zeros(shape, dtype):
    """A new device array of zeros."""
    array = allocate(shape, dtype)
    launch(fill, blocks(array.size), THREADS, flat(array), array.dtype.type(0))
    return array


def zeros_like(array):
    """A new device array of zeros, of the same shape and dtype."""
    return zeros(array.shape, array.dtype)


@kernel
def fill(y, value):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = value


# ------------------------------------------------------------------ copying


def from_host(array):
    """A copy of a NumPy array on the GPU, in C order; of a device array as well."""
    if is_device_array(array):
        return copy(array)
    result = allocate(array.shape, array.dtype)
    if array.size:
        source = np.ascontiguousarray(array)  # kept until the copy is over
        result.copy_to_device(source, stream=stream())
        stream().synchronize()  # the caller may change its array as soon as this returns
    return result


def assign(target, source):
    """target[...] = source for a plain target; source is a NumPy array or on the GPU, of target's shape and dtype."""
    check_shape("source", source, tuple(target.shape))
    if is_device_array(source):
        launch(copy_flat, blocks(target.size), THREADS, flat(target), flat(plain(source)))
    elif target.size:
        kept = np.ascontiguousarray(source, target.dtype)  # until the copy is over
        target.copy_to_device(kept, stream=stream())
        stream().synchronize()


def to_host(array):
    """A copy of a device array as a NumPy array. Waits for all that was computed before, and raises its faults."""
    result = plain(array).copy_to_host(stream=stream())
    stream().synchronize()
    faults.check()
    return result


def copy(array):
    """A new device array with the same elements, in C order."""
    result = empty_like(array)
    if is_plain(array):
        launch(copy_flat, blocks(array.size), THREADS, flat(result), flat(array))
    else:
        launch(copy_strided, blocks(array.size), THREADS, result, array)
    return result


@kernel
def copy_flat(y, x):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i]


@kernel
def copy_strided(y, x):
    """The same for an x with any strides and up to four axes."""
    i = cuda.grid(1)
    if i >= y.size:
        return
    if y.ndim == 1:
        y[i] = x[i]
    elif y.ndim == 2:
        y[i // y.shape[1], i % y.shape[1]] = x[i // y.shape[1], i % y.shape[1]]
    elif y.ndim == 3:
        row, d = i // y.shape[2], i % y.shape[2]
        y[row // y.shape[1], row % y.shape[1], d] = x[row // y.shape[1], row % y.shape[1], d]
    else:
        row, d = i // y.shape[3], i % y.shape[3]
        plane, c = row // y.shape[2], row % y.shape[2]
        y[plane // y.shape[1], plane % y.shape[1], c, d] = x[plane // y.shape[1], plane % y.shape[1], c, d]


# ------------------------------------------------------------------ looking


def is_device_array(value):
    """Whether it is an array that the kernels here can be given; those of other libraries are not."""
    return isinstance(value, DeviceArray)


def check_device(**arrays):
    """Raise TypeError unless all arrays (None entries are skipped) are on the GPU.

    Every op calls it first: Numba would otherwise copy a NumPy array to the GPU and back at each launch, silently.
    """
    for name, array in arrays.items():
        if array is not None and not is_device_array(array):
            kind = "a NumPy array" if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(
                f"{name} is {kind}, but this net or op computes on the GPU: "
                f'copy it there with kernels.to_device({name}, "cuda")'
            )


def is_plain(array):
    """Whether the elements lie in memory one after the other, in C order."""
    return array.size == 0 or array.is_c_contiguous()


def plain(array):
    """The array itself if its elements lie one after the other, in C order; otherwise a copy for which this holds."""
    return array if is_plain(array) else copy(array)


def flat(array):
    """A plain array as one axis: the same memory."""
    return array.reshape(array.size)
