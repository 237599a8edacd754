"""The report of a run: one page that holds everything, to open, to send and to keep.

It is made from the files of the run's folder, so it can be made again at any time, and asks nothing of the network: the
pictures are inside it.
"""

import base64
import csv
import html
import math
import os
import platform
import shlex
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from ._version import __version__
from .files import atomic_write

PANELS = 6  # that the page shows of a long run; the folder has them all
HEADINGS = {
    "lr": "learning rate",
    "train_loss": "loss",
    "val_loss": "val loss",
    "val_miou": "val mIoU",
    "val_accuracy": "pixels right",
    "val_class_accuracy": "class accuracy",
    "images_per_second": "images/s",
    "iou": "IoU",
    "f1": "F1",
}
SHARES = {"val_miou", "val_accuracy", "val_class_accuracy", "iou", "accuracy", "precision", "f1"}
LEGEND = "Accuracy is the share of a class's pixels that were found, which is also called recall."


def write_report(run_folder):
    """Write report.html into the folder of a run, from what is there; returns its path.

    Reads config.toml, metrics.csv, classes.csv, curves.png, confusion.png and panels/*.png. Only metrics.csv must
    exist; the page leaves out what the others would show.

    Raises FileNotFoundError for a folder without metrics.csv, ValueError for a file that can't be read as what it is.
    """
    folder = Path(run_folder)
    metrics = read_table(folder / "metrics.csv")
    config = read_text(folder / "config.toml")
    parts = [
        tiles(metrics),
        section("Curves", figure(folder / "curves.png", "losses and scores of each epoch")),
        section("Pictures", panels(folder / "panels")),
        section("Classes", class_table(folder / "classes.csv")),
        section("What was taken for what", figure(folder / "confusion.png", "confusion matrix")),
        section("Epochs", epoch_table(metrics)),
        section("Configuration", f"<pre>{html.escape(config)}</pre>" if config else ""),
        section("Do it again", reproduce(folder, config)),
    ]
    template = Template(resources.files(__package__).joinpath("report_template.html").read_text(encoding="utf-8"))
    name = folder.resolve().name
    page = template.substitute(
        title=html.escape(f"{name}: training report"),
        subtitle=html.escape(subtitle(folder / "config.toml", config)),
        sections="\n".join(filter(None, parts)),
    )
    path = folder / "report.html"
    atomic_write(path, page)
    return path


# ------------------------------------------------------------------ reading


def read_text(path):
    """The text of a file, "" if there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def read_table(path):
    """The rows of a CSV file as dicts of text; of a file that must be there."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: a report needs the folder of a run, with its metrics.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ragged = next((i for i, row in enumerate(rows, 2) if None in row or None in row.values()), None)
    if not rows or ragged:
        what = f"line {ragged} has not as many cells as the first" if ragged else "it has no rows"
        raise ValueError(f"{path} is not a table of a run: {what}")
    return rows


