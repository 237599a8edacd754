"""Conv2d and ConvTranspose2d: values worked out by hand, drawn configurations against PyTorch, and how they start."""

import itertools

import numpy as np
import pytest
from drawing import arrays, batches, both, drawn, few, pairs
from hypothesis import assume, given
from hypothesis import strategies as st
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import Conv2d, ConvTranspose2d


def filled(layer, weight, bias=None):
    """The layer with these numbers as its weight and bias."""
    layer.weight.value[...] = weight
    if bias is not None:
        layer.bias.value[...] = bias
    return layer


def ones_conv(*args, cls=Conv2d, **options):
    return filled(cls(*args, bias=False, dtype=np.float64, **options), 1)


# ------------------------------------------------------------------ by hand


@pytest.mark.parametrize(
    ("H", "kernel", "stride", "padding", "dilation", "expected"),
    [
        (7, 3, 1, 0, 1, 5),
        (7, 3, 2, 1, 1, 4),
        (8, 3, 2, 1, 1, 4),  # (8 + 2 - 3)/2 is 3.5, rounded down
        (7, 3, 3, 0, 2, 1),
        (5, 2, 4, 0, 1, 1),
        (1, 1, 5, 0, 1, 1),
        (4, 3, 1, 7, 4, 10),
    ],
)
def test_output_size(H, kernel, stride, padding, dilation, expected):
    x = np.ones((1, 1, H, H + stride))
    y = ones_conv(1, 1, kernel, stride=stride, padding=padding, dilation=dilation)(x)
    assert y.shape == (1, 1, expected, expected + 1)


def test_pixels_that_no_window_visits_get_gradient_zero():
    conv = ones_conv(1, 1, 2, stride=3)
    y, saved = conv.forward(np.arange(49.0).reshape(1, 1, 7, 7))
    np.testing.assert_array_equal(y[0, 0], [[0 + 1 + 7 + 8, 3 + 4 + 10 + 11], [21 + 22 + 28 + 29, 24 + 25 + 31 + 32]])
    dx = conv.backward(np.array([[[[1.0, 2], [3, 4]]]]), saved)
    expected = [
        [1, 1, 0, 2, 2, 0, 0],
        [1, 1, 0, 2, 2, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [3, 3, 0, 4, 4, 0, 0],
        [3, 3, 0, 4, 4, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    np.testing.assert_array_equal(dx[0, 0], expected)


@pytest.mark.parametrize("padding", [2, 3, 5])
def test_padding_of_the_kernel_or_more_leaves_the_bias_on_the_border(padding):
    conv = filled(Conv2d(1, 2, 2, padding=padding, dtype=np.float64), 1, [0.5, -3])
    y = conv(np.ones((1, 1, 3, 3)))
    assert y.shape == (1, 2, 2 + 2 * padding, 2 + 2 * padding)
    border = np.ones(y.shape[2:], bool)
    border[padding - 1 : 1 - padding, padding - 1 : 1 - padding] = False
    np.testing.assert_array_equal(y[0][:, border], np.repeat([[0.5], [-3]], border.sum(), axis=1))
    np.testing.assert_array_equal(y[0, 0, padding:-padding, padding:-padding], 4 + np.full((2, 2), 0.5))


def test_same_with_an_even_kernel_pads_below_and_on_the_right():
    conv = ones_conv(1, 1, 2, padding="same")
    y, saved = conv.forward(np.array([[[[1.0, 2, 3], [10, 20, 30]]]]))
    np.testing.assert_array_equal(y[0, 0], [[33, 55, 33], [30, 50, 30]])
    dx = conv.backward(np.array([[[[1.0, 2, 3], [4, 5, 6]]]]), saved)
    np.testing.assert_array_equal(dx[0, 0], [[1, 3, 5], [5, 12, 16]])


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (4, 1), ((5, 2), 1), (2, (3, 2)), (3, 2)])
def test_same_keeps_the_size(kernel, dilation):
    assert ones_conv(1, 1, kernel, padding="same", dilation=dilation)(np.ones((1, 1, 5, 6))).shape == (1, 1, 5, 6)


def test_same_is_refused_with_a_stride():
    with pytest.raises(ValueError, match=r'^Conv2d: padding="same" needs stride 1, got stride=\(1, 2\)'):
        Conv2d(1, 1, 3, padding="same", stride=(1, 2))


def test_it_is_a_cross_correlation():
    kernel = np.array([[1.0, 2], [3, 4]])
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 1, 1] = 1
    y = filled(Conv2d(1, 1, 2, bias=False, dtype=np.float64), kernel)(x)
    np.testing.assert_array_equal(y[0, 0], kernel[::-1, ::-1])  # not flipped kernel: the flipped picture of a point


