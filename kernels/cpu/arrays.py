"""Getting arrays into the one form that the compiled kernels take."""

from .memory import empty_like


def plain(array):
    """The array itself if it is C-contiguous and writeable, else a copy that is.

    Numba compiles a function anew for each memory layout, and read-only arrays are one more; a rare copy is cheaper.
    """
    if array.flags.carray:
        return array
    copy = empty_like(array)
    copy[...] = array
    return copy


PIECE = 16384  # numbers that one thread takes at a time in a pass over flat memory
