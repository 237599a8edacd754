"""Stepping through a tutorial: with lines given to it, and through a terminal as a reader has it."""

import os
import pickle
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minisegnet.tutorial import shelf, stepper
from minisegnet.tutorial.markdown import BOLD, DIM, PLAIN

ROOT = Path(__file__).parents[2]
SCRIPT = """\
# %% [markdown]
# # Sums
#
# What this is about. More of it.

# %%
import numpy as np

a = 2
print("two is", a)

# %% [markdown]
# ## Further on
#
# Some words.

# %%
def double(x):
    return 2 * x


b = double(a)
x = np.zeros((2, 50))

# %%
raise RuntimeError("on purpose")

# %%
x[0, 0] = 7
print("the end")

# %% [markdown]
# ## Answers
#
# 1. four
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "07_sums.py").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


@pytest.fixture
def step(folder, capsys):
    """A function that steps through the script with given lines: (what it printed, what stands on stderr, prompts)."""

    def run(*lines, size=(80, 60), start=None, **options):
        prompts, left = [], list(lines)

        def ask(prompt):
            prompts.append(prompt)
            if not left:
                raise EOFError
            line = left.pop(0)
            if isinstance(line, BaseException):
                raise line
            return line

        session = stepper.Stepper(shelf.find("7", folder), ask, size=size, **options)
        session.session(start)
        out, errors = capsys.readouterr()
        return out, errors, prompts

    return run


def test_the_first_stop_shows_text_and_code_and_runs_nothing(step):
    out, errors, prompts = step()
    assert not errors
    assert "7 cells" in out
    assert "# Sums\n\nWhat this is about. More of it.\n\n>>> import numpy as np\n\n>>> a = 2\n" in out
    assert "two is 2" not in out
    assert prompts == ["[2 of 7] Enter runs it > "]


def test_enter_runs_the_code_then_tells_what_it_made_then_goes_on(step):
    out, _, prompts = step("")
    assert out.endswith("two is 2\n    a: 2\n\n\nminisegnet tutorial 7 --from 2   comes back to this cell\n")
    assert prompts[-1] == "[2 of 7] Enter goes on > "
    out, _, prompts = step("", "", "")
    assert out.index("    a: 2") < out.index("## Further on") < out.index(">>> def double(x):\n...     return 2 * x")
    assert "    b: 4\n    x: float64 (2, 50), 0 to 0\n" in out
    assert "double:" not in out
    assert prompts[-1] == "[4 of 7] Enter goes on > "


def test_an_error_names_the_line_and_the_session_goes_on(step):
    out, errors, prompts = step(*[""] * 5, "skip", "", "")
    assert not errors
    line = SCRIPT.splitlines().index('raise RuntimeError("on purpose")') + 1
    assert re.search(rf'File ".*07_sums\.py", line {line}, in <module>\n    raise RuntimeError\("on purpose"\)', out)
    assert "stepper.py" not in out
    assert out.index("RuntimeError: on purpose\nEnter runs the cell again") < out.index("\nthe end\n    x: ")
    assert prompts[5] == "[5 of 7] Enter runs it again > "
    assert prompts[6] == "[6 of 7] Enter runs it > "
    assert out[out.index("## Answers") :].startswith("## Answers\n\n1. four\n")
    assert prompts[-1] == "[7 of 7] the end; Enter leaves > "


def test_the_last_enter_leaves(step):
    out, _, prompts = step(*[""] * 5, "skip", *[""] * 3, "never asked for")
    assert len(prompts) == 9
    assert "--from" not in out


RETRY = """\
# %% [markdown]
# # Retry

# %%
runs = 0

# %%
runs += 1
w + 1

