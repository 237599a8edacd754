"""Convolution and transposed convolution: by hand, against the plain loops, as adjoints, and against PyTorch."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import SIMULATED, batches, close, drawn, pairs, torch_gradients

import kernels
from kernels import ShapeError
from kernels.cpu import unfold, winograd
from kernels.reference import conv_loops
from kernels.shapes import conv2d_output_shape, conv_transpose2d_output_shape

RUNGS = [("reference", None), *(("cpu", rung) for rung in kernels.CONV_RUNGS if rung != "loops")]
if SIMULATED:
    RUNGS = [("cuda", "conv_plain"), ("cuda", "conv_tiles"), ("cuda", "conv")]


@pytest.fixture(params=RUNGS, ids=lambda rung: "-".join(filter(None, rung)), scope="module")
def ops(request):
    """The op table of the reference, and of each rung of the convolution ladder (all are held against `loops`).

    Winograd's transforms leave small convolutions to the rung below, and that one has a way of its own for few pixels;
    here both have to take what they can.
    """
    name, conv = request.param
    if name == "cuda":
        from on_device import HostView

        yield HostView(conv)
        return
    with kernels.use(name, conv=conv) as table, pytest.MonkeyPatch.context() as patch:
        if conv == "winograd":
            patch.setattr(winograd, "pays", lambda w_shape, images, *sizes: images > 0)
        if conv == "micro":
            patch.setattr(unfold, "FEW", 0)
        yield table


# ------------------------------------------------------------------ by hand


def row(*numbers):
    """A picture of one row, or a kernel of one row."""
    return np.array(numbers, float).reshape(1, 1, 1, -1)


def test_it_is_a_cross_correlation(ops):
    y = ops.conv2d_forward(row(1, 2, 4, 8), row(1, 10), np.array([100.0]), 1, 0, 1, 1)
    np.testing.assert_array_equal(y, row(121, 142, 184))  # 1*1 + 10*2 + 100; flipped it would be 112, ...


def test_backward_by_hand(ops):
    x, w, dy = row(1, 2, 4, 8), row(3, 10), row(1, 0.5, -1)
    np.testing.assert_array_equal(ops.conv2d_backward_input(dy, w, x.shape, 1, 0, 1, 1), row(3, 10 + 1.5, 5 - 3, -10))
    np.testing.assert_array_equal(ops.conv2d_backward_weight(dy, x, w.shape, 1, 0, 1, 1), row(-2, 2 + 2 - 8))
    np.testing.assert_array_equal(ops.conv2d_backward_bias(dy), [0.5])


def test_pixels_that_no_window_visits_get_gradient_zero(ops):
    x, w = np.ones((1, 1, 5, 5)), np.ones((1, 1, 2, 2))
    y = ops.conv2d_forward(x, w, None, 3, 0, 1, 1)
    assert y.shape == (1, 1, 2, 2)
    dx = ops.conv2d_backward_input(np.array([[[[1.0, 2], [3, 4]]]]), w, x.shape, 3, 0, 1, 1)
    expected = [[1, 1, 0, 2, 2], [1, 1, 0, 2, 2], [0, 0, 0, 0, 0], [3, 3, 0, 4, 4], [3, 3, 0, 4, 4]]
    np.testing.assert_array_equal(dx[0, 0], expected)


def test_padding_as_large_as_the_kernel_gives_the_bias_at_the_border(ops):
    y = ops.conv2d_forward(np.ones((1, 1, 1, 1)), np.full((1, 1, 2, 2), 3.0), np.array([7.0]), 1, 2, 1, 1)
    expected = [[7, 7, 7, 7], [7, 10, 10, 7], [7, 10, 10, 7], [7, 7, 7, 7]]
    np.testing.assert_array_equal(y[0, 0], expected)


def test_asymmetric_padding_goes_where_it_is_asked(ops):
    y = ops.conv2d_forward(row(1, 2), row(1), None, 1, ((1, 0), (0, 2)), 1, 1)
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0, 0], [1, 2, 0, 0]])


def test_groups_see_their_own_channels_only(ops):
    x = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1, 1)
    w = np.array([[1.0, 2], [3, 4]]).reshape(2, 2, 1, 1)
    np.testing.assert_array_equal(ops.conv2d_forward(x, w, None, 1, 0, 1, 2).ravel(), [21, 4300])
    np.testing.assert_array_equal(  # depthwise, with two outputs for each channel
        ops.conv2d_forward(x[:, :2], np.array([1.0, 2, 3, 4]).reshape(4, 1, 1, 1), None, 1, 0, 1, 2).ravel(),
        [1, 2, 30, 40],
    )


def test_transposed_convolution_stamps_the_kernel(ops):
    y = ops.conv_transpose2d_forward(row(1, 10), row(1, 2, 3), np.array([100.0]), 2, 0, 0, 1, 1)
    np.testing.assert_array_equal(y, row(101, 102, 113, 120, 130))


def test_transposed_convolution_with_output_padding_beyond_the_stride(ops):
    """Stride 1, dilation 3: two more columns than any stamp reaches from x's two pixels."""
    y = ops.conv_transpose2d_forward(row(1, 10), row(1, 2), np.array([0.5]), 1, 0, (0, 2), 3, 1)
    np.testing.assert_array_equal(y, row(1.5, 10.5, 0.5, 2.5, 20.5, 0.5, 0.5))
    dy = row(1, 2, 3, 4, 5, 6, 7)
    dx = ops.conv_transpose2d_backward_input(dy, row(1, 2), (1, 1, 1, 2), 1, 0, (0, 2), 3, 1)
    np.testing.assert_array_equal(dx, row(1 + 2 * 4, 2 + 2 * 5))
    dw = ops.conv_transpose2d_backward_weight(dy, row(1, 10), (1, 1, 1, 2), 1, 0, (0, 2), 3, 1)
    np.testing.assert_array_equal(dw, row(1 + 20, 4 + 50))


