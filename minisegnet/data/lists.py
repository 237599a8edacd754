"""Split lists: text files that say which pictures belong to train, val or test, one a line."""

import codecs
import re
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

from .dataset import DataError


class Line(NamedTuple):
    number: int
    text: str


def read_list(path):
    """(lines, notes) of a list: `Line`s without blank and repeated ones, and what was noticed about them.

    UTF-8 with or without a byte order mark, or UTF-16 with one, as some Windows programs write; any kind of line end;
    spaces around a line don't count. Of repeated lines the first is kept, as no picture should count twice.
    """
    data = path.read_bytes()
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"isn't UTF-8 text: {error}") from None
    if "\0" in text:
        raise DataError(path, "isn't a text file: it contains zero bytes")
    lines, first, notes = [], {}, []
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = Line(number, raw.strip())
        if line.text in first:
            notes.append(f"{path}: line {number} repeats line {first[line.text]} ({line.text}); it counts once")
        elif line.text:
            first[line.text] = number
            lines.append(line)
    return lines, notes


def locate(root, entry):
    """The path below root that an entry of a list names, whether it exists or not; ValueError if it leads outside.

    Of an absolute path, as in lists that were made on another machine, the longest tail that exists below root counts:
    "/SegNet/CamVid/train/1.png" is root/train/1.png. Both kinds of slashes are understood.
    """
    windows, posix = PureWindowsPath(entry), PurePosixPath(entry)
    is_absolute = bool(windows.drive or windows.root)
    parts = [part for part in (windows if "\\" in entry else posix).parts if part != windows.anchor and part != "/"]
    if ".." in parts:
        raise ValueError(f"names {entry}, which leads out of {root}; '..' isn't allowed in a list")
    if not is_absolute:
        return root.joinpath(*parts)
    for start in range(len(parts)):
        if root.joinpath(*parts[start:]).exists():
            return root.joinpath(*parts[start:])
    return root.joinpath(*parts[-2:])


def located(root, entries):
    """(paths, what is wrong with them) of a line's entries."""
    paths, faults = [], []
    for entry in entries:
        try:
            path = locate(root, entry)
        except ValueError as error:
            faults.append(str(error))
            continue
        if not path.is_file():
            faults.append(f"names {entry}, but there is no file {path}")
        paths.append(path)
    return tuple(paths), faults


def natural(name):
    """A key to sort names with, in which numbers count as numbers: 2.png before 10.png.

    >>> sorted(["10.png", "2.png", "A1", "a0"], key=natural)
    ['2.png', '10.png', 'a0', 'A1']
    """
    parts = re.split(r"([0-9]+)", str(name))
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)], str(name)
