"""Parameter and Layer: what is found inside a net, its state, watching it, and how errors name their layer."""

import os
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

import minisegnet
from minisegnet import Layer, Parameter, ShapeError, layers, optim, watch
from minisegnet.core import as_rng, check_array, check_axis, check_dim, check_float, check_int, check_number
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Softmax,
    Sum,
    Tanh,
)

# ------------------------------------------------------------------ a layer that a reader might write


class BlockSaved(NamedTuple):
    records: list
    gain: np.ndarray


class Block(Layer):
    """y = gain * f_n(... f_1(x)), with the layers in a list, a parameter of its own, and a buffer that counts."""

    buffers = ("calls", "unused")

    def __init__(self, *stages, dtype=np.float32):
        self.first = Identity()
        self.gain = Parameter(np.array([2.0], dtype))
        self.stages = list(stages)
        self.calls = np.zeros(1, dtype)
        self.unused = None

    def forward(self, x):
        records = []
        for layer in (self.first, *self.stages):
            x, saved = layer.forward(x)
            records.append(saved)
        if self.training:
            self.calls = self.calls + 1
        return self.gain.value * x, BlockSaved([*records, x], self.gain.value)

    def backward(self, dy, saved):
        *records, h = self.check_saved(saved, BlockSaved).records
        self.gain.grad += (dy * h).sum()
        dh = saved.gain * dy
        for layer, record in zip(reversed((self.first, *self.stages)), reversed(records), strict=True):
            dh = layer.backward(dh, record)
        return dh


def block():
    return Block(Linear(3, 4, rng=0), Tanh(), Linear(4, 3, rng=1))


def test_a_layer_of_ones_own_needs_forward_and_backward_alone():
    net = block()
    assert gradcheck(net, np.random.default_rng(0).standard_normal((2, 3)))
    assert gradcheck(Sum(net, Identity()), np.random.default_rng(0).standard_normal((2, 3)))
    assert [name for name, _ in net.children()] == ["first", "stages.0", "stages.1", "stages.2"]
    assert [name for name, _ in net.named_parameters()] == [
        "gain",
        "stages.0.weight",
        "stages.0.bias",
        "stages.2.weight",
        "stages.2.bias",
    ]
    assert list(Sequential(net).state_dict())[:2] == ["0.gain", "0.calls"]
    assert repr(net).splitlines()[:3] == ["Block(", "  (first): Identity()", "  (stages.0): Linear(3, 4)"]


def test_a_layer_without_passes_says_so():
    class Empty(Layer):
        pass

    with pytest.raises(NotImplementedError, match="Empty has no forward"):
        Empty()(np.ones(2))
    with pytest.raises(NotImplementedError, match="Empty has no backward"):
        Empty().backward(np.ones(2), None)
    assert Empty().label() == repr(Empty()) == "Empty()"
    assert Empty().multiply_adds((1,), (1,)) == 0


# ------------------------------------------------------------------ Parameter


def test_parameter_has_a_value_and_a_gradient_of_its_shape():
    p = Parameter(np.arange(6.0).reshape(2, 3))
    assert (p.shape, p.dtype, p.size) == ((2, 3), np.float64, 6)
    np.testing.assert_array_equal(p.grad, np.zeros((2, 3)))
    p.grad += 1
    kept = p.grad
    p.zero_grad()
    np.testing.assert_array_equal(p.grad, np.zeros((2, 3)))
    np.testing.assert_array_equal(kept, np.ones((2, 3)))  # zero_grad does not wipe what somebody has kept
    p.add_grad(np.full((2, 3), 5, p.dtype))
    np.testing.assert_array_equal(kept, np.ones((2, 3)))
    assert repr(p) == "Parameter(shape=(2, 3), dtype=float64)"
    p.astype(np.float32)
    assert p.value.dtype == p.grad.dtype == np.float32


