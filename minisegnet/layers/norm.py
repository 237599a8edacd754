"""Batch normalisation."""

from typing import NamedTuple

import numpy as np

from kernels import ShapeError, ops_for
from kernels.shapes import check_rank, check_shape, same_dtype

from ..core import Layer, Parameter, check_float, check_int, check_number
from ..init import constant


class BatchNorm2dSaved(NamedTuple):
    x: np.ndarray
    mean: np.ndarray  # the statistics that were used, (C,)
    var: np.ndarray
    training: bool  # whether they were the batch's own: only then does a gradient flow through them


class BatchNorm2d(Layer):
    """Gives each channel mean 0 and variance 1 over the batch, then lets it learn its own scale and shift.

    Forward in training, per channel over the m = N*H*W values:
        mean = Σ x / m,   var = Σ (x - mean)² / m,   x̂ = (x - mean) / sqrt(var + eps),   y = weight * x̂ + bias
        running_mean += momentum * (mean - running_mean), and so running_var, with the unbiased var * m/(m - 1)
    Forward in eval mode: the same with running_mean and running_var, which are then constants.

    Backward: dbias = Σ dy,   dweight = Σ dy * x̂,   and x reaches y by three ways, x̂ itself, mean and var:
        dx = weight / sqrt(var + eps) * (dy - dbias/m - x̂ * dweight/m)     (in eval mode only the first way)
    So in training the dx of each channel sum to zero: adding a constant to a channel changes nothing.

    Shapes: x (N, C, H, W), y the same; weight, bias (with affine=True), running_mean, running_var (C,).

    Parameters
        num_features: C
        eps: added to the variance, > 0
        momentum: how much of each batch goes into the running statistics
        affine: whether weight and bias exist
        track_running_stats: without them, eval mode uses the batch's statistics too

    Raises ShapeError in training for one value per channel: its variance is 0 whatever it is.
    Source: Ioffe and Szegedy, Batch Normalization (2015).

    >>> bn = BatchNorm2d(1, eps=1e-12)
    >>> bn(np.array([[[[0, 2]]]], np.float32))
    array([[[[-1.,  1.]]]], dtype=float32)
    >>> bn.running_mean, bn.running_var
    (array([0.1], dtype=float32), array([1.1], dtype=float32))
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, dtype=np.float32):
        self.num_features, dtype = check_int("num_features", num_features), check_float(dtype)
        self.eps = check_number("eps", eps, 0, np.inf, open_low=True, open_high=True)
        self.momentum = check_number("momentum", momentum, 0, 1)
        self.weight = Parameter(constant((num_features,), 1.0, dtype=dtype)) if affine else None
        self.bias = Parameter(constant((num_features,), 0.0, dtype=dtype)) if affine else None
        self.running_mean = constant((num_features,), 0.0, dtype=dtype) if track_running_stats else None
        self.running_var = constant((num_features,), 1.0, dtype=dtype) if track_running_stats else None

    def forward(self, x):
        use_batch = self.uses_batch(x)
        if use_batch:
            y, mean, var = ops_for(x).batch_norm_train_forward(x, *self.affine(), self.eps)
            self.update_running(mean, var, x)
        else:
            mean, var = self.running_mean, self.running_var
            y = ops_for(x).batch_norm_eval_forward(x, *self.affine(), mean, var, self.eps)
        return y, BatchNorm2dSaved(x, mean, var, use_batch)

    def backward(self, dy, saved):
        x, mean, var, training = self.check_saved(saved, BatchNorm2dSaved)
        check_shape("the saved x", x, (len(x), self.num_features, *x.shape[2:]))
        ops, (weight, _) = ops_for(dy), self.affine()
        backward = ops.batch_norm_train_backward if training else ops.batch_norm_eval_backward
        dx, dweight, dbias = backward(dy, x, weight, mean, var, self.eps)
        if self.weight is not None:
            self.weight.add_grad(dweight)
            self.bias.add_grad(dbias)
        return dx

    def uses_batch(self, x):
        """Whether x is normalised with its own statistics, or else with the running ones. Raises if x doesn't fit."""
        check_rank("x", x, 4, "(N, C, H, W)")
        N, C, H, W = x.shape
        if self.num_features != C:
            raise ShapeError(f"x has shape {x.shape}: {C} channels, expected {self.num_features}")
        if 0 in (H, W):
            raise ShapeError(f"x has shape {x.shape}: there is nothing to compute")
        same_dtype(x=x, running_mean=self.running_mean)
        use_batch = self.training or self.running_mean is None
        if use_batch and N * H * W == 1:
            raise ShapeError(
                f"x has shape {x.shape}: one value per channel has no variance; "
                f"train with a larger batch or map, or call net.eval()"
            )
        return use_batch

    def update_running(self, mean, var, x):
        """In training, move the running statistics towards those of x; new arrays, since a record may hold the old."""
        count = x.size // self.num_features
        if not self.training or self.running_mean is None or count == 0:
            return
        self.running_mean, self.running_var = ops_for(x).batch_norm_running(
            self.running_mean, self.running_var, mean, var, self.momentum, count
        )

    def affine(self):
        """The arrays weight and bias, or None and None."""
        return (None, None) if self.weight is None else (self.weight.value, self.bias.value)

    def config(self):
        text = f"{self.num_features}"
        for name, default in {"eps": 1e-5, "momentum": 0.1}.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name):g}"
        text += "" if self.weight is not None else ", affine=False"
        return text + ("" if self.running_mean is not None else ", track_running_stats=False")
