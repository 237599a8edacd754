# %% [markdown]
# # ReLU, softmax and cross-entropy
#
# At the end you know what stands between the convolutions (a bend) and what stands after the last one (softmax and
# cross-entropy), how the gradient passes through each of them, and why the two at the end, taken together, have the
# simplest gradient of all: what the net believes, minus the truth. Builds on `00_build_a_unet.py`; that uses all of
# this, here we derive it.

# %%
import numpy as np

from minisegnet import layers, losses
from minisegnet.data import shapes
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(4)
np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %% [markdown]
# ## Why a bend?
#
# Two straight lines, one after the other, are one straight line:
#
#     w2 * (w1 * x + b1) + b2  =  (w2 * w1) * x + (w2 * b1 + b2)
#
# The same holds for convolutions: a hundred of them in a row can do no more than one with a larger kernel (but for the
# borders). Something that is not straight has to stand between them. The simplest is a line with one bend.
#
#     y = max(x, 0)            ReLU
#
# ## The gate
#
# Each y depends on one x. Where x > 0, y = x, so dy/dx = 1; where x < 0, y = 0 whatever x does, so dy/dx = 0. The chain
# rule multiplies that by what comes from above, dL/dx = dL/dy * dy/dx, or in short names
#
#     dx = dy   where x > 0
#     dx = 0    elsewhere
#
# ReLU is a gate: it opens or closes in the forward pass, and in the backward pass it is still as it was then.

# %%
x = np.array([[-2.0, 0.5, 3.0, -0.5], [1.0, -1.0, 2.0, -3.0]])
dy = np.array([[5.0, -1.0, 2.0, 4.0], [-3.0, 7.0, 0.5, -2.0]])


def relu_loops(x, dy):
    y, dx = np.zeros_like(x), np.zeros_like(x)
    for i in np.ndindex(x.shape):
        if x[i] > 0:
            y[i] = x[i]
            dx[i] = dy[i]
    return y, dx


y, dx = relu_loops(x, dy)
assert np.array_equal(y, np.maximum(x, 0))
assert np.array_equal(dx, np.where(x > 0, dy, 0))
y_layer, saved = layers.ReLU().forward(x)
assert np.array_equal(y, y_layer)
assert np.array_equal(dx, layers.ReLU().backward(dy, saved))
print("dx:\n", dx)

# %%
fig, axes = draw.panels(4, size=(12, 2.2))
is_open = list(zip(*np.nonzero(x > 0), strict=True))
for ax, array, name in zip(axes, (x, y, dy, dx), ("x", "y", "dy", "dx"), strict=True):
    kind, limits = ("gradient", (-7, 7)) if name.startswith("d") else ("forward", (-3, 3))
    draw.grid(ax, array, kind=kind, title=name, ring=is_open, limits=limits)
draw.show(fig, "04_relu_gate")

# %% [markdown]
# The rings are the open gates. The sign of dy plays no part: -1 and -3 pass, 5 and 7 don't. (To write `dy > 0` is the
# classic mistake.) And backward needs no x: y > 0 exactly where x > 0, and the next layer keeps y anyway. So the record
# costs no memory of its own.

# %%
assert saved.y is y_layer
assert np.array_equal(y > 0, x > 0)
print(saved._fields)

# %% [markdown]
# ## The kink
#
# At x = 0 there is no derivative: to the left the slope is 0, to the right it is 1. Which one to take? Any number from
# 0 to 1 would do, for hardly any x lands exactly there. Everybody takes 0, and so do we. A central difference, which
# looks to both sides, sees half of each.

# %%
h = 0.1
for at in (-0.3, 0.0, 0.3):
    left, right = (max(at, 0) - max(at - h, 0)) / h, (max(at + h, 0) - max(at, 0)) / h
    print(f"x = {at:+.1f}   slope to the left {left:.1f}, to the right {right:.1f}, central {(left + right) / 2:.1f}")
