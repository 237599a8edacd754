"""The page: template, style, script and arrays in one file."""

import html
import json
from importlib import resources
from pathlib import Path
from string import Template

from .._version import __version__
from ..files import atomic_write
from ..trace import record
from .bundle import bundle
from .pack import ROOM, as_base64, pack


def write_explorer(subject, path, room=ROOM):
    """Record a pass of a `Subject` and write the page that shows it; returns the page's path.

    room: bytes of arrays that the page may hold; what is computed in a moment is left out beyond that

    Raises ValueError for a net or a loss that the page can't show, OSError where the file can't be written.
    """
    trace = record(subject.net, subject.x, subject.loss, subject.target)
    path = Path(path)
    atomic_write(path, explorer_page(trace, subject, room))
    return path


def explorer_page(trace, subject, room=ROOM):
    """The whole page as text."""
    manifest, arrays = pack(trace, room)
    arrays["picture"] = subject.picture
    manifest["arrays"]["picture"] = {"dtype": "u1", "shape": list(subject.picture.shape)}
    manifest |= {
        "title": subject.title,
        "notes": list(subject.notes),
        "classes": list(subject.classes),
        "colours": [list(map(int, colour)) for colour in subject.colours],
        "hasTruth": subject.has_truth,
        "version": __version__,
    }
    return Template(read("template.html")).substitute(
        title=html.escape(subject.title),
        style=read("style.css"),
        manifest=as_json(manifest),
        arrays="\n".join(
            f'<script type="text/plain" id="{key}">{as_base64(array)}</script>' for key, array in arrays.items()
        ),
        script=bundle(modules(), "main.js"),
    )


def modules():
    """{file name: text} of the page's JavaScript modules."""
    folder = resources.files(__package__).joinpath("page")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".js"))
    return {name: read(name) for name in names}


def read(name):
    """The text of a file of the page."""
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def as_json(value):
    """JSON that may stand in a page: no text in it can end the script element that it stands in.

    >>> as_json({"name": "</script>"})
    '{"name": "\\\\u003c/script>"}'
    """
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
