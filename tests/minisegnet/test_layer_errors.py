"""Every bad argument of a layer: the type of the error, the layer's name, what it got and what it expected."""

import re

import numpy as np
import pytest
from oracle import requires_torch, torch

import kernels
from minisegnet import Parameter, ShapeError, layers
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
    SameSize,
    Sequential,
    Softmax,
    Sum,
    Upsample,
)

CONVOLUTIONS = [Conv2d, ConvTranspose2d]
POOLS = [MaxPool2d, AvgPool2d]


def raises(error, text):
    """pytest.raises for an error whose text begins with `text`."""
    return pytest.raises(error, match="^" + re.escape(text))


# ------------------------------------------------------------------ constructors

NOT_PAIRS = [
    (1j, TypeError, "an integer or a pair of integers"),
    (1.5, TypeError, "an integer or a pair of integers"),
    ((1, "2"), TypeError, "an integer or a pair of integers"),
    ((1, 2, 3), ValueError, "one integer or two (vertical, horizontal)"),
    ((), ValueError, "one integer or two (vertical, horizontal)"),
]
GEOMETRY = [(cls, name) for cls in (*CONVOLUTIONS, *POOLS) for name in ("kernel_size", "stride", "padding", "dilation")]
GEOMETRY.remove((AvgPool2d, "dilation"))


def make(cls, **arguments):
    """A convolution or pool of kernel 3, unless the arguments say otherwise."""
    return cls(*(2, 2) if cls in CONVOLUTIONS else (), **({"kernel_size": 3} | arguments))


@pytest.mark.parametrize(("value", "error", "text"), NOT_PAIRS, ids=repr)
@pytest.mark.parametrize(("cls", "argument"), GEOMETRY)
def test_geometry_must_be_integers(cls, argument, value, error, text):
    with raises(error, f"{cls.__name__}: {argument} must be {text}, got {value!r}"):
        make(cls, **{argument: value})


@pytest.mark.parametrize("value", [-1, (0, -1), (-2, 1)], ids=str)
@pytest.mark.parametrize(("cls", "argument"), GEOMETRY)
def test_geometry_must_not_be_negative(cls, argument, value):
    with raises(ValueError, f"{cls.__name__}: {argument} must be at least {int(argument != 'padding')}, got {value}"):
        make(cls, **{argument: value})


