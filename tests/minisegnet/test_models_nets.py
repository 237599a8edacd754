"""Every net of `models`: any size, gradients, what makes each of them what it is, and its settings."""

import numpy as np
import pytest
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError, models
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import BatchNorm2d, Conv2d, Dropout, Linear, PoolUnpool

TINY = {  # settings with which a net has a few hundred to a few thousand parameters
    "unet": {"width": 2, "depth": 2},
    "segnet": {"width": 1, "depth": 3},
    "segnet-basic": {"width": 2, "depth": 2, "kernel_size": 3},
    "fcn32s": {"width": 1, "depth": 11, "hidden": 4},
    "fcn16s": {"width": 1, "depth": 11, "hidden": 4, "norm": True},
    "fcn8s": {"width": 1, "depth": 11, "hidden": 4, "norm": True},
    "fcn-resnet": {"width": 1, "depth": 18},
    "deeplabv3": {"width": 1, "depth": 18, "rates": (1, 2)},
    "vgg11": {"width": 1, "hidden": 4, "bins": 1},
    "vgg13": {"width": 1, "hidden": 4, "bins": 1, "norm": True},
    "vgg16": {"width": 1, "hidden": 4, "bins": 1},
    "vgg19": {"width": 1, "hidden": 4, "bins": 2, "norm": True},
    "resnet18": {"width": 1},
    "resnet34": {"width": 1},
    "resnet50": {"width": 1},
    "simple": {"width": 2, "hidden": 4, "size": (33, 39)},
}
CLASSIFIERS = {"vgg11", "vgg13", "vgg16", "vgg19", "resnet18", "resnet34", "resnet50", "simple"}

every_net = pytest.mark.parametrize("name", TINY)


def tiny(name, seed=0, dtype=np.float32, **settings):
    """The net for two channels and three classes."""
    return models.build(name, 2, 3, rng=seed, dtype=dtype, **(TINY[name] | settings))


def images(*size, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal((2, 2, *size)).astype(dtype)


def layers_of(net, kind):
    return [layer for _, layer in net.named_layers() if isinstance(layer, kind)]


def test_every_model_is_in_the_table():
    assert set(TINY) == set(models.MODELS)


# ------------------------------------------------------------------ values and gradients


@pytest.mark.parametrize("size", [(32, 32), (33, 39), (47, 35)], ids=str)
@every_net
def test_a_picture_of_any_size_goes_in_and_scores_come_out(name, size):
    net = tiny(name, **({"size": size} if name == "simple" else {}))
    x = images(*size)
    y, saved = net.forward(x)
    assert y.shape == ((2, 3) if name in CLASSIFIERS else (2, 3, *size))
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert net.backward(y, saved).shape == x.shape


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s", "fcn-resnet", "deeplabv3", "resnet18", "resnet50"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 17)], ids=str)
def test_however_small_the_picture(name, size):
    net = tiny(name).eval()  # in training, BatchNorm would refuse to normalise a single pixel
    y, saved = net.forward(images(*size))
    assert y.shape[2:] == (() if name in CLASSIFIERS else size)
    assert net.backward(y, saved).shape == (2, 2, *size)


@pytest.mark.parametrize("name", ["unet", "segnet", "segnet-basic", "vgg11"])
def test_a_picture_too_small_to_be_pooled_is_refused(name):
    with pytest.raises(ShapeError, match=r"MaxPool2d\(2\)|PoolUnpool"):
        tiny(name)(images(1, 40))


def randomised_buffers(net):
    """The net with random running statistics, but the weights it starts with: deep nets need their scale."""
    weights = {name: parameter.value.copy() for name, parameter in net.named_parameters()}
    randomised(net).load_state_dict(weights, strict=False)
    return net.astype(next(iter(weights.values())).dtype)


CHECKED = {  # name: the smallest picture that leaves BatchNorm something to normalise, and settings to that end
    "unet": (5, 7, {}),
    "segnet": (17, 18, {}),
    "segnet-basic": (7, 9, {}),
    "fcn8s": (33, 35, {}),
    "fcn-resnet": (11, 17, {}),
    "deeplabv3": (11, 17, {"output_stride": 8, "rates": (1, 2)}),
    "vgg11": (33, 39, {}),
    "resnet18": (11, 17, {"output_stride": 8}),
    "simple": (5, 7, {"size": (5, 7)}),
}
SLOWLY_CHECKED = {
    "fcn16s": (33, 35, {}),
    "fcn32s": (33, 35, {}),
    "vgg16": (33, 39, {}),
    "vgg19": (66, 65, {}),
    "resnet34": (11, 17, {"output_stride": 8}),
    "resnet50": (33, 39, {}),
}


@pytest.mark.parametrize("name", [*CHECKED, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWLY_CHECKED)])
def test_gradients_agree_with_finite_differences(name):
    *size, settings = (CHECKED | SLOWLY_CHECKED)[name]
    net = without_dropout(tiny(name, **settings))
    report = gradcheck(net, images(*size, dtype=np.float64), dense=0, samples=1)
    assert report, report
    assert sum(row.checked for row in report.rows) > 3 * len(report.rows), report  # of a sample and five directions


