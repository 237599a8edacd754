"""Recording one forward and one backward pass of a net, without leaving a mark on it.

The passes run on a copy of the net. On each layer of the copy, `forward` and `backward` are replaced by a note-taker
around the real ones, so that it is known when a layer begins and ends, whatever layer it is in. (Layers whose passes
are replaced are never computed in pairs: see `pairs`.) The copy's random generators are in the state that the net's are
in, so dropout drops what the net's next pass would drop. Gradients are set to zero after each layer's backward: what is
there is then the part of that one use.
"""

import copy

import numpy as np

from .. import layers, losses
from ..core import Layer, Parameter, check_inputs, members
from .stops import Node, Stop
from .trace import LOSS, Trace

KINDS = {getattr(module, name): name for module in (layers, losses) for name in module.__all__}


def record(net, x, loss=None, target=None, dy=None):
    """Run one forward and one backward pass of any net and keep everything. Returns a `Trace`.

    Parameters
        net: any Layer, in training or eval mode; it is not changed in any way
        x: its input
        loss, target: a loss of the net's output, where the backward pass begins; or else
        dy: an array of the output's shape to begin with

    Raises TypeError for what is no net, loss or array, ValueError unless exactly one of loss and dy is given, and what
    the layers and the loss themselves raise.

    >>> from minisegnet import layers, losses
    >>> net = layers.Sequential(conv=layers.Conv2d(1, 2, 3, padding=1, rng=0), relu=layers.ReLU())
    >>> x, mask = np.ones((1, 1, 4, 4)), np.zeros((1, 4, 4), int)
    >>> trace = record(net.astype(np.float64), x, losses.CrossEntropyLoss(), mask)
    >>> [stop.name for stop in trace.stops], trace["conv"].dx.shape
    (['conv', 'relu'], (1, 1, 4, 4))
    """
    if not isinstance(net, Layer):
        hint = "; write ReLU(), not ReLU" if isinstance(net, type) else ""
        raise TypeError(f"record takes a net built from layers, got {net!r}{hint}")
    if loss is not None and not isinstance(loss, losses.Loss):
        raise TypeError(f"loss must be a loss such as CrossEntropyLoss(), got {loss!r}")
    if (loss is None) == (dy is None):
        given = "neither" if loss is None else "both"
        raise ValueError(f"give a loss (and its target), or dy to begin the backward pass with; got {given}")
    check_inputs("forward", x)
    notes = Notes()
    twin = copy.deepcopy(net)
    for _, layer in twin.named_layers():
        notes.take(layer, Use)
    twin.zero_grad()
    y, saved = twin.forward(x.copy())
    judged = []
    if loss is not None:
        judge, papers = copy.deepcopy(loss), Notes()
        for each in with_children(judge):
            papers.take(each, LossUse)
        target = copy.deepcopy(target)
        _, loss_saved = judge.forward(y, target)
        dy = judge.backward(loss_saved)
        judged = list(loss_stops(papers.root, LOSS))
    twin.backward(dy.copy() if isinstance(dy, np.ndarray) else dy, saved)
    stops = []
    tree = lay_out(notes.root, "", stops)
    if judged and any(node.name == LOSS for node in tree.walk()):
        raise ValueError(f"a layer of the net is called {LOSS!r}, as the last stop of a trace is; rename it")
    return Trace(tree, stops, judged)


def with_children(loss):
    """The loss and all losses inside it."""
    yield loss
    for _, child in loss.children():
        yield from with_children(child)


# ------------------------------------------------------------------ taking notes


class Notes:
    """Notes of every use of the layers (or losses) that were handed to `take`, as a tree: `root` and its children."""

    def __init__(self):
        self.root, self.open, self.uses, self.taken = None, [], [], []

    def take(self, layer, kind):
        """Replace the layer's passes by ones that write down a Use of this kind.

        ValueError for a layer with a pass of its own, that somebody has put there: its class doesn't say what it does.
        """
        if any(layer is one for one in self.taken):
            return  # a layer that comes twice in the net
        own = [name for name in ("forward", "backward") if name in vars(layer)]
        if own:
            raise ValueError(
                f"{layer.label()} has a {' and a '.join(own)} of its own (layer.{own[0]} = ...), which can't be "
                "recorded; write a class of layers with it"
            )
        self.taken.append(layer)

        def forward(*inputs):
            use = kind(layer)
            if self.open:
                self.open[-1].add(use)
            else:
                self.root = use
            self.open.append(use)
            result = type(layer).forward(layer, *inputs)
            self.open.pop()
            use.forward(inputs, result)
            self.uses.append(use)
            return result

        def backward(*inputs):
            result = type(layer).backward(layer, *inputs)
            # the layer may have been used several times: each use has a record of its own
            uses = [use for use in self.uses if use.layer is layer]
            use = next((use for use in reversed(uses) if any(use.saved is given for given in inputs)), uses[-1])
            use.backward(inputs, result)
            self.uses.remove(use)
            return result

        layer.forward, layer.backward = forward, backward


