"""The layers: one file per kind, each layer's backward directly below its forward.

The combinators are here too, so that `layers.Sequential(layers.Conv2d(...), ...)` reads well.
"""

from ..combine import Concat, PoolUnpool, SameSize, Sequential, Sum
from .activation import LeakyReLU, LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .conv import Conv2d, ConvTranspose2d
from .dropout import Dropout
from .linear import Flatten, Identity, Linear
from .norm import BatchNorm2d
from .pool import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .upsample import Upsample

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm2d",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "Flatten",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "PoolUnpool",
    "ReLU",
    "SameSize",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tanh",
    "Upsample",
]
