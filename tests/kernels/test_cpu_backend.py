"""What only the compiled backend can get wrong: blocks and tiles, threads, other vector units, choosing a rung."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from op_cases import close

import kernels
from kernels import reference
from kernels.cpu import conv, micro

ROOT = Path(__file__).parents[2]

# Large enough for several blocks of rows, several segments of pixels and full and partial tiles of every kind.
# x (N, C, H, W), w (O, C/groups, kH, kW), stride, padding, dilation, groups
LARGE = [
    ((2, 3, 50, 61), (16, 3, 3, 3), 1, 1, 1, 1),
    ((2, 16, 40, 50), (11, 16, 3, 3), 1, 1, 1, 1),
    ((1, 20, 33, 47), (9, 20, 3, 2), 2, 1, 1, 1),
    ((1, 12, 41, 40), (8, 3, 5, 3), (1, 2), (4, 2), (2, 3), 4),
    ((2, 24, 37, 30), (24, 1, 3, 3), 1, 1, 1, 24),
    ((3, 70, 9, 8), (65, 70, 3, 3), 1, 1, 1, 1),
    ((2, 32, 31, 29), (4, 32, 1, 1), 1, 0, 1, 1),
]
GEOMETRIES = [pytest.param(*case, id="x".join(map(str, case[0])) + "-" + "x".join(map(str, case[1]))) for case in LARGE]


def arrays(x_shape, w_shape, geometry, dtype):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(dtype) for s in (x_shape, w_shape, w_shape[:1]))
    y = reference.conv2d_forward(x, w, b, *geometry)
    return x, w, b, y, rng.standard_normal(y.shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("x_shape", "w_shape", "stride", "padding", "dilation", "groups"), GEOMETRIES)
def test_many_blocks_agree_with_the_reference(x_shape, w_shape, stride, padding, dilation, groups, dtype):
    geometry = stride, padding, dilation, groups
    x, w, b, y, dy = arrays(x_shape, w_shape, geometry, dtype)
    close(conv.conv2d_forward(x, w, b, *geometry), y)
    close(
        conv.conv2d_backward_input(dy, w, x_shape, *geometry),
        reference.conv2d_backward_input(dy, w, x_shape, *geometry),
    )
    close(
        conv.conv2d_backward_weight(dy, x, w_shape, *geometry),
        reference.conv2d_backward_weight(dy, x, w_shape, *geometry),
    )
    close(conv.conv2d_backward_bias(dy), reference.conv2d_backward_bias(dy))


def test_updates_of_large_parameters_agree_with_the_reference():
    """Above one piece they run on several threads."""
    rng = np.random.default_rng(0)
    start, grad = rng.standard_normal((2, 40_001)).astype(np.float32)
    results = []
    for name in ("cpu", "reference"):
        with kernels.use(name) as ops:
            value, velocity, m, v = start.copy(), *np.zeros((3, start.size), np.float32)
            ops.sgd_update(value, grad, velocity, 0.1, 0.9, 0.01, True)
            ops.adam_update(value, grad, m, v, 1, 0.1, 0.9, 0.999, 1e-8, 0.01, False)
            results.append((value, velocity, m, v))
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)


@pytest.mark.parametrize("name", ["loss", "concat", "add", "max_pool", "batch_norm", "relu"])
def test_large_maps_agree_with_the_reference(name):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 5, 70, 61)).astype(np.float32)
    target = rng.integers(0, 5, (2, 70, 61))
    target[:, :9] = 255
    weight = rng.uniform(0.5, 2, 5).astype(np.float32)
    results = []
    for backend in ("cpu", "reference"):
        with kernels.use(backend) as ops:
            if name == "loss":
                losses, p = ops.softmax_cross_entropy_forward(x, target, weight, 255, 0.1)
                dlosses = dy[:, 0].copy()
                back = ops.softmax_cross_entropy_backward(dlosses, p, target, weight, 255, 0.1)
                results.append([losses, p, back])
            elif name == "concat":
                results.append([ops.concat_forward([x, dy, x])])
            elif name == "add":
                results.append([ops.add_forward([x, dy]), ops.add_forward([x, dy, x])])
            elif name == "max_pool":
                y, argmax = ops.max_pool2d_forward(x, 2, 2, 0, 1, False)
                results.append([y, argmax, ops.max_pool2d_backward(dy[:, :, :35, :30].copy(), argmax, x.shape)])
            elif name == "batch_norm":
                y, mean, var = ops.batch_norm_train_forward(x, weight, weight, 1e-5)
                results.append([y, mean, var, *ops.batch_norm_train_backward(dy, x, weight, mean, var, 1e-5)])
            else:
                y = ops.relu_forward(x)
                results.append([y, ops.relu_backward(dy, y)])
    for ours, expected in zip(*results, strict=True):
        close(ours, expected)


THREADS = """
import sys, hashlib
import numba, numpy as np
numba.set_num_threads(int(sys.argv[1]))
import kernels
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 8, 60, 50)).astype(np.float32), rng.standard_normal((9, 8, 3, 3)).astype(np.float32)
dy = rng.standard_normal((2, 9, 60, 50)).astype(np.float32)
digest = hashlib.sha256()
with kernels.use("cpu") as ops:
    found = [
        ops.conv2d_forward(x, w, None, 1, 1, 1, 1), ops.conv2d_backward_input(dy, w, x.shape, 1, 1, 1, 1),
        ops.conv2d_backward_weight(dy, x, w.shape, 1, 1, 1, 1), ops.conv2d_backward_bias(dy),
        *ops.batch_norm_train_forward(x, None, None, 1e-5),
        *ops.softmax_cross_entropy_forward(dy, rng.integers(0, 9, (2, 60, 50)), None, -100, 0.0),
    ]
