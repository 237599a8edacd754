"""Every number of a pass is the sum of its terms: all layers, both precisions, many elements of every array."""

import numpy as np
import pytest
from layer_cases import CASES

from minisegnet import layers, trace
from minisegnet.layers import BatchNorm2d, Conv2d, MaxPool2d, PoolUnpool, ReLU, Sequential
from minisegnet.trace.explanation import EXPLAINERS

ELEMENTS = 12  # of each array


def case_trace(case, dtype=np.float64):
    """A trace of a layer case, with a random dy."""
    layer, x = case.layer(dtype), case.x(dtype)
    dy = np.random.default_rng(2).standard_normal(layer(x).shape).astype(dtype)
    return trace.record(case.layer(dtype), x, dy=dy)


def arrays_to_explain(stop):
    """The names of all arrays of a stop that have an explainer."""
    for kind, of in EXPLAINERS:
        if kind == stop.kind:
            yield from ([f"{of[:-1]}{b}" for b in stop.branches] if of.endswith(".*") else [of])


def some_elements(array, rng, count=ELEMENTS):
    """Random indices, and the two corners, where padding and strides show."""
    if array.ndim == 0:
        return [()]
    places = {(0,) * array.ndim, tuple(size - 1 for size in array.shape)}
    return places | {
        tuple(int(i) for i in np.unravel_index(k, array.shape)) for k in rng.integers(0, array.size, count)
    }


def assert_explained(explanation, value):
    """The terms add up to the recorded value, and the factors are elements of recorded arrays."""
    relative = 1e-12 if explanation.stop.dtype == np.float64 else 1e-5
    products = [np.prod([value for _, _, value in term.factors]) for term in explanation.terms]
    size = np.abs(products).sum() + np.finfo(explanation.stop.dtype).tiny
    assert explanation.recorded == float(value)
    assert abs(sum(products) - float(value)) <= relative * size, explanation
    assert explanation.agrees, explanation
    for term in explanation.terms:
        for array, index, factor in term.factors:
            if array in explanation.stop and index is not None:
                assert factor == float(explanation.stop[array][index])


def assert_all_explained(t, rng, count=ELEMENTS):
    """Some elements of every array of every stop; returns what was explained, as (kind, of)."""
    found = set()
    for stop in (*t.stops, *t.losses):
        for of in arrays_to_explain(stop):
            if of in stop:
                for index in some_elements(stop[of], rng, count):
                    assert_explained(t.explain(stop.name, index, of), stop[of][index])
                found.add((stop.kind, of.partition(".")[0]))
    return found


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_terms_add_up_to_what_was_recorded(case, dtype):
    assert assert_all_explained(case_trace(case, dtype), np.random.default_rng(5))


