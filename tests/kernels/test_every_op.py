"""What holds for every op, checked on the examples of `op_cases`: layouts, dtypes, inputs left alone, gradients."""

import re

import numpy as np
import pytest
from op_cases import (
    BACKWARD_OPS,
    CHANGED,
    EXAMPLES,
    FORWARD_OPS,
    SIMULATED,
    UPDATE_OPS,
    arguments,
    arrays_of,
    call,
    case_name,
    cases,
    close,
    data_names,
    family_and_pass,
    gradients_of,
    map_arrays,
    outcome,
    values,
)

from kernels import OPS, ShapeError, reference

every_case = pytest.mark.parametrize(("op", "example"), cases(), ids=case_name)
backward_case = pytest.mark.parametrize(("op", "example"), cases(BACKWARD_OPS), ids=case_name)


def test_every_op_has_an_example():
    assert {family_and_pass(op)[0] for op in OPS} == set(EXAMPLES)
    assert {op for op, _ in cases()} == set(OPS)
    assert set(FORWARD_OPS) | set(BACKWARD_OPS) | set(UPDATE_OPS) == set(OPS)
    assert set(UPDATE_OPS) == set(CHANGED)


# ------------------------------------------------------------------ layouts, and inputs that stay as they were

FILLER = {"f": np.nan, "i": 77, "u": 77, "b": True}  # what must never be read


