"""What gradcheck says of layers that break a promise of forward or backward, or return no gradient at all."""

import buggy_layers as bl
import buggy_wholes as bw
import numpy as np
import pytest

from minisegnet import layers, losses
from minisegnet.combine import Sequential, Sum
from minisegnet.gradcheck import gradcheck

ADJOINT = "linear, and backward is its adjoint"


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


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


@pytest.mark.parametrize("seed", range(5))
def test_the_adjoint_of_a_layer_with_a_large_bias(seed):
    conv = layers.Conv2d(2, 2, 1, rng=0)
    conv.bias.value[:] = 1e7
    report = gradcheck(conv, normal(2, 2, 3, 3, seed=seed))
    assert report, report
    assert ADJOINT in [contract.name for contract in report.contracts]


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


def test_a_combinator_that_returns_none():
    class Forgets(bw.Add):
        def backward(self, dy, saved):
            self.returned(dy, saved)

    report = gradcheck(Forgets(layers.Tanh(), layers.Conv2d(2, 2, 1, rng=0)), normal(1, 2, 3, 3))
    assert not report
    assert report.diagnosis == [
        "backward returned None: it must end with `return dx`, an array of x's shape (1, 2, 3, 3)"
    ]


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
