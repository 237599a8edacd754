# %% [markdown]
# # Build a U-Net, look inside, check it, train it
#
# At the end you have put a small U-Net together from layers, followed every value through it and every gradient back,
# checked those gradients, and taught it four pictures. Nothing is needed before it; the tutorials after it take the
# layers apart one by one.
#
# A net here is a tree of layers, and every layer has two methods:
#
#     y, saved = layer.forward(x)
#     dx = layer.backward(dy, saved)
#
# `saved` is what the chain rule will need later. `dy` is the gradient of the loss with respect to `y`: for every number
# in `y`, how much the loss changes when that number grows a little. `backward` turns it into the same for `x`.

# %%
import numpy as np

from minisegnet import layers, losses, optim
from minisegnet.data import shapes
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(0)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## One layer
#
# A convolution with a kernel of 3x3 ones adds up nine neighbours. At the border some of them lie in the padding and
# count 0.

# %%
conv = layers.Conv2d(1, 1, 3, padding=1, bias=False, rng=rng)
conv.weight.value[:] = 1
x = np.zeros((1, 1, 5, 5), np.float32)
x[0, 0, 2, 2] = 1
y, saved = conv.forward(x)
print("one bright pixel:\n", x[0, 0])
print("is seen by nine output pixels:\n", y[0, 0])

# %% [markdown]
# Backward asks the opposite question. Say the loss depends on a single output pixel, the one in the corner. Which input
# pixels does it depend on, then? Those under the kernel when it computed that corner: four, for the others are padding.

# %%
dy = np.zeros_like(y)
dy[0, 0, 0, 0] = 1
dx = conv.backward(dy, saved)
print("dL/dx:\n", dx[0, 0])
print("dL/dw, the pixels that each weight was multiplied by (all dark there):\n", conv.weight.grad[0, 0])
assert np.count_nonzero(dx) == 4

# %% [markdown]
# Side by side: which outputs one pixel of `x` reaches, and which inputs one pixel of `y` came from. The same nine
# weights, read in both directions.

# %%
fig, axes = draw.panels(4, size=(12, 3.2))
draw.grid(axes[0], x[0, 0], title="x")
draw.grid(axes[1], y[0, 0], title="y = conv(x)")
draw.grid(axes[2], dy[0, 0], kind="gradient", title="dy = dL/dy")
draw.grid(axes[3], dx[0, 0], kind="gradient", title="dx = dL/dx")
draw.show(fig, "00_one_layer")

# %% [markdown]
# ## A net
#
# A U-Net looks at the picture in two ways and puts both side by side: at full resolution (`Identity`, the skip), and
# from further away (pool, convolve, enlarge). `Concat` joins their channels. Its backward splits dy again: the skip
# brings one part straight back, the other goes the long way round.
#
# Its bricks are blocks of three layers: a convolution; BatchNorm, which brings each channel to mean 0 and spread 1; and
# ReLU, which makes negative numbers 0.

# %%
width, classes = 6, len(shapes.CLASSES)


def block(in_channels, out_channels):
    return layers.Sequential(
        layers.Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        layers.BatchNorm2d(out_channels),
        layers.ReLU(),
    )


net = layers.Sequential(
    first=block(3, width),
    level=layers.Concat(
        layers.Identity(),
        layers.Sequential(
            pool=layers.MaxPool2d(2),
            inside=block(width, 2 * width),
            up=layers.ConvTranspose2d(2 * width, width, 2, stride=2, rng=rng),
        ),
    ),
    last=block(2 * width, width),
    scores=layers.Conv2d(width, classes, 1, rng=rng),
)
print(net)

# %% [markdown]
# What does each layer make of one picture, 24 pixels high and wide? `print(table)` has more columns, for a wide window.

# %%
table = net.summary((1, 3, 24, 24))
for row in table.rows:
    cost = f"{row.parameters:4d} parameters {row.multiply_adds:7d} multiply-adds"
    print(f"{row.name:16s} {row.output_shape!s:16s} {cost}")
print(f"{'together':33s} {table.parameters:4d} parameters {table.multiply_adds:7d} multiply-adds")

# %% [markdown]
# ## Every value on the way
#
# `Sequential` does nothing but this loop, so we can write it ourselves and look at each result.