def test_gradients_add_up_whichever_way_they_come():
    p, first, second = Parameter(np.ones(3, np.float32)), np.array([1, 2, 3], np.float32), np.ones(3, np.float32)
    p.add_grad(first)
    assert p.grad is first
    kept = p.grad.copy()
    p.grad += 1
    p.add_grad(second)
    np.testing.assert_array_equal(p.grad, kept + 2)
    np.testing.assert_array_equal(second, np.ones(3))
    p.zero_grad()
    p.grad += 1  # the zeros are made when they are looked at
    p.add_grad(second)
    np.testing.assert_array_equal(p.grad, [2, 2, 2])


def test_a_gradient_of_another_kind_is_added_as_numpy_does():
    p = Parameter(np.ones((2, 3), np.float32))
    p.add_grad(np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(p.grad, [[1, 2, 3]] * 2)
    assert p.grad.dtype == np.float32
    p.zero_grad()
    with pytest.raises(ValueError, match="broadcast"):
        p.add_grad(np.ones((3, 2), np.float32))
    assert p.grad.shape == (2, 3)


def test_parameter_keeps_shape_and_dtype():
    p = Parameter(np.ones(3, np.float32))
    p.value = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(p.value, [1, 2, 3])
    with pytest.raises(ShapeError, match=r"^the value of a parameter of shape \(3,\) can't become one of \(4,\)$"):
        p.value = np.ones(4, np.float32)
    with pytest.raises(TypeError, match=r"^the value of a float32 parameter can't become float64; use net\.astype$"):
        p.value = np.ones(3)
    with pytest.raises(TypeError, match="a parameter's value must be a NumPy array, got list"):
        p.value = [1, 2, 3]
    np.testing.assert_array_equal(p.value, [1, 2, 3])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1.0], "a parameter's value must be a NumPy array, got list"),
        (1.0, "a parameter's value must be a NumPy array, got float"),
        (np.ones(2, np.int64), r"dtype must be float32 \(to train\) or float64 \(to check\), got int64"),
        (np.ones(2, np.float16), r"dtype must be float32 \(to train\) or float64 \(to check\), got float16"),
    ],
    ids=str,
)
def test_parameter_takes_floating_point_arrays(value, text):
    with pytest.raises(TypeError, match=f"^{text}$"):
        Parameter(value)


# ------------------------------------------------------------------ what is inside


def test_named_layers_go_down_the_tree_in_order():
    net = Sequential(Conv2d(1, 1, 1), Concat(Identity(), up=Sequential(PoolUnpool(SameSize(ReLU())))))
    names = [(name, type(layer).__name__) for name, layer in net.named_layers()]
    assert names == [
        ("", "Sequential"),
        ("0", "Conv2d"),
        ("1", "Concat"),
        ("1.0", "Identity"),
        ("1.up", "Sequential"),
        ("1.up.0", "PoolUnpool"),
        ("1.up.0.pool", "MaxPool2d"),
        ("1.up.0.body", "SameSize"),
        ("1.up.0.body.body", "ReLU"),
    ]
    assert next(iter(net.named_layers("net")))[0] == "net"
    assert list(net.named_layers("net"))[1][0] == "net.0"


def test_sub_layers_are_found_in_attributes_lists_and_tuples():
    class Holder(Layer):
        def __init__(self):
            self.b = ReLU()
            self.items = [Tanh(), "no layer", Identity()]
            self.a = (Flatten(),)

    assert [name for name, _ in Holder().children()] == ["b", "items.0", "items.2", "a.0"]


def tied():
    """Two layers that share one weight Parameter."""
    one, two = Linear(3, 3, rng=0), Linear(3, 3, rng=1)
    two.weight = one.weight
    return Sequential(one, Tanh(), two)


