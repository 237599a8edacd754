"""Upsampling, nearest and bilinear, and fitting to a size: one thread for each output pixel, in every plane.

Forward, a thread works out which pixels of x its output is made of, and reads them. Backward, a thread owns a pixel of
x and adds up the dy of the outputs that it is part of. These lie next to each other, since from output to output the
places in x never decrease; only the first and the last of them have to be found. No two threads write to one pixel.

Nearest has to find its places in float32, as PyTorch does, to round like it. Bilinear computes them in whole numbers,
in steps of 2**-bits pixel (`Ruler`): exact enough for float64 arrays, and without float64, which is slow on most GPUs,
for float32 arrays. (In float32 itself, the weights at pixel 2000 of a large picture would be wrong by up to 1e-4.)
"""

from typing import NamedTuple

import numpy as np
from numba import cuda

from ..errors import ShapeError
from ..reference.resize import fit_margins
from ..shapes import check_rank, check_shape, check_size, same_dtype
from .arrays import check_device, empty
from .launch import device_function, kernel, launch
from .planes import flat_planes, grid_over, sizes, sum_inside


def new_map(x, size, may_be_empty=False):
    """After the checks that all forward ops make: an array (N, C, *size) for the result."""
    check_device(x=x)
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    size = check_size(size)
    if not may_be_empty and 0 in tuple(x.shape[2:]):
        raise ShapeError(f"x has shape {x.shape}: there is nothing to resize")
    return empty((*x.shape[:2], *size), dtype)


def new_gradient(dy, x_shape):
    """After the checks that all backward ops make: an array of x_shape for the result."""
    check_device(dy=dy)
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    return empty(x_shape, dtype)


def over_planes(kernel, result, source, *arguments):
    """Launch kernel(result, source, result's (rows, columns), source's, *arguments) on flat planes; return result."""
    over = flat_planes(result)
    launch(kernel, *grid_over(over.shape), over, flat_planes(source), *sizes(result, source), *arguments)
    return result


# ------------------------------------------------------------------ nearest


def upsample_nearest2d_forward(x, size, scale):
    y = new_map(x, size)
    return over_planes(copy_nearest, y, x, nearest_scales(x.shape, y.shape, scale))


def upsample_nearest2d_backward(dy, x_shape, scale):
    dx = new_gradient(dy, x_shape)
    return over_planes(collect_copies, dx, dy, nearest_scales(x_shape, dy.shape, scale))


def nearest_scales(x_shape, y_shape, scale):
    """Input pixels per output pixel in float32, vertical and horizontal.

    PyTorch forgets the scale where a size stays or doubles.

    >>> nearest_scales((1, 1, 5, 3), (1, 1, 10, 4), (1 / 2.1, 0.75))
    (np.float32(0.5), np.float32(0.75))
    """
    return tuple(
        np.float32({size: 1, 2 * size: 0.5}.get(count, asked))
        for size, count, asked in zip(x_shape[2:], y_shape[2:], scale, strict=True)
    )


@device_function
def nearest_source(index, size, scale):
    """The input pixel that output `index` copies, of `size` pixels. (int rounds down what isn't negative.)"""
    return min(int(np.float32(index) * scale), size - 1)


@kernel
def copy_nearest(y, x, out, size, scale):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        j = place - i * out[1]
        pixel = nearest_source(i, size[0], scale[0]) * size[1] + nearest_source(j, size[1], scale[1])
        while plane < y.shape[0]:
            y[plane, place] = x[plane, pixel]
            plane += cuda.gridsize(2)[1]


@device_function
def first_copy(pixel, size, count, scale):
    """The first output that copies `pixel` or one after it: found by halving, since sources never decrease."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if nearest_source(middle, size, scale) < pixel:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def collect_copies(dx, dy, size, out, scale):
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        row = place // size[1]
        col = place - row * size[1]
        top, bottom = first_copy(row, size[0], out[0], scale[0]), first_copy(row + 1, size[0], out[0], scale[0])
        left, right = first_copy(col, size[1], out[1], scale[1]), first_copy(col + 1, size[1], out[1], scale[1])
        while plane < dx.shape[0]:
            dx[plane, place] = sum_inside(dy, plane, out[1], top, bottom, left, right)
            plane += cuda.gridsize(2)[1]


# ------------------------------------------------------------------ bilinear


class Ruler(NamedTuple):
    """Output i lies at pixel (i*step + start) / 2**bits of the input. Kernels get it as a plain tuple."""

    step: np.int64
    start: np.int64
    bits: np.int64


def ruler(size, count, scale, align_corners):
    """The Ruler from `size` to `count` pixels, with as many bits as leave room in an int64.

    >>> step, start, bits = ruler(2, 4, 0.5, False)  # places (i + 0.5)*0.5 - 0.5
    >>> float(step / 2**bits), float(start / 2**bits)
    (0.5, -0.25)
    """
    if count == size:  # an identity, also where a given scale would shift it
        scale, align_corners = 1.0, True
    elif align_corners:
        scale = (size - 1) / (count - 1) if count > 1 else 0.0
    bits = 61 - int(max(size, count * scale) + 1).bit_length()
    step = max(1, round(scale * 2**bits))  # not 0, so that one can divide by it
    start = 0 if align_corners else (step - 2**bits) // 2
    return Ruler(*map(np.int64, (step, start, bits)))


def rulers(x_shape, y_shape, scale, align_corners):
    """The vertical and the horizontal one."""
    return tuple(ruler(x_shape[a], y_shape[a], scale[a - 2], align_corners) for a in (2, 3))


def upsample_bilinear2d_forward(x, size, scale, align_corners):
    y = new_map(x, size)
    return over_planes(blend, y, x, *rulers(x.shape, y.shape, scale, align_corners))


def upsample_bilinear2d_backward(dy, x_shape, scale, align_corners):
    dx = new_gradient(dy, x_shape)
    return over_planes(collect_shares, dx, dy, *rulers(x_shape, dy.shape, scale, align_corners))


@device_function
def place_of(index, size, ruler):
    """Where output `index` lies in the input, in steps of 2**-bits pixel; what lies outside moves to the border."""
    step, start, bits = ruler
    return min(max(index * step + start, 0), (size - 1) << bits)


@device_function
def step_length(x, ruler):
    """One step of a ruler in pixels, in x's type. (Powers of two: exact.)"""
    return x.dtype.type(1) / x.dtype.type(1 << ruler[2])


