"""Combinators: layers made of layers. They carry the chain rule, so no net needs a backward pass of its own.

    Sequential   one after the other: backward runs through them in reverse
    Sum          side by side, added up (residual blocks, FCN skips): each branch gets the whole dy, the dx add up
    Concat       side by side, joined along the channels (U-Net skips, ASPP): each branch gets its part of dy
    PoolUnpool   max pooling, a body, and unpooling with the same switches (SegNet)
    SameSize     a body, then resizing to the input's size (DeepLab, FCN, odd sizes)

A U-Net level is Concat(Identity(), Sequential(MaxPool2d(2), inner, up)): nets nest, and that is all the graph there is.
"""

from typing import NamedTuple

from kernels import ShapeError, ops_for
from kernels.shapes import check_rank, check_shape

from .core import Layer
from .layers.pool import MaxPool2d
from .layers.upsample import Upsample, UpsampleSaved
from .pairs import Pair, paired


def check_layer(name, layer):
    """The layer itself; a TypeError for anything else."""
    if not isinstance(layer, Layer):
        hint = "; write ReLU(), not ReLU" if isinstance(layer, type) else ""
        raise TypeError(f"{name} must be a layer, got {layer!r}{hint}")
    return layer


class Branches(Layer):
    """Base of the combinators that hold any number of layers, unnamed (0, 1, ...) or named by keyword."""

    def __init__(self, *unnamed, **named):
        self.layers = {**{str(i): layer for i, layer in enumerate(unnamed)}, **named}
        for name, layer in self.layers.items():
            check_layer(f"entry {name}", layer)
        if not self.layers:
            raise ValueError("at least one layer is needed, got none")

    def children(self):
        yield from self.layers.items()

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers.values())

    def __getitem__(self, key):
        """By position or by name; a slice of a Sequential is a Sequential of the same layers."""
        if isinstance(key, str):
            return self.layers[key]
        if isinstance(key, slice):
            return type(self)(*list(self)[key])
        return list(self)[key]

    def label(self):
        return type(self).__name__

    def check_records(self, saved, kind):
        """The records in `saved`, one for each layer."""
        records = self.check_saved(saved, kind).records
        if len(records) != len(self):
            raise ValueError(f"the saved record has {len(records)} entries for {len(self)} layers")
        return records


class SequentialSaved(NamedTuple):
    records: tuple  # what each layer's forward saved, in order


class Sequential(Branches):
    """One layer after the other: y = f_k(... f_2(f_1(x))).

    Forward:   h = f(h) for f_1, ..., f_k
    Backward:  dh = f.backward(dh) for f_k, ..., f_1: the chain rule

    >>> from minisegnet.layers import Linear, ReLU
    >>> net = Sequential(Linear(2, 3, rng=0), ReLU(), head=Linear(3, 1, rng=1))
    >>> net["head"] is net[2], len(net)
    (True, 3)
    >>> print(net)
    Sequential(
      (0): Linear(2, 3)
      (1): ReLU()
      (head): Linear(3, 1)
    )
    """

    def forward(self, x):
        records = []
        for layer in paired(self):  # a layer, or two that one kernel computes
            x, saved = layer.forward(x)
            records += saved if isinstance(layer, Pair) else [saved]
        return x, SequentialSaved(tuple(records))

    def backward(self, dy, saved):
        records = list(self.check_records(saved, SequentialSaved))
        for layer in reversed(paired(self)):
            last = records.pop()
            dy = layer.backward(dy, (records.pop(), last) if isinstance(layer, Pair) else last)
        return dy


class SumSaved(NamedTuple):
    records: tuple
    shapes: tuple  # of each branch's result


class Sum(Branches):
    """Branches side by side, their results added: y = f_1(x) + ... + f_k(x).

    Forward:   y = Σ f_i(x)
    Backward:  a sum copies its gradient: dx = Σ f_i.backward(dy), so dy arrives at x undiminished over Identity()

    Results must have the same channels. Where sizes differ by less than half, as after pooling an odd size, later ones
    are padded with zeros or cropped to the first one's size (see `fit`).

    Source: He et al., Deep residual learning (2016), for the identity branch.

    >>> import numpy as np
    >>> from minisegnet.layers import Identity, Tanh
    >>> Sum(Identity(), Tanh())(np.zeros(2) + 1).round(3)
    array([1.762, 1.762])
    """

    def forward(self, x):
        results, records = zip(*(layer.forward(x) for layer in self), strict=True)
        fitted = [fit(y, results[0].shape) for y in results]
        return ops_for(x).add_forward(fitted), SumSaved(records, tuple(y.shape for y in results))

    def backward(self, dy, saved):
        records, shapes = self.check_records(saved, SumSaved), saved.shapes
        check_shape("dy", dy, shapes[0])
        # forward: y = fit(f_1(x)) + fit(f_2(x)) + ...
        return ops_for(dy).add_forward(
            [
                layer.backward(unfit(dy, shape), record)
                for layer, record, shape in zip(self, records, shapes, strict=True)
            ]
        )


