"""`minisegnet data check`: read every picture and mask once, and report everything that is wrong or odd.

Problems are what training would stop at, or what makes its results wrong; warnings are what may be meant as it is.
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .dataset import VOID, DataError, Dataset, check_sizes

__all__ = ["Part", "Report", "check"]

DARK = 16  # of 255
ALIKE = 3  # findings of one kind that are printed before the others are only counted
FEW, RARE = 100, 1e-3  # pixels of a class, and their share, below which it may be there by mistake


@dataclass
class Part:
    """What was found in one split.

    Attributes
        dataset: the split, a Dataset
        counts: its PixelCounts
        sizes: {(width, height): pictures}, a Counter
        stored: {how pixels are stored, such as "RGB": pictures}, a Counter
        first_files: {class: the first file that it occurs in}

    >>> part = check("shapes:size=16,count=4", split="train", progress=False).parts["train"]
    >>> part.sizes, part.counts.pixels.sum() + part.counts.void
    (Counter({(16, 16): 4}), np.int64(1024))
    """

    dataset: Dataset
    counts: object
    sizes: Counter
    stored: Counter
    first_files: dict

    def weights(self):
        """{rule: class weights} by every rule; {} without any labelled pixel."""
        from ..class_weights import RULES, class_weights

        return {rule: class_weights(rule, self.counts) for rule in RULES if self.counts.pixels.any() and rule != "none"}


@dataclass
class Report:
    """What `check` found. True if there are no problems; print it to read it.

    Attributes
        problems, warnings: lists of (file, text)
        parts: {split: Part}, with the counts of each
        pixels, images: of each class, in the first split: its pixels, and the pictures it occurs in
        weights: {rule: class weights} from the first split
        notes: what was decided or noticed while opening, in plain words
        sheet: the file of the contact sheet, if one was asked for

    >>> report = Report("folder:photos")
    >>> report.problem("photos/masks/1.png", "label 7 at 3 pixels, expected 0..1 or 255 (void)")
    >>> print(report)
    folder:photos
    <BLANKLINE>
    1 problem:
      photos/masks/1.png: label 7 at 3 pixels, expected 0..1 or 255 (void)
    >>> bool(report)
    False
    """

    name: str
    parts: dict = field(default_factory=dict)
    problems: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    sheet: Path | None = None

    def __bool__(self):
        return not self.problems

    def problem(self, file, text):
        """Add a problem, unless it is known."""
        if (str(file), text) not in self.problems:
            self.problems.append((str(file), text))

    def warn(self, file, text):
        self.warnings.append((str(file), text))

    @property
    def first(self):
        if not self.parts:
            raise ValueError(f"{self.name} could not be opened, so nothing was counted; see problems")
        return next(iter(self.parts.values()))

    @property
    def pixels(self):
        return self.first.counts.pixels

    @property
    def images(self):
        return self.first.counts.images

    @property
    def weights(self):
        return self.first.weights()

    def __str__(self):
        return self.text()

    def text(self, everything=False):
        """All that was found, as text. Of findings that are alike only the first few, unless `everything` is wanted."""
        lines = [self.name]
        for split, part in self.parts.items():
            lines += ["", *describe(split, part, self.weights if part is self.first else {})]
        lines += ["", *(f"note: {text}" for text in self.notes)] if self.notes else []
        for title, items in (("warning", self.warnings), ("problem", self.problems)):
            if items:
                lines += ["", f"{len(items)} {title}{'s' if len(items) > 1 else ''}:"]
                lines += listing(items, len(items) if everything else ALIKE)
        lines += ["", f"contact sheet: {self.sheet}"] if self.sheet else []
        lines += [] if self.problems else ["", "no problems found"]
        return "\n".join(lines)


def check(dataset_or_spec, split=None, contact_sheet=None, progress=True, **options):
    """A `Report` of everything that is wrong with a data set: every file is read once, and no fault ends the pass.

    dataset_or_spec: a Dataset, or what `data.open` takes, options too
    split: one, or several in a list; None for all that there are, which also finds pictures that are in two of them
    contact_sheet: a file for a PNG of pictures with their masks; it must not exist yet

    >>> report = check("shapes:size=16,count=4", split="train", progress=False)
    >>> bool(report), report.pixels.sum(), sorted(report.weights)
    (True, np.int64(1024), ['enet', 'median-frequency', 'sqrt-median-frequency'])
    """
    sheet = None if contact_sheet is None else Path(contact_sheet)
    if sheet is not None and sheet.exists():
        raise FileExistsError(f"{sheet} exists already; name another file for the contact sheet")
    report = Report(str(dataset_or_spec))
    datasets = gather(dataset_or_spec, split, options, report)
    seen = {}  # of each picture, by its content: (split, file)
    for dataset in datasets:
        for file, text in dataset.problems:
            report.problem(file, text)
        report.notes += [note for note in dataset.notes if note not in report.notes]
        report.parts[dataset.split] = survey(dataset, report, seen, progress)
    if report.parts:
        compare_classes(report)
        point_out_strays(report)
    if sheet is not None and datasets:
        from .sheet import draw_sheet

        draw_sheet(datasets, sheet)
        report.sheet = sheet
    return report


def gather(dataset_or_spec, split, options, report):
    """The data sets to look at; one that can't be opened at all is a problem."""
    if isinstance(dataset_or_spec, Dataset):
        return [dataset_or_spec]
    from .formats import find, splits

    datasets = []
    try:
        names = [split] if isinstance(split, str) else split or splits(dataset_or_spec, **options)
    except DataError as error:
        report.problem(error.file, error.text)
        return []
    if not names:
        report.problem(str(dataset_or_spec), "has no split: neither lists nor folders of one were found")
    for name in names:
        try:
            datasets.append(find(dataset_or_spec, name, **options))
        except DataError as error:
            report.problem(error.file, error.text)
    return datasets


