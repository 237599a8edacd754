"""Layers that treat each element by itself, and softmax, which looks at a whole axis.

An activation's dx is dy times the slope at that x. Softmax mixes the elements of an axis: there every y sends something
back to every x.
"""

import numpy as np

from .explanation import Sum, at, brackets, explains, group, number

# ------------------------------------------------------------------ gates and slopes


def one_term(stop, index, of, symbols, name, value, note="", facts=None):
    """y = x * value, or dx = dy * value."""
    source = at(stop, "x" if of == "y" else "dy", *index)
    where = brackets(*index)
    picked = f"{of}{where} = {source.array}{where} * {value:.6g}"
    if value == 0 and not np.isfinite(source.value[0]):  # nothing is let through, not 0 * inf, which is NaN
        return Sum(symbols, picked, [], note, facts or {})
    return Sum(symbols, picked, [group(source, number(name, value))], note, facts or {})


def gate(stop, index):
    """(1 or the slope below zero, what the gate did). A NaN is not below 0: a ReLU lets it pass, a LeakyReLU as all
    that is not above 0."""
    x = float(stop.x[index])
    slope = stop.config.get("negative_slope", 0.0)
    is_open = x > 0 if stop.kind == "LeakyReLU" else not x <= 0
    state = "open" if is_open else f"it lets {slope:g} of it through" if slope else "shut"
    compared = "is no number" if np.isnan(x) else "> 0" if x > 0 else "<= 0"
    return 1.0 if is_open else slope, f"x{brackets(*index)} = {x:.6g} {compared}: the gate is {state}"


@explains("ReLU", "LeakyReLU", of="y")
def gate_y(stop, index):
    slope, note = gate(stop, index)
    below = "negative_slope" if stop.kind == "LeakyReLU" else "0"
    return one_term(stop, index, "y", f"y = x * gate, gate = 1 where x > 0, else {below}", "gate", slope, note)


@explains("ReLU", "LeakyReLU", of="dx")
def gate_dx(stop, index):
    slope, note = gate(stop, index)
    below = "negative_slope" if stop.kind == "LeakyReLU" else "0"
    symbols = f"dx = dy * gate, the gate of the forward pass: 1 where x > 0, else {below}"
    return one_term(stop, index, "dx", symbols, "gate", slope, note)


@explains("Sigmoid", of="y")
def sigmoid_y(stop, index):
    x = float(stop.x[index])
    e = np.exp(-abs(x))  # never overflows
    picked = f"y{brackets(*index)} = 1 / (1 + exp(-x{brackets(*index)})), x{brackets(*index)} = {x:.6g}"
    value = number("1 / (1 + exp(-x))", (1.0 if x >= 0 else e) / (1 + e))
    return Sum("y = 1 / (1 + exp(-x))", picked, [group(value)], facts={"x": x})


@explains("Tanh", of="y")
def tanh_y(stop, index):
    x = float(stop.x[index])
    picked = f"y{brackets(*index)} = tanh(x{brackets(*index)}), x{brackets(*index)} = {x:.6g}"
    return Sum("y = tanh(x)", picked, [group(number("tanh(x)", np.tanh(x)))], facts={"x": x})


@explains("Sigmoid", of="dx")
def sigmoid_dx(stop, index):
    dy, y = at(stop, "dy", *index), at(stop, "y", *index)
    where = brackets(*index)
    picked = f"dx{where} = dy{where} * y{where} * (1 - y{where})"
    return Sum("dx = dy * y * (1 - y)", picked, [group(dy, y, number("1 - y", 1 - y.value))])


@explains("Tanh", of="dx")
def tanh_dx(stop, index):
    dy, y = at(stop, "dy", *index), at(stop, "y", *index)
    where = brackets(*index)
    groups = [group(dy, name="dy"), group(dy, y, number("-y", -y.value), name="-dy * y²")]
    return Sum("dx = dy * (1 - y²)", f"dx{where} = dy{where} * (1 - y{where}²)", groups)


def dropout_scale(stop, index):
    """(keep / (1 - p), what happened to this element)."""
    if "keep" not in stop:
        return 1.0, "eval mode, or p = 0: nothing is dropped"
    p, kept = stop.config["p"], bool(stop["keep"][index])
    return (1 / (1 - p), f"kept, and enlarged by 1/(1 - {p:g})") if kept else (0.0, "dropped in this pass")


@explains("Dropout", of="y")
def dropout_y(stop, index):
    return one_term(stop, index, "y", "y = x * keep / (1 - p)", "keep / (1 - p)", *dropout_scale(stop, index))


