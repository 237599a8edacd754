"""Class weights, against frequencies counted by hand."""

import numpy as np
import pytest

from kernels import ShapeError
from minisegnet.class_weights import RULES, class_weights, count_pixels
from minisegnet.data.dataset import DataError, Dataset


class Masks(Dataset):
    """A data set of given masks."""

    def __init__(self, masks, classes=3, kind="segmentation"):
        super().__init__("toy", "train", [f"class {c}" for c in range(classes)])
        self.masks, self.kind = masks, kind

    def __len__(self):
        return len(self.masks)

    def mask(self, i):
        return self.masks[i]


# class 0 in both pictures: 5 of 14 pixels; class 1 in the first: 3 of 8; class 2 in the second: 4 of 6
TOY = Masks([np.array([[0, 0, 0, 1], [1, 1, 255, 255]]), np.array([[0, 0, 2], [2, 2, 2]])])


def test_pixels_are_counted_by_class_and_by_picture():
    counts = count_pixels(TOY)
    assert counts.pixels.tolist() == [5, 3, 4]
    assert counts.image_pixels.tolist() == [14, 8, 6]  # void pixels belong to their picture
    assert counts.images.tolist() == [2, 1, 1]
    assert counts.void == 2
    assert {array.dtype for array in counts[:3]} == {np.dtype(np.int64)}


def test_median_frequency_by_hand():
    frequency = np.array([5 / 14, 3 / 8, 4 / 6])
    weights = class_weights("median-frequency", TOY)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, 3 / 8 / frequency, rtol=1e-6)
    np.testing.assert_allclose(class_weights("sqrt-median-frequency", TOY), np.sqrt(3 / 8 / frequency), rtol=1e-6)


def test_enet_by_hand():
    share = np.array([5, 3, 4]) / 12  # of the pixels that have a class
    np.testing.assert_allclose(class_weights("enet", TOY), 1 / np.log(1.02 + share), rtol=1e-6)


def test_none_is_none():
    assert class_weights("none", TOY) is None


@pytest.mark.parametrize("rule", RULES[1:])
def test_counts_can_be_used_again(rule):
    np.testing.assert_array_equal(class_weights(rule, count_pixels(TOY)), class_weights(rule, TOY))


def test_a_class_without_a_pixel_does_not_move_the_median():
    with_empty = Masks(TOY.masks, classes=5)
    weights = class_weights("median-frequency", with_empty)
    np.testing.assert_array_equal(weights[:3], class_weights("median-frequency", TOY))
    assert weights[3:].tolist() == [0, 0]
    assert np.isfinite(class_weights("enet", with_empty)).all()


def test_small_masks_of_any_integer_type_do_not_overflow():
    counts = count_pixels(Masks([np.zeros((300, 300), np.uint8)], 1))
    assert (counts.pixels[0], counts.image_pixels[0]) == (90000, 90000)


def test_labels_of_whole_pictures_count_as_pixels_of_one_picture():
    labels = Masks([0, 0, 0, 1, 2, 2], kind="classification")
    counts = count_pixels(labels)
    assert (counts.pixels.tolist(), counts.image_pixels.tolist()) == ([3, 1, 2], [6, 6, 6])
    np.testing.assert_allclose(class_weights("median-frequency", labels), [2 / 3, 2, 1], rtol=1e-6)


@pytest.mark.parametrize("numbers", [[1, 2.5, 0], (1, 2.5, 0), np.array([1, 2.5, 0]), "1, 2.5, 0", "1,2.5,0"])
def test_numbers_of_ones_own(numbers):
    weights = class_weights(numbers, TOY)
    assert (weights.tolist(), weights.dtype) == ([1, 2.5, 0], np.float32)


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        (
            "median",
            ValueError,
            r"unknown class weights 'median', expected one of none, median-frequency, .*enet or num",
        ),
        ("1,2", ValueError, "class weights: got 2 numbers, expected one for each of the 3 classes"),
        ([1, 2, 3, 4], ValueError, "class weights: got 4 numbers, expected one for each of the 3 classes"),
        (None, ValueError, "class weights: got None, expected one for each of the 3 classes"),
        ([1, -1, 1], ValueError, "class weights must be finite and not negative"),
        ("1,nan,1", ValueError, "class weights must be finite and not negative"),
        ([0, 0, 0], ValueError, "class weights: all are 0"),
        ([[1, 2, 3]], ShapeError, r"class weights has shape \(1, 3\)"),
        ({"sky": 1}, TypeError, "class weights must be a list or array of numbers"),
    ],
)
def test_bad_rules(rule, error, text):
    with pytest.raises(error, match=text):
        class_weights(rule, TOY)


@pytest.mark.parametrize("rule", RULES[1:])
@pytest.mark.parametrize("masks", [[], [np.full((2, 2), 255)]])
def test_no_labelled_pixel_is_an_error(rule, masks):
    with pytest.raises(ValueError, match=f"no labelled pixel to compute class weights '{rule}' from"):
        class_weights(rule, Masks(masks))


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_that_is_no_class_names_the_file(label):
    with pytest.raises(DataError, match=rf"^toy train 1: label {label} at 2 pixels, expected 0\.\.2 or 255"):
        count_pixels(Masks([np.zeros((2, 2), int), np.full((1, 2), label)]))
