"""PyTorch's twin of a net computes the net: values, all gradients, running statistics, for every kind of layer."""

import copy

import nets
import numpy as np
import pytest
from layer_cases import CASES, randomised
from oracle import close, requires_torch, torch

import kernels
from minisegnet import Layer, layers, models
from minisegnet.bench import twin as twins
from minisegnet.bench.twin import twin


@pytest.fixture(autouse=True)
def _reference():
    """In plain NumPy: the twin is what is tested here, and nothing has to be compiled."""
    with kernels.use("reference"):
        yield


def assert_twins(net, x, module=None, channels_last=False, terms=1):
    """Forward and backward of a net and its twin agree, by name; dy is random."""
    module = module or twin(net)
    net.zero_grad()
    y, saved = net.forward(x)
    dy = np.random.default_rng(2).standard_normal(y.shape).astype(x.dtype)
    dx = net.backward(dy, saved)

    x_leaf = torch.tensor(x)
    if channels_last:
        module, x_leaf = module.to(memory_format=torch.channels_last), x_leaf.to(memory_format=torch.channels_last)
    x_leaf.requires_grad_()
    result = module(x_leaf)
    result.backward(torch.tensor(dy))
    close("y", y, result.detach().numpy(), terms)
    close("dx", dx, x_leaf.grad.numpy(), terms)
    ours, theirs = dict(net.named_parameters()), dict(module.named_parameters())
    assert list(ours) == list(theirs)
    for name, parameter in ours.items():
        close(f"the gradient of {name}", parameter.grad, gradient(theirs[name]), terms)
    states = {name: value.numpy() for name, value in module.state_dict().items()}
    for name, value in net.state_dict().items():
        close(name, value, states[name], terms)


def gradient(parameter):
    return np.zeros(parameter.shape) if parameter.grad is None else parameter.grad.numpy()


OWN_DRAWS = {"dropout"}  # PyTorch draws other masks than we do


@requires_torch
@pytest.mark.parametrize("case", [case for case in CASES if case.name not in OWN_DRAWS], ids=lambda case: case.name)
def test_every_layer_has_a_twin(case):
    assert_twins(case.layer(), case.x())
    assert_twins(case.layer(np.float32), case.x(np.float32))


def test_every_layer_has_a_rule():
    kinds = [getattr(layers, name) for name in layers.__all__]
    assert set(kinds) == set(twins.RULES)


@requires_torch
@pytest.mark.parametrize(
    ("net", "x_shape"),
    [
        (lambda: models.UNet(3, 4, width=2, depth=2, rng=0), (2, 3, 9, 11)),
        (lambda: models.UNet(1, 2, width=2, depth=2, norm=False, up="bilinear", rng=0), (2, 1, 8, 12)),
        (lambda: models.SimpleCNN(3, 2, size=8, channels=(4, 6), hidden=5, rng=0), (3, 3, 8, 8)),
        (lambda: models.VGG(3, 4, depth=11, width=1, hidden=5, bins=2, dropout=0, rng=0).eval(), (2, 3, 33, 35)),
        (lambda: models.ResNet(3, 4, depth=50, width=1, output_stride=8, rng=0).eval(), (2, 3, 33, 35)),
        (lambda: models.FCN(3, 4, stride=8, depth=11, width=1, hidden=5, dropout=0, rng=0), (2, 3, 33, 35)),
        (lambda: models.SegNet(3, 4, width=2, depth=2, rng=0), (2, 3, 13, 10)),
        (lambda: models.DeepLabV3(3, 4, depth=18, width=1, dropout=0, rng=0).eval(), (2, 3, 33, 35)),
        (lambda: nets.segnet(3, 4, 2, 0), (2, 3, 13, 10)),
        (lambda: nets.deeplab(3, 4, 2, 0), (2, 3, 13, 10)),
        (lambda: nets.fcn(3, 4, 2, 0), (2, 3, 13, 10)),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_nets(net, x_shape, channels_last):
    x = np.random.default_rng(1).standard_normal(x_shape)
    assert_twins(randomised(net()).astype(np.float64), x, channels_last=channels_last, terms=100)


@requires_torch
def test_the_twin_is_a_copy():
    net = layers.Sequential(layers.BatchNorm2d(2), layers.Conv2d(2, 2, 1, rng=0))
    before = net.state_dict()
    module = twin(net)
    module(torch.ones(2, 2, 3, 3)).sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not any(parameter.grad.any() for parameter in net.parameters())


@requires_torch
def test_what_is_shared_stays_shared():
    one, other = layers.Conv2d(2, 2, 1, rng=0), layers.Conv2d(2, 2, 3, padding=1, rng=1)
    norm = layers.BatchNorm2d(2)
    tied = layers.Conv2d(2, 2, 1, rng=2)
    tied.weight = one.weight
    net = layers.Sequential(one, norm, other, layers.Sum(norm, tied), one).astype(np.float64)
    x = np.random.default_rng(0).standard_normal((2, 2, 4, 3))
    assert_twins(net, x)
    assert len(list(twin(net).parameters())) == len(net.parameters()) == 7


@requires_torch
def test_each_layer_keeps_its_mode():
    net = layers.Sequential(layers.BatchNorm2d(2), layers.BatchNorm2d(2), layers.Dropout(0.5, rng=0))
    net[1].eval()
    module = twin(net)
    assert [child.training for child in module.children()] == [True, False, True]
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    assert_twins(net.eval(), x)
    kept = twin(net.train())(torch.tensor(np.random.default_rng(0).standard_normal((4, 2, 50, 50), np.float32)))
    assert 0.4 < (kept == 0).float().mean() < 0.6


@requires_torch
def test_a_deep_copy_runs_on_its_own_parameters():
    net = layers.Sequential(
        layers.Conv2d(1, 1, (2, 2), padding="same", rng=0), layers.Sum(layers.Conv2d(1, 1, 1, rng=0))
    )
    module = twin(net)
    copied = copy.deepcopy(module)
    x, before = torch.ones(1, 1, 2, 2), module(torch.ones(1, 1, 2, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    assert torch.equal(copied(x), before)
    assert not module(x).any()


@requires_torch
def test_making_a_twin_draws_no_random_numbers():
    state = torch.get_rng_state()
    twin(models.SimpleCNN(3, 2, size=8, channels=(4, 6), hidden=5, rng=0))
    assert torch.equal(torch.get_rng_state(), state)


class Doubling(Layer):
    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, saved):
        return 2 * dy


class MyReLU(layers.ReLU):
    """A subclass computes what its base does, for all the twin knows."""


@requires_torch
def test_an_unknown_layer_is_named():
    with pytest.raises(TypeError, match=r"Doubling\(\) has no twin in PyTorch; there is one for Adaptive.*, Upsample"):
        twin(layers.Sequential(layers.ReLU(), layers.Sum(Doubling())))
    assert isinstance(twin(MyReLU()), torch.nn.ReLU)


def test_without_torch_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(twins, "torch", None)
    with pytest.raises(ImportError, match=r"needs PyTorch: pip install torch"):
        twin(layers.ReLU())
