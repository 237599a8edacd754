"""Every tutorial runs, and so does the code in the README."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))


def test_there_are_tutorials():
    assert TUTORIALS


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(path, tmp_path):
    done = run([str(path)], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "gradcheck of" not in done.stdout or "FAILED" not in done.stdout
    assert not list(tmp_path.iterdir()), "a tutorial left files behind"


def test_code_in_the_readme_runs_piece_by_piece():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    outputs = []
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.S):
        done = run(["-c", code])
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    training, watching, checking = outputs
    assert 0 < float(training) < 0.5
    assert watching.count("forward") == watching.count("backward") == 8
    promised = re.search(r"^    (-> .*)$", text, flags=re.M)[1]
    assert promised in checking, "the README promises another diagnosis than gradcheck gives"


def test_links_in_the_documents_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert target.startswith("http") or (ROOT / target).exists(), f"{name}: {target}"


def run(arguments, cwd=None):
    """Python in a process of its own, with warnings as errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8")
