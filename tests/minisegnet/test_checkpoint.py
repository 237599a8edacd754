"""Checkpoints: what is restored is what was saved, to the last bit, whatever happens while it is written."""

import errno
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import minisegnet
from minisegnet import checkpoint, files, layers, losses, optim, schedules
from minisegnet.checkpoint import CheckpointError, load, restore, save
from minisegnet.combine import Concat, Sequential
from minisegnet.files import atomic_write

ROOT = Path(minisegnet.__file__).parents[1]


def small_net(seed=0, classes=2, dtype=np.float32):
    """Parameters, buffers and two generators, one of them shared by two layers."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(seed + 100)
    return Sequential(
        layers.Conv2d(1, 4, 3, padding=1, rng=rng, dtype=dtype),
        layers.BatchNorm2d(4, dtype=dtype),
        layers.Dropout(0.3, rng=seed + 7),
        Concat(layers.Dropout(0.2, rng=shared), layers.Dropout(0.5, rng=shared)),
        scores=layers.Conv2d(8, classes, 1, rng=rng, dtype=dtype),
    )


class Training:
    """A training that can be cut anywhere: net, optimiser, schedule, and batches that depend on the step alone."""

    def __init__(self, seed=0, kind="adam", dtype=np.float32):
        self.net, self.dtype = small_net(seed, dtype=dtype), dtype
        parameters = self.net.parameters()
        self.optimizer = {
            "adam": lambda: optim.AdamW(parameters, lr=0.01),
            "momentum": lambda: optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
            "plain": lambda: optim.SGD(parameters, lr=0.1),
        }[kind]()
        self.schedule = schedules.Warmup(schedules.CosineAnnealingLR(self.optimizer, 20), 3)

    def run(self, first, last):
        """The losses of the steps first..last-1."""
        loss, curve = losses.CrossEntropyLoss(), []
        for step in range(first, last):
            rng = np.random.default_rng((5, step))
            x = rng.standard_normal((2, 1, 6, 6)).astype(self.dtype)
            scores, saved = self.net.forward(x)
            value, loss_saved = loss.forward(scores, (x[:, 0] > 0).astype(np.int64))
            self.optimizer.zero_grad()
            self.net.backward(loss.backward(loss_saved), saved)
            self.optimizer.step()
            self.schedule.step()
            curve.append(value)
        return curve

    def save(self, path, **more):
        save(path, self.net, self.optimizer, self.schedule, **more)

    def restore(self, path, **options):
        return restore(load(path), self.net, self.optimizer, self.schedule, **options)


def everything(training):
    """All that a training consists of, as comparable text."""
    states = {**training.net.state_dict(), **training.optimizer.state_dict(), **training.schedule.state_dict()}
    arrays = {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in states.items()}
    return arrays, json.dumps(checkpoint.generator_states(training.net), sort_keys=True)


# ------------------------------------------------------------------ what goes in comes out


@pytest.mark.parametrize("kind", ["adam", "momentum", "plain"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_a_resumed_training_is_the_one_that_never_stopped(tmp_path, kind, dtype, stop):
    whole = Training(0, kind, dtype)
    curve = whole.run(0, 8)
    first = Training(0, kind, dtype)
    first.run(0, stop)
    first.save(tmp_path / "last.safetensors")
    second = Training(1, kind, dtype)
    second.run(0, 2)  # anything: all of it is to be replaced
    assert second.restore(tmp_path / "last.safetensors") == ([], [], [])
    assert everything(second) == everything(first)
    assert second.run(stop, 8) == curve[stop:]
    assert everything(second) == everything(whole)


def test_dropout_goes_on_with_the_next_numbers(tmp_path):
    """What the comparison above rests on: without the generators' states the masks would be others."""
    net, x = small_net(), np.ones((1, 1, 6, 6), np.float32)
    net(x)
    save(tmp_path / "a.safetensors", net)
    expected = net(x)
    again = small_net()
    restore(load(tmp_path / "a.safetensors"), again)
    np.testing.assert_array_equal(again(x), expected)
    again = small_net()
    again.load_state_dict(load(tmp_path / "a.safetensors").tensors)
    assert not np.array_equal(again(x), expected)


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_kind_of_generator(tmp_path, bits):
    def net(seed):
        return layers.Dropout(0.5, rng=np.random.Generator(getattr(np.random, bits)(seed)))

    mine, x = net(3), np.ones((3, 7), np.float32)
    mine(x)
    save(tmp_path / "a.safetensors", mine)
    other = net(4)
    restore(load(tmp_path / "a.safetensors"), other)
    for _ in range(3):
        np.testing.assert_array_equal(other(x), mine(x))


