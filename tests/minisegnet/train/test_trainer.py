"""Runs: what they leave behind, stopping and going on, what they refuse."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minisegnet import checkpoint, data
from minisegnet.cli import main
from minisegnet.train import Config, parts, train, trainer
from minisegnet.train.folder import COLUMNS, RunFolder
from minisegnet.trained import load_trained

SMALL = {
    "data": "shapes:size=16,count=12",
    "model_settings": {"width": 2, "depth": 1},
    "epochs": 2,
    "batch_size": 4,
    "augment": "HorizontalFlip(); ColorJitter(0.2)",
}


def small(**settings):
    return Config(**(SMALL | settings))


def same_tensors(a, b):
    a, b = checkpoint.load(a), checkpoint.load(b)
    assert a.tensors.keys() == b.tensors.keys()
    for name in a.tensors:
        np.testing.assert_array_equal(a.tensors[name], b.tensors[name], err_msg=name)
    for name, value in a.optimizer["state"].items():
        np.testing.assert_array_equal(value, b.optimizer["state"][name], err_msg=name)
    assert a.generators == b.generators


def test_a_run_leaves_everything_behind(tmp_path, capsys):
    result = train(small(panels_every=1), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    for path in (folder.config, folder.metrics, folder.curves, folder.confusion, folder.classes, folder.last):
        assert path.stat().st_size > 0, path
    for path in (folder.best, folder.report, folder.panels / "epoch-0001.png", folder.panels / "best.png"):
        assert path.stat().st_size > 0, path
    rows = list(csv.DictReader(folder.metrics.read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["epoch"]) for row in rows] == [1, 2]
    assert int(rows[1]["step"]) == 6
    assert float(rows[1]["val_miou"]) == result.history[1]["val_miou"]
    assert result.best_miou == max(row["val_miou"] for row in result.history)
    assert str(folder.report) in capsys.readouterr().out


def test_the_best_net_gives_the_noted_score_again(tmp_path):
    result = train(small(), tmp_path / "run", quiet=True)
    trained = load_trained(tmp_path / "run")
    loader = data.DataLoader(data.open(SMALL["data"], split="val"), 1, transform=trained.recipe.transform())
    confusion, loss = trainer.evaluate(trained.net, loader, 4)
    assert confusion.mean_iou() == result.best_miou
    assert math.isnan(loss)


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(small(seed=seed, epochs=1), tmp_path / name, quiet=True)
    same_tensors(tmp_path / "a/last.safetensors", tmp_path / "b/last.safetensors")
    a, c = (checkpoint.load(tmp_path / name / "last.safetensors").tensors for name in "ac")
    assert any((a[name] != c[name]).any() for name in a)


class StopsAt:
    """A request to stop that comes after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return signal.SIGINT if self.left == 0 else 0


@pytest.mark.parametrize("steps", [1, 3, 4])  # in the midst of an epoch, at its end, in the next one
def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(steps, tmp_path):
    config = small(schedule="polynomial", warmup=2, clip=1.0, val_every=2)
    train(config, tmp_path / "whole", quiet=True)
    stopped = trainer.Trainer(config, RunFolder(tmp_path / "parts"), quiet=True)
    stopped.folder.prepare()
    stopped.folder.config.write_text(config.as_toml(), encoding="utf-8")
    with pytest.raises(trainer.Interrupted, match="--resume"):
        stopped.run(StopsAt(steps))
    train(None, tmp_path / "parts", resume=True, quiet=True)
    same_tensors(tmp_path / "whole/last.safetensors", tmp_path / "parts/last.safetensors")
    whole, parted = ((tmp_path / name / "metrics.csv").read_text(encoding="utf-8") for name in ("whole", "parts"))
    timeless = [[line.split(",")[:8] for line in text.splitlines()] for text in (whole, parted)]
    assert timeless[0] == timeless[1]


def test_steps_noted_after_the_checkpoint_are_forgotten(tmp_path):
    folder = RunFolder(tmp_path)
    for step in (10, 20, 30):
        folder.note_step(step=step, loss=1.0)
    with folder.steps.open("a", encoding="utf-8") as file:
        file.write('{"step": 4')  # the process was killed here
    folder.cut_steps(20)
    assert [json.loads(line)["step"] for line in folder.steps.read_text(encoding="utf-8").splitlines()] == [10, 20]


