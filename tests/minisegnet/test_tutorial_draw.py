"""What the tutorials draw with, by the pixels of what it writes."""

import io
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minisegnet
from kernels import ShapeError
from minisegnet.colours import VOID_COLOUR, distinct_colours
from minisegnet.tutorial import draw


@pytest.fixture
def pixels(tmp_path, monkeypatch, capsys):
    """A function that shows a figure and reads the pixels of the file."""
    monkeypatch.setenv("MINISEGNET_PICTURES", str(tmp_path / "pictures"))

    def read(fig, name="00_test"):
        draw.show(fig, name)
        path = tmp_path / "pictures" / f"{name}.png"
        assert capsys.readouterr().out == f"picture: {path}\n"
        with Image.open(path) as image:
            return np.array(image.convert("RGB"))

    return read


def colours(pixels):
    """The set of colours that fill at least 1/1000 of a picture."""
    found, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(colour) for colour in found[counts * 1000 > counts.sum()].tolist()}


def texts(ax):
    return [text.get_text() for text in ax.texts]


# ------------------------------------------------------------------ grids


def test_colours_are_those_of_the_explorer():
    page = Path(minisegnet.__file__).parent / "explorer" / "page" / "colours.js"
    light = page.read_text(encoding="utf-8").partition("light: {")[2].partition("}")[0]
    stops = {}
    for name, text in re.findall(r"(\w+): \[(\[.*?\])\],", light):
        stops[name] = tuple(tuple(map(int, stop.split(","))) for stop in re.findall(r"\[([\d, ]+)\]", text))
    assert {"forward": stops["value"], "gradient": stops["gradient"], "weight": stops["weight"]} == draw.STOPS


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("forward", [[3, 5, 7]], [(232, 235, 237), (120, 178, 172), (0, 92, 88)]),
        ("gradient", [[-4, 0, 2]], [(20, 90, 170), (243, 242, 238), (246, 190, 125)]),
        ("weight", [[-1, 0, 1]], [(110, 70, 170), (246, 244, 250), (110, 70, 170)]),
        ("forward", [[5, 5, 5]], [(232, 235, 237)]),
    ],
)
def test_cells_have_the_colours_of_their_values(kind, values, expected, pixels):
    fig, axes = draw.panels(1)
    draw.grid(axes[0], values, kind=kind, numbers=False)
    assert set(expected) <= colours(pixels(fig))


def test_limits_make_grids_comparable():
    values = np.array([[0.0, 1.0]])
    np.testing.assert_array_equal(
        draw.shade(values, "forward", (0, 2))[0, 1], draw.shade(np.array([[0.0, 1.0, 2.0]]), "forward")[0, 1]
    )
    assert (draw.shade(values, "forward", (0, 2)) != draw.shade(values, "forward")).any()


def test_empty_cells_and_infinite_values():
    shown = draw.shade(np.array([[np.nan, 0.0, 1.0, np.inf, -np.inf]]), "forward")
    assert shown[0, 0].tolist() == [1, 1, 1]
    np.testing.assert_array_equal(shown[0, 3], shown[0, 2])
    np.testing.assert_array_equal(shown[0, 4], shown[0, 1])
    assert draw.shade(np.full((2, 2), np.nan), "gradient").tolist() == np.ones((2, 2, 3)).tolist()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([[1, -2]], ["1", "-2"]),
        ([[True, False]], ["1", "0"]),
        ([[0.5, -0.25, 0]], ["0.500", "-0.250", "0"]),
        ([[123.4, 0.6]], ["123", "1"]),
        ([[np.nan, 0.1]], ["", "0.100"]),
        ([[1e-7, 2e6]], ["1e-07", "2e+06"]),
        ([[np.inf, 1.5]], ["inf", "1.50"]),
    ],
)
def test_numbers_are_short(values, words):
    fig, axes = draw.panels(1)
    draw.grid(axes[0], values)
    assert texts(axes[0]) == words


