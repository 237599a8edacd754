"""Exercise relu: the backward pass of the rectifier.   (tutorial 04_relu_softmax_cross_entropy)

Forward is given. Each y depends on its own x only:

    y = x where x > 0, else 0

You write backward. It gets dy, of the shape of y: dy[k] = dL/dy[k] says for each number in y how much the loss changes
when that number grows a little. It returns dx[k] = dL/dx[k], of the shape of x. At x = 0, where there is no
derivative, take 0.

Check it:   minisegnet exercise check relu.py             (or run this file)
Stuck?      minisegnet exercise check relu.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "relu"


class Saved(NamedTuple):
    x: np.ndarray  # what forward keeps for backward


class ReLU(Layer):
    def forward(self, x):
        y = np.where(x > 0, x, 0)
        return y, Saved(x)

    def backward(self, dy, saved):
        (x,) = saved
        # forward: y = x where x > 0, else 0
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
