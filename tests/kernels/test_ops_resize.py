"""Nearest and bilinear upsampling against PyTorch, and padding or cropping to a size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import batches, close, drawn, pairs, torch_gradients

from kernels import ShapeError


def plane(rows):
    return np.array(rows, float)[None, None]


def ratios(before, after):
    """`scale` where a size was asked for: input pixels per output pixel."""
    return tuple(b / a for b, a in zip(before, after, strict=True))


# ------------------------------------------------------------------ by hand


@pytest.mark.parametrize(("align_corners", "expected"), [(False, [1, 1.25, 1.75, 2]), (True, [1, 4 / 3, 5 / 3, 2])])
def test_bilinear_from_two_to_four(ops, align_corners, expected):
    y = ops.upsample_bilinear2d_forward(plane([[1, 2]]), (1, 4), (1, 0.5), align_corners)
    close(y, plane([expected]))
    y = ops.upsample_bilinear2d_forward(plane([[1], [2]]), (4, 1), (0.5, 1), align_corners)
    close(y[0, 0, :, 0], np.array(expected, float))


@pytest.mark.parametrize(("align_corners", "expected", "shares"), [(True, 1, [1, 0, 0, 0]), (False, 2.5, [0.25] * 4)])
def test_bilinear_to_one_pixel(ops, align_corners, expected, shares):
    x = plane([[1, 2], [3, 4]])
    close(ops.upsample_bilinear2d_forward(x, (1, 1), (2, 2), align_corners), plane([[expected]]))
    dx = ops.upsample_bilinear2d_backward(plane([[8]]), x.shape, (2, 2), align_corners)
    close(dx.ravel(), 8 * np.array(shares, float))


def test_nearest_by_hand(ops):
    x = plane([[10, 11, 12, 13, 14]])
    np.testing.assert_array_equal(ops.upsample_nearest2d_forward(x, (1, 2), (1, 2.5)), plane([[10, 12]]))
    y = ops.upsample_nearest2d_forward(x[..., :3], (1, 4), (1, 1 / 1.5))  # scale 1.5 of 3 is 4
    np.testing.assert_array_equal(y, plane([[10, 10, 11, 12]]))
    dx = ops.upsample_nearest2d_backward(plane([[1, 2, 4, 8]]), (1, 1, 1, 3), (1, 1 / 1.5))
    np.testing.assert_array_equal(dx, plane([[3, 4, 8]]))


def test_pixels_that_nearest_skips_get_no_gradient(ops):
    dx = ops.upsample_nearest2d_backward(plane([[3, 7]]), (1, 1, 1, 5), (1, 2.5))
    np.testing.assert_array_equal(dx, plane([[3, 0, 7, 0, 0]]))


def test_a_scale_factor_that_leaves_or_doubles_the_size_by_rounding(ops):
    """Then PyTorch forgets the factor: 1.1 copies five pixels, and for nearest 2.2 copies each of three twice."""
    x = plane([[1, 2, 4, 8, 16]])
    np.testing.assert_array_equal(ops.upsample_nearest2d_forward(x, (1, 5), (1, 1 / 1.1)), x)
    np.testing.assert_array_equal(ops.upsample_bilinear2d_forward(x, (1, 5), (1, 1 / 1.1), False), x)
    doubled = ops.upsample_nearest2d_forward(x[..., :3], (1, 6), (1, 1 / 2.2))
    np.testing.assert_array_equal(doubled, plane([[1, 1, 2, 2, 4, 4]]))


def test_a_scale_that_leads_beyond_the_border_repeats_it(ops):
    x = plane([[1, 2, 3]])
    np.testing.assert_array_equal(ops.upsample_nearest2d_forward(x, (1, 5), (1, 1)), plane([[1, 2, 3, 3, 3]]))
    np.testing.assert_array_equal(ops.upsample_bilinear2d_forward(x, (1, 5), (1, 1), False), plane([[1, 2, 3, 3, 3]]))
    np.testing.assert_array_equal(
        ops.upsample_nearest2d_backward(plane([[1, 2, 4, 8, 16]]), x.shape, (1, 1)), plane([[1, 2, 28]])
    )


def test_constant_images_stay_constant(ops):
    """The bilinear weights sum to one everywhere, the border included."""
    x = np.full((1, 2, 3, 4), 5.0)
    for align_corners in (False, True):
        close(ops.upsample_bilinear2d_forward(x, (7, 9), (3 / 7, 4 / 9), align_corners), np.full((1, 2, 7, 9), 5.0))


# ------------------------------------------------------------------ drawn sizes


def random_image(size, N, seed, dtype):
    return np.random.default_rng(seed).normal(size=(N, 2, *size)).astype(dtype)


sizes_to_sizes = st.tuples(pairs(1, 9), pairs(1, 20)) | st.tuples(pairs(1, 6), st.integers(1, 4)).map(
    lambda both: (both[0], tuple(n * both[1] for n in both[0]))
)  # from any size to any, or a whole number of times larger
dtypes = st.sampled_from([np.float64, np.float32])
seeds = st.integers(0, 2**32 - 1)
scale_factors = st.sampled_from([0.3, 1 / 3, 0.5, 0.7, 0.99, 1.0, 1.1, 1.5, 5 / 3, 2.0, 2.2, 2.5, 3.0, 4.0])
modes = st.sampled_from(["nearest", "bilinear", "bilinear with align_corners"])


def check_against_pytorch(ops, torch, x, out, scale, mode, seed, **wanted):
    """`wanted` is what F.interpolate is told: size or scale_factor."""
    dy = random_image(out, len(x), seed + 1, x.dtype)
    if mode == "nearest":
        name, corners = "nearest", ()
        forward, backward = ops.upsample_nearest2d_forward, ops.upsample_nearest2d_backward
    else:
        name, corners = "bilinear", (mode != "bilinear",)
        forward, backward = ops.upsample_bilinear2d_forward, ops.upsample_bilinear2d_backward

    def oracle(x):
        return torch.nn.functional.interpolate(x, **wanted, mode=name, align_corners=corners[0] if corners else None)

    y, (dx,) = torch_gradients(torch, oracle, [x], dy)
    close(forward(x, out, scale, *corners), y)
    close(backward(dy, x.shape, scale, *corners), dx)


def bilinear_weights(size, out, corners):
    """The matrix (out, size) that resizes one axis: hat functions around each output pixel's place in the input."""
    place = np.arange(out) * ((size - 1) / max(out - 1, 1)) if corners else (np.arange(out) + 0.5) * size / out - 0.5
    distance = np.abs(np.clip(place, 0, size - 1)[:, None] - np.arange(size))
    return np.maximum(1 - distance, 0)