class Use:
    """One use of a layer: what went in and came out, both ways."""

    def __init__(self, layer):
        self.layer, self.key, self.children, self.arrays = layer, "", [], {}
        self.arrays |= {name: getattr(layer, name).copy() for name in self.buffer_names()}

    def add(self, use):
        """Note that `use` happened inside this one; its name is the one that the layer has here."""
        names = [name for name, child in self.layer.children() if child is use.layer]
        before = sum(child.layer is use.layer for child in self.children)
        use.key = names[before] if before < len(names) else f"{names[0] if names else 'inner'}#{before + 1}"
        self.children.append(use)

    def forward(self, inputs, result):
        (x,), (y, self.saved) = inputs, result
        self.arrays = {"x": x, "y": y, **self.arrays}

    def backward(self, inputs, dx):
        self.arrays |= {"dy": inputs[0], "dx": dx}
        for name, parameter in self.parameters():
            self.arrays |= {name: parameter.value.copy(), f"d{name}": parameter.grad.copy()}
            parameter.zero_grad()

    def parameters(self):
        """(name, Parameter) of the layer's own."""
        return [found for name, value in vars(self.layer).items() for found in members(name, value, Parameter)]

    def buffer_names(self):
        return [name for name in self.layer.buffers if getattr(self.layer, name) is not None]


class LossUse(Use):
    """One use of a loss."""

    def add(self, use):
        use.key = str(len(self.children))
        self.children.append(use)

    def forward(self, inputs, result):
        value, self.saved = result
        self.arrays = {"scores": inputs[0], "value": np.asarray(value), **self.arrays}
        if len(inputs) > 1 and isinstance(inputs[1], np.ndarray):
            self.arrays["target"] = inputs[1]
        self.arrays |= {name: value for name, value in vars(self.layer).items() if isinstance(value, np.ndarray)}

    def backward(self, inputs, dscores):
        dvalue = inputs[1] if len(inputs) > 1 else 1.0
        self.arrays |= {"dvalue": np.asarray(dvalue, np.float64), "dscores": dscores}

    def buffer_names(self):
        return []


# ------------------------------------------------------------------ from uses to stops


def kind_of(thing):
    """Which of minisegnet's layers or losses it is: a UNet is a Sequential. Others are called by module and class.

    >>> from minisegnet import models
    >>> kind_of(models.UNet(1, 2, width=2, depth=1))
    'Sequential'
    """
    for cls in type(thing).__mro__:
        if cls in KINDS:
            return KINDS[cls]
        if {"forward", "backward"} & set(vars(cls)):  # a pass of its own: not what it derives from
            break
    return f"{cls.__module__}.{cls.__qualname__}"


def plain(value):
    """The value as what JSON can hold; NotImplemented if it can't."""
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        items = [plain(item) for item in value]
        return NotImplemented if any(item is NotImplemented for item in items) else items
    return NotImplemented


def config_of(thing):
    """The plain attributes of a layer or loss, and the padding of a convolution in numbers, by name."""
    values = {"training": getattr(thing, "training", True)} if isinstance(thing, Layer) else {}
    values |= vars(thing)
    if hasattr(thing, "pads"):
        values["pads"] = thing.pads
    found = {name: plain(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not NotImplemented}


def stop_of(use, name):
    """The Stop of a layer or loss by itself."""
    fields = use.saved._asdict() if hasattr(use.saved, "_asdict") else {}
    arrays = {f"saved.{field}": value for field, value in fields.items() if isinstance(value, np.ndarray)}
    rest = {field: plain(value) for field, value in fields.items()}
    params = [] if isinstance(use, LossUse) else [n for n, _ in use.parameters()]
    return Stop(
        name,
        kind_of(use.layer),
        use.layer.label(),
        config_of(use.layer),
        {n: a for n, a in (use.arrays | arrays).items() if isinstance(a, np.ndarray)},
        {field: value for field, value in rest.items() if value is not NotImplemented},
        params,
        use.buffer_names(),
    )


def lay_out(use, name, stops):
    """Add the stops of a use and all below it to the list, in the order of the forward pass; returns its Node."""
    kind, first = kind_of(use.layer), len(stops)
    arrays = {n: a for n, a in use.arrays.items() if n in ("x", "y", "dx", "dy")}

    def own(what, config=None, branches=(), **more):
        """A stop for what the combinator does by itself."""
        label, keys = use.layer.label(), [child.key for child in use.children]
        given = {k.replace("_", ".", 1): a for k, a in more.items()}
        for branch_array, source in branches:
            given |= {f"{branch_array}.{k}": c.arrays[source] for k, c in zip(keys, use.children, strict=True)}
        names = keys if branches else []
        stops.append(Stop(f"{name} ({what})".strip(), what, label, config or {}, given, branches=names))

    if kind in ("Sum", "Concat"):
        own("fork", None, [("y", "x"), ("dy", "dx")], x=arrays["x"], dx=arrays["dx"])
    children = [lay_out(child, f"{name}.{child.key}" if name else child.key, stops) for child in use.children]
    if kind in ("Sum", "Concat"):
        own(kind.lower(), None, [("x", "y"), ("dx", "dy")], y=arrays["y"], dy=arrays["dy"])
    elif kind in ("PoolUnpool", "SameSize"):
        body = use.children[-1].arrays
        between = {"x": body["y"], "y": arrays["y"], "dy": arrays["dy"], "dx": body["dy"]}
        if kind == "PoolUnpool":
            own("unpool", **between, saved_argmax=use.saved.pool.argmax)
        else:
            own("resize", {"mode": use.layer.mode, "align_corners": use.layer.align_corners}, **between)
    elif kind != "Sequential":  # a layer; or a combinator of somebody else's, which comes after what is inside it
        stops.append(stop_of(use, name or use.layer.label().partition("(")[0]))
    return Node(name, kind, use.layer.label(), children, first, len(stops) - 1)


def loss_stops(use, name):
    """The stops of a loss and of the losses inside it."""
    stop = stop_of(use, name)
    for child in use.children:
        stop.arrays |= {f"{a}.{child.key}": child.arrays[a] for a in ("value", "dscores")}
        stop.branches.append(child.key)
    yield stop
    for child in use.children:
        yield from loss_stops(child, f"{name}.{child.key}")
