"""What a trace is made of: stops, which compute, and a tree of nodes, which says how the net is built from them.

Nothing here but data and looking it up: no net is needed, and no text is made.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Stop:
    """One place where numbers are computed: a layer, or what a combinator does by itself, or a loss.

    Attributes
        name: dotted path in the net; what a combinator does has it in brackets: "level (join)"
        kind: the layer's class, or "fork", "sum", "concat" (`Sum`, `Concat`), "unpool" (`PoolUnpool`), "resize"
            (`SameSize`)
        label: the layer and its configuration in one line
        config: plain numbers, words and lists: stride, padding, mode, training, ...
        arrays: name -> array. x, y, dy, dx; each parameter ("weight") and its gradient from this use ("dweight");
            buffers, as they were before the pass; what the layer saved ("saved.argmax"). A fork has y.NAME and dy.NAME
            for each of its branches, a join x.NAME and dx.NAME. A loss has scores, target, value, dscores, dvalue.
        saved: the fields of the saved record that are no arrays, such as x_shape
        params, buffers: which of the arrays are the layer's parameters and buffers
        branches: names of a fork's or a join's branches, in order

    An array is looked up by its name, stop["dweight"]; x, y, dy and dx are attributes too. KeyError for one that it
    hasn't got.

    >>> from minisegnet import layers, trace
    >>> t = trace.record(layers.ReLU(), np.array([-1.0, 2.0]), dy=np.array([5.0, 6.0]))
    >>> stop = t.stops[0]
    >>> stop, stop.kind, list(stop.arrays)
    (Stop('ReLU', ReLU()), 'ReLU', ['x', 'y', 'dy', 'dx', 'saved.y'])
    >>> stop["dx"], stop.dx is stop["dx"]
    (array([0., 6.]), True)
    """

    name: str
    kind: str
    label: str
    config: dict
    arrays: dict
    saved: dict = dataclasses.field(default_factory=dict)
    params: list = dataclasses.field(default_factory=list)
    buffers: list = dataclasses.field(default_factory=list)
    branches: list = dataclasses.field(default_factory=list)

    def __getitem__(self, name):
        """An array by name; those that the layer saved also without "saved." before it."""
        for full in (name, f"saved.{name}"):
            if full in self.arrays:
                return self.arrays[full]
        raise KeyError(f"{self.name} has no array {name!r}; it has {', '.join(self.arrays)}")

    def __contains__(self, name):
        return name in self.arrays or f"saved.{name}" in self.arrays

    @property
    def x(self):
        return self["x"]

    @property
    def y(self):
        return self["y"]

    @property
    def dy(self):
        return self["dy"]

    @property
    def dx(self):
        return self["dx"]

    @property
    def dtype(self):
        """float32 or float64: what the pass was computed in."""
        return next(array.dtype for array in self.arrays.values() if array.dtype in (np.float32, np.float64))

    def __repr__(self):
        return f"Stop({self.name!r}, {self.label})"


@dataclasses.dataclass
class Node:
    """A layer in the tree of the net.

    Attributes
        name: dotted path, "" for the whole net
        kind: class of the layer, such as "Sequential" or "Conv2d"
        label: name and configuration in one line
        children: the nodes inside, in the order in which they were run
        first, last: its stops are trace.stops[first:last + 1]

    >>> from minisegnet import layers, trace
    >>> net = layers.Sequential(layers.Tanh(), skip=layers.Sum(layers.Identity(), layers.ReLU()))
    >>> t = trace.record(net, np.ones(2), dy=np.ones(2))
    >>> [node.name for node in t.tree.walk()]
    ['', '0', 'skip', 'skip.0', 'skip.1']
    >>> skip = t.nodes["skip"]
    >>> t.stops[skip.first : skip.last + 1]
    [Stop('skip (fork)', Sum), Stop('skip.0', Identity()), Stop('skip.1', ReLU()), Stop('skip (sum)', Sum)]
    """

    name: str
    kind: str
    label: str
    children: list
    first: int
    last: int

    def walk(self):
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()
