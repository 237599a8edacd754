"""Is this backward pass right? And if not: what is wrong with it?

>>> import numpy as np
>>> from minisegnet.layers import Linear
>>> report = gradcheck(Linear(3, 2, rng=0), np.random.default_rng(0).normal(size=(4, 3)))
>>> bool(report)
True
"""

from .check import gradcheck
from .report import Contract, GradcheckReport, TensorRow

__all__ = ["Contract", "GradcheckReport", "TensorRow", "gradcheck"]
