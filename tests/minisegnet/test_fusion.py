"""Pairs of layers computed together: the numbers, records, errors and statistics of the layers one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import randomised
from nets import NETS, build

import kernels
import minisegnet as ms
from minisegnet import ShapeError
from minisegnet.core import arrays_in
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import BatchNorm2d, Conv2d, LeakyReLU, ReLU, Sequential, Sum
from minisegnet.layers.activation import ReLUSaved
from minisegnet.layers.conv import Conv2dSaved
from minisegnet.layers.norm import BatchNorm2dSaved
from minisegnet.pairs import BatchNormReLU, ConvReLU, Pair, paired


@pytest.fixture(params=kernels.available())
def backend(request):
    with kernels.use(request.param):
        yield request.param


def passes(net, x, dy_seed=1, fused=True, backward_fused=None):
    """Everything that a forward and a backward pass give: y, saved, dx, gradients, and the net's state afterwards."""
    net.zero_grad()
    with ms.fusion(fused):
        y, saved = net.forward(x)
    dy = np.random.default_rng(dy_seed).standard_normal(y.shape).astype(x.dtype)
    given_arrays = [x, dy, y, *arrays_in(saved)]
    before = [a.copy() for a in given_arrays]
    with ms.fusion(fused if backward_fused is None else backward_fused):
        dx = net.backward(dy, saved)
    for a, was in zip(given_arrays, before, strict=True):
        np.testing.assert_array_equal(a, was)
    return y, saved, dx, [p.grad.copy() for p in net.parameters()], net.state_dict()


def same_bits(found, expected):
    """Assert equal structure, types, dtypes and numbers, NaN included."""
    assert type(found) is type(expected)
    if isinstance(found, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(found, dict):
        assert list(found) == list(expected)
        same_bits(list(found.values()), list(expected.values()))
    elif isinstance(found, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same_bits(a, b)
    else:
        assert found == expected


def assert_fusion_changes_nothing(make, x):
    """`make` returns a new net, always the same one."""
    apart = passes(make(), x, fused=False)
    same_bits(passes(make(), x), apart)
    same_bits(passes(make(), x, backward_fused=False), apart)
    same_bits(passes(make(), x, fused=False, backward_fused=True), apart)


def random_x(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------ the same numbers


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(2, 40), st.integers(2, 40)),
    dtype=st.sampled_from([np.float64, np.float32]),
    training=st.booleans(),
    affine=st.booleans(),
    tracked=st.booleans(),
)
@pytest.mark.parametrize("name", kernels.available())
def test_batch_norm_and_relu_give_the_same_bits(name, seed, shape, dtype, training, affine, tracked):
    def make():
        norm = BatchNorm2d(shape[1], affine=affine, track_running_stats=tracked)
        return randomised(Sequential(norm, ReLU()), seed).astype(dtype).train(training)

    with kernels.use(name):
        assert_fusion_changes_nothing(make, random_x(shape, dtype, seed))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([(1, 1, 1), (3, 9, 1), (4, 6, 2), (5, 5, 5), (16, 8, 1)]),
    size=st.tuples(st.integers(0, 2), st.integers(4, 30), st.integers(4, 30)),
    kernel_size=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    bias=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
@pytest.mark.parametrize("name", kernels.available())
def test_convolution_and_relu_give_the_same_bits(name, seed, channels, size, kernel_size, stride, padding, bias, dtype):
    C, O, groups = channels
    N, H, W = size

    def make():
        conv = Conv2d(C, O, kernel_size, stride, padding, groups=groups, bias=bias, dtype=dtype)
        return randomised(Sequential(conv, ReLU()), seed).astype(dtype)

    with kernels.use(name):
        assert_fusion_changes_nothing(make, random_x((N, C, H, W), dtype, seed))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETS)
def test_whole_nets_give_the_same_bits(backend, name, training, dtype):
    x = random_x((2, 2, 10, 12), dtype)
    assert_fusion_changes_nothing(lambda: randomised(build(name)).astype(dtype).train(training), x)


