"""A contact sheet: pictures of a data set beside their masks, to see whether the two belong together."""

import io

import numpy as np
from PIL import Image, ImageDraw

from ..files import atomic_write
from .dataset import VOID, DataError

CELL, GAP, TEXT = 150, 6, 14  # pixels: a picture's longest side, space between, height of a line of text
COLUMNS, EACH = 4, 12  # pairs in a row, samples of each split
GROUND, INK, VOID_COLOUR = (24, 24, 28), (225, 225, 225), (255, 0, 255)


def draw_sheet(datasets, path):
    """Write a PNG: for each data set up to 12 samples, evenly spread, picture and mask side by side; and a legend."""
    rows = []
    for dataset in datasets:
        cells = [cell(dataset, i) for i in chosen(len(dataset))]
        cells = [picture for picture in cells if picture is not None]
        rows += [text_row(f"{dataset.name} {dataset.split}")]
        rows += [beside(cells[k : k + COLUMNS]) for k in range(0, len(cells), COLUMNS)]
    rows += legend(datasets[0])
    sheet = Image.new("RGB", (COLUMNS * (2 * CELL + 2 * GAP) + GAP, sum(r.height for r in rows) + GAP), GROUND)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    data = io.BytesIO()
    sheet.save(data, "PNG")
    atomic_write(path, data.getvalue())


def chosen(count):
    """Up to EACH indices, evenly spread."""
    return sorted({k * count // EACH for k in range(EACH)}) if count else []


def cell(dataset, i):
    """Picture and mask of a sample, with its name; None if it can't be read (the report says why)."""
    try:
        image, mask = dataset[i]
    except DataError:
        return None
    picture = Image.new("RGB", (2 * CELL + 2 * GAP, CELL + TEXT + GAP), GROUND)
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    small = fitted(colour, Image.Resampling.BILINEAR)
    picture.paste(small, (GAP, GAP))
    name = dataset.names[i]
    if dataset.kind == "classification":
        name = f"{dataset.classes[mask]}: {name}"
    else:
        picture.paste(fitted(coloured(mask, dataset.colours), Image.Resampling.NEAREST), (GAP + CELL + 2, GAP))
    ImageDraw.Draw(picture).text((GAP, GAP + small.height), name[-46:], INK)
    return picture


def coloured(mask, colours):
    """A mask in its classes' colours (H, W, 3); void is magenta."""
    table = np.concatenate([colours, [VOID_COLOUR]]).astype(np.uint8)
    return table[np.where(mask == VOID, len(colours), mask)]


def fitted(pixels, resampling):
    """A picture whose longest side is CELL."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = CELL / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size], resampling)


def beside(cells):
    """Pictures in a row."""
    row = Image.new("RGB", (sum(c.width for c in cells), cells[0].height), GROUND)
    for k, picture in enumerate(cells):
        row.paste(picture, (k * picture.width, 0))
    return row


def text_row(text):
    """A line of text."""
    row = Image.new("RGB", (COLUMNS * (2 * CELL + 2 * GAP), TEXT + GAP), GROUND)
    ImageDraw.Draw(row).text((GAP, GAP), text, INK)
    return row


def legend(dataset):
    """Rows with a square of each class's colour and its name."""
    if dataset.kind == "classification":
        return []
    entries = [*zip(dataset.classes, map(tuple, dataset.colours.tolist()), strict=True), ("void", VOID_COLOUR)]
    rows = []
    for k in range(0, len(entries), 2 * COLUMNS):
        row = text_row("")
        draw = ImageDraw.Draw(row)
        for j, (name, colour) in enumerate(entries[k : k + 2 * COLUMNS]):
            left = GAP + j * (CELL + GAP)
            draw.rectangle((left, GAP, left + 10, GAP + 10), fill=colour, outline=INK)
            draw.text((left + 16, GAP), name[:22], INK)
        rows.append(row)
    return rows
