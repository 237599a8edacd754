"""Convolution, transposed convolution and the fully connected layer: each number is a sum of products.

Every product x*w stands in the sum of exactly one y. So that product's x gets dy*w, its w gets dy*x: backward collects
the same products in another order. The links of an axis (see `links`) are looked through by `out` for y, by `inp` for
dx, by `tap` for dweight.
"""

import numpy as np

from .explanation import Sum, at, brackets, explains, grid, group
from .links import links

# ------------------------------------------------------------------ convolution


def group_channels(stop, channel, side):
    """(first input channel, first output channel, number of inputs, of outputs) of the group that a channel is in."""
    config = stop.config
    inputs, outputs = config["in_channels"] // config["groups"], config["out_channels"] // config["groups"]
    number = channel // (inputs if side == "in" else outputs)
    return number * inputs, number * outputs, inputs, outputs


def shifted(first, letter):
    """A channel counted from the first one of its group: "c", or "4+c"."""
    return f"{first}+{letter}" if first else letter


def moved(base, letter, step, sign="+"):
    """A place such as 4+r or 7-2*s, in numbers as far as they are known."""
    move = letter if step == 1 else f"{step}*{letter}"
    return f"{base}{sign}{move}" if base or sign == "-" else move


@explains("Conv2d", of="y")
def conv_y(stop, index):
    n, o, i, j = index
    first, _, inputs, _ = group_channels(stop, o, "out")
    rows, cols = (axis.pick(out=place) for axis, place in zip(links(stop), (i, j), strict=True))
    c, r, s = grid(inputs, len(rows.out), len(cols.out))
    x = at(stop, "x", n, first + c, rows.inp[r], cols.inp[s])
    groups = [group(x, at(stop, "weight", o, c, rows.tap[r], cols.tap[s]), name="products")]
    bias = ""
    if "bias" in stop:
        groups, bias = [*groups, group(at(stop, "bias", o), name="bias")], f" + bias[{o}]"
    (sh, sw), (dh, dw), pads = stop.config["stride"], stop.config["dilation"], stop.config["pads"]
    place = f"{moved(i * sh - pads[0][0], 'r', dh)},{moved(j * sw - pads[1][0], 's', dw)}"
    outside = np.prod(stop.config["kernel_size"]) - len(rows.out) * len(cols.out)
    return Sum(
        "y[n,o,i,j] = Σ_{c,r,s} x[n, c, i*stride + r*dilation - padding, j*stride + s*dilation - padding] * "
        "weight[o,c,r,s]" + (" + bias[o]" if bias else ""),
        f"y{brackets(*index)} = Σ_{{c,r,s}} x[{n},{shifted(first, 'c')},{place}] * weight[{o},c,r,s]{bias}",
        groups,
        note=f"{outside} of the kernel's places lie in the padding" if outside else "",
    )


@explains("Conv2d", of="dx")
def conv_dx(stop, index):
    n, c, a, b = index
    first_in, first_out, _, outputs = group_channels(stop, c, "in")
    rows, cols = (axis.pick(inp=place) for axis, place in zip(links(stop), (a, b), strict=True))
    o, r, s = grid(outputs, len(rows.out), len(cols.out))
    dy = at(stop, "dy", n, first_out + o, rows.out[r], cols.out[s])
    w = at(stop, "weight", first_out + o, c - first_in, rows.tap[r], cols.tap[s])
    (sh, sw), (dh, dw), pads = stop.config["stride"], stop.config["dilation"], stop.config["pads"]
    up, left, where = a + pads[0][0], b + pads[1][0], ""
    place = f"{moved(up, 'r', dh, '-')},{moved(left, 's', dw, '-')}"
    if (sh, sw) != (1, 1):
        place, where = "i,j", f"  with i*{sh} + r*{dh} = {up}, j*{sw} + s*{dw} = {left}"
    out = shifted(first_out, "o")
    return Sum(
        "dx[n,c,a,b] = Σ_{o,r,s} dy[n,o,i,j] * weight[o,c,r,s], i*stride + r*dilation = a + padding, and so j",
        f"dx{brackets(*index)} = Σ_{{o,r,s}} dy[{n},{out},{place}] * weight[{out},{c - first_in},r,s]{where}",
        [group(dy, w)],
        note="" if len(o) else "no window has this pixel under its kernel: the stride steps over it",
    )


