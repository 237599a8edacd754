"""For kernels that treat all planes alike (a plane is one channel of one image).

A thread owns one place in the plane and goes with it from plane to plane. What depends on the place alone, such as its
row and column, which window belongs to it or how pixels are weighted there, is worked out once:

    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        row = place // cols  # divisions are slow on a GPU: here one serves many planes
        while plane < y.shape[0]:
            y[plane, place] = ...
            plane += cuda.gridsize(2)[1]

Neighbouring threads own neighbouring places, so the 32 threads of a warp read and write memory in one piece.

(Not `for plane in range(plane, ..., step)`: Numba counts such a loop's rounds beforehand, by a division.)
"""

from .arrays import plain
from .launch import SIMULATED, THREADS, blocks, device_function

MOST_BLOCKS = 4 if SIMULATED else 8192  # keep any GPU busy to the end; more would only repeat what is done once

# ------------------------------------------------------------------ around the launch


def flat_planes(a):
    """(N, C, H, W) as (N*C, H*W), in C order; the same memory if `a` is in C order."""
    N, C, H, W = a.shape
    return plain(a).reshape(N * C, H * W)


def sizes(*arrays):
    """The (rows, columns) of each, which its flat planes don't show."""
    return tuple(tuple(a.shape[2:]) for a in arrays)


def grid_over(shape):
    """(blocks, threads), both (along the places, along the planes), for a kernel over (planes, places).

    Small planes leave room in a block for several of them.

    >>> grid, (wide, high) = grid_over((3, 5))
    >>> grid, wide
    ((1, 1), 8)
    """
    planes, places = shape
    wide = min(THREADS, 1 << max(0, places - 1).bit_length())  # a power of two, as THREADS is
    high = THREADS // wide
    columns = blocks(places, wide)
    rows = min(blocks(planes, high), max(1, MOST_BLOCKS // max(1, columns)))
    return (columns, rows), (wide, high)


# ------------------------------------------------------------------ for use in kernels


@device_function
def window(index, kernel, stride, padding, dilation, size):
    """The first pixel of window number `index` along one axis and the end of its pixels, inside the image."""
    start = index * stride - padding
    end = min(start + (kernel - 1) * dilation + 1, size)
    if start < 0:
        start %= dilation  # the first of start, start + dilation, ... that is not negative
    return start, end


@device_function
def sum_inside(x, plane, width, top, bottom, left, right):
    """The sum of a rectangle of the plane, which is `width` pixels wide."""
    total = x.dtype.type(0)
    for row in range(top, bottom):
        for pixel in range(row * width + left, row * width + right):
            total += x[plane, pixel]
    return total
