"""Adding maps up and joining them along the channels. Splitting falls back to `reference`: it only makes views."""

import math

from ..errors import ShapeError
from ..reference import join as reference
from ..shapes import check_shape, same_dtype
from .arrays import PIECE, flat, plain
from .jit import parallel, part_of
from .memory import empty, empty_like


def add_forward(arrays):
    if len(arrays) != 2:
        return reference.add_forward(arrays)
    a, b = arrays
    same_dtype(**{"branch 0": a, "branch 1": b})
    check_shape("branch 1", b, a.shape)
    y = empty_like(a)
    for y_, a_, b_ in flat(y, a, b):
        add(y_, a_, b_)
    return y


@parallel
def add(y, a, b, share):
    for piece in part_of(-(-len(y) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        out, left, right = y[part], a[part], b[part]
        for i in range(len(out)):
            out[i] = left[i] + right[i]


def concat_forward(arrays):
    dtype = same_dtype(**{f"branch {i}": a for i, a in enumerate(arrays)})
    N, _, *rest = arrays[0].shape
    for i, a in enumerate(arrays):
        if (a.shape[0], *a.shape[2:]) != (N, *rest):
            raise ShapeError(f"branch {i} has shape {a.shape}, expected {(N, 'any', *rest)}, as branch 0 has")
    y = empty((N, sum(a.shape[1] for a in arrays), *rest), dtype)
    start, pixels = 0, math.prod(rest)
    for a in arrays:
        copy_block(y.reshape(N, y.shape[1] * pixels), plain(a).reshape(N, a.shape[1] * pixels), start * pixels)
        start += a.shape[1]
    return y


@parallel
def copy_block(y, x, start, share):
    """y[:, start : start + numbers of x] = x: in each image, a branch's channels lie in one block."""
    N, size = x.shape
    pieces = -(-size // PIECE)
    for item in part_of(N * pieces, share):
        n, first = item // pieces, item % pieces * PIECE
        row = x[n, first : first + PIECE]
        out = y[n, start + first : start + first + len(row)]
        for i in range(len(row)):
            out[i] = row[i]
