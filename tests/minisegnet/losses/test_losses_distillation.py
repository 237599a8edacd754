"""DistillationLoss and EntropyPenalty: values worked out by hand, PyTorch's autograd as the oracle, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import check_against_torch

from kernels import ShapeError
from minisegnet.losses import DistillationLoss, EntropyPenalty

drawn = {
    "dtype": st.sampled_from([np.float32, np.float64]),
    "shape": st.sampled_from([(4, 3), (2, 5, 2, 3)]),
    "reduction": st.sampled_from(["mean", "sum", "none"]),
    "seed": st.integers(0, 999),
}


def reduce(each, reduction):
    return {"none": each, "sum": each.sum(), "mean": each.mean()}[reduction]


def test_distillation_value():
    # softened by T = 2: p = (1/2, 1/2), q = (1/4, 3/4)
    scores, teacher = np.zeros((1, 2)), 2 * np.log([[1.0, 3.0]])
    loss = DistillationLoss(temperature=2)
    value, saved = loss.forward(scores, teacher)
    assert value == pytest.approx(4 * (0.25 * np.log(0.5) + 0.75 * np.log(1.5)), rel=1e-14)
    np.testing.assert_allclose(loss.backward(saved), [[0.5, -0.5]], rtol=1e-14)  # T*(p - q)


def test_a_student_like_its_teacher_has_nothing_to_learn():
    scores = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    loss = DistillationLoss()
    value, saved = loss.forward(scores, scores + 7)  # a constant more doesn't change a softmax
    assert value == pytest.approx(0, abs=1e-14)
    np.testing.assert_allclose(loss.backward(saved), 0, atol=1e-15)


def test_mean_is_over_pixels_not_classes():
    rng = np.random.default_rng(0)
    scores, teacher = rng.standard_normal((2, 2, 3, 4, 5))
    total = DistillationLoss(reduction="sum")(scores, teacher)
    assert DistillationLoss()(scores, teacher) == pytest.approx(total / (2 * 4 * 5), rel=1e-12)
    assert EntropyPenalty()(scores) == pytest.approx(EntropyPenalty(reduction="sum")(scores) / (2 * 4 * 5), rel=1e-12)


def test_size_of_the_gradient_hardly_depends_on_the_temperature():
    rng = np.random.default_rng(0)
    scores, teacher = 0.01 * rng.standard_normal((2, 8, 3))
    cold, hot = (DistillationLoss(T) for T in (10, 1000))
    np.testing.assert_allclose(
        cold.backward(cold.forward(scores, teacher)[1]),
        hot.backward(hot.forward(scores, teacher)[1]),
        rtol=0.02,
        atol=1e-5,
    )


@settings(max_examples=40, deadline=None)
@given(temperature=st.sampled_from([0.5, 1.0, 4.0]), **drawn)
def test_distillation_against_autograd(temperature, dtype, shape, reduction, seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores, teacher = (2 * rng.standard_normal((2, *shape))).astype(dtype)

    def function(x, t):
        log_p, q = torch.log_softmax(x / temperature, 1), torch.softmax(t / temperature, 1)
        return reduce(temperature**2 * torch.nn.functional.kl_div(log_p, q, reduction="none").sum(1), reduction)

    check_against_torch(DistillationLoss(temperature, reduction), function, scores, teacher)


def test_entropy_value():
    loss = EntropyPenalty(reduction="none")
    value, saved = loss.forward(np.array([[0.0, 0.0], [np.log(3), 0.0], [0.0, 1e4]]))
    quarter = 0.25 * np.log(4) + 0.75 * np.log(4 / 3)
    np.testing.assert_allclose(value, [np.log(2), quarter, 0], rtol=1e-14)
    # dH/dx_k = -p_k (log p_k + H)
    first = -0.75 * (np.log(0.75) + quarter)
    np.testing.assert_allclose(loss.backward(saved), [[0, 0], [first, -first], [0, 0]], rtol=1e-13, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(dim=st.sampled_from([0, 1, -1]), **drawn)
def test_entropy_against_autograd(dim, dtype, shape, reduction, seed):
    torch = pytest.importorskip("torch")
    scores = (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)

    def function(x, _):
        log_p = torch.log_softmax(x, dim)
        return reduce(-(log_p.exp() * log_p).sum(dim), reduction)

    check_against_torch(EntropyPenalty(dim, reduction), function, scores, None)


def test_distillation_errors():
    with pytest.raises(
        ShapeError, match=r"^DistillationLoss\(\): target has shape \(2,\), expected \(2, 3\), .*not labels"
    ):
        DistillationLoss()(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(TypeError, match="scores is float64, target is float32: dtypes are never mixed"):
        DistillationLoss()(np.zeros((2, 3)), np.zeros((2, 3), np.float32))
    with pytest.raises(ShapeError, match=r"scores have shape \(3,\), expected \(N, C\) or \(N, C, H, W\)"):
        DistillationLoss()(np.zeros(3), np.zeros(3))
    for temperature in (0, -1):
        with pytest.raises(ValueError, match=r"temperature must be in \(0, inf\), got"):
            DistillationLoss(temperature)


def test_entropy_errors():
    with pytest.raises(ShapeError, match=r"^EntropyPenalty\(\): scores have shape \(3,\), which has no axis 1"):
        EntropyPenalty()(np.zeros(3))
    with pytest.raises(ShapeError, match=r"scores have shape \(2, 3\), which has no axis -3"):
        EntropyPenalty(-3)(np.zeros((2, 3)))
    with pytest.raises(TypeError, match=r"dim must be an integer, got 1\.0"):
        EntropyPenalty(1.0)
