"""Errors that only a kernel can see, such as a label that is no class: noted on the GPU, raised when the host waits.

Looking for them after each launch would mean to wait for the GPU each time. A kernel notes the fault in one small array
instead, computes on without touching memory that isn't its own, and whoever next reads a number from the GPU (the loss
of a training step, say) raises the error.
"""

import functools

import numpy as np
from numba import cuda

from .launch import device_function, stream

NONE = np.int64(2**63 - 1)
VALUE_BITS = 22  # of a noted fault that hold the value found; the others hold its position
LARGEST = 2 ** (VALUE_BITS - 1) - 1  # values beyond are shown as this
TEXTS = (
    "label {value} (element {position} of target) is outside 0..{limit}; if it marks void pixels, pass "
    "ignore_index={value}",
    "switch {value} (element {position} of argmax) is outside an output of {pixels} pixels",
)
LABEL, SWITCH = range(len(TEXTS))


@functools.cache
def board():
    """The array that kernels note faults in, a row for each kind: position and value in one number, and the limit."""
    array = cuda.device_array((len(TEXTS), 2), np.int64)
    array.copy_to_device(clean())
    return array


def clean():
    return np.full((len(TEXTS), 2), NONE)


@device_function
def note(board, kind, position, value, limit):
    """Called by a kernel: keep this fault if it is the first of its kind, by position.

    The smallest of integers is the same in whatever order threads come, so the same fault is reported every time; the
    limit is one number for a whole launch.
    """
    shown = min(max(value, -LARGEST), LARGEST) + LARGEST
    cuda.atomic.min(board, (kind, 0), (np.int64(position) << VALUE_BITS) + np.int64(shown))
    board[kind, 1] = limit


def check():
    """Raise IndexError if a kernel has noted a fault since the last time. The queue must have been waited for."""
    if board.cache_info().currsize == 0:
        return  # no kernel that could have noted anything has been launched
    found = board().copy_to_host(stream=stream())
    stream().synchronize()
    if (found[:, 0] == NONE).all():
        return
    board().copy_to_device(clean(), stream=stream())
    stream().synchronize()
    kind = int(np.argmin(found[:, 0]))
    noted, limit = found[kind].tolist()
    position, value = noted >> VALUE_BITS, noted % 2**VALUE_BITS - LARGEST
    raise IndexError(TEXTS[kind].format(position=position, value=value, limit=limit, pixels=limit + 1))
