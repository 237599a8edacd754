"""ReLU in one pass over memory. The other activations are rare inside a net and fall back to `reference`."""

from ..shapes import check_shape, same_dtype
from .arrays import PIECE, plain
from .jit import parallel, part_of
from .memory import empty_like


def relu_forward(x):
    same_dtype(x=x)
    x = plain(x)
    y = empty_like(x)
    relu(y.reshape(-1), x.reshape(-1))
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
    dy, y = plain(dy), plain(y)
    dx = empty_like(dy)
    relu_gradient(dx.reshape(-1), dy.reshape(-1), y.reshape(-1))
    return dx


@parallel
def relu_gradient(dx, dy, y, share):
    for piece in part_of(-(-len(y) // PIECE), share):
        part = slice(piece * PIECE, (piece + 1) * PIECE)
        out, gradients, values = dx[part], dy[part], y[part]
        for i in range(len(values)):
            gradient = gradients[i]  # read before the choice, so that the choice needs no branch
            out[i] = 0 if values[i] <= 0 else gradient
