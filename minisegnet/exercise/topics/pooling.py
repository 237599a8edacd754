"""Exercises about pooling: average-pool and max-pool."""

import numpy as np

from ... import layers
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer

SIZES = (  # N, C, H, W, kernel, stride
    (1, 1, 4, 4, 2, 2),
    (2, 3, 6, 4, 2, 2),
    (1, 2, 5, 5, 3, 1),
    (2, 1, 5, 6, 3, 2),
    (1, 2, 7, 5, 2, 3),
    (2, 2, 4, 4, 4, 1),
    (1, 1, 3, 3, 1, 2),
)


def pool_case(rng, N, C, H, W, kernel, stride, round_off=None, label=None):
    """One case; with round_off the numbers are rounded, so that there are ties."""
    x = normal(rng, N, C, H, W)
    x = x if round_off is None else np.round(x / round_off) * round_off
    dy = normal(rng, N, C, (H - kernel) // stride + 1, (W - kernel) // stride + 1)
    tied = ", with ties" if round_off else ""
    arguments = {"kernel_size": kernel, "stride": stride}
    return Case(
        label or f"{N} picture{'s' * (N > 1)} {C}x{H}x{W}, kernel {kernel}, stride {stride}{tied}",
        {"x": x, "dy": dy},
        arguments,
    )


def windows(case):
    """(i, j, the slices of x's rows and columns) for each window."""
    k, s = case.kernel_size, case.stride
    for i, j in np.ndindex(case.dy.shape[2:]):
        yield i, j, (slice(i * s, i * s + k), slice(j * s, j * s + k))


def spread(case, share):
    """dx, where share(window of x) says which part of dy each pixel of the window gets."""
    dx = np.zeros_like(case.x)
    for i, j, (rows, cols) in windows(case):
        window = case.x[:, :, rows, cols]
        dx[:, :, rows, cols] += share(window) * case.dy[:, :, i : i + 1, j : j + 1]
    return dx


def to_first_pixel(window):
    share = np.zeros_like(window)
    share[:, :, 0, 0] = 1
    return share


def is_maximum(window):
    return window == window.max(axis=(2, 3), keepdims=True)


def shared_maximum(window):
    """The tied ones share."""
    winners = is_maximum(window)
    return winners / winners.sum(axis=(2, 3), keepdims=True)


def last_maximum(window):
    """The last of several tied ones wins."""
    flat = window.reshape(*window.shape[:2], -1)
    share = np.zeros_like(flat)
    np.put_along_axis(share, flat.shape[2] - 1 - flat[:, :, ::-1].argmax(axis=2, keepdims=True), 1, axis=2)
    return share.reshape(window.shape)


AVERAGE_POOL = Exercise(
    name="average-pool",
    title="each pixel gets its share",
    tutorial="03_pooling",
    stars=2,
    kind=OfLayer,
    subject="AvgPool2d",
    ours=lambda case: layers.AvgPool2d(**case.arguments),
    hand=(
        Case(
            "one 3x3 picture, kernel 2, stride 1: the windows overlap",
            {"x": np.array([[[[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]]]), "dy": np.array([[[[4.0, 8], [0, 12]]]])},
            {"kernel_size": 2, "stride": 1},
            expected={"y": [[[[3, 4], [6, 7]]]], "dx": [[[[1, 3, 2], [1, 6, 5], [0, 3, 3]]]]},
            because={
                "dx": "the pixel in the middle was in all four windows, a quarter of each: (4 + 8 + 0 + 12) / 4 = 6"
            },
        ),
    ),
    cases=lambda rng: [pool_case(rng, *size) for size in SIZES],
    mistakes=(
        Mistake(
            "divided-by-side",
            "dx",
            lambda case, right: right["dx"] * case.kernel_size if case.kernel_size > 1 else None,
            "it is divided by the kernel's side; a window has kernel_size**2 pixels",
        ),
        Mistake(
            "divided-by-stride",
            "dx",
            lambda case, right: right["dx"] * case.kernel_size**2 / case.stride**2,
            "it is divided by stride**2; the mean is over the kernel's pixels, however far the windows are apart",
        ),
        Mistake(
            "to-first-pixel",
            "dx",
            lambda case, right: spread(case, to_first_pixel) / case.kernel_size**2,
            "only the first pixel of each window gets something; every pixel of the window stands in the mean",
        ),
        Mistake(
            "stride-ignored",
            "dx",
            lambda case, right: at_stride_one(case),
            "the stride is ignored: window (i, j) begins at row i*stride, column j*stride",
        ),
    ),
    hints={
        "dx": (
            "y is a sum of kernel_size**2 pixels, each divided by that number. So what does one y give back to each of "
            "its pixels? And what if a pixel lies in several windows?",
            "dx[n,c,a,b] = sum of dy[n,c,i,j] / kernel_size**2 over all windows (i, j) that the pixel (a, b) lies in: "
            "i*stride <= a < i*stride + kernel_size, and so for the columns. Don't search for them: go through the "
            "windows and add to the pixels.",
            "dx = np.zeros(x_shape, dy.dtype)\nfor i in range(dy.shape[2]):\n    for j in range(dy.shape[3]):\n"
            "        dx[:, :, i*s : i*s + k, j*s : j*s + k] += dy[:, :, i, j][:, :, None, None] / ...\nreturn dx",
        )
    },
    first="go through the windows as forward does, and hand each pixel of a window its share.",
    done="Next is max-pool, where one pixel of the window gets everything.",
    source="minisegnet/layers/pool.py",
    speed=lambda rng: pool_case(rng, 4, 16, 64, 64, 2, 2, label="4 pictures 16x64x64, kernel 2"),
)


def at_stride_one(case):
    """dx with windows that begin at (i, j)."""
    if case.stride == 1:
        return None
    dx, k = np.zeros_like(case.x), case.kernel_size
    for i, j in np.ndindex(case.dy.shape[2:]):
        dx[:, :, i : i + k, j : j + k] += case.dy[:, :, i : i + 1, j : j + 1] / k**2
    return dx


MAX_POOL_HAND = Case(
    "one 3x3 picture, kernel 2, stride 1: windows overlap, and 5 is there twice",
    {"x": np.array([[[[1.0, 5, 2], [3, 5, 0], [4, 1, 6]]]]), "dy": np.array([[[[1.0, 10], [100, 1000]]]])},
    {"kernel_size": 2, "stride": 1},
    expected={"y": [[[[5, 5], [5, 6]]]], "dx": [[[[0, 11, 0], [0, 100, 0], [0, 0, 1000]]]]},
    because={
        "dx": (
            "the 5 in the first row won two windows, so it gets 1 + 10 = 11; of two equal ones the first wins, row by "
            "row"
        )
    },
)


def max_pool_cases(rng):
    return [pool_case(rng, *size, round_off=off) for size in SIZES for off in ((None, 0.5) if size[4] > 1 else (None,))]


MAX_POOL = Exercise(
    name="max-pool",
    title="the winner takes it all",
    tutorial="03_pooling",
    stars=2,
    kind=OfLayer,
    subject="MaxPool2d",
    ours=lambda case: layers.MaxPool2d(**case.arguments),
    hand=(MAX_POOL_HAND,),
    cases=max_pool_cases,
    mistakes=(
        Mistake(
            "shared-equally",
            "dx",
            lambda case, right: spread(case, lambda window: np.full_like(window, case.kernel_size**-2.0)),
            "every pixel of a window gets the same share, as in an average pool; here only the largest one stands in y",
        ),
        Mistake(
            "whole-window",
            "dx",
            lambda case, right: spread(case, np.ones_like),
            "every pixel of a window gets all of dy; only the largest one stands in y",
        ),
        Mistake(
            "ties-share",
            "dx",
            lambda case, right: spread(case, shared_maximum),
            "several equal maxima share dy; that is a defensible choice, but frameworks give all of it to the first "
            "one in the window, row by row, and so shall we",
        ),
        Mistake(
            "last-tie-wins",
            "dx",
            lambda case, right: spread(case, last_maximum),
            "of several equal maxima the last one wins; it should be the first, row by row (argmax finds it; a "
            "comparison with >= finds the last)",
        ),
        Mistake(
            "times-x",
            "dx",
            lambda case, right: right["dx"] * case.x,
            "dy is multiplied by the value of the winner; y is a copy of it, and the derivative of a copy is 1",
        ),
    ),
    hints={
        "dx": (
            "y is a copy of one pixel of its window. Which one? It gets all of dy, the others nothing. If it won "
            "several windows, it gets the sum.",
            "dx[n,c,a,b] = sum of dy[n,c,i,j] over all windows (i, j) whose first maximum is the pixel (a, b). Go "
            "through the windows; in each find the winner, and add dy there.",
            "for n, c, i, j in np.ndindex(dy.shape):\n"
            "    window = x[n, c, i*s : i*s + k, j*s : j*s + k]\n"
            "    r, col = np.unravel_index(window.argmax(), window.shape)\n"
            "    dx[n, c, i*s + r, ...] += dy[n, c, i, j]",
        )
    },
    first="for one window: which pixel is y a copy of? window.argmax() tells its place, counted row by row.",
    done="Ties are rare? After a ReLU whole windows are 0. The gallery has what came of it: bug-max-pool-ties.",
    source="minisegnet/layers/pool.py",
    speed=lambda rng: pool_case(rng, 2, 8, 32, 32, 2, 2, label="2 pictures 8x32x32, kernel 2"),
)
