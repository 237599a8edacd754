"""Schedules: how the learning rate changes while a net is trained.

    optimizer = optim.SGD(net.parameters(), lr=0.1)
    schedule = schedules.Warmup(schedules.CosineAnnealingLR(optimizer, T_max=95), steps=5)
    for epoch in range(100):
        train_one_epoch()
        schedule.step()

A schedule is a formula: `lr_at(t)` is the learning rate after t calls of `step`, with base_lr the optimiser's lr at
the time the schedule was made. Making it sets lr_at(0). What a step is, an epoch or a batch, is the caller's choice.
An optimiser takes one schedule, which owns its lr from then on.
"""

import math

import numpy as np

from .core import check_int, check_number
from .optim import Optimizer, check_names

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LinearLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "StepLR",
    "Warmup",
]


class Schedule:
    """Base of all schedules. A subclass keeps its numbers, calls this __init__ last, and defines `lr_at`.

    Attributes
        optimizer: whose lr it sets
        base_lr: that lr before the schedule was made
        lr: the learning rate now
        step_count: how often `step` was called
        needs_metric: whether `step` takes a number, as step(metric)

    >>> from minisegnet import Parameter, optim
    >>> class Harmonic(Schedule):
    ...     def lr_at(self, step):
    ...         return self.base_lr / (1 + step)
    >>> optimizer = optim.SGD([Parameter(np.ones(1))], lr=1.0)
    >>> schedule = Harmonic(optimizer)
    >>> schedule.step()
    >>> optimizer.lr
    0.5
    """

    needs_metric = False
    state_names: tuple[str, ...] = ("step_count", "base_lr", "lr")

    def __init__(self, optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: optimizer must be an optimiser such as optim.SGD(net.parameters(), lr=0.1), "
                f"got {type(optimizer).__name__}"
            )
        self.optimizer, self.step_count = optimizer, 0
        self.base_lr = self.lr = optimizer.lr
        self._apply(self.lr_at(0))

    def lr_at(self, step):
        """The learning rate after `step` calls of step()."""
        raise NotImplementedError(f"{type(self).__name__} has no lr_at")

    def step(self):
        """Go on by one step: count it and set the optimiser's lr."""
        self.step_count += 1
        self._apply(self.lr_at(self.step_count))

    def _apply(self, lr):
        self.lr = self.optimizer.lr = lr

    def state_dict(self):
        """All that changes while the schedule runs, as plain numbers."""
        return {name: getattr(self, name) for name in self.state_names}

    def load_state_dict(self, state):
        """Take over a `state_dict` and set the optimiser's lr; the schedule then continues as if never stopped.

        Nothing is changed unless everything fits: KeyError for missing or unknown names, ValueError or TypeError for
        bad numbers.
        """
        check_names(self, self.state_names, state)
        self._take(self._checked(state))

    def _checked(self, state):
        """The numbers of a state_dict, each checked."""
        return {
            "step_count": self._int("step_count", state["step_count"], 0),
            "base_lr": self._number("base_lr", state["base_lr"], low=0),
            "lr": self._number("lr", state["lr"], low=0),
        }

    def _take(self, checked):
        for name, value in checked.items():
            setattr(self, name, value)
        self._apply(self.lr)

    def _int(self, name, value, minimum=1):
        return check_int(f"{type(self).__name__}: {name}", value, minimum)

    def _number(self, name, value, high=math.inf, open_high=True, **bounds):
        """A finite number within the bounds; the error names this schedule."""
        return check_number(f"{type(self).__name__}: {name}", value, high=high, open_high=open_high, **bounds)


# ------------------------------------------------------------------ formulas


