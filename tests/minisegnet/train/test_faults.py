"""What a long training must survive, tried on real runs of `minisegnet train`."""

import contextlib
import csv
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from picture_folder import make_folder

from minisegnet import checkpoint
from minisegnet.cli import main
from minisegnet.train import trainer
from minisegnet.train.folder import RunFolder
from minisegnet.train.progress import Progress
from minisegnet.train.trouble import stop_requests

ROOT = Path(__file__).parents[3]
SHAPES = "shapes:size=16,count=12"
TINY = ["--set", "width=2", "--set", "depth=1", "--panels-every", "0", "--quiet"]
AUGMENTED = ["--augment", "HorizontalFlip(); ColorJitter(0.2)"]

posix = pytest.mark.skipif(os.name == "nt", reason="signals and limits of POSIX")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit or a device that Linux has")

# Runs the command in a process where something was changed before: {} stands for what.
CHANGED = """
import sys, time
from minisegnet.cli import main
from minisegnet.train import trainer
step = trainer.Trainer.train_step
def train_step(self, images, targets):
{}
    return step(self, images, targets)
trainer.Trainer.train_step = train_step
sys.exit(main())
"""


def command(out, *more, data=SHAPES, epochs=2):
    return ["train", "--data", str(data), "--out", str(out), "--epochs", str(epochs), *TINY, *map(str, more)]


def run(out, *more, **options):
    """A run in this process; its exit code."""
    return main(command(out, *more, **options))


def resume(out):
    return main(["train", "--resume", "--quiet", "--out", str(out)])


def start(arguments, code=None, **options):
    """`minisegnet` in a process of its own, or Python on `code` with these arguments."""
    program = ["-m", "minisegnet"] if code is None else ["-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("environment", {})}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, *program, *arguments], env=environment, text=True, **options)


def changed(body):
    return CHANGED.format("\n".join(f"    {line}" for line in body.splitlines()))


def wait_until(condition, process):
    """Wait until something is so, or the process has ended."""
    end = time.monotonic() + 120
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)


def last(folder):
    return checkpoint.load(Path(folder) / "last.safetensors")


def assert_same_end(a, b):
    """Two runs ended with the same bits, have noted the same and chose the same best net."""
    for name in ("last.safetensors", "best.safetensors"):
        x, y = (checkpoint.load(Path(folder) / name) for folder in (a, b))
        assert x.tensors.keys() == y.tensors.keys()
        for key in x.tensors:
            np.testing.assert_array_equal(x.tensors[key], y.tensors[key], err_msg=f"{name}: {key}")
        assert [found.optimizer is None for found in (x, y)] == 2 * [name == "best.safetensors"]
        assert not x.optimizer or x.optimizer["state"].keys() == y.optimizer["state"].keys()
        for key, value in x.optimizer["state"].items() if x.optimizer else ():
            np.testing.assert_array_equal(value, y.optimizer["state"][key], err_msg=f"{name}: {key}")
        assert (x.generators, x.schedule) == (y.generators, y.schedule)
        assert all(x.state[key] == y.state[key] for key in ("epoch", "batch", "step", "best", "best_epoch"))
    metrics = [timeless(Path(folder) / "metrics.csv") for folder in (a, b)]
    assert metrics[0] == metrics[1]
    for name in ("report.html", "curves.png", "confusion.png", "classes.csv", "panels/best.png"):
        assert (Path(a) / name).stat().st_size
        assert (Path(b) / name).stat().st_size
    assert not list(Path(b).glob(".*.tmp")), "strays were not removed"


def timeless(path):
    """The rows of metrics.csv without what depends on the clock."""
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def lists(path, train, val):
    for name, numbers in (("train", train), ("val", val)):
        (path / f"{name}.txt").write_text("".join(f"{i}\n" for i in numbers), encoding="utf-8")
    return f"folder:{path}"


# ------------------------------------------------------------------ kill -9


def kill_and_resume(out, kills, longest, seed, epochs):
    """Kill a run again and again at random moments, look at what is left, and let it go on; returns how often."""
    rng = random.Random(seed)
    done = 0
    first = [a for a in command(out, *AUGMENTED, epochs=epochs) if a != "--quiet"]
    again = ["train", "--resume", "--out", str(out)]
    while done < kills:
        process = start(again if (Path(out) / "config.toml").exists() else first)
        if done % 4:  # else: at some moment of the start
            process.stdout.readline()  # the first line of an epoch, or of going on
        time.sleep(rng.uniform(0, longest))
        process.kill()
        output, errors = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors
        done += 1
        for path in Path(out).glob("*.safetensors"):
            checkpoint.load(path)
        if (Path(out) / "metrics.csv").exists():
            assert all(None not in row.values() for row in timeless(Path(out) / "metrics.csv"))
    return done


