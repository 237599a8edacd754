# %% [markdown]
# # Losses for segmentation, and rare classes
#
# At the end you will know why a net can be right at 98 % of the pixels and useless, how to count what counts, and what
# class weights, focal loss, Dice and Jaccard loss tell each pixel to do: their derivatives, by hand and checked. It
# builds on softmax with cross-entropy (tutorial 4), whose gradient is p minus the truth.

# %%
import numpy as np

import kernels
from minisegnet import layers, losses, optim
from minisegnet.class_weights import PixelCounts, class_weights
from minisegnet.data import shapes
from minisegnet.gradcheck import gradcheck
from minisegnet.metrics import ConfusionMatrix, percent
from minisegnet.tutorial import draw

np.set_printoptions(precision=4, suppress=True, linewidth=110)

# %% [markdown]
# ## Pixel accuracy lies
#
# A picture of 40 x 50 pixels, in which 8 x 5 belong to the thing that we are looking for. Three answers: one that found
# nothing at all, one a little beside it, one that found it and is two pixels too fat on each side.

# %%
truth = np.zeros((40, 50), np.int64)
truth[16:24, 20:25] = 1
answers = {name: np.zeros_like(truth) for name in ("nothing", "beside it", "too fat")}
answers["beside it"][16:24, 23:28] = 1
answers["too fat"][14:26, 18:27] = 1
accuracy = {name: float((answer == truth).mean()) for name, answer in answers.items()}
print(f"{truth.mean():.1%} of the pixels are foreground;", {name: f"{a:.1%} right" for name, a in accuracy.items()})
assert accuracy["nothing"] > accuracy["beside it"] > accuracy["too fat"]

fig, axes = draw.panels(4, size=(11, 2.7))
draw.mask(axes[0], truth, "the truth")
for ax, (name, answer) in zip(axes[1:], answers.items(), strict=True):
    draw.mask(ax, answer, f"{name}: {accuracy[name]:.1%} right")
draw.show(fig, "08_accuracy_lies")

# %% [markdown]
# Whoever says "nothing" wins, for what isn't there is easy to be right about. So count all four cases apart, in a
# confusion matrix: m[t, p] is the number of pixels of class t that were taken for p. In loops, and in one line: each
# pair (t, p) has the number 2 t + p, and `bincount` counts numbers.

# %%
guess = answers["too fat"]
m = np.zeros((2, 2), np.int64)
for i in range(40):
    for j in range(50):
        m[truth[i, j], guess[i, j]] += 1
assert (m == np.bincount(2 * truth.ravel() + guess.ravel(), minlength=4).reshape(2, 2)).all()
print("truth in rows, answer in columns:\n", m)

# %% [markdown]
# For a class c let I be the pixels that are c in both (TP), Y those that are c in truth, P those that were called c:
#
#     IoU  = I / (Y + P - I)      the part in both over the part in either
#     Dice = 2 I / (Y + P)        the same question with another scale: Dice = 2 IoU / (1 + IoU)
#     mIoU = mean of IoU over the classes
#
# For the foreground, neither of the first two counts the ground on which both agree, however much there is of it. That
# turns the order of the three answers round.

# %%
print("answer       right     IoU    Dice    mIoU")
for name, guess in answers.items():
    I, P, Y = int((guess * truth).sum()), int(guess.sum()), int(truth.sum())
    iou, dice = I / (Y + P - I), 2 * I / (Y + P)
    matrix = ConfusionMatrix(2)
    matrix.update(truth, guess)
    assert np.allclose([iou, dice, accuracy[name]], [matrix.iou()[1], matrix.f1()[1], matrix.accuracy()])
    assert np.isclose(dice, 2 * iou / (1 + iou))
    print(f"{name:10s}  {accuracy[name]:6.1%}  {iou:6.3f}  {dice:6.3f}  {matrix.mean_iou():6.3f}")

# %% [markdown]
# ## What cross-entropy tells a rare class
#
# Cross-entropy has the same blind spot, since each pixel counts the same in its mean. Imagine a net that has only a
# bias and says the same p = p(foreground) everywhere. The gradient of its foreground score is the sum of (p -
# y)/pixels: ground pushes it down with 0.98 p, foreground pulls it up with 0.02 (1 - p). That is zero where p = 0.02;
# and then the larger score is the ground's, everywhere.


