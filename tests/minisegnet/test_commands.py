"""Commands from end to end: exit codes, what they write, what they say."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from picture_folder import make_folder
from PIL import Image

from minisegnet import __version__
from minisegnet.cli import main, parser
from minisegnet.models import MODELS
from minisegnet.train.config import load

ROOT = Path(__file__).parents[2]
SHAPES = "shapes:size=16,count=12"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a small run; tests work on copies."""
    out = tmp_path_factory.mktemp("trained") / "run"
    settings = ["--set", "width=2", "--set", "depth=1", "--epochs", "3", "--lr", "0.01", "--panels-every", "0"]
    assert main(["train", "--data", SHAPES, "--out", str(out), "--quiet", *settings]) == 0
    return out


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def fails(arguments, capsys, command=None):
    """What a command that fails says on stderr: one message that begins with its name, and nothing on stdout."""
    assert main([str(argument) for argument in arguments]) == 1
    out, errors = capsys.readouterr()
    start = f"minisegnet {command or arguments[0]}: "
    assert errors.startswith(start)
    assert "Traceback" not in errors
    assert not out
    return errors.removeprefix(start)


def rows(path):
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def width_of(path):
    with Image.open(path) as image:
        image.load()
        return image.width


# ------------------------------------------------------------------ help


def parsers(top, words=()):
    """(words, parser) of every command and all below it."""
    yield words, top
    for action in top._actions:
        for name, below in (action.choices or {}).items() if hasattr(action, "_parser_class") else ():
            yield from parsers(below, (*words, name))


COMMANDS = dict(parsers(parser()))


def test_all_commands_are_there():
    assert {words[0] for words in COMMANDS if words} == {
        "demo", "tutorial", "exercise", "train", "eval", "predict", "explain", "data", "prune", "bench", "info"
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_is_complete(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) > 5
    for action in COMMANDS[words]._actions:
        assert action.help or action.choices, f"{action.dest} is not explained"
        for flag in action.option_strings:
            assert flag in text
    if words:
        assert COMMANDS[words].description


def test_help_is_quick():
    code = "import sys\nfrom minisegnet.cli import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"
    code += "print(sorted({'numba', 'matplotlib', 'PIL', 'multiprocessing', 'safetensors'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


# ------------------------------------------------------------------ train


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "there is nothing to train on; name a data set: --data folder:PATH"),
        (["--data", "nonsense"], "unknown data set 'nonsense'"),
        (["--data", SHAPES, "--model", "nonsense"], "nonsense"),
        (["--data", SHAPES, "--set", "widht=3"], "'widht'; it has width=64, depth=4, norm=True, up='transpose'\n"),
        (["--data", SHAPES, "--set", "rng=3"], "--set: rng can't be chosen, initial weights are drawn by --seed"),
        (["--data", SHAPES, "--set", "dtype=float64"], "--set: dtype can't be chosen, runs compute in float32"),
        (["--data", SHAPES, "--momentum", "1"], "momentum must be below 1, got 1.0"),
        (["--data", SHAPES, "--freeze", "foo"], "begin with down, level, out, scores (encoder stands for all parts of"),
        (["--data", SHAPES, "--lr", "nan"], "lr must be finite, got nan"),
        (["--data", SHAPES, "--init", "nowhere.safetensors"], "nowhere.safetensors does not exist"),
        (["--data", SHAPES, "--config", "nowhere.toml"], "nowhere.toml"),
        (["--resume"], "has no last.safetensors to resume from; leave --resume out"),
        (["--resume", "--set", "width=3", "--lr", "1"], "keeps its own settings; leave out --set, --lr, or start"),
        (["--resume", "--config", "x.toml"], "keeps its own settings; leave out --config, or start"),
    ],
)
def test_what_train_refuses(arguments, text, tmp_path, capsys):
    assert text in fails(["train", "--out", tmp_path / "run", *arguments], capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "--data", SHAPES], "required: --out"),
        (["train", "--out", "x", "--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["train", "--out", "x", "--loss", "nonsense"], "argument --loss: invalid choice: 'nonsense'"),
        (["train", "--out", "x", "--set", "width"], "must be NAME=VALUE, such as width=16, got 'width'"),
        (["train", "--out", "x", "--resume", "--overwrite"], "not allowed with argument"),
        (["eval"], "required: RUN"),
        (["prune", "x"], "required: --out"),
        (["predict", "x"], "required: PICTURES"),
        (["predict", "x", "y", "--tile", "0"], "argument --tile: must be at least 1, got 0"),
        (["data"], "required: WHAT"),
        (["data", "check"], "required: data"),
        (["data", "check", "shapes", "--shet", "x"], "unrecognized arguments: --shet x"),
        (["info", "more"], "unrecognized arguments: more"),
    ],
)
def test_wrong_arguments_are_explained(arguments, text, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, errors = capsys.readouterr()
    assert text in errors
    assert len(errors.splitlines()) == 1, "a list of all options would push the error out of sight"
    words = ["minisegnet", *arguments[: 2 if arguments[:2] == ["data", "check"] else 1]]
    assert errors.startswith(f"{' '.join(words)}: ")
    assert errors.endswith(f"; see `{' '.join(words)} --help`\n")
    assert not out


def test_an_empty_name_of_a_folder_is_refused(capsys):
    assert "a run needs a folder of its own, got ''" in fails(["train", "--data", SHAPES, "--out", ""], capsys)


def test_flags_win_over_the_file(run, tmp_path):
    out = tmp_path / "again"
    flags = ["--epochs", "1", "--set", "width=3", "--quiet"]
    assert main(["train", "--config", str(run / "config.toml"), "--out", str(out), *flags]) == 0
    settings = load(out / "config.toml")
    assert (settings["epochs"], settings["lr"], settings["model_settings"]) == (1, 0.01, {"width": 3, "depth": 1})


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('lr = "fast"', "lr must be a number, got 'fast'"),
        ("lr = -1.0", "lr must be at least 0, got -1.0"),
        ("learning_rate = 1.0", "unknown setting 'learning_rate'"),
        ("lr = ", "is not a TOML file"),
        ("model_settings = 3", "model_settings must be a table, got 3"),
    ],
)
def test_a_wrong_file_of_settings_is_named(line, text, run, tmp_path, capsys):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(line + "\n", encoding="utf-8")
    message = fails(["train", "--config", wrong, "--out", tmp_path / "x", "--set", "width=2"], capsys)
    assert message.startswith(str(wrong))
    assert text in message
    (run / "config.toml").write_text(line + "\n", encoding="utf-8")
    for arguments in (["train", "--resume", "--out", run], ["prune", run, "--out", tmp_path / "x"]):
        message = fails(arguments, capsys)
        assert message.startswith(str(run / "config.toml"))
        assert text in message