class StepLR(Schedule):
    """Multiply by gamma every step_size steps: lr(t) = base_lr * gamma^floor(t/step_size).

    step_size is at least 1, gamma at least 0; ValueError otherwise.

    >>> from minisegnet import Parameter, optim
    >>> schedule = StepLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), step_size=2, gamma=0.5)
    >>> [schedule.lr_at(t) for t in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(self, optimizer, step_size, gamma=0.1):
        self.step_size, self.gamma = self._int("step_size", step_size), self._number("gamma", gamma, low=0)
        super().__init__(optimizer)

    def lr_at(self, step):
        return self.base_lr * self.gamma ** (step // self.step_size)


class ExponentialLR(Schedule):
    """Multiply by gamma every step: lr(t) = base_lr * gamma^t.

    gamma is at least 0, ValueError otherwise.

    >>> from minisegnet import Parameter, optim
    >>> schedule = ExponentialLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), gamma=0.5)
    >>> [schedule.lr_at(t) for t in range(4)]
    [1.0, 0.5, 0.25, 0.125]
    """

    def __init__(self, optimizer, gamma):
        self.gamma = self._number("gamma", gamma, low=0)
        super().__init__(optimizer)

    def lr_at(self, step):
        return self.base_lr * self.gamma**step


class CosineAnnealingLR(Schedule):
    """Half a cosine wave from base_lr down to eta_min: slow at first, fast in the middle, slow at the end.

        lr(t) = w * base_lr + (1 - w) * eta_min,  w = (1 + cos(π t/T_max))/2

    After T_max steps the wave goes on and the lr rises again, as in PyTorch: choose T_max as the length of the run.
    T_max is at least 1, eta_min at least 0; ValueError otherwise.
    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts (2017), equation 5.

    >>> from minisegnet import Parameter, optim
    >>> schedule = CosineAnnealingLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), T_max=4, eta_min=0.1)
    >>> [round(schedule.lr_at(t), 3) for t in range(5)]
    [1.0, 0.868, 0.55, 0.232, 0.1]
    """

    def __init__(self, optimizer, T_max, eta_min=0.0):
        self.T_max, self.eta_min = self._int("T_max", T_max), self._number("eta_min", eta_min, low=0)
        super().__init__(optimizer)

    def lr_at(self, step):
        w = (1 + math.cos(math.pi * step / self.T_max)) / 2
        return w * self.base_lr + (1 - w) * self.eta_min


class PolynomialLR(Schedule):
    """Fall to 0 in total_iters steps and stay there: lr(t) = base_lr * (1 - min(t, total_iters)/total_iters)^power.

    Power 1 is a straight line; 0.9 is the "poly" rule of many segmentation papers.
    total_iters is at least 1, power at least 0; ValueError otherwise.
    Source: Chen et al., DeepLab (2017), section 4.1.

    >>> from minisegnet import Parameter, optim
    >>> schedule = PolynomialLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), total_iters=4, power=2.0)
    >>> [schedule.lr_at(t) for t in range(6)]
    [1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]
    """

    def __init__(self, optimizer, total_iters=5, power=1.0):
        self.total_iters, self.power = self._int("total_iters", total_iters), self._number("power", power, low=0)
        super().__init__(optimizer)

    def lr_at(self, step):
        return self.base_lr * (1 - min(step, self.total_iters) / self.total_iters) ** self.power


class LinearLR(Schedule):
    """A factor that goes in a straight line from start_factor to end_factor in total_iters steps, then stays.

        lr(t) = base_lr * ((1 - s) * start_factor + s * end_factor),  s = min(t, total_iters)/total_iters

    total_iters is at least 1, start_factor in (0, 1], end_factor in [0, 1]; ValueError otherwise.

    >>> from minisegnet import Parameter, optim
    >>> schedule = LinearLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), start_factor=0.25, total_iters=3)
    >>> [schedule.lr_at(t) for t in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5):
        self.start_factor = self._number("start_factor", start_factor, low=0, high=1, open_low=True, open_high=False)
        self.end_factor = self._number("end_factor", end_factor, low=0, high=1, open_high=False)
        self.total_iters = self._int("total_iters", total_iters)
        super().__init__(optimizer)

    def lr_at(self, step):
        return self.base_lr * _line(self.start_factor, self.end_factor, min(step, self.total_iters) / self.total_iters)


def _line(start, end, s):
    """From start (s = 0) to end (s = 1), exact at both."""
    return (1 - s) * start + s * end


# ------------------------------------------------------------------ by looking at the results


