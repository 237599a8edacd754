"""The small classifiers with which every course begins."""

import numpy as np

from ..combine import Sequential
from ..core import as_rng, check_int
from ..layers import Conv2d, Flatten, Linear, MaxPool2d, ReLU


class SimpleCNN(Sequential):
    """conv - pool - conv - pool - fc - fc: says what is in a picture, not where.

        x ─ conv 3x3 ─ ReLU ─ pool ─ conv 3x3 ─ ReLU ─ pool ─ flatten ─ fc ─ ReLU ─ fc ─ scores

    The fully connected part fixes the picture's size: `size` is a number or (height, width), at least 4.

    Shapes: x (N, in_channels, *size), scores (N, classes). `channels` are those of the two convolutions, (width,
    2*width) unless given; `hidden` the units between the fully connected layers. Two usual nets of this kind:

        64 and 128 channels, 1024 hidden units, 2 classes     SimpleCNN(3, 2)
        32 and 64 channels, 10 classes, as for digits         SimpleCNN(1, 10, size=28, width=32)

    Source: LeCun et al., Gradient-based learning applied to document recognition (1998), for the pattern.

    >>> SimpleCNN(3, 10, size=16, width=4, hidden=5, rng=0)(np.zeros((2, 3, 16, 16), np.float32)).shape
    (2, 10)
    """

    encoder_prefixes = ("conv1.", "conv2.")  # as `parts.HasEncoder` has it for the deeper nets

    def __init__(self, in_channels, classes, size=16, width=64, channels=None, hidden=1024, rng=None, dtype=np.float32):
        rows, columns = (size, size) if np.ndim(size) == 0 else size
        check_int("size", rows, 4)
        check_int("size", columns, 4)
        make = {"rng": as_rng(rng), "dtype": dtype}
        first, second = (check_int("width", width), 2 * width) if channels is None else channels
        super().__init__(
            conv1=Conv2d(in_channels, first, 3, padding=1, **make),
            relu1=ReLU(),
            pool1=MaxPool2d(2),
            conv2=Conv2d(first, second, 3, padding=1, **make),
            relu2=ReLU(),
            pool2=MaxPool2d(2),
            flatten=Flatten(),
            fc1=Linear(second * (rows // 4) * (columns // 4), hidden, **make),
            relu3=ReLU(),
            fc2=Linear(hidden, classes, **make),
        )
