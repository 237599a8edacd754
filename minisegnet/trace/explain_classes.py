"""Losses of class scores: cross-entropy in full, focal loss, distillation, entropy.

With p = softmax(scores), the derivative of log p[c] by score k is (c == k) - p[k]. So whatever a loss asks of the log p
comes back to the scores as a difference: what the net believes, p, minus what it is told to believe.
"""

import numpy as np

from .explain_losses import arriving, is_mean, log_softmax, share, summed
from .explanation import Sum, at, brackets, explains, group, number

SILENT = "the target is the ignored label: this pixel is silent"


class Labels:
    """Targets, class weights and what the mean divides by, for a loss with labels."""

    def __init__(self, stop):
        self.target, self.C = stop["target"], stop["scores"].shape[1]
        self.keep = self.target != stop.config["ignore_index"]
        self.weight = stop["weight"].astype(np.float64) if "weight" in stop else np.ones(self.C)
        self.weight_sum = float(self.weight[self.target[self.keep]].sum())
        self.divisor = "Σ w[t]" if "weight" in stop else "pixels kept"

    def kept(self, stop, index):
        """(places of pixels, their labels, places of their labels' scores): those in the value that are not ignored."""
        places = summed(stop, index, self.target.shape)
        places = tuple(p[self.keep[places]] for p in places)
        t = self.target[places]
        return places, t, (places[0], t, *places[1:])


def without_class(index):
    """(n, i, j) of an element (n, c, i, j), and c."""
    n, c, *rest = index
    return (n, *rest), c


# ------------------------------------------------------------------ cross-entropy


@explains("CrossEntropyLoss", of="value")
def ce_value(stop, index):
    labels, e = Labels(stop), stop.config["label_smoothing"]
    minus_log_p = -log_softmax(stop["scores"], 1)
    places, t, chosen = labels.kept(stop, index)
    mean = share(stop, labels.weight_sum, labels.divisor)
    asked = [number("1 - e", 1 - e)] if e else []
    w = number("w[t]", labels.weight[t])
    groups = [group(*asked, w, number("-log p[t]", minus_log_p[chosen], *chosen), *mean, name="the label")]
    if e:
        every = number("e / C", e / labels.C)
        for c in range(labels.C):
            spread = (places[0], c, *places[1:])
            log_p = number("-log p[c]", minus_log_p[spread], *spread)
            groups.append(group(every, number("w[c]", labels.weight[c]), log_p, *mean, name=f"smoothing, class {c}"))
    divided = f" / {labels.divisor}" if is_mean(stop) else ""
    smooth = "(1 - e) * w[t] * -log p[t] + e/C * Σ_c w[c] * -log p[c]" if e else "w[t] * -log p[t]"
    return Sum(
        f"value = Σ over pixels of {f'({smooth}){divided}' if divided else smooth}",
        f"value = sum over {len(t)} pixels" + (f" / {labels.weight_sum:.6g}" if is_mean(stop) else ""),
        groups,
        facts={"sum of weights": labels.weight_sum, "ignored pixels": int((~labels.keep).sum())},
    )


