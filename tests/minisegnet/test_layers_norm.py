"""BatchNorm2d: values worked out by hand, its statistics, and drawn configurations against PyTorch."""

import numpy as np
import pytest
from drawing import arrays, batches, drawn, few
from hypothesis import assume, given
from hypothesis import strategies as st
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import BatchNorm2d


def row(*values):
    """One channel, one row of pixels."""
    return np.array(values, np.float64)[None, None, None]


# ------------------------------------------------------------------ by hand


def test_it_normalises_with_the_biased_variance_and_keeps_the_unbiased_one():
    bn = BatchNorm2d(1, eps=1e-12, dtype=np.float64)
    assert (bn.running_mean[0], bn.running_var[0]) == (0, 1)
    np.testing.assert_allclose(bn(row(0, 2)), row(-1, 1), rtol=1e-9)
    np.testing.assert_allclose([bn.running_mean[0], bn.running_var[0]], [0.1, 1.1], rtol=1e-15)
    bn(row(0, 2))  # .9*.1 + .1*1, .9*1.1 + .1*2
    np.testing.assert_allclose([bn.running_mean[0], bn.running_var[0]], [0.19, 1.19], rtol=1e-15)


def test_a_training_pass_by_hand():
    bn = BatchNorm2d(1, eps=3.0, dtype=np.float64)  # the variance of 0 and 2 is 1: the root is 2
    bn.weight.value[:], bn.bias.value[:] = 4, 10
    y, saved = bn.forward(row(0, 2))
    np.testing.assert_array_equal(y, row(8, 12))
    dx = bn.backward(row(1, 5), saved)
    np.testing.assert_array_equal(bn.bias.grad, [6])
    np.testing.assert_array_equal(bn.weight.grad, [-0.5 + 2.5])
    # weight/2 * (dy - 6/2 - (-+0.5)*2/2)
    np.testing.assert_array_equal(dx, row(2 * (1 - 3 + 0.5), 2 * (5 - 3 - 0.5)))


def test_an_eval_pass_by_hand():
    bn = BatchNorm2d(1, eps=3.0, dtype=np.float64).eval()
    bn.running_mean[:], bn.running_var[:] = 1, 1
    bn.weight.value[:], bn.bias.value[:] = 4, 10
    y, saved = bn.forward(row(0, 2, 7))
    np.testing.assert_array_equal(y, row(8, 12, 22))
    dx = bn.backward(row(1, 5, 0.5), saved)
    np.testing.assert_array_equal(dx, row(2, 10, 1))
    np.testing.assert_array_equal(bn.weight.grad, [-0.5 + 2.5 + 1.5])
    np.testing.assert_array_equal(bn.bias.grad, [6.5])
    np.testing.assert_array_equal([bn.running_mean[0], bn.running_var[0]], [1, 1])


def test_one_value_per_channel_is_an_error_in_training_only():
    bn, x = BatchNorm2d(2), np.array([3, 4], np.float32).reshape(1, 2, 1, 1)
    before = bn.state_dict()
    with pytest.raises(ShapeError) as caught:
        bn(x)
    assert str(caught.value) == (
        "BatchNorm2d(2): x has shape (1, 2, 1, 1): one value per channel has no variance; "
        "train with a larger batch or map, or call net.eval()"
    )
    for name, value in bn.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    np.testing.assert_allclose(bn.eval()(x), x, rtol=1e-4)
    bn.train()(np.concatenate([x, x]))  # two images are enough


def test_an_empty_batch_leaves_the_running_statistics():
    bn = BatchNorm2d(2)
    y, saved = bn.forward(np.empty((0, 2, 3, 3), np.float32))
    assert y.shape == bn.backward(y, saved).shape == (0, 2, 3, 3)
    assert not bn.weight.grad.any()
    assert not bn.bias.grad.any()
    np.testing.assert_array_equal(bn.running_mean, [0, 0])
    np.testing.assert_array_equal(bn.running_var, [1, 1])


@pytest.mark.parametrize("mode", [True, False])
@pytest.mark.parametrize("size", [(0, 3), (3, 0)])
def test_an_image_without_pixels_raises(size, mode):
    bn = BatchNorm2d(2).train(mode)
    with pytest.raises(ShapeError, match=r"^BatchNorm2d\(2\): x has shape \(2, 2, .*\): there is nothing to compute"):
        bn(np.ones((2, 2, *size), np.float32))
    np.testing.assert_array_equal(bn.running_var, [1, 1])


def test_dx_of_each_channel_sums_to_zero_and_is_orthogonal_to_x_in_training():
    bn = randomised(BatchNorm2d(3)).astype(np.float64)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5))
    y, saved = bn.forward(x)
    dx = bn.backward(rng.standard_normal(y.shape), saved)
    assert np.abs(dx).max() > 0.1
    np.testing.assert_allclose(dx.sum(axis=(0, 2, 3)), 0, atol=1e-13)
    centred = x - x.mean(axis=(0, 2, 3), keepdims=True)
    np.testing.assert_allclose((dx * centred).sum(axis=(0, 2, 3)), 0, atol=1e-4)  # not 0, because of eps