class ConcatSaved(NamedTuple):
    records: tuple
    shapes: tuple  # of each branch's result


class Concat(Branches):
    """Branches side by side, their results joined along the channels.

    Forward:   y = [f_1(x), ..., f_k(x)], C_1 + ... + C_k channels
    Backward:  joining is undone by splitting: branch i gets its own C_i channels of dy, and dx = Σ f_i.backward(dy_i)

    Where sizes differ by less than half, as after pooling an odd size, later ones are padded with zeros or cropped to
    the first one's size (see `fit`).

    Source: Ronneberger et al., U-Net (2015); Chen et al., DeepLabV3 (2017), for the parallel branches of ASPP.

    >>> import numpy as np
    >>> from minisegnet.layers import Identity, ReLU
    >>> Concat(Identity(), ReLU())(np.array([[-1.0, 2.0]]))
    array([[-1.,  2.,  0.,  2.]])
    """

    def forward(self, x):
        results, records = zip(*(layer.forward(x) for layer in self), strict=True)
        fitted = [fit(y, results[0].shape) for y in results]
        return ops_for(x).concat_forward(fitted), ConcatSaved(records, tuple(y.shape for y in results))

    def backward(self, dy, saved):
        records, shapes = self.check_records(saved, ConcatSaved), saved.shapes
        N, _, *size = shapes[0]
        check_shape("dy", dy, (N, sum(shape[1] for shape in shapes), *size))
        # forward: y = concat(fit(f_1(x)), fit(f_2(x)), ...)
        parts = ops_for(dy).concat_backward(dy, [shape[1] for shape in shapes])
        return ops_for(dy).add_forward(
            [
                layer.backward(unfit(part, shape), record)
                for layer, part, record, shape in zip(self, parts, records, shapes, strict=True)
            ]
        )


def fit(y, like):
    """A branch's y padded or cropped, evenly on both sides, to the height and width of the shape `like`.

    ShapeError where one is twice as large as the other or more: that is a missing layer, not an odd size.
    """
    if len(like) != 4 or y.ndim != 4 or y.shape[2:] == like[2:]:
        return y
    if any(abs(a - b) > 1 and 2 * abs(a - b) >= max(a, b) for a, b in zip(y.shape[2:], like[2:], strict=True)):
        raise ShapeError(
            f"a branch's result is {y.shape[2]}x{y.shape[3]} pixels, the first one's {like[2]}x{like[3]}: too far "
            f"apart to pad or crop; put an Upsample or a stride where one is missing"
        )
    return ops_for(y).fit2d_forward(y, like[2:])


def unfit(dy, shape):
    """The gradient of `fit`: dy back at the size that the branch's result had."""
    if len(shape) != 4 or dy.ndim != 4 or dy.shape[2:] == shape[2:]:
        return dy
    return ops_for(dy).fit2d_backward(dy, (*dy.shape[:2], *shape[2:]))


class PoolUnpoolSaved(NamedTuple):
    pool: NamedTuple  # MaxPool2dSaved: the switches, used by both ends
    body: NamedTuple


