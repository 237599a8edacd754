# %% [markdown]
# # Transfer, distillation, pruning
#
# Three ways to make use of a net that is trained already: go on with it on a task with few pictures, let it teach a
# small net, and throw most of its weights away. At the end you will know what each of them does to which gradient, how
# to do it with `minisegnet train`, and what it brought here, measured on pictures that no net has seen. Builds on the
# tutorials on cross-entropy (4), optimisers (7) and your own folder (14).

# %%
import contextlib
import io
import tempfile
import zlib
from pathlib import Path

import numpy as np

from minisegnet import checkpoint, cli, layers, losses, models, optim, pictures, schedules
from minisegnet.colours import distinct_colours
from minisegnet.gradcheck import gradcheck
from minisegnet.metrics import ConfusionMatrix
from minisegnet.train import Config, train
from minisegnet.train.parts import prunable, prune, zero_share
from minisegnet.trained import load_trained
from minisegnet.tutorial import draw

np.set_printoptions(precision=3, suppress=True, linewidth=110)

# %%
temporary = tempfile.TemporaryDirectory()
root = Path(temporary.name)
SIZE, SOURCE, TARGET = 24, ("ground", "0", "45", "90", "135"), ("ground", "straight", "slanted")


def paint(count, seed):
    """Pictures (count, 3, 24, 24) of three striped discs; masks: 0 ground, 1 to 4 the angle across the stripes."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:SIZE, :SIZE]
    images, masks = rng.uniform(0.3, 0.7, (count, 3, 1, 1)) + np.zeros((SIZE, SIZE)), np.zeros((count, SIZE, SIZE), int)
    for image, mask in zip(images, masks, strict=True):
        for _ in range(3):
            kind, period, phase = rng.integers(1, 5), rng.uniform(3.5, 4.5), rng.uniform(0, 2 * np.pi)
            angle = (kind - 1) * np.pi / 4
            wave = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase)
            top, left = rng.uniform(3, SIZE - 3, 2)
            inside = (y - top) ** 2 + (x - left) ** 2 < rng.uniform(4, 7) ** 2
            image[:, inside] = (rng.uniform(0.3, 0.7, (3, 1, 1)) + 0.25 * wave)[:, inside]
            mask[inside] = kind
    images += rng.normal(0, 0.12, images.shape)
    return (np.rint(255 * images.clip(0, 1)) / 255).astype(np.float32), masks  # as a file with 8 bits keeps them


# %%
def save(name, images, masks, classes):
    """The pictures as a folder for `minisegnet train`; returns its name there."""
    for part in ("images", "masks"):
        (root / name / part).mkdir(parents=True)
    for k, (image, mask) in enumerate(zip(images, masks, strict=True)):
        eight_bits = np.rint(255 * image).astype(np.uint8).transpose(1, 2, 0)
        pictures.save_picture(root / name / "images" / f"{k:03d}.png", eight_bits)
        pictures.save_mask(root / name / "masks" / f"{k:03d}.png", mask, distinct_colours(5))
    return f"folder:{root / name},classes={'+'.join(classes)}"


# %% [markdown]
# ## A net to start from
#
# The source task has four kinds of stripes and 200 pictures. The colours say nothing, only the direction does: a class
# is named by the angle, in degrees, at which one crosses its stripes (at 0 they are upright).

# %%
images, masks = paint(200, seed=1)
test_images, test_masks = paint(60, seed=2)
fig, axes = draw.panels(6, size=(12, 2.4))
for k in range(3):
    draw.picture(axes[2 * k], images[k], title="a picture")
    kinds = " and ".join(SOURCE[c] for c in np.unique(masks[k]) if c)
    draw.mask(axes[2 * k + 1], masks[k], title=f"its mask: {kinds}", colours=distinct_colours(5))
draw.show(fig, "15_pictures")


def iou(net, masks=test_masks, classes=5):
    """The mean IoU on the test pictures."""
    confusion = ConfusionMatrix(classes)
    confusion.update(masks, net.eval()(test_images).argmax(axis=1))
    return confusion.mean_iou()


settings = {"model": "unet", "model_settings": {"width": 12, "depth": 1}, "normalise": "none", "panels_every": 0}
config = Config(data=save("source", images, masks, SOURCE), epochs=8, batch_size=8, lr=0.01, val_every=8, **settings)
train(config, root / "runs" / "source", quiet=True)
source = load_trained(root / "runs" / "source").net


def count(net):
    return sum(p.value.size for p in net.parameters())


print(f"the source net: {count(source):,} parameters, mean IoU {iou(source):.3f} on 60 new pictures")

# %% [markdown]
# ## Transfer
#
# A new task: to tell *straight* stripes (0 and 90 degrees) from *slanted* ones (45 and 135), with three pictures to
# learn from. What the first layers do, finding stripes, is the same; what has another shape, the last layer with a
# score for each class, must start anew. `checkpoint.restore(..., strict=False)` takes over what fits by name and shape:

# %%
new_task = np.array([0, 1, 2, 1, 2])  # old class to new class
new_test = new_task[test_masks]
file = checkpoint.load(root / "runs" / "source" / "best.safetensors")
net = models.build("unet", 3, 3, width=12, depth=1, rng=0)
found = checkpoint.restore(file, net, strict=False)
print(f"{len(net.state_dict())} arrays, of another shape:", found.reshaped)
print("the encoder is what begins with", net.encoder_prefixes)
assert found.reshaped == ["scores.weight", "scores.bias"]

# %% [markdown]
# Then there are two ways to go on. *Fine-tune*: train all of it. Or *freeze* the encoder, the half that leads down to
# the coarsest map: nobody takes a step with its gradients, and its BatchNorms stay in inference mode, with the running
# statistics of the source. Below is the loop for most nets of this tutorial; `train` does the same, and more around it.


# %%
def fit(net, images, steps, lr, seed=0, targets=None, teacher=None, share=0.0, temperature=2.0, frozen=(), keep=False):
    """Adam on random batches of 8. share: of the teacher's scores in the loss. keep: zeros among the weights stay."""
    rng, batch = np.random.default_rng(seed), min(8, len(images))
    labels, imitation = losses.CrossEntropyLoss(), losses.DistillationLoss(temperature)
    optimiser = optim.Adam([p for name, p in net.named_parameters() if not name.startswith(frozen)], lr)
    schedule = schedules.CosineAnnealingLR(optimiser, T_max=steps)
    kept = [(p, p.value != 0) for _, p in prunable(net)] if keep else []
    net.train()
    for name, layer in net.named_layers():
        layer.training = not f"{name}.".startswith(frozen)  # BatchNorm's mode; False for parts that are frozen
    for _ in range(steps):
        pick = rng.choice(len(images), batch, replace=False)
        scores, saved = net.forward(images[pick])
        dscores = np.zeros_like(scores)
        for loss, truth, weight in ((labels, targets, 1 - share), (imitation, teacher, share)):
            if weight:
                dscores += loss.backward(loss.forward(scores, truth[pick])[1], weight)
        net.zero_grad()
        net.backward(dscores, saved)
        optimiser.step()
        schedule.step()
        for p, mask in kept:
            p.value = p.value * mask
    return net


