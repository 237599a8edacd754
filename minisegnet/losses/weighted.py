"""Several losses as one."""

from typing import NamedTuple

from kernels import ops_for

from ..core import check_number
from .base import Loss


class WeightedSumSaved(NamedTuple):
    terms: tuple  # the saved record of each loss


class WeightedSum(Loss):
    """A weighted sum of losses on the same scores, such as cross-entropy plus Dice.

    Forward: value = Σ_i weights[i] * losses[i](scores, target)
    Backward: each term gets dvalue * weights[i], and the scores, which fan out to all terms, the sum of what comes back

    Shapes: those of the losses; value is a float. target is one for all losses, or a tuple with one for each of them.

    Parameters
        losses: a list of losses, each of which reduces to a number (not reduction="none")
        weights: one number for each loss; None: 1 for each

    Raises ValueError for a wrong number of weights or targets, TypeError for what is not a loss; an error inside a
    term begins with the term's place: WeightedSum.losses.1 DiceLoss(): ...
    Source: the chain rule; Sudre et al., Generalised Dice overlap (2017), for such sums in segmentation.

    >>> import numpy as np
    >>> from minisegnet.losses import L1Loss, MSELoss
    >>> loss = WeightedSum([MSELoss(), L1Loss()], weights=[1, 0.5])
    >>> value, saved = loss.forward(np.array([3.0]), np.array([1.0]))
    >>> value, loss.backward(saved)  # 4 + 0.5*2; 2*2 + 0.5*1
    (5.0, array([4.5]))
    """

    def __init__(self, losses, weights=None):
        self.losses = tuple(losses)
        if not self.losses:
            raise ValueError("losses is empty: give at least one loss")
        for loss in self.losses:
            if not isinstance(loss, Loss):
                raise TypeError(f"losses must contain losses, got {loss!r}")
            if loss.reduction == "none":
                raise ValueError(f"each term must be a number, but {loss!r} gives an array; use 'mean' or 'sum'")
        self.weights = weights
        if weights is not None:
            self.weights = tuple(check_number("weights", w) for w in weights)
            if len(self.weights) != len(self.losses):
                raise ValueError(f"got {len(self.weights)} weights for {len(self.losses)} losses")

    def forward(self, scores, target=None):
        targets = target if isinstance(target, tuple) else (target,) * len(self.losses)
        if len(targets) != len(self.losses):
            raise ValueError(f"got {len(targets)} targets for {len(self.losses)} losses; a tuple has one for each")
        results = [loss.forward(scores, t) for loss, t in zip(self.losses, targets, strict=True)]
        value = sum(w * v for w, (v, _) in zip(self.factors(), results, strict=True))
        return value, WeightedSumSaved(tuple(record for _, record in results))

    def backward(self, saved, dvalue=1.0):
        self.check_saved(saved, WeightedSumSaved)
        dvalue = check_number("dvalue", dvalue)
        terms = zip(self.losses, saved.terms, self.factors(), strict=True)
        parts = [loss.backward(record, dvalue * w) for loss, record, w in terms]  # forward: value = Σ w * loss(scores)
        return ops_for(parts[0]).add_forward(parts)

    def factors(self):
        """The weight of each loss."""
        return self.weights or (1.0,) * len(self.losses)

    def children(self):
        return [(f"{type(self).__name__}.losses.{i}", loss) for i, loss in enumerate(self.losses)]
