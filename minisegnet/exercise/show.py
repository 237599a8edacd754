"""A Result and the hints as text for people."""

import textwrap

import numpy as np

from .arrays import block, number, side_by_side
from .catalogue import EXERCISES
from .checking import BORROWED, EMPTY, RIGHT, UNCHECKED, WRONG
from .layout import aligned, quoted, width, wrap
from .mistakes import same
from .paint import Paint, plain

# ------------------------------------------------------------------ one result


def result_text(result, hint=0, paint=None):
    """All that is to be said about one Result; hint: 0 to 3."""
    paint = paint or Paint(False)
    exercise = EXERCISES.get(result.exercise)
    title = f"   {exercise.name}: {exercise.title}" if exercise else ""
    if len(result.file + title) > width():
        title = "\n" + wrap(title.strip())
    parts = [paint.bold(result.file) + title]
    if hint and result.status in (EMPTY, WRONG):
        told = wrap(in_brief(result, exercise))
        return "\n\n".join([*parts, told, hints_text(exercise, wrong_part(result, exercise), hint, paint)])
    parts += {
        UNCHECKED: unchecked,
        EMPTY: empty,
        WRONG: wrong,
        BORROWED: borrowed,
        RIGHT: right,
    }[result.status](result, exercise, paint)
    if result.printed.strip():
        parts.append(
            "What your code printed in the first small case:\n" + textwrap.indent(result.printed.rstrip(), "  | ")
        )
    if hint and exercise and not result.passed:
        parts.append(hints_text(exercise, wrong_part(result, exercise), hint, paint))
    elif result.status in (EMPTY, WRONG):
        parts.append(f"Stuck? {paint.bold(f'minisegnet exercise check {quoted(result.file)} --hint 1')}")
        parts[-1] += "   (then 2, then 3)" if len(plain(parts[-1])) + 17 <= width() else "\n       (then 2, then 3)"
    return "\n\n".join(part for part in parts if part)


def in_brief(result, exercise):
    """One sentence about a Result that isn't right."""
    if result.status == EMPTY:
        return f"Not filled in yet ({place(result)})."
    if result.message:
        return f"Not right yet: {first_line(result)}"
    if exercise.is_bug and result.as_found:
        return "The bug is still in it."
    failed = {part.name for part in result.parts if part.failed}
    names = list(dict.fromkeys(part.name for part in result.parts))
    wrong, good = ([name for name in names if (name in failed) == bad] for bad in (True, False))
    said = [f"{', '.join(group)} {word}" for group, word in ((wrong, "wrong"), (good, "right")) if group]
    return f"Not right yet: {'; '.join(said)}."


def place(result):
    """Where the exercise is that has not been filled in: "line 36, in backward"."""
    return result.message.splitlines()[0].rstrip(":")


def first_line(result):
    """What the message about a Result begins with, in one line: the place, and what was raised there."""
    first, *more = result.message.removeprefix(f"{result.file}, ").removeprefix(f"{result.file} ").splitlines()
    return f"{first} {more[1].strip()}" if first.endswith(":") and len(more) > 1 else first


def unchecked(result, exercise, paint):
    return [paint.red("  It can't be checked."), wrap(result.message)]


def empty(result, exercise, paint):
    lines = ["  " + paint.yellow("Not filled in yet") + f" ({place(result)})."]
    lines.append(wrap(f"Begin here: {exercise.first}") if exercise.first else "")
    return [
        *lines,
        wrap(
            "The formula and the shapes are at the top of the file. Replace the line `raise "
            "NotImplementedError(...)` with your code, then check again: nothing can break."
        ),
    ]


def wrong(result, exercise, paint):
    verdict = "The bug is still in it." if exercise.is_bug and result.as_found else "Not right yet."
    parts = ["  " + paint.red(verdict)]
    if result.message:
        told = [diagnosis_text(entry, paint) for entry in result.diagnosis if not entry.id.startswith("raises-")]
        return [*parts, wrap(result.message), example_text(result, exercise, paint), "\n".join(told)]
    parts += [stage_table(result, paint), gradcheck_table(result, paint), example_text(result, exercise, paint)]
    parts.append(wrap(result.shared[0].upper() + result.shared[1:] + ".") if result.shared else "")
    if result.diagnosis and not (exercise.is_bug and result.as_found):
        parts.append("\n".join(diagnosis_text(entry, paint) for entry in result.diagnosis))
    elif not exercise.is_bug:
        parts.append(
            wrap(
                "It fits none of the mistakes that are known here. Take the small case above: which number "
                "comes out too large or too small, and in which steps does your code touch it?"
            )
        )
    return parts


def borrowed(result, exercise, paint):
    lenders = " and ".join(result.borrowed)
    return [
        "  " + paint.yellow("The numbers are right") + f", but {lenders} computed them.",
        wrap(
            "That is how one builds nets. But here the sums themselves are the exercise: nobody else can do them for "
            f"you. Write backward with loops or NumPy; {lenders} may check it afterwards, under "
            '`if __name__ == "__main__"`.'
        ),
    ]


