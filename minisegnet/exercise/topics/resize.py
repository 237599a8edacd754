"""Exercise bilinear-upsampling."""

import numpy as np

from ... import layers
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer


def bilinear_case(rng, N, C, H, W, factor, label=None):
    return Case(
        label or f"{N} picture{'s' * (N > 1)} {C}x{H}x{W}, {factor} times as large",
        {"x": normal(rng, N, C, H, W), "dy": normal(rng, N, C, H * factor, W * factor)},
        {"factor": factor},
    )


def places(size, factor):
    """low, high, t of each output pixel, as bilinear_upsampling.py has them."""
    place = np.maximum((np.arange(size * factor) + 0.5) / factor - 0.5, 0)
    low = place.astype(int)
    return low, np.minimum(low + 1, size - 1), place - low


def give_back(case, weights, add=np.add.at):
    """dx from dy, axis by axis; weights(t) are those of (low, high), add says how to add at indices."""
    dy = case.dy
    for axis in (2, 3):
        low, high, t = places(case.x.shape[axis], case.factor)
        moved = np.moveaxis(dy, axis, 0)
        dx = np.zeros((case.x.shape[axis], *moved.shape[1:]))
        for index, weight in zip((low, high), weights(t), strict=True):
            add(dx, index, moved * np.reshape(weight, (-1, 1, 1, 1)))
        dy = np.moveaxis(dx, 0, axis)
    return dy


def fancy_add(dx, index, values):
    """dx[index] += values: of equal indices only the last one counts."""
    dx[index] += values


BILINEAR = Exercise(
    name="bilinear-upsampling",
    title="each dy is shared out by the same four weights",
    tutorial="09_upsampling",
    stars=3,
    kind=OfLayer,
    subject="BilinearUpsample",
    ours=lambda case: layers.Upsample(scale_factor=case.factor, mode="bilinear"),
    hand=(
        Case(
            "one row of two pixels, twice as large",
            {
                "x": np.array([[[[1.0, 2]]]]),
                "dy": np.array([[[[4.0, 4, 8, 1], [0, 0, 0, 0]]]]),
            },
            {"factor": 2},
            expected={"y": [[[[1, 1.25, 1.75, 2]] * 2]], "dx": [[[[9, 8]]]]},
            because={
                "dx": (
                    "the four outputs are x[0], 3/4 x[0] + 1/4 x[1], 1/4 x[0] + 3/4 x[1], x[1], so x[0] gets "
                    "1*4 + 3/4*4 + 1/4*8 = 9"
                )
            },
        ),
    ),
    cases=lambda rng: [
        bilinear_case(rng, *size)
        for size in ((1, 1, 2, 2, 2), (2, 3, 3, 2, 2), (1, 2, 1, 3, 3), (2, 1, 4, 3, 4), (1, 1, 3, 3, 1))
    ],
    mistakes=(
        Mistake(
            "lost-where-equal",
            "dx",
            lambda case, right: give_back(case, lambda t: (1 - t, t), fancy_add),
            "gradients are lost: dx[index] += dy keeps only the last one of equal indices, and several outputs read "
            "the same pixel; use np.add.at(dx, index, dy), or a loop",
        ),
        Mistake(
            "weights-swapped",
            "dx",
            lambda case, right: give_back(case, lambda t: (t, 1 - t)),
            "the weights are swapped: the lower pixel was multiplied by 1 - t, the upper one by t",
        ),
        Mistake(
            "upper-forgotten",
            "dx",
            lambda case, right: give_back(case, lambda t: (1 - t, 0 * t)),
            "only the lower pixel gets its part: each output was made of two pixels along each axis",
        ),
        Mistake(
            "nearest",
            "dx",
            lambda case, right: give_back(case, lambda t: (np.ones_like(t), 0 * t)),
            "the lower pixel gets everything, as in nearest-neighbour upsampling; it was multiplied by 1 - t, and the "
            "upper one by t",
        ),
        Mistake(
            "no-weights",
            "dx",
            lambda case, right: give_back(case, lambda t: (np.ones_like(t), np.ones_like(t))),
            "the weights 1 - t and t are missing",
        ),
    ),
    hints={
        "dx": (
            "Think of one axis. Output i is (1 - t[i]) of the pixel low[i] and t[i] of the pixel high[i]. So dy[i] "
            "goes back to these two, in the same parts; several outputs read the same pixel, which gets the sum. Then "
            "the other axis.",
            "along one axis: dx[a] = sum of (1 - t[i]) * dy[i] over all i with low[i] = a, plus the sum of t[i] * "
            "dy[i] over all i with high[i] = a. Undo the columns first, then the rows, as forward did rows, then "
            "columns.",
            "low, high, t = places(W, factor)\ndh = np.zeros((N, C, H * factor, W), dy.dtype)\nfor j in range(W * "
            "factor):\n    dh[..., low[j]] += (1 - t[j]) * dy[..., j]\n    dh[..., high[j]] += ...\n"
            "# then the same for the rows, from dh to dx",
        )
    },
    first="write it for one axis: every output gives back to two pixels.",
    done="The gallery has an upsampling that is half a pixel off, as a famous framework was for years: "
    "bug-bilinear-half-pixel.",
    source="kernels/reference/resize.py",
    speed=lambda rng: bilinear_case(rng, 2, 8, 32, 32, 2, label="2 pictures 8x32x32, twice as large"),
)
