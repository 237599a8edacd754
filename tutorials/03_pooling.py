# %% [markdown]
# # Pooling
#
# A pooling layer makes a map smaller, by choosing or by averaging; it has no weights and learns nothing. At the end you
# know what pooling does to the gradient: who gets it where one pixel wins, where several are equal, where windows
# overlap and at the border, and how SegNet finds its way back to full size. This builds on tutorial 2.

# %%
import numpy as np

from kernels.reference import pool as reference
from minisegnet import layers
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(3)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## The largest of four
#
# Max pooling keeps the largest number of each window:
#
#     y[i,j] = max over r,s of x[i*stride + r - padding, j*stride + s - padding]
#
# Again we ask of each x: how much does the loss change if it grows a little, and through which y? Take the four numbers
# 1, 5, 2, 3, of which 5 wins. If 5 becomes 5.01, y becomes 5.01. If 1 becomes 1.01, y stays 5. So the winner gets all
# of dy, and the losers get nothing, however near they were:
#
#     y[i,j] = x[winner]     so     dx[winner] += dy[i,j]
#
# For its backward pass the layer has to remember who won. Not the value, only the position, as one whole number:
# `row*W + column`. SegNet calls these numbers switches.


# %%
def max_pool(x, k, stride, padding=0):
    """One map (H, W). Returns y and the winners' positions."""
    H, W = x.shape
    y = np.full([(size + 2 * padding - k) // stride + 1 for size in (H, W)], -np.inf)
    argmax = np.zeros(y.shape, int)
    for i, j in np.ndindex(y.shape):
        for r, s in np.ndindex(k, k):
            row, column = i * stride + r - padding, j * stride + s - padding
            if 0 <= row < H and 0 <= column < W and x[row, column] > y[i, j]:
                y[i, j], argmax[i, j] = x[row, column], row * W + column
    return y, argmax


def max_pool_backward(dy, argmax, shape):
    dx = np.zeros(shape)
    for i, j in np.ndindex(dy.shape):
        dx[divmod(argmax[i, j], shape[1])] += dy[i, j]  # forward: y[i,j] = x[winner]
    return dx


# %%
x = np.array([[1.0, 5, 2, 0], [2, 3, 7, 1], [8, 1, 0, 6], [4, 2, 3, 5]])
dy = np.array([[1.0, -2], [3, 4]])
y, argmax = max_pool(x, 2, stride=2)
dx = max_pool_backward(dy, argmax, x.shape)
print("positions of the winners:\n", argmax)

pool = layers.MaxPool2d(2)
layer_y, saved = pool.forward(x[None, None])
assert (layer_y[0, 0] == y).all()
assert (saved.argmax[0, 0] == argmax).all()
assert (pool.backward(dy[None, None], saved)[0, 0] == dx).all()

# %%
winners = [divmod(position, 4) for position in argmax.ravel()]
fig, axes = draw.panels(4, size=(13, 3.6))
draw.grid(axes[0], x, title="x, winners ringed", ring=winners)
draw.grid(axes[1], y, title="y", limits=(0, 8))
draw.grid(axes[2], dy, kind="gradient", title="dy")
draw.grid(axes[3], dx, kind="gradient", title="dx", ring=winners)
draw.show(fig, "03_max_pool")

# %% [markdown]
# ## A gate
#
# So max pooling is a gate, as ReLU is. The values in the forward pass decide which gates are open; the backward pass
# multiplies by 1 or by 0 and doesn't look at values any more. It is the same matrix again, dx = W^T dy, but here W
# consists of zeros and ones, one 1 in each row, and x decides where they are.
#
# That makes the layer cheap. What it saves is `MaxPool2dSaved(argmax, x_shape)`: four bytes for each y. x itself may be
# forgotten, as far as this layer is concerned.

# %%
matrix = np.zeros((y.size, x.size))
matrix[np.arange(y.size), argmax.ravel()] = 1
assert (matrix @ x.ravel() == y.ravel()).all()
assert (matrix.T @ dy.ravel() == dx.ravel()).all()

maps = rng.normal(size=(1, 16, 64, 64))
kept = layers.MaxPool2d(2).forward(maps)[1].argmax
print(f"x has {maps.size:,} numbers; saved are {kept.size:,} switches of {kept.itemsize} bytes each")
assert 4 * kept.size == maps.size

# %% [markdown]
# ## Windows that overlap
#
# With a 3x3 window and stride 2, one pixel can win several windows. Here the 9 in the middle wins all four. So it
# stands in four y's, and as always the ways to the loss add up.
#
# NumPy has a trap for us here: `dx[positions] += dy` reads all of dx[positions], adds, and writes all back. Where a
# position comes twice, the later result replaces the earlier one. `np.add.at` adds one after the other.

# %%
x = np.array([[3.0, 1, 4, 1, 5], [2, 6, 5, 3, 5], [8, 7, 9, 3, 2], [3, 8, 4, 6, 2], [6, 4, 3, 3, 8]])
dy = np.array([[1.0, 10], [100, 1000]])
y, argmax = max_pool(x, 3, stride=2)
right, wrong = np.zeros(x.size), np.zeros(x.size)
np.add.at(right, argmax, dy)
wrong[argmax] += dy
print("y:", y.ravel(), "  dx[2,2] with add.at:", right[12], "  with +=:", wrong[12])
assert (right.reshape(x.shape) == max_pool_backward(dy, argmax, x.shape)).all()
assert right[12] == 1111
assert wrong[12] == 1000

# %% [markdown]
# ## The same with NumPy
#
# All windows at once, as in tutorial 1, with -inf as the padding, for padding must never win. (With 0 there, a map of
# negative numbers would get a border of zeros.) NumPy's `argmax` finds the place within the window, `k*r + s`, and from
# that follow row and column.


# %%
def max_pool_numpy(x, k, stride, padding=0):
    """Maps (N, C, H, W)."""
    W = x.shape[3]
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::stride, ::stride]
    flat = view.reshape(*view.shape[:4], k * k)
    r, s = np.divmod(flat.argmax(axis=-1), k)
    row = np.arange(flat.shape[2])[:, None] * stride + r - padding
    column = np.arange(flat.shape[3]) * stride + s - padding
    return flat.max(axis=-1), row * W + column


def max_pool_backward_numpy(dy, argmax, shape):
    dx = np.zeros(shape)
    n, c = np.indices(dy.shape)[:2]
    np.add.at(dx.reshape(*shape[:2], -1), (n, c, argmax), dy)
    return dx


# %%
maps = rng.normal(size=(2, 3, 7, 6))
for k, stride, padding in ((2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1)):
    pool = layers.MaxPool2d(k, stride, padding)
    y, saved = pool.forward(maps)
    dy = rng.normal(size=y.shape)
    dx = pool.backward(dy, saved)
    ours, argmax = max_pool_numpy(maps, k, stride, padding)
    assert (ours == y).all()
    assert (argmax == saved.argmax).all()
    assert np.allclose(max_pool_backward_numpy(dy, argmax, maps.shape), dx)
    assert np.allclose(max_pool_backward(dy[1, 2], argmax[1, 2], (7, 6)), dx[1, 2])
    assert np.allclose(reference.max_pool2d_backward(dy, saved.argmax, maps.shape), dx)
    assert np.isclose(dx.sum(), dy.sum())
assert (layers.MaxPool2d(3, 1, 1)(-np.ones((1, 1, 4, 4))) == -1).all()

# %% [markdown]
# The last line in the loop is worth a habit: each dy arrives somewhere, whole, so dx and dy have the same sum. A
# backward pass that loses gradients, or hands them out twice, is found out by that.
#
# ## Ties
#
# What if two are equal? Let x[0] move past its neighbour, which is 2:

# %%
moving = np.linspace(0, 4, 81)
fig, axes = draw.panels(2, size=(9, 3.2))
draw.curve(axes[0], {"y": np.maximum(moving, 2)}, x=moving, xlabel="x[0], with x[1] = 2", ylabel="y")
slopes = {"dy/dx[0]": moving > 2, "dy/dx[1]": moving < 2}
slopes = {name: np.where(moving == 2, np.nan, slope) for name, slope in slopes.items()}
draw.curve(axes[1], slopes, x=moving, xlabel="x[0], with x[1] = 2", ylabel="slope")
draw.show(fig, "03_kink")

# %% [markdown]
# y has a kink there: raising x[0] raises y, lowering it does nothing. So at the tie there is no derivative, and we have
# to choose. The layer gives everything to the **first** in reading order, as our loop does: with `>`, a later one that
# is only as large doesn't replace it. Half to each would be as good. All to both would not: too much would arrive.

# %%
pool = layers.MaxPool2d(2, stride=1)
ones = np.ones((1, 1, 3, 3))
y, saved = pool.forward(ones)
print("all equal:\n", pool.backward(np.ones_like(y), saved)[0, 0])
print(gradcheck(pool, ones))

# %% [markdown]
# `gradcheck` knows about kinks: where the slopes to both sides differ it doesn't compare. Instead it moves all the
# numbers that are tied together, which is smooth again: the row says `ties at 1`.
#
# In a net ties are common: behind a ReLU whole windows are 0. The first of these zeros gets dy, and then? Next comes
# the ReLU, whose gate is closed there. Nothing wrong gets through:

# %%
net = layers.Sequential(layers.ReLU(), layers.MaxPool2d(2))
y, saved = net.forward(np.array([[[[-1.0, -2, 3, -4], [-3, -1, 1, 2]]]]))
print("y", y.ravel(), "\ndx\n", net.backward(np.array([[[[10.0, 20]]]]), saved)[0, 0])

# %% [markdown]
# ## Average pooling: shared out
#
#     y[i,j] = 1/D * sum over r,s of x[i*stride + r - padding, j*stride + s - padding]
#
# Each x of the window stands in y with the factor 1/D, so it gets dy/D, from every window that it is in. No value of x
# decides anything: there is nothing to save but the shape. With the same D everywhere it is a convolution with fixed
# weights 1/D, each channel by itself, and tutorial 2 applies word for word.
#
# But what is D at the border? With `count_include_pad=True`, the default, the zeros of the padding count as pixels: D
# is k times k everywhere, and a picture gets darker at its border. With False only real pixels count: D is 4, 6 or 9
# for a 3x3 window with padding 1.


# %%
def avg_pool(x, dy, k, stride, padding, count_include_pad=True):
    """One map. Returns y and dx."""
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for i, j in np.ndindex(dy.shape):
        top, left = i * stride - padding, j * stride - padding
        inside = slice(max(top, 0), top + k), slice(max(left, 0), left + k)
        D = k * k if count_include_pad else x[inside].size
        y[i, j] = x[inside].sum() / D
        dx[inside] += dy[i, j] / D
    return y, dx


ones = np.ones((4, 4))
fig, axes = draw.panels(4, size=(13, 3.7))
for place, include in ((0, True), (2, False)):
    y, dx = avg_pool(ones, ones, 3, 1, 1, include)
    pool = layers.AvgPool2d(3, 1, 1, count_include_pad=include)
    layer_y, saved = pool.forward(ones[None, None])
    assert np.allclose(layer_y[0, 0], y)
    assert np.allclose(pool.backward(ones[None, None], saved)[0, 0], dx)
    draw.grid(axes[place], y, title=f"y of ones, D is {'9' if include else '4, 6 or 9'}", limits=(0, 1))
    draw.grid(axes[place + 1], dx, kind="gradient", title="dx of dy = 1", limits=(-1.5, 1.5))
    print(f"count_include_pad={include}: dy.sum() = {ones.sum():.3f}, dx.sum() = {dx.sum():.3f}")
draw.show(fig, "03_average")

# %% [markdown]
# A surprise in the sums: where padding counts, part of the gradient is gone. It went to the zeros outside, which nobody
# asks. Without padding in the average, each dy is shared among D real pixels, and all of it arrives.
#
# And this is the convolution that does the same as an average pool, a depthwise one with all weights 1/4:

# %%
depthwise = layers.Conv2d(3, 3, 2, stride=2, groups=3, bias=False, rng=0, dtype=np.float64)
depthwise.weight.value[:] = 1 / 4
average = layers.AvgPool2d(2)
(y, saved), (same_y, same_saved) = average.forward(maps), depthwise.forward(maps)
dy = rng.normal(size=y.shape)
assert np.allclose(same_y, y)
assert np.allclose(depthwise.backward(dy, same_saved), average.backward(dy, saved))

# %% [markdown]
# ## The average of everything
#
# `AdaptiveAvgPool2d(1)` makes one number of each map, whatever its size: a net with it takes pictures of any size. Each
# of the H times W pixels gets the same share of dy. For larger outputs it divides the map into bins; bin i has the rows
#
#     from   floor(i*H / H')   up to, without,   ceil((i+1)*H / H')
#
# and where H' doesn't divide H, neighbouring bins can share a row. Such a row gets a share from both:

# %%
overall = layers.AdaptiveAvgPool2d(1)
y, saved = overall.forward(maps)
assert np.allclose(overall.backward(np.full_like(y, 42), saved), 42 / (7 * 6))

bins = layers.AdaptiveAvgPool2d((1, 3))
y, saved = bins.forward(np.arange(7.0).reshape(1, 1, 1, 7))
print("3 bins of 7 pixels:", y.ravel(), "  dx:", bins.backward(np.array([[[[3.0, 30, 300]]]]), saved).ravel())

# %% [markdown]
# ## Unpooling: the way back
#
# Pooling has thrown away where things are. SegNet (Badrinarayanan et al., 2017) keeps the switches and uses them a
# second time: when the map is to be enlarged again, each number goes to the place where the pooling found its maximum,
# and the rest is 0. `PoolUnpool` holds both ends, and any layers in between, the body:
#
#     forward    p, switches = maxpool(x)       h = body(p)                  y = 0, then y[switches] = h
#     backward   dh = dy[switches]              dp = body.backward(dh)       dx = 0, then dx[switches] += dp
#
# y[switches] is a copy of h, so dh reads dy there. What dy says about the zeros in between concerns nobody. And the
# switches, which depend on x as well? They are whole numbers: when x changes a little they don't change at all, so
# nothing flows back through them.

# %%
x = np.array([[1.0, 5, 2, 0], [2, 3, 7, 1], [8, 1, 0, 6], [4, 2, 3, 5]])
ends = layers.PoolUnpool(layers.Identity())
y, saved = ends.forward(x[None, None])
dy = np.arange(1.0, 17).reshape(4, 4)
dx = ends.backward(dy[None, None], saved)[0, 0]
fig, axes = draw.panels(4, size=(13, 3.6))
draw.grid(axes[0], x, title="x", ring=winners)
draw.grid(axes[1], y[0, 0], title="y, unpooled", ring=winners)
draw.grid(axes[2], dy, kind="gradient", title="dy", ring=winners)
draw.grid(axes[3], dx, kind="gradient", title="dx", ring=winners)
draw.show(fig, "03_unpool")
ringed = np.isin(np.arange(16), saved.pool.argmax).reshape(4, 4)
assert (dx == np.where(ringed, dy, 0)).all()

# %% [markdown]
# On a picture one sees what that is good for. The usual enlargement repeats each number four times, and outlines get
# coarse. Unpooling leaves holes, which the next convolutions fill; but what it has kept stands exactly where it was.

# %%
row, column = np.mgrid[0:24, 0:24]
scene = 0.25 + 0.01 * column
scene[(row - 10) ** 2 + (column - 12) ** 2 < 60] = 0.8
scene[abs(column - row - 1) < 1] = 1.0
pooled = layers.MaxPool2d(2)(scene[None, None])
fig, axes = draw.panels(4, size=(13, 3.6))
draw.picture(axes[0], scene, title="x")
draw.picture(axes[1], pooled[0, 0], title="pooled")
draw.picture(axes[2], layers.Upsample(scale_factor=2, mode="nearest")(pooled)[0, 0], title="each repeated 4 times")
draw.picture(axes[3], ends(scene[None, None])[0, 0], title="unpooled")
draw.show(fig, "03_unpool_picture")

# %% [markdown]
# ## Is it right?

# %%
x = rng.normal(size=(2, 2, 5, 6))
body = layers.Conv2d(2, 2, 3, padding=1, rng=0)
checked = layers.MaxPool2d(3, 2, 1), layers.AvgPool2d(3, 2, 1), layers.AdaptiveAvgPool2d(3), layers.PoolUnpool(body)
for layer in checked:
    report = gradcheck(layer, x)
    print(type(layer).__name__, "is right" if report else report)
    assert report

# %% [markdown]
# ## Break it
#
# Here is the trap from above as a layer:


# %%
class Trapped(layers.MaxPool2d):
    def backward(self, dy, saved):
        dx = np.zeros(saved.x_shape)
        n, c = np.indices(dy.shape)[:2]
        dx.reshape(*saved.x_shape[:2], -1)[n, c, saved.argmax] += dy
        return dx


assert gradcheck(Trapped(2), x), "without overlap it is right"
report = gradcheck(Trapped(3, stride=2), x)
print(report)
assert not report
assert "np.add.at" in report.diagnosis[0]

# %% [markdown]
# ## Try
#
# 1. Write a max pool whose backward gives dy to everyone who is as large as the maximum. Does `gradcheck` notice with
#    normal random numbers? With `rng.integers(0, 3, ...)`?
# 2. A map has 5 rows. What do `MaxPool2d(2)` and `MaxPool2d(2, ceil_mode=True)` do with the last one, forward and
#    backward? Does that change what `AvgPool2d` divides by?
# 3. Put a MaxPool2d(2) into `minisegnet.trace.record`, as in tutorial 2, and `explain` a dx of a winner and of a loser.
#
# The layers are in `minisegnet/layers/pool.py` and, for PoolUnpool, `minisegnet/combine.py`; readable kernels are in
# `kernels/reference/pool.py`. The page that `minisegnet explain` writes shows for each pixel behind a pool who has won.
# `minisegnet exercise list` has exercises on both kinds of pooling.
#
# ## Check yourself
#
# 1. x has 6x6 pixels. How many entries of dx can be other than 0 after MaxPool2d(2)? After AvgPool2d(2)? After
#    MaxPool2d(3, stride=1)?
# 2. Why does a max pool save positions, and an average pool nothing but a shape?
# 3. The kernel of a convolution was rotated in dx. Why did nobody rotate anything here?

# %%
# Think first; then let the program count for the first question.
x = rng.normal(size=(1, 1, 6, 6))
for layer in (layers.MaxPool2d(2), layers.AvgPool2d(2), layers.MaxPool2d(3, stride=1)):
    y, saved = layer.forward(x)
    print(layer, y.size, "windows,", np.count_nonzero(layer.backward(np.ones_like(y), saved)), "entries of dx")

# %% [markdown]
# ## Answers
#
# 1. One for each window: 9. All 36. At most 16, the number of windows; fewer, if a pixel wins several.
# 2. The derivative of a maximum depends on x: on who has won, and on nothing else. That of a mean is 1/D for any x.
# 3. In an average all weights are equal, and look the same upside down. For the maximum we have only scattered, and
#    scatter never rotates: each dy goes back where its y came from.
