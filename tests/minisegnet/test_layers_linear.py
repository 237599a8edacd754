"""Linear, Flatten and Identity: values worked out by hand, and drawn shapes against PyTorch."""

import numpy as np
import pytest
from drawing import arrays, drawn
from hypothesis import given
from hypothesis import strategies as st
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import Flatten, Identity, Linear


def test_linear_by_hand():
    fc = Linear(2, 3, dtype=np.float64)
    fc.weight.value[...] = [[1, 2], [3, 4], [5, 6]]
    fc.bias.value[...] = [100, 200, 300]
    y, saved = fc.forward(np.array([[1.0, 10], [2, 0]]))
    np.testing.assert_array_equal(y, [[121, 243, 365], [102, 206, 310]])
    dx = fc.backward(np.array([[1.0, 0, -1], [0, 2, 0]]), saved)
    np.testing.assert_array_equal(dx, [[1 - 5, 2 - 6], [6, 8]])
    np.testing.assert_array_equal(fc.weight.grad, [[1, 10], [4, 0], [-1, -10]])
    np.testing.assert_array_equal(fc.bias.grad, [1, 2, -1])


def test_linear_acts_on_the_last_axis():
    fc = Linear(3, 2, dtype=np.float64, rng=0)
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    np.testing.assert_allclose(fc(x), fc(x.reshape(-1, 3)).reshape(2, 4, 5, 2), rtol=1e-13)
    np.testing.assert_allclose(fc(x[0, 0, 0]), fc(x)[0, 0, 0], rtol=1e-13)


def test_linear_weights_start_within_one_over_the_root_of_the_inputs():
    fc = Linear(25, 400, rng=0)
    assert 0.199 < np.abs(fc.weight.value).max() <= 0.2
    assert np.abs(fc.bias.value).max() <= 0.2
    np.testing.assert_array_equal(fc.weight.value, Linear(25, 400, rng=0).weight.value)
    assert [name for name, _ in Linear(2, 2, bias=False).named_parameters()] == ["weight"]


def test_linear_counts_its_products():
    assert Linear(3, 5).multiply_adds((2, 3), (2, 5)) == 2 * 3 * 5
    assert Linear(3, 5).multiply_adds((2, 7, 3), (2, 7, 5)) == 2 * 7 * 3 * 5


@requires_torch
@drawn(100)
@given(st.data())
def test_linear_agrees_with_pytorch(data):
    ins, outs = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    leading = data.draw(st.lists(st.integers(0, 4), max_size=3))
    x = data.draw(arrays(*leading, ins))
    layer = randomised(Linear(ins, outs, data.draw(st.booleans()))).astype(x.dtype)
    assert_agrees(layer, x, np.random.default_rng(0))


@requires_torch
@drawn(60)
@given(st.data())
def test_flatten_and_identity_agree_with_pytorch(data):
    shape = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=4))
    x = data.draw(arrays(*shape))
    start = data.draw(st.integers(0, len(shape) - 1))
    for layer in (Flatten(start), Identity()):
        assert_agrees(layer, x, np.random.default_rng(0))


@pytest.mark.parametrize(("start", "expected"), [(0, (120,)), (1, (2, 60)), (2, (2, 3, 20)), (3, (2, 3, 4, 5))])
def test_flatten_joins_the_axes_from_start_dim_on(start, expected):
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    y, saved = Flatten(start).forward(x)
    assert y.shape == expected
    np.testing.assert_array_equal(y.ravel(), np.arange(120))
    np.testing.assert_array_equal(Flatten(start).backward(y, saved), x)


def test_flatten_of_too_few_axes_raises():
    with pytest.raises(ShapeError) as caught:
        Flatten(2)(np.ones((2, 3)))
    assert str(caught.value) == "Flatten(start_dim=2): x has shape (2, 3), expected more than start_dim=2 axes"


def test_identity_passes_on_the_very_array():
    x = np.ones(3)
    y, saved = Identity().forward(x)
    assert y is x
    assert Identity().backward(y, saved) is y


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Linear(2, 3), "Linear(2, 3)"),
        (Linear(2, 3, bias=False), "Linear(2, 3, bias=False)"),
        (Flatten(), "Flatten()"),
        (Flatten(2), "Flatten(start_dim=2)"),
        (Identity(), "Identity()"),
    ],
)
def test_label(layer, text):
    assert layer.label() == text
