"""What every family of mistakes needs: suspects, and ways to find out what a layer computes."""

from typing import NamedTuple

import numpy as np

from kernels.shapes import pair


class Suspect(NamedTuple):
    """What a mistake would have made of one tensor's gradient."""

    tensor: str
    wrong: np.ndarray
    text: str


def fits(got, wrong):
    """Whether a gradient is what a mistake would give, to rounding; an array that is zero fits nothing."""
    scale = np.abs(wrong).max(initial=0)
    return got.shape == wrong.shape and scale > 0 and np.allclose(got, wrong, rtol=1e-8, atol=1e-10 * scale)


def computes(subject, forward):
    """Whether the layer's y is what this forward gives."""
    y = computed(forward)
    return y is not None and agrees(y, subject.y)


def computed(forward):
    """The forward's result, or None where the layer's arguments don't fit this kind of layer at all."""
    try:
        return forward()
    except (ValueError, TypeError):
        return None


def agrees(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)


def parameter(subject, rank):
    """(name, value) of the only parameter with this many axes; (None, None) if there is none, or several."""
    found = [(name, p.value) for name, p in subject.parameters.items() if len(p.shape) == rank]
    return found[0] if len(found) == 1 else (None, None)


def pair_of(layer, name, default, minimum=1):
    """The layer's attribute as a pair of integers; `default` where it has none that can be one."""
    return computed(lambda: pair(getattr(layer, name, default), name, minimum)) or pair(default, name, minimum)


def stamp(parts, x_shape, stride, pads, dilation, order):
    """What the windows hand to the pixels under them: parts (N, C, H', W', kH, kW), one number per window and tap.

    order says what happens to a pixel that lies in several windows: with "add" it gets the sum, as the chain rule
    demands; with "windows" the last window overwrites the others, with "taps" the last tap of the kernel does.
    """
    N, C, H, W = x_shape
    rows, cols, kH, kW = parts.shape[2:]
    (sh, sw), (dh, dw), ((top, _), (left, _)) = stride, dilation, pads
    reach = dh * (kH - 1) + 1, dw * (kW - 1) + 1
    padded = np.zeros((N, C, max(top + H, (rows - 1) * sh + reach[0]), max(left + W, (cols - 1) * sw + reach[1])))
    if order == "windows":
        for i, j in np.ndindex(rows, cols):
            padded[:, :, i * sh : i * sh + reach[0] : dh, j * sw : j * sw + reach[1] : dw] = parts[:, :, i, j]
    for r, s in np.ndindex(kH, kW) if order != "windows" else ():
        place = padded[:, :, r * dh : r * dh + (rows - 1) * sh + 1 : sh, s * dw : s * dw + (cols - 1) * sw + 1 : sw]
        place[...] = parts[..., r, s] + (place if order == "add" else 0)
    return padded[:, :, top : top + H, left : left + W]


def wrong_bias(name, dy, axis=1):
    """dy summed over other axes than it should be: all but `axis`."""
    if name is None or dy.ndim < 2:
        return
    axes = tuple(a for a in range(dy.ndim) if a != axis % dy.ndim)
    keep, text = dy.shape[axis], "it is summed over the wrong axes: "
    call = f"dy.sum(axis={axes if len(axes) > 1 else axes[0]})"
    right = f"; db sums dy over all axes but that of the channels, {call}"
    yield Suspect(name, dy[:1].sum(axis=axes), text + "only the first image counts" + right)
    yield Suspect(name, dy[-1:].sum(axis=axes), text + "only the last image counts" + right)
    yield Suspect(name, np.full(keep, dy.sum()), text + "the channels are summed too" + right)
    for other in axes:
        if dy.shape[other] == keep:
            rest = tuple(a for a in range(dy.ndim) if a != other)
            yield Suspect(name, dy.sum(axis=rest), text + f"axis {other} is kept, not that of the channels" + right)
    if dy.ndim == 4:
        yield Suspect(name, dy[:, :, 0, 0].sum(axis=0), text + "only the first pixel counts" + right)
