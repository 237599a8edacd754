"""Which input pixel has a part in which output pixel: one table for rows, one for columns, for every layer on maps.

Convolution, pooling and resizing treat rows and columns alike and apart from each other. So all that there is to know
of their geometry fits in two lists of links. A link says: output `out` reads input `inp`, through row (or column) `tap`
of the kernel, with the factor `share`.

    forward   y[i]  = Σ over the links with out = i of x[inp] * (weight[tap] or share)
    backward  dx[a] = Σ over the links with inp = a of dy[out] * (weight[tap] or share)
              dweight[r] = Σ over the links with tap = r of dy[out] * x[inp]

One list, looked through in three ways: this is why backward is as simple as forward. A pixel that no link names (a
stride steps over it, a crop cuts it off) gets gradient 0; a pixel in the corner has few links, and so few terms.
"""

from typing import NamedTuple

import numpy as np


class Links(NamedTuple):
    """Links along one axis, as columns of equal length.

    >>> rows = window_links(size=4, count=2, kernel=2, stride=2, before=0)
    >>> rows.pick(out=1).inp, rows.pick(inp=2).out
    (array([2, 3]), array([1]))
    """

    out: np.ndarray
    inp: np.ndarray
    tap: np.ndarray  # row of the kernel; 0 where there is none
    share: np.ndarray  # factor; 1 where the kernel has it

    def pick(self, **wanted):
        """The links whose columns have these values: pick(out=3), pick(inp=0), pick(tap=1)."""
        keep = np.ones(len(self.out), bool)
        for column, value in wanted.items():
            keep &= getattr(self, column) == value
        return Links(*(column[keep] for column in self))


def make(rows):
    """Links from (out, inp, tap, share) tuples, in their order."""
    out, inp, tap, share = np.array(list(rows), np.float64).reshape(-1, 4).T
    return Links(out.astype(np.int64), inp.astype(np.int64), tap.astype(np.int64), share)


def window_links(size, count, kernel, stride, before, dilation=1):
    """A window of `kernel` taps, `dilation` apart, at each of `count` places, `stride` apart; padding has no link."""
    places = ((i, i * stride + r * dilation - before, r, 1) for i in range(count) for r in range(kernel))
    return make(place for place in places if 0 <= place[1] < size)


def turned(links):
    """Input and output exchanged: a transposed convolution is a convolution read backwards."""
    return Links(links.inp, links.out, links.tap, links.share)


def average_links(size, count, kernel, stride, pad, count_padding):
    """Windows that share out evenly. What hangs over the padding, in ceil_mode, never counts; padding may."""
    links = window_links(size, count, kernel, stride, pad)
    start = np.arange(count) * stride - pad
    end = np.minimum(start + kernel, size + pad)
    if not count_padding:
        start, end = np.maximum(start, 0), np.minimum(end, size)
    return links._replace(share=1 / (end - start)[links.out])


def bin_links(size, count):
    """Adaptive pooling: bin i from floor(i*size/count) to ceil((i + 1)*size/count), and so perhaps overlapping.

    >>> bin_links(7, 3).pick(out=1).inp
    array([2, 3, 4])
    """
    bins = [range(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    return make((i, a, 0, 1 / len(pixels)) for i, pixels in enumerate(bins) for a in pixels)


def nearest_links(size, count, scale):
    """Each output copies one input: floor(i*scale), rounded as float32 does, which is PyTorch's way."""
    if count in (size, 2 * size):
        return make((i, i * size // count, 0, 1) for i in range(count))
    place = np.arange(count, dtype=np.float32) * np.float32(scale)
    return make((i, min(int(p), size - 1), 0, 1) for i, p in enumerate(place))


def bilinear_links(size, count, scale, align_corners):
    """Each output is a mean of two neighbours: (1 - t) of the lower one, t of the upper one.

    >>> bilinear_links(2, 4, 0.5, False).pick(out=1)
    Links(out=array([1, 1]), inp=array([0, 1]), tap=array([0, 0]), share=array([0.75, 0.25]))
    """
    rows = []
    for i in range(count):
        if count == size:
            place = i
        elif align_corners:  # first centre on first centre, last on last
            place = i * (size - 1) / (count - 1) if count > 1 else 0
        else:  # pixels are squares, and the pictures' borders lie on each other
            place = max((i + 0.5) * scale - 0.5, 0)
        low = min(int(place), size - 1)
        t = min(place - low, 1) if low + 1 < size else 0  # beyond the last centre, the last pixel is repeated
        rows += [(i, low, 0, 1 - t), (i, low + 1, 0, t)]
    return make(row for row in rows if row[3])


def fit_links(size, count):
    """Zeros added or pixels cropped, evenly on both sides; the odd one at the end.

    >>> fit_links(5, 2).inp  # cropped
    array([1, 2])
    """
    missing = abs(count - size) // 2
    first = missing if count >= size else -missing  # pixels added in front; negative: cropped
    return make((i, i - first, 0, 1) for i in range(count) if 0 <= i - first < size)


# ------------------------------------------------------------------ of a recorded stop


def links(stop):
    """(links of the rows, links of the columns) of a stop that works on maps, from its recorded configuration.

    TypeError for a stop of another kind: those have no geometry.
    """
    if stop.kind not in GEOMETRY:
        raise TypeError(f"{stop.name} is a {stop.kind}, which has no windows; there are links of {', '.join(GEOMETRY)}")
    sizes = zip(stop.x.shape[2:], stop.y.shape[2:], strict=True)
    return tuple(GEOMETRY[stop.kind](stop.config, axis, size, count) for axis, (size, count) in enumerate(sizes))


def conv_axis(config, axis, size, count):
    before = config["pads"][axis][0]
    return window_links(
        size, count, config["kernel_size"][axis], config["stride"][axis], before, config["dilation"][axis]
    )


def transposed_axis(config, axis, size, count):
    """Here y is the larger side, which the windows slide over, and x has one number for each of their places."""
    kernel, stride = config["kernel_size"][axis], config["stride"][axis]
    return turned(window_links(count, size, kernel, stride, config["padding"][axis], config["dilation"][axis]))


def max_pool_axis(config, axis, size, count):
    kernel, stride = config["kernel_size"][axis], config["stride"][axis]
    return window_links(size, count, kernel, stride, config["padding"][axis], config["dilation"][axis])


def average_pool_axis(config, axis, size, count):
    kernel, stride = config["kernel_size"][axis], config["stride"][axis]
    return average_links(size, count, kernel, stride, config["padding"][axis], config["count_include_pad"])


def resize_axis(config, axis, size, count):
    if config["mode"] == "pad":
        return fit_links(size, count)
    scale = 1 / config["scale_factor"][axis] if config.get("scale_factor") else size / count
    if config["mode"] == "nearest":
        return nearest_links(size, count, scale)
    return bilinear_links(size, count, scale, config["align_corners"])


GEOMETRY = {
    "Conv2d": conv_axis,
    "ConvTranspose2d": transposed_axis,
    "MaxPool2d": max_pool_axis,
    "AvgPool2d": average_pool_axis,
    "AdaptiveAvgPool2d": lambda config, axis, size, count: bin_links(size, count),
    "Upsample": resize_axis,
    "resize": resize_axis,
}
