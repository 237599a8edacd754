"""Exercise dropout: what forward dropped gets no gradient.   (tutorial 11_deep_nets_learn)

Forward is given. In training it sets each number to 0 with probability p and enlarges the others, so that the mean
stays; in eval mode it does nothing:

    training:  y = keep * x / (1 - p),   keep is True with probability 1 - p, drawn anew in every forward pass
    eval:      y = x

You write backward. It gets dy, of the shape of y, dy[k] = dL/dy[k], and returns dx[k] = dL/dx[k], of the shape of x.
Forward saves keep, or None in eval mode.

Check it:   minisegnet exercise check dropout.py             (or run this file)
Stuck?      minisegnet exercise check dropout.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer, as_rng

EXERCISE = "dropout"


class Saved(NamedTuple):
    keep: np.ndarray | None  # which numbers were kept; None in eval mode


class Dropout(Layer):
    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = p, as_rng(rng)

    def forward(self, x):
        if not self.training:
            return x, Saved(None)
        keep = self.rng.random(x.shape) >= self.p
        return (keep * x / (1 - self.p)).astype(x.dtype), Saved(keep)

    def backward(self, dy, saved):
        (keep,) = saved
        # forward: y = keep * x / (1 - p) in training, y = x in eval mode
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
