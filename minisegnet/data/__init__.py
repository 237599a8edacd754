"""Pictures to learn from: data sets on disk and generated ones, batches of them, and their augmentation.

    open         a data set from one line of text: data.open("camvid:PATH"), "folder:PATH", "shapes:count=100"
    open_like    the same, with as many channels as a net takes
    splits       which parts it has: ("train", "val")
    Dataset      what that gives: a sequence of (image, mask)
    DataLoader   batches, shuffled and augmented the same whatever the number of workers
    Batch        what it gives: images, targets, indices
    transforms   resizing, cropping, flipping, colours: of image and mask together
    statistics   mean and standard deviation of each channel
    check        the module whose function `check` looks for everything that can be wrong with a data set
    DataError    what is raised for bad files and bad labels: it names the file
    WorkerError  what is raised if a process that makes batches dies
    VOID         255, the label of pixels that nobody has classified: not trained on, not scored

Everything that reads files is loaded when it is first used.
"""

import importlib

from .statistics import statistics  # now: loaded later, the module of this name would replace the function

_HOMES = {
    "Batch": "samples",
    "DataError": "dataset",
    "DataLoader": "loader",
    "Dataset": "dataset",
    "VOID": "dataset",
    "WorkerError": "workers",
    "check": None,  # a module, as are the two below
    "open": "formats",
    "open_like": "formats",
    "shapes": None,
    "splits": "formats",
    "transforms": None,
}
__all__ = sorted([*_HOMES, "statistics"])


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    module = importlib.import_module(f"{__name__}.{home or name}")
    globals()[name] = getattr(module, name) if home else module
    return globals()[name]


def __dir__():
    return sorted({*globals(), *__all__})
