"""What the nets are put together from: convolutions that start as the papers' do, and stages of them.

A part that draws weights takes `rng` (a numpy.random.Generator) and `dtype`; the nets hand both on as `**make`.
"""

from ..init import constant, kaiming_normal
from ..layers import BatchNorm2d, Conv2d, ReLU


def conv(in_channels, channels, kernel_size=3, stride=1, dilation=1, bias=True, *, rng, dtype):
    """A convolution padded so that stride 1 keeps the map's size and stride 2 halves it, rounded up.

    The weights are normal with variance 2/fan_in, which keeps the size of the values through any number of ReLUs, and
    the biases are zero: nets of 16 layers without BatchNorm need it. The kernel's size must be odd.
    Source: He et al., Delving deep into rectifiers (2015).

    >>> import numpy as np
    >>> conv(3, 8, kernel_size=3, dilation=4, rng=np.random.default_rng(0), dtype=np.float32)
    Conv2d(3, 8, kernel_size=3, padding=4, dilation=4)
    """
    padding = dilation * (kernel_size - 1) // 2
    layer = Conv2d(in_channels, channels, kernel_size, stride, padding, dilation, bias=bias, rng=rng, dtype=dtype)
    layer.weight.value = kaiming_normal(layer.weight.shape, nonlinearity="relu", rng=rng, dtype=dtype)
    if bias:
        layer.bias.value = constant(layer.bias.shape, dtype=dtype)
    return layer


def unit(in_channels, channels, kernel_size=3, name="", norm=True, relu=True, bias=None, *, rng, dtype, **options):
    """{"conv" + name: ..., "norm" + name: ..., "relu" + name: ...}: what convolutional nets mean by one layer.

    norm and relu say whether those are there. A bias in front of BatchNorm does nothing, since the mean is taken off
    right after it; so unless `bias` says otherwise, there is one only without norm. options: stride, dilation.

    >>> import numpy as np
    >>> from minisegnet.layers import Sequential
    >>> make = {"rng": np.random.default_rng(0), "dtype": np.float32}
    >>> Sequential(**unit(3, 8, name="1", **make), **unit(8, 8, name="2", norm=False, **make))
    Sequential(
      (conv1): Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
      (norm1): BatchNorm2d(8)
      (relu1): ReLU()
      (conv2): Conv2d(8, 8, kernel_size=3, padding=1)
      (relu2): ReLU()
    )
    """
    bias = not norm if bias is None else bias
    layers = {f"conv{name}": conv(in_channels, channels, kernel_size, bias=bias, **options, rng=rng, dtype=dtype)}
    if norm:
        layers[f"norm{name}"] = BatchNorm2d(channels, dtype=dtype)
    if relu:
        layers[f"relu{name}"] = ReLU()
    return layers


def stage(in_channels, channels, **options):
    """Units one after the other, numbered from 1, as a dict; `channels` lists how many each of them makes.

    >>> import numpy as np
    >>> make = {"rng": np.random.default_rng(0), "dtype": np.float32}
    >>> list(stage(3, [8, 16], norm=False, **make))
    ['conv1', 'relu1', 'conv2', 'relu2']
    """
    layers = {}
    for number, made in enumerate(channels, 1):
        layers |= unit(in_channels, made, name=str(number), **options)
        in_channels = made
    return layers


def check_choice(name, value, choices):
    """The value itself, if it is one of `choices`; a ValueError that lists them otherwise."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
    return value


class HasEncoder:
    """For nets with an encoder, which turns the picture into features, and the rest, which turns those into scores.

    In fine-tuning the encoder, trained on much data, is kept, and only the rest is trained:

        trained = [p for name, p in net.named_parameters() if not name.startswith(net.encoder_prefixes)]
        optimiser = Adam(trained, 1e-3)

    A subclass says in `encoder_part` what the parts of its encoder are called.
    """

    encoder_part = "features"

    @property
    def encoder_prefixes(self):
        """What the names of the encoder's parameters and buffers begin with, as a tuple for str.startswith."""
        names = [name for name, _ in self.named_layers() if name.split(".")[-1] == self.encoder_part]
        return tuple(f"{name}." for name in names)
