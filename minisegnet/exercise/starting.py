"""Writes the file of an exercise for a learner."""

import re
from pathlib import Path

from ..files import atomic_write
from .layout import quoted

LINTER = r"\n# ruff: noqa: [A-Z0-9, ]+\n$"  # the names that a template gives to its learner are unused there


def start(exercise, out=None, force=False):
    """Copy the exercise's file to `out` (a file, or a folder; None: NAME.py here); returns the path.

    FileExistsError if there is such a file and `force` isn't given: it may hold somebody's work.
    """
    path = Path(out or exercise.file_name)
    if path.is_dir():
        path = path / exercise.file_name
    if path.exists() and not force:
        raise FileExistsError(
            f"{path} is there already and may hold your work; give another name with -o, or --force to overwrite it"
        )
    text = re.sub(LINTER, "", exercise.template.read_text(encoding="utf-8"))
    atomic_write(path, text.replace(f"exercise check {exercise.file_name}", f"exercise check {quoted(path.name)}"))
    return path
