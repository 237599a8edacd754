"""PyTorch as an independent oracle: runs any tree of our layers with `torch.nn.functional` and compares.

Every kind of layer has a rule that says the same in PyTorch; autograd then finds the gradients without our backward.
"""

import copy
import warnings

import numpy as np
import pytest

from minisegnet import layers

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None
else:
    torch.set_num_threads(1)

requires_torch = pytest.mark.skipif(torch is None, reason="PyTorch, the oracle, is not installed")

RTOL = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-4}
ATOL = {np.dtype(np.float64): 1e-12, np.dtype(np.float32): 1e-5}


# ------------------------------------------------------------------ running


class TorchRun:
    """What PyTorch makes of a net: y, dx, gradients by dotted name, and buffers as they are afterwards."""

    def __init__(self, net, x, dy):
        # One leaf for each Parameter object: a Parameter that two layers share is one leaf as well.
        self.leaves = {id(p): leaf(p.value) for p in net.parameters()}
        self.states = {}  # buffers and generators of each layer, which a layer that comes twice moves on twice
        x_leaf = leaf(x)
        y = self.run(net, x_leaf)
        y.backward(torch.from_numpy(dy.copy()))
        self.y, self.dx = y.detach().numpy(), gradient(x_leaf)
        self.grads = {name: gradient(self.leaves[id(p)]) for name, p in net.named_parameters()}
        self.buffers = {
            f"{prefix}.{name}" if prefix else name: value.numpy()
            for prefix, layer in net.named_layers()
            for name, value in self.states.get(id(layer), {}).items()
            if name in layer.buffers
        }

    def run(self, layer, x):
        """y of `layer` at the tensor x."""
        rule = next(RULES[kind] for kind in type(layer).__mro__ if kind in RULES)
        return rule(self, layer, x)

    def parameter(self, parameter):
        """The leaf that stands for one of our Parameters, None for none."""
        return None if parameter is None else self.leaves[id(parameter)]

    def state(self, layer, start):
        """The state of this layer: `start` at its first use."""
        return self.states.setdefault(id(layer), start)


def leaf(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def gradient(tensor):
    """A leaf's gradient; zeros where PyTorch found that nothing depends on it."""
    return np.zeros(tensor.shape, tensor.detach().numpy().dtype) if tensor.grad is None else tensor.grad.numpy()


def torch_run(layer, x, dy):
    """(y, dx, {dotted name: gradient}) of any layer or net as PyTorch computes them; `layer` stays as it is."""
    run = TorchRun(layer, x, dy)
    return run.y, run.dx, run.grads


# ------------------------------------------------------------------ rules


def conv2d(run, layer, x):
    w, b = run.parameter(layer.weight), run.parameter(layer.bias)
    with warnings.catch_warnings():  # an even kernel with padding="same" costs PyTorch a copy, and it says so
        warnings.filterwarnings("ignore", message="Using padding='same'")
        return F.conv2d(x, w, b, layer.stride, layer.padding, layer.dilation, layer.groups)


def conv_transpose2d(run, layer, x):
    w, b = run.parameter(layer.weight), run.parameter(layer.bias)
    return F.conv_transpose2d(x, w, b, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)


def max_pool2d(run, layer, x):
    return F.max_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.dilation, layer.ceil_mode)


def avg_pool2d(run, layer, x):
    return F.avg_pool2d(x, layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad)


def upsample(run, layer, x):
    corners = layer.align_corners if layer.mode == "bilinear" else None
    return F.interpolate(x, layer.size, layer.scale_factor, layer.mode, corners)


def batch_norm2d(run, layer, x):
    weight, bias = run.parameter(layer.weight), run.parameter(layer.bias)
    running = {}
    if layer.running_mean is not None:
        running = run.state(layer, {name: torch.from_numpy(getattr(layer, name).copy()) for name in layer.buffers})
    mean, var = running.get("running_mean"), running.get("running_var")
    return F.batch_norm(x, mean, var, weight, bias, layer.training or not running, layer.momentum, layer.eps)


def dropout(run, layer, x):
    """With the draws of our own generator: which elements go is chance, what happens to the others is not."""
    if not layer.training or layer.p == 0:
        return x
    rng = run.state(layer, {"rng": copy.deepcopy(layer.rng)})["rng"]
    keep = torch.from_numpy(rng.random(tuple(x.shape), np.float32) >= layer.p)
    return torch.where(keep, x / (1 - layer.p) if layer.p < 1 else x, 0.0)


def sequential(run, layer, x):
    for inner in layer:
        x = run.run(inner, x)
    return x


def fitted(x, size):
    """Padded with zeros or cropped to `size`, half of it in front; a negative padding crops."""
    if x.ndim != 4:
        return x
    (top, bottom), (left, right) = (
        (int((new - old) / 2), new - old - int((new - old) / 2)) for old, new in zip(x.shape[2:], size, strict=True)
    )
    return F.pad(x, (left, right, top, bottom))