@pytest.mark.parametrize("value", [0, (1, 0)], ids=str)
@pytest.mark.parametrize(("cls", "argument"), [pair for pair in GEOMETRY if pair[1] != "padding"])
def test_geometry_must_not_be_zero(cls, argument, value):
    with raises(ValueError, f"{cls.__name__}: {argument} must be at least 1, got {value}"):
        make(cls, **{argument: value})


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        # convolution
        (lambda: Conv2d(0, 1, 3), ValueError, "Conv2d: in_channels must be at least 1, got 0"),
        (lambda: Conv2d(1, -2, 3), ValueError, "Conv2d: out_channels must be at least 1, got -2"),
        (lambda: Conv2d(1.0, 1, 3), TypeError, "Conv2d: in_channels must be an integer, got 1.0"),
        (lambda: Conv2d(1, "3", 3), TypeError, "Conv2d: out_channels must be an integer, got '3'"),
        (lambda: Conv2d(2, 2, 3, groups=0), ValueError, "Conv2d: groups must be at least 1, got 0"),
        (lambda: Conv2d(2, 2, 3, groups=1.0), TypeError, "Conv2d: groups must be an integer, got 1.0"),
        (
            lambda: Conv2d(3, 4, 3, groups=2),
            ValueError,
            "Conv2d: groups=2 must divide both the 3 input and the 4 output channels",
        ),
        (
            lambda: ConvTranspose2d(4, 3, 3, groups=2),
            ValueError,
            "ConvTranspose2d: groups=2 must divide both the 4 input and the 3 output channels",
        ),
        (
            lambda: Conv2d(1, 1, 3, padding="same", stride=2),
            ValueError,
            'Conv2d: padding="same" needs stride 1, got stride=(2, 2); give the padding as numbers',
        ),
        (
            lambda: Conv2d(1, 1, 3, padding="full"),
            ValueError,
            'Conv2d: padding must be numbers, "same" or "valid", got \'full\'',
        ),
        (
            lambda: ConvTranspose2d(1, 1, 3, padding="same"),
            TypeError,
            "ConvTranspose2d: padding must be a number or two, got 'same': only Conv2d knows words for it",
        ),
        (
            lambda: ConvTranspose2d(1, 1, 3, stride=2, output_padding=2),
            ValueError,
            "ConvTranspose2d: output_padding=(2, 2) must be smaller than stride=(2, 2) or dilation=(1, 1)",
        ),
        (
            lambda: ConvTranspose2d(1, 1, 3, output_padding=-1),
            ValueError,
            "ConvTranspose2d: output_padding must be at least 0, got -1",
        ),
        (
            lambda: Conv2d(1, 1, 3, dtype=np.float16),
            TypeError,
            "Conv2d: dtype must be float32 (to train) or float64 (to check), got float16",
        ),
        (lambda: Conv2d(1, 1, 3, rng=0.5), TypeError, "Conv2d: rng must be a seed (an integer of at least 0), a numpy"),
        # pooling
        (
            lambda: MaxPool2d(2, padding=2),
            ValueError,
            "MaxPool2d: padding=(2, 2) must be at most half of kernel_size=(2, 2)",
        ),
        (
            lambda: AvgPool2d((3, 2), padding=(1, 2)),
            ValueError,
            "AvgPool2d: padding=(1, 2) must be at most half of kernel_size=(3, 2)",
        ),
        (lambda: AdaptiveAvgPool2d(0), ValueError, "AdaptiveAvgPool2d: output_size must be at least 1, got [0, 0]"),
        (
            lambda: AdaptiveAvgPool2d((None, 1.5)),
            TypeError,
            "AdaptiveAvgPool2d: output_size must be an integer or a pair of integers, got [1, 1.5]",
        ),
        (
            lambda: AdaptiveAvgPool2d((1, 2, 3)),
            ValueError,
            "AdaptiveAvgPool2d: output_size must be one integer or two (vertical, horizontal), got [1, 2, 3]",
        ),
        # resizing
        (
            lambda: Upsample(),
            ValueError,
            "Upsample: give either size or scale_factor, got size=None, scale_factor=None",
        ),
        (
            lambda: Upsample(4, 2),
            ValueError,
            "Upsample: give either size or scale_factor, got size=4, scale_factor=2",
        ),
        (
            lambda: Upsample(4, mode="cubic"),
            ValueError,
            'Upsample: mode must be "nearest" or "bilinear", got \'cubic\'',
        ),
        (lambda: Upsample(4, align_corners=True), ValueError, 'Upsample: align_corners=True needs mode="bilinear"'),
        (lambda: Upsample(0), ValueError, "Upsample: size must be at least 1, got 0"),
        (lambda: Upsample("4"), TypeError, "Upsample: size must be an integer or a pair of integers, got '4'"),
        (lambda: Upsample(scale_factor=0), ValueError, "Upsample: scale_factor must be in (0, inf), got 0"),
        (lambda: Upsample(scale_factor=-2), ValueError, "Upsample: scale_factor must be in (0, inf), got -2"),
        (lambda: Upsample(scale_factor=np.inf), ValueError, "Upsample: scale_factor must be in (0, inf), got inf"),
        (lambda: Upsample(scale_factor=np.nan), ValueError, "Upsample: scale_factor must be in (0, inf), got nan"),
        (lambda: Upsample(scale_factor="2"), TypeError, "Upsample: scale_factor must be a number, got '2'"),
        (
            lambda: Upsample(scale_factor=(1, 2, 3)),
            ValueError,
            "Upsample: scale_factor must be one number or two (vertical, horizontal), got (1, 2, 3)",
        ),
        # the others
        (lambda: BatchNorm2d(0), ValueError, "BatchNorm2d: num_features must be at least 1, got 0"),
        (lambda: BatchNorm2d(2.5), TypeError, "BatchNorm2d: num_features must be an integer, got 2.5"),
        (lambda: BatchNorm2d(2, eps=0), ValueError, "BatchNorm2d: eps must be in (0, inf), got 0"),
        (lambda: BatchNorm2d(2, eps=-1e-5), ValueError, "BatchNorm2d: eps must be in (0, inf), got -1e-05"),
        (lambda: BatchNorm2d(2, momentum=1.1), ValueError, "BatchNorm2d: momentum must be in [0, 1], got 1.1"),
        (lambda: BatchNorm2d(2, momentum=None), TypeError, "BatchNorm2d: momentum must be a number, got None"),
        (lambda: BatchNorm2d(2, dtype=int), TypeError, "BatchNorm2d: dtype must be float32 (to train) or float64"),
        (lambda: Dropout(-0.1), ValueError, "Dropout: p must be in [0, 1], got -0.1"),
        (lambda: Dropout(1.5), ValueError, "Dropout: p must be in [0, 1], got 1.5"),
        (lambda: Dropout(np.nan), ValueError, "Dropout: p must be in [0, 1], got nan"),
        (lambda: Dropout("half"), TypeError, "Dropout: p must be a number, got 'half'"),
        (lambda: Dropout(rng="seed"), TypeError, "Dropout: rng must be a seed (an integer of at least 0), a numpy.ran"),
        (lambda: Linear(0, 1), ValueError, "Linear: in_features must be at least 1, got 0"),
        (lambda: Linear(1, 0), ValueError, "Linear: out_features must be at least 1, got 0"),
        (lambda: Linear(1, None), TypeError, "Linear: out_features must be an integer, got None"),
        (lambda: Flatten(-1), ValueError, "Flatten: start_dim must be at least 0, got -1"),
        (lambda: LeakyReLU("a"), TypeError, "LeakyReLU: negative_slope must be a number, got 'a'"),
        (lambda: Softmax("channels"), TypeError, "Softmax: dim must be an integer, got 'channels'"),
        (lambda: LogSoftmax(1.0), TypeError, "LogSoftmax: dim must be an integer, got 1.0"),
    ],
)
def test_bad_arguments_of_constructors(make, error, text):
    with raises(error, text) as caught:
        make()
    assert type(caught.value) is error