# %%
ways = {"from scratch": (False, ()), "fine-tuned": (True, ()), "encoder frozen": (True, net.encoder_prefixes)}
transfer = {way: [] for way in ways}
for seed in range(3):
    few_images, few_masks = paint(3, seed=10 + seed)
    for way, (start, frozen) in ways.items():
        net = models.build("unet", 3, 3, width=12, depth=1, rng=seed)
        if start:
            checkpoint.restore(file, net, strict=False)
        fit(net, few_images, 50, 0.01, seed, new_task[few_masks], frozen=frozen)
        transfer[way].append(iou(net, new_test, 3))
        if frozen:
            assert all(np.array_equal(net.state_dict()[n], a) for n, a in file.tensors.items() if n.startswith(frozen))
for way, scores in transfer.items():
    print(f"{way:15s}", " ".join(f"{s:.3f}" for s in scores), f"  mean {np.mean(scores):.3f}")
assert np.mean(transfer["from scratch"]) < np.mean(transfer["encoder frozen"])

# %% [markdown]
# Each column is another draw of three pictures and of the initial weights: look at how far the numbers of one row lie
# apart before you believe in a difference between two rows. The same on the command line:
#
#     minisegnet train --data folder:few --model unet --set width=12 --set depth=1 --normalise none \
#         --init runs/source --freeze encoder --out runs/few

