"""FocalLoss: values worked out by hand, cross-entropy at gamma 0, PyTorch's autograd, extremes, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import VOID, check_against_torch, labels, some_dvalue

from minisegnet.losses import CrossEntropyLoss, FocalLoss

SCORES = np.log([[1.0, 3.0], [1.0, 1.0]])  # p = (1/4, 3/4), (1/2, 1/2)


def test_value():
    target = np.array([1, 0])
    each = [0.25**2 * np.log(4 / 3), 0.5**2 * np.log(2)]
    np.testing.assert_allclose(FocalLoss(reduction="none")(SCORES, target), each, rtol=1e-14)
    assert FocalLoss()(SCORES, target) == pytest.approx(sum(each) / 2, rel=1e-14)
    assert FocalLoss(weight=[3, 1])(SCORES, target) == pytest.approx((each[0] + 3 * each[1]) / 4, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, [0.5, 2.0, 1.25]])
@pytest.mark.parametrize("size", [1, 1e4])
def test_gamma_0_is_cross_entropy(dtype, reduction, weight, size):
    scores, target = labels(np.random.default_rng(0), dtype, (3, 3, 4, 4))
    scores *= dtype(size)
    focal, entropy = FocalLoss(0, weight, VOID, reduction), CrossEntropyLoss(weight, VOID, reduction)
    value, saved = focal.forward(scores, target)
    expected, expected_saved = entropy.forward(scores, target)
    close = 1e-12 if dtype == np.float64 else 1e-6
    np.testing.assert_allclose(value, expected, rtol=close, atol=close)
    dvalue = some_dvalue(value)
    np.testing.assert_allclose(
        focal.backward(saved, dvalue), entropy.backward(expected_saved, dvalue), rtol=close, atol=close
    )


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_probabilities(gamma, dtype):
    margins = np.array([-1e4, -300, -50, 50, 300, 1e4], dtype)  # of the right class
    scores = np.stack([margins, np.zeros_like(margins)], axis=1)
    loss = FocalLoss(gamma, reduction="none")
    value, saved = loss.forward(scores, np.zeros(6, int))
    dscores = loss.backward(saved)
    np.testing.assert_allclose(value, np.maximum(-margins, 0), atol=1e-6)
    # hopeless: the gradient of cross-entropy, -1 and 1; right already: none
    np.testing.assert_allclose(dscores[:, 0], [-1, -1, -1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(dscores[:, 1], [1, 1, 1, 0, 0, 0], atol=1e-6)


def test_almost_right_pixels_lose_no_more_digits_than_their_cross_entropy():
    scores, target = np.array([[6.0, -6.0], [7.0, -7.0]], np.float32), np.array([0, 0])  # 1 - p[t] is 6e-6 and 8e-7
    ce = CrossEntropyLoss(reduction="none")(scores, target).astype(np.float64)
    value = FocalLoss(0.5, reduction="none")(scores, target)
    np.testing.assert_allclose(value, np.sqrt(-np.expm1(-ce)) * ce, rtol=1e-5)


@settings(max_examples=50, deadline=None)
@given(
    gamma=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5]),
    dtype=st.sampled_from([np.float32, np.float64]),
    shape=st.sampled_from([(6, 3), (2, 3, 2, 3)]),
    weighted=st.booleans(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 999),
)
def test_against_autograd(gamma, dtype, shape, weighted, reduction, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores, target = labels(rng, dtype, shape)
    weight = rng.uniform(0.1, 3, shape[1]).astype(dtype) if weighted else np.ones(shape[1], dtype)

    def function(x, t):
        label = torch.where(t == VOID, 0, t)
        log_p = torch.log_softmax(x, 1).gather(1, label[:, None])[:, 0]
        w = torch.tensor(weight)[label] * (t != VOID)
        each = -w * (1 - log_p.exp()) ** gamma * log_p
        return {"none": each, "sum": each.sum(), "mean": each.sum() / w.sum()}[reduction]

    loss = FocalLoss(gamma, weight if weighted else None, VOID, reduction)
    check_against_torch(loss, function, scores, target)


def test_errors():
    with pytest.raises(ValueError, match=r"gamma must be in \[0, inf\), got -1"):
        FocalLoss(gamma=-1)
    with pytest.raises(IndexError, match=r"^FocalLoss\(\): label 2 at \(0,\) is outside 0..1"):
        FocalLoss()(SCORES, np.array([2, 0]))
    with pytest.raises(TypeError, match=r"^FocalLoss\(gamma=1.0\): target is float64, expected integer"):
        FocalLoss(1)(SCORES, np.zeros(2))
    with pytest.raises(ValueError, match=r"weight has shape \(3,\), expected \(2,\)"):
        FocalLoss(weight=[1, 2, 3])(SCORES, np.zeros(2, int))
