"""The last rung: 3x3 convolutions with a quarter of the multiplications.

Tiles of 4x4 outputs are transformed, multiplied and transformed back; see `winograd_tiles` for the idea. Work is cut
into blocks of tiles small enough that all their terms stay in the L2 cache:

    V[e, c, t]    for each of the 36 terms e, input channel c and tile t of a block     (transformed input)
    M[e, o, t] = sum over c of U[e, o, c] * V[e, c, t]                                   (36 matrix products)

and M is transformed back into outputs. Backward-input is the same with the kernel rotated and its channels swapped.
Backward-weight multiplies V with the transformed dy, Z[e, o, t], and sums over the tiles: dU[e, c, o].

A strip is a row of tiles of one image. Blocks are whole strips; they depend on the shapes alone. Where there are few,
outputs are cut into chunks too, as many as there are threads; that changes no sum, so results do not depend on it.
"""

import functools
from typing import NamedTuple

import numpy as np

from ..shapes import check_rank, check_shape, conv2d_output_shape, pads, pair, same_dtype
from ..threads import get_num_threads
from . import conv
from .arrays import plain
from .conv_parallel import pads_before
from .jit import SMALL, jit, parallel, part_of
from .memory import empty
from .micro import MACHINE, dot_tile, inner_tile, lanes
from .products import packed, rounded
from .rows import copy_row
from .winograd_tiles import STEP, TERMS, TILE, A, B, G, tiles_in, tiles_out

(R, V), (IR, IS) = MACHINE.pixels_tile, MACHINE.inner_tile
dot, dot_two, inner = dot_tile(R, V), dot_tile(R, 2), inner_tile(IR, IS)
input_tiles, gradient_tiles = tiles_in(B), tiles_in(A)

BLOCK_NUMBERS = 256 * 1024  # terms of a block should not be more numbers than this: about an L2 cache
BLOCKS = 8  # to be cut at least, where there are tiles enough
TILES, LEAST = 120, 96  # tiles that a block should have, and that one of backward-weight must have: its sums are long
FEWEST = 32  # tiles from which on it pays
CHUNK, PARTS = 64, 8  # backward-weight: outputs of an item, and items to cut at least, where there are blocks enough
FUSED_CHUNK = 16  # outputs of an item where there is one block: its dU stays in the cache until it has become dw
SLACK = 16  # numbers behind each of the 36 terms, so that most strides are no power of two: those share cache lines
GG = np.kron(G, G)  # (36, 9): U as a matrix product with the nine weights


class Grid(NamedTuple):
    """How the tiles of a batch are cut up. Sizes are in numbers."""

    strips: int  # of the whole batch
    strips_per_image: int
    tiles: int  # in a strip
    per_block: int  # strips in a block
    pitch: int  # tiles of a block, rounded up to what the micro-kernels write at most
    line: int  # columns of a buffer for the rows of a strip
    lanes: int