# %%
fig, axes = draw.panels(1, size=(6, 3))
for k, scores in enumerate(transfer.values()):
    axes[0].plot(scores, [k] * 3, "o", color="#005c58", markersize=9, alpha=0.7)
axes[0].set(yticks=range(3), yticklabels=list(transfer), xlim=(0, 1), ylim=(2.6, -0.6))
axes[0].tick_params(labelsize=11)
axes[0].grid(axis="x", color="0.9")
axes[0].set_title("mean IoU after training on three pictures", fontsize=12)
draw.show(fig, "15_transfer")

output = io.StringIO()
few_images, few_masks = paint(4, seed=10)
few = save("few", few_images, new_task[few_masks], TARGET)  # one of the four is kept for validation
started = {"init": str(root / "runs" / "source"), "freeze": "encoder"}
with contextlib.redirect_stdout(output):
    train(Config(data=few, epochs=1, batch_size=3, **started, **settings), root / "runs" / "few")
print(output.getvalue().splitlines()[0].replace(str(root), "..."))
assert "scores.weight, scores.bias start anew" in output.getvalue()

# %% [markdown]
# ## Distillation
#
# A label says: this pixel is 45, full stop. A teacher's scores t say how sure it is, and what else it might be. The
# student with scores z learns to have the same probabilities (Hinton, Vinyals and Dean, 2015), both softened by a
# temperature T:
#
#     q = softmax(t/T)      p = softmax(z/T)      L = T**2 * sum over c of q[c] * (log q[c] - log p[c])
#
# Backward: log p[c] = z[c]/T - log(sum over k of exp(z[k]/T)), so d(log p[c])/dz[k] = ((c == k) - p[k])/T, and
#
#     dL/dz[k] = -T**2 * sum over c of q[c] * ((c == k) - p[k])/T = -T * (q[k] - p[k]) = T * (p[k] - q[k])
#
# for the q[c] sum to 1. As with cross-entropy, belief minus truth. By hand, with T = 1, `z = [0, 0]`, `t = [0, log 3]`:
# `p = [1/2, 1/2]`, `q = [1/4, 3/4]`, so `dL/dz = [1/4, -1/4]`. The mean over pixels divides it by their number.


# %%
def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


rng = np.random.default_rng(0)
z, t = np.zeros((1, 2)), np.log([[1.0, 3.0]])
print("by hand [0.25, -0.25], here", softmax(z) - softmax(t))
z, t = rng.normal(size=(2, 5, 3, 4)), 3 * rng.normal(size=(2, 5, 3, 4))
pixels = z.size // z.shape[1]
for T in (1.0, 2.0, 8.0):
    loss = losses.DistillationLoss(T)
    value, saved = loss.forward(z, t)
    p, q = softmax(z / T), softmax(t / T)
    assert np.isclose(value, T**2 * (q * np.log(q / p)).sum() / pixels)
    assert np.allclose(loss.backward(saved), T * (p - q) / pixels)
report = gradcheck(losses.DistillationLoss(2.0), z, target=t)
print(report)
assert report

# %% [markdown]
# Why the factor `T**2`? For high T all probabilities come near 1/C, and p - q shrinks like 1/T; without the factor the
# gradient would shrink like `1/T**2`, and T would secretly be a learning rate, too. With it the gradient tends to
# (z - t)/C in each pixel (z and t each without its mean over the classes): the student then simply copies the scores.

