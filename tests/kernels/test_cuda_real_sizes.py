"""The CUDA kernels at the sizes of real nets, against the CPU's and PyTorch's; small ones in the simulator.

What the examples of the other tests don't reach: many blocks, every tile, indices beyond a few thousand, the same bits
on repetition.
"""

import numpy as np
import pytest
from op_cases import SIMULATED, close, torch_gradients

import kernels

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu")]

N, SIZE = (1, 4) if SIMULATED else (4, 96)
CHANNELS = [(3, 5)] if SIMULATED else [(3, 16), (32, 32), (64, 64), (96, 160), (256, 128)]


def draw(*shapes, dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, dtype) for shape in shapes]


def both(op, *arguments):
    """(the GPU's results, the CPU's), as lists of NumPy arrays. The GPU's must be the same bits twice."""
    here = next(a for a in arguments if isinstance(a, np.ndarray))
    there = [kernels.to_device(a) if isinstance(a, np.ndarray) else a for a in arguments]
    ops = kernels.ops_for(kernels.to_device(here))
    first, again = (as_list(getattr(ops, op)(*there)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{op} gave other bits the second time")
    return first, as_list(getattr(kernels.ops_for(here), op)(*arguments))


def as_list(result):
    results = result if isinstance(result, (tuple, list)) else [result]
    return [kernels.to_host(array) for array in results]


def check(op, *arguments):
    for found, expected in zip(*both(op, *arguments), strict=True):
        close(found, expected.astype(found.dtype), nan=True)  # statistics are float64 on the host
    return found


@pytest.mark.parametrize(("C", "O"), CHANNELS)
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (3, 1, 2), (1, 1, 1), (5, 1, 1)])
def test_convolution(C, O, kernel, stride, dilation):
    pad = dilation * (kernel // 2)
    geometry = (stride, pad, dilation, 1)
    x, w, b = draw((N, C, SIZE, SIZE + 3), (O, C, kernel, kernel), (O,))
    y = check("conv2d_forward", x, w, b, *geometry)
    check("conv2d_relu_forward", x, w, None, *geometry)
    (dy,) = draw(y.shape)
    check("conv2d_backward_input", dy, w, x.shape, *geometry)
    check("conv2d_backward_weight", dy, x, w.shape, *geometry)
    check("conv2d_backward_bias", dy)


@pytest.mark.parametrize("groups", [3] if SIMULATED else [4, 64])
def test_grouped_convolution(groups):
    C = 3 if SIMULATED else 64
    x, w = draw((N, C, SIZE, SIZE), (C, C // groups, 3, 3))
    geometry = (1, 1, 1, groups)
    y = check("conv2d_forward", x, w, None, *geometry)
    (dy,) = draw(y.shape)
    check("conv2d_backward_input", dy, w, x.shape, *geometry)
    check("conv2d_backward_weight", dy, x, w.shape, *geometry)


@pytest.mark.parametrize(("C", "O"), CHANNELS)
def test_transposed_convolution(C, O):
    x, w, b = draw((N, C, SIZE // 2, SIZE // 2), (C, O, 2, 2), (O,))
    geometry = (2, 0, 0, 1, 1)
    y = check("conv_transpose2d_forward", x, w, b, *geometry)
    (dy,) = draw(y.shape)
    check("conv_transpose2d_backward_input", dy, w, x.shape, *geometry)
    check("conv_transpose2d_backward_weight", dy, x, w.shape, *geometry)


def test_linear():
    rows, I, O = (3, 5, 4) if SIMULATED else (300, 2048, 1000)
    x, w, b, dy = draw((rows, I), (O, I), (O,), (rows, O))
    check("linear_forward", x, w, b)
    check("linear_backward_input", dy, w)
    check("linear_backward_weight", dy, x)
    check("linear_backward_bias", dy)


def test_normalisation():
    C = 2 if SIMULATED else 48
    x, weight, bias, dy = draw((N, C, SIZE, SIZE), (C,), (C,), (N, C, SIZE, SIZE))
    x += 3
    check("batch_norm_train_forward", x, weight, bias, 1e-5)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    check("batch_norm_train_backward", dy, x, weight, mean, var, 1e-5)
    check("batch_norm_eval_forward", x, weight, bias, mean, var, 1e-5)


def test_pooling_and_resizing():
    C = 2 if SIMULATED else 64
    (x,) = draw((N, C, SIZE, SIZE + 2))
    y, switches = kernels.ops_for(x).max_pool2d_forward(x, 2, 2, 0, 1, False)
    check("max_pool2d_forward", x, 2, 2, 0, 1, False)
    (dy,) = draw(y.shape)
    check("max_pool2d_backward", dy, switches, x.shape)
    check("max_unpool2d_forward", dy, switches, x.shape)
    check("max_unpool2d_backward", x, switches)
    for op, rest in [("avg_pool2d", (3, 2, 1, False, True)), ("upsample_bilinear2d", ((0.5, 0.5), False))]:
        if op == "avg_pool2d":
            dy = check(f"{op}_forward", x, *rest)
        else:
            dy = check(f"{op}_forward", x, (2 * SIZE, 2 * SIZE + 4), *rest)
        check(f"{op}_backward", dy, x.shape, *rest)
    check("adaptive_avg_pool2d_forward", x, (1, 1))


def test_cross_entropy():
    C = 3 if SIMULATED else 19
    (scores,) = draw((N, C, SIZE, SIZE))
    target = np.random.default_rng(1).integers(0, C, (N, SIZE, SIZE))
    target[0, :2] = 255
    weight = np.linspace(0.5, 2, C, dtype=np.float32)
    check("softmax_cross_entropy_forward", scores, target, weight, 255, 0.1)
    p = kernels.ops_for(scores).softmax_forward(scores, 1)
    check("softmax_cross_entropy_backward", 0.25, p, target, weight, 255, 0.1)


def test_elements_and_joins():
    (x, dy) = draw((N, 4, SIZE, SIZE), (N, 4, SIZE, SIZE))
    check("relu_forward", x)
    check("relu_backward", dy, x)
    there = [kernels.to_device(a) for a in (x, dy)]
    ops = kernels.ops_for(there[0])
    np.testing.assert_array_equal(kernels.to_host(ops.concat_forward(there)), np.concatenate([x, dy], 1))
    np.testing.assert_array_equal(kernels.to_host(ops.add_forward(there)), x + dy)


def test_convolution_agrees_with_pytorch(torch):
    C, O = CHANNELS[-1]
    x, w, b = draw((N, C, SIZE, SIZE), (O, C, 3, 3), (O,))
    (dy,) = draw((N, O, SIZE, SIZE))
    y, (dx, dw, db) = torch_gradients(
        torch, lambda x, w, b: torch.nn.functional.conv2d(x, w, b, padding=1), [x, w, b], dy
    )
    there = {name: kernels.to_device(a) for name, a in (("x", x), ("w", w), ("b", b), ("dy", dy))}
    ops = kernels.ops_for(there["x"])
    close(kernels.to_host(ops.conv2d_forward(there["x"], there["w"], there["b"], 1, 1, 1, 1)), y)
    close(kernels.to_host(ops.conv2d_backward_input(there["dy"], there["w"], x.shape, 1, 1, 1, 1)), dx)
    close(kernels.to_host(ops.conv2d_backward_weight(there["dy"], there["x"], w.shape, 1, 1, 1, 1)), dw)
    close(kernels.to_host(ops.conv2d_backward_bias(there["dy"])), db)
