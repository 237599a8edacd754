"""Steps through a tutorial in the terminal: a cell of text, a cell of code, what it prints, what it changed."""

import builtins
import code
import contextlib
import keyword
import os
import shutil
import sys
import traceback
import types

from .cells import prompted
from .markdown import BOLD, DIM, PLAIN, render
from .variables import Variables

WIDEST = 100  # characters of a line of text: longer ones are hard to read
HELP = """\
Enter   run the code on the screen, or go on to the next cell
b       back a cell, to read it again; nothing is undone
l       list the cells
r       run all the rest without waiting
q       leave (so do Ctrl-C and Ctrl-D)
?       this help

Anything else is Python, with all the variables of the tutorial: try `x.shape` or `help(layers.Conv2d)`.
A variable named like a letter above is shown by `print`, such as `print(b)`. Ctrl-C while code runs stops
that code and not the tutorial."""


class Stepper:
    """One session with a tutorial.

    Parameters
        tutorial: as `shelf.find` returns it
        ask: asks with a prompt and returns a line, or raises EOFError or KeyboardInterrupt to leave; without it, input
        colour: whether the terminal knows bold and dim
        size: (columns, lines) of the terminal; without it, that of the terminal
    """

    def __init__(self, tutorial, ask=None, colour=None, size=None):
        columns, self.lines = size or shutil.get_terminal_size()
        self.width = max(20, min(columns, WIDEST))
        self.tutorial, self.cells, self.ask = tutorial, tutorial.cells, ask or input
        self.colour = shows_colour(sys.stdout) if colour is None else colour
        self.module = types.ModuleType("__main__", doc=None)
        self.module.__file__ = str(tutorial.path)
        self.namespace = self.module.__dict__
        self.python = code.InteractiveInterpreter(self.namespace)
        self.variables = Variables()
        self.place = -1  # of the cell on the screen
        self.ran = set()  # places of the cells of code that ran
        self.over = False
        self.commands = {
            "": self.forward,
            "b": self.back,
            "l": self.list,
            "r": self.rest,
            "q": self.leave,
            "?": self.help,
        }

    def session(self):
        """Step through the tutorial until it is over or the reader leaves."""
        print(self.dim(f"{len(self.cells)} cells; Enter goes on, ? helps, q leaves\n"))
        with self.being_main():
            self.forward()
            while not self.over:
                try:
                    self.obey(self.ask(self.prompt()))
                except (EOFError, KeyboardInterrupt):
                    print()
                    self.leave()

    def run(self):
        """Show and run everything without waiting; returns whether all went well."""
        with self.being_main():
            return self.rest()

    @contextlib.contextmanager
    def being_main(self):
        """The tutorial is Python's main module, as if run as a script: processes that its code starts look there."""
        main = sys.modules["__main__"]
        sys.modules["__main__"] = self.module
        try:
            yield
        finally:
            sys.modules["__main__"] = main

    # ------------------------------------------------------------------ commands

    def forward(self):
        """Run the code on the screen, or show the next cell; returns False if an error came up."""
        if self.waits():
            return self.execute()
        if self.place + 1 == len(self.cells):
            self.over = True
        else:
            self.place += 1
            self.show()
            following = self.cells[self.place + 1 : self.place + 2]
            if following and self.cells[self.place].kind == "text" and following[0].kind == "code" and self.fits():
                self.place += 1
                self.show()
        return True

    def back(self):
        if self.place == 0:
            print("This is the first cell.\n")
            return
        self.place -= 1
        self.show()

    def rest(self):
        """Show and run all that follows, up to an error; returns whether there was none."""
        while self.waits() or self.place + 1 < len(self.cells):
            if not self.forward():
                return False
        return True

    def list(self):
        for k, cell in enumerate(self.cells):
            first = next(line for line in cell.source.splitlines() if line.strip())
            mark = ">" if k == self.place else "+" if k in self.ran else " "
            line = f"{mark}{k + 1:3d}  {cell.kind}  {first}"
            print(line if len(line) <= self.width else line[: self.width - 3] + "...")
        print(self.dim("\n> is here, + ran\n"))

    def help(self):
        print(f"{HELP}\n")

    def leave(self):
        self.over = True

    def obey(self, line):
        """Do what a line says: a command, or Python."""
        word = line.strip()
        if word in self.commands:
            self.commands[word]()
        elif word.isidentifier() and not (word in self.namespace or hasattr(builtins, word) or keyword.iskeyword(word)):
            print(f"There is no command and no variable {word!r}; ? helps.\n")
        else:
            while self.python.runsource(line, "<you>"):  # more is to come, as after `for i in x:`
                line += "\n" + self.ask("... ")
            print()

    # ------------------------------------------------------------------ cells

    def waits(self):
        """Whether the cell on the screen is code that hasn't run."""
        return self.place >= 0 and self.cells[self.place].kind == "code" and self.place not in self.ran

    def prompt(self):
        what = "Enter runs it" if self.waits() else "Enter goes on"
        if not self.waits() and self.place + 1 == len(self.cells):
            what = "the end; Enter leaves"
        return f"[{self.place + 1} of {len(self.cells)}] {what} > "

    def show(self):
        print(self.rendered(self.place), end="\n\n")

    def rendered(self, place):
        """A cell as it is shown."""
        cell = self.cells[place]
        if cell.kind == "text":
            return render(cell.source, self.width, self.colour)
        lines = prompted(cell.source).splitlines()
        return "\n".join(self.dim(line[:3]) + self.bold(line[3:]) for line in lines)

    def fits(self):
        """Whether this cell and the next fit on the screen together, with the line of the prompt."""
        together = f"{self.rendered(self.place)}\n\n{self.rendered(self.place + 1)}"
        return together.count("\n") + 3 <= self.lines

    def execute(self):
        """Run the code on the screen; returns whether it ran to its end. What it prints appears at once."""
        cell, path = self.cells[self.place], str(self.tutorial.path)
        self.ran.add(self.place)
        try:
            # as many empty lines before it that errors name the lines of the script
            exec(compile("\n" * (cell.line - 1) + cell.source, path, "exec"), self.namespace)
            error = None
        except (Exception, SystemExit, KeyboardInterrupt) as caught:
            error = caught
        if error is not None:
            self.complain(error, path)
        changes = self.variables.changes(self.namespace)
        if changes:
            print(self.dim("\n".join(f"    {line}" for line in changes)))
        print()
        return error is None

    def complain(self, error, path):
        """What went wrong, from the tutorial's own line on."""
        if isinstance(error, KeyboardInterrupt):
            print("\nStopped. What this cell did until then stays.")
            return
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != path:
            trace = trace.tb_next
        print("".join(traceback.format_exception(type(error), error, trace)), end="")
        print("The tutorial goes on, but what follows may need what this cell was to make.")

    def bold(self, text):
        return f"{BOLD}{text}{PLAIN}" if self.colour and text else text

    def dim(self, text):
        return f"{DIM}{text}{PLAIN}" if self.colour and text else text


def shows_colour(stream):
    """Whether a stream is a terminal that knows bold, and nobody asked for plain text (see https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or "WT_SESSION" in os.environ or "TERM" in os.environ
