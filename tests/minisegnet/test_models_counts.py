"""Parameters at published size, against the figures of the papers and of torchvision, and worked out by hand.

torchvision gives the figures of its models as "num_params", with 1000 classes for classifiers and 21 for segmentation.
Its segmentation nets have a second, auxiliary head on stage 3, which these have not.
"""

from itertools import pairwise

import pytest

from minisegnet import models


def parameters(name, in_channels, classes, **settings):
    net = models.build(name, in_channels, classes, rng=0, **settings)
    return sum(parameter.size for parameter in net.parameters())


def published(name, in_channels, classes, width=64, **settings):
    """How many parameters there are at this width, without making them.

    All channels are multiples of the width, so the count is a polynomial of second degree in it (channels in times
    channels out), and three small nets determine it.
    """
    one, two, three = (parameters(name, in_channels, classes, width=w, **settings) for w in (1, 2, 3))
    slope, bend = two - one, three - 2 * two + one
    return one + slope * (width - 1) + bend * (width - 1) * (width - 2) // 2


def conv(in_channels, channels, kernel_size=3, bias=True):
    return in_channels * channels * kernel_size**2 + bias * channels


def norm(channels):
    return 2 * channels


@pytest.mark.parametrize(
    ("name", "settings", "torchvision"),
    [
        ("vgg11", {}, 132_863_336),
        ("vgg13", {}, 133_047_848),
        ("vgg16", {}, 138_357_544),
        ("vgg19", {}, 143_667_240),
        ("vgg16", {"norm": True}, 138_365_992),
        ("resnet18", {}, 11_689_512),
        ("resnet34", {}, 21_797_672),
        ("resnet50", {}, 25_557_032),
        ("resnet50", {"output_stride": 8}, 25_557_032),
    ],
)
def test_classifiers(name, settings, torchvision):
    assert published(name, 3, 1000, **settings) == torchvision


AUXILIARY_HEAD = conv(1024, 256, bias=False) + norm(256) + conv(256, 21, 1)
RESNET50_FEATURES = 25_557_032 - (2048 * 1000 + 1000)  # without the fully connected layer


@pytest.mark.parametrize("output_stride", [8, 16])
def test_deeplab(output_stride):
    views = 2 * conv(2048, 256, 1, bias=False) + 3 * conv(2048, 256, bias=False) + 5 * norm(256)
    after = conv(5 * 256, 256, 1, bias=False) + norm(256) + conv(256, 256, bias=False) + norm(256) + conv(256, 21, 1)
    assert published("deeplabv3", 3, 21, output_stride=output_stride) == RESNET50_FEATURES + views + after
    assert RESNET50_FEATURES + views + after + AUXILIARY_HEAD == 42_004_074  # torchvision, deeplabv3_resnet50


def test_fcn_on_resnet():
    head = conv(2048, 512, bias=False) + norm(512) + conv(512, 21, 1)
    assert published("fcn-resnet", 3, 21) == RESNET50_FEATURES + head
    assert RESNET50_FEATURES + head + AUXILIARY_HEAD == 35_322_218  # torchvision, fcn_resnet50


VGG16_FEATURES = 14_714_688  # torchvision, vgg16().features: 138,357,544 without the fully connected layers
FC6_FC7 = conv(512, 4096, 7) + conv(4096, 4096, 1)


def test_fcn_on_vgg():
    def up(factor):
        return conv(21, 21, 2 * factor, bias=False)

    coarse = VGG16_FEATURES + FC6_FC7 + conv(4096, 21, 1)
    assert round(coarse / 1e6) == 134  # the paper, table 1: "134M" for FCN-VGG16
    assert published("fcn32s", 3, 21) == coarse + up(32)
    assert published("fcn16s", 3, 21) == coarse + conv(512, 21, 1) + up(2) + up(16)
    assert published("fcn8s", 3, 21) == coarse + conv(512, 21, 1) + conv(256, 21, 1) + 2 * up(2) + up(8)


def test_segnet():
    """The paper gives 29.46M in table 2, and "14.7M" for the encoder; that is what VGG16 has before fc6."""
    count = published("segnet", 3, 11)
    assert abs(count / 29.46e6 - 1) < 0.001
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    encoder = sum(conv(a, b, bias=False) + norm(b) for a, b in pairwise(channels))
    back = [*channels[:0:-1]]
    decoder = sum(conv(a, b, bias=False) + norm(b) for a, b in pairwise(back)) + conv(64, 11)
    assert count == encoder + decoder


def test_segnet_basic():
    """The paper gives 1.425M in table 1."""
    count = published("segnet-basic", 3, 11)
    assert abs(count / 1.425e6 - 1) < 0.01
    assert count == conv(3, 64, 7, False) + 7 * conv(64, 64, 7, False) + 8 * norm(64) + conv(64, 11, 1)


def test_unet():
    """Figure 1 of the paper: two convolutions at each of five levels, and four times an up-convolution and two more."""
    sizes = [1, 64, 128, 256, 512, 1024]
    down = sum(conv(a, b) + conv(b, b) for a, b in pairwise(sizes))
    up = sum(conv(2 * a, a, 2) + conv(2 * a, a) + conv(a, a) for a in sizes[1:-1])
    assert published("unet", 1, 2, norm=False) == down + up + conv(64, 2, 1)


def test_simple():
    assert parameters("simple", 3, 2) == conv(3, 64) + conv(64, 128) + (128 * 4 * 4 + 1) * 1024 + 1025 * 2
    digits = conv(1, 32) + conv(32, 64) + (64 * 7 * 7 + 1) * 100 + 101 * 10
    assert parameters("simple", 1, 10, size=28, width=32, hidden=100) == digits


@pytest.mark.parametrize("name", ["resnet18", "unet", "segnet-basic"])
def test_the_polynomial_is_the_count(name):
    assert published(name, 3, 10, width=16) == parameters(name, 3, 10, width=16)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "segnet"])
def test_the_polynomial_is_the_count_at_published_size(name):
    assert published(name, 3, 10) == parameters(name, 3, 10)