@explains("Conv2d", of="dweight")
def conv_dweight(stop, index):
    o, c, r, s = index
    first, *_ = group_channels(stop, o, "out")
    rows, cols = (axis.pick(tap=place) for axis, place in zip(links(stop), (r, s), strict=True))
    n, i, j = grid(len(stop.x), len(rows.out), len(cols.out))
    (sh, sw), (dh, dw), pads = stop.config["stride"], stop.config["dilation"], stop.config["pads"]
    down, right = r * dh - pads[0][0], s * dw - pads[1][0]
    place = f"{moved('', 'i', sh)}{down:+d},{moved('', 'j', sw)}{right:+d}"
    return Sum(
        "dweight[o,c,r,s] = Σ_{n,i,j} dy[n,o,i,j] * x[n, c, i*stride + r*dilation - padding, "
        "j*stride + s*dilation - padding]",
        f"dweight{brackets(*index)} = Σ_{{n,i,j}} dy[n,{o},i,j] * x[n,{first + c},{place}]",
        [group(at(stop, "dy", n, o, rows.out[i], cols.out[j]), at(stop, "x", n, first + c, rows.inp[i], cols.inp[j]))],
    )


@explains("Conv2d", "ConvTranspose2d", of="dbias")
def conv_dbias(stop, index):
    (o,) = index
    N, _, H, W = stop.dy.shape
    n, i, j = grid(N, H, W)
    return Sum(
        "dbias[o] = Σ_{n,i,j} dy[n,o,i,j]",
        f"dbias[{o}] = Σ_{{n,i,j}} dy[n,{o},i,j]",
        [group(at(stop, "dy", n, o, i, j))],
    )


# ------------------------------------------------------------------ transposed convolution


@explains("ConvTranspose2d", of="y")
def transposed_y(stop, index):
    n, o, a, b = index
    first_in, first_out, inputs, _ = group_channels(stop, o, "out")
    rows, cols = (axis.pick(out=place) for axis, place in zip(links(stop), (a, b), strict=True))
    c, r, s = grid(inputs, len(rows.out), len(cols.out))
    x = at(stop, "x", n, first_in + c, rows.inp[r], cols.inp[s])
    w = at(stop, "weight", first_in + c, o - first_out, rows.tap[r], cols.tap[s])
    groups, bias = [group(x, w, name="products")], ""
    if "bias" in stop:
        groups, bias = [*groups, group(at(stop, "bias", o), name="bias")], f" + bias[{o}]"
    (sh, sw), (dh, dw), (ph, pw) = stop.config["stride"], stop.config["dilation"], stop.config["padding"]
    channel = shifted(first_in, "c")
    return Sum(
        "y[n,o,a,b] = Σ_{c,r,s} x[n,c,i,j] * weight[c,o,r,s]" + (" + bias[o]" if bias else "") + ", "
        "i*stride + r*dilation = a + padding, and so j",
        f"y{brackets(*index)} = Σ_{{c,r,s}} x[{n},{channel},i,j] * weight[{channel},{o - first_out},r,s]{bias}  "
        f"with i*{sh} + r*{dh} = {a + ph}, j*{sw} + s*{dw} = {b + pw}",
        groups,
        note="" if len(c) else "no input's stamp reaches this pixel",
    )


