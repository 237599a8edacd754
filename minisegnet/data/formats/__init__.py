"""The layouts that data sets come in: one module for each, and `open`, which picks one.

A module has `find(path, split, **options) -> Dataset`, `splits(path)` and `recognise(path)`.
"""

import importlib
import inspect
from pathlib import Path

from ..dataset import DataError

KINDS = {
    "camvid": ".formats.camvid",
    "voc": ".formats.voc",
    "cityscapes": ".formats.cityscapes",
    "folder": ".formats.folder",
    "imagefolder": ".formats.imagefolder",
    "shapes": ".shapes",
}
ALIASES = {"valid": "val", "validation": "val"}
MOST = 10  # problems that an error lists


def open(spec, split="train", **options):
    """A data set, from a line of text: its kind and where it is.

    "camvid:PATH"           SegNet's layout of CamVid: lists of pairs
    "voc:PATH"              PASCAL VOC
    "cityscapes:PATH"       Cityscapes, 19 classes; options ids, annotation
    "folder:PATH"           your own pictures in PATH/images and PATH/masks; options classes, colours, values, void,
    "folder:IMAGES,MASKS"   val_fraction, seed
    "imagefolder:PATH"      a folder for each class, for classification; options val_fraction, seed
    "shapes"                generated; options size, count, seed
    PATH                    the kind is found out, if only one is possible

    Options are given by name, or in the text, behind commas: "shapes:size=64,count=1000". All kinds on disk take
    channels=1 (grey) or 3. Opening reads lists and headers, no pictures (but some masks, if it has to find the classes
    of a folder). A DataError names every file that is missing or ambiguous.

    >>> dataset = open("shapes:size=32,count=10", split="val")
    >>> image, mask = dataset[0]
    >>> image.shape, mask.shape, dataset.classes
    ((32, 32, 3), (32, 32), ('ground', 'disc', 'square', 'triangle'))
    """
    dataset = find(spec, split, **options)
    if dataset.problems:
        raise summary(dataset)
    return dataset


def open_like(spec, channels, split="train"):
    """As `open`, with pictures of so many channels where the kind has a choice and the text doesn't make it.

    So what a net was trained on in grey is measured in grey, whatever the pictures are. Errors as of `open`.

    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         Path(folder, "train", name).mkdir(parents=True)
    ...         PIL.Image.new("RGB", (4, 3)).save(Path(folder, "train", name, "1.png"))
    ...     image, label = open_like(f"imagefolder:{folder}", channels=1)[0]
    >>> image.shape
    (3, 4, 1)
    """
    module, _, options = parse(spec, {})
    is_free = "channels" in inspect.signature(module.find).parameters and "channels" not in options
    return open(spec, split, **({"channels": channels} if is_free else {}))


def find(spec, split="train", **options):
    """As `open`, but what is wrong with single files is left in the data set's `problems`; those files are left out."""
    module, path, options = parse(spec, options)
    split = ALIASES.get(split, split)
    if not isinstance(split, str):
        raise TypeError(f'split must be a name such as "train", got {split!r}')
    return module.find(path, split, **options)


def splits(spec, **options):
    """The splits that a data set has: ("train", "val").

    >>> splits("shapes")
    ('train', 'val', 'test')
    """
    module, path, options = parse(spec, options)
    taken = inspect.signature(module.splits).parameters
    return module.splits(path, **{name: value for name, value in options.items() if name in taken})


def summary(dataset):
    """One error of all problems."""
    if len(dataset.problems) == 1:
        return DataError(*dataset.problems[0])
    lines = [f"  {file}: {text}" for file, text in dataset.problems[:MOST]]
    rest = len(dataset.problems) - MOST
    lines += [f"  and {rest} more"] if rest > 0 else []
    where = getattr(dataset, "root", dataset.name)
    return DataError(
        where,
        f"{len(dataset.problems)} problems with {dataset.name} {dataset.split} "
        f"(`minisegnet data check --all` lists them):\n" + "\n".join(lines),
    )


# ------------------------------------------------------------------ the text


def parse(spec, options):
    """(module, path, options) of a spec."""
    if isinstance(spec, Path):
        spec = str(spec)
    if not isinstance(spec, str):
        raise TypeError(f'a data set is given as text such as "camvid:PATH", got {spec!r}')
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        rest, written = written_options(spec)
        kind = guess_kind(spec, rest)
    else:
        rest, written = written_options(rest)
    module = importlib.import_module(KINDS[kind], __package__.rpartition(".")[0])
    paths = [Path(part).expanduser() for part in rest]
    if kind == "folder" and len(paths) == 2:
        written["masks"] = paths.pop()
    twice = sorted(set(written) & set(options))
    if twice:
        raise ValueError(f"{spec}: {', '.join(twice)} is given twice, in the text and by name")
    options = written | options
    if isinstance(options.get("masks"), str):
        options["masks"] = Path(options["masks"]).expanduser()
    check_options(kind, module, options)
    if kind == "shapes":
        if paths:
            raise ValueError(f"{spec}: shapes are generated and take no path; options look like shapes:size=64")
        return module, None, options
    if len(paths) != 1:
        example = "folder:PATH or folder:IMAGES,MASKS" if kind == "folder" else f"{kind}:PATH"
        raise ValueError(f"{spec}: expected {example}, got {len(paths)} paths")
    if not paths[0].is_dir():
        raise FileNotFoundError(f"{spec}: there is no folder {paths[0]}")
    return module, paths[0], options


def written_options(text):
    """([paths], {option: value}) of the text behind the kind."""
    if text and Path(text).expanduser().exists():  # a path may have commas in its name
        return [text], {}
    paths, options = [], {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if equals and name.strip().isidentifier():
            options[name.strip()] = number(value.strip())
        else:
            paths.append(part)
    return paths, options


def number(text):
    """An int or a float where the text is one; the text otherwise."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_options(kind, module, options):
    """ValueError for an option that a kind hasn't got."""
    known = list(inspect.signature(module.find).parameters)[2:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"{kind} has no option {', '.join(unknown)}; it has: {', '.join(known)}")


def guess_kind(spec, paths):
    """The kind of a bare path, if its layout is unmistakable."""
    kinds = ", ".join(f"{kind}:PATH" if kind != "shapes" else kind for kind in KINDS)
    path = Path(paths[0]).expanduser() if len(paths) == 1 else None
    if path is None or not path.exists():
        raise ValueError(f"unknown data set {spec!r}: it is neither a folder nor one of {kinds}")
    if not path.is_dir():
        raise ValueError(f"{path} is a file; a data set is a folder, or one of {kinds}")
    modules = {kind: importlib.import_module(home, __package__.rpartition(".")[0]) for kind, home in KINDS.items()}
    found = [kind for kind, m in modules.items() if kind not in ("shapes", "imagefolder") and m.recognise(path)]
    found = found or (["imagefolder"] if modules["imagefolder"].recognise(path) else [])
    if len(found) == 1:
        return found[0]
    what = f"could be {' or '.join(found)}" if found else "looks like none of the layouts"
    raise ValueError(f"{path} {what}; say which one: {kinds}")
