"""Transforms that move pixels: the mask moves with the image, and pixels from outside the picture become void."""

import math

import numpy as np

from kernels.shapes import pads

from ...core import as_rng, check_int, check_number
from ..dataset import VOID
from .base import Transform, check_size, is_map
from .resample import resize_image, resize_mask, rotate_image, rotate_mask

# ------------------------------------------------------------------ size


def resized(image, mask, height, width):
    """Both at another size: the image bilinear, the mask nearest."""
    return resize_image(image, height, width), resize_mask(mask, height, width) if is_map(mask) else mask


class Resize(Transform):
    """Brings every picture to one size: the image bilinear (a mean over what it covers when it shrinks), masks nearest.

    Parameters
        height, width: the new size; one number is a square, and a pair (height, width) is taken too

    The picture is stretched where its shape is another one.

    >>> image, mask = Resize(4, 2)(np.zeros((3, 5, 3), np.uint8), np.zeros((3, 5), np.int64))
    >>> image.shape, mask.shape
    ((4, 2, 3), (4, 2))
    """

    def __init__(self, height, width=None):
        self.height, self.width = check_size(height, width)

    def apply(self, image, mask, rng):
        return resized(image, mask, self.height, self.width)


class LongestSide(Transform):
    """Gives every picture the same longest side and leaves its shape as it is.

    Parameters
        length: of the longest side, in pixels

    >>> image, mask = LongestSide(10)(np.zeros((3, 5, 3), np.uint8))
    >>> image.shape
    (6, 10, 3)
    """

    def __init__(self, length):
        self.length = check_int("length", length)

    def apply(self, image, mask, rng):
        sides = image.shape[:2]
        height, width = (max(1, math.floor(self.length * side / max(sides) + 0.5)) for side in sides)
        return resized(image, mask, height, width)


class RandomScale(Transform):
    """Enlarges or shrinks by a random factor, the same in both directions.

    Parameters
        low, high: the factor is drawn uniformly from low to high, both above 0
        rng: seed or Generator for calls without one

    Sizes are rounded, to at least one pixel.

    >>> image, mask = RandomScale(2, 2)(np.zeros((3, 5, 3), np.uint8))
    >>> image.shape
    (6, 10, 3)
    """

    def __init__(self, low, high, rng=None):
        self.low, self.high = (
            check_number(name, value, 0, math.inf, open_low=True, open_high=True)
            for name, value in (("low", low), ("high", high))
        )
        if self.high < self.low:
            raise ValueError(f"low must not be above high, got {low} and {high}")
        self.rng = as_rng(rng)

    def apply(self, image, mask, rng):
        factor = rng.uniform(self.low, self.high)
        height, width = (max(1, math.floor(factor * length + 0.5)) for length in image.shape[:2])
        return resized(image, mask, height, width)


# ------------------------------------------------------------------ windows


def window(image, mask, top, left, height, width, fill):
    """The part of both that starts at (top, left), which may reach beyond the picture: `fill`, and void in the mask."""
    return cut(image, top, left, height, width, fill), (
        cut(mask, top, left, height, width, VOID) if is_map(mask) else mask
    )


