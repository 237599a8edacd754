# %% [markdown]
# # CUDA kernels, in the simulator
#
# At the end you will know how to turn a gradient into a grid of threads, why each of them gathers, what shared memory
# and barriers are for, and how a million numbers are added up. A GPU runs one function in thousands of such threads.
# Builds on the tutorials on convolution (1, 2), on ReLU (4) and on tutorial 12.
#
# You need no GPU: Numba simulates one in Python, slowly, and there a kernel may even contain a `print`. If you have
# one, set `NUMBA_ENABLE_CUDASIM=0` before Python starts, and the same kernels are compiled for it.

# %%
import os

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")  # Numba looks at both when imported
os.environ.setdefault("NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS", "0")  # our grids are tiny, and that is all right here

from collections import Counter

import numba
import numpy as np
from numba import cuda

import kernels
from minisegnet import layers
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

SIMULATED = bool(numba.config.ENABLE_CUDASIM)
assert SIMULATED or cuda.is_available(), "no GPU, and Numba was imported before this cell: restart Python"
print("in the simulator" if SIMULATED else f"on {cuda.get_current_device().name}")
rng = np.random.default_rng(0)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## Threads, blocks, a guard
#
# A kernel has no loop over the data: the loop is the grid. `double[blocks, threads](y, x)` starts `blocks*threads`
# copies of the function, and each finds out from its numbers which element is its own:
#
#     i = blockIdx.x * blockDim.x + threadIdx.x           which is what cuda.grid(1) returns
#
# All blocks have the same size. 10 elements in blocks of 4 need 3 blocks, 12 threads: two of them have no element, and
# the guard `if i < y.size` sends them home. Without it they would write past the end of the array, and a GPU does not
# complain.


# %%
@cuda.jit
def who(block, thread):
    i = cuda.grid(1)
    if i < block.size:  # the guard
        block[i] = cuda.blockIdx.x
        thread[i] = cuda.threadIdx.x


# %%
def launch(kernel, blocks, threads, *arrays):
    """Copy the arrays to the device, run the kernel on them, and copy them back."""
    there = [cuda.to_device(a) if isinstance(a, np.ndarray) else a for a in arrays]
    kernel[blocks, threads](*there)
    for array, copy in zip(arrays, there, strict=True):
        if isinstance(array, np.ndarray):
            copy.copy_to_host(array)


