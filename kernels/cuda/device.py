"""Which GPU there is, and what is missing where there is none."""

import importlib.util
from typing import NamedTuple

from .launch import SIMULATED

OLDEST = (7, 5)  # compute capability that kernels are compiled and tested for


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
    driver, toolkit = cuda.cudadrv.driver.driver.get_version(), cuda.runtime.get_version()
    capability = cuda.get_current_device().compute_capability
    if driver[0] < toolkit[0]:
        return (
            f"the NVIDIA driver knows CUDA up to {driver[0]}.{driver[1]}, kernels are compiled with "
            f'{toolkit[0]}.{toolkit[1]}; update the driver, or pip install "numba-cuda[cu{driver[0]}]"'
        )
    if capability < OLDEST:
        return f"the GPU has compute capability {capability[0]}.{capability[1]}, needed is {OLDEST[0]}.{OLDEST[1]}"
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
