"""Recording: every layer's numbers, in order, of any net, which is then as it was before."""

import copy
import re

import numpy as np
import pytest
from layer_cases import CASES, randomised

from minisegnet import ShapeError, fusion, losses, models, trace
from minisegnet.core import Layer
from minisegnet.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Identity,
    Linear,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Sum,
    Tanh,
)
from minisegnet.trace.links import links

NETS = {  # name in models.MODELS: its settings, and the size of the picture
    "unet": ({"width": 2, "depth": 2}, (9, 7)),
    "segnet": ({"width": 2, "depth": 3}, (9, 10)),
    "segnet-basic": ({"width": 2, "depth": 2, "kernel_size": 3}, (9, 7)),
    "fcn8s": ({"width": 1, "hidden": 3, "norm": True}, (40, 33)),
    "fcn32s": ({"width": 1, "hidden": 3}, (33, 32)),
    "fcn-resnet": ({"width": 1, "depth": 18}, (17, 20)),
    "deeplabv3": ({"width": 1, "depth": 18}, (17, 20)),
    "vgg11": ({"width": 1, "hidden": 4, "bins": 1, "norm": True}, (33, 32)),
    "resnet18": ({"width": 1}, (33, 20)),
    "resnet50": ({"width": 1}, (33, 20)),
    "simple": ({"width": 2, "hidden": 5, "size": 8}, (8, 8)),
}


def model(name, dtype=np.float64):
    """(net, x, target) for one of the NETS."""
    settings, size = NETS[name]
    rng = np.random.default_rng(1)
    net = models.build(name, 3, 4, rng=0, **settings).astype(dtype)
    x = rng.standard_normal((2, 3, *size)).astype(dtype)
    y = copy.deepcopy(net)(x)
    return net, x, rng.integers(0, 4, (2, *y.shape[2:]))


def state(net):
    """Everything that a pass may change: values, gradients, buffers, modes and random generators."""
    arrays = net.state_dict() | {f"grad {name}": p.grad.copy() for name, p in net.named_parameters()}
    layers = [layer for _, layer in net.named_layers()]
    generators = [v.bit_generator.state for a in layers for v in vars(a).values() if isinstance(v, np.random.Generator)]
    return arrays, [layer.training for layer in layers], generators, [sorted(vars(layer)) for layer in layers]


def assert_same_state(one, other):
    (arrays, *rest), (others, *rest_of_others) = one, other
    assert rest == rest_of_others
    assert list(arrays) == list(others)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


# ------------------------------------------------------------------ what is recorded


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NETS)
def test_a_model_is_recorded_as_it_computes_and_left_as_it_was(name, mode):
    net, x, target = model(name)
    getattr(net, mode)()
    for p in net.parameters():
        p.grad += 3  # of an earlier pass
    before, kept = state(net), x.copy()
    loss = losses.CrossEntropyLoss()
    t = trace.record(net, x, loss, target)
    assert_same_state(before, state(net))
    np.testing.assert_array_equal(x, kept)
    net.zero_grad()
    with fusion(False):  # every layer by itself, as it is recorded
        y, saved = net.forward(x)  # with the same dropout, since the generators are where they were
        value, loss_saved = loss.forward(y, target)
        dx = net.backward(loss.backward(loss_saved), saved)
    np.testing.assert_array_equal(t.stops[-1].y, y)
    np.testing.assert_array_equal(t.stops[0].dx, dx)
    assert t["loss"]["value"] == value
    for full, parameter in net.named_parameters():
        layer, _, own = full.rpartition(".")
        np.testing.assert_array_equal(t[layer][own], parameter.value)
        np.testing.assert_array_equal(t[layer][f"d{own}"], parameter.grad)


