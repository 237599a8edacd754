"""Dilated convolutions: phases on a sheet and rectangles without padding, each made to take what it can."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import batches, close, drawn, pairs, torch_gradients

import kernels
from kernels import ShapeError, reference
from kernels.cpu import dilated, winograd
from kernels.shapes import conv2d_output_shape
from kernels.threads import get_num_threads

WAYS = {"phases": dilated.PHASES, "rectangles": dilated.RECTANGLES}
DEFAULT = dilated.way


def forced(found):
    """A stand-in for `dilated.way` that takes the Way `found` wherever it is possible."""

    def way(axes, images, w_shape, *fewest):
        possible = images > 0 and (found is dilated.RECTANGLES or w_shape[2:] == (3, 3))
        return found if possible else None

    return way


@pytest.fixture(params=WAYS, scope="module")
def ops(request):
    """The last rung of the ladder, which takes one way for all dilated convolutions, however small."""
    with kernels.use("cpu", conv="winograd") as table, pytest.MonkeyPatch.context() as patch:
        patch.setattr(dilated, "way", forced(WAYS[request.param]))
        yield table


def arrays(x_shape, w_shape, geometry, dtype=np.float64, seed=0):
    """x, w, b and dy."""
    rng = np.random.default_rng(seed)
    shapes = x_shape, w_shape, w_shape[:1], conv2d_output_shape(x_shape, w_shape, *geometry)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def passes(ops, x, w, b, dy, geometry):
    """y, relu(y), dx and dw."""
    return (
        ops.conv2d_forward(x, w, b, *geometry),
        ops.conv2d_relu_forward(x, w, b, *geometry),
        ops.conv2d_backward_input(dy, w, x.shape, *geometry),
        ops.conv2d_backward_weight(dy, x, w.shape, *geometry),
    )


def agree(ops, x, w, b, dy, geometry):
    """Assert that all passes give what the reference does."""
    for ours, expected in zip(
        passes(ops, x, w, b, dy, geometry), passes(reference, x, w, b, dy, geometry), strict=True
    ):
        close(ours, expected)


# ------------------------------------------------------------------ by hand


def line(*numbers):
    """A picture of one row."""
    return np.array(numbers, float).reshape(1, 1, 1, -1)


def kernel(*numbers):
    """3x3, with these numbers in the middle row and 7 elsewhere, where a picture of one row has only padding."""
    w = np.full((1, 1, 3, 3), 7.0)
    w[0, 0, 1] = numbers
    return w


def test_a_row_by_hand(ops):
    """Dilation 2: outputs see the pixels two to the left and two to the right."""
    x, w, geometry = line(1, 2, 4, 8, 16), kernel(100, 10, 1), (1, 2, 2, 1)
    close(
        ops.conv2d_forward(x, w, np.array([0.5]), *geometry),
        line(10 + 4 + 0.5, 20 + 8 + 0.5, 100 + 40 + 16 + 0.5, 200 + 80 + 0.5, 400 + 160 + 0.5),
    )
    dy = line(1, 0, 0, 0, -1)
    close(ops.conv2d_backward_input(dy, w, x.shape, *geometry), line(10, 0, 1 - 100, 0, -10))
    dw = ops.conv2d_backward_weight(dy, x, w.shape, *geometry)
    close(dw, np.array([[0, 0, 0], [-4, 1 - 16, 4], [0, 0, 0]], float)[None, None])


def test_taps_that_see_only_padding_get_gradient_zero(ops):
    x, w, _, dy = arrays((2, 3, 5, 4), (4, 3, 3, 3), (1, 5, 5, 1))
    dw = ops.conv2d_backward_weight(dy, x, w.shape, 1, 5, 5, 1)
    close(dw[:, :, 1, 1], np.einsum("nohw,nchw->oc", dy, x))
    dw[:, :, 1, 1] = 0
    assert np.abs(dw).max() < 1e-12


def test_where_no_tap_sees_anything_there_is_the_bias(ops):
    """One pixel in the midst of padding, which lies between all nine taps."""
    x, w, b, dy = arrays((2, 3, 1, 1), (4, 3, 2, 2), (1, 1, 2, 1))
    y, relu, dx, dw = passes(ops, x, w, b, dy, (1, 1, 2, 1))
    close(y, np.broadcast_to(b[:, None, None], dy.shape))
    close(relu, np.maximum(y, 0))
    close(dx, np.zeros_like(x))
    close(dw, np.zeros_like(w))


@pytest.mark.parametrize("tap", range(3))
def test_runs_and_rectangles_are_what_counting_finds(tap):
    """Axis.run, .spans and .products against the definition, over many axes."""
    for outputs, inputs, dilation, before in np.ndindex(7, 6, 5, 9):
        axis = dilated.Axis(outputs + 1, inputs + 1, 3, dilation + 1, before - 3)
        for a in (axis, axis.turned()):
            sees = np.array(
                [[0 <= i + r * a.dilation - a.before < a.inputs for r in range(3)] for i in range(a.outputs)]
            )
            start, count = a.run(tap)
            assert (np.flatnonzero(sees[:, tap]) == start + np.arange(count)).all()
            assert a.products() == sees.sum()
            spans = a.spans()
            assert [s[0] for s in spans] == [0, *(s[1] for s in spans[:-1])]
            assert spans[-1][1] == a.outputs
            for start, stop, low, high in spans:
                assert (sees[start:stop] == [low <= r < high for r in range(3)]).all()


# ------------------------------------------------------------------ against the reference and PyTorch


@st.composite
def convolutions(draw, kernels_=(1, 2, 3, 3, 3, 4), symmetric=False):
    """(x shape, w shape, geometry, dtype, seed): padding up to beyond the map, and maps that a kernel just fits."""
    groups = draw(st.sampled_from((1, 1, 1, 2)))
    C, O = (groups * draw(st.integers(1, 3)) for _ in range(2))
    size = (draw(st.sampled_from(kernels_)), draw(st.sampled_from(kernels_)))
    dilation, stride = draw(pairs(1, 7)), draw(st.sampled_from(((1, 1), (1, 1), (1, 1), (2, 1))))
    padding = draw(st.tuples(pairs(0, 12), pairs(0, 12)))
    if symmetric:
        padding = tuple((p, p) for p, _ in padding)
    image = tuple(
        max(1, d * (k - 1) + 1 - sum(p)) + draw(st.integers(0, 12))
        for k, d, p in zip(size, dilation, padding, strict=True)
    )
    shapes = (draw(batches), C, *image), (O, C // groups, *size)
    return (
        *shapes,
        (stride, padding, dilation, groups),
        draw(st.sampled_from((np.float64, np.float32))),
        draw(st.integers(0, 2**32 - 1)),
    )


@drawn(250)
@given(conv=convolutions())
def test_all_passes_agree_with_the_reference(ops, conv):
    x_shape, w_shape, geometry, dtype, seed = conv
    agree(ops, *arrays(x_shape, w_shape, geometry, dtype, seed), geometry)


@drawn(100)
@given(conv=convolutions(kernels_=(3,), symmetric=True))
def test_gradients_agree_with_pytorch(ops, torch, conv):
    x_shape, w_shape, geometry, dtype, seed = conv
    x, w, b, dy = arrays(x_shape, w_shape, geometry, dtype, seed)
    stride, ((top, _), (left, _)), dilation, groups = geometry

    def oracle(x, w, b):
        return torch.nn.functional.conv2d(x, w, b, stride, (top, left), dilation, groups)

    y, gradients = torch_gradients(torch, oracle, (x, w, b), dy)
    ours = passes(ops, x, w, b, dy, geometry)
    for a, expected in zip(ours, (y, np.maximum(y, 0), *gradients[:2]), strict=True):
        close(a, expected)


# x (N, C, H, W), outputs, padding, dilation: many tiles and partial ones, maps cut unevenly
LARGE = [
    ((4, 20, 22, 30), 18, 4, 4),
    ((2, 16, 45, 31), 33, (6, 5), (3, 5)),
    ((3, 12, 33, 33), 16, ((12, 3), (0, 14)), (12, 7)),
    ((2, 40, 17, 19), 7, 18, (18, 9)),
    ((1, 16, 40, 50), 16, 0, (6, 2)),
    ((2, 12, 14, 15), 16, ((0, 9), (1, 12)), (2, 3)),  # outputs that see padding alone, on one side
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize(("x_shape", "outputs", "padding", "dilation"), LARGE)
def test_large_maps_agree_with_the_reference(ops, x_shape, outputs, padding, dilation, dtype, monkeypatch):
    monkeypatch.setattr(dilated, "NUMBERS", 20_000)  # so that images come one by one
    geometry = (1, padding, dilation, 1)
    agree(ops, *arrays(x_shape, (outputs, x_shape[1], 3, 3), geometry, dtype), geometry)


def test_no_bias(ops):
    x, w, _, dy = arrays((2, 5, 9, 11), (6, 5, 3, 3), (1, 4, 4, 1))
    agree(ops, x, w, None, dy, (1, 4, 4, 1))


# ------------------------------------------------------------------ arrays


def test_inputs_stay_as_they_are_and_may_lie_anyhow_in_memory(ops):
    geometry = (1, (3, 5), (3, 5), 1)
    plain = arrays((2, 6, 14, 13), (5, 6, 3, 3), geometry)
    expected = passes(ops, *plain, geometry)
    odd = []
    for a in plain:
        wide = np.full([2 * n for n in a.shape], np.nan)
        part = wide[tuple(slice(None, None, 2) for _ in a.shape)]
        part[...] = a
        part.flags.writeable = False
        odd.append(part)
    for ours, result in zip(passes(ops, *odd, geometry), expected, strict=True):
        np.testing.assert_array_equal(ours, result)
    for part, a in zip(odd, plain, strict=True):
        np.testing.assert_array_equal(part, a)


def test_the_number_of_threads_changes_no_bit(ops):
    geometry, before, results = (1, 6, (6, 4), 1), get_num_threads(), []
    given_ = arrays((3, 24, 30, 32), (24, 24, 3, 3), geometry, np.float32)
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            results.append(passes(ops, *given_, geometry))
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_relu_lets_nan_pass(ops):
    x, w, b, _ = arrays((2, 12, 20, 21), (13, 12, 3, 3), (1, 5, 5, 1))
    x[0, 0, 3, 4] = np.nan
    y = ops.conv2d_relu_forward(x, w, b, 1, 5, 5, 1)
    np.testing.assert_array_equal(y, ops.relu_forward(ops.conv2d_forward(x, w, b, 1, 5, 5, 1)))
    assert np.isnan(y).any()


def test_bad_shapes_are_named(ops):
    x, w, b, dy = arrays((2, 3, 9, 9), (4, 3, 3, 3), (1, 2, 2, 1))
    with pytest.raises(ShapeError, match=r"^b has shape \(3,\), expected \(4,\)$"):
        ops.conv2d_forward(x, w, b[:3], 1, 2, 2, 1)
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 4, 8, 9\), expected \(2, 4, 9, 9\)$"):
        ops.conv2d_backward_input(dy[:, :, 1:], w, x.shape, 1, 2, 2, 1)
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 4, 8, 9\), expected \(2, 4, 9, 9\)$"):
        ops.conv2d_backward_weight(dy[:, :, 1:], x, w.shape, 1, 2, 2, 1)
    with pytest.raises(ValueError, match=r"^dilation must be at least 1, got 0$"):
        ops.conv2d_forward(x, w, b, 1, 2, 0, 1)


# ------------------------------------------------------------------ choosing


def chosen(x_shape, w_shape, padding, dilation, fewest=1):
    y_shape = conv2d_output_shape(x_shape, w_shape, 1, padding, dilation, 1)
    return DEFAULT(dilated.axes_of(x_shape, w_shape, y_shape, padding, dilation), x_shape[0], w_shape, fewest)


def test_the_way_follows_from_the_sizes():
    w_shape, x_shape = (64, 128, 3, 3), (4, 128, 22, 30)
    assert [chosen(x_shape, w_shape, d, d) for d in (2, 4)] == [dilated.PHASES] * 2
    assert [chosen(x_shape, w_shape, d, d) for d in (12, 24, 36)] == [dilated.RECTANGLES] * 3
    assert chosen(x_shape, w_shape, 2, 2, fewest=10**6) is None  # nearly no padding to spare
    assert chosen((4, 128, 22, 30), (64, 128, 5, 5), 4, 2) is None
    assert chosen((2, 4, 64, 64), (4, 4, 3, 3), 8, 8) is None  # few channels
    assert chosen((0, 128, 22, 30), w_shape, 2, 2) is None  # an empty batch


@pytest.mark.parametrize(("stride", "dilation", "groups"), [(2, 2, 1), ((1, 2), 2, 1), (1, 2, 2), (1, 1, 1)])
def test_other_convolutions_go_the_way_of_the_rung_below(stride, dilation, groups, monkeypatch):
    monkeypatch.setattr(dilated, "way", lambda *given_: pytest.fail("not for this module"))
    geometry = stride, 2, dilation, groups
    given_ = arrays((2, 4, 9, 11), (4, 4 // groups, 3, 3), geometry)
    for ours, below in zip(passes(dilated, *given_, geometry), passes(winograd, *given_, geometry), strict=True):
        np.testing.assert_array_equal(ours, below)


@pytest.mark.parametrize("dilation", [2, 12])
def test_by_default_both_ways_are_taken(dilation, monkeypatch):
    monkeypatch.setattr(dilated, "way", DEFAULT)
    geometry = (1, dilation, dilation, 1)
    given_ = arrays((2, 64, 22, 30), (64, 64, 3, 3), geometry, np.float32)
    assert chosen(given_[0].shape, given_[1].shape, dilation, dilation) in WAYS.values()
    with kernels.use("cpu") as ops:
        assert ops.conv2d_forward.__module__ == "kernels.cpu.dilated"
        agree(ops, *given_, geometry)
