"""Pixels at other places: resizing and rotating, bilinear for pictures, nearest for masks.

A pixel is a square: pixel i covers i to i + 1, and its centre is at i + ½. Pictures and masks use the same map from
an output pixel's centre to a point of the input, so that they stay registered. A picture takes a mean of the pixels
around that point; a mask takes the class of the pixel that contains it, since a mean of classes means nothing.

Pillow computes the pictures.
"""

import numpy as np


def resize_image(image, height, width):
    """A uint8 image (H, W, C) at another size, bilinear.

    When it shrinks, each output pixel is a weighted mean over all the pixels that it covers (a triangle as wide as two
    output pixels), so that fine patterns turn grey instead of to false coarse ones (aliasing).

    >>> resize_image(np.array([[[0], [100]]], np.uint8), 1, 4)[0, :, 0]
    array([  0,  25,  75, 100], dtype=uint8)
    """
    from PIL import Image

    return by_pillow(image, lambda picture: picture.resize((width, height), Image.Resampling.BILINEAR))


def resize_mask(mask, height, width):
    """A mask (H, W) at another size: the class at each output pixel's centre.

    Output row i has its centre at (i + ½)·H/height of the input, and so takes row floor((2i + 1)·H / (2·height)).

    >>> resize_mask(np.array([[0, 1, 2, 3, 4]]), 2, 2)
    array([[1, 3],
           [1, 3]])
    """
    H, W = mask.shape
    rows = (2 * np.arange(height) + 1) * H // (2 * height)
    columns = (2 * np.arange(width) + 1) * W // (2 * width)
    return mask[rows[:, None], columns]


def rotation(angle, H, W):
    """The six numbers a, ..., f of the rotation by `angle` degrees, counter-clockwise, about the picture's centre.

    They lead back: the output's point (x, y) shows the input's (a·x + b·y + c, d·x + e·y + f). y points down.
    """
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    c = W / 2 - (cos * W - sin * H) / 2
    f = H / 2 - (sin * W + cos * H) / 2
    return cos, -sin, c, sin, cos, f


def rotate_image(image, angle, fill):
    """A uint8 image (H, W, C) rotated counter-clockwise about its centre, bilinear; corners get `fill`."""
    from PIL import Image

    H, W, _ = image.shape
    how = {"resample": Image.Resampling.BILINEAR, "fillcolor": fill}
    back = rotation(angle, H, W)
    turned = by_pillow(  # of whole numbers Pillow would cut off the fraction
        image.astype(np.float32), lambda plane: plane.transform((W, H), Image.Transform.AFFINE, back, **how)
    )
    return np.rint(turned).astype(np.uint8)


def rotate_mask(mask, angle, fill):
    """A mask (H, W) rotated counter-clockwise about its centre, nearest; corners get `fill`.

    >>> rotate_mask(np.array([[0, 1], [2, 3]]), 90, fill=255)
    array([[1, 3],
           [0, 2]])
    """
    H, W = mask.shape
    a, b, c, d, e, f = rotation(angle, H, W)
    y, x = np.mgrid[:H, :W] + 0.5
    column = np.floor(a * x + b * y + c).astype(np.intp)
    row = np.floor(d * x + e * y + f).astype(np.intp)
    inside = (row >= 0) & (row < H) & (column >= 0) & (column < W)
    turned = np.full_like(mask, fill)
    turned[inside] = mask[row[inside], column[inside]]
    return turned


def by_pillow(image, change):
    """An image (H, W, C) changed by a function of Pillow images: bytes of three channels at once, others one by one."""
    from PIL import Image

    if image.shape[2] == 3 and image.dtype == np.uint8:
        return np.array(change(Image.fromarray(np.ascontiguousarray(image))))
    planes = [change(Image.fromarray(np.ascontiguousarray(plane))) for plane in np.moveaxis(image, 2, 0)]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)
