"""As buggy_layers, for layers without weights (pooling, activations, softmax, dropout) and batch normalisation."""

import math

import numpy as np

from minisegnet.core import Layer, Parameter, as_rng
from minisegnet.layers import AvgPool2d

# ------------------------------------------------------------------ pooling


class Pool(Layer):
    """What max and average pooling share: the windows."""

    def __init__(self, kernel_size, stride, padding=0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def padded(self, x, value):
        p = self.padding
        return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=value)

    def windows(self, size):
        """(i, j, slices of the padded input) of each output pixel."""
        k, s, (rows, cols) = self.kernel_size, self.stride, ((n - self.kernel_size) // self.stride + 1 for n in size)
        for i, j in np.ndindex(rows, cols):
            yield i, j, (..., slice(i * s, i * s + k), slice(j * s, j * s + k))

    def cropped(self, dxp, x):
        p = self.padding
        return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]

    def stacked(self, xp, function):
        found = [function(xp[window]) for _, _, window in self.windows(xp.shape[2:])]
        rows, cols = ((n - self.kernel_size) // self.stride + 1 for n in xp.shape[2:])
        return np.stack(found, axis=-1).reshape(*xp.shape[:2], rows, cols)


class MaxPool(Pool):
    """The right one, as long as there are no ties: then even the sum of their gradients is wrong."""

    def forward(self, x):
        return self.stacked(self.padded(x, -np.inf), lambda window: window.max(axis=(2, 3))), x

    def backward(self, dy, x):
        xp = self.padded(x, -np.inf)
        dxp = np.zeros_like(xp)
        for i, j, window in self.windows(xp.shape[2:]):
            winners = xp[window] == xp[window].max(axis=(2, 3), keepdims=True)
            self.put(dxp, window, winners * dy[:, :, i, j, None, None])
        return self.cropped(dxp, x)

    def put(self, dxp, window, part):
        dxp[window] += part


class MaxPoolOverwrites(MaxPool):
    def put(self, dxp, window, part):
        dxp[window] = part


class MaxPoolOverwritesByTap(MaxPool):
    """All windows at once, one tap of the kernel after the other."""

    def backward(self, dy, x):
        xp, s = self.padded(x, -np.inf), self.stride
        dxp, y = np.zeros_like(xp), self.forward(x)[0]
        for r, t in np.ndindex(self.kernel_size, self.kernel_size):
            rows, cols = slice(r, r + (y.shape[2] - 1) * s + 1, s), slice(t, t + (y.shape[3] - 1) * s + 1, s)
            dxp[:, :, rows, cols] = (xp[:, :, rows, cols] == y) * dy
        return self.cropped(dxp, x)


class MaxPoolIndexed(MaxPool):
    """NumPy's dx[index] += dy keeps only the last one of equal indices."""

    def backward(self, dy, x):
        xp = self.padded(x, -np.inf)
        dxp = np.zeros_like(xp)
        n, c, places = [], [], []
        for i, j, window in self.windows(xp.shape[2:]):
            for image, channel in np.ndindex(x.shape[:2]):
                r, t = np.unravel_index(xp[image, channel][window[1:]].argmax(), (self.kernel_size,) * 2)
                places.append((i * self.stride + r, j * self.stride + t, dy[image, channel, i, j]))
                n.append(image), c.append(channel)
        rows, cols, values = (np.array(column) for column in zip(*places, strict=True))
        dxp[n, c, rows.astype(int), cols.astype(int)] += values
        return self.cropped(dxp, x)


class HalvingTies(Layer):
    """Max pooling 2x2 by reshaping, without attributes: dy goes to all that are as large as the maximum."""

    def forward(self, x):
        N, C, H, W = x.shape
        return x.reshape(N, C, H // 2, 2, W // 2, 2).max(axis=(3, 5)), x

    def backward(self, dy, x):
        def enlarged(a):
            return a.repeat(2, axis=2).repeat(2, axis=3)

        return (x == enlarged(self.forward(x)[0])) * enlarged(dy)


class AvgPoolOblongNotDivided(AvgPool2d):
    def backward(self, dy, saved):
        return super().backward(dy * math.prod(self.kernel_size), saved)


class AvgPool(Pool):
    """The right one; padding counts."""

    def forward(self, x):
        return self.stacked(self.padded(x, 0), lambda window: window.mean(axis=(2, 3))), x

    def backward(self, dy, x):
        dxp = np.zeros_like(self.padded(x, 0))
        for i, j, window in self.windows(dxp.shape[2:]):
            self.put(dxp, window, dy[:, :, i, j, None, None])
        return self.cropped(dxp, x)

    def put(self, dxp, window, dy):
        dxp[window] += dy / self.kernel_size**2


class AvgPoolNotDivided(AvgPool):
    def put(self, dxp, window, dy):
        dxp[window] += dy


class AvgPoolOverwrites(AvgPool):
    def put(self, dxp, window, dy):
        dxp[window] = dy / self.kernel_size**2


class AvgPoolOverwritesByTap(AvgPool):
    def backward(self, dy, x):
        dxp, s = np.zeros_like(self.padded(x, 0)), self.stride
        for r, t in np.ndindex(self.kernel_size, self.kernel_size):
            rows, cols = slice(r, r + (dy.shape[2] - 1) * s + 1, s), slice(t, t + (dy.shape[3] - 1) * s + 1, s)
            dxp[:, :, rows, cols] = dy / self.kernel_size**2
        return self.cropped(dxp, x)


class AvgPoolOfPicture(AvgPool):
    """Divides by the pixels of the window that are in the picture, which forward does not."""

    def backward(self, dy, x):
        dxp, inside = np.zeros_like(self.padded(x, 0)), self.padded(np.ones_like(x), 0)
        for i, j, window in self.windows(dxp.shape[2:]):
            dxp[window] += dy[:, :, i, j, None, None] / inside[window].sum(axis=(2, 3), keepdims=True)
        return self.cropped(dxp, x)


# ------------------------------------------------------------------ element by element


class Elementwise(Layer):
    """Made of two functions: function(x), and gradient(dy, x, y)."""

    def __init__(self, function, gradient):
        self.function, self.gradient = function, gradient

    def forward(self, x):
        return self.function(x), x

    def backward(self, dy, x):
        return self.gradient(dy, x, self.function(x))


def rectify(x):
    return np.maximum(x, 0)


def leak(x):
    return np.where(x > 0, x, 0.2 * x)


def logistic(x):
    return 1 / (1 + np.exp(-x))


def probabilities(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_probabilities(x):
    return np.log(probabilities(x))


ELEMENTWISE = {
    "relu, mask of dy": (rectify, lambda dy, x, y: dy * (dy > 0)),
    "relu, no mask": (rectify, lambda dy, x, y: dy),
    "relu, inverted": (rectify, lambda dy, x, y: dy * (x <= 0)),
    "relu, no dy": (rectify, lambda dy, x, y: (x > 0) * 1.0),
    "leaky, mask of dy": (leak, lambda dy, x, y: np.where(dy > 0, dy, 0.2 * dy)),
    "leaky, no mask": (leak, lambda dy, x, y: dy),
    "leaky, inverted": (leak, lambda dy, x, y: np.where(x > 0, 0.2 * dy, dy)),
    "leaky, no dy": (leak, lambda dy, x, y: np.where(x > 0, 1.0, 0.2)),
    "leaky, no slope": (leak, lambda dy, x, y: dy * (x > 0)),
    "sigmoid of x": (logistic, lambda dy, x, y: dy * x * (1 - x)),
    "sigmoid, factor": (logistic, lambda dy, x, y: dy * y),
    "sigmoid, no dy": (logistic, lambda dy, x, y: y * (1 - y)),
    "tanh of x": (np.tanh, lambda dy, x, y: dy * (1 - x**2)),
    "tanh, no square": (np.tanh, lambda dy, x, y: dy * (1 - y)),
    "tanh, no dy": (np.tanh, lambda dy, x, y: 1 - y**2),
    "softmax, diagonal": (probabilities, lambda dy, x, y: dy * y * (1 - y)),
    "softmax, y alone": (probabilities, lambda dy, x, y: dy * y),
    "softmax, sum of all": (probabilities, lambda dy, x, y: y * (dy - (dy * y).sum())),
    "softmax, sum of images": (probabilities, lambda dy, x, y: y * (dy - (dy * y).sum(axis=0, keepdims=True))),
    "log-softmax, no sum": (log_probabilities, lambda dy, x, y: dy - np.exp(y)),
    "log-softmax, diagonal": (log_probabilities, lambda dy, x, y: dy - np.exp(y) * dy),
    "log-softmax, sum of all": (log_probabilities, lambda dy, x, y: dy - np.exp(y) * dy.sum()),
    "square, dy itself": (np.square, lambda dy, x, y: dy),
    "square, factor 2": (np.square, lambda dy, x, y: dy * x),
    "square, factor 1.7": (np.square, lambda dy, x, y: 1.7 * dy * 2 * x),
    "sign": (np.sin, lambda dy, x, y: -dy * np.cos(x)),
    "zero": (np.sin, lambda dy, x, y: np.zeros_like(x)),
    "rotated": (np.sin, lambda dy, x, y: (dy * np.cos(x))[..., ::-1, ::-1]),
    "batch and channels swapped": (np.sin, lambda dy, x, y: (dy * np.cos(x)).swapaxes(0, 1)),
    "rows and columns swapped": (np.sin, lambda dy, x, y: (dy * np.cos(x)).swapaxes(-1, -2)),
    "first row": (np.sin, lambda dy, x, y: np.where(np.arange(x.shape[2])[:, None] == 0, 0, dy * np.cos(x))),
    "no idea": (np.sin, lambda dy, x, y: dy * np.sin(x)),
    "independent": (np.ones_like, lambda dy, x, y: dy * x),
    "mean over the batch": (np.sin, lambda dy, x, y: dy * np.cos(x) / len(x)),
}


class GlobalAverage(Layer):
    """The mean over all pixels; gradient(dy, x) is what dx should be divided by H*W."""

    def __init__(self, gradient):
        self.gradient = gradient

    def forward(self, x):
        return x.mean(axis=(2, 3), keepdims=True), x

    def backward(self, dy, x):
        return self.gradient(dy, x)


class DropOut(Layer):
    """mask_gradient(dy, keep) is what backward makes of dy; scale is 2, for p = 0.5."""

    def __init__(self, gradient):
        self.gradient, self.rng = gradient, as_rng(3)

    def forward(self, x):
        keep = self.rng.random(x.shape) < 0.5
        return np.where(keep, 2 * x, 0), keep

    def backward(self, dy, keep):
        return self.gradient(dy, keep)


# ------------------------------------------------------------------ batch normalisation


class BatchNorm(Layer):
    """Right in training; in eval mode a gradient goes through mean and variance. Subclasses leave out a step."""

    buffers = ("running_mean", "running_var")
    through_mean = through_var = True

    def __init__(self, C):
        rng = as_rng(7)
        self.gamma, self.beta = Parameter(rng.uniform(1, 2, C)), Parameter(rng.normal(size=C))
        self.running_mean, self.running_var = rng.normal(size=C), rng.uniform(1, 2, C)

    def forward(self, x):
        mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
        if not self.training:
            mean, var = self.running_mean[:, None, None], self.running_var[:, None, None]
        std = np.sqrt(var + 1e-5)
        normed = (x - mean) / std
        return self.gamma.value[:, None, None] * normed + self.beta.value[:, None, None], (x, normed, std)

    def backward(self, dy, saved):
        x, normed, std = saved
        self.gamma.grad += self.gamma_gradient(dy, x, normed)
        self.beta.grad += self.beta_gradient(dy)
        dnormed = self.normed_gradient(dy)
        dx = dnormed / std
        if self.through_mean:
            dx = dx - (dnormed / std).mean(axis=(0, 2, 3), keepdims=True)
        if self.through_var:
            dx = dx - normed * (dnormed / std * normed).mean(axis=(0, 2, 3), keepdims=True)
        return dx

    def gamma_gradient(self, dy, x, normed):
        return (dy * normed).sum(axis=(0, 2, 3))

    def beta_gradient(self, dy):
        return dy.sum(axis=(0, 2, 3))

    def normed_gradient(self, dy):
        return dy * self.gamma.value[:, None, None]


class StatisticsConstant(BatchNorm):
    through_mean = through_var = False


class VarianceConstant(BatchNorm):
    through_var = False


class MeanConstant(BatchNorm):
    through_mean = False


class GammaForgotten(BatchNorm):
    def normed_gradient(self, dy):
        return dy


class GammaOfX(BatchNorm):
    def gamma_gradient(self, dy, x, normed):
        return (dy * x).sum(axis=(0, 2, 3))


class GammaTwice(BatchNorm):
    def gamma_gradient(self, dy, x, normed):
        return (self.normed_gradient(dy) * normed).sum(axis=(0, 2, 3))


class GammaOfBeta(BatchNorm):
    def gamma_gradient(self, dy, x, normed):
        return dy.sum(axis=(0, 2, 3))


class BetaOfFirstImage(BatchNorm):
    def beta_gradient(self, dy):
        return dy[0].sum(axis=(1, 2))


class Standardise(Layer):
    """A batch normalisation without weights; its mean and variance are treated as constants."""

    def forward(self, x):
        std = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + 1e-8)
        return (x - x.mean(axis=(0, 2, 3), keepdims=True)) / std, std

    def backward(self, dy, std):
        return dy / std


class EvalLikeTraining(BatchNorm):
    """In eval mode the running statistics are constants, but a gradient goes through the batch's."""

    def backward(self, dy, saved):
        x = saved[0]
        mean, var = x.mean(axis=(0, 2, 3), keepdims=True), x.var(axis=(0, 2, 3), keepdims=True)
        std = np.sqrt(var + 1e-5)
        normed = (x - mean) / std
        self.beta.grad += dy.sum(axis=(0, 2, 3))
        self.gamma.grad += (dy * saved[1]).sum(axis=(0, 2, 3))
        dnormed = dy * self.gamma.value[:, None, None] / std
        dx = dnormed - dnormed.mean(axis=(0, 2, 3), keepdims=True)
        return dx - normed * (dnormed * normed).mean(axis=(0, 2, 3), keepdims=True)
