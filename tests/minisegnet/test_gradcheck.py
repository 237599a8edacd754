"""The gradient checker itself: what it compares, where it doesn't, what it promises about what it is given."""

import copy
import math

import buggy_layers as bl
import buggy_wholes as bw
import numpy as np
import pytest

from kernels import ShapeError
from minisegnet import layers, losses
from minisegnet.combine import Concat, PoolUnpool, SameSize, Sequential, Sum
from minisegnet.core import Layer, Parameter, watch
from minisegnet.gradcheck import gradcheck
from minisegnet.gradcheck.numeric import Stencil
from minisegnet.gradcheck.subject import Subject


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def small_net():
    level = Sequential(layers.MaxPool2d(2), layers.Conv2d(3, 3, 3, padding=1, rng=2), layers.Upsample(scale_factor=2))
    return Sequential(
        layers.Conv2d(2, 3, 3, padding=1, rng=1),
        layers.BatchNorm2d(3),
        layers.ReLU(),
        Concat(layers.Identity(), level),
        head=layers.Conv2d(6, 2, 1, rng=3),
    )


# name: (makes the layer, x)
RIGHT = {
    "conv": (lambda: layers.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, rng=0), normal(2, 2, 5, 4)),
    "conv same": (lambda: layers.Conv2d(2, 3, 2, padding="same", dilation=2, bias=False, rng=0), normal(1, 2, 4, 5)),
    "transposed conv": (lambda: layers.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1, rng=0), normal(1, 2, 3, 2)),
    "linear": (lambda: layers.Linear(4, 3, rng=0), normal(5, 4)),
    "max pool": (lambda: layers.MaxPool2d(3, 2, 1), normal(2, 2, 5, 6)),
    "average pool": (lambda: layers.AvgPool2d(3, 2, 1, ceil_mode=True), normal(1, 2, 5, 6)),
    "adaptive pool": (lambda: layers.AdaptiveAvgPool2d((2, 3)), normal(1, 2, 5, 4)),
    "upsample": (lambda: layers.Upsample(scale_factor=1.5, mode="bilinear"), normal(1, 2, 4, 3)),
    "batch norm": (lambda: layers.BatchNorm2d(3), normal(2, 3, 3, 2)),
    "batch norm, eval": (lambda: layers.BatchNorm2d(3).eval(), normal(2, 3, 3, 2)),
    "softmax": (lambda: layers.Softmax(), normal(2, 4, 3)),
    "dropout": (lambda: layers.Dropout(0.5, rng=0), normal(4, 5)),
    "sum": (lambda: Sum(layers.Identity(), layers.Tanh()), normal(2, 3)),
    "pool and unpool": (lambda: PoolUnpool(layers.Conv2d(2, 2, 3, padding=1, rng=0)), normal(1, 2, 5, 4)),
    "same size": (lambda: SameSize(layers.Conv2d(2, 2, 3, stride=2, rng=0)), normal(1, 2, 6, 5)),
    "net": (small_net, normal(2, 2, 4, 6)),
}
LINEAR = {"conv", "conv same", "transposed conv", "linear", "average pool", "adaptive pool", "upsample", "dropout"}
LINEAR |= {"batch norm, eval", "same size"}
ADJOINT = "linear, and backward is its adjoint"


@pytest.mark.parametrize("name", RIGHT)
class TestRightLayers:
    def test_every_entry_of_every_tensor_is_compared(self, name):
        make, x = RIGHT[name]
        layer = make()
        report = gradcheck(layer, x)
        assert report, report
        assert [row.name for row in report.rows] == ["x", *(name for name, _ in layer.named_parameters())]
        assert [row.shape for row in report.rows] == [x.shape, *(p.shape for p in layer.parameters())]
        assert [row.checked for row in report.rows] == [x.size, *(p.size for p in layer.parameters())]
        assert not any(row.not_differentiable for row in report.rows)
        assert report.diagnosis == report.guilty == []

    def test_adjoint_identity_of_linear_layers(self, name):
        make, x = RIGHT[name]
        assert (ADJOINT in [c.name for c in gradcheck(make(), x).contracts]) == (name in LINEAR)

    def test_an_empty_batch(self, name):
        make, x = RIGHT[name]
        report = gradcheck(make(), x[:0])
        assert report, report
        assert report.row("x").checked == 0
        assert all(row.checked == math.prod(row.shape) for row in report.rows)
        assert all(row.analytic == row.numeric == 0 for row in report.rows[1:])