def test_two_runs_do_not_share_a_folder(tmp_path):
    train(small(epochs=1), tmp_path, quiet=True)
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match=r"holds a run already .*--resume goes on with it, --overwrite deletes"):
        train(small(epochs=1), tmp_path, quiet=True)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    train(small(epochs=1, seed=3), tmp_path, overwrite=True, quiet=True)
    assert (tmp_path / "last.safetensors").read_bytes() != before
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no last\.safetensors to resume from"):
        train(None, tmp_path / "none", resume=True)


def test_nothing_is_written_for_a_wrong_configuration(tmp_path):
    for settings, text in (
        ({"data": "shapes:sighs=3"}, "sighs"),
        ({"model": "unnet"}, "unnet"),
        ({"model_settings": {"widht": 3}}, "widht"),
        ({"augment": "Explode()"}, "Explode"),
        ({"freeze": "nowhere"}, "no parameter's name begins with 'nowhere'"),
        ({"warmup": 100}, "warmup takes 100 steps, but there are only 6"),
        ({"loss": "dice", "class_weights": "enet"}, "class_weights are for"),
        ({"class_weights": "1,2"}, "4"),
    ):
        with pytest.raises(ValueError, match=text):
            train(small(**settings), tmp_path / "run", quiet=True)
        assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    train(small(epochs=1), tmp_path, quiet=True)
    good = (tmp_path / "last.safetensors").read_bytes()
    run = trainer.Trainer(small(), RunFolder(tmp_path), quiet=True)
    run.resume(checkpoint.load(tmp_path / "last.safetensors"))
    run.epoch = 1  # of two
    next(iter(run.net.parameters())).value[...] = np.nan
    with pytest.raises(trainer.TrainingError, match=r"the loss is nan at step 4 .*last\.safetensors; try a lower --lr"):
        run.run(lambda: 0)
    assert (tmp_path / "last.safetensors").read_bytes() == good


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("cross-entropy", "sgd"),
        ("focal", "adam"),
        ("dice", "adamw"),
        ("jaccard", "sgd"),
        ("cross-entropy+dice", "adam"),
    ],
)
def test_every_loss_and_optimiser_runs(loss, optimizer, tmp_path):
    result = train(small(loss=loss, optimizer=optimizer, epochs=1, lr=1e-2), tmp_path, quiet=True)
    assert 0 <= result.best_miou <= 1
    assert math.isfinite(result.history[0]["train_loss"])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "polynomial", "step", "exponential", "plateau"])
def test_every_schedule_ends_where_it_should(schedule, tmp_path):
    result = train(small(schedule=schedule, epochs=3, lr=1e-3), tmp_path, quiet=True)
    left = 8 / 9  # of the way, at the last of nine steps
    end = {"cosine": (1 + math.cos(math.pi * left)) / 2, "polynomial": (1 - left) ** 0.9, "step": 0.01}
    end |= {"constant": 1, "exponential": 0.01**left, "plateau": 1}
    assert result.history[-1]["lr"] == pytest.approx(1e-3 * end[schedule], rel=1e-6)


def test_early_stop(tmp_path, monkeypatch):
    scores = iter([0.5, 0.4, 0.6, 0.3, 0.2, 0.9])
    evaluate = trainer.evaluate

    def scored(*arguments, **options):
        confusion, loss = evaluate(*arguments, **options)
        if len(arguments) > 3:  # a validation, not the end
            value = next(scores)
            confusion.mean_iou = lambda: value
        return confusion, loss

    monkeypatch.setattr(trainer, "evaluate", scored)
    result = train(small(epochs=6, patience=2), tmp_path, quiet=True)
    assert [row["val_miou"] for row in result.history] == [0.5, 0.4, 0.6, 0.3, 0.2]
    assert result.best_epoch == 3