# ------------------------------------------------------------------ inputs


def images(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("layer", "x", "text"),
    [
        # kernel larger than the padded input: both sizes
        (
            Conv2d(1, 1, 5),
            images(1, 1, 4, 6),
            "Conv2d(1, 1, kernel_size=5): a kernel of height 5 covers 5 pixels, more than the padded input's height 4; "
            "use a larger image, a smaller kernel or more padding",
        ),
        (
            Conv2d(1, 1, 3, padding=1, dilation=4),
            images(1, 1, 9, 5),
            "Conv2d(1, 1, kernel_size=3, padding=1, dilation=4): a kernel of width 3 covers 9 pixels (dilation 4), "
            "more than the padded input's width 7 = 5 + padding 2; use a larger image",
        ),
        (
            MaxPool2d(3),
            images(1, 1, 2, 4),
            "MaxPool2d(3): a kernel of height 3 covers 3 pixels, more than the padded input's height 2",
        ),
        (
            AvgPool2d(4, stride=1, ceil_mode=True),
            images(1, 1, 4, 2),
            "AvgPool2d(4, stride=1, ceil_mode=True): a kernel of width 4 covers 4 pixels, more than the padded input's",
        ),
        (
            ConvTranspose2d(1, 1, 2, padding=2),
            images(1, 1, 1, 4),
            "ConvTranspose2d(1, 1, kernel_size=2, padding=2): the output would be -2x1 pixels for an input of 1x4; "
            "use less padding",
        ),
        # channels
        (
            Conv2d(3, 2, 1),
            images(1, 4, 2, 2),
            "Conv2d(3, 2, kernel_size=1): x has shape (1, 4, 2, 2): 4 channels, expected 3",
        ),
        (
            Conv2d(4, 2, 1, groups=2),
            images(1, 2, 2, 2),
            "Conv2d(4, 2, kernel_size=1, groups=2): x has shape (1, 2, 2, 2): 2 channels, expected 4",
        ),
        (
            ConvTranspose2d(3, 2, 1),
            images(1, 4, 2, 2),
            "ConvTranspose2d(3, 2, kernel_size=1): x has shape (1, 4, 2, 2): 4 channels, expected 3",
        ),
        (BatchNorm2d(3), images(2, 4, 2, 2), "BatchNorm2d(3): x has shape (2, 4, 2, 2): 4 channels, expected 3"),
        (
            Linear(3, 2),
            images(1, 4),
            "Linear(3, 2): x has shape (1, 4), expected (..., 3) (the weight has ",
        ),
        # one value per channel
        (
            BatchNorm2d(2),
            images(1, 2, 1, 1),
            "BatchNorm2d(2): x has shape (1, 2, 1, 1): one value per channel has no variance; train with a larger "
            "batch or map, or call net.eval()",
        ),
        # too few axes
        (Softmax(2), images(2, 3), "Softmax(dim=2): x has shape (2, 3), expected one with an axis 2"),
        (Flatten(2), images(2, 3), "Flatten(start_dim=2): x has shape (2, 3), expected more than start_dim=2 axes"),
        # sizes
        (MaxPool2d(2), images(1, 1, 0, 4), "MaxPool2d(2): the input has height 0: there is nothing to compute"),
        (Conv2d(1, 1, 1), images(1, 1, 4, 0), "Conv2d(1, 1, kernel_size=1): the input has width 0: there is nothing"),
        # combinators
        (
            Sum(Identity(), AvgPool2d(2)),
            images(1, 1, 4, 4),
            "Sum: a branch's result is 2x2 pixels, the first one's 4x4: too far apart to pad or crop",
        ),
        (Concat(Identity(), Flatten()), images(1, 2, 4, 4), "Concat: branch 1 has shape (1, 32), expected"),
        (PoolUnpool(AvgPool2d(2)), images(1, 2, 8, 8), "PoolUnpool: the body made (1, 2, 2, 2) out of (1, 2, 4, 4)"),
    ],
    ids=lambda value: value.label() if hasattr(value, "label") else None,
)
def test_inputs_that_do_not_fit(layer, x, text):
    with raises(ShapeError, text):
        layer.forward(x)


