"""The pool of buffers for results: ordinary arrays, never two in one place, no fresh memory in a step that repeats."""

import ctypes
import gc
import os
import pickle
import queue
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from op_cases import drawn

import kernels
from kernels.cpu import memory
from kernels.cpu.memory import ALIGNMENT, SMALL, Pool, rounded
from minisegnet import layers, losses, optim

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture
def pool():
    """One that keeps a quarter more than the peak, however small that is."""
    return Pool(spare=0)


def address(a):
    return a.ctypes.data


# ------------------------------------------------------------------ ordinary arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.dtype(np.bool_), "float32"], ids=str)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 5), (1, 70_000), [400, 300], (3, 5, 67, 123)], ids=str)
def test_arrays_look_like_any_other(pool, shape, dtype):
    y = pool.empty(shape, dtype)
    assert type(y) is np.ndarray
    assert (y.shape, y.dtype) == (tuple(shape), np.dtype(dtype))
    assert y.flags.carray
    y[...] = 1
    assert (y == 1).all()
    if y.nbytes >= SMALL:
        assert address(y) % ALIGNMENT == 0


def test_arrays_can_be_copied_pickled_and_made_read_only(pool):
    y = pool.empty((300, 100), np.float32)
    y[...] = np.arange(y.size).reshape(y.shape)
    for other in (y.copy(), pickle.loads(pickle.dumps(y)), np.ascontiguousarray(y.T).T):
        np.testing.assert_array_equal(other, y)
        assert not np.shares_memory(other, y)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        y[0] = 0
    y.flags.writeable = True
    y[0] = 0


def test_small_arrays_are_left_to_numpy(pool):
    assert pool.empty((SMALL - 1,), np.uint8).base is None
    assert pool.made == []
    pool.empty((SMALL,), np.uint8)
    assert pool.made == [SMALL]


def test_empty_like_is_in_c_order():
    a = np.asfortranarray(np.ones((200, 300), np.float32))
    y = memory.empty_like(a)
    assert (y.shape, y.dtype, y.flags.carray) == (a.shape, a.dtype, True)


def test_zeros_are_zero_where_other_numbers_were():
    y = memory.empty((200, 311), np.float64)
    y[...] = 7
    place = address(y)
    del y
    z = memory.zeros((200, 311), np.float64)
    assert address(z) == place
    assert not z.any()


def test_sizes_are_rounded_up_by_a_sixteenth_at_most():
    for nbytes in (SMALL, SMALL + 1, 100_000, 10_813_440, 2**31 - 1):
        assert nbytes <= rounded(nbytes) <= nbytes * 17 / 16
        assert rounded(rounded(nbytes)) == rounded(nbytes)


# ------------------------------------------------------------------ back into the pool and out again


def test_a_buffer_is_used_again(pool):
    y = pool.empty((4, 16, 64, 64), np.float32)
    place = address(y)
    del y
    again = pool.empty((2, 8, 64, 128), np.float64)
    assert address(again) == place
    assert len(pool.made) == 1


VIEWS = {
    "slice": lambda y: y[3:5, ::2],
    "one number": lambda y: y[7:8, 9:10],
    "transposed": lambda y: y.T,
    "reshaped": lambda y: y.reshape(-1),
    "other dtype": lambda y: y.view(np.int32),
    "view of a view": lambda y: y[5:].T[3:, ::2][1],
    "memoryview": memoryview,
    "iterator": lambda y: y.flat,
    "frombuffer": lambda y: np.frombuffer(y, np.uint8),
}


@pytest.mark.parametrize("name", VIEWS)
def test_any_view_keeps_the_buffer(pool, name):
    y = pool.empty((200, 125), np.float32)
    y[...] = 3
    view = VIEWS[name](y)
    del y
    assert pool.unused() == 0
    other = pool.empty((200, 125), np.float32)
    other[...] = 4
    if name not in ("other dtype", "frombuffer", "memoryview"):
        assert set(np.asarray(view).ravel()) == {3}
    del view
    assert pool.unused() == rounded(other.nbytes)


