"""What holds for every layer and combinator, checked on all the cases of `layer_cases`."""

import copy
import pickle
import re

import numpy as np
import pytest
from layer_cases import CASES
from oracle import assert_agrees, requires_torch, torch

from minisegnet import ShapeError, layers
from minisegnet.core import arrays_in
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import BatchNorm2d, Dropout, Identity, Sequential, Sum


def every(cases=CASES):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def test_every_public_layer_has_a_case():
    assert {type(case.make()).__name__ for case in CASES} == set(layers.__all__)
    assert len({case.name for case in CASES}) == len(CASES)


# ------------------------------------------------------------------ values and gradients


@every()
def test_gradients_agree_with_finite_differences(case):
    report = gradcheck(case.layer(), case.x())
    assert report, report
    assert all(row.checked for row in report.rows), report


@requires_torch
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@every()
def test_values_and_gradients_agree_with_pytorch(case, dtype):
    layer, x = case.layer(dtype), case.x(dtype)
    rng = np.random.default_rng(3)
    assert_agrees(layer, x, rng)
    assert_agrees(layer, 2 * x[::-1] + 1, rng)  # a second batch, on the running statistics of the first


SAME_SHAPE = [case for case in CASES if case.layer()(case.x()).shape == case.x_shape]


def test_most_kinds_of_layers_have_a_case_that_keeps_the_shape():
    kinds = {type(case.make()).__name__ for case in SAME_SHAPE}
    assert set(layers.__all__) - kinds == {"AdaptiveAvgPool2d", "Concat", "Flatten", "Upsample"}


@every(SAME_SHAPE)
def test_a_layer_used_twice_in_a_row(case):
    layer = case.layer()
    report = gradcheck(Sequential(layer, layer), case.x(), dense=60, samples=20)
    assert report, report


@pytest.mark.parametrize("first", ["layer", "identity"])
@every(SAME_SHAPE)
def test_inside_a_sum_with_the_identity(case, first):
    """The classic trap: a backward that changes dy in place, or returns it changed, spoils the other branch."""
    pair = (case.layer(), Identity()) if first == "layer" else (Identity(), case.layer())
    report = gradcheck(Sum(*pair), case.x(), dense=60, samples=20)
    assert report, report


