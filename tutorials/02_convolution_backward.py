# %% [markdown]
# # The backward of a convolution
#
# Training asks of every number in a net: if this one grew a little, how much would the loss grow? At the end you know
# the answers of a convolution, by hand: those of its weights (dw), its bias (db) and its input (dx); why the kernel
# turns around in dx; and you have written the backward pass yourself, twice. This builds on tutorial 1.

# %%
import numpy as np

from kernels.reference import conv, conv_loops
from minisegnet import layers, trace
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(2)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## How much does the loss change if this x changes a little?
#
# Take the smallest convolution there is: one axis, four pixels, two weights.
#
#     y[0] = w[0]*x[0] + w[1]*x[1]
#     y[1] = w[0]*x[1] + w[1]*x[2]
#     y[2] = w[0]*x[2] + w[1]*x[3]
#
# Later layers and a loss make one number L of y. Their backward passes came first and have told us dy, where dy[i] is
# dL/dy[i]: when y[i] grows by a little h, L grows by `dy[i]*h`. Say dy is [1, 10, 100].
#
# Now let x[1] grow by h. **Through which y** does L notice? x[1] stands in y[0], multiplied by w[1], and in y[1],
# multiplied by w[0]. It doesn't stand in y[2].
#
#     y[0] grows by w[1]*h,  which makes L grow by dy[0]*w[1]*h
#     y[1] grows by w[0]*h,  which makes L grow by dy[1]*w[0]*h
#
# Together, and divided by h:
#
#     dx[1] = dy[0]*w[1] + dy[1]*w[0]
#
# That is the chain rule: multiply along each way from x[1] to L, and add up the ways. Let us nudge x[1] and see. As the
# loss we take the sum of `dy[i]*y[i]`, the simplest one with these slopes; for small steps every other loss with the
# same slopes moves alike.

# %%
x, w, dy = np.array([2.0, 5, 3, 4]), np.array([3.0, 2]), np.array([1.0, 10, 100])


def loss(x, w):
    y = np.array([w[0] * x[i] + w[1] * x[i + 1] for i in range(3)])
    return (dy * y).sum()


h = 0.001
nudged = x + np.array([0, h, 0, 0])
print("measured:", (loss(nudged, w) - loss(x, w)) / h, "  by the rule:", dy[0] * w[1] + dy[1] * w[0])
assert np.isclose((loss(nudged, w) - loss(x, w)) / h, 32)

# %% [markdown]
# ## One list of products, three ways to add it up
#
# A convolution is a list of products. Here there are six, `w[r]*x[a]`, each for one y[i], with a = i + r. Each product
# has an i, an r and an a, and that is all we need:
#
#     forward   y[i]  adds up the products with this i:  w[r] * x[a]
#     backward  dx[a] adds up the products with this a, with dy[i] in the place of x[a]:  dy[i] * w[r]
#               dw[r] adds up the products with this r, with dy[i] in the place of w[r]:  dy[i] * x[a]
#
# The derivative of `w*x` by x is w, and by w it is x. So each factor gets **dy times the other factor**. Nothing else
# happens in the backward pass of a convolution; all that follows is bookkeeping.

# %%
products = [(i, r, i + r) for i in range(3) for r in range(2)]
y, dx, dw = np.zeros(3), np.zeros(4), np.zeros(2)
for i, r, a in products:
    y[i] += w[r] * x[a]
for i, r, a in products:
    dx[a] += dy[i] * w[r]
    dw[r] += dy[i] * x[a]
print("y ", y, "\ndx", dx, "\ndw", dw)
assert dx.tolist() == [1 * 3, 1 * 2 + 10 * 3, 10 * 2 + 100 * 3, 100 * 2]
assert dw.tolist() == [1 * 2 + 10 * 5 + 100 * 3, 1 * 5 + 10 * 3 + 100 * 4]

# %% [markdown]
# As a picture: one row for each y, one column for each x, and in the cell the weight between them. Forward adds along a
# row. dx adds down a column. dw adds along a diagonal, where one weight stands.

