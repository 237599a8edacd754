# %% [markdown]
# # From FCN to DeepLab
#
# Pooling tells a net what is in a picture, and takes away where. Four nets, four ideas to get it back: FCN, SegNet,
# U-Net, DeepLabV3. At the end you will have built each from a few combinators, know how far each of their pixels can
# see and really sees, what flows over a skip, and what is lost without it. It builds on the tutorials on convolution
# (1, 2) and on upsampling (9).

# %%
import copy
import math

import numpy as np

import kernels
from minisegnet import layers, losses, models, optim, trace
from minisegnet.data import shapes
from minisegnet.gradcheck import gradcheck
from minisegnet.metrics import ConfusionMatrix
from minisegnet.models.fcn import enlarge
from minisegnet.tutorial import draw

C = (3, 8, 16, 32, 32)  # channels: of the picture, then stage by stage
CLASSES = 2  # ground, or thing
MAKE = {"rng": np.random.default_rng(101), "dtype": np.float32}


# %%
def block(channels_in, channels, kernel=3, dilation=1):
    """A convolution that keeps the size, BatchNorm, ReLU."""
    padding = dilation * (kernel // 2)
    conv = layers.Conv2d(channels_in, channels, kernel, padding=padding, dilation=dilation, bias=False, **MAKE)
    return layers.Sequential(conv=conv, norm=layers.BatchNorm2d(channels), relu=layers.ReLU())


def stage(i):
    return layers.Sequential(block=block(C[i - 1], C[i]), pool=layers.MaxPool2d(2))


def scores(channels):
    return layers.Conv2d(channels, CLASSES, 1, **MAKE)


# %% [markdown]
# ## FCN: a classifier slid over the picture
#
# A fully connected layer on a map of 7x7 is a convolution with a 7x7 kernel. So a classifier can be slid over a larger
# picture, and answers once for every 32 pixels (five poolings); enlarge that by 32: FCN-32s (Long et al. 2015). Its
# outlines are blobs. So make scores from finer maps, too, by a 1x1 convolution, and *add* them: FCN-16s, FCN-8s. Ours
# have three poolings instead of five, and so they are FCN-8s, 4s and 2s: the same three nets at a quarter of the scale.
#
#     x ─ stage 1 ─┬───────────────── 1x1 ─────────────────┬ + ─ up x2 ─ scores        (2s)
#                  └ stage 2 ─┬──────── 1x1 ───────┬ + ─ up x2 ┘
#                             └ stage 3 ─ fc ─ 1x1 ─ up x2 ┘


# %%
def fcn(stride):
    def after(i):
        """From the map after pooling number i to scores of the same size."""
        if i == 3:
            return layers.Sequential(fc=block(C[3], C[3]), scores=scores(C[3]))
        coarse = layers.Sequential(stage=stage(i + 1), scores=after(i + 1), up=enlarge(CLASSES, 2, **MAKE))
        return layers.Sum(skip=scores(C[i]), coarse=coarse)

    first = {8: 3, 4: 2, 2: 1}[stride]
    stages = {f"stage{i}": stage(i) for i in range(1, first + 1)}
    return layers.Sequential(**stages, scores=after(first), up=enlarge(CLASSES, stride, **MAKE))


# %% [markdown]
# ## SegNet: a mirror that remembers positions
#
# The decoder (Badrinarayanan et al. 2017) repeats the encoder backwards, and unpools with the switches of the pooling:
# no values cross over, but for each of them the place where it was the largest. `PoolUnpool` holds both ends, so the
# nets nest.


# %%
def segnet():
    def pooled(i):
        """What is done between pooling and unpooling number i - 1."""
        if i > 3:
            return layers.Identity()
        unpool = layers.PoolUnpool(pooled(i + 1))
        return layers.Sequential(encode=block(C[i - 1], C[i]), unpool=unpool, decode=block(C[i], C[i - 1]))

    unpool = layers.PoolUnpool(pooled(2))
    return layers.Sequential(encode=block(3, C[1]), unpool=unpool, decode=block(C[1], C[1]), scores=scores(C[1]))


# %% [markdown]
# ## U-Net: the fine map itself, beside the coarse view
#
# FCN's skips carry scores, U-Net's (Ronneberger et al. 2015) carry everything: all channels of the fine map are joined
# (`Concat`) with what comes up from below, and convolutions decide what to make of both. Level by level, from the
# inside out.


# %%
def unet():
    def level(i):
        parts = {"pool": layers.MaxPool2d(2), "down": block(C[i], C[i + 1])}
        if i < 3:
            parts |= {"level": level(i + 1), "out": block(2 * C[i + 1], C[i + 1])}
        up = layers.ConvTranspose2d(C[i + 1], C[i], 2, stride=2, **MAKE)
        return layers.Concat(skip=layers.Identity(), coarse=layers.Sequential(**parts, up=up))

    return layers.Sequential(down=block(3, C[1]), level=level(1), out=block(2 * C[1], C[1]), scores=scores(C[1]))


# %% [markdown]
# ## DeepLabV3: don't shrink in the first place
#
# Leave out a stride, and let the convolutions behind it skip every second pixel (dilation 2): each weight meets the
# same pixels as before, but there are four times as many answers. Proof by numbers: in both directions every second one
# is the old one. Then look with several dilations side by side, and at the mean of the whole map (ASPP; Chen et al.
# 2017), and enlarge at the end.

# %%
coarse = layers.Conv2d(4, 5, 3, padding=1, **MAKE)
fine = layers.Conv2d(4, 5, 3, padding=2, dilation=2, **MAKE)
fine.load_state_dict(coarse.state_dict())
features = np.random.default_rng(1).normal(size=(1, 4, 12, 12)).astype(np.float32)
assert np.allclose(fine(features)[:, :, ::2, ::2], coarse(features[:, :, ::2, ::2]), atol=1e-5)


def deeplab():
    views = {f"view{d}": block(C[3], C[1], dilation=d) for d in (1, 2, 4)}
    image = layers.SameSize(layers.Sequential(mean=layers.AdaptiveAvgPool2d(1), **block(C[3], C[1], 1).layers))
    aspp = layers.Concat(pixel=block(C[3], C[1], 1), **views, image=image)
    dilated = block(C[2], C[3], dilation=2)
    body = layers.Sequential(stage1=stage(1), stage2=stage(2), dilated=dilated, aspp=aspp, scores=scores(5 * C[1]))
    return layers.SameSize(body)


nets = {"FCN-8s": fcn(8), "FCN-4s": fcn(4), "FCN-2s": fcn(2), "SegNet": segnet(), "U-Net": unet(), "DeepLab": deeplab()}

# %% [markdown]
# No net has a backward pass of its own. Are those of the combinators right? And what do the nets cost?

# %%
with kernels.use("reference"):  # plain NumPy: for small nets there is no need to compile anything
    for name, net in nets.items():
        assert gradcheck(net, np.random.default_rng(0).normal(size=(2, 3, 8, 8)), dense=1, samples=2)
        summary = net.summary((1, 3, 32, 32))
        print(f"{name:8s} {summary.parameters:6,} parameters  {summary.multiply_adds / 1e6:5.2f} million multiply-adds")

# %% [markdown]
# ## How far can a pixel see?
#
# Let `size` be the number of pixels in a row that a value may depend on, and `jump` the number of pixels from one value
# to the next. A kernel of k reaches (k - 1) steps further, each of dilation * jump pixels:
#
#     size += dilation * (k - 1) * jump,      jump *= stride
#
# Enlarging divides the jump again; what mixes t neighbours adds (t - 1) * jump. Of branches the farthest counts. (After
# enlarging, it depends on where a pixel stands among the coarse ones: some see a little farther than others, and the
# rule gives the mean.)


# %%
def field(layer, size=1, jump=1):
    """(size, jump) after this layer, or after any net."""
    if isinstance(layer, (layers.Sum, layers.Concat)):
        ends = [field(child, size, jump) for child in layer]
        return max(size for size, _ in ends), ends[0][1]
    if isinstance(layer, layers.Sequential):
        for child in layer:
            size, jump = field(child, size, jump)
        return size, jump
    if isinstance(layer, layers.PoolUnpool):
        return field(layer.body, size + jump, 2 * jump)[0], jump
    if isinstance(layer, layers.SameSize):
        size, coarse = field(layer.body, size, jump)
        return size + (coarse if layer.mode == "bilinear" else 0), jump  # bilinear: of two neighbours along each axis
    if isinstance(layer, layers.ConvTranspose2d):
        taps = math.ceil(layer.kernel_size[0] / layer.stride[0])
        return size + (taps - 1) * jump, jump // layer.stride[0]
    if isinstance(layer, layers.AdaptiveAvgPool2d):
        return math.inf, jump
    if isinstance(layer, (layers.Conv2d, layers.MaxPool2d)):
        return size + layer.dilation[0] * (layer.kernel_size[0] - 1) * jump, jump * layer.stride[0]
    return size, jump


for name, net in nets.items():
    print(f"{name:8s} {field(net)[0]:3} pixels")
published = models.build("fcn32s", 3, 21, width=1, hidden=1, rng=0)
first = field(published.body["features"])
print("VGG-16's five stages:", first, " and fc6 of FCN-32s:", field(published.body["scores"]["conv6"], *first))
assert field(published.body["scores"]["conv6"], *first) == (404, 32)

# %% [markdown]
# 404 pixels is the number that one reads about FCN. But does such a pixel *use* all of that? Ask the gradient: feed
# back a dy that is 1 at one output pixel and 0 elsewhere. dx then says how much each input pixel matters to it. We
# average its size over a few pictures, and look for the square in the middle that holds 90 % of it. (In eval mode: in
# training BatchNorm's mean and variance tie every pixel to every other.)

# %%
SIZE = 64
pictures = shapes.draw(4, SIZE, np.random.default_rng(3))[0]


@kernels.use("reference")
def influence(net):
    """Mean |dx| (SIZE, SIZE) of the score in the middle, and the side of the square that holds 90 % of it."""
    net.eval()
    y, saved = net.forward(pictures)
    dy = np.zeros_like(y)
    dy[:, 1, SIZE // 2, SIZE // 2] = 1
    dx = np.abs(net.backward(dy, saved)).mean(axis=(0, 1))
    net.train()
    i, j = np.indices(dx.shape) - SIZE // 2
    away = np.maximum(abs(i), abs(j))
    held = np.array([dx[away <= r].sum() for r in range(SIZE // 2 + 1)]) / dx.sum()
    return dx, 2 * int(np.argmax(held >= 0.9)) + 1


before = {name: influence(net) for name, net in nets.items()}
for name, (dx, side) in before.items():
    rows = np.flatnonzero(dx.any(axis=1))
    could, does = field(nets[name])[0], np.ptp(rows) + 1
    print(f"{name:8s} could see {could:3} pixels, reaches {does:2}, and 90 % of the gradient is in {side:2}")
    assert does <= min(SIZE, could)

# %% [markdown]
# Some reach less than they could: the pixel that we chose is one of those that see less far than the mean, and of the
# pixels that SegNet's pooling compares only the largest gets a gradient.
#
# The gradient is strongest near the middle: a pixel there reaches the output by many paths, one at the rim by a single
# one. (Luo et al., Understanding the effective receptive field, 2016.) The U-Net is the surprise: before training, its
# pixels hardly look further than their neighbours, for the finest skip is the loudest way.
#
# ## Training
#
# The same pictures in the same order for all: is this pixel ground, or part of a thing? The ground is made darker, so
# that there are edges to be seen. Besides the mean IoU we count how many pixels are right among those that have the
# other class within their 3x3 neighbours: there it shows who knows *where*.

# %%
STEPS = 80
data = np.random.default_rng(41)
train_x, train_t = shapes.draw(300, 32, data)
test_x, test_t = shapes.draw(40, 32, data)
train_t, test_t = (train_t > 0).astype(np.int64), (test_t > 0).astype(np.int64)
train_x, test_x = (np.where(t[:, None], x, 0.6 * x) for x, t in ((train_x, train_t), (test_x, test_t)))
near = np.lib.stride_tricks.sliding_window_view(np.pad(test_t, ((0, 0), (1, 1), (1, 1)), "edge"), (3, 3), axis=(1, 2))
edges = near.min(axis=(3, 4)) != near.max(axis=(3, 4))
loss_function = losses.CrossEntropyLoss()


@kernels.use("reference")
def train(net):
    rng, optimiser, curve = np.random.default_rng(51), optim.Adam(net.parameters(), 0.01), []
    for step in range(STEPS):
        optimiser.lr = 0.01 * (1 - step / STEPS)
        pick = rng.integers(len(train_x), size=8)
        y, saved = net.forward(train_x[pick])
        loss, loss_saved = loss_function.forward(y, train_t[pick])
        curve.append(loss)
        net.zero_grad()
        net.backward(loss_function.backward(loss_saved), saved)
        optimiser.step()
    return curve


# %%
@kernels.use("reference")
def judge(net):
    """Predictions for the test pictures, mean IoU, share right at edges."""
    predicted = net.eval()(test_x).argmax(axis=1)
    net.train()
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(test_t, predicted)
    return predicted, matrix.mean_iou(), (predicted == test_t)[edges].mean()


# %% [markdown]
# What flows over the skips meanwhile? `trace.record` keeps every array of one pass. At a fork the gradients of the
# branches meet: dx = dy of the skip + dy of the coarse way. Which share of the norms came over the skip?


# %%
@kernels.use("reference")
def skip_shares(net):
    """{fork: norm of what comes back over the skip, relative to both branches' norms together}."""
    record = trace.record(net, train_x[:8], loss_function, train_t[:8])
    forks = [stop for stop in record.stops if stop.kind == "fork" and "skip" in stop.branches]
    norms = {stop.name: [np.linalg.norm(stop[f"dy.{branch}"]) for branch in ("skip", "coarse")] for stop in forks}
    return {name: skip / (skip + coarse) for name, (skip, coarse) in norms.items()}


shares, results = {}, {}
for name, net in nets.items():
    at_start = skip_shares(net)
    curve = train(net)
    shares[name] = at_start, skip_shares(net)
    results[name] = judge(net)
    _, iou, right = results[name]
    print(f"{name:8s} loss {np.mean(curve[-10:]):.3f}   mean IoU {iou:.1%}   right at edges {right:.1%}")
assert min(iou for _, iou, _ in results.values()) > 0.6

# %%
assert results["FCN-8s"][2] < results["FCN-2s"][2] < results["U-Net"][2]
fig, axes = draw.panels(24, size=(12, 5.3), rows=3)
for row, k in enumerate((1, 4, 6)):
    draw.picture(axes[8 * row], test_x[k], "" if row else "picture")
    draw.mask(axes[8 * row + 1], test_t[k], "" if row else "truth")
    for column, (name, (predicted, iou, _)) in enumerate(results.items(), 8 * row + 2):
        draw.mask(axes[column], predicted[k], "" if row else f"{name}\nmean IoU {iou:.0%}")
draw.show(fig, "10_predictions")

# %% [markdown]
# ## What came over the skips
#
# Each line is a fork, the finest first: the share of the skip before training, and after it.

# %%
for name, (at_start, trained) in shares.items():
    for fork, share in at_start.items():
        print(f"{name:8s} {fork.removesuffix('(fork)'):40s} {share:5.1%} at the start, {trained[fork]:5.1%} trained")
assert shares["U-Net"][0]["level (fork)"] > 0.5 > shares["U-Net"][1]["level (fork)"]

# %% [markdown]
# In the U-Net the way round, down to the coarsest map and up again through random weights, has little to say at the
# start, and much after training. (FCN-8s has no skips, and over SegNet's switches there flows no gradient at all:
# positions are no numbers that one could change a little.) With it the effective field has grown:

# %%
after = {name: influence(net) for name, net in nets.items()}
fig, axes = draw.panels(12, size=(12, 4.9), rows=2)
for k, name in enumerate(nets):
    for ax, when, (dx, held) in ((axes[k], "start", before[name]), (axes[k + 6], "trained", after[name])):
        title = f"{name}, {when}\n90 % in {held} x {held}"
        draw.picture(ax, draw.shade(np.sqrt(dx), "gradient").transpose(2, 0, 1), title)
        low, high = (SIZE / 2 + side * field(nets[name])[0] / 2 for side in (-1, 1))
        if low > 0:
            ax.plot([low, high, high, low, low], [low, low, high, high, low], color="#10141b", linewidth=1.2)
draw.show(fig, "10_influence")
assert before["U-Net"][1] < after["U-Net"][1] < field(nets["U-Net"])[0]

# %% [markdown]
# Orange is the square root of the mean |dx|, the black square the theoretical field (DeepLab sees the whole picture).
#
# ## Cutting a skip
#
# What a skip is for shows when it is gone. `Cut` lets nothing through, forward or backward; the rest of the net stays
# as it was trained.


# %%
class Cut(layers.Sequential):
    def forward(self, x):
        y, saved = super().forward(x)
        return np.zeros_like(y), saved

    def backward(self, dy, saved):
        return super().backward(np.zeros_like(dy), saved)  # forward: y = 0 * ...


def without(net, fork, branch="skip"):
    twin = copy.deepcopy(net)
    combinator = dict(twin.named_layers())[fork.removesuffix(" (fork)")]
    combinator.layers[branch] = Cut(combinator.layers[branch])
    return twin


k = 4
fig, axes = draw.panels(10, size=(12, 5.2), rows=2)
for row, name in enumerate(("FCN-2s", "U-Net")):
    net, (fork, *deeper) = nets[name], shares[name][0]
    variants = {f"{name}, whole": net, "fine skip cut": without(net, fork)}
    variants |= {"next skip cut": without(net, deeper[0]), "coarse way cut": without(net, fork, "coarse")}
    draw.picture(axes[5 * row], test_x[k], "picture")
    for ax, (title, variant) in zip(axes[5 * row + 1 :], variants.items(), strict=False):
        predicted, iou, right = judge(variant)
        draw.mask(ax, predicted[k], f"{title}\nmean IoU {iou:.0%}, edges {right:.0%}")
        assert title in (f"{name}, whole", "next skip cut") or right < results[name][2] - 0.02
draw.show(fig, "10_cut")

# %% [markdown]
# Without the fine skip something is still found where the things are, but not their outlines: look at the edges.
# Without the coarse way outlines follow the picture, but of the wrong things: bright spots of the ground count
# (FCN-2s), dark parts of a thing don't (U-Net). The coarse way knows what, the skip knows where. (A cut net is not a
# net trained without that skip, which would have learnt to do with what it has: compare FCN-8s.)
#
# ## Try
#
# 1. Replace `Concat` by `Sum` in `unet` (what else has to change?). How many parameters does that save, and what does
#    it cost at the edges?
# 2. Double all channels of `C`. Then take `STEPS` = 400 instead. Which of the two helps which net?
# 3. Give `deeplab` the dilations 1, 8, 16 on these maps of 8x8. What do most taps of the kernel meet? Predict the
#    score.
#
# The nets in full are `minisegnet/models/`, their combinators `minisegnet/combine.py`; `minisegnet explain` writes a
# page on which a gradient can be followed back over every fork and join of a U-Net. `minisegnet exercise start
# concat-skip` lets you write the backward pass of a skip, `dilated-conv` that of DeepLab's convolution.

# %% [markdown]
# ## Check yourself
#
# 1. In `Sum` each branch gets the whole dy, in `Concat` its own channels of it. How does dx come about in each?
# 2. A layer with kernel 3 and dilation 4 after two poolings: how much does it add to the field? And before them?
# 3. Of the nets with fine edges SegNet needs the least memory to predict (not to train). Why?

# %% [markdown]
# ## Answers
#
# 1. In the same way: it is the sum of what the branches send back. Only what goes *into* the branches differs.
# 2. 4 * (3 - 1) * 4 = 32 pixels; before the poolings 4 * (3 - 1) * 1 = 8.
# 3. What it has to remember of a fine map until the decoder comes is one of four positions for each pooled value (two
#    bits), and not the values of all four.
