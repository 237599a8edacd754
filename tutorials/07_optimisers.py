# %% [markdown]
# # Optimisers
#
# At the end you have written each of our optimisers in a few lines of NumPy, and know what every number in it is for.
# Backward says which way the loss grows. What to do with that is the optimiser's business: how far to step, what to
# remember of earlier steps, and when to go slower. Builds on `05_fully_connected.py`.

# %%
import math

import numpy as np

from minisegnet import Parameter, layers, losses, optim, schedules
from minisegnet.data import shapes
from minisegnet.tutorial import draw

np.set_printoptions(precision=4, suppress=True, linewidth=110)

# %% [markdown]
# ## A valley
#
# The loss of a net has a million inputs. Two of them are enough to see what matters: a long valley, flat along u and
# steep across, along v.
#
#     f(u, v) = (1 * u^2 + 20 * v^2) / 2          gradient: (1 * u, 20 * v)
#
# The lowest point is (0, 0). We start at (10, 1). (The pictures are stretched across: in truth the valley is sqrt(20),
# 4.5 times as long as it is wide.)

# %%
curvature, start = np.array([1.0, 20.0]), np.array([10.0, 1.0])


def descend(change, steps=30):
    """The path of w, (steps + 1, 2), if change(w, gradient) moves w in place."""
    w = start.copy()
    path = [w.copy()]
    for _ in range(steps):
        change(w, curvature * w)
        path.append(w.copy())
    return np.array(path)


def descend_with(make_optimiser, steps=30):
    """The same with one of minisegnet.optim."""
    parameter = Parameter(start)
    optimiser = make_optimiser([parameter])

    def change(w, gradient):
        parameter.grad = gradient
        optimiser.step()
        w[:] = parameter.value

    return descend(change, steps)


def height(path):
    return (curvature * path**2).sum(axis=-1) / 2


def valley(ax, path, title):
    u, v = np.meshgrid(np.linspace(-4, 11, 100), np.linspace(-1.7, 1.7, 100))
    ax.contour(u, v, (u**2 + 20 * v**2) / 2, levels=[0.5, 2, 5, 10, 20, 35, 55], colors="0.75", linewidths=1)
    ax.plot(*path.T, color="#0072b2", marker="o", markersize=4, linewidth=1.4)
    ax.plot(0, 0, color="#d55e00", marker="*", markersize=13)
    ax.set(xlim=(-4, 11), ylim=(-1.7, 1.7), xlabel="u", ylabel="v")
    ax.set_title(title, fontsize=12)


# %% [markdown]
# ## Gradient descent
#
#     w = w - lr * g
#
# Here g = c * w for each coordinate with its own curvature c, so w = (1 - lr * c) * w: each step multiplies u by
# 1 - lr and v by 1 - 20 lr. With lr = 0.09 that is 0.91 and -0.8: v jumps from wall to wall, u creeps. With lr = 0.101
# the second factor is -1.02, and it all blows up. Stable means lr < 2 / (largest curvature) = 0.1.

# %%
rates = (0.02, 0.09, 0.101)
paths = []
for lr in rates:

    def change(w, g, lr=lr):
        w -= lr * g

    path = descend(change)
    assert np.allclose(path, descend_with(lambda p, lr=lr: optim.SGD(p, lr)), rtol=0, atol=1e-12)
    assert np.allclose(path, start * (1 - lr * curvature) ** np.arange(31)[:, None])
    print(f"lr {lr:<6} after 30 steps at {path[-1]}, height {height(path[-1]):.4f}")
    paths.append(path)
fig, axes = draw.panels(3, size=(13, 3.6))
for ax, lr, path in zip(axes, rates, paths, strict=True):
    valley(ax, path, f"lr = {lr}")
draw.show(fig, "07_gradient_descent")

# %% [markdown]
# The steep direction forbids a large lr, the flat one needs it. The best that can be done is the lr at which both
# shrink equally, 1 - lr = 20 lr - 1, so lr = 2/21, and both factors are 19/21 = 0.905: slow. Now for the ways out.
#
# ## Momentum
#
#     velocity = momentum * velocity + g
#     w = w - lr * velocity
#
# The velocity is a sum of all gradients so far, weighted by momentum^age. Across the valley they alternate in sign and
# cancel; along it they agree and add up, to at most 1 + m + m^2 + ... = 1/(1 - m) gradients. By hand, for g = 1 all the
# time, lr = 0.1 and m = 0.9: the velocity is 1, 1.9, 2.71, and w goes from 1 to 0.9, 0.71, 0.439.
#
# Nesterov's variant steps along g + momentum * velocity: as if the momentum of the *next* step had been used already.
# Where the slope turns it brakes one step earlier.


