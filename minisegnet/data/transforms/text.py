"""Transforms from text and back, so that a configuration file can name them: "RandomCrop(176, 240); HorizontalFlip()".

The text is parsed, never run: names of transforms, and numbers, strings, lists and the like as their arguments.
"""

import ast
import difflib

from . import geometry, values
from .base import Compose, Transform

KINDS = {
    kind.__name__: kind
    for kind in (
        geometry.Resize,
        geometry.LongestSide,
        geometry.RandomScale,
        geometry.RandomCrop,
        geometry.CenterCrop,
        geometry.Pad,
        geometry.HorizontalFlip,
        geometry.VerticalFlip,
        geometry.Rotate,
        geometry.QuarterTurns,
        values.ColorJitter,
        values.GaussianNoise,
        values.ToArray,
        values.Normalize,
        values.Standardize,
    )
}


def from_text(text):
    """The Compose that a text describes: calls with literal arguments, separated by ";" or on lines of their own.

    ValueError (TypeError for a text that isn't one) that quotes the part which is not understood.

    >>> from_text("RandomCrop(176, 240); HorizontalFlip(p=0.5)")
    Compose([RandomCrop(176, 240), HorizontalFlip()])
    >>> from_text("RandomCrop(176, 240); HorizontalFlop()")
    Traceback (most recent call last):
    ...
    ValueError: transforms: no transform is called 'HorizontalFlop'; did you mean HorizontalFlip?
    """
    if not isinstance(text, str):
        raise TypeError(f"transforms must be a text such as 'RandomCrop(176, 240); HorizontalFlip()', got {text!r}")
    text = "\n".join(line.strip() for line in text.splitlines())
    try:
        statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the latter two: nested without end
        raise ValueError(f"transforms: {text[:200]!r} is not understood ({type(error).__name__}: {error})") from None
    return Compose([transform_from(statement, text) for statement in statements])


def transform_from(statement, text):
    """The transform of one parsed call."""
    part = ast.get_source_segment(text, statement)
    call = getattr(statement, "value", None)
    if not (isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
        raise ValueError(f"transforms: {part!r} is not understood; expected a name with arguments: HorizontalFlip()")
    name = call.func.id
    if name not in KINDS:
        near = difflib.get_close_matches(name, KINDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)}"
        raise ValueError(f"transforms: no transform is called {name!r}; {hint}")
    try:
        if any(keyword.arg is None for keyword in call.keywords):
            raise ValueError("** has no name")
        arguments = [ast.literal_eval(value) for value in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"transforms: the arguments of {part!r} must be plain numbers, lists or strings") from None
    try:
        return KINDS[name](*arguments, **named)
    except (ValueError, TypeError) as error:
        raise ValueError(f"transforms: {part!r}: {error}") from None


def to_text(transform):
    """The text that `from_text` makes the same transform of; the state of its own generator is not part of it.

    ValueError for a transform of another kind than the module's own.

    >>> to_text(from_text("Normalize([0.5], [0.25])"))
    'Normalize((0.5,), (0.25,))'
    """
    if isinstance(transform, Compose):
        return "; ".join(filter(None, map(to_text, transform.transforms)))
    if not isinstance(transform, Transform) or KINDS.get(type(transform).__name__) is not type(transform):
        raise ValueError(f"{transform!r} has no text: it is none of {', '.join(KINDS)}")
    return repr(transform)
