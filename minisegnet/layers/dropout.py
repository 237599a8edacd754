"""Dropout."""

from typing import NamedTuple

import numpy as np

from kernels import ops_for

from ..core import Layer, as_rng, check_number


class DropoutSaved(NamedTuple):
    keep: np.ndarray | None  # which elements were kept; None when nothing was dropped


class Dropout(Layer):
    """In training, sets each element to 0 with probability p and enlarges the others, so that the mean stays.

    Forward:   y = keep * x / (1 - p), keep drawn anew each time; in eval mode y = x
    Backward:  dx = keep * dy / (1 - p), with the same keep

    Shapes: any; y as x. rng: seed or numpy.random.Generator that the draws come from.
    Source: Srivastava et al., Dropout (2014); scaling in training rather than afterwards is called inverted dropout.

    >>> Dropout(0.5, rng=0)(np.ones(6))
    array([2., 2., 2., 0., 0., 0.])
    """

    def __init__(self, p=0.5, rng=None):
        self.p = check_number("p", p, 0, 1)
        self.rng = as_rng(rng)

    def forward(self, x):
        if not self.training or self.p == 0:
            return x, DropoutSaved(None)
        ops = ops_for(x)
        keep = ops.dropout_mask(x.shape, self.p, self.rng)
        return ops.dropout_forward(x, keep, self.scale()), DropoutSaved(keep)

    def backward(self, dy, saved):
        (keep,) = self.check_saved(saved, DropoutSaved)
        return dy if keep is None else ops_for(dy).dropout_backward(dy, keep, self.scale())

    def scale(self):
        """1/(1 - p), what the kept elements are multiplied by; 0 if none are kept."""
        return 0.0 if self.p == 1 else 1 / (1 - self.p)

    def config(self):
        return f"{self.p:g}"
