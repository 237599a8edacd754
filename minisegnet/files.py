"""Files that are either as they were or complete: written under another name, then renamed."""

import contextlib
import glob
import os
import secrets
from pathlib import Path


def atomic_write(path, data):
    """Write bytes, or text as UTF-8, so that at every moment the file holds either its old content or all of the new.

    The data go into a temporary file beside the target and to the disk (fsync); then one os.replace gives it the
    target's name, which a file system does completely or not at all. A process that is killed leaves at most a
    temporary file, `.NAME.xxxxxxxx.tmp`, which nothing reads and the next write of the same file removes.

    Raises OSError, with the path in its text, if the data can't be written; what was there before is then untouched.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(Path(folder) / "notes.txt", "déjà vu")
    ...     os.listdir(folder), (Path(folder) / "notes.txt").read_text(encoding="utf-8")
    (['notes.txt'], 'déjà vu')
    """
    data = data.encode("utf-8") if isinstance(data, str) else data
    target = Path(os.path.realpath(path))  # what a symbolic link stands for is the file that is meant
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_through(temporary, data)
        os.replace(temporary, target)
    except BaseException as error:
        remove(temporary)
        if not isinstance(error, OSError):
            raise
        folder = "" if target.parent.is_dir() else f", there is no folder {target.parent}"
        text = f"can't write {path}: {error.strerror or error}{folder}; nothing that existed was changed"
        raise OSError(error.errno, text) from error
    for stray in target.parent.glob(f".{glob.escape(target.name)}.????????.tmp"):
        remove(stray)
    sync_folder(target.parent)


def write_through(path, data):
    """Write a new file and wait until the disk has it."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def remove(path):
    """Delete a file if it is there and can be deleted."""
    with contextlib.suppress(OSError):  # one that another process holds open on Windows; the next write tries again
        path.unlink()


def sync_folder(folder):
    """Make the disk remember a new name in a folder, where the system has a way to ask for it."""
    if os.name == "nt":
        return  # Windows opens no folders
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems refuse; the file itself is complete all the same
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