def test_it_does_not_matter_how_large_the_mean_is():
    """In float32, squares of values around 1000 leave no digits for a variance of 1; sums in float64 do."""
    far = 1000 + np.random.default_rng(0).standard_normal((4, 1, 30, 30)).astype(np.float32)
    near = far - 1000  # exact
    np.testing.assert_allclose(BatchNorm2d(1)(far), BatchNorm2d(1)(near), atol=1e-5)


def test_running_statistics_converge_to_those_of_the_data():
    rng = np.random.default_rng(0)
    bn = BatchNorm2d(2, momentum=0.05)
    for _ in range(200):
        bn(rng.normal([[[[3]], [[-1]]]], [[[[2]], [[0.5]]]], (4, 2, 6, 6)).astype(np.float32))
    np.testing.assert_allclose(bn.running_mean, [3, -1], atol=0.1)
    np.testing.assert_allclose(bn.running_var, [4, 0.25], rtol=0.1)


@pytest.mark.parametrize(("momentum", "mean", "var"), [(0, 0, 1), (1, 1, 2), (0.25, 0.25, 1.25)])
def test_momentum_is_the_share_of_the_new_batch(momentum, mean, var):
    bn = BatchNorm2d(1, momentum=momentum, dtype=np.float64)
    bn(row(0, 2))
    np.testing.assert_array_equal([bn.running_mean[0], bn.running_var[0]], [mean, var])


# ------------------------------------------------------------------ modes


def test_a_record_survives_later_passes():
    """The record of an eval pass holds the statistics of that time, whatever becomes of the layer's own."""
    bn = randomised(BatchNorm2d(2)).astype(np.float64).eval()
    x, dy = np.random.default_rng(0).standard_normal((2, 2, 2, 3, 3))
    _, saved = bn.forward(x)
    early = bn.backward(dy, saved)
    bn.train().forward(5 * x)
    np.testing.assert_array_equal(bn.backward(dy, saved), early)  # it remembers its mode, too


def test_without_tracking_eval_uses_the_batch():
    bn = BatchNorm2d(1, track_running_stats=False)
    assert list(bn.state_dict()) == ["weight", "bias"]
    x = np.random.default_rng(0).normal(5, 3, (2, 1, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(bn.eval()(x), bn.train()(x))
    assert abs(bn.eval()(x).mean()) < 1e-6
    with pytest.raises(ShapeError, match="one value per channel has no variance"):
        bn.eval()(x[:1, :, :1, :1])


def test_state_has_parameters_and_statistics():
    assert list(BatchNorm2d(2).state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    assert [name for name, _ in BatchNorm2d(2).named_parameters()] == ["weight", "bias"]
    assert list(BatchNorm2d(2, affine=False).state_dict()) == ["running_mean", "running_var"]
    assert BatchNorm2d(2, affine=False, track_running_stats=False).state_dict() == {}


@pytest.mark.parametrize("mode", [True, False])
def test_mixed_dtypes_raise_even_without_parameters(mode):
    bn = BatchNorm2d(1, affine=False).train(mode)
    with pytest.raises(TypeError, match=r"^BatchNorm2d\(1, affine=False\): x is float64, running_mean is float32: "):
        bn(np.ones((2, 1, 2, 2)))


# ------------------------------------------------------------------ against PyTorch


@requires_torch
@drawn(120)
@given(st.data())
def test_batch_norm2d_agrees_with_pytorch(data):
    draw = data.draw
    C, affine, tracking, training = draw(few), draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    bn = BatchNorm2d(
        C, draw(st.sampled_from([1e-5, 1e-3, 0.1])), draw(st.sampled_from([0.1, 0, 1, 0.37])), affine, tracking
    )
    N, H, W = draw(batches), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    assume(N * H * W > 2)  # the gradient through the variance of two values is a difference of nearly equal numbers
    x = draw(arrays(N, C, H, W))
    x = x * x.dtype.type(draw(st.sampled_from([1, 5]))) + x.dtype.type(draw(st.sampled_from([0, -3])))
    layer = randomised(bn).astype(x.dtype).train(training)
    assert_agrees(layer, x, np.random.default_rng(0))
    assert_agrees(layer.eval(), x, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (BatchNorm2d(3), "BatchNorm2d(3)"),
        (BatchNorm2d(3, 1e-3, 0.2), "BatchNorm2d(3, eps=0.001, momentum=0.2)"),
        (
            BatchNorm2d(3, affine=False, track_running_stats=False),
            "BatchNorm2d(3, affine=False, track_running_stats=False)",
        ),
    ],
)
def test_label(layer, text):
    assert layer.label() == text