def test_every_gradient_of_a_small_convolution():
    conv = filled(Conv2d(1, 1, (1, 2), dtype=np.float64), [[[[2.0, -1]]]], 10)
    y, saved = conv.forward(np.array([[[[1.0, 3, 4]]]]))
    np.testing.assert_array_equal(y[0, 0], [[9, 12]])  # 2*1 - 3 + 10, 2*3 - 4 + 10
    dx = conv.backward(np.array([[[[5.0, 7]]]]), saved)
    np.testing.assert_array_equal(dx[0, 0], [[10, -5 + 14, -7]])
    np.testing.assert_array_equal(conv.weight.grad[0, 0], [[5 * 1 + 7 * 3, 5 * 3 + 7 * 4]])
    np.testing.assert_array_equal(conv.bias.grad, [12])


def test_groups_do_not_see_each_other():
    conv = filled(Conv2d(4, 2, 1, groups=2, bias=False, dtype=np.float64), [[[[1]], [[10]]], [[[100]], [[1000]]]])
    np.testing.assert_array_equal(conv(np.arange(1.0, 5).reshape(1, 4, 1, 1)).ravel(), [1 + 20, 300 + 4000])


@pytest.mark.parametrize(
    ("H", "kernel", "stride", "padding", "output_padding", "dilation", "expected"),
    [
        (5, 2, 2, 0, 0, 1, 10),
        (4, 3, 2, 1, 0, 1, 7),
        (4, 3, 2, 1, 1, 1, 8),
        (3, 4, 2, 1, 0, 1, 6),
        (3, 3, 1, 0, 0, 2, 7),
        (3, 2, 1, 0, 2, 3, 8),  # output_padding above the stride, but below the dilation
        (1, 1, 3, 0, 2, 1, 3),
    ],
)
def test_transposed_output_size(H, kernel, stride, padding, output_padding, dilation, expected):
    up = ones_conv(1, 1, kernel, stride, padding, output_padding=output_padding, dilation=dilation, cls=ConvTranspose2d)
    assert up(np.ones((1, 1, H, H))).shape == (1, 1, expected, expected)


@pytest.mark.parametrize(
    ("stride", "dilation", "output_padding"), [(2, 1, 2), (1, 1, 1), (2, 3, 3), ((3, 2), 1, (1, 2))]
)
def test_output_padding_must_be_below_stride_or_dilation(stride, dilation, output_padding):
    with pytest.raises(ValueError, match=r"^ConvTranspose2d: output_padding=\(.*\) must be smaller than stride=\("):
        ConvTranspose2d(1, 1, 3, stride=stride, dilation=dilation, output_padding=output_padding)


def test_stamps_of_a_transposed_convolution_overlap_and_add():
    up = ones_conv(1, 1, 3, 2, cls=ConvTranspose2d)
    y, saved = up.forward(np.array([[[[1.0, 10]]]]))
    np.testing.assert_array_equal(y[0, 0], [[1, 1, 11, 10, 10]] * 3)
    dy = np.arange(15.0).reshape(1, 1, 3, 5)
    np.testing.assert_array_equal(up.backward(dy, saved)[0, 0], [[0 + 1 + 2 + 5 + 6 + 7 + 10 + 11 + 12, 72]])


