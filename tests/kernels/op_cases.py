"""What the op tests share: one table of example calls for every op, comparisons, and PyTorch as an oracle.

An example is written once for a family of ops (`conv2d_forward`, `conv2d_backward_input`, ...) as a function that
makes the forward op's arguments. Everything else that the family's ops take is derived from it: y and the other
outputs, a random dy of y's shape, x_shape, w_shape. Each op then picks what its signature names.
"""

import inspect
import os
import re

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from kernels import OPS, reference

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"  # thousands of times slower than a GPU

# ------------------------------------------------------------------ comparisons

TOLERANCE = {np.dtype(np.float64): (1e-10, 1e-12), np.dtype(np.float32): (1e-4, 1e-5)}  # relative, absolute


def close(actual, expected, nan=False):
    """Assert equal shape, dtype and values within the dtype's tolerance. NaN is a failure unless `nan` allows it.

    The absolute tolerance grows with the largest expected value: sums of many terms lose digits where they cancel.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype == expected.dtype, f"dtype {actual.dtype}, expected {expected.dtype}"
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    rtol, atol = TOLERANCE[actual.dtype]
    finite = np.abs(expected[np.isfinite(expected)])
    np.testing.assert_allclose(actual, expected, rtol, atol * max(1.0, finite.max(initial=0.0)), equal_nan=nan)


def drawn(max_examples):
    """Hypothesis settings of a test that draws its own configurations: the same ones on every run."""
    if SIMULATED:
        max_examples = min(max_examples, 2)  # of some hundred outputs each
    return settings(max_examples=max_examples, deadline=None, derandomize=True)


def pairs(low, high):
    """A strategy for (vertical, horizontal)."""
    return st.tuples(st.integers(low, high), st.integers(low, high))


batches = st.sampled_from((2, 1, 2, 1, 2, 0))  # numbers of images: an empty batch now and then


def torch_gradients(torch, function, arrays, dy):
    """y = function(*arrays) and the gradient with respect to each array, as PyTorch computes them, as NumPy arrays."""
    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in arrays]
    y = function(*tensors)
    y.backward(torch.from_numpy(dy.copy()))
    return y.detach().numpy(), [t.grad.numpy() for t in tensors]


# ------------------------------------------------------------------ example calls
# Each function gets `draw(*shape)` (normal values of the dtype asked for), the generator behind it, and N, the
# number of images. It returns the arguments of the family's forward (or update) op by name.


def conv2d(draw, rng, N):
    arguments = {"x": draw(N, 3, 5, 6), "w": draw(2, 3, 3, 2), "b": draw(2)}
    return arguments | {"stride": (2, 1), "padding": ((0, 1), (2, 1)), "dilation": 1, "groups": 1}


def conv2d_grouped(draw, rng, N):
    arguments = {"x": draw(N, 4, 6, 5), "w": draw(6, 2, 2, 3), "b": draw(6)}
    return arguments | {"stride": 1, "padding": 3, "dilation": (3, 2), "groups": 2}


def conv_transpose2d(draw, rng, N):
    arguments = {"x": draw(N, 2, 3, 4), "w": draw(2, 3, 3, 2), "b": draw(3)}
    return arguments | {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "dilation": 1, "groups": 1}


def conv_transpose2d_grouped(draw, rng, N):
    arguments = {"x": draw(N, 4, 3, 2), "w": draw(4, 1, 2, 3), "b": draw(2)}
    return arguments | {"stride": 1, "padding": ((1, 0), (2, 1)), "output_padding": 1, "dilation": 2, "groups": 2}


def max_pool2d(draw, rng, N):
    x = draw(N, 3, 5, 6)
    x[...] = rng.permutation(x.size).reshape(x.shape) / 8 - 4  # no two values so close that eps decides
    return {"x": x, "kernel": (2, 3), "stride": (2, 1), "padding": 1, "dilation": (2, 1), "ceil_mode": True}


def max_unpool2d(draw, rng, N):
    switches = np.array([[[0, 3], [9, 10]], [[6, 2], [18, 14]]], np.int32)  # in planes of 4 x 5 pixels
    return {"x": draw(N, 2, 2, 2), "argmax": np.tile(switches, (N, 1, 1, 1)), "y_shape": (N, 2, 4, 5)}


def max_unpool2d_duplicates(draw, rng, N):
    return {"x": draw(N, 3, 3, 4), "argmax": rng.integers(0, 10, (N, 3, 3, 4), np.int32), "y_shape": (N, 3, 2, 5)}


def avg_pool2d(draw, rng, N):
    arguments = {"x": draw(N, 3, 6, 5), "kernel": 3, "stride": (2, 1), "padding": (1, 0)}
    return arguments | {"ceil_mode": True, "count_include_pad": True}


def avg_pool2d_inside(draw, rng, N):
    arguments = {"x": draw(N, 3, 5, 4), "kernel": (4, 2), "stride": 3, "padding": (2, 1)}
    return arguments | {"ceil_mode": False, "count_include_pad": False}


def adaptive_avg_pool2d(draw, rng, N):
    return {"x": draw(N, 3, 7, 4), "size": (3, 5)}


def upsample_nearest2d(draw, rng, N):
    return {"x": draw(N, 3, 3, 5), "size": (7, 2), "scale": (3 / 7, 5 / 2)}


def upsample_bilinear2d(draw, rng, N):
    return {"x": draw(N, 3, 3, 5), "size": (7, 2), "scale": (3 / 7, 5 / 2), "align_corners": False}


def upsample_bilinear2d_corners(draw, rng, N):
    return {"x": draw(N, 3, 3, 5), "size": (4, 8), "scale": (3 / 4, 5 / 8), "align_corners": True}


def fit2d(draw, rng, N):
    return {"x": draw(N, 3, 3, 6), "size": (6, 3)}


def elementwise(draw, rng, N):
    return {"x": draw(N, 3, 4, 5)}


def leaky_relu(draw, rng, N):
    return {"x": draw(N, 3, 4, 5), "slope": 0.1}


def dropout(draw, rng, N):
    return {"x": draw(N, 3, 4, 5), "keep": rng.random((N, 3, 4, 5)) < 0.5, "scale": 2.0}


def channel_softmax(draw, rng, N):
    return {"x": draw(N, 3, 4, 5), "dim": 1}


def last_softmax(draw, rng, N):
    return {"x": draw(N, 6), "dim": -1}


def cross_entropy(draw, rng, N):
    target = rng.integers(0, 4, (N, 3, 5))
    target[:, 1, 2:4] = 255
    arguments = {"scores": draw(N, 4, 3, 5), "target": target, "weight": np.abs(draw(4))}
    return arguments | {"ignore_index": 255, "label_smoothing": 0.1}


def cross_entropy_plain(draw, rng, N):
    arguments = {"scores": draw(N, 4), "target": rng.integers(0, 4, N).astype(np.uint8), "weight": None}
    return arguments | {"ignore_index": -100, "label_smoothing": 0.0}


def linear(draw, rng, N):
    return {"x": draw(N, 5), "w": draw(3, 5), "b": draw(3)}


def linear_leading_axes(draw, rng, N):
    return {"x": draw(N, 2, 4, 5), "w": draw(3, 5), "b": draw(3)}


def batch_norm_train(draw, rng, N):
    return {"x": 2 * draw(N, 3, 4, 5) + 1, "weight": draw(3), "bias": draw(3), "eps": 1e-5}


def batch_norm_train_plain(draw, rng, N):
    return {"x": 2 * draw(N, 3, 4, 5) + 1, "weight": None, "bias": None, "eps": 1e-3}


def batch_norm_eval(draw, rng, N):
    statistics = {"mean": rng.normal(size=3), "var": rng.uniform(0.5, 2, 3)}
    return {"x": draw(N, 3, 4, 5), "weight": draw(3), "bias": draw(3), "eps": 1e-5} | statistics


def batch_norm_eval_plain(draw, rng, N):
    return batch_norm_eval(draw, rng, N) | {"weight": None, "bias": None}


def add(draw, rng, N):
    return {"arrays": [draw(N, 3, 4), draw(N, 3, 4), draw(N, 3, 4)]}


def concat(draw, rng, N):
    return {"arrays": [draw(N, 3, 4, 2), draw(N, 1, 4, 2), draw(N, 2, 4, 2)], "channels": [3, 1, 2]}


def sgd(draw, rng, N):
    arguments = {"value": draw(N, 3, 4), "grad": draw(N, 3, 4), "velocity": draw(N, 3, 4), "lr": 0.1}
    return arguments | {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True}


def sgd_plain(draw, rng, N):
    arguments = {"value": draw(N, 3, 4), "grad": draw(N, 3, 4), "velocity": None, "lr": 0.1}
    return arguments | {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False}


def adam(draw, rng, N):
    arguments = {"value": draw(N, 3, 4), "grad": draw(N, 3, 4), "m": draw(N, 3, 4), "v": np.abs(draw(N, 3, 4))}
    rates = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
    return arguments | rates | {"step": 3, "weight_decay": 0.01, "decoupled": False}


def adamw(draw, rng, N):
    return adam(draw, rng, N) | {"decoupled": True}


EXAMPLES = {
    "conv2d": (conv2d, conv2d_grouped),
    "conv2d_relu": (conv2d, conv2d_grouped),
    "conv_transpose2d": (conv_transpose2d, conv_transpose2d_grouped),
    "max_pool2d": (max_pool2d,),
    "max_unpool2d": (max_unpool2d, max_unpool2d_duplicates),
    "avg_pool2d": (avg_pool2d, avg_pool2d_inside),
    "adaptive_avg_pool2d": (adaptive_avg_pool2d,),
    "upsample_nearest2d": (upsample_nearest2d,),
    "upsample_bilinear2d": (upsample_bilinear2d, upsample_bilinear2d_corners),
    "fit2d": (fit2d,),
    "relu": (elementwise,),
    "leaky_relu": (leaky_relu,),
    "sigmoid": (elementwise,),
    "tanh": (elementwise,),
    "dropout": (dropout,),
    "softmax": (channel_softmax, last_softmax),
    "log_softmax": (channel_softmax, last_softmax),
    "softmax_cross_entropy": (cross_entropy, cross_entropy_plain),
    "linear": (linear, linear_leading_axes),
    "batch_norm_train": (batch_norm_train, batch_norm_train_plain),
    "batch_norm_eval": (batch_norm_eval, batch_norm_eval_plain),
    "batch_norm_relu_train": (batch_norm_train, batch_norm_train_plain),
    "batch_norm_relu_eval": (batch_norm_eval, batch_norm_eval_plain),
    "add": (add,),
    "concat": (concat,),
    "sgd": (sgd, sgd_plain),
    "adam": (adam, adamw),
}

# ------------------------------------------------------------------ what the names mean

OUTPUTS = {  # names of a forward op's outputs where there is more than y
    "max_pool2d": ("y", "argmax"),
    "softmax_cross_entropy": ("losses", "p"),
    "batch_norm_train": ("y", "mean", "var"),
    "batch_norm_relu_train": ("y", "mean", "var"),
}
CHANGED = {"sgd_update": ("value", "velocity"), "adam_update": ("value", "m", "v")}  # in place: the op's purpose
STATISTICS = ("mean", "var")  # float64 whatever the data is
PASSES = {  # what a backward pass returns gradients for
    "backward": ("x",),
    "backward_input": ("x",),
    "backward_weight": ("w",),
    "backward_bias": ("b",),
}
GRADIENTS = {  # and where it is something else
    "softmax_cross_entropy_backward": ("scores",),
    "batch_norm_train_backward": ("x", "weight", "bias"),
    "batch_norm_eval_backward": ("x", "weight", "bias"),
    "batch_norm_relu_train_backward": ("x", "weight", "bias"),
    "batch_norm_relu_eval_backward": ("x", "weight", "bias"),
    "concat_backward": ("arrays",),
}


def family_and_pass(op):
    """("conv2d", "backward_input") of "conv2d_backward_input"."""
    return re.fullmatch(r"(\w+?)_(forward|update|backward(?:_input|_weight|_bias)?)", op).groups()


def gradients_of(op):
    """Names of the forward arguments that a backward op's results are the gradients of."""
    return GRADIENTS.get(op, PASSES[family_and_pass(op)[1]])


