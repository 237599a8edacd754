"""Checkpoints: all that a training needs to go on, to the last bit, in one file.

    save("last.safetensors", net, optimizer, schedule, state={"epoch": 3}, config={"model": "unet"})

    checkpoint = load("last.safetensors")          # checkpoint.config says how to build the net
    restore(checkpoint, net, optimizer, schedule)  # all three then continue as if they had never stopped

The file is a safetensors file, which any framework can read: the net's parameters and buffers are tensors called
"net.NAME", the optimiser's arrays "optimizer.NAME". Everything else (plain numbers, the states of the random
generators in layers such as Dropout, `state` and `config`) is JSON in its metadata, with a checksum of it all.
"""

import contextlib
import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .core import members
from .files import atomic_write

__all__ = ["Checkpoint", "CheckpointError", "Differences", "load", "restore", "save"]

KEY, FORMAT = "minisegnet", "checkpoint 1"
SHOWN = 12  # differences that an error lists before it only counts them
OTHER = "use another checkpoint of the same training (best.safetensors, last.safetensors) or train again"
GIVE = "give one that `minisegnet train` or minisegnet.checkpoint.save wrote"
FIT = (
    "build the net as the file's config says (load(path).config); to begin another training with the parts that fit, "
    "use strict=False"
)


class CheckpointError(ValueError):
    """A file that is no whole checkpoint, or one that doesn't fit; the text names the file and says what to do.

    >>> from minisegnet import layers
    >>> checkpoint = Checkpoint("net.safetensors", layers.Linear(2, 1).state_dict(), None, None, {}, {}, {})
    >>> restore(checkpoint, layers.Linear(3, 1))
    Traceback (most recent call last):
        ...
    minisegnet.checkpoint.CheckpointError: net.safetensors doesn't fit this net:
      weight: (1, 2) in the file, (1, 3) in the net
    build the net as the file's config says (load(path).config); to begin another training with the parts that fit,
    use strict=False
    """


class Checkpoint(NamedTuple):
    """What `load` found in a file.

    Attributes
        path: of the file
        tensors: the net's parameters and buffers by dotted name, as net.state_dict() gives them
        optimizer, schedule: dicts of "kind" and "state", its state_dict; None where none was saved
        generators: states of the random generators in layers, by dotted name
        state, config: as they were given to `save`

    >>> from minisegnet import layers
    >>> checkpoint = Checkpoint("net.safetensors", layers.Linear(2, 1).state_dict(), None, None, {}, {}, {"inputs": 2})
    >>> {name: array.shape for name, array in checkpoint.tensors.items()}
    {'weight': (1, 2), 'bias': (1,)}
    """

    path: Path
    tensors: dict
    optimizer: dict | None
    schedule: dict | None
    generators: dict
    state: dict
    config: dict


class Differences(NamedTuple):
    """Names of parameters and buffers that a file and a net don't have in common; all empty where they fit.

    Attributes
        missing: in the net, not in the file
        unexpected: in the file, not in the net
        reshaped: in both, with different shapes

    >>> from minisegnet import layers
    >>> old = layers.Sequential(body=layers.Linear(2, 2), head=layers.Linear(2, 3, bias=False))
    >>> new = layers.Sequential(body=layers.Linear(2, 2), head=layers.Linear(2, 5))
    >>> restore(Checkpoint("net.safetensors", old.state_dict(), None, None, {}, {}, {}), new, strict=False)
    Differences(missing=['head.bias'], unexpected=[], reshaped=['head.weight'])
    """

    missing: list
    unexpected: list
    reshaped: list


# ------------------------------------------------------------------ writing


def save(path, net, optimizer=None, schedule=None, state=None, config=None):
    """Write a checkpoint. Whenever it is interrupted, the old file or the new one is there, whole.

    Parameters
        path: where to; an existing file is replaced
        net: any Layer
        optimizer, schedule: needed to continue a training, not to use the net; Adam's make the file three times as long
        state, config: dicts of what JSON can hold: where the training stands, and how the net was built and trained

    Raises OSError, naming the path, if the disk doesn't take it, TypeError for a state or config that JSON can't hold.

    >>> import tempfile
    >>> from minisegnet import layers
    >>> net = layers.Linear(2, 1, rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder) / "net.safetensors", net, config={"inputs": 2})
    ...     checkpoint = load(Path(folder) / "net.safetensors")
    >>> checkpoint.config, list(checkpoint.tensors)
    ({'inputs': 2}, ['weight', 'bias'])
    >>> restore(checkpoint, layers.Linear(2, 1, rng=1))
    Differences(missing=[], unexpected=[], reshaped=[])
    """
    from safetensors.numpy import save as to_bytes

    tensors = {f"net.{name}": array for name, array in net.state_dict().items()}
    header = {"order": list(tensors), "generators": generator_states(net), "state": state or {}, "config": config or {}}
    for part, thing in {"optimizer": optimizer, "schedule": schedule}.items():
        if thing is not None:
            numbers = thing.state_dict()
            arrays = {name: numbers.pop(name) for name in list(numbers) if isinstance(numbers[name], np.ndarray)}
            tensors |= {f"{part}.{name}": array for name, array in arrays.items()}
            header[part] = {"kind": kind(thing), "state": numbers}
    try:
        text = json.dumps(header, default=list_of_array)
    except (TypeError, ValueError) as error:
        raise TypeError(f"can't save {path}: state and config must be what JSON can hold: {error}") from None
    # One entry: safetensors writes several in any order, and the same training shall give the same file.
    metadata = {KEY: f"{FORMAT}\n{checksum(text, tensors)}\n{text}"}
    atomic_write(path, to_bytes(tensors, metadata))


