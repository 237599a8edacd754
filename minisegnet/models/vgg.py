"""VGG: nothing but 3x3 convolutions and pooling, deep enough. Its features are the encoder of FCN and SegNet."""

import numpy as np

from ..combine import Sequential
from ..core import as_rng, check_int
from ..layers import AdaptiveAvgPool2d, Dropout, Flatten, Linear, MaxPool2d, ReLU
from .parts import HasEncoder, check_choice, stage

CONVOLUTIONS = {  # in each of the five stages; with the three fully connected layers they make up the depth
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
GROWTH = (1, 2, 4, 8, 8)  # channels of each stage, times the width


class VGG(HasEncoder, Sequential):
    """VGG of depth 11, 13, 16 or 19, a classifier: says what is in a picture, not where.

        x ─ features ─ average over 7x7 bins ─ flatten ─ fc6 ─ ReLU ─ dropout ─ fc7 ─ ReLU ─ dropout ─ scores

        features: five times  ─ 1 to 4 times (conv 3x3 ─ ReLU) ─ pool ─

    With norm=True there is BatchNorm after each convolution. Channels are 1, 2, 4, 8, 8 times the width; the fully
    connected layers have `hidden` units, 64 times the width unless given. With the paper's 224x224 pixels the last
    pooling leaves 7x7, and the averaging does nothing; for small pictures set `bins` to 1.

    Shapes: x (N, in_channels, H, W), scores (N, classes), for H and W of at least 32.
    Source: Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition (2015), columns
    A, B, D and E of table 1; with BatchNorm and any size, as in torchvision.

    >>> net = VGG(3, 10, depth=11, width=2, bins=1, rng=0)
    >>> net(np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 10)
    >>> net["features"](np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 16, 1, 1)
    """

    def __init__(
        self,
        in_channels,
        classes,
        depth=16,
        width=64,
        hidden=None,
        norm=False,
        dropout=0.5,
        bins=7,
        rng=None,
        dtype=np.float32,
    ):
        make = {"rng": as_rng(rng), "dtype": dtype}
        stages = vgg_stages(in_channels, depth, width, norm=norm, bias=True, **make)
        hidden = 64 * width if hidden is None else check_int("hidden", hidden)
        super().__init__(
            features=Sequential(**{f"stage{i}": Sequential(**s, pool=MaxPool2d(2)) for i, s in enumerate(stages, 1)}),
            pool=AdaptiveAvgPool2d(check_int("bins", bins)),
            flatten=Flatten(),
            fc6=Linear(width * GROWTH[-1] * bins**2, hidden, **make),
            relu6=ReLU(),
            drop6=Dropout(dropout, make["rng"]),
            fc7=Linear(hidden, hidden, **make),
            relu7=ReLU(),
            drop7=Dropout(dropout, make["rng"]),
            scores=Linear(hidden, check_int("classes", classes), **make),
        )


def vgg_stages(in_channels, depth, width, **options):
    """The five stages, each a dict of its layers without the pooling that follows; options as those of `unit`.

    >>> first, *_ = vgg_stages(3, 16, 2, norm=False, rng=np.random.default_rng(0), dtype=np.float32)
    >>> list(first)
    ['conv1', 'relu1', 'conv2', 'relu2']
    """
    counts = CONVOLUTIONS[check_choice("depth", depth, CONVOLUTIONS)]
    check_int("width", width)
    stages = []
    for count, growth in zip(counts, GROWTH, strict=True):
        stages.append(stage(in_channels, [growth * width] * count, **options))
        in_channels = growth * width
    return stages