# %%
def constant(p):
    """Scores (1, 2, 40, 50) that say p(foreground) = p at every pixel."""
    return np.broadcast_to(np.log([1 - p, p]).reshape(1, 2, 1, 1), (1, 2, 40, 50)).copy()


def pull(loss, p, target=truth[None]):
    """What the pixels of ground, and those of foreground, add to the gradient of the foreground's score."""
    _, saved = loss.forward(constant(p), target)
    d = loss.backward(saved)[:, 1]
    return d[target == 0].sum(), d[target == 1].sum()


for p in (0.5, 0.1, 0.02):
    ground, rare = pull(losses.CrossEntropyLoss(), p)
    print(f"p = {p:4.2f}: ground {ground:+.4f}, foreground {rare:+.4f}, together {ground + rare:+z.4f}")
assert abs(ground + rare) < 1e-12

# %% [markdown]
# ## Class weights
#
# The plain remedy: a pixel of class c counts w[c] times. Two common rules (Eigen and Fergus 2015, Paszke et al. 2016),
# with all sums over the whole data set:
#
#     median frequency   freq(c) = pixels of c / pixels of the pictures that have any c    w[c] = median(freq) / freq(c)
#     ENet               share(c) = pixels of c / all labelled pixels                      w[c] = 1/log(1.02 + share(c))
#
# An example to check by hand: two pictures of 50 pixels; class 2 is in the second one only.

# %%
masks = [np.repeat([0, 1], [30, 20]), np.repeat([0, 1, 2], [30, 10, 10])]
pixels, image_pixels, images = np.zeros(3), np.zeros(3), np.zeros(3)
for mask in masks:
    for c in range(3):
        pixels[c] += (mask == c).sum()
        image_pixels[c] += mask.size * (mask == c).any()
        images[c] += (mask == c).any()
frequency = pixels / image_pixels
median_frequency = np.median(frequency) / frequency
enet = 1 / np.log(1.02 + pixels / pixels.sum())
print("frequencies", frequency, " median frequency weights", median_frequency, " ENet weights", enet)
counts = PixelCounts(pixels, image_pixels, images, void=0)
assert np.allclose(median_frequency, class_weights("median-frequency", counts))
assert np.allclose(enet, class_weights("enet", counts))

# %% [markdown]
# The weighted mean divides by the weights that it used, so a larger w does not mean longer steps:
#
#     value = Σ w[t] * -log p[t] / Σ w[t],      dscores[c] = w[t] * (p[c] - (c == t)) / Σ w[t]
#
# With two classes median frequency makes both pulls equal at p = 1/2. That has a price: a foreground pixel now counts
# as 49 of ground, and a net in doubt says "foreground" from p = 2 % on. It will find more, and more that isn't there.

# %%
both = PixelCounts(np.bincount(truth.ravel()), np.full(2, truth.size), np.ones(2), 0)
w = class_weights("median-frequency", both)
print("weights", w, " ratio", w[1] / w[0], " pulls at p = 1/2:", np.array(pull(losses.CrossEntropyLoss(w), 0.5)))
assert abs(sum(pull(losses.CrossEntropyLoss(w), 0.5))) < 1e-8
assert np.isclose(w[1] / w[0], 49)
assert np.isclose(49 * 0.02, 1 - 0.02)  # at p = 2 % both answers weigh the same

# %% [markdown]
# ## Focal loss: less of what is already right
#
# With ce = -log p[t] and miss = 1 - p[t], the focal loss (Lin et al. 2017) is miss^g * ce. The product rule, with p[t]
# = exp(-ce), so that d(miss)/d(ce) = p[t]:
#
#     d(loss)/d(ce) = miss^g + g * miss^(g-1) * p[t] * ce = miss^g * (1 + g * p[t] * ce / miss)
#
# That is one factor per pixel; after it everything is as before, dscores[c] = factor * (p[c] - (c == t)).


# %%
def factor(p_t, g):
    ce, miss = -np.log(p_t), 1 - p_t
    return miss**g * (1 + g * p_t * ce / miss)


for p_t in (0.02, 0.5, 0.9, 0.99):
    print(f"p[t] = {p_t:4.2f}: the gradient of gamma = 2 is {factor(p_t, 2):.5f} of cross-entropy's")
