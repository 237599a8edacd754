"""Exercise sigmoid: a derivative that needs only y.   (tutorial 04_relu_softmax_cross_entropy)

Forward is given. It squeezes any number into 0..1:

    y = 1 / (1 + exp(-x))

You write backward. It gets dy, of the shape of y, dy[k] = dL/dy[k], and returns dx[k] = dL/dx[k], of the shape of x.
Forward saves y and not x. That is enough: find out why.

Check it:   minisegnet exercise check sigmoid.py             (or run this file)
Stuck?      minisegnet exercise check sigmoid.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "sigmoid"


class Saved(NamedTuple):
    y: np.ndarray  # what forward keeps for backward


class Sigmoid(Layer):
    def forward(self, x):
        y = 1 / (1 + np.exp(-x))
        return y, Saved(y)

    def backward(self, dy, saved):
        (y,) = saved
        # forward: y = 1 / (1 + exp(-x))
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
