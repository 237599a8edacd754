"""Exercise leaky-relu: a gate that lets a little through.   (tutorial 04_relu_softmax_cross_entropy)

Forward is given:

    y = x where x > 0, else negative_slope * x

Where a ReLU is closed its gradient is 0, and a unit that is always closed never learns again. This one always lets
something through.

You write backward. It gets dy, of the shape of y, dy[k] = dL/dy[k], and returns dx[k] = dL/dx[k], of the shape of x.

Check it:   minisegnet exercise check leaky_relu.py             (or run this file)
Stuck?      minisegnet exercise check leaky_relu.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "leaky-relu"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


class LeakyReLU(Layer):
    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        y = np.where(x > 0, x, self.negative_slope * x)
        return y, Saved(x)

    def backward(self, dy, saved):
        (x,) = saved
        # forward: y = x where x > 0, else negative_slope * x
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
