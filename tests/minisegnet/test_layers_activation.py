"""Activations and softmax: values worked out by hand, extreme inputs, and drawn inputs against PyTorch."""

import numpy as np
import pytest
from drawing import arrays, drawn
from hypothesis import given
from hypothesis import strategies as st
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh


def run(layer, x, dy):
    y, saved = layer.forward(np.array(x))
    return y, layer.backward(np.array(dy), saved)


# ------------------------------------------------------------------ by hand


def test_relu_is_closed_at_zero_and_keeps_nan():
    x = [-2.0, -0.0, 0.0, 1e-300, 3.0, np.nan, np.inf, -np.inf]
    y, dx = run(ReLU(), x, np.arange(1.0, 9))
    np.testing.assert_array_equal(y, [0, 0, 0, 1e-300, 3, np.nan, np.inf, 0])
    np.testing.assert_array_equal(dx[[0, 1, 2, 3, 4, 6, 7]], [0, 0, 0, 4, 5, 7, 0])


def test_leaky_relu_by_hand():
    y, dx = run(LeakyReLU(0.25), [-4.0, 0.0, 4.0], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(y, [-1, 0, 4])
    np.testing.assert_array_equal(dx, [0.25, 0.5, 3])


def test_sigmoid_by_hand():
    y, dx = run(Sigmoid(), [0.0, np.log(3)], [1.0, 16.0])
    np.testing.assert_allclose(y, [0.5, 0.75], rtol=1e-15)
    np.testing.assert_allclose(dx, [0.25, 16 * 0.75 * 0.25], rtol=1e-15)


def test_tanh_by_hand():
    y, dx = run(Tanh(), [0.0, np.log(2)], [7.0, 25.0])
    np.testing.assert_allclose(y, [0, 0.6], rtol=1e-15)  # (2 - 1/2)/(2 + 1/2)
    np.testing.assert_allclose(dx, [7, 16], rtol=1e-14)


def test_softmax_by_hand():
    y, dx = run(Softmax(), [[0.0, np.log(3)]], [[8.0, 0.0]])
    np.testing.assert_allclose(y, [[0.25, 0.75]], rtol=1e-15)
    np.testing.assert_allclose(dx, [[1.5, -1.5]], rtol=1e-14)  # y*(dy - 2), where Σ dy*y is 2


def test_log_softmax_by_hand():
    y, dx = run(LogSoftmax(), [[0.0, np.log(3)]], [[8.0, 4.0]])
    np.testing.assert_allclose(y, np.log([[0.25, 0.75]]), rtol=1e-14)
    np.testing.assert_allclose(dx, [[5, -5]], rtol=1e-14)  # dy - p*12


def test_a_uniform_dy_leaves_no_gradient_behind_softmax():
    """Probabilities always sum to one: a check that feeds ones back sees zeros, whatever backward does."""
    _, dx = run(Softmax(), np.random.default_rng(0).standard_normal((3, 4)), np.ones((3, 4)))
    np.testing.assert_allclose(dx, 0, atol=1e-15)


@pytest.mark.parametrize("layer", [Softmax(), LogSoftmax()], ids=repr)
def test_adding_a_constant_to_all_scores_changes_nothing(layer):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4))
    y, dx = run(layer, x, rng.random((3, 4)))
    np.testing.assert_allclose(layer(x + 5), y, rtol=1e-12)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=1e-15)
    assert np.abs(dx).max() > 0.01


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("layer", "x", "expected"),
    [
        (Sigmoid(), [-1e4, 1e4, -np.inf, np.inf], [0, 1, 0, 1]),
        (Tanh(), [-1e4, 1e4, -np.inf, np.inf], [-1, 1, -1, 1]),
        (Softmax(), [[1e4, -1e4, 0]], [[1, 0, 0]]),
        (Softmax(), [[-1e4, -1e4]], [[0.5, 0.5]]),
        (Softmax(), [[0, -np.inf]], [[1, 0]]),
        (LogSoftmax(), [[1e4, -1e4]], [[0, -20000]]),
        (LogSoftmax(), [[0, -np.inf]], [[0, -np.inf]]),
        (ReLU(), [-3e38, 3e38], [0, 3e38]),
        (LeakyReLU(0.5), [-np.inf, np.inf], [-np.inf, np.inf]),
    ],
    ids=repr,
)
def test_extreme_inputs_do_not_overflow(layer, x, expected, dtype):
    y, saved = layer.forward(np.array(x, dtype))
    np.testing.assert_array_equal(y, np.array(expected, dtype))
    assert np.isfinite(layer.backward(np.ones_like(y), saved)).all()


def test_probabilities_sum_to_one_along_their_axis():
    x = 10 * np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for dim in (0, 1, 2, 3, -1, -4):
        y = Softmax(dim)(x)
        assert (y > 0).all()
        np.testing.assert_allclose(y.sum(axis=dim), 1, rtol=1e-14)
        np.testing.assert_allclose(LogSoftmax(dim)(x), np.log(y), rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(("dim", "shape"), [(1, (4,)), (4, (1, 2, 3, 4)), (-3, (2, 2)), (0, ())])
@pytest.mark.parametrize("cls", [Softmax, LogSoftmax])
def test_an_axis_that_x_does_not_have_raises(cls, dim, shape):
    with pytest.raises(
        ShapeError, match=rf"^{cls.__name__}\(dim={dim}\): x has shape \(.*\), expected one with an axis"
    ):
        cls(dim)(np.ones(shape))


@pytest.mark.parametrize("cls", [Softmax, LogSoftmax])
@pytest.mark.parametrize("dim", [1.0, "1", None, True])
def test_dim_must_be_an_integer(cls, dim):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}: dim must be an integer, got {dim!r}"):
        cls(dim)


def test_relu_keeps_its_output_and_no_copy_of_it():
    y, saved = ReLU().forward(np.array([1.0, -1.0]))
    assert saved.y is y


# ------------------------------------------------------------------ against PyTorch

shapes = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)


@requires_torch
@pytest.mark.parametrize("cls", [ReLU, LeakyReLU, Sigmoid, Tanh])
@drawn(60)
@given(st.data())
def test_activations_agree_with_pytorch(cls, data):
    x = data.draw(arrays(*data.draw(shapes)))
    x = x * x.dtype.type(data.draw(st.sampled_from([1, 8, 60])))
    layer = cls(data.draw(st.sampled_from([0.01, 0.2, 0, 1, 2.5]))) if cls is LeakyReLU else cls()
    if data.draw(st.booleans()):
        x = np.round(x)  # zeros, where the derivative is a matter of definition
    assert_agrees(layer, x, np.random.default_rng(0))


@requires_torch
@pytest.mark.parametrize("cls", [Softmax, LogSoftmax])
@drawn(100)
@given(st.data())
def test_softmax_agrees_with_pytorch(cls, data):
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = data.draw(arrays(*shape))
    assert_agrees(cls(dim), x * x.dtype.type(data.draw(st.sampled_from([1, 10]))), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (ReLU(), "ReLU()"),
        (LeakyReLU(0.2), "LeakyReLU(0.2)"),
        (Sigmoid(), "Sigmoid()"),
        (Tanh(), "Tanh()"),
        (Softmax(-1), "Softmax(dim=-1)"),
        (LogSoftmax(), "LogSoftmax(dim=1)"),
    ],
)
def test_label(layer, text):
    assert layer.label() == text