def test_a_shared_parameter_comes_once_and_gets_both_gradients():
    net = tied()
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.bias"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.bias"]
    assert len(net.parameters()) == 3
    x = np.random.default_rng(0).standard_normal((4, 3))
    assert gradcheck(net, x)
    net.astype(np.float64)
    assert net[0].weight is net[2].weight
    y, saved = net.forward(x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    net.backward(dy, saved)
    apart = Sequential(Linear(3, 3), Tanh(), Linear(3, 3)).astype(np.float64)
    for i in (0, 2):
        apart[i].weight.value, apart[i].bias.value = net[i].weight.value, net[i].bias.value
    apart.backward(dy, apart.forward(x)[1])
    np.testing.assert_allclose(net[0].weight.grad, apart[0].weight.grad + apart[2].weight.grad, rtol=1e-12)


def test_a_layer_used_twice_steps_once_with_the_summed_gradient():
    layer = Linear(3, 3, rng=0, dtype=np.float64)
    net = Sequential(layer, Tanh(), layer)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias"]
    assert [name for name, _ in net.named_layers()] == ["", "0", "1", "2"]
    x, dy = np.random.default_rng(0).standard_normal((2, 4, 3))
    net.backward(dy, net.forward(x)[1])
    before, grad = layer.weight.value.copy(), layer.weight.grad.copy()
    assert gradcheck(net, x)
    optim.SGD(net.parameters(), lr=0.5).step()
    np.testing.assert_allclose(layer.weight.value, before - 0.5 * grad, rtol=1e-14)


def test_zero_grad_reaches_every_parameter():
    net = Sequential(block(), Linear(3, 2))
    for p in net.parameters():
        p.grad += 1
    net.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())


# ------------------------------------------------------------------ state


def state_net():
    return Sequential(Linear(2, 3, rng=0), norm=Sequential(BatchNorm2d(2)))


def snapshot(net):
    return [(name, array.tobytes()) for name, array in net.state_dict().items()]


NAMES = ["0.weight", "0.bias", *(f"norm.0.{n}" for n in ("weight", "bias", "running_mean", "running_var"))]


def test_state_dict_has_parameters_and_buffers_in_order():
    state = state_net().state_dict()
    assert list(state) == NAMES
    assert [array.shape for array in state.values()] == [(3, 2), (3,), (2,), (2,), (2,), (2,)]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: s.pop("0.bias"), KeyError, r"Sequential can't load this state: missing 0\.bias \(strict=False"),
        (lambda s: s.update(extra=1), KeyError, r"Sequential can't load this state: unknown extra \(strict=False"),
        (
            lambda s: s.update(a=s.pop("norm.0.bias"), b=s.pop("0.weight")),
            KeyError,
            r"missing 0\.weight, norm\.0\.bias; unknown a, b \(strict=False ignores them\)",
        ),
        (
            lambda s: s.update({"0.weight": np.ones((2, 3)), "norm.0.running_var": np.ones(3)}),
            ShapeError,
            r"^Sequential can't load this state: 0\.weight is \(2, 3\), expected \(3, 2\); "
            r"norm\.0\.running_var is \(3,\), expected \(2,\)$",
        ),
        (lambda s: s.update({"norm.0.bias": np.array(["a", "b"])}), ValueError, "could not convert string to float"),
    ],
    ids=["missing", "unknown", "both", "shape", "no numbers"],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error, text):
    net = state_net()
    before = snapshot(net)
    state = {name: array + 1 for name, array in net.state_dict().items()}
    change(state)
    with pytest.raises(error, match=text):
        net.load_state_dict(state)
    assert snapshot(net) == before


def test_loading_without_strict_takes_what_is_there():
    net = state_net()
    before = net.state_dict()
    state = {"0.weight": np.full((3, 2), 7.0), "norm.0.running_mean": [5, 6], "other": None}
    assert net.load_state_dict(state, strict=False) == ([n for n in NAMES if n not in state], ["other"])
    np.testing.assert_array_equal(net[0].weight.value, np.full((3, 2), 7))
    np.testing.assert_array_equal(net["norm"][0].running_mean, [5, 6])
    np.testing.assert_array_equal(net[0].bias.value, before["0.bias"])
    with pytest.raises(ShapeError, match=r"0\.bias is \(1,\), expected \(3,\)"):
        net.load_state_dict({"0.bias": np.ones(1)}, strict=False)


