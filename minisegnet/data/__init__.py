"""Pictures to learn from. This version has one source, which needs no download: `shapes`."""

from . import shapes

__all__ = ["shapes"]