def test_resuming_does_not_need_what_the_run_began_with(run, tmp_path):
    out, start = tmp_path / "second", tmp_path / "start.safetensors"
    shutil.copy(run / "best.safetensors", start)
    settings = ["--set", "width=2", "--set", "depth=1", "--init", str(start), "--epochs", "1", "--quiet"]
    assert main(["train", "--data", SHAPES, "--out", str(out), *settings]) == 0
    start.unlink()
    (out / "report.html").unlink()
    assert main(["train", "--resume", "--out", str(out), "--quiet"]) == 0
    assert (out / "report.html").exists()


def test_a_finished_run_says_how_to_train_longer(run, tmp_path, capsys):
    assert main(["train", "--resume", "--out", str(run)]) == 0
    text = capsys.readouterr().out
    assert f"{run} is finished, after 3 of 3 epochs; to train longer, begin another run with --init {run}\n" in text
    assert "going on with" not in text
    settings = ["--set", "width=2", "--set", "depth=1", "--epochs", "1"]
    assert main(["train", "--data", SHAPES, "--init", str(run), "--out", str(tmp_path / "longer"), *settings]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"{re.escape(str(run / 'best.safetensors'))}: (\d+) of \1 arrays taken over\n", text)


def test_a_batch_larger_than_the_data_set_is_mentioned(tmp_path, capsys):
    out, settings = tmp_path / "run", ["--set", "width=2", "--set", "depth=1", "--epochs", "1"]
    assert main(["train", "--data", SHAPES, "--batch-size", "13", "--out", str(out), *settings]) == 0
    assert "there are only 12 pictures to train on: so many are in a step, not 13\n" in capsys.readouterr().out
    assert main(["train", "--data", SHAPES, "--batch-size", "12", "--out", str(out), "--overwrite", *settings]) == 0
    assert "so many are in a step" not in capsys.readouterr().out


# ------------------------------------------------------------------ eval


