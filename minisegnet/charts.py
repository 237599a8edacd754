"""Charts: the course of a training, and which classes are taken for which."""

import io
import math

import numpy as np

from .colours import OKABE_ITO, VOID_COLOUR
from .files import atomic_write
from .metrics import ratio

# series of the two charts of `curves`: key of a row of the history, label, colour
LOSSES = (("train_loss", "training", OKABE_ITO[4]), ("val_loss", "validation", OKABE_ITO[5]))
SCORES = (
    ("val_miou", "mean IoU", OKABE_ITO[4]),
    ("val_class_accuracy", "mean class accuracy", OKABE_ITO[2]),
    ("val_accuracy", "pixels right", OKABE_ITO[0]),
)
LOG_FROM = 20  # a loss that falls by this factor is drawn on a logarithmic axis
SMOOTH_FROM = 100  # with so many points, each is drawn pale and their running mean strong
NUMBERS_TO = 34  # classes of a confusion matrix that has numbers in its cells


def curves(history, path, x="epoch"):
    """Write a PNG of the losses and, where there are any, of the scores on the validation set.

    The loss has a logarithmic axis if it falls by a factor of 20 or more. The best mean IoU is marked. With many points
    each curve is pale and its running mean strong.

    Parameters
        history: list of dicts with "epoch" (or what `x` names) and any of "train_loss", "val_loss", "val_miou",
            "val_accuracy", "val_class_accuracy"; None, "" and NaN are left out
        path: of the PNG

    Raises ValueError where there is nothing to draw.

    >>> import pathlib, tempfile
    >>> history = [{"epoch": 1, "train_loss": 1.2, "val_miou": 0.3}, {"epoch": 2, "train_loss": 0.7, "val_miou": 0.5}]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "curves.png")
    ...     curves(history, path)
    ...     path.exists()
    True
    """
    from matplotlib.figure import Figure

    drawn = [[(label, colour, *points(history, x, key)) for key, label, colour in keys] for keys in (LOSSES, SCORES)]
    charts = [[series for series in chart if len(series[2])] for chart in drawn]
    if not any(charts):
        raise ValueError(f"there is nothing to draw for {path}: no row of the history has a loss or a score")
    width = 6.2 * sum(map(bool, charts))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = iter(np.atleast_1d(figure.subplots(1, sum(map(bool, charts)))))
    if charts[0]:
        draw_series(loss_axes := next(axes), charts[0], x)
        values = np.concatenate([y for *_, y in charts[0]])
        if values.min() > 0 and values.max() / values.min() >= LOG_FROM:
            loss_axes.set_yscale("log")
            loss_axes.yaxis.set_major_formatter("{x:g}")
        else:
            loss_axes.set_ylim(min(0, values.min()), 1.05 * max(0, values.max()) or 1)
        loss_axes.set_title("loss", fontsize=14)
    if charts[1]:
        draw_series(score_axes := next(axes), charts[1], x)
        score_axes.set_ylim(0, 1)
        score_axes.set_title("validation", fontsize=14)
        mark_best(score_axes, *points(history, x, "val_miou"))
    png(figure, path)


