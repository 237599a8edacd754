"""Which tutorials there are, and which one a name means."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .cells import split

INSTALLED = Path(__file__).parent / "scripts"  # a wheel carries the tutorials here: see setup.py
CLONE = Path(__file__).parents[2] / "tutorials"


@dataclass(frozen=True)
class Tutorial:
    """A script: path; number 2 and topic "scatter_and_gather" of 02_scatter_and_gather.py; its cells."""

    path: Path
    number: int
    topic: str

    @cached_property
    def cells(self):
        return split(self.path.read_text(encoding="utf-8"), self.path.name)

    @property
    def title(self):
        """Of the first heading."""
        return self.opening[0]

    @property
    def summary(self):
        """What one will know: the sentence that begins with "At the end", or else the first one below the title."""
        sentences = re.split(r"(?<=[.?!])\s", " ".join(self.opening[1].split()))
        return next((one for one in sentences if one.startswith("At the end")), sentences[0])

    @property
    def opening(self):
        """(title, first paragraph)."""
        first = self.cells[0] if self.cells else None
        if first is None or first.kind != "text" or not first.source.startswith("# "):
            raise ValueError(f"{self.path} must begin with a cell of text whose first line is `# # Title`")
        title, _, rest = first.source.partition("\n")
        return title.removeprefix("# ").strip(), rest.strip().partition("\n\n")[0]


def tutorials(folder=None):
    """All tutorials, by number; of the clone, or of what was installed, unless a folder is given.

    Raises FileNotFoundError if there are none.
    """
    folders = [Path(folder)] if folder else [INSTALLED, CLONE]
    for place in folders:
        if found := sorted(place.glob("[0-9][0-9]_*.py")):
            return [Tutorial(path, int(path.stem[:2]), path.stem[3:]) for path in found]
    raise FileNotFoundError(f"there are no tutorials in {' or '.join(map(str, folders))}; install minisegnet again")


def find(name, folder=None):
    """The tutorial that a name means: its number, its topic, or a part of either name or title that no other has.

    Raises ValueError, with the names there are, for a name that means none or several.
    """
    shelf = tutorials(folder)
    wanted = simple(Path(name).name.removesuffix(".py"))
    for meant in (
        lambda one: wanted.isdecimal() and int(wanted) == one.number,
        lambda one: wanted in (one.path.stem.lower(), one.topic.lower()),
        lambda one: wanted and wanted in simple(f"{one.path.stem} {one.title}"),
    ):
        found = [one for one in shelf if meant(one)]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{name!r} may mean {' or '.join(one.path.stem for one in found)}; give more of the name")
    raise ValueError(f"there is no tutorial {name!r}; there are {', '.join(one.path.stem for one in shelf)}")


def simple(name):
    """A name in small letters, with _ for blanks and hyphens."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())