def survey(dataset, report, seen, progress):
    """A `Part`: reads all of a data set, and adds what is wrong to the report."""
    from ..class_weights import count_pixels
    from .files import GREY

    if not len(dataset):
        report.problem(getattr(dataset, "root", dataset.name), f"{dataset.split} has no pictures")
    with tqdm(total=len(dataset), desc=dataset.split, unit="picture", disable=None if progress else True) as bar:
        inspector = Inspector(dataset, report, seen, bar)
        counts = count_pixels(inspector)
    if dataset.kind == "segmentation" and len(counts.pixels) == 2 and counts.void and not counts.pixels[1:].any():
        from .formats.meaning import BINARY

        if not any(text == BINARY for _, text in report.problems):
            report.problem(getattr(dataset, "root", dataset.name), f"{dataset.split}: {BINARY}")
    if dataset.channels == 1 and any(mode not in GREY for mode in inspector.stored):
        report.warn(dataset.name, f"{dataset.split} has colour pictures, which are read as grey ones")
    return Part(dataset, counts, inspector.sizes, inspector.stored, inspector.first)


class Inspector:
    """Stands in for a data set while its pixels are counted: each mask that is asked for is looked at on the way.

    So there is one pass, and one piece of code that counts. A mask that can't be read has no pixels here.
    """

    def __init__(self, dataset, report, seen, bar):
        self.dataset, self.report, self.seen, self.bar = dataset, report, seen, bar
        self.classes, self.kind, self.names = dataset.classes, dataset.kind, dataset.names
        self.mask_path = dataset.mask_path
        self.sizes, self.stored = Counter(), Counter()
        self.first = {}  # class: the first file that it occurs in

    def __len__(self):
        return len(self.dataset)

    def mask(self, i):
        self.bar.update()
        image, mask = self.attempt(self.dataset.image, i), self.attempt(self.dataset.mask, i)
        if image is not None:
            self.look_at(i, image)
        if image is not None and mask is not None:
            self.attempt(lambda i: check_sizes(self.dataset, i, image, mask), i)
        if mask is not None and np.ndim(mask) and (mask == VOID).all():
            self.report.warn(
                self.dataset.mask_path(i) or self.names[i], "every pixel is void: there is nothing to learn"
            )
        mask = np.zeros(0, np.int64) if mask is None else mask
        for c in np.flatnonzero(np.bincount(np.ravel(np.maximum(mask, 0)))).tolist():
            self.first.setdefault(c, self.dataset.mask_path(i) or self.names[i])
        return mask

    def attempt(self, function, i):
        """What a function makes of sample i; None, and a problem in the report, if it fails."""
        try:
            return function(i)
        except DataError as error:
            self.report.problem(error.file, error.text)
            return None

    def look_at(self, i, image):
        """Size, storage, brightness of a picture, and whether it is one that was there before."""
        path, split = self.dataset.image_path(i), self.dataset.split
        file = str(path or self.names[i])
        self.sizes[image.shape[1::-1]] += 1
        if path is not None:
            from .files import stored_as

            self.stored[stored_as(path)] += 1
        if image.min() == image.max():
            self.report.warn(file, f"all pixels are {image.min()}: the picture is empty")
        elif image.max() < DARK:
            self.report.warn(file, f"the brightest pixel is {image.max()} of 255 (12 bits stored as 16?): brighten it")
        digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
        first_split, first = self.seen.setdefault(digest, (split, file))
        if first_split != split:
            text = f"{split} has the same picture as {first} in {first_split}: its scores would be too good"
            self.report.problem(file, text)
        elif first != file:
            self.report.warn(file, f"is the same picture as {first}")


