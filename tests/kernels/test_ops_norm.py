"""Batch normalisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import close, drawn, torch_gradients

from kernels import ShapeError


def test_statistics_by_hand(ops):
    """The variance that comes out is the biased one: of [0, 2] it is 1, not 2."""
    x = np.array([0.0, 2]).reshape(2, 1, 1, 1)
    y, mean, var = ops.batch_norm_train_forward(x, np.array([3.0]), np.array([10.0]), 1e-5)
    np.testing.assert_array_equal((mean, var), [[1], [1]])
    np.testing.assert_allclose(y.ravel(), [10 - 3 / np.sqrt(1 + 1e-5), 10 + 3 / np.sqrt(1 + 1e-5)])


def test_each_channel_has_its_own_statistics(ops):
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5)) * np.array([1, 7])[:, None, None] + 3
    y, mean, var = ops.batch_norm_train_forward(x, None, None, 0.0)
    close(mean, x.mean(axis=(0, 2, 3)))
    close(var, x.var(axis=(0, 2, 3)))
    close(y.mean(axis=(0, 2, 3)), np.zeros(2))
    close(y.var(axis=(0, 2, 3)), np.ones(2))


def test_statistics_of_float32_keep_their_digits(ops):
    """A mean that is large beside the spread costs digits; the host takes the statistics in float64."""
    x = (1000 + np.random.default_rng(0).normal(size=(2, 1, 50, 50))).astype(np.float32)
    y, mean, var = ops.batch_norm_train_forward(x, None, None, 0.0)
    on_gpu = ops.name == "cuda"  # float32, summed in a tree
    np.testing.assert_allclose(mean, x.mean(dtype=float), rtol=1e-7 if on_gpu else 1e-12)
    np.testing.assert_allclose(var, x.var(dtype=float), rtol=1e-5 if on_gpu else 1e-10)
    assert y.dtype == np.float32
    assert abs(y.mean(dtype=float)) < 1e-6


def test_dx_sums_to_zero_and_is_orthogonal_to_the_normalised_input(ops):
    rng = np.random.default_rng(0)
    x, dy, weight = rng.normal(size=(3, 2, 4, 5)), rng.normal(size=(3, 2, 4, 5)), rng.normal(size=2)
    normed, mean, var = ops.batch_norm_train_forward(x, None, None, 0.0)
    dx, _, _ = ops.batch_norm_train_backward(dy, x, weight, mean, var, 0.0)
    close(dx.sum(axis=(0, 2, 3)), np.zeros(2))
    close((dx * normed).sum(axis=(0, 2, 3)), np.zeros(2))


def test_a_constant_channel_gives_the_bias(ops):
    x = np.full((2, 1, 3, 3), 5.0)
    y, mean, var = ops.batch_norm_train_forward(x, np.array([2.0]), np.array([-1.0]), 1e-5)
    np.testing.assert_array_equal(y, np.full(x.shape, -1.0))
    np.testing.assert_array_equal((mean, var), [[5], [0]])


def test_a_single_value_is_its_own_mean_and_gets_no_gradient(ops):
    """The layer refuses to train like this; the op is still exact, up to a fused multiply-add's rounding of dx."""
    x, weight = np.array([3.0, -4.0]).reshape(1, 2, 1, 1), np.array([2.0, 5.0])
    y, mean, var = ops.batch_norm_train_forward(x, weight, None, 1e-5)
    np.testing.assert_array_equal((mean, var), [[3, -4], [0, 0]])
    np.testing.assert_array_equal(y, np.zeros(x.shape))
    dx, dweight, dbias = ops.batch_norm_train_backward(np.full(x.shape, 7.0), x, weight, mean, var, 1e-5)
    close(dx, np.zeros(x.shape))
    np.testing.assert_array_equal((dweight, dbias), [[0, 0], [7, 7]])


