"""Training on data sets: `minisegnet train`, and the same from Python.

    config = Config(data="folder:my/pictures", model="unet", model_settings={"width": 16}, epochs=30)
    result = train(config, out="runs/first")

A run lives in a folder: its configuration, the metrics of each epoch, pictures, checkpoints and a report.
"""

from .config import Config
from .trouble import Interrupted, TrainingError

__all__ = ["Config", "Interrupted", "Result", "TrainingError", "train"]


def __getattr__(name):
    """The trainer loads all that a run needs, which the command line's `--help` can do without."""
    if name not in ("Result", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import trainer

    return getattr(trainer, name)