def right(result, exercise, paint):
    count = sum(part.cases for part in result.parts if part.stage != "gradcheck" and part.name == result.parts[0].name)
    verdict = "Repaired." if exercise.is_bug else "Right!"
    parts = ["  " + paint.green(verdict) + f" {count} cases, by hand and of many shapes, in {result.seconds:.1f} s."]
    parts += [gradcheck_table(result, paint), *(wrap("Note: " + note) for note in result.notes)]
    if exercise.is_bug:
        parts += [wrap(exercise.story.text), wrap("Read more: " + "; ".join(exercise.story.sources))]
    after = f"Compare with ours: {exercise.source}"
    return [*parts, wrap((exercise.done + "\n" if exercise.done else "") + after)]


# ------------------------------------------------------------------ parts of it


def stage_table(result, paint):
    """Which results were right in which stage."""
    names = list(dict.fromkeys(part.name for part in result.parts))
    cells = {(part.stage, part.name): part for part in result.parts if part.stage != "gradcheck"}
    stages = list(dict.fromkeys(stage for stage, _ in cells))
    rows = [["", *names]]
    for stage in stages:
        row = [stage]
        for name in names:
            part = cells.get((stage, name))
            row.append("" if part is None else f"{part.failed} of {part.cases} wrong" if part.failed else "right")
        rows.append(row)
    return aligned(rows, lambda cell: paint.red(cell) if cell.strip().endswith("wrong") else cell)


def gradcheck_table(result, paint):
    """gradcheck's rows, narrow."""
    if not result.table:
        return ""
    places = ["worst at", "yours", "numeric"] if any(row["failed"] for row in result.table) else []
    rows = [["", "entries", "wrong", "rel. error", *places]]
    for row in result.table:
        worst = row["worst"] if places else []
        rows.append([row["name"], str(row["checked"]), str(row["failed"]), f"{row['error']:.0e}", *worst])
    return f"{wrap(f'gradcheck, on {result.table_case}:')}\n{aligned(rows, lambda cell: cell)}"


def example_text(result, exercise, paint):
    """The first case that is wrong, with all its numbers."""
    found = result.example
    if not found:
        return ""
    kind = "By hand" if found["by_hand"] else "A case that is wrong"
    kind = f"Before that, another case was wrong. {kind}" if result.message else kind
    lines = [wrap(f"{kind}: {found['label']}"), ""]
    small = {name: value for name, value in found["inputs"].items() if np.size(value) <= LARGEST}
    first = exercise.kind.first_axis
    lines += side_by_side([block(name, value, first=first) for name, value in small.items()], plain)
    for name, expected in found["expected"].items():
        yours = found["yours"][name]
        if np.size(expected) > LARGEST:
            lines += ["", f"    {name} is too large to show: see the worst entry above"]
            continue
        blocks = [block(f"{name} expected", expected, first=first)]
        if yours is None or np.shape(yours) != np.shape(expected):
            got = "no array" if yours is None else f"of shape {np.shape(yours)} instead of {np.shape(expected)}"
            blocks.append([f"{name} yours", f" {got}"])
        else:
            blocks.append(block(f"{name} yours", yours, differs(yours, expected), paint.red, first))
        lines += ["", *side_by_side(blocks, plain)]
    text = "\n".join(lines)
    whys = [f"Why {name}: {found['because'][name]}" for name in found["expected"] if name in found["because"]]
    return "\n\n".join([text, *(wrap(why, "    ", "      ") for why in whys)])


LARGEST = 64  # numbers in an array that is shown


def differs(yours, expected):
    """Where two arrays of one shape are different."""
    a, b = np.asarray(yours, float), np.asarray(expected, float)
    return np.array([not same(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True)], bool).reshape(a.shape)


def diagnosis_text(entry, paint):
    where = f"Likely, in {entry.of}: " if entry.of else "Likely: "
    end = "" if entry.text.endswith(".") else "."
    return wrap(where + entry.text + end, "  ", "    ").replace(where, paint.bold(where), 1)


def speed_text(speed):
    """Yours beside ours."""
    yours, ours = speed["yours"], speed["ours"]
    text = f"Speed, backward of {speed['case']}: yours {duration(yours)}, ours {duration(ours)}"
    if yours < 1.5 * ours:
        return wrap(f"{text}. Not bad: at this size there is little left to win.")
    times = number(float(f"{yours / ours:.1g}"))
    return wrap(f"{text}; ours is about {times} times as fast. Tutorial 12_making_it_fast says how.")


def duration(seconds):
    """A time for people.

    >>> duration(0.0412), duration(3.21), duration(2.5e-5)
    ('41 ms', '3.2 s', '0.025 ms')
    """
    if seconds >= 1:
        return f"{seconds:.1f} s"
    return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.0f} ms"


# ------------------------------------------------------------------ hints


def wrong_part(result, exercise):
    """The result to give hints for: the first wrong one, in the order in which to write them."""
    failed = {part.name for part in result.parts if part.failed}
    return next((name for name in exercise.hints if name in failed), next(iter(exercise.hints)))


STEPS = "the idea", "the formula", "nearly the code"


def hints_text(exercise, name, level, paint):
    """The hints for one result, up to a level."""
    titles = ("where to look", "what is wrong", "the repair") if exercise.is_bug else STEPS
    lines = [paint.bold(f"Hints for {name}")]
    for i, (title, text) in enumerate(zip(titles, exercise.hints[name], strict=True), 1):
        if i <= level:
            shown = textwrap.indent(text, "       ") if i == 3 and "\n" in text else wrap(text, "     ")
            lines.append(f"  {i}  {paint.bold(title)}\n{shown}")
    if level < 3:
        lines.append(f"  (more: --hint {level + 1})")
    return "\n".join(lines)