LABELS = np.array([0, 2, 255, 1])
LOSSES = {
    "cross-entropy": (losses.CrossEntropyLoss([1, 2, 3], 255, label_smoothing=0.1), normal(4, 3), LABELS),
    "cross-entropy, none": (losses.CrossEntropyLoss(ignore_index=255, reduction="none"), normal(4, 3), LABELS),
    "bce": (losses.BCEWithLogitsLoss(), normal(4, 3), np.eye(4, 3)),
    "probabilities": (losses.BCELoss(reduction="none"), np.full((2, 3), 0.3), np.eye(2, 3)),
    "mse": (losses.MSELoss(reduction="sum"), normal(4, 3), normal(4, 3, seed=2)),
    "l1": (losses.L1Loss(), normal(4, 3), normal(4, 3, seed=2)),
    "dice": (losses.DiceLoss(ignore_index=255), normal(4, 3), LABELS),
    "penalty": (losses.EntropyPenalty(), normal(4, 3), None),
    "weighted": (
        losses.WeightedSum([losses.CrossEntropyLoss(ignore_index=255), losses.MSELoss()], [1, 0.5]),
        normal(4, 3),
        (LABELS, normal(4, 3, seed=2)),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_right_losses(name, dtype):
    loss, scores, target = LOSSES[name]
    if isinstance(target, tuple):
        target = tuple(t.astype(dtype) if t.dtype.kind == "f" else t for t in target)
    elif target is not None and target.dtype.kind == "f":
        target = target.astype(dtype)
    report = gradcheck(loss, scores.astype(dtype), target=target)
    assert report, report
    assert [row.name for row in report.rows] == ["x"]
    assert report.row("x").checked == scores.size
    assert report.label == repr(loss)


# ------------------------------------------------------------------ what it is given stays as it is


def state_of(layer):
    """Everything that a layer holds, as comparable text."""
    parts = [(name, sorted(vars(part).items(), key=str), part.training) for name, part in layer.named_layers()]
    generators = [v.bit_generator.state for _, attributes, _ in parts for _, v in attributes if hasattr(v, "random")]
    grads = [(p.value.tobytes(), p.grad.tobytes(), p.dtype) for p in layer.parameters()]
    arrays = {name: array.tobytes() for name, array in layer.state_dict().items()}
    return repr((arrays, grads, generators, [training for *_, training in parts]))


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_and_its_random_state_are_left_as_they_are(training):
    shared = np.random.default_rng(5)
    net = Sequential(
        layers.Dropout(0.5, rng=shared),
        layers.Conv2d(2, 2, 3, rng=0),
        layers.BatchNorm2d(2),
        layers.Dropout(rng=shared),
    ).train(training)
    x = normal(2, 2, 4, 4).astype(np.float32)
    y, saved = net.forward(x)
    net.backward(y, saved)  # gradients and running statistics are no longer those of a new net
    arrays, before, x_before = [p.value for p in net.parameters()], state_of(net), x.copy()
    assert gradcheck(net, x)
    assert state_of(net) == before
    assert all(p.value is array for p, array in zip(net.parameters(), arrays, strict=True))
    np.testing.assert_array_equal(x, x_before)
    assert x.dtype == np.float32


def test_the_check_runs_in_float64_on_a_copy():
    net, seen = small_net(), set()

    def note(layer, pass_, inputs, result):
        seen.add((inputs[0].dtype, layer is net))

    with watch(note):
        gradcheck(net, normal(1, 2, 4, 4).astype(np.float32))
    assert seen == {(np.dtype(np.float64), False)}


def test_a_target_is_left_as_it_is():
    target, scores = normal(2, 3).astype(np.float32), normal(2, 3, seed=2)
    before = target.copy()
    assert gradcheck(losses.MSELoss(), scores, target=target)
    np.testing.assert_array_equal(target, before)
    assert target.dtype == np.float32


def test_a_read_only_x_of_integers_or_a_list():
    x = np.arange(1, 7).reshape(2, 3)
    x.flags.writeable = False
    assert gradcheck(layers.Tanh(), x).row("x").checked == 6
    assert gradcheck(layers.Tanh(), [[1, 2.5]]).row("x").checked == 2


# ------------------------------------------------------------------ dy, sampling, seeds


def fed(layer, x, **options):
    """The dy that backward was fed."""
    found = []

    def note(layer, pass_, inputs, result):
        if pass_ == "backward":
            found.append(inputs[0].copy())

    with watch(note):
        assert gradcheck(layer, x, **options)
    assert all(np.array_equal(dy, found[0]) for dy in found)
    return found[0]


def test_dy_is_random_and_not_uniform():
    dy = fed(layers.ReLU(), normal(10, 10))
    assert len(np.unique(dy)) == 100
    assert dy.min() < 0 < dy.max()
    np.testing.assert_array_equal(dy, fed(layers.ReLU(), normal(10, 10), rng=0))
    assert not np.array_equal(dy, fed(layers.ReLU(), normal(10, 10), rng=np.random.default_rng(1)))


@pytest.mark.parametrize("seed", [0, 1])
def test_dy_is_not_the_x_of_the_same_seed(seed):
    class MaskOfDy(layers.ReLU):
        def backward(self, dy, saved):
            return dy * (dy > 0)

    x = np.random.default_rng(seed).standard_normal((4, 5))
    assert not gradcheck(MaskOfDy(), x, rng=seed)
    assert not gradcheck(MaskOfDy(), x, rng=np.random.default_rng(seed))


def test_a_generator_that_is_passed_in_is_not_used_up():
    rng = np.random.default_rng(3)
    gradcheck(layers.ReLU(), normal(2, 2), rng=rng)
    assert rng.random() == np.random.default_rng(3).random()


def test_the_gradient_of_a_mean_is_not_lost_in_atol():
    scores = normal(1000, 2)

    class NearlyMSE(losses.MSELoss):
        def backward(self, saved, dvalue=1.0):
            return super().backward(saved, dvalue) * 1.002

    assert gradcheck(losses.MSELoss(), scores, target=np.zeros((1000, 2)))
    assert not gradcheck(NearlyMSE(), scores, target=np.zeros((1000, 2)))


def test_large_tensors_are_sampled():
    layer, x = layers.Linear(20, 30, rng=0), normal(4, 20)
    checked = {row.name: row.checked for row in gradcheck(layer, x).rows}
    assert checked == {"x": 80, "weight": 50 + 5, "bias": 30}  # 600 weights: samples and directions
    checked = {row.name: row.checked for row in gradcheck(layer, x, dense=600).rows}
    assert checked["weight"] == 600
    checked = {row.name: row.checked for row in gradcheck(layer, x, dense=0, samples=3).rows}
    assert checked == {"x": 8, "weight": 8, "bias": 8}


class OneEntryWrong(layers.Linear):
    def backward(self, dy, saved):
        before = self.weight.grad[17, 3]
        dx = super().backward(dy, saved)
        self.weight.grad[17, 3] += 0.5 * (self.weight.grad[17, 3] - before)
        return dx


def test_a_direction_finds_what_no_sample_saw():
    report = gradcheck(OneEntryWrong(20, 30, rng=0), normal(4, 20), dense=0, samples=1)
    row = report.row("weight")
    assert not report
    assert all(isinstance(index, str) or index != (17, 3) for index, *_ in row.compared)
    assert row.worst.startswith("direction")
    assert "fits none of the classic mistakes; start at the worst entry, direction" in report.diagnosis[0]
    assert [row.name for row in report.rows if not row.ok] == ["weight"]


def test_the_wrong_entry_is_the_worst_one():
    row = gradcheck(OneEntryWrong(20, 30, rng=0), normal(4, 20), dense=600).row("weight")
    assert (row.worst, row.failed) == ((17, 3), 1)
    assert row.analytic == pytest.approx(1.5 * row.numeric)
    assert row.max_rel == pytest.approx(1 / 3)
    assert row.max_abs == pytest.approx(abs(row.analytic - row.numeric))


def test_tolerances_and_the_step_can_be_chosen():
    class Rough(layers.Tanh):
        def backward(self, dy, saved):
            return super().backward(dy, saved) * 1.01

    assert not gradcheck(Rough(), normal(3, 3))
    assert gradcheck(Rough(), normal(3, 3), rtol=0.02)
    assert gradcheck(Rough(), normal(3, 3), atol=0.1)
    assert gradcheck(layers.Tanh(), normal(3, 3), eps=1e-4, atol=1e-7, rtol=1e-6)


# ------------------------------------------------------------------ kinks and ties


def test_relu_at_0_and_near_it():
    x = np.array([[-1, 0, 5e-7, -2e-8, 1e-12, 2.0]])
    row = gradcheck(layers.ReLU(), x).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 1), (0, 4)]  # the others are stepped around with a smaller step
    assert [index for index, *_ in row.compared] == [(0, 0), (0, 2), (0, 3), (0, 5)]