def test_nan_and_zero_go_the_same_way(backend):
    x = np.array([np.nan, 1.0, -1.0, 0.0, 2.0, -3.0]).reshape(1, 1, 2, 3)
    for training in (True, False):

        def make(training=training):
            return Sequential(BatchNorm2d(1), ReLU()).astype(np.float64).train(training)

        assert_fusion_changes_nothing(make, x)
        assert np.isnan(make()(x)[0, 0, 0, 0])
    conv = Conv2d(1, 1, 1, bias=False, dtype=np.float64)
    conv.weight.value[...] = 1
    np.testing.assert_array_equal(Sequential(conv, ReLU())(x).ravel(), [np.nan, 1, 0, 0, 2, 0])


def test_the_sum_of_a_pair_by_hand(backend):
    """x̂ = -1, 1: y = 0, 1. dy = 5, 7 is 0, 7 after the ReLU; x̂ takes off its mean and what goes along with x̂."""
    net = Sequential(BatchNorm2d(1, eps=1e-12), ReLU()).astype(np.float64)
    y, saved = net.forward(np.array([0.0, 2.0]).reshape(1, 1, 1, 2))
    np.testing.assert_allclose(y.ravel(), [0, 1], atol=1e-10)
    dx = net.backward(np.array([5.0, 7.0]).reshape(y.shape), saved)
    np.testing.assert_allclose(dx.ravel(), [0, 0], atol=1e-5)
    np.testing.assert_allclose((net[0].weight.grad, net[0].bias.grad), [[7], [7]])


def test_gradients_agree_with_finite_differences(backend):
    rng = np.random.default_rng(0)
    block = Sequential(
        Conv2d(2, 3, 3, padding=1, rng=rng), BatchNorm2d(3), ReLU(), Conv2d(3, 2, 1, rng=rng), ReLU(), BatchNorm2d(2)
    )
    net = randomised(Sequential(Sum(block, block), BatchNorm2d(2), ReLU())).astype(np.float64)
    for mode in (True, False):
        report = gradcheck(net.train(mode), random_x((2, 2, 3, 4)))
        assert report, str(report)


# ------------------------------------------------------------------ records


def test_there_is_a_record_for_each_layer_as_it_makes_it_itself():
    net = Sequential(Conv2d(2, 3, 3, rng=0), ReLU(), BatchNorm2d(3), head=ReLU())
    x = random_x((2, 2, 6, 6), np.float32)
    y, saved = net.forward(x)
    assert [type(record) for record in saved.records] == [Conv2dSaved, ReLUSaved, BatchNorm2dSaved, ReLUSaved]
    assert saved.records[0].x is x
    assert saved.records[1].y is saved.records[2].x
    assert saved.records[3].y is y
    dy = random_x(y.shape, np.float32)
    dh = dy
    for layer, record in zip(reversed(list(net)), reversed(saved.records), strict=True):
        dh = layer.backward(dh, record)
    by_hand = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    same_bits(net.backward(dy, saved), dh)
    same_bits([p.grad for p in net.parameters()], by_hand)


def test_gradients_add_up():
    net = Sequential(BatchNorm2d(2), ReLU())
    y, saved = net.forward(random_x((2, 2, 3, 3), np.float32))
    net.backward(y, saved)
    once = [p.grad.copy() for p in net.parameters()]
    net.backward(y, saved)
    same_bits([p.grad for p in net.parameters()], [2 * g for g in once])


def test_running_statistics_of_a_layer_used_twice_move_twice(backend):
    norm, relu = BatchNorm2d(2), ReLU()
    x = 3 + random_x((2, 2, 4, 4), np.float32)

    def make():
        fresh = BatchNorm2d(2)
        relu = ReLU()
        return Sequential(fresh, relu, Sequential(relu, fresh, relu), fresh)

    assert_fusion_changes_nothing(make, x)
    net = Sequential(norm, relu, norm, relu)
    net.forward(x)
    means = [saved.mean for saved in net.forward(x)[1].records[::2]]
    assert not np.allclose(*means)
    assert (norm.running_mean != 0).all()


# ------------------------------------------------------------------ when layers are paired


class MyReLU(ReLU):
    pass


class MyNorm(BatchNorm2d):
    def forward(self, x):
        y, saved = super().forward(x)
        return 2 * y, saved


class MyConv(Conv2d):
    pass


def kinds(*layers):
    return [type(layer).__name__ for layer in paired(layers)]


