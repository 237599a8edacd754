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

    def run(*lines, size=(80, 60), **options):
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
        session.session()
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
    assert out.rstrip().endswith("two is 2\n    a: 2")
    assert prompts[-1] == "[2 of 7] Enter goes on > "
    out, _, prompts = step("", "", "")
    assert out.index("    a: 2") < out.index("## Further on") < out.index(">>> def double(x):\n...     return 2 * x")
    assert "    b: 4\n    x: float64 (2, 50), 0 to 0\n" in out
    assert "double:" not in out
    assert prompts[-1] == "[4 of 7] Enter goes on > "


def test_an_error_names_the_line_and_the_session_goes_on(step):
    out, errors, prompts = step(*[""] * 8)
    assert not errors
    line = SCRIPT.splitlines().index('raise RuntimeError("on purpose")') + 1
    assert re.search(rf'File ".*07_sums\.py", line {line}, in <module>\n    raise RuntimeError\("on purpose"\)', out)
    assert "stepper.py" not in out
    assert out.index("RuntimeError: on purpose\nThe tutorial goes on") < out.index("\nthe end\n    x: ")
    assert out.rstrip().endswith("1. four")
    assert prompts[-1] == "[7 of 7] the end; Enter leaves > "


def test_the_last_enter_leaves(step):
    _, _, prompts = step(*[""] * 9, "never asked for")
    assert len(prompts) == 9


def test_back_reads_again_and_undoes_nothing(step):
    out, _, prompts = step("", "", "b", "", "", "b", "b", "b", "b", "print('a is', a)")
    assert prompts[3] == "[3 of 7] Enter goes on > "
    assert prompts[4] == "[4 of 7] Enter runs it > "
    assert prompts[5] == "[4 of 7] Enter goes on > "
    assert prompts[-1] == "[1 of 7] Enter goes on > "
    assert out.count("two is 2") == 1
    assert "This is the first cell." in out
    assert "a is 2" in out


def test_going_on_from_a_cell_that_ran_does_not_run_it_twice(step):
    out, _, prompts = step("", "b", "", "")
    assert prompts[2:] == ["[1 of 7] Enter goes on > ", "[2 of 7] Enter goes on > ", "[4 of 7] Enter runs it > "]
    assert out.count("two is 2") == 1


def test_a_small_terminal_gets_one_cell_at_a_time(step):
    _, _, prompts = step("", "", size=(80, 8))
    assert prompts == ["[1 of 7] Enter goes on > ", "[2 of 7] Enter runs it > ", "[2 of 7] Enter goes on > "]


def test_the_list_says_what_ran_and_where_one_is(step):
    out, _, _ = step("", "", "l", size=(40, 60))
    listed = [line for line in out.splitlines() if re.match(r"[>+ ] +\d  (text|code)  ", line)]
    assert listed[0] == "   1  text  # Sums"
    assert listed[1] == "+  2  code  import numpy as np"
    assert listed[3] == ">  4  code  def double(x):"
    assert listed[4] == '   5  code  raise RuntimeError("on pu...'
    assert len(listed) == 7


def test_help_names_every_command(step):
    out, _, _ = step("?")
    commands = {line.split()[0] for line in out.splitlines() if re.match(r"(Enter|\S)   +[a-z]", line)}
    assert commands == {"Enter", "b", "l", "r", "q", "?"}


def test_the_rest_runs_up_to_an_error_and_from_there_to_the_end(step):
    out, _, prompts = step("r", "r", "b")
    assert out.count("two is 2") == 1
    assert prompts[1] == "[5 of 7] Enter goes on > "
    assert prompts[2] == "[7 of 7] the end; Enter leaves > "
    assert prompts[3] == "[6 of 7] Enter goes on > "
    assert "the end\n" in out


@pytest.mark.parametrize("way", ["q", EOFError(), KeyboardInterrupt()])
def test_leaving(way, step):
    _, errors, prompts = step("", way, "never asked for")
    assert len(prompts) == 2
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
    plain, _, _ = step(*[""] * 8)
    assert "\033" not in plain
    coloured, _, _ = step(*[""] * 8, colour=True)
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
    out, _, prompts = step("", "", "", "x, y", "", "")
    assert "Stopped. What this cell did until then stays.\n    x: 1\n" in out
    assert "SystemExit" in out
    assert "(1, 2)" in out
    assert "stepper.py" not in out
    assert "line 13\n    return 3\n" in out
    assert "SyntaxError: 'return' outside function" in out
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
    assert "RuntimeError: on purpose" in out
    assert "the end" not in out
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
    assert "RuntimeError: on purpose" in one.until("goes on > ")
    one.type("q\n")
    one.until("left cleanly")
    assert one.leave() == 0


@pytest.mark.parametrize("key", ["\x04", "\x03"], ids=["Ctrl-D", "Ctrl-C"])
def test_a_reader_leaves_by_key(key, terminal):
    one = terminal(NO_COLOR="1")
    assert "\033" not in one.until("runs it > ")
    if key == "\x03":
        one.process.send_signal(signal.SIGINT)  # what the terminal's driver makes of the key
    else:
        one.type(key)
    assert "Traceback" not in one.until("left cleanly")
    assert one.leave() == 0


def test_what_a_cell_prints_appears_while_it_runs(folder, terminal):
    script = "# %% [markdown]\n# # Sums\n\n# %%\nprint('at work')\ninput('your turn: ')\nprint('and on')\n"
    (folder / "07_sums.py").write_text(script, encoding="utf-8")
    one = terminal()
    one.until("runs it > ")
    one.type("\n")
    assert "at work" in one.until("your turn: ")
    one.process.send_signal(signal.SIGINT)
    assert "Stopped." in one.until("Enter leaves > ")
    one.type("\n")
    one.until("left cleanly")
    assert one.leave() == 0