def test_only_kinks_is_no_success():
    report = gradcheck(layers.ReLU(), np.zeros((2, 3)))
    assert not report
    assert not report.wrong
    assert report.row("x").checked == 0
    assert "nothing could be compared: every entry sits on a kink; move x a little" in str(report)


def test_max_pool_ties_are_moved_together():
    x = normal(1, 1, 4, 4)
    x[0, 0, :2, :2] = 3
    row = gradcheck(layers.MaxPool2d(2), x).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 0, 1, 1)]
    assert row.checked == 12 + 1
    index, analytic, numeric = row.compared[-1]
    assert index == "ties at 3"
    assert analytic == pytest.approx(numeric)


def test_ties_that_differ_by_less_than_a_step_are_moved_together_too():
    x = np.array([[[[1, 1 + 1e-13], [0, -1]]]])
    row = gradcheck(layers.MaxPool2d(2), x).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 0, 0, 0), (0, 0, 0, 1)]
    assert row.compared[-1][0] == "ties at 1"


def test_several_groups_of_ties_in_overlapping_windows():
    x = np.round(normal(2, 2, 6, 6), 0)
    row = gradcheck(layers.MaxPool2d(3, 2, 1), x).row("x")
    assert row.ok
    assert row.not_differentiable
    assert sum(isinstance(index, str) for index, *_ in row.compared) > 1