@posix
def test_a_run_that_is_killed_goes_on_as_if_it_never_was(tmp_path):
    assert run(tmp_path / "whole", *AUGMENTED, epochs=6) == 0
    assert kill_and_resume(tmp_path / "killed", 3, 0.4, seed=1, epochs=6) >= 2
    assert resume(tmp_path / "killed") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


@posix
@pytest.mark.slow
def test_a_run_that_is_killed_fifty_times_goes_on_as_if_it_never_was(tmp_path):
    assert run(tmp_path / "whole", *AUGMENTED, epochs=250) == 0
    assert kill_and_resume(tmp_path / "killed", 60, 1.0, seed=2, epochs=250) >= 50
    assert resume(tmp_path / "killed") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_a_run_that_was_killed_before_it_saved_anything_begins_anew(tmp_path):
    assert run(tmp_path / "whole", epochs=1) == 0
    (tmp_path / "killed/panels").mkdir(parents=True)
    shutil.copy(tmp_path / "whole/config.toml", tmp_path / "killed")
    assert resume(tmp_path / "killed") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


# ------------------------------------------------------------------ stopping and going on


def stop_at(monkeypatch, call):
    """Ask a run to stop when it asks whether it should for the `call`-th time: after each step, after each batch of a
    validation."""
    calls = iter(range(1, 10**6))

    @contextlib.contextmanager
    def requests():
        yield lambda: signal.SIGINT if next(calls) >= call else 0

    monkeypatch.setattr(trainer, "stop_requests", requests)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of two epochs, three steps each, three validation pictures, that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(out, *AUGMENTED, "--batch-size", 4) == 0
    return out


STOPS = {"mid-epoch": (2, 1, 2), "epoch's end": (3, 1, 3), "validation": (4, 1, 3), "second epoch": (7, 2, 4)}


