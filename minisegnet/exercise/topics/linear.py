"""Exercise linear: the fully connected layer."""

import numpy as np

from ... import layers
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer


def case_of(rng, N, I, O, label=None):
    return Case(
        label or f"{N} sample{'s' * (N > 1)}, {I} inputs, {O} outputs",
        {"x": normal(rng, N, I), "dy": normal(rng, N, O)},
        {"in_features": I, "out_features": O},
        {"weight": normal(rng, O, I), "bias": normal(rng, O)},
    )


def cases(rng):
    sizes = ((2, 3, 4), (3, 4, 4), (1, 3, 3), (5, 2, 3), (4, 4, 4), (3, 1, 2), (2, 5, 1))
    return [case_of(rng, *size) for size in sizes]


LINEAR = Exercise(
    name="linear",
    title="the fully connected layer: three small sums",
    tutorial="05_fully_connected",
    stars=1,
    kind=OfLayer,
    subject="Linear",
    ours=lambda case: layers.Linear(**case.arguments, rng=0, dtype=np.float64),
    hand=(
        Case(
            "two samples, three inputs, two outputs",
            {"x": np.array([[1.0, 2, 3], [0, 1, 0]]), "dy": np.array([[1.0, 10], [2, 0]])},
            {"in_features": 3, "out_features": 2},
            {"weight": np.array([[1.0, 0, 2], [3, 1, 0]]), "bias": np.array([0.0, 100])},
            expected={
                "y": [[7, 105], [0, 101]],
                "dx": [[31, 10, 2], [2, 0, 4]],
                "dweight": [[1, 4, 3], [10, 20, 30]],
                "dbias": [3, 10],
            },
            because={
                "dx": (
                    "x[0,0] counts once in each output of sample 0: dx[0,0] = dy[0,0]*w[0,0] + dy[0,1]*w[1,0] "
                    "= 1*1 + 10*3 = 31"
                ),
                "dweight": (
                    "w[1,2] was multiplied by x[0,2] = 3 for y[0,1] and by x[1,2] = 0 for y[1,1]: dw[1,2] = 10*3 + 0*0 "
                    "= 30"
                ),
                "dbias": "b[0] was added to y[0,0] and to y[1,0]: db[0] = dy[0,0] + dy[1,0] = 1 + 2 = 3",
            },
        ),
    ),
    cases=cases,
    mistakes=(
        Mistake(
            "weight-gradient-from-w",
            "dweight",
            lambda case, right: case.dy.sum(axis=0)[:, None] * case.weight,
            "it is made of w; but forward multiplies w by x, so the derivative by w has x in it",
        ),
        Mistake(
            "products-overwrite",
            "dx",
            lambda case, right: case.dy[:, -1:] * case.weight[-1],
            "each product overwrites the one before: dx[n,i] is the sum over all outputs o, `+=` and not `=`",
        ),
        Mistake(
            "bias-mean",
            "dbias",
            lambda case, right: case.dy.mean(axis=0) if len(case.dy) > 1 else None,
            "it is the mean of dy over the batch; b is added in every sample, so db is the sum",
        ),
    ),
    hints={
        "dbias": (
            "b[o] is added to y[n,o] in every sample n. When b[o] grows by a little, which numbers of y grow, by how "
            "much?",
            "db[o] = sum over n of dy[n,o]",
            "self.bias.grad += dy.sum(axis=...)   # which axis is n?",
        ),
        "dweight": (
            "w[o,i] stands only in y[n,o], once for each sample n, and there it is multiplied by x[n,i].",
            "dw[o,i] = sum over n of dy[n,o] * x[n,i]. A sum over one shared index is a matrix product: bring the "
            "index n into the middle by transposing.",
            "self.weight.grad += dy.T @ ...   # (O, N) @ (N, I) is (O, I)",
        ),
        "dx": (
            "x[n,i] stands in all outputs of its own sample n, multiplied by w[o,i]: add up what comes back from each.",
            "dx[n,i] = sum over o of dy[n,o] * w[o,i]: again a sum over one shared index.",
            "return dy @ ...   # (N, O) @ (O, I) is (N, I)",
        ),
    },
    first="db is the easiest: which numbers of y does b[o] stand in?",
    done="The three sums come back in every convolution. Next: softmax-cross-entropy, the end of a net that "
    "classifies; then you can train one with nothing but your own layers.",
    source="minisegnet/layers/linear.py",
    speed=lambda rng: case_of(rng, 64, 512, 256, "64 samples, 512 inputs, 256 outputs"),
)
