"""PyTorch's twin of a net: the same tree, the same numbers, made of `torch.nn` modules.

Since names are the same as well, `dict(twin.named_parameters())` has the keys of `dict(net.named_parameters())`.
"""

import functools
import operator

from minisegnet import layers
from minisegnet.core import Parameter

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:  # then `twin` says what is missing
    torch = None


def twin(net):
    """A torch.nn.Module that computes what `net` computes, with copies of its parameters and running statistics.

    A layer that occurs twice is one module there too, a shared Parameter one torch Parameter. Training or eval mode is
    taken over for each layer. Only dropout in training differs: PyTorch draws masks of its own.

    Raises TypeError for a layer that has no rule here, ImportError without PyTorch.
    """
    if torch is None:
        raise ImportError("PyTorch's twin of a net needs PyTorch: pip install torch")
    return Builder().module(net)


class Builder:
    """One walk through a tree: remembers which layer became which module, and which Parameter which."""

    def __init__(self):
        self.modules, self.parameters = {}, {}

    def module(self, layer):
        """The module for this layer and all below it."""
        if id(layer) not in self.modules:
            rule = next((RULES[kind] for kind in type(layer).__mro__ if kind in RULES), None)
            if rule is None:
                known = ", ".join(sorted(kind.__name__ for kind in RULES))
                raise TypeError(f"{layer.label()} has no twin in PyTorch; there is one for {known}")
            module = rule(layer, self.module)
            self.take_over(layer, module)
            module.training = layer.training
            self.modules[id(layer)] = module
        return self.modules[id(layer)]

    def take_over(self, layer, module):
        """Give the module the layer's own parameters and buffers, under the same names."""
        for name, value in vars(layer).items():
            if isinstance(value, Parameter):
                if id(value) not in self.parameters:
                    self.parameters[id(value)] = nn.Parameter(torch.from_numpy(value.value.copy()))
                setattr(module, name, self.parameters[id(value)])
            elif name in layer.buffers and value is not None:
                setattr(module, name, torch.from_numpy(value.copy()))


# ------------------------------------------------------------------ rules for layers: (layer, make) -> module

EMPTY = "meta"  # a device without memory: PyTorch need not draw initial weights, `take_over` brings ours


def conv2d(layer, make):
    options = {"dilation": layer.dilation, "groups": layer.groups, "bias": layer.bias is not None, "device": EMPTY}
    (top, bottom), (left, right) = layer.pads
    even = top == bottom and left == right
    padding = (top, left) if even else 0
    module = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, padding, **options)
    if not even:  # padding="same" of an even kernel: one row more below, one column more to the right
        module.forward = functools.partial(padded_forward, module, (left, right, top, bottom))
    return module


def padded_forward(module, pads, x):
    return nn.Conv2d.forward(module, F.pad(x, pads))


def conv_transpose2d(layer, make):
    return nn.ConvTranspose2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.groups,
        layer.bias is not None,
        layer.dilation,
        device=EMPTY,
    )


def max_pool2d(layer, make):
    geometry = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return nn.MaxPool2d(*geometry, ceil_mode=layer.ceil_mode)


def avg_pool2d(layer, make):
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, layer.count_include_pad)


def batch_norm2d(layer, make):
    affine, tracking = layer.weight is not None, layer.running_mean is not None
    return nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum, affine, tracking)


def upsample(layer, make):
    corners = layer.align_corners if layer.mode == "bilinear" else None
    return nn.Upsample(layer.size, layer.scale_factor, layer.mode, corners)


def linear(layer, make):
    return nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device=EMPTY)


# ------------------------------------------------------------------ rules for combinators


def whole(layer, make, forward):
    """A module with the twins of this layer's sub-layers, whose forward pass is forward(module, x)."""
    module = nn.Module()
    for name, child in layer.children():
        module.add_module(name, make(child))
    module.forward = functools.partial(forward, module)  # deepcopy copies the module in a partial too
    return module


