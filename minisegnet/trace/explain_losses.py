"""Losses between numbers, losses of overlap, and sums of losses.

A loss is a sum over elements or pixels, divided by how many there are ("mean"). So each element's part in the value is
a term, and its gradient is dL/dvalue, divided by the same number, times a slope that depends on this element alone.
Overlap losses are ratios of sums: there the gradient depends on all pixels, but only through one number for each class.
"""

import numpy as np

from .explanation import Sum, at, brackets, explains, grid, group, number

# ------------------------------------------------------------------ what losses share


def is_mean(stop):
    return stop.config.get("reduction", "mean") == "mean"


def share(stop, count, name):
    """The factor that the mean gives each term of the value: 1/count; none for other reductions."""
    return [number(f"1 / {name}", 1 / count if count else 0.0)] if is_mean(stop) else []


def arriving(stop, count, name):
    """The factors of a gradient that say how much of the value one element's loss is: dL/dvalue, and the mean's."""
    return [number("dL/dvalue", stop["dvalue"]), *share(stop, count, name)]


def summed(stop, index, shape):
    """The places whose losses make up this value: all of them, or with reduction="none" the one that is asked for."""
    if stop.config.get("reduction") == "none":
        return tuple(np.array([i]) for i in index)
    return tuple(grid(*shape))


def log_softmax(scores, axis):
    """Logarithms of the probabilities, in float64 and without overflow."""
    shifted = scores.astype(np.float64)
    shifted -= shifted.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def target_of(stop):
    """The target; zeros for a penalty, which has none."""
    return np.zeros_like(stop["scores"]) if stop.kind == "L1Penalty" else stop["target"]


# ------------------------------------------------------------------ differences


@explains("MSELoss", of="value")
def mse_value(stop, index):
    places = summed(stop, index, stop["scores"].shape)
    away = number("scores - target", (stop["scores"][places] - target_of(stop)[places]), *places)
    groups = [group(away, away, *share(stop, stop["scores"].size, "elements"))]
    return Sum("value = Σ (scores - target)² / elements", "value = " + picked_sum(stop, len(away.value)), groups)


@explains("MSELoss", of="dscores")
def mse_dscores(stop, index):
    scores, target = float(stop["scores"][index]), float(target_of(stop)[index])
    groups = [group(number("2 * (scores - target)", 2 * (scores - target)), *arriving(stop, stop["scores"].size, "m"))]
    picked = f"dscores{brackets(*index)} = 2 * ({scores:.6g} - {target:.6g}) * dloss"
    return Sum("dscores = 2 * (scores - target) * dloss, dloss = dL/dvalue / elements", picked, groups)


@explains("L1Loss", "L1Penalty", of="value")
def l1_value(stop, index):
    places = summed(stop, index, stop["scores"].shape)
    away = np.abs(stop["scores"][places] - target_of(stop)[places])
    groups = [group(number("|scores - target|", away, *places), *share(stop, stop["scores"].size, "elements"))]
    return Sum("value = Σ |scores - target| / elements", "value = " + picked_sum(stop, len(away)), groups)


@explains("L1Loss", "L1Penalty", of="dscores")
def l1_dscores(stop, index):
    sign = np.sign(float(stop["scores"][index]) - float(target_of(stop)[index]))
    groups = [group(number("sign(scores - target)", sign), *arriving(stop, stop["scores"].size, "elements"))]
    picked = f"dscores{brackets(*index)} = {sign:+g} * dloss"
    return Sum("dscores = sign(scores - target) * dloss, dloss = dL/dvalue / elements", picked, groups)


def picked_sum(stop, count):
    return f"sum of {count} terms" + (" / elements" if is_mean(stop) else "")


# ------------------------------------------------------------------ yes or no


def binary_parts(stop, places):
    """(y, keep, weight, pos_weight) of elements of a BCE loss, each in float64."""
    target = stop["target"][places]
    ignored = stop.config.get("ignore_index")
    keep = np.ones(target.shape, bool) if ignored is None else target != ignored

    def factor(name):
        if name not in stop:
            return np.ones(target.shape)
        weights = stop[name]
        return np.broadcast_to(weights if weights.ndim == 0 else weights[places[1]], target.shape)

    return np.where(keep, target, 0).astype(np.float64), keep, factor("weight"), factor("pos_weight")


def kept_count(stop):
    ignored = stop.config.get("ignore_index")
    return stop["target"].size if ignored is None else int((stop["target"] != ignored).sum())