def test_eval_measures_again_what_the_training_did(run, capsys):
    assert main(["eval", str(run)]) == 0
    text = capsys.readouterr().out
    assert f"{run / 'best.safetensors'} on {SHAPES}, val: 3 pictures" in text
    assert rows(run / "eval.csv") == rows(run / "classes.csv")
    best = max(float(row["val_miou"]) for row in rows(run / "metrics.csv"))
    assert f"mean IoU {best:.1%}" in text
    assert width_of(run / "eval_confusion.png") > 100
    assert text.splitlines()[-1] == f"{run / 'eval.csv'}, {run / 'eval_confusion.png'}"


def test_eval_on_other_data_into_another_folder(run, tmp_path, capsys):
    before = sorted(run.rglob("*"))
    other = ["--data", "shapes:size=24,count=9,seed=5", "--split", "test", "--out", str(tmp_path / "a/b")]
    assert main(["eval", str(run / "last.safetensors"), *other]) == 0
    assert "last.safetensors on shapes:size=24,count=9,seed=5, test: " in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "a/b").iterdir()} == {"eval.csv", "eval_confusion.png"}
    assert [row["class"] for row in rows(tmp_path / "a/b/eval.csv")] == ["ground", "disc", "square", "triangle"]
    assert sorted(run.rglob("*")) == before


@pytest.fixture(scope="module")
def grey_and_colour(tmp_path_factory):
    """{channels: folder} with a data set and a run on it in each."""
    folders = {channels: tmp_path_factory.mktemp(f"channels{channels}") for channels in (1, 3)}
    for channels, folder in folders.items():
        data = make_folder(folder / "data", channels=channels)
        settings = ["--set", "width=2", "--set", "depth=1", "--epochs", "1", "--panels-every", "0", "--quiet"]
        assert main(["train", "--data", f"folder:{data}", "--out", str(folder / "run"), *settings]) == 0
    return folders


@pytest.mark.parametrize(("trained_on", "other"), [(1, 3), (3, 1)])
def test_pictures_are_read_as_the_net_was_trained(trained_on, other, grey_and_colour, tmp_path, capsys):
    run, data = grey_and_colour[trained_on] / "run", grey_and_colour[other] / "data"
    assert main(["eval", str(run), "--data", f"folder:{data}", "--out", str(tmp_path)]) == 0
    assert f"on folder:{data}, val: 2 pictures" in capsys.readouterr().out
    assert main(["predict", str(run), str(data / "images"), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    message = fails(["eval", run, "--data", f"folder:{data},channels={other}", "--out", tmp_path], capsys)
    assert f"they must agree (KIND:PATH,channels={trained_on} reads pictures so)" in message


@pytest.mark.parametrize("below", ["", "below"])
def test_results_need_a_folder(below, run, tmp_path, capsys):
    in_the_way = tmp_path / "file.txt"
    in_the_way.write_text("mine", encoding="utf-8")
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "picture.png")
    for arguments in (["eval", run], ["predict", run, tmp_path / "picture.png"]):
        message = fails([*arguments, "--out", in_the_way / below], capsys)
        assert message.startswith(f"{in_the_way} is a file; --out names a folder for the results, give another one")
    assert in_the_way.read_text(encoding="utf-8") == "mine"


def test_what_is_no_checkpoint_is_not_called_damaged(run, tmp_path, capsys):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "picture.jpg")
    assert "picture.jpg is no checkpoint (it begins with b'" in fails(["eval", tmp_path / "picture.jpg"], capsys)


def test_what_eval_refuses(run, tmp_path, capsys):
    assert "nowhere does not exist" in fails(["eval", tmp_path / "nowhere"], capsys)
    (tmp_path / "empty").mkdir()
    assert "is it the folder of a run?" in fails(["eval", tmp_path / "empty"], capsys)
    assert "no split 'tset'; there is train, val, test" in fails(["eval", run, "--split", "tset"], capsys)
    assert "config.toml" in fails(["eval", run / "config.toml"], capsys)
    data = make_folder(tmp_path / "data", classes=3)
    message = fails(["eval", run, "--data", f"folder:{data}"], capsys)
    assert "shapes has 4 classes and 3 channels, " in message
    assert "has 3 and 3; they must agree" in message
    content = (run / "best.safetensors").read_bytes()
    (run / "best.safetensors").write_bytes(content[:-7])
    assert fails(["eval", run], capsys).startswith(f"{run / 'best.safetensors'} is damaged or was cut short")
    assert not (run / "eval.csv").exists()


