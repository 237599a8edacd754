"""Runs a solution: the small cases worked out by hand, many shapes beside the framework, finite differences."""

import contextlib
import io
import time
from dataclasses import dataclass, field

import numpy as np

import kernels

from ..gradcheck import gradcheck
from ..gradcheck.report import place
from . import loading
from .borrowed import watching, written_elsewhere
from .diagnosis import (
    Diagnosis,
    Run,
    diagnose,
    is_array,
    promises_broken,
    specials,
    what_they_share,
    without_echoes,
)
from .kinds import OfLayer, OfLoss, build, gradient_name, prepare
from .mistakes import same
from .trouble import Unchecked, sentence

ENTRIES = 100  # numbers that finite differences are to move, about
PRINTED = 2000  # characters of what the solution prints
RIGHT, WRONG, EMPTY, BORROWED, UNCHECKED = "right", "wrong", "empty", "borrowed", "unchecked"


@dataclass
class Part:
    """One result in one stage of the check: how many cases were right, and how wrong the others are."""

    stage: str  # "by hand", "many shapes", "gradcheck"
    name: str
    cases: int
    failed: int
    max_abs: float = 0.0
    max_rel: float = 0.0


@dataclass
class Result:
    """All that a check found out; everything in it can be written as JSON."""

    file: str
    exercise: str = ""
    status: str = UNCHECKED
    message: str = ""  # what happened where there are no numbers to show
    parts: list = field(default_factory=list)
    example: dict | None = None  # the first small case that is wrong
    shared: str = ""  # what the cases that are wrong have in common
    diagnosis: list = field(default_factory=list)
    table: list = field(default_factory=list)  # gradcheck's: a dict for each tensor
    table_case: str = ""  # the case that gradcheck looked at
    as_found: bool = False  # of a bug in the gallery: whether it computes what it did when it was handed out
    notes: list = field(default_factory=list)
    borrowed: list = field(default_factory=list)
    printed: str = ""  # by the solution, in the first case
    seconds: float = 0.0
    solution: str = ""  # a hash of it

    @property
    def passed(self):
        return self.status == RIGHT


def check_file(path):
    """Check one file in this process; returns the Result, whatever the file does (short of never ending)."""
    result, start, text = Result(str(path)), time.perf_counter(), ""
    try:
        text = loading.read(path)
        result.solution = loading.fingerprint(text)
        exercise = loading.exercise_of(text, path)
        result.exercise = exercise.name
        Check(result, exercise, text, path).run()
    except Unchecked as error:
        result.status, result.message = UNCHECKED, str(error)
    result.seconds = time.perf_counter() - start
    return result


