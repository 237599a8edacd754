# %% [markdown]
# # What a convolution computes
#
# At the end you will know every multiplication in a convolution: which pixel meets which weight, how large the result
# is, what it costs, and how far a net of them can see. You need Python and a little NumPy, nothing else. Tutorial 2
# takes the same sums and walks through them backwards.

# %%
import numpy as np

from kernels.reference import conv_loops
from minisegnet import layers
from minisegnet.tutorial import draw

rng = np.random.default_rng(0)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## A window slides over a picture
#
# How can one find an edge by multiplying and adding? Here is a tiny picture, with a bright area at its lower right, and
# a kernel of nine weights: -1 on the left, +1 on the right. Put the kernel over nine pixels, multiply each pixel by the
# weight that lies on it, and add up the products. That is "what is on the right, minus what is on the left".

# %%
x = np.full((5, 7), 2.0)
x[1:, 3:] = 7
w = np.array([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])

window = x[0:3, 2:5]
print("nine pixels:\n", window)
print("times nine weights:\n", window * w)
print("summed up:", (window * w).sum())
assert (window * w).sum() == (2 - 2) + (7 - 2) + (7 - 2) == 10

# %% [markdown]
# Now do this at every place where the kernel fits. Output pixel (i, j) belongs to the window whose upper left corner is
# x[i, j]. The weight in row r and column s of the kernel then lies on pixel (i + r, j + s):
#
#     y[i,j] = sum over r,s of w[r,s] * x[i+r, j+s]


# %%
def slide(x, w):
    """Lay the kernel w over each place of x."""
    (H, W), (kH, kW) = x.shape, w.shape
    y = np.zeros((H - kH + 1, W - kW + 1))
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            for r in range(kH):
                for s in range(kW):
                    y[i, j] += w[r, s] * x[i + r, j + s]
    return y


y = slide(x, w)
print(y)
fig, axes = draw.panels(3, size=(11, 3.4))
draw.grid(axes[0], x, title="x, and the window of y[0,2]", ring=[(i, j) for i in range(3) for j in range(2, 5)])
draw.grid(axes[1], w, kind="weight", title="w")
draw.grid(axes[2], y, title="y", ring=[(0, 2)])
draw.show(fig, "01_window")

# %% [markdown]
# Where all is equally bright, y is 0; along the edge it is large. On a larger picture the same nine numbers find every
# edge that stands upright: dark teal where it gets brighter to the right, light grey where it gets darker. The same
# kernel transposed finds the level ones.

# %%
row, column = np.mgrid[0:48, 0:48]
scene = 0.3 + 0.004 * column
scene[(row - 16) ** 2 + (column - 15) ** 2 < 100] = 0.9
scene[22:42, 24:42] = 0.1

upright, lying = slide(scene, w), slide(scene, w.T)
strength = np.sqrt(upright**2 + lying**2)
fig, axes = draw.panels(4, size=(12, 3.3))
draw.picture(axes[0], scene, title="a picture")
draw.grid(axes[1], upright, numbers=False, title="w: right minus left")
draw.grid(axes[2], lying, numbers=False, title="w.T: below minus above")
draw.grid(axes[3], strength, numbers=False, title="strength of both")
draw.show(fig, "01_edges")

# %% [markdown]
# In a net nobody chooses these nine numbers: they begin as noise, and training finds them.
#
# ## Convolution or correlation?
#
# Let the picture be a single bright pixel, and the kernel the digits 1 to 9. What comes out? Not the digits, but the
# digits turned upside down! Take y[0,0]: its window begins at the upper left, so the bright pixel lies under the
# window's lower right corner, on the 9.
#
# Mathematicians call our sum a *cross-correlation*. What they call a *convolution* has minus signs,
#
#     y[i,j] = sum over r,s of w[r,s] * x[i-r, j-s]
#
# and shows the digits upright: but for where the rows and columns are counted from, it is sliding the kernel rotated by
# 180 degrees. Nets compute the cross-correlation and call it convolution; as the weights are learnt, it makes no
# difference. But keep the picture in mind: in tutorial 2 the rotation comes back, and then it matters.

# %%
digits = np.arange(1.0, 10).reshape(3, 3)
dot = np.zeros((5, 5))
dot[2, 2] = 1
rotated = digits[::-1, ::-1]
assert (slide(dot, digits) == rotated).all()
assert (slide(dot, rotated) == digits).all()