@every()
def test_a_layer_used_twice_side_by_side(case):
    layer, x = case.layer(), case.x()
    report = gradcheck(Sum(layer, layer), x, dense=60, samples=20)
    assert report, report
    if not case.kinds & {"Dropout"}:  # which drops something else each time
        _, _, *once = case.passes(layer, x)
        _, _, *twice = case.passes(Sum(layer, layer), x)
        for one, two in zip(once, twice, strict=True):
            np.testing.assert_allclose(two, 2 * one, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------ layouts, and arrays that stay as they were


def spread_out(a):
    """a in every second row, column, ... of a larger array: x[::2, ::2]."""
    larger = np.full([2 * length for length in a.shape], np.nan, a.dtype)
    view = larger[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def backwards(a):
    """a as a view with negative strides along all axes."""
    flip = (slice(None, None, -1),) * a.ndim
    return a[flip].copy()[flip]


def channels_last(a):
    """a stored with its axis 1 last, where it has one."""
    return np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1) if a.ndim > 1 else a.copy()


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def memory(a):
    """A copy of all the memory around the view a."""
    return (a if a.base is None else a.base).copy()


@pytest.mark.parametrize(
    "layout", [spread_out, backwards, channels_last, np.asfortranarray, read_only], ids=lambda f: f.__name__
)
@every()
def test_any_layout_gives_the_same_and_nothing_is_modified(case, layout):
    plain = case.passes(case.layer(), case.x())
    layer = case.layer()
    values = [p.value.copy() for p in layer.parameters()]
    x = layout(case.x())
    x_memory = memory(x)
    y, saved = layer.forward(x)
    dy = layout(np.random.default_rng(2).standard_normal(y.shape))
    dy_memory, y_before, kept = memory(dy), y.copy(), [a.copy() for a in arrays_in(saved)]
    dx = layer.backward(dy, saved)

    for found, expected in zip([y, dx, *(p.grad for p in layer.parameters())], plain, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(memory(x), x_memory)
    np.testing.assert_array_equal(memory(dy), dy_memory)
    np.testing.assert_array_equal(y, y_before)
    for now, before in zip(arrays_in(saved), kept, strict=True):
        np.testing.assert_array_equal(now, before)
    for p, value in zip(layer.parameters(), values, strict=True):
        np.testing.assert_array_equal(p.value, value)


@every()
def test_backward_adds_to_the_gradients(case):
    layer, x = case.layer(), case.x()
    y, saved = layer.forward(x)
    dy = np.random.default_rng(2).standard_normal(y.shape)
    start = [np.full(p.shape, 0.5) for p in layer.parameters()]
    for p, grad in zip(layer.parameters(), start, strict=True):
        p.grad = grad.copy()
    layer.backward(dy, saved)
    _, _, *grads = case.passes(case.layer(), x)
    for p, before, grad in zip(layer.parameters(), start, grads, strict=True):
        np.testing.assert_allclose(p.grad, before + grad, rtol=1e-12, atol=1e-12)


@every()
def test_an_empty_batch(case):
    layer = case.layer()
    state = layer.state_dict()
    none, full = case.x()[:0], case.layer()(case.x())
    y, saved = layer.forward(none)
    assert y.shape == (0, *full.shape[1:])
    dx = layer.backward(np.zeros_like(y), saved)
    assert dx.shape == none.shape
    for name, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad, np.zeros(p.shape), err_msg=name)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


# ------------------------------------------------------------------ state, copies, dtypes


def same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@every()
def test_state_dict_goes_round(case):
    one, other = case.layer(), case.layer(seed=9)
    state = one.state_dict()
    assert other.load_state_dict(state) == ([], [])
    assert list(other.state_dict()) == list(state)
    same(other.state_dict().values(), state.values())
    for array in state.values():  # copies: what happens to them afterwards is nobody's business
        array[...] = np.nan
    same(other.state_dict().values(), one.state_dict().values())
    same(case.passes(other, case.x()), case.passes(one, case.x()))


@every()
def test_float32_stays_float32(case):
    layer = case.layer(np.float32)
    found, exact = case.passes(layer, case.x(np.float32)), case.passes(case.layer(), case.x(np.float32).astype(float))
    assert {a.dtype for a in (*found, *layer.state_dict().values())} == {np.dtype(np.float32)}
    for a, b in zip(found, exact, strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5 * max(1, np.abs(b).max()))


@every()
def test_astype_converts_everything_there_and_back(case):
    layer = case.layer(np.float32)
    before = layer.state_dict()
    assert layer.astype(np.float64) is layer
    assert {a.dtype for a in layer.state_dict().values()} <= {np.dtype(np.float64)}
    assert {p.grad.dtype for p in layer.parameters()} <= {np.dtype(np.float64)}
    layer.astype("float32")
    same(layer.state_dict().values(), before.values())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))], ids=["deepcopy", "pickle"]
)
@every()
def test_copies_compute_the_same_and_share_nothing(case, copied):
    layer = case.layer()
    twin = copied(layer)
    assert repr(twin) == repr(layer)
    assert [part.training for _, part in twin.named_layers()] == [part.training for _, part in layer.named_layers()]
    before = layer.state_dict()
    same(case.passes(twin, case.x()), case.passes(case.layer(), case.x()))
    for p in twin.parameters():
        p.value[...] = 7
    same(layer.state_dict().values(), before.values())
    same(case.passes(layer, case.x()), case.passes(case.layer(), case.x()))


# ------------------------------------------------------------------ what is shown


LEAVES = [case for case in CASES if not list(case.make().children())]


@every(LEAVES)
def test_repr_is_the_call_that_makes_such_a_layer(case):
    layer = case.layer()
    text = repr(layer)
    assert text.startswith(type(layer).__name__ + "(")
    again = eval(text, vars(layers)).train(layer.training)
    assert repr(again) == text == layer.label()
    found, expected = again.astype(np.float64)(case.x()), layer(case.x())
    assert found.shape == expected.shape
    if not layer.parameters() and not isinstance(layer, (Dropout, BatchNorm2d)):
        np.testing.assert_array_equal(found, expected)


