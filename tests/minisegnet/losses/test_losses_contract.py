"""What holds for every loss: gradients, records, inputs of all kinds, empty batches, void, large scores, names."""

import numpy as np
import pytest
from loss_cases import CASES, VOID, labels, numerical_gradient, some_dvalue

from kernels import ShapeError
from minisegnet import losses
from minisegnet.losses import CrossEntropyLoss, L1Penalty, Loss, MSELoss

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def arrays_in(record):
    """All arrays of a saved record, also those of records inside it."""
    if isinstance(record, np.ndarray):
        return [record]
    return [array for part in record for array in arrays_in(part)] if isinstance(record, tuple) else []


def test_every_public_loss_has_cases_here():
    public = {getattr(losses, name) for name in losses.__all__} - {Loss}
    assert {type(case.loss) for case in CASES} == public


@every_case
@pytest.mark.parametrize("seed", [0, 1])
def test_gradient_agrees_with_finite_differences(case, seed):
    scores, target = case.arrays(seed=seed)
    value, saved = case.loss.forward(scores, target)
    dvalue = some_dvalue(value, seed)
    expected = numerical_gradient(case.loss, scores, target, dvalue)
    assert np.abs(expected).max() > 1e-3  # else nothing would be compared
    np.testing.assert_allclose(case.loss.backward(saved, dvalue), expected, rtol=1e-3, atol=1e-5)


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types(case, dtype):
    scores, target = case.arrays(dtype)
    value, saved = case.loss.forward(scores, target)
    if case.loss.reduction == "none":
        assert value.dtype == dtype
    else:
        assert type(value) is float
    dscores = case.loss.backward(saved)
    assert dscores.dtype == dtype
    assert dscores.shape == scores.shape
    np.testing.assert_array_equal(case.loss(scores, target), value)
    assert isinstance(saved, tuple)
    assert saved._fields


