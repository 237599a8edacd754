"""`minisegnet tutorial`: the list, running, notebooks and scripts, and what it says when something is wrong."""

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from minisegnet.cli import main
from minisegnet.tutorial import shelf, stepper

ROOT = Path(__file__).parents[2]
SCRIPT = """\
# %% [markdown]
# # Sums
#
# You will know sums. And more.

# %%
print("two is", 1 + 1)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, and two small tutorials in place of the real ones."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "00_sums.py").write_text(SCRIPT, encoding="utf-8")
    (scripts / "13_products.py").write_text(SCRIPT.replace("Sums", "Products → ×"), encoding="utf-8")
    monkeypatch.setattr(shelf, "CLONE", scripts)
    monkeypatch.setattr(shelf, "INSTALLED", tmp_path / "nothing")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def fails(arguments, capsys):
    """What the command says on stderr, with nothing on stdout."""
    assert main(["tutorial", *arguments]) == 1
    out, errors = capsys.readouterr()
    assert not out
    assert errors.startswith("minisegnet tutorial: ")
    return errors.removeprefix("minisegnet tutorial: ")


def test_the_list(here, capsys):
    assert main(["tutorial"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(" 0  Sums\n    You will know sums.\n13  Products → ×\n    You will know sums.\n\n")
    assert "minisegnet tutorial 0 --notebook" in out


def test_the_real_tutorials_are_found(capsys):
    assert main(["tutorial"]) == 0
    assert " 0  Build a U-Net" in capsys.readouterr().out
    assert shelf.find("0").path.samefile(ROOT / "tutorials" / "00_build_a_unet.py")


def test_run_shows_everything_and_waits_for_nothing(here, capsys):
    assert main(["tutorial", "sums", "--run"]) == 0
    assert capsys.readouterr().out == (
        '# Sums\n\nYou will know sums. And more.\n\n>>> print("two is", 1 + 1)\n\ntwo is 2\n\n'
    )


def test_run_fails_with_the_code_that_fails(here, capsys):
    (shelf.CLONE / "00_sums.py").write_text(SCRIPT + "1 / 0\n", encoding="utf-8")
    assert main(["tutorial", "0", "--run"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_stepping_needs_a_terminal(here, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert fails(["13"], capsys) == (
        "stepping through 13_products waits for Enter, and there is no terminal to type it in; "
        "`minisegnet tutorial 13 --run` runs it without waiting\n"
    )


def test_stepping_in_a_terminal(here, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    lines = iter(["r", "q"])
    monkeypatch.setattr(stepper, "input", lambda prompt: next(lines), raising=False)
    assert main(["tutorial", "0"]) == 0
    assert "two is 2" in capsys.readouterr().out
    lines = iter(["q"])
    assert main(["tutorial", "0", "--from", "2"]) == 0
    out = capsys.readouterr().out
    assert "You will know sums" not in out
    assert '>>> print("two is", 1 + 1)\n\nminisegnet tutorial 0 --from 2   comes back' in out
    for start in ("0", "3"):
        message = f"--from must be a cell of 00_sums, 1 to 2, got {start}\n"
        assert fails(["0", "--from", start], capsys) == message


def test_a_notebook_beside_one(here, capsys):
    assert main(["tutorial", "0", "--notebook"]) == 0
    assert capsys.readouterr().out.startswith("00_sums.ipynb: open it with `jupyter lab 00_sums.ipynb`")
    advice = 'pip install -e ".[tutorials]"'
    assert main(["tutorial", "0", "--notebook", "--force"]) == 0
    assert advice in capsys.readouterr().out
    assert advice in (ROOT / "README.md").read_text(encoding="utf-8")
    made = json.loads((here / "00_sums.ipynb").read_text(encoding="utf-8"))
    assert ["".join(cell["source"]) for cell in made["cells"]] == [
        "# Sums\n\nYou will know sums. And more.",
        'print("two is", 1 + 1)',
    ]
    assert main(["tutorial", "13", "--notebook", "mine.ipynb"]) == 0
    assert "→ ×" in (here / "mine.ipynb").read_text(encoding="utf-8")


def test_a_script_of_ones_own(here, capsys):
    assert main(["tutorial", "13", "--script", "mine.py"]) == 0
    assert capsys.readouterr().out == "mine.py: run it with `python mine.py`\n"
    assert (here / "mine.py").read_bytes() == (shelf.CLONE / "13_products.py").read_bytes()
    assert main(["tutorial", "13", "--script", str(here)]) == 0
    assert (here / "13_products.py").exists()


@pytest.mark.parametrize(("way", "name"), [("--notebook", "mine.ipynb"), ("--script", "mine.py")])
def test_nothing_is_replaced_unasked(way, name, here, capsys):
    (here / name).write_text("precious", encoding="utf-8")
    message = f"{name} is there already, perhaps with your changes; --force replaces it\n"
    assert fails(["0", way, name], capsys) == message
    assert (here / name).read_text(encoding="utf-8") == "precious"
    assert main(["tutorial", "0", way, name, "--force"]) == 0
    assert "two is" in (here / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "there is no tutorial 'nonsense'; there are 00_sums, 13_products\n"),
        (["s"], "'s' may mean 00_sums or 13_products; give more of the name\n"),
        (["--run"], "say which tutorial before the option, such as `minisegnet tutorial 2 --run`\n"),
        (["--notebook"], "say which tutorial"),
        (["--from", "3"], "say which tutorial"),
        (["--notebook", "0"], "say which tutorial"),
        (["0", "--notebook", "mine.txt"], "the file must end in .ipynb, got mine.txt\n"),
        (["0", "--script", "mine"], "the file must end in .py, got mine\n"),
        (["0", "--notebook", "nowhere/mine.ipynb"], "can't write nowhere"),
    ],
)
def test_what_is_wrong_is_said(arguments, message, here, capsys):
    assert message in fails(arguments, capsys)
    assert list(here.iterdir()) == []


def test_ways_exclude_each_other(here, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["tutorial", "0", "--run", "--script", "x.py"])
    assert stop.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err


# ------------------------------------------------------------------ what is installed


@pytest.mark.slow
def test_a_wheel_carries_the_tutorials(tmp_path):
    pytest.importorskip("setuptools", minversion="77", reason="builds a wheel; pip install 'minisegnet[test]'")
    source = tmp_path / "source"
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("kernels", "minisegnet", "tutorials"):
        shutil.copytree(ROOT / folder, source / folder, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    stale = source / "build" / "lib" / "minisegnet" / "tutorial" / "scripts" / "99_of_an_earlier_build.py"
    stale.parent.mkdir(parents=True)
    stale.write_text("x = 1\n", encoding="utf-8")
    code = "import sys, setuptools.build_meta as build; build.build_sdist('dist'); build.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (ROOT / "tutorials").glob("[0-9]*.py"))
    with zipfile.ZipFile(next((source / "dist").glob("*.whl"))) as wheel:
        inside = [name for name in wheel.namelist() if "tutorial/scripts/" in name]
        assert inside == [f"minisegnet/tutorial/scripts/{name}" for name in names]
        wheel.extractall(tmp_path / "installed")
    with tarfile.open(next((source / "dist").glob("*.tar.gz"))) as archive:
        assert {Path(name).name for name in archive.getnames() if "/tutorials/" in name} == set(names)
    listed = subprocess.run(
        [sys.executable, "-c", "from minisegnet.tutorial import shelf; print(*[t.path for t in shelf.tutorials()])"],
        cwd=tmp_path / "installed",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert [Path(path) for path in listed] == [
        tmp_path / "installed" / "minisegnet" / "tutorial" / "scripts" / name for name in names
    ]
