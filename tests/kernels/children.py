"""Python processes of their own, for what depends on the environment or must happen in a fresh process."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(code, *arguments, root=ROOT, **environment):
    """Start Python on a text or the Path of a file with the packages of `root` and the variables of `environment`.

    A variable that is None is taken away.
    """
    variables = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    program = [code] if isinstance(code, Path) else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=root,
        env={name: str(value) for name, value in variables.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """What the process wrote to stdout and to stderr, when it ends without an error."""
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return out.strip(), error


def run(code, *arguments, **options):
    """start and finish."""
    return finish(start(code, *arguments, **options))
