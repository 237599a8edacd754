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
from kernels.cpu import conv, micro, products, winograd

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


# x (N, C, H, W), output channels, padding: several blocks, strips of all lengths, chunks of outputs, partial tiles
TILED = [
    ((2, 16, 60, 83), 18, 1),
    ((1, 8, 130, 17), 16, ((0, 2), (2, 0))),
    ((3, 70, 13, 12), 131, 1),
    ((5, 40, 6, 6), 33, 2),
    ((1, 130, 9, 40), 5, 0),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("x_shape", "outputs", "padding"), TILED)
def test_many_blocks_of_transformed_tiles_agree_with_the_reference(x_shape, outputs, padding, dtype):
    w_shape, geometry = (outputs, x_shape[1], 3, 3), (1, padding, 1, 1)
    x, w, b, y, dy = arrays(x_shape, w_shape, geometry, dtype)
    assert winograd.pays(w_shape, x_shape[0], *y.shape[2:])
    close(winograd.conv2d_forward(x, w, b, *geometry), y)
    np.testing.assert_array_equal(
        winograd.conv2d_relu_forward(x, w, b, *geometry), np.maximum(winograd.conv2d_forward(x, w, b, *geometry), 0)
    )
    for op, first, second in (("input", w, x_shape), ("weight", x, w_shape)):
        ours, expected = (
            getattr(m, f"conv2d_backward_{op}")(dy, first, second, *geometry) for m in (winograd, reference)
        )
        close(ours, expected)


@pytest.mark.parametrize("padding", [((1, 1), (0, 9)), ((1, 9), (1, 0)), ((3, 0), (0, 0)), ((0, 0), (0, 3))])
def test_more_padding_than_a_tile_has_room_for_goes_the_direct_way(padding):
    """On each side: the transforms' buffers have two columns more than the tiles."""
    x_shape, w_shape, geometry = (2, 12, 9, 32), (12, 12, 3, 3), (1, padding, 1, 1)
    assert not winograd.possible(w_shape, *geometry)
    x, w, b, y, dy = arrays(x_shape, w_shape, geometry, np.float64)
    close(winograd.conv2d_forward(x, w, b, *geometry), y)
    for op, first, second in (("input", w, x_shape), ("weight", x, w_shape)):
        name = f"conv2d_backward_{op}"
        close(*(getattr(module, name)(dy, first, second, *geometry) for module in (winograd, reference)))


def test_the_transforms_give_the_convolution_of_a_tile():
    """Exactly so, apart from rounding: Aᵀ (G g Gᵀ * B d Bᵀ) A, and its two gradients."""
    from kernels.cpu.winograd_tiles import A, B, G

    rng = np.random.default_rng(0)
    d, g, dy = rng.standard_normal((6, 6)), rng.standard_normal((3, 3)), rng.standard_normal((4, 4))
    geometry, plane = (1, 0, 1, 1), lambda a: a[None, None]
    u, v, z = G @ g @ G.T, B @ d @ B.T, A @ dy @ A.T
    np.testing.assert_allclose(A.T @ (u * v) @ A, reference.conv2d_forward(plane(d), plane(g), None, *geometry)[0, 0])
    dg = reference.conv2d_backward_weight(plane(dy), plane(d), (1, 1, 3, 3), *geometry)[0, 0]
    np.testing.assert_allclose(G.T @ (z * v) @ G, dg)
    dd = reference.conv2d_backward_input(plane(dy), plane(g), (1, 1, 6, 6), *geometry)[0, 0]
    np.testing.assert_allclose(B.T @ (z * u) @ B, dd)


def test_small_convolutions_of_whole_numbers_are_exact_by_default():
    x, w = np.arange(2 * 3 * 64, dtype=np.float32).reshape(2, 3, 8, 8), np.full((4, 3, 3, 3), 3, np.float32)
    with kernels.use("cpu") as ops:
        np.testing.assert_array_equal(
            ops.conv2d_forward(x, w, None, 1, 1, 1, 1), reference.conv2d_forward(x, w, None, 1, 1, 1, 1)
        )