@explains("Dropout", of="dx")
def dropout_dx(stop, index):
    symbols = "dx = dy * keep / (1 - p), with the same keep as in forward"
    return one_term(stop, index, "dx", symbols, "keep / (1 - p)", *dropout_scale(stop, index))


# ------------------------------------------------------------------ copies


@explains("Identity", of="y")
def identity_y(stop, index):
    return Sum("y = x", f"y{brackets(*index)} = x{brackets(*index)}", [group(at(stop, "x", *index))])


@explains("Identity", of="dx")
def identity_dx(stop, index):
    return Sum("dx = dy", f"dx{brackets(*index)} = dy{brackets(*index)}", [group(at(stop, "dy", *index))])


def reshaped(index, before, after):
    """The index of an element after a reshape, which keeps the order of all elements."""
    place = int(np.ravel_multi_index(index, before))
    return tuple(int(i) for i in np.unravel_index(place, after))


@explains("Flatten", of="y")
def flatten_y(stop, index):
    place = reshaped(index, stop.y.shape, stop.x.shape)
    return Sum("y = x, reshaped", f"y{brackets(*index)} = x{brackets(*place)}", [group(at(stop, "x", *place))])


@explains("Flatten", of="dx")
def flatten_dx(stop, index):
    place = reshaped(index, stop.x.shape, stop.y.shape)
    picked = f"dx{brackets(*index)} = dy{brackets(*place)}"
    return Sum("dx = dy, reshaped back", picked, [group(at(stop, "dy", *place))])


# ------------------------------------------------------------------ softmax


def whole_axis(stop, index):
    """(indices of all elements along the softmax's axis, the axis' position of this one)."""
    dim = stop.config["dim"] % len(index)
    return (*index[:dim], np.arange(stop.x.shape[dim]), *index[dim + 1 :]), index[dim]


def log_total(x):
    """log Σ exp(x), with the largest taken out so that nothing overflows."""
    return x.max() + np.log(np.exp(x - x.max()).sum())


@explains("Softmax", of="y")
def softmax_y(stop, index):
    places, c = whole_axis(stop, index)
    x = stop.x[places].astype(np.float64)
    e = np.exp(x - x.max())
    picked = f"y{brackets(*index)} = exp({x[c]:.6g} - {x.max():.6g}) / {e.sum():.6g}"
    return Sum(
        "y[c] = exp(x[c] - m) / Σ_k exp(x[k] - m), m: the largest x, which cancels",
        picked,
        [group(number("exp(x[c] - m)", e[c]), number("1 / Σ exp(x[k] - m)", 1 / e.sum()))],
        seen=group(at(stop, "x", *places), name="the axis"),
    )


@explains("Softmax", of="dx")
def softmax_dx(stop, index):
    places, c = whole_axis(stop, index)
    dy, y = at(stop, "dy", *places), at(stop, "y", *places)
    own = group(at(stop, "dy", *index), at(stop, "y", *index), name="its own")
    return Sum(
        "dx[c] = Σ_k dy[k] * y[k] * ((k == c) - y[c]) = dy[c] * y[c] - Σ_k dy[k] * y[k] * y[c]",
        f"dx{brackets(*index)} = dy[{c}] * y[{c}] - Σ_k dy[k] * y[k] * {y.value[c]:.6g}",
        [own, group(dy, y, number("-y[c]", -y.value[c]), name="the axis")],
    )


@explains("LogSoftmax", of="y")
def log_softmax_y(stop, index):
    places, _ = whole_axis(stop, index)
    total = log_total(stop.x[places].astype(np.float64))
    return Sum(
        "y[c] = x[c] - log Σ_k exp(x[k])",
        f"y{brackets(*index)} = x{brackets(*index)} - {total:.6g}",
        [group(at(stop, "x", *index)), group(number("-log Σ exp(x[k])", -total), name="normalisation")],
        seen=group(at(stop, "x", *places), name="the axis"),
    )


@explains("LogSoftmax", of="dx")
def log_softmax_dx(stop, index):
    places, c = whole_axis(stop, index)
    dy = at(stop, "dy", *places)
    p = float(np.exp(stop.y[index].astype(np.float64)))
    groups = [group(at(stop, "dy", *index), name="its own"), group(dy, number("-exp(y[c])", -p), name="the axis")]
    return Sum(
        "dx[c] = Σ_k dy[k] * ((k == c) - exp(y[c])) = dy[c] - Σ_k dy[k] * exp(y[c])",
        f"dx{brackets(*index)} = dy[{c}] - Σ_k dy[k] * {p:.6g}",
        groups,
    )