# %%
print("after", w)
"""


def test_a_cell_that_failed_is_run_again(folder, step):
    (folder / "07_sums.py").write_text(RETRY, encoding="utf-8")
    out, _, prompts = step("", "", "", "b", "", "", "w = 2", "", "", "", "runs")
    assert [prompt.partition("] ")[2] for prompt in prompts[3:9]] == [
        "Enter runs it again > ",
        "Enter goes on > ",  # the cell before it
        "Enter runs it again > ",
        "Enter runs it again > ",
        "Enter runs it again > ",
        "Enter goes on > ",
    ]
    assert out.count("NameError: name 'w' is not defined") == 2
    assert out.count("`skip` goes on without it") == 2
    assert "after 2\n" in out
    assert out.rstrip().endswith("comes back to this cell")
    assert "\n3\n" in out


def test_again_runs_what_ran(folder, step):
    (folder / "07_sums.py").write_text(RETRY, encoding="utf-8")
    out, _, prompts = step("w = 1", "", "", "", "again", "runs", "del w", "again", "b", "b", "again")
    assert "\n2\n" in out
    assert prompts[5] == "[3 of 4] Enter goes on > "
    assert prompts[8] == "[3 of 4] Enter runs it again > "  # it ran before, but not the last time
    assert "The cell on the screen is text" in out


def test_back_reads_again_and_undoes_nothing(step):
    out, _, prompts = step("", "", "b", "", "", "b", "b", "b", "b", "print('a is', a)")
    assert prompts[3] == "[3 of 7] Enter goes on > "
    assert prompts[4] == "[4 of 7] Enter runs it > "
    assert prompts[5] == "[4 of 7] Enter goes on > "
    assert prompts[-1] == "[1 of 7] Enter goes on > "
    assert out.count("two is 2") == 1
    assert "This is the first cell." in out
    assert "a is 2" in out
    assert step("", "", "b 3")[2][-1] == "[1 of 7] Enter goes on > "
    assert step("", "", "b  2")[2][-1] == "[2 of 7] Enter goes on > "
    assert step("", "", "b 99")[2][-1] == "[1 of 7] Enter goes on > "


def test_going_to_a_cell_runs_what_lies_between_unseen(step):
    out, errors, prompts = step("g 4", "a", "g 1", "g 4", "")
    assert not errors
    assert prompts[1] == "[4 of 7] Enter runs it > "
    assert prompts[3] == "[1 of 7] Enter goes on > "
    assert out.count("running the code before cell 4: cell 2\n") == 1  # what ran isn't run again
    assert "two is 2" not in out
    assert "\n2\n" in out
    assert "    b: 4\n    x: float64 (2, 50), 0 to 0\n" in out
    assert "    a: 2" not in out


def test_the_way_to_a_cell_ends_at_an_error(step):
    out, _, prompts = step("g 7", "skip", "g 7")
    assert "running the code before cell 7: cell 2 4 5\n\n>>> raise RuntimeError" in out
    assert "RuntimeError: on purpose\n" in out
    assert "    b: 4\n" in out
    assert prompts[1] == "[5 of 7] Enter runs it again > "
    assert prompts[3] == "[7 of 7] the end; Enter leaves > "
    assert "the end\n" not in out


@pytest.mark.parametrize("line", ["g", "g 0", "g 8"])
def test_there_is_no_going_to_no_cell(line, step):
    out, errors, prompts = step(line)
    assert "g needs the number of a cell, 1 to 7, such as `g 3`; l lists them." in out
    assert not errors
    assert prompts[0] == prompts[1]


def test_a_session_can_begin_in_the_middle(step):
    out, _, prompts = step("", start=4)
    assert out.startswith(
        "7 cells; Enter goes on, ? helps, q leaves\n\nrunning the code before cell 4: cell 2\n\n>>> def"
    )
    assert "What this is about" not in out
    assert "    b: 4\n    x: " in out
    assert prompts == ["[4 of 7] Enter runs it > ", "[4 of 7] Enter goes on > "]


def test_going_on_from_a_cell_that_ran_does_not_run_it_twice(step):
    out, _, prompts = step("", "b", "", "")
    assert prompts[2:] == ["[1 of 7] Enter goes on > ", "[2 of 7] Enter goes on > ", "[4 of 7] Enter runs it > "]
    assert out.count("two is 2") == 1


def test_a_small_terminal_gets_one_cell_at_a_time(step):
    _, _, prompts = step("", "", size=(80, 8))
    assert prompts == ["[1 of 7] Enter goes on > ", "[2 of 7] Enter runs it > ", "[2 of 7] Enter goes on > "]


def test_the_list_says_what_ran_and_where_one_is(step):
    out, _, _ = step("", "", "l", size=(40, 60))
    listed = [line for line in out.splitlines() if re.match(r"[>+! ] +\d  (text|code)  ", line)]
    assert listed[0] == "   1  text  Sums"
    assert listed[1] == "+  2  code  import numpy as np"
    assert listed[3] == ">  4  code  def double(x):"
    assert listed[4] == '   5  code  raise RuntimeError("on pu...'
    assert len(listed) == 7
    out, _, _ = step(*[""] * 5, "skip", "l")
    assert "\n!  5  code  raise RuntimeError" in out


def test_the_list_has_no_marks(folder, step):
    (folder / "07_sums.py").write_text("# %% [markdown]\n# # Is `w` *right*?\n\n# %%\n# a comment\n", encoding="utf-8")
    out, _, _ = step("l")
    assert "\n   1  text  Is w right?\n>  2  code  # a comment\n" in out


def test_help_names_every_command(step):
    out, _, _ = step("?")
    commands = {line.split()[0] for line in out.splitlines() if re.match(r"\S+( 20)?   +[a-z]", line)}
    assert commands == {"Enter", "b", "g", "again", "skip", "l", "r", "q", "?"}
    assert max(map(len, out.splitlines())) < 80


def test_the_rest_runs_up_to_an_error_and_from_there_to_the_end(step):
    out, _, prompts = step("r", "r", "skip", "r", "b")
    assert out.count("two is 2") == 1
    assert prompts[1] == prompts[2] == "[5 of 7] Enter runs it again > "
    assert prompts[4] == "[7 of 7] the end; Enter leaves > "
    assert prompts[5] == "[6 of 7] Enter goes on > "
    assert "the end\n" in out


@pytest.mark.parametrize("way", ["q", EOFError(), "raise SystemExit"])
def test_leaving(way, step):
    out, errors, prompts = step("", way, "never asked for")
    assert len(prompts) == 2
    assert out.endswith("minisegnet tutorial 7 --from 2   comes back to this cell\n")
    assert not errors


def test_one_ctrl_c_leaves_nothing_and_two_leave(step):
    out, errors, prompts = step(KeyboardInterrupt(), "", KeyboardInterrupt(), KeyboardInterrupt(), "never asked for")
    assert len(prompts) == 4
    assert out.count("Ctrl-C once more leaves; so does q.") == 2
    assert out.count("comes back to this cell") == 1
    assert not errors


@pytest.mark.parametrize("key", [KeyboardInterrupt(), EOFError()])
def test_an_entry_of_several_lines_can_be_dropped(key, step):
    out, errors, prompts = step("", "for k in range(3):", "    print('row', k)", key, "a + 40")
    assert prompts[2:5] == ["... ", "... ", "[2 of 7] Enter goes on > "]
    assert "Dropped what you typed." in out
    assert "row" not in out
    assert "42\n" in out
    assert not errors


def test_python_of_ones_own(step):
    out, errors, _ = step(
        "", "a + 40", "for i in range(2):", "    print('row', i)", "", "1 +", "print(undefined)", "a = 5", "", ""
    )
    assert "42\n" in out
    assert "row 0\nrow 1\n" in out
    assert "SyntaxError" in errors
    assert "NameError: name 'undefined'" in errors
    assert "    b: 10\n" in out  # the tutorial goes on with what was changed


def test_a_mistyped_command_is_no_python_error(step):
    out, errors, _ = step("n", "print", "None")
    assert "There is no command and no variable 'n'; ? helps." in out
    assert "built-in function print" in out
    assert not errors


def test_colour_is_only_for_terminals_that_want_it(step, monkeypatch):
    keys = [*[""] * 5, "skip", "", ""]
    plain, _, _ = step(*keys)
    assert "\033" not in plain
    coloured, _, _ = step(*keys, colour=True)
    assert f"{BOLD}Sums{PLAIN}" in coloured
    assert f"{DIM}    a: 2{PLAIN}" in coloured
    assert re.sub(r"\033\[\d*m", "", coloured).replace(" ", "") == plain.replace("# Sums", "Sums").replace(
        "## ", ""
    ).replace(" ", "")

    class Terminal:
        def isatty(self):
            return True

    for name in ("NO_COLOR", "TERM", "WT_SESSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert stepper.shows_colour(Terminal())
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        assert not stepper.shows_colour(Terminal())
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
    assert not stepper.shows_colour(sys.stdout)


def test_ctrl_c_stops_a_cell_and_not_the_tutorial(folder, step):
    script = "# %% [markdown]\n# # Sums\n\n# %%\nx = 1\nraise KeyboardInterrupt\n\n# %%\ny = 2\nraise SystemExit\n\n"
    script += "# %%\nreturn 3\n"
    (folder / "07_sums.py").write_text(script, encoding="utf-8")
    out, _, prompts = step("", "skip", "", "x, y", "skip", "", "skip")
    assert "Stopped. What this cell did until then stays.\n    x: 1\nEnter runs the cell again" in out
    assert "SystemExit" in out
    assert "(1, 2)" in out
    assert "stepper.py" not in out
    assert "line 13\n    return 3\n" in out
    assert "SyntaxError: 'return' outside function" in out
    assert prompts[1] == prompts[3].replace("3 of 4", "2 of 4") == "[2 of 4] Enter runs it again > "
    assert len(prompts) == 7


def test_a_tutorial_is_the_main_module_while_it_runs(folder, step):
    script = "# %% [markdown]\n# # Sums\n\n# %%\nimport pickle, sys\nclass Mine:\n    pass\n\n"
    script += "print(type(pickle.loads(pickle.dumps(Mine()))) is Mine, __name__, sys.modules['__main__'].__file__)\n"
    (folder / "07_sums.py").write_text(script, encoding="utf-8")
    before = sys.modules["__main__"]
    out, _, _ = step("")
    assert f"True __main__ {folder / '07_sums.py'}\n" in out
    assert sys.modules["__main__"] is before
    assert pickle.loads(pickle.dumps(shelf.Tutorial)) is shelf.Tutorial


def test_running_at_once_waits_for_nothing_and_ends_at_an_error(folder, capsys):
    def never(prompt):
        raise AssertionError(prompt)

    assert not stepper.Stepper(shelf.find("7", folder), never).run()
    out = capsys.readouterr().out
    assert out.endswith("RuntimeError: on purpose\n\n")  # and no word of keys: there is nobody to press them
    (folder / "07_sums.py").write_text(SCRIPT.replace("raise ", ""), encoding="utf-8")
    assert stepper.Stepper(shelf.find("7", folder), never).run()
    assert capsys.readouterr().out.rstrip().endswith("1. four")


# ------------------------------------------------------------------ through a terminal


class Terminal:
    """A process behind a pseudo-terminal."""

    def __init__(self, code, **environment):
        import pty

        self.end, behind = pty.openpty()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
            "LINES": "50",
            "COLUMNS": "80",
        } | environment
        command = [sys.executable, "-W", "error", "-c", code]
        self.process = subprocess.Popen(
            command, stdin=behind, stdout=behind, stderr=behind, env=environment, close_fds=True, start_new_session=True
        )
        os.close(behind)

    def until(self, text, seconds=60):
        """Read until a text appears; returns all that was read on the way."""
        seen, deadline = "", time.monotonic() + seconds
        while text not in seen:
            ready, _, _ = select.select([self.end], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {text!r} within {seconds} s, but {seen!r}"
            try:
                data = os.read(self.end, 65536)
            except OSError:  # how Linux says that the other end is closed
                data = b""
            assert data, f"the process ended before {text!r}: {seen!r}"
            seen += data.decode("utf-8").replace("\r\n", "\n")
        return seen

    def type(self, text):
        os.write(self.end, text.encode("utf-8"))

    def interrupt(self):
        """What the terminal's driver makes of Ctrl-C; once more if nobody heard it between a prompt and its answer."""
        heard = False
        while not heard:
            self.process.send_signal(signal.SIGINT)
            heard, _, _ = select.select([self.end], [], [], 5)

    def leave(self):
        code = self.process.wait(timeout=30)
        os.close(self.end)
        return code


