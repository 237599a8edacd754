"""Trace: one forward and one backward pass, to be looked at, asked about and saved."""

import dataclasses
import difflib
import operator

import numpy as np

from . import explain_classes, explain_conv, explain_elements, explain_losses, explain_maps, explain_norm  # noqa: F401
from .explanation import EXPLAINERS, Explanation
from .stops import Node

LOSS = "loss"


@dataclasses.dataclass
class Trace:
    """A recorded pass. Print it for a table.

    Attributes
        tree: Node of the whole net: how combinators hold layers
        stops: list of Stop, in the order of the forward pass; backward goes through them in reverse
        losses: the Stop "loss" and those of the losses inside it ("loss.0"); empty where the pass began with dy
        names, nodes: of all stops; {name: Node} of all layers and combinators
        timeline: what happens, in the order in which it happens: [("F1", stop), ..., ("loss", stop), ..., ("B1", stop)]

    A stop is looked up by its name, trace["down.0"]; KeyError, which lists similar names, if there is none.

    >>> from minisegnet import layers, trace
    >>> net = layers.Sequential(first=layers.ReLU(), second=layers.Identity())
    >>> t = trace.record(net, np.array([[3.0, 4.0]]), dy=np.array([[6.0, 8.0]]))
    >>> print(t)
       stop              y    |y|  dx   |dx|
    ----------------------------------------
    1  first   ReLU      1x2  5    1x2  10
    2  second  Identity  1x2  5    1x2  10
    <BLANKLINE>
    forward: F1 to F2, backward: B2 to B1
    >>> t["first"].dx
    array([[6., 8.]])
    """

    tree: Node
    stops: list
    losses: list

    # ------------------------------------------------------------------ looking up

    def __getitem__(self, name):
        """A stop by its name."""
        found = next((stop for stop in (*self.stops, *self.losses) if stop.name == name), None)
        if found is None:
            raise KeyError(self.no_such(name))
        return found

    @property
    def names(self):
        """Of all stops, forward order, then the losses."""
        return [stop.name for stop in (*self.stops, *self.losses)]

    @property
    def nodes(self):
        """{name: Node} of all layers and combinators."""
        return {node.name: node for node in self.tree.walk()}

    @property
    def timeline(self):
        """[("F1", stop), ..., ("loss", stop), ..., ("B1", stop)]: what happens, in the order in which it happens."""
        numbered = [(str(k), stop) for k, stop in enumerate(self.stops, 1)]
        middle = [(LOSS, self.losses[0])] if self.losses else []
        return [*((f"F{k}", s) for k, s in numbered), *middle, *((f"B{k}", s) for k, s in reversed(numbered))]

    def no_such(self, name):
        names = dict.fromkeys([*self.names, *(node.name for node in self.tree.walk() if node.name)])
        near = difflib.get_close_matches(str(name), names, 3, 0.3) or list(names)[:5]
        return f"the trace has no layer {name!r}; do you mean {', '.join(near)}? (print(trace) lists all)"

    def stop_for(self, name, of):
        """The stop that has computed an array of the layer or combinator called so.

        A combinator's y is made by the last of its stops, and its dx by the first.
        """
        for stop in (*self.stops, *self.losses):
            if stop.name == name:
                return stop
        node = self.nodes.get(name)
        if node is None:
            raise KeyError(self.no_such(name))
        inside = self.stops[node.first : node.last + 1]
        if of in ("x", "dx", "y", "dy"):
            return inside[0] if of in ("x", "dx") else inside[-1]
        own = [stop for stop in (inside[0], inside[-1]) if stop.name.startswith(f"{name} (".strip()) and of in stop]
        return own[0] if own else inside[-1]

    # ------------------------------------------------------------------ where things come from

    def source(self, stop, array):
        """(stop, array) that computed what a stop was given: its x forward, its dy backward; None at the ends.

        What is the y of one stop is the x of another. This follows the net's wiring, over forks and joins too.

        >>> from minisegnet import layers, trace
        >>> net = layers.Sequential(a=layers.Tanh(), b=layers.Tanh())
        >>> t = trace.record(net, np.ones(2), dy=np.ones(2))
        >>> t.source(t["b"], "x"), t.source(t["a"], "dy"), t.source(t["a"], "x")
        ((Stop('a', Tanh()), 'y'), (Stop('b', Tanh()), 'dx'), None)
        """
        number = next((i for i, one in enumerate(self.stops) if one is stop), None)
        if number is None:
            if stop in self.losses and array == "scores":
                return (self.stops[-1], "y") if stop is self.losses[0] else None
            raise ValueError(f"{stop!r} is no stop of the net in this trace, whose sources are known")
        key = number, array
        wires = self.wires()
        back = {(here, f"d{y}"): (there, f"d{x}") for (there, x), (here, y) in wires.items()}
        found = wires.get(key) or back.get(key)
        if found is None and key == (len(self.stops) - 1, "dy") and self.losses:
            return self.losses[0], "dscores"
        return (self.stops[found[0]], found[1]) if found else None

    def wires(self):
        """{(number of a stop, its input array): (number of the stop that made it, its array)}."""
        wires = {}

        def wire(node, source):
            """Connect everything in a node whose x comes from `source`; returns where its y comes from."""
            first, last = node.first, node.last
            if node.kind in ("Sum", "Concat"):
                connect(first, "x", source)
                for child in node.children:
                    key = child.name.removeprefix(f"{node.name}.")
                    connect(last, f"x.{key}", wire(child, (first, f"y.{key}")))
            elif node.kind in ("Sequential", "PoolUnpool", "SameSize"):
                for child in node.children:
                    source = wire(child, source)
                if node.kind == "Sequential":
                    return source
                connect(last, "x", source)
            else:
                for child in node.children:  # how a foreign combinator connects them is not known
                    wire(child, None)
                connect(last, "x", source)
            return last, "y"

        def connect(stop, array, source):
            if source is not None:
                wires[stop, array] = source

        wire(self.tree, None)
        return wires

    # ------------------------------------------------------------------ explaining

    def explain(self, name, index=(), of="y"):
        """Where does one number come from? Returns an `Explanation`: every term of its sum.

        Parameters
            name: of a layer, a combinator, or "loss"
            index: which element, a tuple (or a number, for an array of one axis)
            of: which array: "y", "dx", "dweight", "dbias"; "mean" and "var" of a BatchNorm2d; "y.NAME" of a fork and
                "dx.NAME" of a join; of a loss "value", "dscores" or "p". "x" and "dy" are explained where they were
                computed, in the layer before or after.

        Raises KeyError for a name that isn't there, ValueError for an array that can't be explained, IndexError for an
        index outside, NotImplementedError for a kind of layer that nobody has explained yet (see `explains`).
        """
        stop = self.stop_for(name, of)
        base, _, branch = of.partition(".")
        if base in ("x", "dy") and stop not in self.losses:
            source = self.source(stop, of)
            if source is None:
                text = "the input of the whole net" if base == "x" else "what the backward pass began with"
                raise ValueError(f"{of} of {name!r} is {text}: nothing in this trace has computed it")
            return self.explain(source[0].name, index, source[1])
        kind_has = [known for kind, known in EXPLAINERS if kind == stop.kind]
        explainer = EXPLAINERS.get((stop.kind, f"{base}.*" if branch else of))
        if not kind_has:
            raise NotImplementedError(
                f"{stop.name} is a {stop.kind}, for which there is no explainer; register one with "
                f'minisegnet.trace.explains("{stop.kind}", of="dx")'
            )
        if explainer is None or of not in stop:
            raise ValueError(f"{of!r} of {stop.name} ({stop.kind}) can't be explained; there are {possible(stop)}")
        index = check_index(stop, of, index)
        found = explainer(stop, branch, index) if branch else explainer(stop, index)
        details = found._asdict() | {"facts": found.facts or {}}
        return Explanation(stop, of, index, float(stop[of][index]), **details)

    # ------------------------------------------------------------------ text and files

    def __str__(self):
        from .show import trace_text

        return trace_text(self)

    def save(self, path):
        """Write everything into one safetensors file, from which `load` makes a Trace that explains as well."""
        from .store import save

        save(self, path)


def possible(stop):
    """The arrays of a stop that can be explained, as text."""
    found = []
    for kind, of in EXPLAINERS:
        if kind == stop.kind:
            names = [f"{of[:-1]}{branch}" for branch in stop.branches] if of.endswith(".*") else [of]
            found += [repr(name) for name in names if name in stop]
    return ", ".join(found)


def check_index(stop, of, index):
    """The index as a tuple of numbers from 0, one for each axis; negative ones count from the end."""
    shape = stop[of].shape
    text = f"{of} of {stop.name} has shape {shape}, and {index!r} is no element of it"
    try:
        index = tuple(operator.index(i) for i in (index if isinstance(index, (tuple, list, np.ndarray)) else (index,)))
    except TypeError:
        raise TypeError(f"{text}: an index is {len(shape)} whole numbers") from None
    if len(index) != len(shape):
        raise IndexError(f"{text}: expected {len(shape)} numbers, got {len(index)}")
    if not all(-size <= i < size for i, size in zip(index, shape, strict=True)):
        raise IndexError(f"{text}: it is outside")
    return tuple(i % size for i, size in zip(index, shape, strict=True))
