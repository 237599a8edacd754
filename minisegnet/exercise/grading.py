"""Checks files in processes of their own: what never ends, crashes or ends the program harms nobody."""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import minisegnet

from . import loading
from .catalogue import EXERCISES
from .checking import UNCHECKED, Part, Result
from .diagnosis import Diagnosis
from .trouble import Unchecked

SECONDS = 30  # for a check
SPEED_SECONDS = 60  # for a comparison of speeds, before which kernels may have to be compiled
GRACE = 20  # for starting and ending Python
SKIPPED = {"__pycache__", "node_modules", "site-packages"}


def grade(path, seconds=SECONDS):
    """The Result of checking one file in another process, which gets that many seconds.

    The file's code runs with all that the caller may do: this is no cage for hostile code.
    """
    result = Result(str(path))
    try:
        text = loading.read(path)
        result.solution = loading.fingerprint(text)
        result.exercise = loading.exercise_of(text, path).name
        loading.parse(text, path)
    except Unchecked as error:
        result.message = str(error)
        return result
    answer, ended, stack = work("check", path, seconds)
    if answer is None:
        result.message = why_no_answer(ended, stack, path, text, seconds)
        return result
    answer["parts"] = [Part(**part) for part in answer["parts"]]
    answer["diagnosis"] = [Diagnosis(**entry) for entry in answer["diagnosis"]]
    return Result(**answer)


def measure(result):
    """{"case", "yours", "ours"} of a right solution, or None where there is nothing to win, or it takes too long."""
    return work("speed", result.file, SPEED_SECONDS)[0] if EXERCISES[result.exercise].speed else None


def work(what, path, seconds):
    """(the worker's answer or None, how it ended, the stack that it left)."""
    with tempfile.TemporaryDirectory(prefix="minisegnet-") as folder:
        answer, stack = Path(folder) / "answer.json", Path(folder) / "stack.txt"
        ended = start_worker([what, str(path), str(answer), str(stack), str(seconds)], seconds + GRACE)
        found = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None
        left = stack.read_text(encoding="utf-8", errors="replace") if stack.exists() else ""
    return found, ended, left


def start_worker(arguments, seconds):
    """Run the worker; returns (exit code, the end of its stderr), None as the code if it had to be killed."""
    root = str(Path(minisegnet.__file__).parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-B", "-m", "minisegnet.exercise.worker", *arguments]
    try:
        done = subprocess.run(
            command,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stderr.decode("utf-8", "replace").strip()


def why_no_answer(ended, stack, path, text, seconds):
    """A sentence about a worker that left no answer: out of time, crashed, killed."""
    code, stderr = ended
    line = last_line(stack, path)
    lines = text.splitlines()
    place = f", in line {line}:\n    {lines[line - 1].strip()}" if line and line <= len(lines) else ""
    if code is None or "Timeout" in stack:
        hint = "a loop that never ends? (--time-limit gives it more seconds)"
        return f"{path} was still busy after {seconds:g} seconds{place or '.'}\n{hint}"
    if re.search("Fatal Python error|Windows fatal exception", stack) or code < 0:
        signal = f" (signal {-code})" if code < 0 else ""
        memory = "; signal 9 often means that memory ran out" if code == -9 else ""
        return f"{path} crashed Python{signal}{memory}{place}"
    if code == 0 or not stderr:
        return f"{path} ended the program before it could be checked (os._exit?)"
    return f"{path} could not be checked: {stderr.splitlines()[-1]}"


def last_line(stack, path):
    """The innermost line of the file in a stack that faulthandler wrote; None if it is not in there."""
    found = re.search(rf'File "[^"\n]*{re.escape(Path(path).name)}", line (\d+)', stack)
    return int(found[1]) if found else None


def files_in(folder):
    """All Python files in a folder and below it, by name; hidden ones are left out. Unchecked if there are none."""
    if not Path(folder).is_dir():
        raise Unchecked(f"there is no folder {folder}")
    found = sorted(
        path
        for path in Path(folder).rglob("*.py")
        if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise Unchecked(f"there are no .py files in {folder}")
    return found


def as_json(result, hint):
    """One line of JSON for a program that grades."""
    found = dataclasses.asdict(result)
    found["passed"], found["hints"] = result.passed, hint
    for name in ("table", "table_case", "example"):
        del found[name]
    return json.dumps(without_infinities(found))


def without_infinities(value):
    """The same with None for numbers that JSON doesn't have."""
    if isinstance(value, dict):
        return {key: without_infinities(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_infinities(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def exit_code(results):
    """0 if all are right, 1 if one is wrong, 2 if one can't be checked and none is wrong."""
    codes = {2 if result.status == UNCHECKED else int(not result.passed) for result in results}
    return 1 if 1 in codes else max(codes, default=0)


def check_this_file(path):
    """What `python conv2d.py` does: check the file itself, with the exit code of `minisegnet exercise check`."""
    from ..cli import main

    sys.exit(main(["exercise", "check", str(path)]))
