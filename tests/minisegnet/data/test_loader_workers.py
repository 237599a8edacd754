"""Worker processes: the same batches as without, errors that arrive, and nobody left behind."""

import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from loader_cases import Mixed, OddError, Pictures, Trouble, Unpicklable

import minisegnet
from minisegnet import ShapeError
from minisegnet.data.dataset import DataError
from minisegnet.data.loader import DataLoader, WorkerError
from minisegnet.data.transforms import ColorJitter, Compose, HorizontalFlip, RandomCrop, Rotate
from minisegnet.data.workers import portable

ROOT = pathlib.Path(minisegnet.__file__).parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture(autouse=True)
def quick_and_clean():
    """Each of these tests is done within seconds and leaves no process."""
    start = time.monotonic()
    yield
    assert multiprocessing.active_children() == []
    assert time.monotonic() - start < 60


def test_the_same_batches_whatever_the_number_of_workers():
    transform = Compose([ColorJitter(0.3, 0.3, 0.3, 0.1), RandomCrop(4, 3), HorizontalFlip(), Rotate(30)])
    loaders = [
        DataLoader(Pictures(7), 2, shuffle=True, workers=workers, rng=3, transform=transform, prefetch=prefetch)
        for workers, prefetch in ((0, 1), (1, 3), (3, 1))
    ]
    for epoch, start in ((0, 0), (1, 1)):
        one, *others = [list(loader.batches(epoch, start)) for loader in loaders]
        assert len(one) == 4 - start
        for other in others:
            assert [batch.indices for batch in one] == [batch.indices for batch in other]
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a.images, b.images)
                np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("leave", r"^data worker 1 \(process \d+\) ended with exit code 3$"),
        pytest.param(
            "be_killed",
            r"^data worker 1 \(process \d+\) was killed by signal 9 \(SIGKILL\), perhaps because memory ran out$",
            marks=posix,
        ),
    ],
)
def test_a_worker_that_dies_is_an_error(what, text):
    batches = iter(DataLoader(Trouble(8, 6, what), 2, workers=2))
    assert [next(batches).indices for _ in range(3)] == [(0, 1), (2, 3), (4, 5)]
    with pytest.raises(WorkerError, match=text):
        next(batches)


@posix
def test_a_worker_that_is_killed_from_outside_is_an_error():
    batches = iter(DataLoader(Trouble(8, 3, "sleep"), 1, workers=2))
    next(batches)
    victim = next(p for p in multiprocessing.active_children() if p.name == "minisegnet data 1")
    assert next(batches).indices == (1,)
    assert next(batches).indices == (2,)
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match=rf"^data worker 1 \(process {victim.pid}\) was killed by signal 9"):
        next(batches)


@posix
def test_a_worker_leaves_the_interrupt_to_the_main_process():
    """Ctrl-C reaches all processes of a terminal, but a training finishes its step, which may need another batch."""
    batches = iter(DataLoader(Trouble(6, 3, "nap"), 1, workers=1))
    assert next(batches).indices == (0,)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGINT)
    assert [batch.indices for batch in batches] == [(1,), (2,), (3,), (4,), (5,)]


@pytest.mark.parametrize(
    ("dataset", "kind", "text"),
    [
        (Trouble(4, 1, "raise_error"), DataError, r"^train/0001.png: OSError: image file is truncated\n"),
        (Trouble(4, 1, "raise_data_error"), DataError, r"^/pictures/7.png: is half a PNG\n"),
        (
            Mixed([(np.zeros((size, 3, 1), np.uint8), None) for size in (2, 5)]),
            ShapeError,
            r"^pictures of different sizes can't form a batch: val/0.jpg is 2x3, val/1.jpg is 5x3",
        ),
    ],
)
def test_an_error_in_a_worker_arrives(dataset, kind, text):
    with pytest.raises(kind, match=text) as caught:  # matched against the text and its notes
        list(DataLoader(dataset, 2, workers=1))
    (note,) = caught.value.__notes__
    assert note.startswith("in data worker 0:\nTraceback")


def test_errors_that_can_not_travel_are_described():
    error = portable(OddError("one", "two"), "in data worker 0: ...")
    assert type(error) is RuntimeError
    assert str(error) == "OddError: one and two"
    assert "in data worker 0" in error.__notes__[0]


def test_a_data_set_that_can_not_be_sent():
    with pytest.raises(TypeError, match=r"can't be sent to worker processes \(.*\); define .* or use workers=0$"):
        next(iter(DataLoader(Unpicklable(), 2, workers=1)))
    assert next(iter(DataLoader(Unpicklable(), 2))).indices == (0, 1)


def test_leaving_the_loop_stops_the_workers():
    for batch in DataLoader(Trouble(9, 2, "sleep"), 1, workers=2):  # the next batch of worker 0 takes ten minutes
        assert batch.indices == (0,)
        assert "minisegnet data 0" in [process.name for process in multiprocessing.active_children()]
        break
    assert multiprocessing.active_children() == []


def test_an_interrupt_while_waiting_stops_the_workers():
    batches = iter(DataLoader(Trouble(9, 2, "sleep"), 1, workers=2))
    next(batches)
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt)


# ------------------------------------------------------------------ scripts

SCRIPT = """
import sys
sys.path.insert(0, {cases!r})
from loader_cases import Pictures, Trouble
from minisegnet.data.loader import DataLoader

def main():
    for batch in DataLoader({dataset}, 1, workers=2):
        print(*batch.indices, flush=True)

{run}
"""
GUARDED = 'if __name__ == "__main__":\n    main()'


def start_script(folder, dataset="Trouble(9, 2, 'sleep')", run=GUARDED):
    """A running script that reads batches. Its standard output ends when the last of its processes has ended."""
    path = folder / "script.py"
    cases = str(pathlib.Path(__file__).parent)
    path.write_text(SCRIPT.format(cases=cases, dataset=dataset, run=run), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_script_with_workers(tmp_path):
    output, errors = start_script(tmp_path, "Pictures(5)").communicate(timeout=60)
    assert (output.split(), errors) == (["0", "1", "2", "3", "4"], "")


@posix
def test_ctrl_c_ends_all_processes_quietly(tmp_path):
    """In a terminal the workers get the signal too; only the main process may react."""
    script = start_script(tmp_path)
    assert [script.stdout.readline() for _ in range(2)] == ["0\n", "1\n"]
    os.killpg(script.pid, signal.SIGINT)
    output, errors = script.communicate(timeout=30)  # until standard output ends: no process has it any more
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    assert "Process minisegnet data" not in errors
    assert script.returncode != 0


@posix
def test_workers_end_when_the_main_process_is_killed(tmp_path):
    script = start_script(tmp_path, "Pictures(200, size=(200, 200))")  # a batch is more than a pipe takes
    assert script.stdout.readline() == "0\n"
    os.kill(script.pid, signal.SIGKILL)
    output, errors = script.communicate(timeout=30)
    assert "199" not in output
    assert "Traceback" not in errors
    assert script.returncode == -signal.SIGKILL


def test_a_script_without_guard_is_told(tmp_path):
    output, errors = start_script(tmp_path, "Pictures(5)", run="main()").communicate(timeout=60)
    assert output == ""
    assert "WorkerError: data worker 0 " in errors
    assert 'needs `if __name__ == "__main__":` around what it runs' in errors