def test_transposed_groups_see_their_own_channels_only(ops):
    x = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1, 1)
    w = np.arange(1.0, 9).reshape(4, 2, 1, 1)
    y = ops.conv_transpose2d_forward(x, w, None, 1, 0, 0, 1, 2)
    np.testing.assert_array_equal(y.ravel(), [1 + 30, 2 + 40, 500 + 7000, 600 + 8000])


# ------------------------------------------------------------------ errors


def test_bad_shapes_are_named(ops):
    x, w, b = np.ones((2, 3, 5, 5)), np.ones((4, 3, 3, 3)), np.ones(4)
    with pytest.raises(ShapeError, match=r"^x has shape \(2, 2, 5, 5\): 2 channels, expected 3 \(the weight has shape"):
        ops.conv2d_forward(x[:, :2], w, b, 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^b has shape \(3,\), expected \(4,\)$"):
        ops.conv2d_forward(x, w, b[:3], 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^w has shape \(3, 3\), expected \(O, C/groups, kH, kW\)$"):
        ops.conv2d_forward(x, w[0, 0], b, 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 4, 5, 5\), expected \(2, 4, 3, 3\)$"):
        ops.conv2d_backward_input(np.ones((2, 4, 5, 5)), w, x.shape, 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 4, 5, 5\), expected \(2, 4, 3, 3\)$"):
        ops.conv2d_backward_weight(np.ones((2, 4, 5, 5)), x, w.shape, 1, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"covers 5 pixels \(dilation 2\), more than the padded input's height 4 = 2"):
        ops.conv2d_forward(x[:, :, :2], w, b, 1, 1, 2, 1)


def test_bad_shapes_of_the_transposed_convolution_are_named(ops):
    x, w, b = np.ones((2, 3, 5, 5)), np.ones((3, 4, 3, 3)), np.ones(4)
    with pytest.raises(ShapeError, match=r"^x has shape \(2, 2, 5, 5\): 2 channels, expected 3 \(the weight has shape"):
        ops.conv_transpose2d_forward(x[:, :2], w, b, 1, 0, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^b has shape \(3,\), expected \(4,\)$"):
        ops.conv_transpose2d_forward(x, w, b[:3], 1, 0, 0, 1, 1)
    with pytest.raises(ShapeError, match=r"^w has shape \(3, 3\), expected \(C, O/groups, kH, kW\)$"):
        ops.conv_transpose2d_forward(x, w[0, 0], b, 1, 0, 0, 1, 1)
    for found in ((w, x.shape), (x, w.shape)):
        op = ops.conv_transpose2d_backward_input if found[0] is w else ops.conv_transpose2d_backward_weight
        with pytest.raises(ShapeError, match=r"^dy has shape \(2, 4, 5, 5\), expected \(2, 4, 7, 7\)$"):
            op(np.ones((2, 4, 5, 5)), *found, 1, 0, 0, 1, 1)


# ------------------------------------------------------------------ drawn configurations


class Conv(NamedTuple):
    x_shape: tuple
    w_shape: tuple
    geometry: tuple  # what a convolution op takes last, in its order
    bias: bool
    dtype: type
    seed: int

    def arrays(self, y_shape):
        """x, w, b (or None) and dy."""
        rng = np.random.default_rng(self.seed)
        shapes = (self.x_shape, self.w_shape, y_shape[1:2], y_shape)
        x, w, b, dy = (rng.normal(size=shape).astype(self.dtype) for shape in shapes)
        return x, w, b if self.bias else None, dy


@st.composite
def channels(draw, largest):
    """(channels of x, channels of y, groups); often depthwise."""
    groups = draw(st.integers(1, 3))
    return groups * draw(st.integers(1, largest)), groups * draw(st.integers(1, largest)), groups


@st.composite
def convolutions(draw, kernel=4, extra=6, largest=3):
    """A legal convolution: images are made as large as the dilated kernel needs, plus `extra` at most."""
    C, O, groups = draw(channels(largest))
    size, stride, dilation = draw(pairs(1, kernel)), draw(pairs(1, 3)), draw(pairs(1, 3))
    padding = draw(st.tuples(pairs(0, 4), pairs(0, 4)))
    image = tuple(
        max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, extra))
        for k, d, p in zip(size, dilation, padding, strict=True)
    )
    return Conv(
        (draw(batches), C, *image),
        (O, C // groups, *size),
        (stride, padding, dilation, groups),
        *(draw(st.booleans()), draw(st.sampled_from([np.float64, np.float32])), draw(st.integers(0, 2**32 - 1))),
    )


@st.composite
def transposed_convolutions(draw):
    """A legal transposed convolution, with the padding that PyTorch knows: the same on both sides."""
    C, O, groups = draw(channels(2))
    image, size, stride, dilation = draw(pairs(1, 4)), draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 3))
    output_padding, padding = [], []
    for n, k, s, d in zip(image, size, stride, dilation, strict=True):
        output_padding.append(draw(st.integers(0, max(s, d) - 1)))
        whole = (n - 1) * s + d * (k - 1) + 1 + output_padding[-1]
        padding.append(draw(st.integers(0, min(4, (whole - 1) // 2))))
    return Conv(
        (draw(batches), C, *image),
        (C, O // groups, *size),
        (stride, tuple(padding), tuple(output_padding), dilation, groups),
        *(draw(st.booleans()), draw(st.sampled_from([np.float64, np.float32])), draw(st.integers(0, 2**32 - 1))),
    )


@drawn(100)
@given(conv=convolutions(kernel=3, extra=3, largest=2))
def test_all_passes_agree_with_the_plain_loops(ops, conv):
    x, w, b, dy = conv.arrays(conv2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))
    close(ops.conv2d_forward(x, w, b, *conv.geometry), conv_loops.conv2d_forward(x, w, b, *conv.geometry))
    close(
        ops.conv2d_backward_input(dy, w, x.shape, *conv.geometry),
        conv_loops.conv2d_backward_input(dy, w, x.shape, *conv.geometry),
    )
    close(
        ops.conv2d_backward_weight(dy, x, w.shape, *conv.geometry),
        conv_loops.conv2d_backward_weight(dy, x, w.shape, *conv.geometry),
    )
    close(ops.conv2d_backward_bias(dy), dy.astype(float).sum(axis=(0, 2, 3)).astype(dy.dtype))


def inner(a, b):
    """<a, b>, and the size that its rounding error is measured by."""
    products = a.astype(float) * b
    return products.sum(), np.abs(products).sum() + 1


def check_adjoint(left, right, dtype):
    (a, size), (b, _) = inner(*left), inner(*right)
    assert abs(a - b) <= (1e-12 if dtype is np.float64 else 1e-5) * size


@drawn(150)
@given(conv=convolutions())
def test_backward_is_the_adjoint_of_forward(ops, conv):
    """Forward is linear in x and in w, so each backward is its adjoint: <conv(x, w), dy> = <x, dx> = <w, dw>."""
    x, w, _, dy = conv.arrays(conv2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))
    y = ops.conv2d_forward(x, w, None, *conv.geometry)
    check_adjoint((y, dy), (x, ops.conv2d_backward_input(dy, w, x.shape, *conv.geometry)), conv.dtype)
    check_adjoint((y, dy), (w, ops.conv2d_backward_weight(dy, x, w.shape, *conv.geometry)), conv.dtype)


@drawn(150)
@given(conv=transposed_convolutions())
def test_transposed_backward_is_the_adjoint_of_forward(ops, conv):
    x, w, _, dy = conv.arrays(conv_transpose2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))
    y = ops.conv_transpose2d_forward(x, w, None, *conv.geometry)
    check_adjoint((y, dy), (x, ops.conv_transpose2d_backward_input(dy, w, x.shape, *conv.geometry)), conv.dtype)
    check_adjoint((y, dy), (w, ops.conv_transpose2d_backward_weight(dy, x, w.shape, *conv.geometry)), conv.dtype)


@drawn(100)
@given(conv=convolutions())
def test_transposed_forward_is_the_adjoint_of_convolution(ops, conv):
    """<conv(x), y> = <x, conv_transpose(y)>, the same w; output_padding makes up for what the stride left over."""
    x, w, _, y = conv.arrays(conv2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))
    stride, padding, dilation, groups = conv.geometry
    without = conv_transpose2d_output_shape(y.shape, w.shape, stride, 0, 0, dilation, groups)
    left_over = [n + sum(p) - whole for n, p, whole in zip(x.shape[2:], padding, without[2:], strict=True)]
    back = ops.conv_transpose2d_forward(y, w, None, stride, padding, left_over, dilation, groups)
    check_adjoint((ops.conv2d_forward(x, w, None, *conv.geometry), y), (x, back), conv.dtype)


@drawn(250)
@given(conv=convolutions())
def test_convolution_agrees_with_pytorch(ops, torch, conv):
    stride, (vertical, horizontal), dilation, groups = conv.geometry
    x, w, b, dy = conv.arrays(conv2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))

    def oracle(x, w, b=None):
        padded = torch.nn.functional.pad(x, (*horizontal, *vertical))
        return torch.nn.functional.conv2d(padded, w, b, stride, 0, dilation, groups)

    y, gradients = torch_gradients(torch, oracle, [a for a in (x, w, b) if a is not None], dy)
    close(ops.conv2d_forward(x, w, b, *conv.geometry), y)
    close(ops.conv2d_backward_input(dy, w, x.shape, *conv.geometry), gradients[0])
    close(ops.conv2d_backward_weight(dy, x, w.shape, *conv.geometry), gradients[1])
    if b is not None:
        close(ops.conv2d_backward_bias(dy), gradients[2])


