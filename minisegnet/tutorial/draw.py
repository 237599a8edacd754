"""What the tutorials draw with: grids of numbers, curves, pictures and masks, side by side.

    fig, axes = draw.panels(2, size=(7, 3))
    draw.grid(axes[0], x, kind="forward", title="x", ring=[(1, 2)])
    draw.curve(axes[1], {"loss": losses}, xlabel="step")
    draw.show(fig, "02_scatter_and_gather")

One colour, one meaning, as on the pages of `minisegnet explain`: values of the forward pass go from grey to teal,
gradients are blue below zero and orange above, weights are violet and have a violet frame. In a notebook `show` puts
the picture below its cell. Elsewhere it writes a PNG into the folder that the environment variable
MINISEGNET_PICTURES names, or else into `tutorial-pictures` in the current folder. No window is opened.
"""

import io
import math
import os
import sys
from pathlib import Path

import numpy as np

from kernels import ShapeError

from .. import pictures
from ..colours import OKABE_ITO, distinct_colours
from ..data.dataset import VOID
from ..files import atomic_write

FOLDER = "tutorial-pictures"
DOTS = 150  # of a picture, an inch: panels 9 inches wide nearly fill a projector
# colours at equal distances, between which the others lie
STOPS = {
    "forward": ((232, 235, 237), (120, 178, 172), (0, 92, 88)),
    "gradient": ((20, 90, 170), (150, 190, 225), (243, 242, 238), (246, 190, 125), (190, 85, 0)),
    "weight": ((110, 70, 170), (190, 170, 220), (246, 244, 250), (190, 170, 220), (110, 70, 170)),
}
INK, FRAME = "#10141b", "#6e46aa"
LINES = [OKABE_ITO[k] for k in (4, 5, 2, 0, 6, 1)]  # yellow is left out: it can't be seen on white
SMALLEST, LARGEST = 8.5, 14  # size of the numbers in the cells, in points
LINED = 32  # rows or columns up to which there are lines between cells; more would be all lines


