"""Scores of segmentations, against matrices counted by hand and against the definitions written out as sets."""

import json
import math
import timeit

import numpy as np
import pytest

from kernels import ShapeError
from minisegnet.metrics import ConfusionMatrix

NAN = math.nan


def counted(target, prediction, classes=3, **options):
    matrix = ConfusionMatrix(classes, **options)
    matrix.update(np.array(target), np.array(prediction))
    return matrix


@pytest.fixture
def known():
    """Class 0: 6 pixels, 4 found; class 1: 3, 2 found; class 2: 1, 1 found. Three pixels in wrong places."""
    matrix = ConfusionMatrix(3)
    matrix.matrix[:] = [[4, 2, 0], [0, 2, 1], [0, 0, 1]]
    return matrix


def test_a_matrix_counted_by_hand():
    matrix = counted([[0, 0, 1], [1, 2, 255]], [[0, 1, 1], [1, 0, 2]])
    np.testing.assert_array_equal(matrix.matrix, [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert matrix.matrix.dtype == np.int64


def test_scores_computed_by_hand(known):
    assert known.accuracy() == 7 / 10
    np.testing.assert_allclose(known.class_accuracy(), [4 / 6, 2 / 3, 1])
    np.testing.assert_array_equal(known.recall(), known.class_accuracy())
    np.testing.assert_allclose(known.precision(), [4 / 4, 2 / 4, 1 / 2])
    np.testing.assert_allclose(known.iou(), [4 / 6, 2 / 5, 1 / 2])
    np.testing.assert_allclose(known.f1(), [8 / 10, 4 / 7, 2 / 3])
    assert known.mean_iou() == pytest.approx((4 / 6 + 2 / 5 + 1 / 2) / 3)
    assert known.mean_class_accuracy() == pytest.approx((4 / 6 + 2 / 3 + 1) / 3)


def test_f1_and_iou_say_the_same(known):
    np.testing.assert_allclose(known.f1(), 2 * known.iou() / (1 + known.iou()))


def test_scores_agree_with_sets_of_pixels():
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 5, (2, 3, 17, 13))
    target[rng.random(target.shape) < 0.2] = 255
    matrix = counted(target, prediction, 5)
    scored = set(np.flatnonzero(target != 255))
    for c in range(5):
        truth = set(np.flatnonzero(target == c))
        found = set(np.flatnonzero(prediction == c)) & scored
        assert matrix.iou()[c] == len(truth & found) / len(truth | found)
        assert matrix.recall()[c] == len(truth & found) / len(truth)
        assert matrix.precision()[c] == len(truth & found) / len(found)
    assert matrix.matrix.sum() == len(scored)


# ------------------------------------------------------------------ what is absent


def test_a_class_that_nobody_has_seen_does_not_count():
    matrix = counted([0, 0, 1, 1], [0, 0, 1, 0])
    np.testing.assert_allclose(matrix.iou(), [2 / 3, 1 / 2, NAN])
    np.testing.assert_allclose(matrix.f1(), [4 / 5, 2 / 3, NAN])
    assert matrix.mean_iou() == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert matrix.mean_class_accuracy() == pytest.approx((1 + 1 / 2) / 2)


def test_a_class_predicted_but_absent_has_iou_0_and_that_counts():
    matrix = counted([0, 0, 0, 0], [0, 0, 0, 2])
    np.testing.assert_allclose(matrix.iou(), [3 / 4, NAN, 0])
    assert matrix.mean_iou() == 3 / 8
    np.testing.assert_allclose(matrix.recall(), [3 / 4, NAN, NAN])
    np.testing.assert_allclose(matrix.precision(), [1, NAN, 0])


def test_a_class_never_predicted_has_no_precision():
    matrix = counted([0, 1], [0, 0])
    np.testing.assert_allclose(matrix.precision(), [1 / 2, NAN, NAN])
    np.testing.assert_allclose(matrix.recall(), [1, 0, NAN])


def test_nothing_counted_is_nan_everywhere():
    for matrix in (ConfusionMatrix(2), counted([255, 255], [0, 1], 2)):
        assert np.isnan([matrix.accuracy(), matrix.mean_iou(), matrix.mean_class_accuracy()]).all()
        assert np.isnan([matrix.iou(), matrix.f1(), matrix.precision(), matrix.recall()]).all()
        assert "mean IoU -" in matrix.table()


@pytest.mark.parametrize(
    ("ignore", "expected"), [(255, [[1, 1], [0, 1]]), (None, [[1, 1], [0, 1]]), (0, [[0, 0], [0, 1]])]
)
def test_the_ignored_label_can_be_any_or_none(ignore, expected):
    np.testing.assert_array_equal(counted([0, 0, 1], [0, 1, 1], 2, ignore_index=ignore).matrix, expected)
    if ignore == 255:
        np.testing.assert_array_equal(counted([-100], [1], 2, ignore_index=-100).matrix, 0)


# ------------------------------------------------------------------ counting


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
def test_small_integers_do_not_overflow(dtype):
    """126 * 127 + 126 fits neither eight bits nor, with 300 classes, sixteen."""
    matrix = counted(np.array([126, 126, 0], dtype), np.array([126, 3, 126], dtype), 127, ignore_index=None)
    assert (matrix.matrix[126, 126], matrix.matrix[126, 3], matrix.matrix[0, 126]) == (1, 1, 1)
    assert matrix.matrix.sum() == 3


@pytest.mark.parametrize("view", [lambda a: a[::-1, ::2], lambda a: a.T, np.asfortranarray])
def test_any_layout_in_memory(view):
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 3, (2, 8, 8))
    matrix = counted(view(target), view(prediction))
    expected = counted(view(target).copy(order="C"), view(prediction).copy(order="C"))
    np.testing.assert_array_equal(matrix.matrix, expected.matrix)