# %%
table = np.full((3, 4), np.nan)
for i, r, a in products:
    table[i, a] = w[r]
rings = {
    "a row: y[1]": [(1, 1), (1, 2)],
    "a column: dx[1]": [(0, 1), (1, 1)],
    "a diagonal: dw[0]": [(0, 0), (1, 1), (2, 2)],
}
fig, axes = draw.panels(3, size=(11, 3.4))
for ax, (title, ring) in zip(axes, rings.items(), strict=True):
    draw.grid(ax, table, kind="weight", title=title, ring=ring, numbers=True)
    ax.set_xticks(range(4), [f"x[{a}]" for a in range(4)], fontsize=11)
    ax.set_yticks(range(3), [f"y[{i}]" for i in range(3)], fontsize=11)
draw.show(fig, "02_products")

# %% [markdown]
# ## Two axes: dw and db
#
# Now a picture, with stride 1 and no padding:
#
#     y[i,j] = b + sum over r,s of w[r,s] * x[i+r, j+s]
#
# Pick one weight, w[r,s]. Every y[i,j] uses it once, multiplied by x[i+r, j+s]. So it is praised or blamed for all of
# them:
#
#     dw[r,s] = sum over i,j of dy[i,j] * x[i+r, j+s]
#
# Compare the two lines: it is the same sum. Only the letters have changed roles: r, s now say which number we compute,
# and i, j are added over. So dw is a cross-correlation too, of x with dy: slide dy over x as if it were a kernel. And b
# is added to every y with factor 1, so db is the sum of all dy.


# %%
def slide(x, w):
    """The cross-correlation of tutorial 1: y[i,j] = sum over r,s of w[r,s] * x[i+r, j+s]."""
    (H, W), (kH, kW) = x.shape, w.shape
    y = np.zeros((H - kH + 1, W - kW + 1))
    for i, j in np.ndindex(y.shape):
        y[i, j] = (w * x[i : i + kH, j : j + kW]).sum()
    return y


w = np.arange(1.0, 10).reshape(3, 3)  # digits, to see where each one goes
x = np.array([[1.0, 0, 2, 1, 3], [0, 2, 1, 0, 1], [3, 1, 0, 2, 0], [1, 1, 4, 0, 2], [0, 3, 1, 1, 0]])
dy = np.array([[2.0, -1, 0], [1, 3, -2], [-3, 1, 1]])
dw = np.zeros((3, 3))
for i, j in np.ndindex(3, 3):
    for r, s in np.ndindex(3, 3):
        dw[r, s] += dy[i, j] * x[i + r, j + s]
assert (dw == slide(x, dy)).all()
print("db:", dy.sum())
terms = [f"{dy[i, j]:g}*{x[i, j + 2]:g}" for i, j in np.ndindex(3, 3)]
print("dw[0,2] by hand:", " + ".join(terms), "=", dw[0, 2])

fig, axes = draw.panels(3, size=(11, 3.6))
draw.grid(axes[0], x, title="x, what w[0,2] has met", ring=[(i, j) for i in range(3) for j in range(2, 5)])
draw.grid(axes[1], dy, kind="gradient", title="dy")
draw.grid(axes[2], dw, kind="gradient", title="dw", ring=[(0, 2)])
draw.show(fig, "02_dw")

# %% [markdown]
# ## dx, first view: each dy spreads
#
# Stand at one y. It has read nine pixels through nine weights. Now it hands its dy back to the same nine pixels, each
# time multiplied by the weight through which it has read:
#
#     for all i,j,r,s:   dx[i+r, j+s] += dy[i,j] * w[r,s]
#
# So each dy puts down a stamp of the kernel, as strong as itself. The stamp is upright, and where stamps overlap, they
# add up. This is called *scatter*. Below only two dy are not zero, 1 and 10, so you can read off who brought what.


# %%
def scatter(dy, w):
    dx = np.zeros((dy.shape[0] + w.shape[0] - 1, dy.shape[1] + w.shape[1] - 1))
    for i, j in np.ndindex(dy.shape):
        for r, s in np.ndindex(w.shape):
            dx[i + r, j + s] += dy[i, j] * w[r, s]
    return dx


