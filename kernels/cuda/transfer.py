"""Batches on their way to the GPU while it computes: copied ahead of use, from pinned memory, in a queue of their own.

A copy from ordinary memory goes through a buffer of the driver and makes the caller wait. Pinned memory, which the
system may not move, is read by the GPU itself, while the kernels of the step before are running.
"""

import numpy as np
from numba import cuda

from .arrays import empty
from .launch import stream

AHEAD = 2  # batches that are on the way or in use


class Slot:
    """Memory for one batch, pinned on the host and on the GPU, which is used again and again while shapes agree."""

    def __init__(self):
        self.pinned, self.there = [], []
        self.arrived, self.used = cuda.event(), None

    def send(self, arrays, queue):
        """Start copying; what was here before may be overwritten once `used` has come to pass."""
        self.arrived.synchronize()  # the pinned memory has been read
        if [(a.shape, a.dtype) for a in arrays] != [(p.shape, p.dtype) for p in self.pinned]:
            self.pinned = [cuda.pinned_array(a.shape, a.dtype) for a in arrays]
            self.there = [empty(a.shape, a.dtype) for a in arrays]
            free = cuda.event()  # kernels under way may still read what was in this memory before
            free.record(stream())
            free.wait(queue)
        if self.used is not None:
            self.used.wait(queue)
        for array, pinned, there in zip(arrays, self.pinned, self.there, strict=True):
            pinned[...] = array
            if array.size:
                there.copy_to_device(pinned, stream=queue)
        self.arrived.record(queue)

    def receive(self):
        """The arrays on the GPU; kernels that are launched from now on wait for them."""
        self.arrived.wait(stream())
        return list(self.there)

    def release(self):
        """Called when everything that reads the arrays has been launched."""
        self.used = cuda.event()
        self.used.record(stream())


def ahead(batches):
    """The same batches (lists of NumPy arrays) as lists of device arrays, each copied while the one before is in use.

    A batch is good until the next one is asked for; then its memory is used again.
    """
    queue = cuda.stream()
    slots, waiting = [Slot() for _ in range(AHEAD)], []
    try:
        for number, batch in enumerate(batches):
            slot = slots[number % AHEAD]
            slot.send([np.asarray(array) for array in batch], queue)
            if waiting:
                yield waiting[0].receive()
                waiting.pop(0).release()
            waiting.append(slot)
        for slot in waiting:
            yield slot.receive()
            slot.release()
    finally:
        queue.synchronize()  # a caller who stops early leaves a copy under way, whose memory others get next
