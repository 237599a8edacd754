"""The list of exercises, and the results of a whole folder, as text for people."""

from .catalogue import ORDER
from .checking import BORROWED, EMPTY, RIGHT, UNCHECKED, WRONG
from .paint import Paint


def exercise_list(paint=None):
    """All exercises in order: name, stars, number of the tutorial, subject."""
    paint = paint or Paint(False)
    width = max(len(exercise.name) for exercise in ORDER)
    lines = []
    for title, bugs in ((WRITE, False), (GALLERY, True)):
        lines += [paint.bold(title), ""]
        for exercise in (e for e in ORDER if e.is_bug == bugs):
            stars, tutorial = paint.yellow(("*" * exercise.stars).ljust(3)), paint.dim(exercise.tutorial[:2])
            lines.append(f"  {exercise.name.ljust(width)}  {stars}  {tutorial}  {exercise.title}")
        lines.append("")
    return "\n".join([*lines, NEXT_FROM_LIST])


WRITE = "Write the backward pass   (name, difficulty, tutorial, subject)"
GALLERY = "The gallery: find the bug   (each of them stood in a framework or a net that many people used)"
NEXT_FROM_LIST = """Begin one:        minisegnet exercise start relu
Check it:         minisegnet exercise check relu.py       (--hint 1, 2, 3 if you are stuck)
Read before it:   minisegnet tutorial 4                   (the number in the third column)

If you know no better, go from top to bottom."""


def summary_text(results, paint=None):
    """One line for each file, how many are right, and which solutions are the same."""
    paint = paint or Paint(False)
    colours = {RIGHT: paint.green, WRONG: paint.red, UNCHECKED: paint.red, EMPTY: paint.yellow, BORROWED: paint.yellow}
    rows = [["file", "exercise", "result", "what"]]
    for result in results:
        what = ", ".join(dict.fromkeys(entry.id for entry in result.diagnosis)) or ", ".join(result.borrowed)
        rows.append([result.file, result.exercise, result.status, what])
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for row in rows:
        file, exercise, status = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        lines.append("  ".join([file, exercise, colours.get(row[2], str)(status), row[3]]).rstrip())
    lines += ["", f"{sum(result.passed for result in results)} of {len(results)} right"]
    return "\n".join(lines + [f"the same solution: {', '.join(files)}" for files in twins(results)])


def twins(results):
    """The files of each solution that came more than once; what nobody has touched doesn't count."""
    by_hash = {}
    for result in results:
        if result.status != EMPTY and not result.as_found:
            by_hash.setdefault((result.exercise, result.solution), []).append(result.file)
    return [files for files in by_hash.values() if len(files) > 1]
