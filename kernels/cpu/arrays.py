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


def planes(a):
    """(N, C, H, W) as (N*C, H, W)."""
    N, C, H, W = a.shape
    return a.reshape(N * C, H, W)


def images(*arrays):
    """Yield the arrays in plain form, all at once or, where that would take a copy, one image of each after the other.

    When maps that were joined are split again, in backward, a part lies apart from image to image, but each of its
    images is in one piece.
    """
    apart = not all(a.flags.carray for a in arrays)
    if apart and arrays[0][:1].size >= LARGE and all(a[:1].flags.carray for a in arrays):
        for n in range(len(arrays[0])):
            yield tuple(a[n : n + 1] for a in arrays)
    else:
        yield tuple(plain(a) for a in arrays)


def flat(*arrays):
    """The same as flat views."""
    for some in images(*arrays):
        yield tuple(a.reshape(-1) for a in some)


PIECE = 16384  # numbers that one thread takes at a time in a pass over flat memory
LARGE = 8 * PIECE  # numbers in an image that is worth a pass of its own