@pytest.mark.parametrize("name", NETS)
def test_every_stop_of_a_model_is_explained(name):
    t = trace.record(*model(name)[:2], losses.CrossEntropyLoss(), model(name)[2])
    rng = np.random.default_rng(0)
    for stop in t.stops:
        for of in [
            n for n in stop.arrays if n.partition(".")[0] in ("y", "dx") or (n[1:] in stop.params and n[0] == "d")
        ]:
            index = tuple(int(rng.integers(0, size)) for size in stop[of].shape)
            assert t.explain(stop.name, index, of).agrees, t.explain(stop.name, index, of)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_layer_is_left_as_it_was(case):
    layer, x = case.layer(np.float32), case.x(np.float32)
    y_shape = case.layer(np.float32)(x).shape
    before = state(layer)
    t = trace.record(layer, x, dy=np.ones(y_shape, np.float32))
    assert_same_state(before, state(layer))
    assert all(np.isfinite(a).all() for stop in t.stops for a in stop.arrays.values())


def test_names_kinds_and_order():
    body = Sequential(Conv2d(2, 2, 1), act=Tanh())
    net = Sequential(
        skip=Concat(a=Identity(), b=Sum(body, Identity())), pooled=PoolUnpool(SameSize(MaxPool2d(2), mode="pad"))
    )
    t = trace.record(net, np.ones((1, 2, 4, 4), np.float32), dy=np.ones((1, 4, 4, 4), np.float32))
    assert [(stop.name, stop.kind) for stop in t.stops] == [
        ("skip (fork)", "fork"),
        ("skip.a", "Identity"),
        ("skip.b (fork)", "fork"),
        ("skip.b.0.0", "Conv2d"),
        ("skip.b.0.act", "Tanh"),
        ("skip.b.1", "Identity"),
        ("skip.b (sum)", "sum"),
        ("skip (concat)", "concat"),
        ("pooled.pool", "MaxPool2d"),
        ("pooled.body.body", "MaxPool2d"),
        ("pooled.body (resize)", "resize"),
        ("pooled (unpool)", "unpool"),
    ]
    assert [label for label, _ in t.timeline] == [
        *(f"F{i}" for i in range(1, 13)),
        *(f"B{i}" for i in range(12, 0, -1)),
    ]
    assert t.timeline[0][1] is t.timeline[-1][1] is t["skip (fork)"]
    assert t["skip (fork)"].branches == t["skip (concat)"].branches == ["a", "b"]
    tree = {node.name: (node.kind, [child.name for child in node.children]) for node in t.tree.walk()}
    assert tree[""] == ("Sequential", ["skip", "pooled"])
    assert tree["skip.b"] == ("Sum", ["skip.b.0", "skip.b.1"])
    node = t.nodes["skip.b"]
    assert [stop.name for stop in t.stops[node.first : node.last + 1]][:: node.last - node.first] == [
        "skip.b (fork)",
        "skip.b (sum)",
    ]


def test_configuration_is_plain_data():
    x = np.ones((1, 2, 4, 4), np.float32)
    stop = trace.record(Conv2d(2, 2, (2, 3), padding="same"), x, dy=x).stops[0]
    assert stop.config["pads"] == [[0, 1], [1, 1]]
    assert (stop.config["stride"], stop.config["groups"], stop.config["training"]) == ([1, 1], 1, True)
    assert (stop.params, stop.buffers, stop.dtype) == (["weight", "bias"], [], np.float32)
    assert list(stop.arrays)[:4] == ["x", "y", "dy", "dx"]
    norm = trace.record(BatchNorm2d(1), np.ones((2, 1, 1, 1), np.float32), dy=np.ones((2, 1, 1, 1), np.float32))
    assert norm.stops[0].buffers == ["running_mean", "running_var"]
    assert norm.stops[0].saved["training"] is True
    assert norm.stops[0]["running_mean"].tolist() == [0]  # before the pass


