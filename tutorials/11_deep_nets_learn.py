# %% [markdown]
# # Initialisation, vanishing gradients, BatchNorm, dropout
#
# A net of twenty layers multiplies twenty times, forward and backward. At the end you will know how numbers stay in a
# sensible range in a deep net: how large weights must start, what a residual sum and BatchNorm do for the gradient, all
# three paths of BatchNorm's backward pass, and what eval mode changes. It builds on the tutorials about the backward
# pass of a convolution (2) and of ReLU (4).

# %%
import numpy as np

import kernels
from minisegnet import init, layers
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

np.set_printoptions(precision=4, suppress=True, linewidth=110)
rng = np.random.default_rng(0)

# %% [markdown]
# ## One layer: what happens to the variance
#
# y = Σ w*x over `fan_in` products. Let all w and x be independent, the w with mean 0. Then the products have mean 0,
# and variances of independent numbers add up:
#
#     Var(y)  = fan_in * Var(w) * E[x²]
#     Var(dx) = fan_out * Var(w) * E[dy²]        (backward, dx is a sum of w*dy over the `fan_out` outputs that used x)
#
# So Var(w) = 1/fan_in keeps the size of values, 1/fan_out that of gradients. Xavier (Glorot and Bengio 2010) takes
# 2/(fan_in + fan_out), between the two. A ReLU then sets half of the values to zero, which halves E[x²]: He (He et al.
# 2015) takes 2/fan_in to make up for it. In a convolution fan_in is C*kH*kW.

# %%
x = rng.normal(size=(500, 200))
w = init.kaiming_normal((300, 200), nonlinearity="relu", rng=rng, dtype=np.float64)
y = x @ w.T
print(f"predicted Var(y) {200 * w.var() * (x**2).mean():.3f}, measured {y.var():.3f}")
print(f"E[x²] {(x**2).mean():.3f}, after a He layer and ReLU {(np.maximum(y, 0) ** 2).mean():.3f}: as before")
assert abs(y.var() - 200 * w.var() * (x**2).mean()) < 0.1
assert abs((np.maximum(y, 0) ** 2).mean() - (x**2).mean()) < 0.1
assert init.fans((16, 8, 3, 3)) == (8 * 3 * 3, 16 * 3 * 3)
assert round(0.7**20, 4) == 0.0008  # of the next section

# %% [markdown]
# ## Twenty layers
#
# A factor of 0.7 for each layer is nothing to worry about, and 0.7^20 is 0.0008. Here are twenty convolutions 1x1 on
# maps of one pixel, so every value is a sum over all 128 channels: with weights started tiny (standard deviation 0.01),
# by Xavier's and by He's rule, and three activations. We note the size of the values after each layer, sqrt(E[x²]),
# their standard deviation around 0; and backward that of the gradient, which begins with about 1 at the top.

# %%
DEPTH, CHANNELS = 20, 128
STARTS = {
    "tiny": lambda shape, rng: init.normal(shape, std=0.01, rng=rng, dtype=np.float64),
    "Xavier": lambda shape, rng: init.xavier_normal(shape, rng=rng, dtype=np.float64),
    "He": lambda shape, rng: init.kaiming_normal(shape, nonlinearity="relu", rng=rng, dtype=np.float64),
}


def stack(start, activation, extra=(), shortcut=False):
    """Twenty times a convolution, the `extra` layers and an activation; with a shortcut past all three if asked."""
    rng, net = np.random.default_rng(1), []
    for _ in range(DEPTH):
        conv = layers.Conv2d(CHANNELS, CHANNELS, 1, bias=False, dtype=np.float64)
        conv.weight.value = start(conv.weight.shape, rng)
        layer = layers.Sequential(conv, *(make() for make in extra), activation())
        net.append(layers.Sum(layers.Identity(), layer) if shortcut else layer)
    return net


# %%
def size(a):
    return np.sqrt(np.mean(a**2))


@kernels.use("reference")  # plain NumPy: nothing has to be compiled
def by_depth(net):
    """The size of the values and of the gradients, from layer 0 (the input) to 20, for a random dy at the top."""
    rng, records = np.random.default_rng(2), []
    x = rng.normal(size=(64, CHANNELS, 1, 1))
    values = [size(x)]
    for layer in net:
        x, saved = layer.forward(x)
        records.append(saved)
        values.append(size(x))
    dy = rng.normal(size=x.shape)
    gradients = [size(dy)]
    for layer, saved in zip(reversed(net), reversed(records), strict=True):
        dy = layer.backward(dy, saved)
        gradients.insert(0, size(dy))
    return values, gradients


