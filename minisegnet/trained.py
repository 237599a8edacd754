"""A trained net with all that is needed to use it: what it was trained to see, and what its classes are."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernels import check_device_name, to_device, to_host

from . import checkpoint, models
from .core import Layer

__all__ = ["Recipe", "Trained", "load_trained"]


@dataclass
class Recipe:
    """From a picture to what the net takes, and from its scores to classes.

    Attributes
        name: of the data set that the net was trained on
        model, model_settings: what `models.build` makes the net of
        channels: of the pictures, 1 or 3
        classes, colours: a name and (red, green, blue) for each class
        kind: "segmentation" or "classification"
        resize: longest side of the pictures in the training, in pixels; 0 where they were as they are
        normalise, mean, std: by what pictures are normalised: "dataset", with these numbers for each channel, or
            "image" or "none"
        class_weights: in the loss; empty where all classes count the same

    >>> classes, colours = ("ground", "cell"), [[0, 0, 0], [255, 255, 255]]
    >>> numbers = {"normalise": "dataset", "mean": (0.5,), "std": (0.2,)}
    >>> recipe = Recipe("cells", "unet", {"width": 8}, 1, classes, colours, "segmentation", resize=64, **numbers)
    >>> recipe.transform()
    Compose([ToArray(), Normalize((0.5,), (0.2,))])
    """

    name: str
    model: str
    model_settings: dict
    channels: int
    classes: tuple
    colours: list
    kind: str
    resize: int
    normalise: str
    mean: tuple
    std: tuple
    class_weights: tuple = ()

    @classmethod
    def of(cls, config, dataset, mean, std):
        """The recipe of a run on `dataset`."""
        return cls(
            name=dataset.name,
            model=config.model,
            model_settings=config.model_settings,
            channels=dataset.channels,
            classes=tuple(dataset.classes),
            colours=np.asarray(dataset.colours).tolist(),
            kind=dataset.kind,
            resize=config.resize,
            normalise=config.normalise,
            mean=tuple(mean),
            std=tuple(std),
        )

    def as_dict(self):
        return dataclasses.asdict(self)

    def transform(self, resize=False):
        """The transform from an 8-bit picture to what the net takes, with or without the resizing of the training."""
        from .data import transforms

        end = {
            "dataset": [transforms.Normalize(self.mean, self.std)],
            "image": [transforms.Standardize()],
            "none": [],
        }
        start = [transforms.LongestSide(self.resize)] if resize and self.resize else []
        return transforms.Compose([*start, transforms.ToArray(), *end[self.normalise]])


def check_same_classes(a, b):
    """ValueError unless two data sets, or a net's recipe and a data set, mean the same by every class.

    Where a data set doesn't name its classes, so that they are called "class 0" and so on, their number must do.
    """
    if len(a.classes) != len(b.classes) or a.channels != b.channels:
        fix = "" if a.channels == b.channels else f" (KIND:PATH,channels={a.channels} reads pictures so)"
        raise ValueError(
            f"{a.name} has {len(a.classes)} classes and {a.channels} channels, {b.name} has {len(b.classes)} and "
            f"{b.channels}; they must agree{fix}"
        )
    numbered = tuple(f"class {c}" for c in range(len(a.classes)))
    if tuple(a.classes) != tuple(b.classes) and numbered not in (tuple(a.classes), tuple(b.classes)):
        c = next(c for c, names in enumerate(zip(a.classes, b.classes, strict=True)) if names[0] != names[1])
        raise ValueError(
            f"class {c} is {a.classes[c]!r} in {a.name}, but {b.classes[c]!r} in {b.name}; give both the same classes, "
            f"in the same order"
        )


def scores_of(net, images):
    """net(images) for NumPy images, as a NumPy array, on whichever device the net is."""
    return net(images) if net.device == "cpu" else to_host(net(to_device(images, net.device)))


class Trained(NamedTuple):
    """A net with what its checkpoint says of it; see `load_trained`.

    Attributes
        net: in inference mode
        recipe: what it takes and what its scores mean, a Recipe
        path: of the checkpoint
        config: that of the run that trained it, a dict

    >>> from minisegnet import layers
    >>> recipe = Recipe("faces", "tiny", {}, 1, ("no", "yes"), [], "classification", 0, "none", (0.0,), (1.0,))
    >>> trained = Trained(layers.Linear(2, 2).eval(), recipe, Path("runs/faces/best.safetensors"), {})
    >>> trained.net.training, trained.recipe.classes
    (False, ('no', 'yes'))
    """

    net: Layer
    recipe: Recipe
    path: Path
    config: dict


def checkpoint_of(path):
    """The checkpoint file that is meant: the file itself, or of a run's folder its best net, or its last if none is.

    FileNotFoundError for a folder without any.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    there = [path / name for name in ("best.safetensors", "last.safetensors") if (path / name).exists()]
    if not there:
        raise FileNotFoundError(f"{path} holds no checkpoint (best.safetensors); is it the folder of a run?")
    return there[0]


def load_trained(path, device="cpu"):
    """The Trained net of a checkpoint file, or of a run's folder: its best net, on this device.

    Raises FileNotFoundError if there is none, CheckpointError for a file that is none or is damaged, DeviceError where
    there is no such device.

    >>> import tempfile
    >>> classes, colours = ("ground", "cell"), [[0, 0, 0], [255, 255, 255]]
    >>> settings = {"width": 2, "depth": 1}
    >>> recipe = Recipe("cells", "unet", settings, 1, classes, colours, "segmentation", 0, "image", (0.0,), (1.0,))
    >>> net = models.build("unet", in_channels=1, classes=2, rng=0, **settings)
    >>> with tempfile.TemporaryDirectory() as folder:  # as a run leaves one behind
    ...     config = {"recipe": recipe.as_dict(), "config": {}}
    ...     checkpoint.save(Path(folder, "best.safetensors"), net, config=config)
    ...     trained = load_trained(folder)
    >>> trained.recipe.model, trained.recipe.model_settings, trained.net.training
    ('unet', {'width': 2, 'depth': 1}, False)
    """
    check_device_name(device)
    path = checkpoint_of(path)
    found = checkpoint.load(path)
    try:
        recipe, config = Recipe(**found.config["recipe"]), found.config["config"]
    except (KeyError, TypeError):
        raise checkpoint.CheckpointError(
            f"{path} does not say how its net is built; it was not written by `minisegnet train`"
        ) from None
    net = models.build(recipe.model, recipe.channels, len(recipe.classes), rng=0, **recipe.model_settings)
    checkpoint.restore(found, net)
    return Trained(net.eval().to(device), recipe, path, config)
