"""Max, average and adaptive pooling, and unpooling: the cases that frameworks get wrong, and PyTorch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import batches, close, drawn, pairs, torch_gradients

from kernels import ShapeError

INF, NAN = np.inf, np.nan


def plane(rows):
    return np.array(rows, float)[None, None]


# ------------------------------------------------------------------ max pooling by hand


def test_max_pooling_and_its_gradient_by_hand(ops):
    x = plane([[1, 5, 2, 0], [3, 4, 8, 7]])
    y, argmax = ops.max_pool2d_forward(x, 2, 2, 0, 1, False)
    np.testing.assert_array_equal(y, plane([[5, 8]]))
    np.testing.assert_array_equal(argmax, [[[[1, 6]]]])
    assert argmax.dtype == np.int32
    dx = ops.max_pool2d_backward(plane([[0.5, -2]]), argmax, x.shape)
    np.testing.assert_array_equal(dx, plane([[0, 0.5, 0, 0], [0, 0, -2, 0]]))


def test_max_pooling_pads_with_minus_infinity(ops):
    x = np.full((1, 1, 2, 2), -1.0)
    y, argmax = ops.max_pool2d_forward(x, 2, 1, 1, 1, False)
    np.testing.assert_array_equal(y, np.full((1, 1, 3, 3), -1.0))
    np.testing.assert_array_equal(argmax[0, 0], [[0, 0, 1], [0, 0, 1], [2, 2, 3]])


def test_a_tie_goes_to_the_first_and_gradients_add_up(ops):
    x = np.ones((1, 1, 3, 3))
    _, argmax = ops.max_pool2d_forward(x, 2, 1, 0, 1, False)
    dx = ops.max_pool2d_backward(np.ones((1, 1, 2, 2)), argmax, x.shape)
    np.testing.assert_array_equal(dx[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    peak = plane([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    _, argmax = ops.max_pool2d_forward(peak, 2, 1, 0, 1, False)
    dx = ops.max_pool2d_backward(plane([[1, 2], [4, 8]]), argmax, peak.shape)
    np.testing.assert_array_equal(dx, plane([[0, 0, 0], [0, 15, 0], [0, 0, 0]]))


def test_nan_wins(ops):
    y, argmax = ops.max_pool2d_forward(plane([[1, NAN, INF, 3]]), (1, 4), 1, 0, 1, False)
    assert np.isnan(y).all()
    assert argmax.item() == 1


def test_of_several_nans_the_first_is_named(ops):
    """The rule for ties again; PyTorch names the last one."""
    _, argmax = ops.max_pool2d_forward(plane([[1, NAN, 2, NAN]]), (1, 4), 1, 0, 1, False)
    assert argmax.item() == 1


def test_all_minus_infinity_names_the_first_pixel_inside_the_image(ops):
    x = np.full((1, 1, 3, 3), -INF)
    y, argmax = ops.max_pool2d_forward(x, 3, 2, 1, 1, False)
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), -INF))
    np.testing.assert_array_equal(argmax[0, 0], [[0, 1], [3, 4]])
    _, argmax = ops.max_pool2d_forward(x, 2, 1, 1, 2, False)  # dilation 2: taps at -1 and 1, then 0 and 2, ...
    np.testing.assert_array_equal(argmax[0, 0], [[4, 3, 4], [1, 0, 1], [4, 3, 4]])


def test_ceil_mode_drops_a_window_that_starts_in_the_padding(ops):
    x = np.arange(25.0).reshape(1, 1, 5, 5)
    for ceil_mode in (False, True):
        y, _ = ops.max_pool2d_forward(x, 3, 3, 1, 1, ceil_mode)
        np.testing.assert_array_equal(y, plane([[6, 9], [21, 24]]))
    np.testing.assert_array_equal(  # without padding, ceil_mode adds a window that is partly empty
        ops.max_pool2d_forward(x, 2, 2, 0, 1, True)[0], plane([[6, 8, 9], [16, 18, 19], [21, 23, 24]])
    )


def test_a_window_that_would_see_padding_alone_raises(ops):
    """Dilation 3 steps from pixel -1 to pixel 2, over an image of two; PyTorch returns a switch outside the image."""
    with pytest.raises(ShapeError, match="height 2 with dilation 3 and padding 1 steps over the whole height 2"):
        ops.max_pool2d_forward(np.ones((1, 1, 2, 5)), 2, 1, 1, (3, 1), False)


# ------------------------------------------------------------------ max pooling drawn


def has_a_pixel(size, kernel, stride, pad, dilation, ceil_mode):
    """Whether every window along one axis has a tap inside the image (elsewhere PyTorch damages its memory)."""
    room = 0 if ceil_mode else dilation * (kernel - 1)
    starts = [s for s in range(-pad, size + pad, stride) if s + room < size + pad and s < size]
    return all(any(0 <= s + dilation * r < size for r in range(kernel)) for s in starts)


@st.composite
def poolings(draw, dilations=3):
    """(image size, kernel, stride, padding, dilation, ceil_mode), legal."""
    ceil_mode = draw(st.booleans())
    axes = []
    for _ in "HW":
        k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, dilations))
        p = draw(st.integers(0, k // 2))
        missing = draw(st.integers(0, s - 1)) if ceil_mode else 0  # ceil_mode allows images too small by less than s
        size = max(1, d * (k - 1) + 1 - 2 * p - missing) + draw(st.integers(0, 6))
        while not has_a_pixel(size, k, s, p, d, ceil_mode):
            size += 1
        axes.append((size, k, s, p, d))
    return (*zip(*axes, strict=True), ceil_mode)


@st.composite
def pictures(draw, size, special=False):
    """(N, C, *size) of few different whole numbers, so that ties abound; special adds -inf and NaN, one a plane."""
    N, C, (H, W) = draw(batches), draw(st.integers(1, 3)), size
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.integers(-2, 3, (N, C, H, W)).astype(draw(st.sampled_from([np.float64, np.float32])))
    if special:
        x[rng.random(x.shape) < draw(st.sampled_from([0, 0.3, 1]))] = -INF
        if draw(st.booleans()):
            x.reshape(N * C, H * W)[np.arange(N * C), rng.integers(0, H * W, N * C)] = NAN
    return x


def real_taps(start, kernel, dilation, size):
    """The pixels of a window along one axis that lie inside the image."""
    return [p for p in range(start, start + kernel * dilation, dilation) if 0 <= p < size]


@drawn(100)
@given(data=st.data(), pooling=poolings())
def test_max_pooling_agrees_with_plain_loops(ops, data, pooling):
    size, kernel, stride, padding, dilation, ceil_mode = pooling
    x = data.draw(pictures(size, special=True))
    y, argmax = ops.max_pool2d_forward(x, kernel, stride, padding, dilation, ceil_mode)
    dy = np.random.default_rng(0).normal(size=y.shape).astype(x.dtype)
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(y.shape):
        rows, cols = (
            real_taps(out * s - p, k, d, length)
            for out, s, p, k, d, length in zip((i, j), stride, padding, kernel, dilation, size, strict=True)
        )
        places = [(row, col) for row in rows for col in cols]
        winner = max(places, key=lambda place: (np.isnan(x[n, c][place]), x[n, c][place]))  # the first of equals
        np.testing.assert_array_equal(y[n, c, i, j], x[n, c][winner])
        assert argmax[n, c, i, j] == winner[0] * size[1] + winner[1]
        dx[n, c][winner] += dy[n, c, i, j]
    close(ops.max_pool2d_backward(dy, argmax, x.shape), dx.astype(x.dtype))


@drawn(300)
@given(data=st.data(), pooling=poolings())
def test_max_pooling_agrees_with_pytorch(ops, torch, data, pooling):
    size, kernel, stride, padding, dilation, ceil_mode = pooling
    x = data.draw(pictures(size, special=True))
    geometry = (kernel, stride, padding, dilation, ceil_mode)
    actual, argmax = ops.max_pool2d_forward(x, *geometry)
    dy = np.random.default_rng(0).normal(size=actual.shape).astype(x.dtype)
    pool = torch.nn.functional.max_pool2d
    y, (dx,) = torch_gradients(torch, lambda x: pool(x, *geometry), [x], dy)
    close(actual, y, nan=True)
    np.testing.assert_array_equal(argmax, pool(torch.from_numpy(x), *geometry, return_indices=True)[1].numpy())
    close(ops.max_pool2d_backward(dy, argmax, x.shape), dx)


# ------------------------------------------------------------------ unpooling


def test_unpooling_puts_values_back_where_they_were(ops):
    x = plane([[1, 5, 2], [3, 4, 8]])  # an odd width: y_shape says what the output is to be
    y, argmax = ops.max_pool2d_forward(x, 2, 2, 0, 1, False)
    np.testing.assert_array_equal(ops.max_unpool2d_forward(y, argmax, x.shape), plane([[0, 5, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(ops.max_unpool2d_backward(x, argmax), plane([[5]]))


DUPLICATES = np.array([[2, 0, 2], [1, 2, 1]], np.int32)[None, None]


def test_of_duplicate_switches_the_last_is_kept(ops):
    """They assign; they don't add."""
    x = plane([[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(ops.max_unpool2d_forward(x, DUPLICATES, (1, 1, 2, 2)), plane([[2, 6], [5, 0]]))


def test_a_value_that_was_overwritten_gets_no_gradient(ops):
    """It had no effect on y. PyTorch gives it the gradient of the value that replaced it."""
    dx = ops.max_unpool2d_backward(plane([[10, 20], [30, 40]]), DUPLICATES)
    np.testing.assert_array_equal(dx, plane([[0, 10, 0], [0, 30, 20]]))


@drawn(60)
@given(seed=st.integers(0, 2**32 - 1), flip=st.booleans())
def test_duplicates_follow_row_major_order_in_any_layout(ops, seed, flip):
    rng = np.random.default_rng(seed)
    N, C, h, w, H, W = (int(n) for n in rng.integers(1, 5, 6))
    x, argmax = rng.normal(size=(N, C, h, w)), rng.integers(0, H * W, (N, C, h, w), np.int32)
    dy = rng.normal(size=(N, C, H, W))
    y, dx, owner = np.zeros(dy.shape), np.zeros(x.shape), {}
    for n, c, i, j in np.ndindex(x.shape):
        place = (n, c, *divmod(int(argmax[n, c, i, j]), W))
        y[place], owner[place] = x[n, c, i, j], (n, c, i, j)
    for place, winner in owner.items():
        dx[winner] = dy[place]
    if flip:  # the same values, in memory the other way round
        x, argmax, dy = (a[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1] for a in (x, argmax, dy))
    np.testing.assert_array_equal(ops.max_unpool2d_forward(x, argmax, dy.shape), y)
    np.testing.assert_array_equal(ops.max_unpool2d_backward(dy, argmax), dx)


@drawn(60)
@given(data=st.data(), kernel=pairs(1, 3), size=pairs(3, 9))
def test_unpooling_agrees_with_pytorch(ops, torch, data, kernel, size):
    image = data.draw(pictures(size))
    pooled, argmax = ops.max_pool2d_forward(image, kernel, kernel, 0, 1, False)  # no overlap, so no duplicates
    dy = np.random.default_rng(0).normal(size=image.shape).astype(image.dtype)
    index = torch.from_numpy(argmax).long()
    y, (dx,) = torch_gradients(
        torch, lambda x: torch.nn.functional.max_unpool2d(x, index, kernel, output_size=image.shape), [pooled], dy
    )
    close(ops.max_unpool2d_forward(pooled, argmax, image.shape), y)
    close(ops.max_unpool2d_backward(dy, argmax), dx)


@pytest.mark.parametrize("bad", [-1, 4, 99])
def test_a_switch_outside_the_output_raises(ops, bad):
    argmax = np.array([[0, bad]], np.int32)[None, None]
    message = (
        rf"^switch {bad} (\(element 1 of argmax\) )?is outside an output of (2x2 = )?4 pixels$"  # cuda: by position
    )
    with pytest.raises(IndexError, match=message):
        ops.max_unpool2d_forward(plane([[1, 2]]), argmax, (1, 1, 2, 2))
    with pytest.raises(IndexError, match=message):
        ops.max_unpool2d_backward(np.ones((1, 1, 2, 2)), argmax)


def test_shapes_that_do_not_belong_together_raise(ops):
    x, argmax = np.ones((2, 3, 1, 1)), np.zeros((2, 3, 1, 1), np.int32)
    with pytest.raises(ShapeError, match=r"^argmax has shape \(1, 3, 1, 1\), expected \(2, 3, 1, 1\)$"):
        ops.max_unpool2d_forward(x, argmax[:1], (2, 3, 2, 2))
    with pytest.raises(ShapeError, match=r"^x has shape \(2, 3, 1, 1\), expected \(1, 3\) images and channels"):
        ops.max_unpool2d_forward(x, argmax, (1, 3, 2, 2))
    with pytest.raises(ShapeError, match=r"^dy has shape \(1, 3, 2, 2\), expected \(2, 3, 2, 2\)$"):
        ops.max_unpool2d_backward(np.ones((1, 3, 2, 2)), argmax)
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 3, 2, 2\), expected \(2, 3, 1, 1\)$"):
        ops.max_pool2d_backward(np.ones((2, 3, 2, 2)), argmax, (2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 3, 1, 1\), expected \(1, 1, 1, 1\)$"):
        ops.max_pool2d_backward(x, argmax, (1, 1, 4, 4))


# ------------------------------------------------------------------ average pooling


def test_average_pooling_divisor_in_ceil_mode(ops):
    """It counts the padding, but never the overflow of the last window."""
    x = np.ones((1, 1, 4, 4))
    y = ops.avg_pool2d_forward(x, 3, 2, 1, True, True)
    assert y.shape == (1, 1, 3, 3)
    np.testing.assert_allclose(y[0, 0, ::2, ::2], [[4 / 9, 2 / 6], [2 / 6, 1 / 4]])
    np.testing.assert_array_equal(ops.avg_pool2d_forward(x, 3, 2, 1, True, False), np.ones((1, 1, 3, 3)))


def test_average_pooling_gradient_by_hand(ops):
    dx = ops.avg_pool2d_backward(plane([[6, 12]]), (1, 1, 1, 3), (1, 2), 1, 0, False, True)
    np.testing.assert_array_equal(dx, plane([[3, 9, 6]]))
    dx = ops.avg_pool2d_backward(plane([[6, 12]]), (1, 1, 1, 2), (1, 2), 2, (0, 1), False, False)
    np.testing.assert_array_equal(dx, plane([[6, 12]]))  # each window holds one pixel, and padding that isn't counted


@drawn(100)
@given(data=st.data(), pooling=poolings(dilations=1), count_include_pad=st.booleans())
def test_average_pooling_agrees_with_plain_loops(ops, data, pooling, count_include_pad):
    size, kernel, stride, padding, _, ceil_mode = pooling
    x = data.draw(pictures(size))
    geometry = (kernel, stride, padding, ceil_mode, count_include_pad)
    y = ops.avg_pool2d_forward(x, *geometry)
    dy = np.random.default_rng(0).normal(size=y.shape).astype(x.dtype)
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(y.shape):
        starts = [out * s - p for out, s, p in zip((i, j), stride, padding, strict=True)]
        rows, cols = (real_taps(*along) for along in zip(starts, kernel, (1, 1), size, strict=True))
        divisor = len(rows) * len(cols)
        if count_include_pad:
            ends = (min(a + k, length + p) for a, k, length, p in zip(starts, kernel, size, padding, strict=True))
            divisor = np.prod([end - start for start, end in zip(starts, ends, strict=True)])
        window = (n, c, slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1))
        close(y[n, c, i, j], (x[window].sum(dtype=float) / divisor).astype(x.dtype))
        dx[window] += dy[n, c, i, j] / divisor
    close(ops.avg_pool2d_backward(dy, x.shape, *geometry), dx.astype(x.dtype))


@drawn(250)
@given(data=st.data(), pooling=poolings(dilations=1), count_include_pad=st.booleans())
def test_average_pooling_agrees_with_pytorch(ops, torch, data, pooling, count_include_pad):
    size, kernel, stride, padding, _, ceil_mode = pooling
    x = data.draw(pictures(size))
    geometry = (kernel, stride, padding, ceil_mode, count_include_pad)
    actual = ops.avg_pool2d_forward(x, *geometry)
    dy = np.random.default_rng(0).normal(size=actual.shape).astype(x.dtype)
    y, (dx,) = torch_gradients(torch, lambda x: torch.nn.functional.avg_pool2d(x, *geometry), [x], dy)
    close(actual, y)
    close(ops.avg_pool2d_backward(dy, x.shape, *geometry), dx)


# ------------------------------------------------------------------ adaptive pooling


def test_adaptive_bins_overlap(ops):
    x = plane([range(7)])
    np.testing.assert_array_equal(ops.adaptive_avg_pool2d_forward(x, (1, 3)), plane([[1, 3, 5]]))
    dx = ops.adaptive_avg_pool2d_backward(plane([[3, 30, 300]]), x.shape)
    np.testing.assert_array_equal(dx, plane([[1, 1, 11, 10, 110, 100, 100]]))


@drawn(100)
@given(data=st.data(), size=pairs(1, 9), out=pairs(1, 9))
def test_adaptive_pooling_agrees_with_pytorch(ops, torch, data, size, out):
    x = data.draw(pictures(size))
    dy = np.random.default_rng(0).normal(size=(*x.shape[:2], *out)).astype(x.dtype)
    y, (dx,) = torch_gradients(torch, lambda x: torch.nn.functional.adaptive_avg_pool2d(x, out), [x], dy)
    close(ops.adaptive_avg_pool2d_forward(x, out), y)
    close(ops.adaptive_avg_pool2d_backward(dy, x.shape), dx)


def test_an_output_size_of_zero_raises(ops):
    with pytest.raises(ValueError, match=r"^output size must be at least 1, got \(0, 2\)$"):
        ops.adaptive_avg_pool2d_forward(np.ones((1, 1, 4, 4)), (0, 2))


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_more_padding_than_half_the_kernel_raises(ops, ceil_mode):
    with pytest.raises(ValueError, match=r"^padding=\(2, 2\) must be at most half of kernel_size=\(3, 3\)$"):
        ops.max_pool2d_forward(np.ones((1, 1, 5, 5)), 3, 1, 2, 1, ceil_mode)
    with pytest.raises(ValueError, match=r"^padding=\(2, 2\) must be at most half of kernel_size=\(3, 3\)$"):
        ops.avg_pool2d_forward(np.ones((1, 1, 5, 5)), 3, 1, 2, ceil_mode, True)
