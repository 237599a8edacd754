"""Nets, losses and optimisers on the GPU, or with NUMBA_ENABLE_CUDASIM=1 in the simulator, against the CPU."""

import numpy as np
import pytest

import kernels
import minisegnet as ms
from minisegnet import Concat, Sequential, layers, losses, models, optim
from minisegnet.train import train as run_training
from minisegnet.train.config import Config
from minisegnet.trained import load_trained


def can_compute():
    try:
        return bool(kernels.check_device_name("cuda"))
    except kernels.DeviceError:
        return False


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not can_compute(), reason="needs an NVIDIA GPU, or NUMBA_ENABLE_CUDASIM=1"),
]


def small_net(dtype=np.float64):
    """A U-Net of one level, with all that a parameter or buffer can be."""
    return Sequential(
        layers.Conv2d(2, 3, 3, padding=1, rng=0),
        layers.BatchNorm2d(3),
        layers.ReLU(),
        Concat(
            layers.Identity(),
            Sequential(layers.MaxPool2d(2), layers.Conv2d(3, 2, 1, rng=1), layers.ConvTranspose2d(2, 2, 2, 2, rng=2)),
        ),
        layers.Conv2d(5, 3, 1, rng=3),
    ).astype(dtype)


def batch(dtype=np.float64, N=2, classes=3):  # few pixels: the simulator needs milliseconds for each
    rng = np.random.default_rng(5)
    target = rng.integers(0, classes, (N, 4, 6))
    target[0, 0, :2] = 255
    return rng.normal(size=(N, 2, 4, 6)).astype(dtype), target


def train(net, make_optimizer, device, steps=2, loss=None, clip=0):
    """The losses of some steps."""
    net.to(device)
    optimizer = make_optimizer(net.parameters())
    loss = loss or losses.CrossEntropyLoss([1.0, 2.0, 0.5], ignore_index=255)
    x, target = (kernels.to_device(array, device) for array in batch())
    found = []
    for _ in range(steps):
        net.zero_grad()
        scores, saved = net.forward(x)
        value, loss_saved = loss.forward(scores, target)
        net.backward(loss.backward(loss_saved), saved)
        if clip:
            optim.clip_grad_norm(optimizer.params, clip)
        optimizer.step()
        found.append(value)
    return found


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda params: optim.SGD(params, 0.1, momentum=0.9, nesterov=True),
        lambda params: optim.AdamW(params, 0.01),
    ],
    ids=["nesterov", "adamw"],
)
def test_training_gives_the_cpus_curve(make_optimizer):
    here, there = small_net(), small_net()
    expected = train(here, make_optimizer, "cpu", clip=0.5)
    found = train(there, make_optimizer, "cuda", clip=0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    state = there.state_dict()
    for name, array in here.state_dict().items():
        np.testing.assert_allclose(state[name], array, rtol=1e-7, atol=1e-10, err_msg=name)


def test_a_loss_without_kernels_is_helped_by_copies():
    loss = losses.DiceLoss(ignore_index=255)
    sgd = lambda params: optim.SGD(params, 0.1)  # noqa: E731
    expected = train(small_net(), sgd, "cpu", steps=1, loss=loss)
    np.testing.assert_allclose(train(small_net(), sgd, "cuda", 1, losses.OnHost(loss)), expected, rtol=1e-9)
    with pytest.raises(TypeError, match=r"DiceLoss.*computes on the host; wrap it: losses\.OnHost\(loss\)"):
        train(small_net(), sgd, "cuda", 1, loss)


def test_a_net_goes_there_and_back():
    net = small_net()
    before = net.state_dict()
    assert net.device == "cpu"
    assert net.to("cuda").to("cuda").device == "cuda"
    for name, p in net.named_parameters():
        assert kernels.device_of(p.value) == p.device == "cuda", name
        assert not kernels.to_host(p.grad).any()
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    changed = {name: array + 1 for name, array in before.items()}
    net.load_state_dict(changed)
    net.astype(np.float32)
    assert net.device == "cuda"
    assert net.to("cpu").device == "cpu"
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, changed[name].astype(np.float32), err_msg=name)
    net(batch(np.float32)[0])


def test_parameters_share_memory_and_are_updated_at_once():
    net = small_net().to("cuda")
    optimizer = optim.Adam(net.parameters(), 0.1)
    assert len(optimizer.targets) == 1
    assert len(optim.Adam(net.parameters()[2:5], 0.1).targets) == 1
    apart = [p for p in net.parameters() if p is not net.parameters()[3]]
    assert len(optim.Adam(apart, 0.1).targets) == 2  # a frozen one lies in between
    for p in net.parameters():
        p.grad = np.ones(p.shape)
    frozen = kernels.to_host(net.parameters()[3].value)
    before = [kernels.to_host(p.value) for p in apart]
    optim.SGD(apart, 0.5).step()
    for p, value in zip(apart, before, strict=True):
        np.testing.assert_array_equal(kernels.to_host(p.value), value - 0.5)
    np.testing.assert_array_equal(kernels.to_host(net.parameters()[3].value), frozen)