class ReduceLROnPlateau(Schedule):
    """Multiply the lr by `factor` when a number that should improve has not done so for more than `patience` steps.

    schedule.step(metric) counts a step as bad unless the metric is better than the best so far:
        mode "min":  metric < best * (1 - threshold) with threshold_mode "rel",  < best - threshold with "abs"
        mode "max":  metric > best * (1 + threshold)                             > best + threshold
    A good step sets the count of bad ones back to 0. After a reduction, `cooldown` steps are not counted. NaN is
    never better. "rel" is meant for positive numbers.

    Parameters
        optimizer: whose lr to reduce
        mode: "min" for losses, "max" for scores such as mean IoU
        factor: in (0, 1)
        patience, cooldown: steps, at least 0; with patience 2 the third bad step in a row reduces
        threshold: at least 0, and for "rel" less than 1
        threshold_mode: "rel" or "abs"
        min_lr: the lr never goes below this, at least 0
        eps: a reduction by eps or less is not made

    Raises ValueError or TypeError for a bad argument, TypeError for a metric that isn't a number.

    >>> from minisegnet import Parameter, optim
    >>> schedule = ReduceLROnPlateau(optim.SGD([Parameter(np.ones(1))], lr=1.0), factor=0.5, patience=2)
    >>> for loss in (3.0, 3.1, 3.2, 3.3):
    ...     schedule.step(loss)
    ...     print(schedule.lr)
    1.0
    1.0
    1.0
    0.5
    """

    needs_metric = True
    state_names = (*Schedule.state_names, "best", "bad_steps", "cooldown_left")

    def __init__(
        self,
        optimizer,
        mode="min",
        factor=0.1,
        patience=10,
        threshold=1e-4,
        threshold_mode="rel",
        cooldown=0,
        min_lr=0.0,
        eps=1e-8,
    ):
        self.mode = self._choice("mode", mode, ("min", "max"))
        self.threshold_mode = self._choice("threshold_mode", threshold_mode, ("rel", "abs"))
        self.factor = self._number("factor", factor, low=0, high=1, open_low=True)
        self.patience, self.cooldown = self._int("patience", patience, 0), self._int("cooldown", cooldown, 0)
        self.threshold = self._number("threshold", threshold, low=0, high=1 if threshold_mode == "rel" else math.inf)
        self.min_lr, self.eps = self._number("min_lr", min_lr, low=0), self._number("eps", eps, low=0)
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_steps = self.cooldown_left = 0
        super().__init__(optimizer)

    def lr_at(self, step):
        """The lr now, for the present step_count; ValueError for any other step, which depends on metrics."""
        if step != self.step_count:
            raise ValueError(
                f"ReduceLROnPlateau: the lr at step {step} depends on metrics, there is no formula; "
                f"only the present step, {self.step_count}, can be asked for"
            )
        return self.lr

    def step(self, metric):
        """Go on by one step, in which the watched number was `metric`."""
        metric = check_metric(metric)
        self.step_count += 1
        if self._is_better(metric):
            self.best, self.bad_steps = metric, 0
        else:
            self.bad_steps += 1
        if self.cooldown_left:
            self.cooldown_left, self.bad_steps = self.cooldown_left - 1, 0
        lr = self.lr
        if self.bad_steps > self.patience:
            self.cooldown_left, self.bad_steps = self.cooldown, 0
            reduced = max(lr * self.factor, self.min_lr)
            if lr - reduced > self.eps:
                lr = reduced
        self._apply(lr)

    def _is_better(self, metric):
        relative = self.threshold_mode == "rel"
        if self.mode == "min":
            return metric < (self.best * (1 - self.threshold) if relative else self.best - self.threshold)
        return metric > (self.best * (1 + self.threshold) if relative else self.best + self.threshold)

    def _checked(self, state):
        return {
            **super()._checked(state),
            "best": check_number("ReduceLROnPlateau: best", state["best"]),  # inf before the first metric
            "bad_steps": self._int("bad_steps", state["bad_steps"], 0),
            "cooldown_left": self._int("cooldown_left", state["cooldown_left"], 0),
        }

    def _choice(self, name, value, choices):
        if value not in choices:
            raise ValueError(f"ReduceLROnPlateau: {name} must be {choices[0]!r} or {choices[1]!r}, got {value!r}")
        return value


# ------------------------------------------------------------------ warm-up


