# %% [markdown]
# # Making it fast: the CPU ladder
#
# The loops that define a convolution are right, and far too slow to train with. At the end you will know what limits
# a convolution, what each rung of our ladder changes and gains on your machine, how to write such a kernel yourself,
# and where the fastest rung gets its speed from: it multiplies less. Builds on the tutorials on convolution (1, 2).
#
# All times below are measured while you read. Only their ratios mean anything, and only if the machine is idle.

# %%
import time

import numba
import numpy as np

import kernels
from kernels.cpu import winograd_tiles
from kernels.cpu.jit import part_of
from kernels.cpu.micro import MACHINE
from kernels.threads import run as on_all_threads
from minisegnet import layers
from minisegnet.bench.peaks import PeakMeter
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(0)
np.set_printoptions(precision=4, suppress=True, linewidth=110)


# %%
def uniform(*shape):
    return rng.random(shape, np.float32) - np.float32(0.5)


def seconds(call, times=4):
    """The shortest of several calls (others at work only make a call longer); the first one compiles."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


# %% [markdown]
# ## Count before you measure
#
#     y[n,o,i,j] = b[o] + sum over c,r,s of w[o,c,r,s] * x[n,c,i+r-padding,j+s-padding]
#
# For each of the `N*O*H*W` numbers of y that is `C*kH*kW` multiply-adds, two operations each. The bytes that have to
# move at least: x and w once from memory, y once to it, 4 bytes a number. Operations per byte are called the
# *arithmetic intensity*.

# %%
N, C, O, H, W, k = 4, 32, 32, 88, 120, 3
x, w, b = uniform(N, C, H, W), uniform(O, C, k, k), uniform(O)
products = N * O * H * W * C * k * k
flops, moved = 2 * products, x.nbytes + w.nbytes + 4 * N * O * H * W
relu_intensity, fetching_intensity = 1 / 8, 2 / 8
intensity = flops / moved
print(f"{products:,} multiply-adds, {moved:,} bytes: {intensity:.1f} operations per byte")
print(f"a ReLU: 1 comparison for 4 bytes read and 4 written: {relu_intensity} operations per byte")
print(f"a convolution that fetches both factors of each product: 2 operations for 8 bytes: {fetching_intensity}")

# %% [markdown]
# A machine has two limits: operations in a second, and bytes in a second from memory. The first is counted in GFLOP/s,
# 10^9 floating-point operations a second, the second in GB/s. Whatever you run takes at least
#
#     seconds >= max(operations / peak, bytes / bandwidth)
#
# Drawn over the intensity, that is a *roofline* (Williams, Waterman and Patterson, 2009): to the left memory is the
# limit, to the right arithmetic. Between the two are the *caches*, small and fast memories that keep what was used
# last. `PeakMeter` measures both limits: a loop of multiply-adds whose data never leave the nearest cache, and a sum of
# arrays that fit in none.

# %%
threads = kernels.get_num_threads()
peaks = PeakMeter(threads).peaks
print(f"{peaks.gflops:.0f} GFLOP/s and {peaks.gbs:.0f} GB/s, with {threads} thread(s)")
for what, value in (("ReLU", relu_intensity), ("fetching", fetching_intensity), ("convolution", intensity)):
    print(f"{what:12s} can reach at most {min(peaks.gflops, value * peaks.gbs):8.1f} GFLOP/s")

# %% [markdown]
# So a convolution *could* use all the arithmetic that there is, if each number that has been fetched takes part in many
# products before it is lost from the caches. A ReLU can't, whatever we do: it is a matter of memory alone.
#
# ## The ladder
#
# Six ways to the same y. `kernels.use("cpu", conv=...)` takes the convolution from one rung:
#
#     loops      reference/conv_loops.py   one product at a time, in Python
#     windows    reference/conv.py         a view of all windows, one NumPy call for all sums
#     im2col     cpu/conv_im2col.py        the windows copied into a matrix, then one matrix product
#     parallel   cpu/conv_parallel.py      the loops again, compiled, along rows, on all cores
#     micro      cpu/conv.py, micro.py     a tile of sums stays in registers, its input rows in the cache
#     winograd   cpu/winograd.py           tiles transformed, so that a quarter of the multiplications are left
#
# (*Registers* are the few dozen places that arithmetic works on directly.) The windows are a *view*: the same memory,
# seen with two more axes. im2col writes them out: up to nine copies of each pixel.

# %%
small = np.arange(1, 21, dtype=np.float32).reshape(1, 1, 4, 5)
view = np.lib.stride_tricks.sliding_window_view(small, (3, 3), axis=(2, 3))
columns = view[0, 0].reshape(-1, 9).T.copy()
print("steps in bytes of x", small.strides, "and of its windows", view.strides)
print("2x3 windows as columns, with a row for each tap:\n", columns)
print("a row of 9 weights @ that matrix is a map of 2x3 outputs:\n", w[0, 0].ravel() @ columns)
assert np.shares_memory(view, small)
assert np.allclose(w[0, 0].ravel() @ columns, (view[0, 0] * w[0, 0]).sum((2, 3)).ravel(), atol=1e-5)

# %% [markdown]
# Now all of them. The loops get a tiny map (speed is counted per product, so it can be compared), the others the layer
# from above. Every result is checked against the same sum in float64.

# %%
tiny = uniform(1, 4, 6, 7), uniform(4, 4, 3, 3), uniform(4)
with kernels.use("reference") as ops:
    truth = ops.conv2d_forward(x.astype(np.float64), w.astype(np.float64), b.astype(np.float64), 1, 1, 1, 1)
    tiny_truth = ops.conv2d_forward(*(a.astype(np.float64) for a in tiny), 1, 1, 1, 1)
speed, error = {}, {}
for rung in kernels.CONV_RUNGS:
    with kernels.use("cpu", conv=rung) as ops:
        is_tiny = rung == "loops"
        arrays, right, count = (tiny, tiny_truth, 4 * 4 * 9 * 6 * 7) if is_tiny else ((x, w, b), truth, products)
        speed[rung] = 2 * count / seconds(lambda ops=ops, arrays=arrays: ops.conv2d_forward(*arrays, 1, 1, 1, 1)) / 1e9
        error[rung] = abs(ops.conv2d_forward(*arrays, 1, 1, 1, 1) - right).max() / abs(right).max()
    assert error[rung] < 1e-4
for before, (rung, value) in zip([None, *speed], speed.items(), strict=False):
    gain = f"   {value / speed[before]:9,.1f} times {before}" if before else ""
    print(f"{rung:9s} {value:9.4f} GFLOP/s   largest error {error[rung]:.1e}{gain}")

# %% [markdown]
# A rung has one more idea than the last; it need not be faster. `windows` and `im2col` leave the sums to BLAS, the
# library of matrix products behind NumPy, tuned for decades. `parallel` does without, and its sums travel between cache
# and registers once for each tap: if its last column is below 1 on your machine, that is why. It is there because
# `micro` is built on it.

# %%
fig, axes = draw.panels(2, size=(11, 4.2))
at = np.geomspace(0.05, 2000, 100)
axes[0].loglog(at, np.minimum(peaks.gflops, at * peaks.gbs), color="0.35", linewidth=2)
for what, value in (("ReLU", relu_intensity), ("fetching", fetching_intensity)):
    axes[0].plot([value, value], [1e-4, value * peaks.gbs], color="0.6", linestyle=":")
    axes[0].text(value * 1.2, 3e-4, what, fontsize=10, color="0.3", rotation=90, ha="left")
height = 0
for rung, value in sorted(speed.items(), key=lambda item: item[1]):
    height = max(value, 2.6 * height)  # labels at least so far apart
    axes[0].plot([intensity, 1.7 * intensity], [value, height], "-", color="0.6", linewidth=1)
    axes[0].plot(intensity, value, "o", color="#005c58")
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # the roof must not strike a name out
    axes[0].text(1.8 * intensity, height, rung, fontsize=10, va="center", bbox=paper)
axes[0].set(ylim=(1e-4, 5000), xlim=(0.05, 2000))
axes[0].set_xlabel("operations per byte", fontsize=11)
axes[0].set_title("GFLOP/s: the roof of this machine, and our rungs", fontsize=12)
names = list(speed)[1:]
bars = axes[1].barh(names[::-1], [speed[name] for name in names[::-1]], color="#78b2ac")
axes[1].bar_label(bars, fmt=" %.0f", fontsize=10)
axes[1].axvline(peaks.gflops, color="0.35", linewidth=2)
axes[1].set_xlim(0, 1.15 * max(peaks.gflops, *speed.values()))
axes[1].set_title("GFLOP/s of all but the loops; line: the peak", fontsize=12)
axes[1].tick_params(labelsize=11)
draw.show(fig, "12_roofline")

# %% [markdown]
# Winograd may stand *above* the roof: the speed counts the multiplications of the definition, and it does fewer.
#
# ## A kernel of our own: dx, from loops to rows
#
# Backward hands each dy to the pixels that its window saw, `dx[a,b] += dy[i,j] * w[r,s]` with a = i+r-padding and
# b = j+s-padding. Here it is word for word. Numba compiles the same text to machine code; `.py_func` is the Python.


# %%
@numba.njit
def scatter(dx, dy, w, padding):
    for n in range(dy.shape[0]):
        for o in range(dy.shape[1]):
            for i in range(dy.shape[2]):
                for j in range(dy.shape[3]):
                    for c in range(dx.shape[1]):
                        for r in range(w.shape[2]):
                            for s in range(w.shape[3]):
                                a, b = i + r - padding, j + s - padding
                                if 0 <= a < dx.shape[2] and 0 <= b < dx.shape[3]:
                                    dx[n, c, a, b] += dy[n, o, i, j] * w[o, c, r, s]


dy = uniform(2, 16, 88, 120)
w16 = uniform(16, 16, 3, 3)
with kernels.use("reference") as ops:
    dx_true = ops.conv2d_backward_input(dy.astype(np.float64), w16.astype(np.float64), dy.shape, 1, 1, 1, 1)
dx = np.zeros_like(dy)
scatter(dx, dy, w16, 1)
assert np.allclose(dx, dx_true, atol=1e-4)
small_dy, small_dx = dy[:1, :, :4, :5].copy(), np.zeros((1, 16, 4, 5), np.float32)
python = seconds(lambda: scatter.py_func(small_dx, small_dy, w16, 1), 1) / small_dy.size
compiled = seconds(lambda: scatter(dx, dy, w16, 1)) / dy.size
print(f"each dy takes {1e6 * python:.1f} µs in Python, {1e6 * compiled:.3f} µs compiled: 1/{python / compiled:.0f}")

# %% [markdown]
# ## Why gather and not scatter
#
# Now on two threads, one for each output? Take one row, `dy = [1, 1]`, `w = [1, 2, 3]`. The outputs share two pixels,
# and `+=` is three steps: read, add, write. If both threads read before either has written, one of the sums is lost.
# NumPy plays that with an index that occurs twice: it reads everything first, and writes then.

# %%
place, value = np.array([0, 1, 2, 1, 2, 3]), np.array([1.0, 2, 3, 1, 2, 3])
racing, right = np.zeros(4), np.zeros(4)
racing[place] += value
np.add.at(right, place, value)
print("both read, then both write:", racing, "  one after the other:", right)
assert (racing.tolist(), right.tolist()) == ([1, 1, 2, 3], [1, 3, 5, 3])
big = np.float32(1e8)
print("and the order matters, too: (1e8 + 1) - 1e8 =", (big + 1) - big, ", (1e8 - 1e8) + 1 =", (big - big) + 1)
crowd = np.zeros((1, 1, 5, 6), np.float32)
scatter(crowd, np.ones_like(crowd), np.ones((1, 1, 3, 3), np.float32), 1)
fig, axes = draw.panels(1, size=(4, 3.4))
draw.grid(axes[0], crowd[0, 0], kind="gradient", title="so many dy are added to each dx")
draw.show(fig, "12_crowd")

# %% [markdown]
# A lock or an atomic addition saves the sum but makes threads queue, and adds in the order in which they arrive: other
# bits in each run. So turn the sum around. Solve a = i+r-padding for i, and each pixel *collects*:
#
#     dx[n,c,a,b] = sum over o,r,s of w[o,c,r,s] * dy[n,o,a-r+padding,b-s+padding]
#
# Each number has one owner, who writes it once, in an order that never changes. `minisegnet explain` draws both ways of
# reading the sum for every pixel of a net.


# %%
@numba.njit(nogil=True)
def gather(dx, dy, w, padding, share):
    N, C, H, W = dx.shape
    for item in part_of(N * C * H, share):  # a row of dx; share: (which part, of how many)
        n, c, a = item // (C * H), item // H % C, item % H
        for b in range(W):
            total = dx.dtype.type(0)
            for o in range(dy.shape[1]):
                for r in range(w.shape[2]):
                    for s in range(w.shape[3]):
                        i, j = a - r + padding, b - s + padding
                        if 0 <= i < dy.shape[2] and 0 <= j < dy.shape[3]:
                            total += dy[n, o, i, j] * w[o, c, r, s]
            dx[n, c, a, b] = total


# %% [markdown]
# Next, memory. It travels in lines, on most machines of 64 bytes: 16 numbers of a row. And a *vector instruction* does
# the same to several neighbours at once. So the innermost loop must run along a row, without an `if`: put the taps
# outside, and work out once where their row begins and ends. The rows can be taken in strips of any height, which will
# matter in a moment; height 1 is `parallel`'s way.


# %%
@numba.njit(nogil=True)
def strips(dx, dy, w, padding, height, share):
    N, C, H, W = dx.shape
    O, rows, cols = dy.shape[1:]
    count = -(-H // height)
    for item in part_of(N * C * count, share):
        n, c, first = item // (C * count), item // count % C, item % count * height
        last = min(H, first + height)
        dx[n, c, first:last] = 0
        for o in range(O):
            for r in range(w.shape[2]):
                for s in range(w.shape[3]):
                    weight, shift = w[o, c, r, s], padding - s  # pixel b meets dy in column b + shift
                    start, stop = max(0, -shift), min(W, cols - shift)
                    for a in range(max(first, r - padding), min(last, rows + r - padding)):
                        to = dx[n, c, a, start:stop]
                        source = dy[n, o, a - r + padding, start + shift : stop + shift]
                        for q in range(len(to)):
                            to[q] += weight * source[q]


# %%
ways = {
    "scatter, compiled": lambda: scatter(dx, dy, w16, 1),
    "gather": lambda: gather(dx, dy, w16, 1, (0, 1)),
    "gather along rows": lambda: strips(dx, dy, w16, 1, 1, (0, 1)),
    f"on {threads} thread(s)": lambda: on_all_threads(strips, (dx, dy, w16, 1, 1)),
    "rung micro": lambda: dx.__setitem__(..., micro.conv2d_backward_input(dy, w16, dx.shape, 1, 1, 1, 1)),
}
first = None
with kernels.use("cpu", conv="micro") as micro:
    for name, call in ways.items():
        took = seconds(call)
        first = first or took
        dx[:] = 0
        call()
        assert np.allclose(dx, dx_true, atol=1e-4), name
        print(f"{name:18s} {2 * 9 * 16 * dy.size / took / 1e9:7.2f} GFLOP/s   {first / took:6.1f} times the first")
once, in_parts = np.empty_like(dx), np.empty_like(dx)
strips(once, dy, w16, 1, 1, (0, 1))
for part in reversed(range(7)):  # as if seven threads came in the worst order
    strips(in_parts, dy, w16, 1, 1, (part, 7))
assert np.array_equal(once, in_parts), "not one bit may depend on who computes what"

# %% [markdown]
# Is it a gradient? A layer whose dx comes from our kernel, against finite differences:


# %%
class MyConv(layers.Conv2d):
    def backward(self, dy, saved):
        dx = np.empty_like(super().backward(dy, saved))
        on_all_threads(strips, (dx, dy, self.weight.value, 1, 1))
        return dx


with kernels.use("reference"):
    report = gradcheck(MyConv(2, 3, 3, padding=1, rng=0), rng.normal(size=(1, 2, 4, 5)))
print(report)
assert report

# %% [markdown]
# Turning the sum around makes sharing safe, and changes the speed little. Most of the gain is the order of the loops.
# How `micro` gains the rest comes now.
#
# ## Caches, and then registers
#
# The same kernel on a picture of 2048x2048, 16 MiB. With strips as high as the picture, each tap walks through all of
# it, and when the next tap comes, the beginning has been pushed out of the nearer caches. In low strips all taps find
# theirs still there. The additions are the same, in the same order: so the bits are, too.

# %%
wide_dy, wide_w, wide_dx = uniform(1, 1, 2048, 2048), uniform(1, 1, 3, 3), np.empty((1, 1, 2048, 2048), np.float32)
heights, kib_of_a_row = [1, 4, 16, 64, 256, 1024, 2048], 2 * 4 * 2048 // 1024  # in dx and in dy
strips(wide_dx, wide_dy, wide_w, 1, 1, (0, 1))
taken, result = [np.inf] * len(heights), wide_dx.copy()
for _ in range(4):  # in turns, so that a disturbance doesn't meet one height alone
    for q, height in enumerate(heights):
        took = seconds(lambda height=height: strips(wide_dx, wide_dy, wide_w, 1, height, (0, 1)), 2)
        taken[q] = min(taken[q], took)
        assert np.array_equal(wide_dx, result)
for height, took in zip(heights, taken, strict=True):
    print(f"strips of {height:4d} rows, {kib_of_a_row * height:6d} KiB of dx and dy: {1e3 * took:6.1f} ms")
print(f"slowest to fastest: {max(taken) / min(taken):.1f} times")
fig, axes = draw.panels(1, size=(6, 3.2))
sizes = [kib_of_a_row * height for height in heights]
draw.curve(axes[0], {"ms": [1e3 * took for took in taken]}, sizes, "KiB of dx and dy in a strip", "ms")
axes[0].set(xscale="log", ylim=(0, None))
axes[0].set_title("the same sums, in strips of 1 to 2048 rows", fontsize=12)
draw.show(fig, "12_cache")

# %% [markdown]
# What is left is the way between the nearest cache and the registers. In `strips` each multiply-add loads dy and dx and
# stores dx. `micro` keeps a tile of sums in registers through all taps and channels: R outputs times V vectors of
# pixels. For `R*V` multiply-adds it loads V vectors of pixels and R weights, and stores nothing until the very end.

# %%
R, V = MACHINE.pixels_tile
print(f"{MACHINE.name}: a tile of {R} x {V} sums takes {(R + V) / (R * V):.2f} loads for each multiply-add, not 2")

# %% [markdown]
# ## Fewer multiplications: Winograd
#
# (Winograd, 1980; for convolutional nets Lavin and Gray, 2016.) Two neighbouring outputs of a row with three weights
# are six products:
#
#     y0 = d0*g0 + d1*g1 + d2*g2              y1 = d1*g0 + d2*g1 + d3*g2
#
# Four are enough:
#
#     m1 = (d0 - d2) * g0                     m2 = (d1 + d2) * (g0 + g1 + g2)/2
#     m4 = (d1 - d3) * g2                     m3 = (d2 - d1) * (g0 - g1 + g2)/2
#     y0 = m1 + m2 + m3                       y1 = m2 - m3 - m4
#
# Why? m2 + m3 is `d1*g1 + d2*(g0 + g2)`, and adding m1 turns `d2*g0` into `d0*g0`: that is y0. And m2 - m3 is
# `d1*(g0 + g2) + d2*g1`, where taking off m4 turns `d1*g2` into `d3*g2`: y1. As matrices, with `*` number by number:
#
#     y = Aᵀ [(G g) * (B d)]

# %%
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float)
G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]]) / 2
A = np.array([[1, 0], [1, 1], [1, -1], [0, -1]], float)
d, g = np.array([1.0, 2, 3, 5]), np.array([1.0, 4, 2])
m = (G @ g) * (B @ d)
print("m =", m, "  y =", A.T @ m, "  directly", np.array([d[:3] @ g, d[1:] @ g]))
assert (A.T @ m).tolist() == [d[:3] @ g, d[1:] @ g] == [15, 24]

# %% [markdown]
# In two dimensions the matrices act on the columns and on the rows:
#
#     Y = Aᵀ [(G g Gᵀ) * (B d Bᵀ)] A
#
# 16 products for 2x2 outputs, instead of 36. That is F(2x2, 3x3). On one tile, in numbers:

# %%
d, g = rng.integers(0, 9, (4, 4)).astype(float), np.array([[0.0, 4, 2], [2, 4, 6], [4, -2, 0]])
U, V = G @ g @ G.T, B @ d @ B.T
Y = A.T @ (U * V) @ A
assert np.array_equal(Y, [[(d[i : i + 3, j : j + 3] * g).sum() for j in range(2)] for i in range(2)])
fig, axes = draw.panels(6, size=(12, 2.4))
drawn = {"d": d, "g": g, "V = B d Bᵀ": V, "U = G g Gᵀ": U, "U * V": U * V, "Y = Aᵀ (U * V) A": Y}
kinds = ["forward", "weight", "forward", "weight", "forward", "forward"]
for ax, (title, values), kind in zip(axes, drawn.items(), kinds, strict=True):
    draw.grid(ax, values, kind=kind, title=title)
draw.show(fig, "12_winograd")

# %% [markdown]
# One tile gains nothing: the transforms are additions of their own. But U is made once for all tiles, V once for all
# output channels, and the sum over input channels happens *between* the transforms. So the bulk is 16 matrix products:


# %%
def winograd(x, w):
    """A 3x3 convolution with padding 1, for even H and W, by F(2x2, 3x3)."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    d = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (2, 3))[:, :, ::2, ::2]  # tiles overlap by 2
    U = np.einsum("ek,ockl,fl->efoc", G, w, G)
    V = np.einsum("ek,ncijkl,fl->efcnij", B, d, B)
    M = np.einsum("efoc,efcnij->efonij", U, V, optimize=True)  # where the multiplications are
    Y = np.einsum("ek,efonij,fl->noikjl", A, M, A, optimize=True)
    return Y.reshape(len(x), len(w), *x.shape[2:])


