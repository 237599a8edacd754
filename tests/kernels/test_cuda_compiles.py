"""Every CUDA kernel, compiled for real GPUs: needs numba-cuda with NVVM, and ptxas for the machine code, but no GPU.

This finds what the simulator can't: float64 arithmetic in float32 kernels, arrays that spill out of registers, blocks
that need more registers or shared memory than there are, code that NVVM refuses.
"""

import functools
import importlib.util

import dry_run
import numpy as np
import pytest
from op_cases import SIMULATED, arguments, cases, map_arrays

from kernels import cuda
from kernels.cuda import conv_plain, conv_tiles, launch

CAPABILITIES = [(7, 5), (8, 0), (9, 0)]
REGISTERS = 65536  # of a multiprocessor, for all threads of a block together
SHARED = 48 * 1024  # bytes that a block may have without asking for more


@functools.cache
def obstacle():
    """What keeps this machine from compiling, or None."""
    if SIMULATED:
        return "the simulator compiles nothing"
    if importlib.util.find_spec("numba_cuda") is None:
        return 'needs numba-cuda: pip install "minisegnet[cuda]"'
    try:
        dry_run.compile_kernel(dry_run.smallest(), CAPABILITIES[0])
    except Exception as error:  # of whichever library of the toolkit is missing
        return f"NVVM can't be used here: {error}"
    return None


def array(*shape, dtype=np.float32):
    return dry_run.StandIn(np.zeros(shape, dtype))


def convolve(ops, O=32, C=32, N=8, size=64, kernel=3, stride=1, groups=1):
    """All passes of a convolution."""
    x, w, b = array(N, C, size, size), array(O, C // groups, kernel, kernel), array(O)
    geometry = stride, kernel // 2, 1, groups
    y = ops.conv2d_forward(x, w, b, *geometry)
    ops.conv2d_relu_forward(x, w, None, *geometry)
    ops.conv2d_backward_input(y, w, x.shape, *geometry)
    ops.conv2d_backward_weight(y, x, w.shape, *geometry)


def real_sizes():
    """Calls with the shapes of real nets, where ops choose other kernels than for the small examples."""
    for O in (32, 64, 128):
        convolve(cuda, O, 64)
    convolve(cuda, kernel=1)
    convolve(cuda, stride=2)
    convolve(cuda, groups=32)
    for rung in (conv_plain, conv_tiles):
        convolve(rung)
    x, w = array(8, 32, 64, 64), array(32, 32, 2, 2)
    y = cuda.conv_transpose2d_forward(x, w, array(32), 2, 0, 0, 1, 1)
    cuda.conv_transpose2d_backward_input(y, w, x.shape, 2, 0, 0, 1, 1)
    cuda.conv_transpose2d_backward_weight(y, x, w.shape, 2, 0, 0, 1, 1)
    x, w = array(4096, 2048), array(4096, 2048)
    y = cuda.linear_forward(x, w, array(4096))
    cuda.linear_backward_input(y, w)
    cuda.linear_backward_weight(y, x)
    cuda.adaptive_avg_pool2d_forward(array(2, 4, 32, 32), (1, 1))


def housekeeping():
    x, labels, c = array(3, 4), array(3, 4, dtype=np.int64), array(4)
    cuda.zeros_like(x)
    cuda.assign(x, x)
    cuda.add_into(x, x)
    cuda.scale(x, 2.0)
    cuda.multiply_into(x, x)
    cuda.add_sign_into(x, x, 0.5)
    cuda.nonzero(x)
    cuda.total(x)
    cuda.sum_of_squares([x, x])
    cuda.weighted_total(x, labels, c, 255)
    cuda.weighted_total(x, labels, None, 255)
    cuda.dropout_mask((3, 4), 0.5, np.random.default_rng(0))
    cuda.batch_norm_running(c, c, c, c, 0.1, 10)
    for shape in [(8,), (2, 8), (2, 2, 8), (2, 2, 2, 8)]:
        cuda.arrays.copy(array(*shape)[..., ::2])


def all_launches():
    """Every kernel with every signature that the ops launch it with, by name."""
    with dry_run.dry_run() as noted:
        for dtype in (np.float32, np.float64):
            for op, example in cases():
                given = arguments(op, example, dtype=dtype)
                given |= {name: given[name].astype(dtype) for name in ("mean", "var") if name in given}
                getattr(cuda, op)(*map_arrays(lambda _, a: dry_run.StandIn(a), given).values())
        real_sizes()
        housekeeping()
    found = {}
    for item in noted:
        found.setdefault(item.name, {})[item.signature] = item
    return {name: list(by_signature.values()) for name, by_signature in sorted(found.items())}


LAUNCHES = {} if SIMULATED else all_launches()
pytestmark = pytest.mark.skipif(obstacle() is not None, reason=str(obstacle()))


def test_every_kernel_is_launched_by_some_op():
    assert set(launch.KERNELS) == set(LAUNCHES)


def computes_in_float64(found):
    return any("float64" in str(kind) for kind in found.signature)


@pytest.mark.parametrize("name", LAUNCHES)
def test_kernels_compile_within_what_a_block_may_have(name, tmp_path):
    for found in LAUNCHES[name]:
        double = computes_in_float64(found)
        # checking gradients is what float64 is for: one architecture will do
        for cc in CAPABILITIES[-1:] if double else CAPABILITIES:
            compiled = dry_run.compile_kernel(found, cc, tmp_path)
            what = f"{name} {found.signature} for sm_{cc[0]}{cc[1]}: {compiled[1:]}"
            assert double or ".f64" not in compiled.ptx, f"float64 arithmetic in {what}"
            if compiled.registers is not None:
                assert compiled.spills == 0, what
                assert compiled.registers * found.threads <= REGISTERS, what
                assert compiled.shared <= SHARED, what
