"""The page: template, style, script and arrays in one file."""

import html
import json
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from .._version import __version__
from ..files import atomic_write
from ..trace import record
from .bundle import bundle
from .pack import ROOM, as_base64, pack

MARK = b'<meta name="generator" content="minisegnet explorer">'  # stands near the start of template.html


def write_explorer(subject, path, room=ROOM):
    """Record a pass of a `Subject` and write the page that shows it; returns the page's path.

    room: bytes of arrays that the page may hold; what is computed in a moment is left out beyond that

    Raises ValueError for a net or a loss that the page can't show, OSError where the file can't be written, or is
    another file than a page of the explorer.

    >>> import tempfile, kernels, numpy as np
    >>> from minisegnet import layers, losses
    >>> from minisegnet.explorer import Subject
    >>> net, x, target = layers.Conv2d(3, 2, 1, rng=0), np.zeros((1, 3, 2, 2), np.float32), np.array([[[0, 1], [0, 1]]])
    >>> classes, colours, picture = ("ground", "cell"), [[0, 0, 0], [255, 255, 255]], np.zeros((2, 2, 3), np.uint8)
    >>> subject = Subject(net, x, target, losses.CrossEntropyLoss(), picture, classes, colours, "a convolution")
    >>> with tempfile.TemporaryDirectory() as folder, kernels.use("reference"):
    ...     page = write_explorer(subject, Path(folder, "explorer.html"))
    ...     "<title>a convolution" in page.read_text(encoding="utf-8")
    True
    """
    check_output(path)
    check_colours(subject)
    trace = record(subject.net, subject.x, subject.loss, subject.target)
    path = Path(path)
    atomic_write(path, explorer_page(trace, subject, room))
    return path


def check_output(path):
    """FileExistsError if writing a page there would replace anything but another page of the explorer.

    >>> import contextlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     _ = Path("notes.html").write_text("mine", encoding="utf-8")
    ...     check_output("notes.html")
    Traceback (most recent call last):
        ...
    FileExistsError: notes.html exists and is no page of the explorer; name another file, or remove it first
    """
    path = Path(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; name a file for the page, such as {path / 'explorer.html'}")
    if path.exists():
        with open(path, "rb") as file:
            start = file.read(1000)
        if MARK not in start:
            raise FileExistsError(
                f"{path} exists and is no page of the explorer; name another file, or remove it first"
            )


def check_colours(subject):
    """ValueError unless each class of a subject's net has a name and a colour, and the picture is as people see it."""
    named, coloured = len(subject.classes), len(subject.colours)
    if named != coloured:
        raise ValueError(f"the subject names {named} classes and has {coloured} colours; give one for each class")
    picture = subject.picture
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"picture is {picture.dtype} of shape {picture.shape}, expected uint8 (H, W, 3)")


def check_scores(trace, subject):
    """ValueError unless the scores have the picture's size, if any, and no more classes than are named."""
    _, C, *size = trace.losses[0]["scores"].shape
    if C > len(subject.classes):
        raise ValueError(f"the net scores {C} classes, the subject names {len(subject.classes)}; name and colour each")
    if size and tuple(size) != subject.picture.shape[:2]:
        height, width = subject.picture.shape[:2]
        raise ValueError(
            f"the scores are {'x'.join(map(str, size))}, the picture is {height}x{width}: bring both to one size, "
            "such as with SameSize around the net"
        )


def explorer_page(trace, subject, room=ROOM):
    """The whole page as text."""
    manifest, arrays = pack(trace, room)
    check_scores(trace, subject)
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