conv = layers.Conv2d(16, 8, 3, padding=1, bias=False, rng=0, dtype=np.float64)
image = rng.normal(size=(2, 16, 8, 12))
with kernels.use("reference"):
    print("largest difference to Conv2d:", abs(winograd(image, conv.weight.value) - conv(image)).max())
    assert np.allclose(winograd(image, conv.weight.value), conv(image), rtol=1e-10, atol=1e-12)
step, terms = winograd_tiles.STEP, winograd_tiles.TERMS
print(f"our rung is F({step}x{step}, 3x3): {terms} products instead of {9 * step**2}; its matrix B holds")
print(winograd_tiles.B)

# %% [markdown]
# ## What it costs
#
# Numbers in those matrices are larger and cancel each other again, so more of the 24 bits of a float32 are lost. The
# errors from the ladder, relative to the largest number of y:

# %%
fig, axes = draw.panels(1, size=(6, 2.8))
axes[0].barh(names[::-1], [error[n] for n in names[::-1]], color="#78b2ac")
axes[0].set(xscale="log", xlim=(1e-8, 1e-4))
axes[0].axvline(2.0**-24, color="0.35")
axes[0].set_title("largest error of y; line: rounding one number to float32", fontsize=11)
axes[0].tick_params(labelsize=11)
draw.show(fig, "12_accuracy")
for name in ("micro", "winograd"):
    print(f"{name:9s} error {error[name]:.1e}: {-np.log10(error[name]):.1f} decimal digits are right")
