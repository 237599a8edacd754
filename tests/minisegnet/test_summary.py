"""The summary table: what each layer makes, costs and keeps, against numbers counted by hand."""

import numpy as np
import pytest

from minisegnet import Layer, ShapeError
from minisegnet.core import arrays_in
from minisegnet.layers import (
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Sum,
    Tanh,
)
from minisegnet.summary import Summary, SummaryRow, in_units, summarise


def test_a_small_net_counted_by_hand():
    net = Sequential(Conv2d(3, 4, 3, padding=1), ReLU(), MaxPool2d(2), Flatten(), head=Linear(4 * 3 * 4, 5, bias=False))
    table = net.summary((2, 3, 6, 8))
    image, maps, pooled = 2 * 3 * 6 * 8, 2 * 4 * 6 * 8, 2 * 4 * 3 * 4
    assert table.rows == [
        SummaryRow("0", "Conv2d(3, 4, kernel_size=3, padding=1)", (2, 4, 6, 8), 3 * 4 * 9 + 4, maps * 27, 4 * image),
        SummaryRow("1", "ReLU()", (2, 4, 6, 8), 0, 0, 4 * maps),
        SummaryRow("2", "MaxPool2d(2)", (2, 4, 3, 4), 0, 0, 4 * pooled),  # the switches, four bytes each
        SummaryRow("3", "Flatten()", (2, 48), 0, 0, 0),
        SummaryRow("head", "Linear(48, 5, bias=False)", (2, 5), 48 * 5, 2 * 48 * 5, 4 * pooled),
    ]
    assert table.parameters == 112 + 240 == sum(p.size for p in net.parameters())
    assert table.multiply_adds == maps * 27 + 480
    assert table.saved_bytes == 4 * (image + maps + 2 * pooled)
    assert table.input_shape == (2, 3, 6, 8)


def test_an_array_that_two_layers_keep_counts_once():
    """ReLU keeps its y, and the convolution behind it keeps the same array as its x."""
    net = Sequential(Conv2d(1, 1, 1), ReLU(), Conv2d(1, 1, 1))
    assert [row.saved_bytes for row in net.summary((1, 1, 4, 5)).rows] == [80, 80, 0]
    apart = Sequential(Conv2d(1, 1, 1), Tanh(), MaxPool2d(1))
    assert [row.saved_bytes for row in apart.summary((1, 1, 4, 5)).rows] == [80, 80, 80]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_saved_bytes_is_the_memory_of_the_record(dtype):
    net = Sequential(
        Conv2d(2, 3, 3, padding=1),
        BatchNorm2d(3),
        Concat(Identity(), Sequential(MaxPool2d(2), ConvTranspose2d(3, 2, 2, stride=2), ReLU())),
        PoolUnpool(Sum(Identity(), Tanh())),
        SameSize(Conv2d(5, 1, 2, stride=2)),
    ).astype(dtype)
    x = np.zeros((1, 2, 5, 7), dtype)
    arrays = {id(a): a for a in arrays_in(net.eval().forward(x)[1])}
    table = net.summary(x.shape)
    assert table.saved_bytes == sum(a.nbytes for a in arrays.values())
    assert table.parameters == sum(p.size for p in net.parameters())


def test_multiply_adds_of_convolutions_are_products_of_outputs_and_taps():
    grouped = Sequential(Conv2d(4, 6, (3, 2), stride=2, groups=2)).summary((1, 4, 7, 6))
    assert grouped.rows[0].output_shape == (1, 6, 3, 3)
    assert grouped.multiply_adds == (6 * 3 * 3) * (2 * 3 * 2)
    up = Sequential(ConvTranspose2d(4, 3, 2, stride=2)).summary((1, 4, 5, 6))
    assert up.multiply_adds == (4 * 5 * 6) * (3 * 2 * 2)


def test_a_layer_used_twice_has_two_rows_and_counts_its_parameters_once():
    layer = Linear(3, 3)
    table = Sequential(layer, Tanh(), layer).summary((1, 3))
    assert [(row.name, row.parameters, row.multiply_adds) for row in table.rows] == [
        ("0", 12, 9),
        ("1", 0, 0),
        ("2", 0, 9),
    ]
    assert (table.parameters, table.multiply_adds) == (12, 18)


