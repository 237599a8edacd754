# %% [markdown]
# # The fully connected layer
#
# At the end you know both gradients of a fully connected layer by heart (and how to find them again from the shapes),
# you have trained a small net with nothing but NumPy, and you know why such a layer is a convolution in disguise.
# Builds on `04_relu_softmax_cross_entropy.py`.

# %%
import numpy as np

from minisegnet import layers, losses, optim
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(5)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## Every output sees every input
#
#     y[n,o] = b[o] + sum over i of x[n,i] * w[o,i]
#
# n counts the samples of the batch, i the inputs (here it is no row of a picture), o the outputs. As matrices:
# y = x W^T + b.

# %%
x = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])  # N = 2 samples of I = 3 numbers
w = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])  # O = 2 outputs
b = np.array([10.0, 20.0])
y = np.zeros((2, 2))
for n, o in np.ndindex(2, 2):
    y[n, o] = b[o] + sum(x[n, i] * w[o, i] for i in range(3))
print("y =\n", y)
assert np.array_equal(y, x @ w.T + b)
assert y[0, 0] == 10 + 1 * 1 + 2 * 0 + 3 * -1

# %% [markdown]
# ## The way back
#
# x[n,i] is in y[n,0], y[n,1], ... of its own sample, each time multiplied by w[o,i]. w[o,i] is in y[n,o] of every
# sample, each time multiplied by x[n,i]. b[o] is in y[n,o] of every sample, multiplied by 1. Whatever is used several
# times gets the sum of what comes back:
#
#     dx[n,i] = sum over o of dy[n,o] * w[o,i]          dx = dy W
#     dw[o,i] = sum over n of dy[n,o] * x[n,i]          dw = dy^T x
#     db[o]   = sum over n of dy[n,o]

# %%
dy = np.array([[1.0, -1.0], [2.0, 0.0]])
dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
for n, o in np.ndindex(2, 2):
    db[o] += dy[n, o]
    for i in range(3):
        dx[n, i] += dy[n, o] * w[o, i]
        dw[o, i] += dy[n, o] * x[n, i]
print("dx =\n", dx, "\ndw =\n", dw, "\ndb =", db)
assert np.array_equal(dx, dy @ w)
assert np.array_equal(dw, dy.T @ x)
assert np.array_equal(db, dy.sum(axis=0))

# %% [markdown]
# And the layer, which does the same three lines (`minisegnet/layers/linear.py`, `kernels/reference/linear.py`):

# %%
fc = layers.Linear(3, 2, dtype=np.float64)
fc.weight.value[:], fc.bias.value[:] = w, b
y_layer, saved = fc.forward(x)
assert np.array_equal(y_layer, y)
assert np.array_equal(fc.backward(dy, saved), dx)
assert np.array_equal(fc.weight.grad, dw)
assert np.array_equal(fc.bias.grad, db)
print(gradcheck(fc, rng.normal(size=(4, 3))))

# %% [markdown]
# ## dw is a table of products
#
# For a single sample dw[o,i] = dy[o] * x[i]: a multiplication table, with x along the bottom and dy at the side. (The
# outer product of the two.) A weight changes much where a large input meets a large wish for change. A batch adds up
# one such table for each sample.

# %%
fig, axes = draw.panels(3, size=(11, 3))
tables = [np.outer(dy[n], x[n]) for n in range(2)]
for n in range(2):
    draw.grid(axes[n], tables[n], kind="gradient", title=f"sample {n}: dy[{n}] times x[{n}]", limits=(-5, 5))
    axes[n].set_xticks(range(3), [f"x = {v:g}" for v in x[n]], fontsize=11)
    axes[n].set_yticks(range(2), [f"dy = {v:g}" for v in dy[n]], fontsize=11)
draw.grid(axes[2], dw, kind="gradient", title="dw, their sum", limits=(-5, 5))
draw.show(fig, "05_dw_is_a_sum_of_tables")
assert np.array_equal(sum(tables), dw)

