"""Text for people, as wide as the terminal: paragraphs, tables, commands."""

import shutil
import textwrap

WIDEST, NARROWEST, UNKNOWN = 96, 40, 80  # columns: of a line that is easy to read; where anything fits; where piped


def width():
    """How many columns a line may have: those of the terminal."""
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size((UNKNOWN, 24)).columns))


def quoted(path):
    """A path as it has to stand in a command: in quotes if there is a space in it.

    >>> quoted("relu.py"), quoted("my relu.py")
    ('relu.py', '"my relu.py"')
    """
    return f'"{path}"' if " " in str(path) else str(path)


def wrap(text, indent="  ", later=None):
    """Paragraphs as wide as the terminal; lines that begin with a space stay as they are."""
    lines = []
    for line in text.splitlines():
        if line.startswith(" ") or not line:
            lines.append(indent + line if line else "")
        else:
            lines += textwrap.wrap(
                line,
                width(),
                initial_indent=indent if not lines else later or indent,
                subsequent_indent=later or indent,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def aligned(rows, colour):
    """Rows of cells as columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  " + "   ".join(colour(cell) for cell in cells).rstrip())
    return "\n".join(lines)