@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_is_the_adjoint_of_the_convolution(groups):
    """<conv(x), y> = <x, transposed(y)> with the same weights."""
    rng = np.random.default_rng(0)
    options = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": groups, "bias": False}
    conv = Conv2d(4, 2, 3, dtype=np.float64, **options)
    up = ConvTranspose2d(2, 4, 3, dtype=np.float64, **options)
    up.weight.value = conv.weight.value.copy()
    x = rng.standard_normal((2, 4, 5, 6))
    y = conv(x)
    z = rng.standard_normal(y.shape)
    np.testing.assert_allclose((y * z).sum(), (x * up(z)).sum(), rtol=1e-12)
    np.testing.assert_allclose(up(z), conv.backward(z, conv.forward(x)[1]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cls", [Conv2d, ConvTranspose2d])
def test_an_empty_batch_gives_empty_maps_and_zero_gradients(cls):
    conv = cls(2, 3, 3, rng=0)
    y, saved = conv.forward(np.empty((0, 2, 5, 6), np.float32))
    assert y.shape == {Conv2d: (0, 3, 3, 4), ConvTranspose2d: (0, 3, 7, 8)}[cls]
    assert conv.backward(y, saved).shape == (0, 2, 5, 6)
    assert not conv.weight.grad.any()
    assert not conv.bias.grad.any()


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("cls", [Conv2d, ConvTranspose2d])
def test_an_image_without_pixels_raises(cls, size):
    with pytest.raises(ShapeError, match=rf"^{cls.__name__}\(1, 1, kernel_size=3\): .*there is nothing to compute"):
        cls(1, 1, 3)(np.ones((1, 1, *size), np.float32))


# ------------------------------------------------------------------ against PyTorch


@requires_torch
@drawn(250)
@given(st.data())
def test_conv2d_agrees_with_pytorch(data):
    draw = data.draw
    groups = draw(few)
    kernel, dilation = draw(pairs(1, 4)), draw(pairs(1, 3))
    padding = draw(pairs(0, 4) | st.sampled_from(["same", "same", "valid"]))
    stride = 1 if padding == "same" else draw(pairs(1, 4))
    conv = Conv2d(
        groups * draw(few), groups * draw(few), kernel, stride, padding, dilation, groups, draw(st.booleans())
    )
    (kH, kW), (dH, dW), ((top, bottom), (left, right)) = conv.kernel_size, conv.dilation, conv.pads
    H = draw(st.integers(max(1, dH * (kH - 1) + 1 - top - bottom), 11))
    W = draw(st.integers(max(1, dW * (kW - 1) + 1 - left - right), 11))
    x = draw(arrays(draw(batches), conv.in_channels, H, W))
    assert_agrees(randomised(conv).astype(x.dtype), x, np.random.default_rng(0))


@requires_torch
@drawn(100)
@given(st.data())
def test_conv_transpose2d_agrees_with_pytorch(data):
    draw = data.draw
    groups = draw(few)
    kernel, stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 3))
    limits = [max(s, d) - 1 for s, d in zip(both(stride), both(dilation), strict=True)]
    output_padding = tuple(draw(st.integers(0, limit)) for limit in limits)
    up = ConvTranspose2d(
        groups * draw(few),
        groups * draw(few),
        kernel,
        stride,
        draw(pairs(0, 3)),
        output_padding,
        groups,
        draw(st.booleans()),
        dilation,
    )
    H, W = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    sizes = zip((H, W), up.stride, up.padding, up.dilation, up.kernel_size, output_padding, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + o + 1 >= 1 for n, s, p, d, k, o in sizes))
    x = draw(arrays(draw(batches), up.in_channels, H, W))
    assert_agrees(randomised(up).astype(x.dtype), x, np.random.default_rng(0))


# ------------------------------------------------------------------ initial weights, configuration


