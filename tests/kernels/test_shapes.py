"""Sizes by brute-force counting, and the text of every error that `kernels.shapes` raises."""

from itertools import product

import numpy as np
import pytest

from kernels import ShapeError, shapes

# ------------------------------------------------------------------ arguments


def test_pair_takes_one_number_or_two():
    assert shapes.pair(3) == (3, 3)
    assert shapes.pair((1, 2)) == shapes.pair([1, 2]) == (1, 2)
    assert shapes.pair(np.int64(4)) == (4, 4)
    assert shapes.pair((0, 1), "padding", 0) == (0, 1)
    assert all(type(n) is int for n in shapes.pair(np.array([3, 4]).tolist()))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "stride must be at least 1, got 0"),
        ((2, -1), ValueError, r"stride must be at least 1, got \(2, -1\)"),
        (1.5, TypeError, "stride must be an integer or a pair of integers, got 1.5"),
        ("2", TypeError, "stride must be an integer or a pair of integers, got '2'"),
        (None, TypeError, "stride must be an integer or a pair of integers, got None"),
        ((1, 2.0), TypeError, r"stride must be an integer or a pair of integers, got \(1, 2.0\)"),
        ((1, 2, 3), ValueError, r"stride must be one integer or two \(vertical, horizontal\), got \(1, 2, 3\)"),
        ((), ValueError, r"stride must be one integer or two \(vertical, horizontal\), got \(\)"),
    ],
)
def test_pair_names_what_it_refuses(value, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        shapes.pair(value, "stride")


def test_pads_in_all_three_forms():
    assert shapes.pads(2) == ((2, 2), (2, 2))
    assert shapes.pads((1, 3)) == ((1, 1), (3, 3))
    assert shapes.pads(((0, 1), (2, 3))) == shapes.pads([[0, 1], [2, 3]]) == ((0, 1), (2, 3))
    assert shapes.pads((1, (2, 3))) == ((1, 1), (2, 3))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "padding must be at least 0, got -1"),
        (((0, 1), (0, -1)), ValueError, r"padding must be at least 0, got \(0, -1\)"),
        ("same", TypeError, "padding must be an integer or a pair of integers, got 'same'"),
        ((1, 2, 3), ValueError, r"padding must be one integer or two \(vertical, horizontal\), got \(1, 2, 3\)"),
        (
            ((1, 1), (2, 2), (3, 3)),
            ValueError,
            r"padding must be \(\(top, bottom\), \(left, right\)\), got \(\(1, 1\),.*",
        ),
    ],
)
def test_pads_names_what_it_refuses(value, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        shapes.pads(value)


def test_same_dtype():
    single, double = np.ones(2, np.float32), np.ones(2)
    assert shapes.same_dtype(x=single, w=single, b=None) == np.float32
    assert shapes.same_dtype(b=None, x=double) == np.float64
    with pytest.raises(
        TypeError, match=r"^x is float32, w is float64: dtypes are never mixed; convert the data or call"
    ):
        shapes.same_dtype(x=single, w=double, b=None)
    with pytest.raises(
        TypeError,
        match=r"^w is int64, but only float32 and float64 are computed with; convert it: w\.astype\(np\.float32\)$",
    ):
        shapes.same_dtype(x=single, w=np.ones(2, np.int64))


def test_check_shape():
    shapes.check_shape("dy", np.ones((2, 3)), [2, 3])
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 3\), expected \(3, 2\)$"):
        shapes.check_shape("dy", np.ones((2, 3)), (3, 2))


def test_check_rank():
    shapes.check_rank("x", np.ones((1, 1, 1, 1)), 4, "(N, C, H, W)")
    hint = r"; a single image needs a batch axis: image\[None\] \(and a grey one a channel axis too\)"
    for shape in ((3, 4), (3, 4, 5)):
        with pytest.raises(ShapeError, match=rf"^x has shape \(3, 4.*\), expected \(N, C, H, W\){hint}$"):
            shapes.check_rank("x", np.ones(shape), 4, "(N, C, H, W)")
    with pytest.raises(ShapeError, match=r"^x has shape \(3,\), expected \(N, C, H, W\)$"):
        shapes.check_rank("x", np.ones(3), 4, "(N, C, H, W)")
    with pytest.raises(ShapeError, match=r"^w has shape \(3, 4\), expected \(O, C/groups, kH, kW\)$"):
        shapes.check_rank("w", np.ones((3, 4)), 4, "(O, C/groups, kH, kW)")


def test_check_size():
    assert shapes.check_size(4) == (4, 4)
    with pytest.raises(ValueError, match=r"^output size must be at least 1, got \(4, 0\)$"):
        shapes.check_size((4, 0))
    with pytest.raises(TypeError, match=r"^crop must be an integer or a pair of integers, got 1\.5$"):
        shapes.check_size(1.5, "crop")


