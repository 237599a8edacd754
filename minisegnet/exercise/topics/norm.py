"""Exercise batchnorm: three ways from x to y."""

import numpy as np

from ... import layers
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer

PIXELS = (0, 2, 3)
HAND_EPS = 1e-12  # nothing, for what is computed by hand


def norm_case(rng, N, C, H, W, eps, label=None):
    return Case(
        label or f"{N} picture{'s' * (N > 1)} {C}x{H}x{W}, eps = {eps:g}",
        {"x": 2 * normal(rng, N, C, H, W) + 1, "dy": normal(rng, N, C, H, W)},
        {"num_features": C, "eps": eps},
        {"weight": normal(rng, C), "bias": normal(rng, C)},
    )


def ours(case):
    return layers.BatchNorm2d(**case.arguments, track_running_stats=False, dtype=np.float64)


def normed(case):
    mean, var = (f(axis=PIXELS, keepdims=True) for f in (case.x.mean, case.x.var))
    return (case.x - mean) / np.sqrt(var + case.eps)


def sums_not_divided(case):
    """dx with the two sums in place of the means."""
    std = np.sqrt(case.x.var(axis=PIXELS) + case.eps)
    xhat, (C,) = normed(case), case.weight.shape
    sums = case.dy.sum(axis=PIXELS, keepdims=True), (case.dy * xhat).sum(axis=PIXELS, keepdims=True)
    return (case.weight / std).reshape(C, 1, 1) * (case.dy - sums[0] - xhat * sums[1])


BATCH_NORM = Exercise(
    name="batchnorm",
    title="three ways back: the value, the mean and the variance",
    tutorial="11_deep_nets_learn",
    stars=3,
    kind=OfLayer,
    subject="BatchNorm2d",
    ours=ours,
    hand=(
        Case(
            "one channel: two pixels of 0, two of 4 (mean 2, variance 4)",
            {"x": np.array([[[[0.0, 0, 4, 4]]]]), "dy": np.array([[[[4.0, 0, 0, 0]]]])},
            {"num_features": 1, "eps": HAND_EPS},
            {"weight": np.array([3.0]), "bias": np.array([0.0])},
            expected={"y": [[[[-3, -3, 3, 3]]]], "dx": [[[[3, -3, 0, 0]]]], "dweight": [-4], "dbias": [4]},
            because={
                "dx": (
                    "xhat = -1, -1, 1, 1; the mean of dy is 1, that of dy*xhat is -1, weight/std = 3/2: "
                    "dx[0] = 3/2 * (4 - 1 - (-1)*(-1)) = 3"
                ),
                "dweight": "xhat = -1, -1, 1, 1: dweight is the sum of dy*xhat = 4*(-1) + 0 + 0 + 0 = -4",
                "dbias": "bias was added to every pixel: dbias = 4 + 0 + 0 + 0 = 4",
            },
        ),
    ),
    cases=lambda rng: [
        norm_case(rng, *size) for size in ((2, 2, 2, 3, 1e-5), (1, 3, 3, 3, 0.1), (3, 1, 2, 2, 1e-5), (2, 4, 1, 2, 0.5))
    ],
    mistakes=(
        Mistake(
            "sums-not-divided",
            "dx",
            lambda case, right: sums_not_divided(case),
            "the two sums are not divided by m = N*H*W: mean and var are means",
        ),
        Mistake(
            "var-for-std",
            "dx",
            lambda case, right: right["dx"] / np.sqrt(case.x.var(axis=PIXELS, keepdims=True) + case.eps),
            "it is divided by var + eps; forward divides by its root",
        ),
        Mistake(
            "std-missing",
            "dx",
            lambda case, right: right["dx"] * np.sqrt(case.x.var(axis=PIXELS, keepdims=True) + case.eps),
            "the factor 1/std is missing: forward divides by sqrt(var + eps)",
        ),
    ),
    hints={
        "dbias": (
            "bias[c] is added to every pixel of channel c.",
            "dbias[c] = sum over n,i,j of dy[n,c,i,j]",
            "self.bias.grad += dy.sum(axis=(...))   # all axes but that of c",
        ),
        "dweight": (
            "weight[c] multiplies every xhat of channel c.",
            "dweight[c] = sum over n,i,j of dy[n,c,i,j] * xhat[n,c,i,j]",
            "self.weight.grad += (dy * xhat).sum(axis=(...))",
        ),
        "dx": (
            "x reaches y by three ways: directly in x - mean, through the mean, and through the variance. Write "
            "dxhat = dy * weight and take one way after the other; or find out what the last two do: the mean makes "
            "the sum of dx zero, the variance (but for eps) that of dx * xhat.",
            "with m = N*H*W and std = sqrt(var + eps), per channel: dx = weight/std * (dy - (sum of dy)/m - xhat * "
            "(sum of dy*xhat)/m). The two sums are dbias and dweight.",
            "mean_dy = dy.mean(axis=(0, 2, 3), keepdims=True)\n"
            "mean_dy_xhat = (dy * xhat).mean(axis=(0, 2, 3), keepdims=True)\n"
            "return (w / std)[:, None, None] * (dy - ... - xhat * ...)",
        ),
    },
    first="dbias and dweight are easy. For dx write down the three ways in which one x acts on all y of its channel.",
    done="In eval mode mean and variance are constants, and only one of the three ways is left: "
    "bug-batch-norm-eval is about that.",
    source="minisegnet/layers/norm.py",
    speed=lambda rng: norm_case(rng, 8, 16, 64, 64, 1e-5, label="8 pictures 16x64x64"),
)