@pytest.mark.parametrize("rung", ["micro", "winograd"])
def test_a_floor_of_zero_is_a_relu_that_lets_nan_pass(rung):
    x, w, b, _, _ = arrays((2, 12, 20, 30), (13, 12, 3, 3), (1, 1, 1, 1), np.float32)
    x[0, 0, 3, 4] = np.nan
    with kernels.use("cpu", conv=rung) as ops:
        for stride, kernel in ((1, 3), (2, 3), (1, 1)):
            geometry = stride, kernel // 2, 1, 1
            weight = np.ascontiguousarray(w[:, :, :kernel, :kernel])
            y = ops.conv2d_relu_forward(x, weight, b, *geometry)
            np.testing.assert_array_equal(y, ops.relu_forward(ops.conv2d_forward(x, weight, b, *geometry)))
            assert np.isnan(y).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 3, 5, 7), (3, 17, 23, 25), (2, 90, 130, 301), (0, 3, 4, 5), (4, 600, 9, 50)]
)
def test_matrix_products_agree_with_numpy(shape, dtype):
    N, C, O, P = shape
    rng = np.random.default_rng(0)
    x, dy, w, b = (rng.standard_normal(s).astype(dtype) for s in ((N, C, P), (N, O, P), (O, C), (O,)))
    y = np.empty((N, O, P), dtype)
    products.mix(y, x, w, b)
    close(y, w @ x + b[:, None])
    products.mix(y, x, w, floor=0)
    close(y, np.maximum(w @ x, 0))
    close(products.gram(dy, x), np.einsum("nop,ncp->oc", dy.astype(np.float64), x).astype(dtype))


@pytest.mark.parametrize("kernel", [(2, 2), (1, 3), (4, 1)])
def test_patches_are_put_where_they_belong(kernel):
    rng = np.random.default_rng(0)
    z, (kH, kW) = rng.standard_normal((2, 3 * kernel[0] * kernel[1], 5, 4)), kernel
    y = products.put_patches(z, kernel)
    expected = z.reshape(2, 3, kH, kW, 5, 4).transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, 5 * kH, 4 * kW)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(products.take_patches(y, kernel), z)


THREADS = """
import sys, hashlib
import numpy as np
from kernels import threads
threads.set_num_threads(int(sys.argv[1]))
import kernels
rng = np.random.default_rng(0)
x, w = rng.standard_normal((2, 8, 60, 50)).astype(np.float32), rng.standard_normal((9, 8, 3, 3)).astype(np.float32)
dy = rng.standard_normal((2, 9, 60, 50)).astype(np.float32)
v, u = rng.standard_normal((3, 16, 33, 40)).astype(np.float32), rng.standard_normal((16, 16, 3, 3)).astype(np.float32)
digest = hashlib.sha256()
with kernels.use("cpu") as ops:
    found = [
        ops.conv2d_forward(x, w, None, 1, 1, 1, 1), ops.conv2d_backward_input(dy, w, x.shape, 1, 1, 1, 1),
        ops.conv2d_backward_weight(dy, x, w.shape, 1, 1, 1, 1), ops.conv2d_backward_bias(dy),
        ops.conv2d_forward(v, u, None, 1, 1, 1, 1), ops.conv2d_backward_input(v, u, v.shape, 1, 1, 1, 1),
        ops.conv2d_backward_weight(v, v, u.shape, 1, 1, 1, 1), ops.linear_forward(v, v[0, :, 0], None),
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
from kernels.cpu import conv, micro, winograd
rng = np.random.default_rng(0)
for module, stride, channels in ((conv, 2, (5, 7)), (winograd, 1, (12, 13))):
    geometry, (C, O) = (stride, 1, 1, 1), channels
    x, w = rng.standard_normal((2, C, 12, 29)).astype(np.float32), rng.standard_normal((O, C, 3, 3)).astype(np.float32)
    y = reference.conv2d_forward(x, w, None, *geometry)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    np.testing.assert_allclose(module.conv2d_forward(x, w, None, *geometry), y, 1e-3, 1e-3)
    for op, first, second in (("input", w, x.shape), ("weight", x, w.shape)):
        name = f"conv2d_backward_{op}"
        ours, expected = (getattr(m, name)(dy, first, second, *geometry) for m in (module, reference))
        np.testing.assert_allclose(ours, expected, 1e-3, 1e-3)
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
    assert list(kernels.CONV_RUNGS) == ["loops", "windows", "im2col", "parallel", "micro", "winograd"]
    for rung, module in kernels.CONV_RUNGS.items():
        with kernels.use("cpu", conv=rung) as ops:
            assert ops.conv2d_forward.__module__ == f"kernels.{module}"
            assert ops.relu_forward.__module__ == "kernels.cpu.activation"
    with pytest.raises(ValueError, match=r"^unknown convolution 'fft'; the ladder has loops, windows, im2col"):
        kernels.use("cpu", conv="fft").__enter__()
