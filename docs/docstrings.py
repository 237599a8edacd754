"""Docstrings are written to be read in an editor. For the site they become Markdown."""

import re

import griffe

LISTS = ("Parameters", "Arguments", "Fields", "Attributes", "Returns")


class AsMarkdown(griffe.Extension):
    """Every docstring, on its way to the page."""

    def on_object(self, *, obj, **_):
        if obj.docstring and obj.docstring.value:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text):
    r"""Indented formulas become blocks, `>>>` examples become code, parameters a list; the rest is kept as it is.

    >>> print(to_markdown("Sum:\n    y = a*b\nThe end of x_1.\n\nReturns\n    y: its size"))
    Sum:
    <BLANKLINE>
    ```text
    y = a*b
    ```
    <BLANKLINE>
    The end of x\_1.
    <BLANKLINE>
    **Returns**
    <BLANKLINE>
    - `y`: its size
    >>> to_markdown(">>> 1 + 1\n2")
    '```pycon\n>>> 1 + 1\n2\n```'
    """
    lines, done = text.expandtabs().splitlines(), []
    while lines:
        line = lines[0]
        if line.startswith(">>>"):
            done += fenced("pycon", take(lines, lambda line: line.strip() != ""))
        elif line.startswith("    ") and line.strip():
            block = take(lines, lambda line: line.startswith("    ") or not line.strip())
            heading = done[-1].strip() if done else ""
            done += items(block) if heading.strip("*") in LISTS else fenced("text", block)
        else:
            line = lines.pop(0)
            done.append(f"**{line}**" if line in LISTS else plain(line))
    return "\n".join(done).strip("\n")


def take(lines, wanted):
    """The first lines, as long as they are wanted, without blank ones at the end; they are removed from `lines`."""
    block = []
    while lines and wanted(lines[0]):
        block.append(lines.pop(0))
    while block and not block[-1].strip():
        block.pop()
    return block


def fenced(language, block):
    shallowest = min(len(line) - len(line.lstrip()) for line in block if line.strip())
    return ["", f"```{language}", *(line[shallowest:] for line in block), "```", ""]


def items(block):
    """`name: what it is`, further lines deeper, as a list."""
    made = [""]
    for line in block:
        name, colon, rest = line.strip().partition(": ")
        if line.startswith("     ") or not line.strip():
            made.append("    " + plain(line.strip()))
        elif colon:
            made.append(f"- `{name}`: {plain(rest)}")
        else:
            made.append(f"- {plain(line.strip())}")
    return [*made, ""]


def plain(line):
    """A line of prose, in which only `code` and bullets mean something to Markdown."""
    bullet = re.match(r"\s*[*-] ", line)
    start = bullet.end() if bullet else 0
    parts = line[start:].split("`")
    parts[::2] = [re.sub(r"([*_\[\]<])", r"\\\1", part) for part in parts[::2]]
    return line[:start] + "`".join(parts)
