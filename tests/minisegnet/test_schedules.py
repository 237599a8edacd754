"""Learning-rate schedules: hand-computed values, PyTorch's values, warm-up, resuming, refusals."""

import json
import math

import numpy as np
import pytest

from minisegnet import Parameter, optim, schedules

STEPS = 45

# name: (our schedule, PyTorch's), each made from an optimiser; the same numbers in both
PAIRS = {
    "step": ("StepLR", {"step_size": 7, "gamma": 0.3}),
    "step every time": ("StepLR", {"step_size": 1}),
    "exponential": ("ExponentialLR", {"gamma": 0.93}),
    "exponential, growing": ("ExponentialLR", {"gamma": 1.1}),
    "cosine": ("CosineAnnealingLR", {"T_max": 50, "eta_min": 0.01}),
    "cosine, beyond T_max": ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.05}),
    "cosine to zero": ("CosineAnnealingLR", {"T_max": 45}),
    "polynomial": ("PolynomialLR", {"total_iters": 40, "power": 0.9}),
    "polynomial, defaults": ("PolynomialLR", {}),
    "linear": ("LinearLR", {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 30}),
    "linear, falling to zero": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 44}),
    "linear, defaults": ("LinearLR", {}),
}
PLATEAUS = {
    "defaults": {},
    "rel min": {"patience": 2, "factor": 0.5, "threshold": 0.05},
    "abs min": {"patience": 1, "factor": 0.5, "threshold": 0.1, "threshold_mode": "abs"},
    "rel max": {"mode": "max", "patience": 2, "factor": 0.3, "threshold": 0.02},
    "abs max": {"mode": "max", "patience": 0, "factor": 0.7, "threshold": 0.05, "threshold_mode": "abs"},
    "cooldown": {"patience": 1, "factor": 0.5, "cooldown": 4},
    "min_lr": {"patience": 0, "factor": 0.5, "min_lr": 0.02},
    "eps": {"patience": 0, "factor": 0.5, "eps": 0.01},
}


def optimizer(lr=1.0):
    return optim.SGD([Parameter(np.ones(1))], lr=lr)


def make(name, lr=0.4):
    kind, arguments = PAIRS[name]
    return getattr(schedules, kind)(optimizer(lr), **arguments)


def run(schedule, count, metrics=None):
    """The optimiser's lr before the first and after each step."""
    lrs = [schedule.optimizer.lr]
    for i in range(count):
        schedule.step(*([metrics[i]] if schedule.needs_metric else []))
        assert schedule.lr == schedule.optimizer.lr
        lrs.append(schedule.optimizer.lr)
    return lrs


