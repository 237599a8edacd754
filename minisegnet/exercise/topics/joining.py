"""Exercise concat-skip: the skip connection of a U-Net."""

from typing import NamedTuple

import numpy as np

from ...combine import Concat
from ...core import Layer, Parameter
from ...layers import Identity
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer


class MixSaved(NamedTuple):
    x: np.ndarray


class Mix(Layer):
    """The layer inside: y[n,o,i,j] = sum over c of weight[o,c] * x[n,c,i,j]."""

    def __init__(self, weight):
        self.weight = Parameter(np.asarray(weight, np.float64))

    def forward(self, x):
        return np.einsum("oc,nchw->nohw", self.weight.value, x), MixSaved(x)

    def backward(self, dy, saved):
        self.weight.grad += np.einsum("nohw,nchw->oc", dy, saved.x)
        return np.einsum("oc,nohw->nchw", self.weight.value, dy)


def skip_case(rng, N, C, O, H, W):
    return Case(
        f"{N} picture{'s' * (N > 1)} {C}x{H}x{W}, {O} channels from inside",
        {"x": normal(rng, N, C, H, W), "dy": normal(rng, N, C + O, H, W)},
        {"inner": Mix(normal(rng, O, C))},
    )


def halves(case):
    """dy of the skip and dy of what is inside."""
    C = case.x.shape[1]
    return case.dy[:, :C], case.dy[:, C:]


def through(case, dy):
    """dx of what is inside for another dy, or None where that doesn't fit."""
    weight = case.inner.weight.value
    return np.einsum("oc,nohw->nchw", weight, dy) if dy.shape[1] == len(weight) else None


def exchanged(case):
    skip, inside = halves(case)
    back = through(case, skip)
    return None if back is None else inside + back


CONCAT_SKIP = Exercise(
    name="concat-skip",
    title="two ways forward, two ways back",
    tutorial="10_from_fcn_to_deeplab",
    stars=2,
    kind=OfLayer,
    subject="ConcatSkip",
    ours=lambda case: Concat(skip=Identity(), inner=Mix(case.inner.weight.value.copy())),
    hand=(
        Case(
            "one pixel of two channels; inside, one channel: x[0] + 10*x[1]",
            {"x": np.array([[[[1.0]], [[2.0]]]]), "dy": np.array([[[[3.0]], [[4.0]], [[5.0]]]])},
            {"inner": Mix([[1.0, 10.0]])},
            expected={"y": [[[[1]], [[2]], [[21]]]], "dx": [[[[8]], [[54]]]], "d(inner.weight)": [[5, 10]]},
            because={
                "dx": (
                    "x[0] went through the skip, which brings back 3, and inside, times 1, which brings back 1*5: "
                    "together 8"
                ),
                "d(inner.weight)": (
                    "inside, x[0] = 1 and x[1] = 2 were multiplied by the weights, and what comes back there is 5: 5*1 "
                    "and 5*2"
                ),
            },
        ),
    ),
    cases=lambda rng: [
        skip_case(rng, *size) for size in ((2, 3, 2, 2, 3), (1, 2, 2, 3, 3), (2, 1, 3, 2, 2), (3, 3, 3, 1, 2))
    ],
    mistakes=(
        Mistake(
            "skip-lost",
            "dx",
            lambda case, right: through(case, halves(case)[1]),
            "what comes back over the skip is lost: x went two ways, so dx is the sum of what both bring back",
        ),
        Mistake(
            "inside-lost",
            "dx",
            lambda case, right: halves(case)[0],
            "what comes back from inside is lost: x went two ways, so dx is the sum of what both bring back",
        ),
        Mistake(
            "halves-exchanged",
            "dx",
            lambda case, right: exchanged(case),
            "the parts of dy are exchanged: y = [x, inside], so the first C channels of dy belong to the skip",
        ),
        Mistake(
            "inside-not-called",
            "d(inner.weight)",
            lambda case, right: 0 * right["d(inner.weight)"],
            "the layer inside never gets its gradient: call self.inner.backward(...), which also gives its dx",
        ),
    ),
    hints={
        "dx": (
            "Joining is undone by cutting. Which channels of dy belong to x, which to h? And then: x was used twice.",
            "dy[:, :C] comes back over the skip unchanged. dy[:, C:] goes back through the layer inside, which makes "
            "its own dx of it. x was used in both, so dx is the sum.",
            "skip, inside = dy[:, :C], dy[:, C:]\nreturn skip + self.inner.backward(..., inner_saved)",
        )
    },
    first="cut dy where forward joined.",
    done="A U-Net is nothing else, one in another: Concat(Identity(), Sequential(MaxPool2d(2), inner, up)). See "
    "minisegnet/models/unet.py.",
    source="minisegnet/combine.py",
)
