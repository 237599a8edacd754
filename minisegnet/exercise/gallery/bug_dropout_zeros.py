"""Exercise bug-dropout-zeros: find the bug and repair it.

Dropout. In training each number is set to 0 with probability p, the others are enlarged:

    y = keep * x / (1 - p)

To save memory this one keeps no mask: from x and y it can be seen what happened.

Someone put it behind a ReLU, where it had always worked, and gradients came back for numbers that had been dropped.

Check it:   minisegnet exercise check bug_dropout_zeros.py             (or run this file)
Stuck?      minisegnet exercise check bug_dropout_zeros.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, as_rng

EXERCISE = "bug-dropout-zeros"


class Saved(NamedTuple):
    x: np.ndarray
    y: np.ndarray


class Dropout(Layer):
    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = p, as_rng(rng)

    def forward(self, x):
        if not self.training:
            return x, Saved(x, x)
        keep = self.rng.random(x.shape) >= self.p
        y = (keep * x / (1 - self.p)).astype(x.dtype)
        return y, Saved(x, y)

    def backward(self, dy, saved):
        x, y = saved
        scale = np.ones_like(x)
        np.divide(y, x, out=scale, where=x != 0)  # what x was multiplied by; 0/0 can't be computed
        return dy * scale


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