def test_loading_converts_to_the_nets_dtype_and_copies():
    net = state_net()
    state = {name: np.full(array.shape, 0.1) for name, array in net.state_dict().items()}
    weight = net[0].weight
    net.load_state_dict(state)
    assert net[0].weight is weight  # an optimiser holds the Parameter: it must stay the same object
    for array in state.values():
        array[...] = np.nan
    for array in net.state_dict().values():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, np.full(array.shape, np.float32(0.1)))


def test_buffers_belong_to_the_state_and_are_not_trained():
    net = block()
    assert "calls" in net.state_dict()
    assert "unused" not in net.state_dict()
    assert "calls" not in dict(net.named_parameters())
    net(np.ones((1, 3), np.float32))
    net.eval()(np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(net.state_dict()["calls"], [1])
    other = block()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.calls, [1])
    assert net.astype(np.float64).calls.dtype == np.float64


def test_train_and_eval_return_the_net_and_reach_lists():
    net = Block(Dropout(0.5), Sequential(Dropout(0.5)))
    assert net.training
    assert net.eval() is net
    assert not any(layer.training for _, layer in net.named_layers())
    assert net.train() is net
    assert all(layer.training for _, layer in net.named_layers())
    net.train(False)
    assert net.stages[1][0].training is False


@pytest.mark.parametrize("dtype", [np.float16, np.int32, bool, complex])
def test_astype_takes_two_dtypes_only(dtype):
    net = state_net()
    with pytest.raises(TypeError, match=r"^dtype must be float32 \(to train\) or float64 \(to check\), got "):
        net.astype(dtype)
    assert {array.dtype for array in net.state_dict().values()} == {np.dtype(np.float32)}


def test_to_knows_the_cpu():
    net = state_net()
    assert net.to("cpu") is net
    with pytest.raises(ValueError, match=r"^unknown device 'gpu', expected cpu or cuda"):
        net.to("gpu")


# ------------------------------------------------------------------ calling


def test_calling_a_layer_gives_y_alone():
    y = ReLU()(np.array([-1.0, 1.0]))
    np.testing.assert_array_equal(y, [0, 1])


def test_passes_take_their_arguments_by_name():
    x = np.array([-1.0, 1.0])
    seen = []
    with watch(lambda layer, pass_, inputs, result: seen.append((pass_, len(inputs)))):
        y, saved = ReLU().forward(x=x)
        dx = ReLU().backward(saved=saved, dy=np.array([3.0, 4.0]))
    np.testing.assert_array_equal(dx, [0, 4])
    assert seen == [("forward", 1), ("backward", 2)]
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        ReLU().forward(image=x)


# ------------------------------------------------------------------ watching


def watched(net, x):
    events = []
    with watch(lambda layer, pass_, inputs, result: events.append((pass_, layer, inputs, result))):
        y, saved = net.forward(x)
        dx = net.backward(np.ones_like(y), saved)
    return events, y, saved, dx


def test_watch_reports_every_pass_inner_layers_first():
    net = Sequential(Linear(2, 3, rng=0), Sum(Identity(), Tanh()))
    linear, (identity, tanh) = net[0], net[1]
    x = np.ones((1, 2), np.float32)
    events, y, saved, dx = watched(net, x)
    order = [linear, identity, tanh, net[1], net, identity, tanh, net[1], linear, net]
    assert [layer for _, layer, _, _ in events] == order
    assert [pass_ for pass_, *_ in events] == ["forward"] * 5 + ["backward"] * 5
    _, _, (first_x,), (_, first_saved) = events[0]
    assert first_x is x
    assert first_saved is saved.records[0]
    assert events[4][3][0] is y
    assert events[-1][2][1] is saved
    assert events[-1][3] is dx


def test_watch_ends_with_its_block_even_by_an_error():
    seen = []
    with pytest.raises(ShapeError), watch(lambda *event: seen.append(event)):
        Linear(2, 3)(np.ones((1, 5), np.float32))
    assert seen == []  # a pass that failed is not reported
    Linear(2, 3)(np.ones((1, 2), np.float32))
    assert seen == []