def generators_of(net):
    """(dotted name, numpy.random.Generator) of all random generators that are attributes of layers."""
    for prefix, layer in net.named_layers():
        for attribute, value in vars(layer).items():
            for name, generator in members(attribute, value, np.random.Generator):
                yield f"{prefix}.{name}" if prefix else name, generator


def generator_states(net):
    """Their states by name; a generator that several layers share comes once for each of them."""
    return {name: generator.bit_generator.state for name, generator in generators_of(net)}


def kind(thing):
    """The class of an optimiser or schedule; "Warmup(StepLR)" for one that wraps another."""
    inner = f"({kind(thing.schedule)})" if hasattr(thing, "schedule") else ""
    return f"{type(thing).__name__}{inner}"


def list_of_array(value):
    """The arrays in the states of some bit generators as lists, for JSON; a TypeError for anything else."""
    if isinstance(value, np.ndarray) and value.dtype in (np.uint32, np.uint64):
        return value.tolist()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def checksum(text, tensors):
    """CRC-32 of the header and of all arrays with their names, dtypes and shapes: safetensors itself has none."""
    crc = zlib.crc32(text.encode("utf-8"))
    for name, array in sorted(tensors.items()):
        crc = zlib.crc32(f"{name} {array.dtype} {array.shape}".encode(), crc)
        crc = zlib.crc32(np.ascontiguousarray(array), crc)
    return f"{crc:08x}"


# ------------------------------------------------------------------ reading


def load(path):
    """Read a checkpoint and make sure that it is whole; nothing is changed by that. Returns a Checkpoint.

    Raises FileNotFoundError where there is none, and CheckpointError for anything that is not a whole checkpoint.

    >>> import tempfile
    >>> from minisegnet import layers
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Path(folder, "last.safetensors"), layers.Linear(2, 1, rng=0), state={"epoch": 3})
    ...     checkpoint = load(Path(folder, "last.safetensors"))
    >>> checkpoint.state, checkpoint.tensors["weight"].shape, checkpoint.optimizer
    ({'epoch': 3}, (1, 2), None)
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        present = sorted(p.name for p in (path if path.is_dir() else path.parent).glob("*.safetensors"))
        what = "is a folder, not a checkpoint" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}; checkpoints there: {', '.join(present) or 'none'}")
    try:
        with safe_open(path, framework="numpy") as file:
            written, _, rest = (file.metadata() or {}).get(KEY, "").partition("\n")
            if written != FORMAT:  # said before its tensors are looked at: they may be of any dtype
                raise CheckpointError(f"{path} is a safetensors file, but {whose(written)}")
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        with path.open("rb") as file:
            head = file.read(16)
        if head[8:9] not in (b"{", b""):  # the header of a safetensors file begins there, behind its length
            what = f"{path} is no checkpoint (it begins with {head!r}), or its beginning is damaged"
            raise CheckpointError(f"{what}; {GIVE}") from None
        raise CheckpointError(f"{path} is damaged or was cut short ({error}); {OTHER}") from None
    expected, _, text = rest.partition("\n")
    if checksum(text, tensors) != expected:
        raise CheckpointError(f"{path} is damaged: its checksum is wrong, so some bytes have changed; {OTHER}")
    header = json.loads(text)
    parts = {part: header.get(part) for part in ("optimizer", "schedule")}
    for part, content in parts.items():
        if content is not None:
            content["state"] |= {n.removeprefix(f"{part}."): a for n, a in tensors.items() if n.startswith(f"{part}.")}
    arrays = {name.removeprefix("net."): tensors[name] for name in header["order"]}  # safetensors sorts them by size
    return Checkpoint(path, arrays, **parts, **{name: header[name] for name in ("generators", "state", "config")})


def whose(written):
    """Why a file with this first line of metadata can't be read: it is of a later version, or not ours."""
    if written.startswith("checkpoint "):
        return f"a {written!r}, and this version of minisegnet reads {FORMAT!r}: install a newer minisegnet"
    return f"not a checkpoint of minisegnet; {GIVE}"


