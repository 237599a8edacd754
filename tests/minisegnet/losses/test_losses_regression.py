"""MSELoss, L1Loss and L1Penalty: values worked out by hand, PyTorch as the oracle, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import check_against_torch

from kernels import ShapeError
from minisegnet.losses import L1Loss, L1Penalty, MSELoss

SCORES, TARGET = np.array([[1.0, -2.0], [3.0, 0.5]]), np.array([[1.0, 1.0], [1.0, 1.0]])  # 0, -3, 2, -1/2 apart


@pytest.mark.parametrize(
    ("reduction", "value", "factor"), [("mean", 13.25 / 4, 1 / 4), ("sum", 13.25, 1), ("none", [[0, 9], [4, 0.25]], 1)]
)
def test_squared(reduction, value, factor):
    loss = MSELoss(reduction)
    got, saved = loss.forward(SCORES, TARGET)
    np.testing.assert_allclose(got, value, rtol=1e-15)
    np.testing.assert_allclose(loss.backward(saved), factor * np.array([[0, -6], [4, -1]]), rtol=1e-15)


@pytest.mark.parametrize(
    ("reduction", "value", "factor"), [("mean", 5.5 / 4, 1 / 4), ("sum", 5.5, 1), ("none", [[0, 3], [2, 0.5]], 1)]
)
def test_absolute(reduction, value, factor):
    for loss, scores, target in [(L1Loss(reduction), SCORES, TARGET), (L1Penalty(reduction), SCORES - TARGET, None)]:
        got, saved = loss.forward(scores, target)
        np.testing.assert_allclose(got, value, rtol=1e-15)
        np.testing.assert_allclose(loss.backward(saved), factor * np.array([[0, -1], [1, -1]]), rtol=1e-15)


def test_sum_is_taken_in_float64():
    scores = np.full(100_001, 0.1, np.float32)
    assert L1Penalty("sum")(scores) == pytest.approx(100_001 * float(np.float32(0.1)), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    names=st.sampled_from([(MSELoss, "MSELoss"), (L1Loss, "L1Loss")]),
    dtype=st.sampled_from([np.float32, np.float64]),
    shape=st.sampled_from([(5,), (4, 3), (2, 3, 2, 3)]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 999),
)
def test_against_torch(names, dtype, shape, reduction, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores, target = rng.standard_normal((2, *shape)).astype(dtype)
    scores = np.where(rng.random(shape) < 0.2, target, scores)  # some differences of exactly 0
    ours, theirs = names
    check_against_torch(ours(reduction), getattr(torch.nn, theirs)(reduction=reduction), scores, target)


@pytest.mark.parametrize("loss", [MSELoss(), L1Loss()], ids=str)
def test_errors(loss):
    name = type(loss).__name__
    with pytest.raises(
        ShapeError, match=rf"^{name}\(\): target has shape \(2,\), expected \(2, 2\), the shape of scores$"
    ):
        loss(SCORES, TARGET[0])
    with pytest.raises(TypeError, match=rf"^{name}\(\): scores is float64, target is float32: dtypes are never mixed"):
        loss(SCORES, TARGET.astype(np.float32))
    with pytest.raises(TypeError, match=rf"^{name}\(\): target is int64, but only float32 and float64"):
        loss(SCORES, TARGET.astype(np.int64))
