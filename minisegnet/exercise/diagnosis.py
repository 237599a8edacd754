"""Which mistake do wrong results fit? The mistaken formulas are computed in every case that failed, and compared."""

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np

from ..gradcheck.mistakes import FAMILIES
from ..gradcheck.mistakes.evidence import fits
from ..gradcheck.mistakes.general import explain_shape
from ..gradcheck.subject import Subject
from .kinds import OfLayer, OfLoss, OfOptimiser, prepare
from .mistakes import ANY_RESULT, GRADCHECK_ADDS, GRADCHECK_IDS, PROMISES, same
from .traces import replaced_gradients, untouched_buffers


@dataclass
class Run:
    """A case of an exercise, what is right in it, and what the solution gave."""

    exercise: object
    case: object
    right: dict
    got: dict

    def wrong(self, name):
        return not is_array(self.got.get(name)) or not same(self.got[name], self.right[name])

    @property
    def failed(self):
        """The names of the results that are wrong; one that the solution never came to is not among them."""
        return [name for name in self.right if name in self.got and self.wrong(name)]

    @property
    def comparable(self):
        """Whether all results are arrays of the right shapes."""
        return all(is_array(self.got[name]) and self.got[name].shape == a.shape for name, a in self.right.items())

    def without_dy(self, name):
        """What would be right if dy were 1 everywhere, or None."""
        return self.with_dy(np.ones_like(self.case.dy), name) if self.exercise.kind is OfLayer else None

    def of_one(self, i, name):
        """What would be right of a parameter's gradient if sample i alone counted, or None."""
        if self.exercise.kind is not OfLayer or name == "dx" or self.case.x.ndim < 2 or len(self.case.x) < 2:
            return None
        alone = np.zeros_like(self.case.dy)
        alone[i] = self.case.dy[i]
        return self.with_dy(alone, name)

    def with_dy(self, dy, name):
        return self.exercise.right(replace(self.case, inputs=self.case.inputs | {"dy": dy}, expected=None))[name]


@dataclass
class Diagnosis:
    """What a wrong result fits. id: for machines; of: the result; text: for people."""

    id: str
    of: str
    text: str


