"""Exercise softmax-cross-entropy: two steps with one simple gradient.   (tutorial 04_relu_softmax_cross_entropy)

Forward is given. The softmax turns the scores s[n,c] of sample n into probabilities, and the loss asks how probable
the right class was:

    p[n,c] = exp(s[n,c]) / sum over k of exp(s[n,k])
    value  = mean over n of -log p[n, target[n]]

Shapes: scores and p (N, C), target (N,) with class numbers 0..C-1, value one number.

You write backward. It gets dvalue = dL/dvalue and returns dscores[n,c] = dL/ds[n,c]. Don't differentiate the softmax
and the logarithm one after the other: write the loss of one sample with its scores, simplify, and then differentiate.
The result has one line.

Check it:   minisegnet exercise check softmax_cross_entropy.py             (or run this file)
Stuck?      minisegnet exercise check softmax_cross_entropy.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.losses import Loss

EXERCISE = "softmax-cross-entropy"


class Saved(NamedTuple):
    p: np.ndarray  # what forward keeps for backward
    target: np.ndarray


class SoftmaxCrossEntropy(Loss):
    def forward(self, scores, target):
        e = np.exp(scores - scores.max(axis=1, keepdims=True))  # without the maximum exp would overflow; p is the same
        p = e / e.sum(axis=1, keepdims=True)
        value = -np.log(p[np.arange(len(target)), target]).mean()
        return float(value), Saved(p, target)

    def backward(self, saved, dvalue=1.0):
        p, target = saved
        # forward: value = mean over n of -log p[n, target[n]], p = softmax(scores)
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
