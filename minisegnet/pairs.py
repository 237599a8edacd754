"""Pairs of layers that one kernel computes together: a convolution or batch normalisation, and the ReLU after it.

ReLU is one comparison for each number. As a pass of its own it reads a whole map from memory and writes another one,
which takes far longer than comparing. The kernel of the layer before has every number in a register when it writes it:
there the comparison costs next to nothing.

`Sequential` asks `paired` for its layers, and only the time shows whether there are pairs among them. A Pair gives the
same numbers, to the last bit, and the records of both layers, as if each had run by itself. While a `watch` is active
nothing is paired, so that watchers see every layer. Layers of one's own never are: only Conv2d, BatchNorm2d and ReLU
themselves, not classes that derive from them.
"""

import contextlib
import functools

from kernels import ops_for
from kernels.shapes import check_shape

from .core import check_inputs, is_watched, name_error
from .layers.activation import ReLU, ReLUSaved
from .layers.conv import Conv2d, Conv2dSaved
from .layers.norm import BatchNorm2d, BatchNorm2dSaved

_enabled = True


@contextlib.contextmanager
def fusion(enabled):
    """Within a `with` block, whether Sequential computes pairs of layers together; it does unless told otherwise.

    To compare times, or to see in a debugger how every layer runs by itself. It holds for the whole process.

    >>> import minisegnet as ms
    >>> with ms.fusion(False):
    ...     paired([Conv2d(1, 2, 3), ReLU()])
    [Conv2d(1, 2, kernel_size=3), ReLU()]
    """
    global _enabled
    before, _enabled = _enabled, bool(enabled)
    try:
        yield
    finally:
        _enabled = before


def paired(layers):
    """The layers as a list, with a Pair in the place of two that one kernel computes.

    >>> paired([Conv2d(1, 2, 3), BatchNorm2d(2), ReLU(), ReLU()])
    [Conv2d(1, 2, kernel_size=3), BatchNormReLU(BatchNorm2d(2), ReLU()), ReLU()]
    """
    found = []
    for layer in layers:
        before = found[-1] if found else None
        if type(before) in PAIRS and type(layer) is ReLU and allowed(before, layer):
            found[-1] = PAIRS[type(before)](before, layer)
        else:
            found.append(layer)
    return found


def allowed(*layers):
    """Whether layers may be fused: now, and these, whose passes nobody has replaced (net[0].forward = ...)."""
    replaced = any(name in vars(layer) for layer in layers for name in ("forward", "backward"))
    return _enabled and not is_watched() and not replaced


class Pair:
    """A layer and the ReLU after it.

    y, saved = pair.forward(x)       saved is a tuple of two: the layer's record and the ReLU's
    dx = pair.backward(dy, saved)
    """

    def __init__(self, layer, relu):
        self.layer, self.relu = layer, relu

    def __repr__(self):
        return f"{type(self).__name__}({self.layer!r}, {self.relu!r})"


def as_its_layer(method):
    """Wrap a Pair's forward or backward: check its input and name errors as its first layer would."""

    @functools.wraps(method)
    def call(self, *inputs):
        try:
            check_inputs(method.__name__, *inputs)
            return method(self, *inputs)
        except (ValueError, TypeError, IndexError) as error:
            name_error(error, self.layer)
            raise

    return call


class ConvReLU(Pair):
    """Forward:   y = max(conv(x), 0) in one pass
    Backward:  one layer after the other; where y is 0, the ReLU stops dy, and the convolution needs it whole
    """

    @as_its_layer
    def forward(self, x):
        conv = self.layer
        b = None if conv.bias is None else conv.bias.value
        y = ops_for(x).conv2d_relu_forward(x, conv.weight.value, b, *conv.geometry())
        return y, (Conv2dSaved(x), ReLUSaved(y))

    def backward(self, dy, saved):
        conv_saved, relu_saved = saved
        return self.layer.backward(self.relu.backward(dy, relu_saved), conv_saved)


class BatchNormReLU(Pair):
    """Forward:   y = max(normalised x, 0), in the pass that normalises
    Backward:  the two passes over dy take 0 for it where y <= 0, so that the ReLU's own dx is never written
    """

    @as_its_layer
    def forward(self, x):
        norm, ops = self.layer, ops_for(x)
        use_batch = norm.uses_batch(x)
        if use_batch:
            y, mean, var = ops.batch_norm_relu_train_forward(x, *norm.affine(), norm.eps)
            norm.update_running(mean, var, x)
        else:
            mean, var = norm.running_mean, norm.running_var
            y = ops.batch_norm_relu_eval_forward(x, *norm.affine(), mean, var, norm.eps)
        return y, (BatchNorm2dSaved(x, mean, var, use_batch), ReLUSaved(y))

    @as_its_layer
    def backward(self, dy, saved):
        norm, ops = self.layer, ops_for(dy)
        x, mean, var, training = norm.check_saved(saved[0], BatchNorm2dSaved)
        (y,) = self.relu.check_saved(saved[1], ReLUSaved)
        check_shape("the saved x", x, (len(x), norm.num_features, *x.shape[2:]))
        backward = ops.batch_norm_relu_train_backward if training else ops.batch_norm_relu_eval_backward
        dx, dweight, dbias = backward(dy, y, x, norm.affine()[0], mean, var, norm.eps)
        if norm.weight is not None:
            norm.weight.add_grad(dweight)
            norm.bias.add_grad(dbias)
        return dx


PAIRS = {Conv2d: ConvReLU, BatchNorm2d: BatchNormReLU}
