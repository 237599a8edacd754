"""Joint transforms of image and mask: image, mask = t(image, mask, rng).

    geometry   Resize LongestSide RandomScale RandomCrop CenterCrop Pad HorizontalFlip VerticalFlip QuarterTurns Rotate
    values     ColorJitter GaussianNoise, and at the end of the chain ToArray, Normalize, Standardize
    text       from_text("RandomCrop(176, 240); HorizontalFlip()") and to_text

Images are bilinear, masks only ever nearest; what comes from outside the picture is void (255) in the mask.
"""

from .base import Compose, Transform
from .geometry import (
    CenterCrop,
    HorizontalFlip,
    LongestSide,
    Pad,
    QuarterTurns,
    RandomCrop,
    RandomScale,
    Resize,
    Rotate,
    VerticalFlip,
)
from .text import from_text, to_text
from .values import ColorJitter, GaussianNoise, Normalize, Standardize, ToArray

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "GaussianNoise",
    "HorizontalFlip",
    "LongestSide",
    "Normalize",
    "Pad",
    "QuarterTurns",
    "RandomCrop",
    "RandomScale",
    "Resize",
    "Rotate",
    "Standardize",
    "ToArray",
    "Transform",
    "VerticalFlip",
    "from_text",
    "to_text",
]
