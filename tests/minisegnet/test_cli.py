"""The command line: exit codes, help, messages."""

import pytest

from minisegnet import __version__, demo
from minisegnet.cli import main


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"minisegnet {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"]])
def test_help_names_the_options(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "demo" in text
    if arguments[0] == "demo":
        assert all(f"--{name}" in text for name in ("steps", "width", "seed", "out"))
        assert "(default: 1000)" in text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["demo", "--steps", "0"], "argument --steps: must be at least 1, got 0"),
        (["demo", "--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["demo", "--width", "wide"], "argument --width: must be a whole number, got 'wide'"),
    ],
)
def test_wrong_arguments_are_explained(arguments, text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert text in errors
    assert errors.count("\n") == 1
    assert errors.endswith("--help`\n")


def test_demo_passes_its_options_on(monkeypatch):
    calls = []
    monkeypatch.setattr(demo, "run", lambda *arguments: calls.append(arguments))
    assert main(["demo", "--steps", "3", "--width", "2", "--seed", "7", "--out", "x"]) == 0
    assert calls == [(3, 2, 7, "x")]


def test_demo_names_a_folder_it_cannot_make(tmp_path, capsys):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("kept")
    assert main(["demo", "--steps", "1", "--out", str(in_the_way)]) == 1
    assert str(in_the_way) in capsys.readouterr().err
    assert in_the_way.read_text() == "kept"