def test_every_layer_is_explained_forward_and_backward():
    """All x, all y; and the gradient of every parameter."""
    for case in CASES:
        for stop in case_trace(case).stops:
            known = set(arrays_to_explain(stop))
            backward = {n for n in stop.arrays if n.partition(".")[0] == "dx"} | {f"d{name}" for name in stop.params}
            forward = {n for n in stop.arrays if n.partition(".")[0] == "y"}
            assert backward | forward <= known, stop
    kinds = {stop.kind for case in CASES for stop in case_trace(case).stops}
    combinators = {"Sequential", "Sum", "Concat", "PoolUnpool", "SameSize"}
    assert set(layers.__all__) - combinators <= kinds
    assert kinds - set(layers.__all__) == {"fork", "sum", "concat", "unpool", "resize"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_whole_of_dx_is_explained_where_it_is_small(case):
    """Not only some elements: a wrong corner would be missed."""
    t = case_trace(case)
    dx = t.stops[0].dx
    sums = [t.explain(t.stops[0].name, index, "dx").total for index in np.ndindex(dx.shape)]
    np.testing.assert_allclose(np.reshape(sums, dx.shape), dx, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------ what a term says


def plane(rows):
    return np.array([[rows]], np.float64)


def conv_trace():
    net = Sequential(conv=Conv2d(1, 1, 3, padding=1, dtype=np.float64, rng=0))
    net["conv"].weight.value[:] = np.arange(9).reshape(1, 1, 3, 3)
    return trace.record(net, plane(np.eye(3)), dy=plane([[1, 2, 3], [4, 5, 6], [7, 8, 9]]))


def test_terms_of_a_corner_of_a_convolution_by_hand():
    found = conv_trace().explain("conv", (0, 0, 0, 0), of="dx")
    terms = [[(array, index, value) for array, index, value in term.factors] for term in found.terms]
    # four windows see the corner, and the kernel is met in reverse order: w[1,1] in the first, w[0,0] in the last
    assert terms == [
        [("dy", (0, 0, 0, 0), 1), ("weight", (0, 0, 1, 1), 4)],
        [("dy", (0, 0, 0, 1), 2), ("weight", (0, 0, 1, 0), 3)],
        [("dy", (0, 0, 1, 0), 4), ("weight", (0, 0, 0, 1), 1)],
        [("dy", (0, 0, 1, 1), 5), ("weight", (0, 0, 0, 0), 0)],
    ]
    assert [term.running for term in found.terms] == [4, 10, 14, 14]
    assert found.total == found.recorded == 14


def test_the_middle_of_a_map_has_more_terms_than_a_corner():
    t = conv_trace()
    assert len(list(t.explain("conv", (0, 0, 1, 1), "dx").terms)) == 9
    assert len(list(t.explain("conv", (0, 0, 0, 1), "dx").terms)) == 6
    weight = t.explain("conv", (0, 0, 0, 0), "dweight")
    assert [term.factors[1][1] for term in weight.terms] == [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 1, 1)]
    assert weight.total == 5 + 9  # dy where the diagonal of ones is, one row and column up


def test_a_pixel_that_the_stride_steps_over_has_no_terms():
    net = Conv2d(1, 1, 1, stride=2, dtype=np.float64, rng=0)
    found = trace.record(net, np.ones((1, 1, 3, 3)), dy=np.ones((1, 1, 2, 2))).explain("Conv2d", (0, 0, 0, 1), "dx")
    assert (list(found.terms), found.total, found.recorded) == ([], 0, 0)
    assert found.agrees
    assert found.note == "no window has this pixel under its kernel: the stride steps over it"


def test_max_pooling_says_who_won_and_that_it_was_a_tie():
    t = trace.record(MaxPool2d(2, stride=1), np.ones((1, 1, 3, 3)), dy=plane([[1, 2], [3, 4]]))
    y = t.explain("MaxPool2d", (0, 0, 1, 1))
    assert y.note == "the largest is at row 1, column 1, the first of 4 that are equal; the switch is 1*3 + 1 = 4"
    assert y.facts == {"switch": 4, "ties": 3}
    assert y.seen.factors[0].index.tolist() == [[0, 0, 1, 1], [0, 0, 1, 2], [0, 0, 2, 1], [0, 0, 2, 2]]
    won = t.explain("MaxPool2d", (0, 0, 1, 1), "dx")
    assert [(term.factors[0][1], term.product) for term in won.terms] == [((0, 0, 1, 1), 4)]
    assert won.note == "this pixel was seen by 4 windows and won in 1"
    lost = t.explain("MaxPool2d", (0, 0, 2, 2), "dx")
    assert (list(lost.terms), lost.note) == ([], "this pixel was seen by 1 window and won in 0")


def test_overlapping_windows_that_chose_one_pixel_add_up():
    x = plane([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    t = trace.record(MaxPool2d(2, stride=1), x, dy=plane([[1, 2], [3, 4]]))
    assert [term.product for term in t.explain("MaxPool2d", (0, 0, 1, 1), "dx").terms] == [1, 2, 3, 4]


def test_unpooling_says_that_a_value_was_replaced():
    x = plane([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    t = trace.record(PoolUnpool(ReLU(), kernel_size=2, stride=1), x, dy=np.ones((1, 1, 3, 3)))
    first, last = (t.explain("(unpool)", (0, 0, i, i), "dx") for i in (0, 1))
    assert first.note == "x[0,0,1,1], put at the same place later, replaced this value: it had no effect"
    assert (first.total, last.total) == (0, 1)
    assert last.note == "forward put this value at row 1, column 1"
    assert t.explain("(unpool)", (0, 0, 0, 0)).note == "the pooling found no maximum here: zero"


def test_a_gate_says_whether_it_was_open():
    t = trace.record(ReLU(), np.array([-1.0, 0.0, 2.0]), dy=np.array([5.0, 6.0, 7.0]))
    notes = [t.explain("ReLU", i, "dx").note for i in range(3)]
    assert notes == [
        "x[0] = -1 <= 0: the gate is shut",
        "x[1] = 0 <= 0: the gate is shut",
        "x[2] = 2 > 0: the gate is open",
    ]
    assert [t.explain("ReLU", i, "dx").total for i in range(3)] == [0, 0, 7]


def test_batch_norm_has_three_ways_back_and_in_eval_one():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 2, 1, 2, 2))
    net = BatchNorm2d(1, dtype=np.float64)
    found = trace.record(net, x, dy=dy).explain("BatchNorm2d", (0, 0, 1, 1), "dx")
    assert [(g.name, len(g)) for g in found.groups] == [("by the value", 1), ("by the mean", 8), ("by the variance", 8)]
    std = np.sqrt(x.var() + 1e-5)
    normed = (x - x.mean()) / std
    ways = [dy[0, 0, 1, 1] / std, -dy.mean() / std, -normed[0, 0, 1, 1] * (dy * normed).mean() / std]
    np.testing.assert_allclose([g.products.sum() for g in found.groups], ways, rtol=1e-12)
    found = trace.record(net.eval(), x, dy=dy).explain("BatchNorm2d", (0, 0, 1, 1), "dx")
    assert [g.name for g in found.groups] == ["by the value"]


def test_the_four_weights_of_bilinear_enlarging_sum_to_one():
    t = trace.record(layers.Upsample(scale_factor=2, mode="bilinear"), np.ones((1, 1, 3, 3)), dy=np.ones((1, 1, 6, 6)))
    (g,) = t.explain("Upsample", (0, 0, 2, 3)).groups
    assert g.factors[1].value.tolist() == [0.25 * 0.75, 0.25 * 0.25, 0.75 * 0.75, 0.75 * 0.25]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resizing_from_any_size_to_any_size(mode):
    """Rounding decides which pixel is copied: from 4 to 82, float32 and float64 disagree."""
    how = [(10, {"size": (1, count)}) for count in (1, 3, 7, 13, 20, 27)] + [(4, {"size": (1, 82)})]
    how += [(10, {"scale_factor": (1, factor)}) for factor in (0.7, 1.3, 2.5)]
    for size, options in how:
        x = np.random.default_rng(0).standard_normal((1, 1, 1, size))
        net = layers.Upsample(mode=mode, **options)
        t = trace.record(net, x, dy=net(x))
        for of in ("y", "dx"):
            sums = [t.explain("Upsample", index, of).total for index in np.ndindex(t.stops[0][of].shape)]
            np.testing.assert_allclose(sums, t.stops[0][of].ravel(), rtol=1e-12, atol=1e-13, err_msg=str(options))


@pytest.mark.parametrize("kind", ["conv", "avg_pool_padded", "upsample_bilinear_to_size", "sum", "batch_norm"])
def test_a_wrong_coefficient_is_noticed(kind):
    """The check can fail: a recorded gradient that is a little wrong is not the sum of its terms."""
    t = case_trace(next(case for case in CASES if case.name == kind))
    stop = t.stops[0]
    index = (0,) * stop.dx.ndim
    assert t.explain(stop.name, index, "dx").agrees
    wrong = stop.dx.copy()
    wrong[index] *= 1 + 1e-9
    stop.arrays["dx"] = wrong
    found = t.explain(stop.name, index, "dx")
    assert not found.agrees
    assert str(found).endswith("which is NOT THE SAME")
