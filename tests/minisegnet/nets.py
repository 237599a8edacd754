"""Miniatures of the four families of segmentation nets, built by hand from layers and combinators.

Each function takes (in_channels, classes, width, rng) and returns a net from images to scores of the same size.
"""

import numpy as np

from minisegnet.init import bilinear
from minisegnet.layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Identity,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Sum,
)


def stage(in_channels, out_channels, rng, kernel_size=3, **options):
    """Convolution, batch normalisation, ReLU; at stride 1 the map keeps its size."""
    padding = "same" if options.get("stride", 1) == 1 else kernel_size // 2
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=padding, bias=False, rng=rng, **options)
    return Sequential(conv, norm=BatchNorm2d(out_channels), relu=ReLU())


def unet(in_channels, classes, width, rng):
    """Two levels: what goes down comes up again, beside the map that it went down from."""

    def level(inner, up):
        return Concat(Identity(), Sequential(MaxPool2d(2), inner, up=up))

    def up(channels):
        return ConvTranspose2d(2 * channels, channels, 2, stride=2, rng=rng)

    bottom = stage(2 * width, 4 * width, rng)
    middle = Sequential(stage(width, 2 * width, rng), level(bottom, up(2 * width)), stage(4 * width, 2 * width, rng))
    return Sequential(
        stage(in_channels, width, rng),
        level(middle, up(width)),
        stage(2 * width, width, rng),
        head=Conv2d(width, classes, 1, rng=rng),
    )


def segnet(in_channels, classes, width, rng):
    """Two levels of pooling and unpooling with the same switches."""
    inner = PoolUnpool(stage(2 * width, 2 * width, rng))
    body = Sequential(stage(width, 2 * width, rng), inner, stage(2 * width, width, rng))
    return Sequential(
        stage(in_channels, width, rng), PoolUnpool(body), head=Conv2d(width, classes, 3, padding=1, rng=rng)
    )


def fcn(in_channels, classes, width, rng):
    """Coarse scores, enlarged by a learnt upsampling that starts as a bilinear one, plus finer scores."""
    up = ConvTranspose2d(classes, classes, 4, stride=2, padding=1, bias=False, rng=rng)
    up.weight.value = bilinear(up.weight.shape)
    coarse = Sequential(
        MaxPool2d(2, ceil_mode=True), stage(width, 2 * width, rng), scores=Conv2d(2 * width, classes, 1, rng=rng), up=up
    )
    scores = Sum(fine=Conv2d(width, classes, 1, rng=rng), coarse=coarse)
    return SameSize(Sequential(stage(in_channels, width, rng, stride=2), scores))


def deeplab(in_channels, classes, width, rng):
    """Dilated convolutions instead of pooling, and an ASPP: views of several scales side by side, one of all."""
    image = SameSize(Sequential(AdaptiveAvgPool2d(1), Conv2d(width, width, 1, rng=rng), ReLU()))
    aspp = Concat(
        stage(width, width, rng, kernel_size=1),
        stage(width, width, rng, dilation=2),
        stage(width, width, rng, dilation=(3, 4)),
        image=image,
    )
    residual = Sum(Identity(), stage(width, width, rng, dilation=2, groups=width))
    return SameSize(
        Sequential(
            stage(in_channels, width, rng, stride=2),
            residual,
            aspp,
            stage(4 * width, width, rng, kernel_size=1),
            head=Conv2d(width, classes, 1, rng=rng),
        )
    )


NETS = {"unet": unet, "segnet": segnet, "fcn": fcn, "deeplab": deeplab}


def build(name, in_channels=2, classes=3, width=2, seed=0):
    """One of the NETS, with its own Generator."""
    return NETS[name](in_channels, classes, width, np.random.default_rng(seed))