# %%
fig, axes = draw.panels(6, size=(12, 6.4), rows=2)
bottom = {}
for k, activation in enumerate((layers.Sigmoid, layers.Tanh, layers.ReLU)):
    found = {name: by_depth(stack(start, activation)) for name, start in STARTS.items()}
    name = activation.__name__
    draw.curve(axes[k], {n: v for n, (v, _) in found.items()}, log=True, title=f"{name}: values", xlabel="layer")
    draw.curve(axes[k + 3], {n: g for n, (_, g) in found.items()}, log=True, title=f"{name}: gradients", xlabel="layer")
    axes[k].set_ylim(1e-24, 1e2)
    axes[k + 3].set_ylim(1e-36, 1e2)
    for n, (v, g) in found.items():
        bottom[name, n] = v[-1], g[0]
        print(f"{name:8s} {n:7s} values after layer 20: {v[-1]:7.1e}   gradient at the bottom: {g[0]:7.1e}")
draw.show(fig, "11_by_depth")
assert max(bottom["ReLU", "tiny"]) < 1e-15
assert 0.1 < bottom["ReLU", "He"][1] < 10
assert bottom["Sigmoid", "He"][0] > 0.4
assert bottom["Sigmoid", "He"][1] < 1e-6

# %% [markdown]
# Read the lower row from the right: gradients start at layer 20. Three lessons.
#
# * With ReLU only He's rule keeps the sizes. Xavier loses a factor of sqrt(2) in each layer: 2^-10 in twenty.
# * The sigmoid is the surprise: its *values* never vanish (they are around 1/2), but its derivative p*(1-p) is at most
#   1/4, and twenty of those multiply. Values that look healthy say nothing about gradients.
# * "Tiny, to be safe" is the worst choice of all: values and gradients both fade, and dw = Σ dy*x multiplies the two.
#
# ## Residual sums: a way round
#
# y = x + f(x). A sum copies its gradient, dx = dy + f.backward(dy): whatever f does, dy itself arrives at the bottom.

# %%
plain, residual = (by_depth(stack(STARTS["tiny"], layers.ReLU, shortcut=s)) for s in (False, True))
rich = by_depth(stack(STARTS["He"], layers.ReLU, shortcut=True))
print(
    f"gradient at the bottom: plain {plain[1][0]:.1e}, residual {residual[1][0]:.3f}, residual with He {rich[1][0]:.1e}"
)
assert plain[1][0] < 1e-15 < 0.5 < residual[1][0] < 2 < 100 < rich[1][0]

# %% [markdown]
# With He's weights the residual net explodes instead: each block adds as much as it was given. That is why residual
# nets have BatchNorm inside the block.
#
# ## BatchNorm, forward
#
# Rather than hope that the weights keep variances at 1, measure and divide (Ioffe and Szegedy 2015). For one channel,
# over its m = N*H*W values:
#
#     mean = Σ x / m      var = Σ (x - mean)² / m      x̂ = (x - mean) / sqrt(var + eps)      y = weight * x̂ + bias
#
# weight and bias are learnt, one each per channel, so that the net can undo it where it wants to. By hand, with values
# 1, 3, 5, 7: mean 4, var (9 + 1 + 1 + 9)/4 = 5.

# %%
x = np.array([1.0, 3, 5, 7]).reshape(1, 1, 2, 2)
weight, bias, eps = 2.0, 10.0, 1e-5
m = x.size
mean = sum(x.flat) / m
var = sum((v - mean) ** 2 for v in x.flat) / m
normed = (x - mean) / np.sqrt(var + eps)
bn = layers.BatchNorm2d(1, eps=eps).astype(np.float64)
bn.weight.value[:], bn.bias.value[:] = weight, bias
y, saved = bn.forward(x)
print("mean", mean, "var", var, " x̂", normed.ravel(), " y", y.ravel())
assert np.allclose(y, weight * normed + bias)