first, second = np.zeros((3, 3)), np.zeros((3, 3))
first[0, 0], second[1, 2] = 1, 10
fig, axes = draw.panels(4, size=(13, 3.6))
draw.grid(axes[0], first + second, kind="gradient", title="dy", ring=[(0, 0), (1, 2)])
stamp = [(r, s) for r in range(3) for s in range(3)]
draw.grid(axes[1], scatter(first, w), kind="gradient", title="dy[0,0] stamps", ring=stamp)
draw.grid(axes[2], scatter(second, w), kind="gradient", title="dy[1,2] stamps", ring=[(1 + r, 2 + s) for r, s in stamp])
draw.grid(axes[3], scatter(first + second, w), kind="gradient", title="dx: both")
draw.show(fig, "02_scatter")
assert scatter(first + second, w)[2, 2] == 1 * 9 + 10 * 4

# %% [markdown]
# ## dx, second view: each x collects
#
# Now stand at one x, as we did at first, and ask: through which y? x[a,b] was read by y[i,j] through w[r,s] where
#
#     i + r = a   and   j + s = b
#
# For each weight (r,s) that is one y: i = a - r, j = b - s. Putting this in for i and j,
#
#     dx[a,b] = sum over r,s of dy[a-r, b-s] * w[r,s]            (dy counts 0 outside)
#
# This is called *gather*. And there are the minus signs of tutorial 1: this is what mathematicians call a convolution.
# They mean: **the y to my upper left has seen me at its lower right.** For x[2,2], let us write the weight that each dy
# is multiplied with at the place of that dy:

# %%
a, b = 2, 2
meets = np.zeros((3, 3))
for r, s in np.ndindex(3, 3):
    meets[a - r, b - s] = w[r, s]
print(meets)
assert (meets == w[::-1, ::-1]).all()

# %% [markdown]
# The digits stand upside down: the kernel is rotated by 180 degrees. To have this as a sliding window again, count the
# weights from the other end, with r' = kH-1-r, s' = kW-1-s, and rotated[r',s'] = w[r,s]:
#
#     a - r = a - (kH-1) + r'
#     dx[a,b] = sum over r',s' of rotated[r',s'] * dy[a-(kH-1)+r', b-(kW-1)+s']
#
# With plus signs before r' and s' it is the sum that `slide` computes, only that its window for a = 0 begins kH-1 rows
# above dy. So add kH-1 rows and kW-1 columns of zeros on every side, and slide the rotated kernel over that.


# %%
def gather(dy, w):
    kH, kW = w.shape
    dx = np.zeros((dy.shape[0] + kH - 1, dy.shape[1] + kW - 1))
    for a, b in np.ndindex(dx.shape):
        for r, s in np.ndindex(w.shape):
            i, j = a - r, b - s
            if 0 <= i < dy.shape[0] and 0 <= j < dy.shape[1]:
                dx[a, b] += dy[i, j] * w[r, s]
    return dx


rotated, framed = w[::-1, ::-1], np.pad(dy, 2)
dx = gather(dy, w)
assert (dx == scatter(dy, w)).all()
assert (dx == slide(framed, rotated)).all()

fig, axes = draw.panels(6, size=(11, 7.4), rows=2)
for row, (a, b) in enumerate([(2, 2), (0, 0)]):
    under = [(a + r, b + s) for r, s in stamp]
    draw.grid(axes[3 * row], framed, kind="gradient", title=f"dy with zeros, the window of dx[{a},{b}]", ring=under)
    draw.grid(axes[3 * row + 1], rotated, kind="weight", title="the kernel, rotated")
    draw.grid(axes[3 * row + 2], dx, kind="gradient", title="dx", ring=[(a, b)])
draw.show(fig, "02_gather")

