"""Pictures: masks in colour, panels of predictions with their errors, and how to write them to files.

Images are uint8 (H, W, C) with C = 1 or 3, masks integers (H, W) with class indices and VOID, colours a table uint8
(classes, 3). The charts of a training are in `charts`; both need matplotlib or Pillow only when something is drawn,
and neither opens a window.
"""

import io

import numpy as np

from kernels import ShapeError

from .charts import confusion, curves, png, text
from .colours import VOID_COLOUR
from .data.dataset import VOID
from .files import atomic_write

__all__ = ["colourise", "confusion", "curves", "error_map", "overlay", "panel", "save_mask", "save_picture"]

RIGHT, WRONG = (255, 255, 255), (213, 0, 30)  # red on white stands out for all eyes; on black it would not
WIDTH, TALLEST = 12.8, 16.0  # of a panel, in inches of 100 pixels: as wide as a slide
GAP, CAPTION, TITLE, LINE = 0.12, 0.3, 0.42, 0.32  # between cells, under a row, over the columns, of the legend
MANY = 40  # classes from which on the legend lists only those that occur


def colourise(mask, colours):
    """A mask as a picture uint8 (H, W, 3), each class in its colour, void in light grey.

    Raises ValueError for a label that is neither a class nor void.

    >>> colourise(np.array([[0, 1, 255]]), np.array([[10, 20, 30], [40, 50, 60]], np.uint8)).tolist()
    [[[10, 20, 30], [40, 50, 60], [200, 200, 200]]]
    """
    return palette(colours)[check_mask(mask, len(colours))]


def overlay(image, mask, colours, alpha=0.5):
    """The picture with the classes' colours laid over it, uint8 (H, W, 3); void pixels show the picture itself.

    alpha: how much of the colour, 0 to 1

    >>> overlay(np.full((1, 2, 1), 100, np.uint8), np.array([[0, 255]]), np.array([[200, 0, 0]], np.uint8)).tolist()
    [[[150, 50, 50], [100, 100, 100]]]
    """
    image = rgb(image)
    check_size(image, mask)
    mixed = (1 - alpha) * image + alpha * colourise(mask, colours)
    return np.where((mask == VOID)[:, :, None], image, mixed.round().astype(np.uint8))


def error_map(truth, prediction):
    """Where a prediction is wrong, uint8 (H, W, 3): wrong pixels red, right ones white, those without a truth grey.

    >>> error_map(np.array([[0, 1, 255]]), np.array([[0, 0, 0]])).tolist()
    [[[255, 255, 255], [213, 0, 30], [200, 200, 200]]]
    """
    check_size(prediction, truth)
    kinds = np.where(truth == VOID, 2, truth != prediction)
    return np.array([RIGHT, WRONG, VOID_COLOUR], np.uint8)[kinds.astype(np.intp)]


def save_mask(path, mask, colours):
    """Write a mask as a palette PNG: its pixel values are the classes and VOID, and any viewer shows the colours.

    >>> import tempfile, pathlib, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_mask(pathlib.Path(folder, "mask.png"), np.array([[0, 1, 255]]), [[0, 0, 0], [255, 0, 0]])
    ...     np.array(PIL.Image.open(pathlib.Path(folder, "mask.png"))).tolist()
    [[0, 1, 255]]
    """
    from PIL import Image

    image = Image.fromarray(check_mask(mask, len(colours)).astype(np.uint8))
    image.putpalette(palette(colours).tobytes())
    write_png(path, image)


def save_picture(path, picture):
    """Write a picture, uint8 (H, W, 3), as a PNG, whole or not at all.

    >>> import tempfile, pathlib, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_picture(pathlib.Path(folder, "red.png"), np.full((1, 2, 3), [213, 0, 30], np.uint8))
    ...     np.array(PIL.Image.open(pathlib.Path(folder, "red.png"))).tolist()
    [[[213, 0, 30], [213, 0, 30]]]
    """
    from PIL import Image

    write_png(path, Image.fromarray(picture))


def write_png(path, image):
    """Write an image of Pillow's as a PNG, whole or not at all."""
    data = io.BytesIO()
    image.save(data, format="PNG")
    atomic_write(path, data.getvalue())


# ------------------------------------------------------------------ panels


def panel(rows, colours, names, path):
    """Write a PNG with a row for each picture: image, truth, prediction, errors (see `error_map`), and a legend.

    Pictures of all sizes fill the same width; small ones are enlarged without smoothing. Where no row has a truth the
    columns are image, prediction and both of them overlaid.

    Parameters
        rows: list of (image, truth or None, prediction)
        colours, names: of the classes
        path: of the PNG

    Raises ValueError for no rows, or pictures, masks and classes that don't belong together.

    >>> import tempfile, pathlib
    >>> image, truth, prediction = np.zeros((2, 2, 3), np.uint8), np.array([[0, 1], [0, 255]]), np.zeros((2, 2), int)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "panel.png")
    ...     panel([(image, truth, prediction)], [(0, 0, 0), (230, 159, 0)], ["ground", "cell"], path)
    ...     path.exists()
    True
    """
    from matplotlib.figure import Figure

    if not rows:
        raise ValueError(f"there is nothing to draw for {path}: rows is empty")
    if len(names) != len(colours):
        raise ValueError(f"a panel needs a name for each colour, got {len(names)} names for {len(colours)} colours")
    scored = any(truth is not None for _, truth, _ in rows)
    titles = ("image", "truth", "prediction", "errors") if scored else ("image", "prediction", "overlay")
    cells = [row_cells(*row, colours, scored) for row in rows]
    caption = CAPTION if scored else 0
    width = (WIDTH - GAP) / len(titles) - GAP
    shapes = [row[0][0].shape for row in cells]
    heights = np.array([min(1.5, h / w) for h, w, _ in shapes])
    if (excess := heights.sum() * width / (TALLEST - len(rows) * (GAP + caption))) > 1:  # many rows: smaller cells
        width /= excess
    heights = heights * width
    total = len(titles) * (width + GAP) + GAP
    entries = legend_entries(rows, colours, names, scored)
    columns, legend_lines = legend_layout(entries, total)
    high = TITLE + heights.sum() + len(rows) * (GAP + caption) + legend_lines * LINE + 2 * GAP
    figure = Figure(figsize=(total, high))
    top = high - TITLE
    for j, title in enumerate(titles):
        text(figure, (GAP + j * (width + GAP) + width / 2) / total, (top + 0.1) / high, title, size=15, ha="center")
    for row, height in zip(cells, heights, strict=True):
        for j, (picture, below) in enumerate(row):
            left = GAP + j * (width + GAP)
            axes = figure.add_axes((left / total, (top - height) / high, width / total, height / high))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color="0.75", linewidth=0.8)
            enlarged = picture.shape[1] <= 100 * width
            axes.imshow(picture, interpolation="nearest" if enlarged else "antialiased")
            text(figure, (left + width / 2) / total, (top - height - 0.23) / high, below, size=12, ha="center")
        top -= height + GAP + caption
    draw_legend(figure, entries, columns, top - GAP)
    png(figure, path)