def spread_out(a):
    """a in every second row, column, ... of a larger array: x[::2, ::2]."""
    larger = np.full([2 * length for length in a.shape], FILLER[a.dtype.kind], a.dtype)
    view = larger[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view


def backwards(a):
    """a as a view with negative strides along all axes."""
    flip = (slice(None, None, -1),) * a.ndim
    return a[flip].copy()[flip]


def fortran(a):
    return np.asfortranarray(a)


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def whole(a):
    """A copy of the memory that the view `a` is taken from, the parts around it included."""
    return (a if a.base is None else a.base).copy()


# To the simulator every array travels as a plain copy; strided ones on the GPU have a test of their own.
LAYOUTS = [np.copy] if SIMULATED else [np.copy, spread_out, backwards, fortran, read_only]


@pytest.mark.parametrize("layout", LAYOUTS, ids=case_name)
@every_case
def test_layouts_give_the_same_and_inputs_stay_unchanged(ops, op, example, layout):
    changed = CHANGED.get(op, ())
    expected = outcome(ops, op, arguments(op, example))
    found = map_arrays(
        lambda name, a: a.copy() if layout is read_only and name in changed else layout(a), arguments(op, example)
    )
    before = [whole(a) for _, a in arrays_of(found)]
    for actual, same in zip(outcome(ops, op, found), expected, strict=True):
        close(actual, same)
    for (name, a), was in zip(arrays_of(found), before, strict=True):
        now = whole(a)
        if name in changed:  # these elements are meant to change, but not the memory between them
            own = (slice(None, None, 2),) * a.ndim if layout is spread_out else ...
            now[own] = was[own] = 0
        np.testing.assert_array_equal(now, was, err_msg=f"{op} changed {name}")


@pytest.mark.parametrize(("op", "example"), cases(UPDATE_OPS), ids=case_name)
def test_updates_return_nothing(ops, op, example):
    assert call(ops, op, arguments(op, example)) is None


NEW_RESULTS = [op for op in OPS if op not in (*CHANGED, "concat_backward")]  # the parts of a dy may be views of it


@pytest.mark.parametrize(("op", "example"), cases(NEW_RESULTS), ids=case_name)
def test_results_are_new_arrays(ops, op, example):
    found = arguments(op, example)
    for result in outcome(ops, op, found):
        assert [name for name, a in arrays_of(found) if np.shares_memory(a, result)] == []


# ------------------------------------------------------------------ values


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@every_case
def test_all_backends_agree_with_the_reference(ops, op, example, dtype):
    found, expected = (outcome(table, op, arguments(op, example, dtype=dtype)) for table in (ops, reference))
    for position, (a, b) in enumerate(zip(found, expected, strict=True)):
        statistic = op in ("batch_norm_train_forward", "batch_norm_relu_train_forward") and position > 0
        close(a.astype(dtype) if statistic else a, b.astype(dtype) if statistic else b)  # on the GPU in dtype


# ------------------------------------------------------------------ dtypes


@every_case
def test_float32_gives_float32_and_float64_gives_float64(ops, op, example):
    double = outcome(ops, op, arguments(op, example, dtype=np.float64))
    single = outcome(ops, op, arguments(op, example, dtype=np.float32))
    for position, (a, b) in enumerate(zip(double, single, strict=True)):
        if a.dtype.kind == "i":
            assert a.dtype == b.dtype == np.int32  # switches
        elif op in ("batch_norm_train_forward", "batch_norm_relu_train_forward") and position > 0:
            assert a.dtype == b.dtype == np.float64  # mean and variance
        else:
            assert (a.dtype, b.dtype) == (np.float64, np.float32)
        close(b.astype(np.float32), a.astype(np.float32))


def converted(found, chosen, dtype):
    """The arguments with the array `chosen` (the last one, of a list) in another dtype."""

    def last(value):
        return [*value[:-1], value[-1].astype(dtype)] if isinstance(value, list) else value.astype(dtype)

    return {name: last(value) if name == chosen else value for name, value in found.items()}


def takes_several_arrays(op, example):
    found = arguments(op, example)
    return len(data_names(found)) > 1 or "arrays" in found


@pytest.mark.parametrize(("op", "example"), [c for c in cases() if takes_several_arrays(*c)], ids=case_name)
def test_mixed_dtypes_raise(ops, op, example):
    found = arguments(op, example)
    for name in data_names(found):
        with pytest.raises(TypeError, match=r"float32.*: dtypes are never mixed; convert the data or call net\.astype"):
            call(ops, op, converted(found, name, np.float32))


@pytest.mark.parametrize("dtype", [np.int64, np.float16, np.complex128], ids=lambda d: d.__name__)
@every_case
def test_other_dtypes_raise_and_are_named(ops, op, example, dtype):
    found = arguments(op, example)
    for name in data_names(found):
        shown = f"branch {len(found[name]) - 1}" if isinstance(found[name], list) else name
        with pytest.raises(TypeError, match=f"^{shown} is {np.dtype(dtype)}, but only float32 and float64 are"):
            call(ops, op, converted(found, name, dtype))


# ------------------------------------------------------------------ shapes


@every_case
def test_an_empty_batch_works(ops, op, example):
    """Whatever belongs to an image is empty then; weight gradients and statistics, sums over images, are zero."""
    two, none = (outcome(ops, op, arguments(op, example, N=n)) for n in (2, 0))
    for a, b in zip(two, none, strict=True):
        assert b.shape in {(0, *a.shape[1:]), a.shape}
        assert not b.any()


# These take dy's last axis, or all but the last, as it comes; every other op can tell along axis 1.
AXIS_TO_CHECK = {"linear_backward_input": -1, "linear_backward_weight": 0}
ANY_SHAPE = ("conv2d_backward_bias", "linear_backward_bias")


@pytest.mark.parametrize(("op", "example"), cases(op for op in BACKWARD_OPS if op not in ANY_SHAPE), ids=case_name)
def test_a_dy_of_the_wrong_shape_raises(ops, op, example):
    def one_more(name, a):
        if name not in ("dy", "dlosses"):
            return a
        axis = AXIS_TO_CHECK.get(op, min(1, a.ndim - 1))
        return np.concatenate([a, a.take([0], axis)], axis)

    with pytest.raises(ShapeError, match=r"^(dy|dlosses) has shape \("):
        call(ops, op, map_arrays(one_more, arguments(op, example)))


IMAGE_FAMILIES = [family for family in EXAMPLES if "2d" in family or family.startswith("batch_norm")]


def image_cases(kind):
    return cases(op for op in kind if family_and_pass(op)[0] in IMAGE_FAMILIES)


@pytest.mark.parametrize(("op", "example"), image_cases(FORWARD_OPS), ids=case_name)
def test_a_single_image_raises_with_the_way_out(ops, op, example):
    found = arguments(op, example)
    expected = r"^x has shape \(.*\), expected \(N, C, H, W\); a single image needs a batch axis: image\[None\]"
    with pytest.raises(ShapeError, match=expected):
        call(ops, op, found | {"x": found["x"][0]})


@pytest.mark.parametrize(("op", "example"), image_cases(BACKWARD_OPS), ids=case_name)
def test_a_dy_of_the_wrong_rank_raises(ops, op, example):
    found = arguments(op, example)
    with pytest.raises(ShapeError, match=r"^dy has shape \(\d, \d\), expected"):
        call(ops, op, found | {"dy": found["dy"][:, :, 0, 0]})


WINDOWED = [family for family in IMAGE_FAMILIES if re.match("conv|max_pool|avg|adaptive|upsample", family)]


@pytest.mark.parametrize(
    ("op", "example"), cases(op for op in FORWARD_OPS if family_and_pass(op)[0] in WINDOWED), ids=case_name
)
def test_an_image_without_pixels_raises(ops, op, example):
    found = arguments(op, example)
    for empty in (found["x"][:, :, :0], found["x"][..., :0]):
        with pytest.raises(ShapeError, match=r"there is nothing to (compute|resize)"):
            call(ops, op, found | {"x": empty})


# ------------------------------------------------------------------ gradients


@backward_case
def test_backward_is_linear_in_dy(ops, op, example):
    found = arguments(op, example)
    (name,) = (n for n in found if n in ("dy", "dlosses"))
    first, rng = found[name], np.random.default_rng(1)
    second = rng.normal(size=first.shape)
    parts = [outcome(ops, op, found | {name: dy}) for dy in (first, second, 2.5 * first - 0.75 * second)]
    for one, other, both in zip(*parts, strict=True):
        close(both, 2.5 * one - 0.75 * other)


def numerical_gradient(function, x, dy, eps=1e-6):
    """d(sum of function(x) * dy)/dx by central differences; function is called with changed copies of x."""
    gradient = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[place] = eps
        gradient[place] = ((function(x + step) - function(x - step)) * dy).sum() / (2 * eps)
    return gradient


@pytest.mark.skipif(SIMULATED, reason="thousands of calls, which take hours in the simulator")
@backward_case
def test_backward_agrees_with_finite_differences(ops, op, example):
    family = family_and_pass(op)[0]
    found = values(family, example)
    dy = found["dlosses"] if "dlosses" in found else found["dy"]
    checked = 0
    for name, result in zip(gradients_of(op), pack(call(ops, op, found), op), strict=True):
        if found[name] is None:
            continue  # no affine parameters in this example
        several = isinstance(found[name], list)
        for i, (x, gradient) in enumerate(
            zip(found[name], result, strict=True) if several else [(found[name], result)]
        ):

            def forward(changed, name=name, i=i, several=several):
                value = [*found[name][:i], changed, *found[name][i + 1 :]] if several else changed
                return outcome(ops, f"{family}_forward", found | {name: value})[0]

            np.testing.assert_allclose(
                gradient, numerical_gradient(forward, x, dy), rtol=1e-3, atol=1e-5, equal_nan=False, err_msg=name
            )
            checked += gradient.size
    assert checked


def pack(result, op):
    """The gradients as one entry for each name in gradients_of(op)."""
    return result if len(gradients_of(op)) > 1 else (result,)
