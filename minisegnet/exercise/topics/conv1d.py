"""Exercise conv1d: a convolution in one dimension."""

import numpy as np

from ... import layers
from ...core import Layer, Parameter
from ..exercise import Case, Exercise, Mistake, normal
from ..kinds import OfLayer


class OneDimension(Layer):
    """What conv1d.py has to compute: a convolution of pictures with one row and one channel."""

    def __init__(self, kernel_size):
        self.weight, self.bias = Parameter(np.zeros(kernel_size)), Parameter(np.zeros(1))

    def inside(self):
        conv = layers.Conv2d(1, 1, (1, self.weight.size), rng=0, dtype=np.float64)
        conv.weight.value, conv.bias.value = self.weight.value[None, None, None], self.bias.value
        return conv

    def forward(self, x):
        y, saved = self.inside().forward(x[:, None, None])
        return y[:, 0, 0], saved

    def backward(self, dy, saved):
        conv = self.inside()
        dx = conv.backward(dy[:, None, None], saved)
        self.weight.grad += conv.weight.grad[0, 0, 0]
        self.bias.grad += conv.bias.grad
        return dx[:, 0, 0]


def conv1d_case(rng, N, L, k):
    return Case(
        f"{N} row{'s' * (N > 1)} of {L} pixels, kernel {k}",
        {"x": normal(rng, N, L), "dy": normal(rng, N, L - k + 1)},
        {"kernel_size": k},
        {"weight": normal(rng, k), "bias": normal(rng, 1)},
    )


def rows_of(function, a, b):
    """A function of two one-dimensional arrays for each row of a, with b or b's row."""
    return np.stack([function(row, b if b.ndim == 1 else b[n]) for n, row in enumerate(a)])


def overwritten_1d(case):
    """dx where the last window overwrites the others."""
    dx, k = np.zeros_like(case.x), len(case.weight)
    for i in range(case.dy.shape[1]):
        dx[:, i : i + k] = case.dy[:, i : i + 1] * case.weight
    return dx


def overwritten_by_taps(case):
    """dx where the last weight overwrites the others."""
    dx = np.zeros_like(case.x)
    for r, w in enumerate(case.weight):
        dx[:, r : r + case.dy.shape[1]] = case.dy * w
    return dx


CONV1D = Exercise(
    name="conv1d",
    title="a convolution of one row: where does each pixel go?",
    tutorial="02_convolution_backward",
    stars=2,
    kind=OfLayer,
    subject="Conv1d",
    ours=lambda case: OneDimension(**case.arguments),
    hand=(
        Case(
            "a row of four pixels, kernel of two weights",
            {"x": np.array([[1.0, 2, 3, 4]]), "dy": np.array([[1.0, 10, 100]])},
            {"kernel_size": 2},
            {"weight": np.array([1.0, 2]), "bias": np.array([0.0])},
            expected={"y": [[5, 8, 11]], "dx": [[1, 12, 120, 200]], "dweight": [321, 432], "dbias": [111]},
            because={
                "dx": "x[1] stands in y[0], times w[1] = 2, and in y[1], times w[0] = 1: dx[1] = 1*2 + 10*1 = 12",
                "dweight": (
                    "w[0] was multiplied by x[0] for y[0], by x[1] for y[1], by x[2] for y[2]: dw[0] = 1*1 + 10*2 + "
                    "100*3 = 321"
                ),
                "dbias": "b was added to all three outputs: db = 1 + 10 + 100 = 111",
            },
        ),
    ),
    cases=lambda rng: [conv1d_case(rng, *size) for size in ((1, 5, 3), (2, 7, 3), (3, 6, 4), (2, 5, 1), (1, 4, 4))],
    mistakes=(
        Mistake(
            "kernel-not-rotated",
            "dx",
            lambda case, right: rows_of(lambda dy, w: np.convolve(dy, w[::-1], "full"), case.dy, case.weight),
            "the kernel is the wrong way round: x[a] stands in y[i] times w[a - i], so the further right the window "
            "begins, the earlier is the weight (np.convolve(dy, w) turns w round by itself, np.correlate doesn't)",
        ),
        Mistake(
            "windows-overwrite",
            "dx",
            lambda case, right: overwritten_1d(case),
            "windows that overlap overwrite each other: a pixel gets the sum over all its windows, `+=` and not `=`",
        ),
        Mistake(
            "taps-overwrite",
            "dx",
            lambda case, right: overwritten_by_taps(case),
            "each weight's products overwrite those before: a pixel gets the sum over all weights, `+=` and not `=`",
        ),
        Mistake(
            "products-overwrite",
            "dweight",
            lambda case, right: case.dy[-1, -1] * case.x[-1, case.dy.shape[1] - 1 :],
            "each product overwrites the one before: dw[r] is the sum over all n and i, `+=` and not `=`",
        ),
        Mistake(
            "weight-gradient-rotated",
            "dweight",
            lambda case, right: right["dweight"][::-1],
            "it is the wrong way round: w[r] is multiplied by x[i + r], so dw[r] is the sum of dy[i] * x[i + r]",
        ),
        Mistake(
            "dy-turned-round",
            "dweight",
            lambda case, right: rows_of(lambda x, dy: np.convolve(x, dy, "valid"), case.x, case.dy).sum(axis=0),
            "dy is the wrong way round: np.convolve turns its second argument round, np.correlate doesn't; "
            "dw[r] is the sum of dy[i] * x[i + r]",
        ),
        Mistake(
            "bias-from-one",
            "dbias",
            lambda case, right: case.dy[:, :1].sum(axis=(0, 1), keepdims=True)[0],
            "only the first output counts; b is added to every y[n,i]",
        ),
    ),
    hints={
        "dbias": (
            "b is added to every y[n,i]. When b grows by a little, which of them grow, by how much?",
            "db = sum over n and i of dy[n,i]. bias has the shape (1,).",
            "self.bias.grad += dy.sum()",
        ),
        "dweight": (
            "w[r] stands in every y[n,i], multiplied by x[n, i + r].",
            "dw[r] = sum over n and i of dy[n,i] * x[n, i + r]: for each r a piece of x as long as dy, shifted by r.",
            "for r in range(k):\n    self.weight.grad[r] += (dy * x[:, r : ...]).sum()",
        ),
        "dx": (
            "Take one window: y[i] is made of x[i], ..., x[i + k - 1]. Hand dy[i] back to these pixels, each times the "
            "weight that it was multiplied by. Then the next window, adding up.",
            "dx[n,a] = sum over r of dy[n, a - r] * w[r], where a - r is a window that exists. Going through the "
            "windows instead: dx[n, i + r] += dy[n,i] * w[r] for all i and r.",
            "dx = np.zeros_like(x)\nfor i in range(dy.shape[1]):\n    for r in range(k):\n"
            "        dx[:, ...] += dy[:, i] * w[r]\nreturn dx",
        ),
    },
    first="db is the easiest. For dx take one window and hand dy[i] back to the pixels that it was made of.",
    done="You know how a convolution goes backward; conv2d only has more indices.",
    source="kernels/reference/conv_loops.py",
)
