"""Colours for classes that have none of their own, made to be told apart by everybody.

About one man in twelve sees red and green as much the same. The first eight colours are those that Okabe and Ito chose
for all kinds of colour vision; each further one is the colour that is farthest from all before it, for usual eyes and
for whichever of three kinds of eyes sees the smallest difference together.
"""

import numpy as np

__all__ = ["distinct_colours"]

GROUND = (45, 45, 58)  # class 0, which is often the background
OKABE_ITO = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)
VOID_COLOUR = (200, 200, 200)  # of pixels without a class: no colour above is near it

# What eyes without the pigment for long (protanopia) or medium wavelengths (deuteranopia) see, in linear RGB.
# Source: Viénot, Brettel and Mollon, Digital video colourmaps for checking the legibility of displays by dichromats
# (1999), for sRGB primaries.
PROTANOPIA = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
# OKLab: linear RGB to cones, whose cube roots are turned into lightness, green-red and blue-yellow.
# Source: Ottosson, A perceptual color space for image processing (2020).
RGB_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
CONES_TO_OKLAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
DARKEST, LIGHTEST = 0.15, 0.475  # as `views` has it: half of OKLab's 0.3 to 0.95
MOST = 256


def distinct_colours(count):
    """A table of `count` colours, uint8 (count, 3), at most 256; a longer table begins with the shorter ones.

    Raises ValueError for more than 256 or fewer than 0.

    >>> distinct_colours(3).tolist()
    [[45, 45, 58], [230, 159, 0], [86, 180, 233]]
    """
    if not 0 <= count <= MOST:
        raise ValueError(f"there are colours for 0 to {MOST} classes, got {count}")
    chosen = [GROUND, *OKABE_ITO][:count]
    if count > len(chosen):
        levels = np.arange(0, 256, 255 / 8).round()
        candidates = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
        lightness = views(candidates)[0, :, 0]
        candidates = candidates[(lightness > DARKEST) & (lightness < LIGHTEST)]
        seen = views(candidates)
        distance = np.full(len(candidates), np.inf)
        taken = views([*chosen, VOID_COLOUR, (255, 255, 255), (0, 0, 0)])
        for i in range(taken.shape[1]):
            distance = np.minimum(distance, apart(seen, taken[:, i : i + 1]))
        while len(chosen) < count:
            farthest = int(distance.argmax())
            chosen.append(tuple(candidates[farthest]))
            distance = np.minimum(distance, apart(seen, seen[:, farthest : farthest + 1]))
    return np.array(chosen, np.uint8).reshape(count, 3)


def views(colours):
    """Colours (n, 3) as three kinds of eyes see them, usual ones first: (3, n, 3) in OKLab, with lightness halved.

    Distances in OKLab are what eyes notice. Halved, because light and dark shades of one colour are easily confused
    in a picture, where every class has lights and shadows.
    """
    colours = np.asarray(colours, np.float64) / 255
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.stack([linear @ matrix.T for matrix in (np.eye(3), PROTANOPIA, DEUTERANOPIA)]).clip(0, 1)
    return np.cbrt(seen @ RGB_TO_CONES.T) @ CONES_TO_OKLAB.T * [0.5, 1, 1]


def apart(one, other):
    """How far pairs of colours are apart, for `views` of them: for usual eyes and for the worst, on average."""
    distances = np.sqrt(((one - other) ** 2).sum(axis=2))
    return (distances[0] + distances.min(axis=0)) / 2