line, taps = np.array([3.0, 1, 4, 1, 5]), np.array([1.0, 2])
assert (np.correlate(line, taps) == slide(line[None], taps[None])).all()  # NumPy has both, for one axis
assert (np.convolve(line, taps, "valid") == slide(line[None], taps[None, ::-1])).all()

fig, axes = draw.panels(4, size=(12, 3.3))
draw.grid(axes[0], dot, title="x: one bright pixel")
draw.grid(axes[1], digits, kind="weight", title="w")
draw.grid(axes[2], slide(dot, digits), title="cross-correlation")
draw.grid(axes[3], slide(dot, rotated), title="convolution")
draw.show(fig, "01_one_bright_pixel")

# %% [markdown]
# ## Padding, stride, dilation
#
# Three numbers change which pixels a window reads. Rows and columns are treated alike, so one axis is enough to see it:
#
#     output i reads, through weight r, the pixel at    i*stride + r*dilation - padding
#
# * `padding` adds that many zeros at both ends, so windows may begin outside.
# * `stride` moves the window in larger steps: fewer outputs.
# * `dilation` pulls the weights apart: the window reaches farther with as many weights.
#
# How many outputs are there? The last weight, r = k - 1, of the last output must not read beyond the padding, whose
# last place is H - 1 + padding:
#
#     i*stride + (k-1)*dilation - padding <= H - 1 + padding
#     i <= (H + 2*padding - dilation*(k-1) - 1) / stride
#
# i is a whole number and begins at 0, so
#
#     H' = floor((H + 2*padding - dilation*(k-1) - 1) / stride) + 1


# %%
def output_size(H, k, stride=1, padding=0, dilation=1):
    return (H + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def who_reads_whom(H, w, stride=1, padding=0, dilation=1):
    """Row i: the weights of output i, each in the column of the place that it reads, from -padding on."""
    table = np.zeros((output_size(H, len(w), stride, padding, dilation), H + 2 * padding))
    for i in range(len(table)):
        for r in range(len(w)):
            table[i, i * stride + r * dilation] = w[r]
    return table


checked = 0
for H, k, stride, padding, dilation in np.ndindex(9, 4, 4, 3, 4):
    if min(H, k, stride, dilation) > 0 and output_size(H, k, stride, padding, dilation) > 0:
        conv = layers.Conv2d(1, 1, (k, 1), stride, (padding, 0), dilation, rng=0, dtype=np.float64)
        assert conv(np.zeros((1, 1, H, 1))).shape[2] == output_size(H, k, stride, padding, dilation)
        checked += 1
print(f"the formula and the layer agree for {checked} combinations")

# %%
settings = [{}, {"padding": 1}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}]
fig, axes = draw.panels(4, size=(13, 3.6))
for ax, setting in zip(axes, settings, strict=True):
    table = who_reads_whom(6, [1, 2, 3], **setting)
    draw.grid(ax, np.where(table == 0, np.nan, table), kind="weight")
    ax.set_title(", ".join(f"{k} {v}" for k, v in setting.items()) or "w = [1, 2, 3] over 6 pixels", fontsize=12)
    padding = setting.get("padding", 0)
    ax.set_xticks(range(table.shape[1]), range(-padding, 6 + padding), fontsize=9)
    ax.set_yticks(range(len(table)), range(len(table)), fontsize=9)
    ax.set_xlabel("place of the pixel", fontsize=10)
    ax.set_ylabel("output i", fontsize=10)
draw.show(fig, "01_positions")

# %% [markdown]
# Read such a table row by row: each row shows what one output reads. Empty columns are places that nobody reads. With
# stride 2 that is the padding at the right end, because the next window would hang over.
#
# ## Channels and filters
#
# A colour picture has three channels, and the maps inside a net (what its layers make of the picture) have dozens. One
# *filter* has a kernel for every input channel; it lays all of them over the same place and adds up everything to one
# number. Each filter makes one output channel, and has one bias, which is added everywhere. With n for the picture, o
# for the filter, c for the input channel:
#
#     y[n,o,i,j] = b[o] + sum over c,r,s of
#                  w[o,c,r,s] * x[n, c, i*stride + r*dilation - padding, j*stride + s*dilation - padding]
#
# where x counts 0 outside of the picture. The letters give the shapes: x is (N, C, H, W), w is (O, C, kH, kW), b is
# (O,), y is (N, O, H', W'). And they give the program, one loop for each of the seven letters n, o, i, j, c, r, s:


