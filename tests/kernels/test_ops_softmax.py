"""Softmax, log-softmax and the fused cross-entropy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import close, drawn, torch_gradients

from kernels import ShapeError

NAN = np.nan
NAMES = ["softmax", "log_softmax"]
dtypes = st.sampled_from([np.float64, np.float32])
seeds = st.integers(0, 2**32 - 1)


# ------------------------------------------------------------------ softmax


def test_softmax_by_hand(ops):
    x = np.log(np.array([[1.0, 2, 5], [3, 3, 2]]))
    expected = np.array([[1, 2, 5], [3, 3, 2]]) / 8
    close(ops.softmax_forward(x, 1), expected)
    close(ops.log_softmax_forward(x, 1), np.log(expected))


def test_softmax_of_large_scores_does_not_overflow(ops):
    x = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        p, log_p = ops.softmax_forward(x, 1), ops.log_softmax_forward(x, 1)
    close(p, np.array([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]]))
    close(log_p, np.array([[0, -2e4, -1e4], [-np.log(3)] * 3]))


@pytest.mark.parametrize("name", NAMES)
def test_nan_spoils_its_own_row_only(ops, name):
    y = getattr(ops, f"{name}_forward")(np.array([[NAN, 1], [0, 0.0]]), 1)
    assert np.isnan(y).tolist() == [[True, True], [False, False]]


@pytest.mark.parametrize("name", NAMES)
def test_a_score_of_minus_infinity_has_probability_zero(ops, name):
    y = getattr(ops, f"{name}_forward")(np.array([[-np.inf, 0, 0]]), 1)
    p = y if name == "softmax" else np.exp(y)
    close(p, np.array([[0, 0.5, 0.5]]))


@pytest.mark.parametrize("name", NAMES)
@drawn(80)
@given(
    seed=seeds,
    scale=st.sampled_from([1e-3, 1, 50]),
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    data=st.data(),
    dtype=dtypes,
)
def test_softmax_agrees_with_pytorch(ops, torch, name, seed, scale, shape, data, dtype):
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    rng = np.random.default_rng(seed)
    x, dy = (scale * rng.normal(size=shape)).astype(dtype), rng.normal(size=shape).astype(dtype)
    y, (dx,) = torch_gradients(torch, lambda x: getattr(torch, name)(x, dim), [x], dy)
    close(getattr(ops, f"{name}_forward")(x, dim), y)
    close(getattr(ops, f"{name}_backward")(dy, y, dim), dx)


# ------------------------------------------------------------------ cross-entropy


def test_cross_entropy_by_hand(ops):
    scores = np.log(np.array([[1.0, 2, 5], [3, 3, 2]]))
    target = np.array([2, 0])
    losses, p = ops.softmax_cross_entropy_forward(scores, target, None, -100, 0.0)
    close(losses, -np.log([5 / 8, 3 / 8]))
    close(p, np.array([[1, 2, 5], [3, 3, 2]]) / 8)
    dscores = ops.softmax_cross_entropy_backward(np.array([8.0, 80]), p, target, None, -100, 0.0)
    close(dscores, np.array([[1, 2, -3], [-50, 30, 20.0]]))  # dlosses * (p - onehot)


def test_weights_and_smoothing_by_hand(ops):
    """SEMANTICS: (1-e)*w[t]*nll[t] + e/C * sum over c of w[c]*nll[c]."""
    scores, target, w = np.log(np.array([[1.0, 2, 5]])), np.array([1]), np.array([2.0, 3, 0.5])
    nll = -np.log(np.array([1, 2, 5]) / 8)
    losses, _ = ops.softmax_cross_entropy_forward(scores, target, w, -100, 0.3)
    close(losses, np.array([0.7 * 3 * nll[1] + 0.1 * (w * nll).sum()]))


def test_ignored_elements_have_no_loss_and_no_gradient(ops):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 3, 2, 2))
    target = np.array([[[0, 255], [1, 2]], [[255, 255], [2, 255]]])
    losses, p = ops.softmax_cross_entropy_forward(scores, target, None, 255, 0.1)
    assert ((losses == 0) == (target == 255)).all()
    dscores = ops.softmax_cross_entropy_backward(rng.normal(size=target.shape), p, target, None, 255, 0.1)
    assert ((dscores == 0).all(axis=1) == (target == 255)).all()


def test_all_ignored_gives_zeros(ops):
    scores, target = np.random.default_rng(0).normal(size=(2, 3, 4)), np.full((2, 4), 255)
    losses, p = ops.softmax_cross_entropy_forward(scores, target, None, 255, 0.1)
    np.testing.assert_array_equal(losses, np.zeros((2, 4)))
    np.testing.assert_array_equal(ops.softmax_cross_entropy_backward(1.0, p, target, None, 255, 0.1), 0 * scores)


def test_an_ignore_index_inside_the_classes_counts_as_ignored(ops):
    losses, _ = ops.softmax_cross_entropy_forward(np.zeros((2, 3)), np.array([0, 1]), None, 0, 0.0)
    close(losses, np.array([0, np.log(3)]))


def test_logits_of_ten_thousand_give_a_finite_loss(ops):
    scores = np.array([[1e4, -1e4]])
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        losses, p = ops.softmax_cross_entropy_forward(scores, np.array([1]), None, -100, 0.0)
        dscores = ops.softmax_cross_entropy_backward(1.0, p, np.array([1]), None, -100, 0.0)
    close(losses, np.array([20000.0]))
    close(dscores, np.array([[1.0, -1.0]]))


def test_another_class_at_minus_infinity_leaves_the_loss_finite(ops):
    scores = np.array([[0.0, -np.inf, 0.0]])
    losses, p = ops.softmax_cross_entropy_forward(scores, np.array([2]), None, -100, 0.0)
    close(losses, np.log([2.0]))
    close(ops.softmax_cross_entropy_backward(2.0, p, np.array([2]), None, -100, 0.0), np.array([[1.0, 0, -1]]))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.int64])
def test_labels_of_any_integer_type(ops, dtype):
    scores, target = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array([[0, 1, 2, 1], [2, 2, 0, 1]])
    expected = ops.softmax_cross_entropy_forward(scores, target, None, -100, 0.1)
    for a, b in zip(
        ops.softmax_cross_entropy_forward(scores, target.astype(dtype), None, -100, 0.1), expected, strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dlosses_may_be_one_number(ops, dtype):
    rng = np.random.default_rng(0)
    scores, target = rng.normal(size=(2, 3, 4)).astype(dtype), rng.integers(0, 3, (2, 4))
    _, p = ops.softmax_cross_entropy_forward(scores, target, None, -100, 0.1)
    expected = ops.softmax_cross_entropy_backward(np.full((2, 4), 0.5, dtype), p, target, None, -100, 0.1)
    for number in (0.5, np.float64(0.5), np.array(0.5)):
        close(ops.softmax_cross_entropy_backward(number, p, target, None, -100, 0.1), expected)


@drawn(200)
@given(
    seed=seeds,
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    classes=st.integers(1, 5),
    weighted=st.booleans(),
    ignore_index=st.sampled_from([-100, 255, 0]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    dtype=dtypes,
)
def test_cross_entropy_agrees_with_pytorch(ops, torch, seed, shape, classes, weighted, ignore_index, smoothing, dtype):
    rng = np.random.default_rng(seed)
    scores = 3 * rng.normal(size=(shape[0], classes, *shape[1:])).astype(dtype)
    target = rng.integers(0, classes, shape)
    target[rng.random(shape) < 0.2] = ignore_index if ignore_index else 0
    weight = rng.uniform(0.1, 2, classes).astype(dtype) if weighted else None
    dlosses = rng.normal(size=shape).astype(dtype)

    def oracle(scores):
        return torch.nn.functional.cross_entropy(
            scores,
            torch.from_numpy(target),
            None if weight is None else torch.from_numpy(weight),
            ignore_index=ignore_index,
            reduction="none",
            label_smoothing=smoothing,
        )

    expected, (dscores,) = torch_gradients(torch, oracle, [scores], dlosses)
    losses, p = ops.softmax_cross_entropy_forward(scores, target, weight, ignore_index, smoothing)
    close(losses, expected)
    close(p, torch.softmax(torch.from_numpy(scores), 1).numpy())
    close(ops.softmax_cross_entropy_backward(dlosses, p, target, weight, ignore_index, smoothing), dscores)


# ------------------------------------------------------------------ bad targets

SCORES = np.zeros((2, 3, 4, 5))


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (np.zeros((2, 4, 5)), TypeError, r"^target is float64, expected integer class labels; convert it: target\.as"),
        (np.zeros((2, 4, 5), bool), TypeError, r"^target is bool, expected integer class labels"),
        (np.zeros((2, 1, 4, 5), int), ShapeError, r"expected \(2, 4, 5\); drop its channel axis: target\[:, 0\]$"),
        (np.zeros((2, 3, 4, 5), int), ShapeError, r"labels are class numbers, not one-hot: target\.argmax\(axis=1\)$"),
        (np.zeros((2, 5, 4), int), ShapeError, r"^target has shape \(2, 5, 4\), expected \(2, 4, 5\)$"),
    ],
)
def test_a_wrong_target_raises(ops, target, error, message):
    with pytest.raises(error, match=message):
        ops.softmax_cross_entropy_forward(SCORES, target, None, -100, 0.0)


@pytest.mark.parametrize("label", [3, -1, 255])
def test_a_label_out_of_range_is_shown_with_its_place(ops, label):
    target = np.zeros((2, 4, 5), int)
    target[1, 2, 3:] = label
    message = (
        rf"^label {label} (at \(1, 2, 3\)|\(element 33 of target\)) is outside 0\.\.2( \(2 such elements\))?; "
        rf"if it marks void pixels, pass ignore_index={label}$"
    )
    with pytest.raises(IndexError, match=message):
        ops.softmax_cross_entropy_forward(SCORES, target, None, -100, 0.0)
    assert not ops.softmax_cross_entropy_forward(SCORES, target, None, label, 0.0)[0][1, 2, 3:].any()


def test_a_wrong_weight_or_score_shape_raises(ops):
    target = np.zeros((2, 4, 5), int)
    with pytest.raises(ShapeError, match=r"^weight has shape \(2,\), expected \(3,\): one for each class$"):
        ops.softmax_cross_entropy_forward(SCORES, target, np.ones(2), -100, 0.0)
    with pytest.raises(ShapeError, match=r"^scores have shape \(3,\), expected \(N, C\) or \(N, C, H, W\)$"):
        ops.softmax_cross_entropy_forward(np.zeros(3), target, None, -100, 0.0)


def test_an_ignored_element_is_silent_even_where_its_scores_are_nan(ops):
    scores = np.array([[np.nan, 1.0, 2.0], [0.5, -1.0, 2.0]])
    target = np.array([255, 1])
    losses, p = ops.softmax_cross_entropy_forward(scores, target, None, 255, 0.1)
    assert losses[0] == 0
    dscores = ops.softmax_cross_entropy_backward(np.ones(2), p, target, None, 255, 0.1)
    np.testing.assert_array_equal(dscores[0], 0)
    assert np.isfinite(dscores).all()
    assert dscores[1].any()


@pytest.mark.parametrize("offset", [0, 1e4, 1e6])
def test_a_common_offset_costs_no_digits_but_those_of_the_scores(ops, offset):
    """log(total) + peak - score: where the last two are large, they have to cancel before anything is added."""
    scores = (np.array([[0.0, 1.0, -2.0], [3.0, 2.5, 0.5]]) + offset).astype(np.float32)
    target = np.array([1, 2])
    losses, _ = ops.softmax_cross_entropy_forward(scores, target, None, -100, 0.0)
    exact = scores.astype(np.float64) - offset
    expected = np.log(np.exp(exact).sum(axis=1)) - exact[[0, 1], target]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
