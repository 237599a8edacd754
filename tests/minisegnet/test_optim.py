"""Optimisers: hand-computed steps, PyTorch's steps, resuming to the last bit, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import ShapeError
from minisegnet import Parameter, Sequential, layers, optim

DTYPES = [np.float32, np.float64]
SHAPES = [(3,), (4, 3, 2, 2), (2, 5), (1,)]

# one of each kind, with every option in use
MAKERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1, weight_decay=0.01),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "Adam": lambda params: optim.Adam(params, lr=0.1, betas=(0.8, 0.95), weight_decay=0.01),
    "AdamW": lambda params: optim.AdamW(params, lr=0.1, betas=(0.8, 0.95), weight_decay=0.01),
}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def parameters(rng, dtype=np.float64):
    return [Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]


def set_random_grads(params, rng):
    """Gradients of very different sizes."""
    for parameter in params:
        grad = rng.normal(size=parameter.shape) * 10.0 ** rng.integers(-3, 3, parameter.shape)
        parameter.grad = grad.astype(parameter.dtype)


def steps(optimizer, grads):
    """The value of a single number after each of these gradients."""
    (parameter,) = optimizer.params
    values = []
    for g in grads:
        parameter.grad[...] = g
        optimizer.step()
        values.append(float(parameter.value[0]))
    return values


def one():
    return [Parameter(np.array([1.0]))]


# ------------------------------------------------------------------ by hand


def test_plain_descent():
    assert steps(optim.SGD(one(), lr=0.1), [1, 1, -2]) == pytest.approx([0.9, 0.8, 1.0])
    # weight decay: g = 1 + 0.5 * value
    assert steps(optim.SGD(one(), lr=0.1, weight_decay=0.5), [1, 1]) == pytest.approx([0.85, 0.7075])


def test_momentum_starts_with_the_gradient():
    assert steps(optim.SGD(one(), 0.1, momentum=0.9), [1, 1, 1]) == pytest.approx([0.9, 0.71, 0.439])
    assert steps(optim.SGD(one(), 0.1, momentum=0.9, nesterov=True), [1, 1, 1]) == pytest.approx([0.81, 0.539, 0.1951])


def test_adam_moves_by_about_lr_whatever_the_gradient():
    for g in (1e-3, 1, 1e6):
        (value,) = steps(optim.Adam(one(), lr=0.1), [g])
        assert value == pytest.approx(0.9, abs=1e-5)


def test_adam_eps_is_outside_the_root():
    assert steps(optim.Adam(one(), lr=0.1), [1e-8]) == pytest.approx([1 - 0.05])


def test_adam_second_step():
    # m = .1*.9 + .1*(-2) = -.11, m^ = -.11/.19; v = .001*.999 + .001*4 = .004999, v^ = .004999/.001999
    expected = 0.9 + 0.1 * (0.11 / 0.19) / math.sqrt(0.004999 / 0.001999)
    assert steps(optim.Adam(one(), lr=0.1), [1, -2]) == pytest.approx([0.9, expected])


def test_l2_enters_adams_gradient_and_decay_is_decoupled_in_adamw():
    # gradient 0: L2 gives g = 0.5, so a whole step of lr; AdamW only multiplies by 1 - 0.1*0.5
    assert steps(optim.Adam(one(), lr=0.1, weight_decay=0.5), [0]) == pytest.approx([0.9])
    assert steps(optim.AdamW(one(), lr=0.1, weight_decay=0.5), [0]) == pytest.approx([0.95])
    assert steps(optim.AdamW(one(), lr=0.1, weight_decay=0.5), [1]) == pytest.approx([0.85])


def test_defaults_are_pytorchs():
    adam, adamw = optim.Adam(one()), optim.AdamW(one())
    for optimizer in (adam, adamw):
        assert (optimizer.lr, optimizer.betas, optimizer.eps) == (1e-3, (0.9, 0.999), 1e-8)
    assert (adam.weight_decay, adamw.weight_decay) == (0, 0.01)


# ------------------------------------------------------------------ against PyTorch

lrs = st.floats(1e-4, 0.5)
decays = st.one_of(st.just(0.0), st.floats(1e-4, 0.5))
betas = st.tuples(st.floats(0, 0.99), st.floats(0, 0.9999))
adam_options = st.fixed_dictionaries(
    {"lr": lrs, "betas": betas, "eps": st.sampled_from([1e-8, 1e-3]), "weight_decay": decays}
)
options = st.one_of(
    st.tuples(st.just("SGD"), st.fixed_dictionaries({"lr": lrs, "weight_decay": decays})),
    st.tuples(
        st.just("SGD"),
        st.fixed_dictionaries(
            {"lr": lrs, "momentum": st.floats(0.01, 0.99), "weight_decay": decays, "nesterov": st.booleans()}
        ),
    ),
    st.tuples(st.sampled_from(["Adam", "AdamW"]), adam_options),
)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(options, st.integers(0, 1000))
def test_twenty_steps_as_pytorch(dtype, kind_and_options, seed):
    torch = pytest.importorskip("torch")
    kind, chosen = kind_and_options
    rng = np.random.default_rng(seed)
    mine = parameters(rng, dtype)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.value.copy())) for p in mine]
    my_optimizer = getattr(optim, kind)(mine, **chosen)
    their_optimizer = getattr(torch.optim, kind)(theirs, **chosen)
    for i in range(20):
        set_random_grads(mine, rng)
        for a, b in zip(mine, theirs, strict=True):
            b.grad = torch.from_numpy(a.grad.copy())
        my_optimizer.lr = their_optimizer.param_groups[0]["lr"] = chosen["lr"] / (1 + i)  # as a schedule would
        grads = [p.grad.copy() for p in mine]
        my_optimizer.step()
        their_optimizer.step()
        for a, b, grad in zip(mine, theirs, grads, strict=True):
            tolerance = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-5}
            scale = max(1, np.abs(a.value).max())
            np.testing.assert_allclose(a.value, b.detach().numpy(), tolerance["rtol"], tolerance["atol"] * scale)
            np.testing.assert_array_equal(a.grad, grad)  # a step reads the gradient only
            assert a.value.dtype == dtype


# ------------------------------------------------------------------ training


@every_kind
def test_a_small_net_learns(make):
    """The gradient of 0.5 * mean((y - target)^2), with one convolution used twice."""
    rng = np.random.default_rng(0)
    shared = layers.Conv2d(2, 2, 3, padding=1, rng=1, dtype=np.float64)
    net = Sequential(shared, layers.LeakyReLU(0.1), shared)
    x, target = rng.normal(size=(2, 2, 6, 6)), rng.normal(size=(2, 2, 6, 6))
    optimizer = make(net.parameters())
    assert len(optimizer.params) == 2
    losses = []
    for _ in range(40):
        y, saved = net.forward(x)
        losses.append(0.5 * ((y - target) ** 2).mean())
        net.backward((y - target) / y.size, saved)
        optimizer.step()
        optimizer.zero_grad()
        assert not any(p.grad.any() for p in net.parameters())
    assert losses[-1] < 0.9 * losses[0]


@every_kind
def test_a_parameter_given_twice_is_stepped_once(make):
    once, twice = one(), one()
    for params in (once, twice):
        params[0].grad += 0.5
    make(once).step()
    optimizer = make([twice[0], twice[0]])
    optimizer.step()
    assert len(optimizer.params) == 1
    np.testing.assert_array_equal(once[0].value, twice[0].value)


@every_kind
def test_a_step_follows_a_replaced_value(make):
    """conv.weight.value = ... after the optimiser was made, as when weights are loaded."""
    params = one()
    optimizer = make(params)
    old, params[0].value = params[0].value, np.array([3.0])
    params[0].grad += 1
    optimizer.step()
    assert old[0] == 1
    assert params[0].value[0] < 3


def test_params_may_be_a_generator():
    net = layers.Linear(3, 2, rng=0)
    assert optim.SGD((p for p in net.parameters()), lr=1).params == net.parameters()


# ------------------------------------------------------------------ saving and resuming


@every_kind
@pytest.mark.parametrize("dtype", DTYPES)
def test_resuming_is_bit_identical(make, dtype):
    def train(count, rng, params, optimizer):
        for _ in range(count):
            set_random_grads(params, rng)
            optimizer.step()
            optimizer.lr *= 0.9

    straight = parameters(np.random.default_rng(0), dtype)
    optimizer, rng = make(straight), np.random.default_rng(1)
    train(20, rng, straight, optimizer)

    first = parameters(np.random.default_rng(0), dtype)
    stopped, rng = make(first), np.random.default_rng(1)
    train(10, rng, first, stopped)
    state, values = stopped.state_dict(), [p.value.copy() for p in first]
    before = {name: np.copy(value) for name, value in state.items()}
    train(3, np.random.default_rng(2), first, stopped)  # what happens later must not leak into the state

    second = [Parameter(value) for value in values]
    resumed = make(second)
    resumed.load_state_dict(state)
    train(10, rng, second, resumed)
    for a, b in zip(straight, second, strict=True):
        np.testing.assert_array_equal(a.value, b.value)
    assert resumed.lr == optimizer.lr
    assert resumed.step_count == 20
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


def test_state_is_flat_and_plain():
    rng = np.random.default_rng(0)
    state = optim.SGD(parameters(rng), lr=0.1).state_dict()
    assert state == {"step": 0, "lr": 0.1}
    state = optim.SGD(parameters(rng), lr=0.1, momentum=0.5).state_dict()
    assert list(state) == ["step", "lr", "velocity.0", "velocity.1", "velocity.2", "velocity.3"]
    assert [state[f"velocity.{i}"].shape for i in range(4)] == SHAPES
    optimizer = optim.Adam(parameters(rng, np.float32))
    optimizer.step()
    state = optimizer.state_dict()
    assert list(state) == ["step", "lr", *(f"m.{i}" for i in range(4)), *(f"v.{i}" for i in range(4))]
    assert (type(state["step"]), type(state["lr"]), state["step"]) == (int, float, 1)
    assert state["m.0"].dtype == np.float32


def test_loading_converts_to_the_buffers_dtype_and_accepts_numpy_numbers():
    rng = np.random.default_rng(0)
    double, single = optim.Adam(parameters(rng)), optim.Adam(parameters(rng, np.float32))
    set_random_grads(double.params, rng)
    double.step()
    state = double.state_dict() | {"step": np.int64(1), "lr": np.float64(0.5)}
    single.load_state_dict(state)
    assert single.buffers["m"][1].dtype == np.float32
    np.testing.assert_array_equal(single.buffers["m"][1], state["m.1"].astype(np.float32))
    assert (type(single.step_count), type(single.lr), single.lr) == (int, float, 0.5)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"v.3": None}, KeyError, "Adam can't load this state: missing v.3"),
        ({"step": None, "lr": None}, KeyError, "missing step, lr"),
        ({"velocity.0": np.zeros(3)}, KeyError, "unknown velocity.0"),
        ({"m.0": None, "n.0": np.zeros(3)}, KeyError, "missing m.0; unknown n.0"),
        ({"v.3": np.zeros(2)}, ShapeError, r"v.3 is \(2,\), expected \(1,\); it belongs to another net"),
        ({"v.3": np.zeros(())}, ShapeError, r"v.3 is \(\), expected \(1,\)"),
        ({"v.3": [0.0]}, TypeError, "Adam: v.3 must be a NumPy array, got list"),
        ({"v.3": np.zeros(1, int)}, TypeError, "float32 .* or float64 .* got int64"),
        ({"step": -1}, ValueError, "Adam: step must be at least 0, got -1"),
        ({"step": 1.0}, TypeError, "Adam: step must be an integer, got 1.0"),
        ({"lr": -1.0}, ValueError, r"Adam: lr must be in \[0, inf\), got -1.0"),
        ({"lr": "0.1"}, TypeError, "Adam: lr must be a number, got '0.1'"),
    ],
)
def test_loading_is_strict_and_changes_nothing_unless_everything_fits(change, error, text):
    rng = np.random.default_rng(0)
    source, target = optim.Adam(parameters(rng), lr=0.5), optim.Adam(parameters(rng), lr=0.25)
    for optimizer in (source, target):
        set_random_grads(optimizer.params, rng)
        optimizer.step()
    source.step()
    state = {name: value for name, value in (source.state_dict() | change).items() if value is not None}
    before = target.state_dict()
    with pytest.raises(error, match=text):
        target.load_state_dict(state)
    after = target.state_dict()
    assert list(after) == list(before)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name])


# ------------------------------------------------------------------ clipping


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("max_norm", [0.5, 40, 1e6, math.inf])
def test_clipping_as_pytorch(dtype, max_norm):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = parameters(rng, dtype)
    set_random_grads(params, rng)
    theirs = [torch.nn.Parameter(torch.from_numpy(p.value.copy())) for p in params]
    for a, b in zip(params, theirs, strict=True):
        b.grad = torch.from_numpy(a.grad.copy())
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    norm = optim.clip_grad_norm(params, max_norm)
    rtol = 1e-12 if dtype == np.float64 else 1e-5
    assert type(norm) is float
    assert norm == pytest.approx(float(expected), rel=rtol)
    for a, b in zip(params, theirs, strict=True):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=rtol)
        assert a.grad.dtype == dtype


def test_clipping_by_hand():
    first, second = Parameter(np.zeros(2)), Parameter(np.zeros((1, 1), np.float32))
    first.grad += [2, -3]
    second.grad += 6
    held = first.grad
    assert optim.clip_grad_norm([first, second, first], 3.5) == 7  # given twice, counted once
    assert first.grad is held  # in place
    np.testing.assert_allclose(first.grad, [1, -1.5], rtol=1e-6)
    np.testing.assert_allclose(second.grad, [[3]], rtol=1e-6)
    assert second.grad.dtype == np.float32
    assert optim.clip_grad_norm([first, second], 4) == pytest.approx(3.5)
    np.testing.assert_allclose(first.grad, [1, -1.5], rtol=1e-6)  # short enough: unchanged


def test_clipping_short_gradients():
    """The 1e-6 added to the norm shows where the norm is small: scale 1e-6 / (3e-6 + 1e-6)."""
    parameter = Parameter(np.zeros(1))
    parameter.grad += 3e-6
    assert optim.clip_grad_norm([parameter], 1e-6) == pytest.approx(3e-6)
    np.testing.assert_allclose(parameter.grad, 0.75e-6)


def test_clipping_sums_in_float64():
    parameter = Parameter(np.zeros(2, np.float32))
    parameter.grad += np.array([3e30, 4e30], np.float32)  # their squares overflow float32
    assert optim.clip_grad_norm([parameter], 5) == pytest.approx(5e30)
    np.testing.assert_allclose(parameter.grad, [3, 4], rtol=1e-6)


@pytest.mark.parametrize(
    ("grad", "norm", "after"),
    [([1, math.inf], math.inf, [0, math.nan]), ([1, math.nan], math.nan, [math.nan] * 2)],
)
def test_clipping_non_finite_gradients(grad, norm, after):
    parameter = Parameter(np.zeros(2))
    parameter.grad += grad
    np.testing.assert_equal(optim.clip_grad_norm([parameter], 1.0), norm)
    np.testing.assert_array_equal(parameter.grad, after)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: optim.SGD([], 0.1), ValueError, r"SGD: params is empty.*use net.parameters\(\)"),
        (lambda: optim.Adam(iter([])), ValueError, "Adam: params is empty"),
        (
            lambda: optim.SGD(layers.Linear(2, 2), 0.1),
            TypeError,
            r"SGD: params must be a list of Parameters, got Linear; use net.parameters\(\)",
        ),
        (lambda: optim.SGD(one()[0], 0.1), TypeError, "must be a list of Parameters, got Parameter"),
        (
            lambda: optim.AdamW([*one(), np.zeros(2)]),
            TypeError,
            r"AdamW: params\[1\] is a ndarray, expected a Parameter; use net.parameters\(\)",
        ),
        (
            lambda: optim.Adam(layers.Linear(2, 2).named_parameters()),
            TypeError,
            r"params\[0\] is a tuple, expected a Parameter",
        ),
        (lambda: optim.SGD(one(), -0.1), ValueError, r"SGD: lr must be in \[0, inf\), got -0.1"),
        (lambda: optim.Adam(one(), math.nan), ValueError, r"Adam: lr must be in \[0, inf\), got nan"),
        (lambda: optim.Adam(one(), math.inf), ValueError, r"Adam: lr must be in \[0, inf\), got inf"),
        (lambda: optim.SGD(one(), "fast"), TypeError, "SGD: lr must be a number, got 'fast'"),
        (lambda: optim.SGD(one(), 1, momentum=-0.9), ValueError, r"SGD: momentum must be in \[0, inf\), got -0.9"),
        (lambda: optim.SGD(one(), 1, weight_decay=-1), ValueError, r"SGD: weight_decay must be in \[0, inf\), got -1"),
        (lambda: optim.Adam(one(), weight_decay=-1), ValueError, "Adam: weight_decay must be in"),
        (lambda: optim.AdamW(one(), weight_decay=None), TypeError, "AdamW: weight_decay must be a number, got None"),
        (
            lambda: optim.SGD(one(), 1, nesterov=True),
            ValueError,
            "SGD: nesterov=True needs momentum, got momentum=0; use for example momentum=0.9",
        ),
        (lambda: optim.Adam(one(), betas=(1.0, 0.9)), ValueError, r"Adam: beta1 must be in \[0, 1\), got 1.0"),
        (lambda: optim.AdamW(one(), betas=(0.9, -0.1)), ValueError, r"AdamW: beta2 must be in \[0, 1\), got -0.1"),
        (lambda: optim.Adam(one(), betas=0.9), TypeError, r"Adam: betas must be two numbers \(beta1, beta2\), got 0.9"),
        (
            lambda: optim.Adam(one(), betas=(0.9,)),
            TypeError,
            r"betas must be two numbers \(beta1, beta2\), got \(0.9,\)",
        ),
        (lambda: optim.Adam(one(), eps=0), ValueError, r"Adam: eps must be in \(0, inf\), got 0"),
        (lambda: optim.clip_grad_norm(one(), 0), ValueError, r"max_norm must be in \(0, inf\), got 0"),
        (lambda: optim.clip_grad_norm(one(), -1), ValueError, r"max_norm must be in \(0, inf\), got -1"),
        (lambda: optim.clip_grad_norm([], 1), ValueError, "clip_grad_norm: params is empty"),
        (lambda: optim.clip_grad_norm([np.ones(2)], 1), TypeError, r"clip_grad_norm: params\[0\] is a ndarray"),
        (lambda: optim.Optimizer(one(), 1).step(), NotImplementedError, "Optimizer has no update"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_lr_is_validated_whenever_it_is_set():
    optimizer = optim.SGD(one(), 0.1)
    optimizer.lr = np.float32(0.5)
    assert type(optimizer.lr) is float
    with pytest.raises(ValueError, match=r"SGD: lr must be in \[0, inf\), got -1"):
        optimizer.lr = -1
    assert optimizer.lr == 0.5
    optimizer.lr = 0  # legal: nothing moves
    assert steps(optimizer, [5]) == [1]


@pytest.mark.parametrize("name", ["momentum", "Nesterov", "Adam", "AdamW"])
def test_a_net_converted_after_its_optimiser_was_made(name):
    net = layers.Linear(3, 2, rng=0)
    optimizer = MAKERS[name](net.parameters())
    net.astype(np.float64)
    before = net.weight.value.copy()
    with pytest.raises(
        TypeError, match=r"made for float32 parameters, but parameter 0 of shape \(2, 3\) is float64 now"
    ):
        optimizer.step()
    np.testing.assert_array_equal(net.weight.value, before)
    assert optimizer.step_count == 0
    net.astype(np.float32)
    optimizer.step()
    assert optimizer.step_count == 1


@pytest.mark.parametrize(("grad", "got"), [(None, "NoneType"), (np.zeros(3), r"\(3,\)")])
def test_a_gradient_that_does_not_fit_is_named_and_nothing_is_stepped(grad, got):
    first, second = Parameter(np.ones(2)), Parameter(np.ones(2))
    first.grad += 1
    second.grad = grad
    optimiser = optim.SGD([first, second], lr=1)
    with pytest.raises(ShapeError, match=rf"^SGD: the gradient of parameter 1 is {got}, expected an array of shape"):
        optimiser.step()
    np.testing.assert_array_equal(first.value, 1)
    assert optimiser.step_count == 0