def without_dropout(net):
    for layer in layers_of(net, Dropout):
        layer.eval()
    return net


@requires_torch
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@every_net
def test_values_and_gradients_agree_with_pytorch(name, dtype):
    """In eval mode: `test_models_oracle` trains. With random statistics, and at a size that no stride divides."""
    net = randomised_buffers(tiny(name, dtype=dtype)).eval()
    assert_agrees(net, images(33, 39, dtype=dtype), np.random.default_rng(1), terms=40)


@every_net
def test_the_gradient_reaches_every_parameter(name):
    size = (64, 65)
    wide = {"width": 4} | ({"hidden": 16} if "hidden" in models.settings_of(name) else {})
    net = without_dropout(tiny(name, **wide | ({"size": size} if name == "simple" else {})))
    y, saved = net.forward(images(*size))
    net.backward(np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype), saved)
    for parameter, p in net.named_parameters():
        assert p.grad.any(), parameter


@every_net
def test_the_same_seed_gives_the_same_net(name):
    one, two, other = tiny(name).state_dict(), tiny(name).state_dict(), tiny(name, seed=1).state_dict()
    for state in one:
        np.testing.assert_array_equal(one[state], two[state])
    assert any(not np.array_equal(one[state], other[state]) for state in one)


@every_net
def test_the_dtype_is_the_one_asked_for(name):
    assert {array.dtype for array in tiny(name, dtype=np.float64).state_dict().values()} == {np.dtype(np.float64)}


# ------------------------------------------------------------------ what makes a net the one it is