def test_an_optimizers_state_moves_between_devices():
    nets, adam = [small_net(), small_net()], lambda params: optim.Adam(params, 0.01)
    train(nets[0], adam, "cpu", 2)
    optimizers = [adam(nets[0].parameters()), adam(nets[1].to("cuda").parameters())]
    for p in nets[0].parameters():
        p.grad = np.ones(p.shape)
    optimizers[0].step()
    state = optimizers[0].state_dict()
    optimizers[1].load_state_dict(state)
    for name, value in optimizers[1].state_dict().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_an_optimizer_made_before_the_move_is_refused():
    net = small_net()
    optimizer = optim.SGD(net.parameters(), 0.1)
    net.to("cuda")
    with pytest.raises(TypeError, match=r"was made before parameter 0 .* was moved .*call net\.to before making"):
        optimizer.step()


def test_devices_are_never_mixed():
    x, target = batch()
    net = small_net().to("cuda")
    with pytest.raises(TypeError, match=r"x is a NumPy array, w is on the GPU.*devices are never mixed"):
        net(x)
    with pytest.raises(TypeError, match=r"w is a NumPy array, but this net or op computes on the GPU: copy it there"):
        small_net()(kernels.to_device(x))
    with pytest.raises(TypeError, match=r"scores is on the GPU, target is a NumPy array"):
        losses.CrossEntropyLoss()(net(kernels.to_device(x)), target)


def test_arrays_of_other_libraries_are_refused():
    class Foreign:
        dtype, shape, ndim, size = np.dtype(np.float32), (2,), 1, 2

        @property
        def __cuda_array_interface__(self):
            return {"shape": (2,), "typestr": "<f4", "data": (0, False), "version": 3}

    with pytest.raises(TypeError, match=r"expected an array of this package's own on the GPU, got .*Foreign"):
        layers.ReLU()(Foreign())


def test_a_label_that_is_no_class_is_found_before_it_indexes_memory():
    x, target = batch()
    target[1, 2, 3] = 7
    scores = small_net().to("cuda")(kernels.to_device(x))
    with pytest.raises(IndexError, match=r"label 7 \(element 39 of target\) is outside 0\.\.2"):
        losses.CrossEntropyLoss(ignore_index=255)(scores, kernels.to_device(target))
    target[1, 2, 3] = 1
    losses.CrossEntropyLoss(ignore_index=255)(scores, kernels.to_device(target))  # told once, then it is over


def test_dropout_draws_on_the_gpu():
    dropout = layers.Dropout(0.5, rng=0)
    x = kernels.to_device(np.ones((4, 50)))
    y, saved = dropout.forward(x)
    kept = kernels.to_host(saved.keep)
    np.testing.assert_array_equal(kernels.to_host(y), 2.0 * kept)
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_array_equal(kernels.to_host(dropout.backward(x, saved)), 2.0 * kept)


@pytest.mark.parametrize("name", ["unet", "segnet-basic", "fcn8s", "deeplabv3"])
def test_every_kind_of_net_predicts_there(name):
    settings = {
        "unet": {"depth": 1},
        "segnet-basic": {},
        "fcn8s": {"hidden": 2},
        "deeplabv3": {"depth": 18, "rates": (1, 2)},
    }[name]
    net = models.build(name, 1, 2, width=1, rng=0, **settings).eval()
    size = (16, 16) if name == "segnet-basic" else (9, 7)  # it halves maps four times
    x = np.random.default_rng(0).normal(size=(1, 1, *size)).astype(np.float32)
    expected = net(x)
    found = kernels.to_host(net.to("cuda")(kernels.to_device(x)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_run_trains_there(tmp_path):
    """The whole application: first batch, steps, validation, checkpoints, the last evaluation."""
    small = Config(
        data="shapes:size=8,count=2",
        model_settings={"width": 1, "depth": 1},
        epochs=1,
        batch_size=2,
        clip=1.0,
        l1=1e-4,
        sparsity=0.5,
        class_weights="1,2,1,1",
    )
    here = run_training(small, tmp_path / "cpu", quiet=True)
    there = run_training(small.replace(device="cuda"), tmp_path / "cuda", quiet=True)
    assert there.history[0]["train_loss"] == pytest.approx(here.history[0]["train_loss"], rel=1e-4)
    assert load_trained(tmp_path / "cuda", "cuda").net.device == "cuda"
    for name, array in load_trained(tmp_path / "cpu").net.state_dict().items():
        found = load_trained(tmp_path / "cuda").net.state_dict()[name]
        np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_net_whose_part_was_moved_is_moved_whole():
    net = small_net()
    net[0].to("cuda")
    assert {p.device for p in net.to("cuda").parameters()} == {"cuda"}
    assert {p.device for p in net.to("cpu").parameters()} == {"cpu"}


def test_stopping_early_leaves_nothing_under_way():
    batches = kernels.ahead(([np.zeros(2)] for _ in range(5)), "cuda")
    next(batches)
    batches.close()


def test_batches_travel_ahead():
    batches = [[np.full((2, 3), i, np.float32), np.full(2, i)] for i in range(5)]
    found = [[kernels.to_host(a) for a in arrays] for arrays in kernels.ahead(iter(batches), "cuda")]
    for sent, received in zip(batches, found, strict=True):
        for a, b in zip(sent, received, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_summary_of_a_net_on_the_gpu():
    here = small_net().summary((2, 2, 4, 6))
    assert str(small_net().to("cuda").summary((2, 2, 4, 6))) == str(here)


def test_watching_and_fusion_give_the_same():
    x = kernels.to_device(batch()[0])
    net = small_net().to("cuda")
    with ms.fusion(False):
        apart = kernels.to_host(net(x))
    np.testing.assert_allclose(kernels.to_host(net(x)), apart, rtol=1e-12)
