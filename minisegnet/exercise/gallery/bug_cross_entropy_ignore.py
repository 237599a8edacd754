"""Exercise bug-cross-entropy-ignore: find the bug and repair it.

Softmax and cross-entropy for each pixel. Pixels with the label 255 are void: nobody knows what they are, they count
neither in the loss nor in the gradient. The value is the mean over the others:

    value = mean over all pixels k with target[k] != 255 of -log p[k, target[k]],   p = softmax(scores)

Shapes: scores (N, C), one row for each pixel, target (N,).

Someone compared two data sets. On the one with more void pixels the loss was smaller, and training slower.

Check it:   minisegnet exercise check bug_cross_entropy_ignore.py             (or run this file)
Stuck?      minisegnet exercise check bug_cross_entropy_ignore.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.losses import Loss

EXERCISE = "bug-cross-entropy-ignore"
VOID = 255


class Saved(NamedTuple):
    p: np.ndarray
    target: np.ndarray


class SoftmaxCrossEntropy(Loss):
    def forward(self, scores, target):
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        known = target != VOID
        label = np.where(known, target, 0)
        losses = -np.log(p[np.arange(len(target)), label]) * known
        return float(losses.mean()), Saved(p, target)

    def backward(self, saved, dvalue=1.0):
        p, target = saved
        known = target != VOID
        dscores = p.copy()
        dscores[np.arange(len(target)), np.where(known, target, 0)] -= 1
        return dvalue * dscores * known[:, None] / len(target)


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
