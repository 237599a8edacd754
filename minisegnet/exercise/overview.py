"""The list of exercises, and the results of a whole folder, as text for people."""

from .catalogue import ORDER
from .checking import BORROWED, EMPTY, RIGHT, UNCHECKED, WRONG
from .layout import wrap
from .paint import Paint, plain
from .show import first_line, place


def exercise_list(paint=None):
    """All exercises in order: name, stars, number of the tutorial, subject."""
    paint = paint or Paint(False)
    longest = max(len(exercise.name) for exercise in ORDER)
    lines = []
    for title, bugs in ((WRITE, False), (GALLERY, True)):
        lines += [paint.bold(wrap(title, "")), ""]
        for exercise in (e for e in ORDER if e.is_bug == bugs):
            stars, tutorial = paint.yellow(("*" * exercise.stars).ljust(3)), paint.dim(exercise.tutorial[:2])
            begin = f"  {exercise.name.ljust(longest)}  {stars}  {tutorial}  "
            lines.append(hanging(begin, exercise.title))
        lines.append("")
    lines += [hanging(begin.ljust(18), text) for begin, text in NEXT_FROM_LIST]
    return "\n".join([*lines, "", wrap("If you know no better, go from top to bottom.", "")])


def hanging(begin, text):
    """`text` behind `begin`, its further lines below its first one."""
    space = " " * len(plain(begin))
    return begin + wrap(text, space)[len(space) :]


WRITE = "Write the backward pass   (name, difficulty, tutorial, subject)"
GALLERY = "The gallery: find the bug   (each of them stood in a framework or a net that many people used)"
NEXT_FROM_LIST = (
    ("Begin one:", "minisegnet exercise start relu"),
    ("Check it:", "minisegnet exercise check relu.py (with --hint 1, 2, 3 if you are stuck)"),
    ("Read before it:", "minisegnet tutorial 4 (the number in the third column)"),
)


def summary_text(results, paint=None):
    """One line for each file, what its codes mean, how many are right, and which solutions are the same."""
    paint = paint or Paint(False)
    colours = {RIGHT: paint.green, WRONG: paint.red, UNCHECKED: paint.red, EMPTY: paint.yellow, BORROWED: paint.yellow}
    rows = [["file", "exercise", "result", "what"]]
    for result in results:
        rows.append([result.file, result.exercise, result.status, what(result)])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for row in rows:
        file, exercise, status = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join([file, exercise, colours.get(row[2], str)(status), row[3]]).rstrip())
    told = [entry for result in results if not result.message for entry in result.diagnosis]
    meaning = {entry.id: entry.text for entry in reversed(told)}  # the first file that has a mistake explains it
    lines += [""] if meaning else []
    lines += [hanging(f"{key}:  ", text) for key, text in reversed(meaning.items())]
    lines += ["", f"{sum(result.passed for result in results)} of {len(results)} right"]
    return "\n".join(lines + [f"the same solution: {', '.join(files)}" for files in twins(results)])


def what(result):
    """What is to be said of one file in a table: codes of mistakes, or what stands in the way."""
    if result.status == EMPTY:
        return f"not filled in ({place(result)})"
    if result.message:
        return first_line(result)
    return ", ".join(dict.fromkeys(entry.id for entry in result.diagnosis) or result.borrowed)


def twins(results):
    """The files of each solution that came more than once; what nobody has touched doesn't count."""
    by_hash = {}
    for result in results:
        if result.status != EMPTY and not result.as_found:
            by_hash.setdefault((result.exercise, result.solution), []).append(result.file)
    return [files for files in by_hash.values() if len(files) > 1]
