"""Your own pictures: a folder of pictures and a folder of masks.

    PATH/images/NAME.jpg      pictures, in any format, in folders of their own if you like
    PATH/masks/NAME.png       masks (or labels/), with the same names; NAME_mask.png and the like are found too
    PATH/train.txt val.txt    optional: names, or "picture mask" pairs, one a line
    PATH/classes.txt          optional: names of the classes, one a line; "NAME RED GREEN BLUE" if masks are coloured

Without lists, folders images/train and images/val are the splits; without those a part of the pictures is drawn for
val: `val_fraction` of them, the same ones for the same `seed`. What masks mean: see `meaning`.
"""

from typing import NamedTuple

from ...core import check_int, check_number
from ..dataset import DataError
from ..lists import located, read_list
from ..on_disk import MaskedPictures, drawn_apart, guess_channels, shown
from .folders import missing_split, no_pictures, pictures_below
from .meaning import understand

IMAGES, MASKS = ("images", "image"), ("masks", "labels", "mask", "label")
LISTS = {"train": ("train.txt",), "val": ("val.txt", "valid.txt"), "test": ("test.txt",)}
MASK_ENDINGS = ("_mask", "_label", "_labels", "_seg", "_gt", "_L", "_P")  # the last two are CamVid's
DRAWN = ("train", "val")


def recognise(path):
    """Whether the folder looks like this layout."""
    return any((path / name).is_dir() for name in IMAGES) and any((path / name).is_dir() for name in MASKS)


class Places(NamedTuple):
    root: object  # where lists are, and what names are relative to
    images: object
    masks: object


def places(path, masks=None):
    """The folders of one path with images/ and masks/ in it, or of two paths."""
    if masks is not None:
        if not masks.is_dir():
            raise DataError(masks, "is no folder; it should hold the masks")
        return Places(path.parent if path.parent == masks.parent else path, path, masks)
    return Places(path, the_one(path, IMAGES, "pictures"), the_one(path, MASKS, "masks"))


def the_one(path, names, what):
    """The one folder of these names in path."""
    found = [path / name for name in names if (path / name).is_dir()]
    if len(found) == 1:
        return found[0]
    wanted = " or ".join(f"{name}/" for name in names[:2])
    if not found:
        raise DataError(path, f"has no folder {wanted} for the {what}; name both: folder:PICTURES,MASKS")
    several = " and ".join(f"{folder.name}/" for folder in found)
    raise DataError(path, f"holds {several}: which has the {what}? Name both: folder:PICTURES,MASKS")


def lists_in(root):
    """{split: list} of the lists that are there."""
    there = {split: [root / name for name in names if (root / name).is_file()] for split, names in LISTS.items()}
    return {split: found[0] for split, found in there.items() if found}


def splits(path, masks=None):
    """The splits that there are, or that can be drawn."""
    root, images, _ = places(path, masks)
    if lists := lists_in(root):
        return tuple(dict.fromkeys(("train", *lists)))  # what val.txt doesn't name is train, if there is no train.txt
    return tuple(split for split in LISTS if (images / split).is_dir()) or DRAWN


def find(
    path, split, masks=None, classes=None, colours=None, values=None, void=None, channels=None, val_fraction=0.2, seed=0
):
    """The data set, with everything that is wrong with lists and names in `problems`."""
    val_fraction = check_number("val_fraction", val_fraction, 0, 1, open_low=True, open_high=True)
    seed = check_int("seed", seed, 0)
    where = places(path, masks)
    existing = (*splits(path, masks), "all")
    if split not in existing:
        raise missing_split(path, split, existing, f"a list {split}.txt or a folder images/{split}")
    problems, notes = [], []
    stock = Stock(where, problems, notes)
    wanted = choose(stock, split, val_fraction, seed)
    meaning = understand(where, stock.all_masks(), classes, colours, values, void)
    if channels is None:
        channels = guess_channels(stock.all_images(), problems)
        if stock.images:
            notes.append(f"channels={channels}, as {'some' if channels == 3 else 'none'} of the pictures are in colour")
    return MaskedPictures(
        "folder", split, where.root, wanted, meaning.coding, meaning.names, colours=meaning.colours,
        channels=channels, notes=(*notes, *meaning.notes), problems=(*problems, *meaning.problems),
    )  # fmt: skip