IMAGE_LAYERS = [
    Conv2d(2, 2, 1),
    ConvTranspose2d(2, 2, 1),
    MaxPool2d(1),
    AvgPool2d(1),
    AdaptiveAvgPool2d(1),
    AdaptiveAvgPool2d(None),
    Upsample(2),
    BatchNorm2d(2),
    PoolUnpool(Identity()),
    SameSize(Identity()),
]


@pytest.mark.parametrize("shape", [(), (3,), (4, 4), (2, 4, 4), (1, 2, 4, 4, 1)], ids=str)
@pytest.mark.parametrize("layer", IMAGE_LAYERS, ids=lambda layer: layer.label())
def test_images_have_four_axes(layer, shape):
    with pytest.raises(ShapeError) as caught:
        layer.forward(images(*shape))
    text = str(caught.value)
    assert text.endswith("a single image needs a batch axis: image[None] (and a grey one a channel axis too)") == (
        len(shape) in (2, 3)
    )
    inner = {"PoolUnpool": "pool MaxPool2d(2)"}.get(type(layer).__name__, layer.label())
    assert text.startswith(f"{inner}: x has shape {shape}, expected (N, C, H, W)")


@pytest.mark.parametrize(
    ("layer", "attribute", "shape", "text"),
    [
        (Conv2d(1, 2, 1), "bias", (3,), "Conv2d(1, 2, kernel_size=1): b has shape (3,), expected (2,)"),
        (
            ConvTranspose2d(1, 2, 1),
            "bias",
            (1,),
            "ConvTranspose2d(1, 2, kernel_size=1): b has shape (1,), expected (2,)",
        ),
        (
            Conv2d(1, 2, 1),
            "weight",
            (2, 1),
            "Conv2d(1, 2, kernel_size=1): w has shape (2, 1), expected (O, C/groups, kH",
        ),
        (BatchNorm2d(1), "weight", (2,), "BatchNorm2d(1): weight has shape (2,), expected (1,)"),
    ],
)
def test_a_parameter_of_the_wrong_length(layer, attribute, shape, text):
    setattr(layer, attribute, Parameter(np.ones(shape, np.float32)))
    with raises(ShapeError, text):
        layer.forward(images(1, 1, 2, 2))


def test_a_bias_of_the_wrong_length_for_a_linear_layer():
    layer = Linear(2, 3)
    layer.bias = Parameter(np.ones(2, np.float32))
    with raises(ShapeError, "Linear(2, 3): b has shape (2,), expected (3,)"):
        layer.forward(images(1, 2))


def test_mixed_dtypes_say_which_is_which():
    with raises(
        TypeError,
        "0 Conv2d(1, 2, kernel_size=1): x is float64, w is float32, b is float32: dtypes are never mixed; "
        "convert the data or call net.astype(dtype)",
    ):
        Sequential(Conv2d(1, 2, 1))(np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float16, np.complex64, ">f4", object])
def test_other_dtypes_are_refused_with_the_way_out(dtype):
    x = np.ones((1, 1, 2, 2)).astype(dtype)
    text = f"MaxPool2d(2): forward got {x.dtype} values, expected float32 or float64; convert them: x.astype(np."
    with raises(TypeError, text):
        MaxPool2d(2)(x)


@pytest.mark.parametrize(
    "x", [[[1.0]], (1.0, 2.0), 3.0, None, "image", memoryview(b"12")], ids=lambda x: type(x).__name__
)
def test_what_is_no_array_is_refused(x):
    with raises(TypeError, f"Identity(): expected a NumPy array, got {type(x).__name__}; convert it: np.asarray(x, "):
        Identity().forward(x)