# %%
def seven_loops(x, w, b, stride=1, padding=0, dilation=1):
    (N, C, H, W), (O, _, kH, kW) = x.shape, w.shape
    rows, columns = (output_size(size, k, stride, padding, dilation) for size, k in ((H, kH), (W, kW)))
    y = np.zeros((N, O, rows, columns))
    for n in range(N):
        for o in range(O):
            for i in range(rows):
                for j in range(columns):
                    y[n, o, i, j] = b[o]
                    for c in range(C):
                        for r in range(kH):
                            for s in range(kW):
                                row = i * stride + r * dilation - padding
                                column = j * stride + s * dilation - padding
                                if 0 <= row < H and 0 <= column < W:  # elsewhere x is 0
                                    y[n, o, i, j] += w[o, c, r, s] * x[n, c, row, column]
    return y


# %% [markdown]
# That is all a convolution does. The layer `Conv2d` must agree, and so must the project's own loops, which the fast
# kernels are tested against; have a look at them in `kernels/reference/conv_loops.py`.

# %%
conv = layers.Conv2d(3, 4, (3, 2), stride=2, padding=1, rng=rng, dtype=np.float64)
x = rng.normal(size=(2, 3, 7, 6))
w, b = conv.weight.value, conv.bias.value
y = seven_loops(x, w, b, stride=2, padding=1)
print("x", x.shape, " w", w.shape, " b", b.shape, " y", y.shape)
assert np.allclose(y, conv(x))
assert np.allclose(y, conv_loops.conv2d_forward(x, w, b, stride=2, padding=1, dilation=1, groups=1))

# %% [markdown]
# ## 1x1 convolutions
#
# A kernel of a single weight looks at no neighbour. What is left is the sum over c: each pixel's channels are
# multiplied by one and the same matrix (O, C). Segmentation nets usually end with such a layer: it makes one score for
# each class out of the channels of each pixel.

# %%
mix = layers.Conv2d(3, 2, 1, bias=False, rng=rng, dtype=np.float64)
assert np.allclose(mix(x)[0, :, 4, 5], mix.weight.value[:, :, 0, 0] @ x[0, :, 4, 5])

# %% [markdown]
# ## Groups
#
# With `groups=2` the channels are split in two halves that don't see each other: the first half of the filters reads
# the first half of the input. Only the sum over c gets shorter, so w is (O, C/groups, kH, kW). With as many groups as
# channels each filter sees one channel only: a *depthwise* convolution.

# %%
x4 = rng.normal(size=(1, 4, 5, 5))
for groups in (1, 2, 4):
    grouped = layers.Conv2d(4, 4, 3, groups=groups, rng=rng, dtype=np.float64)
    w, b, per_group = grouped.weight.value, grouped.bias.value, 4 // groups
    parts = [slice(g * per_group, (g + 1) * per_group) for g in range(groups)]
    y = np.concatenate([seven_loops(x4[:, part], w[part], b[part]) for part in parts], axis=1)
    assert np.allclose(y, grouped(x4))
    print(f"groups {groups}: w has shape {w.shape}, {w.size} weights")

# %% [markdown]
# ## The same in one line
#
# Python's loops are slow; NumPy's are not. Four of the seven letters say *where*, and NumPy can show all windows at
# once, as an array with six axes:
#
#     view[n,c,i,j,r,s] = x[n, c, i*stride + r*dilation, j*stride + s*dilation]          (x with its padding)
#
# Nothing is copied for that; it is another way to walk through the same memory. Then y is a sum over c, r, s of
# `w[o,c,r,s] * view[n,c,i,j,r,s]`, and summing over axes that two arrays share is what `tensordot` does.


# %%
def all_windows(x, kernel, stride=1, padding=0, dilation=1):
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    reach = [dilation * (k - 1) + 1 for k in kernel]
    view = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return view[:, :, ::stride, ::stride, ::dilation, ::dilation]


def conv_numpy(x, w, b, stride=1, padding=0, dilation=1):
    view = all_windows(x, w.shape[2:], stride, padding, dilation)
    y = np.tensordot(w, view, axes=((1, 2, 3), (1, 4, 5)))  # sums over c, r, s; leaves o, n, i, j
    return y.swapaxes(0, 1) + b[:, None, None]


w, b = conv.weight.value, conv.bias.value
for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2)):
    geometry = stride, padding, dilation
    assert np.allclose(conv_numpy(x, w, b, *geometry), seven_loops(x, w, b, *geometry))