def panels(count, size=None, rows=1):
    """A figure with `count` panels in one row or several: (figure, list of its axes, row by row).

    A panel on which nothing is drawn stays blank. What this module draws has the ticks it needs; plain matplotlib on
    the axes has its usual ones, and `axes[k].set_axis_off()` makes room for a diagram.

    Parameters
        size: (width, height) of the figure in inches; without it each panel has 3.2 x 3.2
    """
    from matplotlib.figure import Figure

    columns = -(-count // rows)
    fig = Figure(figsize=size or (3.2 * columns, 3.2 * rows), layout="constrained")
    fig.get_layout_engine().set(w_pad=0.1, h_pad=0.06)
    axes = list(fig.subplots(rows, columns, squeeze=False).flat)
    for surplus in axes[count:]:
        surplus.remove()
    return fig, axes[:count]


def grid(ax, values, kind="forward", title="", ring=(), numbers=None, limits=None):
    """Draw an array (rows, columns) as cells, coloured by their values, with its numbers in them.

    A cell that is NaN stays empty.

    Parameters
        kind: "forward" from the lowest value (grey) to the highest (teal); "gradient" blue below zero, orange above;
            "weight" violet, the farther from zero the stronger, in a violet frame
        ring: [(row, column)], cells that get a heavy line around them; neighbours share one
        numbers: True or False; without it where they are large enough to be read
        limits: (lowest, highest) value of the colours, to compare several arrays; without it those of the array

    Raises ShapeError for an array that isn't 2-D, ValueError for an unknown kind, a ring around no cell, and numbers
    that don't fit.
    """
    values = np.asarray(values)
    if values.ndim != 2 or not values.size:
        raise ShapeError(f"a grid needs an array (rows, columns), got {values.shape}; choose one map, such as x[0, 0]")
    if kind not in STOPS:
        raise ValueError(f"kind must be one of {', '.join(STOPS)}, got {kind!r}")
    values = values.astype(np.float64)
    rows, columns = values.shape
    colours = shade(values, kind, limits)
    ax.imshow(colours, interpolation="nearest")
    if max(rows, columns) <= LINED:
        for k in range(1, rows):
            ax.axhline(k - 0.5, color="0.8", linewidth=0.8)
        for k in range(1, columns):
            ax.axvline(k - 0.5, color="0.8", linewidth=0.8)
    words = shorten(values)
    size = fitting(ax, words)
    if numbers and size < SMALLEST:
        raise ValueError(
            f"the numbers of {rows} x {columns} cells would be {size:.1f} points high in {title or 'this panel'}, and "
            f"under {SMALLEST} nobody can read them; make the figure larger, or pass numbers=False"
        )
    if numbers or (numbers is None and size >= SMALLEST):
        for (i, j), word in np.ndenumerate(words):
            ax.text(j, i, word, ha="center", va="center", fontsize=size, color=ink(colours[i, j]), parse_math=False)
    draw_ring(ax, ring, values.shape)
    frame(ax, title, FRAME if kind == "weight" else "0.6", 3 if kind == "weight" else 0.8)


def curve(ax, lines, x=None, xlabel="", ylabel="", log=False, title=""):
    """Draw lines, {name: values}, over x (without it 0, 1, 2, ...), in colours that all eyes tell apart.

    Up to six lines; log: the y axis is logarithmic.
    """
    if not 1 <= len(lines) <= len(LINES):
        raise ValueError(f"a panel can show 1 to {len(LINES)} lines, got {len(lines)}")
    for (name, values), colour, style in zip(lines.items(), LINES, ("-", "--", "-.", ":", "-", "--"), strict=False):
        along = range(len(values)) if x is None else x
        if len(along) != len(values):
            raise ShapeError(f"the line {name!r} has {len(values)} values, and x has {len(along)}")
        marker = "o" if len(values) <= 12 else ""
        ax.plot(along, values, color=np.array(colour) / 255, linestyle=style, linewidth=2.2, marker=marker, label=name)
    if log:
        ax.set_yscale("log")
    ax.set_xlabel(xlabel, fontsize=11)
    ax.set_ylabel(ylabel, fontsize=11)
    ax.set_title(title, fontsize=12, parse_math=False)
    ax.tick_params(labelsize=10)
    ax.grid(color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    if list(lines) != [ylabel]:
        ax.legend(frameon=False, fontsize=10)


def picture(ax, image, title=""):
    """Draw a picture (3, H, W), or a grey one (1, H, W) or (H, W), with values from 0 to 1."""
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] not in (1, 3)):
        raise ShapeError(f"a picture must be (3, H, W), (1, H, W) or (H, W), got {image.shape}")
    low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 0.0)
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise ValueError(
            f"the values of a picture must be 0 to 1, got {low:g} to {high:g}; divide bytes by 255, "
            "and draw other numbers with `grid`"
        )
    channels = np.broadcast_to(image, (3, *image.shape[-2:]))
    ax.imshow(channels.transpose(1, 2, 0).clip(0, 1), interpolation="nearest")
    frame(ax, title)


def mask(ax, mask, title="", colours=None):
    """Draw class numbers (H, W), each class in its colour, void (255) in light grey.

    colours: a table (classes, 3) of bytes; without it those of minisegnet.colours
    """
    mask = np.asarray(mask)
    if colours is None:
        known = mask[mask != VOID]
        colours = distinct_colours(int(known.max()) + 1 if known.size else 1)
    ax.imshow(pictures.colourise(mask, colours), interpolation="nearest")
    frame(ax, title)


def show(fig, name):
    """Show a figure in a notebook; elsewhere write it as NAME.png into the folder of pictures and print its path."""
    if not name or Path(name).name != name or Path(name).suffix:
        raise ValueError(f"a picture needs a plain name, such as 02_scatter_and_gather, got {name!r}")
    for ax in fig.axes:
        if not ax.has_data() and not ax.texts:
            ax.set_axis_off()
    data = io.BytesIO()
    fig.savefig(data, format="png", dpi=DOTS, facecolor="white", bbox_inches="tight", pad_inches=0.12)
    if in_notebook():
        from IPython.display import Image, display

        display(Image(data=data.getvalue(), format="png", width=round(80 * fig.get_figwidth())))
        return
    path = folder() / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, data.getvalue())
    print(f"picture: {path}")


def folder():
    """Where pictures are written: the folder MINISEGNET_PICTURES, or `tutorial-pictures` in the current one."""
    return Path(os.environ.get("MINISEGNET_PICTURES") or FOLDER)