@explains("BCEWithLogitsLoss", of="value")
def bce_value(stop, index):
    places = summed(stop, index, stop["scores"].shape)
    keep = binary_parts(stop, places)[1]
    places = tuple(p[keep] for p in places)
    y, _, weight, pos_weight = binary_parts(stop, places)
    x = stop["scores"][places].astype(np.float64)
    not_p, p = np.logaddexp(0, x), np.logaddexp(0, -x)  # -log(1 - p) and -log p
    mean = share(stop, kept_count(stop), "elements kept")
    weight = number("weight", weight)
    yes = number("pos_weight", pos_weight), number("y", y, *places), number("-log p", p, *places)
    no = number("1 - y", 1 - y, *places), number("-log(1 - p)", not_p, *places)
    return Sum(
        "value = Σ weight * (pos_weight * y * -log p + (1 - y) * -log(1 - p)) / elements kept, p = sigmoid(scores)",
        "value = " + picked_sum(stop, len(x)),
        [group(weight, *yes, *mean, name="yes"), group(weight, *no, *mean, name="no")],
    )


@explains("BCEWithLogitsLoss", of="dscores")
def bce_dscores(stop, index):
    y, keep, weight, pos_weight = (float(a) for a in binary_parts(stop, index))
    symbols = "dscores = weight * (pos_weight * y * (p - 1) + (1 - y) * p) * dloss: without weights (p - y) * dloss"
    start = f"dscores{brackets(*index)} = "
    if not keep:
        return Sum(symbols, start + "0", [], "the target is the ignored label: silent", {"ignored": True})
    p = float(stop["p"][index])
    scale = [number("weight", weight), *arriving(stop, kept_count(stop), "elements kept")]
    yes = group(number("pos_weight", pos_weight), number("y", y), number("p - 1", p - 1), *scale, name="yes")
    no = group(number("1 - y", 1 - y), at(stop, "p", *index), *scale, name="no")
    picked = f"{weight:g} * ({pos_weight:g} * {y:g} * ({p:.6g} - 1) + (1 - {y:g}) * {p:.6g}) * dloss"
    facts = {"p": p, "y": y, "p - y": p - y, "weight": weight, "pos_weight": pos_weight, "ignored": False}
    return Sum(symbols, start + picked, [yes, no], facts=facts)


@explains("BCELoss", of="value")
def bce_of_p_value(stop, index):
    places = summed(stop, index, stop["scores"].shape)
    p, y = (a[places].astype(np.float64) for a in (stop["scores"], stop["target"]))
    with np.errstate(divide="ignore"):  # log 0 is held at -100
        log_p, log_not_p = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
    mean = share(stop, stop["scores"].size, "elements")
    yes = group(number("y", y, *places), number("-log p", -log_p, *places), *mean, name="yes")
    no = group(number("1 - y", 1 - y, *places), number("-log(1 - p)", -log_not_p, *places), *mean, name="no")
    symbols = "value = Σ (y * -log p + (1 - y) * -log(1 - p)) / elements, each log at least -100"
    return Sum(symbols, "value = " + picked_sum(stop, len(p)), [yes, no])


@explains("BCELoss", of="dscores")
def bce_of_p_dscores(stop, index):
    p, y = float(stop["scores"][index]), float(stop["target"][index])
    slope = number("1 / (p * (1 - p))", 1 / max(p * (1 - p), 1e-12))
    return Sum(
        "dscores = (p - y) / (p * (1 - p)) * dloss, the denominator at least 1e-12",
        f"dscores{brackets(*index)} = ({p:.6g} - {y:g}) / ({p:.6g} * (1 - {p:.6g})) * dloss",
        [group(number("p - y", p - y), slope, *arriving(stop, stop["scores"].size, "elements"))],
        facts={"p": p, "y": y, "p - y": p - y},
    )


# ------------------------------------------------------------------ overlap


