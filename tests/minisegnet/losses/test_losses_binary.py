"""BCEWithLogitsLoss and BCELoss: values worked out by hand, PyTorch as the oracle, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import check_against_torch

from kernels import ShapeError
from minisegnet.losses import BCELoss, BCEWithLogitsLoss

SCORES = np.log([[1 / 3, 1.0, 3.0]])  # p = 1/4, 1/2, 3/4


def test_value_and_gradient():
    loss = BCEWithLogitsLoss()
    value, saved = loss.forward(SCORES, np.array([[1, 0, 1]]))
    assert value == pytest.approx((np.log(4) + np.log(2) + np.log(4 / 3)) / 3, rel=1e-14)
    np.testing.assert_allclose(loss.backward(saved), [[-0.75 / 3, 0.5 / 3, -0.25 / 3]], rtol=1e-14)


def test_weights_do_not_change_the_divisor():
    loss = BCEWithLogitsLoss(weight=[2, 1, 1], pos_weight=[5, 7, 3])
    value, saved = loss.forward(SCORES, np.array([[1, 0, 1]]))
    assert value == pytest.approx((2 * 5 * np.log(4) + np.log(2) + 3 * np.log(4 / 3)) / 3, rel=1e-14)
    np.testing.assert_allclose(loss.backward(saved), [[-10 * 0.75 / 3, 0.5 / 3, -3 * 0.25 / 3]], rtol=1e-14)


def test_ignored_elements_are_silent_and_not_counted():
    loss = BCEWithLogitsLoss(ignore_index=255)
    for dtype in (np.uint8, np.float64):
        value, saved = loss.forward(SCORES, np.array([[1, 255, 255]], dtype))
        assert value == pytest.approx(np.log(4), rel=1e-14)
        np.testing.assert_allclose(loss.backward(saved), [[-0.75, 0, 0]], rtol=1e-14)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float64])
def test_target_types(kind):
    assert BCEWithLogitsLoss()(SCORES, np.array([[1, 0, 1]], kind)) == BCEWithLogitsLoss()(
        SCORES, np.array([[1.0, 0, 1]])
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand(dtype):
    loss = BCEWithLogitsLoss(reduction="none")
    value, saved = loss.forward(np.array([1e4, -1e4, 1e4, -1e4], dtype), np.array([0, 1, 1, 0]))
    np.testing.assert_array_equal(value, [1e4, 1e4, 0, 0])
    np.testing.assert_array_equal(loss.backward(saved), [1, -1, 0, 0])


def test_bce_clamps_the_logarithm():
    loss = BCELoss("none")
    value, saved = loss.forward(np.array([0.0, 1.0, 0.0, 1.0, 0.25]), np.array([1, 0, 0, 1, 1]))
    np.testing.assert_allclose(value, [100, 100, 0, 0, np.log(4)], rtol=1e-14)
    np.testing.assert_allclose(loss.backward(saved), [-1e12, 1e12, 0, 0, -4], rtol=1e-14)


flags = {
    "dtype": st.sampled_from([np.float32, np.float64]),
    "shape": st.sampled_from([(4, 3), (2, 3, 2, 3), (1, 3, 1, 1)]),
    "reduction": st.sampled_from(["mean", "sum", "none"]),
    "soft": st.booleans(),
    "seed": st.integers(0, 999),
}


def draw(rng, dtype, shape, soft):
    return (rng.random(shape) if soft else rng.integers(0, 2, shape)).astype(dtype)


@settings(max_examples=50, deadline=None)
@given(weight=st.sampled_from([None, 0.5, "C"]), pos_weight=st.sampled_from([None, 2.5, "C"]), **flags)
def test_with_logits_against_torch(dtype, shape, reduction, soft, seed, weight, pos_weight):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores, target = (5 * rng.standard_normal(shape)).astype(dtype), draw(rng, dtype, shape, soft)
    factors, theirs = {"weight": weight, "pos_weight": pos_weight}, {}
    for name, factor in factors.items():
        if factor is not None:
            factors[name] = rng.uniform(0.1, 3, shape[1]) if factor == "C" else factor
            theirs[name] = torch.tensor(np.asarray(factors[name], dtype).reshape(-1, *[1] * (len(shape) - 2)))
    loss = BCEWithLogitsLoss(**factors, reduction=reduction)
    check_against_torch(loss, torch.nn.BCEWithLogitsLoss(**theirs, reduction=reduction), scores, target)


@settings(max_examples=30, deadline=None)
@given(**flags)
def test_probabilities_against_torch(dtype, shape, reduction, soft, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    p, target = rng.uniform(0.01, 0.99, shape).astype(dtype), draw(rng, dtype, shape, soft)
    check_against_torch(BCELoss(reduction), torch.nn.BCELoss(reduction=reduction), p, target)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_certain_probabilities_against_torch(dtype):
    torch = pytest.importorskip("torch")
    p = np.array([0, 1, 0, 1, 0.5, 1e-30], dtype)
    target = np.array([1, 0, 0, 1, 1, 1], dtype)
    # PyTorch keeps the smallest denominator 1e-12 in float32, also for float64: 4e-9 off
    check_against_torch(BCELoss("none"), torch.nn.BCELoss(reduction="none"), p, target, rtol=1e-8)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize("wrong", [2.0, -0.5, np.nan])
@pytest.mark.parametrize("loss", [BCEWithLogitsLoss(), BCELoss()], ids=str)
def test_targets_outside_the_unit_interval(loss, wrong):
    text = rf"^{type(loss).__name__}\(\): target is {wrong:g} at \(0, 1\), expected values in 0..1 \(1 are outside\)"
    with pytest.raises(ValueError, match=text):
        loss(np.full((1, 3), 0.5), np.array([[0, wrong, 1]]))


def test_a_mask_of_0_and_255():
    with pytest.raises(ValueError, match=r"target is 255 at \(0, 2\), .*\(1 are outside\); divide a 0/255 mask by 255"):
        BCEWithLogitsLoss()(SCORES, np.array([[0, 0, 255]], np.uint8))


@pytest.mark.parametrize("wrong", [1.5, -0.1, np.nan])
def test_bce_needs_probabilities(wrong):
    with pytest.raises(
        ValueError, match=r"^BCELoss\(\): scores is .* at \(1,\).*; for raw scores use BCEWithLogitsLoss"
    ):
        BCELoss()(np.array([0.5, wrong]), np.array([0, 1]))


@pytest.mark.parametrize("loss", [BCEWithLogitsLoss(), BCELoss()], ids=str)
def test_shapes_and_types(loss):
    scores = np.full((2, 1, 3, 3), 0.5)
    with pytest.raises(
        ShapeError, match=r"\(2, 3, 3\), expected \(2, 1, 3, 3\).*; add a channel axis: target\[:, None\]"
    ):
        loss(scores, np.zeros((2, 3, 3)))
    with pytest.raises(
        ShapeError, match=r"target has shape \(2, 2, 3, 3\), expected \(2, 1, 3, 3\), the shape of scores$"
    ):
        loss(scores, np.zeros((2, 2, 3, 3)))
    with pytest.raises(TypeError, match="scores is float64, target is float32: dtypes are never mixed"):
        loss(scores, np.zeros((2, 1, 3, 3), np.float32))
    with pytest.raises(TypeError, match="target is complex128, but only"):
        loss(scores, np.zeros((2, 1, 3, 3), complex))


def test_weights_that_do_not_fit():
    with pytest.raises(
        ShapeError, match=r"pos_weight has shape \(2,\), but scores have shape \(1, 3\): expected a number"
    ):
        BCEWithLogitsLoss(pos_weight=[1, 2])(SCORES, np.zeros((1, 3)))
    with pytest.raises(ShapeError, match=r"weight has shape \(3,\), but scores have shape \(3,\)"):
        BCEWithLogitsLoss(weight=[1, 2, 3])(SCORES[0], np.zeros(3))
    with pytest.raises(ShapeError, match=r"pos_weight has shape \(3, 1, 1\), expected \(C,\)"):
        BCEWithLogitsLoss(pos_weight=np.ones((3, 1, 1)))
    with pytest.raises(ValueError, match=r"pos_weight must be finite and not negative, got -1\.0"):
        BCEWithLogitsLoss(pos_weight=-1)


def test_bad_ignore_index():
    with pytest.raises(TypeError, match=r"ignore_index must be an integer, got 0\.5"):
        BCEWithLogitsLoss(ignore_index=0.5)
