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

    net        in the mode in which it is to be recorded
    x          (1, C, H, W), what the net is given
    target     (1, H, W) class indices, VOID where nothing is known; or (1,) for a net that classifies
    loss       a CrossEntropyLoss
    picture    uint8 (H, W, 3), x as people see it
    has_truth  False where the target is the net's own prediction
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
    """A small U-Net, trained for a moment on generated pictures, and one more of them. In training mode."""
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
        title=f"U-Net of width {width} and depth {depth} on a generated picture",
        notes=(f"trained for {steps} steps on generated pictures", TRAINING),
    )


TRAINING = "batch normalisation uses the mean and variance of this picture, as in a step of training"
INFERENCE = "batch normalisation uses the running mean and variance, and nothing is dropped, as in prediction"


def of_run(run, picture, mask=None, size=64, class_weights="", training=False):
    """A net trained by `minisegnet train`, and a picture of one's own.

    Parameters
        run: the folder of a run, or a checkpoint file
        picture, mask: files; the mask's pixels are class indices, or the colours of the run's classes
        size: longest side to which both are brought; 0: as they are
        class_weights: numbers for the loss, such as "1,2.5"; "": those of the run
        training: record a step of training, in which batch normalisation looks at this picture alone

    Raises FileNotFoundError, DataError and ValueError that name the file.
    """
    from ..class_weights import explicit, numbers
    from ..data import DataError
    from ..data.files import read_image
    from ..data.transforms import LongestSide
    from ..pictures import rgb
    from ..trained import load_trained

    trained = load_trained(run)
    recipe, notes = trained.recipe, [TRAINING if training else INFERENCE]
    if recipe.kind != "segmentation":
        raise ValueError(f"{trained.path} holds a net for {recipe.kind}; the explorer shows nets for segmentation")
    image = read_image(Path(picture), recipe.channels)
    truth = None if mask is None else read_truth(Path(mask), recipe)
    if truth is not None and truth.shape != image.shape[:2]:
        raise DataError(
            mask, f"is {truth.shape[1]}x{truth.shape[0]} pixels, its picture {image.shape[1]}x{image.shape[0]}"
        )
    if size:
        image, truth = LongestSide(size)(image, truth)
    x = recipe.transform()(image, None)[0][None]
    net = trained.net.train(training)
    if truth is None:
        truth = net.eval()(x)[0].argmax(axis=0)
        net.train(training)
        notes.append("no mask was given: the net's own prediction takes its place, and no pixel is wrong")
    weight = recipe.class_weights or None
    if class_weights:
        weight = explicit(numbers(class_weights), len(recipe.classes))
    return Subject(
        net=net,
        x=x,
        target=truth[None],
        loss=CrossEntropyLoss(weight, ignore_index=VOID),
        picture=np.ascontiguousarray(rgb(image)),
        classes=recipe.classes,
        colours=np.asarray(recipe.colours, np.uint8),
        title=f"{recipe.model} on {Path(picture).name}",
        notes=tuple(notes),
        has_truth=mask is not None,
    )


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
