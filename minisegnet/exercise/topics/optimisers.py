"""Exercises about optimisers: momentum and adam."""

import numpy as np

from ... import optim
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfOptimiser


def steps(case, update):
    """The values after each step of update(value, memory, g, t), memory being a dict of arrays that starts at 0."""
    value, after, memory = case.start.copy(), [], {"m": np.zeros_like(case.start), "v": np.zeros_like(case.start)}
    for t, g in enumerate(case.grads, 1):
        value = update(value, memory, g, t)
        after.append(value)
    return np.array(after)


def optimiser_case(rng, P, n, T, label=None, **arguments):
    text = ", ".join(f"{name} {value}" for name, value in arguments.items())
    return Case(
        label or f"{P} parameter{'s' * (P > 1)} of {n} numbers, {T} steps, {text}",
        {"start": normal(rng, P, n), "grads": normal(rng, T, P, n)},
        arguments,
    )


# ------------------------------------------------------------------ momentum


def sgd(case, *, decay=True, sign=1, dampened=False, decay_last=False):
    """Gradient descent with momentum, with one thing or another left out."""

    def update(value, m, g, t):
        pull = case.weight_decay * value
        if decay and not decay_last:
            g = g + pull
        m["v"] = case.momentum * m["v"] + (1 - case.momentum if dampened and t > 1 else 1) * g
        return value - sign * case.lr * (m["v"] + (pull if decay_last else 0))

    return steps(case, update)


MOMENTUM = Exercise(
    name="momentum",
    title="gradient descent that remembers where it was going",
    tutorial="07_optimisers",
    stars=1,
    kind=OfOptimiser,
    subject="SGD",
    ours=lambda case: lambda parameters: optim.SGD(parameters, **case.arguments),
    hand=(
        Case(
            "one number, three steps, the gradient is always 1",
            {"start": np.array([[1.0]]), "grads": np.ones((3, 1, 1))},
            {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.0},
            expected={"value": [[[0.9]], [[0.75]], [[0.575]]]},
            because={
                "value": "velocities 1, 0.5*1 + 1 = 1.5, 0.5*1.5 + 1 = 1.75; so 1 - 0.1, then - 0.15, then - 0.175"
            },
        ),
    ),
    cases=lambda rng: [
        optimiser_case(rng, 2, 3, 4, lr=0.1, momentum=0.9, weight_decay=0.0),
        optimiser_case(rng, 1, 2, 5, lr=0.5, momentum=0.5, weight_decay=0.1),
        optimiser_case(rng, 3, 2, 3, lr=0.01, momentum=0.0, weight_decay=0.01),
        optimiser_case(rng, 2, 2, 3, lr=0.1, momentum=0.8, weight_decay=1.0),
    ],
    mistakes=(
        Mistake(
            "uphill",
            "value",
            lambda case, right: sgd(case, sign=-1),
            "it goes up the hill: the gradient points to where the loss grows, so subtract",
        ),
        Mistake(
            "dampened",
            "value",
            lambda case, right: sgd(case, dampened=True),
            "the new gradient is multiplied by 1 - momentum: that is a running mean (as Adam has it), here it is added "
            "whole",
        ),
        Mistake(
            "decay-forgotten",
            "value",
            lambda case, right: sgd(case, decay=False),
            "weight_decay is forgotten: it adds weight_decay * value to the gradient",
        ),
        Mistake(
            "decay-not-remembered",
            "value",
            lambda case, right: sgd(case, decay_last=True),
            "weight decay acts beside the velocity; here it is part of the gradient, which goes into the velocity",
        ),
        Mistake(
            "gradient-modified",
            "grad afterwards",
            lambda case, right: right["grad afterwards"] + case.weight_decay * right["value"][-2],
            "the gradient itself is changed by `+=`: use an array of your own, g = parameter.grad + ...",
        ),
    ),
    hints={
        "value": (
            "A ball rolling down: each step keeps a part of the last one's velocity and adds the slope.",
            "g = grad + weight_decay * value; velocity = momentum * velocity + g; value = value - lr * velocity. All "
            "three change arrays that must be the same ones at the next step.",
            "g = parameter.grad + ...\nvelocity *= self.momentum   # in place\nvelocity += ...\n"
            "parameter.value[...] -= ...",
        )
    },
    first="write the three lines of the formula; then ask which arrays have to be there at the next step.",
    done="Next: adam, which gives each weight a step size of its own.",
    source="kernels/reference/update.py",
)

# ------------------------------------------------------------------ adam


def adam(case, *, correct=("m", "v"), invert=False, eps_inside=False, square=True, eps_early=False):
    """Adam, with one thing or another done differently."""
    (beta1, beta2), lr, eps = case.betas, case.lr, case.eps

    def update(value, s, g, t):
        s["m"] = beta1 * s["m"] + (1 - beta1) * g
        s["v"] = beta2 * s["v"] + (1 - beta2) * (g * g if square else abs(g))
        c1, c2 = (1 - beta**t if name in correct else 1 for name, beta in (("m", beta1), ("v", beta2)))
        if invert:
            c1, c2 = 1 / c1, 1 / c2
        m, v = s["m"] / c1, s["v"] / c2
        if eps_inside:
            return value - lr * m / np.sqrt(v + eps)
        if eps_early:
            return value - lr * m * np.sqrt(c2) / (np.sqrt(s["v"]) + eps)
        return value - lr * m / (np.sqrt(v) + eps)

    with np.errstate(all="ignore"):
        return steps(case, update)