def test_several_may_watch():
    one, two = [], []
    with watch(lambda *event: one.append(event)):
        ReLU()(np.ones(1))
        with watch(lambda *event: two.append(event)):
            ReLU()(np.ones(1))
        ReLU()(np.ones(1))
    assert (len(one), len(two)) == (3, 1)


class Loud(Tanh):
    """Builds on another layer's passes."""

    def forward(self, x):
        y, saved = super().forward(x)
        return 2 * y, saved

    def backward(self, dy, saved):
        return super().backward(2 * dy, saved)


def test_a_pass_that_calls_its_parents_pass_is_one_pass():
    net = Loud()
    events, *_ = watched(net, np.ones((1, 2)))
    assert [(pass_, layer) for pass_, layer, *_ in events] == [("forward", net), ("backward", net)]
    np.testing.assert_allclose(events[0][3][0], 2 * np.tanh(np.ones((1, 2))))  # the whole result, not the parent's
    assert gradcheck(net, np.random.default_rng(0).standard_normal((2, 3)))
    with pytest.raises(TypeError, match=r"^Loud\(\): expected a NumPy array, got list"):
        net.forward([1.0])


# ------------------------------------------------------------------ errors name their layer


def test_an_error_names_the_path_to_its_layer():
    net = Sequential(
        ReLU(), PoolUnpool(Sequential(Conv2d(2, 2, 1, rng=0), Concat(Identity(), up=SameSize(Conv2d(3, 2, 1)))))
    )
    with pytest.raises(ShapeError) as caught:
        net(np.ones((1, 2, 4, 4), np.float32))
    assert str(caught.value).startswith(
        "1.body.1.up.body Conv2d(3, 2, kernel_size=1): x has shape (1, 2, 2, 2): 2 chan"
    )
    assert type(caught.value) is ShapeError


def test_an_error_on_the_way_back_names_the_path_too():
    net = Sequential(Linear(2, 3), head=Sequential(Tanh(), Softmax()))
    x = np.ones((1, 2), np.float32)
    _, saved = net.forward(x)
    with pytest.raises(ShapeError, match=r"^head\.1 Softmax\(dim=1\): dy has shape \(1, 4\), expected \(1, 3\)$"):
        net.backward(np.ones((1, 4), np.float32), saved)


def test_an_error_in_a_list_of_layers():
    net = Sequential(Block(Identity(), Linear(3, 2)))
    with pytest.raises(ShapeError, match=r"^0\.stages\.1 Linear\(3, 2\): x has shape \(1, 5\), expected \(\.\.\., 3\)"):
        net(np.ones((1, 5), np.float32))


def test_an_error_of_a_layer_that_is_in_no_list():
    class Hidden(Layer):
        def forward(self, x):
            return Linear(3, 2).forward(x)

        def backward(self, dy, saved):
            return dy

    with pytest.raises(ShapeError, match=r"^0\.Linear Linear\(3, 2\): x has shape \(1, 5\)"):
        Sequential(Hidden())(np.ones((1, 5), np.float32))


def test_only_one_name_for_a_layer_that_calls_its_parents_pass():
    class Wide(Conv2d):
        def forward(self, x):
            return super().forward(x)

    with pytest.raises(
        ShapeError, match=r"^0 Wide\(1, 2, kernel_size=3\): x has shape \(3,\), expected \(N, C, H, W\)$"
    ):
        Sequential(Wide(1, 2, 3))(np.ones(3, np.float32))


class Net(Layer):
    """Builds its layers when it is made, as models do."""

    def __init__(self, width, kernel):
        if width == 7:
            raise ValueError(f"width must not be 7, got {width}")
        self.body = Sequential(Conv2d(3, width, kernel), ReLU())


class WideNet(Net):
    def __init__(self, kernel):
        super().__init__(64, kernel)