@drawn(100)
@given(conv=transposed_convolutions())
def test_transposed_convolution_agrees_with_pytorch(ops, torch, conv):
    stride, padding, output_padding, dilation, groups = conv.geometry
    x, w, b, dy = conv.arrays(conv_transpose2d_output_shape(conv.x_shape, conv.w_shape, *conv.geometry))

    def oracle(x, w, b=None):
        return torch.nn.functional.conv_transpose2d(x, w, b, stride, padding, output_padding, groups, dilation)

    y, gradients = torch_gradients(torch, oracle, [a for a in (x, w, b) if a is not None], dy)
    close(ops.conv_transpose2d_forward(x, w, b, *conv.geometry), y)
    close(ops.conv_transpose2d_backward_input(dy, w, x.shape, *conv.geometry), gradients[0])
    close(ops.conv_transpose2d_backward_weight(dy, x, w.shape, *conv.geometry), gradients[1])


@pytest.mark.skipif(SIMULATED, reason="three million pixels, an hour in the simulator")
def test_the_bias_gradient_of_many_pixels_is_summed_in_float64(ops):
    dy = np.full((1, 1, 1500, 2000), 0.1, np.float32)
    exact = float(np.float32(0.1)) * dy.size
    roundings = 8 if ops.name == "cuda" else 1  # one at the end; on the GPU float32 sums in a tree
    assert abs(ops.conv2d_backward_bias(dy)[0] - exact) <= roundings * 2**-24 * exact
