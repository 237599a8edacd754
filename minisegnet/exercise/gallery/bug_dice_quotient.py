"""Exercise bug-dice-quotient: find the bug and repair it.

The Dice loss of probabilities p and truth t (0 or 1):

    above = 2 * (sum over k of p[k]*t[k]) + smooth
    below = (sum over k of p[k]) + (sum over k of t[k]) + smooth
    value = 1 - above / below

Someone used it only to measure nets, never to train them, and so did not notice for a long time.

Check it:   minisegnet exercise check bug_dice_quotient.py             (or run this file)
Stuck?      minisegnet exercise check bug_dice_quotient.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.losses import Loss

EXERCISE = "bug-dice-quotient"


class Saved(NamedTuple):
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
        return float(1 - above / below), Saved(t, above, below)

    def backward(self, saved, dvalue=1.0):
        t, above, below = saved
        dquotient = (2 * t * below + above) / below**2
        return -dvalue * dquotient


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