class StrangeConv(Conv2d):
    pass


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Conv2d(3, 4, 3, stride=0), ValueError, "Conv2d: stride must be at least 1, got 0"),
        (lambda: Net(0, 3), ValueError, "Conv2d: out_channels must be at least 1, got 0"),
        (lambda: Net(7, 3), ValueError, "Net: width must not be 7, got 7"),
        (lambda: WideNet("a"), TypeError, "Conv2d: kernel_size must be an integer or a pair of integers, got 'a'"),
        (lambda: StrangeConv(3, 4, 0), ValueError, "StrangeConv: kernel_size must be at least 1, got 0"),
        (lambda: Sequential(Sum()), ValueError, "Sum: at least one layer is needed, got none"),
    ],
)
def test_an_error_of_a_constructor_names_its_class_once(make, error, text):
    with pytest.raises(error, match=f"^{re.escape(text)}$"):
        make()


def test_missing_arguments_of_a_constructor():
    with pytest.raises(TypeError, match=r"^Conv2d: .*missing 2 required positional arguments: 'out_channels' and 'ker"):
        Conv2d(3)


def test_an_error_of_a_layer_made_on_the_fly_names_both():
    class OnTheFly(Layer):
        def forward(self, x):
            return MaxPool2d(0).forward(x)

    with pytest.raises(ValueError, match=r"^0 OnTheFly\(\): MaxPool2d: kernel_size must be at least 1, got 0$"):
        Sequential(OnTheFly())(np.ones((1, 1, 2, 2)))


# ------------------------------------------------------------------ checks


@pytest.mark.parametrize("value", [1, 5, np.int32(5), np.uint8(5)])
def test_check_int_gives_a_python_int(value):
    assert type(check_int("size", value)) is int
    assert check_int("size", value) == value


@pytest.mark.parametrize("value", [1.0, "1", None, True, np.bool_(True), [1], np.ones(1, int)])
def test_check_int_refuses_what_is_no_integer(value):
    with pytest.raises(TypeError, match=f"^size must be an integer, got {re.escape(repr(value))}$"):
        check_int("size", value)