def number(text):
    """A float of a cell's text; NaN for an empty one and for words."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return math.nan


def best_row(metrics):
    """The index of the row with the highest val_miou, None if no row has one."""
    scores = np.array([number(row.get("val_miou")) for row in metrics])
    return None if np.isnan(scores).all() else int(np.nanargmax(scores))


# ------------------------------------------------------------------ parts of the page


def section(title, content):
    """A heading and what is under it; nothing if that is nothing."""
    return f"<section><h2>{html.escape(title)}</h2>\n{content}\n</section>" if content else ""


def subtitle(path, config):
    """What was trained on what, from the configuration."""
    try:
        settings = tomllib.loads(config)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not a configuration: {error}") from None
    said = [str(settings[key]) for key in ("model", "data", "loss", "optimizer") if settings.get(key)]
    return " · ".join([*said, f"minisegnet {__version__}"])


def tiles(metrics):
    """The numbers that one looks for first."""
    last, best = metrics[-1], best_row(metrics)
    seconds = np.nansum([number(row.get("seconds")) for row in metrics])
    shown = []
    if best is not None:
        row = metrics[best]
        shown.append((f"{number(row['val_miou']):.3f}", f"best val mIoU, epoch {row['epoch']}"))
        shown.append((cell("val_accuracy", row.get("val_accuracy")), "pixels right then"))
    shown.append((cell("train_loss", last.get("train_loss")), "last training loss"))
    shown.append((str(len(metrics)), "epoch" if len(metrics) == 1 else "epochs"))
    shown.append((duration(seconds), "of training"))
    shown.append((cell("images_per_second", last.get("images_per_second")), "images a second"))
    items = [f'<div class="tile"><b>{html.escape(b)}</b><span>{html.escape(s)}</span></div>' for b, s in shown if b]
    return f'<div class="tiles">{"".join(items)}</div>'


def figure(path, caption):
    """A picture inside the page; nothing if the file is not there."""
    if not path.is_file():
        return ""
    data, caption = base64.b64encode(path.read_bytes()).decode("ascii"), html.escape(caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def panels(folder):
    """The panel of the best net, or else the last one, and some of the others to unfold."""
    files = sorted(folder.glob("epoch-*.png"))
    best = folder / "best.png"
    first = best if best.is_file() else files.pop() if files else None
    if first is None:
        return ""
    spread = sorted({round(i) for i in np.linspace(0, len(files) - 1, min(PANELS, len(files)))})
    rest = "".join(
        f"<details><summary>{epoch(files[i])}</summary>{figure(files[i], epoch(files[i]))}</details>" for i in spread
    )
    caption = "the best net, on pictures that it was not trained on" if first == best else epoch(first)
    return figure(first, caption) + rest


def epoch(path):
    """What the file panels/epoch-0005.png is called on the page: "epoch 5"."""
    return html.escape(f"epoch {path.stem.removeprefix('epoch-').lstrip('0')}")


def epoch_table(metrics):
    return table(metrics, list(metrics[0]), best_row(metrics))


def class_table(path):
    if not path.is_file():
        return ""
    rows = read_table(path)
    return table(rows, list(rows[0])) + f'<p class="soft">{html.escape(LEGEND)}</p>'


def table(rows, columns, best=None):
    """An HTML table of all cells; the row `best` stands out, and IoUs have a bar."""
    head = "".join(f"<th>{html.escape(HEADINGS.get(c, c.replace('_', ' ')))}</th>" for c in columns)
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td>{bar(c, row[c])}{html.escape(cell(c, row[c]))}</td>" for c in columns)
        body.append(f'<tr class="best">{cells}</tr>' if i == best else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def bar(column, value):
    """A bar as long as an IoU is high."""
    share = number(value)
    if column != "iou" or math.isnan(share):
        return ""
    return f'<span class="bar"><i style="width:{100 * min(max(share, 0), 1):.1f}%"></i></span>'


def cell(column, value):
    """A cell's text, with as many digits as mean something.

    >>> cell("iou", "0.51234"), cell("epoch", "3"), cell("lr", "0.00012345"), cell("iou", ""), cell("class", "car")
    ('51.2%', '3', '0.000123', '–', 'car')
    """
    value = value or ""
    share = number(value)
    if column == "class":
        return value
    if math.isnan(share):
        return "–" if value in ("", "nan") else value
    if column in SHARES:
        return f"{100 * share:.1f}%"
    if column == "pixels":
        return f"{share:,.0f}".replace(",", " ")
    return f"{share:.0f}" if share.is_integer() and abs(share) < 1e15 else f"{share:.3g}"


def duration(seconds):
    """Seconds as a person says them.

    >>> duration(42.4), duration(750), duration(7500)
    ('42 s', '12.5 min', '2 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{seconds / 60:.1f} min"


def shell(words):
    """A command to type, with quotes where this system's shell needs them."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def reproduce(folder, config):
    """The command that repeats the run, and what it was done with."""
    if not config:
        return ""
    versions = f"minisegnet {__version__}, NumPy {np.__version__}, Python {platform.python_version()}"
    command = shell(["minisegnet", "train", "--config", str(folder.resolve() / "config.toml"), "--out", "again"])
    return (
        f"<pre>{html.escape(command)}</pre>"
        f"<p>Relative paths in the configuration count from the folder in which the run was started: go there first. "
        f"The same configuration, data, machine and number of threads give the same numbers. "
        f"This page was made with {html.escape(versions)} on {html.escape(platform.system())}.</p>"
    )
