"""The generated data set: repeatable, of any size, and not solvable pixel by pixel."""

import math
import pickle

import numpy as np
import pytest

from minisegnet import data
from minisegnet.data.shapes import CLASSES, COLOURS, Shapes, draw


def test_samples_depend_on_seed_split_and_index_alone():
    one, two = Shapes(size=24, count=6, seed=3), Shapes(size=24, count=6, seed=3)
    for i in (5, 0, 3):  # in any order
        for a, b in zip(one[i], two[i], strict=True):
            np.testing.assert_array_equal(a, b)
    different = [one[0], one[1], Shapes(size=24, seed=4)[0], Shapes("val", size=24, seed=3)[0]]
    assert len({image.tobytes() for image, _ in different}) == 4
    np.testing.assert_array_equal(one[-1][0], one[5][0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(one))[2][0], one[2][0])
    np.testing.assert_array_equal(one.image(2), one[2][0])
    np.testing.assert_array_equal(one.mask(2), one[2][1])


def test_what_the_data_set_says_of_itself():
    shapes = Shapes(size=(20, 31), count=6)
    image, mask = shapes[0]
    assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((20, 31, 3), np.uint8, (20, 31), np.int64)
    assert (len(shapes), shapes.classes, shapes.channels, shapes.kind) == (6, CLASSES, 3, "segmentation")
    np.testing.assert_array_equal(shapes.colours, COLOURS)
    assert (shapes.names[4], len(shapes.names), shapes.image_path(0), shapes.mask_path(0)) == (
        "shapes train 4",
        6,
        None,
        None,
    )
    assert len(list(shapes)) == 6
    assert repr(shapes) == "<shapes train: 6 pictures of 20x31, seed 0>"


def test_a_tall_picture_is_filled_like_a_square_one():
    masks = np.stack([Shapes(size=(60, 30), count=60, seed=1).mask(i) for i in range(60)])
    share = (masks > 0).mean((0, 2))
    assert share[15:45].min() > 0.05, "shapes must be anywhere along the longer side"
    assert set(np.unique(masks)) == {0, 1, 2, 3}


def test_a_data_set_without_end():
    shapes = Shapes(size=16, count=math.inf, seed=1)
    np.testing.assert_array_equal(shapes[12345][0], shapes[12345][0])
    np.testing.assert_array_equal(shapes[2][0], Shapes(size=16, count=3, seed=1)[2][0])
    assert shapes.names[12345] == "shapes train 12345"
    assert repr(shapes) == "<shapes train: endless of 16x16, seed 1>"
    with pytest.raises(TypeError, match="have no end, so they have no length"):
        len(shapes)
    with pytest.raises(ValueError, match="a sample's index must be at least 0, got -1"):
        shapes[-1]


def test_options_in_the_text_of_a_spec():
    shapes = data.open("shapes:size=24x32,count=10,seed=5")
    assert (shapes.size, len(shapes), shapes.seed) == ((24, 32), 10, 5)
    assert len(data.open("shapes:count=10", split="val")) == 2
    assert len(data.open("shapes:count=1", split="test")) == 1
    assert data.open("shapes:count=inf").count == math.inf
    assert data.splits("shapes") == ("train", "val", "test")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"size": 4}, "size must be at least 8, got 4"),
        ({"size": (8, 8, 8)}, r"size must be a side or \(height, width\), got \(8, 8, 8\)"),
        ({"size": "8"}, "size must be a side in pixels or HEIGHTxWIDTH, such as 48x64, got '8'"),
        ({"size": "8xb"}, "HEIGHTxWIDTH"),
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"split": "dev"}, "shapes have no split 'dev'; there is train, val, test"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        data.open("shapes", **options)
    with pytest.raises(IndexError, match="shapes train has 3 samples, got index 3"):
        Shapes(count=3)[3]
    with pytest.raises(TypeError, match="a sample's index must be an integer, got slice"):
        Shapes(count=3)[0:2]


# ------------------------------------------------------------------ not solvable pixel by pixel


def linear_rule(features, labels, classes):
    """Weights of the least-squares fit of one-hot labels; each class counts the same."""
    weight = (1 / np.bincount(labels, minlength=classes))[labels] ** 0.5
    return np.linalg.lstsq(features * weight[:, None], np.eye(classes)[labels] * weight[:, None], rcond=None)[0]


def mean_iou(truth, predicted, classes):
    both = [((truth == c) & (predicted == c)).sum() for c in range(classes)]
    either = [((truth == c) | (predicted == c)).sum() for c in range(classes)]
    return np.mean(np.divide(both, either))


def score(images, masks, unseen, unseen_masks):
    """mIoU of a linear rule that sees one pixel: its colour, their products, and where it is."""

    def features(images):
        N, C, H, W = images.shape
        y, x = np.broadcast_to(np.mgrid[0:H, 0:W][:, None] / H, (2, N, H, W))
        r, g, b = images.transpose(1, 0, 2, 3)
        planes = [np.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b, x, y, x * x, y * y, x * y]
        return np.stack(planes, -1).reshape(-1, len(planes))

    rule = linear_rule(features(images), masks.ravel(), len(CLASSES))
    return mean_iou(unseen_masks.ravel(), (features(unseen) @ rule).argmax(1), len(CLASSES))


def test_a_linear_rule_on_single_pixels_fails():
    """It gets hardly more than a rule that knows nothing, though the same rule solves shapes that have colours."""
    images, masks = draw(60, 32, rng=0)
    unseen, unseen_masks = draw(60, 32, rng=1)
    assert score(images, masks, unseen, unseen_masks) < 0.3

    def with_colours(images, masks):
        return 0.2 * images + 0.8 * COLOURS[masks].transpose(0, 3, 1, 2) / 255

    easy = score(with_colours(images, masks), masks, with_colours(unseen, unseen_masks), unseen_masks)
    assert easy > 0.9, "the rule must be able to solve an easy task"
