"""Pictures generated in code: discs, squares and triangles on a textured ground, with exact masks.

All classes draw their colours from the same range, so that no colour belongs to a class and a rule that looks at one
pixel by itself can't tell them apart. What tells them apart is outline and texture: the ground is blotchy, discs are
striped, squares chequered, triangles smooth. Lighting changes across the picture, shapes cover each other, and there is
noise.

`draw` makes arrays of them; `Shapes` is a data set, and `data.open("shapes:size=64,count=1000,seed=3")` opens it.
"""

import math

import numpy as np

from ..core import check_int
from .dataset import Dataset

__all__ = ["CLASSES", "COLOURS", "SPLITS", "Shapes", "draw", "draw_one", "texture"]

CLASSES = ("ground", "disc", "square", "triangle")
COLOURS = np.array([[60, 60, 70], [230, 120, 60], [70, 160, 220], [240, 210, 80]], np.uint8)  # to show masks with


SPLITS = ("train", "val", "test")


def draw(count, size=48, rng=None):
    """`count` pictures (count, 3, size, size) in float32, 0..1, and masks (count, size, size) in int64, 0..3.

    The size may also be (height, width).

    >>> images, masks = draw(2, 32, rng=0)
    >>> images.shape, images.dtype, masks.shape, masks.dtype
    ((2, 3, 32, 32), dtype('float32'), (2, 32, 32), dtype('int64'))
    """
    rng = np.random.default_rng(rng)
    pairs = [draw_one(size, rng) for _ in range(count)]
    images, masks = zip(*pairs, strict=True)
    return np.stack(images), np.stack(masks)


def draw_one(size, rng):
    """One picture (3, H, W) in float32, 0..1, and its mask (H, W) in int64, 0..3; size is H = W, or (H, W).

    >>> image, mask = draw_one((24, 32), np.random.default_rng(0))
    >>> image.shape, mask.shape
    ((3, 24, 32), (24, 32))
    """
    size = sides(size)
    image, mask = texture(0, size, rng), np.zeros(size, np.int64)
    for _ in range(rng.integers(2, 5)):
        kind = int(rng.integers(1, len(CLASSES)))
        inside = outline(kind, size, rng)
        image[:, inside] = texture(kind, size, rng)[:, inside]
        mask[inside] = kind  # a later shape covers an earlier one
    y, x = pixel_grid(size) / np.array(size).reshape(2, 1, 1)
    slope_y, slope_x = rng.uniform(-0.4, 0.4, 2)
    light = 1 + slope_y * (y - 0.5) + slope_x * (x - 0.5)
    noisy = image * light + rng.normal(0, 0.04, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), mask


def sides(size):
    """(height, width) of a size, which may be one number for both."""
    return (size, size) if isinstance(size, (int, np.integer)) else tuple(size)


def pixel_grid(size):
    """Row and column of each pixel: (2, H, W)."""
    height, width = sides(size)
    return np.mgrid[0:height, 0:width]


def texture(kind, size, rng):
    """A texture (3, H, W): a random colour made lighter and darker by the class's pattern at a random angle.

        wave = sin(u) sin(v), for discs sin(u):  u and v run along and across the angle, `period` pixels a wave
        texture = colour * (1 + contrast * wave)

    kind is an index into CLASSES, which decides the pattern and its period; colour, angle, phases and contrast are
    random. Values are float64, between 0.1 and 1.1.

    >>> stripes = texture(CLASSES.index("disc"), 32, np.random.default_rng(0))
    >>> stripes.shape, bool(0.1 < stripes.min() < stripes.max() < 1.1)
    ((3, 32, 32), True)
    """
    y, x = pixel_grid(size)
    angle, (phase_u, phase_v) = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    period = {"ground": 24, "disc": 5, "square": 6, "triangle": 100}[CLASSES[kind]] * rng.uniform(0.8, 1.25)
    u = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase_u)
    v = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period + phase_v)
    wave = u if CLASSES[kind] == "disc" else u * v
    return rng.uniform(0.25, 0.75, (3, 1, 1)) * (1 + wave * rng.uniform(0.25, 0.45))


def outline(kind, size, rng):
    """The pixels (H, W) of a disc, square or triangle at a random place, angle and scale."""
    y, x = pixel_grid(size)
    size = np.array(sides(size))
    radius = rng.uniform(0.15, 0.3) * size.min()
    centre_y, centre_x = rng.uniform(0.2 * size, 0.8 * size)
    angle = rng.uniform(0, 2 * np.pi)
    u = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
    v = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
    if CLASSES[kind] == "disc":
        return u * u + v * v <= radius * radius
    if CLASSES[kind] == "square":
        return np.maximum(abs(u), abs(v)) <= 0.85 * radius
    return (v >= -0.6 * radius) & (v <= 1.2 * radius - 1.9 * abs(u))


# ------------------------------------------------------------------ as a data set


class Shapes(Dataset):
    """Generated pictures as a data set: sample i depends on seed, split and i alone.

    size is a side in pixels or (height, width), count how many samples there are: math.inf for a data set without end,
    which has every index from 0 on but no length.

    >>> dataset = Shapes(size=(20, 30), count=5, seed=3)
    >>> image, mask = dataset[4]
    >>> len(dataset), image.shape, image.dtype, mask.shape
    (5, (20, 30, 3), dtype('uint8'), (20, 30))
    """

    def __init__(self, split="train", size=48, count=1000, seed=0):
        if split not in SPLITS:
            raise ValueError(f"shapes have no split {split!r}; there is {', '.join(SPLITS)}")
        super().__init__("shapes", split, CLASSES, COLOURS)
        self.size = tuple(check_int("size", side, 8) for side in sides(size))
        if len(self.size) != 2:
            raise ValueError(f"size must be a side or (height, width), got {size!r}")
        self.count = count if count == math.inf else check_int("count", count)
        self.seed = check_int("seed", seed, 0)

    def __len__(self):
        if self.count == math.inf:
            raise TypeError("these shapes have no end, so they have no length; give a count=...")
        return self.count

    def position(self, i):
        return super().position(i) if self.count < math.inf else check_int("a sample's index", i, 0)

    def __getitem__(self, i):
        rng = np.random.default_rng([self.seed, SPLITS.index(self.split), self.position(i)])
        image, mask = draw_one(self.size, rng)
        return np.rint(image * 255).astype(np.uint8).transpose(1, 2, 0), mask

    def image(self, i):
        return self[i][0]

    def mask(self, i):
        return self[i][1]

    @property
    def names(self):
        return Names(self)

    def __repr__(self):
        count = "endless" if self.count == math.inf else f"{self.count} pictures"
        return f"<shapes {self.split}: {count} of {self.size[0]}x{self.size[1]}, seed {self.seed}>"


class Names:
    """names[i] for every i, even without end."""

    def __init__(self, shapes):
        self.shapes = shapes

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, i):
        return f"shapes {self.shapes.split} {self.shapes.position(i)}"


def splits(path=None):
    """The splits of the data set, for `data.splits`."""
    return SPLITS


def find(path, split, size=48, count=1000, seed=0):
    """A `Shapes` for `data.open`; val and test have a fifth of `count`. size may be text, HEIGHTxWIDTH; count "inf"."""
    if isinstance(size, str):
        numbers = size.split("x")
        if len(numbers) != 2 or not all(text.isdecimal() for text in numbers):
            raise ValueError(f"size must be a side in pixels or HEIGHTxWIDTH, such as 48x64, got {size!r}")
        size = tuple(map(int, numbers))
    if count != math.inf and split != "train":
        count = -(-check_int("count", count) // 5)
    return Shapes(split, size, count, seed)