def test_which_layers_make_a_pair():
    conv, norm, relu = Conv2d(1, 2, 3), BatchNorm2d(2), ReLU()
    assert kinds(conv, norm, relu) == ["Conv2d", "BatchNormReLU"]
    assert kinds(conv, relu, norm, relu, relu) == ["ConvReLU", "BatchNormReLU", "ReLU"]
    assert kinds(relu, norm, conv) == ["ReLU", "BatchNorm2d", "Conv2d"]
    assert kinds(norm, LeakyReLU()) == ["BatchNorm2d", "LeakyReLU"]
    assert kinds(Sequential(norm), relu) == ["Sequential", "ReLU"]
    assert kinds() == []
    assert [BatchNormReLU, ConvReLU] == sorted(Pair.__subclasses__(), key=lambda kind: kind.__name__)


def test_layers_of_ones_own_are_never_paired():
    assert kinds(MyNorm(2), ReLU()) == ["MyNorm", "ReLU"]
    assert kinds(MyConv(1, 2, 3), ReLU()) == ["MyConv", "ReLU"]
    assert kinds(BatchNorm2d(2), MyReLU(), Conv2d(2, 1, 3), MyReLU()) == ["BatchNorm2d", "MyReLU", "Conv2d", "MyReLU"]
    x = random_x((2, 2, 3, 3), np.float32)
    np.testing.assert_array_equal(Sequential(MyNorm(2), ReLU())(x), 2 * Sequential(BatchNorm2d(2), ReLU())(x))


def test_a_layer_whose_passes_were_replaced_is_not_paired():
    """As in a lesson that looks into one layer: net[1].forward = spy."""
    for spied in (0, 1):
        for name in ("forward", "backward"):
            net, calls = Sequential(BatchNorm2d(2), ReLU()), []
            method = getattr(net[spied], name)

            def spy(*arguments, method=method, calls=calls):
                calls.append(len(arguments))
                return method(*arguments)

            setattr(net[spied], name, spy)
            y, saved = net.forward(random_x((2, 2, 3, 3), np.float32))
            net.backward(y, saved)
            assert len(calls) == 1


def test_fusion_can_be_switched_off_and_nests():
    layers = BatchNorm2d(2), ReLU()
    with ms.fusion(False):
        assert kinds(*layers) == ["BatchNorm2d", "ReLU"]
        with ms.fusion(True):
            assert kinds(*layers) == ["BatchNormReLU"]
        assert kinds(*layers) == ["BatchNorm2d", "ReLU"]
    assert kinds(*layers) == ["BatchNormReLU"]


def test_fusion_is_on_again_after_an_exception():
    with pytest.raises(RuntimeError, match="inside"), ms.fusion(False):
        raise RuntimeError("inside")
    assert kinds(BatchNorm2d(2), ReLU()) == ["BatchNormReLU"]


def test_watchers_see_every_layer():
    net = Sequential(Conv2d(2, 3, 3, rng=0), ReLU(), Sequential(BatchNorm2d(3), ReLU()))
    seen = []
    with ms.watch(lambda layer, pass_, inputs, result: seen.append((pass_, type(layer).__name__))):
        y, saved = net.forward(random_x((2, 2, 6, 6), np.float32))
        net.backward(y, saved)
    forward = ["Conv2d", "ReLU", "BatchNorm2d", "ReLU", "Sequential", "Sequential"]
    backward = ["ReLU", "BatchNorm2d", "Sequential", "ReLU", "Conv2d", "Sequential"]
    assert seen == [("forward", name) for name in forward] + [("backward", name) for name in backward]


def test_a_summary_shows_every_layer():
    net = Sequential(Conv2d(2, 3, 3, rng=0), BatchNorm2d(3), ReLU())
    rows = net.summary((1, 2, 8, 8)).rows
    assert [row.label.split("(")[0] for row in rows] == ["Conv2d", "BatchNorm2d", "ReLU"]


# ------------------------------------------------------------------ errors


def text_of(action, kind):
    with pytest.raises(kind) as caught:
        action()
    return str(caught.value)


def saved_by(net, x):
    return net.forward(x)[1]