def noisy_metrics(count=STEPS):
    """Falls, then wanders about: good and bad steps, equal ones and a NaN among them."""
    rng = np.random.default_rng(0)
    metrics = np.round(1 + np.exp(-np.arange(count) / 5) + 0.1 * rng.normal(size=count), 2)
    metrics[count // 2] = np.nan
    return metrics.tolist()


# ------------------------------------------------------------------ by hand


def test_step():
    assert run(schedules.StepLR(optimizer(), 2), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine():
    expected = [1, 0.868, 0.55, 0.232, 0.1]
    assert run(schedules.CosineAnnealingLR(optimizer(), 4, 0.1), 4) == pytest.approx(expected, abs=5e-4)


def test_polynomial():
    assert run(schedules.PolynomialLR(optimizer(2.0), 4, 2), 5) == pytest.approx([2, 1.125, 0.5, 0.125, 0, 0])


def test_linear_applies_its_factor_to_the_very_first_step():
    schedule = schedules.LinearLR(optimizer(), start_factor=0.25, total_iters=3)
    assert schedule.optimizer.lr == 0.25
    assert run(schedule, 4) == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert schedule.optimizer.lr == 1  # exactly


def test_plateau_drops_on_the_third_bad_step_with_patience_2():
    schedule = schedules.ReduceLROnPlateau(optimizer(), patience=2)
    assert run(schedule, 5, [3, 3, 3, 3, 3]) == pytest.approx([1, 1, 1, 1, 0.1, 0.1])
    schedule = schedules.ReduceLROnPlateau(optimizer(), patience=2)
    assert run(schedule, 6, [3, 4, 4, 2, 4, 4]) == [1] * 7  # one good step starts the count anew


def test_plateau_threshold():
    def reduced(metrics, **options):
        return run(schedules.ReduceLROnPlateau(optimizer(), patience=0, **options), 2, metrics)[-1] < 1

    assert reduced([1.0, 0.91], threshold=0.1)  # 9 % better is not better
    assert not reduced([1.0, 0.89], threshold=0.1)
    assert reduced([10.0, 9.95], threshold=0.1, threshold_mode="abs")
    assert not reduced([10.0, 9.85], threshold=0.1, threshold_mode="abs")
    assert reduced([0.5, 0.54], threshold=0.1, mode="max")
    assert not reduced([0.5, 0.56], threshold=0.1, mode="max")
    assert reduced([0.5, 0.4], mode="max")
    assert reduced([0.5, math.nan])
    assert reduced([0.5, math.nan], mode="max")


def test_plateau_cooldown_and_floor():
    schedule = schedules.ReduceLROnPlateau(optimizer(), factor=0.5, patience=0, cooldown=2, min_lr=0.3)
    assert run(schedule, 9, [1] * 9) == [1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3, 0.3]


@pytest.mark.parametrize("name", PAIRS)
def test_the_formula_is_what_steps_give(name):
    schedule, same = make(name), make(name)
    assert run(schedule, STEPS) == [same.lr_at(t) for t in range(STEPS + 1)]
    assert same.step_count == 0  # asking changes nothing
    assert schedule.step_count == STEPS
    assert schedule.base_lr == 0.4


# ------------------------------------------------------------------ warm-up


def test_warmup_by_hand():
    schedule = schedules.Warmup(schedules.ExponentialLR(optimizer(), 0.5), steps=3)
    assert schedule.optimizer.lr == 0.25
    assert run(schedule, 5) == pytest.approx([0.25, 0.5, 0.75, 1, 0.5, 0.25])
    schedule = schedules.Warmup(schedules.ExponentialLR(optimizer(), 0.5), steps=4, start_factor=0.2)
    assert run(schedule, 6) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 0.5, 0.25])


def test_warmup_rises_to_the_other_schedules_starting_lr():
    inner = schedules.LinearLR(optimizer(), start_factor=0.5, end_factor=1, total_iters=2)
    assert run(schedules.Warmup(inner, 1), 4) == [0.25, 0.5, 0.75, 1, 1]


def test_no_warmup():
    assert run(schedules.Warmup(make("cosine"), 0), STEPS) == run(make("cosine"), STEPS)


@pytest.mark.parametrize("name", PAIRS)
def test_warmup_then_the_other_schedule_from_its_own_step_0(name):
    lrs = run(schedules.Warmup(make(name), 6), STEPS)
    alone = run(make(name), STEPS)
    assert lrs[6:] == alone[: STEPS - 5]
    assert lrs[:7] == pytest.approx([alone[0] * (i + 1) / 7 for i in range(7)])
    schedule = schedules.Warmup(make(name), 6)
    assert [schedule.lr_at(t) for t in range(STEPS + 1)] == lrs
    assert schedule.base_lr == 0.4


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
def test_warmup_then_plateau(options):
    """Metrics reach the plateau only after the warm-up, so it sees the same as one that starts later."""
    metrics = noisy_metrics()
    schedule = schedules.Warmup(schedules.ReduceLROnPlateau(optimizer(0.4), **options), 4)
    assert schedule.needs_metric
    lrs = run(schedule, STEPS, metrics)
    assert lrs[:5] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4])
    assert lrs[4:] == run(schedules.ReduceLROnPlateau(optimizer(0.4), **options), STEPS - 4, metrics[4:])
    if options:  # with the default patience of 10 the noise is not enough
        assert min(lrs[4:]) < 0.4


def test_warmup_around_warmup():
    inner = schedules.Warmup(schedules.ExponentialLR(optimizer(), 0.5), 1)
    assert run(schedules.Warmup(inner, 1), 4) == [0.25, 0.5, 1, 0.5, 0.25]