report = gradcheck(layers.ReLU(), np.array([[-1.0, 0.0, 2.0]]))
print(report)
assert report
assert report.row("x").not_differentiable == [(0, 1)]

# %% [markdown]
# `gradcheck` notices the kink and compares nothing there: neither 0 nor 0.5 would prove anything. More about that in
# `06_gradient_checking.py`.
#
# ## A gate that is never quite shut
#
# If x < 0 for every picture, the gate is always shut, the weights in front of it get a gradient of 0, and so they never
# change again: a dead unit. LeakyReLU leaves the gate ajar:
#
#     y = x   where x > 0, else a * x            dx = dy   where x > 0, else a * dy

# %%
a = 0.1
y, saved = layers.LeakyReLU(a).forward(x)
assert np.array_equal(y, np.where(x > 0, x, a * x))
assert np.array_equal(layers.LeakyReLU(a).backward(dy, saved), np.where(x > 0, dy, a * dy))
print("ReLU      dx:", layers.ReLU().backward(dy, layers.ReLU().forward(x)[1])[0])
print("LeakyReLU dx:", layers.LeakyReLU(a).backward(dy, saved)[0])

# %% [markdown]
# ## Sigmoid and tanh: the derivative from the output
#
# The older bends are smooth. Sigmoid is y = 1/(1 + e) with e = exp(-x). As de/dx = -e,
#
#     dy/dx = e/(1 + e)^2 = 1/(1 + e) * e/(1 + e) = y * (1 - y)          because 1 - y = e/(1 + e)
#
# And tanh is y = (u - v)/(u + v) with u = exp(x), v = exp(-x). As du/dx = u and dv/dx = -v,
#
#     dy/dx = ((u + v) * (u + v) - (u - v) * (u - v))/(u + v)^2 = 1 - y^2
#
# The output alone tells the slope. That saves memory, and more: far out the formula in e breaks down, the one in y
# doesn't.

# %%
far = np.array([-1000.0, 0.0, 2.0])
with np.errstate(over="ignore", invalid="ignore"):  # NumPy would warn, rightly: exp(1000) is more than any float64
    e = np.exp(-far)
    from_e = e / (1 + e) ** 2
print("from e:", from_e)
y, saved = layers.Sigmoid().forward(far)
slope = layers.Sigmoid().backward(np.ones(3), saved)  # dy = 1 shows the bare slope
print("from y:", slope)
assert np.isnan(from_e[0])
assert np.array_equal(slope, y * (1 - y))
assert np.allclose(slope[1:], from_e[1:])
y, saved = layers.Tanh().forward(far)
assert np.allclose(layers.Tanh().backward(np.ones(3), saved), 1 - y**2, rtol=0, atol=1e-16)
for bend in (layers.Sigmoid(), layers.Tanh(), layers.LeakyReLU(0.1)):
    assert gradcheck(bend, rng.normal(size=(2, 5)))

# %%
line = np.linspace(-4, 4, 321)
bends = {"ReLU": layers.ReLU(), "LeakyReLU(0.1)": layers.LeakyReLU(0.1), "sigmoid": layers.Sigmoid()}
bends["tanh"] = layers.Tanh()
passes = {name: bend.forward(line) for name, bend in bends.items()}
slopes = {name: bends[name].backward(np.ones_like(line), saved) for name, (_, saved) in passes.items()}
fig, axes = draw.panels(2, size=(11, 4))
draw.curve(axes[0], {name: y for name, (y, _) in passes.items()}, x=line, xlabel="x", ylabel="y")
draw.curve(axes[1], slopes, x=line, xlabel="x", ylabel="dy/dx")
draw.show(fig, "04_bends")
print(f"ten layers deep, at best: sigmoid {slopes['sigmoid'].max() ** 10:.1e}, ReLU {slopes['ReLU'].max() ** 10:.0f}")
assert slopes["sigmoid"].max() == 0.25