def is_array(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def diagnose(exercise, solution, runs):
    """A list of Diagnosis for the results that are wrong in `runs`; solution: the layer or loss, by case."""
    found = []
    given = {"y", "value"} if exercise.kind in (OfLayer, OfLoss) and not exercise.is_bug else set()
    if any(given & set(run.failed) for run in runs):
        text = "forward gives something else than it did in the template: has it been changed? Put it back first"
        found.append(Diagnosis("forward-changed", "", text))
    for name in dict.fromkeys(name for run in runs for name in run.right):
        failed = [run for run in runs if name in run.failed]
        if failed:
            problem = malformed(name, failed)
            likely = [problem] if problem else most_likely(exercise, solution, name, failed)
            found += likely or left_behind(exercise, solution, name, failed[0].case)
    return found


def malformed(name, failed):
    """A Diagnosis of something that isn't even an array of the right shape, or None; looks at the first failed run."""
    run = failed[0]
    value, right = run.got[name], run.right[name]
    if value is None:
        return Diagnosis("returns-none", name, f"backward returned None: it must end with `return {name}`")
    if isinstance(value, tuple):
        return Diagnosis(
            "returns-tuple",
            name,
            f"backward returned {len(value)} things: it returns {name} alone; what belongs to a parameter is added to "
            f"its grad: self.weight.grad += ...",
        )
    if not is_array(value):
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        return Diagnosis("no-array", name, f"{name} is {kind}, expected a NumPy array of float64")
    if value.shape != right.shape:
        text = f"{name} has shape {value.shape}, expected {right.shape}{why(name, failed)}"
        return Diagnosis("wrong-shape", name, text)
    if not np.isfinite(value).all() and np.isfinite(right).all():
        return Diagnosis("not-finite", name, f"{name} has NaN or infinite numbers in it")
    return None


def why(name, failed):
    """What a wrong shape comes from, as the end of a sentence: from all failed runs, as sizes may agree by chance."""
    explained = {explanation(name, run) for run in failed if is_array(run.got[name])}
    if len(explained) == 1:
        return explained.pop()
    return too_small(failed[0].got[name].shape, failed[0].right[name].shape)


def explanation(name, run):
    """How gradcheck explains a wrong shape."""
    tensor = "x" if name == "dx" else name
    subject = SimpleNamespace(grads={tensor: run.got[name]}, y=run.right.get("y", run.right[name]))
    return explain_shape(subject, SimpleNamespace(name=tensor, shape=run.right[name].shape))


def too_small(got, right):
    """What to say of a picture with too few rows or columns.

    >>> too_small((1, 1, 2, 2), (1, 1, 3, 3))
    ': 1 row and 1 column short: where does the crop begin, where does it end?'
    """
    if len(got) != len(right) or len(got) != 4 or got[:2] != right[:2]:
        return ""
    short = [
        f"{r - g} {what}{'s' * (r - g > 1)}"
        for g, r, what in zip(got[2:], right[2:], ("row", "column"), strict=True)
        if r > g
    ]
    return f": {' and '.join(short)} short: where does the crop begin, where does it end?" if short else ""


def most_likely(exercise, solution, name, failed):
    """The mistake that explains most of the failed cases, in a list; empty where none fits."""
    counts, texts = Counter(), {}
    for run in failed:
        for key, text in dict(suspects(exercise, solution, name, run)).items():
            counts[key] += 1
            texts.setdefault(key, text)
    best = max(counts, key=lambda key: counts[key], default=None)
    if best is None or 2 * counts[best] < len(failed):
        return []  # what fits a few cases fits them by chance
    text = texts[best]
    if counts[best] < len(failed):
        text += f" (this fits {counts[best]} of the {len(failed)} cases that are wrong)"
    return [Diagnosis(best, name, text)]


def suspects(exercise, solution, name, run):
    """(id, text) of each mistake that gives exactly what the solution gave in this case."""
    case, right, got = run.case, run.right, run.got[name]
    if not is_array(got) or got.shape != right[name].shape:
        return
    with np.errstate(all="ignore"):
        for mistake in exercise.mistakes:
            if mistake.of in ("", name) and is_it(mistake.formula(case, right), got):
                yield mistake.id, mistake.text
        yield from known_to_gradcheck(exercise, solution, name, run)
        for mistake in ANY_RESULT:
            if mistake.of in ("", name) and name.startswith("d") and is_it(mistake.formula(run, name), got):
                yield mistake.id, mistake.text


def is_it(wrong, got):
    return wrong is not None and wrong.shape == got.shape and same(got, wrong)


def known_to_gradcheck(exercise, solution, name, run):
    """What the families of gradcheck say of one result: they find out from the numbers what is being computed."""
    tensor = {"dx": "x", "dscores": "x"}.get(name, name[1:].strip("()"))
    if exercise.kind not in (OfLayer, OfLoss) or run.case.passes > 1 or name in ("y", "value"):
        return
    subject = subject_of(exercise, solution, run)
    for family in FAMILIES:
        for suspect in family(subject):
            if suspect.tensor == tensor and fits(run.got[name], suspect.wrong):
                key = id_of(suspect.text)
                yield key, suspect.text + GRADCHECK_ADDS.get(key, "")


def subject_of(exercise, solution, run):
    """The case as gradcheck's families look at it."""
    case = run.case
    if exercise.kind is OfLoss:
        subject = Subject(solution(case), case.scores, case.target, 0)
        subject.y, subject.dy = np.asarray(run.right["value"]), np.asarray(case.dvalue, np.float64)
    else:
        subject = Subject(prepare(solution(case), case), case.x, None, 0)
        subject.y, subject.dy = run.right["y"], case.dy
    return subject


def id_of(text):
    """The name for machines of one of gradcheck's sentences."""
    for words, name in GRADCHECK_IDS.items():
        if words in text:
            return name
    return "other"


def left_behind(exercise, solution, name, case):
    """What can be seen from the arrays that a solution leaves behind, where its numbers fit no known mistake."""
    if exercise.kind is OfOptimiser and name == "value":
        lost = untouched_buffers(solution(case), case)
        if lost:
            text = (
                f"{' and '.join(lost)} {'is' if len(lost) == 1 else 'are'} still 0 after a step: `{lost[0]} = ...` "
                f"only gives the name to a new array, and the next step doesn't see that; change what is in the array, "
                f"{lost[0]} *= ... or {lost[0]}[...] = ..."
            )
            return [Diagnosis("memory-lost", name, text)]
    replaced = set()
    if exercise.kind is OfLayer:
        with contextlib.suppress(Exception):  # wrong code may raise when it is used twice: then there is nothing to see
            replaced = replaced_gradients(solution(case), case)
    if name in replaced:
        text = "each product overwrites the one before: the gradient is the sum of all of them, `+=` and not `=`"
        return [Diagnosis("products-overwrite", name, text)]
    return []


def promises_broken(report):
    """A Diagnosis for each promise of a gradcheck report that was not kept."""
    broken = [c for c in report.contracts if not (c.kept or c.is_consequence)]
    return [Diagnosis(PROMISES.get(c.name, "other"), "", c.text) for c in broken]


def without_echoes(diagnosis):
    """Without the remark that a gradient was replaced, where it is wrong on the first use: that is told already."""
    wrong_at_once = any(entry.id in ("products-overwrite", "last-window-only") for entry in diagnosis)
    return [entry for entry in diagnosis if not (wrong_at_once and entry.id == "gradient-replaced")]


# ------------------------------------------------------------------ where is it wrong?


PLAIN = {  # what makes nothing special
    "stride": 1,
    "padding": 0,
    "dilation": 1,
    "output_padding": 0,
    "momentum": 0,
    "weight_decay": 0,
    "the batch size": 1,
    "the mode": "training",
}


def what_they_share(runs):
    """A sentence about what all failing cases have and no right one, such as a stride; "" if there is nothing."""
    failed, passed = [run for run in runs if run.failed], [run for run in runs if not run.failed]
    if not failed or not passed:
        return ""
    for name, plain in PLAIN.items():
        bad, good = ({features(run.case).get(name, plain) for run in group} for group in (failed, passed))
        if plain not in bad and good == {plain}:
            return f"it is wrong where {name} is {listed(bad)}, and right where it is {plain}"
    return ""


def specials(case):
    """How many things make a case special: those in PLAIN, and windows that overlap."""
    overlap = case.arguments.get("kernel_size", 1) > case.arguments.get("stride", 1)
    return overlap + sum(name in PLAIN and value != PLAIN[name] for name, value in features(case).items())


def features(case):
    """What may make a case special."""
    first = case.inputs.get("x")
    batch = {"the batch size": len(first)} if isinstance(first, np.ndarray) and first.ndim else {}
    return case.arguments | batch | {"the mode": "eval" if case.eval else "training"}


def listed(values):
    *most, last = (str(value) for value in sorted(values))
    return f"{', '.join(most)} or {last}" if most else last
