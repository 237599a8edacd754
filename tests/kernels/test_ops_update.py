"""Optimiser updates, over several steps, against known numbers and PyTorch's optimisers."""

import numpy as np
import pytest
from op_cases import close

from kernels import ShapeError

STEPS = 6


def steps_of_sgd(ops, momentum, nesterov):
    """From 1, with lr .1 and gradient 1."""
    value, velocity = np.array([1.0]), np.array([0.0])
    for _ in range(3):
        ops.sgd_update(value, np.array([1.0]), velocity, 0.1, momentum, 0.0, nesterov)
        yield value.item()


@pytest.mark.parametrize(
    ("nesterov", "expected"), [(False, [0.9, 0.71, 0.439]), (True, [0.81, 0.539, 0.1951])], ids=["plain", "nesterov"]
)
def test_the_first_velocity_is_the_gradient(ops, nesterov, expected):
    np.testing.assert_allclose(list(steps_of_sgd(ops, 0.9, nesterov)), expected, rtol=1e-12)


def test_sgd_without_momentum(ops):
    value = np.array([1.0, -2.0])
    ops.sgd_update(value, np.array([0.5, 1.0]), None, 0.1, 0.0, 0.5, False)
    np.testing.assert_allclose(value, [1 - 0.1 * (0.5 + 0.5), -2 - 0.1 * (1 - 1)], rtol=1e-15)


def test_adams_first_step_is_about_lr_whatever_the_gradient(ops):
    value, m, v = np.zeros(4), np.zeros(4), np.zeros(4)
    ops.adam_update(value, np.array([1e6, -1.0, 1e-8, 0]), m, v, 1, 0.1, 0.9, 0.999, 1e-8, 0.0, False)
    np.testing.assert_allclose(value, [-0.1, 0.1, -0.05, 0], rtol=1e-7)  # eps is outside the root: g = eps moves lr/2


def test_adamw_shrinks_the_value_apart_from_the_gradient(ops):
    value, m, v = np.array([2.0]), np.zeros(1), np.zeros(1)
    ops.adam_update(value, np.zeros(1), m, v, 1, 0.1, 0.9, 0.999, 1e-8, 0.5, True)
    np.testing.assert_allclose(value, 2 * (1 - 0.1 * 0.5), rtol=1e-15)
    assert not m.any()
    assert not v.any()


def random_steps(dtype):
    """A start and a gradient for each step."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(3, 4)).astype(dtype), rng.normal(size=(STEPS, 3, 4)).astype(dtype)


def torch_steps(torch, optimiser, start, gradients, **options):
    """The value after each step of a PyTorch optimiser."""
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimiser = getattr(torch.optim, optimiser)([parameter], **options)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient.copy())
        optimiser.step()
        yield parameter.detach().numpy().copy()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_agrees_with_pytorch(ops, torch, momentum, nesterov, weight_decay, dtype):
    start, gradients = random_steps(dtype)
    options = {"lr": 0.1, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov}
    value, velocity = start.copy(), np.zeros_like(start) if momentum else None
    for gradient, expected in zip(gradients, torch_steps(torch, "SGD", start, gradients, **options), strict=True):
        ops.sgd_update(value, gradient, velocity, 0.1, momentum, weight_decay, nesterov)
        close(value, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimiser", ["Adam", "AdamW"])
def test_adam_agrees_with_pytorch(ops, torch, optimiser, weight_decay, dtype):
    start, gradients = random_steps(dtype)
    options = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    value, m, v = start.copy(), np.zeros_like(start), np.zeros_like(start)
    expected_steps = torch_steps(torch, optimiser, start, gradients, **options)
    for step, (gradient, expected) in enumerate(zip(gradients, expected_steps, strict=True), 1):
        ops.adam_update(value, gradient, m, v, step, 0.05, 0.8, 0.95, 1e-6, weight_decay, optimiser == "AdamW")
        close(value, expected)


def test_a_gradient_of_another_shape_raises(ops):
    value, grad = np.ones((2, 3)), np.ones(3)  # NumPy alone would broadcast it
    with pytest.raises(ShapeError, match=r"^grad has shape \(3,\), expected \(2, 3\)$"):
        ops.sgd_update(value, grad, None, 0.1, 0.0, 0.0, False)
    with pytest.raises(ShapeError, match=r"^grad has shape \(3,\), expected \(2, 3\)$"):
        ops.adam_update(value, grad, np.zeros((2, 3)), np.zeros((2, 3)), 1, 0.1, 0.9, 0.999, 1e-8, 0.0, False)
    np.testing.assert_array_equal(value, np.ones((2, 3)))
