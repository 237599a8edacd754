"""The folder of a run: what its files are called, and how they are written, each in one piece or not at all."""

import contextlib
import csv
import io
import json
import os
from pathlib import Path

from ..files import atomic_write

MEASURES = ("val_loss", "val_miou", "val_accuracy", "val_class_accuracy")
COLUMNS = ("epoch", "step", "lr", "train_loss", *MEASURES, "seconds", "images_per_second")


class RunFolder:
    """Paths and files of a run."""

    def __init__(self, path):
        if not str(path).strip():
            raise ValueError(f"a run needs a folder of its own, got {str(path)!r} for its name")
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.csv"
        self.steps = self.path / "steps.jsonl"
        self.curves = self.path / "curves.png"
        self.panels = self.path / "panels"
        self.confusion = self.path / "confusion.png"
        self.classes = self.path / "classes.csv"
        self.last = self.path / "last.safetensors"
        self.best = self.path / "best.safetensors"
        self.report = self.path / "report.html"
        self.lock = self.path / ".lock"

    def files(self):
        """All files of a run that are there."""
        named = [value for value in vars(self).values() if isinstance(value, Path) and value.is_file()]
        evaluated = [path for path in evaluation_files(self.path) if path.is_file()]
        panels = [*self.panels.glob("epoch-*.png"), *self.panels.glob("best.png")]
        return [path for path in named if path != self.lock] + evaluated + sorted(panels)

    def check_free(self, overwrite=False):
        """FileExistsError if the folder holds a run already, unless that is to be overwritten, or if it is a file."""
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file; a run needs a folder of its own")
        there = self.files()
        if there and not overwrite:
            raise FileExistsError(
                f"{self.path} holds a run already ({there[0].name}); --resume goes on with it, --overwrite deletes it "
                "and starts anew, or choose another --out"
            )

    def prepare(self, overwrite=False):
        """Make the folder, and delete the run that it holds if that is wanted; errors as `check_free`."""
        self.check_free(overwrite)
        for path in self.files():
            path.unlink()
        self.panels.mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self):
        """Within the block no other process can run in this folder: FileExistsError there.

        The system holds the lock, not the file `.lock`, so that it ends with the process in whatever way that ends.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a") as file:
            try:
                lock(file)
            except (BlockingIOError, PermissionError):  # the latter on Windows
                raise FileExistsError(
                    f"another process is training in {self.path}; wait for it, or choose another --out"
                ) from None
            yield

    def write_metrics(self, history):
        """All epochs so far as a table."""
        atomic_write(self.metrics, table(COLUMNS, history))

    def write_classes(self, names, confusion):
        """The measures of each class."""
        measures_of_classes(self.classes, names, confusion)

    def cut_steps(self, last):
        """Drop what was noted of later steps than the one that a resumed run begins after."""
        if self.steps.exists():
            lines = self.steps.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= last]
            atomic_write(self.steps, "".join(kept))

    def note_step(self, **numbers):
        """Append a line to steps.jsonl."""
        try:
            with self.steps.open("a", encoding="utf-8") as file:
                file.write(json.dumps(numbers) + "\n")
        except OSError as error:
            raise OSError(error.errno, f"can't write {self.steps}: {error.strerror or error}") from error


def lock(file):
    """Lock an open file for this process alone; OSError if another one has done so."""
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def evaluation_files(folder):
    """(table, picture) that `minisegnet eval` writes into a folder."""
    return Path(folder) / "eval.csv", Path(folder) / "eval_confusion.png"


def table(columns, rows):
    """CSV text. What isn't known (NaN or None) is an empty cell.

    >>> print(table(("epoch", "loss"), [{"epoch": 1, "loss": 0.25}, {"epoch": 2, "loss": float("nan")}]), end="")
    epoch,loss
    1,0.25
    2,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: "" if row[key] is None or row[key] != row[key] else row[key] for key in columns})
    return text.getvalue()


def measures_of_classes(path, names, confusion):
    """Write a table of IoU, accuracy, precision and F1 of each class."""
    rows = confusion.as_dict(names)["classes"]
    atomic_write(path, table(tuple(rows[0]), rows))
