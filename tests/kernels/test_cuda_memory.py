"""The pool that keeps the GPU's memory for reuse, with a made-up driver, and what is said when memory runs out."""

import types

import numpy as np
import pytest

from kernels.cuda import memory


class Driver:
    """Hands out blocks by number until `room` bytes are gone."""

    def __init__(self, room):
        self.room, self.asked = room, []

    def allocate(self, size):
        self.asked.append(size)
        if sum(self.held) + size > self.room:
            raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")
        return Block(self, size)

    @property
    def held(self):
        return [size for size, alive in Block.alive if alive and size]


class Block:
    alive: list = []  # noqa: RUF012  # [size, whether it is held], of all blocks of the test

    def __init__(self, driver, size):
        self.entry = [size, True]
        Block.alive.append(self.entry)

    def __del__(self):
        self.entry[1] = False


@pytest.fixture
def driver():
    Block.alive.clear()
    return Driver(room=8 * 2**20)


def test_memory_comes_back_for_the_next_array_of_its_size(driver):
    pool = memory.Pool(driver.allocate)
    first = pool.take(1000)
    assert driver.asked == [1024]
    pool.give_back(1000, first)
    assert (pool.in_use, pool.kept()) == (0, 1024)
    assert pool.take(600) is first  # 600 bytes need the same 1024
    assert pool.in_use == 1024
    assert pool.take(600) is not first
    assert driver.asked == [1024, 1024]


def test_what_is_kept_is_handed_back_before_memory_runs_out(driver):
    pool = memory.Pool(driver.allocate)
    block = pool.take(5 * 2**20)
    pool.give_back(5 * 2**20, block)
    del block
    other = pool.take(6 * 2**20)  # another size, and there is no room for both
    assert other is not None
    assert pool.kept() == 0
    with pytest.raises(RuntimeError, match="OUT_OF_MEMORY"):
        pool.take(4 * 2**20)
    assert pool.in_use == 6 * 2**20


def test_other_errors_of_the_driver_are_not_taken_for_lack_of_memory():
    def broken(size):
        raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

    with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS"):
        memory.Pool(broken).take(100)


def test_running_out_says_which_array_and_how_large(driver, monkeypatch):
    context = types.SimpleNamespace(get_memory_info=lambda: (3 * 2**20, 8 * 2**20))
    monkeypatch.setattr(memory, "SIMULATED", False)
    monkeypatch.setattr(memory.cuda, "current_context", lambda: context)
    pool = memory.Pool(driver.allocate)
    held = pool.take(4 * 2**20)
    monkeypatch.setattr(memory, "pool", lambda: pool)
    with pytest.raises(
        MemoryError,
        match=r"no room for an array \(4, 64, 128, 128\) of float32, 16 MiB: 3 MiB of 8 MiB are free, 4 MiB hold",
    ):
        memory.allocate((4, 64, 128, 128), np.float32)
    assert held is not None
