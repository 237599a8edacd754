"""Making nets by name, their settings, and what they say to bad ones; the parts they are made of."""

import numpy as np
import pytest

from minisegnet import models
from minisegnet.layers import BatchNorm2d, Conv2d, ReLU
from minisegnet.models.parts import conv, stage, unit

PUBLISHED = {"unet", "segnet", "segnet-basic", "fcn32s", "fcn16s", "fcn8s", "fcn-resnet", "deeplabv3", "simple"}
PUBLISHED |= {"vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50"}


def make():
    return {"rng": np.random.default_rng(0), "dtype": np.float32}


def test_all_nets_are_there_with_a_published_width():
    assert set(models.MODELS) == PUBLISHED
    for name in PUBLISHED:
        found = models.settings_of(name)
        assert found["width"] == 64
        assert {"rng", "dtype"} < set(found)
        assert not {"in_channels", "classes"} & set(found)


def test_an_unknown_model_lists_those_there_are():
    for call in (lambda: models.build("unett", 3, 2), lambda: models.settings_of("unett")):
        with pytest.raises(
            ValueError, match=r"^unknown model 'unett'; there are unet, segnet, segnet-basic, fcn32s, .*"
        ):
            call()


def test_a_wrong_setting_lists_those_the_net_has():
    with pytest.raises(
        TypeError,
        match=r"^unet has no setting 'widht', 'levels'; it has width=64, depth=4, norm=True, up='transpose', .*",
    ):
        models.build("unet", 3, 2, widht=4, levels=2)


def test_a_setting_that_the_name_has_made_is_no_setting():
    with pytest.raises(
        TypeError, match=r"^vgg16 has no setting 'depth' \(depth=16 is in its name\); it has width=64, hidden=None"
    ):
        models.build("vgg16", 3, 2, depth=11)
    assert "stride" not in models.settings_of("fcn8s")


@pytest.mark.parametrize(
    ("name", "settings", "text"),
    [
        ("unet", {"up": "nearest"}, "UNet: up must be one of transpose, bilinear, got 'nearest'"),
        ("unet", {"depth": 0}, "UNet: depth must be at least 1, got 0"),
        ("segnet", {"depth": 6}, "SegNet: depth must be one of 1, 2, 3, 4, 5, got 6"),
        (
            "segnet-basic",
            {"kernel_size": 4},
            "SegNetBasic: kernel_size must be odd, so that maps keep their size, got 4",
        ),
        ("fcn8s", {"depth": 12}, "FCN: depth must be one of 11, 13, 16, 19, got 12"),
        ("fcn8s", {"hidden": 0}, "FCN: hidden must be at least 1, got 0"),
        ("fcn-resnet", {"output_stride": 4}, "FCNResNet: output_stride must be one of 8, 16, 32, got 4"),
        ("deeplabv3", {"depth": 101}, "DeepLabV3: depth must be one of 18, 34, 50, got 101"),
        ("vgg11", {"bins": 0}, "VGG: bins must be at least 1, got 0"),
        ("vgg11", {"dropout": 2}, "Dropout: p must be in [0, 1], got 2"),
        ("resnet18", {"width": 0}, "ResNet: width must be at least 1, got 0"),
        ("simple", {"size": 3}, "SimpleCNN: size must be at least 4, got 3"),
    ],
)
def test_bad_values_are_named(name, settings, text):
    small = {"width": 1} | ({"hidden": 2} if "hidden" in models.settings_of(name) else {})
    with pytest.raises(ValueError) as caught:
        models.build(name, 3, 2, **small | settings)
    assert str(caught.value) == text


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_classes_and_width_are_checked(name):
    small = {"hidden": 2} if "hidden" in models.settings_of(name) else {}
    with pytest.raises(ValueError, match=r": (classes|out_features) must be at least 1, got 0$"):
        models.build(name, 3, 0, width=1, **small)
    with pytest.raises(TypeError, match=r": width must be an integer, got 1\.5$"):
        models.build(name, 3, 2, width=1.5, **small)


def test_fcn_strides():
    with pytest.raises(ValueError, match=r"^FCN: stride must be one of 32, 16, 8, got 4$"):
        models.FCN(3, 2, stride=4)


# ------------------------------------------------------------------ parts


@pytest.mark.parametrize(("kernel_size", "dilation"), [(1, 1), (3, 1), (7, 1), (3, 5)])
def test_a_conv_keeps_the_size_and_stride_2_halves_it_rounding_up(kernel_size, dilation):
    for size, half in ((7, 4), (8, 4)):
        x = np.ones((1, 2, size, size), np.float32)
        assert conv(2, 3, kernel_size, dilation=dilation, **make())(x).shape == (1, 3, size, size)
        assert conv(2, 3, kernel_size, 2, dilation, **make())(x).shape == (1, 3, half, half)


def test_values_keep_their_size_through_many_layers():
    """With weights of variance 2/fan_in; PyTorch's initial weights would shrink them by 2.4 in each."""
    layers = stage(8, [64] * 10, norm=False, **make())
    x = y = np.random.default_rng(1).standard_normal((2, 8, 24, 24)).astype(np.float32)
    for layer in layers.values():
        y = layer(y)
    assert 0.3 < np.sqrt((y**2).mean() / (x**2).mean()) < 3
    assert not any(layer.bias.value.any() for layer in layers.values() if isinstance(layer, Conv2d))


def test_a_unit_has_a_bias_where_there_is_no_norm():
    kinds = [type(layer) for layer in unit(2, 3, **make()).values()]
    assert kinds == [Conv2d, BatchNorm2d, ReLU]
    assert unit(2, 3, **make())["conv"].bias is None
    assert unit(2, 3, norm=False, **make())["conv"].bias is not None
    assert unit(2, 3, bias=True, **make())["conv"].bias is not None
    assert list(unit(2, 3, relu=False, name="5", **make())) == ["conv5", "norm5"]