# ------------------------------------------------------------------ windows of a convolution


def count_windows(size, kernel, stride, pad, dilation):
    """Slide the kernel along until it no longer fits."""
    start = count = 0
    while start + dilation * (kernel - 1) <= size + pad - 1:
        start, count = start + stride, count + 1
    return count


def test_window_count_agrees_with_counting():
    checked = 0
    for size, kernel, stride, pad, dilation in product(range(1, 9), range(1, 5), range(1, 4), range(4), range(1, 4)):
        expected = count_windows(size, kernel, stride, pad, dilation)
        if expected:
            assert shapes.window_count(size, kernel, stride, pad, dilation, "height") == expected
            checked += 1
        else:
            with pytest.raises(ShapeError, match="more than the padded input's height"):
                shapes.window_count(size, kernel, stride, pad, dilation, "height")
    assert checked > 500


def test_a_kernel_that_does_not_fit_is_explained():
    fix = "use a larger image, a smaller kernel or more padding"
    with pytest.raises(
        ShapeError, match=f"^a kernel of width 5 covers 5 pixels, more than the padded input's width 4; {fix}$"
    ):
        shapes.window_count(4, 5, 1, 0, 1, "width")
    with pytest.raises(
        ShapeError,
        match=rf"^a kernel of height 3 covers 7 pixels \(dilation 3\), more than the padded input's "
        rf"height 6 = 4 \+ padding 2; {fix}$",
    ):
        shapes.window_count(4, 3, 1, 2, 3, "height")
    with pytest.raises(ShapeError, match=r"^the input has height 0: there is nothing to compute$"):
        shapes.window_count(0, 1, 1, 2, 1, "height")


def test_conv2d_output_shape():
    assert shapes.conv2d_output_shape((0, 4, 7, 8), (6, 2, 3, 2), (2, 1), ((1, 0), 2), (1, 3), 2) == (0, 6, 3, 9)
    with pytest.raises(
        ShapeError,
        match=r"^x has shape \(1, 4, 7, 8\): 4 channels, expected 6 \(the weight has shape \(6, 3, 3, 2\), groups=2\)$",
    ):
        shapes.conv2d_output_shape((1, 4, 7, 8), (6, 3, 3, 2), 1, 0, 1, 2)
    for bad in ({"stride": 0}, {"padding": -1}, {"dilation": 0}):
        geometry = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | bad
        with pytest.raises(ValueError, match=f"^{next(iter(bad))} must be at least"):
            shapes.conv2d_output_shape((1, 4, 7, 8), (6, 4, 3, 2), **geometry)


def test_check_groups():
    shapes.check_groups(4, 6, 2)
    for groups in (0, -1):
        with pytest.raises(ValueError, match=f"^groups must be at least 1, got {groups}$"):
            shapes.check_groups(4, 6, groups)
    for ins, outs in ((4, 6), (6, 4)):
        with pytest.raises(
            ValueError, match=f"^groups=3 must divide both the {ins} input and the {outs} output channels$"
        ):
            shapes.check_groups(ins, outs, 3)


# ------------------------------------------------------------------ transposed convolution


