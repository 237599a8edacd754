"""Mistakes in the backward pass of a fully connected layer."""

from kernels import ops_for

from .evidence import Suspect, computes, parameter, wrong_bias


def linear(subject):
    (weight, w), (bias, b), x, dy = parameter(subject, 2), parameter(subject, 1), subject.x, subject.dy
    if w is None:
        return
    transposed = computes(subject, lambda: ops_for(x).linear_forward(x, w.T, b))  # written as y = x @ w
    if transposed or computes(subject, lambda: ops_for(x).linear_forward(x, w, b)):
        yield from transpositions(weight, w, x, dy, transposed)
        yield from wrong_bias(bias, dy, axis=-1)


def transpositions(weight, w, x, dy, transposed):
    """w or dw the wrong way round; only a square weight lets that pass."""
    x, dx_shape, dy = x.reshape(-1, x.shape[-1]), x.shape, dy.reshape(-1, dy.shape[-1])
    if w.shape[0] == w.shape[1]:
        wrong = dy @ (w if transposed else w.T)
        text = "the weight is transposed: " + (
            "forward is y = x @ w, so dx = dy @ w.T" if transposed else "forward is y = x @ w.T, so dx = dy @ w"
        )
        yield Suspect("x", wrong.reshape(dx_shape), text)
        text = "it is transposed: " + ("forward is y = x @ w, so dw = x.T @ dy" if transposed else "dw = dy.T @ x")
        yield Suspect(weight, dy.T @ x if transposed else x.T @ dy, text)
    if len(x) > 1:
        for name, i in (("first", 0), ("last", -1)):
            wrong = x[i][:, None] * dy[i] if transposed else dy[i][:, None] * x[i]
            yield Suspect(
                weight, wrong, f"only the {name} sample counts: dw is the sum over the batch, `+=` and not `=`"
            )
