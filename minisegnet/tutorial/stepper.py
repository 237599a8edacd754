"""Steps through a tutorial in the terminal: a cell of text, a cell of code, what it prints, what it changed."""

import builtins
import code
import contextlib
import io
import keyword
import os
import re
import shutil
import sys
import traceback
import types

from .cells import prompted
from .markdown import BOLD, DIM, PLAIN, plain, render
from .variables import Variables

WIDEST = 100  # characters of a line of text: longer ones are hard to read
HELP = """\
Enter   run the code on the screen, or go on to the next cell
b       back a cell, to read it again; nothing is undone; `b 3` goes back three
g 20    go to cell 20; code on the way to it runs unseen
again   run the code on the screen once more
skip    go on to the next cell without running this one
l       list the cells
r       run all the rest without waiting
q       leave (so do Ctrl-D and two Ctrl-C)
?       this help

Anything else is Python, with all the variables of the tutorial: try `x.shape`
or `help(layers.Conv2d)`. A variable named like a command above is shown by
`print`, such as `print(b)`. Ctrl-C stops code that runs, and drops a line that
isn't complete; the tutorial goes on."""
FAILED = """\
Enter runs the cell again, for example when you have set a variable right;
`skip` goes on without it, but what follows may need what it was to make."""


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
        self.ran = set()  # places of the cells of code that ran to their end when last run
        self.failed = set()  # and of those that didn't
        self.stepping = False  # is a reader there, who can answer?
        self.over = False
        self.commands = {
            "": self.forward,
            "b": self.back,
            "g": self.go,
            "again": self.again,
            "skip": self.skip,
            "l": self.list,
            "r": self.rest,
            "q": self.leave,
            "?": self.help,
        }

    def session(self, start=None):
        """Step through the tutorial, from cell number `start` on, until it is over or the reader leaves."""
        print(self.dim(f"{len(self.cells)} cells; Enter goes on, ? helps, q leaves\n"))
        self.stepping, interrupted = True, False  # the latter: was the last answer Ctrl-C?
        with self.being_main():
            if start is None:
                self.forward()
            else:
                self.go(start)
            while not self.over:
                try:
                    line = self.ask(self.prompt())
                    interrupted = False
                    self.obey(line)
                except KeyboardInterrupt:
                    print()
                    if interrupted:
                        self.leave()
                    else:
                        print("Ctrl-C once more leaves; so does q.\n")
                    interrupted = True
                except (EOFError, SystemExit):  # Ctrl-D, and exit()
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
        self.skip()
        return True

    def skip(self):
        """Show the next cell, and the one after it if the first is its text and both fit on the screen."""
        if self.place + 1 == len(self.cells):
            self.over = True
        else:
            self.place += 1
            self.show()
            following = self.cells[self.place + 1 : self.place + 2]
            if following and self.cells[self.place].kind == "text" and following[0].kind == "code" and self.fits():
                self.place += 1
                self.show()

    def back(self, count=1):
        """Show the cell that stands `count` cells before this one, or the first."""
        if self.place == 0:
            print("This is the first cell.\n")
        elif count > 0:
            self.place = max(0, self.place - count)
            self.show()

    def go(self, number=None):
        """Show the cell of that number, after running what code lies between and hasn't run; its prints are kept back.

        An error ends the way at its cell.
        """
        if number is None or not 1 <= number <= len(self.cells):
            print(f"g needs the number of a cell, 1 to {len(self.cells)}, such as `g 3`; l lists them.\n")
            return
        between = range(max(0, self.place), number - 1)
        missing = [k for k in between if self.cells[k].kind == "code" and k not in self.ran]
        if missing:
            print(self.dim(f"running the code before cell {number}: cell"), end="", flush=True)
        for place in missing:
            print(self.dim(f" {place + 1}"), end="", flush=True)
            with contextlib.redirect_stdout(io.StringIO()) as said:
                error = self.perform(place)
            if error is not None:
                self.place = place
                print("\n")
                self.show()
                print(said.getvalue(), end="")
                self.tell(error)
                return
        if missing:
            print("\n")
            self.variables.changes(self.namespace)  # what the next cell changes is compared with these
        self.place = number - 1
        self.show()

    def again(self):
        """Run the code on the screen, whether or not it ran."""
        if self.cells[self.place].kind == "code":
            self.execute()
        else:
            print("The cell on the screen is text; b goes back to code, `again` runs it once more.\n")

    def rest(self):
        """Show and run all that follows, up to an error; returns whether there was none."""
        while self.waits() or self.place + 1 < len(self.cells):
            if not self.forward():
                return False
        return True

    def list(self):
        for k, cell in enumerate(self.cells):
            first = next(line for line in cell.source.splitlines() if line.strip())
            if cell.kind == "text":
                first = plain(first.lstrip("# "))
            mark = ">" if k == self.place else "+" if k in self.ran else "!" if k in self.failed else " "
            line = f"{mark}{k + 1:3d}  {cell.kind}  {first}"
            print(line if len(line) <= self.width else line[: self.width - 3] + "...")
        print(self.dim("\n> is here, + ran, ! failed\n"))

    def help(self):
        print(f"{HELP}\n")

    def leave(self):
        """End the session, and say how to come back to where it ends."""
        self.over = True
        print(f"minisegnet tutorial {self.tutorial.number} --from {self.place + 1}   comes back to this cell")

    def obey(self, line):
        """Do what a line says: a command, or Python."""
        word = line.strip()
        if word in self.commands:
            self.commands[word]()
        elif numbered := re.fullmatch(r"([bg])\s+(\d+)", word):  # which is no Python
            self.commands[numbered[1]](int(numbered[2]))
        elif word.isidentifier() and not (word in self.namespace or hasattr(builtins, word) or keyword.iskeyword(word)):
            print(f"There is no command and no variable {word!r}; ? helps.\n")
        else:
            while self.python.runsource(line, "<you>"):  # more is to come, as after `for i in x:`
                try:
                    line += "\n" + self.ask("... ")
                except (EOFError, KeyboardInterrupt):
                    print("\nDropped what you typed.")
                    break
            print()

    # ------------------------------------------------------------------ cells

    def waits(self):
        """Whether the cell on the screen is code that hasn't run to its end."""
        return self.place >= 0 and self.cells[self.place].kind == "code" and self.place not in self.ran

    def prompt(self):
        if self.waits():
            what = "Enter runs it again" if self.place in self.failed else "Enter runs it"
        else:
            what = "Enter goes on" if self.place + 1 < len(self.cells) else "the end; Enter leaves"
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
        error = self.perform(self.place)
        self.tell(error)
        return error is None

    def perform(self, place):
        """Run a cell of code; returns the exception that ended it, or None."""
        cell = self.cells[place]
        try:
            # as many empty lines before it that errors name the lines of the script
            exec(compile("\n" * (cell.line - 1) + cell.source, str(self.tutorial.path), "exec"), self.namespace)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self.failed.add(place)
            self.ran.discard(place)
            return error
        self.ran.add(place)
        self.failed.discard(place)
        return None

    def tell(self, error):
        """What the code on the screen has done: the error that ended it, if one did, and what it changed."""
        if error is not None:
            self.complain(error)
        changes = self.variables.changes(self.namespace)
        if changes:
            print(self.dim("\n".join(f"    {line}" for line in changes)))
        if error is not None and self.stepping:
            print(FAILED)
        print()

    def complain(self, error):
        """What went wrong, from the tutorial's own line on."""
        if isinstance(error, KeyboardInterrupt):
            print("\nStopped. What this cell did until then stays.")
            return
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename != str(self.tutorial.path):
            trace = trace.tb_next
        print("".join(traceback.format_exception(type(error), error, trace)), end="")

    def bold(self, text):
        return f"{BOLD}{text}{PLAIN}" if self.colour and text else text

    def dim(self, text):
        return f"{DIM}{text}{PLAIN}" if self.colour and text else text


def shows_colour(stream):
    """Whether a stream is a terminal that knows bold, and nobody asked for plain text (see https://no-color.org)."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or "WT_SESSION" in os.environ or "TERM" in os.environ