def test_errors_are_those_of_the_first_layer_with_its_path(backend):
    norm, conv = BatchNorm2d(3), Conv2d(2, 3, 3, padding=1, rng=0)
    net = Sequential(first=Sequential(conv, ReLU()), second=Sequential(norm, ReLU()))
    f32 = np.float32
    wrong = {
        "channels": (lambda: net.forward(np.ones((1, 4, 5, 5), f32)), ShapeError),
        "rank": (lambda: net.forward(np.ones((2, 5, 5), f32)), ShapeError),
        "dtype": (lambda: net.forward(np.ones((1, 2, 5, 5))), TypeError),
        "integers": (lambda: net.forward(np.ones((1, 2, 5, 5), int)), TypeError),
        "no array": (lambda: net.forward([1.0]), TypeError),
        "norm channels": (lambda: net["second"].forward(np.ones((1, 2, 5, 5), f32)), ShapeError),
        "norm dtype": (lambda: net["second"].forward(np.ones((1, 3, 5, 5))), TypeError),
        "one value": (lambda: net["second"].forward(np.ones((1, 3, 1, 1), f32)), ShapeError),
    }
    for name, (action, kind) in wrong.items():
        with ms.fusion(False):
            expected = text_of(action, kind)
        assert text_of(action, kind) == expected, name
    assert text_of(wrong["channels"][0], ShapeError).startswith("first.0 Conv2d(2, 3, kernel_size=3, padding=1): x has")
    assert text_of(wrong["one value"][0], ShapeError).startswith("0 BatchNorm2d(3): x has shape (1, 3, 1, 1): one")


def test_errors_of_backward_name_the_batch_norm_and_what_is_wrong(backend):
    net = Sequential(down=Sequential(BatchNorm2d(3), ReLU()))
    x = random_x((2, 3, 4, 4), np.float32)
    saved = saved_by(net, x)
    text = text_of(lambda: net.backward(np.ones((2, 3, 4, 5), np.float32), saved), ShapeError)
    assert text == "down.0 BatchNorm2d(3): dy has shape (2, 3, 4, 5), expected (2, 3, 4, 4)"
    text = text_of(lambda: net.backward(np.ones((2, 3, 4, 4)), saved), TypeError)
    assert text.startswith("down.0 BatchNorm2d(3): dy is float64, ")
    text = text_of(lambda: net.backward([1.0], saved), TypeError)
    assert "(this was given as dy)" in text

    inner = net["down"]
    norm_saved, relu_saved = saved.records[0].records
    swapped = type(saved.records[0])((relu_saved, norm_saved))
    text = text_of(lambda: inner.backward(x, swapped), TypeError)
    assert text.startswith(
        "0 BatchNorm2d(3): backward got a ReLUSaved as its saved record, expected the BatchNorm2dSav"
    )
    half = type(saved.records[0])((norm_saved, norm_saved))
    text = text_of(lambda: inner.backward(x, half), TypeError)
    assert "got a BatchNorm2dSaved as its saved record, expected the ReLUSaved" in text
    other = saved_by(Sequential(BatchNorm2d(2), ReLU()), random_x((2, 2, 4, 4), np.float32))
    text = text_of(lambda: inner.backward(np.ones((2, 2, 4, 4), np.float32), other), ShapeError)
    assert text == "0 BatchNorm2d(3): the saved x has shape (2, 2, 4, 4), expected (2, 3, 4, 4)"
    with pytest.raises(ValueError, match="the saved record has 1 entries for 2 layers"):
        inner.backward(x, type(other)((norm_saved,)))


def test_errors_of_a_convolutions_backward_name_the_layer_that_failed(backend):
    net = Sequential(Conv2d(2, 3, 3, padding=1, rng=0), ReLU())
    saved = saved_by(net, random_x((2, 2, 4, 4), np.float32))
    text = text_of(lambda: net.backward(np.ones((2, 3, 4, 5), np.float32), saved), ShapeError)
    assert text.startswith("1 ReLU(): dy has shape (2, 3, 4, 5), expected (2, 3, 4, 4)")
    wrong = type(saved)((saved.records[1], saved.records[1]))
    text = text_of(lambda: net.backward(np.ones((2, 3, 4, 4), np.float32), wrong), TypeError)
    assert text.startswith("0 Conv2d(2, 3, kernel_size=3, padding=1): backward got a ReLUSaved as its saved record")
