"""What a learner's code raised, in sentences: the line, what it says, and the shapes of the arrays in it."""

import re
import traceback

import numpy as np

SHOWN = 6  # at most as many names of a line are explained

MEANING = {  # what Python and NumPy say, and what it means here
    "name 'np' is not defined": "put the line `import numpy as np` at the top of the file",
    "has no setter": "change what is in the array: parameter.value[...] -= ..., and not the attribute",
    "be broadcast": "two arrays don't fit together: compare their shapes from the right; the sizes of a pair must be "
    "equal, or one of them 1",
    "non-broadcastable output": "what is added has more axes than the gradient: sum over those that the parameter "
    "doesn't have",
    "truth value of an array": "`if` needs one True or False, and an array has many: np.where, or multiply by the "
    "comparison",
    "out of bounds": "an index is too large for that axis: compare it with the shape",
    "mismatch in its core dimension": "in a @ b the last axis of a must be as long as the last but one of b: does one "
    "of them have to be transposed?",
    "'NoneType'": "something is None: did a function forget its `return`, or is it eval mode?",
    "not enough values to unpack": "forward returns two things, y and saved; backward returns one",
    "Cannot cast ufunc": "an array of whole numbers can't take others: make it with np.zeros_like(x)",
    "read-only": "that array belongs to somebody else; work on a copy",
}


class Unchecked(Exception):
    """The file can't be checked; the text says why, and what to do."""


def syntax_sentence(error, path):
    """A SyntaxError as a sentence with the line."""
    line = getattr(error, "lineno", None)
    if line is None:
        return f"{path} is not Python: {error}"
    text = (error.text or "").rstrip()
    shown = f"\n    {text.strip()}" if text.strip() else ""
    return f"{path}, line {line}: Python can't read this: {error.msg}{shown}"


def where_in(error, path):
    """(line number, function, the line's text, the frame) of the last line of the file that an error came through."""
    found = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == str(path):
            found = frame, number
    if found is None:
        return None
    frame, number = found
    return number, frame.f_code.co_name, frame


def sentence(error, path, text):
    """What went wrong, for people: line, code, error, and what the names in that line stand for.

    path, text: the learner's file and what is in it
    """
    said = str(getattr(error, "text", error)) or "(without a text)"
    place = where_in(error, path)
    if place is None:
        return f"{type(error).__name__}: {said}"
    number, function, frame = place
    lines = text.splitlines()
    code = lines[number - 1].strip() if number <= len(lines) else ""
    inside = "" if function == "<module>" else f", in {function}"
    parts = [f"line {number}{inside}:", f"    {code}", f"{type(error).__name__}: {said}"]
    known = ", ".join(described(code, frame))
    parts += [f"where {known}"] if known else []
    return "\n".join(parts + [meaning for words, meaning in MEANING.items() if words in said][:1])


def described(code, frame):
    """'x is (2, 3)' for each array and 'i = 0' for each number that a line of code names."""
    found = []
    for name in dict.fromkeys(re.findall(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", code)):
        value = value_of(name, frame)
        if isinstance(value, np.ndarray):
            found.append(f"{name} is {value.shape}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(f"{name} = {value:g}")
    return found[:SHOWN]


def value_of(name, frame):
    """What a dotted name stands for in a frame, looking no further than attributes that are simply there."""
    first, *rest = name.split(".")
    value = frame.f_locals.get(first)
    for attribute in rest:
        if isinstance(value, np.ndarray) or value is None:
            return None  # x.shape explains itself
        value = getattr(value, attribute, None)
    return value
