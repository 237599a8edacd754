"""Activations and dropout, element by element."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import SIMULATED, close, drawn, torch_gradients

INF, NAN = np.inf, np.nan
SPECIAL = np.array([0.0, -0.0, 1e-30, -1e-30, 1e4, -1e4, INF, -INF, NAN, 1, -1, 0.5])


def test_relu_has_derivative_zero_at_zero(ops):
    x = np.array([-2, -0.0, 0, 3])
    y = ops.relu_forward(x)
    np.testing.assert_array_equal(y, [0, 0, 0, 3])
    np.testing.assert_array_equal(ops.relu_backward(np.array([5.0, 6, 7, 8]), y), [0, 0, 0, 8])


def test_leaky_relu_by_hand(ops):
    x = np.array([-2, 0, 3.0])
    np.testing.assert_array_equal(ops.leaky_relu_forward(x, 0.25), [-0.5, 0, 3])
    np.testing.assert_array_equal(ops.leaky_relu_backward(np.array([4, 4, 4.0]), x, 0.25), [1, 1, 4])


def test_nan_stays_nan(ops):
    x = np.array([NAN, 1.0])
    for y in (ops.relu_forward(x), ops.leaky_relu_forward(x, 0.1), ops.sigmoid_forward(x), ops.tanh_forward(x)):
        assert np.isnan(y).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_tanh_do_not_overflow(ops, dtype):
    x = np.array([-INF, -1e4, -800, 0, 800, 1e4, INF], dtype)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        np.testing.assert_array_equal(ops.sigmoid_forward(x), np.array([0, 0, 0, 0.5, 1, 1, 1], dtype))
        np.testing.assert_array_equal(ops.tanh_forward(x), np.array([-1, -1, -1, 0, 1, 1, 1], dtype))


def test_sigmoid_keeps_its_digits_where_it_is_small(ops):
    x = np.array([-30.0, -700.0])
    np.testing.assert_allclose(ops.sigmoid_forward(x), np.exp(x), rtol=1e-12)


def activation(ops, torch, name):
    """(forward(x), backward(dy, x), PyTorch's function) of an activation."""
    functional = torch.nn.functional
    if name == "leaky_relu":
        return (
            lambda x: ops.leaky_relu_forward(x, 0.2),
            lambda dy, x: ops.leaky_relu_backward(dy, x, 0.2),
            lambda x: functional.leaky_relu(x, 0.2),
        )
    forward, backward = getattr(ops, f"{name}_forward"), getattr(ops, f"{name}_backward")
    return forward, lambda dy, x: backward(dy, forward(x)), getattr(torch, name)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh"])
@drawn(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1e-3, 1, 30]),
    shape=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_activations_agree_with_pytorch(ops, torch, name, seed, scale, shape, dtype):
    forward, backward, oracle = activation(ops, torch, name)
    rng = np.random.default_rng(seed)
    x = (scale * rng.normal(size=shape)).astype(dtype)
    x[rng.random(shape) < 0.2] = 0
    dy = rng.normal(size=shape).astype(dtype)
    y, (dx,) = torch_gradients(torch, oracle, [x], dy)
    close(forward(x), y)
    close(backward(dy, x), dx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "sigmoid", "tanh"])
def test_special_values_agree_with_pytorch(ops, torch, name, dtype):
    forward, backward, oracle = activation(ops, torch, name)
    x = SPECIAL.astype(dtype)
    dy = np.random.default_rng(0).normal(size=x.shape).astype(dtype)
    y, (dx,) = torch_gradients(torch, oracle, [x], dy)
    close(forward(x), y, nan=True)
    close(backward(dy, x), dx, nan=True)


def test_dropout_scales_what_it_keeps(ops):
    x, keep = np.array([1.0, 2, 3, NAN]), np.array([True, False, True, False])
    np.testing.assert_array_equal(ops.dropout_forward(x, keep, 4.0), [4, 0, 12, 0])
    np.testing.assert_array_equal(ops.dropout_backward(np.array([1.0, 2, -5, 7]), keep, 4.0), [4, 0, -20, 0])


def test_dropout_needs_a_mask_of_the_same_shape(ops):
    with pytest.raises(ValueError, match=r"^keep has shape \(3,\), expected \(2, 3\)$"):
        ops.dropout_forward(np.ones((2, 3)), np.ones(3, bool), 2.0)


@pytest.mark.skipif(SIMULATED, reason="large maps in layouts that only the host has")
def test_parts_of_joined_maps(ops):
    """What concat_backward gives is in one piece within each image only; large images are then taken one by one."""
    rng = np.random.default_rng(0)
    joined = rng.normal(size=(3, 40, 80, 100)).astype(np.float32)
    part, other = ops.concat_backward(joined, [18, 22])
    assert ops.name == "cuda" or not other.flags.c_contiguous
    y = np.maximum(other, 0)
    np.testing.assert_array_equal(ops.relu_forward(other), y)
    np.testing.assert_array_equal(ops.relu_backward(other, y), y)
    np.testing.assert_array_equal(ops.add_forward([other, y]), other + y)
    np.testing.assert_array_equal(ops.add_forward([part, part.copy()]), 2 * part)
    np.testing.assert_array_equal(ops.relu_forward(other[::2, ::-1, :, ::2]), y[::2, ::-1, :, ::2])