FORWARD_OPS = [op for op in OPS if op.endswith("_forward")]
BACKWARD_OPS = [op for op in OPS if "_backward" in op]
UPDATE_OPS = [op for op in OPS if op.endswith("_update")]


def cases(ops=OPS):
    """(op, example) of every example call of the named ops, for pytest.mark.parametrize."""
    return [(op, example) for op in ops for example in EXAMPLES.get(family_and_pass(op)[0], ())]


def case_name(value):
    return value.__name__ if callable(value) else None


def parameters(op):
    """The names of an op's parameters, as the table gives them."""
    return tuple(inspect.signature(OPS[op]).parameters)


def values(family, example, dtype=np.float64, N=2, seed=0):
    """Everything that the ops of a family take, by name: the example's arguments and what follows from them.

    float32 values are the rounded float64 ones, so both can be compared.
    """
    rng = np.random.default_rng(seed)
    found = example(lambda *shape: rng.normal(size=shape).astype(dtype), rng, N)
    if f"{family}_forward" in OPS:
        y = call(reference, f"{family}_forward", found)
        names = OUTPUTS.get(family, ("y",))
        found |= zip(names, y if len(names) > 1 else (y,), strict=True)
        dy = rng.normal(size=found[names[0]].shape).astype(dtype)
        found |= {"dlosses" if names[0] == "losses" else "dy": dy}
        found |= {f"{name}_shape": found[name].shape for name in ("x", "w") if name in found}
    return found


