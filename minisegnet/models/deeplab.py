"""DeepLabV3: dilated convolutions keep the map fine, and views of several scales side by side see how things relate."""

import numpy as np

from ..combine import Concat, SameSize, Sequential
from ..core import as_rng, check_int
from ..layers import AdaptiveAvgPool2d, Conv2d, Dropout
from .parts import HasEncoder, unit
from .resnet import feature_channels, resnet_features

RATES = (6, 12, 18)  # dilations of the ASPP at an output stride of 16: twice that at 8, half of it at 32


class DeepLabV3(HasEncoder, SameSize):
    """DeepLabV3 on a dilated ResNet.

        x ─ ResNet's features ─ ASPP ─ conv 1x1 ─ dropout ─ conv 3x3 ─ 1x1 ─ enlarge bilinearly ─ scores

        ASPP:  ─┬─ conv 1x1 ───────────────────┬ concat ─
                ├─ conv 3x3, dilation 6 ───────┤
                ├─ conv 3x3, dilation 12 ──────┤
                ├─ conv 3x3, dilation 18 ──────┤
                └─ mean of the map ─ conv 1x1 ─┘          (atrous spatial pyramid pooling)

    Every conv has BatchNorm and ReLU after it, and those after the features four times the width as channels. The
    features are 1/output_stride (8, 16 or 32) of the picture's size, and the dilations belong to 16; `rates` sets them.

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W), at any size. Training needs at least two pictures in
    a batch, for BatchNorm has to normalise the mean of the map, one number per picture and channel.
    Source: Chen, Papandreou, Schroff and Adam, Rethinking atrous convolution for semantic image segmentation (2017);
    the conv 3x3 before the scores, the dropout and the image branch's single pixel as in torchvision.

    >>> net = DeepLabV3(3, 4, depth=18, width=2, rng=0)
    >>> net(np.zeros((2, 3, 33, 40), np.float32)).shape
    (2, 4, 33, 40)
    """

    def __init__(
        self,
        in_channels,
        classes,
        depth=50,
        width=64,
        output_stride=16,
        rates=None,
        dropout=0.5,
        rng=None,
        dtype=np.float32,
    ):
        make = {"rng": as_rng(rng), "dtype": dtype}
        features = resnet_features(in_channels, depth, width, output_stride, **make)
        rates = [rate * 16 // output_stride for rate in RATES] if rates is None else list(rates)
        channels, views = 4 * width, 2 + len(rates)
        body = Sequential(
            features=features,
            aspp=aspp(feature_channels(depth, width), channels, rates, **make),
            **unit(views * channels, channels, 1, name="1", **make),
            drop=Dropout(dropout, make["rng"]),
            **unit(channels, channels, name="2", **make),
            scores=Conv2d(channels, check_int("classes", classes), 1, **make),
        )
        super().__init__(body)


def aspp(in_channels, channels, rates, **make):
    """Views of the map side by side: of each pixel, of its neighbours so many (`rates`) pixels away, and of it all."""
    views = [Sequential(**unit(in_channels, channels, dilation=rate, **make)) for rate in rates]
    image = Sequential(mean=AdaptiveAvgPool2d(1), **unit(in_channels, channels, 1, **make))
    pixel = Sequential(**unit(in_channels, channels, 1, **make))
    return Concat(pixel=pixel, **{f"view{i}": view for i, view in enumerate(views, 1)}, image=SameSize(image))