@every_case
def test_float32_is_near_float64(case):
    scores, target = case.arrays(np.float32)
    wide_target = target.astype(np.float64) if getattr(target, "dtype", None) == np.float32 else target
    value, saved = case.loss.forward(scores, target)
    wide_value, wide_saved = case.loss.forward(scores.astype(np.float64), wide_target)
    np.testing.assert_allclose(value, wide_value, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(case.loss.backward(saved), case.loss.backward(wide_saved), rtol=1e-4, atol=1e-5)


@every_case
def test_nothing_is_modified_and_backward_can_be_repeated(case):
    scores, target = case.arrays()
    value, saved = case.loss.forward(scores, target)
    dvalue = some_dvalue(value)
    kept = [array for array in (scores, target, value, dvalue, *arrays_in(saved)) if isinstance(array, np.ndarray)]
    before, configuration = [array.copy() for array in kept], repr(vars(case.loss))
    first = case.loss.backward(saved, dvalue)
    second = case.loss.backward(saved, dvalue)
    np.testing.assert_array_equal(first, second)
    assert not np.shares_memory(first, second)
    for array, copy in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(array, first)
    assert repr(vars(case.loss)) == configuration


@every_case
def test_two_passes_do_not_disturb_each_other(case):
    first, second = case.arrays(seed=0), case.arrays(seed=5)
    expected = case.loss.backward(case.loss.forward(*first)[1])
    saved = case.loss.forward(*first)[1]
    case.loss.backward(case.loss.forward(*second)[1])
    np.testing.assert_array_equal(case.loss.backward(saved), expected)


def every_second(array):
    wide = np.repeat(array, 2, axis=1) if array.ndim > 1 else np.repeat(array, 2)
    return wide[:, ::2] if array.ndim > 1 else wide[::2]


def read_only(array):
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS = {
    "sliced": every_second,
    "negative stride": lambda array: array[::-1].copy()[::-1],
    "Fortran order": np.asfortranarray,
    "read-only": read_only,
}


@every_case
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_memory_layout_does_not_matter(case, layout):
    scores, target = case.arrays()
    value, saved = case.loss.forward(scores, target)
    other, other_saved = case.loss.forward(layout(scores), None if target is None else layout(target))
    dvalue = some_dvalue(value)
    other_dvalue = layout(dvalue) if isinstance(dvalue, np.ndarray) else dvalue
    np.testing.assert_allclose(other, value, rtol=1e-12)
    np.testing.assert_allclose(
        case.loss.backward(other_saved, other_dvalue), case.loss.backward(saved, dvalue), rtol=1e-11, atol=1e-14
    )


@every_case
def test_dvalue_is_a_factor(case):
    saved = case.loss.forward(*case.arrays())[1]
    expected = 3 * case.loss.backward(saved)
    for three in (3, 3.0, np.float64(3), np.int64(3)):
        np.testing.assert_allclose(case.loss.backward(saved, three), expected, rtol=1e-12)
    np.testing.assert_array_equal(case.loss.backward(saved, dvalue=0), 0 * expected)


@every_case
def test_empty_batch(case):
    scores, target = case.arrays(N=0)
    value, saved = case.loss.forward(scores, target)
    if case.loss.reduction == "none":
        assert value.size == 0
    else:
        assert value == 0
    assert case.loss.backward(saved).shape == scores.shape


@pytest.mark.parametrize("case", [case for case in CASES if getattr(case.loss, "ignore_index", 0) == VOID], ids=str)
def test_void_everywhere_and_void_in_part(case):
    scores, target = case.arrays()
    everywhere = np.full_like(target, VOID)
    value, saved = case.loss.forward(scores, everywhere)
    np.testing.assert_array_equal(value, 0.0)
    np.testing.assert_array_equal(case.loss.backward(saved), 0.0)

    target[0] = VOID  # scores of void elements don't matter, and get no gradient
    value, saved = case.loss.forward(scores, target)
    scores[0] = 1e4 * np.sign(scores[0])
    other, other_saved = case.loss.forward(scores, target)
    np.testing.assert_array_equal(other, value)
    np.testing.assert_array_equal(case.loss.backward(other_saved), case.loss.backward(saved))
    np.testing.assert_array_equal(case.loss.backward(saved)[0], 0.0)


@pytest.mark.parametrize("case", [case for case in CASES if case.loss.label()[:7] != "BCELoss"], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1e2, 1e4])
def test_large_scores_do_not_overflow(case, dtype, size):
    scores, target = case.arrays(dtype)
    scores = np.where(scores > 0, size, -size).astype(dtype)
    value, saved = case.loss.forward(scores, target)  # a NumPy warning would be an error here
    assert np.isfinite(value).all()
    assert np.isfinite(case.loss.backward(saved)).all()


# ------------------------------------------------------------------ errors


@every_case
def test_wrong_record(case):
    class OtherSaved(tuple):
        pass

    for record in (None, 1.0, OtherSaved(), np.ones(3)):
        with pytest.raises(
            TypeError, match=rf"backward got a {type(record).__name__} as its saved record, expected"
        ) as e:
            case.loss.backward(record)
        assert str(e.value).startswith(repr(case.loss) + ": ")


@every_case
def test_wrong_dvalue(case):
    value, saved = case.loss.forward(*case.arrays())
    for wrong in ("1", None, [1.0], True):
        with pytest.raises(TypeError, match="dvalue must be a number, got"):
            case.loss.backward(saved, wrong)
    if case.loss.reduction == "none":
        with pytest.raises(ValueError, match=r"dvalue has shape \(9, 9\), expected .*, the shape of the value"):
            case.loss.backward(saved, np.ones((9, 9)))
        with pytest.raises(TypeError, match="dvalue is float32, but the value is float64: dtypes are never mixed"):
            case.loss.backward(saved, np.ones_like(value, np.float32))
    else:
        with pytest.raises(TypeError, match="dvalue must be a number, got array"):
            case.loss.backward(saved, np.ones(3))