@pytest.mark.parametrize("cls", [Conv2d, ConvTranspose2d])
def test_initial_weights_are_uniform_within_one_over_the_root_of_fan_in(cls):
    layer = cls(8, 16, (3, 5), groups=2, rng=0)
    fan_in = layer.weight.value[0].size
    bound = 1 / np.sqrt(fan_in)
    values = layer.weight.value
    assert values.shape == {Conv2d: (16, 4, 3, 5), ConvTranspose2d: (8, 8, 3, 5)}[cls]
    assert 0.98 * bound < np.abs(values).max() <= bound * (1 + 1e-6)
    assert abs(values.std() / (bound / np.sqrt(3)) - 1) < 0.05  # the standard deviation of a uniform distribution
    assert np.abs(layer.bias.value).max() <= bound * (1 + 1e-6)
    assert len(np.unique(layer.bias.value)) == 16


@pytest.mark.parametrize("cls", [Conv2d, ConvTranspose2d])
def test_the_seed_decides_the_weights(cls):
    one, same, other = cls(2, 3, 3, rng=5), cls(2, 3, 3, rng=5), cls(2, 3, 3, rng=6)
    np.testing.assert_array_equal(one.weight.value, same.weight.value)
    np.testing.assert_array_equal(one.bias.value, same.bias.value)
    assert not np.array_equal(one.weight.value, other.weight.value)
    assert not np.array_equal(cls(2, 3, 3).weight.value, cls(2, 3, 3).weight.value)
    generator = np.random.default_rng(5)
    first, second = cls(2, 3, 3, rng=generator), cls(2, 3, 3, rng=generator)
    np.testing.assert_array_equal(first.weight.value, one.weight.value)
    assert not np.array_equal(second.weight.value, one.weight.value)


def test_float64_starts_with_the_numbers_of_float32():
    single, double = Conv2d(2, 3, 3, rng=5), Conv2d(2, 3, 3, rng=5, dtype=np.float64)
    assert double.weight.dtype == double.bias.dtype == np.float64
    np.testing.assert_array_equal(double.weight.value.astype(np.float32), single.weight.value)


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_and_their_names(bias):
    names = [name for name, _ in Conv2d(1, 2, 3, bias=bias).named_parameters()]
    assert names == (["weight", "bias"] if bias else ["weight"])


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Conv2d(3, 16, 3), "Conv2d(3, 16, kernel_size=3)"),
        (
            Conv2d(2, 4, (1, 3), (2, 1), (0, 1), 2, 2, False),
            "Conv2d(2, 4, kernel_size=(1, 3), stride=(2, 1), padding=(0, 1), dilation=2, groups=2, bias=False)",
        ),
        (Conv2d(1, 1, 3, padding="same"), "Conv2d(1, 1, kernel_size=3, padding='same')"),
        (
            ConvTranspose2d(1, 2, 3, stride=2, padding=1, output_padding=1),
            "ConvTranspose2d(1, 2, kernel_size=3, stride=2, padding=1, output_padding=1)",
        ),
    ],
)
def test_label(layer, text):
    assert layer.label() == repr(layer) == text


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv2d(3, 4, (2, 3), stride=2), (2, 3, 7, 8)),
        (Conv2d(4, 6, 3, groups=2), (2, 4, 5, 5)),
        (ConvTranspose2d(4, 6, 3, stride=2, groups=2), (2, 4, 5, 4)),
    ],
)
def test_multiply_adds_counts_every_product(layer, shape):
    """Without padding each y, or each x of a transposed convolution, meets the whole kernel of its group."""
    y_shape = layer(np.ones(shape, np.float32)).shape
    per_group = (layer.in_channels // layer.groups) * (layer.out_channels // layer.groups) * layer.groups
    pixels = y_shape if isinstance(layer, Conv2d) else shape
    taps = list(itertools.product(range(pixels[0]), range(pixels[2]), range(pixels[3]), *map(range, layer.kernel_size)))
    assert layer.multiply_adds(shape, y_shape) == len(taps) * per_group
