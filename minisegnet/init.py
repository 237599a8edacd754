"""Initial weights: each function returns a new array.

    conv.weight.value = init.kaiming_normal(conv.weight.shape, rng=0)

Why the scale matters: y = Σ w*x over `fan_in` products has Var(y) = fan_in * Var(w) * E[x²], and on the way back dx is
a sum over `fan_out` products. If Var(w) is too large or too small, values or gradients grow or fade by the same
factor in every layer, exponentially with depth. The formulas below choose Var(w) so that this factor is about 1.

All numbers are drawn in float64 and then converted, so that with one seed a float32 and a float64 net start alike.
In every function
    shape: a tuple of sizes, each at least 1
    rng: a seed (an integer), a numpy.random.Generator, or None for unpredictable numbers
    dtype: float32 or float64
and a bad value raises ValueError, a bad type TypeError, a shape that can't have such weights ShapeError.

>>> from minisegnet import layers
>>> conv = layers.Conv2d(3, 16, 3)
>>> conv.weight.value = kaiming_normal(conv.weight.shape, nonlinearity="relu", rng=0)
>>> conv.weight.value[:] = 0.5  # or simply write into the array
"""

import math

import numpy as np

from kernels import ShapeError

from .core import as_rng, check_float, check_int, check_number

__all__ = [
    "bilinear",
    "calculate_gain",
    "constant",
    "fans",
    "kaiming_normal",
    "kaiming_uniform",
    "normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
]

# ------------------------------------------------------------------ plain distributions


def uniform(shape, low=0.0, high=1.0, rng=None, dtype=np.float32):
    """Numbers drawn evenly from low to high: mean (low + high)/2, standard deviation (high - low)/sqrt(12).

    Rounding to float32 may give `high` itself. Raises ValueError where low > high.

    >>> uniform((3,), -1, 1, rng=0)
    array([ 0.27392337, -0.46042657, -0.918053  ], dtype=float32)
    """
    shape, dtype = check_sizes(shape), check_float(dtype)
    low, high = _finite("low", low), _finite("high", high)
    if low > high:
        raise ValueError(f"low must be at most high, got low={low:g}, high={high:g}")
    return as_rng(rng).uniform(low, high, shape).astype(dtype)


def normal(shape, mean=0.0, std=1.0, rng=None, dtype=np.float32):
    """Numbers drawn from the normal distribution with this mean and standard deviation (std at least 0).

    >>> normal((3,), std=0.1, rng=0)
    array([ 0.01257302, -0.01321049,  0.06404226], dtype=float32)
    """
    shape, dtype = check_sizes(shape), check_float(dtype)
    mean, std = _finite("mean", mean), check_number("std", std, low=0, high=math.inf, open_high=True)
    return as_rng(rng).normal(mean, std, shape).astype(dtype)


def constant(shape, value=0.0, dtype=np.float32):
    """The same number everywhere: usual for biases, and for the scale (1) and shift (0) of a normalisation.

    Not for the weights of a hidden layer: all its channels would get the same gradient and stay equal for ever.

    >>> constant((2,), 0.5)
    array([0.5, 0.5], dtype=float32)
    """
    return np.full(check_sizes(shape), _finite("value", value), check_float(dtype))


# ------------------------------------------------------------------ scaled to the layer


def xavier_uniform(shape, gain=1.0, rng=None, dtype=np.float32):
    """Uniform within ±gain * sqrt(6/(fan_in + fan_out)), which has the variance gain² * 2/(fan_in + fan_out).

    1/fan_in would keep the size of the values, 1/fan_out that of the gradients; this is between the two. Derived for
    activations that are nearly linear around 0 (tanh, sigmoid). gain: see `calculate_gain`, at least 0.

    Raises ShapeError for a shape of fewer than two axes.
    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (2010),
    equation 16.

    >>> w = xavier_uniform((16, 8, 3, 3), rng=0)  # bound sqrt(6/(72 + 144))
    >>> w.shape, bool(0.16 < w.max() <= 1 / 6)
    ((16, 8, 3, 3), True)
    """
    bound = math.sqrt(3) * _xavier_std(shape, gain)
    return uniform(shape, -bound, bound, rng, dtype)


def xavier_normal(shape, gain=1.0, rng=None, dtype=np.float32):
    """Normal with mean 0 and standard deviation gain * sqrt(2/(fan_in + fan_out)).

    The same variance as `xavier_uniform`, equation 12 of the same paper (Glorot and Bengio 2010); same errors.

    >>> w = xavier_normal((16, 16, 5, 5), rng=0)  # std sqrt(2/(400 + 400))
    >>> round(float(w.std()), 2)
    0.05
    """
    return normal(shape, 0.0, _xavier_std(shape, gain), rng, dtype)


def kaiming_uniform(shape, a=0.0, mode="fan_in", nonlinearity="leaky_relu", rng=None, dtype=np.float32):
    """Uniform within ±gain * sqrt(3/fan), which has the variance gain²/fan.

    A ReLU sets half of its values to 0 and so halves E[x²]; gain² = 2 makes up for it, and gain² = 2/(1 + a²) for a
    leaky ReLU with slope a.

    Parameters
        a: slope of the leaky ReLU that follows (used with nonlinearity="leaky_relu" only; 0 is the plain ReLU)
        mode: "fan_in" keeps the size of the values in the forward pass, "fan_out" that of the gradients in backward
        nonlinearity: what follows the layer, see `calculate_gain`

    Raises ShapeError for a shape of fewer than two axes, ValueError for an unknown mode or nonlinearity.
    Source: He et al., Delving deep into rectifiers (2015), equations 10 and 14.

    >>> w = kaiming_uniform((16, 6, 3, 3), rng=0)  # bound sqrt(2) * sqrt(3/54)
    >>> w.shape, bool(0.33 < w.max() <= 1 / 3)
    ((16, 6, 3, 3), True)
    """
    bound = math.sqrt(3) * _kaiming_std(shape, a, mode, nonlinearity)
    return uniform(shape, -bound, bound, rng, dtype)