# %% [markdown]
# ## Shapes as a guide
#
# Nobody remembers which matrix is transposed. The shapes do: a gradient has the shape of its array, and only one
# product fits.
#
#     x (N,I)   w (O,I)   y (N,O)   dy (N,O)
#     dx (N,I) from dy (N,O) and w (O,I):   dy @ w
#     dw (O,I) from dy (N,O) and x (N,I):   dy.T @ x
#
# Beware of the square case. If O = I, a wrong dx passes unnoticed, as far as shapes go. It takes numbers to see it:


# %%
class WrongWay(layers.Linear):
    def backward(self, dy, saved):
        super().backward(dy, saved)  # for dw and db
        return dy @ self.weight.value.T


report = gradcheck(WrongWay(3, 3, rng=0), rng.normal(size=(4, 3)))
print(*report.diagnosis)
assert not report
assert "transposed" in report.diagnosis[0]

# %% [markdown]
# ## A picture as a list
#
# A fully connected layer takes lists, so a picture (N, C, H, W) is laid out as (N, C*H*W): all rows of channel 0, one
# after the other, then channel 1. No number changes, and backward puts dy back into the old shape.

# %%
picture = np.arange(12.0).reshape(1, 2, 2, 3)
y, saved = layers.Flatten().forward(picture)
print(y)
assert np.array_equal(layers.Flatten().backward(y, saved), picture)

# %% [markdown]
# ## A task that one layer can't do
#
# Pictures of 6 x 6 pixels: a bright row, a bright column, or neither (a part of a bar at most). Which is it?


# %%
def bars(count):
    """Pictures (count, 1, 6, 6) and their classes: 0 a row, 1 a column, 2 neither."""
    pictures, kinds = 0.15 * rng.normal(size=(count, 1, 6, 6)), rng.integers(3, size=count)
    for picture, kind in zip(pictures, kinds, strict=True):
        length, bar = 6 if kind < 2 else rng.integers(5), np.zeros((6, 6))
        bar[rng.integers(6), :length] = 1
        bar = bar[:, :: rng.choice([-1, 1])]  # a part comes in from the left or from the right
        picture += bar.T if kind == 1 or (kind == 2 and rng.random() < 0.5) else bar
    return pictures, kinds