# %% [markdown]
# A sigmoid lets at most a quarter of the gradient through, and after ten of them at most a millionth is left. That is
# why deep nets were hard to train before ReLU, whose open gates take nothing away.
#
# ## Softmax: from scores to probabilities
#
# The last layer of a net gives a score s[c] for each class. Softmax makes them positive and lets them sum to 1:
#
#     p[c] = exp(s[c]) / Z,    Z = sum over k of exp(s[k])
#
# Scores of log 1, log 2 and log 5 are easy to do by hand: p = 1/8, 2/8, 5/8. Only differences count: the same number
# added to all scores multiplies each exp and Z by the same factor.

# %%
s = np.log([1.0, 2.0, 5.0])
p = np.exp(s) / np.exp(s).sum()
print("p * 8 =", p * 8, "   with 3 added to all scores:", np.exp(s + 3) / np.exp(s + 3).sum() * 8)
assert np.allclose(p, [1 / 8, 2 / 8, 5 / 8])
assert np.allclose(p, layers.Softmax(dim=0)(s))

# %% [markdown]
# ### Its Jacobian
#
# Every p depends on every score, through Z. With dZ/ds[c] = exp(s[c]) and the rule for quotients,
#
#     dp[k]/ds[c] = ((k == c) * exp(s[k]) * Z - exp(s[k]) * exp(s[c])) / Z^2
#                 = p[k] * ((k == c) - p[c])
#
# All of these together are a matrix, the Jacobian J[k,c]. It is diag(p) - p p^T: p on the diagonal, minus all products.

# %%
J = np.array([[p[k] * ((k == c) - p[c]) for c in range(3)] for k in range(3)])
print("J * 64 =\n", J * 64)
assert np.allclose(J, np.diag(p) - np.outer(p, p))
assert np.allclose(J.sum(axis=0), 0)
assert np.allclose(J.sum(axis=1), 0)

fig, axes = draw.panels(3, size=(11, 3.4))
draw.grid(axes[0], (np.diag(p) * 64).round(9), title="64 * diag(p)", limits=(0, 40))
draw.grid(axes[1], (np.outer(p, p) * 64).round(9), title="64 * p p^T", limits=(0, 40))
draw.grid(axes[2], (J * 64).round(9), kind="gradient", title="64 * J, their difference")
draw.show(fig, "04_softmax_jacobian")

# %% [markdown]
# Check the middle column: raise the middle score, and p[1] grows with slope 2/8 * (1 - 2/8) = 12/64, while p[0]
# shrinks with 1/8 * 2/8 = 2/64. Each column sums to 0, because the p always sum to 1: what one gains, the others lose.
# Each row sums to 0, because only differences between scores count.
#
# ### Why nobody builds it
#
# From here on ds and dp are short for dL/ds and dL/dp, as dx and dy are everywhere in this project. s[c] reaches L
# through all the p[k], and the chain rule sums over them:
#
#     ds[c] = sum over k of dp[k] * J[k,c]
#           = sum over k of dp[k] * p[k] * ((k == c) - p[c])
#           = dp[c] * p[c] - (sum over k of dp[k] * p[k]) * p[c]
#           = p[c] * (dp[c] - sum over k of dp[k] * p[k])
#
# So one sum for each pixel is enough. J would be C numbers for each score:

# %%
raised = [layers.Softmax(dim=0)(s + step * np.eye(3)[1]) for step in (1e-6, -1e-6)]
print("the middle column, measured, * 64 =", (raised[0] - raised[1]) / 2e-6 * 64)
assert np.allclose((raised[0] - raised[1]) / 2e-6, J[:, 1])

