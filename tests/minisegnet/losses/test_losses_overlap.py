"""DiceLoss and JaccardLoss: values worked out by hand, PyTorch's autograd as the oracle, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import check_against_torch

from kernels import ShapeError
from minisegnet.losses import DiceLoss, JaccardLoss

SURE = 1e4  # a score that makes a probability of 1
both = pytest.mark.parametrize("kind", [DiceLoss, JaccardLoss])


def map_of(rows, C):
    """Scores of a net that is sure of these class numbers."""
    return SURE * np.eye(C)[np.array(rows)].transpose(2, 0, 1)[None]


def test_dice_of_sure_predictions():
    scores, target = map_of([[0, 0, 1, 1]], 2), np.array([[[0, 1, 1, 1]]])
    # class 0: both 1, found 2, true 1: 2*1/3; class 1: both 2, found 2, true 3: 2*2/5
    assert DiceLoss(smooth=0)(scores, target) == pytest.approx(1 - (2 / 3 + 4 / 5) / 2, rel=1e-14)
    assert DiceLoss(smooth=1)(scores, target) == pytest.approx(1 - (3 / 4 + 5 / 6) / 2, rel=1e-14)
    assert DiceLoss(smooth=0, classes=[1])(scores, target) == pytest.approx(1 - 4 / 5, rel=1e-14)


def test_jaccard_of_sure_predictions():
    scores, target = map_of([[0, 0, 1, 1]], 2), np.array([[[0, 1, 1, 1]]])
    assert JaccardLoss(smooth=0)(scores, target) == pytest.approx(1 - (1 / 2 + 2 / 3) / 2, rel=1e-14)
    assert JaccardLoss(smooth=1)(scores, target) == pytest.approx(1 - (2 / 3 + 3 / 4) / 2, rel=1e-14)


def test_jaccard_follows_from_dice_for_one_class():
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((2, 1, 4, 4)), rng.integers(0, 2, (2, 1, 4, 4))
    dice = 1 - DiceLoss("sigmoid", smooth=0)(scores, target)
    assert 1 - JaccardLoss("sigmoid", smooth=0)(scores, target) == pytest.approx(dice / (2 - dice), rel=1e-12)


@both
def test_void_pixels_count_in_no_sum(kind):
    scores, target = map_of([[0, 0, 1, 1]], 2), np.array([[[0, 255, 1, 1]]])
    loss = kind(smooth=0, ignore_index=255)
    value, saved = loss.forward(scores, target)
    assert value == 0  # the only error is under the void
    np.testing.assert_array_equal(loss.backward(saved)[..., 1], 0)


@both
def test_ignoring_a_real_class(kind):
    scores, target = map_of([[0, 0, 1, 1]], 2), np.array([[[0, 0, 1, 0]]])
    # only the third pixel counts: class 0 is neither there nor found, class 1 is found
    assert kind(smooth=0, ignore_index=0)(scores, target) == 0
    # only the others count: class 0 has both 2, found 2, true 3; class 1 is found once and never there
    expected = 1 - (4 / 5 if kind is DiceLoss else 2 / 3) / 2
    assert kind(smooth=0, ignore_index=1)(scores, target) == pytest.approx(expected, rel=1e-14)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", [-30.0, -100.0, -700.0, -1e4])
def test_a_class_that_is_not_there(kind, dtype, far):
    scores = np.zeros((1, 3, 2, 2), dtype)
    scores[:, 2] = far
    target = np.array([[[0, 1], [1, 0]]])
    loss = kind(smooth=0)
    value, saved = loss.forward(scores, target)
    two = kind(smooth=0, classes=[0, 1])(scores, target)
    found = np.exp(scores[0, 2].astype(np.float64)).sum() > 1e-12  # the class counts as wrongly found
    assert value == pytest.approx((2 * two + found) / 3, rel=1e-6)
    assert np.isfinite(loss.backward(saved)).all()


@both
def test_one_channel_takes_masks_without_channel_axis(kind):
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((2, 1, 3, 3)), rng.integers(0, 2, (2, 3, 3))
    loss = kind("sigmoid")
    value, saved = loss.forward(scores, target)
    other, other_saved = loss.forward(scores, target[:, None])
    assert value == other
    np.testing.assert_array_equal(loss.backward(saved), loss.backward(other_saved))


@both
@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from([np.float32, np.float64]),
    activation=st.sampled_from(["softmax", "sigmoid"]),
    shape=st.sampled_from([(5, 3), (2, 3, 2, 3), (1, 4, 1, 5)]),
    smooth=st.sampled_from([0.0, 1e-3, 1.0]),
    classes=st.sampled_from([None, [0], [2, 1]]),
    void=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 999),
)
def test_against_autograd(kind, dtype, activation, shape, smooth, classes, void, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    N, C, *rest = shape
    scores = (2 * rng.standard_normal(shape)).astype(dtype)
    target = rng.integers(0, C, (N, *rest)) if activation == "softmax" else rng.integers(0, 2, shape)
    target[rng.random(target.shape) < void] = 255
    target.flat[0] = 0  # something is left

    def function(x, t):
        if activation == "softmax":
            p = torch.softmax(x, 1)
            y = torch.nn.functional.one_hot(torch.where(t == 255, 0, t), C).movedim(-1, 1)
            seen = (t != 255)[:, None].expand(shape)
        else:
            p, y, seen = torch.sigmoid(x), t, t != 255
        scores_of_classes = []
        for c in range(C) if classes is None else classes:
            pc, yc = p[:, c][seen[:, c]].double(), y[:, c][seen[:, c]].double()
            both, total = (pc * yc).sum(), pc.sum() + yc.sum()
            if total == 0:  # every pixel of this channel is void
                scores_of_classes.append(torch.ones((), dtype=torch.float64))
            elif kind is DiceLoss:
                scores_of_classes.append((2 * both + smooth) / (total + smooth))
            else:
                scores_of_classes.append((both + smooth) / (total - both + smooth))
        return 1 - torch.stack(scores_of_classes).mean() + 0 * x.sum()

    check_against_torch(kind(activation, smooth, 255, classes), function, scores, target)


# ------------------------------------------------------------------ errors


@both
def test_bad_targets(kind):
    name, scores = kind.__name__, np.zeros((2, 3, 4, 5))
    with pytest.raises(TypeError, match=rf"^{name}\(\): target is float64, expected integer class labels"):
        kind()(scores, np.zeros((2, 4, 5)))
    with pytest.raises(IndexError, match=rf"^{name}\(\): label 3 at \(0, 0, 0\) is outside 0..2"):
        kind()(scores, np.full((2, 4, 5), 3))
    with pytest.raises(ShapeError, match=r"drop its channel axis: target\[:, 0\]"):
        kind()(scores, np.zeros((2, 1, 4, 5), int))
    with pytest.raises(ShapeError, match=rf"^{name}.*target has shape \(2, 4, 5\), expected \(2, 3, 4, 5\)"):
        kind("sigmoid")(scores, np.zeros((2, 4, 5), int))
    with pytest.raises(ValueError, match=rf"^{name}.*target is 2 at \(0, 0, 0, 0\), expected values in 0..1"):
        kind("sigmoid")(scores, np.full((2, 3, 4, 5), 2))


@both
def test_bad_scores(kind):
    for loss in (kind(), kind("sigmoid")):
        with pytest.raises(ShapeError, match=r"scores have shape \(3,\), expected \(N, C\) or \(N, C, H, W\)"):
            loss(np.zeros(3), np.zeros(3, int))
    with pytest.raises(ShapeError, match="softmax of one channel is 1; use activation='sigmoid'"):
        kind()(np.zeros((2, 1, 3, 3)), np.zeros((2, 3, 3), int))
    with pytest.raises(IndexError, match=r"class 3 of classes=\(0, 3\) is outside 0..2"):
        kind(classes=[0, 3])(np.zeros((2, 3)), np.zeros(2, int))


@both
def test_bad_configuration(kind):
    with pytest.raises(ValueError, match="unknown activation 'relu', expected softmax or sigmoid"):
        kind("relu")
    with pytest.raises(ValueError, match=r"smooth must be in \[0, inf\), got -1"):
        kind(smooth=-1)
    for classes in ([], [1, 1]):
        with pytest.raises(ValueError, match="classes must be one or more different class numbers, got"):
            kind(classes=classes)
    with pytest.raises(ValueError, match="classes must be at least 0, got -1"):
        kind(classes=[-1])