def test_check_int_has_a_minimum():
    with pytest.raises(ValueError, match=r"^size must be at least 1, got 0$"):
        check_int("size", 0)
    assert check_int("size", 0, minimum=0) == 0
    with pytest.raises(ValueError, match=r"^size must be at least 0, got -1$"):
        check_int("size", -1, minimum=0)


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (-0.1, (0, 1), "p must be in [0, 1], got -0.1"),
        (1.1, (0, 1), "p must be in [0, 1], got 1.1"),
        (float("nan"), (0, 1), "p must be in [0, 1], got nan"),
        (float("nan"), (), "p must be in (-inf, inf), got nan"),
        (-1, (0,), "p must be in [0, inf), got -1"),
        (2, (None, 1), "p must be in (-inf, 1], got 2"),
    ],
)
def test_check_number_names_its_range(value, bounds, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        check_number("p", value, *bounds)


def test_check_number_open_ends():
    assert check_number("p", 0, 0, 1) == 0
    assert check_number("p", 1, 0, 1) == 1
    with pytest.raises(ValueError, match=r"^p must be in \(0, 1\], got 0$"):
        check_number("p", 0, 0, 1, open_low=True)
    with pytest.raises(ValueError, match=r"^p must be in \[0, 1\), got 1$"):
        check_number("p", 1, 0, 1, open_high=True)
    assert type(check_number("p", np.float32(0.5))) is float
    assert type(check_number("p", 3)) is float


@pytest.mark.parametrize("value", ["0.5", None, True, [0.5], np.ones(1), 1j])
def test_check_number_refuses_what_is_no_number(value):
    with pytest.raises(TypeError, match=f"^p must be a number, got {re.escape(repr(value))}$"):
        check_number("p", value)


def test_other_checks_return_what_they_are_given():
    a = np.ones(2)
    assert check_array(a, "a") is a
    assert check_float("float32") == check_float(np.float32) == np.float32
    assert (check_dim(-1), check_dim(np.int64(2))) == (-1, 2)
    assert check_axis(np.ones((2, 3)), -2) is None
    for dim in (2, -3):
        with pytest.raises(ShapeError, match=rf"^x has shape \(2, 3\), expected one with an axis {dim}$"):
            check_axis(np.ones((2, 3)), dim)


def test_as_rng_takes_seeds_and_generators():
    generator = np.random.default_rng(0)
    assert as_rng(generator) is generator
    assert as_rng(7).random() == as_rng(np.int64(7)).random() == np.random.default_rng(7).random()
    assert as_rng(None).random() != as_rng(None).random()


@pytest.mark.parametrize(
    ("rng", "error"),
    [(True, TypeError), (1.5, TypeError), ("seed", TypeError), (np.random, TypeError), (-1, ValueError)],
)
def test_as_rng_refuses_the_rest(rng, error):
    with pytest.raises(
        error, match=r"^rng must be a seed \(an integer of at least 0\), a numpy\.random\.Generator or No"
    ):
        as_rng(rng)


# ------------------------------------------------------------------ another package of the name `kernels`


def test_a_foreign_kernels_package_is_named(tmp_path):
    foreign = tmp_path / "kernels"
    foreign.mkdir()
    (foreign / "__init__.py").write_text("def get_kernel(name): ...\n")
    root = pathlib.Path(minisegnet.__file__).parents[1]
    path = os.pathsep.join([str(tmp_path), str(root)])
    done = subprocess.run(
        [sys.executable, "-c", "import minisegnet"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: minisegnet needs its own package `kernels`, but `import kernels` found another one at "
        f"{foreign / '__init__.py'}; install minisegnet into a virtual environment of its own"
    )


def test_a_parameter_owns_its_array():
    given, other = np.ones(2), np.zeros(2)
    p = Parameter(given)
    p.value -= 1
    p.value = other
    p.value += 5
    np.testing.assert_array_equal(given, 1)
    np.testing.assert_array_equal(other, 0)


def test_a_forward_of_any_name_works():
    class Half(Layer):
        def halve(self, x):
            return x / 2, None

        forward = halve
        backward = lambda self, dy, saved: dy / 2  # noqa: E731

    layer = Half()
    y, saved = layer.forward(np.ones(2))
    np.testing.assert_array_equal(y, 0.5)
    np.testing.assert_array_equal(layer.backward(y, saved), 0.25)


def test_parameters_and_layers_in_lists_and_dicts_are_found():
    class Bag(Layer):
        def __init__(self):
            self.weights = [Parameter(np.ones(2)), Parameter(np.zeros(3))]
            self.parts = {"first": layers.Linear(1, 1), "second": layers.ReLU()}

    assert [name for name, _ in Bag().named_parameters()] == [
        "weights.0",
        "weights.1",
        "parts.first.weight",
        "parts.first.bias",
    ]


def test_missing_and_wrong_first_arguments_are_named():
    relu = layers.ReLU()
    with pytest.raises(TypeError, match=r"^ReLU\(\): missing a required argument: 'x'$"):
        relu.forward()
    _, saved = relu.forward(np.ones(2))
    with pytest.raises(TypeError, match=r"got list; .* \(this was given as dy\)$"):
        relu.backward([1.0, 2.0], saved)


def test_a_large_array_in_place_of_a_number_is_not_printed_whole():
    with pytest.raises(TypeError, match=r"^Dropout: p must be a number, got an array of shape \(9,\)$"):
        layers.Dropout(np.ones(9))
    with pytest.raises(ValueError, match=r"^BatchNorm2d: eps must be in \(0, inf\), got inf$"):
        layers.BatchNorm2d(2, eps=np.inf)


def test_a_gradient_that_belongs_to_somebody_else_is_copied():
    whole = np.zeros((2, 3))
    for grad in (whole[0], np.broadcast_to(1.0, (3,))):
        p = Parameter(np.ones(3))
        p.add_grad(grad)
        p.add_grad(np.ones(3))
        np.testing.assert_array_equal(p.grad, np.asarray(grad) + 1)
    np.testing.assert_array_equal(whole, 0)