view = all_windows(x, (3, 3))
assert np.shares_memory(view[0, 0, 0, 0], view[0, 0, 0, 1])  # two neighbouring windows
print(f"the windows show {view.size} numbers, but x holds only {x.size}")

# %% [markdown]
# ## The same as a matrix
#
# Every y is a sum of x's times fixed numbers. So, with x and y written as long columns, a convolution (without bias) is
# a matrix: y = W x. Which one? Column k of a matrix is what it makes of the k-th unit vector. So feed it pictures with
# one bright pixel, and write down what comes out.


# %%
def as_matrix(w, size):
    """W of shape (outputs, inputs): the kernel w over a picture of size = (H, W)."""
    columns = [slide(one.reshape(size), w).ravel() for one in np.eye(size[0] * size[1])]
    return np.stack(columns, axis=1)


small = np.round(rng.normal(size=(4, 4)), 1)
matrix = as_matrix(digits, (4, 4))
assert np.allclose(matrix @ small.ravel(), slide(small, digits).ravel())
for side in (4, 10):
    whole = as_matrix(digits, (side, side))
    values = np.unique(whole[whole != 0]).size
    print(f"{side}x{side} pixels: W {whole.shape}, {(whole == 0).mean():.0%} of it zeros, the rest {values} values")

fig, axes = draw.panels(1, size=(12, 3.8))
draw.grid(axes[0], np.where(matrix == 0, np.nan, matrix), kind="weight", ring=[(i, 5) for i in range(4)])
axes[0].set_xticks(range(16), [f"{a},{b}" for a, b in np.ndindex(4, 4)], fontsize=11)
axes[0].set_yticks(range(4), [f"{i},{j}" for i, j in np.ndindex(2, 2)], fontsize=11)
axes[0].set_xlabel("pixel of x", fontsize=11)
axes[0].set_ylabel("pixel of y", fontsize=11)
draw.show(fig, "01_matrix")

# %% [markdown]
# Three things to see here, and the third is the key to tutorial 2:
#
# * Where a window doesn't reach there are zeros, and the larger the picture, the more. Everywhere else the same nine
#   weights return. A fully connected layer would have a weight of its own in each of the 64 places.
# * Each **row** is a window: what one y reads. The digits stand in reading order, row after row of the kernel.
# * Each **column** says which y's one pixel of x has a part in, and with which weight. The corner, 0,0, is seen by one
#   window; pixel 1,1 (ringed) by all four. And down the ringed column the digits run *backwards*: 5, 4, 2, 1.

# %%
print("column of pixel 1,1:", matrix[:, 5], "  of pixel 0,0:", matrix[:, 0])
assert (matrix[:, 5] == [5, 4, 2, 1]).all()

# %% [markdown]
# ## What it costs
#
# Each y is a sum of C/groups times kH times kW products, and there are N times O times H' times W' of them. Parameters
# don't depend on the picture's size, multiplications do. So early layers, with their large maps, do most of the work,
# and late ones, with their many channels, hold most of the weights.

# %%
cases = {
    "first layer of VGG": (layers.Conv2d(3, 64, 3, padding=1, rng=rng), 224),
    "its second layer": (layers.Conv2d(64, 64, 3, padding=1, rng=rng), 224),
    "one of its last layers": (layers.Conv2d(512, 512, 3, padding=1, rng=rng), 14),
    "second layer, depthwise": (layers.Conv2d(64, 64, 3, padding=1, groups=64, rng=rng), 224),
    "and a 1x1 to mix channels": (layers.Conv2d(64, 64, 1, rng=rng), 224),
}
print(f"{'':27s}{'parameters':>12s}{'million multiplications':>26s}")
for name, (layer, side) in cases.items():
    O, per_group, kH, kW = layer.weight.shape
    multiplications = O * side * side * per_group * kH * kW
    assert multiplications == layer.multiply_adds((1, layer.in_channels, side, side), (1, O, side, side))
    print(f"{name:27s}{layer.weight.size + layer.bias.size:12,d}{multiplications / 1e6:26,.0f}")
print(f"depthwise and 1x1 together cost {(64 * 9 + 64 * 64) / (64 * 64 * 9):.2f} of what the second layer costs")
connected = (64 * 224 * 224) ** 2
print(f"fully connected, the second layer would have {connected:.1e} weights")