def test_numbers_stand_where_they_can_be_read_and_nowhere_else():
    fig, axes = draw.panels(3, size=(9, 3))
    draw.grid(axes[0], np.ones((4, 4)))
    draw.grid(axes[1], np.full((20, 20), 0.5), title="many")
    assert [len(texts(ax)) for ax in axes] == [16, 0, 0]
    assert min(text.get_fontsize() for text in axes[0].texts) >= 9
    with pytest.raises(
        ValueError, match=r"numbers of 20 x 20 cells would be \d\.\d points high in many.*numbers=False"
    ):
        draw.grid(axes[2], np.full((20, 20), 0.5), title="many", numbers=True)


def test_numbers_stay_inside_their_cells():
    for size, shape in [((12, 3), (5, 5)), ((9, 3), (3, 7)), ((3, 3), (6, 6)), ((4, 6), (8, 2)), ((6, 2), (1, 9))]:
        fig, axes = draw.panels(max(1, round(size[0] / size[1])), size=size)
        draw.grid(axes[0], np.full(shape, -0.125), title="x")
        fig.draw_without_rendering()
        cell = np.abs(np.subtract(*axes[0].transData.transform([(1, 1), (0, 0)])))
        for text in axes[0].texts:
            box = text.get_window_extent()
            assert box.width < cell[0], (size, shape)
            assert box.height < cell[1], (size, shape)


def test_ring_goes_round_neighbours_together():
    fig, axes = draw.panels(1)
    before = len(axes[0].lines)
    draw.grid(axes[0], np.zeros((4, 4)), ring=[(1, 1), (1, 2), (3, 3)])
    lines = [line for line in axes[0].lines[before:] if line.get_linewidth() > 3]
    sides = {(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in lines}
    assert len(lines) == 6 + 4
    assert ((1.5, 1.5), (0.5, 1.5)) not in sides  # between the two neighbours
    assert ((0.5, 0.5), (0.5, 1.5)) in sides
    assert ((2.5, 3.5), (3.5, 3.5)) in sides


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda ax: draw.grid(ax, np.zeros(3)), ShapeError, r"needs an array \(rows, columns\), got \(3,\)"),
        (lambda ax: draw.grid(ax, np.zeros((0, 3))), ShapeError, r"got \(0, 3\)"),
        (lambda ax: draw.grid(ax, np.zeros((1, 1, 2, 2))), ShapeError, r"choose one map, such as x\[0, 0\]"),
        (lambda ax: draw.grid(ax, [[1]], kind="value"), ValueError, "forward, gradient, weight, got 'value'"),
        (lambda ax: draw.grid(ax, [[1, 2]], ring=[(1, 0)]), ValueError, r"no cell \(1, 0\) .* grid of 1 x 2"),
        (lambda ax: draw.curve(ax, {}), ValueError, "1 to 6 lines, got 0"),
        (lambda ax: draw.curve(ax, {name: [1] for name in "abcdefg"}), ValueError, "1 to 6 lines, got 7"),
        (lambda ax: draw.curve(ax, {"a": [1, 2]}, x=[1]), ShapeError, "line 'a' has 2 values, and x has 1"),
        (lambda ax: draw.picture(ax, np.zeros((4, 4, 3))), ShapeError, r"\(3, H, W\).* got \(4, 4, 3\)"),
        (lambda ax: draw.picture(ax, np.full((3, 4, 4), 255)), ValueError, "got 255 to 255; divide bytes by 255"),
        (lambda ax: draw.picture(ax, np.full((4, 4), np.nan)), ValueError, "got nan to nan"),
        (lambda ax: draw.mask(ax, np.zeros((1, 4, 4), int)), ShapeError, r"integers of shape \(H, W\)"),
    ],
)
def test_what_cannot_be_drawn_is_explained(call, error, message):
    _, axes = draw.panels(1)
    with pytest.raises(error, match=message):
        call(axes[0])


# ------------------------------------------------------------------ curves, pictures, masks


def test_curves_differ_in_more_than_colour():
    _, axes = draw.panels(1)
    draw.curve(axes[0], {name: [1, 2, 4] for name in "abcdef"}, x=[0, 10, 20], xlabel="step", ylabel="loss", log=True)
    lines = axes[0].lines
    assert len({(line.get_color().tolist().__repr__(), line.get_linestyle()) for line in lines}) == 6
    assert len({line.get_linestyle() for line in lines[:4]}) == 4
    assert axes[0].get_yscale() == "log"
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == list("abcdef")
    assert lines[0].get_xdata().tolist() == [0, 10, 20]


