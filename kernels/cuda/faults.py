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
TEXTS = (
    "a label that is neither ignored nor a class: element {position} of target is {value}, expected 0 to {limit}",
    "a switch that points outside of its plane: element {position} of argmax is {value}, expected 0 to {limit}",
)
LABEL, SWITCH = range(len(TEXTS))


@functools.cache
def board():
    """The array that kernels note faults in, a row for each kind: the first position, its value there, the limit."""
    array = cuda.device_array((len(TEXTS), 3), np.int64)
    array.copy_to_device(clean())
    return array


def clean():
    return np.full((len(TEXTS), 3), NONE)


@device_function
def note(board, kind, position, value, limit):
    """Called by a kernel: keep this fault if it is the first of its kind. (Integer atomics: the result is certain.)"""
    before = cuda.atomic.min(board, (kind, 0), position)
    if position < before:
        board[kind, 1] = value
        board[kind, 2] = limit


def check():
    """Raise IndexError if a kernel has noted a fault since the last time. The queue must have been waited for."""
    if board.cache_info().currsize == 0:
        return  # no kernel that could have noted anything has been launched
    found = board().copy_to_host(stream=stream())
    stream().synchronize()
    if (found == NONE).all():
        return
    board().copy_to_device(clean())
    kind = int(np.argmin(found[:, 0]))
    position, value, limit = found[kind].tolist()
    raise IndexError(TEXTS[kind].format(position=position, value=value, limit=limit))
