"""`minisegnet exercise` as a whole: files, exit codes, text and JSON; and what only a process of its own survives."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from exercise_solutions import SOLUTIONS, filled

import minisegnet
from minisegnet.cli import main
from minisegnet.exercise import grading, overview, show, speed
from minisegnet.exercise.arrays import block, side_by_side
from minisegnet.exercise.catalogue import EXERCISES, ORDER
from minisegnet.exercise.checking import Result, check_file
from minisegnet.exercise.exercise import Case
from minisegnet.exercise.layout import width
from minisegnet.exercise.paint import Paint, paint_for, plain


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(name, body, file=None):
    file = file or EXERCISES[name].file_name
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(filled(name, body))
    return file


@pytest.fixture
def in_process(monkeypatch):
    """Check without a process for each file, which takes a second each."""
    monkeypatch.setattr(grading, "grade", lambda path, seconds: check_file(path))
    monkeypatch.setattr(grading, "measure", lambda result: None)


# ------------------------------------------------------------------ list and start


def test_the_list_shows_everything_in_narrow_lines(capsys):
    assert main(["exercise", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if re.match(r"  \S", line)]
    assert [row[0] for row in rows] == [exercise.name for exercise in ORDER]
    assert all(row[1] in ("*", "**", "***") and row[2] == EXERCISES[row[0]].tutorial[:2] for row in rows)
    assert max(map(len, lines)) <= 80
    assert [e.is_bug for e in ORDER] == sorted(e.is_bug for e in ORDER)


def test_the_list_is_as_wide_as_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["exercise", "list"]) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 60
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["exercise", "list"]) == 0
    wide = capsys.readouterr().out
    assert narrow.split() == wide.split()
    assert 60 < max(map(len, wide.splitlines())) <= 96


def test_prose_is_as_wide_as_the_terminal(folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = show.result_text(check_file(put("conv2d", SOLUTIONS["conv2d"].replace("dw[o] +=", "dw[o] ="))))
    prose = [line for line in text.splitlines() if re.search(r"[a-z] [a-z]+ [a-z]+ [a-z]", line)]
    assert len(prose) >= 5
    assert max(map(len, prose)) <= 60


def test_start_writes_a_file_and_never_overwrites(folder, capsys):
    assert main(["exercise", "start", "max-pool"]) == 0
    assert "minisegnet exercise check max_pool.py" in capsys.readouterr().out
    text = (folder / "max_pool.py").read_text(encoding="utf-8")
    assert 'EXERCISE = "max-pool"' in text
    assert "noqa" not in text
    (folder / "max_pool.py").write_text("mine", encoding="utf-8")
    assert main(["exercise", "start", "max-pool"]) == 1
    assert "max_pool.py is there already and may hold your work" in capsys.readouterr().err
    assert (folder / "max_pool.py").read_text(encoding="utf-8") == "mine"
    assert main(["exercise", "start", "max-pool", "--force"]) == 0
    assert (folder / "max_pool.py").read_text(encoding="utf-8") == text


def test_start_under_another_name_or_in_a_folder(folder, capsys):
    (folder / "week1").mkdir()
    assert main(["exercise", "start", "relu", "-o", "mine.py"]) == 0
    assert "exercise check mine.py --hint 1" in (folder / "mine.py").read_text(encoding="utf-8")
    assert main(["exercise", "start", "relu", "-o", "week1"]) == 0
    assert (folder / "week1" / "relu.py").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["start", "conv"], 1, "there is no exercise 'conv'; do you mean"),
        (["check"], 1, "name one FILE to check, or a folder with --all DIR"),
        (["check", "a.py", "--all", "."], 1, "name one FILE to check, or a folder with --all DIR"),
    ],
)
def test_wrong_arguments_are_explained(arguments, code, text, folder, capsys):
    assert main(["exercise", *arguments]) == code
    assert text in capsys.readouterr().err


def test_the_help_warns_of_foreign_code(capsys):
    with pytest.raises(SystemExit):
        main(["exercise", "check", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "That is no cage" in text
    assert "exit codes: 0 all right, 1 wrong or not filled in, 2 can't be checked" in text


# ------------------------------------------------------------------ check


def test_exit_codes(folder, in_process, capsys):
    assert main(["exercise", "check", put("relu", SOLUTIONS["relu"])]) == 0
    assert main(["exercise", "check", put("relu", "return dy")]) == 1
    assert main(["exercise", "check", put("relu", "return (dy")]) == 2
    assert main(["exercise", "check", "nothing.py"]) == 2
    assert "there is no file nothing.py" in capsys.readouterr().out


def test_a_name_without_py_is_understood(folder, in_process, capsys):
    put("max-pool", SOLUTIONS["max-pool"])
    assert main(["exercise", "check", "max-pool"]) == 2
    assert "there is no file max-pool; do you mean max_pool.py?" in " ".join(capsys.readouterr().out.split())


def test_a_name_with_a_space_is_quoted(folder, in_process, capsys):
    assert main(["exercise", "start", "relu", "-o", "weird name.py"]) == 0
    assert 'minisegnet exercise check "weird name.py"\n' in capsys.readouterr().out
    assert 'exercise check "weird name.py" --hint 1' in (folder / "weird name.py").read_text(encoding="utf-8")
    main(["exercise", "check", "weird name.py"])
    assert 'Stuck? minisegnet exercise check "weird name.py" --hint 1' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("self.bias.grad += dy.sum(axis=0)\nreturn dy @ w", "Not right yet: dweight wrong; y, dx, dbias right."),
        ("raise NotImplementedError()", "Not filled in yet (line 49, in backward)."),
        ("return dy @ wrong", "Not right yet: line 49, in backward: NameError: name 'wrong' is not defined"),
    ],
)
def test_with_a_hint_the_report_is_one_line(body, line, folder, in_process, capsys):
    main(["exercise", "check", put("linear", body), "--hint", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].strip() == line
    assert lines[4].startswith("Hints for ")
    assert "Stuck?" not in lines[-1]


def test_hints_come_one_after_the_other(folder, in_process, capsys):
    file = put("linear", "self.bias.grad += dy.sum(axis=0)\nreturn dy @ w")
    hints = EXERCISES["linear"].hints["dweight"]  # dbias is right already, so it is the next one to write
    for level in (1, 2, 3):
        main(["exercise", "check", file, "--hint", str(level)])
        text = " ".join(capsys.readouterr().out.split())
        assert "Hints for dweight" in text
        shown = [" ".join(hint.split()) in text for hint in hints]
        assert shown == [True] * level + [False] * (3 - level)
        assert (f"--hint {level + 1}" in text) is (level < 3)


def test_hints_for_a_file_that_is_empty(folder, in_process, capsys):
    main(["exercise", "start", "conv2d"])
    main(["exercise", "check", "conv2d.py", "--hint", "1"])
    assert "Hints for dbias" in capsys.readouterr().out


def test_json_is_one_line_for_each_file(folder, in_process, capsys):
    put("relu", SOLUTIONS["relu"], "alice.py")
    put("relu", "return dy * (dy > 0)", "bob.py")
    put("conv2d", "return dy * w * None", "carol.py")
    (folder / "notes.py").write_text("x = 1", encoding="utf-8")
    (folder / ".hidden.py").write_text("x = 1", encoding="utf-8")
    assert main(["exercise", "check", "--all", ".", "--json", "--hint", "2"]) == 1
    found = {row["file"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert sorted(found) == ["alice.py", "bob.py", "carol.py", "notes.py"]
    alice, bob, carol, notes = (found[name] for name in sorted(found))
    assert (alice["passed"], alice["status"], alice["exercise"]) == (True, "right", "relu")
    assert (bob["passed"], bob["diagnosis"][0]["id"], bob["diagnosis"][0]["of"]) == (False, "mask-from-dy", "dx")
    wrong = next(part for part in bob["parts"] if part["stage"] == "many shapes" and part["name"] == "dx")
    assert 1 < wrong["failed"] <= wrong["cases"] == 6
    assert wrong["max_abs"] > 0
    assert carol["diagnosis"][0]["id"] == "raises-TypeError"
    assert (notes["status"], notes["passed"]) == ("unchecked", False)
    assert alice["hints"] == 2
    assert alice["seconds"] > 0
    assert len({row["solution"] for row in found.values()}) == 4


def test_a_folder_as_a_table(folder, in_process, capsys):
    put("relu", SOLUTIONS["relu"], "alice.py")
    put("relu", SOLUTIONS["relu"], "bob.py")
    put("sigmoid", "raise NotImplementedError()", "carol.py")
    assert main(["exercise", "check", "--all", "."]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["alice.py", "relu", "right"]
    assert lines[3].split()[:3] == ["carol.py", "sigmoid", "empty"]
    assert lines[3].endswith("not filled in (line 35, in backward)")
    assert lines[-2:] == ["2 of 3 right", "the same solution: alice.py, bob.py"]


def test_a_table_says_what_is_wrong(folder, in_process, capsys):
    put("conv2d", SOLUTIONS["conv2d"].replace("(d * window).sum(axis=0)", "(d * window)[0]"), "alice.py")
    put("relu", "return (dy", "bob.py")
    (folder / "notes.py").write_text("x = 1", encoding="utf-8")
    put("relu", "return dy[9]", "zoe.py")
    assert main(["exercise", "check", "--all", "."]) == 1
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[1].split() == ["alice.py", "conv2d", "wrong", "first-image-only"]
    assert lines[2].endswith("line 36: Python can't read this: '(' was never closed")
    assert "does not say which exercise it is" in lines[3]
    assert "line 36, in backward: IndexError: index 9 is out of bounds" in lines[4]
    assert "first-image-only: only the first image counts: dw is the sum over the batch" in " ".join(text.split())


def test_a_folder_without_files(folder, capsys):
    assert main(["exercise", "check", "--all", "nowhere"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    assert main(["exercise", "check", "--all", "."]) == 2
    assert "there are no .py files in ." in capsys.readouterr().err


def test_the_exit_code_of_many():
    right, wrong, broken = Result("a", status="right"), Result("b", status="wrong"), Result("c", status="unchecked")
    assert grading.exit_code([right, right]) == 0
    assert grading.exit_code([right, broken]) == 2
    assert grading.exit_code([broken, wrong, right]) == 1
    assert grading.exit_code([]) == 0


def test_infinite_errors_are_null_in_json():
    result = Result("a", notes=[float("inf"), {"x": float("nan")}])
    assert json.loads(grading.as_json(result, 0))["notes"] == [None, {"x": None}]


# ------------------------------------------------------------------ in a process of its own


def test_an_endless_loop_is_stopped_and_its_line_told(folder):
    result = grading.grade(put("relu", "n = 0\nwhile True:\n    n += 1"), seconds=1)
    assert result.status == "unchecked"
    assert result.message.startswith("relu.py was still busy after 1 seconds, in line 3")
    assert "a loop that never ends?" in result.message


def test_a_crash_is_told_with_its_line(folder):
    result = grading.grade(put("relu", "import faulthandler\nfaulthandler._sigsegv()"))
    assert result.status == "unchecked"
    assert result.message.startswith("relu.py crashed Python")
    assert "in line 37:\n    faulthandler._sigsegv()" in result.message


def test_a_file_that_ends_the_program(folder):
    result = grading.grade(put("relu", "import os\nos._exit(0)"))
    assert result.message == "relu.py ended the program before it could be checked (os._exit?)"


def test_a_file_with_a_module_of_its_own_beside_it(folder):
    (folder / "my_gate.py").write_text("def gate(x):\n    return x > 0\n", encoding="utf-8")
    result = grading.grade(put("relu", "from my_gate import gate\nreturn dy * gate(x)"))
    assert (result.status, result.message) == ("right", "")


def test_modules_of_the_standard_library_are_not_hidden_by_files_beside_it(folder):
    (folder / "json.py").write_text("raise SystemExit('this is not the json you want')", encoding="utf-8")
    assert grading.grade(put("relu", SOLUTIONS["relu"])).passed


def test_the_file_itself_can_be_run(folder):
    put("relu", "return dy")
    root = os.path.dirname(os.path.dirname(minisegnet.__file__))
    done = subprocess.run(
        [sys.executable, "relu.py"],
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 1
    assert "the mask is missing" in done.stdout
    assert done.stderr == ""


def test_speeds_are_compared(folder, capsys):
    assert main(["exercise", "check", put("linear", SOLUTIONS["linear"])]) == 0
    printed = capsys.readouterr()
    text = " ".join(printed.out.split())
    assert "Right!" in text
    assert printed.err == "measuring speed (at first, kernels are compiled) ...\n"
    assert re.search(r"Speed, backward of 64 samples, 512 inputs, 256 outputs: yours \S+ ms, ours \S+ ms", text)
    assert grading.measure(Result(put("relu", SOLUTIONS["relu"]), "relu")) is None


def test_a_slow_solution_is_measured_once(monkeypatch):
    class Slow:
        def astype(self, dtype):
            return self

        def forward(self, x):
            return x, ()

        def backward(self, dy, saved):
            calls.append(1)
            clock[0] += 1.5

    calls, clock = [], [0.0]
    monkeypatch.setattr(speed, "prepare", lambda layer, case: layer)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
    case = Case("", {"x": np.ones(2), "dy": np.ones(2)})
    assert speed.seconds(Slow(), case, speed.LONG) == 1.5
    assert len(calls) == 1
    speed.seconds(Slow(), case)  # ours, which may compile in the first pass
    assert len(calls) == 3


def test_speeds_are_told():
    slow = show.speed_text({"case": "one picture", "yours": 0.041, "ours": 0.0003})
    assert " ".join(slow.split()) == (
        "Speed, backward of one picture: yours 41 ms, ours 0.3 ms; ours is about 100 times as fast. "
        "Tutorial 12_making_it_fast says how."
    )
    assert "Not bad: at this size" in show.speed_text({"case": "x", "yours": 0.01, "ours": 0.01})


# ------------------------------------------------------------------ text


def test_no_line_is_too_wide(folder):
    results = [check_file(exercise.template) for exercise in ORDER if exercise.is_bug]
    results.append(check_file(put("conv2d", SOLUTIONS["conv2d"].replace("d * w[o]", "d * w[o, :, ::-1, ::-1]"))))
    for result in results:
        result.file = "file.py"
        for line in show.result_text(result, hint=3).splitlines()[1:]:  # the first one is a title
            assert len(line) <= 100, line


def test_colour_only_on_a_terminal_and_never_with_no_color():
    class Stream:
        def __init__(self, terminal):
            self.terminal = terminal

        def isatty(self):
            return self.terminal

    known = {"TERM": "xterm", "WT_SESSION": "1"}
    assert paint_for(Stream(True), known).on
    assert not paint_for(Stream(False), known).on
    assert not paint_for(Stream(True), known | {"NO_COLOR": "1"}).on
    assert not paint_for(Stream(True), known | {"TERM": "dumb"}).on


def test_colour_changes_no_text(folder):
    result = check_file(put("relu", "return dy"))
    assert "\x1b[31m" in show.result_text(result, 0, Paint(True))
    for hint in (0, 1):
        assert plain(show.result_text(result, hint, Paint(True))) == show.result_text(result, hint)
    assert plain(overview.exercise_list(Paint(True))) == overview.exercise_list()


def test_arrays_side_by_side():
    left, right = block("a", [[1.0, 2.5]]), block("b", [[[[1.0]], [[2.0]]]], [[[[True]], [[False]]]])
    assert side_by_side([left, right], indent="") == [
        "a              b",
        "    1   2.5     [0,0]",
        "                [1]",
        "                [0,1]",
        "                 2",
    ]
    wide = block("c", [[0.123456] * 8])
    assert max(map(len, side_by_side([wide, wide]))) <= width()
