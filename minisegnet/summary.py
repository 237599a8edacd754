"""`net.summary(input_shape)`: what each layer makes, costs and keeps."""

from typing import NamedTuple

import numpy as np

from kernels import to_device

from .core import Parameter, arrays_in, watch

__all__ = ["Summary", "SummaryRow"]


class SummaryRow(NamedTuple):
    """What one layer makes, costs and keeps.

    Attributes
        name: dotted name in the net
        label: the layer and its configuration
        output_shape: of its y
        parameters: how many numbers its own ones have; a shared parameter counts where it comes first
        multiply_adds: of its forward pass
        saved_bytes: memory of what forward keeps for backward; an array that two layers keep counts once

    >>> from minisegnet import layers
    >>> layers.Linear(128, 256).summary((4, 128)).rows  # 256*128 + 256, 4*256*128, 4*128 numbers of 4 bytes
    [SummaryRow(name='', label='Linear(128, 256)', output_shape=(4, 256), parameters=33024, multiply_adds=131072,
    saved_bytes=2048)]
    """

    name: str
    label: str
    output_shape: tuple
    parameters: int
    multiply_adds: int
    saved_bytes: int


class Summary(NamedTuple):
    """What `Layer.summary` returns; print it to see the table.

    Attributes
        input_shape: of x
        rows: a SummaryRow for each layer, in the order in which they finished their forward pass
        parameters, multiply_adds, saved_bytes: the sums over all rows

    >>> from minisegnet import layers
    >>> net = layers.Sequential(hidden=layers.Linear(128, 256), relu=layers.ReLU())
    >>> print(net.summary((4, 128)))
    layer                     output shape  parameters  multiply-adds  kept for backward
    ------------------------------------------------------------------------------------
    hidden  Linear(128, 256)  4x256             33,024        131,072            2.0 KiB
    relu    ReLU()            4x256                  0              0            4.0 KiB
    ------------------------------------------------------------------------------------
    total   x 4x128                             33,024        131,072            6.0 KiB
    """

    input_shape: tuple
    rows: list

    @property
    def parameters(self):
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self):
        return sum(row.multiply_adds for row in self.rows)

    @property
    def saved_bytes(self):
        return sum(row.saved_bytes for row in self.rows)

    def __str__(self):
        head = ("layer", "", "output shape", "parameters", "multiply-adds", "kept for backward")
        table = [head, *(self.cells(row) for row in self.rows), self.cells(self.total())]
        widths = [max(len(cells[i]) for cells in table) for i in range(len(head))]
        lines = []
        for cells in table:
            left = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
            right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
            lines.append("  ".join(left + right))
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def total(self):
        """All rows together, as a row."""
        x = f"x {'x'.join(map(str, self.input_shape))}"
        return SummaryRow("total", x, (), self.parameters, self.multiply_adds, self.saved_bytes)

    @staticmethod
    def cells(row):
        """A row as text."""
        shape = "x".join(map(str, row.output_shape))
        return (
            row.name,
            row.label,
            shape,
            f"{row.parameters:,}",
            f"{row.multiply_adds:,}",
            in_units(row.saved_bytes),
        )


def in_units(number):
    """A number of bytes with a unit that suits it.

    >>> in_units(5184), in_units(3 * 2**20)
    ('5.1 KiB', '3.0 MiB')
    """
    return f"{number / 2**20:,.1f} MiB" if number >= 2**20 else f"{number / 2**10:,.1f} KiB"


def summarise(net, input_shape):
    """The Summary of one inference pass of `net` on zeros of `input_shape`; the net is left as it was.

    What only training keeps, dropout's masks, is not counted.

    >>> from minisegnet.layers import Conv2d, ReLU, Sequential
    >>> table = Sequential(Conv2d(3, 8, 3, padding=1), ReLU()).summary((1, 3, 32, 32))
    >>> table.parameters, table.multiply_adds
    (224, 221184)
    """
    names, counted, kept, rows = {}, set(), {}, []
    for name, layer in net.named_layers():
        names.setdefault(id(layer), []).append(name)
    uses = {key: iter(found) for key, found in names.items()}

    def note(layer, pass_, inputs, result):
        y, saved = result
        own = {id(p): p.size for p in vars(layer).values() if isinstance(p, Parameter) and id(p) not in counted}
        arrays = {id(a): a for a in arrays_in(saved) if id(a) not in kept}
        counted.update(own)
        kept.update(arrays)
        if own or arrays or not list(layer.children()):
            name = next(uses.get(id(layer), iter(())), "")  # SameSize's resizing is no layer of the tree: no name
            cost, memory = layer.multiply_adds(inputs[0].shape, y.shape), sum(a.nbytes for a in arrays.values())
            rows.append(SummaryRow(name, layer.label(), y.shape, sum(own.values()), cost, memory))

    parameters = net.parameters()
    dtype = parameters[0].dtype if parameters else np.float32
    modes = [(layer, layer.training) for _, layer in net.named_layers()]
    net.eval()
    try:
        with watch(note):
            net.forward(to_device(np.zeros(input_shape, dtype), net.device))
    finally:
        for layer, training in modes:
            layer.training = training
    return Summary(tuple(input_shape), rows)