dp = np.array([3.0, -1.0, 2.0])
by_matrix, by_sum = J.T @ dp, p * (dp - (dp * p).sum())
print("ds * 64 =", by_matrix * 64, "=", by_sum * 64)
assert np.allclose(by_matrix, by_sum)
assert abs(by_sum.sum()) < 1e-15
softmax = layers.Softmax(dim=0)
assert np.allclose(by_sum, softmax.backward(dp, softmax.forward(s)[1]))
assert gradcheck(layers.Softmax(), rng.normal(size=(2, 3, 2, 2)))
N, C, H, W = 4, 11, 360, 480
print(f"four pictures, 11 classes: scores {N * C * H * W * 4 / 1e6:.0f} MB, all J {N * C * C * H * W * 4 / 1e6:.0f} MB")

# %% [markdown]
# A surprise: feed back dy = 1 everywhere. The p sum to 1 whatever the scores are, so the gradient must be 0, and it is.
# But so is that of a backward pass that forgets the factor p[c]! Ones are a bad test: `gradcheck` feeds back random
# numbers.

# %%
ones = np.ones(3)
right, wrong = p * (ones - (ones * p).sum()), ones - (ones * p).sum()
print("right:", right, "  without the factor p:", wrong)
assert np.allclose(right, 0)
assert np.allclose(wrong, 0)

# %% [markdown]
# ## Numbers too large
#
# exp grows fast. In float32 it is infinite from a score of 89 on, and infinity divided by infinity is NaN. As only
# differences count, subtract the largest score first: then the largest exp is exp(0) = 1, and nothing overflows.

# %%
for dtype in (np.float32, np.float64):
    print(f"{dtype.__name__}: exp overflows above {np.log(np.finfo(dtype).max):.1f}")
for s in (np.array([1.0, 2.0, 3.0], np.float32), np.array([101.0, 102.0, 103.0], np.float32)):
    with np.errstate(over="ignore", invalid="ignore"):  # wrong on purpose
        naive = np.exp(s) / np.exp(s).sum()
    shifted = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
    print("scores", s, "  naive", naive, "  shifted", shifted)
    assert np.allclose(shifted, [0.0900, 0.2447, 0.6652], atol=1e-4)
    assert np.allclose(shifted, layers.Softmax(dim=0)(s))
assert np.isnan(naive).all()

# %% [markdown]
# The other end is in danger, too. exp(-200) is 0 in float32, and log 0 is minus infinity. If the logarithm is what we
# want (and for the loss it is), never take the exp of that score in the first place:
#
#     y[c] = log p[c] = s[c] - log(sum over k of exp(s[k]))            log-softmax
#
# with the same shift. As log Z has the derivative exp(s[c])/Z = p[c], y[k] has (k == c) - p[c], and so
#
#     ds[c] = sum over k of dy[k] * ((k == c) - p[c]) = dy[c] - p[c] * sum over k of dy[k]

# %%
s = np.array([0.0, 200.0], np.float32)
p = layers.Softmax(dim=0)(s)
with np.errstate(divide="ignore"):  # log 0, on purpose
    print("log of softmax:", np.log(p))
shifted = s - s.max()
log_p = shifted - np.log(np.exp(shifted).sum())
print("log-softmax:   ", log_p)
assert log_p[0] == -200
assert p[0] == 0
y, saved = layers.LogSoftmax(dim=0).forward(s)
dy = np.array([2.0, 3.0], np.float32)
assert np.array_equal(y, log_p)
assert np.array_equal(layers.LogSoftmax(dim=0).backward(dy, saved), dy - p * dy.sum())
assert gradcheck(layers.LogSoftmax(), rng.normal(size=(2, 3, 2, 2)))

# %% [markdown]
# ## Cross-entropy: how surprising is the truth?
#
# With t the true class, the loss of one pixel is -log p[t]: 0 if the net was certain and right, large if it took the
# truth to be nearly impossible. Its gradient takes two lines. loss = -s[t] + log Z, therefore
#
#     ds[c] = -(c == t) + exp(s[c])/Z
#           = p[c] - onehot[c]
#
# What the net believes, minus the truth. The long way round, through softmax, must give the same: dp[k] is -1/p[t] at
# k = t and 0 elsewhere, so sum over k of dp[k] * p[k] = -1, and ds[c] = p[c] * (dp[c] + 1), which is p[c] for the wrong
# classes and p[t] * (-1/p[t] + 1) = p[t] - 1 for the true one.