# %% [markdown]
# Scatter and gather do the same multiplications in another order. Scatter is easier to understand; gather is better for
# a computer, for each dx is computed by itself, and many threads can do so at once without getting in each other's way.
#
# ## The corner hears less
#
# The second row of the picture shows the corner: a single window has ever seen x[0,0], through w[0,0]. So dx[0,0] has
# one term, a pixel in the middle has nine. With ones for dy and w the sum counts its own terms:

# %%
print(gather(np.ones((3, 3)), np.ones((3, 3))).astype(int))
assert dx[0, 0] == dy[0, 0] * w[0, 0]

# %% [markdown]
# A layer's numbers can be asked where they come from, here and, with the mouse, on the page that `minisegnet explain`
# writes. `trace.record` runs forward and backward, and `explain` lists the terms of one number:

# %%
layer = layers.Conv2d(1, 1, 3, bias=False, rng=0, dtype=np.float64)
layer.weight.value[0, 0] = w
recorded = trace.record(layers.Sequential(conv=layer), x[None, None], dy=dy[None, None])
print(recorded.explain("conv", (0, 0, 1, 1), of="dx"))
assert (recorded["conv"].dx[0, 0] == dx).all()
assert (recorded["conv"]["dweight"][0, 0] == dw).all()

# %% [markdown]
# ## Stride, padding, dilation
#
# In general y[i,j] reads row `i*stride + r*dilation - padding` through w[r,s], and a column found likewise. Scatter
# doesn't mind: each stamp lands where its window was, and what lands in the padding is dropped, for nobody asks how the
# loss depends on a zero that isn't part of the picture.
#
#     dx[i*stride + r*dilation - padding, ...] += dy[i,j] * w[r,s]            where that is inside the picture
#
# To gather, a pixel in row a has to find its y's. Solve `a = i*stride + r*dilation - padding` for i:
#
#     i*stride = a - r*dilation + padding
#
# * **padding** only moves things. With stride and dilation 1, the y that has seen row a through r is row
#   i = a - r + padding. So compute dx of the padded picture as before, then cut the padding off.
# * **dilation** pulls the rotated kernel apart, as it pulled the kernel apart in the forward pass.
# * **stride** must divide the right side. If it doesn't, this row was never under this weight. A trick saves asking:
#   spread dy out, with stride - 1 zeros between its numbers, so that `spread[i*stride]` is dy[i]. Then look up
#   `spread[a - r*dilation + padding]`: where the division fails, there is one of those zeros.
#
# Here is stride 2, with 1, 10, 100, 1000 as dy, so that you can read in dx which y's each pixel belonged to.

# %%
dy = np.array([[1.0, 10], [100, 1000]])
spread = np.zeros((3, 3))
spread[::2, ::2] = dy
dx = slide(np.pad(spread, 2), rotated)
fig, axes = draw.panels(4, size=(14, 3.9))
draw.grid(axes[0], dy, kind="gradient", title="dy, stride 2")
draw.grid(axes[1], spread, kind="gradient", title="spread: holes between", ring=[(0, 0), (0, 2), (2, 0), (2, 2)])
draw.grid(axes[2], dx, kind="gradient", title="dx")
more = np.zeros((7, 7))
more[::2, ::2] = 1
draw.grid(axes[3], slide(np.pad(more, 2), np.ones((3, 3))), title="terms in each dx, if dy is 4x4")
draw.show(fig, "02_stride")
assert dx[2, 2] == 1 * 9 + 10 * 7 + 100 * 3 + 1000 * 1