def branches(run, layer, x):
    results = [run.run(inner, x) for inner in layer]
    return [fitted(result, results[0].shape[2:]) for result in results]


def pool_unpool(run, layer, x):
    """F.max_unpool2d, with one correction: it also gives a gradient to values that later ones have overwritten.

    Unpooling each value's own number shows which ones last; the others are multiplied by 0, which leaves y as it is.
    """
    geometry = (layer.pool.kernel_size, layer.pool.stride, layer.pool.padding)
    pooled, switches = F.max_pool2d(x, *geometry, return_indices=True)
    h, size = run.run(layer.body, pooled), x.shape[2:]
    numbers = torch.arange(1.0, 1 + switches[0, 0].numel(), dtype=x.dtype).reshape(switches.shape[2:]).expand(h.shape)
    written = F.max_unpool2d(numbers.contiguous(), switches, *geometry, size)
    last = written.flatten(2).gather(2, switches.flatten(2)).reshape(h.shape) == numbers
    return F.max_unpool2d(h * last, switches, *geometry, size)


def same_size(run, layer, x):
    h, size = run.run(layer.body, x), x.shape[2:]
    if h.shape[2:] == size:
        return h
    if layer.mode == "pad":
        return fitted(h, size)
    return F.interpolate(
        h, size, mode=layer.mode, align_corners=layer.align_corners if layer.mode == "bilinear" else None
    )


RULES = {
    layers.AdaptiveAvgPool2d: lambda run, layer, x: F.adaptive_avg_pool2d(x, layer.output_size),
    layers.AvgPool2d: avg_pool2d,
    layers.BatchNorm2d: batch_norm2d,
    layers.Concat: lambda run, layer, x: torch.cat(branches(run, layer, x), dim=1),
    layers.Conv2d: conv2d,
    layers.ConvTranspose2d: conv_transpose2d,
    layers.Dropout: dropout,
    layers.Flatten: lambda run, layer, x: torch.flatten(x, layer.start_dim),
    layers.Identity: lambda run, layer, x: x,
    layers.LeakyReLU: lambda run, layer, x: F.leaky_relu(x, layer.negative_slope),
    layers.Linear: lambda run, layer, x: F.linear(x, run.parameter(layer.weight), run.parameter(layer.bias)),
    layers.LogSoftmax: lambda run, layer, x: F.log_softmax(x, layer.dim),
    layers.MaxPool2d: max_pool2d,
    layers.PoolUnpool: pool_unpool,
    layers.ReLU: lambda run, layer, x: F.relu(x),
    layers.SameSize: same_size,
    layers.Sequential: sequential,
    layers.Sigmoid: lambda run, layer, x: torch.sigmoid(x),
    layers.Softmax: lambda run, layer, x: F.softmax(x, layer.dim),
    layers.Sum: lambda run, layer, x: sum(branches(run, layer, x)),
    layers.Tanh: lambda run, layer, x: torch.tanh(x),
    layers.Upsample: upsample,
}


# ------------------------------------------------------------------ comparing


def close(name, ours, theirs, terms=1):
    """Assert equal shape, dtype and values; NaN equals nothing.

    The absolute tolerance grows with the largest expected value, as sums do with the number of their terms: where
    terms of that size cancel, that many digits are gone. `terms` raises it further, for sums of sums of sums.
    """
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, PyTorch's {theirs.shape}"
    assert ours.dtype == theirs.dtype, f"{name}: dtype {ours.dtype}, PyTorch's {theirs.dtype}"
    atol = terms * ATOL[ours.dtype] * max(1.0, np.abs(theirs).max(initial=0.0))
    np.testing.assert_allclose(ours, theirs, RTOL[ours.dtype], atol, equal_nan=False, err_msg=name)


def assert_agrees(layer, x, rng, terms=1):
    """Our forward and backward agree with PyTorch: y, dx, every parameter's gradient, running statistics.

    dy is random and not uniform. `layer` is used as it is, so its gradients and running statistics change. For a deep
    net, `terms` is the number of terms of its typical sum.
    """
    before = copy.deepcopy(layer)
    layer.zero_grad()
    y, saved = layer.forward(x)
    dy = rng.standard_normal(y.shape).astype(x.dtype)
    dx = layer.backward(dy, saved)
    theirs = TorchRun(before, x, dy)
    close("y", y, theirs.y, terms)
    close("dx", dx, theirs.dx, terms)
    ours = dict(layer.named_parameters())
    assert list(ours) == list(theirs.grads)
    for name, parameter in ours.items():
        close(f"the gradient of {name}", parameter.grad, theirs.grads[name], terms)
    for name, value in layer.state_dict().items():
        if name not in ours:
            close(name, value, theirs.buffers[name], terms)