class Stock:
    """All pictures and masks in the two folders, by stem: the name below the folder without what follows the dot."""

    def __init__(self, where, problems, notes):
        self.where, self.problems, self.notes = where, problems, notes
        self.images, self.masks = by_stem(where.images), by_stem(where.masks)
        for stem in list(self.masks):
            for ending in MASK_ENDINGS:
                base = stem.removesuffix(ending)
                if base != stem and base in self.images and stem not in self.images:
                    self.masks.setdefault(base, []).extend(self.masks.pop(stem))
                    break
        if not self.images:
            problems.append(no_pictures(where.images))
        elif not self.masks:
            problems.append(no_pictures(where.masks))
        unused = [stem for stem in self.masks if stem not in self.images]
        if unused:
            notes.append(f"{len(unused)} of the masks belong to no picture, such as {self.masks[unused[0]][0]}")

    def all_images(self):
        return [path for paths in self.images.values() for path in paths]

    def all_masks(self):
        return [paths[0] for paths in self.masks.values()]

    def pair(self, stem):
        """(picture, mask) of a stem; None, and a problem, if there isn't exactly one of each."""
        images, masks = self.images[stem], self.masks.get(stem, [])
        if len(images) > 1:
            self.problems.append((images[1], f"and {shown(images[0], self.where.root)} have the same name: which one?"))
        elif not masks:
            self.problems.append((images[0], f"has no mask: there is no {stem}.png in {self.where.masks}"))
        elif len(masks) > 1:
            others = ", ".join(shown(mask, self.where.root) for mask in masks)
            self.problems.append((images[0], f"has {len(masks)} masks: {others}"))
        else:
            return images[0], masks[0]
        return None

    def pairs(self, stems):
        return [pair for stem in stems if (pair := self.pair(stem))]


def by_stem(folder):
    """{name below the folder, without its ending: [files]}."""
    stems = {}
    for path in pictures_below(folder):
        stems.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return stems


def choose(stock, split, val_fraction, seed):
    """The pairs of a split."""
    lists, stems = lists_in(stock.where.root), list(stock.images)
    if split == "all":
        return stock.pairs(stems)
    if split in lists:
        return listed(stock, lists[split])
    if lists:
        named = {image for name in lists for image, _ in listed(stock, lists[name])}
        stock.notes.append(f"{split} is what {', '.join(path.name for path in lists.values())} doesn't name")
        return [pair for pair in stock.pairs(stems) if pair[0] not in named]
    if (stock.where.images / split).is_dir():
        return stock.pairs([stem for stem in stems if stem.startswith(f"{split}/")])
    parts = dict(zip(DRAWN, drawn_apart(stock.pairs(stems), val_fraction, seed), strict=True))
    if stems:
        stock.notes.append(
            f"there are no lists: {len(parts['val'])} of the pictures are drawn for val, the others are train "
            f"(val_fraction={val_fraction:g}, seed={seed})"
        )
    return parts[split]


def listed(stock, path):
    """The pairs that a list names; what is missing is all reported now."""
    lines, notes = read_list(path)
    stock.notes += notes
    pairs, stems = [], set()
    for line in lines:
        stem = stem_of(stock, line.text)
        if stem in stems:
            stock.notes.append(f"{path}: line {line.number} names {stem} again; it counts once")
        elif stem is not None:
            stems.add(stem)
            pairs += stock.pairs([stem])
        elif len(entries := line.text.split()) == 2:
            pair, faults = located(stock.where.root, entries)
            stock.problems += [(path, f"line {line.number} {text}") for text in faults]
            pairs += [] if faults else [pair]
        else:
            stock.problems.append((path, f"line {line.number} names {line.text}, {why_not(stock, line.text)}"))
    if not lines:
        stock.problems.append((path, "names no pictures"))
    return pairs


def stem_of(stock, entry):
    """The stem that an entry names, with or without an ending or the pictures' folder; None if there is no such one."""
    name = entry.replace("\\", "/").removeprefix("./").removeprefix(f"{stock.where.images.name}/")
    for stem in (name, name.rpartition(".")[0]):
        if stem in stock.images:
            return stem
    return None


def why_not(stock, entry):
    """What is wrong with an entry that names no picture."""
    if ".." in entry.replace("\\", "/").split("/"):
        return f"which leads out of {stock.where.images}; '..' isn't allowed in a list"
    return f"but there is no such picture in {stock.where.images}"