for array in found:
    digest.update(np.ascontiguousarray(array).tobytes())
print(digest.hexdigest())
"""


def run(code, *arguments, **environment):
    """What a Python process of its own prints."""
    command = [sys.executable, "-c", code, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_number_of_threads_changes_no_bit():
    one, two = (run(THREADS, threads, NUMBA_NUM_THREADS="2") for threads in ("1", "2"))
    assert one == two
    assert len(one) == 64


OTHER_MACHINE = """
import numpy as np
from kernels import reference
from kernels.cpu import conv, micro
rng = np.random.default_rng(0)
geometry = (2, 1, 1, 1)
x, w = rng.standard_normal((2, 5, 12, 29)).astype(np.float32), rng.standard_normal((7, 5, 3, 3)).astype(np.float32)
y = reference.conv2d_forward(x, w, None, *geometry)
dy = rng.standard_normal(y.shape).astype(np.float32)
np.testing.assert_allclose(conv.conv2d_forward(x, w, None, *geometry), y, 1e-4, 1e-4)
for op, first, second in (("input", w, x.shape), ("weight", x, w.shape)):
    ours, expected = (getattr(m, f"conv2d_backward_{op}")(dy, first, second, *geometry) for m in (conv, reference))
    np.testing.assert_allclose(ours, expected, 1e-4, 1e-4)
print(micro.MACHINE.name, micro.lanes(x.dtype))
"""


@pytest.mark.parametrize(("name", "lanes"), [("scalar", 1), ("neon", 4), ("avx512", 16)])
def test_code_for_other_vector_units_gives_the_same(name, lanes):
    """Wider or narrower vectors than this machine's are taken apart or joined by the compiler; the numbers stay."""
    assert run(OTHER_MACHINE, MINISEGNET_SIMD=name) == f"{name} {lanes}"


def test_an_unknown_vector_unit_is_named():
    done = subprocess.run(
        [sys.executable, "-c", "import kernels.cpu"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "MINISEGNET_SIMD": "abacus"},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "MINISEGNET_SIMD='abacus' is unknown; expected one of avx512, avx2, neon, scalar" in done.stderr


def test_this_machine_is_one_of_the_known():
    assert micro.MACHINE in micro.MACHINES.values()
    assert micro.lanes(np.dtype(np.float32)) in (1, 4, 8, 16)


def test_a_rung_of_the_ladder_is_chosen_by_name():
    assert list(kernels.CONV_RUNGS) == ["loops", "windows", "im2col", "parallel", "micro"]
    for rung, module in kernels.CONV_RUNGS.items():
        with kernels.use("cpu", conv=rung) as ops:
            assert ops.conv2d_forward.__module__ == f"kernels.{module}"
            assert ops.relu_forward.__module__ == "kernels.cpu.activation"
    with pytest.raises(ValueError, match=r"^unknown convolution 'fft'; the ladder has loops, windows, im2col"):
        kernels.use("cpu", conv="fft").__enter__()
