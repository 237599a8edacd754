"""Average pooling, of windows and of bins: one thread (or block) for each output, forward and backward.

Forward, a thread adds up its window. Backward, dy is divided first, so that each window knows its `share`; then a
thread owns a pixel and adds up the shares of all windows that cover it. These lie next to each other, and the geometry
says which they are.
"""

from numba import cuda

from ..errors import ShapeError
from ..shapes import check_rank, check_shape, check_size, pair, pool2d_output_shape, same_dtype
from .arrays import check_device, empty, empty_like
from .launch import blocks, device_function, kernel, launch
from .planes import flat_planes, grid_over, sizes, sum_inside, window
from .reduce import WIDTH, block_sum

LARGE = 16  # pixels of a bin; where one may have more, a whole block adds it up instead of one thread
SHARE = 4  # pixels that each of that block's threads takes, or more of a very large bin

# ------------------------------------------------------------------ windows


def avg_pool2d_forward(x, kernel, stride, padding, ceil_mode, count_include_pad):
    check_device(x=x)
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    y = empty(pool2d_output_shape(x.shape, kernel, stride, padding, 1, ceil_mode), dtype)
    geometry = pair(kernel), pair(stride), pair(padding, minimum=0), bool(count_include_pad)
    over = flat_planes(y)
    launch(mean_of_windows, *grid_over(over.shape), over, flat_planes(x), *sizes(y, x), *geometry)
    return y


@device_function
def counted(index, kernel, stride, padding, size, include_pad):
    """How many pixels of window number `index` its mean counts along one axis; never the overflow of ceil_mode."""
    start = index * stride - padding
    end = min(start + kernel, size + padding)
    return end - start if include_pad else min(end, size) - max(start, 0)


@device_function
def divisor(x, i, j, size, kernel, stride, padding, include_pad):
    """The number of pixels that the mean of window (i, j) counts, in x's type."""
    rows = counted(i, kernel[0], stride[0], padding[0], size[0], include_pad)
    cols = counted(j, kernel[1], stride[1], padding[1], size[1], include_pad)
    return x.dtype.type(rows * cols)


@kernel
def mean_of_windows(y, x, out, size, kernel, stride, padding, include_pad):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        j = place - i * out[1]
        top, bottom = window(i, kernel[0], stride[0], padding[0], 1, size[0])
        left, right = window(j, kernel[1], stride[1], padding[1], 1, size[1])
        count = divisor(x, i, j, size, kernel, stride, padding, include_pad)
        while plane < y.shape[0]:
            y[plane, place] = sum_inside(x, plane, size[1], top, bottom, left, right) / count
            plane += cuda.gridsize(2)[1]


def avg_pool2d_backward(dy, x_shape, kernel, stride, padding, ceil_mode, count_include_pad):
    check_device(dy=dy)
    dtype = same_dtype(dy=dy)
    check_shape("dy", dy, pool2d_output_shape(x_shape, kernel, stride, padding, 1, ceil_mode))
    dx, share = empty(x_shape, dtype), flat_planes(empty_like(dy))
    geometry = *sizes(dy, dx), pair(kernel), pair(stride), pair(padding, minimum=0)
    over = flat_planes(dx)
    launch(shares_of_windows, *grid_over(share.shape), share, flat_planes(dy), *geometry, bool(count_include_pad))
    launch(collect_from_windows, *grid_over(over.shape), over, share, *geometry)
    return dx


@kernel
def shares_of_windows(share, dy, out, size, kernel, stride, padding, include_pad):
    place, plane = cuda.grid(2)
    if place < dy.shape[1]:
        i = place // out[1]
        count = divisor(dy, i, place - i * out[1], size, kernel, stride, padding, include_pad)
        while plane < dy.shape[0]:
            share[plane, place] = dy[plane, place] / count
            plane += cuda.gridsize(2)[1]