def compare_classes(report):
    """Warn of classes that are nowhere to be learnt from, or can't be scored."""
    first, *others = report.parts.items()
    split, part = first
    if not part.counts.pixels.any():
        return  # there is nothing at all, and other findings say why
    names = part.dataset.classes
    for c in np.flatnonzero(part.counts.pixels == 0):
        report.warn(part.dataset.name, f"{called(names[c])} never occurs in {split}")
    for other, other_part in others:
        for c in np.flatnonzero((part.counts.pixels > 0) & (other_part.counts.pixels == 0)):
            report.warn(part.dataset.name, f"{called(names[c])} has no score in {other}: it never occurs")


def point_out_strays(report):
    """Warn of classes of very few pixels in all splits together: a slip of the brush makes a class of its own."""
    if report.first.dataset.kind != "segmentation":
        return
    pixels = sum(part.counts.pixels for part in report.parts.values())
    for c in np.flatnonzero((pixels > 0) & (pixels < FEW) & (pixels < RARE * pixels.sum())).tolist():
        files = [part.first_files[c] for part in report.parts.values() if c in part.first_files]
        what = "only 1 pixel" if pixels[c] == 1 else f"only {pixels[c]} pixels"
        report.warn(
            files[0],
            f"{called(report.first.dataset.classes[c])} has {what} in {', '.join(report.parts)}, the first one here; "
            f"if that is a slip of the brush, repaint it",
        )


def called(name):
    """A class as messages call it: "class sky", and not "class class 0" where it has no name but its number."""
    return name if re.fullmatch("class [0-9]+", name) else f"class {name}"


# ------------------------------------------------------------------ as text


def listing(items, most):
    """Lines for (file, text) items: of those whose texts differ in numbers and colours only, the first `most`.

    >>> print(*listing([("a", "is 1 wide"), ("b", "is 2 wide"), ("c", "is lost"), ("d", "is 3 wide")], 1), sep="\\n")
      a: is 1 wide
      and 2 more like this, such as d (--all lists them)
      c: is lost
    """
    kinds = {}
    for file, text in items:
        kinds.setdefault(re.sub(r"([0-9a-f]{6}, )*[0-9a-f]{6}\b|[0-9]+", "", text), []).append((file, text))
    lines = []
    for alike in kinds.values():
        lines += [f"  {file}: {text}" for file, text in alike[:most]]
        if len(alike) > most:
            lines.append(f"  and {len(alike) - most} more like this, such as {alike[-1][0]} (--all lists them)")
    return lines


def describe(split, part, weights):
    """Lines about one split: its pictures, and a table of its classes with the weights that they suggest."""
    dataset, counts = part.dataset, part.counts
    if not len(dataset):
        return [f"{split}: no pictures"]
    sizes = [f"{w}x{h}" + (f" ({n})" if len(part.sizes) > 1 else "") for (w, h), n in part.sizes.most_common(5)]
    more = f" and {len(part.sizes) - 5} more" if len(part.sizes) > 5 else ""
    kinds = ", ".join(f"{mode} ({n})" for mode, n in part.stored.most_common()) or "nothing that can be read"
    origin = "generated" if dataset.image_path(0) is None else f"stored as {kinds}"
    lines = [
        f"{split}: {len(dataset)} pictures of {', '.join(sizes) or 'unknown size'}{more} (width x height)",
        f"  {origin}; read with {dataset.channels} channel{'s' if dataset.channels > 1 else ''}",
    ]
    labelled = max(1, counts.pixels.sum())
    width = max(5, *map(len, dataset.classes))
    unit = "pixels" if dataset.kind == "segmentation" else "labels"
    lines.append(f"  {'class':<{width}} {unit:>12} {'share':>8} {'pictures':>9}" + "".join(f"  {r}" for r in weights))
    for c, name in enumerate(dataset.classes):
        row = f"  {name:<{width}} {counts.pixels[c]:12d} {counts.pixels[c] / labelled:8.2%} {counts.images[c]:9d}"
        lines.append(row + "".join(f"  {w[c]:{len(rule)}.3f}" for rule, w in weights.items()))
    if dataset.kind == "segmentation":
        share = counts.void / max(1, counts.void + counts.pixels.sum())
        lines.append(f"  {'void':<{width}} {counts.void:12d} {share:8.2%} of all")
    return lines