class Check:
    """The check of one file, from reading it to the diagnosis; fills in a Result."""

    def __init__(self, result, exercise, text, path):
        self.result, self.exercise, self.text, self.path = result, exercise, text, path
        self.output = Limited()
        self.runs, self.label = [], ""

    def run(self):
        try:
            # what is right is computed by the readable backend: there is nothing to compile
            with self.quiet(), kernels.use("reference"):
                self.module = loading.load(self.text, self.path, self.exercise)
                self.by_hand()
                self.many_shapes()
                self.judge()
        except NotImplementedError as error:
            self.result.status, self.result.message = EMPTY, sentence(error, self.path, self.text)
        except Unchecked:
            raise
        except (Exception, SystemExit) as error:
            self.broken(error)

    @contextlib.contextmanager
    def quiet(self):
        """What the solution prints is kept aside, and NumPy's warnings are, too."""
        with (
            contextlib.redirect_stdout(self.output),
            contextlib.redirect_stderr(self.output),
            np.errstate(all="ignore"),
        ):
            yield

    # ------------------------------------------------------------------ the stages

    def solution(self, case):
        return build(self.module, self.exercise, case)

    def by_hand(self):
        with watching(self.path) as borrowed:
            for case in self.exercise.hand:
                try:
                    self.one(case)
                finally:
                    self.result.printed = self.result.printed or self.output.getvalue()
        made = getattr(self.module, self.exercise.subject)
        self.result.borrowed = sorted(borrowed | written_elsewhere(made, self.exercise.kind.methods, self.path))
        self.summarise("by hand", self.runs)

    def many_shapes(self):
        before = len(self.runs)
        for case in self.exercise.cases(np.random.default_rng(0)):
            self.one(case)
        self.summarise("many shapes", self.runs[before:])

    def one(self, case):
        """Run one case."""
        self.label = case.label
        got = self.exercise.kind.run(self.solution(case), case)
        right = self.exercise.right(case)
        self.runs.append(Run(self.exercise, case, right, {name: got.get(name) for name in right}))

    def summarise(self, stage, runs):
        """A Part for each result."""
        for name in dict.fromkeys(name for run in runs for name in run.right):
            looked_at = [run for run in runs if name in run.right]
            errors = [error_of(run.got[name], run.right[name]) for run in looked_at]
            worst_abs, worst_rel = (float(max(error[i] for error in errors)) for i in (0, 1))
            failed = sum(run.wrong(name) for run in looked_at)
            self.result.parts.append(Part(stage, name, len(looked_at), failed, worst_abs, worst_rel))

    def finite_differences(self):
        """gradcheck's report on one case; its rows become Parts."""
        loss = self.exercise.kind is OfLoss
        case = telling([run for run in self.runs if measurable(run)])
        self.result.table_case = case.label
        x, target = (case.scores, case.target) if loss else (case.x, None)
        report = gradcheck(self.solution(case) if loss else prepare(self.solution(case), case), x, target=target)
        for row in report.rows:
            name = "dscores" if loss else gradient_name(row.name)
            self.result.parts.append(Part("gradcheck", name, row.checked, row.failed, row.max_abs, row.max_rel))
            worst = [place(row.worst).strip(), f"{row.analytic:+.4f}", f"{row.numeric:+.4f}"]
            worst = worst if row.failed else [""] * len(worst)
            found = {"name": name, "checked": row.checked, "failed": row.failed, "error": row.max_rel, "worst": worst}
            self.result.table.append(found)
        return report

    # ------------------------------------------------------------------ what it means

    def judge(self):
        """Status, diagnosis and the small example, from what the stages found."""
        result, exercise = self.result, self.exercise
        failed = [run for run in self.runs if run.failed]
        if exercise.kind in (OfLayer, OfLoss) and all(run.comparable for run in self.runs):
            report = self.finite_differences()
            result.diagnosis += promises_broken(report)
            if not failed and not result.diagnosis and report.wrong:
                result.diagnosis += [Diagnosis("other", "", text) for text in report.diagnosis]
        result.diagnosis = without_echoes(diagnose(exercise, self.solution, self.runs) + result.diagnosis)
        result.as_found = exercise.is_bug and self.is_as_found()
        if result.as_found:
            result.diagnosis = [Diagnosis("bug-still-there", "", "it computes what it did when it was handed out")]
        result.status = WRONG if failed or result.diagnosis else BORROWED if result.borrowed else RIGHT
        result.shared = what_they_share(self.runs[len(exercise.hand) :])
        if failed:
            result.example = example(failed[0])
        elif exercise.kind is OfLayer:
            self.in_float32()

    def is_as_found(self):
        """Whether all results are those of the file that was handed out."""
        path = self.exercise.template
        module = loading.load(loading.read(path), path, self.exercise)
        for run in self.runs:
            before = self.exercise.kind.run(build(module, self.exercise, run.case), run.case)
            if not all(is_array(run.got[name]) and same(run.got[name], before[name]) for name in run.right):
                return False
        return True

    def in_float32(self):
        """Notes what is no mistake here, but would be one in a net: float64 out of float32."""
        case = self.exercise.hand[0]
        layer = prepare(self.solution(case), case).astype(np.float32)
        y, saved = layer.forward(case.x.astype(np.float32))
        dx = layer.backward(case.dy.astype(np.float32), saved)
        wrong = [name for name, value in (("y", y), ("dx", dx)) if value.dtype != np.float32]
        if wrong:
            become = "becomes" if len(wrong) == 1 else "become"
            self.result.notes.append(
                f"{' and '.join(wrong)} {become} float64 where x and dy are float32, and the next layer of a net would "
                f"refuse that; np.zeros makes float64, np.zeros_like(x) doesn't"
            )

    def broken(self, error):
        """The solution raised something."""
        self.result.status = WRONG
        self.result.message = sentence(error, self.path, self.text)
        if self.label:
            self.result.message += f"\nThe case was: {self.label}."
        self.result.diagnosis = [Diagnosis(f"raises-{type(error).__name__}", "", f"it raises {type(error).__name__}")]
        failed = [run for run in self.runs if run.failed]
        if failed:  # a smaller case was wrong before: that is easier to understand
            self.result.example = example(failed[0])
            with self.quiet(), kernels.use("reference"):
                self.result.diagnosis += diagnose(self.exercise, self.solution, self.runs)


class Limited(io.StringIO):
    """Keeps the first PRINTED characters that are written and forgets the rest, of which a loop may make gigabytes."""

    def write(self, text):
        super().write(text[: max(0, PRINTED - self.tell())])
        return len(text)


def measurable(run):
    """Whether finite differences mean something in this case: training mode, no NaN, one pass."""
    numbers = [v for v in run.case.inputs.values() if isinstance(v, np.ndarray)]
    return not run.case.eval and run.case.passes == 1 and all(np.isfinite(v).all() for v in numbers)


def error_of(got, right):
    """(largest absolute, largest relative error); infinite where there is nothing to compare."""
    if not is_array(got) or got.shape != right.shape:
        return np.inf, np.inf
    if same(got, right) or not right.size:
        return 0.0, 0.0
    with np.errstate(all="ignore"):
        difference = np.abs(got - right)
        relative = difference / np.maximum(np.abs(got), np.abs(right))
    return tuple(np.nan_to_num(np.nanmax(d, initial=0), nan=np.inf) for d in (difference, relative))


def telling(runs):
    """The case that finite differences can say most about: one where much is wrong, with a batch, a stride, a padding.

    One of those with few numbers, as each of them is moved; or else the smallest.
    """
    runs = [run for run in runs if run.failed] or runs
    small = [run for run in runs if size_of(run.case) <= ENTRIES] or [min(runs, key=lambda run: size_of(run.case))]
    return max(small, key=lambda run: (len(run.failed), specials(run.case), size_of(run.case))).case


def size_of(case):
    """How many numbers there are to be moved."""
    return sum(np.size(value) for name, value in (case.inputs | case.values).items() if name != "dy")


def example(run):
    """A failed case for people: what went in, what was expected, what came out; all of it plain lists."""
    shown = run.case.inputs | run.case.values
    return {
        "label": run.case.label,
        "because": run.case.because,
        "by_hand": run.case.expected is not None,
        "inputs": {name: np.asarray(value).tolist() for name, value in shown.items() if not callable(value)},
        "expected": {name: run.right[name].tolist() for name in run.failed},
        "yours": {name: run.got[name].tolist() if is_array(run.got[name]) else None for name in run.failed},
    }