# %%
s, t = np.log([1.0, 2.0, 5.0]), 1
p, onehot = layers.Softmax(dim=0)(s), np.eye(3)[t]
dp = -onehot / p[t]
long_way = p * (dp - (dp * p).sum())
value, saved = losses.CrossEntropyLoss().forward(s[None], np.array([t]))
print(f"loss = -log(2/8) = {value:.4f}    ds * 8 =", (p - onehot) * 8)
assert np.allclose(long_way, p - onehot)
assert np.isclose(value, np.log(4))
assert np.allclose(losses.CrossEntropyLoss().backward(saved), [p - onehot])

# %% [markdown]
# ### Why the two belong together
#
# Not only for the short formula. Take the scores (0, 200) from above, and let class 0 be the true one. p[t] has become
# 0, dp = -1/0 is infinite, and 0 * infinity is NaN. Put together there is no division, and each entry of p - onehot is
# between -1 and 1.

# %%
s, t = np.array([[0.0, 200.0]], np.float32), np.array([0])
p, onehot = layers.Softmax()(s), np.eye(2, dtype=np.float32)[t]
with np.errstate(divide="ignore", invalid="ignore"):  # wrong on purpose
    dp = np.where(onehot == 1, -1 / p, 0)
    print("one after the other:", layers.Softmax().backward(dp, layers.Softmax().forward(s)[1]))
value, saved = losses.CrossEntropyLoss().forward(s, t)
print("put together:       ", losses.CrossEntropyLoss().backward(saved), " loss", value)
assert value == 200
assert np.array_equal(losses.CrossEntropyLoss().backward(saved), [[-1, 1]])

# %% [markdown]
# And why not the squared error of p? Two classes, scores (s, 0), the first is true. The further s goes wrong, the
# stronger cross-entropy pulls, up to a slope of -1. The squared error has the factor p of the softmax in its gradient:
# where the net is certain and wrong it learns nothing.

# %%
line = np.linspace(-10, 10, 201)
scores, truth = np.stack([line, 0 * line], axis=1), np.array([[1.0, 0.0]])
p, saved = layers.Softmax().forward(scores)
pulls = {"cross-entropy": (p - truth)[:, 0], "squared error": layers.Softmax().backward(2 * (p - truth), saved)[:, 0]}
print({name: f"{pull[0]:.5f}" for name, pull in pulls.items()}, "at s = -10")
assert pulls["cross-entropy"][0] < -0.9999
assert abs(pulls["squared error"][0]) < 2e-4
fig, axes = draw.panels(1, size=(7, 4))
draw.curve(axes[0], pulls, x=line, xlabel="score of the true class, the other one's is 0", ylabel="dL/ds")
draw.show(fig, "04_certain_and_wrong")

# %% [markdown]
# ## A loss for every pixel
#
# To segment is to classify each pixel. Scores are (N, C, H, W), labels (N, H, W), softmax runs over the C scores of one
# pixel, and the loss is the mean over all pixels. A mean divides, so the gradient is divided by N*H*W, too.


# %%
def cross_entropy_loops(scores, target):
    N, C, H, W = scores.shape
    value, dscores = 0.0, np.zeros_like(scores)
    for n, i, j in np.ndindex(N, H, W):
        s, t = scores[n, :, i, j], target[n, i, j]
        p = np.exp(s - s.max()) / np.exp(s - s.max()).sum()
        value -= np.log(p[t])
        dscores[n, :, i, j] = p
        dscores[n, t, i, j] -= 1
    return value / (N * H * W), dscores / (N * H * W)