@every([case for case in CASES if case not in LEAVES])
def test_repr_of_a_combinator_shows_its_layers_indented(case):
    layer = case.make()
    lines = repr(layer).splitlines()
    assert lines[0].startswith(type(layer).__name__ + "(")
    assert lines[-1] == ")"
    shown = [re.match(r"  \((\w+)\): (\w+)\(", line) for line in lines[1:-1]]
    assert [m.groups() for m in shown if m] == [(name, type(child).__name__) for name, child in layer.children()]
    for _, part in layer.named_layers():
        if not list(part.children()):
            assert part.label() in repr(layer)


# ------------------------------------------------------------------ bad calls


def named(layer):
    """The pattern of an error's beginning that names this layer, or one inside it, with its configuration."""
    labels = "|".join(re.escape(part.label()) for _, part in layer.named_layers())
    return rf"^(\w+(\.\w+)* )?({labels}): "


class Foreign:
    pass


@pytest.mark.parametrize("wrong", [None, (), Foreign(), np.ones(2)], ids=lambda w: type(w).__name__)
@every()
def test_a_wrong_saved_record_raises(case, wrong):
    layer = case.layer()
    y, saved = layer.forward(case.x())
    expected = f"backward got a {type(wrong).__name__} as its saved record, expected the {type(saved).__name__} that"
    with pytest.raises(TypeError, match=re.escape(f"{layer.label()}: {expected}")):
        layer.backward(np.ones_like(y), wrong)


ANY_DY = ("dropout_eval", "dropout_of_nothing", "identity")  # they return dy as it is and remember no shape


@every([case for case in CASES if case.name not in ANY_DY])
def test_a_dy_of_the_wrong_shape_raises(case):
    layer = case.layer()
    y, saved = layer.forward(case.x())
    dy = np.ones_like(y)
    wrong = [np.concatenate([dy, dy.take([0], axis)], axis) for axis in range(dy.ndim)]
    wrong += [dy[None], np.asarray(dy.sum(axis=0)), np.ones(()), dy[..., :0]]
    for bad in wrong:
        with pytest.raises(ShapeError, match=named(layer)) as caught:
            layer.backward(bad, saved)
        assert "shape" in str(caught.value)
        assert not any(p.grad.any() for p in layer.parameters()) or list(layer.children())


WITH_STATE = [case for case in CASES if case.make().state_dict()]


@every(WITH_STATE)
def test_mixed_dtypes_raise(case):
    single, double = case.layer(np.float32), case.layer(np.float64)
    mixed = r".*float(32|64).*: dtypes are never mixed; convert the data or call net\.astype"
    for layer, x in ((single, case.x()), (double, case.x(np.float32))):
        with pytest.raises(TypeError, match=named(layer) + mixed):
            layer.forward(x)
    y, saved = double.forward(case.x())
    with pytest.raises(TypeError, match=named(double) + mixed):
        double.backward(np.ones(y.shape, np.float32), saved)


@every()
def test_a_list_or_integers_raise(case):
    layer, x = case.layer(), case.x()
    with pytest.raises(
        TypeError, match=re.escape(f"{layer.label()}: expected a NumPy array, got list; convert it: np.")
    ):
        layer.forward(x.tolist())
    with pytest.raises(TypeError, match=re.escape(f"{layer.label()}: forward got int64 values, expected float32 or ")):
        layer.forward(x.astype(np.int64))
    y, saved = layer.forward(x)
    with pytest.raises(TypeError, match=re.escape(f"{layer.label()}: expected a NumPy array, got list")):
        layer.backward(y.tolist(), saved)


@requires_torch
@every()
def test_a_torch_tensor_raises(case):
    with pytest.raises(TypeError, match="expected a NumPy array, got Tensor; convert it"):
        case.layer().forward(torch.from_numpy(case.x()))
