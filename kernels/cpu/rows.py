"""Loops along a row, which the compiler turns into vector instructions.

It does so where indices start at 0, for then they need no check for being negative (so callers pass slices), and where
it knows the steps: the common ones, 1 and 2, are written out.
"""

from .jit import jit


@jit
def copy_row(to, to_step, source, step, count):
    """to[j*to_step] = source[j*step]."""
    if to_step == 1 and step == 1:
        for j in range(count):
            to[j] = source[j]
    elif to_step == 1 and step == 2:
        for j in range(count):
            to[j] = source[2 * j]
    elif to_step == 2 and step == 1:
        for j in range(count):
            to[2 * j] = source[j]
    else:
        for j in range(count):
            to[j * to_step] = source[j * step]


@jit
def add_row(out, out_step, source, step, weight, count):
    """out[j*out_step] += weight * source[j*step]."""
    if out_step == 1 and step == 1:
        for j in range(count):
            out[j] += weight * source[j]
    elif out_step == 1 and step == 2:
        for j in range(count):
            out[j] += weight * source[2 * j]
    elif out_step == 2 and step == 1:
        for j in range(count):
            out[2 * j] += weight * source[j]
    else:
        for j in range(count):
            out[j * out_step] += weight * source[j * step]


@jit
def row_product(dy, source, step):
    """The sum of dy[j] * source[j*step]."""
    total = dy.dtype.type(0)
    if step == 1:
        for j in range(len(dy)):
            total += dy[j] * source[j]
    else:
        for j in range(len(dy)):
            total += dy[j] * source[j * step]
    return total
