"""Layers as students write them, in plain NumPy, each with one classic mistake in its backward pass.

For every kind there is a right one, and subclasses that override the one method that they get wrong. What forward
saves is a plain tuple or array.
"""

import numpy as np

from kernels import ops_for
from minisegnet.core import Layer, Parameter, as_rng
from minisegnet.layers import Conv2d, ConvTranspose2d

# ------------------------------------------------------------------ convolution


class Conv(Layer):
    """The right one: a loop over the output pixels."""

    def __init__(self, C, O, k, stride=1, padding=0, dilation=1):
        rng = as_rng(7)
        self.weight, self.bias = Parameter(rng.normal(size=(O, C, k, k))), Parameter(rng.normal(size=O))
        self.stride, self.padding, self.dilation = stride, padding, dilation

    def padded(self, x):
        p = self.padding
        return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))

    def window(self, i, j, stride=None, dilation=None):
        """Where output pixel (i, j) looks at the padded input."""
        s, d, k = stride or self.stride, dilation or self.dilation, self.weight.shape[2]
        return (..., slice(i * s, i * s + d * (k - 1) + 1, d), slice(j * s, j * s + d * (k - 1) + 1, d))

    def forward(self, x):
        xp, s, reach = self.padded(x), self.stride, self.dilation * (self.weight.shape[2] - 1) + 1
        y = np.zeros((len(x), len(self.weight.value), (xp.shape[2] - reach) // s + 1, (xp.shape[3] - reach) // s + 1))
        for i, j in np.ndindex(y.shape[2:]):
            y[:, :, i, j] = np.einsum("ncrs,ocrs->no", xp[self.window(i, j)], self.weight.value) + self.bias.value
        return y, (x,)

    def backward(self, dy, saved):
        (x,) = saved
        self.weight.grad += self.weight_gradient(dy, x)
        self.bias.grad += self.bias_gradient(dy)
        return self.input_gradient(dy, x)

    def input_gradient(self, dy, x):
        return self.cropped(self.padded_gradient(dy, x), x)

    def padded_gradient(self, dy, x, **geometry):
        dxp = np.zeros_like(self.padded(x))
        for i, j in np.ndindex(dy.shape[2:]):
            dxp[self.window(i, j, **geometry)] += np.einsum("no,ocrs->ncrs", dy[:, :, i, j], self.weight.value)
        return dxp

    def cropped(self, dxp, x):
        p = self.padding
        return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]

    def weight_gradient(self, dy, x, **geometry):
        dw, xp = np.zeros_like(self.weight.value), self.padded(x)
        for i, j in np.ndindex(dy.shape[2:]):
            dw += np.einsum("no,ncrs->ocrs", dy[:, :, i, j], xp[self.window(i, j, **geometry)])
        return dw

    def bias_gradient(self, dy):
        return dy.sum(axis=(0, 2, 3))


class KernelNotFlipped(Conv):
    """dx as a correlation of the spread and padded dy with the kernel, which should be rotated."""

    def input_gradient(self, dy, x):
        s, k = self.stride, self.weight.shape[2]
        N, C, H, W = x.shape
        spread = np.zeros((N, dy.shape[1], H + 2 * self.padding + k - 1, W + 2 * self.padding + k - 1))
        rows, cols = (dy.shape[2] - 1) * s + 1, (dy.shape[3] - 1) * s + 1
        spread[:, :, k - 1 : k - 1 + rows : s, k - 1 : k - 1 + cols : s] = dy
        dxp = np.zeros_like(self.padded(x))
        for a, b in np.ndindex(dxp.shape[2:]):
            dxp[:, :, a, b] = np.einsum("nors,ocrs->nc", spread[:, :, a : a + k, b : b + k], self.weight.value)
        return self.cropped(dxp, x)


class KernelFlippedTwice(Conv):
    """The stamps are rotated already by where they are put."""

    def padded_gradient(self, dy, x):
        dxp, rotated = np.zeros_like(self.padded(x)), self.weight.value[:, :, ::-1, ::-1]
        for i, j in np.ndindex(dy.shape[2:]):
            dxp[self.window(i, j)] += np.einsum("no,ocrs->ncrs", dy[:, :, i, j], rotated)
        return dxp


class WeightGradientFlipped(Conv):
    def weight_gradient(self, dy, x):
        return super().weight_gradient(dy, x)[:, :, ::-1, ::-1]


class ChannelsSwapped(Conv):
    def padded_gradient(self, dy, x):
        dxp = np.zeros_like(self.padded(x))
        for i, j in np.ndindex(dy.shape[2:]):
            dxp[self.window(i, j)] += np.einsum("nc,ocrs->nors", dy[:, :, i, j], self.weight.value)
        return dxp


class WeightChannelsSwapped(Conv):
    def weight_gradient(self, dy, x):
        dw, xp = np.zeros_like(self.weight.value), self.padded(x)
        for i, j in np.ndindex(dy.shape[2:]):
            dw += np.einsum("no,ncrs->cors", dy[:, :, i, j], xp[self.window(i, j)])
        return dw


class StrideIgnored(Conv):
    def input_gradient(self, dy, x):
        return self.cropped(self.padded_gradient(dy, x, stride=1), x)

    def weight_gradient(self, dy, x):
        return super().weight_gradient(dy, x, stride=1)


class DilationIgnored(Conv):
    def input_gradient(self, dy, x):
        return self.cropped(self.padded_gradient(dy, x, dilation=1), x)

    def weight_gradient(self, dy, x):
        return super().weight_gradient(dy, x, dilation=1)


class PaddingNotCropped(Conv):
    def cropped(self, dxp, x):
        return dxp[:, :, : x.shape[2], : x.shape[3]]


class PaddingKept(Conv):
    def cropped(self, dxp, x):
        return dxp


class PaddingIgnored(Conv):
    """dw, with all of the padding below and to the right."""

    def weight_gradient(self, dy, x):
        dw, p = np.zeros_like(self.weight.value), 2 * self.padding
        xp = np.pad(x, ((0, 0), (0, 0), (0, p), (0, p)))
        for i, j in np.ndindex(dy.shape[2:]):
            dw += np.einsum("no,ncrs->ocrs", dy[:, :, i, j], xp[self.window(i, j)])
        return dw


class WindowsOverwrite(Conv):
    def padded_gradient(self, dy, x):
        dxp = np.zeros_like(self.padded(x))
        for i, j in np.ndindex(dy.shape[2:]):
            dxp[self.window(i, j)] = np.einsum("no,ocrs->ncrs", dy[:, :, i, j], self.weight.value)
        return dxp


class TapsOverwrite(Conv):
    def padded_gradient(self, dy, x):
        dxp, s, d = np.zeros_like(self.padded(x)), self.stride, self.dilation
        for r, t in np.ndindex(self.weight.shape[2:]):
            rows = slice(r * d, r * d + (dy.shape[2] - 1) * s + 1, s)
            cols = slice(t * d, t * d + (dy.shape[3] - 1) * s + 1, s)
            dxp[:, :, rows, cols] = np.einsum("noij,oc->ncij", dy, self.weight.value[:, :, r, t])
        return dxp


class LastImageOnly(Conv):
    def weight_gradient(self, dy, x):
        for n in range(len(x)):
            dw = super().weight_gradient(dy[n : n + 1], x[n : n + 1])
        return dw

    def bias_gradient(self, dy):
        for n in range(len(dy)):
            db = dy[n].sum(axis=(1, 2))
        return db


class FirstImageOnly(Conv):
    def weight_gradient(self, dy, x):
        return super().weight_gradient(dy[:1], x[:1])

    def bias_gradient(self, dy):
        return dy[0].sum(axis=(1, 2))


class BiasOfEverything(Conv):
    def bias_gradient(self, dy):
        return dy.sum()


class BiasOfImages(Conv):
    def bias_gradient(self, dy):
        return dy.sum(axis=(1, 2, 3))


class BiasOfOnePixel(Conv):
    def bias_gradient(self, dy):
        return dy[:, :, 0, 0].sum(axis=0)


class Replaces(Conv):
    """`=` where `+=` is needed."""

    def backward(self, dy, saved):
        (x,) = saved
        self.weight.grad = self.weight_gradient(dy, x)
        self.bias.grad = self.bias_gradient(dy)
        return self.input_gradient(dy, x)


class MeanOverBatch(Conv):
    """dL/dw of a sum over the batch is no mean."""

    def weight_gradient(self, dy, x):
        return super().weight_gradient(dy, x) / len(x)


class ForgetsBias(Conv):
    def bias_gradient(self, dy):
        return 0


class SignWrong(Conv):
    def weight_gradient(self, dy, x):
        return -super().weight_gradient(dy, x)


class OtherNames(Layer):
    """The mistake of KernelNotFlipped, in a layer that calls its weights otherwise and keeps its geometry to itself."""

    def __init__(self, C, O, k):
        rng = as_rng(7)
        self.filters, self.offset = Parameter(rng.normal(size=(O, C, k, k))), Parameter(rng.normal(size=O))

    def convolution(self):
        conv = KernelNotFlipped(1, 1, 1, stride=2, padding=1)
        conv.weight, conv.bias = self.filters, self.offset
        return conv

    def forward(self, x):
        return self.convolution().forward(x)

    def backward(self, dy, saved):
        return self.convolution().backward(dy, saved)


class Rotates(Conv2d):
    """A Conv2d, with any geometry, whose dx takes the rotated kernel."""

    def backward(self, dy, saved):
        ops, w = ops_for(dy), self.weight.value
        super().backward(dy, saved)
        return ops.conv2d_backward_input(dy, w[:, :, ::-1, ::-1], saved.x.shape, *self.geometry())


# ------------------------------------------------------------------ transposed convolution


class ConvTranspose(Layer):
    """The right one: every input pixel stamps the kernel onto the output."""

    def __init__(self, C, O, k, stride=1, padding=0):
        rng = as_rng(7)
        self.w, self.b = Parameter(rng.normal(size=(C, O, k, k))), Parameter(rng.normal(size=O))
        self.stride, self.padding = stride, padding

    def forward(self, x):
        N, _, H, W = x.shape
        _, O, k, _ = self.w.shape
        s, p = self.stride, self.padding
        yp = np.zeros((N, O, (H - 1) * s + k, (W - 1) * s + k))
        for i, j in np.ndindex(H, W):
            yp[:, :, i * s : i * s + k, j * s : j * s + k] += np.einsum("nc,cors->nors", x[:, :, i, j], self.w.value)
        return yp[:, :, p : yp.shape[2] - p, p : yp.shape[3] - p] + self.b.value[:, None, None], (x,)

    def backward(self, dy, saved):
        (x,) = saved
        s, p, k = self.stride, self.padding, self.w.shape[2]
        dyp = np.pad(dy, ((0, 0), (0, 0), (p, p), (p, p)))
        dx, dw = np.zeros_like(x), np.zeros_like(self.w.value)
        for i, j in np.ndindex(x.shape[2:]):
            window = dyp[:, :, i * s : i * s + k, j * s : j * s + k]
            dx[:, :, i, j] = self.pixel(window)
            dw += self.stamp(x[:, :, i, j], window)
        self.w.grad += dw
        self.b.grad += dy.sum(axis=(0, 2, 3))
        return dx

    def pixel(self, window):
        return np.einsum("nors,cors->nc", window, self.w.value)

    def stamp(self, x, window):
        return np.einsum("nc,nors->cors", x, window)


class TransposeRotated(ConvTranspose):
    def pixel(self, window):
        return np.einsum("nors,cors->nc", window, self.w.value[:, :, ::-1, ::-1])

    def stamp(self, x, window):
        return np.einsum("nc,nors->cors", x, window[:, :, ::-1, ::-1])


class TransposeSwapped(ConvTranspose):
    def pixel(self, window):
        return np.einsum("nors,ocrs->nc", window, self.w.value)

    def stamp(self, x, window):
        return np.einsum("nc,nors->ocrs", x, window)


class TransposeRotates(ConvTranspose2d):
    """A ConvTranspose2d, with any geometry, whose dx takes the rotated kernel."""

    def backward(self, dy, saved):
        ops, w = ops_for(dy), self.weight.value
        super().backward(dy, saved)
        return ops.conv_transpose2d_backward_input(dy, w[:, :, ::-1, ::-1], saved.x.shape, *self.geometry())


# ------------------------------------------------------------------ fully connected


class FullyConnected(Layer):
    """The right one, y = x wᵀ + b."""

    def __init__(self, I, O):
        rng = as_rng(7)
        self.W, self.b = Parameter(rng.normal(size=(O, I))), Parameter(rng.normal(size=O))

    def forward(self, x):
        return x @ self.W.value.T + self.b.value, x

    def backward(self, dy, x):
        self.W.grad += self.weight_gradient(dy, x)
        self.b.grad += self.bias_gradient(dy)
        return self.input_gradient(dy)

    def weight_gradient(self, dy, x):
        return dy.T @ x

    def bias_gradient(self, dy):
        return dy.sum(axis=0)

    def input_gradient(self, dy):
        return dy @ self.W.value


class WeightTransposed(FullyConnected):
    def input_gradient(self, dy):
        return dy @ self.W.value.T


class NoBias(FullyConnected):
    def __init__(self, I, O):
        self.W = Parameter(as_rng(7).normal(size=(O, I)))

    def forward(self, x):
        return x @ self.W.value.T, x

    def backward(self, dy, x):
        self.W.grad += self.weight_gradient(dy, x)
        return dy @ self.W.value.T


class WeightGradientTransposed(FullyConnected):
    def weight_gradient(self, dy, x):
        return x.T @ dy


class LastSampleOnly(FullyConnected):
    def weight_gradient(self, dy, x):
        for n in range(len(x)):
            dw = np.outer(dy[n], x[n])
        return dw


class FirstSampleOnly(FullyConnected):
    def weight_gradient(self, dy, x):
        return np.outer(dy[0], x[0])


class ForgetsWeight(FullyConnected):
    def weight_gradient(self, dy, x):
        return 0


class BiasOfSamples(FullyConnected):
    def bias_gradient(self, dy):
        return dy.sum(axis=1)


class FullyConnectedXW(FullyConnected):
    """Right as well, but y = x w + b, with a weight (in, out)."""

    def __init__(self, I, O):
        super().__init__(O, I)
        self.b = Parameter(as_rng(7).normal(size=O))

    def forward(self, x):
        return x @ self.W.value + self.b.value, x

    def weight_gradient(self, dy, x):
        return x.T @ dy

    def input_gradient(self, dy):
        return dy @ self.W.value.T


class XWTransposed(FullyConnectedXW):
    def weight_gradient(self, dy, x):
        return dy.T @ x

    def input_gradient(self, dy):
        return dy @ self.W.value
