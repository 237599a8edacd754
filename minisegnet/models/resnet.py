"""ResNet: blocks that add a correction to what they are given, so that a hundred layers still train."""

import numpy as np

from ..combine import Sequential, Sum
from ..core import as_rng, check_int
from ..layers import AdaptiveAvgPool2d, Flatten, Identity, Linear, MaxPool2d, ReLU
from .parts import HasEncoder, check_choice, unit

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}  # in each of the four stages
BOTTLENECK = (50,)  # depths whose blocks are 1x1 - 3x3 - 1x1; the others' are 3x3 - 3x3
EXPANSION = 4  # how many times more channels a bottleneck has outside than inside


class ResNet(HasEncoder, Sequential):
    """ResNet of depth 18, 34 or 50, a classifier.

        x ─ features ─ average over the map ─ fc ─ scores

        features:  ─ conv 7x7, stride 2 ─ BatchNorm ─ ReLU ─ pool 3x3, stride 2 ─ stage 1 ─ ... ─ stage 4 ─

        block:     ─┬─ conv 3x3 ─ BatchNorm ─ ReLU ─ conv 3x3 ─ BatchNorm ─┬ + ─ ReLU ─
                    └────────── as it is (or 1x1 conv ─ BatchNorm) ────────┘

    Stages 2 to 4 begin with a stride of 2, so the features are 1/32 of the picture's size. output_stride=16 or 8 stops
    at that: the strides left out are made up for by dilation (see `resnet_features`).

    Channels are 1, 2, 4, 8 times the width in stages 1 to 4, and four times that in ResNet-50, whose blocks are
    conv 1x1 ─ conv 3x3 ─ conv 1x1 with the stride in the middle, as in torchvision.

    Shapes: x (N, in_channels, H, W) of any size, scores (N, classes).
    Source: He et al., Deep residual learning for image recognition (2016).

    >>> net = ResNet(3, 10, depth=18, width=2, rng=0).eval()
    >>> net(np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 10)
    >>> net["features"](np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 16, 2, 2)
    """

    def __init__(self, in_channels, classes, depth=50, width=64, output_stride=32, rng=None, dtype=np.float32):
        make = {"rng": as_rng(rng), "dtype": dtype}
        super().__init__(
            features=resnet_features(in_channels, depth, width, output_stride, **make),
            pool=AdaptiveAvgPool2d(1),
            flatten=Flatten(),
            fc=Linear(feature_channels(depth, width), check_int("classes", classes), **make),
        )


def resnet_features(in_channels, depth, width, output_stride=32, *, rng, dtype):
    """Everything up to the last stage, as a Sequential: a picture (H, W) to maps of H/output_stride, W/output_stride.

    Leaving out a stride keeps twice as many rows and columns. The convolutions after it then skip every second one of
    those, by twice the dilation: each weight still meets the pixels that it met before, and the weights of a net with
    strides can be taken over.
    Source: Yu and Koltun, Multi-scale context aggregation by dilated convolutions (2016); Chen et al., DeepLab (2018).
    """
    counts = BLOCKS[check_choice("depth", depth, BLOCKS)]
    check_int("width", width)
    check_choice("output_stride", output_stride, (8, 16, 32))
    make = {"rng": rng, "dtype": dtype}
    parts = {
        "stem": Sequential(**unit(in_channels, width, 7, stride=2, **make)),
        "pool": MaxPool2d(3, stride=2, padding=1),
    }
    channels, shrunk, dilation = width, 4, 1
    for number, count in enumerate(counts, 1):
        inside = width * 2 ** (number - 1)
        outside = inside * EXPANSION if depth in BOTTLENECK else inside
        blocks = []
        for i in range(count):
            stride, before = (2, dilation) if number > 1 and i == 0 else (1, dilation)
            if stride == 2 and shrunk == output_stride:
                stride, dilation = 1, 2 * dilation
            shrunk *= stride
            blocks.append(residual(channels, inside, outside, stride, before, dilation, **make))
            channels = outside
        parts[f"stage{number}"] = Sequential(*blocks)
    return Sequential(**parts)


def feature_channels(depth, width):
    """How many channels `resnet_features` ends with."""
    return 8 * width * (EXPANSION if depth in BOTTLENECK else 1)


def residual(in_channels, inside, outside, stride, before, dilation, **make):
    """A block. `before` is the dilation of the convolution with the stride, `dilation` that of those after it."""
    spread = {"stride": stride, "dilation": before}
    if outside == inside:
        path = unit(in_channels, inside, name="1", **spread, **make)
        path |= unit(inside, outside, name="2", relu=False, dilation=dilation, **make)
    else:
        path = unit(in_channels, inside, 1, name="1", **make)
        path |= unit(inside, inside, name="2", **spread, **make)
        path |= unit(inside, outside, 1, name="3", relu=False, **make)
    as_it_is = Identity()
    if (in_channels, stride) != (outside, 1):
        as_it_is = Sequential(**unit(in_channels, outside, 1, relu=False, stride=stride, **make))
    return Sequential(add=Sum(path=Sequential(**path), shortcut=as_it_is), relu=ReLU())
