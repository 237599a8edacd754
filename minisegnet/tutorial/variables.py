"""Which variables a cell made or changed, in one short line each."""

import inspect
import numbers
import zlib

import numpy as np

from ..core import Layer, Parameter

FEW = 6  # values of an array that are shown
LINES = 8  # variables that are shown after one cell
LONG = 60  # characters of a value


class Variables:
    """Compares the variables of a namespace with what they were the last time.

    >>> namespace = {"x": np.zeros((2, 3), np.float32), "n": 3}
    >>> variables = Variables()
    >>> variables.changes(namespace)
    ['x: float32 (2, 3), 0 0 0 0 0 0', 'n: 3']
    >>> namespace["x"][0, 1] = 2.5
    >>> variables.changes(namespace)
    ['x: float32 (2, 3), 0 2.5 0 0 0 0']
    """

    def __init__(self):
        self.known = {}

    def changes(self, namespace):
        """A line for each variable that is new or changed, at most eight, and one with the names of further ones."""
        now = {}
        for name, value in namespace.items():
            if not name.startswith("_") and (text := describe(value)) is not None:
                now[name] = (text, fingerprint(value))
        changed = [name for name, found in now.items() if self.known.get(name) != found]
        self.known = now
        lines = [f"{name}: {now[name][0]}" for name in changed[:LINES]]
        if len(changed) > LINES:
            lines.append(f"and {', '.join(changed[LINES:])}")
        return lines


def describe(value):
    """A value in a few words, or None for what the code itself shows better: modules, functions, classes, figures.

    >>> describe(np.arange(12).reshape(3, 4)), describe(0.1 + 0.2), describe([1, 2]), describe({"a": np.ones(2)})
    ('int64 (3, 4), 0 to 11', '0.3', '[1, 2]', 'dict of 1')
    """
    if inspect.ismodule(value) or inspect.isroutine(value) or inspect.isclass(value):
        return None
    if type(value).__module__.startswith("matplotlib"):
        return None
    if isinstance(value, np.ndarray):
        return describe_array(value)
    if isinstance(value, Parameter):
        return f"Parameter, {describe_array(value.value)}"
    if isinstance(value, Layer):
        count = sum(p.value.size for p in value.parameters())
        return f"{type(value).__name__}, {count} parameter{'' if count == 1 else 's'}"
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{value:.6g}"
    if isinstance(value, (numbers.Number, np.generic, str, type(None))):
        return shorten(str(value) if isinstance(value, np.generic) else repr(value))
    if hasattr(value, "_fields"):  # a named tuple, such as what a layer keeps for backward
        return f"{type(value).__name__} with {', '.join(value._fields)}"
    if isinstance(value, (tuple, list, dict, set)):
        items = list(value)
        if items and describe(items[0]) is None:
            return None
        plain = not isinstance(value, dict) and all(isinstance(item, (int, float, str)) for item in items)
        short = repr(value) if plain and len(items) <= LONG else ""
        return short if 0 < len(short) <= LONG else f"{type(value).__name__} of {len(items)}"
    return type(value).__name__


def describe_array(values):
    """dtype, shape, and the values if they are few, or else their range and how many are NaN.

    >>> describe_array(np.array([[1, np.nan, 3, 4], [np.nan, 6, 7, 9]]))
    'float64 (2, 4), 1 to 9, 2 nan'
    """
    text = f"{values.dtype} {values.shape}"
    if values.dtype.kind not in "fiub" or not values.size:
        return text
    if values.size <= FEW:
        return f"{text}, {' '.join(f'{value:.4g}' for value in values.ravel().tolist())}"
    known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if not known.size:
        return f"{text}, all nan"
    missing = f", {values.size - known.size} nan" if known.size < values.size else ""
    return f"{text}, {known.min():.4g} to {known.max():.4g}{missing}"


def fingerprint(value):
    """A number that tells whether an array still holds the same values."""
    if isinstance(value, Parameter):
        value = value.value
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        return None
    return zlib.crc32(np.ascontiguousarray(value).view(np.uint8).ravel()) if value.size else 0


def shorten(text):
    """A text of at most LONG characters."""
    return text if len(text) <= LONG else text[: LONG - 3] + "..."