# ------------------------------------------------------------------ against PyTorch


def pytorchs(lr=0.4):
    torch = pytest.importorskip("torch")
    return torch.optim.lr_scheduler, torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=lr)


def run_pytorchs(schedule, their_optimizer, count, metrics=None):
    lrs = [their_optimizer.param_groups[0]["lr"]]
    for i in range(count):
        their_optimizer.step()
        schedule.step(*([metrics[i]] if metrics else []))
        lrs.append(their_optimizer.param_groups[0]["lr"])
    return lrs


@pytest.mark.parametrize("name", PAIRS)
def test_as_pytorch(name):
    lr_scheduler, theirs = pytorchs()
    kind, arguments = PAIRS[name]
    expected = run_pytorchs(getattr(lr_scheduler, kind)(theirs, **arguments), theirs, STEPS)
    np.testing.assert_allclose(run(make(name), STEPS), expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("options", PLATEAUS.values(), ids=PLATEAUS)
def test_plateau_as_pytorch(options):
    lr_scheduler, theirs = pytorchs()
    metrics = noisy_metrics()
    expected = run_pytorchs(lr_scheduler.ReduceLROnPlateau(theirs, **options), theirs, STEPS, metrics)
    assert run(schedules.ReduceLROnPlateau(optimizer(0.4), **options), STEPS, metrics) == expected
    assert len(set(expected)) > 1


@pytest.mark.filterwarnings("ignore:The epoch parameter:UserWarning")  # SequentialLR itself uses it
@pytest.mark.parametrize("name", [n for n in PAIRS if "linear" not in n])  # there theirs starts from its own factor
def test_warmup_as_pytorchs_sequence(name):
    lr_scheduler, theirs = pytorchs()
    kind, arguments = PAIRS[name]
    parts = [
        lr_scheduler.LinearLR(theirs, start_factor=0.2, total_iters=4),
        getattr(lr_scheduler, kind)(theirs, **arguments),
    ]
    expected = run_pytorchs(lr_scheduler.SequentialLR(theirs, parts, milestones=[4]), theirs, STEPS)
    lrs = run(schedules.Warmup(make(name), 4), STEPS)
    np.testing.assert_allclose(lrs, expected, rtol=1e-10, atol=1e-15)


# ------------------------------------------------------------------ saving and resuming

MAKERS = {
    **{name: (lambda lr, name=name: make(name, lr)) for name in PAIRS},
    **{
        f"plateau, {name}": (lambda lr, options=options: schedules.ReduceLROnPlateau(optimizer(lr), **options))
        for name, options in PLATEAUS.items()
    },
}
MAKERS |= {
    f"warm-up, {name}": (lambda lr, maker=maker: schedules.Warmup(maker(lr), 9)) for name, maker in MAKERS.items()
}


@pytest.mark.parametrize("stop", [0, 5, 9, 10, 21])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_resuming_is_bit_identical(maker, stop):
    metrics = noisy_metrics()
    straight = run(maker(0.4), STEPS, metrics)
    first = maker(0.4)
    run(first, stop, metrics)
    state = json.loads(json.dumps(first.state_dict()))  # plain numbers survive text
    second = maker(0.123)  # the optimiser's lr at the time does not matter
    second.load_state_dict(state)
    assert run(second, STEPS - stop, metrics[stop:]) == straight[stop:]
    assert second.base_lr == 0.4


def test_state_is_flat_and_plain():
    schedule = schedules.StepLR(optimizer(0.4), 2)
    schedule.step()
    assert schedule.state_dict() == {"step_count": 1, "base_lr": 0.4, "lr": 0.4}
    schedule = schedules.Warmup(schedules.ReduceLROnPlateau(optimizer(0.4)), 1)
    schedule.step(2)
    schedule.step(3)
    assert schedule.state_dict() == {
        "step_count": 2,
        "base_lr": 0.4,
        "lr": 0.4,
        "schedule.step_count": 1,
        "schedule.base_lr": 0.4,
        "schedule.lr": 0.4,
        "schedule.best": 3.0,
        "schedule.bad_steps": 0,
        "schedule.cooldown_left": 0,
    }


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"base_lr": None}, KeyError, "Warmup can't load this state: missing base_lr"),
        ({"schedule.best": None, "best": 1.0}, KeyError, "missing schedule.best; unknown best"),
        ({"step_count": -1}, ValueError, "Warmup: step_count must be at least 0, got -1"),
        ({"step_count": 2.0}, TypeError, "Warmup: step_count must be an integer, got 2.0"),
        ({"lr": math.nan}, ValueError, r"Warmup: lr must be in \[0, inf\), got nan"),
        ({"schedule.base_lr": -1.0}, ValueError, r"ReduceLROnPlateau: base_lr must be in \[0, inf\), got -1"),
        ({"schedule.lr": "1"}, TypeError, "ReduceLROnPlateau: lr must be a number, got '1'"),
        ({"schedule.best": "low"}, TypeError, "ReduceLROnPlateau: best must be a number"),
        ({"schedule.bad_steps": -2}, ValueError, "ReduceLROnPlateau: bad_steps must be at least 0, got -2"),
        ({"schedule.cooldown_left": 0.5}, TypeError, "ReduceLROnPlateau: cooldown_left must be an integer, got 0.5"),
        (
            {"step_count": 7},
            ValueError,
            "this state took 7 steps, 3 of them after the warm-up, which does not fit a warm-up of 2 steps",
        ),
    ],
)
def test_loading_is_strict_and_changes_nothing_unless_everything_fits(change, error, text):
    def warmed(lr, count):
        schedule = schedules.Warmup(schedules.ReduceLROnPlateau(optimizer(lr), patience=0), 2)
        run(schedule, count, [1, 2, 3, 4, 5])
        return schedule

    state = warmed(0.5, 5).state_dict() | change
    state = {name: value for name, value in state.items() if value is not None}
    target = warmed(0.25, 3)
    before = target.state_dict()
    with pytest.raises(error, match=text):
        target.load_state_dict(state)
    assert target.state_dict() == before
    assert target.optimizer.lr == before["lr"]