def test_state_and_config_come_back(tmp_path):
    state = {"epoch": 3, "best": 0.1 + 0.2, "history": [{"val_miou": math.nan}, {"val_miou": math.inf}], "none": None}
    save(tmp_path / "a.safetensors", small_net(), state=state, config={"model": "ünet", "width": [1, 2]})
    found = load(tmp_path / "a.safetensors")
    assert found.path == tmp_path / "a.safetensors"
    assert found.state["best"] == 0.1 + 0.2
    assert math.isnan(found.state["history"][0]["val_miou"])
    assert found.state["history"][1]["val_miou"] == math.inf
    assert found.config == {"model": "ünet", "width": [1, 2]}
    assert list(found.tensors) == list(small_net().state_dict())
    assert (found.optimizer, found.schedule) == (None, None)
    save(tmp_path / "a.safetensors", small_net())
    assert load(tmp_path / "a.safetensors")[-2:] == ({}, {})


def test_a_plateau_that_has_seen_nothing_has_an_infinite_best(tmp_path):
    net = small_net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    schedule = schedules.ReduceLROnPlateau(optimizer, mode="max")
    save(tmp_path / "a.safetensors", net, optimizer, schedule)
    schedule.step(0.5)
    restore(load(tmp_path / "a.safetensors"), net, optimizer, schedule)
    assert schedule.best == -math.inf


def test_any_framework_can_read_the_tensors(tmp_path):
    from safetensors.numpy import load_file

    net = small_net()
    save(tmp_path / "a.safetensors", net, optim.Adam(net.parameters()))
    arrays = load_file(tmp_path / "a.safetensors")
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(arrays[f"net.{name}"], value)
    assert sum(name.startswith("optimizer.m.") for name in arrays) == len(net.parameters())


def test_saving_changes_nothing(tmp_path):
    training = Training()
    training.run(0, 2)
    before = everything(training)
    training.save(tmp_path / "a.safetensors", state={"epoch": 1})
    assert everything(training) == before


def test_the_same_training_gives_the_same_file(tmp_path):
    for name in ("a", "b"):
        training = Training()
        training.run(0, 2)
        training.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_float32_values_in_a_float64_net(tmp_path):
    net = small_net()
    save(tmp_path / "a.safetensors", net)
    double = small_net(1, dtype=np.float64)
    restore(load(tmp_path / "a.safetensors"), double)
    for name, value in double.state_dict().items():
        assert value.dtype == np.float64
        np.testing.assert_array_equal(value, net.state_dict()[name])


def test_shared_parameters_and_empty_states(tmp_path):
    conv = layers.Conv2d(2, 2, 3, padding=1, rng=0)
    save(tmp_path / "a.safetensors", Sequential(conv, layers.ReLU(), conv))
    other = layers.Conv2d(2, 2, 3, padding=1, rng=1)
    restore(load(tmp_path / "a.safetensors"), Sequential(other, layers.ReLU(), other))
    np.testing.assert_array_equal(other.weight.value, conv.weight.value)
    save(tmp_path / "a.safetensors", layers.ReLU())
    assert restore(load(tmp_path / "a.safetensors"), layers.ReLU()) == ([], [], [])


@pytest.mark.parametrize("state", [{"f": np.float32(1)}, {"f": {1, 2}}, {"f": Path("x")}])
def test_a_state_that_json_cannot_hold(tmp_path, state):
    with pytest.raises(TypeError, match=r"a\.safetensors: state and config must be what JSON can hold: .* is a "):
        save(tmp_path / "a.safetensors", small_net(), state=state)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ files that are no checkpoint


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "last.safetensors"
    Training().save(path, state={"epoch": 1})
    return path


