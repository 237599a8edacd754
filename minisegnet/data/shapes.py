"""Pictures generated in code: discs, squares and triangles on a textured ground, with exact masks.

All classes draw their colours from the same range, so that no colour belongs to a class and a rule that looks at one
pixel by itself can't tell them apart. What tells them apart is outline and texture: the ground is blotchy, discs are
striped, squares chequered, triangles smooth. Lighting changes across the picture, shapes cover each other, and there is
noise.
"""

import numpy as np

CLASSES = ("ground", "disc", "square", "triangle")
COLOURS = np.array([[60, 60, 70], [230, 120, 60], [70, 160, 220], [240, 210, 80]], np.uint8)  # to show masks with


def draw(count, size=48, rng=None):
    """`count` pictures (count, 3, size, size) in float32, 0..1, and masks (count, size, size) in int64, 0..3.

    >>> images, masks = draw(2, 32, rng=0)
    >>> images.shape, images.dtype, masks.shape, masks.dtype
    ((2, 3, 32, 32), dtype('float32'), (2, 32, 32), dtype('int64'))
    """
    rng = np.random.default_rng(rng)
    pairs = [draw_one(size, rng) for _ in range(count)]
    images, masks = zip(*pairs, strict=True)
    return np.stack(images), np.stack(masks)


def draw_one(size, rng):
    """One picture (3, size, size) and its mask (size, size)."""
    image, mask = texture(0, size, rng), np.zeros((size, size), np.int64)
    for _ in range(rng.integers(2, 5)):
        kind = int(rng.integers(1, len(CLASSES)))
        inside = outline(kind, size, rng)
        image[:, inside] = texture(kind, size, rng)[:, inside]
        mask[inside] = kind  # a later shape covers an earlier one
    y, x = np.mgrid[0:size, 0:size] / size
    slope_y, slope_x = rng.uniform(-0.4, 0.4, 2)
    light = 1 + slope_y * (y - 0.5) + slope_x * (x - 0.5)
    noisy = image * light + rng.normal(0, 0.04, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), mask


def texture(kind, size, rng):
    """A texture (3, size, size): a random colour made lighter and darker by the class's pattern at a random angle."""
    y, x = np.mgrid[0:size, 0:size]
    angle, (phase_u, phase_v) = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi, 2)
    period = {"ground": 24, "disc": 5, "square": 6, "triangle": 100}[CLASSES[kind]] * rng.uniform(0.8, 1.25)
    u = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + phase_u)
    v = np.sin(2 * np.pi * (y * np.cos(angle) - x * np.sin(angle)) / period + phase_v)
    wave = u if CLASSES[kind] == "disc" else u * v
    return rng.uniform(0.25, 0.75, (3, 1, 1)) * (1 + wave * rng.uniform(0.25, 0.45))


def outline(kind, size, rng):
    """The pixels (size, size) of a disc, square or triangle at a random place, angle and scale."""
    y, x = np.mgrid[0:size, 0:size]
    radius = rng.uniform(0.15, 0.3) * size
    centre_y, centre_x = rng.uniform(0.2 * size, 0.8 * size, 2)
    angle = rng.uniform(0, 2 * np.pi)
    u = (x - centre_x) * np.cos(angle) + (y - centre_y) * np.sin(angle)
    v = (y - centre_y) * np.cos(angle) - (x - centre_x) * np.sin(angle)
    if CLASSES[kind] == "disc":
        return u * u + v * v <= radius * radius
    if CLASSES[kind] == "square":
        return np.maximum(abs(u), abs(v)) <= 0.85 * radius
    return (v >= -0.6 * radius) & (v <= 1.2 * radius - 1.9 * abs(u))
