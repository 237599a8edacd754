"""What the layouts have in common: which pictures a folder holds, and errors about folders and splits."""

from ..dataset import DataError
from ..files import SUFFIXES, is_picture
from ..lists import natural


def pictures_below(folder):
    """All pictures in a folder and the folders in it, sorted by name with numbers as numbers."""
    found = (path for path in folder.rglob("*") if is_picture(path) and path.is_file())
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def no_pictures(folder):
    """The problem of a folder without pictures."""
    return folder, f"holds no pictures ({' '.join(SUFFIXES)})"


def missing_split(path, split, existing, expected):
    """The error for a split that a data set hasn't got."""
    there = f"there is {', '.join(existing)}" if existing else "there is no other one either: is it the right folder?"
    return DataError(path, f"has no split {split!r}, which would be {expected}; {there}")
