"""Every tutorial has the form of the course, runs as a script and as a notebook; the code in the README runs too."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minisegnet.tutorial import shelf
from minisegnet.tutorial.notebook import notebook

ROOT = Path(__file__).parents[2]
TUTORIALS = shelf.tutorials(ROOT / "tutorials")
LONGEST = 30  # lines of code in a cell, without comments and empty ones: more don't fit on a screen

each = pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda tutorial: tutorial.path.stem)


def pictures_of(tutorial):
    """The names of the pictures that a tutorial shows, as they stand in its code."""
    calls = [node for node in ast.walk(ast.parse(tutorial.path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    shown = [call for call in calls if ast.unparse(call.func) == "draw.show"]
    assert all(isinstance(call.args[1], ast.Constant) for call in shown), "write the name of a picture as it is"
    return [call.args[1].value for call in shown]


def sections(tutorial):
    """{heading: text below it} of the headings ##."""
    text = "\n\n".join(cell.source for cell in tutorial.cells if cell.kind == "text")
    parts = re.split(r"^## (.*)$", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def numbered(text):
    return re.findall(r"^(\d)\. ", text, flags=re.M)


# ------------------------------------------------------------------ form


def test_tutorials_are_numbered_and_begin_with_0():
    numbers = [tutorial.number for tutorial in TUTORIALS]
    assert numbers[0] == 0
    assert len(set(numbers)) == len(numbers)
    assert len(TUTORIALS) == len(list((ROOT / "tutorials").glob("*.py"))), "a tutorial is called NN_topic.py"


@each
def test_it_opens_with_what_one_will_know(tutorial):
    assert tutorial.title
    assert len(tutorial.summary.split()) >= 5
    assert [cell.source for cell in tutorial.cells if cell.source.startswith("# ") and cell.kind == "text"] == [
        tutorial.cells[0].source
    ], "a tutorial has one title, and it comes first"


@each
def test_it_ends_with_things_to_try_and_questions_with_answers(tutorial):
    parts = sections(tutorial)
    assert list(parts)[-3:] == ["Try", "Check yourself", "Answers"]
    assert numbered(parts["Try"]) == ["1", "2", "3"]
    questions = numbered(parts["Check yourself"])
    assert questions in (["1", "2"], ["1", "2", "3"])
    assert numbered(parts["Answers"]) == questions
    last = tutorial.cells[-1]
    assert (last.kind, last.source.partition("\n")[0]) == ("text", "## Answers"), "answers have a cell of their own"


@each
def test_no_cell_of_code_is_longer_than_a_screen(tutorial):
    for cell in tutorial.cells:
        if cell.kind == "code":
            lines = sum(bool(line.strip()) for line in cell.source.splitlines() if not line.startswith("#"))
            assert lines <= LONGEST, f"{tutorial.path.name}, line {cell.line}: {lines} lines"


@each
def test_its_pictures_begin_with_its_number(tutorial):
    names = pictures_of(tutorial)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(rf"{tutorial.path.stem[:2]}_\w+", name) for name in names), names


def test_what_tutorials_and_layers_point_to_is_there():
    for tutorial in TUTORIALS:
        text = "\n".join(cell.source for cell in tutorial.cells if cell.kind == "text")
        for target in re.findall(r"`((?:minisegnet|kernels|tutorials|tests)/[\w./]*)`", text):
            assert (ROOT / target).exists(), f"{tutorial.path.name} points to {target}"


# ------------------------------------------------------------------ running


@each
def test_it_runs_as_a_script(tutorial, tmp_path):
    (tmp_path / "empty").mkdir()
    pictures = tmp_path / "pictures"
    done = run([str(tutorial.path)], cwd=tmp_path / "empty", MINISEGNET_PICTURES=str(pictures))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list((tmp_path / "empty").iterdir()), "a tutorial left files behind"
    names = pictures_of(tutorial)
    assert sorted(path.name for path in pictures.glob("*")) == sorted(f"{name}.png" for name in names)
    for name in names:
        with Image.open(pictures / f"{name}.png") as image:
            pixels = np.array(image.convert("L"))
        assert min(pixels.shape) >= 150, f"{name} is small: {pixels.shape}"
        assert pixels.std() > 3, f"{name} is blank"


@pytest.mark.slow
@each
def test_it_runs_as_a_notebook(tutorial, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="needed for notebooks: pip install 'minisegnet[test]'")
    nbclient = pytest.importorskip("nbclient", reason="needed to run notebooks: pip install 'minisegnet[test]'")
    pytest.importorskip("ipykernel", reason="needed to run notebooks: pip install 'minisegnet[test]'")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    made = nbformat.reads(notebook(tutorial.cells), as_version=4)
    nbclient.NotebookClient(made, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in made.cells for output in cell.get("outputs", [])]
    assert any(output.output_type == "stream" for output in outputs)
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(shown) == len(pictures_of(tutorial))
    assert not list(tmp_path.iterdir()), "a notebook shows its pictures in itself"


# ------------------------------------------------------------------ documents


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


def run(arguments, cwd=None, **variables):
    """Python in a process of its own, with warnings as errors."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | variables
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8")
