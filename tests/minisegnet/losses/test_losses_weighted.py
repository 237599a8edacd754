"""WeightedSum: the sum and its gradient, one or several targets, nesting, errors that name the term."""

import numpy as np
import pytest
from loss_cases import labels

from kernels import ShapeError
from minisegnet.losses import (
    CrossEntropyLoss,
    DiceLoss,
    DistillationLoss,
    EntropyPenalty,
    L1Loss,
    L1Penalty,
    MSELoss,
    WeightedSum,
)

rng = np.random.default_rng(0)
SCORES, TARGET = labels(rng, np.float64, (2, 3, 4, 4))
TEACHER = rng.standard_normal(SCORES.shape)


def test_one_target_for_all():
    terms, weights = [CrossEntropyLoss(ignore_index=255), DiceLoss(ignore_index=255), EntropyPenalty()], [1, 0.5, -0.25]
    loss = WeightedSum(terms, weights)
    value, saved = loss.forward(SCORES, TARGET)
    assert value == pytest.approx(sum(w * t(SCORES, TARGET) for t, w in zip(terms, weights, strict=True)), rel=1e-14)
    parts = [w * t.backward(t.forward(SCORES, TARGET)[1], 3.0) for t, w in zip(terms, weights, strict=True)]
    np.testing.assert_allclose(loss.backward(saved, 3.0), sum(parts), rtol=1e-12, atol=1e-16)


def test_a_target_for_each_and_nesting():
    inner = WeightedSum([L1Loss(), L1Penalty()])
    loss = WeightedSum([CrossEntropyLoss(ignore_index=255), DistillationLoss(), inner], [1, 2, 3])
    value, saved = loss.forward(SCORES, (TARGET, TEACHER, (TEACHER, None)))
    expected = CrossEntropyLoss(ignore_index=255)(SCORES, TARGET) + 2 * DistillationLoss()(SCORES, TEACHER)
    assert value == pytest.approx(expected + 3 * L1Loss()(SCORES, TEACHER) + 3 * L1Penalty()(SCORES), rel=1e-14)
    assert loss.backward(saved).shape == SCORES.shape
    assert [type(record).__name__ for record in saved.terms] == [
        "CrossEntropySaved",
        "DistillationSaved",
        "WeightedSumSaved",
    ]


def test_the_same_loss_twice_counts_twice():
    mse = MSELoss()
    twice = WeightedSum([mse, mse])
    value, saved = twice.forward(SCORES, TEACHER)
    assert value == 2 * mse(SCORES, TEACHER)
    np.testing.assert_array_equal(twice.backward(saved), 2 * mse.backward(mse.forward(SCORES, TEACHER)[1]))


def test_penalties_need_no_target():
    assert WeightedSum([L1Penalty()], [2])(SCORES) == 2 * L1Penalty()(SCORES)


def test_weights_of_zero_switch_terms_off():
    loss = WeightedSum([MSELoss(), L1Loss()], [0, 1])
    value, saved = loss.forward(SCORES, TEACHER)
    assert value == L1Loss()(SCORES, TEACHER)
    np.testing.assert_array_equal(loss.backward(saved), L1Loss().backward(L1Loss().forward(SCORES, TEACHER)[1]))


def test_errors_name_the_term():
    loss = WeightedSum([L1Penalty(), DiceLoss()])
    with pytest.raises(IndexError, match=r"^WeightedSum\.losses\.1 DiceLoss\(\): label 255 at"):
        loss(SCORES, np.full_like(TARGET, 255))
    outer = WeightedSum([loss])
    with pytest.raises(
        ShapeError, match=r"^WeightedSum\.losses\.0\.WeightedSum\.losses\.1 DiceLoss\(\): target has shape"
    ):
        outer(SCORES, TARGET[:, :2])


def test_wrong_numbers():
    loss = WeightedSum([MSELoss(), L1Loss()])
    with pytest.raises(ValueError, match=r"^WeightedSum.*: got 1 targets for 2 losses; a tuple has one for each"):
        loss(SCORES, (TEACHER,))
    with pytest.raises(ValueError, match="got 3 weights for 2 losses"):
        WeightedSum([MSELoss(), L1Loss()], [1, 2, 3])
    with pytest.raises(ValueError, match="losses is empty: give at least one loss"):
        WeightedSum([])


def test_terms_must_be_losses_that_give_numbers():
    with pytest.raises(TypeError, match="losses must contain losses, got 3"):
        WeightedSum([MSELoss(), 3])
    with pytest.raises(ValueError, match=r"each term must be a number, but MSELoss\(reduction='none'\) gives an array"):
        WeightedSum([MSELoss("none")])
    with pytest.raises(TypeError, match="weights must be a number, got 'a'"):
        WeightedSum([MSELoss()], ["a"])
