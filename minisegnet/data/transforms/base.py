"""What all transforms share: how they are called, what they accept, how they are shown."""

import inspect

import numpy as np

from kernels import ShapeError
from kernels.shapes import pair

from ...core import as_rng, named_init

HINTS = {
    "HWC": "expected a uint8 image (H, W, C), as a data set gives it; put this transform before ToArray()",
    "CHW": "expected a float32 image (C, H, W); put ToArray() before this transform",
}


class Transform:
    """Base of all transforms: image, mask = t(image, mask, rng), both changed alike so that they stay registered.

    A subclass writes `apply(image, mask, rng)`. The rest is done here: the arguments are checked, and `repr` shows
    the settings, which are the attributes named like the constructor's parameters.

    Parameters
        image: uint8 (H, W, C); for the transforms after `ToArray` float32 (C, H, W)
        mask: class indices (H, W); None where there is none (prediction); or the label of the whole picture, an int.
            None and a label come back as they are
        rng: Generator (or seed) that the random ones draw from; without it they draw from their own, `rng=` of the
            constructor

    Nothing that is given is modified. Raises TypeError or ShapeError for anything else.

    >>> class Invert(Transform):
    ...     def apply(self, image, mask, rng):
    ...         return 255 - image, mask
    >>> image, mask = Invert()(np.full((1, 1, 3), 5, np.uint8), np.array([[2]]))
    >>> image, mask
    (array([[[250, 250, 250]]], dtype=uint8), array([[2]]))
    """

    layout = "HWC"
    rng = None  # the random ones have a Generator here

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = named_init(cls.__init__)

    def __call__(self, image, mask=None, rng=None):
        try:
            check_image(image, self.layout)
            check_mask(mask, image.shape[:2] if self.layout == "HWC" else image.shape[1:])
        except (TypeError, ShapeError) as error:
            raise type(error)(f"{self!r}: {error}") from None
        return self.apply(image, mask, self.rng if rng is None else as_rng(rng))

    def apply(self, image, mask, rng):
        """The image and the mask, transformed; both have been checked."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def __repr__(self):
        shown, by_name = [], False
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name == "rng":
                continue
            value = getattr(self, name)
            if parameter.default is not parameter.empty and value == parameter.default:
                by_name = True  # left out, so that those after it need their name
            else:
                shown.append(f"{name}={value!r}" if by_name else f"{value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class Compose(Transform):
    """One transform after the other.

    Parameters
        transforms: list of transforms, called in this order, all with the same rng

    Raises TypeError for an entry that can't be called.

    >>> from minisegnet.data.transforms import HorizontalFlip, ToArray
    >>> t = Compose([HorizontalFlip(p=1), ToArray()])
    >>> image, mask = t(np.array([[[0], [255]]], np.uint8), np.array([[0, 1]]))
    >>> image, mask
    (array([[[1., 0.]]], dtype=float32), array([[1, 0]]))
    """

    def __init__(self, transforms):
        if callable(transforms):
            raise TypeError(f"transforms must be a list of them, got {transforms!r}")
        self.transforms = list(transforms)
        for i, transform in enumerate(self.transforms):
            if not callable(transform) or isinstance(transform, type):
                hint = "; write ToArray(), not ToArray" if isinstance(transform, type) else ""
                raise TypeError(f"entry {i} must be a transform, got {transform!r}{hint}")

    def __call__(self, image, mask=None, rng=None):
        rng = None if rng is None else as_rng(rng)  # once, else each would draw the same numbers from a seed
        for transform in self.transforms:
            image, mask = transform(image, mask, rng)
        return image, mask


def is_map(mask):
    """Whether there is a class for each pixel, and not one label for the picture, or nothing."""
    return isinstance(mask, np.ndarray) and mask.ndim == 2


def check_image(image, layout):
    """Raise TypeError or ShapeError unless the image is uint8 (H, W, C) or floating (C, H, W), as `layout` says."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is a {type(image).__name__}, not an array; {HINTS[layout]}")
    if (image.dtype != np.uint8) if layout == "HWC" else (image.dtype not in (np.float32, np.float64)):
        raise TypeError(f"the image has shape {image.shape} and dtype {image.dtype}; {HINTS[layout]}")
    if image.ndim != 3:
        grey = "; give a grey one its axis of channels: image[..., None]" if image.ndim == 2 else ""
        raise ShapeError(f"the image has shape {image.shape}; {HINTS[layout]}{grey}")
    if not image.size:
        raise ShapeError(f"the image has shape {image.shape}, which has no pixels")


def check_mask(mask, size):
    """Raise TypeError or ShapeError unless mask is None, an integer, or integers (H, W) of the image's size."""
    if mask is None or (isinstance(mask, (int, np.integer)) and not isinstance(mask, bool)):
        return
    if not isinstance(mask, np.ndarray) or mask.dtype.kind not in "iu":
        kind = f"an array of {mask.dtype}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"the mask is {kind}, expected an integer array (H, W) of class indices, one label, or None")
    if mask.ndim and mask.shape != size:
        raise ShapeError(
            f"the mask has shape {mask.shape}, the image is {size[0]}x{size[1]}; they must show the same pixels"
        )


def check_size(height, width):
    """(height, width) from two numbers, from one pair, or from one number for a square."""
    return pair(height if width is None else (height, width), "size (height, width)")
