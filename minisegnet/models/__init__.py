"""The nets, each in a file that reads like its paper's diagram.

>>> net = build("unet", in_channels=3, classes=2, width=4, depth=2, rng=0)
>>> type(net).__name__
'UNet'
"""

from .simple_cnn import SimpleCNN
from .unet import UNet

__all__ = ["MODELS", "SimpleCNN", "UNet", "build"]

MODELS = {"unet": UNet, "simple": SimpleCNN}


def build(name, in_channels, classes, **settings):
    """A net by its name (a key of MODELS); `settings` are those of its class. ValueError for an unknown name."""
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name](in_channels, classes, **settings)