# %%
def with_momentum(lr, m, nesterov):
    velocity = np.zeros(2)

    def change(w, g):
        velocity[:] = m * velocity + g
        w -= lr * (g + m * velocity if nesterov else velocity)

    return change


heights, paths = {"plain, lr 2/21": height(descend_with(lambda p: optim.SGD(p, 2 / 21)))}, []
for name, lr, m, nesterov in (("momentum 0.9", 0.03, 0.9, False), ("Nesterov 0.9", 0.03, 0.9, True)):
    path = descend(with_momentum(lr, m, nesterov))
    its = descend_with(lambda p, lr=lr, m=m, n=nesterov: optim.SGD(p, lr, momentum=m, nesterov=n))
    assert np.allclose(path, its, rtol=0, atol=1e-12)
    heights[name] = height(path)
    paths.append(path)
best = with_momentum(lr=4 / (1 + 20**0.5) ** 2, m=((20**0.5 - 1) / (20**0.5 + 1)) ** 2, nesterov=False)
heights["momentum 0.4, lr 0.13"] = height(descend(best))
print({name: f"{h[-1]:.1e}" for name, h in heights.items()})
assert heights["momentum 0.4, lr 0.13"][-1] < 1e-6 < heights["plain, lr 2/21"][-1]

w, velocity = 1.0, 0.0
for _ in range(3):
    velocity = 0.9 * velocity + 1
    w -= 0.1 * velocity
    print(f"g = 1: velocity {velocity:.2f}, w {w:.3f}")

# %%
fig, axes = draw.panels(3, size=(13, 3.6))
valley(axes[0], paths[0], "momentum 0.9, lr 0.03")
valley(axes[1], paths[1], "Nesterov 0.9, lr 0.03")
draw.curve(axes[2], heights, xlabel="step", ylabel="height", log=True)
draw.show(fig, "07_momentum")

# %% [markdown]
# Momentum 0.9 is too much for this valley: it overshoots, like a ball. The dotted line has the momentum and the lr that
# theory says are best for curvatures 1 and 20: momentum ((r - 1)/(r + 1))^2 and lr 4/(1 + r)^2 with r = sqrt(20). Note
# its lr, 0.13: above the limit of plain descent. Nobody knows the curvatures of a net, and 0.9 is a good guess there.
#
# ## Adam: a step size for each weight
#
# Divide each weight's gradient by its usual size. Both, the mean and the usual size, are running means:
#
#     m = beta1 * m + (1 - beta1) * g             beta1 = 0.9
#     v = beta2 * v + (1 - beta2) * g^2           beta2 = 0.999
#     w = w - lr * m^ / (sqrt(v^) + eps)
#
# What are the hats for? m starts at 0 and is pulled towards it. Write the recursion out after t steps:
#
#     m = (1 - beta1) * (sum over s = 1..t of beta1^(t - s) * g_s)
#
# If all g_s have the mean g, m has the mean (1 - beta1) * (1 + beta1 + ... + beta1^(t - 1)) * g = (1 - beta1^t) * g. So
# m^ = m/(1 - beta1^t) has the right mean, and likewise v^ = v/(1 - beta2^t). Without that the first step would use
# m = 0.1 g and sqrt(v) = sqrt(0.001) |g| = 0.0316 |g|, and be 3.16 times too long. With it, it is lr, whatever g is.


# %%
def adam(lr, betas=(0.9, 0.999), eps=1e-8, corrected=True):
    m, v, t = np.zeros(2), np.zeros(2), 0

    def change(w, g):
        nonlocal t
        t += 1
        m[:] = betas[0] * m + (1 - betas[0]) * g
        v[:] = betas[1] * v + (1 - betas[1]) * g**2
        first, second = (1 - betas[0] ** t, 1 - betas[1] ** t) if corrected else (1, 1)
        w -= lr * (m / first) / (np.sqrt(v / second) + eps)

    return change


path = descend(adam(0.5))
assert np.allclose(path, descend_with(lambda p: optim.Adam(p, 0.5)), rtol=0, atol=1e-12)
print("gradient at the start", curvature * start, "  first step", path[1] - path[0])
print("without the correction", descend(adam(0.5, corrected=False), 1)[1] - start)
assert np.allclose(path[1] - path[0], -0.5)

