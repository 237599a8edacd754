"""The fully connected layer: one matrix product forward, two backward."""

import numpy as np

from ..errors import ShapeError
from ..shapes import check_rank, check_shape, same_dtype


def linear_forward(x, w, b):
    check_linear(x, w, b)
    y = x @ w.T
    if b is not None:
        y += b
    return y


def linear_backward_input(dy, w):
    same_dtype(dy=dy, w=w)
    check_rank("w", w, 2, "(O, I)")
    check_shape("dy", dy, (*dy.shape[:-1], len(w)))
    return dy @ w  # forward: y = x @ w.T


def linear_backward_weight(dy, x):
    same_dtype(dy=dy, x=x)
    check_shape("dy", dy, (*x.shape[:-1], dy.shape[-1]))
    return rows(dy).T @ rows(x)  # one outer product dy x for each row, added up


def linear_backward_bias(dy):
    dtype = same_dtype(dy=dy)
    return rows(dy).sum(axis=0, dtype=np.float64).astype(dtype)


def rows(a):
    """All leading axes as one: (..., K) to (M, K); M is written out, for -1 is ambiguous in an empty array."""
    return a.reshape(int(np.prod(a.shape[:-1])), a.shape[-1])


def check_linear(x, w, b):
    """Raise ShapeError or TypeError unless the three belong together."""
    same_dtype(x=x, w=w, b=b)
    check_rank("w", w, 2, "(O, I)")
    if x.ndim < 1 or x.shape[x.ndim - 1] != w.shape[1]:
        raise ShapeError(f"x has shape {x.shape}, expected (..., {w.shape[1]}) (the weight has shape {w.shape})")
    if b is not None:
        check_shape("b", b, (len(w),))