# %%
teacher_scores = source(images)
pixel = np.abs(softmax(teacher_scores).max(axis=1) - 0.7).argmin()  # one of which the teacher is 70% sure
n, i, j = np.unravel_index(pixel, masks.shape)
temperatures = 2.0 ** np.arange(7)
norms = [np.linalg.norm(T * (softmax(z / T) - softmax(t / T))) for T in temperatures]
bare = [norm / T**2 for norm, T in zip(norms, temperatures, strict=True)]
limit = np.linalg.norm((z - z.mean(1, keepdims=True)) - (t - t.mean(1, keepdims=True))) / 5
print(f"norm of dL/dz for T = {temperatures[-1]:.0f}: {norms[-1]:.3f}, copying scores: {limit:.3f}")
assert np.isclose(norms[-1], limit, rtol=0.05)
fig, axes = draw.panels(2, size=(11, 3.6))
soft = {f"T = {T:g}": softmax(teacher_scores[n : n + 1, :, i, j] / T)[0] for T in (1, 2, 8)}
for k, (name, q) in enumerate(soft.items()):
    axes[0].bar(np.arange(5) + 0.27 * (k - 1), q, 0.25, label=name, color=("#005c58", "#78b2ac", "#cfd8da")[k])
axes[0].set_xticks(range(5), SOURCE)
axes[0].legend(frameon=False, fontsize=11)
axes[0].tick_params(labelsize=11)
axes[0].set_title(f"a teacher's probabilities for one pixel (true: {SOURCE[masks[n, i, j]]})", fontsize=12)
draw.curve(axes[1], {"with T**2": norms, "without": bare}, temperatures, "T", log=True, title="length of dL/dz")
axes[1].set_xscale("log", base=2)
draw.show(fig, "15_temperature")

# %% [markdown]
# Now a small student, taught in four ways: by the labels of only four pictures; by no labels at all, but the teacher's
# scores on all 200, which cost nothing; by all labels; by both.


# %%
def student(seed):
    make = {"rng": np.random.default_rng(seed)}
    return layers.Sequential(
        *(layers.Conv2d(3, 8, 5, padding=2, bias=False, **make), layers.BatchNorm2d(8), layers.ReLU()),
        *(layers.Conv2d(8, 8, 5, padding=2, bias=False, **make), layers.BatchNorm2d(8), layers.ReLU()),
        layers.Conv2d(8, 5, 1, **make),
    )


lessons = {
    "labels of 4 pictures": (images[:4], {"targets": masks[:4]}),
    "teacher on 200 pictures": (images, {"teacher": teacher_scores, "share": 1.0}),
    "labels of 200 pictures": (images, {"targets": masks}),
    "labels and teacher, half each": (images, {"targets": masks, "teacher": teacher_scores, "share": 0.5}),
}
print(f"{'the teacher':31s}{iou(source):.3f}   {count(source):,} parameters; a student has {count(student(0)):,}")
table = {}
for name, (shown, lesson) in lessons.items():
    table[name] = [iou(fit(student(seed), shown, 150, 0.02, seed, **lesson)) for seed in range(3)]
    print(f"{name:30s}", " ".join(f"{s:.3f}" for s in table[name]), f"  mean {np.mean(table[name]):.3f}")
assert np.mean(table["labels of 4 pictures"]) < np.mean(table["teacher on 200 pictures"])

# %% [markdown]
# Read it honestly, each difference beside the spread of the seeds. Rows one and two: where labels are few, the teacher
# makes up for them. The last two rows: where all pictures have labels, a gain smaller than the spread is none. With
# `train`, a student also needs the teacher's `--normalise` and `--resize`:
#
#     minisegnet train --data folder:source --model unet --set width=4 --set depth=1 --normalise none \
#         --teacher runs/source --teacher-share 0.5 --temperature 2 --out runs/student

# %%
taught = {"teacher": str(root / "runs" / "source"), "teacher_share": 0.5, "temperature": 2.0}
small = {**settings, "model_settings": {"width": 4, "depth": 1}}
lesson_data = save("graded", images[:10], masks[:10], SOURCE)
train(Config(data=lesson_data, epochs=1, **taught, **small), root / "runs" / "student", quiet=True)
print(f"runs/student: {count(load_trained(root / 'runs' / 'student').net):,} parameters, after one epoch")

# %% [markdown]
# ## Pruning
#
# Most weights of a trained net are near 0. Set the smallest ones to exactly 0 and train the rest again: that is
# magnitude pruning (Han et al., 2015), here by one threshold for the whole net. A weight that is 0 has a gradient,
# though, and would grow back: so after each step it is set to 0 again.