@explains("CrossEntropyLoss", of="dscores")
def ce_dscores(stop, index):
    labels, e = Labels(stop), stop.config["label_smoothing"]
    pixel, c = without_class(index)
    symbols = "dscores[c] = dloss * w[t] * (p[c] - y[c]), y[c] = (c == t)"
    if e:
        symbols = "dscores[c] = dloss * (p[c] * Σ_k q[k] - q[c]), q[c] = (1 - e) * w[t] * (c == t) + e/C * w[c]"
    symbols += ", dloss = dL/dvalue" + (f" / {labels.divisor}" if is_mean(stop) else "")
    facts = {"p": float(stop["p"][index]), "ignored": not labels.keep[pixel], "sum of weights": labels.weight_sum}
    start = f"dscores{brackets(*index)} = "
    if facts["ignored"]:
        return Sum(symbols, start + "0", [], SILENT, facts)
    t = int(labels.target[pixel])
    p, y, w = facts["p"], float(c == t), float(labels.weight[t])
    facts |= {"target": t, "y": y, "p - y": p - y, "class weight": w, "smoothing": e}
    dloss = arriving(stop, labels.weight_sum, labels.divisor)
    asked = [number("1 - e", 1 - e)] if e else []
    weight = number("w[t]", w)
    groups = [
        group(at(stop, "p", *index), *asked, weight, *dloss, name="p"),
        group(number("-y", -y), *asked, weight, *dloss, name="-y"),
    ]
    if e:
        every, own = number("e / C", e / labels.C), number("-w[c]", -labels.weight[c])
        total = number("Σ_k w[k]", labels.weight.sum())
        groups += [group(at(stop, "p", *index), every, total, *dloss, name="smoothing, p")]
        groups += [group(own, every, *dloss, name="smoothing, -y")]
    scale = float(np.prod([f.value[0] for f in dloss]))
    picked = f"{scale:.6g} * {w:.6g} * ({p:.6g} - {y:g})" + (" and the smoothing's share" if e else "")
    return Sum(symbols, start + picked, groups, f"the label is {t}", facts)


@explains("CrossEntropyLoss", "FocalLoss", of="p")
def softmax_p(stop, index):
    n, c, *rest = index
    places = (n, np.arange(stop["scores"].shape[1]), *rest)
    scores = stop["scores"][places].astype(np.float64)
    e = np.exp(scores - scores.max())
    return Sum(
        "p[c] = exp(scores[c] - m) / Σ_k exp(scores[k] - m), m: the largest score, which cancels",
        f"p{brackets(*index)} = exp({scores[c]:.6g} - {scores.max():.6g}) / {e.sum():.6g}",
        [group(number("exp(scores[c] - m)", e[c]), number("1 / Σ exp(scores[k] - m)", 1 / e.sum()))],
        seen=group(at(stop, "scores", *places), name="the scores"),
    )


# ------------------------------------------------------------------ focal loss


@explains("FocalLoss", of="value")
def focal_value(stop, index):
    labels = Labels(stop)
    _, t, chosen = labels.kept(stop, index)
    ce = -log_softmax(stop["scores"], 1)[chosen]
    easy = number("(1 - p[t])**gamma", (-np.expm1(-ce)) ** stop.config["gamma"])
    mean = share(stop, labels.weight_sum, labels.divisor)
    return Sum(
        "value = Σ over pixels of w[t] * (1 - p[t])**gamma * -log p[t]" + (f" / {labels.divisor}" if mean else ""),
        f"value = sum over {len(t)} pixels",
        [group(number("w[t]", labels.weight[t]), easy, number("-log p[t]", ce, *chosen), *mean)],
    )


@explains("FocalLoss", of="dscores")
def focal_dscores(stop, index):
    labels, gamma = Labels(stop), stop.config["gamma"]
    pixel, c = without_class(index)
    symbols = "dscores[c] = dce * (p[c] - y[c]), dce = dloss * w[t] * miss**gamma * (1 + gamma * p[t] * ce / miss)"
    facts = {"p": float(stop["p"][index]), "ignored": not labels.keep[pixel]}
    if facts["ignored"]:
        return Sum(symbols, f"dscores{brackets(*index)} = 0", [], SILENT, facts)
    t = int(labels.target[pixel])
    ce = float(stop["ce"][pixel])
    miss = -np.expm1(-ce)
    less = miss**gamma * (1 + gamma * np.exp(-ce) * (ce / miss if miss > 0 else 1))
    y = float(c == t)
    facts |= {"target": t, "y": y, "p - y": facts["p"] - y, "class weight": float(labels.weight[t]), "1 - p[t]": miss}
    dce = [number("w[t]", labels.weight[t]), number("miss**gamma * (1 + ...)", less)]
    dce += arriving(stop, labels.weight_sum, labels.divisor)
    groups = [group(at(stop, "p", *index), *dce, name="p"), group(number("-y", -y), *dce, name="-y")]
    picked = f"dscores{brackets(*index)} = dce * ({facts['p']:.6g} - {y:g})"
    return Sum(symbols, picked, groups, f"the label is {t}; miss = 1 - p[t] = {miss:.6g}", facts)