def cut(array, top, left, height, width, fill):
    """A copy of array[top : top + height, left : left + width], with `fill` where the array has no pixels."""
    result = np.full((height, width, *array.shape[2:]), fill, array.dtype)
    part = array[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    y, x = max(-top, 0), max(-left, 0)
    result[y : y + part.shape[0], x : x + part.shape[1]] = part
    return result


def check_fill(fill):
    """An int of 0 to 255, the grey value of pixels from outside the picture."""
    return int(check_number("fill", check_int("fill", fill, 0), 0, 255))


class RandomCrop(Transform):
    """A window of fixed size at a random place; where the picture is smaller, it lies at a random place of the window.

    Parameters
        height, width: the window's size; one number is a square, and a pair (height, width) is taken too
        fill: grey value of the pixels from outside the picture, 0 to 255; they are void in the mask
        rng: seed or Generator for calls without one

    >>> image, mask = RandomCrop(2, 4, rng=0)(np.zeros((5, 2, 3), np.uint8), np.zeros((5, 2), np.int64))
    >>> mask
    array([[255,   0,   0, 255],
           [255,   0,   0, 255]])
    """

    def __init__(self, height, width=None, fill=0, rng=None):
        self.height, self.width = check_size(height, width)
        self.fill, self.rng = check_fill(fill), as_rng(rng)

    def apply(self, image, mask, rng):
        H, W, _ = image.shape
        spare_y, spare_x = H - self.height, W - self.width  # negative where the window is the larger one
        top = rng.integers(min(0, spare_y), max(0, spare_y), endpoint=True)
        left = rng.integers(min(0, spare_x), max(0, spare_x), endpoint=True)
        return window(image, mask, top, left, self.height, self.width, self.fill)


class CenterCrop(Transform):
    """The window of fixed size in the picture's middle; a smaller picture is padded evenly.

    Parameters
        height, width: the window's size; one number is a square, and a pair (height, width) is taken too
        fill: grey value of the pixels from outside the picture, 0 to 255; they are void in the mask

    >>> CenterCrop(1, 4)(np.zeros((3, 2, 1), np.uint8), np.array([[0, 1], [2, 3], [4, 5]]))[1]
    array([[255,   2,   3, 255]])
    """

    def __init__(self, height, width=None, fill=0):
        self.height, self.width = check_size(height, width)
        self.fill = check_fill(fill)

    def apply(self, image, mask, rng):
        H, W, _ = image.shape
        top, left = (H - self.height) // 2, (W - self.width) // 2
        return window(image, mask, top, left, self.height, self.width, self.fill)


class Pad(Transform):
    """Adds pixels around the picture.

    Parameters
        padding: how many, on every side; or (vertical, horizontal); or ((top, bottom), (left, right))
        fill: their grey value, 0 to 255; they are void in the mask

    >>> Pad(((1, 0), (0, 1)))(np.zeros((1, 2, 1), np.uint8), np.array([[3, 4]]))[1]
    array([[255, 255, 255],
           [  3,   4, 255]])
    """

    def __init__(self, padding, fill=0):
        pads(padding)  # raises unless it is one of the forms
        self.padding, self.fill = padding, check_fill(fill)

    def apply(self, image, mask, rng):
        (top, bottom), (left, right) = pads(self.padding)
        H, W, _ = image.shape
        return window(image, mask, -top, -left, top + H + bottom, left + W + right, self.fill)


# ------------------------------------------------------------------ flips and turns


def both(function, image, mask):
    """The function's result for the image and for the mask, as arrays of their own."""
    return np.ascontiguousarray(function(image)), np.ascontiguousarray(function(mask)) if is_map(mask) else mask


class Flip(Transform):
    """Base of the two flips: with probability p, the picture in the mirror."""

    axis = None

    def __init__(self, p=0.5, rng=None):
        self.p, self.rng = check_number("p", p, 0, 1), as_rng(rng)

    def apply(self, image, mask, rng):
        if rng.random() >= self.p:
            return image, mask
        return both(lambda array: np.flip(array, self.axis), image, mask)


class HorizontalFlip(Flip):
    """Exchanges left and right, with probability p.

    >>> HorizontalFlip(p=1)(np.zeros((1, 3, 1), np.uint8), np.array([[1, 2, 3]]))[1]
    array([[3, 2, 1]])
    """

    axis = 1


class VerticalFlip(Flip):
    """Exchanges top and bottom, with probability p.

    >>> VerticalFlip(p=1)(np.zeros((2, 1, 1), np.uint8), np.array([[1], [2]]))[1]
    array([[2],
           [1]])
    """

    axis = 0


class QuarterTurns(Transform):
    """Turns by 0, 90, 180 or 270 degrees, each as likely: no pixel is lost or blurred. For pictures without an up.

    Height and width change places in half of the cases; crop to a square, or batches will not fit together.

    >>> QuarterTurns(rng=2)(np.zeros((2, 2, 1), np.uint8), np.array([[0, 1], [2, 3]]))[1]
    array([[2, 0],
           [3, 1]])
    """

    def __init__(self, rng=None):
        self.rng = as_rng(rng)

    def apply(self, image, mask, rng):
        turns = int(rng.integers(4))
        return both(lambda array: np.rot90(array, turns), image, mask)


class Rotate(Transform):
    """Turns about the picture's centre by a random angle; the size stays, so corners are cut off and others appear.

    Parameters
        degrees: the angle is drawn uniformly from -degrees to degrees; positive is counter-clockwise
        fill: grey value of the pixels from outside the picture, 0 to 255; they are void in the mask
        rng: seed or Generator for calls without one

    The image is bilinear, the mask nearest.

    >>> Rotate(90, rng=0)(np.zeros((3, 4, 1), np.uint8), np.ones((3, 4), np.int64))[1]
    array([[255,   1,   1,   1],
           [  1,   1,   1,   1],
           [  1,   1,   1, 255]])
    """

    def __init__(self, degrees, fill=0, rng=None):
        self.degrees = check_number("degrees", degrees, 0, 360)
        self.fill, self.rng = check_fill(fill), as_rng(rng)

    def apply(self, image, mask, rng):
        angle = rng.uniform(-self.degrees, self.degrees)
        turned = rotate_image(image, angle, self.fill)
        return turned, rotate_mask(mask, angle, VOID) if is_map(mask) else mask
