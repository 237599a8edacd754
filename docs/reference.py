"""The pages of the reference, and the public names that stand on each."""

import importlib
import inspect

REFERENCE = {  # file: (title, modules)
    "layers": ("Layers", ["minisegnet.layers"]),
    "core": ("Layer, Parameter, watch", ["minisegnet"]),
    "losses": ("Losses", ["minisegnet.losses"]),
    "optim": ("Optimisers, schedules, initialisation", ["minisegnet.optim", "minisegnet.schedules", "minisegnet.init"]),
    "models": ("Models", ["minisegnet.models"]),
    "data": ("Data and transforms", ["minisegnet.data", "minisegnet.data.transforms", "minisegnet.data.shapes"]),
    "metrics": ("Metrics and class weights", ["minisegnet.metrics", "minisegnet.class_weights"]),
    "gradcheck": ("Gradient checks", ["minisegnet.gradcheck"]),
    "trace": ("Trace and explorer", ["minisegnet.trace", "minisegnet.explorer"]),
    "train": ("Training and checkpoints", ["minisegnet.train", "minisegnet.checkpoint", "minisegnet.trained"]),
    "kernels": ("Kernels: backends and ops", ["kernels", "kernels.table"]),
}


def reference(title, modules):
    """A page: each module's own words, then all its public names."""
    parts = [f"# {title}\n"]
    for name in modules:
        parts.append(
            f"## {name}\n\n::: {name}\n    options:\n      members: false\n      show_root_heading: false\n"
            "      show_root_toc_entry: false\n"
        )
        parts += [f"::: {address}\n    options:\n      heading_level: 3\n" for address in public(name)]
    return "\n".join(parts)


def public(name):
    """The classes and functions that a module offers: those in __all__, or all that it defines; by where they are written."""
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", None) or [
        k for k in vars(module) if not k.startswith("_") and not k.endswith("Saved")
    ]
    found = [getattr(module, k) for k in offered]
    found = [value for value in found if inspect.isclass(value) or inspect.isfunction(value)]
    if not hasattr(module, "__all__"):
        found = [value for value in found if value.__module__ == name]
    return [f"{value.__module__}.{value.__qualname__}" for value in found]
