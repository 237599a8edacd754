"""The pages of the reference, and the public names that stand on each."""

import importlib
import inspect

REFERENCE = {  # file: (title, modules)
    "layers": ("Layers", ["minisegnet.layers"]),
    "core": ("Layer, Parameter, watch", ["minisegnet", "minisegnet.summary"]),
    "losses": ("Losses", ["minisegnet.losses"]),
    "optim": ("Optimisers, schedules, initialisation", ["minisegnet.optim", "minisegnet.schedules", "minisegnet.init"]),
    "models": ("Models", ["minisegnet.models"]),
    "data": (
        "Data and transforms",
        ["minisegnet.data", "minisegnet.data.transforms", "minisegnet.data.shapes", "minisegnet.data.check"],
    ),
    "metrics": (
        "Metrics and class weights",
        ["minisegnet.metrics", "minisegnet.evaluate", "minisegnet.class_weights"],
    ),
    "gradcheck": ("Gradient checks", ["minisegnet.gradcheck"]),
    "trace": ("Trace and explorer", ["minisegnet.trace", "minisegnet.explorer"]),
    "train": ("Training and checkpoints", ["minisegnet.train", "minisegnet.checkpoint", "minisegnet.trained"]),
    "predict": ("Predictions and pictures", ["minisegnet.predict", "minisegnet.pictures", "minisegnet.colours"]),
    "kernels": ("Kernels: backends and ops", ["kernels", "kernels.table"]),
}


def reference(title, modules):
    """A page: each module's own words, then all its public names, each name once."""
    parts, shown = [f"# {title}\n"], set()
    for name in modules:
        parts.append(
            f"## {name}\n\n::: {name}\n    options:\n      members: false\n      show_root_heading: false\n"
            "      show_root_toc_entry: false\n"
        )
        new = [address for address in public(name) if address not in shown]
        parts += [f"::: {address}\n    options:\n      heading_level: 3\n" for address in new]
        shown.update(new)
    return "\n".join(parts)


def public(name):
    """The classes and functions in a module's __all__, or else all that it defines, by where they are written."""
    module = importlib.import_module(name)
    own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
    found = [getattr(module, key) for key in getattr(module, "__all__", own)]
    found = [value for value in found if inspect.isclass(value) or inspect.isfunction(value)]
    return [f"{value.__module__}.{value.__qualname__}" for value in found]