# ------------------------------------------------------------------ parts


def in_notebook():
    """Whether this code runs in a notebook's kernel, not in a script, a terminal or a terminal with IPython."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def shade(values, kind, limits=None):
    """The colours of an array, (rows, columns, 3) in 0..1; white where it is NaN.

    >>> (255 * shade(np.array([[-2.0, 0.0, 2.0]]), "gradient")).round().astype(int).tolist()
    [[[20, 90, 170], [243, 242, 238], [190, 85, 0]]]
    """
    known = values[np.isfinite(values)]
    low, high = limits or ((known.min(), known.max()) if known.size else (0, 0))
    if kind != "forward":  # zero in the middle
        high = max(-low, high)
        low = -high
    place = np.nan_to_num((values - low) / ((high - low) or 1), posinf=1, neginf=0).clip(0, 1)
    stops = np.array(STOPS[kind]) / 255
    marks = np.linspace(0, 1, len(stops))
    colours = np.stack([np.interp(place, marks, stops[:, k]) for k in range(3)], axis=-1)
    colours[np.isnan(values)] = 1
    return colours


def ink(colour):
    """Black or white, whichever is easier to read on a colour."""
    return INK if np.dot(colour, (0.299, 0.587, 0.114)) > 140 / 255 else "white"


def shorten(values):
    """The numbers of an array as short words, three digits for the largest; 0 is exactly zero, 0.00 is only small.

    >>> shorten(np.array([[0.0, 1.25], [-0.001, 9]])).tolist()
    [['0', '1.25'], ['-0.00', '9.00']]
    >>> shorten(np.array([[1.0, -20.0]])).tolist(), shorten(np.array([[1e-5, 0]])).tolist()
    ([['1', '-20']], [['1e-05', '0']])
    """
    known = values[np.isfinite(values)]
    largest = abs(known).max() if known.size else 0
    if (known == known.round()).all() and largest < 1e5:
        form = ".0f"
    elif 1e-3 <= largest < 1e5:
        form = f".{max(0, 2 - math.floor(math.log10(largest)))}f"
    else:
        form = ".0e"
    words = [("" if math.isnan(v) else "0" if v == 0 else format(v, form)) for v in values.ravel().tolist()]
    return np.array(words, object).reshape(values.shape)


def fitting(ax, words):
    """The size in points that words, one for each cell of a grid, can have in a panel."""
    width, height = ax.figure.get_size_inches()
    shape = ax.get_subplotspec().get_gridspec().get_geometry() if ax.get_subplotspec() else (1, 1)
    rows, columns = words.shape
    # about a tenth of each panel goes to the gaps, and the title takes a third of an inch
    cell = 72 * min(0.9 * width / shape[1] / columns, (0.95 * height / shape[0] - 0.33) / rows)
    longest = max(2, *(len(word) for word in words.flat)) if words.size > 1 else 2
    return min(LARGEST, 0.5 * cell, 0.9 * cell / (0.64 * longest))  # a digit is 0.64 of its size wide


def draw_ring(ax, ring, shape):
    """A heavy line around cells, along those of their sides that have no ringed neighbour."""
    ringed = {(int(i), int(j)) for i, j in ring}
    for i, j in sorted(ringed):
        if not (0 <= i < shape[0] and 0 <= j < shape[1]):
            raise ValueError(f"there is no cell ({i}, {j}) to ring in a grid of {shape[0]} x {shape[1]}")
        top, bottom, left, right = i - 0.5, i + 0.5, j - 0.5, j + 0.5
        sides = {
            (i - 1, j): ((left, right), (top, top)),
            (i + 1, j): ((left, right), (bottom, bottom)),
            (i, j - 1): ((left, left), (top, bottom)),
            (i, j + 1): ((right, right), (top, bottom)),
        }
        for neighbour, (x, y) in sides.items():
            if neighbour not in ringed:
                ax.plot(x, y, color=INK, linewidth=3.5, solid_capstyle="projecting", clip_on=False, zorder=5)


def frame(ax, title, colour="0.6", width=0.8):
    """No ticks, a title and a thin or heavy frame, as a picture or a grid has it."""
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=colour, linewidth=width)
    ax.set_title(title, fontsize=12, parse_math=False)