fig, axes = draw.panels(2, size=(11, 3.8))
valley(axes[0], path, "Adam, lr = 0.5")
draw.curve(axes[1], {"u": path[:, 0], "v": path[:, 1]}, xlabel="step", ylabel="w")
draw.show(fig, "07_adam")

# %% [markdown]
# It sets out along u and v with the same steps, although the gradients differ. A surprise: make the loss a thousand
# times larger, and Adam does the very same. Plain descent would be thrown out of the valley at once. That is why Adam's
# lr can be kept from one net to the next. The price: small gradients don't make for small steps, so it runs past the
# lowest point, too.

# %%


def thousandfold(change):
    return lambda w, g: change(w, 1000 * g)


difference = np.abs(descend(thousandfold(adam(0.5))) - path).max()
print(f"Adam with 1000 * loss: largest difference of the paths {difference:.1e}")
assert difference < 1e-6

# %% [markdown]
# ## Weight decay: L2 and AdamW
#
# Nets with small weights often do better on new pictures, so each step pulls them a little towards 0. For plain SGD
# there are two ways to write that, and they are the same: add weight_decay * w to the gradient (the derivative of
# weight_decay/2 * w^2, "L2"), or multiply w by 1 - lr * weight_decay. For Adam they are not: what is in the gradient is
# divided by sqrt(v^) with the rest, so weights with large gradients hardly decay. AdamW takes the decay out of the
# gradient.
#
# Two weights of 1, whose gradients are only noise, ±100 for one and ±0.01 for the other:

# %%
noise = np.array([100.0, 0.01]) * np.where(np.arange(400) % 2, 1, -1)[:, None]
histories = {}
for name, decoupled in (("Adam with L2", False), ("AdamW", True)):
    make = optim.AdamW if decoupled else optim.Adam
    parameter = Parameter(np.ones(2))
    optimiser = make([parameter], lr=0.005, weight_decay=0.5)
    w, m, v, history = np.ones(2), np.zeros(2), np.zeros(2), []
    for t, g in enumerate(noise, 1):
        parameter.grad = g.copy()
        optimiser.step()
        if decoupled:
            w = w * (1 - 0.005 * 0.5)
        else:
            g = g + 0.5 * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - 0.005 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        history.append(w)
    assert np.allclose(w, parameter.value, rtol=1e-12, atol=1e-12)
    histories[name] = np.array(history)
    print(f"{name}: after 400 steps {w}")
fig, axes = draw.panels(2, size=(11, 3.8))
for ax, (name, history) in zip(axes, histories.items(), strict=True):
    lines = {"gradients ±100": history[:, 0], "gradients ±0.01": history[:, 1]}
    draw.curve(ax, lines, xlabel="step", ylabel="weight", title=name)
    ax.set_ylim(-0.1, 1.1)
draw.show(fig, "07_weight_decay")

# %% [markdown]
# ## Clipping: one bad batch
#
# A single huge gradient can throw all weights far away. Scale it down to a largest length, in the same direction:
#
#     norm = sqrt(sum of grad^2 over all parameters)          grad = grad * min(1, max_norm / (norm + 1e-6))

# %%
parameters = [Parameter(np.zeros(2)), Parameter(np.zeros((1, 2)))]
parameters[0].grad, parameters[1].grad = np.array([3.0, 0.0]), np.array([[0.0, 4.0]])
mine = [p.grad * min(1, 1 / (5 + 1e-6)) for p in parameters]
norm = optim.clip_grad_norm(parameters, max_norm=1.0)
print("norm", norm, "  clipped:", parameters[0].grad, parameters[1].grad)
assert all(np.array_equal(p.grad, g) for p, g in zip(parameters, mine, strict=True))

ends = {}
for name, max_norm in (("as it is", math.inf), ("clipped", 20.0)):
    parameter = Parameter(start)
    optimiser = optim.SGD([parameter], lr=0.09)
    for step in range(30):
        parameter.grad = curvature * parameter.value * (1000 if step == 10 else 1)  # the bad batch
        optim.clip_grad_norm([parameter], max_norm)
        optimiser.step()
    ends[name] = height(parameter.value)
print("height after 30 steps with one bad gradient:", {name: f"{end:.3g}" for name, end in ends.items()})
assert ends["clipped"] < 1 < 100 < ends["as it is"]

