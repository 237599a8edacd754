"""A learner's file as a module, and what can be said about it without running it."""

import ast
import hashlib
import sys
import types
from pathlib import Path

from . import catalogue
from .kinds import OfFunction
from .trouble import Unchecked, syntax_sentence

MARKER = "EXERCISE"


def read(path):
    """The text of a learner's file; Unchecked if there is none to read."""
    path = Path(path)
    if path.is_dir():
        raise Unchecked(f"{path} is a folder; name a file, or check all files in it with --all {path}")
    if not path.exists():
        meant = path.with_name(path.name.replace("-", "_") + ".py")
        hint = f"do you mean {meant}?" if meant.exists() else "`minisegnet exercise start NAME` writes one"
        raise Unchecked(f"there is no file {path}; {hint}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Unchecked(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise Unchecked(f"{path} can't be read: {error.strerror}") from None


def parse(text, path):
    """The syntax tree; Unchecked, with the line, where the text isn't Python."""
    try:
        return ast.parse(text, filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise Unchecked(syntax_sentence(error, path)) from None


def exercise_of(text, path):
    """The Exercise that a file is an answer to: its line `EXERCISE = "conv2d"` says so, or else its name.

    Works for text that isn't Python, too.
    """
    for line in text.splitlines():
        name, sign, value = (part.strip() for part in line.partition("="))
        if name == MARKER and sign:
            return find(value.split("#")[0].strip().strip("\"'"), path)
    name = Path(path).stem.replace("_", "-")
    if name in catalogue.EXERCISES:
        return catalogue.EXERCISES[name]
    raise Unchecked(
        f'{path} does not say which exercise it is; put the line {MARKER} = "conv2d" (or another name from '
        f"`minisegnet exercise list`) near its top"
    )


def find(name, path):
    try:
        return catalogue.find(name)
    except ValueError as error:
        raise Unchecked(f"{path}: {error}") from None


def load(text, path, exercise):
    """The file's text, run as a module. Whatever it raises is passed on; Unchecked if the subject isn't in it."""
    tree = parse(text, path)
    module = types.ModuleType("solution")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # what is looked up by module name, such as a dataclass, finds it
    exec(compile(tree, str(path), "exec"), vars(module))
    check_subject(module, path, exercise)
    return module


def check_subject(module, path, exercise):
    """Raise Unchecked unless the class or function of the exercise is there and is what it has to be."""
    name, base = exercise.subject, exercise.kind.base
    made = getattr(module, name, None)
    what = "function" if exercise.kind is OfFunction else "class"
    if made is None:
        raise Unchecked(f"{path} has no {what} {name}; the exercise needs it under that name")
    if base is not None and not (isinstance(made, type) and issubclass(made, base)):
        raise Unchecked(f"{name} in {path} must be a class made from {base.__name__}: class {name}({base.__name__})")
    if base is None and not callable(made):
        raise Unchecked(f"{name} in {path} must be a function")


def fingerprint(text):
    """A hash of what a solution does: comments, docstrings and layout don't count, names do.

    >>> fingerprint("x = 1  # one") == fingerprint("x   =  1") != fingerprint("x = 2")
    True
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not is_text(s)] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_text(statement):
    """Whether a statement is nothing but a string: a docstring."""
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)