# %%
weights = np.concatenate([p.value.ravel() for _, p in prunable(source)])
print(f"{len(weights):,} of {count(source):,} parameters can be pruned (weights, not biases and norms)")
sparsities, before, after = [0.0, 0.5, 0.8, 0.9, 0.95], [], []
for sparsity in sparsities:
    net = load_trained(root / "runs" / "source").net
    prune(net, sparsity)
    before.append(iou(net))
    fit(net, images, 40, 0.005, targets=masks, keep=True)
    after.append(iou(net))
    print(
        f"{zero_share(net):6.1%} zeros: mean IoU {before[-1]:.3f} at once, {after[-1]:.3f} after 40 steps of retraining"
    )
    assert zero_share(net) >= sparsity - 0.001
assert after[2] > before[2]

# %%
fig, axes = draw.panels(2, size=(11, 3.6))
axes[0].hist(weights, bins=80, color="#6e46aa")
threshold = np.quantile(abs(weights), 0.8)
for sign in (-1, 1):
    axes[0].axvline(sign * threshold, color="0.2", linestyle="--")
axes[0].set_title(f"the source net's weights: 80% are nearer to 0 than {threshold:.3f}", fontsize=12)
axes[0].tick_params(labelsize=11)
lines = {"pruned": before, "pruned and retrained": after}
draw.curve(axes[1], lines, [100 * s for s in sparsities], "% of the weights that are 0", "mean IoU")
axes[1].set_ylim(0, 1)
draw.show(fig, "15_pruning")

# %% [markdown]
# One command does both, into a new run (here with one epoch; without `--epochs` it takes a third of the run's). The
# mean IoU that it prints is that of the run's validation pictures:

# %%
line = ["prune", root / "runs" / "source", "--sparsity", 0.8, "--epochs", 1, "--out", root / "runs" / "pruned"]
with contextlib.redirect_stdout(output := io.StringIO()):
    assert cli.main([*map(str, line), "--quiet"]) == 0
print(output.getvalue())
pruned = load_trained(root / "runs" / "pruned").net
assert abs(zero_share(pruned) - 0.8) < 0.001

# %% [markdown]
# What is it good for? A zero still takes its place in the array and its time in the kernels: our nets become neither
# smaller nor faster by that. A compressed file becomes smaller, special hardware faster; and it shows how much of a net
# was needed.

# %%
for name, net in (("source", source), ("pruned", pruned)):
    raw = b"".join(p.value.tobytes() for _, p in prunable(net))
    print(f"{name}: {len(raw):,} bytes of weights, {len(zlib.compress(raw)):,} compressed")
temporary.cleanup()
assert not root.exists()

# %% [markdown]
# ## Try
#
# 1. Transfer with 1, 2, 5 and 20 pictures. How do the gaps between the three rows change? Why does it hurt so little
#    here to freeze the encoder, and for which new task would it hurt?
# 2. Give the student T = 1 and T = 8. Is a difference larger than that between two seeds?
# 3. Prune without `keep=True` and print `zero_share` after the retraining. Where have the zeros gone?
#
# The sources: `minisegnet/checkpoint.py`, `minisegnet/losses/distillation.py`, and `prune` in
# `minisegnet/train/parts.py`.
#
# ## Check yourself
#
# 1. With a frozen encoder, must backward pass through it? And must its dw be computed?
# 2. C = 2, T = 2, `z = [0, 0]`, `t = [0, 2 log 3]`: what is dL/dz for one pixel?
# 3. Why one threshold for the whole net, and not 80% of each layer?

# %% [markdown]
# ## Answers
#
# 1. Neither is needed: with the whole encoder frozen, nothing that is trained comes before any part of it on the way
#    from the picture to the scores. In general backward must reach the first parameter that is trained. Our layers
#    always compute both: simple, and a little slower.
# 2. `p = [1/2, 1/2]`, `q = softmax([0, log 3]) = [1/4, 3/4]`: `T * (p - q) = [1/2, -1/2]`.
# 3. Layers need their weights to different degrees; one threshold takes more from those with many small ones. (It can
#    even empty a layer altogether. Print the share of zeros of each layer: here it doesn't.)