def kaiming_normal(shape, a=0.0, mode="fan_in", nonlinearity="leaky_relu", rng=None, dtype=np.float32):
    """Normal with mean 0 and standard deviation gain/sqrt(fan).

    The same variance, arguments and errors as `kaiming_uniform` (He et al. 2015).

    >>> w = kaiming_normal((16, 8, 5, 5), mode="fan_out", rng=0)  # std sqrt(2/400)
    >>> round(float(w.std()), 2)
    0.07
    """
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity), rng, dtype)


def bilinear(shape, dtype=np.float32):
    """Weights with which a ConvTranspose2d upsamples bilinearly: channel i of the input to channel i of the output.

    A tent of half-width f = floor((k + 1)/2) along each axis, w[r] = 1 - |r - (k - 1)/2| / f, and the product of the
    two tents over the plane. With stride f, neighbouring tents overlap so that their weights sum to 1.

    For upsampling by s there are two good choices:
        kernel 2s - s % 2, padding (kernel - s)/2: pixels are areas, output s*H; as Upsample(align_corners=False),
            but darker along the border, where tents of the neighbours outside are missing
        kernel 2s - 1, padding s - 1: pixels are points, output (H - 1)*s + 1; as Upsample(align_corners=True)

    Parameters
        shape: (C_in, C_out/groups, kH, kW), the shape of the layer's weight: (C, C, kH, kW) without groups,
            (C, 1, kH, kW) with groups=C; in general C_in must be a multiple of the second size

    Raises ShapeError for any other shape.
    Source: Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation (2015), section 3.3.

    >>> bilinear((1, 1, 4, 4))[0, 0] * 16
    array([[1., 3., 3., 1.],
           [3., 9., 9., 3.],
           [3., 9., 9., 3.],
           [1., 3., 3., 1.]], dtype=float32)
    """
    shape = check_sizes(shape)
    if len(shape) != 4:
        raise ShapeError(f"shape must be (C_in, C_out/groups, kH, kW), got {shape}")
    C, per_group, kH, kW = shape
    if C % per_group:
        raise ShapeError(
            f"bilinear weights lead channel i to channel i, so the first size must be a multiple of the second, "
            f"got shape {shape}; use (C, C, kH, kW), or (C, 1, kH, kW) with groups=C"
        )
    w = np.zeros(shape, check_float(dtype))
    channels = np.arange(C)
    w[channels, channels % per_group] = np.outer(_tent(kH), _tent(kW))
    return w


def _tent(kernel):
    return 1 - np.abs(np.arange(kernel) - (kernel - 1) / 2) / ((kernel + 1) // 2)


# ------------------------------------------------------------------ the scale


def fans(shape):
    """(fan_in, fan_out) of weights (O, C/groups, kH, kW) or (O, I): how many products one sum runs over.

    fan_in = C/groups * kH * kW is the length of the sum behind one y, fan_out = O * kH * kW that behind one dx. As in
    PyTorch they are shape[1]*area and shape[0]*area whatever the layer: with groups, fan_out counts all of them; for a
    ConvTranspose2d, whose weight is (C, O/groups, kH, kW), the two change places.

    >>> fans((16, 8, 3, 3)), fans((10, 20))
    ((72, 144), (20, 10))
    """
    shape = check_sizes(shape)
    if len(shape) < 2:
        raise ShapeError(
            f"fan_in and fan_out need a shape of at least two axes, (O, I) or (O, C/groups, kH, kW), got {shape}; "
            f"for a bias use constant or uniform"
        )
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


GAINS = {
    "linear": 1.0,
    "conv2d": 1.0,
    "conv_transpose2d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "leaky_relu": None,  # depends on the slope
}


def calculate_gain(nonlinearity, a=0.01):
    """The factor on the standard deviation that makes up for the activation after the layer; PyTorch's values.

    1 for "linear", "conv2d", "conv_transpose2d" (no activation) and "sigmoid", 5/3 for "tanh", sqrt(2) for "relu",
    sqrt(2/(1 + a²)) for "leaky_relu" with slope a. Raises ValueError for another name.

    >>> calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity not in GAINS:
        raise ValueError(f"unknown nonlinearity {nonlinearity!r}; known are {', '.join(GAINS)}")
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + _finite("a", a) ** 2))
    return GAINS[nonlinearity]


def _xavier_std(shape, gain):
    fan_in, fan_out = fans(shape)
    return check_number("gain", gain, low=0, high=math.inf, open_high=True) * math.sqrt(2 / (fan_in + fan_out))


def _kaiming_std(shape, a, mode, nonlinearity):
    fan_in, fan_out = fans(shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"unknown mode {mode!r}; use 'fan_in' or 'fan_out'")
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


# ------------------------------------------------------------------ checks


def check_sizes(shape):
    """The shape as a tuple of ints, each at least 1."""
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"shape must be a tuple of integers such as (16, 3, 3, 3), got {shape!r}")
    return tuple(check_int("each size in shape", size) for size in shape)


def _finite(name, value):
    return check_number(name, value, low=-math.inf, high=math.inf, open_low=True, open_high=True)
