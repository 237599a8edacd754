"""Losses: how wrong the scores are, as one number, and which way each score should go.

>>> import numpy as np
>>> from minisegnet import losses
>>> loss = losses.CrossEntropyLoss(ignore_index=255)
>>> scores, mask = np.zeros((1, 2, 1, 3), np.float32), np.array([[[0, 1, 255]]])
>>> value, saved = loss.forward(scores, mask)
>>> round(value, 4)  # log 2, for both classes are equally likely
0.6931
>>> loss.backward(saved, dvalue=2.0)[0, :, 0]
array([[-0.5,  0.5,  0. ],
       [ 0.5, -0.5,  0. ]], dtype=float32)
"""

from .base import Loss
from .binary import BCELoss, BCEWithLogitsLoss
from .cross_entropy import CrossEntropyLoss
from .distillation import DistillationLoss
from .focal import FocalLoss
from .on_host import OnHost
from .overlap import DiceLoss, JaccardLoss
from .regression import L1Loss, MSELoss
from .sparsity import EntropyPenalty, L1Penalty
from .weighted import WeightedSum

__all__ = [
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistillationLoss",
    "EntropyPenalty",
    "FocalLoss",
    "JaccardLoss",
    "L1Loss",
    "L1Penalty",
    "Loss",
    "MSELoss",
    "OnHost",
    "WeightedSum",
]