assert factor(0.02, 2) > 1 > factor(0.5, 2)  # the surprise: what is badly wrong counts even a little more than before

scores = np.array([[0.0, 2.0]])  # one pixel, p = sigmoid(2) for the right class
focal, h = losses.FocalLoss(gamma=2), 1e-6
value, saved = focal.forward(scores, np.array([1]))
p = 1 / (1 + np.exp(-2.0))
by_hand = factor(p, 2) * np.array([1 - p, p - 1])
numeric = [(focal(scores + d, np.array([1])) - focal(scores - d, np.array([1]))) / (2 * h) for d in h * np.eye(2)]
print("by hand", by_hand, " finite differences", np.array(numeric), " FocalLoss", focal.backward(saved)[0])
assert np.allclose(by_hand, focal.backward(saved))
assert np.allclose(by_hand, numeric, atol=1e-9)

# %%
p_t = np.linspace(0.01, 0.99, 99)
fig, axes = draw.panels(2, size=(10, 3.6))
named = {"cross-entropy": 0, "gamma 1": 1, "gamma 2": 2, "gamma 5": 5}
draw.curve(axes[0], {k: -np.log(p_t) * (1 - p_t) ** g for k, g in named.items()}, p_t, "p of the right class", "loss")
size = {k: factor(p_t, g) * (1 - p_t) for k, g in named.items()}
draw.curve(axes[1], size, p_t, "p of the right class", "size of the gradient", log=True)
axes[0].set_ylim(0, 4)
axes[1].set_ylim(1e-5, 3)
draw.show(fig, "08_focal_loss")

# %% [markdown]
# ## A question of its own for each class: BCE with logits
#
# For a yes-or-no question with score x and p = sigmoid(x), -log p = softplus(-x) and -log(1 - p) = softplus(x), with
# softplus(x) = log(1 + exp(x)), whose derivative is p:
#
#     loss = y * softplus(-x) + (1 - y) * softplus(x),        dx = y * (p - 1) + (1 - y) * p = p - y
#
# Softmax over two classes with scores (0, x) is the same thing. "With logits" (raw scores) is for the digits: the
# sigmoid of 40 is 1 in floating point, and the log of 1 - 1 is lost; softplus has it.

# %%
x, y = np.array([-1.0, 0.5, 40.0]), np.array([0.0, 1.0, 0.0])
softplus = np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))  # log(1 + exp(x)), but exp can't overflow
p = 1 / (1 + np.exp(-x))
bce = losses.BCEWithLogitsLoss(reduction="none")
value, saved = bce.forward(x, y)
assert np.allclose(value, y * (softplus - x) + (1 - y) * softplus)  # softplus(-x) = softplus(x) - x
assert np.allclose(bce.backward(saved), p - y)
two = np.stack([np.zeros(3), x], axis=1)
assert np.allclose(value, losses.CrossEntropyLoss(reduction="none")(two, y.astype(int)))
with np.errstate(divide="ignore"):
    print("loss of x = 40 where the answer is no:", value[2], " and through log(1 - sigmoid):", -np.log(1 - p[2]))

# %% [markdown]
# ## Dice and Jaccard: the score itself as the loss
#
# Put probabilities into the formula instead of yes and no, and the score has a derivative (Milletari et al. 2016 for
# Dice, Rahman and Wang 2016 for Jaccard, which is another name of IoU). For one class, with sums over all pixels of the
# batch, I = Σ p*y, P = Σ p, Y = Σ y:
#
#     dice = 2 I / U,  U = P + Y           d(dice)/dp = (2y * U - 2I * 1) / U² = (2y - dice) / U
#     iou  = I / V,    V = P + Y - I       d(iou)/dp  = (y * V - I * (1 - y)) / V² = (y - iou * (1 - y)) / V
#
# (the quotient rule; dI/dp = y, dU/dp = 1, dV/dp = 1 - y.) The loss is 1 - dice, so dp has a minus in front, and
# dscores = dp * p * (1 - p) brings it through the sigmoid. In our losses `smooth` is added above and below, against
# 0/0. Four undecided pixels by hand:

# %%
scores, target = np.zeros((1, 1, 1, 4)), np.array([[[[1, 1, 0, 0]]]])
for loss in (losses.DiceLoss("sigmoid", smooth=0), losses.JaccardLoss("sigmoid", smooth=0)):
    p, y = np.full(4, 0.5), target.ravel()
    I, P, Y = 0.0, 0.0, 0.0
    for i in range(4):
        I, P, Y = I + p[i] * y[i], P + p[i], Y + y[i]
    if isinstance(loss, losses.DiceLoss):
        ratio, dp = 2 * I / (P + Y), -(2 * y - 2 * I / (P + Y)) / (P + Y)
    else:
        ratio, dp = I / (P + Y - I), -(y - I / (P + Y - I) * (1 - y)) / (P + Y - I)
    value, saved = loss.forward(scores, target)
    print(f"{type(loss).__name__:11s} I {I:g} P {P:g} Y {Y:g} value {value:.4f} dscores", dp * p * (1 - p))
    assert np.isclose(value, 1 - ratio)
    assert np.allclose(loss.backward(saved).ravel(), dp * p * (1 - p))

# %% [markdown]
# And for several classes with a softmax, where dp goes through all p of a pixel, against finite differences:

# %%
rng = np.random.default_rng(0)
scores, labels = rng.normal(size=(2, 3, 4, 5)), rng.integers(3, size=(2, 4, 5))
for loss in (losses.CrossEntropyLoss([0.2, 1, 3]), losses.FocalLoss(2), losses.DiceLoss(), losses.JaccardLoss()):
    report = gradcheck(loss, scores, target=labels)
    print(f"{loss.label():45s} {'agrees with finite differences' if report else report}")
    assert report

# %% [markdown]
# What do the pixels hear? Here the net is sure of the ground far away and sees a blurred spot, too far to the left. In
# orange pixels the score of the foreground must fall, in blue ones rise. Cross-entropy pulls hardest where the net is
# sure and wrong; Dice where it is in doubt, since its p*(1-p) is small at sure pixels, right or wrong. A thousand more
# pixels of sure ground shrink the gradient of cross-entropy, whose mean they join. Dice hardly notices: in the sums of
# the foreground p*y and p are nearly 0 there. (Only the ground's own Dice, the smaller part of dscores, shrinks.)

# %%
i, j = np.mgrid[:12, :16]
spot = (np.hypot(i - 5.5, j - 8.5) < 3).astype(np.int64)[None]
x = 5 * np.exp(-((i - 5.5) ** 2 + (j - 6.5) ** 2) / 8) - 4
scores = np.stack([np.zeros_like(x), x])[None]
named = {"cross-entropy": losses.CrossEntropyLoss(), "focal, gamma 2": losses.FocalLoss(), "Dice": losses.DiceLoss()}
fig, axes = draw.panels(4, size=(12, 2.9))
draw.grid(axes[0], 1 / (1 + np.exp(-x)), title="p of the foreground (ring: truth)", ring=np.argwhere(spot[0]))
more = np.concatenate([scores, np.broadcast_to([[[[8.0]], [[-8.0]]]], (1, 2, 12, 90))], axis=3)
more_labels = np.concatenate([spot, np.zeros((1, 12, 90), np.int64)], axis=2)
print("gradient that is left after adding", 12 * 90, "pixels of sure ground:")
left = {}
for ax, (name, loss) in zip(axes[1:], named.items(), strict=True):
    d = loss.backward(loss.forward(scores, spot)[1])[0, 1]
    draw.grid(ax, d, kind="gradient", title=f"{name}: dscores", ring=np.argwhere(spot[0]))
    left[name] = np.abs(loss.backward(loss.forward(more, more_labels)[1])[0, 1, :, :16]).sum() / np.abs(d).sum()
    hardest = 1 / (1 + np.exp(-x.flat[np.abs(d).argmax()]))
    print(f"   {name:15s} {left[name]:.0%}     (before, it pulled hardest at a pixel with p = {hardest:.2f})")
assert left["cross-entropy"] < 0.2
assert left["Dice"] > 0.5
draw.show(fig, "08_what_pixels_hear")

# %% [markdown]
# ## Sums of losses
#
# Dice says little to a pixel that is sure and wrong, cross-entropy helps out there. A sum of losses has the sum of
# their gradients: both read the same scores, and where a value fans out, what comes back adds up.

