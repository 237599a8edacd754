"""One table with instructive cases of every layer and combinator; `test_every_layer` runs all of them.

A case is a name, a function that makes the layer, and an input shape. `case.layer(dtype)` then has random parameters
and running statistics, since those that a layer starts with (scale 1, shift 0) hide mistakes.
"""

from typing import NamedTuple

import numpy as np

from minisegnet.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    LogSoftmax,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Sigmoid,
    Softmax,
    Sum,
    Tanh,
    Upsample,
)


class Case(NamedTuple):
    name: str
    make: object  # () -> Layer
    x_shape: tuple

    def layer(self, dtype=np.float64, seed=0):
        """A new layer, the same for the same seed."""
        return randomised(self.make(), seed).astype(dtype)

    def x(self, dtype=np.float64):
        """A random input."""
        return np.random.default_rng(1).standard_normal(self.x_shape).astype(dtype)

    def passes(self, layer, x):
        """y, dx and the parameters' gradients of one forward and backward pass with a random dy."""
        layer.zero_grad()
        y, saved = layer.forward(x)
        dy = np.random.default_rng(2).standard_normal(y.shape).astype(x.dtype)
        return [y, layer.backward(dy, saved), *(p.grad.copy() for p in layer.parameters())]

    @property
    def kinds(self):
        """The names of all layers in it."""
        return {type(layer).__name__ for _, layer in self.make().named_layers()}


def randomised(layer, seed=0):
    """The layer with random parameters and buffers; variances between 1/2 and 2."""
    rng = np.random.default_rng(seed)
    for parameter in layer.parameters():
        parameter.value[...] = rng.standard_normal(parameter.shape) / 2
    for _, part in layer.named_layers():
        for name in part.buffers:
            if getattr(part, name) is not None:
                values = rng.uniform(0.5, 2, getattr(part, name).shape) - (name == "running_mean")
                setattr(part, name, values.astype(np.float32))
    return layer


IMAGES = (2, 2, 4, 5)

