"""What the pixels of a folder's masks mean: classes, their names, and which values or colours are void.

classes   how many; their names, as a list or "sky+road+car"; or a text file with a name, or "NAME RED GREEN BLUE",
          in each line. Without it PATH/classes.txt (or codes.txt) is read; without that the labels are looked at
colours   of the classes, in order: "000000+ff0000", or a list of (red, green, blue). They decode colour masks, and
          masks of any kind are shown in them
values    pixel values in class order, where they aren't 0, 1, 2, ...: "0+255"
void      pixel values (or colours, with #) that are void, instead of 255: "3", "#e0e0c0"
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...colours import distinct_colours
from ...core import check_int
from ..dataset import VOID, DataError
from ..files import Coding, describe_colours, packed, read_label_pixels

LOOKED_AT, GLANCED_AT = 200, 8  # masks read to find the classes; to notice 0 and 255 where the classes are known
BINARY = (
    "the masks hold only 0 and 255, and 255 is the label of void pixels, which aren't trained on, so that one class "
    "would be left; if 255 is the second class, open with values=0+255"
)


class Meaning(NamedTuple):
    coding: Coding
    names: tuple
    colours: np.ndarray
    notes: list
    problems: list


def understand(where, masks, classes, colours, values, void):
    """A `Meaning` from the options, from classes.txt, or from the masks."""
    notes, problems = [], []
    names, table, void_colours = named(where.root, classes, notes)
    if colours is not None:
        table = [colour(item) for item in as_list(colours)]
    void_values, more_void_colours = parse_void(void)
    values = None if values is None else [check_int("a pixel value", as_int(v), 0) for v in as_list(values)]
    counts = {
        "classes": None if names is None else len(names),
        "colours": len(table) if table else None,
        "values": None if values is None else len(values),
    }
    known = {option: count for option, count in counts.items() if count is not None}
    if len(set(known.values())) > 1:
        raise ValueError(
            f"{', '.join(f'{o} has {n} entries' for o, n in known.items())}: they must be as many as there are classes"
        )
    count = next(iter(known.values()), None)
    if count is None:
        count = guess(where.masks, masks, void_values, notes, problems)
    elif values is None and not (void and 0 in void_values):
        glance(where.masks, masks, problems)
    values = range(count) if values is None else values
    coding = Coding(
        dict.fromkeys(void_values, VOID) | {value: c for c, value in enumerate(values)},
        {rgb: c for c, rgb in enumerate(table)} | dict.fromkeys([*void_colours, *more_void_colours], VOID)
        if table
        else None,
        count,
        hints(count),
    )
    names = tuple(names) if names else tuple(f"class {c}" for c in range(count))
    shown = np.array(table, np.uint8) if table else distinct_colours(count)
    return Meaning(coding, names, shown, notes, problems)


def hints(count):
    """Hints about values that are out of range."""
    from .cityscapes import CLASSES as CITY
    from .cityscapes import IDS, NOT_TRAIN_IDS

    return dict.fromkeys(range(count, IDS), f"In Cityscapes, {NOT_TRAIN_IDS}") if count == len(CITY) else {}


# ------------------------------------------------------------------ options


def as_list(value):
    """A list from a list, from "a+b+c", or from one item."""
    if isinstance(value, str):
        return [part.strip() for part in value.split("+")]
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def as_int(value):
    """An int from text; anything else as it is."""
    try:
        return int(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(f"a pixel value must be a whole number, got {value!r}") from None


def colour(item):
    """(red, green, blue) from "ff8000", "#ff8000" or three numbers."""
    if isinstance(item, str) and re.fullmatch("#?[0-9a-fA-F]{6}", item):
        return tuple(bytes.fromhex(item.removeprefix("#")))
    numbers = np.asarray(item) if not isinstance(item, str) else np.array(0)
    if numbers.shape != (3,) or numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers <= 255)).all():
        raise ValueError(f'a colour must be six hexadecimal digits, "ff8000", or (red, green, blue), got {item!r}')
    return tuple(map(int, numbers))


def parse_void(void):
    """(values, colours) of the option."""
    if void is None:
        return [VOID], []
    items = as_list(void)
    is_colour = [isinstance(item, (tuple, list)) or str(item).startswith("#") for item in items]
    colours = [colour(item) for item, yes in zip(items, is_colour, strict=True) if yes]
    values = [check_int("a void value", as_int(i), 0) for i, yes in zip(items, is_colour, strict=True) if not yes]
    return values or [VOID], colours


def named(root, classes, notes):
    """(names, colours, void colours) from the option or from a file beside the pictures; None where nothing is said."""
    if classes is None:
        files = [root / name for name in ("classes.txt", "codes.txt") if (root / name).is_file()]
        if not files:
            return None, None, []
        notes.append(f"the classes are those of {files[0]}")
        return read_classes(files[0])
    if isinstance(classes, str) and Path(classes).is_file():
        return read_classes(Path(classes))
    if isinstance(classes, (int, np.integer)) or (isinstance(classes, str) and classes.isdecimal()):
        return [f"class {c}" for c in range(check_int("classes", as_int(classes), 2))], None, []
    names = [str(name) for name in as_list(classes)]
    if len(names) < 2 or len(set(names)) < len(names) or "" in names:
        raise ValueError(
            f'classes must be a number, two or more different names such as "sky+road", or a text file, got {classes!r}'
        )
    return names, None, []


def read_classes(path):
    """(names, colours or None, void colours) of a text file; an entry called void is no class."""
    from ..lists import read_list

    lines, _ = read_list(path)
    names, colours, void = [], [], []
    for number, text in lines:
        match = re.fullmatch(r"(.*?)[\s,]+([0-9]+)[\s,]+([0-9]+)[\s,]+([0-9]+)", text)
        name, rgb = (match[1], tuple(map(int, match.groups()[1:]))) if match else (text, None)
        if rgb and max(rgb) > 255:
            raise DataError(path, f"line {number} has the colour {rgb}; red, green and blue are 0 to 255")
        if name.lower() == "void":
            void += [rgb] if rgb else []
        else:
            names.append(name)
            colours.append(rgb)
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(path, f"must name two or more different classes, one a line, got {names}")
    if any(colours) and not all(colours):
        raise DataError(path, f"{names[colours.index(None)]} has no colour, though others have: all or none")
    return names, colours if all(colours) else None, void


# ------------------------------------------------------------------ looking at masks


def look(masks, most):
    """(values, colours, how many masks, errors of the others) in at most `most` of the masks, evenly spread."""
    step = max(1, -(-len(masks) // most))
    values, colours, count, bad = set(), set(), 0, []
    for path in masks[::step]:
        try:
            pixels = read_label_pixels(path)
        except DataError as error:
            bad.append(error)  # each is reported with its picture, when that is read
            continue
        count += 1
        if pixels.ndim == 3 and not (pixels == pixels[:, :, :1]).all():
            colours |= set(np.unique(packed(pixels)).tolist())
        else:
            values |= set(np.unique(pixels if pixels.ndim == 2 else pixels[:, :, 0]).tolist())
    return values, colours, count, bad


def glance(folder, masks, problems):
    """Notice masks of 0 and 255 only."""
    values, *_ = look(masks, GLANCED_AT)
    if values == {0, VOID}:
        problems.append((folder, BINARY))


def guess(folder, masks, void, notes, problems):
    """How many classes the masks have: the highest label and one. What makes no sense is a problem, not a guess."""
    values, colours, count, bad = look(masks, LOOKED_AT)
    labels = sorted(values - set(void))
    few = ", ".join(map(str, labels[:8])) + (", ..." if len(labels) > 8 else "")
    if not masks:
        return 2
    if not count:
        problems.append((folder, f"none of the masks can be read; {bad[0]}"))
    elif colours:
        table = np.array([[(c >> 16, c >> 8 & 255, c & 255) for c in sorted(colours)]])
        problems.append((
            folder, f"holds colour masks with {describe_colours(table)}, and no table says which class a colour is; "
            f"give the colours in class order, such as colours=000000+ff0000",
        ))  # fmt: skip
    elif values == {0, VOID}:
        problems.append((folder, BINARY))
    elif not labels:
        problems.append((folder, f"no label but void was found in {count} masks"))
    elif labels == [0]:
        problems.append((folder, f"no label but 0 was found in {count} masks; a second class is needed"))
    elif labels[0] < 0 or labels[-1] > 4 * len(labels) + 8:
        problems.append((
            folder, f"the masks hold the values {few}: too far apart to be class indices; give those of the classes, "
            f"in order, as values={'+'.join(map(str, labels[:4]))}, or say how many classes there are",
        ))  # fmt: skip
    else:
        sample = f"all {count}" if count == len(masks) else f"{count} of {len(masks)}"
        notes.append(f"{labels[-1] + 1} classes, as {sample} masks hold the labels {few}; name them with classes=...")
        return labels[-1] + 1
    return 2
