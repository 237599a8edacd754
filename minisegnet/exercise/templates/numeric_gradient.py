"""Exercise numeric-gradient: the gradient without any mathematics.   (tutorial 06_gradient_checking)

f takes an array x and gives one number. Move one number x[k] a little to the right and to the left, leave all others
where they are, and look what f does:

    gradient[k] = (f(x with x[k] + eps) - f(x with x[k] - eps)) / (2*eps)

It is slow, two calls of f for each number in x, and so no net is trained like this. But it is simple, and so every
backward pass is checked against it.

Shapes: x and gradient any, the same. x must be afterwards as it was before.

Check it:   minisegnet exercise check numeric_gradient.py             (or run this file)
Stuck?      minisegnet exercise check numeric_gradient.py --hint 1    (then 2, then 3)
"""

import numpy as np

EXERCISE = "numeric-gradient"


def numeric_gradient(f, x, eps=1e-6):
    raise NotImplementedError("numeric_gradient is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F401
