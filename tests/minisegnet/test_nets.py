"""Whole nets of the four families: gradients, agreement with PyTorch, odd sizes, and learning."""

import copy
import pickle

import nets
import numpy as np
import pytest
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import ShapeError, optim
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import AdaptiveAvgPool2d, BatchNorm2d, Conv2d, SameSize, Sequential
from minisegnet.losses import CrossEntropyLoss

every_net = pytest.mark.parametrize("name", nets.NETS)


def images(*size, dtype=np.float64, seed=0):
    """A batch of two images of two channels."""
    return np.random.default_rng(seed).standard_normal((2, 2, *size)).astype(dtype)


def batch_norms(net):
    return [layer for _, layer in net.named_layers() if isinstance(layer, BatchNorm2d)]


@every_net
def test_every_net_normalises_and_has_named_parts(name):
    net = nets.build(name)
    assert len(batch_norms(net)) >= 2
    names = [parameter for parameter, _ in net.named_parameters()]
    assert len(set(names)) == len(names) == len(net.parameters()) > 10
    assert any("norm.weight" in parameter for parameter in names)
    for _, layer in net.named_layers():
        assert layer.label() in repr(net) or list(layer.children())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@every_net
def test_gradients_agree_with_finite_differences(name, training):
    net = randomised(nets.build(name)).train(training)
    report = gradcheck(net, images(7, 9), dense=10, samples=8)
    assert report, report
    assert all(row.checked for row in report.rows), report


@requires_torch
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (9, 13)], ids=str)
@every_net
def test_values_and_gradients_agree_with_pytorch(name, size, dtype):
    net, rng = randomised(nets.build(name, width=4)).astype(dtype), np.random.default_rng(0)
    terms = 4 * 9  # the channels times the area of a kernel
    assert_agrees(net, images(*size, dtype=dtype), rng, terms)
    assert_agrees(net, images(*size, dtype=dtype, seed=1), rng, terms)  # on moved running statistics
    assert_agrees(net.eval(), images(*size, dtype=dtype), rng, terms)


@pytest.mark.parametrize("size", [(5, 7), (7, 9), (9, 13), (16, 5), (4, 4)], ids=str)
@every_net
def test_any_size_goes_in_and_comes_out(name, size):
    net = nets.build(name)
    x = images(*size, dtype=np.float32)
    y, saved = net.forward(x)
    assert y.shape == (2, 3, *size)
    assert net.backward(y, saved).shape == x.shape


@every_net
def test_the_gradient_reaches_every_parameter(name):
    net = nets.build(name, width=4)
    x = images(8, 10, dtype=np.float32)
    y, saved = net.forward(x)
    dx = net.backward(images(8, 10, dtype=np.float32, seed=1)[:, [0, 1, 0]] + y, saved)
    assert dx.any(axis=(1, 2, 3)).all()
    for parameter, p in net.named_parameters():
        assert p.grad.any(), parameter


@every_net
def test_a_few_steps_reduce_the_loss(name):
    net, loss = nets.build(name, width=4), CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    x = images(9, 11, dtype=np.float32)
    target = (x[:, 0] > 0).astype(np.int64) + (x[:, 1] > 1)
    values = []
    for _ in range(40):
        optimizer.zero_grad()
        scores, saved = net.forward(x)
        value, loss_saved = loss.forward(scores, target)
        net.backward(loss.backward(loss_saved), saved)
        optimizer.step()
        values.append(value)
    assert np.isfinite(values).all()
    assert values[-1] < 0.75 * values[0], values


@every_net
def test_the_same_seed_gives_the_same_bits(name):
    runs = []
    for _ in range(2):
        net = nets.build(name, seed=3)
        y, saved = net.forward(images(6, 7, dtype=np.float32))
        dx = net.backward(y, saved)
        runs.append([y, dx, *(p.grad for p in net.parameters()), *net.state_dict().values()])
    for one, two in zip(*runs, strict=True):
        assert one.tobytes() == two.tobytes()


@every_net
def test_state_and_copies_go_round(name):
    net, other = nets.build(name), nets.build(name, seed=1)
    x = images(6, 7, dtype=np.float32)
    net(x)  # moves the running statistics
    net.eval(), other.eval()
    expected = net(x)
    assert not np.array_equal(other(x), expected)
    assert other.load_state_dict(net.state_dict()) == ([], [])
    for twin in (other, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(x), expected)


@every_net
def test_an_empty_batch_goes_through(name):
    net = nets.build(name)
    before = net.state_dict()
    y, saved = net.forward(images(6, 7, dtype=np.float32)[:0])
    assert y.shape == (0, 3, 6, 7)
    assert net.backward(y, saved).shape == (0, 2, 6, 7)
    assert not any(p.grad.any() for p in net.parameters())
    for state, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[state])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("unet", r"0\.0 Conv2d\(2, 2, kernel_size=3, padding='same', bias=False\): x has shape"),
        ("segnet", r"0\.0 Conv2d\(2, 2, kernel_size=3, padding='same', bias=False\): x has shape"),
        ("fcn", r"body\.0\.0 Conv2d\(2, 2, kernel_size=3, stride=2, padding=1, bias=False\): x has shape"),
        ("deeplab", r"body\.0\.0 Conv2d\(2, 2, kernel_size=3, stride=2, padding=1, bias=False\): x has shape"),
    ],
)
def test_an_error_names_the_layer_in_the_net(name, path):
    with pytest.raises(ShapeError, match=rf"^{path} \(1, 5, 8, 8\): 5 channels, expected 2"):
        nets.build(name)(np.ones((1, 5, 8, 8), np.float32))


def test_one_pixel_per_channel_is_an_error_deep_inside_while_training():
    """A DeepLab that normalises its pooled image can't train on single images: the error says where, and why."""
    pooling = SameSize(Sequential(AdaptiveAvgPool2d(1), Conv2d(2, 2, 1, rng=0), BatchNorm2d(2)))
    x = images(4, 4, dtype=np.float32)
    assert pooling(x).shape == x.shape
    with pytest.raises(
        ShapeError, match=r"^body\.2 BatchNorm2d\(2\): x has shape \(1, 2, 1, 1\): one value per channel"
    ):
        pooling(x[:1])
    assert pooling.eval()(x[:1]).shape == (1, 2, 4, 4)


@every_net
def test_the_summary_adds_up(name):
    net = nets.build(name)
    table = net.summary((1, 2, 8, 8))
    assert table.parameters == sum(p.size for p in net.parameters())
    shown = {row.name for row in table.rows}
    leaves = {path for path, layer in net.named_layers() if not list(layer.children())}
    assert leaves <= shown
