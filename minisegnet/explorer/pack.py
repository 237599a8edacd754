"""Which arrays of a trace travel with the page.

A pass records each map four times: as the y of one layer and the x of the next, as its dy and the other's dx. The page
gets it once. What layers that only copy, choose or switch off have made isn't sent at all: the page does it again, and
gets the same numbers to the last bit. Next come the arrays that a short formula gives (batch normalisation, averages,
sums) and the gradients of the weights, the smallest first, as long as there is room. The page computes what is missing
when it is asked for, and says of every number whether it was recorded or computed.
"""

import base64

import numpy as np

COPIES = {  # whose y, and whose dx, has no number that was not there before
    "y": ("ReLU", "Identity", "Flatten", "MaxPool2d", "unpool", "concat", "fork"),
    "dx": ("ReLU", "Identity", "Flatten", "unpool", "concat", "sum"),
}
FORMULAS = (
    "BatchNorm2d", "AvgPool2d", "AdaptiveAvgPool2d", "Upsample", "resize", "LeakyReLU", "Sigmoid", "Tanh", "Dropout",
)  # fmt: skip
MATRICES = ("Conv2d", "ConvTranspose2d", "Linear")
KINDS = tuple(dict.fromkeys((*COPIES["y"], *COPIES["dx"], *FORMULAS, *MATRICES)))  # what the page knows
ROOM = 14_000_000  # bytes of arrays, so that the page, where they grow by a third, stays below 20 MB
DTYPES = {"f": "<f4", "i": "<i4", "u": "|u1", "b": "|u1"}


def pack(trace, room=ROOM):
    """(manifest, {key: array}): all that the page has to know, and the arrays that it gets.

    The manifest is made of dicts, lists, text and numbers. A stop's "arrays" names the key of each array that was
    sent, "sources" says for x and dy which array of which stop they are, [number, name]; the loss is number -1.

    Raises ValueError for a trace that the page can't show: of several pictures, without a cross-entropy, or with layers
    that it does not know.
    """
    check(trace)
    packed = Packed(trace)
    for number, stop in enumerate(trace.stops):
        packed.must(stop, number)
    loss = trace.losses[0]
    for name in ("target", "weight", "value", "dscores", "dvalue"):
        if name in loss:
            packed.send(loss, name)
    packed.fill(room)
    stops = [packed.described(number, stop) for number, stop in enumerate(trace.stops)]
    manifest = {"stops": stops, "loss": packed.described(-1, loss), "arrays": packed.table(), "copies": COPIES}
    return manifest, packed.arrays


def check(trace):
    """ValueError unless the page can show this trace."""
    kind = trace.losses[0].kind if trace.losses else "no loss"
    if kind != "CrossEntropyLoss":
        raise ValueError(f"the explorer shows a pass that ends in a CrossEntropyLoss, this one has {kind}")
    if trace.losses[0].config["reduction"] == "none":
        raise ValueError('the explorer follows one loss; a CrossEntropyLoss with reduction="none" gives no one number')
    unknown = {stop.kind: stop.name for stop in trace.stops if stop.kind not in KINDS}
    if unknown:
        found = ", ".join(f"{kind} ({name})" for kind, name in unknown.items())
        raise ValueError(f"the explorer does not know the layers {found}; it knows {', '.join(KINDS)}")
    count = len(trace.losses[0]["scores"])
    if count != 1:
        raise ValueError(f"the explorer shows one picture, this pass has {count}; record it with x[:1]")


class Packed:
    """The arrays sent so far, and where they belong."""

    def __init__(self, trace):
        self.trace, self.arrays, self.keys, self.names = trace, {}, {}, {}
        wires = trace.wires()
        self.sources = {key: [*source] for key, source in wires.items()}
        for (here, x), (there, y) in wires.items():
            self.sources[there, f"d{y}"] = [here, f"d{x}"]
        self.sources[len(trace.stops) - 1, "dy"] = [-1, "dscores"]

    def send(self, stop, name):
        """Send an array of a stop, once however often it is used."""
        array = stop[name]
        if id(array) not in self.keys:
            self.keys[id(array)] = key = f"a{len(self.arrays)}"
            kind = "<i4" if array.dtype == np.uint16 else DTYPES[array.dtype.kind]
            whole = np.ascontiguousarray(array, "<f8" if array.dtype == np.float64 else kind)
            self.arrays[key] = whole.reshape(array.shape)  # a number stays one, and becomes no array of one
        self.names.setdefault(stop.name, {})[name] = self.keys[id(array)]

    def must(self, stop, number):
        """Send what can't be computed, or not in a moment."""
        if (number, "x") not in self.sources and "x" in stop:
            self.send(stop, "x")
        for name in stop.params:
            self.send(stop, name)
        for name in ("mean", "var", "keep", "argmax"):
            if name in stop:
                self.send(stop, name)
        if stop.kind in MATRICES:
            self.send(stop, "y")
            self.send(stop, "dx")

    def fill(self, room):
        """Send what could be computed too: results first, then gradients of parameters, each the smallest first."""
        made = [(stop, name) for stop in self.trace.stops for name in COPIES if stop.kind not in COPIES[name]]
        grads = [(stop, f"d{name}") for stop in self.trace.stops for name in stop.params]
        room -= sum(array.nbytes for array in self.arrays.values())
        for group in (made, grads):
            there = [(stop, name, stop[name].nbytes) for stop, name in group if name in stop]
            for stop, name, size in sorted(there, key=lambda item: item[2]):
                if id(stop[name]) not in self.keys and size <= room:
                    room -= size
                    self.send(stop, name)

    def described(self, number, stop):
        """A stop as the page gets it."""
        sources = {name: source for (here, name), source in self.sources.items() if here == number}
        found = {
            "name": stop.name,
            "kind": stop.kind,
            "label": stop.label,
            "config": stop.config,
            "params": stop.params,
            "branches": stop.branches,
            "shapes": {name.removeprefix("saved."): list(array.shape) for name, array in stop.arrays.items()},
            "arrays": self.names.get(stop.name, {}),
            "sources": sources,
        }
        if stop.kind == "BatchNorm2d":
            found["training"] = bool(stop.saved["training"])
        if stop.kind == "unpool":  # the switches are those of the pooling at the other end
            argmax = stop["argmax"]
            found["pool"] = next(
                i for i, other in enumerate(self.trace.stops) if other.kind == "MaxPool2d" and other["argmax"] is argmax
            )
        return found

    def table(self):
        return {key: {"dtype": a.dtype.str[1:], "shape": list(a.shape)} for key, a in self.arrays.items()}


def as_base64(array):
    """The bytes of an array, row-major and little-endian, as text.

    >>> as_base64(np.array([1.0], "<f4"))
    'AACAPw=='
    """
    return base64.b64encode(array.tobytes()).decode("ascii")
