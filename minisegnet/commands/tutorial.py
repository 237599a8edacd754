"""`minisegnet tutorial`."""

import shutil
import sys
import textwrap
from pathlib import Path


def add(commands):
    parser = commands.add_parser(
        "tutorial",
        help="list the tutorials, step through one, or make a notebook of it",
        description="Without a name it lists the tutorials. With one it steps through that tutorial here: text, code, "
        "what the code prints, which variables it changed; at each stop you may type Python of your own.",
    )
    parser.add_argument("name", nargs="?", metavar="TUTORIAL", help="its number, its name, or a part of its name")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--from", dest="start", type=int, metavar="CELL", help="step on from that cell; the code before it runs unseen"
    )
    ways.add_argument("--run", dest="at_once", action="store_true", help="show and run all of it without waiting")
    ways.add_argument(
        "--notebook", nargs="?", const="", metavar="FILE", help="write a Jupyter notebook (default: NAME.ipynb here)"
    )
    ways.add_argument("--script", metavar="FILE", help="write a copy of the script, to change it")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    parser.set_defaults(run=run)


def run(options):
    from ..tutorial.shelf import find

    if options.name is None:
        named = (options.start, options.notebook, options.script)
        if options.at_once or options.force or any(option is not None for option in named):
            raise ValueError("say which tutorial before the option, such as `minisegnet tutorial 2 --run`")
        show_list()
        return 0
    tutorial = find(options.name)
    if options.notebook is not None:
        from ..tutorial.notebook import notebook

        path = write(options.notebook, f"{tutorial.path.stem}.ipynb", notebook(tutorial.cells), options.force)
        print(f'{path}: open it with `jupyter lab {path}`, which `pip install -e ".[tutorials]"` brings')
        return 0
    if options.script is not None:
        text = tutorial.path.read_text(encoding="utf-8")
        path = write(options.script, tutorial.path.name, text, options.force)
        print(f"{path}: run it with `python {path}`")
        return 0
    return step(tutorial, options.at_once, options.start)


def show_list():
    """Number, title and first sentence of each tutorial."""
    from ..tutorial.shelf import tutorials

    width = min(100, shutil.get_terminal_size().columns)
    for tutorial in tutorials():
        print(f"{tutorial.number:2d}  {tutorial.title}")
        print(textwrap.fill(tutorial.summary, width, initial_indent="    ", subsequent_indent="    "))
    print("\nminisegnet tutorial 0              step through one here; any number, or a part of a title")
    print("minisegnet tutorial 0 --from 12    step on from cell 12; the code before it runs unseen")
    print("minisegnet tutorial 0 --notebook   make a Jupyter notebook of it")
    print("minisegnet tutorial 0 --script F   copy the script to F, to change it")


def step(tutorial, at_once, start):
    """Run a tutorial at once, or step through it, from cell `start` on if that isn't None; returns the exit code."""
    from ..tutorial.stepper import Stepper

    if at_once:
        return 0 if Stepper(tutorial).run() else 1
    if not sys.stdin.isatty():
        raise ValueError(
            f"stepping through {tutorial.path.stem} waits for Enter, and there is no terminal to type it in; "
            f"`minisegnet tutorial {tutorial.number} --run` runs it without waiting"
        )
    if start is not None and not 1 <= start <= len(tutorial.cells):
        raise ValueError(f"--from must be a cell of {tutorial.path.stem}, 1 to {len(tutorial.cells)}, got {start}")
    Stepper(tutorial).session(start)
    return 0


def write(target, name, text, force):
    """Write a file, named NAME if the target is empty or a folder; returns its path. Nothing is replaced unasked."""
    from ..files import atomic_write

    path = Path(target or name)
    if path.is_dir():
        path = path / name
    if path.suffix != Path(name).suffix:
        raise ValueError(f"the file must end in {Path(name).suffix}, got {path}")
    if path.exists() and not force:
        raise FileExistsError(f"{path} is there already, perhaps with your changes; --force replaces it")
    atomic_write(path, text)
    return path
