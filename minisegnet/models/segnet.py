"""SegNet: a decoder that mirrors the encoder, and puts each value back where the encoder's pooling found it."""

import numpy as np

from ..combine import PoolUnpool, Sequential
from ..core import as_rng, check_int
from ..layers import Identity
from .parts import HasEncoder, check_choice, conv, stage
from .vgg import CONVOLUTIONS, GROWTH


class SegNet(HasEncoder, Sequential):
    """SegNet: the convolutions of VGG-16, and the same in reverse. Each level wraps the coarser one.

        x ─ encode ─ pool ┐                    ┌ unpool ─ decode ─ scores
                  switches ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
                          └ encode ─ pool ┐ ┌ unpool ─ decode ┘
                                 switches ─ ┘
                                      ... and so on, depth levels

    encode is 2 (from the third level on 3) times conv 3x3 ─ BatchNorm ─ ReLU, decode the same back to the channels
    that the level was given; the last convolution of all makes the scores. Channels are 1, 2, 4, 8, 8 times the width.

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W), for H and W of at least 2^depth. An odd row or column
    that the pooling does not reach is zero after unpooling.
    Source: Badrinarayanan, Kendall and Cipolla, SegNet: a deep convolutional encoder-decoder architecture (2017).

    >>> net = SegNet(3, 4, width=2, depth=3, rng=0)
    >>> net(np.zeros((1, 3, 9, 11), np.float32)).shape
    (1, 4, 9, 11)
    """

    encoder_part = "encode"

    def __init__(self, in_channels, classes, width=64, depth=5, rng=None, dtype=np.float32):
        check_int("width", width)
        check_choice("depth", depth, range(1, 6))
        make = {"rng": as_rng(rng), "dtype": dtype}
        levels = [(count, growth * width) for count, growth in zip(CONVOLUTIONS[16], GROWTH, strict=True)][:depth]

        def pooled(channels, levels):
            """What is done between pooling and unpooling a map of so many channels."""
            if not levels:
                return Identity()
            (count, inner), *coarser = levels
            return Sequential(
                encode=Sequential(**stage(channels, [inner] * count, **make)),
                unpool=PoolUnpool(pooled(inner, coarser)),
                decode=Sequential(**stage(inner, [inner] * (count - 1) + [channels], **make)),
            )

        count, channels = levels[0]
        super().__init__(
            encode=Sequential(**stage(in_channels, [channels] * count, **make)),
            unpool=PoolUnpool(pooled(channels, levels[1:])),
            decode=Sequential(**stage(channels, [channels] * (count - 1), **make)),
            scores=conv(channels, check_int("classes", classes), **make),
        )


class SegNetBasic(HasEncoder, Sequential):
    """SegNet-Basic: one large convolution for each level on the way down and one on the way up, all of one width.

        encode   conv 7x7 ─ BatchNorm ─ ReLU
        decode   conv 7x7 ─ BatchNorm           (no ReLU)
        scores   conv 1x1

    Otherwise as SegNet, with which it shares the picture above. The paper's fixed normalisation of the picture's local
    contrast is left to the data's transforms.

    Shapes: x (N, in_channels, H, W), scores (N, classes, H, W), for H and W of at least 2^depth; kernel_size is odd.
    Source: Badrinarayanan, Kendall and Cipolla, SegNet (2017), section 3.2.

    >>> net = SegNetBasic(3, 4, width=2, depth=3, rng=0)
    >>> net(np.zeros((1, 3, 9, 11), np.float32)).shape
    (1, 4, 9, 11)
    """

    encoder_part = "encode"

    def __init__(self, in_channels, classes, width=64, depth=4, kernel_size=7, rng=None, dtype=np.float32):
        check_int("width", width)
        check_int("depth", depth)
        if check_int("kernel_size", kernel_size) % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that maps keep their size, got {kernel_size}")
        make = {"rng": as_rng(rng), "dtype": dtype}

        def level(channels, left):
            if left == 0:
                return Identity()
            return Sequential(
                encode=Sequential(**stage(channels, [width], kernel_size=kernel_size, **make)),
                unpool=PoolUnpool(level(width, left - 1)),
                decode=Sequential(**stage(width, [width], kernel_size=kernel_size, relu=False, **make)),
            )

        super().__init__(
            **level(in_channels, depth).layers, scores=conv(width, check_int("classes", classes), 1, **make)
        )