def arguments(op, example, **options):
    """The arguments of one example call of `op`, by name, in the op's order."""
    found = values(family_and_pass(op)[0], example, **options)
    return {name: found[name] for name in parameters(op)}


def call(ops, op, found):
    """Call an op with those of the values `found` that its signature names."""
    return getattr(ops, op)(*(found[name] for name in parameters(op)))


def outcome(ops, op, found):
    """What a call gives, as a flat list of arrays: its results, or for an update the arrays that it changed."""
    result = call(ops, op, found)
    if op in CHANGED:
        return [found[name] for name in CHANGED[op] if found[name] is not None]
    return list(result) if isinstance(result, (tuple, list)) else [result]


def map_arrays(function, found):
    """The same arguments with function(name, array) in the place of every array, those in lists included."""

    def mapped(name, value):
        if isinstance(value, list):
            return [mapped(name, v) for v in value]
        return function(name, value) if isinstance(value, np.ndarray) else value

    return {name: mapped(name, value) for name, value in found.items()}


def arrays_of(found):
    """(name, array) of every array among the arguments, those in lists included."""
    for name, value in found.items():
        for a in value if isinstance(value, list) else [value]:
            if isinstance(a, np.ndarray):
                yield name, a


def data_names(found):
    """Names of the arguments that hold floating data: neither switches, labels and masks nor statistics."""
    return list({name: None for name, a in arrays_of(found) if a.dtype.kind == "f" and name not in STATISTICS})
