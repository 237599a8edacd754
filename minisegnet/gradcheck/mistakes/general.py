"""Mistakes that can be seen without knowing the layer: the wrong gradient beside the numeric one."""

import math

import numpy as np

from ..report import place
from ..subject import LossAsLayer
from .evidence import pair_of
from .loss import wrong_divisor


def mistakes(subject, row):
    """What the wrong gradient looks like beside the numeric one, as a list of at most one sentence."""
    pairs = [(index, a, n) for index, a, n in row.compared if not isinstance(index, str)]
    analytic, numeric = (np.array([p[i] for p in pairs]) for i in (1, 2))
    if not pairs or np.allclose(analytic, numeric, rtol=row.rtol, atol=row.atol):
        return []  # only a direction failed: too few entries were looked at
    found = constant_factor(subject, analytic, numeric) or rearranged(subject, row, analytic, numeric)
    return [found] if found else []


def close(a, b):
    """Equal, as far as finite differences can tell."""
    return np.allclose(a, b, rtol=1e-4, atol=1e-6 * np.abs(b).max(initial=0))


# ------------------------------------------------------------------ a number is missing


def constant_factor(subject, analytic, numeric):
    """The gradient is zero, or a constant times the right one: what might that constant be?"""
    large = np.abs(numeric) > 1e-3 * np.abs(numeric).max()
    if not large.any():
        return "it should be zero everywhere: y does not depend on this at all"
    if not analytic.any():
        return "it is zero everywhere: backward never adds to it, or loses it on the way"
    factor = float(np.median(analytic[large] / numeric[large]))
    if not close(analytic, factor * numeric):
        return ""
    if near(factor, -1):
        return "it has the wrong sign"
    if isinstance(subject.layer, LossAsLayer) and subject.y.ndim == 0:
        if near(factor, 1 / float(subject.dy)):
            return "dvalue is ignored: the derivative has to be multiplied by it"
        divisor = wrong_divisor(subject, factor)
        if divisor:
            return divisor
    return meaning(subject, factor)


def near(a, b):
    return math.isclose(a, b, rel_tol=1e-4)


def meaning(subject, factor):
    """A sentence about a gradient that is wrong by this factor."""
    counts = sizes(subject)
    missing = [name for name, count in counts.items() if count > 1 and near(factor, count)]
    doubled = [name for name, count in counts.items() if count > 1 and near(factor, 1 / count)]
    if missing:
        count = round(factor)
        return f"it is {count} times too large, and {count} is {' or '.join(missing)}: a factor 1/{count} is missing"
    found = ["a factor 2 is missing, such as that of a square's derivative"] if near(factor, 0.5) else []
    if doubled:
        count, names = round(1 / factor), " or ".join(doubled)
        text = f"it is {count} times too small, and {count} is {names}"
        return f"{text}: {' or '.join([f'a factor 1/{count} is there once too often', *found])}"
    return f"it is {factor:.6g} times the right one everywhere" + (f": {found[0]}" if found else "")


def sizes(subject):
    """What one might have to divide by: {description: number}."""
    shape = subject.x.shape
    counts = {"N (the batch)": shape[0] if shape else 1, "C (the channels)": shape[1] if len(shape) > 1 else 1}
    counts["H*W (the pixels)"] = math.prod(shape[2:])
    counts["N*H*W (all pixels)"] = math.prod(shape[:1] + shape[2:]) if len(shape) > 2 else 1
    if len(shape) > 2 and subject.y.ndim > 2 and subject.y.shape[2:] != shape[2:]:
        counts["H'*W' (the pixels of y)"] = math.prod(subject.y.shape[2:])
        counts["N*H'*W' (all pixels of y)"] = shape[0] * math.prod(subject.y.shape[2:])
    counts["the number of entries of x"] = subject.x.size if len(shape) > 1 else 1
    counts["the kernel's area"] = math.prod(pair_of(subject.layer, "kernel_size", 1))
    return counts


# ------------------------------------------------------------------ the right numbers at the wrong place


def rearranged(subject, row, analytic, numeric):
    """The right numbers in another order, or those of dy; this takes every entry."""
    if len(numeric) != math.prod(row.shape):
        return ""
    a, n = analytic.reshape(row.shape), numeric.reshape(row.shape)
    if row.name == "x" and a.shape == subject.dy.shape and np.array_equal(a, subject.dy):
        return "it is dy itself: the layer's own derivative is missing"
    if a.ndim >= 2 and close(a, n[..., ::-1, ::-1]):
        return "its last two axes are reversed: rotated by 180 degrees once too often, or once too little"
    if a.ndim >= 2 and a.shape[0] == a.shape[1] and close(a, n.swapaxes(0, 1)):
        return "it is transposed: its first two axes are swapped"
    if a.ndim >= 2 and a.shape[-1] == a.shape[-2] and close(a, n.swapaxes(-1, -2)):
        return "it is transposed: its last two axes are swapped"
    return ""


def unknown(row):
    """What can be said where no mistake fits: how many entries are wrong, and what these have in common."""
    text = f"it fits none of the classic mistakes; start at the worst entry, {place(row.worst).strip()}"
    entries = [(index, row.agree(a, n), a) for index, a, n in row.compared if not isinstance(index, str)]
    wrong = [(index, a) for index, right, a in entries if not right]
    if not wrong:
        return text
    text += f"; {len(wrong)} of {len(entries)} entries are wrong"
    for axis, size in enumerate(row.shape):
        found = {index[axis] for index, _ in wrong}
        if size > 1 and len(found) == 1:
            text += f", all of them at {found.pop()} of axis {axis}"
    return text + (", and the gradient is 0 there" if not any(a for _, a in wrong) else "")


def explain_shape(subject, row):
    """How a gradient may have come to its wrong shape, as the end of a sentence."""
    got, shape = getattr(subject.grads[row.name], "shape", row.shape), row.shape
    if got == shape:
        return ""
    if row.name == "x" and got == subject.y.shape:
        return ": that is the shape of y, but dx has the shape of x"
    if len(got) == 4 and got[:2] == shape[:2] and all(g >= s for g, s in zip(got, shape, strict=True)):
        return ": the padding is not cropped, dx = dxp[:, :, p:p + H, p:p + W]"
    if sorted(got) == sorted(shape):
        return ": it is transposed"
    return ": reshape it" if math.prod(got) == math.prod(shape) else ""