# ------------------------------------------------------------------ prune


def test_prune_makes_a_new_run(run, tmp_path, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    out = tmp_path / "pruned"
    assert main(["prune", str(run), "--out", str(out), "--sparsity", "0.5", "--epochs", "2", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"0\.0% of the weights were zero before, 50\.\d% are now", lines[0])
    after = max(
        float(row["val_miou"]) for row in csv.DictReader((out / "metrics.csv").read_text(encoding="utf-8").splitlines())
    )
    assert re.fullmatch(rf"mean IoU 0\.\d\d\d before, {after:.3f} now", lines[1])
    settings = load(out / "config.toml")
    assert (settings["sparsity"], settings["epochs"], settings["lr"]) == (0.5, 2, 0.0025)
    assert settings["init"] == str(run / "best.safetensors")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert (out / "report.html").exists()


def test_what_prune_refuses(run, tmp_path, capsys):
    for more in ([], ["--overwrite"]):
        message = fails(["prune", run, "--out", run.parent / "x" / ".." / "run", *more], capsys)
        assert "is the run to prune; give the pruned one a folder of its own" in message
    assert "--sparsity 0 prunes nothing" in fails(["prune", run, "--out", tmp_path / "x", "--sparsity", "0"], capsys)
    assert "sparsity must be at most 1" in fails(["prune", run, "--out", tmp_path / "x", "--sparsity", "1.5"], capsys)
    message = fails(["prune", run / "best.safetensors", "--out", tmp_path / "x"], capsys)
    assert "has no config.toml; name the folder of a run" in message
    assert "nowhere does not exist" in fails(["prune", tmp_path / "nowhere", "--out", tmp_path / "x"], capsys)
    assert not (tmp_path / "x").exists()


# ------------------------------------------------------------------ data check, info


def test_data_check_of_a_good_data_set(tmp_path, capsys):
    data = make_folder(tmp_path / "data")
    assert main(["data", "check", f"folder:{data}", "--sheet", str(tmp_path / "sheet.png")]) == 0
    text = capsys.readouterr().out
    assert "no problems found" in text
    assert "median-frequency" in text
    assert width_of(tmp_path / "sheet.png") > 30


def test_data_check_of_one_split(capsys):
    assert main(["data", "check", SHAPES, "--split", "val"]) == 0
    text = capsys.readouterr().out
    assert "val: 3 pictures" in text
    assert "train: " not in text


def test_data_check_reports_all_problems_in_one_pass(tmp_path, capsys):
    data = make_folder(tmp_path / "data", count=8)
    damaged, empty = data / "images/1.png", data / "masks/2.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    empty.write_bytes(b"")
    assert main(["data", "check", f"folder:{data}"]) == 1
    text = "".join(capsys.readouterr())
    assert "1.png" in text
    assert "2.png" in text
    assert "Traceback" not in text


def test_data_check_prints_all_when_asked(tmp_path, capsys):
    data = make_folder(tmp_path / "data", void=range(8))
    command = ["data", "check", f"folder:{data},classes=3"]
    for more, count in (([], 3), (["--all"], 8)):
        assert main([*command, *more]) == 0
        assert capsys.readouterr().out.count("every pixel is void") == count


def test_data_check_of_nothing(tmp_path, capsys):
    assert "there is no folder" in fails(["data", "check", f"folder:{tmp_path / 'none'}"], capsys)
    assert "unknown data set 'nonsense'" in fails(["data", "check", "nonsense"], capsys)


def test_info_says_what_a_bug_report_needs(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    table = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert table["minisegnet"] == __version__
    assert table["numpy"] == np.__version__
    assert "cpu" in table["backends"]
    assert all(model in text for model in MODELS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
@pytest.mark.parametrize("arguments", [["info"], ["data", "check", SHAPES]])
def test_output_that_can_not_be_written(arguments):
    """A closed pipe is a reader who has seen enough; a full disk is an error."""
    command = [sys.executable, "-m", "minisegnet", *arguments]
    options = {"stderr": subprocess.PIPE, "text": True, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}
    with open("/dev/full", "w", encoding="utf-8") as full:
        process = subprocess.run(command, stdout=full, **options)
    assert process.returncode == 1
    assert "No space left on device" in process.stderr
    assert "Traceback" not in process.stderr
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(command, stdout=writing, **options)
    os.close(writing)
    assert (process.returncode, process.stderr) == (0, "")