def test_the_transposed_shape_is_what_the_convolution_came_from():
    """Its convolution has x's size again; output_padding tells apart the sizes that a stride maps to one."""
    for size, kernel, stride, pad, dilation in product(range(1, 6), range(1, 4), range(1, 4), range(3), range(1, 4)):
        for output_padding in range(stride):
            geometry = (stride, pad, output_padding, dilation, 1)
            try:
                shape = shapes.conv_transpose2d_output_shape((1, 1, size, size), (1, 1, kernel, kernel), *geometry)
            except ShapeError:
                assert (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + output_padding < 0
                continue
            assert shapes.window_count(shape[2], kernel, stride, 2 * pad, dilation, "height") == size


def test_conv_transpose2d_output_shape():
    shape = shapes.conv_transpose2d_output_shape((0, 4, 3, 5), (4, 3, 2, 3), (2, 1), ((0, 1), 1), (1, 2), (1, 3), 2)
    assert shape == (0, 6, 2 * 2 - 1 + 1 + 1 + 1, 4 - 2 + 3 * 2 + 2 + 1)
    with pytest.raises(
        ShapeError,
        match=r"^x has shape \(1, 2, 3, 3\): 2 channels, expected 4 \(the weight has shape \(4, 3, 2, 2\)\)$",
    ):
        shapes.conv_transpose2d_output_shape((1, 2, 3, 3), (4, 3, 2, 2), 1, 0, 0, 1, 1)
    with pytest.raises(ValueError, match=r"^groups=3 must divide both the 4 input and the 9 output channels$"):
        shapes.conv_transpose2d_output_shape((1, 4, 3, 3), (4, 3, 2, 2), 1, 0, 0, 1, 3)
    with pytest.raises(ShapeError, match=r"^the output would be -1x2 pixels for an input of 1x4; use less padding$"):
        shapes.conv_transpose2d_output_shape((1, 4, 1, 4), (4, 3, 1, 1), 1, 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^x has shape \(1, 4, 0, 4\): there is nothing to compute$"):
        shapes.conv_transpose2d_output_shape((1, 4, 0, 4), (4, 3, 1, 1), 1, 0, 0, 1, 1)
    with pytest.raises(ValueError, match=r"^output_padding must be at least 0, got -1$"):
        shapes.conv_transpose2d_output_shape((1, 4, 3, 3), (4, 3, 2, 2), 1, 0, -1, 1, 1)


def test_output_padding_is_smaller_than_stride_or_dilation():
    shapes.check_output_padding((1, 2), (2, 1), (1, 3))
    for too_large in ((2, 0), (0, 3)):
        with pytest.raises(
            ValueError,
            match=rf"^output_padding=\({too_large[0]}, {too_large[1]}\) must be smaller than "
            r"stride=\(2, 1\) or dilation=\(1, 3\)$",
        ):
            shapes.check_output_padding(too_large, (2, 1), (1, 3))
    with pytest.raises(ValueError, match=r"^output_padding=\(2, 2\) must be smaller than stride=\(2, 2\) or dilation"):
        shapes.conv_transpose2d_output_shape((1, 4, 3, 3), (4, 3, 2, 2), 2, 0, 2, 1, 1)


# ------------------------------------------------------------------ windows of a pooling


def pool_starts(size, kernel, stride, pad, dilation, ceil_mode):
    """Where the windows start: as long as they fit, or in ceil_mode until one reaches the end of the padded image.

    A window that would start to the right of the image isn't one.
    """
    reach, end = dilation * (kernel - 1) + 1, size + pad
    starts, start = [], -pad
    while start + reach <= end or (ceil_mode and start - stride + reach < end and start < size):
        starts.append(start)
        start += stride
    return starts


def test_pool_count_agrees_with_counting():
    counted = 0
    for size, kernel, stride, dilation, ceil_mode in product(
        range(1, 9), range(1, 5), range(1, 5), range(1, 4), (False, True)
    ):
        for pad in range(kernel // 2 + 1):
            starts = pool_starts(size, kernel, stride, pad, dilation, ceil_mode)
            blind = any(all(not 0 <= s + r * dilation < size for r in range(kernel)) for s in starts)
            if starts and not blind:
                assert shapes.pool_count(size, kernel, stride, pad, dilation, ceil_mode, "width") == len(starts)
                counted += 1
            else:
                message = "it would see padding alone" if starts else "more than the padded input's width"
                with pytest.raises(ShapeError, match=message):
                    shapes.pool_count(size, kernel, stride, pad, dilation, ceil_mode, "width")
    assert counted > 1000


def test_a_pooling_window_that_does_not_fit_is_explained():
    with pytest.raises(
        ShapeError, match=r"^a kernel of height 3 covers 3 pixels, more than the padded input's height 2;"
    ):
        shapes.pool_count(2, 3, 1, 0, 1, False, "height")
    with pytest.raises(
        ShapeError,
        match=r"^a kernel of height 5 covers 5 pixels, more than the padded input's height 3 even in ceil_mode; "
        "use a larger image or a smaller kernel$",
    ):
        shapes.pool_count(1, 5, 2, 1, 1, True, "height")
    with pytest.raises(
        ShapeError,
        match=r"^a kernel of width 2 with dilation 5 and padding 1 steps over the whole width 4: it would see "
        "padding alone; use a larger image, less dilation or no padding$",
    ):
        shapes.pool_count(4, 2, 1, 1, 5, False, "width")
    for ceil_mode in (False, True):
        with pytest.raises(ShapeError, match=r"^the input has width 0: there is nothing to compute$"):
            shapes.pool_count(0, 2, 1, 1, 1, ceil_mode, "width")


def test_pool2d_output_shape():
    assert shapes.pool2d_output_shape((0, 3, 7, 5), (2, 3), (2, 3), (0, 1), 1, True) == (0, 3, 4, 2)
    for name, geometry in (
        ("kernel_size", (0, 1, 0, 1)),
        ("stride", (1, 0, 0, 1)),
        ("padding", (1, 1, -1, 1)),
        ("dilation", (1, 1, 0, 0)),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be at least"):
            shapes.pool2d_output_shape((1, 1, 4, 4), *geometry, False)


def test_pool_padding_is_at_most_half_the_kernel():
    shapes.check_pool_padding((3, 2), (1, 1))
    with pytest.raises(ValueError, match=r"^padding=\(1, 2\) must be at most half of kernel_size=\(2, 3\)$"):
        shapes.check_pool_padding((2, 3), (1, 2))