def broken(path):
    """The message of loading it."""
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x00", bytes(8), bytes([9, *bytes(7)]) + b"{"])
def test_empty_files(good, content):
    good.write_bytes(content)
    assert "is damaged or was cut short" in broken(good)
    assert "use another checkpoint of the same training" in broken(good)


@pytest.mark.parametrize("content", [b"hello, this is a text", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(99)])
def test_foreign_files(good, content):
    good.write_bytes(content)
    assert f"is no checkpoint (it begins with {content[:16]!r}), or its beginning is damaged" in broken(good)
    assert "give one that `minisegnet train` or minisegnet.checkpoint.save wrote" in broken(good)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_files_cut_short(good, share):
    content = good.read_bytes()
    good.write_bytes(content[: int(share * len(content))])
    assert "was cut short" in broken(good)


def test_files_with_something_behind(good):
    good.write_bytes(good.read_bytes() + b"\0")
    assert "damaged" in broken(good)


def test_any_flipped_bit_is_noticed(good):
    """In the header, in the metadata, in the numbers: at 60 places."""
    content = good.read_bytes()
    rng = np.random.default_rng(0)
    for place in [0, 8, 9, *rng.integers(10, len(content), 57)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        good.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"damaged|is a safetensors file, but"):
            load(good)
    good.write_bytes(content)
    assert load(good).state == {"epoch": 1}


def test_a_safetensors_file_of_somebody_else(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.ones(3, np.float16)}, tmp_path / "a.safetensors")
    assert "is a safetensors file, but not a checkpoint of minisegnet; give one that" in broken(
        tmp_path / "a.safetensors"
    )
    save_file({}, tmp_path / "b.safetensors", {"minisegnet": "checkpoint 9\n"})
    assert "'checkpoint 9', and this version" in broken(tmp_path / "b.safetensors")
    assert "install a newer minisegnet" in broken(tmp_path / "b.safetensors")


def test_no_file_names_those_that_are_there(good):
    with pytest.raises(
        FileNotFoundError, match=r"best\.safetensors does not exist; checkpoints there: last\.safetensors"
    ):
        load(good.parent / "best.safetensors")
    with pytest.raises(FileNotFoundError, match=r"is a folder, not a checkpoint; checkpoints there: last\.safetensors"):
        load(good.parent)
    with pytest.raises(FileNotFoundError, match="does not exist; checkpoints there: none"):
        load(good.parent / "no" / "such")


# ------------------------------------------------------------------ nets that don't fit


def test_another_net_is_told_what_differs(tmp_path, good):
    other = Sequential(
        layers.Conv2d(1, 4, 3, padding=1, rng=0), layers.BatchNorm2d(5), extra=layers.Linear(2, 2, rng=0)
    )
    before = other.state_dict()
    with pytest.raises(CheckpointError) as caught:
        restore(load(good), other)
    text = str(caught.value)
    assert text.startswith(f"{good} doesn't fit this net:\n")
    assert "\n  1.weight: (4,) in the file, (5,) in the net\n" in text
    assert "\n  extra.weight: not in the file\n" in text
    assert "\n  scores.weight: not in the net\n" in text
    assert "strict=False" in text
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_long_list_of_differences_is_cut(tmp_path):
    save(tmp_path / "a.safetensors", Sequential(*(layers.Linear(2, 2, rng=0) for _ in range(20))))
    with pytest.raises(CheckpointError) as caught:
        restore(load(tmp_path / "a.safetensors"), Sequential(*(layers.Linear(3, 3, rng=0) for _ in range(20))))
    assert "and 28 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 15


def test_fine_tuning_takes_what_fits(good):
    saved = load(good).tensors
    net = Sequential(*list(small_net(5))[:2], scores=layers.Conv2d(8, 7, 1, rng=3), extra=layers.Linear(2, 2, rng=0))
    before = net.state_dict()
    found = restore(load(good), net, strict=False)
    assert found.missing == ["extra.weight", "extra.bias"]
    assert found.unexpected == []
    assert found.reshaped == ["scores.weight", "scores.bias"]
    for name, value in net.state_dict().items():
        own = name.startswith(("scores", "extra"))
        np.testing.assert_array_equal(value, before[name] if own else saved[name])
    assert restore(load(good), Sequential(next(iter(small_net()))), strict=False).unexpected[0] == "1.weight"


