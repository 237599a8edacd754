"""Pictures: masks in colour and files that other programs read as they are meant; panels and charts by their pixels."""

import io
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kernels import ShapeError
from minisegnet import pictures
from minisegnet.colours import MOST, VOID_COLOUR, apart, distinct_colours, views

COLOURS = np.array([[0, 0, 0], [250, 10, 20], [30, 40, 240]], np.uint8)
NAMES = ("ground", "disc", "square")


def read(path):
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def share(pixels, colour):
    """Which share of a picture has exactly this colour."""
    return (pixels == np.array(colour)).all(axis=-1).mean()


def row(height=40, width=60, seed=0, classes=3):
    """A picture with a truth that has some void and a prediction that has some errors."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.integers(0, classes, (height, 1)), width, axis=1)
    prediction = truth.copy()
    prediction[:, : width // 4] = (truth[:, : width // 4] + 1) % classes
    truth[:, -width // 4 :] = 255
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), truth, prediction


# ------------------------------------------------------------------ masks


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32])
def test_colourise_looks_colours_up(dtype):
    mask = np.array([[0, 1], [2, 255]], dtype)
    np.testing.assert_array_equal(
        pictures.colourise(mask, COLOURS), [[[0, 0, 0], [250, 10, 20]], [[30, 40, 240], VOID_COLOUR]]
    )


def test_overlay_mixes_and_leaves_void_alone():
    image = np.full((1, 3, 3), [100, 200, 50], np.uint8)
    mask = np.array([[1, 0, 255]])
    mixed = pictures.overlay(image, mask, COLOURS, alpha=0.25)
    assert mixed.dtype == np.uint8
    assert mixed.tolist() == [[[138, 152, 42], [75, 150, 38], [100, 200, 50]]]
    np.testing.assert_array_equal(pictures.overlay(image, mask, COLOURS, 0), image)
    np.testing.assert_array_equal(pictures.overlay(image[:, :, :1], mask, COLOURS, 0), np.full((1, 3, 3), 100))


def test_errors_are_red_void_is_grey_and_the_rest_white():
    errors = pictures.error_map(np.array([[0, 1, 255, 2]]), np.array([[0, 2, 2, 2]]))
    assert errors.tolist() == [[[255] * 3, list(pictures.WRONG), list(VOID_COLOUR), [255] * 3]]


@pytest.mark.parametrize("classes", [1, 3, 255])
def test_a_saved_mask_has_the_classes_as_its_pixels(tmp_path, classes):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (classes, 3), dtype=np.uint8)
    mask = rng.integers(0, classes, (7, 5))
    mask[2, 3] = 255
    pictures.save_mask(tmp_path / "mask.png", mask, colours)
    with Image.open(tmp_path / "mask.png") as saved:
        assert (saved.mode, saved.format) == ("P", "PNG")
        np.testing.assert_array_equal(np.array(saved), mask)
        np.testing.assert_array_equal(np.array(saved.convert("RGB")), pictures.colourise(mask, colours))


def test_inputs_stay_as_they_are(tmp_path):
    image, truth, prediction = row()
    for array in (image, truth, prediction, COLOURS):
        array.flags.writeable = False
    try:
        pictures.overlay(image, truth, COLOURS)
        pictures.save_mask(tmp_path / "a.png", truth, COLOURS)
        pictures.panel([(image, truth, prediction)], COLOURS, NAMES, tmp_path / "b.png")
    finally:
        COLOURS.flags.writeable = True


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pictures.colourise(np.array([[3]]), COLOURS), ValueError, "label 3, but there are colours for .*0..2"),
        (lambda: pictures.colourise(np.array([[-1]]), COLOURS), ValueError, "a mask has label -1"),
        (
            lambda: pictures.colourise(np.array([[0.0]]), COLOURS),
            ShapeError,
            r"integers of shape \(H, W\), got float64",
        ),
        (lambda: pictures.colourise(np.zeros((1, 2, 2), int), COLOURS), ShapeError, r"of shape \(1, 2, 2\)"),
        (
            lambda: pictures.colourise(np.zeros((2, 2), int), [1, 2]),
            ShapeError,
            r"colours must be a table \(classes, 3\)",
        ),
        (lambda: pictures.colourise(np.zeros((2, 2), int), np.zeros((256, 3))), ShapeError, "at most 255 classes"),
        (
            lambda: pictures.overlay(np.zeros((3, 8, 8), np.uint8), np.zeros((8, 8), int), COLOURS),
            ShapeError,
            r"a picture must be \(H, W, 1\) or \(H, W, 3\), got \(3, 8, 8\); for \(C, H, W\) transpose it",
        ),
        (
            lambda: pictures.overlay(np.zeros((8, 8, 3)), np.zeros((8, 8), int), COLOURS),
            TypeError,
            r"must be uint8, 0 to 255, got float64; convert it: \(255 \* x\)\.astype\(np\.uint8\)",
        ),
        (
            lambda: pictures.overlay(np.zeros((8, 9, 3), np.uint8), np.zeros((8, 8), int), COLOURS),
            ShapeError,
            r"a mask has shape \(8, 8\), expected \(8, 9\), the size of its picture",
        ),
    ],
)
def test_bad_masks_and_pictures(call, error, text):
    with pytest.raises(error, match=text):
        call()


# ------------------------------------------------------------------ panels


def test_a_panel_shows_classes_errors_and_void(tmp_path):
    pictures.panel([row(), row(30, 60, 1)], COLOURS, NAMES, tmp_path / "panel.png")
    pixels = read(tmp_path / "panel.png")
    height, width = pixels.shape[:2]
    assert (width, height < 1600) == (1280, True)
    cell = 310 * 310 * (2 / 3 + 1 / 2) / pixels[..., 0].size  # share of one column of cells
    assert share(pixels, pictures.WRONG) == pytest.approx(cell / 4, rel=0.1)
    assert share(pixels, VOID_COLOUR) == pytest.approx(2 * cell / 4, rel=0.1)  # in the truth and among the errors
    assert share(pixels, COLOURS[1]) > 0.01
    assert share(pixels, COLOURS[2]) > 0.01


def test_a_right_prediction_has_red_in_the_legend_only(tmp_path):
    image, _, prediction = row()
    pictures.panel([(image, prediction, prediction)], COLOURS, NAMES, tmp_path / "panel.png")
    assert 0 < share(read(tmp_path / "panel.png"), pictures.WRONG) < 0.003


def test_without_truth_there_are_three_columns_and_no_errors(tmp_path):
    image, _, prediction = row()
    pictures.panel([(image, None, prediction)], COLOURS, NAMES, tmp_path / "panel.png")
    assert share(read(tmp_path / "panel.png"), pictures.WRONG) == 0
    pictures.panel([(image, None, prediction), row()], COLOURS, NAMES, tmp_path / "mixed.png")
    assert share(read(tmp_path / "mixed.png"), pictures.WRONG) > 0.01


@pytest.mark.parametrize(
    ("count", "height", "width"), [(1, 8, 8), (1, 700, 1000), (3, 200, 20), (2, 10, 300), (10, 32, 32), (1, 1, 1)]
)
def test_panels_of_small_large_tall_wide_and_many_pictures_have_sensible_sizes(tmp_path, count, height, width):
    pictures.panel([row(height, width, i) for i in range(count)], COLOURS, NAMES, tmp_path / "panel.png")
    shown = read(tmp_path / "panel.png").shape
    assert 500 <= shown[1] <= 1280
    assert 130 <= shown[0] <= 1800


def test_grey_pictures_and_odd_class_names(tmp_path):
    """Names that matplotlib would leave out of a legend (_x) or read as a formula ($x$)."""
    image, truth, prediction = row()
    names = ("_background_", "costs $1 and $\\frac{2$", "a name that is much longer than any column could ever be" * 2)
    pictures.panel([(image[:, :, :1], truth, prediction)], COLOURS, names, tmp_path / "panel.png")
    pictures.confusion(np.eye(3, dtype=int), names, tmp_path / "confusion.png")


def test_of_very_many_classes_the_legend_lists_those_that_occur(tmp_path):
    colours, names = distinct_colours(150), [f"class {c}" for c in range(150)]
    image, truth, prediction = row()
    entries = pictures.legend_entries([(image, truth, prediction)], colours, names, True)
    assert [name for _, name in entries] == ["class 0", "class 1", "class 2", "void", "wrong", "right"]
    pictures.panel([(image, truth, prediction)], colours, names, tmp_path / "panel.png")
    assert len(pictures.legend_entries([row()], colours[:34], names[:34], False)) == 35


def test_a_panel_of_nothing_and_wrong_names(tmp_path):
    with pytest.raises(ValueError, match=r"there is nothing to draw for .*panel\.png: rows is empty"):
        pictures.panel([], COLOURS, NAMES, tmp_path / "panel.png")
    with pytest.raises(ValueError, match="a name for each colour, got 2 names for 3 colours"):
        pictures.panel([row()], COLOURS, NAMES[:2], tmp_path / "panel.png")
    image, truth, prediction = row()
    with pytest.raises(ShapeError, match=r"a mask has shape \(39, 60\), expected \(40, 60\)"):
        pictures.panel([(image, truth[1:], prediction)], COLOURS, NAMES, tmp_path / "panel.png")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ charts


def history(epochs, **more):
    return [
        {"epoch": e, "train_loss": 2 / e, "val_loss": 2.5 / e, "val_miou": e / (epochs + 1), "val_accuracy": 0.9} | more
        for e in range(1, epochs + 1)
    ]


def drawn(rows, monkeypatch, tmp_path, **options):
    """The axes of a chart of curves, caught before it becomes a file."""
    from minisegnet import charts

    figures = []
    monkeypatch.setattr(charts, "png", lambda figure, path, **options: figures.append(figure))
    pictures.curves(rows, tmp_path / "curves.png", **options)
    return figures[0].axes


@pytest.mark.parametrize("epochs", [1, 2, 30, 300])
def test_curves_are_a_picture(tmp_path, epochs):
    pictures.curves(history(epochs), tmp_path / "curves.png")
    pixels = read(tmp_path / "curves.png")
    assert pixels.shape == (420, 1240, 3)
    assert share(pixels, (255, 255, 255)) < 0.98


def test_the_loss_is_logarithmic_if_it_falls_far(monkeypatch, tmp_path):
    assert drawn(history(5), monkeypatch, tmp_path)[0].get_yscale() == "linear"
    assert drawn(history(30), monkeypatch, tmp_path)[0].get_yscale() == "log"
    below = [{"epoch": 1, "train_loss": 100.0}, {"epoch": 2, "train_loss": -1.0}]
    axes = drawn(below, monkeypatch, tmp_path)
    assert (len(axes), axes[0].get_yscale(), axes[0].get_ylim()[0]) == (1, "linear", -1)


def test_rows_without_a_number_are_left_out(monkeypatch, tmp_path):
    rows = history(6)
    for row_, nothing in zip(rows, (None, "", math.nan, math.inf, "0.5", 0.5), strict=True):
        row_["val_miou"] = nothing
    scores = drawn(rows, monkeypatch, tmp_path)[1]
    line = next(line for line in scores.lines if line.get_label() == "mean IoU")
    np.testing.assert_array_equal(line.get_xydata(), [[5, 0.5], [6, 0.5]])


def test_without_validation_there_is_one_chart(monkeypatch, tmp_path):
    rows = [{"step": s, "train_loss": 1.0, "val_loss": None, "val_miou": None} for s in range(3)]
    axes = drawn(rows, monkeypatch, tmp_path, x="step")
    assert (len(axes), axes[0].get_xlabel()) == (1, "step")


def test_the_best_score_is_marked(monkeypatch, tmp_path):
    rows = history(9)
    rows[3]["val_miou"] = 0.95
    texts = [text.get_text() for text in drawn(rows, monkeypatch, tmp_path)[1].texts]
    assert texts == ["best 0.950"]


def test_many_points_get_a_running_mean_in_its_place(monkeypatch, tmp_path):
    rows = [{"step": s, "train_loss": 3.0 + s} for s in range(201)]
    pale, strong = drawn(rows, monkeypatch, tmp_path, x="step")[0].lines
    assert len(pale.get_xdata()) == 201
    assert strong.get_label() == "training, mean of 10"
    np.testing.assert_allclose(strong.get_ydata() - strong.get_xdata(), 3 - 0.5)  # half a step beside the middle


def test_nothing_to_draw(tmp_path):
    for rows in ([], [{"epoch": 1, "train_loss": None}]):
        with pytest.raises(ValueError, match=r"nothing to draw for .*curves\.png: no row of the history has a loss"):
            pictures.curves(rows, tmp_path / "curves.png")


@pytest.mark.parametrize("classes", [1, 2, 11, 34, 60])
def test_confusion_matrices_of_all_sizes(tmp_path, classes):
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 50, (classes, classes))
    pictures.confusion(matrix, [f"class {c}" for c in range(classes)], tmp_path / "confusion.png")
    height, width, _ = read(tmp_path / "confusion.png").shape
    assert 150 <= height <= 1700
    assert 150 <= width <= 1700


def test_a_confusion_matrix_is_in_percent_of_the_truth(monkeypatch, tmp_path):
    from minisegnet import charts

    figures = []
    monkeypatch.setattr(charts, "png", lambda figure, path, **options: figures.append(figure))
    pictures.confusion(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 999]]), NAMES, tmp_path / "confusion.png")
    axes = figures[0].axes[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}  # (column, row); 0.1 % is left out
    assert np.isnan(axes.images[0].get_array().filled(np.nan)[1]).all()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_a_confusion_matrix_of_another_size(tmp_path):
    with pytest.raises(ValueError, match=r"a confusion matrix of 3 classes is 3 x 3, got \(2, 2\)"):
        pictures.confusion(np.eye(2), NAMES, tmp_path / "confusion.png")


# ------------------------------------------------------------------ colours


def test_colours_differ_for_all_kinds_of_eyes():
    for count, least in ((8, 0.08), (12, 0.08), (34, 0.07), (MOST, 0.02)):
        seen = views(distinct_colours(count))
        nearest = min(apart(seen[:, i + 1 :], seen[:, i : i + 1]).min() for i in range(count - 1))
        assert nearest > least
    from_void = apart(views(distinct_colours(34)), views([VOID_COLOUR]))
    assert from_void.min() > 0.07


def test_more_classes_keep_the_colours_of_fewer():
    table = distinct_colours(60)
    for count in (0, 1, 2, 8, 9, 34):
        few = distinct_colours(count)
        assert (few.dtype, few.shape) == (np.uint8, (count, 3))
        np.testing.assert_array_equal(few, table[:count])
    with pytest.raises(ValueError, match="colours for 0 to 256 classes, got 257"):
        distinct_colours(257)


def test_grey_stays_grey_for_all_eyes():
    grey = views([(30, 30, 30), (200, 200, 200)])
    np.testing.assert_allclose(grey[1:], grey[[0, 0]], atol=1e-4)
    np.testing.assert_allclose(grey[:, :, 1:], 0, atol=1e-4)


def test_red_and_green_are_nearer_for_some():
    seen = views([(200, 60, 40), (110, 130, 30)])
    distances = np.sqrt(((seen[:, 0] - seen[:, 1]) ** 2).sum(axis=1))
    assert distances[2] < distances[0] / 2


# ------------------------------------------------------------------ no windows, no shared state


def test_drawing_leaves_pyplot_alone(tmp_path):
    code = f"""
import sys
from minisegnet import pictures
assert "matplotlib" not in sys.modules and "PIL" not in sys.modules
import numpy as np
pictures.curves([{{"epoch": 1, "train_loss": 1.0, "val_miou": 0.5}}], r"{tmp_path / "a.png"}")
pictures.confusion(np.eye(2, dtype=int), ["a", "b"], r"{tmp_path / "b.png"}")
image, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), int)
pictures.panel([(image, mask, mask)], np.zeros((1, 3), np.uint8), ["a"], r"{tmp_path / "c.png"}")
assert "matplotlib.pyplot" not in sys.modules
"""
    from pathlib import Path

    root = Path(pictures.__file__).parents[1]
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=root, check=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_pictures_are_written_in_one_piece(tmp_path, monkeypatch):
    path = tmp_path / "curves.png"
    pictures.curves(history(3), path)
    before = path.read_bytes()
    assert Image.open(io.BytesIO(before)).format == "PNG"
    monkeypatch.setattr("os.replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"can't write .*curves\.png: No space left"):
        pictures.curves(history(4), path)
    assert path.read_bytes() == before