def test_inputs_stay_as_they_are():
    target, prediction = np.array([0, 255, 1]), np.array([1, 1, 1])
    target.flags.writeable = prediction.flags.writeable = False
    counted(target, prediction)
    assert target.tolist() == [0, 255, 1]


def test_batches_and_merged_matrices_add_up():
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 4, (2, 6, 9, 9))
    whole, first, second = counted(target, prediction, 4), ConfusionMatrix(4), ConfusionMatrix(4)
    for i in range(6):
        (first if i < 2 else second).update(target[i], prediction[i])
    first.merge(second)
    np.testing.assert_array_equal(first.matrix, whole.matrix)
    assert second.matrix.sum() == 4 * 81


def test_sums_beyond_32_bits():
    matrix = counted([0, 1], [0, 1], 2)
    matrix.matrix *= 2**40
    matrix.update(np.array([0]), np.array([1]))
    assert matrix.matrix.tolist() == [[2**40, 1], [0, 2**40]]
    assert matrix.accuracy() == pytest.approx(1)


def test_an_empty_batch_counts_nothing():
    matrix = counted(np.zeros((0, 4, 4), np.int64), np.zeros((0, 4, 4), np.int64))
    assert not matrix.matrix.any()


def test_a_batch_of_validation_takes_about_a_millisecond():
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 11, (2, 4, 176, 240))
    target[:, :10] = 255
    matrix = ConfusionMatrix(11)
    seconds = min(timeit.repeat(lambda: matrix.update(target, prediction), number=3, repeat=10)) / 3
    assert seconds < 0.02  # far more than it takes, for slow and busy machines; a loop in Python takes 0.1


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("target", "prediction", "error", "text"),
    [
        ([0, 3, 3], [0, 1, 1], IndexError, r"target 3 at 2 of 3 pixels, expected 0..2 \(255 is the value that is not"),
        ([0, -1], [0, 1], IndexError, r"target -1 at 1 of 2 pixels, expected 0\.\.2"),
        ([0, 1], [0, 3], IndexError, r"prediction 3 at 1 of 2 pixels, expected 0\.\.2 \(a net for other classes\?\)"),
        ([0, 255], [0, -1], IndexError, "prediction -1 at 1 of 2 pixels"),
        ([0, 1], [0.0, 1.0], TypeError, r"prediction has float64 values, expected integers.*scores\.argmax\(axis=1\)"),
        ([True, False], [0, 1], TypeError, "target has bool values, expected integers"),
        ([0, 1], [[0, 1]], ShapeError, r"target has shape \(2,\), prediction \(1, 2\), expected the same"),
    ],
)
def test_wrong_labels_are_refused_and_nothing_is_counted(target, prediction, error, text):
    matrix = ConfusionMatrix(3)
    with pytest.raises(error, match=rf"^ConfusionMatrix: {text}"):
        matrix.update(np.array(target), np.array(prediction))
    assert not matrix.matrix.any()


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="ConfusionMatrix: classes must be at least 1, got 0"):
        ConfusionMatrix(0)
    with pytest.raises(TypeError, match="ConfusionMatrix: ignore_index must be an integer, got 'void'"):
        ConfusionMatrix(2, "void")
    with pytest.raises(TypeError, match="target must be a NumPy array, got list"):
        ConfusionMatrix(2).update([0], np.array([0]))
    with pytest.raises(ShapeError, match="a matrix of 3 classes can't join one of 2"):
        ConfusionMatrix(2).merge(ConfusionMatrix(3))
    with pytest.raises(TypeError, match="merge takes another ConfusionMatrix, got 3"):
        ConfusionMatrix(2).merge(3)
    with pytest.raises(ValueError, match="got 1 names for 2 classes"):
        ConfusionMatrix(2).table(["sky"])


# ------------------------------------------------------------------ showing


def test_the_dictionary_is_json_without_nan():
    scores = json.loads(json.dumps(counted([0, 0, 1], [0, 1, 1]).as_dict(["a", "b", "c"]), allow_nan=False))
    assert (scores["pixels"], scores["accuracy"]) == (3, 2 / 3)
    assert scores["mean_iou"] == 0.5
    assert scores["classes"][0] == {
        "class": "a",
        "iou": 0.5,
        "accuracy": 0.5,
        "precision": 1.0,
        "f1": 2 / 3,
        "pixels": 2,
    }
    assert scores["classes"][2] == {
        "class": "c",
        "iou": None,
        "accuracy": None,
        "precision": None,
        "f1": None,
        "pixels": 0,
    }


def test_the_table_has_a_line_for_each_class_and_fits_long_names(known):
    lines = known.table(["a", "a very long name of a class", "c"]).splitlines()
    assert len(lines) == 6
    assert lines[0].split() == ["class", "pixels", "IoU", "accuracy", "precision", "F1"]  # as CSV files call them
    assert "recall" in lines[-1]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[2].split()[-5:] == ["30.0%", "40.0%", "66.7%", "50.0%", "57.1%"]
    assert repr(known) == "ConfusionMatrix(3)"
    assert repr(ConfusionMatrix(2, None)) == "ConfusionMatrix(2, ignore_index=None)"