def run_in_turn(module, x):
    for child in children(module):
        x = child(x)
    return x


def run_sum(module, x):
    return functools.reduce(operator.add, branches(module, x))


def run_concat(module, x):
    return torch.cat(branches(module, x), dim=1)


def children(module):
    """All sub-modules in order, one that was entered twice included twice (`module.children()` has it once)."""
    return module._modules.values()


def branches(module, x):
    """What each sub-module makes of x, padded or cropped to the size of the first."""
    results = [child(x) for child in children(module)]
    return [fit(result, results[0].shape[2:]) for result in results]


def fit(x, size):
    """x (N, C, H, W) padded with zeros or cropped to `size`, the odd row below, the odd column at the right."""
    if x.ndim != 4:
        return x
    pads = []
    for old, new in zip(reversed(x.shape[2:]), reversed(size), strict=True):
        before = int((new - old) / 2)
        pads += [before, new - old - before]
    return F.pad(x, pads) if any(pads) else x  # a negative number crops


def pool_unpool(layer, make):
    pool = layer.pool
    geometry = pool.kernel_size, pool.stride, pool.padding
    overlap = any(stride < kernel for stride, kernel in zip(pool.stride, pool.kernel_size, strict=True))

    def run(module, x):
        pooled, switches = F.max_pool2d(x, *geometry, return_indices=True)
        h = module.body(pooled)
        if overlap:
            h = h * lasting(switches, h, x.shape)
        return F.max_unpool2d(h, switches, *geometry, x.shape[2:])

    return whole(layer, make, run)


def lasting(switches, like, x_shape):
    """1 for each value that is not overwritten by a later one with the same switch, else 0.

    PyTorch's unpooling gives overwritten values a gradient although nothing depends on them.
    """
    places, last = switches.flatten(2), torch.zeros(*x_shape[:2], x_shape[2] * x_shape[3], dtype=torch.int64)
    numbers = torch.arange(1, 1 + places.shape[2]).expand(places.shape)
    last.scatter_reduce_(2, places, numbers, "amax")
    return (last.gather(2, places) == numbers).reshape(switches.shape).to(like.dtype)


def same_size(layer, make):
    mode, corners = layer.mode, layer.align_corners if layer.mode == "bilinear" else None

    def run(module, x):
        h, size = module.body(x), x.shape[2:]
        if h.shape[2:] == size:
            return h
        return fit(h, size) if mode == "pad" else F.interpolate(h, size, None, mode, corners)

    return whole(layer, make, run)


RULES = {
    layers.AdaptiveAvgPool2d: lambda layer, make: nn.AdaptiveAvgPool2d(layer.output_size),
    layers.AvgPool2d: avg_pool2d,
    layers.BatchNorm2d: batch_norm2d,
    layers.Concat: lambda layer, make: whole(layer, make, run_concat),
    layers.Conv2d: conv2d,
    layers.ConvTranspose2d: conv_transpose2d,
    layers.Dropout: lambda layer, make: nn.Dropout(layer.p),
    layers.Flatten: lambda layer, make: nn.Flatten(layer.start_dim),
    layers.Identity: lambda layer, make: nn.Identity(),
    layers.LeakyReLU: lambda layer, make: nn.LeakyReLU(layer.negative_slope),
    layers.Linear: linear,
    layers.LogSoftmax: lambda layer, make: nn.LogSoftmax(layer.dim),
    layers.MaxPool2d: max_pool2d,
    layers.PoolUnpool: pool_unpool,
    layers.ReLU: lambda layer, make: nn.ReLU(),
    layers.SameSize: same_size,
    layers.Sequential: lambda layer, make: whole(layer, make, run_in_turn),
    layers.Sigmoid: lambda layer, make: nn.Sigmoid(),
    layers.Softmax: lambda layer, make: nn.Softmax(layer.dim),
    layers.Sum: lambda layer, make: whole(layer, make, run_sum),
    layers.Tanh: lambda layer, make: nn.Tanh(),
    layers.Upsample: upsample,
}