CASES = [
    # convolution
    Case("conv", lambda: Conv2d(2, 3, 3, padding=1), IMAGES),
    Case("conv_1x1", lambda: Conv2d(2, 2, 1), IMAGES),
    Case("conv_that_misses_pixels", lambda: Conv2d(2, 3, 2, stride=(3, 2)), IMAGES),
    Case("conv_same_even_kernel", lambda: Conv2d(2, 2, (2, 4), padding="same"), IMAGES),
    Case("conv_same_dilated", lambda: Conv2d(2, 2, 3, padding="same", dilation=(1, 2)), IMAGES),
    Case("conv_valid_no_bias", lambda: Conv2d(2, 3, (3, 2), padding="valid", bias=False), IMAGES),
    Case("conv_padding_above_kernel", lambda: Conv2d(2, 2, 2, padding=(3, 2), stride=2), IMAGES),
    Case("conv_dilated", lambda: Conv2d(2, 3, 2, padding=1, dilation=(3, 4)), IMAGES),
    Case("conv_grouped", lambda: Conv2d(4, 6, 3, padding=1, groups=2, stride=(1, 2)), (2, 4, 3, 4)),
    Case("conv_depthwise", lambda: Conv2d(3, 3, 3, padding=1, groups=3, bias=False), (2, 3, 4, 3)),
    Case("conv_transposed", lambda: ConvTranspose2d(2, 3, 2, stride=2), (2, 2, 3, 2)),
    Case("conv_transposed_stride_1", lambda: ConvTranspose2d(2, 2, 3, padding=1, bias=False), IMAGES),
    Case(
        "conv_transposed_output_padding",
        lambda: ConvTranspose2d(2, 2, 3, stride=(2, 3), padding=1, output_padding=(1, 2)),
        (2, 2, 3, 3),
    ),
    Case("conv_transposed_grouped", lambda: ConvTranspose2d(4, 2, (3, 2), stride=2, groups=2), (2, 4, 2, 3)),
    Case("conv_transposed_gaps", lambda: ConvTranspose2d(2, 2, 1, stride=2, output_padding=1), (2, 2, 3, 2)),
    Case(
        "conv_transposed_dilated",
        lambda: ConvTranspose2d(2, 1, 2, dilation=3, padding=1, output_padding=2),
        (2, 2, 3, 2),
    ),
    # pooling
    Case("max_pool", lambda: MaxPool2d(2), IMAGES),
    Case("max_pool_overlapping", lambda: MaxPool2d(3, stride=1, padding=1), IMAGES),
    Case("max_pool_ceil", lambda: MaxPool2d((2, 3), stride=(3, 2), ceil_mode=True), (2, 2, 5, 6)),
    Case("max_pool_dilated", lambda: MaxPool2d(2, stride=1, padding=1, dilation=(1, 3)), IMAGES),
    Case("avg_pool", lambda: AvgPool2d(2), IMAGES),
    Case("avg_pool_padded", lambda: AvgPool2d(3, stride=1, padding=1), IMAGES),
    Case("avg_pool_inside_only", lambda: AvgPool2d(3, stride=2, padding=1, count_include_pad=False), IMAGES),
    Case("avg_pool_ceil", lambda: AvgPool2d(3, stride=2, padding=1, ceil_mode=True), (2, 2, 4, 6)),
    Case("avg_pool_that_misses_pixels", lambda: AvgPool2d((1, 2), stride=(2, 3)), IMAGES),
    Case("global_avg_pool", lambda: AdaptiveAvgPool2d(1), IMAGES),
    Case("adaptive_avg_pool_overlapping", lambda: AdaptiveAvgPool2d((3, 2)), IMAGES),
    Case("adaptive_avg_pool_of_rows", lambda: AdaptiveAvgPool2d((None, 1)), IMAGES),
    Case("adaptive_avg_pool_enlarging", lambda: AdaptiveAvgPool2d((5, 7)), (2, 2, 3, 5)),
    # resizing
    Case("upsample_nearest", lambda: Upsample(scale_factor=2), (2, 2, 3, 2)),
    Case("upsample_nearest_factor_1.5", lambda: Upsample(scale_factor=(1.5, 0.7)), (2, 2, 3, 5)),
    Case("upsample_nearest_to_smaller", lambda: Upsample(size=(2, 7)), (2, 2, 5, 3)),
    Case("upsample_bilinear", lambda: Upsample(scale_factor=2, mode="bilinear"), (2, 2, 3, 2)),
    Case("upsample_bilinear_to_size", lambda: Upsample(size=(5, 3), mode="bilinear"), (2, 2, 3, 4)),
    Case("upsample_bilinear_corners", lambda: Upsample(size=(5, 3), mode="bilinear", align_corners=True), (2, 2, 3, 4)),
    # element by element
    Case("relu", ReLU, IMAGES),
    Case("relu_of_a_vector", ReLU, (7,)),
    Case("leaky_relu", LeakyReLU, IMAGES),
    Case("leaky_relu_steep", lambda: LeakyReLU(0.3), (3, 4)),
    Case("sigmoid", Sigmoid, IMAGES),
    Case("tanh", Tanh, IMAGES),
    Case("softmax", Softmax, (2, 3, 2, 2)),
    Case("softmax_last_axis", lambda: Softmax(-1), (2, 2, 4)),
    Case("softmax_over_batch", lambda: Softmax(0), (3, 4)),
    Case("log_softmax", LogSoftmax, (2, 3, 2, 2)),
    Case("log_softmax_rows", lambda: LogSoftmax(dim=2), IMAGES),
    Case("dropout", lambda: Dropout(0.4, rng=0), IMAGES),
    Case("dropout_of_nothing", lambda: Dropout(0), IMAGES),
    Case("dropout_of_everything", lambda: Dropout(1, rng=0), (3, 4)),
    Case("dropout_eval", lambda: Dropout(0.4, rng=0).eval(), IMAGES),
    # normalisation, linear
    Case("batch_norm", lambda: BatchNorm2d(2), IMAGES),
    Case("batch_norm_eval", lambda: BatchNorm2d(2, eps=1e-3).eval(), IMAGES),
    Case("batch_norm_not_affine", lambda: BatchNorm2d(2, momentum=0.3, affine=False), IMAGES),
    Case("batch_norm_no_tracking_eval", lambda: BatchNorm2d(2, track_running_stats=False).eval(), IMAGES),
    Case("linear", lambda: Linear(4, 3), (5, 4)),
    Case("linear_no_bias", lambda: Linear(4, 4, bias=False), (5, 4)),
    Case("linear_last_axis", lambda: Linear(5, 2), IMAGES),
    Case("flatten", Flatten, (2, 2, 3, 2)),
    Case("flatten_pixels", lambda: Flatten(start_dim=2), (2, 2, 3, 2)),
    Case("flatten_all", lambda: Flatten(0), (2, 3)),
    Case("identity", Identity, IMAGES),
    # combinators
    Case("sequential", lambda: Sequential(Conv2d(2, 3, 3, padding=1), Tanh(), last=Conv2d(3, 2, 1)), IMAGES),
    Case(
        "sequential_nested", lambda: Sequential(Sequential(Linear(4, 3), Sequential(Sigmoid())), Linear(3, 4)), (5, 4)
    ),
    Case("sum", lambda: Sum(Identity(), Conv2d(2, 2, 3, padding=1)), IMAGES),
    Case(
        "sum_of_odd_sizes",
        lambda: Sum(Identity(), Sequential(AvgPool2d(2), ConvTranspose2d(2, 2, 2, stride=2))),
        (2, 2, 5, 3),
    ),
    Case("sum_cropping", lambda: Sum(Conv2d(2, 1, 2), short=Conv2d(2, 1, 1)), IMAGES),
    Case("concat", lambda: Concat(Conv2d(2, 1, 1), Identity(), Tanh()), IMAGES),
    Case(
        "concat_of_odd_sizes",
        lambda: Concat(Identity(), up=Sequential(MaxPool2d(2), ConvTranspose2d(2, 3, 2, stride=2))),
        (2, 2, 5, 3),
    ),
    Case("concat_of_features", lambda: Concat(Linear(4, 2), Sequential(Linear(4, 3), Tanh())), (5, 4)),
    Case("pool_unpool", lambda: PoolUnpool(Conv2d(2, 2, 3, padding=1)), (2, 2, 5, 4)),
    Case("pool_unpool_overlapping", lambda: PoolUnpool(Conv2d(2, 2, 1), kernel_size=3, stride=2, padding=1), IMAGES),
    Case("pool_unpool_nested", lambda: PoolUnpool(Sequential(Tanh(), PoolUnpool(Identity()))), (2, 2, 5, 6)),
    Case("same_size", lambda: SameSize(Conv2d(2, 3, 3, stride=2)), (2, 2, 5, 7)),
    Case("same_size_corners", lambda: SameSize(AvgPool2d(2), align_corners=True), (2, 2, 5, 4)),
    Case("same_size_nearest", lambda: SameSize(Conv2d(2, 2, 2, stride=2), mode="nearest"), (2, 2, 5, 4)),
    Case("same_size_pad", lambda: SameSize(Conv2d(2, 2, (2, 1), padding=(0, 1)), mode="pad"), IMAGES),
    Case("same_size_already", lambda: SameSize(Conv2d(2, 3, 1)), IMAGES),
    Case("same_size_image_pooling", lambda: SameSize(Sequential(AdaptiveAvgPool2d(1), Conv2d(2, 3, 1))), IMAGES),
]
