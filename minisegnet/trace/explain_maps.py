"""Pooling, resizing, unpooling, and what combinators do: shares of pixels, switches, copies.

None of these has weights of its own. In averages and resizing each link has a fixed share, and dx takes the same shares
of dy. In maximum pooling and unpooling a switch, remembered from the forward pass, says which one pixel counts.
"""

import numpy as np

from .explanation import Sum, at, brackets, explains, grid, group, number
from .links import fit_links, links

SHARES = {  # what the factor of a link is
    "AvgPool2d": "1 / (pixels in the window)",
    "AdaptiveAvgPool2d": "1 / (pixels in the bin)",
    "Upsample": "share of the input pixel in the output pixel",
    "resize": "share of the input pixel in the output pixel",
}

# ------------------------------------------------------------------ fixed shares


@explains(*SHARES, of="y")
def shared_y(stop, index):
    n, c, i, j = index
    rows, cols = (axis.pick(out=place) for axis, place in zip(links(stop), (i, j), strict=True))
    a, b = grid(len(rows.out), len(cols.out))
    share = number("share", rows.share[a] * cols.share[b])
    return Sum(
        f"y[n,c,i,j] = Σ_{{a,b}} x[n,c,a,b] * share, share = {SHARES[stop.kind]}",
        f"y{brackets(*index)} = Σ_{{a,b}} x[{n},{c},a,b] * share",
        [group(at(stop, "x", n, c, rows.inp[a], cols.inp[b]), share)],
        note="" if len(a) else "this pixel was added as zero",
    )


@explains(*SHARES, of="dx")
def shared_dx(stop, index):
    n, c, a, b = index
    rows, cols = (axis.pick(inp=place) for axis, place in zip(links(stop), (a, b), strict=True))
    i, j = grid(len(rows.out), len(cols.out))
    share = number("share", rows.share[i] * cols.share[j])
    return Sum(
        f"dx[n,c,a,b] = Σ_{{i,j}} dy[n,c,i,j] * share, share = {SHARES[stop.kind]}, as in forward",
        f"dx{brackets(*index)} = Σ_{{i,j}} dy[{n},{c},i,j] * share",
        [group(at(stop, "dy", n, c, rows.out[i], cols.out[j]), share)],
        note="" if len(i) else "no output pixel has used this one",
    )


# ------------------------------------------------------------------ switches


@explains("MaxPool2d", of="y")
def max_pool_y(stop, index):
    n, c, i, j = index
    W = stop.x.shape[3]
    a, b = divmod(int(stop["argmax"][index]), W)
    rows, cols = (axis.pick(out=place) for axis, place in zip(links(stop), (i, j), strict=True))
    r, s = grid(len(rows.out), len(cols.out))
    window = at(stop, "x", n, c, rows.inp[r], cols.inp[s])
    winner = at(stop, "x", n, c, a, b)
    ties = int((window.value == winner.value).sum()) - 1
    tied = f", the first of {ties + 1} that are equal" if ties > 0 else ""
    return Sum(
        "y[n,c,i,j] = max over r,s of x[n, c, i*stride + r*dilation - padding, j*stride + s*dilation - padding]",
        f"y{brackets(*index)} = max of {len(r)} pixels = x[{n},{c},{a},{b}]",
        [group(winner)],
        note=f"the largest is at row {a}, column {b}{tied}; the switch is {a}*{W} + {b} = {a * W + b}",
        facts={"switch": a * W + b, "ties": ties},
        seen=group(window, name="the window"),
    )


@explains("MaxPool2d", of="dx")
def max_pool_dx(stop, index):
    n, c, a, b = index
    switch = a * stop.x.shape[3] + b
    i, j = np.nonzero(stop["argmax"][n, c] == switch)
    rows, cols = (axis.pick(inp=place) for axis, place in zip(links(stop), (a, b), strict=True))
    windows = len(rows.out) * len(cols.out)
    return Sum(
        "dx[n,c,a,b] = Σ dy[n,c,i,j] over the windows (i,j) whose switch is this pixel, a*W + b",
        f"dx{brackets(*index)} = Σ dy[{n},{c},i,j] over the windows whose switch is {switch}",
        [group(at(stop, "dy", n, c, i, j))],
        note=f"this pixel was seen by {windows} window{'s'[: windows != 1]} and won in {len(i)}",
        facts={"switch": switch, "windows": windows, "won": len(i)},
    )


def last_with_switch(stop, n, c, switch):
    """(i, j) of the last value that was put at a place, or None: it replaced those put there before."""
    found = np.argwhere(stop["argmax"][n, c] == switch)
    return tuple(found[-1].tolist()) if len(found) else None


@explains("unpool", of="y")
def unpool_y(stop, index):
    n, c, a, b = index
    switch = a * stop.y.shape[3] + b
    place = last_with_switch(stop, n, c, switch)
    symbols = "y[n,c,a,b] = x[n,c,i,j] where the switch of (i,j) is a*W + b, else 0"
    if place is None:
        note = "the pooling found no maximum here: zero"
        return Sum(symbols, f"y{brackets(*index)} = 0: no switch is {switch}", [], note)
    x = at(stop, "x", n, c, *place)
    note = f"the pooling's window {place} had its maximum here"
    return Sum(symbols, f"y{brackets(*index)} = x{brackets(n, c, *place)}", [group(x)], note, {"switch": switch})