@device_function
def neighbours(x, place, ruler):
    """Which pixel lies at or before a place, and how much weight goes to the one after it, in x's type."""
    pixel = place >> ruler[2]
    return pixel, x.dtype.type(place - (pixel << ruler[2])) * step_length(x, ruler)


@kernel
def blend(y, x, out, size, vertical, horizontal):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        j = place - i * out[1]
        row, below = neighbours(x, place_of(i, size[0], vertical), vertical)
        col, right = neighbours(x, place_of(j, size[1], horizontal), horizontal)
        above, left = x.dtype.type(1) - below, x.dtype.type(1) - right  # the weights of the four pixels' rows, columns
        pixel = row * size[1] + col
        down = size[1] if row + 1 < size[0] else 0  # from a pixel to the one below it; the last row repeats itself
        across = 1 if col + 1 < size[1] else 0
        while plane < y.shape[0]:
            a = above * x[plane, pixel] + below * x[plane, pixel + down]
            b = above * x[plane, pixel + across] + below * x[plane, pixel + across + down]
            y[plane, place] = left * a + right * b
            plane += cuda.gridsize(2)[1]


@device_function
def first_beyond(pixel, size, count, ruler):
    """The first of `count` outputs that lies at `pixel` of the input or beyond it."""
    step, start, bits = ruler
    found = -((start - (pixel << bits)) // step)  # the smallest i with i*step + start >= pixel
    if pixel <= 0:
        found = 0
    if pixel >= size:
        found = count
    return min(max(found, 0), count)


@device_function
def closeness(index, pixel, size, ruler):
    """The weight of `pixel` in output `index`, in steps: all at the pixel itself, 0 at its neighbours and beyond."""
    distance = abs(place_of(index, size, ruler) - (pixel << ruler[2]))
    return max((1 << ruler[2]) - distance, 0)


@kernel
def collect_shares(dx, dy, size, out, vertical, horizontal):
    """In the forward pass y[i,j] took closeness(i, row) * closeness(j, col) of x[row,col]; so much of dy comes back."""
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        row = place // size[1]
        col = place - row * size[1]
        top, bottom = first_beyond(row - 1, size[0], out[0], vertical), first_beyond(row + 1, size[0], out[0], vertical)
        left = first_beyond(col - 1, size[1], out[1], horizontal)
        right = first_beyond(col + 1, size[1], out[1], horizontal)
        row_unit, col_unit = step_length(dx, vertical), step_length(dx, horizontal)
        while plane < dx.shape[0]:
            total = dx.dtype.type(0)
            for i in range(top, bottom):
                line = dx.dtype.type(0)
                for j in range(left, right):
                    weight = dx.dtype.type(closeness(j, col, size[1], horizontal)) * col_unit
                    line += weight * dy[plane, i * out[1] + j]
                total += dx.dtype.type(closeness(i, row, size[0], vertical)) * row_unit * line
            dx[plane, place] = total
            plane += cuda.gridsize(2)[1]


# ------------------------------------------------------------------ padding or cropping to a size


def fit2d_forward(x, size):
    y = new_map(x, size, may_be_empty=True)
    (top, _), (left, _) = fit_margins(x.shape[2:], y.shape[2:])
    return over_planes(shift, y, x, top, left)


def fit2d_backward(dy, x_shape):
    dx = new_gradient(dy, x_shape)
    (top, _), (left, _) = fit_margins(x_shape[2:], dy.shape[2:])
    return over_planes(shift, dx, dy, -top, -left)  # forward moved everything down and right by these


@kernel
def shift(y, x, out, size, down, right):
    """y[i,j] = x[i - down, j - right], 0 where there is no such pixel."""
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        row, col = i - down, place - i * out[1] - right
        inside = 0 <= row < size[0] and 0 <= col < size[1]
        while plane < y.shape[0]:
            y[plane, place] = x[plane, row * size[1] + col] if inside else y.dtype.type(0)
            plane += cuda.gridsize(2)[1]