def row_cells(image, truth, prediction, colours, scored):
    """[(picture, text below it)] of a row of a panel."""
    image = rgb(image)
    for mask in (truth, prediction):
        if mask is not None:
            check_size(image, mask)
    predicted = colourise(prediction, colours)
    if not scored:
        return [(image, ""), (predicted, ""), (overlay(image, prediction, colours), "")]
    if truth is None:
        empty = np.full_like(image, 255)
        return [(image, ""), (empty, "no truth"), (predicted, ""), (empty, "")]
    known = truth != VOID
    wrong = f"{(truth != prediction)[known].mean():.1%} wrong" if known.any() else "all void"
    return [(image, ""), (colourise(truth, colours), ""), (predicted, ""), (error_map(truth, prediction), wrong)]


def legend_entries(rows, colours, names, scored):
    """[(colour, name)]: of the classes (of those that occur, if there are very many), then of void and errors."""
    classes = range(len(names))
    masks = [mask for _, truth, prediction in rows for mask in (truth, prediction) if mask is not None]
    if len(names) > MANY:
        classes = sorted(set().union(*(np.unique(mask).tolist() for mask in masks)) - {VOID})
    entries = [(colours[c], str(names[c])) for c in classes]
    if any((mask == VOID).any() for mask in masks):
        entries.append((VOID_COLOUR, "void"))
    return [*entries, (WRONG, "wrong"), (RIGHT, "right")] if scored else entries


def legend_layout(entries, width):
    """(columns, lines) of a legend whose names all fit in `width` inches."""
    column = 0.62 + 0.095 * max(len(name) for _, name in entries)
    columns = min(max(1, int((width - 2 * GAP) / column)), len(entries))
    lines = -(-len(entries) // columns)
    return -(-len(entries) // lines), lines  # as even as it gets


def draw_legend(figure, entries, columns, top):
    """Swatches and names below `top` (inches from the figure's lower edge)."""
    from matplotlib.patches import Rectangle

    width, high = figure.get_size_inches()
    column = (width - 2 * GAP) / columns
    for k, (colour, name) in enumerate(entries):
        x, y = GAP + k % columns * column, top - (k // columns + 1) * LINE
        style = {"facecolor": np.array(colour) / 255, "edgecolor": "0.5", "linewidth": 0.8}
        box = Rectangle((x / width, y / high), 0.3 / width, 0.2 / high, transform=figure.transFigure, **style)
        figure.add_artist(box)
        text(figure, (x + 0.38) / width, (y + 0.1) / high, name, size=12, va="center_baseline")


# ------------------------------------------------------------------ checks


def rgb(image):
    """A picture uint8 (H, W, 1 or 3), or grey (H, W), as uint8 (H, W, 3)."""
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ShapeError(f"a picture must be (H, W, 1) or (H, W, 3), got {image.shape}; for (C, H, W) transpose it")
    if image.dtype != np.uint8:
        raise TypeError(f"a picture must be uint8, 0 to 255, got {image.dtype}; convert it: (255 * x).astype(np.uint8)")
    return np.broadcast_to(image, (*image.shape[:2], 3))


def check_mask(mask, classes):
    """The mask itself, if it is an array of integers (H, W) and all labels are classes or VOID."""
    mask = np.asarray(mask)
    if mask.ndim != 2 or not np.issubdtype(mask.dtype, np.integer):
        raise ShapeError(f"a mask must be integers of shape (H, W), got {mask.dtype} of shape {mask.shape}")
    outside = mask[(mask != VOID) & ((mask < 0) | (mask >= classes))]
    if outside.size:
        raise ValueError(f"a mask has label {outside[0]}, but there are colours for classes 0..{classes - 1}")
    return mask


def check_size(image, mask):
    """ShapeError unless a mask has the height and width of a picture, or of another mask."""
    if np.shape(mask) != np.shape(image)[:2]:
        raise ShapeError(f"a mask has shape {np.shape(mask)}, expected {np.shape(image)[:2]}, the size of its picture")


def palette(colours):
    """A table uint8 (256, 3): the classes' colours, black for what is no class, VOID_COLOUR for VOID."""
    colours = np.asarray(colours, np.uint8)
    if colours.ndim != 2 or colours.shape[1] != 3 or len(colours) > VOID:
        raise ShapeError(f"colours must be a table (classes, 3) of at most {VOID} classes, got {colours.shape}")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    table[VOID] = VOID_COLOUR
    return table