@pytest.mark.parametrize("kind", [Sequential, Sum])
def test_a_layer_used_twice_has_two_entries_with_gradients_of_their_own(kind):
    fc = randomised(Linear(3, 3)).astype(np.float64)
    net = kind(a=fc, b=fc)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 4, 3))
    t = trace.record(net, x, dy=dy)
    fc.zero_grad()
    _, saved = net.forward(x)
    net.backward(dy, saved)
    np.testing.assert_allclose(t["a"]["dweight"] + t["b"]["dweight"], fc.weight.grad, rtol=1e-12)
    for name in "ab":
        np.testing.assert_allclose(t[name]["dweight"], t[name].dy.T @ t[name].x, rtol=1e-12)
        assert t.explain(name, (1, 2), "dweight").agrees
    assert (t["a"].x is t["b"].x) == (kind is Sum)


def test_dropout_drops_what_the_next_pass_would_drop():
    net = Dropout(0.5, rng=3)
    x = np.ones((4, 5))
    t = trace.record(net, x, dy=x)
    np.testing.assert_array_equal(t.stops[0].y, net(x))


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_a_pass_that_somebody_has_replaced_is_refused(name):
    """It would not be known what the layer did, nor which formula explains it."""
    net = Sequential(Tanh(), ReLU())
    setattr(net[1], name, lambda *inputs: getattr(ReLU, name)(net[1], *inputs))
    with pytest.raises(ValueError, match=rf"ReLU\(\) has a {name} of its own \(layer.{name} = ...\), which can't be"):
        trace.record(net, np.ones((1, 2)), dy=np.ones((1, 2)))


def test_the_source_of_a_loss_is_the_net():
    net = Sequential(Tanh(), last=Linear(2, 3, rng=0))
    found = trace.record(net, np.ones((1, 2), np.float32), losses.CrossEntropyLoss(), np.array([1]))
    assert found.source(found["loss"], "scores") == (found["last"], "y")
    with pytest.raises(ValueError, match="no stop of the net in this trace"):
        found.source(found["loss"], "target")


def test_a_batch_norm_without_weights_has_none_in_its_formulas():
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    found = trace.record(BatchNorm2d(2, affine=False), x, dy=np.ones_like(x))
    for of in ("y", "dx"):
        explained = found.explain("BatchNorm2d", (0, 1, 1, 1), of)
        assert explained.agrees
        assert "weight" not in explained.symbols + explained.picked
        assert "bias" not in explained.symbols + explained.picked


def test_later_steps_do_not_reach_the_trace():
    net, x = randomised(Linear(2, 2)).astype(np.float64), np.ones((1, 2))
    t = trace.record(net, x, dy=np.ones((1, 2)))
    net.weight.value[:] = 0
    x[:] = 0
    assert t.stops[0]["weight"].all()
    assert t.explain("Linear", (0, 1)).agrees


# ------------------------------------------------------------------ wiring and lookups


def test_sources_follow_the_net_over_skips():
    net = Sequential(down=Conv2d(1, 2, 1), level=Concat(skip=Identity(), coarse=Sequential(Tanh(), ReLU())), up=ReLU())
    x, mask = np.ones((1, 1, 2, 2), np.float32), np.zeros((1, 2, 2), int)
    t = trace.record(net, x, losses.CrossEntropyLoss(), mask)

    def source(name, array):
        found = t.source(t[name], array)
        return found and (found[0].name, found[1])

    assert source("down", "x") is None
    assert source("level (fork)", "x") == ("down", "y")
    assert source("level.coarse.0", "x") == ("level (fork)", "y.coarse")
    assert source("level (concat)", "x.coarse") == ("level.coarse.1", "y")
    assert source("up", "x") == ("level (concat)", "y")
    assert source("up", "dy") == ("loss", "dscores")
    assert source("level.coarse.1", "dy") == ("level (concat)", "dx.coarse")
    assert source("level (fork)", "dy.skip") == ("level.skip", "dx")
    assert source("down", "dy") == ("level (fork)", "dx")
    for stop in t.stops:  # what a wire connects is one and the same array
        for name in [n for n in stop.arrays if n.partition(".")[0] in ("x", "dy")]:
            found = t.source(stop, name)
            if found is not None:
                np.testing.assert_array_equal(found[0][found[1]], stop[name])