@pytest.fixture
def terminal(folder):
    pytest.importorskip("pty", reason="there are pseudo-terminals on POSIX systems only")
    started = []

    def start(**environment):
        code = (
            "from minisegnet.tutorial import shelf, stepper\n"
            f"stepper.Stepper(shelf.find('7', {str(folder)!r})).session()\nprint('left cleanly')"
        )
        started.append(Terminal(code, **environment))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def test_a_reader_steps_through_a_terminal(terminal):
    one = terminal()
    assert f"{BOLD}Sums{PLAIN}" in one.until("runs it > ")
    one.type("\n")
    assert "two is 2" in one.until("goes on > ")
    one.type("a + 40\n")
    assert "42\n" in one.until("goes on > ")
    for prompt in ("runs it > ", "goes on > ", "runs it > "):
        one.type("\n")
        one.until(prompt)
    one.type("\n")
    assert "RuntimeError: on purpose" in one.until("runs it again > ")
    one.type("for k in range(2):\n")
    one.until("... ")
    one.interrupt()
    assert "Dropped what you typed." in one.until("runs it again > ")
    one.type("skip\n")
    one.until("runs it > ")
    one.type("g 7\n")
    assert "running the code before cell 7: cell" in one.until("Enter leaves > ")
    one.type("q\n")
    one.until("left cleanly")
    assert one.leave() == 0


@pytest.mark.parametrize("key", ["\x04", "\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_a_reader_leaves_by_key(key, terminal):
    one = terminal(NO_COLOR="1")
    assert "\033" not in one.until("runs it > ")
    if key == "\x03":
        one.interrupt()
        assert "Ctrl-C once more leaves" in one.until("runs it > ")
        one.interrupt()
    else:
        one.type(key)
    said = one.until("left cleanly")
    assert "Traceback" not in said
    assert "minisegnet tutorial 7 --from 2 " in said
    assert one.leave() == 0


def test_what_a_cell_prints_appears_while_it_runs(folder, terminal):
    script = "# %% [markdown]\n# # Sums\n\n# %%\nprint('at work')\ninput('your turn: ')\nprint('and on')\n"
    (folder / "07_sums.py").write_text(script, encoding="utf-8")
    one = terminal()
    one.until("runs it > ")
    one.type("\n")
    assert "at work" in one.until("your turn: ")
    one.interrupt()
    assert "Stopped." in one.until("runs it again > ")
    one.type("\n")
    one.until("your turn: ")
    one.type("me\n")
    assert "and on" in one.until("Enter leaves > ")
    one.type("\n")
    one.until("left cleanly")
    assert one.leave() == 0