def test_fine_tuning_keeps_the_nets_own_generators(good):
    net = small_net(3)
    before = json.dumps(checkpoint.generator_states(net))
    restore(load(good), net, strict=False)
    assert json.dumps(checkpoint.generator_states(net)) == before


def test_nothing_in_common_is_an_error_even_then(good):
    with pytest.raises(CheckpointError, match="has nothing in common with this net; build the net as"):
        restore(load(good), layers.Linear(2, 2, rng=0), strict=False)


def test_other_generators_are_another_net(good):
    net = small_net()
    net[2].rng = np.random.Generator(np.random.SFC64(0))
    with pytest.raises(CheckpointError, match=r"its random generators are \{'2\.rng': 'PCG64'.*the net's.*'SFC64'"):
        restore(load(good), net)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "text"),
    [
        (optim.Adam, None, r"saved with the optimizer AdamW, this is Adam; to continue a training, use what it was"),
        (optim.SGD, None, r"saved with the optimizer AdamW, this is SGD"),
        (
            optim.AdamW,
            lambda o: schedules.CosineAnnealingLR(o, 20),
            r"schedule Warmup\(CosineAnnealingLR\), this is Cos",
        ),
        (
            optim.AdamW,
            lambda o: schedules.Warmup(schedules.ExponentialLR(o, 0.9), 3),
            r"schedule Warmup\(CosineAnnealingLR\), this is Warmup\(ExponentialLR\)",
        ),
        (
            optim.AdamW,
            lambda o: schedules.Warmup(schedules.CosineAnnealingLR(o, 20), 9),
            "doesn't fit this schedule: Warmup: this state took 4 steps, 1 of them after",
        ),
    ],
)
def test_another_optimiser_or_schedule_changes_nothing(tmp_path, optimizer, schedule, text):
    training = Training()
    training.run(0, 4)
    training.save(tmp_path / "a.safetensors")
    other = Training(3)
    other.optimizer = optimizer(other.net.parameters(), lr=0.5)
    if schedule:
        other.schedule = schedule(other.optimizer)
    before = everything(other)
    with pytest.raises(CheckpointError, match=text):
        other.restore(tmp_path / "a.safetensors")
    assert everything(other) == before


def test_an_optimiser_of_fewer_parameters(tmp_path, good):
    net = small_net()
    frozen = optim.AdamW(net.parameters()[2:], lr=0.1)
    with pytest.raises(
        CheckpointError, match=r"last\.safetensors doesn't fit this optimizer: AdamW can't load this st"
    ):
        restore(load(good), net, frozen)


def test_a_checkpoint_without_optimiser_cannot_be_resumed(tmp_path):
    save(tmp_path / "a.safetensors", small_net())
    with pytest.raises(
        CheckpointError, match=r"has no optimizer state: it can be used and fine-tuned \(--init\), but its training"
    ):
        Training().restore(tmp_path / "a.safetensors")


# ------------------------------------------------------------------ writing in one piece


def test_bytes_and_text_are_written_as_they_are(tmp_path):
    atomic_write(tmp_path / "a", b"\x00\r\n\xff")
    atomic_write(str(tmp_path / "b"), "ä\r\n")
    assert (tmp_path / "a").read_bytes() == b"\x00\r\n\xff"
    assert (tmp_path / "b").read_bytes() == "ä\r\n".encode()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


STEPS = {"opening": (files, "write_through"), "fsync": (os, "fsync"), "renaming": (os, "replace")}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_an_error_at_any_step_leaves_the_old_file_alone(good, monkeypatch, step, error):
    def fail(*args, **kwargs):
        raise error

    before = good.read_bytes()
    monkeypatch.setattr(*STEPS[step], fail)
    with pytest.raises(type(error)) as caught:
        save(good, small_net(5))
    assert good.read_bytes() == before
    assert [p.name for p in good.parent.iterdir()] == [good.name]
    if isinstance(error, OSError):
        assert str(caught.value).endswith(
            f"can't write {good}: No space left on device; nothing that existed was changed"
        )
        assert caught.value.errno == errno.ENOSPC


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"can't write .*a\.txt: .*, there is no folder .*none; nothing that"):
        atomic_write(tmp_path / "none" / "a.txt", "")