ADAM_HAND = Case(
    "lr 0.1, betas 0.9 and 0.99, eps 0.01; gradients 3 and 0.03 at both steps",
    {"start": np.array([[1.0, 1.0]]), "grads": np.array([[[3.0, 0.03]]] * 2)},
    {"lr": 0.1, "betas": (0.9, 0.99), "eps": 0.01},
    expected={"value": [[[1 - 0.3 / 3.01, 1 - 0.003 / 0.04]], [[1 - 0.6 / 3.01, 1 - 0.006 / 0.04]]]},
    because={
        "value": (
            "a gradient that stays the same has m^ = g and v^ = g*g from the first step on, so each step is "
            "lr * g / (g + eps): 0.1*3/3.01 = 0.0997 for the first number and 0.1*0.03/0.04 = 0.075 for the second, "
            "where eps is not small beside g"
        )
    },
)


def adam_cases(rng):
    return [
        optimiser_case(rng, 2, 3, 4, lr=0.1, betas=(0.9, 0.999), eps=1e-3),
        optimiser_case(rng, 1, 2, 5, lr=0.01, betas=(0.5, 0.8), eps=0.1),
        optimiser_case(rng, 3, 2, 3, lr=0.5, betas=(0.8, 0.9), eps=1e-8),
    ]


ADAM_MISTAKES = (
    Mistake(
        "no-correction",
        "value",
        lambda case, right: adam(case, correct=()),
        "the bias correction is missing: m and v start at 0 and are too small at first; divide them by 1 - beta**t",
    ),
    Mistake(
        "only-m-corrected",
        "value",
        lambda case, right: adam(case, correct=("m",)),
        "v is not corrected: it starts at 0, too; divide it by 1 - beta2**t",
    ),
    Mistake(
        "only-v-corrected",
        "value",
        lambda case, right: adam(case, correct=("v",)),
        "m is not corrected: it starts at 0, too; divide it by 1 - beta1**t",
    ),
    Mistake(
        "correction-inverted",
        "value",
        lambda case, right: adam(case, invert=True),
        "m and v are multiplied by 1 - beta**t; they are too small at first, so they must be divided by it",
    ),
    Mistake(
        "eps-inside",
        "value",
        lambda case, right: adam(case, eps_inside=True),
        "eps is inside the root: it is sqrt(v^) + eps",
    ),
    Mistake(
        "eps-before-correction",
        "value",
        lambda case, right: adam(case, eps_early=True),
        "eps is added before v is corrected, and so it is corrected with it: take v^ = v / (1 - beta2**t) first",
    ),
    Mistake(
        "g-not-squared",
        "value",
        lambda case, right: adam(case, square=False),
        "v is the running mean of the squares g*g",
    ),
    Mistake(
        "root-missing",
        "value",
        lambda case, right: steps_without_root(case),
        "the root is missing: the step is divided by sqrt(v^) + eps",
    ),
)


def steps_without_root(case):
    def update(value, s, g, t):
        (beta1, beta2) = case.betas
        s["m"], s["v"] = beta1 * s["m"] + (1 - beta1) * g, beta2 * s["v"] + (1 - beta2) * g * g
        return value - case.lr * s["m"] / (1 - beta1**t) / (s["v"] / (1 - beta2**t) + case.eps)

    return steps(case, update)


def our_adam(case):
    return lambda parameters: optim.Adam(parameters, **case.arguments)


ADAM = Exercise(
    name="adam",
    title="a step size for every weight",
    tutorial="07_optimisers",
    stars=2,
    kind=OfOptimiser,
    subject="Adam",
    ours=our_adam,
    hand=(ADAM_HAND,),
    cases=adam_cases,
    mistakes=ADAM_MISTAKES,
    hints={
        "value": (
            "Keep two running means: of the gradient and of its square. Divide one by the root of the other, and the "
            "size of the gradient drops out. Both means start at 0: what has to be done about that?",
            "m = beta1*m + (1-beta1)*g; v = beta2*v + (1-beta2)*g*g; m^ = m/(1-beta1^t); v^ = v/(1-beta2^t); "
            "value = value - lr * m^/(sqrt(v^) + eps). m and v are kept without the correction.",
            "m *= beta1   # in place\nm += (1 - beta1) * g\nv *= ...\nv += ...\n"
            "unbiased_m = m / (1 - beta1**t)   # a new array: m itself stays as it is\n...\n"
            "parameter.value[...] -= self.lr * ... / (np.sqrt(...) + self.eps)",
        )
    },
    first="m and v first, in place. Then the corrected ones, as new arrays.",
    done="The gallery has two Adams as they stood in real frameworks: bug-adam-correction and bug-adam-epsilon.",
    source="kernels/reference/update.py",
)