def test_an_argmax_that_changes_within_a_step():
    x = np.array([[[[1, 1 + 5e-7], [0, -1]]]])
    row = gradcheck(layers.MaxPool2d(2), x).row("x")
    assert row.ok
    assert row.not_differentiable == []  # a smaller step does not change it


def test_unpooling_where_switches_jump():
    x = normal(1, 1, 4, 4)
    x[0, 0, 0, :2] = 3
    row = gradcheck(PoolUnpool(layers.Conv2d(1, 1, 3, padding=1, rng=0)), x).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 0, 0, 0), (0, 0, 0, 1)]
    assert row.checked == 14 + 1


def test_a_wrong_gradient_beside_a_switch_that_jumps():
    x = normal(1, 1, 4, 4)
    x[0, 0, 0, :2] = 3
    row = gradcheck(PoolUnpool(bl.SignWrong(1, 1, 1)), x).row("body.weight")
    assert row.failed == row.checked == 1
    row = gradcheck(PoolUnpool(bl.PaddingNotCropped(1, 1, 3, 1, 1)), x).row("x")
    assert not row.ok
    assert row.not_differentiable == [(0, 0, 0, 0), (0, 0, 0, 1)]


def test_l1_loss_at_0():
    scores = np.array([[1.0, 2.0, 3.0]])
    row = gradcheck(losses.L1Loss(), scores, target=np.array([[1.0, 2.5, 3.0]])).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 0), (0, 2)]
    assert row.checked == 1


def test_a_kink_deep_in_a_net_concerns_all_that_lead_there():
    conv = layers.Conv2d(1, 1, 1, rng=0)
    conv.weight.value[:], conv.bias.value[:] = 2, -1
    x = np.array([[[[0.5, 2.0, -3.0]]]])  # 2*0.5 - 1 = 0
    report = gradcheck(Sequential(conv, layers.ReLU()), x)
    assert report.row("x").not_differentiable == [(0, 0, 0, 0)]
    assert report.row("0.weight").not_differentiable == [(0, 0, 0, 0)]
    assert report.row("0.bias").not_differentiable == [(0,)]
    assert report.row("x").checked == 2
    assert not report.wrong


def test_a_direction_across_a_kink_is_listed():
    x = normal(30, 30)
    x[3] = 0
    row = gradcheck(layers.ReLU(), x).row("x")
    assert row.ok
    assert [index for index in row.not_differentiable if isinstance(index, str)] == [f"direction {i}" for i in range(5)]


def test_a_wrong_gradient_at_a_kink_is_not_counted_but_nan_is():
    class AtZero(layers.ReLU):
        value = 0.7

        def backward(self, dy, saved):
            return np.where(saved.y == 0, self.value * (saved.y == 0), dy)

    x = np.array([[0.0, 1.0, 2.0]])
    assert gradcheck(AtZero(), x)
    AtZero.value = np.nan
    report = gradcheck(AtZero(), x)
    assert not report
    assert report.diagnosis == ["the gradient of x is nan at [0,0] (1 of 3 are NaN or infinite)"]


def test_a_probability_at_the_edge_of_what_is_allowed():
    p = np.array([[0.0, 0.3], [1.0, 0.9]])
    row = gradcheck(losses.BCELoss(), p, target=np.array([[0, 1], [1, 0]])).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 0), (1, 0)]  # a step out of 0..1 raises


# ------------------------------------------------------------------ curvature and rounding errors


def norm(eps=1e-5):
    layer = layers.BatchNorm2d(2, eps=eps)
    layer.weight.value[:] = [1.5, 0.7]
    return layer


def steep(scale):
    conv = layers.Conv2d(2, 2, 2, rng=0)
    conv.weight.value *= scale
    return Sequential(conv, layers.Tanh())


