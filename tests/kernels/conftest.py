"""Fixtures of the op tests: `ops` runs a test once on every backend, `torch` is the independent oracle.

With NUMBA_ENABLE_CUDASIM=1 the backend is `cuda` alone, in the simulator.
"""

import os

import pytest

import kernels

BACKENDS = ("cuda",) if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else kernels.available()


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
def torch():
    """PyTorch on one thread; a test that asks for it is skipped where it is not installed."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module
