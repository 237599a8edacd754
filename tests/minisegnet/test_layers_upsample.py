"""Upsample: values worked out by hand, and drawn configurations against PyTorch."""

import numpy as np
import pytest
from drawing import arrays, batches, both, drawn, few, pairs
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import Upsample


def row(*values):
    return np.array(values, np.float64)[None, None, None]


@pytest.mark.parametrize(("corners", "expected"), [(False, [1, 1.25, 1.75, 2]), (True, [1, 4 / 3, 5 / 3, 2])])
def test_bilinear_from_two_to_four(corners, expected):
    layer = Upsample(size=(1, 4), mode="bilinear", align_corners=corners)
    np.testing.assert_allclose(layer(row(1, 2)), row(*expected), rtol=1e-15)


def test_bilinear_gradients_go_back_with_the_same_weights():
    dy = row(1, 10, 100, 1000)
    for corners, expected in ((False, [1 + 7.5 + 25, 2.5 + 75 + 1000]), (True, [1 + 20 / 3 + 100 / 3, 1070])):
        layer = Upsample(size=(1, 4), mode="bilinear", align_corners=corners)
        dx = layer.backward(dy, layer.forward(row(1, 2))[1])
        np.testing.assert_allclose(dx, row(*expected), rtol=1e-14)


@pytest.mark.parametrize(("corners", "expected"), [(True, 1), (False, 2.5)])
def test_bilinear_to_one_pixel(corners, expected):
    layer = Upsample(size=1, mode="bilinear", align_corners=corners)
    np.testing.assert_array_equal(layer(np.array([[[[1.0, 2], [3, 4]]]])), [[[[expected]]]])


def test_nearest_from_five_to_two_takes_pixels_0_and_2():
    layer = Upsample(size=(1, 2))
    y, saved = layer.forward(row(10, 11, 12, 13, 14))
    np.testing.assert_array_equal(y, row(10, 12))
    np.testing.assert_array_equal(layer.backward(row(3, 4), saved), row(3, 0, 4, 0, 0))


def test_a_scaled_size_is_rounded_down():
    y = Upsample(scale_factor=1.5)(row(1, 2, 3).repeat(3, axis=2))
    np.testing.assert_array_equal(y[0, 0], [[1, 1, 2, 3]] * 4)


def test_nearest_gradient_is_the_sum_over_the_copies():
    layer = Upsample(scale_factor=2)
    y, saved = layer.forward(row(5, 6))
    np.testing.assert_array_equal(y[0, 0], [[5, 5, 6, 6]] * 2)
    dx = layer.backward(np.arange(8.0).reshape(1, 1, 2, 4), saved)
    np.testing.assert_array_equal(dx, row(0 + 1 + 4 + 5, 2 + 3 + 6 + 7))


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_the_same_size_is_left_alone(mode):
    x = np.random.default_rng(0).standard_normal((2, 1, 3, 4))
    np.testing.assert_array_equal(Upsample(size=(3, 4), mode=mode)(x), x)
    np.testing.assert_array_equal(Upsample(scale_factor=1, mode=mode)(x), x)


@pytest.mark.parametrize("options", [{}, {"align_corners": True}], ids=str)
def test_bilinear_keeps_constants_and_the_sum_of_gradients(options):
    layer = Upsample(size=(7, 5), mode="bilinear", **options)
    y, saved = layer.forward(np.full((1, 2, 3, 4), 2.5))
    np.testing.assert_allclose(y, 2.5, rtol=1e-15)
    dy = np.random.default_rng(0).random(y.shape)
    np.testing.assert_allclose(layer.backward(dy, saved).sum(), dy.sum(), rtol=1e-13)


@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_an_image_without_pixels_raises(size):
    with pytest.raises(ShapeError, match=r'^Upsample\(size=2, mode="nearest"\): .*there is nothing to resize'):
        Upsample(size=2)(np.ones((1, 1, *size)))


def test_a_size_that_would_be_zero_raises():
    with pytest.raises(
        ValueError, match=r"^Upsample\(scale_factor=0\.3, .*output size must be at least 1, got \(0, 1\)"
    ):
        Upsample(scale_factor=0.3)(np.ones((1, 1, 3, 4)))


# ------------------------------------------------------------------ against PyTorch


@requires_torch
@drawn(200)
@given(st.data())
def test_upsample_agrees_with_pytorch(data):
    draw = data.draw
    mode = draw(st.sampled_from(["nearest", "bilinear", "bilinear"]))
    corners = mode == "bilinear" and draw(st.booleans())
    H, W = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    if draw(st.booleans()):
        layer = Upsample(size=draw(pairs(1, 16)), mode=mode, align_corners=corners)
    else:
        factors = st.sampled_from([1, 2, 3, 0.5, 1.5, 2.5, 0.75, 1.3, 0.9, 3.7])
        factor = draw(factors | st.tuples(factors, factors))
        assume(all(int(n * f) >= 1 for n, f in zip((H, W), both(factor), strict=True)))
        layer = Upsample(scale_factor=factor, mode=mode, align_corners=corners)
    assert_agrees(layer, draw(arrays(draw(batches), draw(few), H, W)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Upsample(scale_factor=2), 'Upsample(scale_factor=2.0, mode="nearest")'),
        (Upsample(size=(3, 4)), 'Upsample(size=(3, 4), mode="nearest")'),
        (
            Upsample(scale_factor=(2, 0.5), mode="bilinear", align_corners=True),
            'Upsample(scale_factor=(2.0, 0.5), mode="bilinear", align_corners=True)',
        ),
    ],
)
def test_label(layer, text):
    assert layer.label() == text