@device_function
def windows_over(pixel, kernel, stride, padding, count):
    """The first window along one axis that covers `pixel`, and the end of such windows.

    Window i covers i*stride - padding to i*stride - padding + kernel - 1.
    """
    return max(0, (pixel + padding - kernel + stride) // stride), min(count, (pixel + padding) // stride + 1)


@kernel
def collect_from_windows(dx, share, out, size, kernel, stride, padding):
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        row = place // size[1]
        top, bottom = windows_over(row, kernel[0], stride[0], padding[0], out[0])
        left, right = windows_over(place - row * size[1], kernel[1], stride[1], padding[1], out[1])
        while plane < dx.shape[0]:
            dx[plane, place] = sum_inside(share, plane, out[1], top, bottom, left, right)
            plane += cuda.gridsize(2)[1]


# ------------------------------------------------------------------ bins


def adaptive_avg_pool2d_forward(x, size):
    check_device(x=x)
    dtype = same_dtype(x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    if 0 in tuple(x.shape[2:]):
        raise ShapeError(f"x has shape {x.shape}: there is nothing to compute")
    N, C, H, W = x.shape
    rows, cols = check_size(size)
    y = empty((N, C, rows, cols), dtype)
    most = (blocks(H, rows) + (H % rows > 0)) * (blocks(W, cols) + (W % cols > 0))  # no bin has more pixels
    over = flat_planes(y)
    if most <= LARGE:
        launch(mean_of_bins, *grid_over(over.shape), over, flat_planes(x), *sizes(y, x))
    else:
        threads = min(WIDTH, 1 << (blocks(most, SHARE) - 1).bit_length())  # a power of two
        launch(mean_of_large_bins, (rows * cols, min(N * C, 65535)), threads, over, flat_planes(x), *sizes(y, x))
    return y


@device_function
def bin_of(index, size, count):
    """Bin number `index` of `count` over `size` pixels: floor(index*size/count) to ceil((index + 1)*size/count).

    Seen from a pixel it is the same: pixel p lies in the bins bin_of(p, count, size).
    """
    return index * size // count, ((index + 1) * size + count - 1) // count


@kernel
def mean_of_bins(y, x, out, size):
    place, plane = cuda.grid(2)
    if place < y.shape[1]:
        i = place // out[1]
        (top, bottom), (left, right) = bin_of(i, size[0], out[0]), bin_of(place - i * out[1], size[1], out[1])
        area = x.dtype.type((bottom - top) * (right - left))
        while plane < y.shape[0]:
            y[plane, place] = sum_inside(x, plane, size[1], top, bottom, left, right) / area
            plane += cuda.gridsize(2)[1]


@kernel
def mean_of_large_bins(y, x, out, size):
    """A bin may be the whole plane, so a block owns it: its threads share the pixels and add up in a tree."""
    lines = cuda.shared.array(WIDTH, x.dtype)
    i = cuda.blockIdx.x // out[1]
    (top, bottom), (left, right) = bin_of(i, size[0], out[0]), bin_of(cuda.blockIdx.x - i * out[1], size[1], out[1])
    width = right - left
    area = (bottom - top) * width
    plane = cuda.blockIdx.y
    while plane < y.shape[0]:
        total, pixel = x.dtype.type(0), cuda.threadIdx.x
        while pixel < area:
            row = pixel // width
            total += x[plane, (top + row) * size[1] + left + pixel - row * width]
            pixel += cuda.blockDim.x
        total = block_sum(total, lines, cuda.threadIdx.x, cuda.blockDim.x)
        if cuda.threadIdx.x == 0:
            y[plane, cuda.blockIdx.x] = total / x.dtype.type(area)
        plane += cuda.gridDim.y


def adaptive_avg_pool2d_backward(dy, x_shape):
    check_device(dy=dy)
    dtype = same_dtype(dy=dy)
    check_rank("dy", dy, 4, "(N, C, H', W')")
    check_shape("dy", dy, (*x_shape[:2], *dy.shape[2:]))
    dx, share = empty(x_shape, dtype), flat_planes(empty_like(dy))
    over = flat_planes(dx)
    launch(shares_of_bins, *grid_over(share.shape), share, flat_planes(dy), *sizes(dy, dx))
    launch(collect_from_bins, *grid_over(over.shape), over, share, *sizes(dy, dx))
    return dx


@kernel
def shares_of_bins(share, dy, out, size):
    place, plane = cuda.grid(2)
    if place < dy.shape[1]:
        i = place // out[1]
        (top, bottom), (left, right) = bin_of(i, size[0], out[0]), bin_of(place - i * out[1], size[1], out[1])
        area = dy.dtype.type((bottom - top) * (right - left))
        while plane < dy.shape[0]:
            share[plane, place] = dy[plane, place] / area
            plane += cuda.gridsize(2)[1]


@kernel
def collect_from_bins(dx, share, out, size):
    place, plane = cuda.grid(2)
    if place < dx.shape[1]:
        row = place // size[1]
        (top, bottom), (left, right) = bin_of(row, out[0], size[0]), bin_of(place - row * size[1], out[1], size[1])
        while plane < dx.shape[0]:
            dx[plane, place] = sum_inside(share, plane, out[1], top, bottom, left, right)
            plane += cuda.gridsize(2)[1]
