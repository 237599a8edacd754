"""Traces and explanations as text."""

import itertools

import numpy as np

from .explanation import brackets

SHOWN = 3  # products that the formula line spells out before it only counts them


def trace_text(trace):
    """A table of all stops, with the shapes of y and dx and their norms, sqrt of the sum of squares."""
    table = [("", "stop", "", "y", "|y|", "dx", "|dx|")]
    for number, stop in enumerate(trace.stops, 1):
        made, back = outputs(stop, "y"), outputs(stop, "dx")
        table.append((str(number), stop.name, stop.kind, shapes(made), norm(made), shapes(back), norm(back)))
    for stop in trace.losses:
        value = stop["value"]
        size = f"{float(value):.6g}" if value.ndim == 0 else norm([value])
        back = [stop["dscores"]]
        table.append(("L", stop.name, stop.kind, shapes([value]), size, shapes(back), norm(back)))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table]
    count = len(trace.stops)
    order = f"forward: F1 to F{count}" + (", the loss" if trace.losses else "") + f", backward: B{count} to B1"
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", order])


def outputs(stop, name):
    """The arrays of this name: one, or one for each branch."""
    return [a for n, a in stop.arrays.items() if n == name or n.startswith(f"{name}.")]


def shapes(arrays):
    """Shapes as text; one that all have, once."""
    found = ["x".join(map(str, a.shape)) or "number" for a in arrays]
    return f"{len(found)} of {found[0]}" if len(found) > 1 and len(set(found)) == 1 else ", ".join(found)


def norm(arrays):
    return f"{np.sqrt(sum(float(np.square(a, dtype=np.float64).sum()) for a in arrays)):.4g}" if arrays else ""


# ------------------------------------------------------------------ explanations


def explanation_text(found, limit, by):
    """Formula, terms and their sum."""
    if by not in ("position", "size"):
        raise ValueError(f'by must be "position" or "size", got {by!r}')
    where = brackets(*found.index) if found.index else ""
    lines = [f"{found.stop.name}, {found.stop.label}: {found.of}{where}", ""]
    lines += [f"  {found.symbols}", f"  {found.picked}", f"  {numbers_line(found)}"]
    lines += [f"  ({found.note})"] if found.note else []
    if found.facts:
        lines.append("  " + ", ".join(f"{name} = {fact(value)}" for name, value in found.facts.items()))
    if found.seen is not None:
        shown = Shown(found.seen, limit, by)
        lines += ["", f"{found.seen.name}:", *columns([head(found.seen), *shown.rows(("...",), cells)])]
    table, before = [], 0.0
    for g in found.groups:
        shown = Shown(g, max(2, limit // len(found.groups)), by)
        table += sum_rows(g, shown, before)
        before += float(g.products.sum())
    lines += ["", *columns(table)] if table else []
    count = len(found.products)
    lines += ["", f"sum of {count} term{'s'[: count != 1]}: {found.total:.8g}", f"recorded: {found.recorded:.8g}, "]
    lines[-1] += "the same up to rounding" if found.agrees else "which is NOT THE SAME"
    return "\n".join(lines)


def fact(value):
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def numbers_line(found):
    """= 0.12*0.3 + ... + 0.5 = 0.0471"""
    count, result = len(found.products), f"= {found.recorded:.6g}"
    terms = list(itertools.islice(found.terms, count if count <= SHOWN + 1 else SHOWN))
    if not terms or (count == 1 and len(terms[0].factors) == 1):
        return result
    products = [" * ".join(f"{value:.4g}" for _, _, value in term.factors) for term in terms]
    more = [f"... ({count - len(terms)} more)"] if len(terms) < count else []
    return "= " + " + ".join(products + more) + f" {result}"


class Shown:
    """Which terms of a group are shown: all, or the first and the last ones of the order asked for."""

    def __init__(self, g, limit, by):
        self.group = g
        self.order = np.argsort(-np.abs(g.products), kind="stable") if by == "size" else np.arange(len(g))
        half = limit // 2
        self.hidden = self.order[limit - half : len(g) - half] if len(g) > limit else self.order[:0]

    def rows(self, gap, row):
        """row(group, t) for each of them, and `gap` in the place of the others."""
        hidden, rows = set(self.hidden.tolist()), []
        for t in self.order.tolist():
            if t not in hidden:
                rows.append(row(self.group, t))
            elif t == self.hidden[0]:
                rows.append(gap)
        return rows


def head(g):
    """The name of each factor, over its index and its value."""
    return tuple(cell for f in g.factors for cell in ([f.array] if f.index is None else [f.array, ""]))


def cells(g, t):
    """Index and value of each factor in term t."""
    found = []
    for f in g.factors:
        found += [] if f.index is None else [brackets(*f.index[t])]
        found.append(f"{f.value[t]:+.5g}")
    return tuple(found)


def sum_rows(g, shown, before):
    """The rows of a group: its factors, their product, and the sum so far."""
    running, products = np.zeros(len(g)), g.products
    running[shown.order] = before + np.cumsum(products[shown.order])
    gap = ("", "...", f"{len(shown.hidden)} more: {products[shown.hidden].sum():+.5g}", "...")

    def row(g, t):
        return ("", *cells(g, t), f"{products[t]:+.5g}", f"{running[t]:.6g}")

    return [(f"{g.name}:" if g.name else "", *head(g), "product", "sum"), *shown.rows(gap, row)]


def columns(rows):
    """Rows of cells as lines, in columns as wide as needed; the last two of a shorter row stay last."""
    width = max(len(row) for row in rows)
    rows = [(*row[:-2], *[""] * (width - len(row)), *row[-2:]) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(width)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
