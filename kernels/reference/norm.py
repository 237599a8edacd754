"""Batch normalisation. Statistics are taken in float64, whatever the input.

Source: Ioffe and Szegedy, Batch Normalization (2015), section 3.
"""

import numpy as np

from ..shapes import check_rank, check_shape, same_dtype
from .activation import relu_backward, relu_forward

PIXELS = (0, 2, 3)  # the axes that a channel's statistics are taken over: N, H, W


def batch_norm_train_forward(x, weight, bias, eps):
    same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    count = max(1, x.size // x.shape[1])  # an empty batch has mean and variance 0 here, not 0/0
    mean = x.sum(axis=PIXELS, dtype=np.float64) / count
    var = np.square(x - per_channel(mean), dtype=np.float64).sum(axis=PIXELS) / count
    return batch_norm_eval_forward(x, weight, bias, mean, var, eps), mean, var


def batch_norm_train_backward(dy, x, weight, mean, var, eps):
    """Three ways lead from x to the loss: through x^ itself, through the mean and through the variance.

    With everything else constant, dx^ = dy*weight would give dx = dx^/std. The mean takes off the part of dx^ that
    is the same for all pixels, the variance the part that is proportional to x^; so in each channel the final dx
    sums to zero and is orthogonal to x^.
    """
    dtype = same_dtype(dy=dy, x=x, weight=weight)
    dx, dweight, dbias = batch_norm_eval_backward(dy, x, weight, mean, var, eps)
    normed, scale = (x - per_channel(mean)) / per_channel(np.sqrt(var + eps)), scale_of(weight, var, eps)
    count = max(1, x.size // x.shape[1])
    # dbias = sum of dy and dweight = sum of dy*x^ are just the two sums that the mean and the variance need
    dx = dx - per_channel(scale / count) * (per_channel(dbias) + normed * per_channel(dweight))
    return dx.astype(dtype), dweight, dbias


def batch_norm_eval_forward(x, weight, bias, mean, var, eps):
    dtype = same_dtype(x=x, weight=weight, bias=bias)
    check_rank("x", x, 4, "(N, C, H, W)")
    for name, a in (("mean", mean), ("var", var), ("weight", weight), ("bias", bias)):
        if a is not None:
            check_shape(name, a, x.shape[1:2])
    y = (x - per_channel(mean)) * per_channel(scale_of(weight, var, eps))
    if bias is not None:
        y = y + per_channel(bias)
    return y.astype(dtype)


def batch_norm_eval_backward(dy, x, weight, mean, var, eps):
    dtype = same_dtype(dy=dy, x=x, weight=weight)
    check_shape("dy", dy, x.shape)
    normed = (x - per_channel(mean)) / per_channel(np.sqrt(var + eps))
    dx = dy * per_channel(scale_of(weight, var, eps))
    dweight = (dy * normed).sum(axis=PIXELS, dtype=np.float64)
    dbias = dy.sum(axis=PIXELS, dtype=np.float64)
    return dx.astype(dtype), dweight.astype(dtype), dbias.astype(dtype)


def batch_norm_relu_train_forward(x, weight, bias, eps):
    y, mean, var = batch_norm_train_forward(x, weight, bias, eps)
    return relu_forward(y), mean, var


def batch_norm_relu_train_backward(dy, y, x, weight, mean, var, eps):
    return batch_norm_train_backward(relu_backward(dy, y), x, weight, mean, var, eps)


def batch_norm_relu_eval_forward(x, weight, bias, mean, var, eps):
    return relu_forward(batch_norm_eval_forward(x, weight, bias, mean, var, eps))


def batch_norm_relu_eval_backward(dy, y, x, weight, mean, var, eps):
    return batch_norm_eval_backward(relu_backward(dy, y), x, weight, mean, var, eps)


def scale_of(weight, var, eps):
    """weight / sqrt(var + eps) per channel, the factor that x is multiplied by."""
    return (1.0 if weight is None else weight) / np.sqrt(var + eps)


def per_channel(a):
    """(C,) shaped to act on the channels of (N, C, H, W)."""
    return a[:, None, None]