scores, target = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, size=(2, 4, 5))
value, dscores = cross_entropy_loops(scores, target)
onehot = target[:, None] == np.arange(3).reshape(1, 3, 1, 1)  # (N, C, H, W)
assert np.allclose(dscores, (layers.Softmax()(scores) - onehot) / target.size)  # in one line
loss = losses.CrossEntropyLoss()
layer_value, saved = loss.forward(scores, target)
assert np.isclose(value, layer_value, rtol=1e-12)
assert np.allclose(dscores, loss.backward(saved), rtol=1e-12)
print(f"loss {value:.4f}    the dscores of pixel (0, 0), times 40:", dscores[0, :, 0, 0] * target.size)

# %% [markdown]
# What that looks like in a picture. As scores we take the truth, blurred: a net that is sure inside and unsure at the
# edges. Where it is sure and right there is hardly any loss or gradient; it learns at the edges.

# %%
image, mask = shapes.draw(1, 48, rng=42)
onehot = (mask[:, None] == np.arange(4).reshape(1, 4, 1, 1)).astype(np.float64)
blurred = layers.AvgPool2d(5, stride=1, padding=2, count_include_pad=False)(onehot)
per_pixel = losses.CrossEntropyLoss(reduction="none")
pixel_losses, saved = per_pixel.forward(5 * blurred, mask)
dscores = per_pixel.backward(saved)
shown = int(np.bincount(mask[mask > 0]).argmax())
fig, axes = draw.panels(4, size=(13, 3.8))
draw.picture(axes[0], image[0], title="picture")
draw.mask(axes[1], mask[0], title="truth")
draw.grid(axes[2], pixel_losses[0], title="loss of each pixel", numbers=False)
draw.grid(axes[3], dscores[0, shown], kind="gradient", title=f"p - onehot of '{shapes.CLASSES[shown]}'", numbers=False)
draw.show(fig, "04_per_pixel")

# %% [markdown]
# Blue: the score should rise there (the step goes against the gradient). Orange: it should fall.
#
# ## Rare classes, void pixels, soft labels
#
# Three things are added for real data.
#
# * w[c], a weight for each class: a pixel of a rare class counts more. The mean is a weighted mean: it divides by the
#   sum of the weights, not by the number of pixels.
# * an ignored label for void pixels: their loss is 0, their gradient is 0, and their weight is not in the sum.
#
#       loss = (sum over pixels of w[t] * -log p[t]) / (sum over pixels of w[t]),   both sums without the ignored ones
#
# By hand, two classes with weights 1 and 3: pixel A is of class 0 and got p = 1/2; pixel B is of class 1 and got 1/4;
# pixel C is void. The loss is (1 * log 2 + 3 * log 4)/(1 + 3) = 7/4 * log 2.

# %%
scores = np.log(np.array([[[[1.0, 3.0, 9.0]], [[1.0, 1.0, 1.0]]]]))  # (1, 2, 1, 3): pixels A, B, C
target, weight = np.array([[[0, 1, 255]]]), np.array([1.0, 3.0])
loss = losses.CrossEntropyLoss(weight=weight, ignore_index=255)
value, saved = loss.forward(scores, target)
print(f"loss {value:.6f} = 7/4 * log 2 = {7 / 4 * np.log(2):.6f}")
print("dscores * 16, columns A, B, C:\n", loss.backward(saved)[0, :, 0] * 16)
assert np.isclose(value, 7 / 4 * np.log(2))
assert not loss.backward(saved)[..., 2].any()

# %% [markdown]
# * label smoothing e: of the distribution that is asked for, a share e is spread evenly over all C classes. Instead of
#   onehot the net is to answer q, here with the weights put in:
#
#       q[c] = (1 - e) * w[t] * (c == t)  +  e/C * w[c]
#       loss of a pixel = -(sum over c of q[c] * log p[c])
#
# For the gradient take the derivative of log p[c] by s[k] from above, (c == k) - p[k]:
#
#       ds[k] = -(sum over c of q[c] * ((c == k) - p[k])) = p[k] * (sum over c of q[c]) - q[k]
#
# With e = 0 and weights of 1 that is p - onehot again. Here is all of it, as `losses.CrossEntropyLoss` does it:


# %%
def cross_entropy(scores, target, weight, ignore_index, e):
    C = scores.shape[1]
    valid = target != ignore_index
    label = np.where(valid, target, 0)  # a void label is no index; which class stands in is all one, q becomes 0
    onehot = label[:, None] == np.arange(C).reshape(1, C, 1, 1)
    q = valid[:, None] * weight.reshape(1, C, 1, 1) * ((1 - e) * onehot + e / C)
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    weight_sum = weight[label][valid].sum()
    dscores = np.exp(log_p) * q.sum(axis=1, keepdims=True) - q
    return -(q * log_p).sum() / weight_sum, dscores / weight_sum


scores, target = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, size=(2, 4, 5))
target[:, 0] = 255
weight = np.array([0.5, 1.0, 4.0])
loss = losses.CrossEntropyLoss(weight=weight, ignore_index=255, label_smoothing=0.1)
value, saved = loss.forward(scores, target)
my_value, my_dscores = cross_entropy(scores, target, weight, 255, 0.1)
print(f"by hand {my_value:.12f}, CrossEntropyLoss {value:.12f}")
assert np.isclose(my_value, value, rtol=1e-12)
assert np.allclose(my_dscores, loss.backward(saved), rtol=1e-12, atol=1e-15)
print(gradcheck(loss, scores, target=target))

# %% [markdown]
# What smoothing is good for: without it the gradient of the true score, p[t] - 1, never becomes 0, and the scores grow
# for ever. With it there is a best answer, p = q, where all gradients vanish. The loss is not 0 there.

# %%
q = 0.9 * np.eye(4)[1] + 0.1 / 4
loss = losses.CrossEntropyLoss(label_smoothing=0.1)
value, saved = loss.forward(np.log(q)[None], np.array([1]))
print("q =", q, f"   loss at p = q: {value:.4f}   gradient:", loss.backward(saved)[0])
assert np.allclose(loss.backward(saved), 0, atol=1e-15)
assert np.isclose(value, -(q * np.log(q)).sum())

# %% [markdown]
# ## Try
#
# 1. Write `class MyReLU(layers.ReLU)` with the classic mistake `dx = dy * (dy > 0)` and give it to `gradcheck`.
# 2. In the picture above use `2 * blurred` and `30 * blurred` as scores: an unsure and a very sure net. What becomes of
#    the loss at the edges, and of the gradient?
# 3. Set all of `target` to 255. What do `cross_entropy` from above and `losses.CrossEntropyLoss` say? And which of the
#    two answers would you rather have in the middle of a long training run?
#
# The sources: `minisegnet/layers/activation.py`, `minisegnet/losses/cross_entropy.py`, and the formulas as arrays in
# `kernels/reference/activation.py` and `kernels/reference/softmax.py`. `minisegnet explain` shows p, the truth and
# dscores for every pixel of a picture. Next: `05_fully_connected.py`.

# %% [markdown]
# ## Check yourself
#
# 1. A net has 4 classes and says 1/4 for each, at every pixel. What is the loss, and what is dscores of one pixel
#    before the division by the number of pixels?
# 2. Why do the dscores of one pixel always sum to 0?
# 3. All pixels of a batch belong to class 2, whose weight is 10. By how much do loss and gradient change if the weight
#    becomes 20?

# %% [markdown]
# ## Answers
#
# 1. log 4 = 1.386; the gradient is -3/4 at the true class and 1/4 at each of the others.
# 2. p sums to 1 and onehot sums to 1. Or: the same number added to all scores changes nothing, so the loss has no slope
#    in that direction. (It holds with weights and smoothing, too: sum of p times sum of q, minus sum of q.)
# 3. Not at all: every term has the same weight, and the sum of the weights divides it away again. Class weights only
#    shift the balance between classes that are there.