class Regions:
    """Sizes and overlap of the predicted and the true region of each class, for a Dice or Jaccard loss."""

    def __init__(self, stop):
        self.p, self.y = (stop[name].astype(np.float64) for name in ("p", "y"))
        self.keep = np.broadcast_to(stop["keep"], self.p.shape)
        axes = (0, *range(2, self.p.ndim))
        overlap, smooth = (self.p * self.y).sum(axis=axes), stop.config["smooth"]
        # Dice: 2I / (P + Y); Jaccard: I / (P + Y - I)
        self.gain, self.drop = {"DiceLoss": (2, 0), "JaccardLoss": (1, 1)}[stop.kind]
        self.union = (self.p * self.keep).sum(axis=axes) + self.y.sum(axis=axes) - self.drop * overlap + smooth
        there = self.union > 1e-12
        self.safe_union = np.where(there, self.union, np.inf)
        self.ratio = np.where(there, (self.gain * overlap + smooth) / np.where(there, self.union, 1), 1)
        classes = stop.config.get("classes") or range(len(self.union))
        self.share = np.isin(np.arange(len(self.union)), list(classes)) / len(classes)

    def dp(self, dvalue):
        """dL/dp of all probabilities, by the quotient rule for (gain*I + smooth) / (P + Y - drop*I + smooth)."""
        each = (1, -1, *[1] * (self.p.ndim - 2))
        dratio = (-dvalue * self.share / self.safe_union).reshape(each)
        ratio = self.ratio.reshape(each)
        return dratio * ((self.gain + self.drop * ratio) * self.y - ratio) * self.keep


@explains("DiceLoss", "JaccardLoss", of="value")
def overlap_value(stop, index):
    regions = Regions(stop)
    classes = np.flatnonzero(regions.share)
    lost = number("1 - ratio", 1 - regions.ratio[classes], classes)
    return Sum(
        f"value = Σ_c (1 - ratio[c]) / classes, ratio = ({regions.gain} * Σ p*y + smooth) / U, "
        f"U = Σ p + Σ y {f'- {regions.drop} * Σ p*y ' if regions.drop else ''}+ smooth",
        f"value = sum of {len(classes)} terms, one for each class",
        [group(lost, number("1 / classes", regions.share[classes]))],
        facts={f"ratio[{c}]": float(regions.ratio[c]) for c in classes},
    )


@explains("DiceLoss", "JaccardLoss", of="dscores")
def overlap_dscores(stop, index):
    regions, (n, c, *rest) = Regions(stop), index
    dp = regions.dp(float(stop["dvalue"]))
    p = at(stop, "p", *index)
    facts = {"p": p.value[0], "y": float(regions.y[index]), "ignored": not regions.keep[index]}
    note = "the target is the ignored label: silent" if facts["ignored"] else ""
    if stop.config["activation"] == "sigmoid":
        groups = [group(number("dp", dp[index], *index), p, number("1 - p", 1 - p.value))]
        picked = f"dscores{brackets(*index)} = dp * p * (1 - p)"
        return Sum("dscores = dp * p * (1 - p), dp: the quotient rule", picked, groups, note, facts)
    places = (n, np.arange(dp.shape[1]), *rest)
    own = group(number("dp", dp[index], *index), p, name="its own")
    others = group(
        number("dp", dp[places], *places), at(stop, "p", *places), number("-p[c]", -p.value), name="the classes"
    )
    return Sum(
        "dscores[c] = dp[c] * p[c] - Σ_k dp[k] * p[k] * p[c], dp: the quotient rule, then the softmax",
        f"dscores{brackets(*index)} = dp[{c}] * p[{c}] - Σ_k dp[k] * p[k] * {p.value[0]:.6g}",
        [own, others],
        note,
        facts,
    )


# ------------------------------------------------------------------ sums of losses


@explains("WeightedSum", "OnHost", of="value")
def weighted_value(stop, index):
    terms = [(number("weight", w), at(stop, f"value.{b}")) for b, w in zip(stop.branches, factors(stop), strict=True)]
    picked = " + ".join(f"{w:g} * value.{b}" for b, w in zip(stop.branches, factors(stop), strict=True))
    return Sum("value = Σ_i weight[i] * value.i", f"value = {picked}", [group(*term) for term in terms])


@explains("WeightedSum", "OnHost", of="dscores")
def weighted_dscores(stop, index):
    found = [at(stop, f"dscores.{branch}", *index) for branch in stop.branches]
    picked = " + ".join(f"{f.array}{brackets(*f.index[0])}" for f in found)
    symbols = "dscores = Σ_i dscores.i: the scores fan out to all losses, each of which got dvalue * weight[i]"
    return Sum(symbols, f"dscores{brackets(*index)} = {picked}", [group(factor) for factor in found])


def factors(stop):
    """The weight of each loss; OnHost has one loss inside and takes it as it is."""
    return stop.config.get("weights") or [1.0] * len(stop.branches)
