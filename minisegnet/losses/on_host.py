"""A loss that computes on the host, for nets that compute on the GPU."""

from typing import NamedTuple

from kernels import device_of, to_device, to_host

from .base import Loss, check_arrays


class OnHostSaved(NamedTuple):
    record: NamedTuple  # of the loss itself
    device: str  # where the scores were


class OnHost(Loss):
    """Lets a loss without kernels for the GPU take scores from there, by copying.

    Forward:   value = loss(copy of the scores, copy of the target)
    Backward:  dscores = copy of the loss's own, where the scores were

    The copies take time, scores and gradient once each per step; CrossEntropyLoss needs none.

    >>> import numpy as np
    >>> from minisegnet.losses import MSELoss
    >>> OnHost(MSELoss())(np.ones(2), np.zeros(2))
    1.0
    """

    on_gpu = True

    def __init__(self, loss):
        self.loss = loss

    def forward(self, scores, target):
        check_arrays(scores, target)
        value, record = self.loss.forward(to_host(scores), to_host(target))
        return value, OnHostSaved(record, device_of(scores))

    def backward(self, saved, dvalue=1.0):
        record, device = self.check_saved(saved, OnHostSaved)
        return to_device(self.loss.backward(record, dvalue), device)

    def children(self):
        yield "loss", self.loss
