"""The nets, each in a file that reads like its paper's diagram.

Every net takes in_channels, classes, `width` (channels of its first stage; all others grow with it; the published one
unless given), `rng` and `dtype`, and settings of its own, which `settings_of` lists. Parts are shared: `parts` has the
convolution with BatchNorm and ReLU, `vgg` and `resnet` the encoders of the nets for segmentation.

>>> net = build("unet", in_channels=3, classes=2, width=4, depth=2, rng=0)
>>> type(net).__name__
'UNet'
>>> net.encoder_prefixes
('down.', 'level.coarse.down.', 'level.coarse.level.coarse.down.')
"""

import functools
import inspect

from .deeplab import DeepLabV3
from .fcn import FCN, FCNResNet
from .resnet import ResNet
from .segnet import SegNet, SegNetBasic
from .simple_cnn import SimpleCNN
from .unet import UNet
from .vgg import VGG

__all__ = [
    "FCN",
    "MODELS",
    "VGG",
    "DeepLabV3",
    "FCNResNet",
    "ResNet",
    "SegNet",
    "SegNetBasic",
    "SimpleCNN",
    "UNet",
    "build",
    "settings_of",
]

MODELS = {  # a name may stand for a class with some of its settings made
    "unet": UNet,
    "segnet": SegNet,
    "segnet-basic": SegNetBasic,
    "fcn32s": functools.partial(FCN, stride=32),
    "fcn16s": functools.partial(FCN, stride=16),
    "fcn8s": functools.partial(FCN, stride=8),
    "fcn-resnet": FCNResNet,
    "deeplabv3": DeepLabV3,
    "vgg11": functools.partial(VGG, depth=11),
    "vgg13": functools.partial(VGG, depth=13),
    "vgg16": functools.partial(VGG, depth=16),
    "vgg19": functools.partial(VGG, depth=19),
    "resnet18": functools.partial(ResNet, depth=18),
    "resnet34": functools.partial(ResNet, depth=34),
    "resnet50": functools.partial(ResNet, depth=50),
    "simple": SimpleCNN,
}


def build(name, in_channels, classes, **settings):
    """A net by its name, a key of MODELS.

    Raises ValueError for an unknown name, TypeError for a setting that the net has not (see `settings_of`), and what
    the net itself raises for a bad value.

    >>> build("vgg16", 3, 10, norms=True)
    Traceback (most recent call last):
    TypeError: vgg16 has no setting 'norms'; it has width=64, hidden=None, norm=False, dropout=0.5, bins=7, rng=None,
    dtype=float32
    """
    known = settings_of(name)
    unknown = [repr(setting) for setting in settings if setting not in known]
    if unknown:
        have = ", ".join(f"{setting}={getattr(value, '__name__', repr(value))}" for setting, value in known.items())
        made = getattr(MODELS[name], "keywords", {})
        fixed = "".join(
            f" ({setting}={value} is in its name)" for setting, value in made.items() if setting in settings
        )
        raise TypeError(f"{name} has no setting {', '.join(unknown)}{fixed}; it has {have}")
    return MODELS[name](in_channels, classes, **settings)


def settings_of(name):
    """The settings of a net and their defaults, as a dict; ValueError for an unknown name.

    >>> settings_of("fcn-resnet")
    {'depth': 50, 'width': 64, 'output_stride': 8, 'dropout': 0.1, 'rng': None, 'dtype': <class 'numpy.float32'>}
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    model = MODELS[name]
    cls, made = getattr(model, "func", model), getattr(model, "keywords", {})
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in made}