@drawn(100)
@given(sizes=sizes_to_sizes, corners=st.booleans(), N=batches, seed=seeds)
def test_bilinear_is_a_matrix_product_along_each_axis(ops, sizes, corners, N, seed):
    before, after = sizes
    x, dy, scale = random_image(before, N, seed, float), random_image(after, N, seed + 1, float), ratios(before, after)
    rows, cols = (bilinear_weights(size, out, corners) for size, out in zip(before, after, strict=True))
    close(ops.upsample_bilinear2d_forward(x, after, scale, corners), rows @ x @ cols.T)
    close(ops.upsample_bilinear2d_backward(dy, x.shape, scale, corners), rows.T @ dy @ cols)


@drawn(100)
@given(before=pairs(1, 9), times=pairs(1, 5), N=batches, seed=seeds)
def test_nearest_repeats_pixels(ops, before, times, N, seed):
    x = random_image(before, N, seed, float)
    y = ops.upsample_nearest2d_forward(x, (before[0] * times[0], before[1] * times[1]), (1 / times[0], 1 / times[1]))
    np.testing.assert_array_equal(y, x.repeat(times[0], 2).repeat(times[1], 3))
    shrunk = ops.upsample_nearest2d_forward(y, before, times)
    np.testing.assert_array_equal(shrunk, x)


@drawn(250)
@given(sizes=sizes_to_sizes, mode=modes, N=batches.filter(bool), seed=seeds, dtype=dtypes)
def test_resizing_to_a_size_agrees_with_pytorch(ops, torch, sizes, mode, N, seed, dtype):
    before, after = sizes
    x = random_image(before, N, seed, dtype)
    check_against_pytorch(ops, torch, x, after, ratios(before, after), mode, seed, size=after)


@st.composite
def scaled_sizes(draw):
    """(size, scale factors), with at least one pixel left."""
    factors = draw(st.tuples(scale_factors, scale_factors))
    return tuple(draw(st.integers(int(np.ceil(1 / f)), 9)) for f in factors), factors


@drawn(250)
@given(scaled=scaled_sizes(), mode=modes, N=batches.filter(bool), seed=seeds, dtype=dtypes)
def test_resizing_by_a_scale_factor_agrees_with_pytorch(ops, torch, scaled, mode, N, seed, dtype):
    """The given factor counts, not the ratio of the sizes that come of it."""
    before, factors = scaled
    out = tuple(int(np.floor(n * f)) for n, f in zip(before, factors, strict=True))
    x = random_image(before, N, seed, dtype)
    check_against_pytorch(ops, torch, x, out, tuple(1 / f for f in factors), mode, seed, scale_factor=factors)


