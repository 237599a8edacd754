"""Exercise adam: a step size for every weight.   (tutorial 07_optimisers)

An optimiser changes a parameter's value, given its gradient g. Adam keeps two running means, m of the gradient and v of
its square, and divides one by the root of the other:

    m  = beta1 * m + (1 - beta1) * g          v  = beta2 * v + (1 - beta2) * g^2        (0 at the start)
    m^ = m / (1 - beta1^t)                    v^ = v / (1 - beta2^t)                    (t = 1, 2, ... counts the steps)
    value = value - lr * m^ / (sqrt(v^) + eps)

You write update, which is called once for each parameter at each step. `parameter` has a value and a grad; m and v are
the arrays that belong to this parameter, zeros at the start. Change value, m and v in place, so that the next step
finds them (m *= 2, parameter.value[...] -= 1); leave grad as it is. self.step_count is t.

Check it:   minisegnet exercise check adam.py             (or run this file)
Stuck?      minisegnet exercise check adam.py --hint 1    (then 2, then 3)
"""

import numpy as np

from minisegnet.optim import Optimizer

EXERCISE = "adam"


class Adam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, lr, buffers=("m", "v"))  # keeps two arrays of these names for each parameter
        self.betas, self.eps = betas, eps

    def update(self, parameter, m, v):
        (beta1, beta2), t, g = self.betas, self.step_count, parameter.grad
        # here are also: self.lr, self.eps, parameter.value
        raise NotImplementedError("update is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)

# ruff: noqa: F401, F841
