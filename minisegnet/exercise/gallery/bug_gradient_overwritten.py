"""Exercise bug-gradient-overwritten: find the bug and repair it.

A fully connected layer:

    y[n,o] = b[o] + sum over i of x[n,i] * w[o,i]

Backward passes add to a parameter's gradient until somebody sets it to zero: for a layer that stands in a net twice,
and for a batch that is too large for the memory and comes in parts.

Someone's net with shared weights trained badly, while gradcheck of this layer alone found no wrong number.

Check it:   minisegnet exercise check bug_gradient_overwritten.py             (or run this file)
Stuck?      minisegnet exercise check bug_gradient_overwritten.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng

EXERCISE = "bug-gradient-overwritten"


class Saved(NamedTuple):
    x: np.ndarray


class Linear(Layer):
    def __init__(self, in_features, out_features, rng=None):
        self.weight = Parameter(as_rng(rng).normal(size=(out_features, in_features)).astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def forward(self, x):
        return x @ self.weight.value.T + self.bias.value, Saved(x)

    def backward(self, dy, saved):
        (x,) = saved
        np.matmul(dy.T, x, out=self.weight.grad)
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.value


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