# %% [markdown]
# A surprise: neighbours have 1, 2 or 4 terms. As 3, the kernel's size, isn't a multiple of the stride 2, some rows lie
# under more windows than others, and gradients come out chequered. Pictures that a transposed convolution makes are
# spoilt by the same pattern (Odena et al., Deconvolution and checkerboard artifacts, 2016; see `09_upsampling.py`). And
# where the stride is larger than the kernel, some pixels are never read at all: their dx is 0.
#
# ## Channels and pictures
#
# With more channels the question stays the same: through which y?
#
# * Every filter o reads x[n,c,a,b]. So dx sums over **o**, where forward sums over c: in and out have changed roles.
#   Seen from dx, w is transposed in its first two axes and rotated in its last two.
# * w[o,c,r,s] is used for every picture n. So dw sums over n, besides i and j, and so does db.
#
# With xp for x with its padding, dxp for the gradient of that, and a, b counted in the padded picture:
#
#     y[n,o,i,j]   = b[o] + sum over c,r,s of w[o,c,r,s] * xp[n, c, i*stride + r*dilation, j*stride + s*dilation]
#     dw[o,c,r,s]  = sum over n,i,j of dy[n,o,i,j] * xp[n, c, i*stride + r*dilation, j*stride + s*dilation]
#     db[o]        = sum over n,i,j of dy[n,o,i,j]
#     dxp[n,c,a,b] = sum over o,r,s of spread[n, o, a - r*dilation, b - s*dilation] * w[o,c,r,s]
#
# First the loops, which need only the first line: visit every product once more, and give each factor dy times the
# other.


# %%
def backward_loops(dy, x, w, stride=1, padding=0, dilation=1):
    """Scatter. Returns dx, dw, db."""
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(len(w))
    H, W = x.shape[2:]
    for n, o, i, j in np.ndindex(dy.shape):
        db[o] += dy[n, o, i, j]
        for c, r, s in np.ndindex(w.shape[1:]):
            row = i * stride + r * dilation - padding
            column = j * stride + s * dilation - padding
            if 0 <= row < H and 0 <= column < W:  # in forward: y[n,o,i,j] += w[o,c,r,s] * x[n,c,row,column]
                dw[o, c, r, s] += dy[n, o, i, j] * x[n, c, row, column]
                dx[n, c, row, column] += dy[n, o, i, j] * w[o, c, r, s]
    return dx, dw, db


# %% [markdown]
# Then NumPy, which gathers: dw needs the windows of xp, as in tutorial 1, and dx those of spread.


# %%
def all_windows(x, kernel, stride=1, dilation=1):
    """view[n,c,i,j,r,s] = x[n, c, i*stride + r*dilation, j*stride + s*dilation]"""
    reach = [dilation * (k - 1) + 1 for k in kernel]
    view = np.lib.stride_tricks.sliding_window_view(x, reach, axis=(2, 3))
    return view[:, :, ::stride, ::stride, ::dilation, ::dilation]


def dw_numpy(dy, x, kernel, stride=1, padding=0, dilation=1):
    xp = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    view = all_windows(xp, kernel, stride, dilation)
    return np.tensordot(dy, view, axes=((0, 2, 3), (0, 2, 3)))  # sums over n, i, j; leaves o, c, r, s


def dx_numpy(dy, w, x_shape, stride=1, padding=0, dilation=1):
    N, C, H, W = x_shape
    before = [dilation * (k - 1) for k in w.shape[2:]]  # zeros above and to the left, kH-1 and kW-1 without dilation
    spread = np.zeros((N, len(w), before[0] + H + 2 * padding, before[1] + W + 2 * padding))
    places = spread[:, :, before[0] :: stride, before[1] :: stride]
    places[:, :, : dy.shape[2], : dy.shape[3]] = dy
    view = all_windows(spread, w.shape[2:], dilation=dilation)
    rotated = w[:, :, ::-1, ::-1]
    dxp = np.tensordot(view, rotated, axes=((1, 4, 5), (0, 2, 3)))  # sums over o, r, s; leaves n, a, b, c
    return np.moveaxis(dxp, -1, 1)[:, :, padding : padding + H, padding : padding + W]


