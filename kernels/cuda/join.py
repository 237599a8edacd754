"""Adding maps up and joining them along the channels: kernels that only move memory, each byte once.

In an image (C, H, W) in C order, a branch's channels lie in one block. Joining therefore copies one block for each
image and branch; splitting copies the blocks back.
"""

import math

from numba import cuda

from ..errors import ShapeError
from ..shapes import check_shape, same_dtype
from .arrays import check_device, copy, empty, empty_like, flat, plain
from .launch import THREADS, blocks, kernel, launch
from .planes import grid_over


def check_branches(arrays):
    """The dtype of a list of arrays on the GPU."""
    branches = {f"branch {i}": a for i, a in enumerate(arrays)}
    check_device(**branches)
    return same_dtype(**branches)


def add_forward(arrays):
    check_branches(arrays)
    first, *others = arrays
    for i, other in enumerate(others, 1):
        check_shape(f"branch {i}", other, first.shape)
    if not others:
        return copy(first)
    y, total = empty_like(first), first
    for other in others:
        launch(add, blocks(y.size), THREADS, flat(y), flat(plain(total)), flat(plain(other)))
        total = y  # from the second one on, y = y + other: each thread reads the element that it then writes
    return y


@kernel
def add(y, a, b):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = a[i] + b[i]


def concat_forward(arrays):
    dtype = check_branches(arrays)
    N, _, *rest = arrays[0].shape
    for i, a in enumerate(arrays):
        if (a.shape[0], *a.shape[2:]) != (N, *rest):
            raise ShapeError(f"branch {i} has shape {a.shape}, expected {(N, 'any', *rest)}, as branch 0 has")
    y = empty((N, sum(a.shape[1] for a in arrays), *rest), dtype)
    joined, start = images(y), 0
    for a in arrays:
        branch = images(a)
        launch(copy_block, *grid_over(branch.shape), joined, start, branch, 0, branch.shape[1])
        start += branch.shape[1]
    return y


def concat_backward(dy, channels):
    check_device(dy=dy)
    dtype = same_dtype(dy=dy)
    if sum(channels) != dy.shape[1]:
        raise ShapeError(f"dy has shape {dy.shape}: {dy.shape[1]} channels, expected {sum(channels)}")
    parts = [empty((dy.shape[0], count, *dy.shape[2:]), dtype) for count in channels]
    joined, start = images(dy), 0
    for part in parts:
        branch = images(part)
        launch(copy_block, *grid_over(branch.shape), branch, 0, joined, start, branch.shape[1])
        start += branch.shape[1]
    return parts


def images(a):
    """(N, C, ...) as (N, numbers of an image), in C order."""
    return plain(a).reshape(a.shape[0], math.prod(a.shape[1:]))


@kernel
def copy_block(y, y_start, x, x_start, size):
    """y[:, y_start : y_start + size] = x[:, x_start : x_start + size]."""
    place, image = cuda.grid(2)
    if place < size:
        while image < y.shape[0]:
            y[image, y_start + place] = x[image, x_start + place]
            image += cuda.gridsize(2)[1]
