"""Finite differences: at kinks, ties and jumps, with large curvature, and where rounding errors are large."""

import copy
import math

import buggy_functions as bf
import buggy_layers as bl
import numpy as np
import pytest

from minisegnet import layers, losses
from minisegnet.combine import PoolUnpool, Sequential
from minisegnet.core import Layer, Parameter
from minisegnet.gradcheck import gradcheck


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


# ------------------------------------------------------------------ kinks and ties


def test_relu_at_0_and_as_good_as_0():
    x = np.array([[-1, 0, 1e-12, 2.0, -1e-11]])
    row = gradcheck(layers.ReLU(), x).row("x")
    assert row.ok
    assert row.not_differentiable == [(0, 1), (0, 2), (0, 4)]
    assert [index for index, *_ in row.compared] == [(0, 0), (0, 3)]


def test_relu_within_a_step_of_0():
    x = np.array([[-1, 5e-7, -2e-7, 1e-8, 2.0]])
    row = gradcheck(layers.ReLU(), x).row("x")
    assert row.ok
    assert row.not_differentiable == []  # stepped around with a smaller step
    assert row.checked == 5


def test_only_kinks_is_no_success():
    report = gradcheck(layers.ReLU(), np.zeros((2, 3)))
    assert not report
    assert not report.wrong
    assert report.row("x").checked == 0
    assert "nothing could be compared; if every entry sits on a kink, move x a little" in str(report)


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


def biased(size):
    conv = layers.Conv2d(2, 2, 1, rng=0)
    conv.bias.value[:] = size
    return conv


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
    "bias of 1e5 in front of a norm": (Sequential(biased(1e5), norm()), normal(2, 2, 3, 3), None),
    "bias of 1e6 in front of a norm": (Sequential(biased(1e6), norm()), normal(2, 2, 3, 3), None),
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
    assert report.row("x").numeric != 0  # not saturated: there is something to be right about


def test_a_scale_far_below_eps_needs_a_smaller_eps():
    layer, x = norm(1e-18), 1e-8 * normal(2, 2, 3, 3)
    report = gradcheck(layer, x, eps=1e-9)
    assert report, report
    assert report.row("x").checked == x.size


def test_what_rounding_errors_hide_is_listed_apart():
    net = Sequential(layers.Linear(2, 2, rng=0), layers.Linear(2, 2, rng=1))
    net[0].bias.value[:] = 1e12
    report = gradcheck(net, normal(3, 2))
    row = report.row("x")
    assert report
    assert row.ok
    assert row.not_differentiable == []
    assert row.lost
    assert "lost in rounding errors, not compared (are x or weights very large?): x[" in str(report)


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


def test_a_slope_is_measured_again_before_anybody_is_accused():
    """At 0 a step of 1e-6 is far too wide for this one, but as the sine is symmetric both sides look alike."""
    wiggle = bf.Elementwise(lambda x: x + 1e-3 * np.sin(3e6 * x), lambda dy, x, y: dy * (1 + 3e3 * np.cos(3e6 * x)))
    row = gradcheck(wiggle, np.zeros((2, 3))).row("x")
    assert row.checked == 6
    assert row.ok, row


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