# %%
x, w = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 3))
for stride, padding, dilation in ((1, 0, 1), (1, 1, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)):
    geometry = stride, padding, dilation
    layer = layers.Conv2d(3, 4, 3, *geometry, rng=0, dtype=np.float64)
    layer.weight.value[:] = w
    y, saved = layer.forward(x)
    dy = rng.normal(size=y.shape)
    dx, dw, db = backward_loops(dy, x, w, *geometry)
    assert np.allclose(dx_numpy(dy, w, x.shape, *geometry), dx)
    assert np.allclose(dw_numpy(dy, x, (3, 3), *geometry), dw)
    assert np.allclose(layer.backward(dy, saved), dx)
    assert np.allclose(layer.weight.grad, dw)
    assert np.allclose(layer.bias.grad, db)
    for reference in (conv, conv_loops):
        assert np.allclose(reference.conv2d_backward_input(dy, w, x.shape, *geometry, groups=1), dx)
        assert np.allclose(reference.conv2d_backward_weight(dy, x, w.shape, *geometry, groups=1), dw)
    print(f"stride {stride}, padding {padding}, dilation {dilation}: dy {dy.shape}, all agree")

# %% [markdown]
# So that is the layer: read it in `minisegnet/layers/conv.py`, where backward stands directly below forward. What it
# saves for backward is x alone, `Conv2dSaved(x)`: dw needs x, dx needs only w, nobody needs y. The two modules
# `kernels/reference/conv_loops.py` and `conv.py` are what you have just written, with groups.
#
# ## The same matrix
#
# Tutorial 1 wrote the convolution as a matrix: y = W x. When x[m] grows by h, y[k] grows by `W[k,m]*h`, for every k. So
#
#     dx[m] = sum over k of W[k,m] * dy[k]            that is   dx = W^T dy
#
# Forward reads the matrix by rows, backward by columns: it is **the same matrix**. Scatter and gather are the two ways
# to multiply by W^T: add up the rows of W, each times its dy[k], or multiply each column of W with dy. (The digits that
# ran backwards down a column in tutorial 1 were the rotated kernel.) And `ConvTranspose2d`, which enlarges maps in a
# U-Net, is W^T used as a forward pass.

# %%
kernel, dy = np.arange(1.0, 10).reshape(3, 3), np.array([[1.0, 10], [100, 1000]])
matrix = np.stack([slide(one.reshape(4, 4), kernel).ravel() for one in np.eye(16)], axis=1)
print("W^T dy, as a picture:\n", (matrix.T @ dy.ravel()).reshape(4, 4))
assert (matrix.T @ dy.ravel() == scatter(dy, kernel).ravel()).all()

up = layers.ConvTranspose2d(1, 1, 3, bias=False, rng=0, dtype=np.float64)
up.weight.value[0, 0] = kernel
assert np.allclose(up(dy[None, None])[0, 0], scatter(dy, kernel))

# %% [markdown]
# ## Is it right?
#
# All these versions agree, but they might all be wrong. Ask the loss itself, as we did at the beginning: move one
# number a little to both sides and see how far L moves,
#
#     dx[m] = (L(x[m] + eps) - L(x[m] - eps)) / (2*eps)            nearly
#
# `gradcheck` does that with every number of x and of the parameters (of large arrays, with some of them) and a random
# dy. `06_gradient_checking.py` tells how it works, and why its eps is a millionth. Here it checks a layer of our own:


# %%
class MyConv(layers.Conv2d):
    """Our own backward pass below the layer's forward pass."""

    def backward(self, dy, saved):
        geometry = self.stride[0], self.padding[0], self.dilation[0]
        self.weight.grad += dw_numpy(dy, saved.x, self.kernel_size, *geometry)
        self.bias.grad += dy.sum(axis=(0, 2, 3))
        return self.dx(dy, saved.x.shape, *geometry)

    def dx(self, dy, x_shape, stride, padding, dilation):
        return dx_numpy(dy, self.weight.value, x_shape, stride, padding, dilation)


x = rng.normal(size=(2, 2, 5, 6))
report = gradcheck(MyConv(2, 3, 3, stride=2, padding=1, rng=0), x)
print(report)
assert report

# %% [markdown]
# Note the `+=` in MyConv: where a layer is used twice in a net, its gradients add up.
#
# ## Break it
#
# Now make the classic mistake: don't rotate the kernel. (`dx_numpy` rotates it, so rotating it before undoes that.)


# %%
class NotRotated(MyConv):
    def dx(self, dy, x_shape, stride, padding, dilation):
        return dx_numpy(dy, self.weight.value[:, :, ::-1, ::-1], x_shape, stride, padding, dilation)


