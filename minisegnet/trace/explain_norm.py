"""Batch normalisation: three ways lead from one x to the loss, and each is a group of terms.

By its own value: this x^ and so this y change. By the mean: it takes something off every x^ of the channel. By the
variance: it scales every x^ of the channel. The last two go through all pixels of the batch, so every dy of the channel
has a term in every dx.
"""

import numpy as np

from .explanation import Sum, at, brackets, explains, grid, group, number


class Channel:
    """One channel of a BatchNorm2d stop: its pixels' indices, and the numbers that all of them share."""

    def __init__(self, stop, c):
        self.stop, self.c = stop, c
        N, _, H, W = stop.x.shape
        n, i, j = grid(N, H, W)
        self.pixels, self.count = (n, c, i, j), N * H * W
        self.mean, self.std = float(stop["mean"][c]), float(np.sqrt(stop["var"][c] + stop.config["eps"]))

    def normed(self, *index):
        """x^ = (x - mean) / std of one element, or of each of several."""
        return (self.stop.x[tuple(index)].astype(np.float64) - self.mean) / self.std

    def scale(self):
        """The factors weight and 1/std, for one channel the same everywhere."""
        weight = [at(self.stop, "weight", self.c)] if "weight" in self.stop else []
        return [*weight, number("1/std", 1 / self.std)]

    def facts(self, index):
        return {"mean": self.mean, "std": self.std, "x^": float(self.normed(*index)), "m": self.count}


@explains("BatchNorm2d", of="y")
def norm_y(stop, index):
    channel, where = Channel(stop, index[1]), brackets(*index)
    x = number("x - mean", float(stop.x[index]) - channel.mean)
    groups = [group(x, *channel.scale(), name="scaled")]
    if "bias" in stop:
        groups.append(group(at(stop, "bias", index[1]), name="bias"))
    picked = f"y{where} = (x{where} - {channel.mean:.6g}) / {channel.std:.6g}"
    if "weight" in stop:
        picked += f" * {float(stop['weight'][index[1]]):.6g} + bias[{index[1]}]"
    return Sum(
        f"y = {'weight * x^ + bias, x^ = ' if 'weight' in stop else ''}(x - mean) / std, std = sqrt(var + eps)",
        picked,
        groups,
        "mean and var of this batch" if stop.saved["training"] else "the running mean and var: constants",
        channel.facts(index),
    )


@explains("BatchNorm2d", of="dx")
def norm_dx(stop, index):
    channel, where = Channel(stop, index[1]), brackets(*index)
    value = group(at(stop, "dy", *index), *channel.scale(), name="by the value")
    factor, weight = ("weight", f"weight[{index[1]}]") if "weight" in stop else ("1", "1")
    picked = f"dx{where} = {weight} / {channel.std:.6g} * dy{where}"
    if not stop.saved["training"]:
        note = "the running mean and var are constants: only one way leads back"
        return Sum(f"dx = {factor} / std * dy", picked, [value], note, channel.facts(index))
    # forward: x^ = (x - mean)/std: a mean that grows by 1 takes 1/std off every x^ of the channel, and dmean/dx = 1/m
    dy, share = at(stop, "dy", *channel.pixels), number("-1/m", -1 / channel.count)
    by_mean = group(dy, *channel.scale(), share, name="by the mean")
    # forward: std: it divides every x^; dstd/dx = x^ of this element / m, and dx^/dstd = -x^/std
    normed, own = number("x^", channel.normed(*channel.pixels)), number("x^ of this one", channel.normed(*index))
    by_variance = group(dy, normed, own, *channel.scale(), share, name="by the variance")
    return Sum(
        f"dx = {factor} / std * (dy - (Σ dy)/m - x^ * (Σ dy * x^)/m), sums over the channel's m values",
        f"{picked} - by mean - by variance, each over m = {channel.count} values",
        [value, by_mean, by_variance],
        "three ways lead from this x to the loss: its own value, the mean, and the variance",
        channel.facts(index),
    )


@explains("BatchNorm2d", of="dweight")
def norm_dweight(stop, index):
    channel = Channel(stop, *index)
    normed = number("x^", channel.normed(*channel.pixels))
    picked = f"dweight[{channel.c}] = Σ_{{n,i,j}} dy[n,{channel.c},i,j] * x^[n,{channel.c},i,j]"
    return Sum("dweight[c] = Σ_{n,i,j} dy * x^", picked, [group(at(stop, "dy", *channel.pixels), normed)])


@explains("BatchNorm2d", of="dbias")
def norm_dbias(stop, index):
    channel = Channel(stop, *index)
    picked = f"dbias[{channel.c}] = Σ_{{n,i,j}} dy[n,{channel.c},i,j]"
    return Sum("dbias[c] = Σ_{n,i,j} dy", picked, [group(at(stop, "dy", *channel.pixels))])


@explains("BatchNorm2d", of="mean")
def norm_mean(stop, index):
    channel = Channel(stop, *index)
    if not stop.saved["training"]:
        note = "the running mean, kept from training"
        return Sum("mean = running_mean", f"mean[{channel.c}]", [group(at(stop, "running_mean", channel.c))], note)
    values = group(at(stop, "x", *channel.pixels), number("1/m", 1 / channel.count))
    return Sum("mean[c] = Σ_{n,i,j} x / m", f"mean[{channel.c}] = Σ_{{n,i,j}} x[n,{channel.c},i,j] / m", [values])


@explains("BatchNorm2d", of="var")
def norm_var(stop, index):
    channel = Channel(stop, *index)
    if not stop.saved["training"]:
        note = "the running variance, kept from training"
        return Sum("var = running_var", f"var[{channel.c}]", [group(at(stop, "running_var", channel.c))], note)
    away = number("x - mean", channel.normed(*channel.pixels) * channel.std)
    picked = f"var[{channel.c}] = Σ_{{n,i,j}} (x[n,{channel.c},i,j] - {channel.mean:.6g})² / m"
    return Sum("var[c] = Σ_{n,i,j} (x - mean)² / m", picked, [group(away, away, number("1/m", 1 / channel.count))])