def blocks_for(count, threads):
    return -(-count // threads)  # rounded up


block, thread = np.full(10, -1), np.full(10, -1)
launch(who, blocks_for(10, 4), 4, block, thread)
print("element", np.arange(10), "\nblock  ", block, "\nthread ", thread)
assert (block * 4 + thread == np.arange(10)).all()
fig, axes = draw.panels(1, size=(9, 2.2))
numbers = [np.pad(row.astype(float), (0, 2), constant_values=np.nan) for row in (block, thread)]
draw.grid(axes[0], numbers, title="block (above) and thread (below) of 10 elements; two threads have none")
for k in (3.5, 7.5):
    axes[0].axvline(k, color="black", linewidth=3)
draw.show(fig, "13_grid")

# %% [markdown]
# ## A gradient as a grid of threads
#
# The first question about a kernel is: *which number of the result belongs to which thread?* For ReLU that is easy.
# Forward y = max(x, 0); backward dx = dy where y > 0, else 0. Thread i owns dx[i] and needs nobody else's number.


# %%
@cuda.jit
def relu_gradient(dx, dy, y):
    i = cuda.grid(1)
    if i < dx.size:
        dx[i] = dy[i] if y[i] > 0 else dy.dtype.type(0)  # a bare 0.0 would be float64, which most GPUs do slowly


x, dy = rng.normal(size=10).astype(np.float32), rng.normal(size=10).astype(np.float32)
with kernels.use("reference") as ops:
    y = ops.relu_forward(x)
    dx_true = ops.relu_backward(dy, y)
dx = np.empty_like(dy)
launch(relu_gradient, blocks_for(10, 4), 4, dx, dy, y)
print("dy", dy, "\ndx", dx)
assert np.array_equal(dx, dx_true)

# %% [markdown]
# ## Convolution: scatter races, gather does not
#
# Now a row of two outputs with three weights, y[j] = sum over s of `w[s] * x[j+s]`. Backward adds `dy[j] * w[s]` to
# dx[j+s]. With one thread for each product, two of them add to dx[1], and two to dx[2]. `+=` is: read, add, write. The
# barrier in the middle only enforces what may happen at any time: all have read before anybody writes.


# %%
@cuda.jit
def racing(dx, dy, w):
    t = cuda.grid(1)
    j, s = t // 3, t % 3
    old = dx[j + s]
    cuda.syncthreads()
    dx[j + s] = old + dy[j] * w[s]


@cuda.jit
def atomic(dx, dy, w):
    t = cuda.grid(1)
    j, s = t // 3, t % 3
    cuda.atomic.add(dx, j + s, dy[j] * w[s])  # read, add and write in one piece: the threads queue


dy_row, w_row = np.ones(2, np.float32), np.full(3, 2, np.float32)
lost, queued = np.zeros(4, np.float32), np.zeros(4, np.float32)
launch(racing, 1, 6, lost, dy_row, w_row)
launch(atomic, 1, 6, queued, dy_row, w_row)
print("racing:", lost, "  atomic:", queued)
assert (lost.tolist(), queued.tolist()) == ([2, 2, 2, 2], [2, 4, 4, 2])

# %% [markdown]
# Atomic additions are right, but they queue, and they add in the order in which threads happen to arrive: in floating
# point another sum in each run. Instead, give each dx to one thread, which collects. Forward (3x3, padding 1) read
# x[a,b] for y[i,j] with tap (r,s) where a = i+r-1 and b = j+s-1. Solved for i and j:
#
#     dx[n,c,a,b] = sum over o,r,s of w[o,c,r,s] * dy[n,o,a-r+1,b-s+1]
#
# The tap counts backwards: a convolution again, with the kernel rotated by 180 degrees. One thread for each dx:


# %%
@cuda.jit
def dx_plain(dx, dy, w):
    index = cuda.grid(1)
    N, C, H, W = dx.shape
    if index >= dx.size:
        return
    n, c, a, b = index // (C * H * W), index // (H * W) % C, index // W % H, index % W
    total = dx.dtype.type(0)
    for o in range(dy.shape[1]):
        for r in range(3):
            for s in range(3):
                i, j = a - r + 1, b - s + 1
                if 0 <= i < dy.shape[2] and 0 <= j < dy.shape[3]:
                    total += dy[n, o, i, j] * w[o, c, r, s]
    dx[n, c, a, b] = total


N, C, O, H, W = 1, 2, 2, 8, 8
dy, w = rng.normal(size=(N, O, H, W)).astype(np.float32), rng.normal(size=(O, C, 3, 3)).astype(np.float32)
with kernels.use("reference") as ops:
    dx_true = ops.conv2d_backward_input(dy, w, (N, C, H, W), 1, 1, 1, 1)
dx = np.empty_like(dx_true)
launch(dx_plain, blocks_for(dx.size, 16), 16, dx, dy, w)
print("largest difference to the reference:", abs(dx - dx_true).max())
assert np.allclose(dx, dx_true, atol=1e-5)

# %% [markdown]
# ## What does it read?
#
# As on the CPU, it is not the multiply-adds that take long, but fetching their numbers. So count the reads. In the
# simulator a kernel accepts anything that behaves like an array: here one that notes what is read. Along a row of W
# pixels, 3W - 2 of the 3W pairs of pixel and tap lie inside; so there are `N*C*O*(3H-2)*(3W-2)` reads of dy.


# %%
class Watched:
    """An array that counts how often each of its numbers is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.reads = array, array.shape, array.dtype, []

    def __getitem__(self, index):
        self.reads.append(tuple(int(k) for k in index))
        return self.array[index]

    def counts(self):
        counts = np.zeros(self.shape, int)
        for index, count in Counter(self.reads).items():
            counts[index] = count
        return counts


plain = Watched(dy)
if SIMULATED:
    launch(dx_plain, blocks_for(dx.size, 16), 16, dx, plain, w)
    print(f"{len(plain.reads)} reads of {dy.size} numbers of dy, {len(plain.reads) / dx.size:.1f} for each dx")
    assert len(plain.reads) == N * C * O * (3 * H - 2) * (3 * W - 2)

# %% [markdown]
# ## Shared memory and the barrier
#
# Neighbouring threads read nearly the same pixels. The threads of one block can share a little fast memory: each loads
# a part of what all will need, they wait for each other, and then read from there. The waiting is a *barrier*,
# `cuda.syncthreads()`: nobody passes before all threads of the block have come.
#
# A model of a block shows what it is good for, in plain Python: a thread is a generator, and `yield` is the barrier.
# Between two barriers threads run in any order; here one after the other.


# %%
def run_block(thread, count, *arrays):
    """Run `count` generators thread(t, *arrays) from barrier to barrier."""
    running = [thread(t, *arrays) for t in range(count)]
    while running:
        waiting = [t for t in running if next(t, "finished") != "finished"]
        if waiting and len(waiting) < len(running):
            raise RuntimeError(f"{len(waiting)} threads wait at a barrier, {len(running) - len(waiting)} never come")
        running = waiting


# %%
def with_barrier(t, y, x, shared):
    shared[t] = x[t]
    yield
    y[t] = shared[t] + shared[(t + 1) % 4]  # my number and my neighbour's


def without(t, y, x, shared):
    shared[t] = x[t]
    y[t] = shared[t] + shared[(t + 1) % 4]
    yield  # too late


def in_an_if(t, y, x, shared):
    shared[t] = x[t]
    if t < 2:
        yield
    y[t] = shared[t] + shared[(t + 1) % 4]


results = {}
for thread in (with_barrier, without, in_an_if):
    results[thread.__name__] = y = np.zeros(4)
    try:
        run_block(thread, 4, y, np.array([1.0, 2, 3, 4]), np.zeros(4))
        print(f"{thread.__name__:12s}", y)
    except RuntimeError as error:
        print(f"{thread.__name__:12s}", error)
assert results["with_barrier"].tolist() == [3, 5, 7, 5]
assert results["without"].tolist() == [1, 2, 3, 5]

# %% [markdown]
# Without the barrier, thread 0 reads what thread 1 has not written yet. With the barrier inside an `if`, some threads
# wait for others that never come: on a GPU the program hangs, or goes on with wrong numbers. So barriers stand where
# all threads of the block pass, never inside an `if` that they decide differently, and never behind an early `return`.
# Numba's simulator complains of neither mistake, and may even compute the right numbers, now and then or always. This
# model shows both, and so does NVIDIA's `compute-sanitizer` on a GPU.
#
# ## A tile of the picture
#
# A block owns TILE x TILE pixels of dx. Its taps reach one pixel further: it loads a piece of TILE+2 by TILE+2 pixels
# of dy, with its *halo*, once for each o. Thread (row, column) finds dy[a-r+1, b-s+1] at piece[row+2-r, column+2-s].

# %%
TILE = 4
SIDE = TILE + 2


@cuda.jit
def dx_tiled(dx, dy, w):
    piece = cuda.shared.array((SIDE, SIDE), dx.dtype)
    row, column = cuda.threadIdx.y, cuda.threadIdx.x
    top, left = cuda.blockIdx.y * TILE, cuda.blockIdx.x * TILE
    n, c = cuda.blockIdx.z // dx.shape[1], cuda.blockIdx.z % dx.shape[1]
    total = dx.dtype.type(0)
    for o in range(dy.shape[1]):
        p = row * TILE + column
        while p < SIDE * SIDE:  # this thread's share of the piece
            i, j = top + p // SIDE - 1, left + p % SIDE - 1
            inside = 0 <= i < dy.shape[2] and 0 <= j < dy.shape[3]
            piece[p // SIDE, p % SIDE] = dy[n, o, i, j] if inside else dx.dtype.type(0)
            p += TILE * TILE
        cuda.syncthreads()  # the piece is complete
        for r in range(3):
            for s in range(3):
                total += piece[row + 2 - r, column + 2 - s] * w[o, c, r, s]
        cuda.syncthreads()  # all have read: the next o may overwrite it
    if top + row < dx.shape[2] and left + column < dx.shape[3]:  # only now: threads outside helped to load
        dx[n, c, top + row, left + column] = total


# %% [markdown]
# Sides that are no multiples of the tile need the guard at the end, so they are tested, too.


# %%
def tiles(shape):
    return blocks_for(shape[3], TILE), blocks_for(shape[2], TILE), shape[0] * shape[1]


tiled, dx = Watched(dy) if SIMULATED else dy, np.empty_like(dx_true)
launch(dx_tiled, tiles(dx.shape), (TILE, TILE), dx, tiled, w)
assert np.allclose(dx, dx_true, atol=1e-5)
ragged_dy = rng.normal(size=(2, 2, 5, 7)).astype(np.float32)
ragged = np.empty((2, 2, 5, 7), np.float32)
launch(dx_tiled, tiles(ragged.shape), (TILE, TILE), ragged, ragged_dy, w)
with kernels.use("reference") as ops:
    assert np.allclose(ragged, ops.conv2d_backward_input(ragged_dy, w, ragged.shape, 1, 1, 1, 1), atol=1e-5)

# %%
if SIMULATED:
    fig, axes = draw.panels(2, size=(9, 4.4))
    for ax, watched, title in zip(axes, (plain, tiled), ("one thread for each dx", "tiles of 4x4"), strict=True):
        each = len(watched.reads) / dx.size
        draw.grid(ax, watched.counts()[0, 0], title=f"{title}: {each:.2f} reads for each dx", limits=(0, 18))
        print(f"{title}: {len(watched.reads)} reads of dy, {each:.2f} for each dx")
    draw.show(fig, "13_reads")
    assert len(tiled.reads) == C * O * 10 * 10  # of the 8 rows, one tile loads 0 to 4, the other 3 to 7; columns alike
for side in (4, 8, 16, 32):
    print(f"tiles of {side:2d}x{side:<2d}: {(side + 2) ** 2 / side**2:.2f} reads for each dx and o, instead of 9")

# %% [markdown]
# The numbers in the picture: a pixel of dy is read for each of the 2 channels of dx, times nine taps; in tiles, times
# the number of tiles whose piece it lies in. (Each dx sums over both channels of dy; the picture shows the first.) Now
# the products find dy in shared memory, but each still fetches two numbers, a pixel and a weight. The top rung in
# `kernels/cuda` keeps 8x8 sums in a thread's registers: 16 numbers then serve 64 products.
#
# ## A long sum: db in stages
#
#     db[o] = sum over n,i,j of dy[n,o,i,j]
#
# One thread for each o would add a million numbers while thousands of others sleep. So each block adds up a piece in a
# tree: 4 threads add what 4 others have, then 2, then 1, with a barrier after each step. It writes one partial sum. The
# partial sums are added up by the same kernel, launched again: a launch begins when all blocks of the one before have
# finished.

# %%
THREADS = 8


@cuda.jit
def sum_pieces(partials, x):
    """Block (piece, row): partials[row, piece] = the sum of a piece of a row of x."""
    lines = cuda.shared.array(THREADS, partials.dtype)
    t, p, row = cuda.threadIdx.x, cuda.grid(1), cuda.blockIdx.y
    lines[t] = x[row, p] if p < x.shape[1] else x.dtype.type(0)
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if t < half:
            lines[t] += lines[t + half]
        cuda.syncthreads()  # outside the if: all threads come here
        half //= 2
    if t == 0:
        partials[row, cuda.blockIdx.x] = lines[0]


# %%
def sum_rows(x):
    """The sum of each row of x."""
    while x.shape[1] > 1:
        partials = np.empty((len(x), blocks_for(x.shape[1], THREADS)), x.dtype)
        launch(sum_pieces, (partials.shape[1], len(x)), THREADS, partials, x)
        x = partials
    return x[:, 0]


def bias_gradient(dy):
    return sum_rows(dy.transpose(1, 0, 2, 3).reshape(dy.shape[1], -1).copy())


long_dy = rng.normal(size=(2, 2, 8, 9)).astype(np.float32)
db, stages = bias_gradient(long_dy), [2 * 8 * 9]
while stages[-1] > 1:
    stages.append(blocks_for(stages[-1], THREADS))
print("numbers for each o, from launch to launch:", stages)
with kernels.use("reference") as ops:
    print("db", db, "  reference", ops.conv2d_backward_bias(long_dy))
    assert np.allclose(db, ops.conv2d_backward_bias(long_dy), atol=1e-5)

# %% [markdown]
# The tree in one block, for the numbers 1 to 8, and what it does for float32. A running sum over n numbers rounds n
# times, and each rounding is as coarse as the sum is large; in a tree a number passes log2(n) additions.

# %%
lines, steps = np.arange(1.0, 9), []
for half in (8, 4, 2, 1):
    lines = lines[:half] + lines[half:] if half < 8 else lines
    steps.append(np.pad(lines, (0, 8 - half), constant_values=np.nan))
fig, axes = draw.panels(1, size=(7, 3.4))
draw.grid(axes[0], steps, title="8 numbers, 3 steps with a barrier after each")
draw.show(fig, "13_tree")
assert lines[0] == 36
many = np.full(2**20, 0.1, np.float32)
exact = many.astype(np.float64).sum()
tree = many
while len(tree) > 1:
    tree = tree[: len(tree) // 2] + tree[len(tree) // 2 :]
print(f"2**20 times 0.1: exact {exact:.2f}   tree {tree[0]:.2f}   running sum {np.cumsum(many)[-1]:.2f}")
assert abs(tree[0] - exact) < 1e-6 * exact < abs(np.cumsum(many)[-1] - exact)

# %% [markdown]
# ## Is it a gradient?
#
# A layer whose backward runs on the grid, against finite differences. (The weights' gradient is left to the host: it is
# a long sum for each weight, as db is, and a good exercise.)


# %%
class GridConv(layers.Conv2d):
    def backward(self, dy, saved):
        before = self.bias.grad.copy()
        dx = np.empty_like(super().backward(dy, saved))  # adds dw and db; dx and db are replaced by ours
        launch(dx_tiled, tiles(dx.shape), (TILE, TILE), dx, dy.copy(), self.weight.value)
        self.bias.grad = before + bias_gradient(dy)
        return dx


with kernels.use("reference"):
    report = gradcheck(GridConv(1, 2, 3, padding=1, rng=0), rng.normal(size=(1, 1, 3, 4)))
print(report)
assert report

# %% [markdown]
# ## The real ones
#
# All ops of minisegnet exist as such kernels, and the same layers run on them: `net.to("cuda")`, or `--device cuda` on
# the command line. They want the package numba-cuda, where Numba's newer CUDA lives; without it the next cell says so.

# %%
try:
    kernels.check_device_name("cuda")
except kernels.DeviceError as error:
    print(error)
else:
    net = layers.Sequential(layers.Conv2d(2, 3, 3, padding=1, rng=0), layers.ReLU())
    image = rng.normal(size=(1, 2, 4, 4)).astype(np.float32)
    on_host = net(image)
    on_device = kernels.to_host(net.to("cuda")(kernels.to_device(image)))
    print("host and device differ by at most", abs(on_device - on_host).max())
    assert np.allclose(on_device, on_host, atol=1e-5)

# %% [markdown]
# Read on in `kernels/cuda/README.md`: who owns what in each layer, and the three rungs of the convolution, from
# `conv_plain.py` by way of `conv_tiles.py` to `gemm.py`. `minisegnet explain` shows gather and scatter pixel by pixel,
# and `minisegnet exercise start conv1d` lets you write both.
#
# ## Try
#
# 1. Put `print(cuda.blockIdx.x, cuda.threadIdx.x, index)` into `dx_plain`, behind the guard, and launch it for a dx of
#    1x1x2x2.
# 2. Take out the *second* barrier of `dx_tiled`. Which numbers can be wrong then, and what does the simulator compute?
# 3. Write `dw_plain`: one block for each weight, whose threads share the pixels and add up in a tree.
#
# ## Check yourself
#
# 1. Why must `dx_tiled` not begin with `if outside: return`, as `dx_plain` does?
# 2. How many reads of dy for each dx and o would tiles of 16x16 need for a 5x5 kernel?
# 3. 1000 elements, blocks of 256: how many blocks, and how many threads does the guard send home?

# %% [markdown]
# ## Answers
#
# 1. The threads outside would be missing at the barrier, and so would their share of the piece.
# 2. `(16 + 4)**2 / 16**2` = 1.56, instead of 25.
# 3. 4 blocks, 1024 threads: 24 go home.
