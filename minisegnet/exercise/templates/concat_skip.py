"""Exercise concat-skip: two ways forward, two ways back.   (tutorial 10_from_fcn_to_deeplab)

Forward is given. The skip connection of a U-Net puts x beside what a layer (or a whole net) inside makes of it:

    h = inner(x)
    y = [x, h]      joined along the channels

Shapes: x (N, C, H, W), h (N, O, H, W), y and dy (N, C+O, H, W).

You write backward. It gets dy[n,k,i,j] = dL/dy[n,k,i,j] and returns dx. The layer inside has a backward, too, which
does the rest for what is inside it:

    dx_inside = self.inner.backward(dh, inner_saved)

Check it:   minisegnet exercise check concat_skip.py             (or run this file)
Stuck?      minisegnet exercise check concat_skip.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "concat-skip"


class Saved(NamedTuple):
    channels: int  # C, those of x
    inner: tuple  # what the layer inside saved


class ConcatSkip(Layer):
    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        h, saved = self.inner.forward(x)
        y = np.concatenate([x, h], axis=1)
        return y, Saved(x.shape[1], saved)

    def backward(self, dy, saved):
        C, inner_saved = saved
        # forward: y = [x, inner(x)]
        raise NotImplementedError("backward is yours to write")


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