@functools.lru_cache(maxsize=1024)
def make_grid(images, rows, cols, channels, least, wanted, dtype):
    """The Grid for outputs of rows x cols, with `channels` kept at once and about `wanted` tiles in a block."""
    L = lanes(dtype)
    strips_per_image, tiles = -(-rows // STEP), -(-cols // STEP)
    strips = images * strips_per_image
    even = -(-strips * tiles // BLOCKS)  # so many that all threads have their share
    most = max(least, min(BLOCK_NUMBERS // (TERMS * channels), wanted, even), tiles)
    fullest = min(range(min(most // tiles, strips), 0, -1), key=lambda s: rounded(s * tiles, L) / (s * tiles))
    blocks = -(-strips // fullest)
    if blocks > 1 and strips * tiles < blocks * least:
        blocks -= 1
    per_block = -(-strips // blocks)  # as even as can be
    pitch, line = rounded(per_block * tiles, 2 * L), STEP * (rounded(tiles, L) + 1)
    return Grid(strips, strips_per_image, tiles, per_block, pitch, line, L)


# ------------------------------------------------------------------ transforms of whole blocks


@jit
def fill(lines, count, x, x0, H, W, row, left, grid):
    """Copy rows row, row + 1, ... of the plane of x at x0 to the buffer, `left` columns in; zeros above and below."""
    for r in range(count):
        start, source = r * grid.line + left, x0 + (row + r) * W
        if 0 <= row + r < H:
            copy_row(lines[start:], 1, x[source:], 1, W)
        else:
            lines[start : start + W] = 0


@jit
def transform_input(v, v_step, x, shape, corner, first, last, lines, grid):
    """V of the strips first, first + 1, ...: v[e*v_step + c*pitch + t]."""
    C, H, W = shape
    for c in range(C):
        start = c * grid.pitch
        for q in range(first, last):
            n, i = q // grid.strips_per_image, q % grid.strips_per_image
            fill(lines, TILE, x, (n * C + c) * H * W, H, W, i * STEP - corner[0], corner[1], grid)
            for j in range(0, grid.tiles, grid.lanes):
                input_tiles(v, start + j, v_step, lines, STEP * j, grid.line)
            start += grid.tiles
        clear(v, v_step, start, (c + 1) * grid.pitch)
    clear(v, v_step, C * grid.pitch, v_step)


@jit
def transform_gradient(z, z_step, dy, shape, o0, count, first, last, lines, grid):
    """Z of the outputs o0, ..., o0 + count - 1 of the same strips: z[e*z_step + (o - o0)*pitch + t]."""
    O, rows, cols = shape
    for o in range(count):
        start = o * grid.pitch
        for q in range(first, last):
            n, i = q // grid.strips_per_image, q % grid.strips_per_image
            fill(lines, STEP, dy, (n * O + o0 + o) * rows * cols, rows, cols, i * STEP, 0, grid)
            for j in range(0, grid.tiles, grid.lanes):
                gradient_tiles(z, start + j, z_step, lines, STEP * j, grid.line)
            start += grid.tiles
        clear(z, z_step, start, (o + 1) * grid.pitch)
    clear(z, z_step, count * grid.pitch, z_step)


@jit
def clear(v, v_step, start, stop):
    """Zeros in places of V or Z that belong to no tile or channel: the micro-kernels work on whole vectors."""
    if start < stop:
        for e in range(TERMS):
            v[e * v_step + start : e * v_step + stop] = 0


@jit
def transform_output(y, m, m_step, shape, o0, count, bias, floor, first, last, lines, grid):
    """y = max(Aᵀ M A + bias, floor) of `count` channels from o0 on, for the strips first, first + 1, ..."""
    O, rows, cols = shape
    for o in range(o0, o0 + count):
        start = (o - o0) * grid.pitch
        for q in range(first, last):
            n, i = q // grid.strips_per_image, q % grid.strips_per_image
            for j in range(0, grid.tiles, grid.lanes):
                tiles_out(lines, STEP * j, grid.line, m, start + j, m_step, bias, o, floor)
            start += grid.tiles
            y0 = ((n * O + o) * rows + i * STEP) * cols
            for r in range(min(STEP, rows - i * STEP)):
                copy_row(y[y0 + r * cols :], 1, lines[r * grid.line :], 1, cols)


# ------------------------------------------------------------------ forward and backward-input


@parallel
def forward(y, x, u, bias, floor, corner, offsets, chunks, grid, share):
    """y = max(Aᵀ (U * V) A + bias, floor), block by block and with the outputs in chunks.

    corner: rows and columns of padding before the picture.
    """
    tiles = len(u)
    for item in part_of(-(-grid.strips // grid.per_block) * chunks, share):
        block, chunk = item // chunks, item % chunks
        first, low, high = block * grid.per_block, chunk * tiles // chunks, (chunk + 1) * tiles // chunks
        last = min(grid.strips, first + grid.per_block)
        forward_block(y, x, u[low:high], bias, floor, corner, offsets, low * R, first, last, grid)


@jit
def forward_block(y, x, u, bias, floor, corner, offsets, o0, first, last, grid):
    """The strips first, ..., last - 1, from V by way of M to y; outputs from o0 on, as many as U has."""
    C, (tiles, terms, size) = x.shape[1], u.shape
    v_step, m_step = C * grid.pitch + SLACK, tiles * R * grid.pitch + SLACK
    v, m = np.empty(TERMS * v_step, x.dtype), np.empty(TERMS * m_step, x.dtype)
    lines, zeros, lowest = np.zeros(TILE * grid.line, x.dtype), np.zeros(R, x.dtype), x.dtype.type(-np.inf)
    transform_input(v, v_step, x.reshape(x.size), x.shape[1:], corner, first, last, lines, grid)
    w, vectors = u.reshape(u.size), -(-(last - first) * grid.tiles // grid.lanes)
    for e in range(TERMS):
        for tile in range(tiles):
            w0, m0, v0 = (tile * terms + e) * size, e * m_step + tile * R * grid.pitch, e * v_step
            left = vectors
            while left > 0:  # V vectors at once, or two, so that none is left over
                if left >= V and left != V + 1:
                    dot(m, m0, grid.pitch, w, w0, v, v0, grid.lanes, offsets, C, zeros, 0, lowest)
                    step = V
                else:
                    dot_two(m, m0, grid.pitch, w, w0, v, v0, grid.lanes, offsets, C, zeros, 0, lowest)
                    step = 2
                m0, v0, left = m0 + step * grid.lanes, v0 + step * grid.lanes, left - step
    count = min(tiles * R, y.shape[1] - o0)
    transform_output(y.reshape(y.size), m, m_step, y.shape[1:], o0, count, bias, floor, first, last, lines, grid)


def even_chunks(blocks, most):
    """Into how many chunks to cut each block's work so that all threads get the same, if blocks are few."""
    threads = get_num_threads()
    for chunks in range(1, most):
        if blocks * chunks % threads == 0 or blocks * chunks >= 4 * threads:
            return chunks
    return most


@parallel
def transform_weights(u, w, rotated, matrix, L, share):
    """u[tile, e, c*R + r] = (G g Gᵀ)[e] of the weights g from input c to output tile*R + r; `dot` multiplies matrices.

    rotated: g is turned by half a turn, and outputs and inputs change places, as backward-input needs it.
    """
    tiles, terms, size = u.shape
    O, C = (w.shape[1], w.shape[0]) if rotated else (w.shape[0], w.shape[1])
    weights_ = w.reshape(w.size)
    for tile in part_of(tiles, share):
        g, offsets = np.zeros(9 * size, w.dtype), np.arange(9) * size
        zeros, lowest = np.zeros(R, w.dtype), w.dtype.type(-np.inf)
        for r in range(min(R, O - tile * R)):
            for c in range(C):
                start, to = (c * O + tile * R + r if rotated else (tile * R + r) * C + c) * 9, c * R + r
                for k in range(9):
                    g[k * size + to] = weights_[start + 8 - k] if rotated else weights_[start + k]
        flat = u.reshape(u.size)
        for e in range(0, terms, R):
            for p in range(0, size, V * L):
                dot(flat, (tile * terms + e) * size + p, size, matrix, e * 9, g, p, L, offsets, 9, zeros, 0, lowest)


@functools.cache
def packed_matrix(dtype, parts=None):
    """G ⊗ G packed for `dot`; with `parts` its transpose, so many times side by side: it adds up the parts, too."""
    return packed((GG if parts is None else np.tile(GG.T, parts)).astype(dtype))


def multiply(y, x, w, bias, padding, floor, rotated=False):
    """y = max(conv(x, w) + bias, floor), stride 1; with `rotated` weights the transposed convolution."""
    dtype, O = x.dtype, y.shape[1]
    L = lanes(dtype)
    grid = make_grid(len(x), *y.shape[2:], x.shape[1] + O, V * L, TILES, dtype)
    u = empty((-(-O // R), rounded(TERMS, R), rounded(x.shape[1] * R, V * L)), dtype)
    transform_weights(u, plain(w).reshape(*w.shape[:2], 9), rotated, packed_matrix(dtype), L)
    bias = np.zeros(O, dtype) if bias is None else plain(bias)
    alone = y.nbytes + x.nbytes + u.nbytes < SMALL
    chunks = 1 if alone else even_chunks(-(-grid.strips // grid.per_block), len(u))
    forward(y, x, u, bias, dtype.type(floor), padding, np.arange(x.shape[1]) * grid.pitch, chunks, grid)


# ------------------------------------------------------------------ backward-weight


@parallel
def weights(dw, partial, dy, x, corner, cut, offsets, matrix, terms, grid, share):
    """dw, or where the tiles are summed in several parts, the dU of each part and each chunk of outputs.

    dU of a part = sum over its tiles of V * Z. cut: tiles of outputs in a chunk, chunks, and numbers of dU[e, o, ...]
    for a tile of outputs.
    """
    (chunk, chunks, size), parts, tiles_c = cut, len(partial), -(-x.shape[1] // IR)
    blocks, numbers = -(-grid.strips // grid.per_block), TERMS * chunk * size
    v_step, z_step = tiles_c * IR * grid.pitch + SLACK, chunk * IS * grid.pitch + SLACK
    v, z = np.empty(TERMS * v_step, x.dtype), np.empty(TERMS * z_step, x.dtype)
    lines, scratch, present = np.empty(TILE * grid.line, x.dtype), np.empty(numbers if parts == 1 else 0, x.dtype), -1
    for item in part_of(parts * chunks, share):
        part, o0 = item // chunks, item % chunks * chunk * IS
        du = scratch if parts == 1 else partial[part, item % chunks]
        du[:] = 0
        for block in range(part * blocks // parts, (part + 1) * blocks // parts):
            first = block * grid.per_block
            last = min(grid.strips, first + grid.per_block)
            if block != present:
                lines[:] = 0
                transform_input(v, v_step, x.reshape(x.size), x.shape[1:], corner, first, last, lines, grid)
                present = block
            lines[:] = 0
            count = min(chunk * IS, dy.shape[1] - o0)
            transform_gradient(z, z_step, dy.reshape(dy.size), dy.shape[1:], o0, count, first, last, lines, grid)
            tiles, vectors = (tiles_c, -(-count // IS)), -(-(last - first) * grid.tiles // grid.lanes)
            add_products(du, (chunk, size), v, v_step, z, z_step, tiles, vectors, offsets, grid.pitch)
        if parts == 1:
            for tile in range(-(-min(chunk * IS, dy.shape[1] - o0) // IS)):
                weights_of_tile(dw, o0 + tile * IS, du, tile * size, size, matrix, terms, grid.lanes)


@jit
def add_products(du, steps, v, v_step, z, z_step, tiles, vectors, offsets, pitch):
    """du[e, o, c] += V * Z of one block: the sums over `vectors` of tiles, for tiles of inputs and of outputs."""
    for e in range(TERMS):
        for c in range(tiles[0]):  # the inputs of a tile stay in the L1 cache, the outputs pass by
            v0 = e * v_step + c * IR * pitch
            for o in range(tiles[1]):
                place = (e * steps[0] + o) * steps[1] + c * IR * IS
                inner(du, place, v, v0, pitch, z, e * z_step, offsets, o * IS, vectors)


@parallel
def gather_weights(dw, partial, chunk, matrix, terms, L, share):
    """dw = Gᵀ dU G, with dU the sum of all parts."""
    size = partial.shape[2] // (TERMS * chunk)
    for tile in part_of(-(-len(dw) // IS), share):
        du0 = tile // chunk * partial.shape[2] + tile % chunk * size
        weights_of_tile(dw, tile * IS, partial.reshape(partial.size), du0, size, matrix, terms, L)


@jit
def weights_of_tile(dw, o0, du, du0, size, matrix, terms, L):
    """dw[o, c] = Gᵀ dU G for IS outputs o from o0 on. terms: where each term of dU lies, from du0 on."""
    O, C, _ = dw.shape
    rows, flat = len(matrix) // len(terms), dw.reshape(dw.size)
    g, zeros, lowest = np.empty(rows * size, dw.dtype), np.zeros(R, dw.dtype), dw.dtype.type(-np.inf)
    for k in range(0, rows, R):
        for p in range(0, size, V * L):
            dot(g, k * size + p, size, matrix, k * len(terms), du, du0 + p, L, terms, len(terms), zeros, 0, lowest)
    for s in range(min(IS, O - o0)):
        to = (o0 + s) * C * 9
        for c in range(C):
            start = c // IR * (IR * IS) + c % IR * IS + s
            for k in range(9):
                flat[to] = g[start + k * size]
                to += 1


def weight_gradient(dy, x, padding):
    """dw of a 3x3 convolution with stride 1."""
    O, C, dtype = dy.shape[1], x.shape[1], x.dtype
    L, tiles_o, inputs = lanes(dtype), -(-O // IS), rounded(C, IR)
    grid = make_grid(len(x), *dy.shape[2:], inputs + min(CHUNK, tiles_o * IS), LEAST, TILES, dtype)
    blocks = -(-grid.strips // grid.per_block)
    chunk = min(tiles_o, (FUSED_CHUNK if blocks == 1 else CHUNK) // IS)
    chunks, size = -(-tiles_o // chunk), rounded(inputs * IS, V * L)
    parts = min(blocks, -(-PARTS // chunks))
    partial = empty((parts, chunks if parts > 1 else 0, TERMS * chunk * size), dtype)
    dw, matrix = empty((O, C, 9), dtype), packed_matrix(dtype, parts)
    terms = (np.arange(parts)[:, None] * (chunks * TERMS) + np.arange(TERMS)).ravel() * (chunk * size)
    offsets = np.arange(chunk * IS) * grid.pitch
    weights(dw, partial, dy, x, padding, (chunk, chunks, size), offsets, matrix, terms, grid)
    if parts > 1:
        gather_weights(dw, partial, chunk, matrix, terms, L)
    return dw.reshape(O, C, 3, 3)


# ------------------------------------------------------------------ the ops


def possible(w_shape, stride, padding, dilation, groups):
    """Whether this convolution is one that the transforms are made for."""
    (top, bottom), (left, right) = pads(padding)
    one = (pair(stride), pair(dilation), groups) == ((1, 1), (1, 1), 1)
    return one and w_shape[2:] == (3, 3) and max(top, bottom, left, right) <= 2


def pays(w_shape, images, rows, cols, fewest=1):
    """Whether it spares at least a fifth of the multiplications, for outputs of rows x cols.

    Few channels, as in a first layer or on paper, stay with the direct convolution: exact for small whole numbers.
    """
    tiles = images * -(-rows // STEP) * -(-cols // STEP)
    products = TERMS * (rounded(tiles, 24) + 9), 9 * images * rows * cols  # for each input and output channel
    return w_shape[0] * w_shape[1] >= 128 and tiles >= fewest and products[0] < 0.8 * products[1]


def conv2d_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, -np.inf)


def conv2d_relu_forward(x, w, b, stride, padding, dilation, groups):
    return convolve(x, w, b, stride, padding, dilation, groups, 0)


def convolve(x, w, b, stride, padding, dilation, groups, floor):
    """max(conv(x, w) + b, floor)."""
    shape = conv.checked(x, w, b, stride, padding, dilation, groups)
    if not (possible(w.shape, stride, padding, dilation, groups) and pays(w.shape, len(x), *shape[2:])):
        return conv.convolve(x, w, b, stride, padding, dilation, groups, floor)
    y = empty(shape, x.dtype)
    multiply(y, plain(x), w, b, pads_before(padding), floor)
    return y


def conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups):
    dtype = same_dtype(dy=dy, w=w)
    check_rank("w", w, 4, "(O, C/groups, kH, kW)")
    check_shape("dy", dy, conv2d_output_shape(x_shape, w.shape, stride, padding, dilation, groups))
    if not (possible(w.shape, stride, padding, dilation, groups) and pays(w.shape, len(dy), *x_shape[2:])):
        return conv.conv2d_backward_input(dy, w, x_shape, stride, padding, dilation, groups)
    dx = empty(x_shape, dtype)
    top, left = pads_before(padding)
    multiply(dx, plain(dy), w, None, (2 - top, 2 - left), -np.inf, rotated=True)
    return dx


def conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups):
    same_dtype(dy=dy, x=x)
    check_rank("x", x, 4, "(N, C, H, W)")
    check_shape("dy", dy, conv2d_output_shape(x.shape, w_shape, stride, padding, dilation, groups))
    if not (possible(w_shape, stride, padding, dilation, groups) and pays(w_shape, len(dy), *dy.shape[2:], FEWEST)):
        return conv.conv2d_backward_weight(dy, x, w_shape, stride, padding, dilation, groups)
    return weight_gradient(plain(dy), plain(x), pads_before(padding))