@pytest.mark.parametrize("depth", [18, 34, 50])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilation_makes_up_for_the_strides_left_out(depth, output_stride):
    """The finer map, of the same weights, has the coarser one's pixels in between its others."""
    strided = randomised_buffers(models.ResNet(2, 3, depth, width=1, rng=0, dtype=np.float64)).eval()
    dilated = models.ResNet(2, 3, depth, width=1, output_stride=output_stride, dtype=np.float64).eval()
    dilated.load_state_dict(strided.state_dict())
    x = images(75, 100, dtype=np.float64)
    coarse, fine = strided["features"](x), dilated["features"](x)
    skip = 32 // output_stride
    assert coarse.shape[2:] == (3, 4)
    assert fine.shape[2:] == (-(-75 // output_stride), -(-100 // output_stride))
    np.testing.assert_allclose(fine[:, :, ::skip, ::skip], coarse, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in TINY if name.startswith(("vgg", "resnet"))])
def test_the_number_in_the_name_counts_the_layers_with_weights(name):
    net = tiny(name)
    convolutions = [path for path, layer in net.named_layers() if isinstance(layer, Conv2d) and "shortcut" not in path]
    assert f"{len(convolutions) + len(layers_of(net, Linear))}" == name.removeprefix("vgg").removeprefix("resnet")


@pytest.mark.parametrize(("name", "pools"), [("segnet", 5), ("segnet-basic", 4)])
def test_segnet_unpools_as_often_as_it_pools(name, pools):
    net = models.build(name, 2, 3, width=1, rng=0)
    assert len(layers_of(net, PoolUnpool)) == pools
    assert len(layers_of(net, Conv2d)) == {"segnet": 26, "segnet-basic": 9}[name]
    assert len(layers_of(net, BatchNorm2d)) == len(layers_of(net, Conv2d)) - 1  # all but the scores


def test_segnet_basic_has_no_relu_on_the_way_up():
    net = models.build("segnet-basic", 2, 3, width=1, rng=0)
    relus = [path for path, layer in net.named_layers() if "relu" in path]
    assert len(relus) == 4
    assert all("encode.relu" in path for path in relus)


def constant_scores(name, scores, size):
    """What an FCN gives whose coarsest scores are `scores` everywhere, and whose skips give nothing."""
    net = tiny(name, dtype=np.float64).eval()
    for parameter, p in net.named_parameters():
        if ".skip." in f".{parameter}" or "scores.weight" in parameter:
            p.value[...] = 0
        elif parameter.endswith("scores.bias"):
            p.value[...] = scores
    return net(images(*size, dtype=np.float64))


@pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
def test_fcn_starts_by_enlarging_its_scores_bilinearly(name):
    y = constant_scores(name, [1.0, -2.0, 5.0], (160, 192))
    inside = y[:, :, 48:-48, 48:-48]  # at the border some of the tents are missing
    np.testing.assert_allclose(inside, np.broadcast_to([[[1.0]], [[-2.0]], [[5.0]]], inside.shape), rtol=1e-12)


@pytest.mark.parametrize("finest", ["skip", "coarse.scores.skip", "coarse.scores.coarse.scores.scores"])
def test_fcn8s_adds_scores_of_three_scales(finest):
    net, x = tiny("fcn8s", dtype=np.float64).eval(), images(160, 192, dtype=np.float64)
    before = net(x)
    net.load_state_dict(
        {f"body.scores.{finest}.bias": 1 + dict(net.named_parameters())[f"body.scores.{finest}.bias"].value},
        strict=False,
    )
    inside = (net(x) - before)[:, :, 48:-48, 48:-48]
    np.testing.assert_allclose(inside, np.ones_like(inside), rtol=1e-9)


def test_deeplab_sees_the_whole_picture_and_its_dilations_follow_the_stride():
    for output_stride, rates in ((8, (12, 24, 36)), (16, (6, 12, 18)), (32, (3, 6, 9))):
        net = models.build("deeplabv3", 2, 3, width=1, depth=18, output_stride=output_stride, rng=0)
        views = [layer for path, layer in net.named_layers() if ".aspp.view" in path and isinstance(layer, Conv2d)]
        assert [view.dilation for view in views] == [(rate, rate) for rate in rates]
    net = without_dropout(tiny("deeplabv3"))
    x = images(64, 64)
    y = net.eval()(x)
    x[:, :, 0, 0] += 10
    assert (net(x) != y)[:, :, -1, -1].all()  # from one corner to the other


# ------------------------------------------------------------------ the encoder


def encoder_size(net):
    return sum(p.size for name, p in net.named_parameters() if name.startswith(net.encoder_prefixes))


def test_the_encoder_is_what_the_paper_took_from_a_classifier():
    def features(name, **settings):
        return encoder_size(models.build(name, 2, 3, width=2, rng=0, **settings))

    assert features("fcn32s") == features("fcn16s") == features("fcn8s") == features("vgg16", hidden=2)
    biases = 4224 * 2 // 64  # VGG has one for each channel, which BatchNorm makes needless
    assert features("segnet") == features("vgg16", hidden=2, norm=True) - biases
    assert features("deeplabv3") == features("fcn-resnet") == features("resnet50")


@every_net
def test_the_encoder_is_known_and_leaves_something_to_train(name):
    net = tiny(name)
    names = [parameter for parameter, _ in net.named_parameters()]
    kept = [parameter for parameter in names if parameter.startswith(net.encoder_prefixes)]
    assert names[0] == kept[0]  # the encoder comes first
    assert all(any(parameter.startswith(prefix) for parameter in names) for prefix in net.encoder_prefixes)
    left = [parameter for parameter in names if parameter not in kept]
    assert any("score" in parameter or parameter in ("fc.weight", "fc2.weight") for parameter in left)
    assert not any("score" in parameter.split(".")[-2] for parameter in kept)


def test_the_unets_encoder_is_its_way_down():
    net = tiny("unet")
    assert net.encoder_prefixes == ("down.", "level.coarse.down.", "level.coarse.level.coarse.down.")