class Warmup(Schedule):
    """A straight rise of the lr in front of another schedule: early gradients are large and point anywhere.

    For the first `steps` steps the lr is the other schedule's starting lr times a factor that rises from start_factor
    to 1; then the other schedule runs, from its own step 0:
        lr(t) = schedule.lr_at(0) * ((1 - t/steps) * start_factor + t/steps)  for t < steps
        lr(t) = schedule.lr_at(t - steps)                                     from there on
    The very first step is scaled already. If start_factor is not given it is 1/(steps + 1), which makes all the
    rises equal, the one from 0 included: 3 steps give 1/4, 2/4, 3/4, then 1.

    Parameters
        schedule: any schedule that has not taken a step. With a ReduceLROnPlateau call step(metric) from the
            beginning; the metrics of the warm-up itself are not looked at
        steps: at least 0; 0 is no warm-up
        start_factor: in (0, 1]

    Raises TypeError for what isn't a schedule, ValueError for one that has run already or for a bad number.
    Source: Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour (2017), section 2.2.

    >>> from minisegnet import Parameter, optim
    >>> schedule = Warmup(ExponentialLR(optim.SGD([Parameter(np.ones(1))], lr=1.0), gamma=0.5), steps=3)
    >>> [schedule.lr_at(t) for t in range(6)]
    [0.25, 0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(self, schedule, steps, start_factor=None):
        if not isinstance(schedule, Schedule):
            raise TypeError(
                f"Warmup: schedule must be a schedule such as CosineAnnealingLR(optimizer, 100), "
                f"got {type(schedule).__name__}"
            )
        if schedule.step_count:
            raise ValueError(
                f"Warmup: {type(schedule).__name__} has taken {schedule.step_count} steps already; wrap a new one"
            )
        self.schedule, self.steps = schedule, self._int("steps", steps, 0)
        if start_factor is None:
            start_factor = 1 / (self.steps + 1)
        self.start_factor = self._number("start_factor", start_factor, low=0, high=1, open_low=True, open_high=False)
        super().__init__(schedule.optimizer)
        self.base_lr = schedule.base_lr  # the optimiser's lr before either of the two was made

    @property
    def needs_metric(self):
        return self.schedule.needs_metric

    def lr_at(self, step):
        lr = self.schedule.lr_at(max(0, step - self.steps))
        return lr * _line(self.start_factor, 1.0, step / self.steps) if step < self.steps else lr

    def step(self, *metric):
        """Go on by one step; step(metric) if the other schedule is a ReduceLROnPlateau."""
        if len(metric) != self.needs_metric:
            raise TypeError(
                f"Warmup({type(self.schedule).__name__}): "
                f"call {'step(metric)' if self.needs_metric else 'step()'}, got {len(metric)} arguments"
            )
        for value in metric:
            check_metric(value)
        self.step_count += 1
        if self.step_count > self.steps:
            self.schedule.step(*metric)
        self._apply(self.lr_at(self.step_count))

    def state_dict(self):
        """Its own numbers, and the other schedule's as "schedule.step_count" and so on."""
        inner = self.schedule.state_dict()
        return {**super().state_dict(), **{f"schedule.{name}": value for name, value in inner.items()}}

    def load_state_dict(self, state):
        """Take over a `state_dict`, as every schedule does; ValueError for that of a longer or shorter warm-up."""
        inner_names = self.schedule.state_dict()
        check_names(self, [*self.state_names, *(f"schedule.{name}" for name in inner_names)], state)
        mine, inner = self._checked(state), {name: state[f"schedule.{name}"] for name in inner_names}
        if inner["step_count"] != max(0, mine["step_count"] - self.steps):
            raise ValueError(
                f"Warmup: this state took {mine['step_count']} steps, {inner['step_count']} of them after the warm-up, "
                f"which does not fit a warm-up of {self.steps} steps"
            )
        self.schedule.load_state_dict(inner)  # may refuse, so before anything is changed here
        self._take(mine)


# ------------------------------------------------------------------ checks


def check_metric(metric):
    """The watched number as a float; NaN is allowed, it counts as not better."""
    if isinstance(metric, (float, np.floating)) and np.isnan(metric):
        return math.nan
    return check_number("the metric given to step(metric)", metric)