def test_an_empty_batch_has_zero_statistics_and_gradients(ops):
    x = np.ones((0, 3, 2, 2), np.float32)
    y, mean, var = ops.batch_norm_train_forward(x, np.ones(3, np.float32), np.ones(3, np.float32), 1e-5)
    assert y.shape == x.shape
    np.testing.assert_array_equal((mean, var), np.zeros((2, 3)))
    dx, dweight, dbias = ops.batch_norm_train_backward(x, x, np.ones(3, np.float32), mean, var, 1e-5)
    assert dx.shape == x.shape
    np.testing.assert_array_equal((dweight, dbias), np.zeros((2, 3)))


drawn_input = given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(2, 4)),
    affine=st.booleans(),
    eps=st.sampled_from([1e-5, 1e-2]),
    dtype=st.sampled_from([np.float64, np.float32]),
)


def draw_arrays(seed, shape, affine, dtype):
    rng = np.random.default_rng(seed)
    x, dy = (2 * rng.normal(size=shape) + 1).astype(dtype), rng.normal(size=shape).astype(dtype)
    weight, bias = (rng.normal(size=shape[1]).astype(dtype) for _ in "wb")
    return rng, x, dy, *((weight, bias) if affine else (None, None))


def compare(ours, theirs, affine):
    """Backward's (dx, dweight, dbias) with PyTorch's gradients, of which there is one only without affine."""
    for a, b in zip(ours if affine else ours[:1], theirs, strict=True):
        close(a, b)


@drawn(100)
@drawn_input
def test_training_agrees_with_pytorch(ops, torch, seed, shape, affine, eps, dtype):
    _, x, dy, weight, bias = draw_arrays(seed, shape, affine, dtype)

    def oracle(x, weight=None, bias=None):
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True, eps=eps)

    expected, gradients = torch_gradients(torch, oracle, [x, weight, bias] if affine else [x], dy)
    y, mean, var = ops.batch_norm_train_forward(x, weight, bias, eps)
    close(y, expected)
    compare(ops.batch_norm_train_backward(dy, x, weight, mean, var, eps), gradients, affine)


@drawn(100)
@drawn_input
def test_evaluation_agrees_with_pytorch(ops, torch, seed, shape, affine, eps, dtype):
    rng, x, dy, weight, bias = draw_arrays(seed, shape, affine, dtype)
    mean, var = rng.normal(size=shape[1]), rng.uniform(0.3, 2, shape[1])
    statistics = [torch.from_numpy(a.astype(dtype)) for a in (mean, var)]

    def oracle(x, weight=None, bias=None):
        return torch.nn.functional.batch_norm(x, *statistics, weight, bias, training=False, eps=eps)

    expected, gradients = torch_gradients(torch, oracle, [x, weight, bias] if affine else [x], dy)
    close(ops.batch_norm_eval_forward(x, weight, bias, mean, var, eps), expected)
    compare(ops.batch_norm_eval_backward(dy, x, weight, mean, var, eps), gradients, affine)


def test_one_value_for_each_channel_is_expected(ops):
    x, three, two = np.ones((2, 3, 2, 2)), np.ones(3), np.ones(2)
    with pytest.raises(ShapeError, match=r"^weight has shape \(2,\), expected \(3,\)$"):
        ops.batch_norm_train_forward(x, two, three, 1e-5)
    with pytest.raises(ShapeError, match=r"^bias has shape \(2,\), expected \(3,\)$"):
        ops.batch_norm_train_forward(x, three, two, 1e-5)
    with pytest.raises(ShapeError, match=r"^mean has shape \(2,\), expected \(3,\)$"):
        ops.batch_norm_eval_forward(x, three, three, two, three, 1e-5)
    with pytest.raises(ShapeError, match=r"^var has shape \(2,\), expected \(3,\)$"):
        ops.batch_norm_eval_forward(x, three, three, three, two, 1e-5)


# ------------------------------------------------------------------ with ReLU