# %%
images, masks = shapes.draw(4, 24, rng)
h, records = images, []
for name, layer in net.children():
    h, saved = layer.forward(h)
    records.append((name, layer, saved))
    print(f"{name:8s} {h.shape!s:16s} mean {h.mean():+.3f}  largest {h.max():+.3f}")

loss_function = losses.CrossEntropyLoss()
loss, loss_saved = loss_function.forward(h, masks)
print(f"loss {loss:.4f}; guessing blindly would give log({classes}) = {np.log(classes):.4f}")

# %% [markdown]
# Softmax with cross-entropy has the simplest gradient of all: what the net believes, minus the truth, over the number
# of pixels. And then back through the layers, in reverse.

# %%
dh = loss_function.backward(loss_saved)
print("p - onehot, one pixel:", dh[0, :, 0, 0] * masks.size, " its true class:", masks[0, 0, 0])
for name, layer, saved in reversed(records):
    dh = layer.backward(dh, saved)
    print(f"{name:8s} dL/dx {dh.shape!s:16s} norm {np.linalg.norm(dh):.5f}")
print("dL/dw of the first convolution:\n", net["first"][0].weight.grad[0])

# %% [markdown]
# ## Is all of this right?
#
# Move one number by a millionth, run forward again, and see how much the loss really moved.

# %%
report = gradcheck(net, rng.normal(size=(2, 3, 6, 7)), dense=10, samples=10)
print(report)
assert report

# %% [markdown]
# ## Learning
#
# A step against the gradient, if it is small enough, makes the loss smaller. Here on the same four pictures again and
# again.

# %%
optimiser = optim.Adam(net.parameters(), lr=0.02)
course = []
for step in range(41):
    scores, saved = net.forward(images)
    loss, loss_saved = loss_function.forward(scores, masks)
    net.zero_grad()
    net.backward(loss_function.backward(loss_saved), saved)
    optimiser.step()
    course.append(loss)
    if step % 10 == 0:
        right = (scores.argmax(axis=1) == masks).mean()
        print(f"step {step:2d}   loss {loss:.3f}   {right:.0%} of the pixels right")
assert loss < 0.5, "the loss should have fallen"

# %%
fig, axes = draw.panels(4, size=(12, 3.2))
draw.picture(axes[0], images[0], title="a picture")
draw.mask(axes[1], masks[0], title="its true mask")
draw.mask(axes[2], scores[0].argmax(axis=0), title="what the net says")
draw.curve(axes[3], {"loss": course}, xlabel="step", ylabel="loss")
draw.show(fig, "00_learning")

# %% [markdown]
# Nearly all pixels are right. But count what the net says, class by class:

# %%
said = scores.argmax(axis=1)
for k, name in enumerate(shapes.CLASSES):
    print(f"{name:8s} true: {np.sum(masks == k):4d} pixels   the net says: {np.sum(said == k):4d}")
assert right > 0.9
assert not (said == shapes.CLASSES.index("square")).any()

# %% [markdown]
# It never says "square". Few pixels, little loss: up to now the net has gained more elsewhere. (Give it twice as many
# steps, and see.) Tutorial 8 is about losses that mind sooner.

# %% [markdown]
# ## Try
#
# 1. Give `conv` a kernel of 1, no padding and `stride=2`, and let all of `dy` be 1. Which pixels get a gradient of 0,
#    and why?
# 2. Replace `Identity` by a `Dropout(0.5, rng=0)`. Does `gradcheck` still agree, and how can it?
# 3. Break it: write a subclass of `ReLU` whose backward uses `dy > 0` as its mask, put it into `block`, and read what
#    `gradcheck` says.
#
# The layers are in `minisegnet/layers`, each with its formula and its derivative; `minisegnet explain` writes a page on
# which you can click through every number of such a net, forward and backward.
#
# ## Check yourself
#
# 1. Why does the convolution before a BatchNorm need no bias? (Look at the gradient that it would get.)
# 2. Before training, the loss is near that of guessing. Which loss would that be with ten classes?
# 3. `Concat` hands the same `h` to two branches, and each brings back a gradient. What becomes of the two?

# %% [markdown]
# ## Answers
#
# 1. A bias adds the same number to a whole map, and BatchNorm takes the map's mean away again. The loss doesn't change,
#    so the gradient of such a bias is 0.
# 2. log(10): each class gets a probability of 1/10, and the loss is -log(1/10). `np.log(10)` tells the number.
# 3. They are added up. `h` changes the loss in two ways, and the chain rule is a sum over all ways.
