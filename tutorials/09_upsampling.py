# %% [markdown]
# # Upsampling: from coarse maps back to pixels
#
# A segmentation net pools until it knows what is there, and then has to get back to where. At the end you will know the
# five ways back: nearest, bilinear, transposed convolution, its bilinear start, and max-unpooling; the backward pass of
# each, and why some of them leave a chequered pattern. It builds on the tutorials about convolution and its backward
# pass (1, 2) and pooling (3).

# %%
import numpy as np

from minisegnet import init, layers
from minisegnet.data import shapes
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

np.set_printoptions(precision=4, suppress=True, linewidth=110)
rng = np.random.default_rng(0)
x = np.array([[1.0, 2.0], [3.0, 4.0]])

# %% [markdown]
# ## Nearest: copies
#
# With scale = input pixels per output pixel (1/2 for twice the size), every output copies one input:
#
#     y[n,c,i,j]  = x[n, c, floor(i*scale), floor(j*scale)]
#     dx[n,c,a,b] = sum of dy[n,c,i,j] over all i, j that copied from (a, b)
#
# The rule of every backward pass: what was used several times collects several gradients.

# %%
y, dy = np.zeros((4, 4)), np.arange(16.0).reshape(4, 4)
dx = np.zeros((2, 2))
for i in range(4):
    for j in range(4):
        y[i, j] = x[i // 2, j // 2]
        dx[i // 2, j // 2] += dy[i, j]  # forward: y[i, j] = x[i // 2, j // 2]
nearest = layers.Upsample(scale_factor=2)
made, saved = nearest.forward(x[None, None])
print("y:\n", y, "\ndy:\n", dy, "\ndx, sums of four:\n", dx)
assert (made == y).all()
assert (y == x.repeat(2, axis=0).repeat(2, axis=1)).all()
assert (nearest.backward(dy[None, None], saved) == dx).all()
assert (dx == dy.reshape(2, 2, 2, 2).sum(axis=(1, 3))).all()

# %% [markdown]
# ## Bilinear: shares
#
# Better than a copy: ask where the output pixel lies between the inputs, and mix. Along one axis, if it lies at
# `place`,
#
#     low = floor(place),  t = place - low,  y = (1 - t) * x[low] + t * x[low + 1]
#
# Where does output i lie? There are two answers, and who mixes them gets masks that are off by half a pixel. Either
# pixels are squares, and the borders of both pictures are aligned; or they are points, and the corner points are:
#
#     align_corners=False   place = (i + 0.5) * scale - 0.5, at least 0; beyond the last pixel that pixel is repeated
#     align_corners=True    place = i * (H - 1) / (H' - 1)
#
# Both are a matrix with at most two numbers in each row, and zeros: y = A x. From it backward follows without any
# thought: dx = Aᵀ dy.


# %%
def bilinear_matrix(size, count, align_corners):
    """A (count, size): row i has the weights with which output i mixes the inputs of one axis."""
    A = np.zeros((count, size))
    for i in range(count):
        place = i * (size - 1) / (count - 1) if align_corners else max(0, (i + 0.5) * size / count - 0.5)
        low = int(place)
        high, t = min(low + 1, size - 1), place - low
        A[i, low] += 1 - t
        A[i, high] += t  # at the border both are the same pixel: hence +=
    return A


for align_corners in (False, True):
    A = bilinear_matrix(2, 4, align_corners)
    print(f"align_corners={align_corners}: [1, 2] becomes", A @ [1, 2])
    assert np.allclose(A.sum(axis=1), 1)

# %% [markdown]
# In a plane it is done along rows, then along columns: y = A x Bᵀ, so that a pixel gets four inputs with the weights
#
#     (1-t)(1-u),  (1-t) u,  t (1-u),  t u        which sum to ((1-t) + t) * ((1-u) + u) = 1
#
# and dx = Aᵀ dy B. That is the layer; here from 3 x 5 to 7 x 8, a size that no factor gives.

# %%
big, dbig = rng.normal(size=(1, 1, 3, 5)), rng.normal(size=(1, 1, 7, 8))
for align_corners in (False, True):
    A, B = bilinear_matrix(3, 7, align_corners), bilinear_matrix(5, 8, align_corners)
    layer = layers.Upsample(size=(7, 8), mode="bilinear", align_corners=align_corners)
    made, saved = layer.forward(big)
    assert np.allclose(made, A @ big @ B.T)
    assert np.allclose(layer.backward(dbig, saved), A.T @ dbig @ B)
    assert gradcheck(layer, big)

# %% [markdown]
# Which one for a net? Look at what the columns of A sum to: how much gradient an input pixel can get. And at where the
# centre of a bright pixel ends up, as a share of the picture's width: aligned corners push it outwards, and pixels in
# the middle of the map get more gradient than those at its ends. So False is the default here, and best left alone.

# %%
fig, axes = draw.panels(3, size=(12, 4))
for k, (ax, align_corners) in enumerate(zip(axes, (False, True), strict=False)):
    A = bilinear_matrix(4, 8, align_corners)
    draw.grid(ax, A, kind="weight", title=f"align_corners={align_corners}: the matrix A")
    sums, before = A.sum(axis=0), (1 + 0.5) / 4
    after = A[:, 1] @ (np.arange(8) + 0.5) / 8 / sums[1]
    print(f"{align_corners!s:5s}  column sums {sums}   pixel 1: from {before:.3f} of the width to {after:.3f}")
    assert np.allclose(sums, 2) != align_corners
    assert np.isclose(before, after) != align_corners
    places = np.arange(8) * 3 / 7 if align_corners else (np.arange(8) + 0.5) / 2 - 0.5
    axes[2].scatter(np.arange(4), np.full(4, -k), s=500, marker="s", color="0.8")
    axes[2].scatter(places, np.full(8, -k - 0.32), s=70, color="#005c58")
    axes[2].text(1.5, -k + 0.28, f"align_corners={align_corners}", fontsize=11, ha="center")
axes[2].set(xlim=(-0.7, 3.7), ylim=(-1.6, 0.5))
axes[2].set_axis_off()
axes[2].set_title("4 inputs (grey), places of 8 outputs (teal)", fontsize=12)
draw.show(fig, "09_two_conventions")

# %% [markdown]
# ## Transposed convolution: learnt stamps
#
# A convolution is a matrix, too: every output is a weighted sum of inputs. Take the kernel [1, 2, 3] with stride 2 on
# five pixels; it fits twice. Then turn the matrix round:
#
#     M  = [1 2 3 0 0]        y = M x: five numbers become two
#          [0 0 1 2 3]        Mᵀ h:    two numbers become five; h[0] stamps 1 2 3, h[1] stamps 1 2 3 two pixels further
#
# We know Mᵀ already: the backward pass of every y = M x is dx = Mᵀ dy. So a layer whose *forward* is Mᵀ needs no new
# code at all. That is transposed convolution: the two passes of a convolution, exchanged.

# %%
conv = layers.Conv2d(1, 1, (1, 3), stride=(1, 2), bias=False).astype(np.float64)
up = layers.ConvTranspose2d(1, 1, (1, 3), stride=(1, 2), bias=False).astype(np.float64)
conv.weight.value[:] = up.weight.value[:] = [1, 2, 3]
five, two = np.ones((1, 1, 1, 5)), np.array([[[[1.0, 10.0]]]])
_, saved = conv.forward(five)
print("conv.backward([1, 10]) =", conv.backward(two, saved).ravel(), "  up.forward([1, 10]) =", up(two).ravel())
assert (conv.backward(two, saved) == up(two)).all()
assert up(two).ravel().tolist() == [1, 2, 13, 20, 30]

# %% [markdown]
# The same in a plane, with padding. The matrix is found by asking the convolution for its answer to each single pixel.

# %%
conv = layers.Conv2d(1, 1, 3, stride=2, padding=1, bias=False, rng=0).astype(np.float64)
up = layers.ConvTranspose2d(1, 1, 3, stride=2, padding=1, bias=False).astype(np.float64)
up.weight.value = conv.weight.value
M = conv(np.eye(25).reshape(25, 1, 5, 5)).reshape(25, 9).T  # column k: the answer to a picture whose pixel k is 1
image, h = rng.normal(size=(1, 1, 5, 5)), rng.normal(size=(1, 1, 3, 3))
small, saved = conv.forward(image)
large, up_saved = up.forward(h)
assert np.allclose(small.ravel(), M @ image.ravel())
assert np.allclose(conv.backward(h, saved).ravel(), M.T @ h.ravel())
assert np.allclose(large.ravel(), M.T @ h.ravel())
assert np.allclose(up.backward(image, up_saved).ravel(), M @ image.ravel())
print("transposed is not inverse: M Mᵀ is not the identity, its first row is", (M @ M.T)[0])
assert not np.allclose(M @ M.T, np.eye(9))

fig, axes = draw.panels(2, size=(10, 4))
draw.grid(axes[0], M, kind="weight", title="M: convolution, 25 pixels to 9", numbers=False)
draw.grid(axes[1], M.T, kind="weight", title="Mᵀ: transposed convolution, 9 to 25", numbers=False)
draw.show(fig, "09_matrix_transposed")

# %% [markdown]
# In sums: every input pixel stamps the kernel, times its value, onto the output, and stamps that overlap add up. With
# a = i*stride + r - padding and b = j*stride + s - padding,
#
#     y[n,o,a,b]  = sum of x[n,c,i,j] * w[c,o,r,s]   over all c, i, j, r, s that lead to (a, b)
#     dx[n,c,i,j] = sum over o,r,s of dy[n,o,a,b] * w[c,o,r,s]         an ordinary convolution of dy
#     dw[c,o,r,s] = sum over n,i,j of dy[n,o,a,b] * x[n,c,i,j]
#
# Each product x*w stands in one sum of y; so one loop over all products writes down all three.

# %%
C, O, k, stride, padding = 2, 3, 3, 2, 1
up = layers.ConvTranspose2d(C, O, k, stride, padding, bias=False, rng=1).astype(np.float64)
w, h = up.weight.value, rng.normal(size=(C, 3, 4))
made, saved = up.forward(h[None])
dy = rng.normal(size=made.shape[1:])
y, dh, dw = np.zeros_like(dy), np.zeros_like(h), np.zeros_like(w)
for c, i, j, o, r, s in np.ndindex(C, 3, 4, O, k, k):
    a, b = i * stride + r - padding, j * stride + s - padding
    if 0 <= a < y.shape[1] and 0 <= b < y.shape[2]:
        y[o, a, b] += h[c, i, j] * w[c, o, r, s]
        dh[c, i, j] += dy[o, a, b] * w[c, o, r, s]
        dw[c, o, r, s] += dy[o, a, b] * h[c, i, j]
assert np.allclose(y, made[0])
assert np.allclose(dh, up.backward(dy[None], saved)[0])
assert np.allclose(dw, up.weight.grad)
assert gradcheck(up, h[None])
print("3 rows become", y.shape[1], "= (3 - 1)*stride - 2*padding + 3")
assert y.shape[1] == (3 - 1) * stride - 2 * padding + k

# %% [markdown]
# ## Chequered patterns
#
# Stamps of 3 pixels every 2 pixels: some outputs get one stamp, some two, in the plane one, two or four. Count them
# with a kernel of ones on a map of ones. Where the kernel's size is a multiple of the stride, all counts are the same,
# the border apart; but output pixels still take turns in using different weights of the kernel, and only learning can
# make those agree. Enlarging first and then convolving has no such turns (Odena et al. 2016).


# %%
def enlarge(k, stride, weights):
    up = layers.ConvTranspose2d(1, 1, k, stride, (k - stride) // 2, bias=False).astype(np.float64)
    up.weight.value[:] = weights
    return up(np.ones((1, 1, 5, 5)))[0, 0]


strided = layers.Conv2d(1, 1, 3, stride=2, padding=1, bias=False).astype(np.float64)
strided.weight.value[:] = 1
small, saved = strided.forward(np.zeros((1, 1, 10, 10)))
shown = {
    "kernel 3, stride 2": enlarge(3, 2, 1),
    "kernel 4, stride 2": enlarge(4, 2, 1),
    "kernel 4, random weights": enlarge(4, 2, rng.uniform(0, 0.5, (4, 4))),
    "nearest, then conv 3x3": layers.Conv2d(1, 1, 3, bias=False, rng=1)(np.ones((1, 1, 12, 12), np.float32))[0, 0],
}
fig, axes = draw.panels(5, size=(11, 7.4), rows=2)
for ax, (title, values) in zip(axes, shown.items(), strict=False):
    draw.grid(ax, values, title=title)
dx = strided.backward(np.ones_like(small), saved)[0, 0]
draw.grid(axes[4], dx, kind="gradient", title="dx of a conv 3x3, stride 2")
draw.show(fig, "09_chequered")
print("stamps per pixel:", np.unique(shown["kernel 3, stride 2"]), np.unique(shown["kernel 4, stride 2"][1:-1, 1:-1]))
assert np.unique(shown["kernel 4, stride 2"][1:-1, 1:-1]).size == 1
assert np.ptp(shown["nearest, then conv 3x3"]) < 1e-6
assert set(dx.ravel()) == {1, 2, 4}

# %% [markdown]
# The last picture is the surprise: the *gradient* of an ordinary convolution with stride 2 is chequered in the same
# way. It must be: it is the same matrix. Some pixels of the input hear four times as much as others.
#
# ## Starting as a bilinear one
#
# A column of the bilinear matrix A says where one input pixel goes: that is a stamp. For twice the size it is 1/4, 3/4,
# 3/4, 1/4. So a transposed convolution with that kernel enlarges bilinearly, and is free to learn something better:
# FCN (Long et al. 2015) starts like this. Only at the border, where stamps from outside are missing, it is darker.

# %%
A = bilinear_matrix(6, 12, align_corners=False)
tent = init.bilinear((1, 1, 4, 4), np.float64)
assert np.allclose(tent[0, 0], np.outer(A[3:7, 2], A[3:7, 2]))
up = layers.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False).astype(np.float64)
up.weight.value = tent
h = rng.uniform(size=(1, 1, 6, 6))
wanted = layers.Upsample(scale_factor=2, mode="bilinear")(h)
assert np.allclose(up(h)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1])
assert not np.allclose(up(h), wanted)
print("stamp", A[3:7, 2], "; first row over bilinear's:", up(h)[0, 0, 0, 1:4] / wanted[0, 0, 0, 1:4])

points = layers.ConvTranspose2d(1, 1, 3, stride=2, padding=1, bias=False).astype(np.float64)
points.weight.value = init.bilinear((1, 1, 3, 3), np.float64)
assert np.allclose(points(h), layers.Upsample(size=11, mode="bilinear", align_corners=True)(h))  # here border and all

# %% [markdown]
# ## Max-unpooling: back to where it came from
#
# Max-pooling forgets three values of four, but it can remember where the fourth one stood: the switches. SegNet's
# decoder puts each value back there, and zeros elsewhere; the convolutions after it fill the gaps. With a switch for
# each pooled pixel,
#
#     y[switch[i,j]] = h[i,j], zeros elsewhere           dh[i,j] = dy[switch[i,j]]
#
# Where the pooling was forward a gather and backward a scatter, unpooling is the other way round.

# %%
x = np.array([[1.0, 5, 2, 0], [3, 4, 1, 7], [8, 0, 1, 1], [2, 6, 9, 3]])
y, dy, dx = np.zeros((4, 4)), np.arange(16.0).reshape(4, 4), np.zeros((4, 4))
for i in range(2):
    for j in range(2):
        window = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        r, s = np.unravel_index(window.argmax(), (2, 2))
        y[2 * i + r, 2 * j + s] = window.max()
        dx[2 * i + r, 2 * j + s] += dy[2 * i + r, 2 * j + s]  # unpooling gathers it, pooling puts it back
both_ends = layers.PoolUnpool(layers.Identity())
made, saved = both_ends.forward(x[None, None])
print("x:\n", x, "\npooled and unpooled:\n", y, "\nswitches (row*4 + column):", saved.pool.argmax.ravel())
assert (made == y).all()
assert (both_ends.backward(dy[None, None], saved) == dx).all()
assert gradcheck(layers.PoolUnpool(layers.Tanh()), x[None, None] / 9)

# %% [markdown]
# All ways back on one picture, pooled to a quarter of its pixels. Nearest and unpooling are exactly right at a quarter
# of them, the same quarter; but only unpooling knows which one, and says nothing about the rest.

# %%
image = shapes.draw_one(32, np.random.default_rng(8))[0].mean(axis=0)[None, None].astype(np.float64)
pooled = layers.MaxPool2d(2)(image)
up.weight.value = tent
ways = {
    "nearest": layers.Upsample(scale_factor=2)(pooled),
    "bilinear": layers.Upsample(scale_factor=2, mode="bilinear")(pooled),
    "transposed, bilinear start": up(pooled),
    "max-unpooling": layers.PoolUnpool(layers.Identity())(image),
}
fig, axes = draw.panels(6, size=(9.5, 6.8), rows=2)
draw.picture(axes[0], image[0], "picture")
draw.picture(axes[1], pooled[0], "max-pooled")
for ax, (name, enlarged) in zip(axes[2:], ways.items(), strict=True):
    draw.picture(ax, enlarged[0].clip(0, 1), name)
    right, error = np.mean(enlarged == image), np.mean(abs(enlarged - image))
    print(f"{name:27s} {right:5.1%} of the pixels as before, mean error {error:.3f}")
draw.show(fig, "09_ways_back")
assert np.mean(ways["max-unpooling"] == image) == 0.25
assert ((ways["nearest"] == image) == (ways["max-unpooling"] == image)).all()

# %% [markdown]
# ## Try
#
# 1. Write `round(place)` for `int(place)` in `bilinear_matrix`. Which asserts notice? Do the rows still sum to one?
# 2. Train the U-Net of tutorial 0 with `Upsample` and a 1x1 convolution in place of `ConvTranspose2d`. Compare speed
#    and loss.
# 3. Initialise `ConvTranspose2d(1, 1, 6, stride=3)` with `init.bilinear`. Is it bilinear? What kernel does factor 3
#    need?
#
# The layers are in `minisegnet/layers/upsample.py` and `conv.py`, max-unpooling in `minisegnet/combine.py`; the
# matrices A and their transposes are `kernels/reference/resize.py`. On the page that `minisegnet explain` writes, a
# click on a pixel of an `up` layer shows the stamps that it is the sum of. To write the backward passes yourself:
# `minisegnet exercise start transposed-conv`, or `bilinear-upsampling`.

# %% [markdown]
# ## Check yourself
#
# 1. Which of the five ways needs nothing but shapes for its backward pass, which needs x, and which the switches? Why?
# 2. Convolutions with kernel 3, stride 2, padding 1 make 3 rows out of 5 and out of 6. What must the transposed one be
#    told to get back to 6?
# 3. Why can't unpooling replace a skip connection entirely?

# %% [markdown]
# ## Answers
#
# 1. Nearest and bilinear: y = A x with a fixed A. The transposed convolution needs x, for dw = Σ dy*x (and its weights
#    for dx). Unpooling needs the switches, because they are its A.
# 2. `output_padding=1`: (3 - 1)*2 - 2*1 + 3 + 1 = 6.
# 3. It carries positions, no values: of the fine map only *which* of four pixels was the largest comes through, for
#    each channel, not what was there.
