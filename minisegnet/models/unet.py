"""U-Net: a coarse view of the picture for what is there, skips of full resolution for where it is."""

import numpy as np

from ..combine import Concat, Sequential
from ..core import as_rng, check_int
from ..layers import BatchNorm2d, Conv2d, ConvTranspose2d, Identity, MaxPool2d, ReLU, Upsample
from .parts import HasEncoder, check_choice


class UNet(HasEncoder, Sequential):
    """U-Net for any input size, `depth` levels deep. Read it from the inside out: each level wraps the coarser one.

        x ─ block ─┬─────────────────── skip ───────────────────┬ concat ─ block ─ scores
                   └ pool ─ block ─┬─────── skip ───────┬ concat ─ block ─ up ┘
                                   └ pool ─ ... ─ up ───┘

    A block is two 3x3 convolutions, each with BatchNorm (norm=True) and ReLU. Channels double with each level, from
    `width`; up is a transposed convolution (up="transpose") or bilinear enlarging and a 1x1 convolution ("bilinear").

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W). Where a level's size is odd, the enlarged map is padded
    by one row or column of zeros to fit the skip. H and W must be at least 2^depth.

    The paper has width 64, depth 4, no BatchNorm and no padding; here maps keep their size, as in most later nets.
    Source: Ronneberger, Fischer and Brox, U-Net: convolutional networks for biomedical image segmentation (2015).

    >>> net = UNet(3, 4, width=2, depth=2, rng=0)
    >>> net(np.zeros((1, 3, 9, 7), np.float32)).shape
    (1, 4, 9, 7)
    """

    encoder_part = "down"

    def __init__(self, in_channels, classes, width=64, depth=4, norm=True, up="transpose", rng=None, dtype=np.float32):
        check_int("width", width)
        check_int("depth", depth)
        check_choice("up", up, ("transpose", "bilinear"))
        make = {"rng": as_rng(rng), "dtype": dtype}

        def block(channels_in, channels):
            layers = []
            for c in (channels_in, channels):
                layers.append(Conv2d(c, channels, 3, padding=1, bias=not norm, **make))
                layers += [BatchNorm2d(channels, dtype=dtype)] if norm else []
                layers.append(ReLU())
            return Sequential(*layers)

        def enlarge(channels):
            if up == "transpose":
                return ConvTranspose2d(2 * channels, channels, 2, stride=2, **make)
            return Sequential(Upsample(scale_factor=2, mode="bilinear"), Conv2d(2 * channels, channels, 1, **make))

        def level(channels, left):
            """The map itself (channels) beside what a coarser view of it has to say (as many): 2*channels come out."""
            parts = {"pool": MaxPool2d(2), "down": block(channels, 2 * channels)}
            if left > 1:
                parts |= {"level": level(2 * channels, left - 1), "out": block(4 * channels, 2 * channels)}
            return Concat(skip=Identity(), coarse=Sequential(**parts, up=enlarge(channels)))

        super().__init__(
            down=block(in_channels, width),
            level=level(width, depth),
            out=block(2 * width, width),
            scores=Conv2d(width, check_int("classes", classes), 1, **make),
        )