@explains("unpool", of="dx")
def unpool_dx(stop, index):
    n, c, i, j = index
    switch = int(stop["argmax"][index])
    a, b = divmod(switch, stop.y.shape[3])
    symbols = "dx[n,c,i,j] = dy[n,c,a,b], a*W + b = the switch of (i,j)"
    last = last_with_switch(stop, n, c, switch)
    if last != (i, j):
        note = f"x{brackets(n, c, *last)}, put at the same place later, replaced this value: it had no effect"
        return Sum(symbols, f"dx{brackets(*index)} = 0", [], note, {"switch": switch})
    picked = f"dx{brackets(*index)} = dy{brackets(n, c, a, b)}"
    note = f"forward put this value at row {a}, column {b}"
    return Sum(symbols, picked, [group(at(stop, "dy", n, c, a, b))], note, {"switch": switch})


# ------------------------------------------------------------------ forks and joins


def fitted(stop, branch, index, wanted):
    """The element of a branch's map that lies on an element of the joint one ("inp"), or the reverse ("out").

    Maps of other sizes are padded or cropped to fit: None for what is not there.
    """
    N_C, place = index[:2], index[2:]
    if stop.y.ndim != 4:
        return index
    found = []
    sizes = zip(stop[f"x.{branch}"].shape[2:], stop.y.shape[2:], place, strict=True)
    for size, count, p in sizes:
        axis = fit_links(size, count)
        found.append(axis.pick(out=p).inp if wanted == "inp" else axis.pick(inp=p).out)
    return (*N_C, *(int(f[0]) for f in found)) if all(len(f) for f in found) else None


@explains("sum", of="y")
def sum_y(stop, index):
    places = {branch: fitted(stop, branch, index, "inp") for branch in stop.branches}
    found = [at(stop, f"x.{branch}", *place) for branch, place in places.items() if place is not None]
    picked = " + ".join(f"{f.array}{brackets(*f.index[0])}" for f in found)
    return Sum("y = Σ over the branches of their results", f"y{brackets(*index)} = {picked}", as_groups(found))


@explains("sum", of="dx.*")
def sum_dx(stop, branch, index):
    return handed_back(stop, branch, index, index, "a sum copies its gradient to every branch: dx.branch = dy")


@explains("concat", of="y")
def concat_y(stop, index):
    n, channel, *rest = index
    for branch, first, count in channels_of(stop):
        if first <= channel < first + count:
            place = fitted(stop, branch, (n, channel - first, *rest), "inp")
            symbols = "y[n, first + c, i, j] = x.branch[n,c,i,j], first: the channels of the branches before"
            if place is None:
                return Sum(symbols, f"y{brackets(*index)} = 0", [], "padding: the branch's map is smaller")
            picked = f"y{brackets(*index)} = x.{branch}{brackets(*place)}"
            return Sum(symbols, picked, [group(at(stop, f"x.{branch}", *place))], f"a channel of {branch}")
    raise AssertionError(f"{stop.name}: no branch has channel {channel}")


@explains("concat", of="dx.*")
def concat_dx(stop, branch, index):
    n, channel, *rest = index
    first = {name: first for name, first, _ in channels_of(stop)}[branch]
    symbols = "joining is undone by splitting: dx.branch[n,c,i,j] = dy[n, first + c, i, j]"
    return handed_back(stop, branch, index, (n, first + channel, *rest), symbols)


def channels_of(stop):
    """(branch, its first channel in y, how many it has) for each branch."""
    first = 0
    for branch in stop.branches:
        count = stop[f"x.{branch}"].shape[1]
        yield branch, first, count
        first += count


def handed_back(stop, branch, index, joint, symbols):
    """One element of dy, at the `joint` place, as the gradient of a branch; 0 for what was cropped away."""
    place = fitted(stop, branch, joint, "out")
    start = f"dx.{branch}{brackets(*index)}"
    if place is None:
        return Sum(symbols, f"{start} = 0", [], "forward cropped this pixel away")
    return Sum(symbols, f"{start} = dy{brackets(*place)}", [group(at(stop, "dy", *place))])


@explains("fork", of="y.*")
def fork_y(stop, branch, index):
    picked = f"y.{branch}{brackets(*index)} = x{brackets(*index)}"
    return Sum("every branch is given the same x", picked, [group(at(stop, "x", *index))])


@explains("fork", of="dx")
def fork_dx(stop, index):
    found = [at(stop, f"dy.{branch}", *index) for branch in stop.branches]
    picked = " + ".join(f"{f.array}{brackets(*f.index[0])}" for f in found)
    return Sum(
        "dx = Σ over the branches of what comes back from them: x acts on the loss by all of these ways",
        f"dx{brackets(*index)} = {picked}",
        as_groups(found),
    )


def as_groups(factors):
    """One group for each branch: "x.skip" is the branch skip's term."""
    return [group(factor, name=factor.array.partition(".")[2]) for factor in factors]