@pytest.mark.parametrize(("call", "epoch", "step"), STOPS.values(), ids=STOPS)
def test_a_run_that_was_stopped_goes_on_as_if_it_never_was(call, epoch, step, whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_at(patch, call)
        assert run(tmp_path / "run", *AUGMENTED, "--batch-size", 4) == 130
    assert (
        f"stopped as asked; `--resume` goes on from {tmp_path / 'run' / 'last.safetensors'}" in capsys.readouterr().err
    )
    state = last(tmp_path / "run").state
    assert (state["epoch"], state["step"]) == (epoch, step)
    assert resume(tmp_path / "run") == 0
    assert_same_end(whole, tmp_path / "run")


def test_a_run_that_was_stopped_while_it_ended_ends(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/report.html").unlink()
    with monkeypatch.context() as patch:
        stop_at(patch, 1)  # a finished run only evaluates its best net
        assert resume(tmp_path / "run") == 130
    assert not (tmp_path / "run/report.html").exists()
    assert resume(tmp_path / "run") == 0
    assert_same_end(whole, tmp_path / "run")


def test_resuming_with_dropout(tmp_path, monkeypatch):
    settings = ["--model", "fcn8s", "--set", "width=1", "--set", "depth=11", "--set", "hidden=4", *AUGMENTED]
    assert run(tmp_path / "whole", *settings) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert run(tmp_path / "parts", *settings) == 130
    assert last(tmp_path / "parts").generators
    assert resume(tmp_path / "parts") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "parts")
    untouched = np.random.default_rng(0).bit_generator.state
    assert untouched not in last(tmp_path / "parts").generators.values()


def test_resuming_with_a_worker_ends_as_without(tmp_path, monkeypatch):
    assert run(tmp_path / "whole", *AUGMENTED, epochs=1) == 0
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        assert run(tmp_path / "parts", *AUGMENTED, "--workers", 1, epochs=1) == 130
    assert multiprocessing.active_children() == []
    assert resume(tmp_path / "parts") == 0
    assert_same_end(tmp_path / "whole", tmp_path / "parts")


@posix
@pytest.mark.parametrize(("second", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_second_signal_aborts_at_once(second, code, tmp_path):
    sleeping = changed("print('step', flush=True)\ntime.sleep(300)")
    process = start(command(tmp_path), sleeping)
    assert process.stdout.readline() == "step\n"
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)  # the first one waits for the end of the step
    process.send_signal(second)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert last(tmp_path).state["step"] == 0


@posix
def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stop_requests() as requested:
            os.kill(os.getpid(), signal.SIGHUP)
            assert requested() == 0
            os.kill(os.getpid(), signal.SIGTERM)
            assert requested() == signal.SIGTERM
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ------------------------------------------------------------------ disk


@posix
def test_a_full_disk_leaves_the_old_checkpoint(whole, tmp_path):
    limited = "import resource\nif self.step == 4: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, -1))"
    process = start(command(tmp_path / "run", *AUGMENTED, "--batch-size", 4), changed(limited))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "Traceback" not in errors
    assert f"can't write {tmp_path / 'run'}" in errors
    assert "safetensors" in errors
    assert last(tmp_path / "run").state["epoch"] == 2
    assert last(tmp_path / "run").state["batch"] == 0
    assert resume(tmp_path / "run") == 0
    assert_same_end(whole, tmp_path / "run")


@linux
def test_a_full_disk_under_the_log_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "NOTE_EVERY", 2)
    assert run(tmp_path / "run") == 0
    steps = tmp_path / "run/steps.jsonl"
    steps.unlink()
    shutil.copy(tmp_path / "run/config.toml", tmp_path)
    shutil.rmtree(tmp_path / "run")
    prepare = RunFolder.prepare

    def full(self, overwrite):
        prepare(self, overwrite)
        self.steps.symlink_to("/dev/full")

    monkeypatch.setattr(RunFolder, "prepare", full)
    assert run(tmp_path / "run") == 1
    assert f"can't write {steps}: No space left on device" in capsys.readouterr().err
    assert last(tmp_path / "run").state["step"] == 0


def unwritable(tmp_path):
    """Places where no folder can be made, whoever asks."""
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    yield tmp_path / "file"
    yield tmp_path / "file/run"
    if Path("/sys/kernel").is_dir():
        yield Path("/sys/kernel/run")
    if os.name != "nt" and os.geteuid():  # the superuser may write everywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        yield tmp_path / "locked/run"


def test_a_run_folder_that_can_not_be_made_is_named(tmp_path, capsys):
    for out in unwritable(tmp_path):
        assert run(out) == 1
        assert str(out) in capsys.readouterr().err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


# ------------------------------------------------------------------ data


def test_a_data_worker_that_dies_ends_the_run(tmp_path, monkeypatch, capsys):
    step = trainer.Trainer.train_step

    def train_step(self, images, targets):
        if self.step == 1:
            (worker,) = multiprocessing.active_children()
            worker.kill()
        return step(self, images, targets)

    monkeypatch.setattr(trainer.Trainer, "train_step", train_step)
    data = "shapes:size=64,count=48"  # batches that don't fit into a pipe: the worker can't be ahead of everything
    assert run(tmp_path, "--workers", 1, "--batch-size", 2, "--normalise", "none", data=data) == 1
    message = capsys.readouterr().err
    assert message.startswith("minisegnet train: data worker 0 (process ")
    assert f"`--resume` goes on from {tmp_path / 'last.safetensors'}" in message
    assert "Traceback" not in message
    assert multiprocessing.active_children() == []
    assert not [t for t in threading.enumerate() if t.name == "minisegnet data"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_damaged_in_mid_training(workers, tmp_path, monkeypatch, capsys):
    spec = lists(make_folder(tmp_path / "data"), range(6), [6, 7])
    settings = ["--batch-size", 2, "--normalise", "none", "--workers", workers]
    damaged = tmp_path / "data/images/3.png"
    good = damaged.read_bytes()
    note_epoch = trainer.Trainer.note_epoch

    def damage(self, measured):
        note_epoch(self, measured)
        damaged.write_bytes(good[: len(good) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "note_epoch", damage)
        assert run(tmp_path / "run", *settings, data=spec) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"minisegnet train: {damaged}: is damaged")
    assert "Traceback" not in message
    assert (last(tmp_path / "run").state["epoch"], last(tmp_path / "run").state["batch"]) == (2, 0)
    assert multiprocessing.active_children() == []
    damaged.write_bytes(good)
    assert resume(tmp_path / "run") == 0
    assert run(tmp_path / "whole", *settings[:-1], 0, data=spec) == 0
    assert_same_end(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("loss", ["cross-entropy", "focal", "dice", "jaccard", "cross-entropy+dice"])
def test_pictures_that_are_all_void_are_no_trouble(loss, tmp_path):
    spec = lists(make_folder(tmp_path / "data", void=(1, 6)), range(6), [6, 7])
    assert run(tmp_path / "run", "--loss", loss, "--batch-size", 1, data=spec, epochs=1) == 0
    (row,) = timeless(tmp_path / "run/metrics.csv")
    assert int(row["step"]) == 6
    assert all(np.isfinite(float(value)) for value in row.values())


def test_nothing_but_void_to_validate_on(tmp_path, capsys):
    spec = lists(make_folder(tmp_path / "data", void=(6, 7)), range(6), [6, 7])
    arguments = [a for a in command(tmp_path / "run", data=spec, epochs=1) if a != "--quiet"]
    assert main(arguments) == 0
    assert "best: unknown, all pixels are void" in capsys.readouterr().out
    assert (tmp_path / "run/report.html").stat().st_size
    assert timeless(tmp_path / "run/metrics.csv")[0]["val_miou"] == ""


@pytest.mark.parametrize(("count", "batch_size", "steps"), [(3, 8, 1), (5, 4, 1), (1, 4, 1), (4, 1, 4)])
def test_splits_and_batches_of_odd_sizes(count, batch_size, steps, tmp_path):
    assert run(tmp_path, "--batch-size", batch_size, data=f"shapes:size=16,count={count}", epochs=1) == 0
    assert last(tmp_path).state["step"] == steps


def test_validation_data_with_other_classes_are_refused(tmp_path, capsys):
    three, four = (make_folder(tmp_path / str(n), classes=n) for n in (3, 4))
    assert run(tmp_path / "run", "--val-data", f"folder:{three}") == 1
    message = capsys.readouterr().err
    assert "4 classes and 3 channels" in message
    assert "they must agree" in message
    (four / "classes.txt").write_text("ground\nsquare\ndisc\ntriangle\n", encoding="utf-8")
    assert run(tmp_path / "run", "--val-data", f"folder:{four}") == 1
    assert "class 1 is 'disc' in shapes, but 'square' in " in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    (four / "classes.txt").unlink()  # classes without names may be anything
    assert run(tmp_path / "run", "--val-data", f"folder:{four}", epochs=1) == 0


# ------------------------------------------------------------------ numbers that explode


@pytest.mark.parametrize(
    ("count", "lr", "text"),
    [
        (12, "1e25", "the loss is (nan|inf) at step [23] "),
        (4, "1e38", "(holds NaN or infinity|is (nan|inf)) after step 1 "),
    ],
)
def test_an_explosion_ends_the_run(count, lr, text, tmp_path, capsys):
    data = f"shapes:size=16,count={count}"
    settings = ["--optimizer", "sgd", "--lr", lr, "--schedule", "constant"]
    with np.errstate(all="ignore"):
        assert run(tmp_path, *settings, data=data, epochs=3) == 1
    message = capsys.readouterr().err
    assert last(tmp_path).state["step"] == 0
    assert re.search(text, message), message
    assert "try a lower --lr, --warmup or --clip 1" in message
    assert "Traceback" not in message


# ------------------------------------------------------------------ two runs, one folder


def test_two_runs_do_not_share_a_folder(whole, tmp_path, capsys):
    shutil.copytree(whole, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert run(tmp_path / "run") == 1
    assert (
        "holds a run already (config.toml); --resume goes on with it, --overwrite deletes it" in capsys.readouterr().err
    )
    with RunFolder(tmp_path / "run").locked():
        for arguments in (
            ["train", "--resume", "--out", str(tmp_path / "run")],
            command(tmp_path / "run", "--overwrite"),
        ):
            assert main(arguments) == 1
            assert f"another process is training in {tmp_path / 'run'}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_overwriting_deletes_all_of_the_run_and_nothing_else(whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "run")
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    (out / "panels/epoch-0099.png").write_bytes(b"old")
    assert main(["eval", str(out)]) == 0
    RunFolder(out).prepare(overwrite=True)
    assert [path.name for path in out.rglob("*") if path.is_file() and path.name != ".lock"] == ["notes.txt"]


# ------------------------------------------------------------------ the machine


def test_a_gpu_is_refused_at_the_start(tmp_path, capsys, monkeypatch):
    (tmp_path / "gpu.toml").write_text(f'data = "{SHAPES}"\ndevice = "cuda"\n', encoding="utf-8")
    monkeypatch.setattr("kernels.cuda.device.missing", lambda: "there is none in this test")
    for arguments in (
        command(tmp_path / "run", "--device", "cuda"),
        ["train", "--config", str(tmp_path / "gpu.toml"), "--out", "x"],
    ):
        assert main(arguments) == 1
        message = capsys.readouterr().err
        assert "device 'cuda' can't be used: there is none in this test; device 'cpu' works everywhere" in message
        assert "Traceback" not in message
    assert not (tmp_path / "run").exists()


@linux
def test_memory_that_runs_out_in_a_step(tmp_path):
    body = """
import numpy as np, resource
if self.step == 4:
    images, targets = np.zeros((32, 3, 256, 256), np.float32), np.zeros((32, 256, 256), np.int64)
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 10_000_000, -1))
"""
    process = start(command(tmp_path, "--batch-size", 4), changed(body))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors
    assert "minisegnet train: memory ran out in step 5 (epoch 2, layer " in errors
    assert "shape (32, 2, 256, 256), float32" in errors
    assert "try a smaller --batch-size" in errors
    assert last(tmp_path).state["step"] == 3


def test_a_net_that_is_larger_than_memory(tmp_path, capsys):
    assert run(tmp_path / "run", "--set", f"width={10**13}") == 1
    message = capsys.readouterr().err
    assert message.startswith("minisegnet train: ")
    assert "1000000000000" in message
    assert not (tmp_path / "run").exists()


@posix
@pytest.mark.slow
def test_trouble_with_compiled_kernels_is_one_warning(tmp_path):
    def warnings_of(name, **options):
        process = start(command(tmp_path / name, epochs=1), **options)
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
        return re.findall(r"RuntimeWarning: (.*)", errors)

    cache = {"environment": {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}}
    assert warnings_of("first", **cache) == []
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-100])
    (warning,) = warnings_of("damaged", **cache)
    assert "is damaged; this kernel is compiled anew" in warning
    assert warnings_of("mended", **cache) == []
    # Numba also tries __pycache__ beside the sources and the user's own cache: all of them are files here.
    root, file = tmp_path / "root", tmp_path / "file"
    for package in ("kernels", "minisegnet"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (file, root / "kernels/cpu/__pycache__"):
        path.write_text("no folder", encoding="utf-8")
    nowhere = {
        "NUMBA_CACHE_DIR": str(file / "x"),
        "HOME": str(file),
        "XDG_CACHE_HOME": str(file),
        "PYTHONPATH": str(root),
    }
    (warning,) = warnings_of("unwritable", cwd=root, environment={**nowhere, "MPLCONFIGDIR": str(tmp_path)})
    assert f"compiled kernels can't be kept in {file / 'x'}" in warning
    for name in ("damaged", "mended", "unwritable"):
        assert_same_end(tmp_path / "first", tmp_path / name)


# ------------------------------------------------------------------ nobody listens


@posix
def test_a_run_outlives_the_reader_of_its_output(tmp_path):
    arguments = [a for a in command(tmp_path, epochs=3) if a != "--quiet"]
    process = start(arguments)
    process.stdout.readline()
    process.stdout.close()
    with process.stderr:
        errors = process.stderr.read()
    assert process.wait(timeout=120) == 0, errors
    assert errors.count("nothing can be written to the output any more") == 1
    assert "Traceback" not in errors
    assert last(tmp_path).state["epoch"] == 4
    assert (tmp_path / "report.html").exists()


@posix
def test_a_terminal_that_is_closed_stops_the_run_after_saving(tmp_path):
    process = start([a for a in command(tmp_path, epochs=10**6) if a != "--quiet"])
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) == 129
    assert last(tmp_path).state["step"] >= 3


def test_a_run_goes_on_when_its_terminal_is_gone(monkeypatch, capsys):
    class Gone:
        """A terminal that was closed."""

        encoding = "utf-8"

        def __init__(self, file):
            self.file = file

        def isatty(self):
            return True

        def fileno(self):
            return self.file.fileno()

        def write(self, text):
            raise OSError(5, "Input/output error")

        flush = write

    with open(os.devnull, "w", encoding="utf-8") as null:
        progress = Progress()
        with progress.steps(total=3, done=0):
            monkeypatch.setattr(sys, "stdout", Gone(null))
            progress.step("epoch 1/1", "loss 1")
            progress.say("lost")
            progress.say("nobody hears this")
            progress.step("epoch 1/1", "loss 1")
        monkeypatch.undo()
    assert progress.quiet
    assert capsys.readouterr().err.count("the run goes on") == 1
