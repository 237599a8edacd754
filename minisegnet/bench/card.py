"""What a GPU can do at best, from what its driver tells.

    multiply-adds    multiprocessors x float32 cores in each x 2 operations x clock
    memory traffic   2 transfers a cycle x memory clock x width of the bus

As on a data sheet: the clock is the highest that the card may have, which it lowers when it gets warm, so no program
quite reaches these numbers. Tensor cores are not counted; in float32 proper they have no part.
Source: CUDA C++ Programming Guide, throughput of native arithmetic instructions.
"""

import math

from numba import cuda

from kernels.cuda.device import device
from kernels.cuda.launch import SIMULATED

CORES = dict.fromkeys(("7.0", "7.2", "7.5", "8.0"), 64) | dict.fromkeys(
    ("8.6", "8.7", "8.9", "9.0", "10.0", "10.1", "10.3", "11.0", "12.0", "12.1"), 128
)  # float32 multiply-adds that a multiprocessor begins in each cycle, by compute capability
ATTRIBUTES = {"clock_khz": "CLOCK_RATE", "memory_khz": "MEMORY_CLOCK_RATE", "bus_bits": "GLOBAL_MEMORY_BUS_WIDTH"}


def card():
    """The GPU in use as a dict; None for what the driver does not tell."""
    gpu = None if SIMULATED else cuda.get_current_device()
    return device()._asdict() | {name: attribute(gpu, code) for name, code in ATTRIBUTES.items()}


def attribute(gpu, name):
    """One of the driver's numbers; where it knows none it says 0 or refuses."""
    try:
        return getattr(gpu, name, None) or None
    except cuda.cudadrv.driver.CudaAPIError:
        return None


def peaks(found):
    """{"gflops": 10^9 operations a second, "gbs": 10^9 bytes a second} of a card; None for what can't be known.

    >>> h200 = {"compute_capability": "9.0", "multiprocessors": 132, "clock_khz": 1_980_000}
    >>> peaks(h200 | {"memory_khz": 3_201_000, "bus_bits": 6144})
    {'gflops': 66908.16, 'gbs': 4916.736}
    >>> peaks(h200 | {"memory_khz": None, "bus_bits": 6144})
    {'gflops': 66908.16, 'gbs': None}
    """
    return {
        "gflops": product(
            2, found["multiprocessors"], CORES.get(found["compute_capability"]), found["clock_khz"], 1e-6
        ),
        "gbs": product(2, found["memory_khz"], found["bus_bits"], 1 / 8, 1e-6),
    }


def product(*factors):
    """All factors multiplied and rounded to six digits behind the point; None if one of them is."""
    return None if None in factors else round(math.prod(factors), 6)