def test_frozen_parts_stay_as_they_are(tmp_path):
    train(small(epochs=1), tmp_path / "first", quiet=True)
    start = tmp_path / "first/best.safetensors"
    train(small(epochs=1, init=str(start), freeze="encoder", seed=4), tmp_path / "second", quiet=True)
    before, after = checkpoint.load(start).tensors, checkpoint.load(tmp_path / "second/last.safetensors").tensors
    prefixes = tuple(load_trained(start).net.encoder_prefixes)
    frozen = [name for name in before if name.startswith(prefixes)]
    assert frozen
    for name in frozen:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)  # running statistics too
    assert any((before[name] != after[name]).any() for name in before if name not in frozen)


def test_a_student_learns_from_its_teacher(tmp_path):
    train(small(epochs=1), tmp_path / "teacher", quiet=True)
    settings = {"teacher": str(tmp_path / "teacher"), "model_settings": {"width": 1, "depth": 1}}
    only = train(small(epochs=3, teacher_share=1.0, lr=1e-2, **settings), tmp_path / "student", quiet=True)
    assert only.history[-1]["train_loss"] < only.history[0]["train_loss"]
    student, teacher = load_trained(tmp_path / "student"), load_trained(tmp_path / "teacher")
    assert (student.recipe.mean, student.recipe.std) == (teacher.recipe.mean, teacher.recipe.std)


@pytest.mark.parametrize(("rule", "expected"), [("none", ()), ("1,2,0.5,1", (1.0, 2.0, 0.5, 1.0))])
def test_a_run_keeps_its_class_weights(rule, expected, tmp_path):
    train(small(epochs=1, class_weights=rule), tmp_path / "run", quiet=True)
    assert tuple(load_trained(tmp_path / "run").recipe.class_weights) == expected


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", ""])
def test_every_file_of_a_run_can_be_used(name, tmp_path, capsys):
    run = tmp_path / "run"
    train(small(), run, quiet=True)
    best, last = (checkpoint.load(run / f"{which}.safetensors") for which in ("best", "last"))
    assert (best.optimizer, best.schedule) == (None, None)
    assert last.optimizer["kind"] == "Adam"
    assert best.tensors.keys() == last.tensors.keys()
    assert best.config == last.config
    assert (run / "best.safetensors").stat().st_size < 0.6 * (run / "last.safetensors").stat().st_size
    file = run / name
    for setting in ("init", "teacher"):
        train(small(epochs=1, **{setting: str(file)}), tmp_path / setting, quiet=True)
    assert main(["eval", str(file), "--out", str(tmp_path)]) == 0
    if not name:
        assert main(["prune", str(file), "--out", str(tmp_path / "pruned"), "--epochs", "1", "--quiet"]) == 0


def test_a_file_without_the_optimiser_is_not_resumed_from(tmp_path, capsys):
    train(small(), tmp_path, quiet=True)
    (tmp_path / "last.safetensors").write_bytes((tmp_path / "best.safetensors").read_bytes())
    assert main(["train", "--resume", "--out", str(tmp_path), "--quiet"]) == 1
    assert (
        f"{tmp_path / 'last.safetensors'} has no optimizer state: it can be used and fine-tuned (--init), but its "
        "training can't be continued" in capsys.readouterr().err
    )


