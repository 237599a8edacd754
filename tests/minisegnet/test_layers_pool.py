"""Max, average and adaptive pooling: values worked out by hand, and drawn configurations against PyTorch."""

import math

import numpy as np
import pytest
from drawing import arrays, batches, both, drawn, few, pairs
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError
from minisegnet.layers import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d


def image(rows):
    return np.array(rows, np.float64)[None, None]


def run(layer, x, dy):
    """y and dx of one plane, as 2-D arrays."""
    y, saved = layer.forward(image(x))
    return y[0, 0], layer.backward(image(dy), saved)[0, 0]


nan, inf = np.nan, np.inf


# ------------------------------------------------------------------ max pooling by hand


def test_max_pool_padding_is_minus_infinity():
    x = -np.ones((1, 1, 4, 4))
    for pool in (MaxPool2d(2, padding=1), MaxPool2d(3, stride=1, padding=1), MaxPool2d(2, padding=1, ceil_mode=True)):
        y, saved = pool.forward(x)
        assert (y == -1).all()
        dx = pool.backward(np.ones_like(y), saved)
        assert dx.sum() == y.size  # no gradient is lost in the padding


def test_max_pool_ties_go_to_the_first_in_row_major_order():
    _, dx = run(MaxPool2d(2, stride=1), np.ones((3, 3)), np.ones((2, 2)))
    np.testing.assert_array_equal(dx, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    _, dx = run(MaxPool2d(2), [[0, 5], [5, 5]], [[3]])
    np.testing.assert_array_equal(dx, [[0, 3], [0, 0]])


def test_max_pool_nan_wins():
    y, dx = run(MaxPool2d(2), [[inf, 1], [nan, 7]], [[3]])
    assert np.isnan(y)
    np.testing.assert_array_equal(dx, [[0, 0], [3, 0]])
    y, dx = run(MaxPool2d(2, stride=1), [[1, nan, 3]] * 2, [[1, 10]])
    assert np.isnan(y).all()
    np.testing.assert_array_equal(dx, [[0, 11, 0], [0, 0, 0]])


def test_max_pool_of_minus_infinity_alone():
    y, dx = run(MaxPool2d(2), np.full((2, 4), -inf), [[3, 4]])
    np.testing.assert_array_equal(y, [[-inf, -inf]])
    np.testing.assert_array_equal(dx, [[3, 0, 4, 0], [0, 0, 0, 0]])


def test_max_pool_of_minus_infinity_beside_padding_picks_a_pixel():
    pool = MaxPool2d(3, stride=2, padding=1)
    y, saved = pool.forward(np.full((1, 1, 3, 3), -inf))
    np.testing.assert_array_equal(saved.argmax[0, 0], [[0, 1], [3, 4]])
    dx = pool.backward(image([[1, 2], [3, 4]]), saved)
    np.testing.assert_array_equal(dx[0, 0], [[1, 2, 0], [3, 4, 0], [0, 0, 0]])


def test_max_pool_gradients_of_overlapping_windows_add_up():
    x = [[1, 2, 3], [4, 9, 5], [6, 7, 8]]
    y, dx = run(MaxPool2d(2, stride=1), x, [[1, 10], [100, 1000]])
    np.testing.assert_array_equal(y, [[9, 9], [9, 9]])
    np.testing.assert_array_equal(dx, [[0, 0, 0], [0, 1111, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        (5, {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}, 2),  # a third would start in the padding
        (5, {"kernel_size": 3, "stride": 3, "padding": 1}, 2),
        (6, {"kernel_size": 3, "stride": 3, "padding": 1, "ceil_mode": True}, 3),
        (5, {"kernel_size": 2, "ceil_mode": True}, 3),
        (5, {"kernel_size": 2}, 2),
        (3, {"kernel_size": 4, "stride": 2, "ceil_mode": True}, 1),
        (7, {"kernel_size": 3, "stride": 2}, 3),
    ],
)
@pytest.mark.parametrize("cls", [MaxPool2d, AvgPool2d])
def test_output_size(cls, size, options, expected):
    assert cls(**options)(np.ones((1, 1, size, size + 1)))[0, 0, :, 0].shape == (expected,)
    assert cls(**options)(np.ones((1, 1, size + 1, size)))[0, 0, 0].shape == (expected,)


def test_ceil_mode_has_the_partly_filled_window():
    x = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    y, dx = run(MaxPool2d(2, ceil_mode=True), x, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(y, [[5, 6], [8, 9]])
    np.testing.assert_array_equal(dx, [[0, 0, 0], [0, 1, 2], [0, 3, 4]])


def test_dilated_max_pool_looks_at_every_second_pixel():
    y, dx = run(MaxPool2d(2, stride=1, dilation=2), [[1, 9, 2, 8], [9] * 4, [3, 0, 4, 7]], [[1, 2]])
    np.testing.assert_array_equal(y, [[4, 9]])
    np.testing.assert_array_equal(dx, [[0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]])


# ------------------------------------------------------------------ average pooling by hand


def test_average_pool_divisor_counts_padding_but_not_the_overflow():
    options = {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}
    y = AvgPool2d(**options)(np.ones((1, 1, 4, 4)))[0, 0]
    corners = y[np.ix_([0, -1], [0, -1])]
    np.testing.assert_allclose(corners, [[4 / 9, 2 / 6], [2 / 6, 1 / 4]], rtol=1e-15)
    np.testing.assert_array_equal(corners.round(3), [[0.444, 0.333], [0.333, 0.25]])
    np.testing.assert_array_equal(AvgPool2d(**options, count_include_pad=False)(np.ones((1, 1, 4, 4))), 1)


def test_average_pool_shares_dy_out():
    y, dx = run(AvgPool2d(2, stride=1), [[1, 2, 6], [3, 4, 10]], [[4, 8]])
    np.testing.assert_array_equal(y, [[2.5, 5.5]])
    np.testing.assert_array_equal(dx, [[1, 3, 2], [1, 3, 2]])
    _, dx = run(AvgPool2d(2, padding=1, count_include_pad=False), np.ones((2, 2)), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(dx, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("size", "bins", "expected"),
    [(7, 3, [1, 3, 5]), (7, 1, [3]), (7, 7, range(7)), (4, 3, [0.5, 1.5, 2.5]), (2, 3, [0, 0.5, 1])],
)
def test_adaptive_bins_may_overlap(size, bins, expected):
    y = AdaptiveAvgPool2d((1, bins))(image([np.arange(size)]))
    np.testing.assert_array_equal(y[0, 0], [expected])


def test_adaptive_pool_gives_each_pixel_a_share_from_every_bin_it_was_in():
    _, dx = run(AdaptiveAvgPool2d((1, 3)), [np.arange(7)], [[3, 30, 300]])
    np.testing.assert_array_equal(dx, [[1, 1, 11, 10, 110, 100, 100]])


def test_adaptive_pool_none_keeps_the_size():
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(AdaptiveAvgPool2d((None, 1))(x)[0, 0], [[1.5], [5.5], [9.5]])
    np.testing.assert_array_equal(AdaptiveAvgPool2d(None)(x), x)


@pytest.mark.parametrize("layer", [MaxPool2d(2), AvgPool2d(2), AdaptiveAvgPool2d(2)], ids=repr)
def test_an_image_without_pixels_raises(layer):
    for size in ((0, 4), (4, 0)):
        with pytest.raises(ShapeError, match=rf"^{type(layer).__name__}\(2\): .*there is nothing to compute"):
            layer(np.ones((1, 1, *size)))


# ------------------------------------------------------------------ against PyTorch


def window_starts(size, kernel, stride, padding, dilation, ceil_mode):
    """Where the windows begin along one axis."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (math.ceil if ceil_mode else math.floor)(room / stride) + 1
    starts = [i * stride - padding for i in range(count)]
    return starts[:-1] if ceil_mode and starts and starts[-1] >= size else starts


def sees_pixels(size, kernel, stride, padding, dilation, ceil_mode):
    """Whether there are windows, and each has at least one tap inside the image."""
    starts = window_starts(size, kernel, stride, padding, dilation, ceil_mode)
    taps = [[start + r * dilation for r in range(kernel)] for start in starts]
    return bool(starts) and all(any(0 <= tap < size for tap in window) for window in taps)


@st.composite
def pools(draw, dilation):
    """The geometry of a pooling that PyTorch accepts, and a size to pool."""
    kernel = draw(pairs(1, 4))
    padding = tuple(draw(st.integers(0, k // 2)) for k in both(kernel))
    stride = draw(st.none() | pairs(1, 4))
    dilation, ceil_mode = draw(dilation), draw(st.booleans())
    size = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    steps = both(kernel if stride is None else stride)
    for along in zip(size, both(kernel), steps, padding, both(dilation), strict=True):
        assume(sees_pixels(*along, ceil_mode))
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}, dilation, size


@requires_torch
@drawn(250)
@given(st.data())
def test_max_pool2d_agrees_with_pytorch(data):
    geometry, dilation, size = data.draw(pools(pairs(1, 3)))
    x = data.draw(arrays(data.draw(batches), data.draw(few), *size))
    if data.draw(st.booleans()):
        x = np.round(x)  # full of ties
    assert_agrees(MaxPool2d(**geometry, dilation=dilation), x, np.random.default_rng(0))


@requires_torch
@drawn(250)
@given(st.data())
def test_avg_pool2d_agrees_with_pytorch(data):
    geometry, _, size = data.draw(pools(st.just(1)))
    x = data.draw(arrays(data.draw(batches), data.draw(few), *size))
    assert_agrees(AvgPool2d(**geometry, count_include_pad=data.draw(st.booleans())), x, np.random.default_rng(0))


@requires_torch
@drawn(100)
@given(st.data())
def test_adaptive_avg_pool2d_agrees_with_pytorch(data):
    size = data.draw(pairs(1, 9) | st.tuples(st.none(), st.integers(1, 9)) | st.tuples(st.integers(1, 9), st.none()))
    H, W = data.draw(st.integers(1, 11)), data.draw(st.integers(1, 11))
    x = data.draw(arrays(data.draw(batches), data.draw(few), H, W))
    assert_agrees(AdaptiveAvgPool2d(size), x, np.random.default_rng(0))


# ------------------------------------------------------------------ configuration


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (MaxPool2d(2, 2), "MaxPool2d(2)"),
        (MaxPool2d(3, 2, 1, 2, True), "MaxPool2d(3, stride=2, padding=1, dilation=2, ceil_mode=True)"),
        (AvgPool2d((2, 3), count_include_pad=False), "AvgPool2d((2, 3), count_include_pad=False)"),
        (AdaptiveAvgPool2d((np.int64(2), None)), "AdaptiveAvgPool2d((2, None))"),
        (AdaptiveAvgPool2d(7), "AdaptiveAvgPool2d(7)"),
    ],
)
def test_label(layer, text):
    assert layer.label() == text


@pytest.mark.parametrize("layer", [MaxPool2d(2), AvgPool2d(2), AdaptiveAvgPool2d(2)], ids=repr)
def test_pools_have_no_parameters(layer):
    assert layer.parameters() == []
    assert layer.state_dict() == {}
