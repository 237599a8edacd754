"""Markdown for a terminal: paragraphs filled to its width, headings in bold, code as it stands."""

import re
import textwrap

BOLD, CODE, DIM, ITALIC, PLAIN = "\033[1m", "\033[36m", "\033[2m", "\033[3m", "\033[0m"
ITEM = re.compile(r"\s*([*+-]|\d+[.)])\s+")
# `code`, **bold** and *emphasis*, but no star that multiplies, as in N*H*W or 2 * x
MARKED = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>[^*]+)\*\*|(?<![\w)*])\*(?=\S)(?P<italic>[^*]+)(?<=\S)\*(?![\w(*])"
)


def render(text, width=80, colour=False):
    """A text of Markdown as lines for a terminal.

    Knows what the tutorials use: headings, paragraphs, lists, code (indented or fenced), tables, `code`, **bold**,
    *emphasis* and [links](address). Without colour all marks stay, as Markdown is made to be read as it is.

    >>> text = "# One\\n\\nA paragraph of several words.\\n\\n* an item that is\\n  longer\\n\\n    x = 1"
    >>> print(render(text, width=20))
    # One
    <BLANKLINE>
    A paragraph of
    several words.
    <BLANKLINE>
    * an item that is
      longer
    <BLANKLINE>
        x = 1
    """
    shown, paragraph, fenced = [], [], False

    def end_paragraph():
        if paragraph:
            shown.append(fill(paragraph, width, colour))
            paragraph.clear()

    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            end_paragraph()
            fenced = not fenced
        elif fenced:
            shown.append(f"    {line}".rstrip())
        elif not line.strip():
            end_paragraph()
            shown.append("")
        elif line.startswith("#"):
            end_paragraph()
            shown.append(BOLD + plain(line.lstrip("# ")) + PLAIN if colour else line)
        elif line.startswith("|") or (line.startswith("    ") and not paragraph):
            end_paragraph()
            shown.append(line)
        else:
            if ITEM.match(line):
                end_paragraph()
            paragraph.append(line)
    end_paragraph()
    return "\n".join(shown)


def fill(lines, width, colour):
    """One paragraph or item of a list, in lines of at most `width`; an item's further lines stand under its first."""
    item = ITEM.match(lines[0])
    indent = " " * len(item[0]) if item else ""
    words = " ".join([lines[0].rstrip(), *(line.strip() for line in lines[1:])])
    words = re.sub(r"\[([^]]+)\]\(([^)]+)\)", r"\1 (\2)", words)
    filled = textwrap.fill(words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    if colour:
        colours = {"code": CODE, "bold": BOLD, "italic": ITALIC}
        filled = MARKED.sub(lambda found: colours[found.lastgroup] + found[found.lastgroup] + PLAIN, filled)
    return filled


def plain(words):
    """A line without the marks around its words.

    >>> plain("What `w` *is*, and N*H*W")
    'What w is, and N*H*W'
    """
    return MARKED.sub(lambda found: found[found.lastgroup], words)
