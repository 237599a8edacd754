"""What a run says while it goes on: lines on stdout, and a bar on stderr if that is a terminal.

A run outlives those who listen to it. Once a line can't be written (the reader of a pipe has ended, the terminal was
closed, the disk that a log goes to is full), the run goes on in silence: its folder has all of it.
"""

import contextlib
import os
import sys

from tqdm import tqdm


class Progress:
    """The voice of a run; with quiet=True it has none."""

    def __init__(self, quiet=False):
        self.quiet = quiet
        self.bar = None

    @contextlib.contextmanager
    def steps(self, total, done):
        """Within the block a bar shows how many of `total` steps are done."""
        disable = True if self.quiet else None  # None: unless stderr is a terminal
        self.bar = tqdm(total=total, initial=done, unit="step", disable=disable, dynamic_ncols=True)
        try:
            yield
        finally:
            with self.outliving(sys.stderr):
                self.bar.close()

    def step(self, description, postfix):
        """One more step is done."""
        with self.outliving(sys.stderr):
            self.bar.set_description_str(description + ": ", refresh=False)
            self.bar.set_postfix_str(postfix, refresh=False)
            self.bar.update()

    def now(self, description):
        """Show what takes place that is no step."""
        with self.outliving(sys.stderr):
            self.bar.set_description(description)

    def say(self, text):
        """Write a line, at once, above the bar if there is one."""
        if not self.quiet:
            with self.outliving(sys.stdout), tqdm.external_write_mode():
                print(text, flush=True)

    @contextlib.contextmanager
    def outliving(self, stream):
        """Within the block an error of a stream ends the talking, not the run."""
        try:
            yield
        except OSError as error:
            self.quiet = True
            if self.bar is not None:
                self.bar.disable = True
            discard(stream)
            if stream is not sys.stderr:
                with contextlib.suppress(OSError):
                    print(f"nothing can be written to the output any more ({error}); the run goes on", file=sys.stderr)


def discard(stream):
    """From now on, whatever is written to a stream vanishes; so does what it holds back, else Python's exit fails."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
