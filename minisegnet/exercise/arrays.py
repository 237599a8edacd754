"""Small arrays as text, side by side; numbers that are wrong stand in brackets."""

import math

import numpy as np

from .layout import width

PLANES = 4  # of an array with more than two axes, at most


def number(value):
    """A number, short: 3, 0.25, -1.235, 1e-08.

    >>> [number(v) for v in (3.0, 0.25, -1.23456, 1e-8, float("nan"))]
    ['3', '0.25', '-1.235', '1e-08', 'nan']
    """
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def block(title, values, wrong=None, mark=lambda text: text, first="plane"):
    """A title and an array below it as lines of one width; `wrong` says which numbers are put in brackets.

    first: what the first axis of one with more than two axes counts

    >>> print(*block("dx", [[1.0, 20.0], [3.0, 4.0]], [[False, True], [False, False]]), sep="\\n")
    dx
      1  [20]
      3    4
    """
    a = np.asarray(values, object)
    marks = np.zeros(a.shape, bool) if wrong is None else np.asarray(wrong, bool)
    cells = np.array(
        [f"[{number(v)}]" if w else f" {number(v)} " for v, w in zip(a.ravel(), marks.ravel(), strict=True)]
    )
    size, lines = max(map(len, cells), default=0), [title]
    for label, plane, flags in planes(cells.reshape(a.shape), marks, first):
        lines += [f" {label}"] if label else []
        for row, flagged in zip(plane, flags, strict=True):
            padded = [cell.rjust(size) for cell in row]
            lines.append(" " + " ".join(mark(c) if f else c for c, f in zip(padded, flagged, strict=True)))
    return lines


def planes(cells, marks, first):
    """(label, rows of cells, the same of marks) of each plane of an array with any number of axes."""
    if cells.ndim < 3:
        yield "", np.atleast_2d(cells), np.atleast_2d(marks)
        return
    several = cells.size > math.prod(cells.shape[-2:])
    for place in list(np.ndindex(cells.shape[:-2]))[:PLANES]:
        index = ",".join(map(str, place))
        label = f"{first} {place[0] + 1}" if first != "plane" else f"[{index}]"
        yield label if several else "", cells[place], marks[place]


def side_by_side(blocks, plain=lambda line: line, indent="    "):
    """Blocks of lines beside each other, in a new row where they would be too wide.

    plain: a line without what is only colour, to measure it
    """
    lines, row, used = [], [], 0
    for found in blocks:
        own = max(len(plain(line)) for line in found)
        if row and used + own > width() - len(indent):
            lines += [*joined(row, plain, indent), ""]
            row, used = [], 0
        row.append((found, own))
        used += own + 3
    return lines + joined(row, plain, indent)


def joined(row, plain, indent):
    """One row of blocks as lines."""
    height = max((len(found) for found, _ in row), default=0)
    lines = []
    for i in range(height):
        parts = []
        for found, own in row:
            line = found[i] if i < len(found) else ""
            parts.append(line + " " * (own - len(plain(line))))
        lines.append((indent + "   ".join(parts)).rstrip())
    return lines
