"""Where compiled kernels are kept on disk: like Numba's own cache, but no trouble with a file stops a computation.

Numba's looks at one source file for each function, although that function calls others; it ends in an exception at a
damaged file, a full disk, or where no folder can be written; and two processes that compile one function for different
types may write both under the same name. So here

    stamp       covers every source file of this package: after any edit everything is compiled anew
    files       one for each function and signature, never written in place; it begins with a checksum
    trouble     in reading is the same as finding nothing, in writing the same as not keeping; one warning says so

Numba chooses the folder: $NUMBA_CACHE_DIR if set, else __pycache__ beside the source, else the user's own cache.
"""

import hashlib
import os
import pickle
import sys
import uuid
import warnings
from pathlib import Path

import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

from .micro import FORCED


def digest(content):
    return hashlib.sha256(content).digest()


SIZE = len(digest(b""))
HERE = Path(__file__).parent
STAMP = digest(b"".join(digest(path.read_bytes()) for path in sorted(HERE.glob("*.py"))))  # read when imported, so that
# an edit while this process runs does not pass for what it compiles


class KernelCache(FunctionCache):
    """The cache of one function. It touches no file before something is to be compiled."""

    warned = False  # one warning is enough for all of them

    def __init__(self, function):
        self.function = function
        self._cache_path = None

    def load_overload(self, signature, target):
        """The compiled function, or None."""
        return self.attempt(super().load_overload, signature, target)

    def save_overload(self, signature, compiled):
        self.attempt(super().save_overload, signature, compiled)

    def attempt(self, action, *arguments):
        """The result of `action`, or None where it fails: then the kernel is compiled, or kept in memory alone."""
        try:
            if self._cache_path is None:
                super().__init__(self.function)  # looks for a folder
                self._cache_file = Files(Path(self._cache_path), self.function)
            return action(*arguments)
        except Damaged as damage:
            self.warn(f"{damage} is damaged; this kernel is compiled anew and the file replaced")
        except Exception as error:  # OSError, or whatever unpickling and linking may raise: none is a reason to stop
            folder = self._cache_path or numba.config.CACHE_DIR or HERE / "__pycache__"
            self.warn(
                f"compiled kernels can't be kept in {folder} ({type(error).__name__}: {error}): computing goes on, but "
                f"every process compiles again"
            )
        return None

    def warn(self, text):
        if not KernelCache.warned:
            KernelCache.warned = True
            fix = "set the environment variable NUMBA_CACHE_DIR to another folder, one that can be written"
            warnings.warn(f"{text}; if this happens again, {fix}", RuntimeWarning, stacklevel=2)


class Damaged(Exception):
    """The content of a file is not what was written; the argument is its path."""


class Files:
    """The files of one function: checksum, stamp, then a pickle of the key and what Numba makes of the code."""

    def __init__(self, folder, function):
        self.folder = folder
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def path(self, key):
        """The file for a key of Numba's: signature, processor, hashes of the function's code and closure.

        Its name does not depend on the stamp nor on the code, so what an edit makes useless is soon overwritten.
        """
        signature, processor, _ = key
        kind = digest(repr((signature, processor, FORCED, numba.__version__)).encode()).hex()[:16]
        return self.folder / f"{self.name}.{sys.implementation.cache_tag}.{kind}.nbc"

    def load(self, key):
        """What was saved under the key by the same source; None if there is nothing."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        checksum, stamp, rest = content[:SIZE], content[SIZE : 2 * SIZE], content[2 * SIZE :]
        if checksum != digest(stamp + rest):
            raise Damaged(path)
        if stamp != STAMP:
            return None
        same_key, data = pickle.loads(rest)
        return data if same_key == key else None

    def save(self, key, data):
        """Write the whole file under another name, then rename it: whoever reads meanwhile finds the old or the new."""
        path = self.path(key)
        content = STAMP + dumps((key, data))
        temporary = path.with_suffix(f".{uuid.uuid4().hex[:16]}.tmp")
        try:
            temporary.write_bytes(digest(content) + content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
