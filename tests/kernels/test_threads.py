"""Threads and processes: how many there are, that they don't change results, and where they may be used."""

import os
import sys
import threading

import children
import numpy as np
import pytest
import threadpoolctl

import kernels
import minisegnet as ms


@pytest.fixture(autouse=True)
def _as_before():
    """Undo what a test sets in this process."""
    before = kernels.get_num_threads()
    with threadpoolctl.threadpool_limits():
        yield
        kernels.set_num_threads(before)


def blas_threads():
    return {library["num_threads"] for library in threadpoolctl.threadpool_info() if library["user_api"] == "blas"}


# ------------------------------------------------------------------ how many


def test_both_packages_offer_the_same():
    assert ms.set_num_threads is kernels.set_num_threads
    assert ms.get_num_threads is kernels.get_num_threads


@pytest.mark.parametrize("n", [1, np.int64(2), 3])
def test_kernels_and_blas_follow(n):
    kernels.set_num_threads(n)
    assert kernels.get_num_threads() == n
    assert type(kernels.get_num_threads()) is int
    if n == 1:  # BLAS may have been built for fewer than the others
        assert blas_threads() == {1}


@pytest.mark.parametrize(
    ("n", "error", "text"),
    [
        (0, ValueError, r"^the number of threads must be at least 1, got 0$"),
        (-2, ValueError, r"^the number of threads must be at least 1, got -2$"),
        (1.0, TypeError, r"^the number of threads must be an integer, got 1\.0$"),
        ("2", TypeError, r"^the number of threads must be an integer, got '2'$"),
        (True, TypeError, r"^the number of threads must be an integer, got True$"),
        (None, TypeError, r"^the number of threads must be an integer, got None$"),
    ],
)
def test_bad_numbers_are_refused_and_change_nothing(n, error, text):
    kernels.set_num_threads(1)
    with pytest.raises(error, match=text):
        kernels.set_num_threads(n)
    assert kernels.get_num_threads() == 1
    assert blas_threads() == {1}


COUNT = "import minisegnet\nprint(minisegnet.get_num_threads())"


def test_the_environment_sets_the_number():
    assert children.run(COUNT, NUMBA_NUM_THREADS=3)[0] == "3"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for nothing in (None, "", "many"):
        assert children.run(COUNT, NUMBA_NUM_THREADS=nothing)[0] == str(cores)


# ------------------------------------------------------------------ results

TRAINING = """
import hashlib, sys
import numpy as np
import minisegnet as ms
from minisegnet import demo
for n in map(int, sys.argv[1:]):
    ms.set_num_threads(n)
    net = demo.small_unet(4, 3, np.random.default_rng(0))
    losses = demo.train(net, 2, np.random.default_rng(1))
    values = b"".join(parameter.value.tobytes() for parameter in net.parameters())
    print("result", hashlib.sha256(values).hexdigest(), *losses)
"""


def test_a_training_gives_the_same_bits_on_any_number_of_threads():
    """Twice in a process that may have compiled the kernels, and once in one that has found them on disk."""
    outputs = children.run(TRAINING, 1, 2)[0] + "\n" + children.run(TRAINING, 3)[0]
    results = [line for line in outputs.splitlines() if line.startswith("result ")]
    assert len(results) == 3
    assert len(set(results)) == 1


def test_several_python_threads_may_compute_at_once():
    kernels.set_num_threads(2)
    arrays = [np.full((2, 3, 100, 100), i - 2, np.float32) for i in range(6)]
    wrong, together = [], threading.Barrier(len(arrays))

    def work(x):
        together.wait()
        for _ in range(100):
            if not np.array_equal(kernels.ops_for(x).relu_forward(x), np.maximum(x, 0)):
                wrong.append(x)

    workers = [threading.Thread(target=work, args=(x,)) for x in arrays]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# ------------------------------------------------------------------ processes

SPAWN = """
import multiprocessing
import numpy as np
import kernels

def relu(x):
    return kernels.ops_for(x).relu_forward(x)

if __name__ == "__main__":
    x = np.array([-1, 2], np.float32)
    relu(x)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.apply(relu, (x,)))
"""


def test_spawned_processes_compute(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SPAWN)
    assert children.run(script, NUMBA_NUM_THREADS=2)[0] == "0.0 2.0"


FORK = """
import os, sys
import numpy as np
import kernels.cpu
x = np.array([-1, 2] * 50000, np.float32)
if sys.argv[1] == "after":
    kernels.ops_for(x).relu_forward(x)
if os.fork() == 0:
    print("child", kernels.ops_for(x).relu_forward(x).sum(), flush=True)
    os._exit(0)
_, status = os.wait()
assert status == 0, status
print("parent", kernels.ops_for(x).relu_forward(x).sum())
"""


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="fork is not to be had, or not safe")
@pytest.mark.parametrize("when", ["before", "after"])
def test_forked_processes_compute_whether_or_not_their_parent_has(when):
    out, _ = children.run(FORK, when, NUMBA_NUM_THREADS=2)
    assert out.splitlines() == ["child 100000.0", "parent 100000.0"]
