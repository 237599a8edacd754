"""Which GPU there is, and what is missing where there is none."""

import importlib.util
from typing import NamedTuple

from .launch import SIMULATED


class Device(NamedTuple):
    """What is known about the GPU in use; sizes in bytes."""

    name: str
    compute_capability: str
    multiprocessors: int
    free: int
    total: int
    driver: str  # the newest CUDA version that the driver knows
    toolkit: str  # the version of the compiler that kernels are built with


def missing():
    """What keeps kernels from running here, in one line, or None if nothing does."""
    if importlib.util.find_spec("numba_cuda") is None:  # Numba's own numba.cuda is older and lacks what is used here
        return 'numba-cuda is not installed: pip install "minisegnet[cuda]"'
    if SIMULATED:
        return None
    from numba import cuda

    try:
        count = len(cuda.gpus)
    except cuda.CudaSupportError as error:
        reason = " ".join(str(error).split()).rstrip(" :.")
        return f"the NVIDIA driver can't be used ({reason}); `nvidia-smi` tells whether it is installed and running"
    if count == 0:
        return "the NVIDIA driver sees no GPU; `nvidia-smi` lists them, CUDA_VISIBLE_DEVICES may hide them"
    return None


def device():
    """The Device in use. Of the simulator there is little to say."""
    from numba import cuda

    if SIMULATED:
        return Device("simulator", "none", 1, 0, 0, "none", "none")
    gpu, context = cuda.get_current_device(), cuda.current_context()
    free, total = context.get_memory_info()
    name = gpu.name.decode() if isinstance(gpu.name, bytes) else gpu.name
    return Device(
        name,
        ".".join(map(str, gpu.compute_capability)),
        gpu.MULTIPROCESSOR_COUNT,
        free,
        total,
        ".".join(map(str, cuda.cudadrv.driver.driver.get_version())),
        ".".join(map(str, cuda.runtime.get_version())),
    )
