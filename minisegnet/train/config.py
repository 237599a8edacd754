"""The configuration of a run: what is trained on what, and how.

One class, from which files, flags and the run's own copy come. A field is a key of the configuration file and, with
dashes, a flag of `minisegnet train`. The order of precedence is flag, file, default.
"""

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path

LOSSES = ("cross-entropy", "focal", "dice", "jaccard", "cross-entropy+dice")
OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "polynomial", "step", "exponential", "plateau")
NORMALISATIONS = ("dataset", "image", "none")


def about(text, choices=None, low=None, high=None, below=None, group="training"):
    """What a flag and an error message need to know about a field: low <= value <= high, or value < below."""
    return {"help": text, "choices": choices, "low": low, "high": high, "below": below, "group": group}


def setting(default, *args, **kwargs):
    """A field with a default, and what `about` makes of the rest."""
    return field(default=default, metadata=about(*args, **kwargs))


@dataclass
class Config:
    """Everything a run depends on, besides the files it reads.

    Raises TypeError for a value of the wrong kind, ValueError for one out of range, each naming the setting.

    >>> config = Config(data="shapes", epochs=2)
    >>> config.optimizer, config.lr
    ('adam', 0.002)
    >>> Config(data="shapes", lr=-1)
    Traceback (most recent call last):
        ...
    ValueError: lr must be at least 0, got -1
    """

    data: str = setting("", "what to train on, such as camvid:PATH, folder:PATH, voc:PATH or shapes", group="data")
    val_data: str = setting("", "what to validate on, if it is another data set than --data", group="data")
    train_split: str = setting("train", "the split to train on", group="data")
    val_split: str = setting("val", "the split to validate on", group="data")
    augment: str = setting(
        "", 'joint transforms, such as "RandomCrop(176, 240); HorizontalFlip()"; pictures stay 8-bit', group="data"
    )
    resize: int = setting(0, "longest side of all pictures in pixels, 0: as they are", low=0, group="data")
    normalise: str = setting(
        "dataset",
        "mean 0 and spread 1 over the data set (measured on up to 200 of its pictures), or of each image",
        NORMALISATIONS,
        group="data",
    )
    balanced: bool = setting(False, "show pictures with rare classes more often", group="data")
    workers: int = setting(0, "processes that read pictures; 0: a thread of this one", low=0, group="data")

    model: str = setting("unet", "the net, such as unet, segnet, fcn8s, deeplabv3", group="model")
    model_settings: dict = field(default_factory=dict, metadata=about("settings of the net", group="model"))
    init: str = setting(
        "",
        "a run's folder (its best net) or a checkpoint file to start from; what does not fit (another number of "
        "classes) starts anew",
        group="model",
    )
    freeze: str = setting(
        "", "parts of the net that stay as they are: encoder, or prefixes of parameter names", group="model"
    )
    sparsity: float = setting(
        0.0, "share of the weights, the smallest, that are set and kept at 0 (pruning)", low=0, high=1, group="model"
    )
    teacher: str = setting(
        "", "a run's folder or a checkpoint file; the net learns to imitate its scores (distillation)", group="model"
    )
    teacher_share: float = setting(0.5, "how much the teacher counts, against the labels", low=0, high=1, group="model")
    temperature: float = setting(2.0, "how far the teacher's scores are softened", low=0, group="model")

    epochs: int = setting(30, "how often all pictures are seen", low=1)
    batch_size: int = setting(
        4,
        "pictures in a step, at most all of the data set; those at the end of an epoch that don't fill a batch are "
        "left out of it",
        low=1,
    )
    loss: str = setting("cross-entropy", "what is minimised", LOSSES)
    class_weights: str = setting(
        "none", "none, median-frequency, sqrt-median-frequency, enet, or numbers: 1,2.5,0.3 (for the cross-entropy)"
    )
    label_smoothing: float = setting(0.0, "share of the truth spread over all classes", low=0, high=1)
    optimizer: str = setting("adam", "how gradients change weights", OPTIMIZERS)
    lr: float = setting(2e-3, "the learning rate at its highest", low=0)
    momentum: float = setting(0.9, "of SGD", low=0, below=1)
    weight_decay: float = setting(0.0, "pull of the weights towards 0 (L2; decoupled with adamw)", low=0)
    l1: float = setting(0.0, "pull of the weights towards 0 that is the same for small ones (L1)", low=0)
    clip: float = setting(0.0, "longest gradient, over all parameters; 0: any", low=0)
    schedule: str = setting("cosine", "how the learning rate falls", SCHEDULES)
    warmup: int = setting(0, "steps in which the learning rate rises at the start", low=0)
    patience: int = setting(0, "stop after so many validations without a better one; 0: never", low=0)
    val_every: int = setting(1, "epochs from one validation to the next", low=1)
    panels_every: int = setting(5, "epochs from one picture panel to the next; 0: only the last", low=0)
    seed: int = setting(0, "of the initial weights, the order and the augmentation", low=0)
    threads: int = setting(0, "threads to compute on, 0: one for each core", low=0)
    device: str = setting("cpu", "what computes: cpu, or cuda for an NVIDIA GPU", ("cpu", "cuda"))

    def __post_init__(self):
        for f in fields(self):
            setattr(self, f.name, checked(f, getattr(self, f.name)))

    @classmethod
    def read(cls, path, **changes):
        """What a file says, with some settings changed, those of the net one by one. ValueError that names the file."""
        settings = load(path)
        try:
            found = cls(**settings)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None
        if "model_settings" in changes:
            changes["model_settings"] = found.model_settings | changes["model_settings"]
        return found.replace(**changes)

    def replace(self, **changes):
        """The same configuration with some settings changed. ValueError names settings that there are not."""
        unknown = [name for name in changes if name not in {f.name for f in fields(self)}]
        if unknown:
            raise ValueError(f"unknown setting {', '.join(map(repr, unknown))}; there are {', '.join(names())}")
        return dataclasses.replace(self, **changes)

    def as_dict(self):
        return dataclasses.asdict(self)

    def as_toml(self):
        """The text of a configuration file.

        >>> text = Config(data="shapes", model_settings={"width": 8}).as_toml()
        >>> tomllib.loads(text)["model_settings"]
        {'width': 8}
        """
        plain = {name: value for name, value in self.as_dict().items() if not isinstance(value, dict)}
        lines = [f"{name} = {toml(value)}" for name, value in plain.items()]
        for name, table in self.as_dict().items():
            if isinstance(table, dict):
                lines += ["", f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def names():
    return [f.name for f in fields(Config)]


def checked(f, value):
    """The value of a field in the field's type. TypeError or ValueError that names the setting."""
    kind = dict if f.default is dataclasses.MISSING else type(f.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if not value < 0 else value
    if type(value) is not kind and not (kind is float and isinstance(value, int)):
        names_of = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}
        raise TypeError(f"{f.name} must be {names_of[kind]}, got {value!r}")
    low, high, below, choices = (f.metadata[key] for key in ("low", "high", "below", "choices"))
    if kind in (int, float) and not math.isfinite(value):
        raise ValueError(f"{f.name} must be finite, got {value}")
    if low is not None and value < low:
        raise ValueError(f"{f.name} must be at least {low}, got {value}")
    if high is not None and value > high:
        raise ValueError(f"{f.name} must be at most {high}, got {value}")
    if below is not None and value >= below:
        raise ValueError(f"{f.name} must be below {below}, got {value}")
    if choices and value not in choices:
        raise ValueError(f"unknown {f.name} {value!r}; there are {', '.join(choices)}")
    return value


def toml(value):
    """A value as TOML writes it; its strings are escaped as JSON's are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one that JSON leaves as it is
    return repr(value)


def load(path):
    """The settings in a configuration file, as a dict. ValueError or OSError that names the file."""
    path = Path(path)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None
    unknown = [name for name in settings if name not in names()]
    if unknown:
        raise ValueError(f"{path}: unknown setting {', '.join(map(repr, unknown))}; there are {', '.join(names())}")
    return settings
