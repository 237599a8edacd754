"""Exercise dice: a loss that is a quotient of two sums.   (tutorial 08_segmentation_losses)

Forward is given. p[k] is how sure the net is that pixel k belongs to the region, t[k] is 1 if it does, else 0. The Dice
score compares the overlap with both sizes:

    above = 2 * (sum over k of p[k]*t[k]) + smooth
    below = (sum over k of p[k]) + (sum over k of t[k]) + smooth
    value = 1 - above / below

Shapes: scores (which are the probabilities p here) and target (t) any, the same; value one number.

You write backward. It gets dvalue = dL/dvalue and returns dscores[k] = dL/dp[k], an array of p's shape. Unlike in the
cross-entropy, each p[k] acts on all pixels: it stands in both sums.

Check it:   minisegnet exercise check dice.py             (or run this file)
Stuck?      minisegnet exercise check dice.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.losses import Loss

EXERCISE = "dice"


class Saved(NamedTuple):
    p: np.ndarray  # what forward keeps for backward
    t: np.ndarray
    above: float
    below: float


class DiceLoss(Loss):
    def __init__(self, smooth=1.0):
        self.smooth = smooth

    def forward(self, scores, target):
        p, t = scores, target
        above = 2 * (p * t).sum() + self.smooth
        below = p.sum() + t.sum() + self.smooth
        return float(1 - above / below), Saved(p, t, above, below)

    def backward(self, saved, dvalue=1.0):
        p, t, above, below = saved
        # forward: value = 1 - above / below
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