# %% [markdown]
# ## BatchNorm, backward: three paths
#
# Move one x[i], and y changes in three ways: x̂[i] itself, the mean, which all x̂ use, and the variance, which all x̂
# use. Follow them one by one, with s = 1/sqrt(var + eps), dx̂[k] = dy[k] * weight, and sums over k = 1..m.
#
#     value:      x̂[i] = (x[i] - mean) * s                 dx[i] gets  dx̂[i] * s
#     variance:   x̂[k] = (x[k] - mean) * (var + eps)^-1/2  dvar  = Σ dx̂[k] * (x[k] - mean) * -1/2 * s³
#                 var = Σ (x[k] - mean)² / m               dx[i] gets  dvar * 2 (x[i] - mean) / m
#     mean:       x̂[k] = (x[k] - mean) * s                 dmean = Σ dx̂[k] * -s  +  dvar * Σ -2 (x[k] - mean) / m
#                 mean = Σ x[k] / m                        dx[i] gets  dmean / m
#
# The second part of dmean is 0, because deviations from the mean sum to 0. And the parameters: y = weight * x̂ + bias
# gives dweight = Σ dy * x̂ and dbias = Σ dy. In loops, without a single short cut:


# %%
def three_paths(dy, x, weight, eps):
    """dx of one channel by each path, in plain loops over the m values."""
    m = len(x)
    mean = sum(x) / m
    var = sum((v - mean) ** 2 for v in x) / m
    s = 1 / np.sqrt(var + eps)
    dvar = dmean = 0.0
    for k in range(m):
        dvar += dy[k] * weight * (x[k] - mean) * -0.5 * s**3
        dmean += dy[k] * weight * -s
    dmean += dvar * sum(-2 * (v - mean) for v in x) / m
    value = np.array([dy[k] * weight * s for k in range(m)])
    variance = np.array([dvar * 2 * (x[k] - mean) / m for k in range(m)])
    return value, variance, np.full(m, dmean / m)


x = rng.normal(3, 2, size=(2, 1, 3, 4))
dy = rng.normal(1, 1, size=x.shape) + 0.5 * (x - 3)
value, variance, from_mean = (part.reshape(x.shape) for part in three_paths(dy.ravel(), x.ravel(), weight, eps))
_, saved = bn.forward(x)
assert np.allclose(bn.backward(dy, saved), value + variance + from_mean)
assert gradcheck(bn, x)

# %% [markdown]
# Now shorten it. Put dmean and dvar in, use (x[i] - mean) * s = x̂[i], and take weight * s out of all three:
#
#     dx[i] = weight * s * dy[i]  -  weight * s * x̂[i] * Σ dy*x̂ / m  -  weight * s * Σ dy / m
#           = weight / sqrt(var + eps) * (dy[i] - dbias/m - x̂[i] * dweight/m)
#
# The two sums of the statistics are just the gradients of bias and weight, which are needed anyway. That one line is
# `batch_norm_train_backward` in `kernels/reference/norm.py` and, compiled, in `kernels/cpu/norm.py`. It says: take from
# dy the part that is the same for all pixels, and the part that is proportional to x̂. Hence two facts about dx.

# %%
m, s = x.size, 1 / np.sqrt(x.var() + eps)
normed = (x - x.mean()) * s
dx = weight * s * (dy - dy.sum() / m - normed * (dy * normed).sum() / m)
assert np.allclose(dx, value + variance + from_mean)
print(f"sums: dy {dy.sum():+.3f}, dx {dx.sum():+.1e}")
print(f"along x̂: dy {(dy * normed).sum():+.3f}, dx {(dx * normed).sum():+.1e}")
assert abs(dx.sum()) < 1e-12
assert abs((dx * normed).sum()) < 1e-4

fig, axes = draw.panels(5, size=(12, 2.9))
limits = (-abs(value).max(), abs(value).max())
parts = {"dy": dy, "by the value": value, "by the mean": from_mean, "by the variance": variance, "dx: their sum": dx}
for ax, (title, part) in zip(axes, parts.items(), strict=True):
    draw.grid(ax, part[0, 0], kind="gradient", title=title, limits=None if title == "dy" else limits)
draw.show(fig, "11_three_paths")

# %% [markdown]
# They sum to zero over the batch (of which the picture shows the first half): to add a constant to a channel changes
# nothing, so the gradient does not ask for it. A bias in front of BatchNorm is exactly such a constant: its gradient,
# Σ dx, is always 0. And they are orthogonal to x̂ (up to eps): to stretch a channel changes nothing either. Ten times
# larger weights give the same y, and a tenth of the gradient.

# %%
conv = layers.Conv2d(3, 4, 3, rng=0).astype(np.float64)
net = layers.Sequential(conv, layers.BatchNorm2d(4).astype(np.float64))
picture, large = rng.normal(size=(2, 3, 6, 6)), {}
dout = rng.normal(size=(2, 4, 4, 4))
for factor in (1, 10):
    conv.weight.value *= factor
    net.zero_grad()
    out, saved = net.forward(picture)
    net.backward(dout, saved)
    large[factor] = out, conv.weight.grad
    db = abs(conv.bias.grad).max()
    print(f"weights times {factor:2d}: |dw| {np.linalg.norm(conv.weight.grad):.4f}, largest db {db:.1e}")
    assert db < 1e-12