# ------------------------------------------------------------------ taking over


def restore(checkpoint, net, optimizer=None, schedule=None, strict=True):
    """Put a checkpoint into a net, and if given into an optimiser and a schedule, which then continue where they were.

    Values are converted to the net's dtype. Nothing is changed unless everything fits.

    With strict=True the net must have exactly the file's parameters, buffers and random generators. With strict=False,
    for fine-tuning, it takes the parameters and buffers that it has in common with the file, by name and shape, and
    keeps its own for the rest; the returned Differences say which.

    Raises CheckpointError for what doesn't fit, with a list of it.

    >>> from minisegnet import layers
    >>> old, new = layers.Linear(2, 1, rng=0), layers.Linear(2, 1, rng=1)
    >>> restore(Checkpoint("net.safetensors", old.state_dict(), None, None, {}, {}, {}), new)
    Differences(missing=[], unexpected=[], reshaped=[])
    >>> bool((new.weight.value == old.weight.value).all())
    True
    """
    found = differences(checkpoint, net)
    if strict and any(found):
        raise CheckpointError(f"{checkpoint.path} doesn't fit this net:\n{listing(checkpoint, net, found)}\n{FIT}")
    usable = {n: a for n, a in checkpoint.tensors.items() if n not in found.unexpected and n not in found.reshaped}
    if checkpoint.tensors and not usable:
        raise CheckpointError(f"{checkpoint.path} has nothing in common with this net; {FIT}")
    generators = checked_generators(checkpoint, net) if strict else {}
    with unchanged_on_error(net, optimizer, schedule):
        net.load_state_dict(usable, strict=False)
        restore_part(checkpoint, "optimizer", optimizer)
        restore_part(checkpoint, "schedule", schedule)
    for name, generator in generators.items():
        generator.bit_generator.state = checkpoint.generators[name]
    return found


def differences(checkpoint, net):
    """What a checkpoint and a net don't have in common."""
    mine, theirs = net.state_dict(), checkpoint.tensors
    return Differences(
        missing=[name for name in mine if name not in theirs],
        unexpected=[name for name in theirs if name not in mine],
        reshaped=[name for name in mine if name in theirs and mine[name].shape != theirs[name].shape],
    )


def listing(checkpoint, net, found):
    """The differences as text, a line for each of the first few."""
    mine, theirs = net.state_dict(), checkpoint.tensors
    lines = [f"  {n}: {theirs[n].shape} in the file, {mine[n].shape} in the net" for n in found.reshaped]
    lines += [f"  {n}: not in the file" for n in found.missing]
    lines += [f"  {n}: not in the net" for n in found.unexpected]
    more = [f"  and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n".join(lines[:SHOWN] + more)


def checked_generators(checkpoint, net):
    """The net's generators by name, if they are those of the file."""
    mine, theirs = dict(generators_of(net)), checkpoint.generators
    kinds = {name: generator.bit_generator.state["bit_generator"] for name, generator in mine.items()}
    expected = {name: state["bit_generator"] for name, state in theirs.items()}
    if kinds != expected:
        raise CheckpointError(
            f"{checkpoint.path} doesn't fit this net: its random generators are {expected or 'none'}, "
            f"the net's {kinds or 'none'} (layers such as Dropout have one); {FIT}"
        )
    return mine


def restore_part(checkpoint, part, thing):
    """Load the state of the optimiser or the schedule, unless `thing` is None."""
    if thing is None:
        return
    content = getattr(checkpoint, part)
    if content is None:
        raise CheckpointError(
            f"{checkpoint.path} has no {part} state: it can be used and fine-tuned (--init), but its training can't be "
            f"continued; that needs what the training saved as last.safetensors (best.safetensors is without)"
        )
    if content["kind"] != kind(thing):
        raise CheckpointError(
            f"{checkpoint.path} was saved with the {part} {content['kind']}, this is {kind(thing)}; "
            f"to continue a training, use what it was begun with"
        )
    try:
        thing.load_state_dict(content["state"])
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.path} doesn't fit this {part}: {error.args[0]}") from None


@contextlib.contextmanager
def unchanged_on_error(*things):
    """Give everything with a state its old one back if an error ends the `with` block."""
    things = [thing for thing in things if thing is not None]
    before = [thing.state_dict() for thing in things]
    try:
        yield
    except BaseException:
        for thing, state in zip(reversed(things), reversed(before), strict=True):  # a schedule sets its optimiser's lr
            thing.load_state_dict(state)
        raise