class PoolUnpool(Layer):
    """Max pooling, a body, and unpooling that puts each value where the pooling found its maximum.

    Forward:   p, switches = maxpool(x);  h = body(p);  y = zeros like x, with y[switches] = h
    Backward:  dh = dy[switches];  dp = body.backward(dh);  dx = zeros like x, with dx[switches] += dp

    The decoder thus gets the encoder's fine positions without its values. The body may change the channels only if
    it ends with as many as it was given, since every channel has switches of its own. Where windows overlap and two
    switches name one pixel, the last in row-major order is kept, and only it gets a gradient.

    Shapes: x (N, C, H, W), y the same, at any size. Parameters: body; kernel_size, stride, padding as MaxPool2d's.
    Source: Badrinarayanan et al., SegNet (2017); Zeiler and Fergus, Visualizing convolutional networks (2014).

    >>> import numpy as np
    >>> from minisegnet.layers import Identity
    >>> PoolUnpool(Identity())(np.array([[[[1.0, 5.0], [2.0, 3.0]]]]))[0, 0]
    array([[0., 5.],
           [0., 0.]])
    """

    def __init__(self, body, kernel_size=2, stride=None, padding=0):
        self.pool = MaxPool2d(kernel_size, stride, padding)
        self.body = check_layer("body", body)

    def forward(self, x):
        pooled, pool_saved = self.pool.forward(x)
        h, body_saved = self.body.forward(pooled)
        if h.shape != pooled.shape:
            raise ShapeError(
                f"the body made {h.shape} out of {pooled.shape}; it must end with the channels and the size that it "
                f"was given, because the pooling's switches belong to those"
            )
        return ops_for(x).max_unpool2d_forward(h, pool_saved.argmax, x.shape), PoolUnpoolSaved(pool_saved, body_saved)

    def backward(self, dy, saved):
        pool_saved, body_saved = self.check_saved(saved, PoolUnpoolSaved)
        check_shape("dy", dy, pool_saved.x_shape)
        dh = ops_for(dy).max_unpool2d_backward(dy, pool_saved.argmax)  # forward: y[switches] = h
        dpooled = self.body.backward(dh, body_saved)  # forward: h = body(pooled)
        return self.pool.backward(dpooled, pool_saved)  # forward: pooled = maxpool(x)

    def label(self):
        return type(self).__name__


class SameSizeSaved(NamedTuple):
    body: NamedTuple
    x_shape: tuple
    h_shape: tuple  # of the body's result, before resizing


class SameSize(Layer):
    """Runs its body and resizes the result to the height and width of its input.

    Forward:   h = body(x);  y = resize(h) to x's size, by "bilinear" or "nearest" interpolation, or by "pad" (zeros
               added or rows cropped)
    Backward:  dh = the resizing's gradient of dy;  dx = body.backward(dh)

    Shapes: x (N, C, H, W) to y (N, C', H, W), at any size. A result that already has the size is passed on as it is.
    Source: Chen et al., DeepLabV3 (2017); Long et al., Fully convolutional networks (2015).

    >>> import numpy as np
    >>> from minisegnet.layers import MaxPool2d
    >>> SameSize(MaxPool2d(2), mode="nearest")(np.arange(4.0).reshape(1, 1, 2, 2))[0, 0]
    array([[3., 3.],
           [3., 3.]])
    """

    def __init__(self, body, mode="bilinear", align_corners=False):
        if mode not in ("bilinear", "nearest", "pad"):
            raise ValueError(f'mode must be "bilinear", "nearest" or "pad", got {mode!r}')
        if align_corners and mode != "bilinear":
            raise ValueError('align_corners=True needs mode="bilinear"')
        self.body, self.mode, self.align_corners = check_layer("body", body), mode, bool(align_corners)

    def forward(self, x):
        check_rank("x", x, 4, "(N, C, H, W)")
        h, body_saved = self.body.forward(x)
        check_rank("the body's result", h, 4, "(N, C', H', W')")
        if h.shape[2:] == x.shape[2:]:
            y = h
        elif self.mode == "pad":
            y = ops_for(h).fit2d_forward(h, x.shape[2:])
        else:
            y = self.resize(x.shape)(h)
        return y, SameSizeSaved(body_saved, x.shape, h.shape)

    def backward(self, dy, saved):
        body_saved, x_shape, h_shape = self.check_saved(saved, SameSizeSaved)
        check_shape("dy", dy, (*h_shape[:2], *x_shape[2:]))
        if h_shape[2:] == x_shape[2:]:
            dh = dy
        elif self.mode == "pad":
            dh = ops_for(dy).fit2d_backward(dy, h_shape)
        else:
            dh = self.resize(x_shape).backward(dy, UpsampleSaved(h_shape))
        return self.body.backward(dh, body_saved)

    def resize(self, x_shape):
        """The layer that brings any map to the height and width of x."""
        return Upsample(size=x_shape[2:], mode=self.mode, align_corners=self.align_corners)

    def config(self):
        return f'mode="{self.mode}"' + (", align_corners=True" if self.align_corners else "")