@every_case
def test_scores_of_wrong_type(case):
    scores, target = case.arrays()
    name = type(case.loss).__name__
    with pytest.raises(TypeError, match=rf"^{name}.*expected a NumPy array, got list"):
        case.loss.forward(scores.tolist(), target)
    with pytest.raises(TypeError, match=rf"^{name}.*scores is int64, but only float32 and float64"):
        case.loss.forward(scores.astype(np.int64), target)
    with pytest.raises(TypeError, match=rf"^{name}.*scores is float16, but only float32 and float64"):
        case.loss.forward(scores.astype(np.float16), target)


@every_case
def test_target_of_wrong_type(case):
    scores, target = case.arrays()
    if target is None:
        assert case.loss(scores, "anything") == pytest.approx(case.loss(scores))
        return
    with pytest.raises(TypeError, match=rf"^{type(case.loss).__name__}.*target must be a NumPy array, got list"):
        case.loss.forward(scores, target.tolist())
    with pytest.raises(TypeError, match=r"target must be a NumPy array, got NoneType"):
        case.loss(scores)


WITH_REDUCTION = list({type(case.loss): 0 for case in CASES if "reduction" in vars(case.loss)})


@pytest.mark.parametrize("kind", WITH_REDUCTION)
@pytest.mark.parametrize("wrong", ["avg", None])
def test_unknown_reduction(kind, wrong):
    with pytest.raises(ValueError, match=f"unknown reduction {wrong!r}, expected one of mean, sum, none"):
        kind(reduction=wrong)


def test_repr_shows_what_differs_from_the_default():
    assert repr(CrossEntropyLoss()) == "CrossEntropyLoss()"
    loss = CrossEntropyLoss(np.array([1, 2]), 255, "sum", 0.1)
    assert repr(loss) == "CrossEntropyLoss(weight=[1.0, 2.0], ignore_index=255, reduction='sum', label_smoothing=0.1)"
    assert repr(L1Penalty("sum")) == "L1Penalty(reduction='sum')"
    assert repr(losses.DiceLoss("sigmoid", classes=[1])) == "DiceLoss(activation='sigmoid', classes=(1,))"
    total = losses.WeightedSum([MSELoss(), L1Penalty()], [1, 0.5])
    assert repr(total) == "WeightedSum(losses=(MSELoss(), L1Penalty()), weights=(1.0, 0.5))"


def test_base_class():
    with pytest.raises(NotImplementedError, match="Loss has no forward"):
        Loss()(np.ones(2))
    with pytest.raises(NotImplementedError, match="Loss has no backward"):
        Loss().backward(None)


def test_error_of_a_loss_used_inside_another_says_so():
    class Outer(Loss):
        def forward(self, scores, target):
            return MSELoss().forward(scores, target)

    with pytest.raises(ShapeError, match=r"^MSELoss MSELoss\(\): target has shape \(2,\), expected \(3,\)"):
        Outer()(np.ones(3), np.ones(2))


def test_weights_are_kept_apart_from_the_list_they_came_from():
    weight = np.array([1.0, 2.0, 3.0])
    loss = CrossEntropyLoss(weight)
    scores, target = labels(np.random.default_rng(0), np.float64, (3, 3))
    target[target == VOID] = 0
    before = loss(scores, target)
    weight[:] = 7, 1, 1
    assert loss(scores, target) == before
    with pytest.raises(ValueError, match="read-only"):
        loss.weight[0] = 5


@pytest.mark.parametrize("make", [CrossEntropyLoss, losses.FocalLoss, losses.BCEWithLogitsLoss])
def test_bad_weights(make):
    with pytest.raises(ValueError, match=r"weight must be finite and not negative, got \[1.0, -1.0\]"):
        make(weight=[1, -1])
    with pytest.raises(ValueError, match=r"weight must be finite and not negative, got \[1.0, nan\]"):
        make(weight=[1, np.nan])
    with pytest.raises(ShapeError, match=r"weight has shape \(1, 2\), expected \(C,\): one for each class"):
        make(weight=[[1, 2]])
