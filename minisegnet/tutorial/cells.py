"""A tutorial's script as cells.

In percent format a comment `# %%` begins a cell of code and `# %% [markdown]` one of text, whose lines are comments
too, so that the whole is a plain Python script:

    # %% [markdown]
    # # A title
    #
    # A paragraph.

    # %%
    x = 1

Source: https://jupytext.readthedocs.io/en/latest/formats-scripts.html, of which this is the part that the tutorials
need: no metadata, and text as comments, not in quotes.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from itertools import pairwise

MARKER = re.compile(r"# ?%%(?!%)\s*(.*)")


@dataclass(frozen=True)
class Cell:
    """kind: "text" (Markdown) or "code"; source: without its marker; line: of the script where the source begins."""

    kind: str
    source: str
    line: int


def split(script, name="the script"):
    """The cells of a script, in order; empty ones are left out. What stands before the first marker is code.

    Raises ValueError, with the name of the script and the line, for what is no Python, for a kind of cell that isn't
    known, and for code in a cell of text.

    >>> split("# %% [markdown]\\n# # One\\n#\\n# two\\n\\n# %%\\nx = 1\\n")
    [Cell(kind='text', source='# One\\n\\ntwo', line=2), Cell(kind='code', source='x = 1', line=7)]
    """
    lines = script.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")  # as Python counts lines
    starts = [(0, ""), *markers("\n".join(lines), name), (len(lines) + 1, "")]
    cells = []
    for (start, title), (end, _) in pairwise(starts):
        if title not in ("", "[markdown]"):
            raise ValueError(
                f"{name}, line {start}: a cell begins with `# %%` or `# %% [markdown]`, got `# %% {title}`"
            )
        kept = [number for number in range(start + 1, end) if lines[number - 1].strip()]
        if not kept:
            continue
        inside = range(kept[0], kept[-1] + 1)  # without empty lines at both ends
        if title:
            text = [uncomment(lines[number - 1], f"{name}, line {number}") for number in inside]
            cells.append(Cell("text", "\n".join(text).strip("\n"), kept[0]))
        else:
            code = "\n".join(lines[number - 1] for number in inside)
            try:
                ast.parse(code)
            except SyntaxError as error:
                where = kept[0] - 1 + (error.lineno or 1)
                raise ValueError(f"{name}, line {where}: the cell is no complete Python: {error.msg}") from error
            cells.append(Cell("code", code, kept[0]))
    return [cell for cell in cells if cell.source]


def markers(script, name):
    """[(line, what follows the marker)]; a marker is a comment, so `# %%` inside a string of several lines is none."""
    found = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(script).readline):
            if token.type == tokenize.COMMENT and token.start[1] == 0 and (match := MARKER.fullmatch(token.string)):
                found.append((token.start[0], match[1].strip()))
    except (SyntaxError, tokenize.TokenError) as error:
        line = error.lineno if isinstance(error, SyntaxError) else error.args[1][0]
        raise ValueError(f"{name}, line {line}: this is no Python: {error.args[0]}") from error
    return found


def uncomment(line, where):
    """A line of a text cell without its `# `."""
    line = line.rstrip()
    if line in ("", "#"):
        return ""
    if not line.startswith("# "):
        raise ValueError(f"{where}: a line of a text cell begins with `# `, got {line!r}; code needs a cell `# %%`")
    return line[2:]


def prompted(source):
    """A cell's code as Python's prompt shows it: `>>> ` where a statement begins, `... ` where it goes on.

    >>> prompted("for i in range(2):\\n    print(i)\\n\\nx = 1").splitlines()
    ['>>> for i in range(2):', '...     print(i)', '', '>>> x = 1']
    """
    inside = set()
    for statement in ast.parse(source).body:
        first = min([statement.lineno, *(d.lineno for d in getattr(statement, "decorator_list", []))])
        inside |= set(range(first + 1, statement.end_lineno + 1))
    shown = []
    for number, line in enumerate(source.splitlines(), 1):
        mark = "..." if number in inside else ">>>"
        shown.append(f"{mark} {line}" if line else mark * (number in inside))
    return "\n".join(shown)
