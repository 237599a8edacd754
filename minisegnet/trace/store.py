"""A trace as one safetensors file, which any framework can read.

Each array is stored once, however many stops share it (one's y is the next one's x). The tree, the stops and which
arrays they have are JSON in the file's metadata, with a checksum of it all.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np

from ..checkpoint import checksum
from ..files import atomic_write
from .stops import Node, Stop
from .trace import Trace

KEY, FORMAT = "minisegnet", "trace 1"


class TraceError(ValueError):
    """A file that is no whole trace; the text names the file and says what to do.

    >>> import contextlib, tempfile
    >>> from minisegnet import checkpoint, layers
    >>> with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    ...     checkpoint.save("net.safetensors", layers.ReLU())
    ...     load("net.safetensors")
    Traceback (most recent call last):
        ...
    minisegnet.trace.store.TraceError: net.safetensors is a safetensors file, but not one with a 'trace 1';
    give one that Trace.save wrote
    """


def save(trace, path):
    """Write a trace. Whenever it is interrupted, the old file or the new one is there, whole."""
    from safetensors.numpy import save as to_bytes

    text, arrays = pack(trace)
    atomic_write(path, to_bytes(arrays, {KEY: f"{FORMAT}\n{checksum(text, arrays)}\n{text}"}))


def pack(trace):
    """(JSON text, {name: array}): all that is in a trace, with every array once."""
    arrays, names = {}, {}

    def name_of(array):
        # a view of another array is an array of its own here
        if id(array) not in names:
            names[id(array)] = f"a{len(names)}"
            arrays[names[id(array)]] = np.ascontiguousarray(array).reshape(array.shape)
        return names[id(array)]

    def described(stop):
        fields = {field.name: getattr(stop, field.name) for field in dataclasses.fields(stop)}
        return fields | {"arrays": {name: name_of(array) for name, array in stop.arrays.items()}}

    content = {
        "tree": dataclasses.asdict(trace.tree),
        "stops": [described(stop) for stop in trace.stops],
        "losses": [described(stop) for stop in trace.losses],
    }
    return json.dumps(content), arrays


def load(path):
    """Read a trace that `Trace.save` wrote: it can be looked at and asked as before, without the net.

    Raises FileNotFoundError where there is none, TraceError for a file that is no whole trace.

    >>> import tempfile
    >>> from minisegnet import layers, trace
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trace.record(layers.ReLU(), np.array([-1.0, 2.0]), dy=np.ones(2)).save(Path(folder, "pass.safetensors"))
    ...     found = load(Path(folder, "pass.safetensors"))
    >>> found["ReLU"].dx, found.explain("ReLU", 1, of="dx").agrees
    (array([0., 1.]), True)
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no trace {path}; write one with trace.save(path)")
    try:
        with safe_open(path, framework="numpy") as file:
            written, _, rest = (file.metadata() or {}).get(KEY, "").partition("\n")
            if written != FORMAT:
                raise TraceError(
                    f"{path} is a safetensors file, but not one with a {FORMAT!r}; give one that Trace.save wrote"
                )
            names = file.keys()
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise TraceError(f"{path} is damaged or was cut short ({error}); record the trace again") from None
    expected, _, text = rest.partition("\n")
    if checksum(text, arrays) != expected:
        raise TraceError(f"{path} is damaged: its checksum is wrong, so some bytes have changed; record it again")
    content = json.loads(text)

    def stop(fields):
        return Stop(**fields | {"arrays": {name: arrays[key] for name, key in fields["arrays"].items()}})

    return Trace(node_of(content["tree"]), [stop(f) for f in content["stops"]], [stop(f) for f in content["losses"]])


def node_of(fields):
    """A Node and those below it, from nested dicts."""
    return Node(**fields | {"children": [node_of(child) for child in fields["children"]]})