# %%
ce, dice = losses.CrossEntropyLoss(), losses.DiceLoss()
mixed = losses.WeightedSum([ce, dice], weights=[1, 0.5])
value, saved = mixed.forward(scores, spot)
parts = ce.backward(ce.forward(scores, spot)[1]), dice.backward(dice.forward(scores, spot)[1])
assert np.isclose(value, ce(scores, spot) + 0.5 * dice(scores, spot))
assert np.allclose(mixed.backward(saved), parts[0] + 0.5 * parts[1])

# %% [markdown]
# ## The experiment
#
# Pictures with one disc of about 2 % of the pixels, and a small dark square in each to be confused by. A tiny net, the
# same start and the same batches for every loss.


# %%
def rare_discs(count, rng, size=28):
    images, masks = [], []
    for _ in range(count):
        image, mask = shapes.texture(0, size, rng), np.zeros((size, size), np.int64)
        for kind, lighter in ((2, -0.1), (1, 0.3)):
            (y, x), r = np.mgrid[:size, :size] - rng.uniform(4, size - 4, (2, 1, 1)), rng.uniform(1.9, 2.6)
            inside = np.hypot(y, x) <= r if kind == 1 else np.maximum(abs(y), abs(x)) <= r
            image[:, inside] = shapes.texture(kind, size, rng)[:, inside] + lighter
            mask[inside] = kind == 1
        images.append((image + rng.normal(0, 0.03, image.shape)).clip(0, 1))
        masks.append(mask)
    return np.stack(images).astype(np.float32), np.stack(masks)


train_x, train_t = rare_discs(200, np.random.default_rng(0))
test_x, test_t = rare_discs(40, np.random.default_rng(1))
counts = PixelCounts(np.bincount(train_t.ravel()), np.full(2, train_t.size), np.full(2, 200), 0)
weights = {rule: class_weights(rule, counts) for rule in ("median-frequency", "enet")}
print(f"{train_t.mean():.2%} foreground;", weights)

# %%
STEPS, WIDTH = 100, 8


@kernels.use("reference")  # plain NumPy: a net so small needs no more, and nothing has to be compiled first
def train(loss, rng):
    parts, channels = [], 3
    for dilation in (1, 2, 1):
        parts.append(layers.Conv2d(channels, WIDTH, 3, padding=dilation, dilation=dilation, bias=False, rng=rng))
        parts += [layers.BatchNorm2d(WIDTH), layers.ReLU()]
        channels = WIDTH
    net = layers.Sequential(*parts, layers.Conv2d(WIDTH, 2, 1, rng=rng))
    optimiser = optim.Adam(net.parameters(), 0.02)
    for step in range(STEPS):
        optimiser.lr = 0.02 * (1 - step / STEPS)
        pick = rng.integers(len(train_x), size=8)
        scores, saved = net.forward(train_x[pick])
        target = train_t[pick]
        if isinstance(loss, losses.BCEWithLogitsLoss):
            target = np.stack([target == 0, target == 1], axis=1)  # two questions: ground? foreground?
        _, loss_saved = loss.forward(scores, target)
        net.zero_grad()
        net.backward(loss.backward(loss_saved), saved)
        optimiser.step()
    return net.eval()(test_x)


# %%
contest = {
    "cross-entropy": losses.CrossEntropyLoss(),
    "BCE": losses.BCEWithLogitsLoss(),
    "median weights": losses.CrossEntropyLoss(weights["median-frequency"]),
    "ENet weights": losses.CrossEntropyLoss(weights["enet"]),
    "focal": losses.FocalLoss(gamma=2),
    "Dice": losses.DiceLoss(),
    "Jaccard": losses.JaccardLoss(),
    "CE + Dice": losses.WeightedSum([losses.CrossEntropyLoss(), losses.DiceLoss()]),
}
results, ious = {}, {}
print("loss             right   found  precise    IoU   mIoU")
for name, loss in contest.items():
    results[name] = train(loss, np.random.default_rng(2))
    matrix = ConfusionMatrix(2)
    matrix.update(test_t, results[name].argmax(axis=1))
    ious[name] = matrix.iou()[1]
    found, precise = matrix.recall()[1], matrix.precision()[1]
    numbers = (
        f"{matrix.accuracy():6.1%}  {found:6.1%}  {percent(precise):>7s}  {ious[name]:5.3f}  {matrix.mean_iou():5.3f}"
    )
    print(f"{name:14s}  {numbers}")
