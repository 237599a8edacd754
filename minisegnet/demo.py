"""`minisegnet demo`: a small U-Net, built by hand from the layers, learns to find shapes in generated pictures.

It checks the net's gradients first, then trains for about a minute, and writes two pictures. It needs
nothing but this package and opens no window.
"""

import time
from pathlib import Path

import numpy as np
from tqdm import trange

from . import layers, losses, metrics, optim, pictures, schedules
from .data import shapes
from .gradcheck import gradcheck

SIZE, BATCH, PANEL = 48, 8, 4


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


def run(steps=1000, width=8, seed=0, out="minisegnet-demo"):
    """The whole demo; returns the mean IoU on unseen pictures."""
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
    confusion = metrics.ConfusionMatrix(classes)
    confusion.update(masks, predicted)
    print(f"\n4. On {len(images)} pictures that it has never seen:\n\n{confusion.table(shapes.CLASSES)}")
    shown = (255 * images[:PANEL].transpose(0, 2, 3, 1)).round().astype(np.uint8)
    rows = list(zip(shown, masks[:PANEL], predicted[:PANEL], strict=True))
    pictures.panel(rows, shapes.COLOURS, shapes.CLASSES, out / "prediction.png")
    history = [{"step": i + 1, "train_loss": loss} for i, loss in enumerate(curve)]
    pictures.curves(history, out / "loss.png", x="step")
    print(f"\nPictures: {out / 'prediction.png'} and {out / 'loss.png'}")
    return confusion.mean_iou()


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
