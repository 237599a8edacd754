"""Transforms that change values and leave every pixel where it is: the mask stays as it was."""

import math

import numpy as np

from kernels import ShapeError

from ...core import as_rng, check_number
from .base import Transform

# The luma of a colour, and two differences that carry its hue (YIQ, of early colour television); greys have I = Q = 0.
YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def as_uint8(values):
    """Rounded to whole numbers, and cut to 0..255."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


class ColorJitter(Transform):
    """Another light, another camera: random changes of brightness, contrast, saturation and hue.

    With b, c, s drawn from 1 ± the settings, h from ± hue, L the luma of a pixel and m the picture's mean luma:

        x = b·x                        brightness
        x = m + c·(x - m)              contrast
        x = L + s·(x - L)              saturation
        x = its colour turned by h     hue: the chroma (I, Q) turned by h of a full circle, L unchanged

    All four are affine maps of (R, G, B), so they are computed as one, and values are cut to 0..255 once, at the end.
    A grey picture has no saturation and no hue.

    Parameters
        brightness, contrast, saturation: how far the factor goes from 1, each 0 to 1
        hue: how far the colour is turned at most, 0 to 0.5 (half the circle: all hues)
        rng: seed or Generator for calls without one

    >>> ColorJitter(brightness=0.5, rng=0)(np.full((1, 2, 3), 100, np.uint8))[0][0]
    array([[114, 114, 114],
           [114, 114, 114]], dtype=uint8)
    """

    def __init__(self, brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, rng=None):
        self.brightness = check_number("brightness", brightness, 0, 1)
        self.contrast = check_number("contrast", contrast, 0, 1)
        self.saturation = check_number("saturation", saturation, 0, 1)
        self.hue = check_number("hue", hue, 0, 0.5)
        self.rng = as_rng(rng)

    def apply(self, image, mask, rng):
        b, c, s = 1 + np.array([self.brightness, self.contrast, self.saturation]) * rng.uniform(-1, 1, 3)
        h = self.hue * rng.uniform(-1, 1)
        means = image.mean((0, 1), dtype=np.float64)
        if image.shape[2] == 3:
            linear, m = b * c * chroma_map(s, h), b * YIQ[0] @ means
        else:
            linear, m = b * c * np.eye(image.shape[2]), b * means
        jittered = image.astype(np.float32) @ linear.T.astype(np.float32) + ((1 - c) * m).astype(np.float32)
        return as_uint8(jittered), mask


def chroma_map(saturation, turn):
    """The matrix (3, 3) that scales the chroma of (R, G, B) and turns it by a part of the circle; luma and greys stay.

    >>> chroma_map(0.5, 0.25) @ np.ones(3)
    array([1., 1., 1.])
    """
    cos, sin = saturation * math.cos(2 * math.pi * turn), saturation * math.sin(2 * math.pi * turn)
    return np.linalg.inv(YIQ) @ np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ YIQ


class GaussianNoise(Transform):
    """Adds independent normal noise to each value.

    Parameters
        std: standard deviation of the noise, as a part of the full range 0..1 (0.02 is 5 of 255)
        rng: seed or Generator for calls without one

    >>> GaussianNoise(0.1, rng=0)(np.full((1, 3, 1), 100, np.uint8))[0].ravel()
    array([128,  65,  89], dtype=uint8)
    """

    def __init__(self, std, rng=None):
        self.std = check_number("std", std, 0, 1)
        self.rng = as_rng(rng)

    def apply(self, image, mask, rng):
        noise = rng.standard_normal(image.shape, np.float32)
        return as_uint8(image + np.float32(255 * self.std) * noise), mask


# ------------------------------------------------------------------ to what a net takes


class ToArray(Transform):
    """From a picture to what a net takes: uint8 (H, W, C) to float32 (C, H, W) in 0..1, the mask to int64.

    >>> image, mask = ToArray()(np.array([[[0, 51, 255]]], np.uint8), np.array([[7]], np.uint8))
    >>> image.shape, image.ravel(), mask.dtype
    ((3, 1, 1), array([0. , 0.2, 1. ], dtype=float32), dtype('int64'))
    """

    def apply(self, image, mask, rng):
        array = np.empty((image.shape[2], *image.shape[:2]), np.float32)
        np.divide(image.transpose(2, 0, 1), np.float32(255), out=array)
        return array, mask.astype(np.int64) if isinstance(mask, np.ndarray) else mask


class Normalize(Transform):
    """Subtracts a mean and divides by a standard deviation: y = (x - mean) / std, after ToArray.

    Parameters
        mean, std: one number for all channels or a list of one for each, in 0..1; `data.statistics` measures them

    ShapeError for an image with another number of channels.

    >>> Normalize(0.5, [0.25])(np.array([[[0.5, 1.0]]], np.float32))[0]
    array([[[0., 2.]]], dtype=float32)
    """

    layout = "CHW"

    def __init__(self, mean, std):
        self.mean, self.std = numbers("mean", mean), numbers("std", std, low=0, open_low=True)

    def apply(self, image, mask, rng):
        C = image.shape[0]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, C):
                raise ShapeError(
                    f"{self!r}: the image has {C} channels, {name} has {len(values)}; give one number or {C}"
                )
        mean, std = (np.array(values, image.dtype).reshape(-1, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std, mask


def numbers(name, value, **bounds):
    """A tuple of finite floats from one number or several."""
    values = tuple(np.asarray(value).tolist()) if np.ndim(value) == 1 else (value,)
    if not values:
        raise ValueError(f"{name} must be a number or a list of one for each channel, got {value!r}")
    return tuple(check_number(name, v, high=math.inf, open_high=True, **bounds) for v in values)


class Standardize(Transform):
    """Each picture by itself: minus its mean, over its standard deviation, after ToArray.

    Makes up for light and contrast that differ from picture to picture. One mean and one standard deviation for all
    channels together, so that colours keep their relations. The latter counts as one grey level (1/255) at least, so
    that a picture of one grey becomes zeros and not amplified rounding.

    >>> Standardize()(np.array([[[0.25, 0.75]]], np.float32))[0]
    array([[[-1.,  1.]]], dtype=float32)
    """

    layout = "CHW"

    def apply(self, image, mask, rng):
        mean, std = float(image.mean(dtype=np.float64)), float(image.std(dtype=np.float64))
        return (image - mean) / max(std, 1 / 255), mask