def test_shared_parameters_count_where_they_come_first():
    one, two = Linear(3, 3), Linear(3, 3)
    two.weight = one.weight
    assert [row.parameters for row in Sequential(one, two).summary((1, 3)).rows] == [12, 3]


def test_names_are_those_of_the_tree():
    up = Sequential(MaxPool2d(2), ConvTranspose2d(1, 1, 2, stride=2), SameSize(Conv2d(1, 1, 2)))
    net = Sequential(Concat(Identity(), up=up), PoolUnpool(Identity()))
    rows = net.summary((1, 1, 4, 4)).rows
    labels = [(row.name, row.label.split("(")[0]) for row in rows]
    assert labels == [
        ("0.0", "Identity"),
        ("0.up.0", "MaxPool2d"),
        ("0.up.1", "ConvTranspose2d"),
        ("0.up.2.body", "Conv2d"),
        ("", "Upsample"),  # made by SameSize as it goes: no layer of the tree
        ("1.pool", "MaxPool2d"),
        ("1.body", "Identity"),
    ]


def test_a_layer_that_calls_its_parents_pass_has_one_row():
    class Loud(Tanh):
        def forward(self, x):
            y, saved = super().forward(x)
            return 2 * y, saved

    assert [row.label for row in Sequential(Loud()).summary((1, 3)).rows] == ["Loud()"]


def test_a_layer_of_ones_own_with_parts_and_parameters():
    class Scaled(Layer):
        def __init__(self):
            self.body, self.gain = Linear(2, 2), Linear(2, 2).bias

        def forward(self, x):
            y, saved = self.body.forward(x)
            return self.gain.value * y, (saved, y)

        def backward(self, dy, saved):
            return self.body.backward(self.gain.value * dy, saved[0])

    rows = Scaled().summary((1, 2)).rows
    assert [(row.name, row.parameters, row.saved_bytes) for row in rows] == [("body", 6, 8), ("", 2, 8)]


def test_the_net_stays_as_it_was():
    net = Sequential(Conv2d(1, 2, 1), BatchNorm2d(2), Dropout(0.5, rng=0), Sequential(Dropout(0.5)).eval())
    before, draws = net.state_dict(), net[2].rng.bit_generator.state
    net.summary((2, 1, 3, 3))
    assert [layer.training for _, layer in net.named_layers()] == [True, True, True, True, False, False]
    assert net[2].rng.bit_generator.state == draws
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ShapeError, match=r"^0 Conv2d\(1, 2, kernel_size=1\): x has shape \(1, 3, 4, 4\): 3 channels"):
        net.summary((1, 3, 4, 4))
    assert net.training  # also after an error


def test_a_batch_norm_takes_one_pixel_in_a_summary():
    assert BatchNorm2d(3).summary((1, 3, 1, 1)).rows[0].output_shape == (1, 3, 1, 1)


def test_the_table_is_aligned_text():
    net = Sequential(Conv2d(3, 8, 3, padding=1), ReLU())
    assert str(net.summary((1, 3, 32, 32))) == "\n".join(
        [
            "layer                                          output shape  parameters  multiply-adds  kept for backward",
            "-" * 105,
            "0      Conv2d(3, 8, kernel_size=3, padding=1)  1x8x32x32            224        221,184           12.0 KiB",
            "1      ReLU()                                  1x8x32x32              0              0           32.0 KiB",
            "-" * 105,
            "total  x 1x3x32x32                                                  224        221,184           44.0 KiB",
        ]
    )


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0.0 KiB"), (1024, "1.0 KiB"), (2**20 - 1, "1,024.0 KiB"), (2**20, "1.0 MiB"), (1500 * 2**20, "1,500.0 MiB")],
)
def test_units(number, text):
    assert in_units(number) == text


def test_arrays_in_finds_every_array_of_a_record():
    a, b, c = np.ones(1), np.ones(2), np.ones(3)
    assert [x.size for x in arrays_in((a, (), (None, (b, "text")), 3, (c,)))] == [1, 2, 3]


def test_summarise_gives_a_summary():
    assert isinstance(summarise(Sequential(ReLU()), (1, 2)), Summary)
