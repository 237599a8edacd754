"""The command line: `minisegnet COMMAND`, or `python -m minisegnet COMMAND`.

Exit codes: 0 done; 1 something is wrong, and a message on stderr says what; 2 wrong arguments; 128 + n stopped by
signal n, so 130 after Ctrl-C.
"""

import argparse
import contextlib
import os
import sys

from ._version import __version__
from .commands import bench, data, demo, eval, exercise, explain, info, predict, prune, train, tutorial


def main(arguments=None):
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()  # what can't be written must be noticed here, not when Python ends
        return code
    except KeyboardInterrupt:
        complain("\nminisegnet: stopped")
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, MemoryError) as error:
        complain(f"minisegnet {options.command}: {str(error) or type(error).__name__}")
        return 1
    except RuntimeError as error:
        number = getattr(error, "signal", None)
        if number is None and not getattr(error, "expected", False):
            raise
        complain(f"minisegnet {options.command}: {error}")
        return 1 if number is None else 128 + number


def complain(text):
    """Write a message to stderr, if that is still there: where the terminal was closed, the exit code must do."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """A parser that answers wrong arguments in one line; the list of all options would push it out of sight."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")

    def parse_known_args(self, args=None, namespace=None):
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:  # said here, as the whole parser doesn't know which command's help has the right ones
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def parser():
    """All commands and their options."""
    top = Parser(prog="minisegnet", description="Learn backpropagation by watching it learn to segment images.")
    top.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in (demo, tutorial, exercise, train, eval, predict, explain, data, prune, bench, info):
        command.add(commands)
    return top
