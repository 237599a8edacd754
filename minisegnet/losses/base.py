"""Loss: the contract that every loss keeps, and what all losses share.

    value, saved = loss.forward(scores, target)    saved is a NamedTuple with exactly what the chain rule will need
    dscores = loss.backward(saved, dvalue=1.0)     dL/dscores, where dvalue = dL/dvalue

Nothing that was received, returned or saved is ever modified, and a loss keeps no memory of a forward pass. Values are
summed in float64 and are Python floats; gradients have the dtype of the scores.
"""

import functools
import inspect

import numpy as np

from kernels import ShapeError, is_device_array, ops_for
from kernels.shapes import check_one_device, same_dtype

from ..core import check_number, name_error, named_init

REDUCTIONS = ("mean", "sum", "none")


class Loss:
    """Base of all losses. A subclass defines `forward` and `backward`, and keeps each argument under its own name.

    >>> class Total(Loss):
    ...     def forward(self, scores, target=None):
    ...         return float(scores.sum()), scores.shape
    ...     def backward(self, saved, dvalue=1.0):
    ...         return np.full(saved, dvalue)  # forward: value = Σ scores
    >>> value, saved = Total().forward(np.ones(2))
    >>> value, Total().backward(saved, 3.0)
    (2.0, array([3., 3.]))
    """

    reduction = "mean"  # a loss without that argument always reduces to a number
    on_gpu = False  # whether it computes on the GPU too; `OnHost` helps those that don't

    def forward(self, scores, target):
        """Returns (value, saved)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, saved, dvalue=1.0):
        """Returns dscores."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name, wrap in {"__init__": named_init, "forward": _named, "backward": _named}.items():
            if name in vars(cls):
                setattr(cls, name, wrap(vars(cls)[name]))

    def __call__(self, scores, target=None):
        """The value alone."""
        return self.forward(scores, target)[0]

    # ------------------------------------------------------------------ from one loss per element to the value

    def reduce(self, losses, count):
        """The value: the sum of `losses` divided by `count` ("mean"), their sum, or the losses themselves ("none").

        count is the number of losses, or the sum of their weights. Where it is 0 (an empty batch, everything ignored)
        the mean is 0; PyTorch gives NaN.
        """
        return losses if self.reduction == "none" else self.reduced(losses, ops_for(losses).total(losses), count)

    def reduced(self, losses, total, count):
        """`reduce` for losses whose sum is known."""
        if self.reduction == "none":
            return losses
        if self.reduction == "sum":
            return total
        return total / count if count else 0.0

    def reduce_backward(self, dvalue, count, shape, dtype):
        """dlosses, for losses of `shape` and `dtype`: one number that holds for each of them, or an array."""
        if self.reduction == "none" and (isinstance(dvalue, np.ndarray) or is_device_array(dvalue)):
            if dvalue.shape != tuple(shape):
                raise ShapeError(f"dvalue has shape {dvalue.shape}, expected {tuple(shape)}, the shape of the value")
            if dvalue.dtype != dtype:
                raise TypeError(f"dvalue is {dvalue.dtype}, but the value is {dtype}: dtypes are never mixed")
            return dvalue  # forward: value = losses
        dvalue = check_number("dvalue", dvalue)
        if self.reduction == "mean":
            return dvalue / count if count else 0.0  # forward: value = Σ losses / count
        return dvalue  # forward: value = Σ losses, or the losses themselves

    # ------------------------------------------------------------------ checking and showing

    def check_saved(self, saved, kind):
        """The record itself, if it is the `kind` that this loss's forward returns; otherwise a TypeError."""
        if not isinstance(saved, kind):
            raise TypeError(
                f"backward got a {type(saved).__name__} as its saved record, expected the {kind.__name__} "
                f"that this loss's forward returned; call it as loss.backward(saved, dvalue)"
            )
        return saved

    def children(self):
        """(name, loss) of each loss inside this one; an error's text says which of them failed."""
        return ()

    def config(self):
        """The constructor's arguments that are not at their defaults, as text."""
        parts = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value = value.tolist()
            if value != parameter.default:
                parts.append(f"{name}={value!r}")
        return ", ".join(parts)

    def label(self):
        """Name and configuration in one line: CrossEntropyLoss(ignore_index=255)."""
        return f"{type(self).__name__}({self.config()})"

    __repr__ = label


def _named(method):
    """Wrap a forward or backward: an error's text begins with the name of the loss."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        try:
            if not self.on_gpu and any(map(is_device_array, args)):
                raise TypeError("got an array on the GPU, but computes on the host; wrap it: losses.OnHost(loss)")
            return method(self, *args, **kwargs)
        except (ValueError, TypeError, IndexError) as error:
            name_error(error, self)
            raise

    return call


# ------------------------------------------------------------------ checks that losses use


def check_reduction(reduction):
    """The reduction itself, or a ValueError."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}, expected one of {', '.join(REDUCTIONS)}")
    return reduction


def check_scores(scores):
    """Raise TypeError unless scores is an array of float32 or float64."""
    ops_for(scores)
    same_dtype(scores=scores)


def check_arrays(scores, target):
    """Raise TypeError unless scores is an array of float32 or float64 and target is an array on the same device."""
    check_scores(scores)
    try:
        ops_for(target)
    except TypeError:
        raise TypeError(
            f"target must be a NumPy array, got {type(target).__name__}; convert it: np.asarray(target)"
        ) from None
    check_one_device({"scores": scores, "target": target})


def check_same(scores, target, hint=""):
    """Raise unless target is an array of scores' shape and dtype; `hint` ends the text about the shape."""
    check_arrays(scores, target)
    if target.shape != scores.shape:
        raise ShapeError(f"target has shape {target.shape}, expected {scores.shape}, the shape of scores{hint}")
    same_dtype(scores=scores, target=target)


def check_weights(name, value, single=False):
    """One weight for each class as a read-only float64 array (C,), or None; with `single` also one number for all."""
    if value is None:
        return None
    try:
        weights = np.array(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a list or array of numbers, got {value!r}") from None
    if weights.ndim != 1 and not (single and weights.ndim == 0):
        raise ShapeError(f"{name} has shape {weights.shape}, expected (C,): one for each class")
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(f"{name} must be finite and not negative, got {weights.tolist()}")
    weights.flags.writeable = False
    return weights
