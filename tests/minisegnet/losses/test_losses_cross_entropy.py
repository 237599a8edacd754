"""CrossEntropyLoss: values worked out by hand, PyTorch as the oracle, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import check_against_torch

from kernels import ShapeError
from minisegnet.losses import CrossEntropyLoss

LN2, LN4 = np.log(2), np.log(4)
SCORES = np.log([[1.0, 3.0], [1.0, 1.0], [3.0, 1.0]])  # p = (1/4, 3/4), (1/2, 1/2), (3/4, 1/4)
TARGET = np.array([0, 1, 255])  # -log p = log 4, log 2, ignored


def test_mean_divides_by_the_elements_that_count():
    value, saved = CrossEntropyLoss(ignore_index=255).forward(SCORES, TARGET)
    assert value == pytest.approx((LN4 + LN2) / 2, rel=1e-14)
    expected = [[-0.375, 0.375], [0.25, -0.25], [0, 0]]
    np.testing.assert_allclose(CrossEntropyLoss(ignore_index=255).backward(saved), expected, rtol=1e-14)


def test_mean_divides_by_the_weights_of_the_labels():
    loss = CrossEntropyLoss([1, 3], ignore_index=255)
    value, saved = loss.forward(SCORES, TARGET)
    assert value == pytest.approx((1 * LN4 + 3 * LN2) / (1 + 3), rel=1e-14)
    expected = [[-0.75 / 4, 0.75 / 4], [3 * 0.5 / 4, -3 * 0.5 / 4], [0, 0]]
    np.testing.assert_allclose(loss.backward(saved), expected, rtol=1e-14)


def test_smoothing_with_weights():
    loss = CrossEntropyLoss([1, 3], ignore_index=255, label_smoothing=0.2)
    # Σ over both of (1 - e) w_t nll_t + e/C Σ_c w_c nll_c, divided by w_0 + w_1
    nll = -np.log([[0.25, 0.75], [0.5, 0.5]])
    first = 0.8 * 1 * nll[0, 0] + 0.1 * (1 * nll[0, 0] + 3 * nll[0, 1])
    second = 0.8 * 3 * nll[1, 1] + 0.1 * (1 * nll[1, 0] + 3 * nll[1, 1])
    assert loss(SCORES, TARGET) == pytest.approx((first + second) / 4, rel=1e-14)


def test_all_ignored_or_weightless_is_zero():
    for loss, target in [
        (CrossEntropyLoss(), np.full(3, -100)),
        (CrossEntropyLoss(label_smoothing=0.3), np.full(3, -100)),
        (CrossEntropyLoss([0, 1]), np.zeros(3, int)),
        (CrossEntropyLoss([0, 1], label_smoothing=0.3), np.zeros(3, int)),
    ]:
        value, saved = loss.forward(SCORES, target)
        assert value == 0
        np.testing.assert_array_equal(loss.backward(saved), np.zeros((3, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_ten_thousand(dtype):
    scores = np.array([[1e4, -1e4], [1e4, -1e4]], dtype)
    loss = CrossEntropyLoss(reduction="none")
    value, saved = loss.forward(scores, np.array([1, 0]))
    np.testing.assert_array_equal(value, [20000, 0])
    np.testing.assert_array_equal(loss.backward(saved), [[1, -1], [0, 0]])


def test_sum_is_taken_in_float64():
    value = CrossEntropyLoss(reduction="sum")(np.zeros((100_001, 2), np.float32), np.zeros(100_001, np.uint8))
    assert value == pytest.approx(100_001 * float(np.float32(LN2)), rel=1e-12)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint16, np.int64])
def test_integer_types(kind):
    assert CrossEntropyLoss()(SCORES, np.array([0, 1, 1], kind)) == CrossEntropyLoss()(SCORES, np.array([0, 1, 1]))


def test_ignoring_a_real_class():
    value = CrossEntropyLoss(ignore_index=0)(SCORES, np.array([0, 1, 0]))
    assert value == pytest.approx(LN2, rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    N=st.integers(1, 4),
    C=st.integers(1, 5),
    rest=st.sampled_from([(), (3,), (2, 3), (2, 1, 3)]),
    weighted=st.booleans(),
    void=st.sampled_from([0.0, 0.3]),
    ignore_index=st.sampled_from([-100, 255, -1, 0]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    seed=st.integers(0, 999),
)
def test_against_torch(dtype, N, C, rest, weighted, void, ignore_index, smoothing, reduction, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores = (3 * rng.standard_normal((N, C, *rest))).astype(dtype)
    target = rng.integers(0, C, (N, *rest))
    target[rng.random(target.shape) < void] = ignore_index
    weight = rng.uniform(0.1, 3, C) if weighted else None
    loss = CrossEntropyLoss(weight, ignore_index, reduction, smoothing)
    if reduction == "mean" and (target == ignore_index).all():
        assert loss(scores, target) == 0  # where PyTorch says NaN
        return
    w = None if weight is None else torch.tensor(weight.astype(dtype))
    function = torch.nn.CrossEntropyLoss(w, ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing)
    check_against_torch(loss, function, scores, target)


# ------------------------------------------------------------------ errors


def test_label_out_of_range():
    text = (
        r"^CrossEntropyLoss\(\): label 255 at \(2,\) is outside 0..1 .*; if it marks void pixels, pass ignore_index=255"
    )
    with pytest.raises(IndexError, match=text):
        CrossEntropyLoss()(SCORES, TARGET)
    with pytest.raises(IndexError, match=r"label -1 at \(0,\) is outside 0..1"):
        CrossEntropyLoss()(SCORES, np.array([-1, 0, 0]))


def test_float_targets():
    with pytest.raises(TypeError, match=r"^CrossEntropyLoss\(\): target is float64, expected integer class labels"):
        CrossEntropyLoss()(SCORES, np.zeros(3))


def test_shapes():
    loss, scores = CrossEntropyLoss(), np.zeros((2, 3, 4, 5))
    with pytest.raises(
        ShapeError, match=r"^CrossEntropyLoss.*\(2, 1, 4, 5\), .*; drop its channel axis: target\[:, 0\]"
    ):
        loss(scores, np.zeros((2, 1, 4, 5), int))
    with pytest.raises(ShapeError, match=r"not one-hot: target.argmax\(axis=1\)"):
        loss(scores, np.zeros((2, 3, 4, 5), int))
    with pytest.raises(ShapeError, match=r"target has shape \(2, 5, 4\), expected \(2, 4, 5\)"):
        loss(scores, np.zeros((2, 5, 4), int))
    with pytest.raises(ShapeError, match=r"scores have shape \(3,\), expected \(N, C\) or \(N, C, H, W\)"):
        loss(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ShapeError, match=r"weight has shape \(2,\), expected \(3,\): one for each class"):
        CrossEntropyLoss([1, 2])(scores, np.zeros((2, 4, 5), int))


def test_bad_configuration():
    for smoothing in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\], got"):
            CrossEntropyLoss(label_smoothing=smoothing)
    with pytest.raises(TypeError, match="ignore_index must be an integer, got None"):
        CrossEntropyLoss(ignore_index=None)