print(f"ratio {error['winograd'] / error['micro']:.0f}")

# %% [markdown]
# ## Try
#
# 1. `minisegnet bench ops --rung parallel --only "conv 3x3"`, then with `micro` and without `--rung`. With
#    `--plot roof.png` and without `--only` every op is drawn under the roof of your machine. Which lie under its slope?
# 2. Swap the two innermost loops of `gather` (r and s). Then put the loop over `b` innermost (dx itself must hold the
#    sums then, so set it to 0 first). What changes, and why?
# 3. Set `MINISEGNET_SIMD=scalar` in the environment, start again and compare the rung `micro`. What are vectors worth?
#
# The next step, the same ideas on a GPU: tutorial 13. The whole ladder in words: `kernels/cpu/__init__.py`. To write
# the backward pass itself: `minisegnet exercise start conv2d`.
#
# ## Check yourself
#
# 1. A 1x1 convolution from 64 to 64 channels: what is its intensity, about, for large maps?
# 2. Why is `scatter` safe if each thread takes whole images n, and why don't we do that?
# 3. How many products does F(4x4, 3x3) need for each output, and how many does the definition?

# %% [markdown]
# ## Answers
#
# 1. For each pixel `2*64*64` operations, and `4*(64 + 64)` bytes: 16 operations per byte.
# 2. Images share no dx, so no two threads write to one place. But a batch of one would run on one thread, and 5 images
#    on 4 threads would take as long as 8.
# 3. 36/16 = 2.25, and 9: a quarter. The transforms come on top, which is why few channels don't gain.