def test_a_folder_without_a_net_is_nothing_to_start_from(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no checkpoint \(best\.safetensors\); is it the folder"):
        train(small(init=str(tmp_path / "empty")), tmp_path / "run", quiet=True)


def test_frozen_weights_must_come_from_somewhere(tmp_path):
    train(small(epochs=1), tmp_path / "first", quiet=True)
    settings = {"init": str(tmp_path / "first/best.safetensors"), "freeze": "encoder"}
    with pytest.raises(ValueError, match=r"freeze 'encoder' would keep weights that nobody has trained: "):
        train(small(model_settings={"width": 3, "depth": 1}, **settings), tmp_path / "second", quiet=True)
    assert not (tmp_path / "second").exists()


def test_a_student_sees_what_its_teacher_saw(tmp_path):
    train(small(epochs=1, normalise="image"), tmp_path / "teacher", quiet=True)
    with pytest.raises(ValueError, match="trained with --normalise image, the student must be too, got dataset"):
        train(small(teacher=str(tmp_path / "teacher")), tmp_path / "student", quiet=True)


def test_data_that_changed_are_not_resumed_with(tmp_path):
    train(small(epochs=1), tmp_path, quiet=True)
    config = (tmp_path / "config.toml").read_text(encoding="utf-8")
    (tmp_path / "config.toml").write_text(config.replace("count=12", "count=16"), encoding="utf-8")
    with pytest.raises(ValueError, match="had 12 pictures when the run began, and has 16 now"):
        train(None, tmp_path, resume=True, quiet=True)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"model": "simple", "model_settings": {"width": 2, "size": 16}}, "simple classifies whole pictures, but"),
        ({"augment": "RandomScale(0.5, 2)"}, "RandomScale|Resize|size"),
    ],
)
def test_a_start_that_fails_leaves_no_folder(settings, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        train(small(**settings), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_of_equal_scores_the_smaller_loss_is_the_better_one(tmp_path, monkeypatch):
    evaluate = trainer.evaluate

    def always_half(*arguments, **options):
        confusion, loss = evaluate(*arguments, **options)
        confusion.mean_iou = lambda: 0.5
        return confusion, loss

    monkeypatch.setattr(trainer, "evaluate", always_half)
    result = train(small(epochs=3), tmp_path, quiet=True)
    losses = [row["val_loss"] for row in result.history]
    assert result.best_epoch == 1 + losses.index(min(losses))


def test_what_is_pruned_stays_zero(tmp_path, capsys):
    run, pruned = str(tmp_path / "run"), str(tmp_path / "pruned")
    train(small(epochs=1), run, quiet=True)
    assert main(["prune", run, "--out", pruned, "--sparsity", "0.6", "--quiet"]) == 0
    share = parts.zero_share(load_trained(pruned).net)
    assert share == pytest.approx(0.6, abs=0.01)
    assert f"{share:.1%} are now" in capsys.readouterr().out


def test_l1_and_weight_decay_pull_towards_zero(tmp_path):
    def size(name, **settings):
        train(small(epochs=1, lr=1e-2, optimizer="sgd", **settings), tmp_path / name, quiet=True)
        return sum(
            abs(p.value).sum() for _, p in parts.prunable(load_trained(tmp_path / name / "last.safetensors").net)
        )

    plain = size("plain")
    assert size("l1", l1=0.1) < plain
    assert size("l2", weight_decay=0.1) < plain


def test_classification_runs_too(tmp_path, capsys):
    from PIL import Image

    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, brightness in (("dark", 40), ("light", 210)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(rng.integers(0, 40, (16, 16, 3), np.uint8) + brightness).save(folder / f"{i}.png")
    config = Config(
        data=f"imagefolder:{tmp_path / 'data'}", model="simple", model_settings={"size": 16}, epochs=3, batch_size=4
    )
    result = train(config, tmp_path / "run", quiet=True)
    assert result.best_miou == 1
    picture, out = tmp_path / "data/val/dark/0.png", tmp_path / "out"
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "data/val"), "--out", str(out)]) == 0
    assert f"{picture} -> {out / 'predictions.csv'}   dark " in capsys.readouterr().out
    rows = list(csv.DictReader((out / "predictions.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["class"] for row in rows] == 4 * ["dark"] + 4 * ["light"]
    assert rows[0]["picture"] == str(picture)
    assert all(float(row["p(dark)"]) + float(row["p(light)"]) == pytest.approx(1, abs=1e-4) for row in rows)
    picture.write_bytes(b"no picture")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "data/val"), "--out", str(out)]) == 1
    assert "1 of 8 pictures could not be read:" in capsys.readouterr().err
    assert len((out / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 1 + 7


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_so(number, code, tmp_path):
    arguments = ["train", "--data", SMALL["data"], "--set", "width=2", "--epochs", "100000", "--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "minisegnet", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    steps, end = tmp_path / "steps.jsonl", time.monotonic() + 120
    while not steps.exists() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "`--resume` goes on from" in errors
    assert checkpoint.load(Path(tmp_path) / "last.safetensors").state["step"] >= 10