def test_one_curve_named_like_its_axis_needs_no_legend():
    _, axes = draw.panels(2)
    draw.curve(axes[0], {"loss": [2, 1]}, ylabel="loss")
    draw.curve(axes[1], {"loss": [2, 1]})
    assert axes[0].get_legend() is None
    assert axes[1].get_legend() is not None


def test_pictures_show_their_colours_and_keep_their_pixels(pixels):
    image = np.zeros((3, 2, 2), np.float32)
    image[0, 0, 0], image[2, 1, 1] = 1, 1
    fig, axes = draw.panels(2)
    draw.picture(axes[0], image)
    draw.picture(axes[1], np.array([[[0.2, 1.0]]]))
    assert {(255, 0, 0), (0, 0, 255), (0, 0, 0), (51, 51, 51)} <= colours(pixels(fig))


def test_masks_have_the_palette_of_the_project(pixels):
    mask = np.array([[0, 1], [3, 255]])
    fig, axes = draw.panels(1)
    draw.mask(axes[0], mask)
    palette = {tuple(colour) for colour in distinct_colours(4).tolist()}
    shown = colours(pixels(fig))
    assert shown & palette == {tuple(colour) for colour in distinct_colours(4)[[0, 1, 3]].tolist()}
    assert VOID_COLOUR in shown
    fig, axes = draw.panels(2)
    draw.mask(axes[0], mask, colours=[[0, 0, 0], [9, 9, 250], [0, 0, 0], [9, 250, 9]])
    draw.mask(axes[1], np.full((2, 2), 255))
    assert {(9, 9, 250), (9, 250, 9)} <= colours(pixels(fig))


# ------------------------------------------------------------------ figures


def test_panels_come_row_by_row_and_blank_ones_stay_blank(pixels):
    fig, axes = draw.panels(5, size=(6, 4), rows=2)
    assert len(axes) == len(fig.axes) == 5
    assert [ax.get_subplotspec().rowspan.start for ax in axes] == [0, 0, 0, 1, 1]
    draw.grid(axes[0], [[1]])
    pixels(fig)
    assert [ax.axison for ax in axes] == [True, False, False, False, False]
    fig, _ = draw.panels(2)
    assert (pixels(fig) == 255).all()


def test_nothing_is_left_behind_in_pyplot_and_no_window_is_needed(pixels):
    import matplotlib.pyplot as plt

    fig, axes = draw.panels(1)
    draw.grid(axes[0], [[1]])
    pixels(fig)
    assert plt.get_fignums() == []


def test_pictures_go_to_a_folder_of_the_current_one(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MINISEGNET_PICTURES", raising=False)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second replaces the first
        draw.show(draw.panels(1)[0], "01_x")
    assert capsys.readouterr().out == f"picture: {Path('tutorial-pictures', '01_x.png')}\n" * 2
    assert [path.name for path in (tmp_path / "tutorial-pictures").iterdir()] == ["01_x.png"]


@pytest.mark.parametrize("name", ["", "a/b", "../x", "x.png"])
def test_a_picture_needs_a_plain_name(name):
    with pytest.raises(ValueError, match="a picture needs a plain name, such as"):
        draw.show(draw.panels(1)[0], name)


def test_a_notebook_shows_the_picture_and_gets_no_file(tmp_path, monkeypatch, capsys):
    shown = []
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel="a kernel")
    display.display, display.Image = shown.append, lambda **given: given
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setenv("MINISEGNET_PICTURES", str(tmp_path))
    fig, axes = draw.panels(1)
    draw.grid(axes[0], [[1]])
    draw.show(fig, "01_x")
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
    assert Image.open(io.BytesIO(shown[0]["data"])).format == "PNG"
    ipython.get_ipython = lambda: types.SimpleNamespace()  # IPython in a terminal
    draw.show(fig, "01_x")
    assert len(shown) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["01_x.png"]