assert ious["cross-entropy"] < 0.2 < 0.45 < min(ious["Dice"], ious["Jaccard"])

# %%
fig, axes = draw.panels(10, size=(12, 5.4), rows=2)
k = 11
draw.picture(axes[0], test_x[k], "picture")
draw.mask(axes[5], test_t[k], "truth")
for ax, (name, scores) in zip(axes[1:5] + axes[6:], results.items(), strict=True):
    draw.mask(ax, scores[k].argmax(axis=0), f"{name}\ntest IoU {ious[name]:.2f}")
draw.show(fig, "08_contest")

# %% [markdown]
# One start and a hundred steps: with others cross-entropy may learn to say "foreground", and focal loss, or the sum
# with Dice, may fail to. What stays: weights find much and invent much, Dice and Jaccard are balanced.
#
# ## The surprise: the net knows, and does not say
#
# An IoU of 0 looks as if cross-entropy had learnt nothing. But `argmax` asks for p > 1/2, which in doubt a rare class
# never has. Ask for less, and the discs are there. With weights it is the other way round: p > 1/2 is soon said, so ask
# for more.

# %%
thresholds, curves = np.arange(0.05, 1, 0.05), {}
for name in ("cross-entropy", "median weights", "Dice"):
    p = 1 / (1 + np.exp(results[name][:, 0] - results[name][:, 1]))
    both, either = ([op(p > t, test_t == 1).sum() for t in thresholds] for op in (np.logical_and, np.logical_or))
    curves[name] = np.array(both) / np.array(either)
    print(f"{name:15s} best IoU {curves[name].max():.3f} with p > {thresholds[curves[name].argmax()]:.2f}")
assert curves["cross-entropy"].max() > 0.25
assert thresholds[curves["cross-entropy"].argmax()] < 0.5
assert thresholds[curves["median weights"].argmax()] > 0.5
fig, axes = draw.panels(1, size=(7, 3.8))
draw.curve(axes[0], curves, thresholds, "foreground is what has p above", "IoU of the foreground")
axes[0].axvline(0.5, color="0.4", linewidth=1)
axes[0].text(0.505, 0.02, "argmax", fontsize=10)
draw.show(fig, "08_thresholds")

# %% [markdown]
# ## Try
#
# 1. Set `STEPS` to 400, or train from another start, `default_rng(21)`. Which rows of the table change most? Why is one
#    run no proof that one loss is better than another?
# 2. Give `FocalLoss` the ENet weights, too (`weight=`). Does the sum of both ideas beat each of them?
# 3. `DiceLoss(classes=[1])` leaves the ground out of the mean. Predict what happens to "found" and "precise"; train.
#
# Sources of what you have used: `minisegnet/losses/`, `minisegnet/class_weights.py`, `minisegnet/metrics.py`. On the
# page that `minisegnet explain --class-weights 1,2.5,0.3,4` writes, every dscores shows its class weight. To derive and
# write a loss yourself: `minisegnet exercise start dice`; to find a mistake in one: `bug-dice-quotient`.

# %% [markdown]
# ## Check yourself
#
# 1. A net has IoU 0.5 for a class. What is its Dice? Can two nets be ranked differently by the two, on one class?
# 2. Multiply all class weights by 10. What changes in the value and in the gradient with reduction="mean"?
# 3. A batch has no foreground at all. What is the Dice of that class with smooth=0 and with smooth=1 when the net says
#    p = 0.01 at 1000 pixels?

# %% [markdown]
# ## Answers
#
# 1. 2/3. No: Dice = 2 IoU/(1 + IoU) grows with IoU, so on one class they always agree (means over classes need not).
# 2. Nothing: the mean divides by the sum of the weights, and the 10 cancels. (With "sum" both are 10 times larger.)
# 3. 0 / 10 = 0 with smooth=0, so the loss is at its largest for next to nothing; (0 + 1)/(10 + 1) = 0.09 with smooth=1.