# %% [markdown]
# ## Schedules: fast at first, slow at the end
#
# A large lr finds the valley, a small one its floor. A schedule sets the optimiser's lr for each step (or epoch) t.
# Most are formulas. `ReduceLROnPlateau` watches the loss instead: no better than the best so far for more than
# `patience` steps, and the lr is multiplied by `factor`. `Warmup` goes in front of any of them: the first gradients are
# large and point anywhere.


# %%
def plateau(metrics, factor, patience):
    lr, best, bad, rates = 0.1, math.inf, 0, []
    for metric in metrics:
        rates.append(lr)
        best, bad = (metric, 0) if metric < best * (1 - 1e-4) else (best, bad + 1)
        if bad > patience:
            lr, bad = lr * factor, 0
    return rates


T, t = 60, np.arange(60)
metrics = np.maximum(np.exp(-t / 8), 0.1)  # a loss that gets stuck
S = schedules
cases = {  # name: (the schedule for an optimiser o, the same by hand)
    "StepLR": (lambda o: S.StepLR(o, step_size=20, gamma=0.3), 0.1 * 0.3 ** (t // 20)),
    "ExponentialLR": (lambda o: S.ExponentialLR(o, gamma=0.95), 0.1 * 0.95**t),
    "LinearLR": (lambda o: S.LinearLR(o, 1.0, 0.1, total_iters=40), 0.1 * (1 - 0.9 * np.minimum(t, 40) / 40)),
    "PolynomialLR": (lambda o: S.PolynomialLR(o, total_iters=T, power=0.9), 0.1 * (1 - t / T) ** 0.9),
    "CosineAnnealingLR": (lambda o: S.CosineAnnealingLR(o, T_max=T), 0.1 * (1 + np.cos(np.pi * t / T)) / 2),
    "Warmup(CosineAnnealingLR)": (
        lambda o: S.Warmup(S.CosineAnnealingLR(o, T_max=T - 9), steps=9),
        np.where(t < 9, 0.1 * (t + 1) / 10, 0.1 * (1 + np.cos(np.pi * (t - 9) / (T - 9))) / 2),
    ),
    "ReduceLROnPlateau": (lambda o: S.ReduceLROnPlateau(o, factor=0.3, patience=8), plateau(metrics, 0.3, 8)),
}

# %%
fig, axes = draw.panels(8, size=(13, 6), rows=2)
for ax, (name, (make, by_hand)) in zip(axes, cases.items(), strict=False):
    optimiser = optim.SGD([Parameter(start)], lr=0.1)
    schedule, rates = make(optimiser), []
    for metric in metrics:
        rates.append(optimiser.lr)  # here the batches of an epoch would be
        schedule.step(*[metric] * schedule.needs_metric)
    assert np.allclose(rates, by_hand, rtol=1e-12, atol=1e-16)
    draw.curve(ax, {"lr": rates}, xlabel="t", ylabel="lr", title=name)
    ax.set_ylim(0, 0.105)
draw.curve(axes[7], {"loss": metrics}, xlabel="t", ylabel="loss", title="what the plateau watched")
draw.show(fig, "07_schedules")

# %% [markdown]
# ## A net: which learning rate?
#
# Now a real net, a small U-Net, on eight small pictures. The range test: let the lr grow at every step, from far too
# small to far too large, and watch the loss. It falls as soon as the steps are long enough to matter, and rises when
# they are too long. Where it is lowest the edge is near: keep away from it, by a factor of about 10.


# %%
images, masks = shapes.draw(8, 16, rng=7)
loss = losses.CrossEntropyLoss()


def build():
    rng = np.random.default_rng(0)  # the same start for all
    down = layers.Sequential(layers.MaxPool2d(2), layers.Conv2d(8, 16, 3, padding=1, rng=rng), layers.ReLU())
    return layers.Sequential(
        layers.Conv2d(3, 8, 3, padding=1, rng=rng),
        layers.ReLU(),
        layers.Concat(layers.Identity(), layers.Sequential(down, layers.Upsample(scale_factor=2))),
        layers.Conv2d(24, 4, 3, padding=1, rng=rng),
    )


def train(make_optimiser, rates):
    """The loss at each step, with these learning rates one after the other; ends where it is three times the first."""
    net, values = build(), []
    optimiser = make_optimiser(net.parameters())
    for optimiser.lr in rates:
        scores, saved = net.forward(images)
        value, loss_saved = loss.forward(scores, masks)
        values.append(value)
        if not value < 3 * values[0]:
            break
        optimiser.zero_grad()
        net.backward(loss.backward(loss_saved), saved)
        optimiser.step()
    return values


# %%
rates = np.geomspace(1e-4, 10, 60)
kinds = {
    "SGD": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p),
    "AdamW": lambda p: optim.AdamW(p),
}
fig, axes = draw.panels(2, size=(12, 4))
for name, colour in (("momentum", "#d55e00"), ("Adam", "#e69f00")):
    values = train(kinds[name], rates)
    lowest = rates[int(np.argmin(values))]
    print(f"{name:9s} the loss is lowest at lr {lowest:.3f}, so try about {lowest / 10:.3f}")
    axes[0].plot(rates[: len(values)], values, color=colour, linewidth=2.2, label=name)
axes[0].set(xscale="log", xlabel="learning rate, growing", ylabel="loss", ylim=(0.5, 3), title="range test")
axes[0].legend(frameon=False)

# %% [markdown]
# ## All of them
#
# Each optimiser with three learning rates, 60 steps on the same eight pictures:

# %%
best = {}
for name, make in kinds.items():
    tried = (0.003, 0.01, 0.03) if name.startswith("Adam") else (0.03, 0.1, 0.3)
    runs = {lr: train(make, [lr] * 60) for lr in tried}
    print(f"{name:9s}" + "".join(f"   lr {lr:<5g} loss {np.mean(v[-5:]):.3f}" for lr, v in runs.items()))
    best[name] = min(runs.values(), key=lambda v: np.mean(v[-5:]))
    assert np.mean(best[name][-5:]) < 0.8 * best[name][0]

# %% [markdown]
# Read the table by rows, then by columns: both choices matter. (It is no race: sixty steps on eight pictures say little
# about other nets and longer runs.) And last, a schedule in place of one lr for all steps: a warm-up, then down a
# cosine. It can save an lr that is a little too large, such as 0.03 is here for Adam.

# %%
dummy = optim.Adam([Parameter(start)], lr=0.03)  # only to ask the schedule for its numbers
schedule = schedules.Warmup(schedules.CosineAnnealingLR(dummy, T_max=50), steps=10)
for name, falling in (("lr 0.03 throughout", [0.03] * 60), ("with a schedule", map(schedule.lr_at, range(60)))):
    values = train(kinds["Adam"], falling)
    print(f"Adam, {name}: loss {np.mean(values[-5:]):.3f}")
draw.curve(axes[1], {**best, "Adam 0.03, schedule": values}, xlabel="step", ylabel="loss", title="each at its best lr")
draw.show(fig, "07_training")

# %% [markdown]
# ## Try
#
# 1. Turn the valley by 45 degrees: w -> R w with R = [[c, -s], [s, c]], so that the gradient is R diag(1, 20) R^T w.
#    Does plain descent mind? Does Adam? Why?
# 2. Write SignDescent, `w -= lr * np.sign(g)`, and walk down the valley. Which of the optimisers here is it closest to,
#    with which betas?
# 3. Train with momentum 0.99 and lr 0.01 in place of 0.9 and 0.1. What do the first ten steps look like, and why does
#    lr/(1 - m) say that both are equally fast?
#
# The sources: `minisegnet/optim.py`, `minisegnet/schedules.py`, and the arithmetic in `kernels/reference/update.py`. On
# the command line: `minisegnet train --help` lists the optimisers and schedules.

# %% [markdown]
# ## Check yourself
#
# 1. You double the batch size and take the mean loss as before. What happens to the size of the gradient, and what to
#    its noise?
# 2. The gradient of a weight is exactly 0 from step 100 on. What does SGD without momentum do with that weight, what
#    with momentum, what Adam, and what AdamW with weight decay?
# 3. Why does gradient clipping do next to nothing for Adam, if all gradients are clipped by the same factor all the
#    time?

# %% [markdown]
# ## Answers
#
# 1. Its mean stays the same (a mean over more samples of the same kind); its noise shrinks by sqrt(2). So larger
#    batches stand a larger lr.
# 2. SGD leaves it alone. With momentum it coasts on, by lr * velocity * (m + m^2 + ...) in all. Adam coasts on too, and
#    comes to rest, as m dies away faster (0.9^t) than sqrt(v) does (0.999^(t/2)). AdamW lets it coast, and then pulls
#    it to 0, by the factor 1 - lr * weight_decay at every step.
# 3. Adam divides by the size of the gradients: a factor that is always there cancels. Clipping helps it only against
#    the single bad batch.
