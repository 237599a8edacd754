"""Upsampling without parameters: nearest neighbour and bilinear."""

import math
from typing import NamedTuple

from kernels import ops_for
from kernels.shapes import check_rank, check_shape, pair

from ..core import Layer, check_number
from .conv import brief


class UpsampleSaved(NamedTuple):
    x_shape: tuple  # resizing is linear: its gradient depends on no value


class Upsample(Layer):
    """Resizes maps to `size`, or by `scale_factor` (the new size is rounded down).

    Forward, with scale = input pixels per output pixel:
        nearest    y[..., i, j] = x[..., floor(i*scale), floor(j*scale)]
        bilinear   y is a mean of the four nearest pixels: along each axis (1 - t)*x[low] + t*x[low + 1], where low + t
                   is the output pixel's place in the input: (i + 0.5)*scale - 0.5 if pixels are squares whose borders
                   are aligned (places before the first pixel's centre count as 0, beyond the last one it is repeated),
                   i*(H - 1)/(H' - 1) if the corner pixels' centres are (align_corners=True)
    Backward: dy goes back to the same pixels with the same weights:
        nearest    dx = sum of dy over all copies
        bilinear   each dy is shared out to its four pixels by four weights that sum to one

    Shapes: x (N, C, H, W) to y (N, C, H', W').

    Parameters
        size: int or (height, width); or
        scale_factor: number or (vertical, horizontal)
        mode: "nearest" or "bilinear"
        align_corners: see above; only for "bilinear"

    Source: PyTorch's definition of both modes; the two conventions are compared in Odena et al., Deconvolution and
    checkerboard artifacts (2016).

    >>> import numpy as np
    >>> Upsample(scale_factor=2, mode="bilinear")(np.array([[[[1.0, 2.0]]]]))[0, 0, 0]
    array([1.  , 1.25, 1.75, 2.  ])
    """

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=False):
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give either size or scale_factor, got size={size!r}, scale_factor={scale_factor!r}")
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f'mode must be "nearest" or "bilinear", got {mode!r}')
        if align_corners and mode == "nearest":
            raise ValueError('align_corners=True needs mode="bilinear"')
        self.mode, self.align_corners = mode, bool(align_corners)
        self.size = None if size is None else pair(size, "size")
        self.scale_factor = None
        if scale_factor is not None:
            factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor, scale_factor)
            if len(factors) != 2:
                raise ValueError(f"scale_factor must be one number or two (vertical, horizontal), got {scale_factor!r}")
            self.scale_factor = tuple(
                check_number("scale_factor", f, 0, math.inf, open_low=True, open_high=True) for f in factors
            )

    def forward(self, x):
        check_rank("x", x, 4, "(N, C, H, W)")
        size, ops = self.output_size(x.shape), ops_for(x)
        if self.mode == "nearest":
            y = ops.upsample_nearest2d_forward(x, size, self.scale(x.shape, size))
        else:
            y = ops.upsample_bilinear2d_forward(x, size, self.scale(x.shape, size), self.align_corners)
        return y, UpsampleSaved(x.shape)

    def backward(self, dy, saved):
        (x_shape,) = self.check_saved(saved, UpsampleSaved)
        check_shape("dy", dy, (*x_shape[:2], *self.output_size(x_shape)))
        scale, ops = self.scale(x_shape, dy.shape[2:]), ops_for(dy)
        if self.mode == "nearest":
            return ops.upsample_nearest2d_backward(dy, x_shape, scale)
        return ops.upsample_bilinear2d_backward(dy, x_shape, scale, self.align_corners)

    def output_size(self, x_shape):
        """(H', W') for an input of this shape."""
        if self.size is not None:
            return self.size
        return tuple(int(s * f) for s, f in zip(x_shape[2:], self.scale_factor, strict=True))

    def scale(self, x_shape, size):
        """Input pixels per output pixel, (vertical, horizontal): 1/scale_factor if that was given."""
        if self.scale_factor is not None:
            return tuple(1 / f for f in self.scale_factor)
        return tuple(old / new for old, new in zip(x_shape[2:], size, strict=True))

    def config(self):
        text = f"size={brief(self.size)}" if self.size else f"scale_factor={brief(self.scale_factor)}"
        return text + f', mode="{self.mode}"' + (", align_corners=True" if self.align_corners else "")