@drawn(100)
@given(sizes=sizes_to_sizes, mode=modes, N=batches, seed=seeds)
def test_upsampling_backward_is_the_adjoint_of_forward(ops, sizes, mode, N, seed):
    before, after = sizes
    x, dy = random_image(before, N, seed, float), random_image(after, N, seed + 1, float)
    scale = ratios(before, after)
    if mode == "nearest":
        y, dx = ops.upsample_nearest2d_forward(x, after, scale), ops.upsample_nearest2d_backward(dy, x.shape, scale)
    else:
        corners = mode != "bilinear"
        y = ops.upsample_bilinear2d_forward(x, after, scale, corners)
        dx = ops.upsample_bilinear2d_backward(dy, x.shape, scale, corners)
    assert abs((y * dy).sum() - (x * dx).sum()) <= 1e-11 * (1 + np.abs(y * dy).sum())


# ------------------------------------------------------------------ padding or cropping to a size


@pytest.mark.parametrize(
    ("width", "expected"),
    [(7, [0, 1, 2, 3, 4, 0, 0]), (6, [0, 1, 2, 3, 4, 0]), (5, [1, 2, 3, 4, 0]), (3, [1, 2, 3]), (2, [2, 3]), (1, [2])],
)
def test_fit_puts_the_odd_column_right(ops, width, expected):
    x = plane([[1, 2, 3, 4]])
    np.testing.assert_array_equal(ops.fit2d_forward(x, (1, width)), plane([expected]))
    columns = ops.fit2d_forward(x.transpose(0, 1, 3, 2), (width, 1))
    np.testing.assert_array_equal(columns[0, 0, :, 0], np.array(expected, float))


def test_fit_backward_drops_what_was_padded_and_fills_what_was_cropped(ops):
    dx = ops.fit2d_backward(plane([[1, 2, 3]]), (1, 1, 2, 2))  # forward cropped one row and padded one column
    np.testing.assert_array_equal(dx, plane([[1, 2], [0, 0]]))


@drawn(100)
@given(before=pairs(1, 9), after=pairs(1, 9), N=batches, seed=seeds, dtype=dtypes)
def test_fit_backward_is_the_adjoint_of_forward(ops, before, after, N, seed, dtype):
    x, dy = random_image(before, N, seed, dtype), random_image(after, N, seed + 1, dtype)
    y, dx = ops.fit2d_forward(x, after), ops.fit2d_backward(dy, x.shape)
    assert (y.shape, dx.shape, y.dtype, dx.dtype) == (dy.shape, x.shape, dtype, dtype)
    pairs_of = [np.sort((a * b.astype(float)).ravel()) for a, b in ((y, dy), (x, dx))]
    kept = [products[products != 0] for products in pairs_of]
    np.testing.assert_array_equal(*kept)  # the very same products, so the same sum
    smaller = [min(a, b) for a, b in zip(before, after, strict=True)]
    assert kept[0].size == N * 2 * smaller[0] * smaller[1]  # and all the pixels that both images have


# ------------------------------------------------------------------ errors


def test_a_size_below_one_raises(ops):
    x = np.ones((1, 1, 2, 2))
    for call in (
        lambda: ops.upsample_nearest2d_forward(x, (0, 2), (1, 1)),
        lambda: ops.upsample_bilinear2d_forward(x, (0, 2), (1, 1), False),
        lambda: ops.fit2d_forward(x, (0, 2)),
    ):
        with pytest.raises(ValueError, match=r"^output size must be at least 1, got \(0, 2\)$"):
            call()


def test_a_dy_of_other_images_raises(ops):
    dy = np.ones((1, 2, 4, 4))
    for call in (
        lambda: ops.upsample_nearest2d_backward(dy, (1, 3, 2, 2), (0.5, 0.5)),
        lambda: ops.upsample_bilinear2d_backward(dy, (1, 3, 2, 2), (0.5, 0.5), False),
        lambda: ops.fit2d_backward(dy, (1, 3, 2, 2)),
    ):
        with pytest.raises(ShapeError, match=r"^dy has shape \(1, 2, 4, 4\), expected \(1, 3, 4, 4\)$"):
            call()


@pytest.mark.parametrize(("size", "count"), [(6, 74), (14, 46), (7, 49)])
def test_nearest_rounds_the_source_index_as_pytorch_does(ops, torch, size, count):
    """Here float32 and float64 disagree about which pixel i*size/count falls on."""
    x = np.arange(float(size)).reshape(1, 1, 1, size)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), size=(1, count), mode="nearest").numpy()
    np.testing.assert_array_equal(ops.upsample_nearest2d_forward(x, (1, count), (1.0, size / count)), expected)


def test_nearest_doubles_exactly_whatever_the_factor(ops, torch):
    x = np.arange(2.0).reshape(1, 1, 1, 2)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), scale_factor=(1.0, 2.1), mode="nearest").numpy()
    assert expected.shape == (1, 1, 1, 4)
    np.testing.assert_array_equal(ops.upsample_nearest2d_forward(x, (1, 4), (1.0, 1 / 2.1)), expected)