@pytest.mark.parametrize("name", NETS)
def test_every_wire_of_a_model_carries_one_array(name):
    net, x, target = model(name, np.float32)
    t = trace.record(net, x, losses.CrossEntropyLoss(), target)
    for i, stop in enumerate(t.stops):
        for array in [n for n in stop.arrays if n.partition(".")[0] in ("x", "dy")]:
            found = t.source(stop, array)
            assert (found is None) == (i == 0 and array == "x")
            if found is not None:
                np.testing.assert_array_equal(found[0][found[1]], stop[array])


def test_combinators_are_explained_by_their_first_and_last_stop():
    net = Sequential(level=Sum(a=Identity(), b=Tanh()), pool=PoolUnpool(Identity()))
    x = np.random.default_rng(0).standard_normal((1, 1, 4, 4))
    t = trace.record(net, x, dy=x)
    where = [
        ("level", "y"),
        ("level", "dx"),
        ("level", "dx.b"),
        ("level", "y.b"),
        ("pool", "y"),
        ("pool", "dx"),
        ("", "y"),
    ]
    assert [t.explain(name, (0, 0, 1, 1), of).stop.name for name, of in where] == [
        "level (sum)",
        "level (fork)",
        "level (sum)",
        "level (fork)",
        "pool (unpool)",
        "pool.pool",
        "pool (unpool)",
    ]
    assert t.explain("pool", (0, 0, 1, 1), "x").stop.name == "level (sum)"
    assert t.explain("level.b", (0, 0, 1, 1), "dy").stop.name == "level (sum)"
    assert t.explain("level.b", (0, 0, -1, -1)).index == (0, 0, 3, 3)


# ------------------------------------------------------------------ layers of one's own


class Double(Layer):
    def forward(self, x):
        return 2 * x, None

    def backward(self, dy, saved):
        return 2 * dy


class Twice(Layer):
    """Runs its body two times."""

    def __init__(self, body):
        self.body = body

    def forward(self, x):
        h, first = self.body.forward(x)
        y, second = self.body.forward(h)
        return y, (first, second)

    def backward(self, dy, saved):
        return self.body.backward(self.body.backward(dy, saved[1]), saved[0])


class LoudReLU(ReLU):
    def forward(self, x):
        y, saved = super().forward(x)
        return 3 * y, saved


def test_foreign_layers_are_recorded_and_can_be_given_an_explainer():
    t = trace.record(Sequential(d=Double(), loud=LoudReLU()), np.ones(2), dy=np.ones(2))
    kind = f"{Double.__module__}.Double"
    assert [stop.kind for stop in t.stops] == [kind, f"{Double.__module__}.LoudReLU"]
    with pytest.raises(
        NotImplementedError, match=rf"^d is a {re.escape(kind)}, for which there is no explainer; register"
    ):
        t.explain("d", 0)

    @trace.explains(kind, of="dx")
    def double_dx(stop, index):
        return trace.Sum("dx = 2 * dy", "", [trace.group(trace.number("2", 2), trace.at(stop, "dy", *index))])

    try:
        assert t.explain("d", 1, "dx").agrees
    finally:
        del trace.explanation.EXPLAINERS[kind, "dx"]


def test_a_foreign_combinator_that_runs_its_body_twice():
    t = trace.record(Sequential(two=Twice(Tanh()), end=Tanh()), np.ones(2), dy=np.ones(2))
    assert [stop.name for stop in t.stops] == ["two.body", "two.body#2", "two", "end"]
    np.testing.assert_array_equal(t["two.body#2"].y, np.tanh(np.tanh(np.ones(2))))
    np.testing.assert_array_equal(t["two"].dx, t["two.body"].dx)
    assert t.source(t["end"], "x") == (t["two"], "y")
    assert t.source(t["two.body"], "x") is None
    with pytest.raises(NotImplementedError, match=r"^two is a .*\.Twice"):
        t.explain("two", 0)


# ------------------------------------------------------------------ mistakes


