"""What the explorer looks at: a net, one picture, and what should have come out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import Layer
from ..losses import CrossEntropyLoss, Loss

VOID = 255
STEPS, WIDTH, DEPTH = 300, 8, 2  # of the training of the net that is looked at when none is given


class Subject(NamedTuple):
    """Everything that a page is about.

    Attributes
        net: in the mode in which it is to be recorded
        x: what the net is given, float32 (1, C, H, W)
        target: (1, H, W) class indices, VOID where nothing is known; or (1,) for a net that classifies
        loss: a CrossEntropyLoss
        picture: uint8 (H, W, 3), x as people see it
        classes, colours: a name and (red, green, blue) of each class
        title, notes: over the page, and lines of text under it
        has_truth: False where the target is the net's own prediction

    >>> from minisegnet import layers
    >>> x, target = np.zeros((1, 3, 2, 2), np.float32), np.array([[[0, 1], [0, 255]]])
    >>> classes, colours = ("ground", "cell"), np.array([[0, 0, 0], [255, 255, 255]])
    >>> net, loss = layers.Conv2d(3, 2, 1, rng=0), CrossEntropyLoss(ignore_index=VOID)
    >>> subject = Subject(net, x, target, loss, np.zeros((2, 2, 3), np.uint8), classes, colours, "a convolution")
    >>> subject.title, subject.has_truth
    ('a convolution', True)
    """

    net: Layer
    x: np.ndarray
    target: np.ndarray
    loss: Loss
    picture: np.ndarray
    classes: tuple
    colours: np.ndarray
    title: str
    notes: tuple = ()
    has_truth: bool = True


def generated(steps=STEPS, width=WIDTH, depth=DEPTH, seed=0):
    """A small U-Net, trained for a moment on generated pictures, and one more of them, as a Subject. In training mode.

    Parameters
        steps: of the training; 300 take about 20 seconds
        width, depth: of the U-Net
        seed: of its weights and of the pictures

    >>> import contextlib, io, kernels
    >>> with kernels.use("reference"), contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
    ...     subject = generated(steps=1, width=2, depth=1)
    >>> subject.x.shape, subject.target.shape, subject.classes
    ((1, 3, 48, 48), (1, 48, 48), ('ground', 'disc', 'square', 'triangle'))
    """
    from .. import demo, models
    from ..data import shapes

    net = models.UNet(3, len(shapes.CLASSES), width=width, depth=depth, rng=np.random.default_rng(seed))
    demo.train(net, steps, np.random.default_rng(seed + 1))
    x, target = shapes.draw(1, demo.SIZE, np.random.default_rng(seed + 2))
    picture = (255 * x[0].transpose(1, 2, 0)).round().astype(np.uint8)
    return Subject(
        net=net.train(),
        x=x,
        target=target,
        loss=CrossEntropyLoss(ignore_index=VOID),
        picture=picture,
        classes=shapes.CLASSES,
        colours=shapes.COLOURS,
        title="U-Net on a generated picture",
        notes=(f"width {width}, depth {depth}, trained for {steps} steps on generated pictures", TRAINING),
    )


TRAINING = "batch normalisation uses the mean and variance of this picture, as in a step of training"
INFERENCE = "batch normalisation uses the running mean and variance, and nothing is dropped, as in prediction"


def of_run(run, picture, mask=None, size=64, class_weights="", training=False, crop=None):
    """A net trained by `minisegnet train`, and a picture of one's own.

    Parameters
        run: the folder of a run, or a checkpoint file
        picture, mask: files; the mask's pixels are class indices, or the colours of the run's classes
        size: longest side to which both are brought; 0: as they are
        class_weights: numbers for the loss, such as "1,2.5"; "": those of the run
        training: record a step of training, in which batch normalisation looks at this picture alone
        crop: (row, column): cut a square of `size` out around it, at full size; (): where the net is wrong most often

    Raises FileNotFoundError, DataError and ValueError that name the file.

    >>> import tempfile, PIL.Image, kernels
    >>> from minisegnet.train import Config, train
    >>> tiny = {"width": 2, "depth": 1}
    >>> config = Config(data="shapes:size=16,count=5", model="unet", model_settings=tiny, epochs=1, panels_every=0)
    >>> with tempfile.TemporaryDirectory() as folder, kernels.use("reference"):
    ...     run = train(config, out=f"{folder}/run", quiet=True).folder
    ...     PIL.Image.new("RGB", (40, 20)).save(f"{folder}/dark.png")
    ...     subject = of_run(run, f"{folder}/dark.png", size=20)
    >>> subject.x.shape, subject.title, subject.has_truth
    ((1, 3, 10, 20), 'unet on dark.png', False)
    """
    from ..data import DataError
    from ..data.files import read_image
    from ..pictures import rgb
    from ..trained import load_trained
    from .view import View

    trained = load_trained(run)
    recipe = trained.recipe
    if recipe.kind != "segmentation":
        raise ValueError(f"{trained.path} holds a net for {recipe.kind}; the explorer shows nets for segmentation")
    image = read_image(Path(picture), recipe.channels)
    truth = None if mask is None else read_truth(Path(mask), recipe)
    if truth is not None and truth.shape != image.shape[:2]:
        raise DataError(
            mask, f"is {truth.shape[1]}x{truth.shape[0]} pixels, its picture {image.shape[1]}x{image.shape[0]}"
        )
    net = trained.net
    view = View(picture, net, recipe)
    image, truth, notes = view.shown(image, truth, size, crop, training)
    x = recipe.transform()(image, None)[0][None]
    has_truth = truth is not None
    if not has_truth:
        truth = view.predicted(image, training)
        notes.append("no mask was given: the net's own prediction takes its place, and no pixel is wrong")
    net.train(training)
    return Subject(
        net=net,
        x=x,
        target=truth[None],
        loss=CrossEntropyLoss(weights_of(class_weights, recipe), ignore_index=VOID),
        picture=np.ascontiguousarray(rgb(image)),
        classes=recipe.classes,
        colours=np.asarray(recipe.colours, np.uint8),
        title=f"{recipe.model} on {Path(picture).name}",
        notes=(*notes, TRAINING if training else INFERENCE),
        has_truth=has_truth,
    )


def weights_of(text, recipe):
    """The loss's class weights: those in a text, or those of the run."""
    from ..class_weights import explicit, numbers

    if not text:
        return recipe.class_weights or None
    count = len(recipe.classes)
    try:
        chosen = numbers(text)
    except ValueError:
        raise ValueError(f"class weights: expected {count} numbers, such as 1,2.5,..., got {text!r}") from None
    return explicit(chosen, count)


def read_truth(path, recipe):
    """A mask (H, W) in the classes of a run."""
    from ..data import DataError
    from ..data.files import Coding, read_mask

    colours = {tuple(colour): c for c, colour in enumerate(recipe.colours)}
    truth = read_mask(path, Coding.plain(len(recipe.classes), colours))
    if (truth == VOID).any() and set(np.unique(truth)) <= {0, VOID}:
        raise DataError(
            path, "holds only 0 and 255, and 255 means void; write 1 for pixels of the second class, and so on"
        )
    return truth
