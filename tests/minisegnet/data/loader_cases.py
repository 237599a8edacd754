"""Small data sets in memory, for the loader's tests. Worker processes import this module, so it needs NumPy alone."""

import os
import signal
import time

import numpy as np


class Pictures:
    """`count` pictures of `size`; the pixels of picture i tell i, the mask is i modulo `classes`."""

    def __init__(self, count, size=(3, 4), classes=3, channels=3):
        self.count, self.size, self.classes, self.channels = count, size, classes, channels
        self.names = [f"train/{i:04}.png" for i in range(count)]

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        image = np.full((*self.size, self.channels), 10 * i, np.uint8)
        image[..., 0] += np.arange(self.size[1], dtype=np.uint8)
        return image, np.full(self.size, i % self.classes)


class Trouble(Pictures):
    """Something happens when picture `at` is read."""

    def __init__(self, count, at, what):
        super().__init__(count)
        self.at, self.what = at, what

    def __getitem__(self, i):
        if i == self.at:
            getattr(self, self.what)()
        return super().__getitem__(i)

    def leave(self):
        os._exit(3)

    def be_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def raise_error(self):
        raise OSError("image file is truncated")

    def raise_data_error(self):
        from minisegnet.data.dataset import DataError

        raise DataError("/pictures/7.png", "is half a PNG")

    def raise_system_exit(self):
        raise SystemExit("read from a thread")

    def run_out_of_memory(self):
        raise MemoryError("no room for a picture")

    def nap(self):
        time.sleep(0.5)

    def sleep(self):
        time.sleep(600)


class Mixed:
    """Samples that are given as a list, in a data set with names."""

    def __init__(self, samples):
        self.samples, self.names = samples, [f"val/{i}.jpg" for i in range(len(samples))]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


class Unpicklable(Pictures):
    def __init__(self):
        super().__init__(4)
        self.read = lambda: None


class OddError(Exception):
    """An exception that pickle can't make again: its constructor wants other arguments than it keeps."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")
