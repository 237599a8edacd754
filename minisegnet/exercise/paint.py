"""Colour, where it is of use: on a terminal, unless NO_COLOR is set (https://no-color.org)."""

import io
import os
import re

CODES = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


class Paint:
    """Text in colour, or as it is.

    >>> Paint(False).red("wrong"), Paint(True).red("wrong")
    ('wrong', '\\x1b[31mwrong\\x1b[0m')
    """

    def __init__(self, on):
        self.on = on

    def __getattr__(self, colour):
        code = CODES[colour]
        return lambda text: f"\x1b[{code}m{text}\x1b[0m" if self.on else text


def paint_for(stream, environ=os.environ):
    """A Paint for what is written to a stream."""
    terminal = stream.isatty() and environ.get("TERM") != "dumb"
    knows_colour = os.name != "nt" or "WT_SESSION" in environ or "ANSICON" in environ  # old consoles of Windows don't
    return Paint(bool(terminal and knows_colour and not environ.get("NO_COLOR")))


def never_fail(stream):
    """Let a stream write "?" for a character that its encoding doesn't have; old consoles of Windows have few."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def plain(text):
    """The text without colours."""
    return re.sub(r"\x1b\[\d+m", "", text)
