"""Exercise bug-softmax-shift: find the bug and repair it.

The softmax along the last axis. exp overflows for scores above 700, so something is taken off all scores of a row
first; that changes no probability, as numerator and denominator change by the same factor:

    p[n,c] = exp(s[n,c]) / sum over k of exp(s[n,k]) = exp(s[n,c] - shift[n]) / sum over k of exp(s[n,k] - shift[n])

Someone had tested it with scores of a million, and it was right. Years later it gave NaN.

Check it:   minisegnet exercise check bug_softmax_shift.py             (or run this file)
Stuck?      minisegnet exercise check bug_softmax_shift.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

import numpy as np

from minisegnet.core import Layer

EXERCISE = "bug-softmax-shift"


class Saved(NamedTuple):
    p: np.ndarray


class Softmax(Layer):
    def forward(self, x):
        shift = np.zeros((*x.shape[:-1], 1), x.dtype)
        for k in range(x.shape[-1]):
            shift = np.maximum(shift, x[..., k : k + 1])
        e = np.exp(x - shift)
        p = e / e.sum(axis=-1, keepdims=True)
        return p, Saved(p)

    def backward(self, dy, saved):
        (p,) = saved
        return p * (dy - (dy * p).sum(axis=-1, keepdims=True))


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