TARGET = np.array([0, 2, 1, 1, 0])
# name: (layer or loss, x, target)
HARD = {
    "tiny variance": (norm(), 1e-4 * normal(2, 2, 3, 3), None),
    "tiny variance, tiny eps": (norm(1e-12), 1e-4 * normal(2, 2, 3, 3), None),
    "variance of a step": (norm(1e-12), 1e-6 * normal(2, 2, 3, 3), None),
    "tiny variance, large mean": (norm(), 1e3 + 1e-2 * normal(2, 2, 3, 3), None),
    "tiny variance, tiny eps, mean 1": (norm(1e-12), 1 + 1e-6 * normal(2, 2, 3, 3), None),
    "tiny variance, tiny eps, mean 1e3": (norm(1e-12), 1e3 + 1e-3 * normal(2, 2, 3, 3), None),
    "large mean": (norm(), 1e6 + 1e3 * normal(2, 2, 3, 3), None),
    "log-softmax of 1e3": (layers.LogSoftmax(), 1e3 * normal(3, 4), None),
    "softmax of 30": (layers.Softmax(), 30 * normal(3, 4), None),
    "logits of 1e3": (losses.CrossEntropyLoss(), 1e3 * normal(5, 3), TARGET),
    "logits of 1e4, sum": (losses.CrossEntropyLoss(reduction="sum", label_smoothing=0.1), 1e4 * normal(5, 3), TARGET),
    "binary logits of 1e3": (losses.BCEWithLogitsLoss(), 1e3 * normal(5, 3), np.eye(5, 3)),
    "focal loss of 1e3": (losses.FocalLoss(), 1e3 * normal(5, 3), TARGET),
    "mse of 1e6": (losses.MSELoss(), 1e6 * normal(5, 3), normal(5, 3)),
    "linear of 1e6": (layers.Linear(3, 2, rng=0), 1e6 * normal(5, 3), None),
    "one of 1e9": (layers.Linear(3, 2, rng=0), normal(5, 3) * np.array([1, 1e9, 1]), None),
    "tanh of 1e2*x": (steep(1e2), 1e-2 * normal(1, 2, 3, 3), None),
    "tanh of 1e4*x": (steep(1e4), 1e-4 * normal(1, 2, 3, 3), None),
}


@pytest.mark.parametrize("name", HARD)
def test_a_right_layer_is_neither_called_wrong_nor_full_of_kinks(name):
    layer, x, target = HARD[name]
    report = gradcheck(layer, x, target=target)
    assert report, report
    assert not any(row.not_differentiable for row in report.rows)
    assert all(row.checked == math.prod(row.shape) for row in report.rows)
    assert all(row.numeric != 0 for row in report.rows)  # not saturated: there is something to be right about


@pytest.mark.parametrize("name", ["variance of a step", "tiny variance, large mean", "linear of 1e6"])
def test_a_wrong_gradient_is_found_there_too(name):
    layer, x, _ = HARD[name]
    wrong = copy.deepcopy(layer)
    wrong.__class__ = exaggerating(type(layer))
    report = gradcheck(wrong, x)
    assert not report
    assert report.row("x").failed > 0.9 * x.size


def exaggerating(kind):
    """The kind of layer, with a dx that is 1 % too large."""

    class Wrong(kind):
        def backward(self, dy, saved):
            return super().backward(dy, saved) * 1.01

    return Wrong


def test_a_slope_is_measured_where_a_first_look_fails():
    """At x = 0 the step of 1e-6 sees both sides alike, although it is far too wide."""
    wiggle = bl.FullyConnected(1, 1)
    wiggle.forward = lambda x: (x + 1e-3 * np.sin(3e6 * x), x)
    subject = Subject(wiggle, np.zeros((1, 1)), None, 0)
    subject.run()
    stencil = Stencil(subject, subject.x, 1e-6, 1e-5, 1e-3)
    sides = stencil.entry((0, 0))
    assert stencil.slope(sides) != pytest.approx(3001 * subject.dy[0, 0], rel=1e-3)
    assert stencil.careful_slope(sides) == pytest.approx(3001 * subject.dy[0, 0], rel=1e-3)


def test_y_may_be_the_parameter_itself():
    class Template(Layer):
        def __init__(self):
            self.image = Parameter(normal(2, 3))

        def forward(self, x):
            return self.image.value, x

        def backward(self, dy, x):
            self.image.grad += dy
            return np.zeros_like(x)

    report = gradcheck(Template(), normal(2))
    assert report, report
    assert report.row("image").checked == 6