pictures, kinds = bars(600)
fig, axes = draw.panels(6, size=(12, 2.4))
for k, ax in enumerate(axes):
    n = np.flatnonzero(kinds == k // 2)[k % 2]
    name = ("row", "column", "neither")[k // 2]
    draw.grid(ax, pictures[n, 0], title=name, numbers=False, limits=(-0.2, 1.2))
draw.show(fig, "05_bars")

# %% [markdown]
# One fully connected layer has one number to tell rows (d > 0) from columns (d < 0): d = b + sum of w * x, the
# difference of its two scores. Take the clean pictures. Add up d over the 6 rows: every pixel comes once, so that is
# 6 b + sum of all w. Over the 6 columns it is the same. So rows have the same mean d as columns, whatever the weights
# are: what helps one kind harms the other, and (the loss as a function of d being curved upwards) the best mean loss is
# that of d = 0 everywhere, a guess: log 2. Let us try all the same:

# %%
rows = np.eye(6)[:, :, None] * np.ones((1, 1, 6))  # (6, 6, 6): picture k has row k bright
clean = np.concatenate([rows, rows.transpose(0, 2, 1)]).reshape(12, 36)
truth = np.repeat([0, 1], 6)
straight, loss = layers.Linear(36, 2, rng=rng, dtype=np.float64), losses.CrossEntropyLoss()
optimiser = optim.SGD(straight.parameters(), lr=1.0)
for _ in range(200):
    scores, saved = straight.forward(clean)
    value, loss_saved = loss.forward(scores, truth)
    optimiser.zero_grad()
    straight.backward(loss.backward(loss_saved), saved)
    optimiser.step()
print(f"one layer, after 200 steps: loss {value:.6f}, log 2 = {np.log(2):.6f}")
assert np.isclose(value, np.log(2), atol=1e-6)

# %% [markdown]
# ## Two layers, by hand
#
# With a bend in between it works. Forward, in the names of the code below:
#
#     h = x w1^T + b1        r = max(h, 0)        s = r w2^T + b2        loss = cross-entropy(s, kinds)
#
# Backward is the same list from the end: each line takes the gradient of its result and hands on that of its input.


# %%
def forward(x, w1, b1, w2, b2):
    h = x @ w1.T + b1
    r = np.maximum(h, 0)
    return r, r @ w2.T + b2


def backward(x, r, s, kinds, w2):
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    ds = (p - np.eye(3)[kinds]) / len(x)  # forward: loss = mean of -log softmax(s)[kind]
    dw2, db2 = ds.T @ r, ds.sum(axis=0)  # forward: s = r w2^T + b2
    dr = ds @ w2
    dh = np.where(r > 0, dr, 0)  # forward: r = max(h, 0)
    return dh.T @ x, dh.sum(axis=0), dw2, db2  # forward: h = x w1^T + b1


# %%
net = layers.Sequential(layers.Flatten(), layers.Linear(36, 12, rng=rng), layers.ReLU(), layers.Linear(12, 3, rng=rng))
net.astype(np.float64)
net[1].weight.value *= 0.1  # so that later we see what was learnt, not what it began with
start = net.state_dict()  # the two nets shall start with the same weights
w1, b1, w2, b2 = by_hand = [array.copy() for array in start.values()]
x = pictures.reshape(600, 36)
for step in range(401):
    r, s = forward(x, *by_hand)
    if step % 100 == 0:
        print(f"step {step:3d}   {(s.argmax(axis=1) == kinds).mean():.1%} of the pictures right")
    for array, gradient in zip(by_hand, backward(x, r, s, kinds, w2), strict=True):
        array -= 0.5 * gradient

# %% [markdown]
# And in layers. Same start, same pictures, same steps: the weights must come out the same.

# %%
optimiser = optim.SGD(net.parameters(), lr=0.5)
for _ in range(401):
    scores, saved = net.forward(pictures)
    _, loss_saved = loss.forward(scores, kinds)
    optimiser.zero_grad()
    net.backward(loss.backward(loss_saved), saved)
    optimiser.step()
difference = max(abs(mine - its).max() for mine, its in zip(by_hand, net.state_dict().values(), strict=True))
new_pictures, new_kinds = bars(300)
right = (net(new_pictures).argmax(axis=1) == new_kinds).mean()
print(f"largest difference of a weight {difference:.1e}    {right:.1%} of 300 new pictures right")
assert difference < 1e-10
assert right > 0.9
assert gradcheck(net, pictures[:3])

# %% [markdown]
# What has it learnt? Each row of w1 has 36 weights, one for each pixel, so it is a picture itself. Look at the signs:
# the units are striped. For some rows (or columns) they count the bright pixels, for others they subtract them. Every
# place has weights of its own, which had to be learnt there.

# %%
fig, axes = draw.panels(4, size=(13, 3.6))
strongest = np.argsort(-np.linalg.norm(w1, axis=1))[:4]
for ax, unit in zip(axes, strongest, strict=True):
    draw.grid(ax, (10 * w1[unit]).round().reshape(6, 6), kind="weight", title=f"10 * the weights of unit {unit}")
draw.show(fig, "05_what_the_units_look_for")

# %% [markdown]
# ## A convolution in disguise
#
# A convolution with a 1x1 kernel takes the channels of one pixel and makes new channels of them, with the same weights
# at every pixel. That is a fully connected layer for each pixel. (U-Nets end with one: from features to class scores.)
#
#     y[n,o,i,j] = b[o] + sum over c of w[o,c,0,0] * x[n,c,i,j]

# %%
fc = layers.Linear(5, 3, rng=rng, dtype=np.float64)
conv = layers.Conv2d(5, 3, 1, dtype=np.float64)
conv.load_state_dict({"weight": fc.weight.value.reshape(3, 5, 1, 1), "bias": fc.bias.value})
maps = rng.normal(size=(2, 5, 4, 6))
per_pixel = fc(maps.transpose(0, 2, 3, 1))  # channels last: Linear takes (..., I)
assert np.allclose(conv(maps), per_pixel.transpose(0, 3, 1, 2))
print("a 1x1 convolution of", maps.shape, "is a Linear layer used", 2 * 4 * 6, "times")

# %% [markdown]
# The other way round: a fully connected layer on a flattened C x H x W picture is a convolution whose kernel is as
# large as the picture. Then there is only one place for the kernel, and y is 1 x 1. Even the weights lie in the same
# order: w (O, C*H*W) becomes w (O, C, H, W).
#
# Why would one do that? A convolution doesn't mind a larger picture. The net below is ours, not trained any further,
# but now it answers at every place. This is how fully convolutional nets (FCN; Long, Shelhamer, Darrell 2015) made
# segmenters of nets that could only say what is in a picture.

# %%
fcn = layers.Sequential(
    layers.Conv2d(1, 12, 6, dtype=np.float64),
    layers.ReLU(),
    layers.Conv2d(12, 3, 1, dtype=np.float64),
    layers.Softmax(),
)
fcn[0].load_state_dict({"weight": w1.reshape(12, 1, 6, 6), "bias": b1})
fcn[2].load_state_dict({"weight": w2.reshape(3, 12, 1, 1), "bias": b2})
large = 0.15 * rng.normal(size=(1, 1, 30, 40))
large[0, 0, 6, 3:17] += 1
large[0, 0, 25, 20:36] += 1
large[0, 0, 2:17, 29] += 1
p = fcn(large)
print(large.shape, "->", p.shape)
for i, j in np.ndindex(p.shape[2:]):  # cut out every 6x6 window, and ask the first net
    window = large[:, :, i : i + 6, j : j + 6]
    assert np.allclose(p[:, :, i, j], layers.Softmax()(net(window)))
assert min(p[0, 0, 3, 6], p[0, 1, 6, 26], p[0, 2, 16, 4]) > 0.9  # a row, a column, neither

# %%
fig, axes = draw.panels(3, size=(13, 3.6))
draw.grid(axes[0], large[0, 0], title="a large picture", numbers=False)
for k, name in enumerate(("row", "column")):
    draw.grid(axes[k + 1], p[0, k], title=f"p({name}) of the window that begins here", numbers=False, limits=(0, 1))
draw.show(fig, "05_at_every_place")
fc6 = 512 * 7 * 7 * 4096
print(f"the same in VGG: its first fully connected layer has {fc6:,} weights; FCN reads them as 4096 kernels 512x7x7")

# %% [markdown]
# Look into `minisegnet/models/`: those that say what is in a picture (`simple_cnn`, `vgg`, `resnet`) end in such
# layers, those that segment have none at all. One that made a 360x480 map of 11 classes from 360x480 pixels directly
# would need terabytes for its weights, and would have to learn at each pixel anew what a wall is.

# %%
print(f"{(360 * 480 * 3) * (360 * 480 * 11) * 4 / 1e12:.1f} terabytes of weights in float32")

# %% [markdown]
# ## Try
#
# 1. Give the net 2 hidden units in place of 12, then 3, 4, 6. How many does it take? Look at their weights.
# 2. Set all four arrays of `start` to 0, load it (`net.load_state_dict`) and train. Which one of the four gradients is
#    not 0, and why does the net learn next to nothing from that?
# 3. Put `stride=2` into the first convolution of `fcn`. Which windows are asked now, and what does that cost and save?
#
# `minisegnet explain` shows the gradients of a real net, pixel by pixel. Next: `06_gradient_checking.py`, how to be
# sure of all this.

# %% [markdown]
# ## Check yourself
#
# 1. dw for a batch of 32 samples is a sum of 32 outer products. What is the rank of dw at most, for a 100 x 200 layer?
# 2. You hand in the same batch twice, as one batch of 2N samples, with the mean over all samples as loss. What happens
#    to dw?
# 3. Why does FCN not have to train the converted layers anew?

# %% [markdown]
# ## Answers
#
# 1. 32: each outer product has rank 1, and the sum of 32 of them has at most rank 32.
# 2. Nothing: there are twice as many terms, each divided by twice as many samples.
# 3. It is the same function with the same numbers; only the shape in which the weights are written has changed. (FCN
#    goes on training all the same, because the task has changed from pictures to pixels.)
