"""`minisegnet exercise list`, `start` and `check`."""

import argparse
import contextlib

TEXT = """Backward passes to write, and layers with real bugs to repair. `list` shows all of them, `start` writes the
file of one, with the forward pass and what is to be filled in, and `check` says what is right, what is wrong, and
why."""

CHECK = """Checks a file that `start` wrote: small cases worked out by hand, many shapes beside the framework, finite
differences. Shows the numbers that are wrong, names the likely mistake, and gives hints, if asked, in three steps. Of
what is right it compares the speed with the framework's.

The file is run as it is, with all that you may do, in a process of its own that ends after a time limit. That is no
cage: to grade files of people whom you don't trust, use a container or another machine. With --all every .py file in a
folder and below it is checked, one after the other; --json prints one line for each file, with the exercise, whether
it passed, each part with its errors, the diagnosis, the hints that were shown, the time, and a hash of the solution in
which comments and layout don't count.

exit codes: 0 all right, 1 wrong or not filled in, 2 can't be checked (and none is wrong)"""


def add(commands):
    parser = commands.add_parser(
        "exercise", help="write a backward pass yourself, or find a bug, and have it checked", description=TEXT
    )
    kinds = parser.add_subparsers(title="what to do", metavar="WHAT", dest="exercise", required=True)
    kinds.add_parser("list", help="all exercises in order", description="Lists all exercises.").set_defaults(
        run=show_list
    )
    add_start(kinds)
    add_check(kinds)


def add_start(kinds):
    start = kinds.add_parser(
        "start",
        help="write the file of an exercise",
        description="Writes the file of an exercise into the current folder. A file that is there is never "
        "overwritten, unless --force says so.",
    )
    start.add_argument("name", metavar="NAME", help="such as conv2d; `minisegnet exercise list` shows all")
    start.add_argument("-o", "--out", metavar="FILE", help="the file to write (default: NAME.py), or a folder for it")
    start.add_argument("--force", action="store_true", help="overwrite a file that is there")
    start.set_defaults(run=start_one)


def add_check(kinds):
    from .common import positive

    check = kinds.add_parser(
        "check",
        help="check what you have written",
        description=CHECK,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("file", nargs="?", metavar="FILE", help="the file to check")
    check.add_argument(
        "--hint", type=int, choices=(1, 2, 3), default=0, help="1 the idea, 2 the formula, 3 nearly the code"
    )
    check.add_argument("--json", action="store_true", help="print one line of JSON for each file")
    check.add_argument("--all", metavar="DIR", help="check all .py files in a folder and below it")
    check.add_argument("--time-limit", type=positive, default=30, metavar="SECONDS", help="for each file (default: 30)")
    check.set_defaults(run=check_files)


def show_list(options):
    import sys

    from ..exercise.overview import exercise_list
    from ..exercise.paint import paint_for

    print(exercise_list(paint_for(sys.stdout)))
    return 0


def start_one(options):
    from ..exercise.catalogue import find
    from ..exercise.layout import quoted
    from ..exercise.starting import start

    exercise = find(options.name)
    path = start(exercise, options.out, options.force)
    print(f"{path}   {exercise.title}   (tutorial {exercise.tutorial})")
    print(f"Read its top, fill it in, then: minisegnet exercise check {quoted(path)}")
    return 0


def check_files(options):
    import sys

    from ..exercise import grading, overview, show
    from ..exercise.catalogue import find
    from ..exercise.paint import never_fail, paint_for
    from ..exercise.trouble import Unchecked

    if (options.file is None) == (options.all is None):
        raise ValueError("name one FILE to check, or a folder with --all DIR")
    single, results = options.all is None, []
    try:
        paths = [options.file] if single else grading.files_in(options.all)
    except Unchecked as error:
        print(f"minisegnet exercise: {error}", file=sys.stderr)
        return 2
    never_fail(sys.stdout)
    paint = paint_for(sys.stdout)
    for path in paths:
        results.append(grading.grade(path, options.time_limit))
        if options.json:
            print(grading.as_json(results[-1], options.hint), flush=True)
        elif single:
            print(show.result_text(results[-1], options.hint, paint), flush=True)
    if not single and not options.json:
        print(overview.summary_text(results, paint))
    if single and not options.json and results[0].passed and find(results[0].exercise).speed:
        with waiting("measuring speed (at first, kernels are compiled) ..."):
            speed = grading.measure(results[0])
        print("\n" + show.speed_text(speed) if speed else "", end="\n" if speed else "")
    return grading.exit_code(results)


@contextlib.contextmanager
def waiting(text):
    """Says what is being done; on a terminal only for as long as it takes."""
    import sys

    terminal = sys.stderr.isatty()
    print(text, end="" if terminal else "\n", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if terminal:
            print("\r" + " " * len(text), end="\r", file=sys.stderr, flush=True)