assert np.allclose(large[1][0], large[10][0], atol=1e-3)
assert np.allclose(large[1][1] / 10, large[10][1], atol=1e-3)

# %% [markdown]
# With BatchNorm in every layer, the twenty layers forgive any start (three lines, one upon the other):


# %%
def norm():
    return layers.BatchNorm2d(CHANNELS, dtype=np.float64)


found = {name: by_depth(stack(start, layers.ReLU, extra=[norm])) for name, start in STARTS.items()}
fig, axes = draw.panels(2, size=(10, 3.4))
draw.curve(axes[0], {n: v for n, (v, _) in found.items()}, xlabel="layer", title="with BatchNorm: values")
draw.curve(axes[1], {n: g for n, (_, g) in found.items()}, xlabel="layer", title="with BatchNorm: gradients", log=True)
axes[0].set_ylim(0, 1.2)
for ax in axes:
    ax.set_xticks(range(0, DEPTH + 1, 5))
draw.show(fig, "11_with_batchnorm")
for name, (v, g) in found.items():
    print(f"{name:7s} values after layer 20: {v[-1]:.3f}   gradient at the bottom: {g[0]:.1f}")
    assert abs(g[0] / found["He"][1][0] - 1) < 0.1
print(f"growth of the gradient in one layer: {found['He'][1][0] ** (1 / DEPTH):.2f}")

# %% [markdown]
# The three starts can't be told apart any more. It is no magic: the gradient still grows a little in each layer, and in
# a net of a hundred layers that counts. Those have both, BatchNorm and residual sums.
#
# ## Running statistics: what eval mode uses, and how it goes wrong
#
# A single picture at the end has no batch to be normalised with. So training keeps averages: after each batch,
#
#     running_mean += momentum * (mean - running_mean)        momentum = 0.1; starts at 0
#     running_var  += momentum * (var * m/(m-1) - running_var)      the unbiased one; starts at 1
#
# and eval mode uses those as constants. After t batches they still hold 0.9^t of their start.

# %%
bn = layers.BatchNorm2d(1).astype(np.float64)
bn.forward(np.array([0.0, 2]).reshape(1, 1, 1, 2))  # by hand: mean 1, var 1, unbiased 2
assert np.allclose([bn.running_mean, bn.running_var], [[0.1], [1.1]])

bn, step, sample = layers.BatchNorm2d(1).astype(np.float64), 0, rng.normal(5, 3, size=(8, 1, 8, 8))
for count in (1, 4, 15, 30):
    for _ in range(count):
        bn.train().forward(rng.normal(5, 3, size=(8, 1, 8, 8)))
    step += count
    out = bn.eval()(sample)
    print(f"after batch {step:2d}: running mean {bn.running_mean[0]:.2f} of 5, eval mode gives {out.mean():+.2f}")
assert abs(out.mean()) < 0.2

# %% [markdown]
# Three classic mistakes follow.
#
# * Judged too early, or trained with few batches: the net is fine, its running statistics are not (first line above).
# * `net.eval()` forgotten: the answer for a picture depends on who else is in the batch, and looking at the validation
#   pictures changes the net.
# * A batch with one value per channel has no variance; here that is an error instead of a row of zeros.
#
# In eval mode mean and var are constants, so only the first path is left: dx = dy * weight / sqrt(running_var + eps).

# %%
mine, others = sample[:1], sample[1:] + 4
alone, crowded = bn.train().forward(mine)[0], bn.forward(np.concatenate([mine, others]))[0][:1]
in_eval = bn.eval()(mine).mean()
print(f"one picture: mean {alone.mean():+.2f} alone, {crowded.mean():+.2f} in company, {in_eval:+.2f} in eval mode")
assert abs(alone.mean() - crowded.mean()) > 0.5
dy = rng.normal(size=mine.shape)
_, saved = bn.forward(mine)
assert np.allclose(bn.backward(dy, saved), dy / np.sqrt(bn.running_var[0] + bn.eps))
try:
    bn.train().forward(np.ones((1, 1, 1, 1)))
except ValueError as error:
    print("error:", error)