def test_loading_a_plain_schedule_is_strict():
    schedule = make("cosine")
    with pytest.raises(
        KeyError, match="CosineAnnealingLR can't load this state: missing step_count, base_lr, lr; unknown"
    ):
        schedule.load_state_dict({"last_epoch": 3})
    with pytest.raises(KeyError, match=r"CosineAnnealingLR can't load this state: unknown schedule\.lr"):
        schedule.load_state_dict({**schedule.state_dict(), "schedule.lr": 1.0})


# ------------------------------------------------------------------ errors


def plateau(**options):
    return schedules.ReduceLROnPlateau(optimizer(), **options)


def stepped():
    schedule = schedules.StepLR(optimizer(), 2)
    schedule.step()
    return schedule


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: schedules.StepLR(0.1, 3),
            TypeError,
            r"StepLR: optimizer must be an optimiser such as optim.SGD\(.*\), got float",
        ),
        (lambda: schedules.ReduceLROnPlateau(None), TypeError, "ReduceLROnPlateau: optimizer must be .* got NoneType"),
        (lambda: schedules.StepLR(optimizer(), 0), ValueError, "StepLR: step_size must be at least 1, got 0"),
        (lambda: schedules.StepLR(optimizer(), 1.5), TypeError, "StepLR: step_size must be an integer, got 1.5"),
        (lambda: schedules.StepLR(optimizer(), 1, -0.1), ValueError, r"StepLR: gamma must be in \[0, inf\), got -0.1"),
        (
            lambda: schedules.ExponentialLR(optimizer(), "1"),
            TypeError,
            "ExponentialLR: gamma must be a number, got '1'",
        ),
        (
            lambda: schedules.CosineAnnealingLR(optimizer(), 0),
            ValueError,
            "CosineAnnealingLR: T_max must be at least 1",
        ),
        (
            lambda: schedules.CosineAnnealingLR(optimizer(), 5, -1),
            ValueError,
            r"CosineAnnealingLR: eta_min must be in \[0, inf\), got -1",
        ),
        (lambda: schedules.PolynomialLR(optimizer(), 0), ValueError, "PolynomialLR: total_iters must be at least 1"),
        (
            lambda: schedules.PolynomialLR(optimizer(), 5, -1),
            ValueError,
            r"PolynomialLR: power must be in \[0, inf\), got -1",
        ),
        (lambda: schedules.LinearLR(optimizer(), 0), ValueError, r"LinearLR: start_factor must be in \(0, 1\], got 0"),
        (
            lambda: schedules.LinearLR(optimizer(), 1, 1.5),
            ValueError,
            r"LinearLR: end_factor must be in \[0, 1\], got 1.5",
        ),
        (
            lambda: schedules.LinearLR(optimizer(), total_iters=0),
            ValueError,
            "LinearLR: total_iters must be at least 1",
        ),
        (lambda: plateau(mode="up"), ValueError, "ReduceLROnPlateau: mode must be 'min' or 'max', got 'up'"),
        (lambda: plateau(threshold_mode="%"), ValueError, "threshold_mode must be 'rel' or 'abs', got '%'"),
        (lambda: plateau(factor=1), ValueError, r"ReduceLROnPlateau: factor must be in \(0, 1\), got 1"),
        (lambda: plateau(factor=0), ValueError, r"ReduceLROnPlateau: factor must be in \(0, 1\), got 0"),
        (lambda: plateau(patience=-1), ValueError, "ReduceLROnPlateau: patience must be at least 0, got -1"),
        (lambda: plateau(cooldown=1.0), TypeError, "ReduceLROnPlateau: cooldown must be an integer, got 1.0"),
        (lambda: plateau(threshold=1), ValueError, r"ReduceLROnPlateau: threshold must be in \[0, 1\), got 1"),
        (
            lambda: plateau(threshold=-1, threshold_mode="abs"),
            ValueError,
            r"ReduceLROnPlateau: threshold must be in \[0, inf\), got -1",
        ),
        (lambda: plateau(min_lr=-1), ValueError, r"ReduceLROnPlateau: min_lr must be in \[0, inf\), got -1"),
        (lambda: plateau(eps=-1), ValueError, r"ReduceLROnPlateau: eps must be in \[0, inf\), got -1"),
        (lambda: plateau().step("low"), TypeError, r"the metric given to step\(metric\) must be a number, got 'low'"),
        (lambda: plateau().step(), TypeError, "metric"),
        (
            lambda: plateau().lr_at(1),
            ValueError,
            "ReduceLROnPlateau: the lr at step 1 depends on metrics, there is no formula; only the present step, 0",
        ),
        (
            lambda: schedules.Warmup(optimizer(), 3),
            TypeError,
            r"Warmup: schedule must be a schedule such as CosineAnnealingLR\(optimizer, 100\), got SGD",
        ),
        (
            lambda: schedules.Warmup(stepped(), 3),
            ValueError,
            "Warmup: StepLR has taken 1 steps already; wrap a new one",
        ),
        (lambda: schedules.Warmup(make("step"), -1), ValueError, "Warmup: steps must be at least 0, got -1"),
        (lambda: schedules.Warmup(make("step"), 3, 0), ValueError, r"Warmup: start_factor must be in \(0, 1\], got 0"),
        (
            lambda: schedules.Warmup(plateau(), 3).step(),
            TypeError,
            r"Warmup\(ReduceLROnPlateau\): call step\(metric\), got 0 arguments",
        ),
        (lambda: schedules.Warmup(plateau(), 3).step("low"), TypeError, "must be a number, got 'low'"),
        (
            lambda: schedules.Warmup(make("step"), 3).step(0.5),
            TypeError,
            r"Warmup\(StepLR\): call step\(\), got 1 arguments",
        ),
        (lambda: schedules.Schedule(optimizer()), NotImplementedError, "Schedule has no lr_at"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_refused_metric_changes_nothing():
    for schedule in (plateau(), schedules.Warmup(plateau(), 2)):
        before = schedule.state_dict()
        with pytest.raises(TypeError, match="must be a number"):
            schedule.step([1.0])
        assert schedule.state_dict() == before