def test_stray_files_are_ignored_and_cleared_away(good):
    strays = [good.with_name(f".{good.name}.{digits}.tmp") for digits in ("01234567", "89abcdef")]
    others = [good.with_name(name) for name in (".best.safetensors.01234567.tmp", "last.safetensors.tmp", "notes.tmp")]
    for path in (*strays, *others):
        path.write_bytes(b"half a checkpoint")
    assert load(good).state == {"epoch": 1}
    save(good, small_net())
    assert not any(path.exists() for path in strays)
    assert all(path.exists() for path in others)


def test_names_with_wildcards_clear_only_their_own(tmp_path):
    other = tmp_path / ".b.01234567.tmp"
    other.write_bytes(b"")
    atomic_write(tmp_path / "[ab]", "")
    assert other.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs rights on Windows")
def test_a_symbolic_link_stays_one(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "runs" / "file")
    atomic_write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "runs" / "file").read_text(encoding="utf-8") == "text"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_it_if_the_umask_says_so(tmp_path):
    atomic_write(tmp_path / "a", "")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~umask


# ------------------------------------------------------------------ processes that end in the middle

CHILD = """
import sys, numpy as np
sys.path.insert(0, sys.argv[1])
from minisegnet import checkpoint, layers
net = layers.Linear(400, 400, rng=0)
number = int(sys.argv[3])
while True:
    number += 1
    net.weight.value[:] = number
    checkpoint.save(sys.argv[2], net, state={"number": number})
    print(number, flush=True)
"""


def kill_while_saving(path, seconds, number):
    """Start saving checkpoints number + 1, ... and kill the process `seconds` after the first; the last it finished."""
    command = [sys.executable, "-c", CHILD, ROOT, path, number]
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as child:
        first = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        said = child.stdout.read().split("\n")[:-1]  # the last line is complete or empty
    return int((said or [first])[-1])


def killed(path, times):
    """Kill at random moments; each time the file must be whole, and the last one finished or the one after it."""
    rng, number, strays = np.random.default_rng(0), 0, 0
    for _ in range(times):
        finished = kill_while_saving(path, rng.uniform(0, 0.05), number)
        strays += len(list(path.parent.glob(".*.tmp")))
        found = load(path)
        number = found.state["number"]
        assert number in (finished, finished + 1)
        assert (found.tensors["weight"] == number).all()
    save(path, layers.ReLU())
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return strays


def test_killed_while_saving(tmp_path):
    killed(tmp_path / "last.safetensors", 3)


@pytest.mark.slow
def test_killed_fifty_times_while_saving(tmp_path):
    assert killed(tmp_path / "last.safetensors", 50), "the moments were never in the middle of writing"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_gone_at_the_worst_moments(good, step):
    """The process ends at once when the data are written but not renamed, and with data that are not yet written."""
    code = f"""
import os, sys
sys.path.insert(0, sys.argv[1])
from minisegnet import checkpoint, layers
os.{step} = lambda *args: os._exit(9)
checkpoint.save(sys.argv[2], layers.Linear(2, 2, rng=0))
"""
    before = good.read_bytes()
    assert subprocess.run([sys.executable, "-c", code, str(ROOT), str(good)]).returncode == 9
    assert good.read_bytes() == before
    assert len(list(good.parent.glob(f".{good.name}.????????.tmp"))) == 1
    save(good, small_net())
    assert [p.name for p in good.parent.iterdir()] == [good.name]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_the_old_file_and_names_it(good):
    """A limit on the size of files stops the writing in the middle, as a full disk does."""
    code = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from minisegnet import checkpoint, layers
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
checkpoint.save(sys.argv[2], layers.Linear(400, 400, rng=0))
"""
    before = good.read_bytes()
    done = subprocess.run([sys.executable, "-c", code, str(ROOT), str(good)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"can't write {good}: " in done.stderr
    assert "nothing that existed was changed" in done.stderr
    assert good.read_bytes() == before
    assert [p.name for p in good.parent.iterdir()] == [good.name]
    assert load(good).state == {"epoch": 1}