# %% [markdown]
# ## Dropout
#
# In training each value is dropped with probability p, and the others are enlarged, so that the mean stays (Srivastava
# et al. 2014):
#
#     y = keep * x / (1 - p)        E[y] = (1 - p) * x / (1 - p) + p * 0 = x        dx = keep * dy / (1 - p)
#
# The division, in training rather than afterwards, is called inverted dropout: eval mode then has nothing to do, y = x.
# Backward must use the same `keep`: a value that was not there can't have caused anything.

# %%
p, x, dy = 0.5, np.arange(1.0, 13).reshape(3, 4), rng.normal(size=(3, 4)).round(1)
drop = layers.Dropout(p, rng=3)
y, saved = drop.forward(x)
dx = drop.backward(dy, saved)
for i, j in np.ndindex(3, 4):
    assert y[i, j] == (x[i, j] / (1 - p) if saved.keep[i, j] else 0)
    assert dx[i, j] == (dy[i, j] / (1 - p) if saved.keep[i, j] else 0)
assert gradcheck(drop, x)
assert (drop.eval()(x) == x).all()
fig, axes = draw.panels(5, size=(12, 2.3))
for ax, (title, part) in zip(axes, {"x": x, "keep": saved.keep, "y": y, "dy": dy, "dx": dx}.items(), strict=True):
    draw.grid(ax, part, kind="gradient" if "d" in title else "forward", title=title)
draw.show(fig, "11_dropout")

# %% [markdown]
# Eval mode is meant to be the mean over all nets that dropout could have made. For a linear layer it is. With a sigmoid
# behind it, it is only near it: the mean of a curve is not the curve of the mean. And dropout adds variance, x² p/(1-p)
# for each value: a BatchNorm right behind it learns the running variance of training, which eval mode doesn't have.

# %%
x = rng.normal(size=(1, 50))
many = layers.Dropout(0.5, rng=0)(np.repeat(x, 20000, axis=0))
head = layers.Linear(50, 1, rng=1, dtype=np.float64)
head.weight.value *= 5
score, chance = head(x)[0, 0], 1 / (1 + np.exp(-head(many)))
print(f"score: eval {score:+.3f}, mean of 20000 dropouts {head(many).mean():+.3f}")
print(f"sigmoid of it: eval {1 / (1 + np.exp(-score)):.3f}, mean {chance.mean():.3f}")
print(f"variance added: predicted {(x**2).mean():.3f}, measured {many.var(axis=0).mean():.3f}")
assert abs(head(many).mean() - score) < 0.1
assert abs(many.var(axis=0).mean() - (x**2).mean()) < 0.05
assert abs(chance.mean() - 1 / (1 + np.exp(-score))) > 0.02

# %% [markdown]
# ## Try
#
# 1. Give `STARTS` He's rule with `mode="fan_out"`, and layers that alternate between 64 and 256 units. Which mode keeps
#    the values, which the gradients?
# 2. In `three_paths`, leave the variance out. What does `gradcheck` say of a BatchNorm with that mistake? (Subclass
#    it.)
# 3. Put a `Dropout(0.5)` before a BatchNorm, feed it 100 batches, and compare the spread of y in training and in eval
#    mode.
#
# Sources: `minisegnet/init.py`, `minisegnet/layers/norm.py`, `minisegnet/layers/dropout.py`; the kernels are
# `kernels/reference/norm.py` and `kernels/cpu/norm.py`. On the page that `minisegnet explain --training` writes, each
# dx of a BatchNorm is the sum of its three paths. To write it yourself: `minisegnet exercise start batchnorm`, and
# `dropout`.

# %% [markdown]
# ## Check yourself
#
# 1. Why does a tanh net survive Xavier's rule while a ReLU net fades?
# 2. BatchNorm follows a convolution. Name two parameters that could be dropped without any loss, and one that couldn't.
# 3. Dropout with p = 0.9 on a layer of 10 units: what is the largest value that a unit with x = 1 can have in training?

# %% [markdown]
# ## Answers
#
# 1. Around 0 tanh is nearly the identity, so E[x²] is hardly reduced; a ReLU halves it in every layer, and Xavier's
#    variance has no factor 2 to make up for that.
# 2. The convolution's bias (its gradient is 0, BatchNorm takes the mean off). With a ReLU *and* another convolution
#    right behind, also BatchNorm's weight, as long as it is positive: the next weights can take its factor over. Not
#    BatchNorm's bias: it moves the place where the ReLU bends.
# 3. 10 = 1/(1 - 0.9), if it is kept.