# ------------------------------------------------------------------ contracts

BROKEN = {
    bw.ChangesX: "forward modified x in place; work on a copy",
    bw.ChangesWeight: "forward modified w in place",
    bw.ChangesDy: "backward modified dy in place",
    bw.ChangesSaved: "backward modified the saved record in place",
    bw.ChangesWeightBackwards: "backward modified w in place",
    bw.Remembers: "after a forward pass with another x, backward gives other gradients for the first one's record",
    bw.Doubles: "after two backward passes the gradient of w is not twice that of one",
    bw.Random: "the same x gave two different y; if it draws random numbers, draw them from a numpy.random.Generator",
    bw.SingleForward: "forward made float32 out of float64: it must keep the dtype of x",
    bw.SingleBackward: "gradients must have the dtype of dy, here float64, but that of x is float32",
    bw.SingleGrad: "gradients must have the dtype of dy, here float64, but that of w is float32",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_promise_is_reported_alone(kind):
    report = gradcheck(kind(), normal(4))
    broken = [contract for contract in report.contracts if not contract.kept]
    assert not report
    assert len(broken) == 1
    assert BROKEN[kind] in broken[0].text
    assert report.diagnosis == [broken[0].text]
    assert all(row.ok for row in report.rows)
    assert bool(report.rows) != broken[0].stops


def test_a_gradient_that_is_replaced():
    report = gradcheck(bl.Replaces(2, 3, 3), normal(1, 2, 4, 4))
    assert not report
    assert all(row.ok for row in report.rows)
    assert len(report.diagnosis) == 1
    assert report.diagnosis[0].startswith(
        "the gradient of weight, bias was replaced, not added to: backward has `=` where `+=` is needed"
    )


def test_a_record_that_serves_only_once():
    report = gradcheck(bw.UsesUp(), normal(4))
    assert [c.name for c in report.contracts if not c.kept] == ["backward modifies nothing", "backward repeats"]
    assert "a second backward with the same record raised IndexError: " in report.diagnosis[1]


def test_a_backward_that_alternates():
    report = gradcheck(bw.Alternates(), normal(4))
    assert "a second backward gave another dx" in report.diagnosis


def test_a_loss_that_modifies_its_target():
    class Shifts(losses.MSELoss):
        def forward(self, scores, target):
            result = super().forward(scores, target)
            target += 1
            return result

    report = gradcheck(Shifts(), normal(3), target=normal(3))
    assert "forward modified target in place" in report.diagnosis[0]


def test_an_in_place_relu_is_found_in_a_residual_sum():
    class InPlace(layers.ReLU):
        def backward(self, dy, saved):
            dy[saved.y <= 0] = 0
            return dy

    report = gradcheck(Sum(InPlace(), layers.Identity()), normal(2, 3))
    assert not report
    assert [name for name, _ in report.guilty] == ["0"]
    assert "backward modified dy in place" in report.guilty[0][1].diagnosis[0]


def test_the_adjoint_of_a_wrong_linear_layer():
    report = gradcheck(bl.KernelNotFlipped(2, 3, 3), normal(1, 2, 4, 4))
    broken = [contract for contract in report.contracts if not contract.kept]
    assert [contract.name for contract in broken] == [ADJOINT]
    assert "backward is not the transpose of forward" in str(report)
    assert len(report.diagnosis) == 1  # it follows from the wrong dx, and is no diagnosis of its own


def test_the_adjoint_finds_an_error_that_the_tolerance_hides():
    class Nearly(layers.Linear):
        def backward(self, dy, saved):
            return super().backward(dy, saved) * (1 + 1e-9)

    report = gradcheck(Nearly(3, 2, rng=0), normal(4, 3))
    assert not report
    assert report.row("x").ok
    assert [contract.name for contract in report.contracts if not contract.kept] == [ADJOINT]


def test_buffers_are_the_same_each_time():
    class Drifts(layers.Identity):
        """Subtracts a running mean that every forward pass changes, in place or not."""

        buffers = ("mean", "count")

        def __init__(self):
            self.mean, self.count = np.zeros(1), np.zeros(1)

        def forward(self, x):
            y = x - self.mean - self.count
            self.mean = self.mean + 0.1 * x.mean()
            self.count += 1
            return y, super().forward(x)[1]

    layer = Drifts()
    assert gradcheck(layer, normal(3, 2))
    assert layer.mean == layer.count == 0


def test_dropout_draws_the_same_mask_each_time():
    net = Sequential(
        layers.Conv2d(1, 2, 3, rng=0), layers.Dropout(0.5, rng=4), layers.ReLU(), layers.Dropout(0.3, rng=4)
    )
    assert gradcheck(net, normal(2, 1, 5, 5))
    assert gradcheck(layers.Dropout(1.0), normal(3, 3)).row("x").checked == 9


# ------------------------------------------------------------------ gradients that are none

RETURNS = {
    "None": (lambda dx: None, "backward returned None: it must end with `return dx`, an array of x's shape (2, 3)"),
    "tuple": (lambda dx: (dx, None), "backward returned tuple, expected dx alone, an array of x's shape (2, 3)"),
    "number": (lambda dx: float(dx.sum()), "backward returned float, expected dx alone"),
    "shape": (lambda dx: dx[:1], "the gradient of x has shape (1, 3), expected (2, 3)"),
    "transposed": (lambda dx: dx.T, "the gradient of x has shape (3, 2), expected (2, 3): it is transposed"),
    "flat": (lambda dx: dx.ravel(), "the gradient of x has shape (6,), expected (2, 3): reshape it"),
    "nan": (lambda dx: dx * np.nan, "the gradient of x is nan at [0,0] (6 of 6 are NaN or infinite)"),
    "inf": (lambda dx: np.where(dx == dx[1, 2], np.inf, dx), "the gradient of x is inf at [1,2] (1 of 6 are NaN or"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_what_is_no_gradient(name):
    make, text = RETURNS[name]
    report = gradcheck(bw.Returns(make), normal(2, 3))
    assert not report
    assert not report.row("x").ok
    assert report.row("w").ok
    assert len(report.diagnosis) == 1
    assert report.diagnosis[0].startswith(text)
    assert text in " ".join(str(report).split())


def test_a_gradient_with_the_shape_of_y():
    class Sideways(layers.Linear):
        def backward(self, dy, saved):
            super().backward(dy, saved)
            return dy

    report = gradcheck(Sideways(3, 2, rng=0), normal(4, 3))
    assert report.diagnosis == [
        "the gradient of x has shape (4, 2), expected (4, 3): that is the shape of y, but dx has the shape of x"
    ]


def test_a_parameter_gradient_that_is_none():
    class Broadcasts(layers.Linear):
        def backward(self, dy, saved):
            dx = super().backward(dy, saved)
            self.bias.grad = self.bias.grad + np.zeros((4, 1))
            self.weight.grad = self.weight.grad * np.nan
            return dx

    report = gradcheck(Broadcasts(3, 2, rng=0), normal(4, 3))
    assert [row.name for row in report.rows if not row.ok] == ["weight", "bias"]
    assert "the gradient of bias has shape (4, 2), expected (2,)" in report.diagnosis
    assert "the gradient of weight is nan at [0,0] (6 of 6 are NaN or infinite)" in report.diagnosis


def test_nan_that_no_sample_saw():
    class OneNaN(layers.Linear):
        def backward(self, dy, saved):
            dx = super().backward(dy, saved)
            self.weight.grad[17, 3] = np.nan
            return dx

    report = gradcheck(OneNaN(20, 30, rng=0), normal(4, 20), dense=0, samples=1)
    assert not report.row("weight").ok
    assert report.diagnosis == ["the gradient of weight is nan at [17,3] (1 of 600 are NaN or infinite)"]


def test_y_is_not_finite():
    report = gradcheck(layers.Tanh(), np.array([[1.0, np.nan, np.inf]]))
    assert not report
    assert report.rows == []
    assert report.diagnosis == ["y[0,1] is nan (1 of 3 are NaN or infinite): nothing can be measured"]


# ------------------------------------------------------------------ errors


class Raises(layers.Identity):
    def backward(self, dy, saved):
        raise ValueError("no idea how")


def test_what_a_layer_raises_is_passed_on_with_its_name():
    with pytest.raises(ValueError, match=r"^body\.1 Raises\(\): no idea how$"):
        gradcheck(Sequential(body=Sequential(layers.ReLU(), Raises())), normal(2, 3))


def test_a_note_names_the_layer_behind_the_error_of_another():
    net = Sequential(layers.Linear(3, 3, rng=0), layers.Tanh(), bw.Returns(lambda dx: None))
    with pytest.raises(TypeError, match="Tanh") as caught:
        gradcheck(net, normal(2, 3))
    assert len(caught.value.__notes__) == 1
    assert caught.value.__notes__[0].startswith("the layer 2 fails by itself:\ngradcheck of Returns(): FAILED")
    assert "backward returned None" in caught.value.__notes__[0]


def test_a_note_names_the_layer_in_front_of_the_error():
    net = Sequential(bw.SingleForward(), layers.Linear(3, 2, rng=0))
    with pytest.raises(TypeError, match="dtypes are never mixed") as caught:
        gradcheck(net, normal(2, 3))
    assert "the layer 0 fails by itself" in caught.value.__notes__[0]
    assert "forward made float32 out of float64" in caught.value.__notes__[0]


def test_a_wrong_input_needs_no_note():
    with pytest.raises(ShapeError, match=r"1 Linear\(4, 2\): x has shape") as caught:
        gradcheck(Sequential(layers.Tanh(), layers.Linear(4, 2)), normal(2, 3))
    assert not hasattr(caught.value, "__notes__")


def test_a_note_names_a_layer_deep_inside():
    net = Sequential(body=Sequential(layers.Tanh(), last=bw.Returns(lambda dx: dx[:1])))
    with pytest.raises(ShapeError, match=r"body\.0 Tanh\(\): dy has shape") as caught:
        gradcheck(net, normal(2, 3))
    assert [note.split(" fails")[0] for note in caught.value.__notes__] == ["the layer body.last"]
    assert "the gradient of x has shape (1, 3), expected (2, 3)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((layers.ReLU, [1.0]), TypeError, "gradcheck takes a layer or a loss, got <class .*ReLU'>; write ReLU"),
        ((print, [1.0]), TypeError, "gradcheck takes a layer or a loss, got <built-in function print>$"),
        ((layers.ReLU(), [1.0], 0), ValueError, r"eps must be in \(0, inf\), got 0"),
        ((layers.ReLU(), [1.0], 1e-6, -1), ValueError, r"atol must be in \(0, inf\), got -1"),
        ((layers.ReLU(), [1.0], 1e-6, 1e-5, "x"), TypeError, "rtol must be a number, got 'x'"),
        ((layers.ReLU(), [1.0], 1e-6, 1e-5, 1e-3, 1.5), TypeError, "rng must be a seed"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        gradcheck(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"target": np.zeros(3)}, TypeError, r"target is for losses, but ReLU\(\) is none"),
        ({"dense": -1}, ValueError, "dense must be at least 0, got -1"),
        ({"samples": 0}, ValueError, "samples must be at least 1, got 0"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        gradcheck(layers.ReLU(), normal(3), **options)


def test_a_losses_error_names_the_loss_once():
    with pytest.raises(ShapeError, match=r"^MSELoss\(\): target has shape \(2,\), expected \(3,\)"):
        gradcheck(losses.MSELoss(), normal(3), target=normal(2))


@pytest.mark.parametrize("forward", [lambda x: x, lambda x: (1.0, None), lambda x: (x, 1, 2)])
def test_forward_must_return_y_and_saved(forward):
    class Odd(Layer):
        def forward(self, x):
            return forward(x)

    with pytest.raises(TypeError, match=r"Odd\(\): forward must return y, saved \(an array and a record\), got"):
        gradcheck(Odd(), normal(2, 3))


# ------------------------------------------------------------------ layers that nobody expects


class Strange(Layer):
    """y = w0*x with parameters and attributes that mislead whoever guesses; the gradient of x is too large."""

    def __init__(self, shapes, **attributes):
        for i, shape in enumerate(shapes):
            setattr(self, f"w{i}", Parameter(np.ones(shape)))
        vars(self).update(attributes)

    def forward(self, x):
        return 3 * x, x

    def backward(self, dy, x):
        return 6 * dy


@pytest.mark.parametrize("x_shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 1, 1, 1), (2, 1, 3, 2, 2)])
@pytest.mark.parametrize(
    ("shapes", "attributes"),
    [
        ([], {}),
        ([], {"kernel_size": "large", "stride": None, "padding": -1}),
        ([], {"kernel_size": 2, "stride": (1, 2, 3), "eps": "small", "running_mean": None}),
        ([(3,)], {}),
        ([(4, 3)], {"bias": None}),
        ([(3, 3), (3,)], {}),
        ([(3, 3, 3, 3), (3,)], {"stride": "fast", "padding": "same", "dilation": 0, "groups": "two"}),
        ([(1, 1, 2, 2), (2,), (2,)], {"pads": 7}),
        ([(0, 3, 1, 1)], {}),
        ([(2, 2), (2, 2), (2,), (2,)], {"running_mean": np.zeros(3), "running_var": 1}),
        ([()], {"weight": np.zeros(3)}),
    ],
)
def test_a_diagnosis_never_crashes(x_shape, shapes, attributes):
    report = gradcheck(Strange(shapes, **attributes), normal(*x_shape))
    assert not report
    assert "twice too large" in report.diagnosis[0] or "2 times" in report.diagnosis[0], report.diagnosis
    assert len(report.diagnosis) == 1
