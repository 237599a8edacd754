"""ReLU in one pass over memory. The other activations are rare inside a net and fall back to `reference`."""

from ..shapes import check_shape, same_dtype
from .arrays import PIECE, flat
from .jit import parallel, part_of
from .memory import empty_like


def relu_forward(x):
    same_dtype(x=x)
    y = empty_like(x)
    for y_, x_ in flat(y, x):
        relu(y_, x_)
    return y


@parallel
def relu(y, x, share):
    for piece in part_of(-(-len(x) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        out, values = y[part], x[part]
        for i in range(len(values)):  # an index that starts at 0 needs no check for being negative: vectors can be used
            out[i] = 0 if values[i] <= 0 else values[i]  # a NaN is not <= 0, so it stays


def relu_backward(dy, y):
    same_dtype(dy=dy, y=y)
    check_shape("dy", dy, y.shape)
    dx = empty_like(dy)
    for dx_, dy_, y_ in flat(dx, dy, y):
        relu_gradient(dx_, dy_, y_)
    return dx


@parallel
def relu_gradient(dx, dy, y, share):
    for piece in part_of(-(-len(y) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        out, gradients, values = dx[part], dy[part], y[part]
        for i in range(len(values)):
            gradient = gradients[i]  # read before the choice, so that the choice needs no branch
            out[i] = 0 if values[i] <= 0 else gradient