# %% [markdown]
# Depthwise and then 1x1 is what nets for mobile phones are built of (Howard et al., MobileNets, 2017).
#
# ## How far it sees
#
# A pixel of y sees 3x3 pixels of x. The next layer's pixel sees 3x3 of those, and so 5x5 of x, and so on. Each layer
# adds `(k - 1)*dilation` steps, and a step is as many pixels wide as all the strides before it, multiplied:
#
#     field = 1;  step = 1
#     for each layer:  field += (k - 1)*dilation*step;  step *= stride
#
# That is the *receptive field*. Does it hold? Feed pictures with one bright pixel again, 225 of them as one batch, and
# look which of them the pixel in the middle of the last map notices. All weights are 1, so the number that comes out is
# the number of ways that lead from there to here.

# %%
nets = {"one layer": [{}], "three layers": [{}] * 3, "stride 2 first": [{"stride": 2}, {}, {}]}
nets["dilations 1, 2, 4"] = [{"dilation": 1}, {"dilation": 2}, {"dilation": 4}]
one_bright = np.eye(15 * 15).reshape(-1, 1, 15, 15)
fig, axes = draw.panels(4, size=(12, 3.4))
for ax, (name, settings) in zip(axes, nets.items(), strict=True):
    field, step, maps = 1, 1, one_bright
    for setting in settings:
        maps = conv_numpy(maps, np.ones((1, 1, 3, 3)), np.zeros(1), **setting)
        field += 2 * setting.get("dilation", 1) * step
        step *= setting.get("stride", 1)
    ways = maps[:, 0, maps.shape[2] // 2, maps.shape[3] // 2].reshape(15, 15)
    assert field == np.count_nonzero(ways.any(axis=0)) == np.count_nonzero(ways.any(axis=1))
    seen = np.where(ways == 0, np.nan, ways)
    draw.grid(ax, seen, numbers=False, limits=(0, ways.max()), title=f"{name}: {field}x{field}")
    print(f"{name:18s} sees {field:2d}x{field:<2d}   ways from the middle row:", ways[7].astype(int))
    if name == "three layers":
        assert (ways[4, 4], ways[7, 4], ways[7, 7]) == (1, 7, 49)
draw.show(fig, "01_receptive_field")

# %% [markdown]
# A surprise: three layers see 7x7 pixels, but not alike. 49 ways lead from the pixel in the middle, 7 from the end of
# its row, and a single one from the corner. What a net uses is a soft spot in the middle of its receptive field (Luo et
# al., Understanding the effective receptive field, 2016). Dilation spreads the ways out, with no more weights and no
# smaller map: that is how DeepLab sees far (Chen et al., 2017).
#
# ## Try
#
# 1. Find a kernel for `slide` that blurs, one that sharpens, and one that moves the picture one pixel to the right.
#    Which of them would do the same if it were rotated by 180 degrees?
# 2. Give `slide` and `as_matrix` a stride of 2. Which columns get empty, and what does that say about those pixels?
# 3. Print `layers.Conv2d(3, 8, 3, stride=2, rng=0)` and call it with a picture of 2x2 pixels. What does the error say?
#
# Then run `minisegnet explain`: it writes a page on which every pixel of a real net shows its window. The layer is in
# `minisegnet/layers/conv.py`, the one-line version in `kernels/reference/conv.py`.
#
# ## Check yourself
#
# 1. A map has 10 columns. Which padding keeps its width with a 5x5 kernel, stride 1? And with dilation 3?
# 2. Kernel 3, stride 2, padding 1: why do maps with 7 and with 8 columns both give 4?
# 3. Two 3x3 layers or one 5x5 layer, 64 channels each: which has fewer weights, and how far does each see?

# %%
# Think first; then let the program answer.
print([padding for padding in range(9) if output_size(10, 5, padding=padding) == 10], end=" ")
print([padding for padding in range(9) if output_size(10, 5, padding=padding, dilation=3) == 10])
print([H for H in range(1, 12) if output_size(H, 3, stride=2, padding=1) == 4])
print(2 * layers.Conv2d(64, 64, 3, rng=0).weight.size, layers.Conv2d(64, 64, 5, rng=0).weight.size)

# %% [markdown]
# ## Answers
#
# 1. `dilation*(k - 1)/2`, so 2, and with dilation 3 it is 6.
# 2. (7 + 2 - 2 - 1)/2 = 3 and (8 + 2 - 2 - 1)/2 = 3.5, which is rounded down to 3; plus 1 makes 4. The last of the 8
#    columns is read, but not the padding behind it.
# 3. Both see 5x5. Two layers have `2*64*64*9` = 73728 weights, one has `64*64*25` = 102400.