def points(history, x, key):
    """(x, y) of the rows that have a number under `key`, as float64."""
    pairs = [(float(row[x]), float(row[key])) for row in history if row.get(key) not in (None, "")]
    pairs = np.array([pair for pair in pairs if math.isfinite(pair[1])]).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def draw_series(axes, series, x_name):
    from matplotlib.ticker import MaxNLocator

    for label, colour, x, y in series:
        colour = np.array(colour) / 255
        many = len(y) >= SMOOTH_FROM
        if many:
            window = len(y) // 20
            axes.plot(x, y, color=colour, linewidth=1, alpha=0.25)
            label = f"{label}, mean of {window}"
            y = np.convolve(y, np.ones(window) / window, mode="valid")
            x = x[window // 2 :][: len(y)]  # each mean stands in the middle of what it is of
        axes.plot(x, y, color=colour, linewidth=2.2, label=label, marker="" if len(y) > 40 else "o", markersize=4)
    axes.set_xlabel(x_name, fontsize=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=11)


def mark_best(axes, x, y):
    """A ring around the best of the points, with its value."""
    if not len(y):
        return
    best = int(y.argmax())
    axes.plot(x[best], y[best], "o", markersize=11, markerfacecolor="none", markeredgecolor="0.2", markeredgewidth=1.5)
    left = x[best] > (x[0] + x[-1]) / 2
    axes.annotate(
        f"best {y[best]:.3f}",
        (x[best], y[best]),
        xytext=(-8 if left else 8, 12 if y[best] < 0.15 else -20),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=11,
    )


# ------------------------------------------------------------------ confusion


def confusion(matrix, names, path):
    """Write a PNG of a confusion matrix: for each true class (row), the percentage of its pixels taken for each class.

    Rows of classes without a pixel are grey. With up to 34 classes the percentages stand in the cells, those under
    0.5 are left out.

    Parameters
        matrix: integers (classes, classes), truth by row, as ConfusionMatrix.matrix
        names: of the classes
        path: of the PNG

    Raises ValueError for a matrix of another size than names.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "confusion.png")
    ...     confusion(np.array([[90, 10], [5, 45]]), ["ground", "cell"], path)
    ...     path.exists()
    True
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    matrix = np.asarray(matrix)
    classes = len(names)
    if matrix.shape != (classes, classes):
        raise ValueError(f"a confusion matrix of {classes} classes is {classes} x {classes}, got {matrix.shape}")
    share = 100 * ratio(matrix, matrix.sum(axis=1, keepdims=True) + np.zeros_like(matrix))
    cell = np.clip(7 / classes, 12 / max(NUMBERS_TO, classes), 1.2)
    font = min(12, 26 * cell)
    labels = max(len(str(name)) for name in names) * font * 0.0095 + 0.5  # inches that the names take
    side = cell * classes
    figure = Figure(figsize=(side + labels + 1.2, side + labels + 0.9))
    width, height = figure.get_size_inches()
    axes = figure.add_axes((labels / width, labels / height, side / width, side / height))
    axes.set_facecolor(np.array(VOID_COLOUR) / 255)
    # The root makes a confusion of a few percent visible beside a diagonal of nearly 100.
    image = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    names = [str(name) for name in names]
    axes.set_xticks(range(classes), names, fontsize=font, rotation=90 if classes > 12 else 45)
    axes.set_yticks(range(classes), names, fontsize=font)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)
    for label in axes.get_xticklabels():
        label.set(ha="center" if classes > 12 else "right", rotation_mode="default" if classes > 12 else "anchor")
    if classes <= NUMBERS_TO:
        for i, j in zip(*np.nonzero(share >= 0.5), strict=True):  # NaN is not
            colour = "white" if share[i, j] > 45 else "0.1"
            axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=font * 0.95, color=colour)
    axes.set_xlabel("predicted", fontsize=13)
    axes.set_ylabel("true", fontsize=13)
    axes.set_title("where the pixels of each class went, in %", fontsize=14)
    bar = figure.add_axes(((labels + side + 0.2) / width, labels / height, 0.22 / width, side / height))
    figure.colorbar(image, cax=bar, ticks=[0, 5, 20, 50, 100])
    png(figure, path, bbox_inches="tight", pad_inches=0.15)


# ------------------------------------------------------------------ figures


def text(figure, x, y, words, **style):
    """Text at a place of a figure; dollar signs are dollar signs."""
    figure.text(x, y, words, fontsize=style.pop("size"), parse_math=False, **style)


def png(figure, path, **options):
    """Write a figure as a PNG of 100 pixels an inch."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=100, **options)
    atomic_write(path, data.getvalue())
