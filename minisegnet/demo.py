"""`minisegnet demo`: a small U-Net, built by hand from the layers, learns to find shapes in generated pictures.

It checks the net's gradients first, then trains for about half a minute, and writes two pictures. It needs
nothing but this package and opens no window.
"""

import time
from pathlib import Path

import numpy as np
from tqdm import trange

from . import layers, losses, optim, schedules
from .data import shapes
from .gradcheck import gradcheck

SIZE, BATCH = 48, 8


def block(in_channels, out_channels, rng):
    """Convolution, batch normalisation, ReLU: the brick that the net is made of."""
    return layers.Sequential(
        layers.Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        layers.BatchNorm2d(out_channels),
        layers.ReLU(),
    )


def small_unet(classes, width, rng):
    """A U-Net of two levels. Read it from the inside out: every level wraps the next coarser one.

    picture ─ block ─┬─────────────── skip ───────────────┬─ concat ─ block ─ scores
                     └ pool ─ block ─┬──── skip ───┬─ concat ─ block ─ up ┘
                                     └ pool ─ block ─ up ┘
    """

    def level(channels, inside):
        """The map itself beside what a coarser view of it has to say: 2*channels come out of `channels`."""
        return layers.Concat(
            layers.Identity(),
            layers.Sequential(
                pool=layers.MaxPool2d(2),
                inside=inside,
                up=layers.ConvTranspose2d(2 * channels, channels, 2, stride=2, rng=rng),
            ),
        )

    bottom = layers.Sequential(block(2 * width, 4 * width, rng), block(4 * width, 4 * width, rng))
    middle = layers.Sequential(block(width, 2 * width, rng), level(2 * width, bottom), block(4 * width, 2 * width, rng))
    return layers.Sequential(
        first=block(3, width, rng),
        level=level(width, middle),
        last=block(2 * width, width, rng),
        scores=layers.Conv2d(width, classes, 1, rng=rng),
    )


def run(steps=500, width=8, seed=0, out="minisegnet-demo"):
    """The whole demo; returns the pixel accuracy on unseen pictures."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    classes = len(shapes.CLASSES)

    print("1. Are the gradients right? Each is compared with a finite difference, on a miniature of the net.\n")
    tiny = small_unet(classes, 2, np.random.default_rng(seed))
    print(gradcheck(tiny, np.random.default_rng(seed).normal(size=(2, 3, 9, 11)), dense=20, samples=20), end="\n\n")

    net = small_unet(classes, width, np.random.default_rng(seed))
    print(f"2. The net for pictures of {SIZE}x{SIZE}\n\n{net.summary((1, 3, SIZE, SIZE))}\n")

    print(f"3. Training: {steps} steps of {BATCH} new pictures, one after the other forward, loss, backward, Adam\n")
    curve = train(net, steps, np.random.default_rng(seed + 1))

    images, masks = shapes.draw(64, SIZE, np.random.default_rng(seed + 2))
    predicted = net.eval()(images).argmax(axis=1)
    accuracy, ious = score(predicted, masks, classes)
    print(f"\n4. On {len(images)} pictures it has never seen: {accuracy:.1%} of the pixels right, IoU", end=" ")
    print(", ".join(f"{name} {iou:.2f}" for name, iou in zip(shapes.CLASSES, ious, strict=True)))
    draw_panel(images, masks, predicted, out / "prediction.png")
    draw_curve(curve, out / "loss.png")
    print(f"\nPictures: {out / 'prediction.png'} and {out / 'loss.png'}")
    return accuracy


def train(net, steps, rng):
    """`steps` steps of Adam, the learning rate falling along a cosine; returns the loss of each."""
    loss_function = losses.CrossEntropyLoss()
    optimiser = optim.Adam(net.parameters(), lr=1e-2)
    schedule = schedules.CosineAnnealingLR(optimiser, T_max=steps)
    curve, start = [], time.perf_counter()
    for step in (progress := trange(steps, unit="step", leave=False, disable=None)):
        images, masks = shapes.draw(BATCH, SIZE, rng)
        scores, saved = net.forward(images)
        loss, loss_saved = loss_function.forward(scores, masks)
        net.zero_grad()
        net.backward(loss_function.backward(loss_saved), saved)
        optimiser.step()
        schedule.step()
        curve.append(loss)
        if (step + 1) % max(1, steps // 10) == 0:
            mean = np.mean(curve[-max(1, steps // 10) :])
            progress.write(f"   step {step + 1:4d}   loss {mean:.3f}   {time.perf_counter() - start:5.1f} s")
    return curve


def score(predicted, masks, classes):
    """(share of the pixels that are right, [intersection over union of each class])."""
    ious = []
    for c in range(classes):
        both, either = (predicted == c) & (masks == c), (predicted == c) | (masks == c)
        ious.append(both.sum() / max(1, either.sum()))
    return (predicted == masks).mean(), ious


def draw_panel(images, masks, predicted, path, count=6):
    """A PNG with one column for each of `count` pictures: picture, truth, prediction, wrong pixels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 * count, 6.6), layout="constrained")
    axes = figure.subplots(4, count, squeeze=False)
    for j in range(count):
        wrong = np.where(predicted[j] == masks[j], 255, 0).astype(np.uint8)
        rows = (images[j].transpose(1, 2, 0), shapes.COLOURS[masks[j]], shapes.COLOURS[predicted[j]], wrong)
        for i, (name, picture) in enumerate(
            zip(("picture", "truth", "prediction", "wrong (black)"), rows, strict=True)
        ):
            axes[i, j].imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes[i, j].set(xticks=[], yticks=[])
            if j == 0:
                axes[i, j].set_ylabel(name)
    handles = [
        axes[0, 0].plot([], [], "s", color=c / 255, label=n)[0]
        for c, n in zip(shapes.COLOURS, shapes.CLASSES, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.savefig(path, dpi=90)


def draw_curve(curve, path):
    """A PNG of the loss of every step and its running mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    window = max(1, len(curve) // 20)
    means = np.convolve(curve, np.ones(window) / window, mode="valid")
    axes.plot(np.arange(1, len(curve) + 1), curve, color="0.75", label="each step")
    axes.plot(np.arange(window, len(curve) + 1), means, color="tab:orange", label=f"mean of {window} steps")
    axes.set(xlabel="step", ylabel="cross-entropy", ylim=(0, None), title="The loss falls")
    axes.legend()
    figure.savefig(path, dpi=90)
