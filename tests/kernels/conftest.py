"""Fixtures of the op tests: `ops` runs a test once on every backend, `torch` is the independent oracle.

With NUMBA_ENABLE_CUDASIM=1 the backend is `cuda` alone, in the simulator; where there is a GPU it comes last.
"""

import pytest
from op_cases import SIMULATED

import kernels


def can_use_a_gpu():
    try:
        return bool(kernels.check_device_name("cuda"))
    except kernels.DeviceError:
        return False


BACKENDS = ("cuda",) if SIMULATED else kernels.available()
if not SIMULATED and can_use_a_gpu():
    BACKENDS = (*BACKENDS, pytest.param("cuda", marks=pytest.mark.gpu))


def pytest_configure(config):
    """The simulator computes with NumPy, which warns of NaN where a GPU says nothing."""
    if SIMULATED:
        config.addinivalue_line("filterwarnings", "ignore:invalid value encountered:RuntimeWarning")


@pytest.fixture(params=BACKENDS, scope="module")
def ops(request):
    """The op table of each backend in turn, while that backend is the one in use."""
    if request.param == "cuda":
        from on_device import HostView

        yield HostView()
    else:
        with kernels.use(request.param) as table:
            yield table


@pytest.fixture(scope="session")
def gpu():
    """A test that asks for it is skipped where nothing can run CUDA kernels."""
    if not can_use_a_gpu():
        pytest.skip("needs an NVIDIA GPU, or NUMBA_ENABLE_CUDASIM=1")


@pytest.fixture(scope="session")
def torch():
    """PyTorch on one thread; a test that asks for it is skipped where it is not installed."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module