@requires_torch
def test_an_array_of_another_kind_is_refused():
    with raises(TypeError, "Sequential: expected a NumPy array, got Tensor; convert it: np.asarray(x, "):
        Sequential(Conv2d(1, 1, 1))(torch.ones(1, 1, 2, 2))
    layer = Conv2d(1, 1, 1)
    y, saved = layer.forward(images(1, 1, 2, 2))
    with raises(TypeError, "Conv2d(1, 1, kernel_size=1): expected a NumPy array, got Tensor"):
        layer.backward(torch.from_numpy(y), saved)


def test_an_unknown_backend_is_refused():
    with raises(ValueError, "unknown backend 'fpga'; available here: "), kernels.use("fpga"):
        pass


# ------------------------------------------------------------------ backward


def test_an_unpool_index_out_of_range():
    """A record whose switches belong to a larger picture."""
    net = PoolUnpool(Identity())
    _, large = net.forward(np.random.default_rng(0).standard_normal((1, 1, 8, 8)))
    _, small = net.forward(np.ones((1, 1, 4, 4)))
    forged = small._replace(pool=small.pool._replace(argmax=large.pool.argmax[:, :, 2:, 2:]))
    with pytest.raises(IndexError, match=r"^PoolUnpool: switch \d+ is outside an output of 4x4 = 16 pixels$"):
        net.backward(np.ones((1, 1, 4, 4)), forged)


def test_the_record_of_another_layer():
    conv, up = Conv2d(1, 1, 1), ConvTranspose2d(1, 1, 1)
    y, saved = conv.forward(images(1, 1, 2, 2))
    with raises(
        TypeError,
        "ConvTranspose2d(1, 1, kernel_size=1): backward got a Conv2dSaved as its saved record, expected the "
        "ConvTranspose2dSaved that forward returned: y, saved = layer.forward(x); dx = layer.backward(dy, saved)",
    ):
        up.backward(y, saved)


def test_y_and_saved_in_one():
    """The commonest slip: to pass on all that forward returned."""
    layer = MaxPool2d(2)
    with raises(TypeError, "MaxPool2d(2): backward got a tuple as its saved record, expected the MaxPool2dSaved that"):
        layer.backward(images(1, 1, 1, 1), layer.forward(images(1, 1, 2, 2)))
    with raises(TypeError, "MaxPool2d(2): expected a NumPy array, got tuple"):
        MaxPool2d(2).forward(layer.forward(images(1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("layer", "x", "dy", "expected"),
    [
        (Conv2d(1, 2, 1), (1, 1, 3, 3), (1, 2, 3, 4), (1, 2, 3, 3)),
        (AdaptiveAvgPool2d(2), (1, 1, 5, 5), (1, 1, 3, 3), (1, 1, 2, 2)),
        (Linear(2, 3), (4, 2), (5, 3), (4, 3)),
        (Linear(2, 3), (4, 2), (4, 2), (4, 3)),
        (Sum(Identity(), Identity()), (1, 2, 5, 5), (1, 2, 6, 5), (1, 2, 5, 5)),
        (Concat(Identity(), Identity()), (1, 2, 5, 5), (1, 4, 5, 6), (1, 4, 5, 5)),
        (Concat(Identity(), Identity()), (1, 2), (1, 3), (1, 4)),
        (Flatten(), (2, 3, 4), (2, 3, 4), (2, 12)),
    ],
    ids=lambda value: value.label() if hasattr(value, "label") else None,
)
def test_a_dy_of_the_wrong_shape(layer, x, dy, expected):
    _, saved = layer.forward(images(*x))
    with raises(ShapeError, f"{layer.label()}: dy has shape {dy}, expected {expected}"):
        layer.backward(images(*dy), saved)


@pytest.mark.parametrize(
    ("layer", "other", "shape", "text"),
    [
        (layers.Linear(5, 3), layers.Linear(1, 3), (2, 1), r"the saved x has shape \(2, 1\), expected \(2, 5\)"),
        (
            layers.BatchNorm2d(3),
            layers.BatchNorm2d(1),
            (2, 1, 4, 4),
            r"the saved x has shape \(2, 1, 4, 4\), expected \(2, 3, 4, 4\)",
        ),
    ],
)
def test_the_record_of_a_layer_of_another_size_is_refused(layer, other, shape, text):
    y, saved = other.forward(np.ones(shape, np.float32))
    before = [p.grad.copy() for p in layer.parameters()]
    with pytest.raises(ShapeError, match=text):
        layer.backward(np.ones_like(y), saved)
    for p, grad in zip(layer.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.grad, grad)