def small():
    x = np.ones((1, 2, 4, 4), np.float32)
    net = Sequential(conv1=Conv2d(2, 3, 3, padding=1, rng=0), relu=ReLU())
    return trace.record(net, x, losses.CrossEntropyLoss(), np.zeros((1, 4, 4), int))


def test_names_that_are_not_there():
    with pytest.raises(KeyError, match=r"the trace has no layer 'conv2'; do you mean conv1\? \(print\(trace\) lists"):
        small().explain("conv2", (0, 0, 0, 0))
    with pytest.raises(KeyError, match="the trace has no layer 'zzz'; do you mean conv1, relu, loss"):
        small()["zzz"]
    with pytest.raises(KeyError, match="conv1 has no array 'z'; it has x, y, dy, dx, weight, dweight"):
        small()["conv1"]["z"]


def test_arrays_that_can_not_be_explained():
    wanted = r"^'weight' of conv1 \(Conv2d\) can't be explained; there are 'y', 'dx', 'dweight', 'dbias'$"
    with pytest.raises(ValueError, match=wanted):
        small().explain("conv1", (0, 0, 0, 0), "weight")
    with pytest.raises(ValueError, match="x of 'conv1' is the input of the whole net: nothing in this trace has"):
        small().explain("conv1", (0, 0, 0, 0), "x")
    t = trace.record(ReLU(), np.ones(2), dy=np.ones(2))
    with pytest.raises(ValueError, match="dy of 'ReLU' is what the backward pass began with"):
        t.explain("ReLU", 0, "dy")


@pytest.mark.parametrize(
    ("index", "error", "text"),
    [
        (
            (0, 3, 0, 0),
            IndexError,
            r"y of conv1 has shape \(1, 3, 4, 4\), and \(0, 3, 0, 0\) is no element of it: it is",
        ),
        ((0, -4, 0, 0), IndexError, "it is outside"),
        ((0, 0, 0), IndexError, "expected 4 numbers, got 3"),
        (0, IndexError, "expected 4 numbers, got 1"),
        ((0, 0, 0, 1.5), TypeError, "an index is 4 whole numbers"),
        ((0, 0, 0, slice(2)), TypeError, "an index is 4 whole numbers"),
    ],
)
def test_wrong_indices(index, error, text):
    with pytest.raises(error, match=text):
        small().explain("conv1", index)


def test_wrong_arguments_of_record():
    net, x, loss = ReLU(), np.ones((1, 2)), losses.CrossEntropyLoss()
    with pytest.raises(
        TypeError, match=r"record takes a net built from layers, got <class .*; write ReLU\(\), not ReLU"
    ):
        trace.record(ReLU, x, dy=x)
    with pytest.raises(ValueError, match=r"give a loss .* or dy to begin the backward pass with; got neither"):
        trace.record(net, x)
    with pytest.raises(ValueError, match="got both"):
        trace.record(net, x, loss, np.array([0]), dy=x)
    with pytest.raises(TypeError, match=r"loss must be a loss such as CrossEntropyLoss\(\), got 'ce'"):
        trace.record(net, x, "ce")
    with pytest.raises(TypeError, match="this was given as x"):
        trace.record(net, [[1.0, 2.0]], dy=x)
    with pytest.raises(TypeError, match="this was given as dy"):
        trace.record(net, x, dy=[[1.0, 2.0]])
    with pytest.raises(ShapeError, match=r"dy has shape \(1, 3\)"):
        trace.record(Linear(2, 2, dtype=np.float64), x, dy=np.ones((1, 3)))
    with pytest.raises(ShapeError, match=r"0 Linear\(3, 2\): "):
        trace.record(Sequential(Linear(3, 2, dtype=np.float64)), x, loss, np.array([0]))
    with pytest.raises(ValueError, match="a layer of the net is called 'loss'"):
        trace.record(Sequential(loss=ReLU()), x, loss, np.array([0]))


def test_links_are_for_maps():
    with pytest.raises(TypeError, match="relu is a ReLU, which has no windows; there are links of Conv2d, "):
        links(small()["relu"])
