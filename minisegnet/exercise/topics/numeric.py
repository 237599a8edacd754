"""Exercise numeric-gradient: what gradcheck does inside."""

import numpy as np

from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfFunction


def slopes(f, x, right, left):
    """(f(x + right*e) - f(x - left*e)) / (right + left) for the unit vector e of each entry."""
    found = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[index] = 1
        found[index] = (f(x + right * step) - f(x - left * step)) / (right + left)
    return found


def central(f, x, eps):
    """What numeric_gradient.py has to compute."""
    return slopes(f, x, eps, eps)


def squares(x):
    return float((x * x).sum())


def cubes(x):
    return float((x**3).sum() + x.prod())


def waves(x):
    return float(np.sin(x + np.arange(x.size).reshape(x.shape)).sum() + x.flat[0] * x.flat[-1])


FUNCTIONS = {"sum of x*x": squares, "sum of x**3 + product": cubes, "sines": waves}


def cases(rng):
    return [
        Case(f"f = {name}, x of shape {shape}, eps = {eps:g}", {"f": f, "x": normal(rng, *shape), "eps": eps})
        for name, f in FUNCTIONS.items()
        for shape, eps in (((3,), 0.1), ((2, 2), 0.01), ((1, 2, 2), 1e-3))
    ]


NUMERIC_GRADIENT = Exercise(
    name="numeric-gradient",
    title="move one number a little, see what the loss does",
    tutorial="06_gradient_checking",
    stars=1,
    kind=OfFunction,
    subject="numeric_gradient",
    ours=lambda case: central,
    hand=(
        Case(
            "f = sum of x*x, with a large step so that it can be done by hand",
            {"f": squares, "x": np.array([1.0, 3.0]), "eps": 0.5},
            expected={"gradient": [2, 6], "x afterwards": [1, 3]},
            because={"gradient": "for the first number: (1.5*1.5 - 0.5*0.5) / (2*0.5) = 2.25 - 0.25 = 2, which is 2*x"},
        ),
    ),
    cases=cases,
    mistakes=(
        Mistake(
            "one-sided",
            "gradient",
            lambda case, right: slopes(case.f, case.x, case.eps, 0),
            "it goes to one side only, (f(x + eps) - f(x)) / eps, with an error of the order of eps; to both sides, "
            "(f(x + eps) - f(x - eps)) / (2*eps), it is of the order of eps**2",
        ),
        Mistake(
            "one-sided-left",
            "gradient",
            lambda case, right: slopes(case.f, case.x, 0, case.eps),
            "it goes to one side only, (f(x) - f(x - eps)) / eps; go to both sides and divide by 2*eps",
        ),
        Mistake(
            "step-not-doubled",
            "gradient",
            lambda case, right: 2 * right["gradient"],
            "from x - eps to x + eps is a way of 2*eps: divide by that",
        ),
        Mistake(
            "not-divided",
            "gradient",
            lambda case, right: 2 * case.eps * right["gradient"],
            "it is how much f changes; to get a slope, divide by the way, 2*eps",
        ),
        Mistake(
            "all-moved-at-once",
            "gradient",
            lambda case, right: np.full_like(
                case.x, (case.f(case.x + case.eps) - case.f(case.x - case.eps)) / (2 * case.eps)
            ),
            "all numbers of x are moved together, which gives the sum of all slopes; move one at a time",
        ),
        Mistake(
            "sum-of-both",
            "gradient",
            lambda case, right: sum_of_both(case),
            "f(x + eps) + f(x - eps): it has to be the difference",
        ),
        Mistake(
            "left-moved-right",
            "x afterwards",
            lambda case, right: case.x + case.eps,
            "x is moved when you return it: put each number back before you move the next (keep the old value; += and "
            "-= leave rounding errors)",
        ),
        Mistake(
            "left-moved-left",
            "x afterwards",
            lambda case, right: case.x - case.eps,
            "x is moved when you return it: put each number back before you move the next",
        ),
    ),
    hints={
        "gradient": (
            "The slope at x is how much f changes on a small way, divided by that way. Go as far to the left as to the "
            "right: then the curvature cancels.",
            "gradient[k] = (f(x with x[k] + eps) - f(x with x[k] - eps)) / (2*eps), for each index k by itself; all "
            "other numbers stay where they are, and x[k] is put back afterwards.",
            "gradient = np.zeros_like(x)\nfor k in np.ndindex(x.shape):\n    old = x[k]\n    x[k] = old + eps\n"
            "    right = f(x)\n    ...\n    x[k] = old\n    gradient[k] = ...\nreturn gradient",
        )
    },
    first="do it for a single number x[k]; np.ndindex(x.shape) gives all indices k.",
    done="Now read what a real checker has to watch out for: minisegnet/gradcheck/numeric.py.",
    source="minisegnet/gradcheck/numeric.py",
)


def sum_of_both(case):
    """The slopes with a plus between the two values."""
    found = np.zeros_like(case.x)
    for index in np.ndindex(case.x.shape):
        step = np.zeros_like(case.x)
        step[index] = case.eps
        found[index] = (case.f(case.x + step) + case.f(case.x - step)) / (2 * case.eps)
    return found