@explains("ConvTranspose2d", of="dx")
def transposed_dx(stop, index):
    n, c, i, j = index
    first_in, first_out, _, outputs = group_channels(stop, c, "in")
    rows, cols = (axis.pick(inp=place) for axis, place in zip(links(stop), (i, j), strict=True))
    o, r, s = grid(outputs, len(rows.out), len(cols.out))
    dy = at(stop, "dy", n, first_out + o, rows.out[r], cols.out[s])
    (sh, sw), (dh, dw), (ph, pw) = stop.config["stride"], stop.config["dilation"], stop.config["padding"]
    place = f"{moved(i * sh - ph, 'r', dh)},{moved(j * sw - pw, 's', dw)}"
    return Sum(
        "dx[n,c,i,j] = Σ_{o,r,s} dy[n, o, i*stride + r*dilation - padding, j*stride + s*dilation - padding] * "
        "weight[c,o,r,s]: an ordinary convolution of dy",
        f"dx{brackets(*index)} = Σ_{{o,r,s}} dy[{n},{shifted(first_out, 'o')},{place}] * weight[{c},o,r,s]",
        [group(dy, at(stop, "weight", c, o, rows.tap[r], cols.tap[s]))],
    )


@explains("ConvTranspose2d", of="dweight")
def transposed_dweight(stop, index):
    c, o, r, s = index
    _, first, *_ = group_channels(stop, c, "in")
    rows, cols = (axis.pick(tap=place) for axis, place in zip(links(stop), (r, s), strict=True))
    n, i, j = grid(len(stop.x), len(rows.out), len(cols.out))
    x = at(stop, "x", n, c, rows.inp[i], cols.inp[j])
    return Sum(
        "dweight[c,o,r,s] = Σ_{n,i,j} x[n,c,i,j] * dy[n, o, i*stride + r*dilation - padding, "
        "j*stride + s*dilation - padding]",
        f"dweight{brackets(*index)} = Σ_{{n,i,j}} x[n,{c},i,j] * dy[n,{first + o},...]",
        [group(x, at(stop, "dy", n, first + o, rows.out[i], cols.out[j]))],
    )


# ------------------------------------------------------------------ fully connected


@explains("Linear", of="y")
def linear_y(stop, index):
    *n, o = index
    i = np.arange(stop.x.shape[-1])
    groups, bias = [group(at(stop, "x", *n, i), at(stop, "weight", o, i), name="products")], ""
    if "bias" in stop:
        groups, bias = [*groups, group(at(stop, "bias", o), name="bias")], f" + bias[{o}]"
    return Sum(
        "y[n,o] = Σ_i x[n,i] * weight[o,i]" + (" + bias[o]" if bias else ""),
        f"y{brackets(*index)} = Σ_i x{brackets(*n, 'i')} * weight[{o},i]{bias}",
        groups,
    )


@explains("Linear", of="dx")
def linear_dx(stop, index):
    *n, i = index
    o = np.arange(stop.dy.shape[-1])
    return Sum(
        "dx[n,i] = Σ_o dy[n,o] * weight[o,i]",
        f"dx{brackets(*index)} = Σ_o dy{brackets(*n, 'o')} * weight[o,{i}]",
        [group(at(stop, "dy", *n, o), at(stop, "weight", o, i))],
    )


@explains("Linear", of="dweight")
def linear_dweight(stop, index):
    o, i = index
    n = grid(*stop.x.shape[:-1])  # all axes but the last are samples
    return Sum(
        "dweight[o,i] = Σ_n dy[n,o] * x[n,i]: for each sample an outer product",
        f"dweight[{o},{i}] = Σ_n dy[n,{o}] * x[n,{i}]",
        [group(at(stop, "dy", *n, o), at(stop, "x", *n, i))],
    )


@explains("Linear", of="dbias")
def linear_dbias(stop, index):
    (o,) = index
    return Sum(
        "dbias[o] = Σ_n dy[n,o]",
        f"dbias[{o}] = Σ_n dy[n,{o}]",
        [group(at(stop, "dy", *grid(*stop.dy.shape[:-1]), o))],
    )