report = gradcheck(NotRotated(2, 3, 3, padding=1, rng=0), x)
print(report)
assert not report
assert "rotated by 180 degrees" in report.diagnosis[0]

# %% [markdown]
# Read it from the top. x fails, weight and bias are right: so the mistake is in dx. `analytic` is what backward says,
# `numeric` what the loss does. The line about the adjoint (another word for W^T) says that backward isn't W^T. And at
# the end is the mistake that explains these numbers.
#
# Would any test have found it? No! With a kernel that looks the same upside down, the wrong layer is right:

# %%
blurring = NotRotated(2, 3, 3, padding=1, rng=0)
blurring.weight.value[:] = 1
assert gradcheck(blurring, x), "a symmetric kernel hides the mistake"

# %% [markdown]
# So check with random weights and a random dy; sizes that are odd and not square find more. Next, a padding that is
# wrong by one:


# %%
class OffByOne(MyConv):
    def dx(self, dy, x_shape, stride, padding, dilation):
        return dx_numpy(dy, self.weight.value, x_shape, stride, padding + 1, dilation)


report = gradcheck(OffByOne(2, 3, 3, padding=1, rng=0), x)
print(report)
assert not report

# %% [markdown]
# Again only x fails, but no classic mistake fits. Then make the case so small that you can see it: a single dy of 1,
# and the digits as the kernel. With padding 1, dy[2,2] must put its stamp on rows 1 to 3 and columns 1 to 3.

# %%
for kind in (MyConv, OffByOne):
    layer = kind(1, 1, 3, padding=1, rng=0, dtype=np.float64)
    layer.weight.value[0, 0] = kernel
    y, saved = layer.forward(np.zeros((1, 1, 5, 5)))
    dy = np.zeros_like(y)
    dy[0, 0, 2, 2] = 1
    dx = layer.backward(dy, saved)[0, 0]
    print(f"{kind.__name__}:\n{dx}")
    assert (dx[1:4, 1:4] == kernel).all() == (kind is MyConv)

# %% [markdown]
# The stamp is upright, so the rotation is right; it lies a row too far up and a column too far left: so something
# counts the padding once too often.
#
# ## Try
#
# 1. Write `=` for `+=` in `scatter`. What is left where stamps overlap? Then do the same to dx in `backward_loops`, use
#    that in MyConv, and read what `gradcheck` says of a layer with one filter.
# 2. Write dx as a gather with loops, for any stride, padding and dilation: for each a and r ask whether
#    `(a - r*dilation + padding) % stride` is 0. Compare with `dx_numpy`.
# 3. Extend `backward_loops` by groups. Only the channel of x changes: look it up in `kernels/reference/conv_loops.py`.
#
# `minisegnet exercise start conv2d` gives you the forward pass, and checks the backward pass that you write below it.
#
# ## Check yourself
#
# 1. x has 6x6 pixels, the layer is Conv2d(3, 8, 3, padding=1). How many terms has dx in a corner, on an edge, inside?
# 2. Why is the kernel rotated in dx, and nothing rotated in dw?
# 3. A forward pass takes a million multiplications. How many take dx and dw together?

# %%
# Think first; then let the program answer the first one.
ones = np.ones((1, 8, 6, 6))
print(dx_numpy(ones, np.ones((8, 3, 3, 3)), (1, 3, 6, 6), padding=1)[0, 0].astype(int))

# %% [markdown]
# ## Answers
#
# 1. With padding 1, a pixel in a corner is seen by 4 windows, one on an edge by 6, one inside by 9. Times 8 filters:
#    32, 48, 72.
# 2. dw asks about a weight: w[r,s] has met x[i+r, j+s], with plus signs. dx asks about a pixel, and the y's that have
#    seen it are at i = a - r: the farther down the weight, the farther up the y.
# 3. Two million. Each product of the forward pass comes back twice, once for dx and once for dw. So a step of training
#    costs about three forward passes.