class Arrays(RuleBasedStateMachine):
    """Arrays come and go; each is filled with a number of its own, which must stay in it."""

    def __init__(self):
        super().__init__()
        self.pool, self.live, self.count, self.peak = Pool(spare=100_000), [], 0, 0

    @rule(kibibytes=st.sampled_from([63, 64, 65, 100, 200, 400, 900]), dtype=st.sampled_from("fd"))
    def make(self, kibibytes, dtype):
        y = self.pool.empty((kibibytes, 1024 // np.dtype(dtype).itemsize), dtype)
        self.count += 1
        y[...] = self.count
        self.live.append((self.count, y))
        self.peak = max(self.peak, self.in_use())

    @rule(choice=st.randoms(use_true_random=False))
    def keep_a_view(self, choice):
        if self.live:
            i = choice.randrange(len(self.live))
            self.live[i] = self.live[i][0], self.live[i][1][1:, 3:]

    @rule(choice=st.randoms(use_true_random=False))
    def drop(self, choice):
        if self.live:
            self.live.pop(choice.randrange(len(self.live)))

    @rule()
    def release(self):
        self.pool.release()
        self.peak = self.in_use()
        assert self.pool.unused() == 0

    def in_use(self):
        return sum(self.pool.made) - self.pool.unused()

    @invariant()
    def no_array_was_overwritten(self):
        for number, y in self.live:
            assert (y == number).all()

    @invariant()
    def the_pool_counts_right_and_keeps_its_bound(self):
        whole = [y if y.base is None or y.flags.carray else y.base for _, y in self.live]
        sizes = [ctypes.sizeof(y.base) for y in whole if y.nbytes >= SMALL]
        assert self.pool.in_use() == sum(sizes)
        assert sum(self.pool.made) <= self.peak + max(self.peak // 4, 100_000)


TestArrays = Arrays.TestCase
TestArrays.settings = drawn(50)


def test_what_waits_is_bounded_by_what_was_in_use(pool):
    big = [pool.empty((30 * MIB,), np.uint8) for _ in range(4)]
    peak = pool.in_use()
    assert peak == 120 * MIB
    del big
    assert pool.unused() == peak
    kept = [pool.empty((MIB,), np.uint8) for _ in range(31)]  # 30 of them are the quarter more that is allowed
    assert sum(pool.made) == 4 * 30 * MIB + 31 * MIB - 30 * MIB
    assert pool.peak == peak
    kept += [pool.empty((MIB,), np.uint8) for _ in range(300)]  # now these are the peak, and one of the big may stay
    assert (pool.in_use(), pool.unused(), pool.peak) == (331 * MIB, 30 * MIB, 331 * MIB)


def test_the_size_that_was_made_last_is_kept_longest(pool):
    pool.empty((64 * MIB,), np.uint8)  # so 80 may be held
    for size in (20, 22, 3, 24, 40):
        pool.empty((size * MIB,), np.uint8)
    assert sorted(pool.made) == [3 * MIB, 24 * MIB, 40 * MIB]
    pool.empty((44 * MIB,), np.uint8)
    assert sorted(pool.made) == [44 * MIB]


def test_a_buffer_up_to_twice_as_large_serves_too(pool):
    large, larger = pool.empty((6 * MIB,), np.uint8), pool.empty((7 * MIB,), np.uint8)
    places = address(large), address(larger)
    del large, larger
    small, other = pool.empty((3 * MIB,), np.uint8), pool.empty((3 * MIB,), np.uint8)  # 7 is too large
    assert address(small) == places[0]
    assert address(other) not in places
    assert (pool.in_use(), pool.unused()) == ((6 + 3) * MIB, 7 * MIB)
    del small
    assert address(pool.empty((5 * MIB,), np.uint8)) == places[0]


def test_release_gives_back_what_waits_and_nothing_else(pool):
    kept, dropped = pool.empty((MIB,), np.uint8), pool.empty((3 * MIB,), np.uint8)
    kept[...] = 5
    del dropped
    pool.release()
    assert (pool.in_use(), pool.unused(), pool.peak) == (MIB, 0, MIB)
    assert (kept == 5).all()
    del kept
    assert pool.unused() == MIB
    memory.release()
    assert memory.pool.unused() == 0


# ------------------------------------------------------------------ no memory left


def test_an_array_that_is_too_large_is_named(pool):
    text = r"^no memory for an array of shape \(1048576, 1073741824\), float32: 4,294,967,296\.0 MiB; use a smaller"
    with pytest.raises(MemoryError, match=text):
        pool.empty((2**20, 2**30), np.float32)
    with pytest.raises(MemoryError, match=r"^no memory for an array of shape \(4611686018427387904,\), float64"):
        pool.empty((2**62,), np.float64)
    assert pool.made == []


def test_what_waits_is_given_back_before_giving_up(pool, monkeypatch):
    def no_memory_while_some_waits(size, make=memory.new_buffer):
        if pool.unused():
            raise MemoryError
        return make(size)

    monkeypatch.setattr(memory, "new_buffer", no_memory_while_some_waits)
    pool.empty((MIB,), np.uint8)
    assert pool.unused() == MIB
    y = pool.empty((2 * MIB,), np.uint8)
    assert pool.made == [y.nbytes]


# ------------------------------------------------------------------ threads, garbage, other processes, the end


def test_threads_never_share_a_buffer(pool):
    """Each thread fills arrays with its number, and lets others look at them and be the last to hold them."""
    passed_on, wrong = queue.SimpleQueue(), []

    def work(number):
        rng = np.random.default_rng(number)
        for turn in range(300):
            y = pool.empty((int(rng.choice([70_000, 90_000, 200_000])),), np.uint8)
            y[...] = number
            if turn % 2:
                passed_on.put((number, y))
            if turn % 3 == 0 and not passed_on.empty():
                owner, other = passed_on.get()
                wrong.extend([owner] if (other != owner).any() else [])
            wrong.extend([number] if (y != number).any() else [])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []
    while not passed_on.empty():
        passed_on.get()
    assert pool.in_use() == 0
    waiting = sorted(buffer.address for Owner in pool.owners.values() for buffer in Owner.waiting)
    assert len(waiting) == len(set(waiting)) == len(pool.made)


class Node:
    """Something that only the garbage collector can delete."""

    def __init__(self, array):
        self.array, self.itself = array, self


def test_arrays_may_die_in_garbage_collection_while_others_are_made(pool):
    before = gc.get_threshold()
    gc.freeze()  # a full collection waits until the objects have become a quarter more: so there must be few of them
    gc.collect()
    gc.set_threshold(3, 1, 1)  # collect at nearly every new object, so also inside of `empty`
    try:
        for i in range(2000):
            node = Node(pool.empty((70_000 + i % 7 * 10_000,), np.uint8))
            node.array[...] = i % 256
            assert (node.array == i % 256).all()
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    del node
    gc.collect()
    assert pool.in_use() == 0
    assert len(pool.made) < 500


def python(code):
    """Standard output of a Python process of its own, which must say nothing on standard error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


START = """
import os, threading, numpy as np
from kernels.cpu.memory import empty, pool
class Node:
    pass
y = empty((300, 300), np.float32)
y[...] = 1
"""


def test_the_interpreter_ends_quietly_with_arrays_alive():
    code = "node = Node(); node.array, node.itself, Node.array = empty((9, 9999), 'f'), node, y[3:]; pool.kept = y"
    assert python(START + code + "\nprint('end')") == "end\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_a_pool_of_its_own():
    code = """
stop = threading.Event()
def busy():
    while not stop.is_set():
        empty((500, 500), np.float32)
thread = threading.Thread(target=busy)
thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        a, b = empty((300, 300), np.float32), empty((300, 300), np.float32)
        a[...], b[...] = 2, 3
        os._exit(0 if (y == 1).all() and (a == 2).all() and (b == 3).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
thread.join()
print((y == 1).all())
"""
    assert python("import warnings; warnings.simplefilter('ignore')" + START + code) == "True\n"


# ------------------------------------------------------------------ what it is for


def test_results_and_copies_of_ops_come_from_the_pool():
    x = np.random.default_rng(0).standard_normal((2, 4, 60, 70)).astype(np.float32)
    with kernels.use("cpu") as ops:
        y, argmax = ops.max_pool2d_forward(np.concatenate([x] * 4, axis=3), 2, 2, 0, 1, False)
        results = [
            ops.relu_forward(x),
            ops.relu_backward(x, x),
            ops.add_forward([x, x]),
            ops.concat_forward([x, x]),
            ops.batch_norm_train_forward(x, None, None, 1e-5)[0],
            ops.batch_norm_train_backward(x, x, None, np.zeros(4), np.ones(4), 1e-5)[0],
            ops.upsample_nearest2d_forward(x, (120, 140), (0.5, 0.5)),
            ops.softmax_cross_entropy_forward(x, np.zeros((2, 60, 70), int), None, -100, 0.0)[1],
            ops.max_pool2d_backward(y, argmax, (2, 4, 60, 280)),
            y,
            argmax,
        ]
    for result in results:
        assert type(result.base).__name__ == "Owner"


def test_a_training_step_that_repeats_takes_no_fresh_memory(monkeypatch):
    rng = np.random.default_rng(0)
    conv = {"kernel_size": 3, "padding": 1, "rng": rng}
    inner = layers.Sequential(
        layers.MaxPool2d(2), layers.Conv2d(8, 16, **conv), layers.ReLU(), layers.ConvTranspose2d(16, 8, 2, 2, rng=rng)
    )
    net = layers.Sequential(
        layers.Conv2d(3, 8, **conv),
        layers.BatchNorm2d(8),
        layers.ReLU(),
        layers.Concat(layers.Identity(), inner),
        layers.Conv2d(16, 4, **conv),
    )
    x, target = rng.standard_normal((2, 3, 64, 80)).astype(np.float32), rng.integers(0, 4, (2, 64, 80))
    loss, adam = losses.CrossEntropyLoss(), optim.Adam(net.parameters())

    def step():
        scores, saved = net.forward(x)
        value, loss_saved = loss.forward(scores, target)
        net.zero_grad()
        net.backward(loss.backward(loss_saved), saved)
        adam.step()
        return value

    def no_fresh_memory(size):
        pytest.fail(f"a new buffer of {size} bytes")

    with kernels.use("cpu"):
        first = step(), step()
        gc.collect()  # compiling leaves garbage that holds arrays
        step()
        assert memory.pool.unused() > MIB
        monkeypatch.setattr(memory, "new_buffer", no_fresh_memory)
        later = [step() for _ in range(3)]
    assert later[-1] < first[0]