# ------------------------------------------------------------------ other scores as the target


@explains("DistillationLoss", of="value")
def distillation_value(stop, index):
    T, scores = stop.config["temperature"], stop["scores"]
    log_p, log_q = log_softmax(scores / T, 1), log_softmax(stop["target"] / T, 1)
    places = summed(stop, index, (len(scores), *scores.shape[2:]))
    mean = share(stop, scores.size // scores.shape[1], "pixels")
    groups = []
    for c in range(scores.shape[1]):
        each = (places[0], c, *places[1:])
        gap = number("log q - log p", (log_q - log_p)[each], *each)
        groups.append(group(number("T²", T**2), number("q", np.exp(log_q[each]), *each), gap, *mean, name=f"class {c}"))
    symbols = "value = Σ over pixels and classes of T² * q * (log q - log p), p and q softened by T"
    return Sum(symbols + (" / pixels" if mean else ""), f"value = sum over {len(places[0])} pixels", groups)


@explains("DistillationLoss", of="dscores")
def distillation_dscores(stop, index):
    T, scores = stop.config["temperature"], stop["scores"]
    p, q = (float(np.exp(log_softmax(a / T, 1)[index])) for a in (scores, stop["target"]))
    scale = [number("T", T), *arriving(stop, scores.size // scores.shape[1], "pixels")]
    return Sum(
        "dscores = dloss * T * (p - q), p = softmax(scores/T), q = softmax(target/T)",
        f"dscores{brackets(*index)} = dloss * {T:g} * ({p:.6g} - {q:.6g})",
        [group(number("p", p), *scale, name="p"), group(number("-q", -q), *scale, name="-q")],
        facts={"p": p, "q": q, "p - q": p - q},
    )


# ------------------------------------------------------------------ no target at all


def entropy_pixels(stop):
    """(the axis of the classes, the shape without it, its size)."""
    shape = stop["scores"].shape
    axis = stop.config["dim"] % len(shape)
    rest = shape[:axis] + shape[axis + 1 :]
    return axis, rest, int(np.prod(rest))


@explains("EntropyPenalty", of="value")
def entropy_value(stop, index):
    axis, rest, count = entropy_pixels(stop)
    log_p = log_softmax(stop["scores"], axis)
    places, groups = summed(stop, index, rest), []
    for c in range(log_p.shape[axis]):
        each = (*places[:axis], c, *places[axis:])
        p = number("p", np.exp(log_p[each]), *each)
        groups.append(group(p, number("-log p", -log_p[each], *each), *share(stop, count, "pixels"), name=f"class {c}"))
    return Sum("value = Σ over pixels and classes of p * -log p", f"value = sum over {count} pixels", groups)


@explains("EntropyPenalty", of="dscores")
def entropy_dscores(stop, index):
    axis, _, count = entropy_pixels(stop)
    c, places = index[axis], list(index)
    log_p = log_softmax(stop["scores"], axis)
    places[axis] = np.arange(log_p.shape[axis])
    along, dloss = log_p[tuple(places)], arriving(stop, count, "pixels")
    p = np.exp(along)
    own = group(number("-p[c]", -p[c]), number("log p[c] + 1", along[c] + 1), *dloss, name="its own")
    asked = number("-p[k]", -p, *places), number("log p[k] + 1", along + 1, *places)
    others = group(*asked, number("-p[c]", -p[c]), *dloss, name="the classes")
    return Sum(
        "dscores[c] = dl[c] - p[c] * Σ_k dl[k], dl[k] = -p[k] * (log p[k] + 1) * dloss",
        f"dscores{brackets(*index)} = dl[{c}] - {p[c]:.6g} * Σ_k dl[k]",
        [own, others],
        facts={"p": float(p[c])},
    )
