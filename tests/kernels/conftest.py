"""Fixtures of the op tests: `ops` runs a test once on every backend, `torch` is the independent oracle."""

import pytest

import kernels


@pytest.fixture(params=kernels.available(), scope="module")
def ops(request):
    """The op table of each backend in turn, while that backend is the one in use."""
    with kernels.use(request.param) as table:
        yield table


@pytest.fixture(scope="session")
def torch():
    """PyTorch on one thread; a test that asks for it is skipped where it is not installed."""
    module = pytest.importorskip("torch")
    module.set_num_threads(1)
    return module
