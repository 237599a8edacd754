"""FCN: a classifier slid over the whole picture, its coarse scores enlarged and added to finer ones."""

import numpy as np

from ..combine import SameSize, Sequential, Sum
from ..core import as_rng, check_int
from ..init import bilinear
from ..layers import Conv2d, ConvTranspose2d, Dropout, MaxPool2d
from .parts import HasEncoder, check_choice, unit
from .resnet import feature_channels, resnet_features
from .vgg import GROWTH, vgg_stages

FIRST_SKIP = {32: 5, 16: 4, 8: 3}  # stride: the stage after whose pooling the finest scores are made


class FCN(HasEncoder, SameSize):
    """FCN-32s, 16s or 8s on VGG: `stride` is the number of pixels from one of the finest scores to the next.

        x ─ stages 1 to 3 ─┬─────────────────── 1x1 ───────────────────┬ + ─ up x8 ─ crop ─ scores
                           └ stage 4 ─┬────────── 1x1 ──────────┬ + ─ up x2 ┘
                                      └ stage 5 ─ fc6 ─ fc7 ─ 1x1 ─ up x2 ┘

    That is FCN-8s; FCN-16s has the lower skip only and ends with up x16, FCN-32s has none and ends with up x32. Each
    stage ends with a pooling, fc6 is a 7x7 and fc7 a 1x1 convolution of `hidden` channels (64 times the width unless
    given), each with ReLU and dropout; up is a transposed convolution that starts as bilinear enlarging. With norm=True
    there is BatchNorm after all other convolutions, for training from the beginning rather than from VGG's weights.

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W), at any size. The poolings round up, and what is too
    much at the end is cropped evenly on both sides: where H and W are multiples of the stride, nothing is.

    The paper pads the picture by 100 pixels and fc6 by none; here maps keep their size, and all is trained at once.
    Source: Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation (2015).

    >>> net = FCN(3, 4, stride=8, width=2, rng=0)
    >>> net(np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 4, 33, 40)
    """

    def __init__(
        self,
        in_channels,
        classes,
        stride=8,
        depth=16,
        width=64,
        hidden=None,
        norm=False,
        dropout=0.5,
        rng=None,
        dtype=np.float32,
    ):
        check_int("classes", classes)
        first = FIRST_SKIP[check_choice("stride", stride, FIRST_SKIP)]
        make = {"rng": as_rng(rng), "dtype": dtype}
        stages = vgg_stages(in_channels, depth, width, norm=norm, **make)
        hidden = 64 * width if hidden is None else check_int("hidden", hidden)

        def down(*numbers):
            """These stages, each with the pooling at its end."""
            halve = {f"stage{i}": Sequential(**stages[i - 1], pool=MaxPool2d(2, ceil_mode=True)) for i in numbers}
            return Sequential(**halve)

        def after(number):
            """From the map after this stage to scores of the map's size."""
            channels = GROWTH[number - 1] * width
            if number == 5:
                return Sequential(
                    **unit(channels, hidden, 7, name="6", norm=norm, **make),
                    drop6=Dropout(dropout, make["rng"]),
                    **unit(hidden, hidden, 1, name="7", norm=norm, **make),
                    drop7=Dropout(dropout, make["rng"]),
                    scores=Conv2d(hidden, classes, 1, **make),
                )
            coarse = Sequential(features=down(number + 1), scores=after(number + 1), up=enlarge(classes, 2, **make))
            return Sum(skip=Conv2d(channels, classes, 1, **make), coarse=coarse)

        body = Sequential(features=down(*range(1, first + 1)), scores=after(first), up=enlarge(classes, stride, **make))
        super().__init__(body, mode="pad")


class FCNResNet(HasEncoder, SameSize):
    """FCN on a dilated ResNet: fine enough to need no skips.

        x ─ ResNet's features ─ conv 3x3 ─ BatchNorm ─ ReLU ─ dropout ─ 1x1 ─ enlarge bilinearly ─ scores

    The features are 1/output_stride of the picture's size, the 3x3 convolution has a quarter of their channels.

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W), at any size.
    Source: torchvision's fcn_resnet50, after Long et al. (2015) and Chen et al., DeepLabV3 (2017).

    >>> net = FCNResNet(3, 4, depth=18, width=2, rng=0)
    >>> net(np.zeros((1, 3, 33, 40), np.float32)).shape
    (1, 4, 33, 40)
    """

    def __init__(
        self, in_channels, classes, depth=50, width=64, output_stride=8, dropout=0.1, rng=None, dtype=np.float32
    ):
        make = {"rng": as_rng(rng), "dtype": dtype}
        features = resnet_features(in_channels, depth, width, output_stride, **make)
        channels = feature_channels(depth, width)
        body = Sequential(
            features=features,
            **unit(channels, channels // 4, **make),
            drop=Dropout(dropout, make["rng"]),
            scores=Conv2d(channels // 4, check_int("classes", classes), 1, **make),
        )
        super().__init__(body)


def enlarge(channels, factor, *, rng, dtype):
    """Enlarging by an even factor, learnt: a transposed convolution that starts as a bilinear one.

    >>> up = enlarge(1, 2, rng=0, dtype=np.float64)
    >>> up(np.array([[[[0.0, 4.0, 4.0, 0.0]]]])).round(2)[0, 0, 0]
    array([0.  , 0.75, 2.25, 3.  , 3.  , 2.25, 0.75, 0.  ])
    """
    up = ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, bias=False, rng=rng, dtype=dtype)
    up.weight.value = bilinear(up.weight.shape, dtype)
    return up