def assert_same_bits(found, expected):
    """Equal, NaN in the same places, and of one dtype."""
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@drawn(60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 5), st.integers(1, 70), st.integers(1, 70)),
    affine=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_with_relu_the_bits_are_those_of_two_ops(ops, seed, shape, affine, dtype):
    rng, x, dy, weight, bias = draw_arrays(seed, shape, affine, dtype)
    given_mean, given_var = rng.normal(size=shape[1]), rng.uniform(0.3, 2, shape[1])

    y, mean, var = ops.batch_norm_relu_train_forward(x, weight, bias, 1e-5)
    normed, *statistics = ops.batch_norm_train_forward(x, weight, bias, 1e-5)
    assert_same_bits([y, mean, var], [ops.relu_forward(normed), *statistics])
    found = ops.batch_norm_relu_train_backward(dy, y, x, weight, mean, var, 1e-5)
    assert_same_bits(found, ops.batch_norm_train_backward(ops.relu_backward(dy, y), x, weight, mean, var, 1e-5))

    y = ops.batch_norm_relu_eval_forward(x, weight, bias, given_mean, given_var, 1e-5)
    normed = ops.batch_norm_eval_forward(x, weight, bias, given_mean, given_var, 1e-5)
    assert_same_bits([y], [ops.relu_forward(normed)])
    found = ops.batch_norm_relu_eval_backward(dy, y, x, weight, given_mean, given_var, 1e-5)
    two = ops.batch_norm_eval_backward(ops.relu_backward(dy, y), x, weight, given_mean, given_var, 1e-5)
    assert_same_bits(found, two)


def test_with_relu_by_hand(ops):
    """x^ is -1, 0, 1, 2 with mean 0 and variance 1; y = 2*x^ + 2 = 0, 2, 4, 6: at y = 0 the gradient is 0."""
    x = np.array([-1.0, 0, 1, 2]).reshape(1, 1, 2, 2)
    arguments = np.array([2.0]), np.array([2.0]), np.zeros(1), np.ones(1) - 1e-5, 1e-5
    y = ops.batch_norm_relu_eval_forward(x, *arguments)
    np.testing.assert_array_equal(y.ravel(), [0, 2, 4, 6])
    weight, _, mean, var, eps = arguments
    dy = np.array([10.0, 20, 30, 40]).reshape(x.shape)
    dx, dweight, dbias = ops.batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps)
    close(dx.ravel(), np.array([0.0, 40, 60, 80]))
    close(dweight, np.array([30.0 + 80]))
    close(dbias, np.array([90.0]))


def test_with_relu_nan_stays_and_lets_gradients_pass(ops):
    x = np.array([-1.0, np.nan, 1, -np.inf]).reshape(1, 1, 2, 2)
    mean, var, dy = np.zeros(1), np.ones(1) - 1e-5, np.array([1.0, 2, 4, 8]).reshape(x.shape)
    y = ops.batch_norm_relu_eval_forward(x, None, None, mean, var, 1e-5)
    np.testing.assert_array_equal(y.ravel(), [0, np.nan, 1, 0])
    with np.errstate(invalid="ignore"):  # 0 * -inf in dweight
        dx, dweight, dbias = ops.batch_norm_relu_eval_backward(dy, y, x, None, mean, var, 1e-5)
        plain, _, _ = ops.batch_norm_eval_backward(dy, x, None, mean, var, 1e-5)
    close(dx.ravel(), np.array([0.0, 2, 4, 0]))
    close(plain, dy)
    assert np.isnan(dweight).all()
    close(dbias, np.array([6.0]))


def test_with_relu_y_must_fit(ops):
    x, one = np.ones((1, 1, 2, 3)), np.ones(1)
    for backward in (ops.batch_norm_relu_train_backward, ops.batch_norm_relu_eval_backward):
        with pytest.raises(ShapeError, match=r"has shape \(1, 1, 2, 3\), expected|expected \(1, 1, 2, 3\)"):
            backward(x, x[..., :2], x, one, one, one, 1e-5)
