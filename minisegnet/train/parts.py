"""What a run is put together from, as its configuration says: net, loss, optimiser, schedule, transforms."""

import re

import numpy as np

from kernels import to_host

from .. import losses, models, optim, schedules
from ..data import VOID, transforms

# Settings of all nets that a run makes itself, and how.
RUNS_OWN = {"rng": "initial weights are drawn by --seed", "dtype": "runs compute in float32"}


def make_net(config, channels, classes):
    """The net with new weights. ValueError that names what the model doesn't have or can't be."""
    for name, how in RUNS_OWN.items():
        if name in config.model_settings:
            raise ValueError(f"--set: {name} can't be chosen, {how}")
    try:
        return models.build(config.model, channels, classes, rng=config.seed, **config.model_settings)
    except TypeError as error:
        offered = re.sub(rf", ({'|'.join(RUNS_OWN)})=\w+", "", str(error))
        raise ValueError(f"--set: {offered}") from None


def make_transforms(config, mean, std):
    """(transform for training, transform for everything else): the first augments, both end with normalised arrays."""
    resize = [transforms.LongestSide(config.resize)] if config.resize else []
    end = [transforms.ToArray()]
    if config.normalise == "dataset":
        end.append(transforms.Normalize(mean, std))
    elif config.normalise == "image":
        end.append(transforms.Standardize())
    augment = transforms.from_text(config.augment).transforms if config.augment.strip() else []
    return transforms.Compose([*resize, *augment, *end]), transforms.Compose([*resize, *end])


def make_loss(config, weight):
    """The loss of scores and targets, with one weight for each class or None; void pixels don't count."""
    overlap = {"ignore_index": VOID}
    if config.loss in ("dice", "jaccard"):
        if weight is not None:
            raise ValueError(f"class_weights are for the cross-entropy and the focal loss, not for {config.loss}")
        return losses.DiceLoss(**overlap) if config.loss == "dice" else losses.JaccardLoss(**overlap)
    if config.loss == "focal":
        return losses.FocalLoss(weight=weight, ignore_index=VOID)
    cross_entropy = losses.CrossEntropyLoss(weight, VOID, label_smoothing=config.label_smoothing)
    if config.loss == "cross-entropy+dice":
        return losses.WeightedSum([cross_entropy, losses.DiceLoss(**overlap)])
    return cross_entropy


def make_optimizer(config, parameters):
    if config.optimizer == "sgd":
        return optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    kind = optim.Adam if config.optimizer == "adam" else optim.AdamW
    return kind(parameters, config.lr, weight_decay=config.weight_decay)


def make_schedule(config, optimizer, steps):
    """The learning rate's course over `steps` steps. A plateau is stepped with each validation, the others always."""
    if config.warmup and config.schedule == "plateau":
        raise ValueError("warmup goes with a schedule over steps, not with plateau")
    if config.warmup >= steps:
        raise ValueError(f"warmup takes {config.warmup} steps, but there are only {steps} in all")
    rest = steps - config.warmup
    schedule = {
        "constant": lambda: schedules.ExponentialLR(optimizer, gamma=1.0),
        "cosine": lambda: schedules.CosineAnnealingLR(optimizer, T_max=rest),
        "polynomial": lambda: schedules.PolynomialLR(optimizer, total_iters=rest, power=0.9),  # as DeepLab's
        "step": lambda: schedules.StepLR(optimizer, step_size=-(-rest // 3), gamma=0.1),
        "exponential": lambda: schedules.ExponentialLR(optimizer, gamma=0.01 ** (1 / rest)),  # to a hundredth
        "plateau": lambda: schedules.ReduceLROnPlateau(optimizer, mode="max", factor=0.3, patience=3),
    }[config.schedule]()
    return schedules.Warmup(schedule, config.warmup) if config.warmup else schedule


def frozen_prefixes(config, net):
    """The beginnings of the names of parameters that are not to be trained."""
    if not config.freeze.strip():
        return ()
    prefixes = []
    for part in config.freeze.replace(",", " ").split():
        prefixes += net.encoder_prefixes if part == "encoder" else [part]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name, _ in net.named_parameters()):
            names = sorted({name.split(".")[0] for name, _ in net.named_parameters()})
            encoder = " (encoder stands for all parts of it)" if net.encoder_prefixes else ""
            raise ValueError(
                f"freeze: no parameter's name begins with {prefix!r}; they begin with {', '.join(names)}{encoder}"
            )
    return tuple(prefixes)


# ------------------------------------------------------------------ weights that are kept at zero


def prunable(net):
    """(name, Parameter) of the weights of convolutions and fully connected layers, not of biases and norms."""
    return [(name, p) for name, p in net.named_parameters() if p.value.ndim >= 2]


def prune(net, sparsity):
    """Set the smallest weights, this share of all, to zero: those below one threshold for the whole net.

    Source: after Han et al., Learning both weights and connections for efficient neural networks (2015), where each
    layer has a threshold of its own.

    >>> from minisegnet.layers import Linear
    >>> layer = Linear(4, 1)
    >>> layer.weight.value = np.array([[0.1, -3, 0.2, 2]], np.float32)
    >>> prune(layer, 0.5)
    >>> layer.weight.value
    array([[ 0., -3.,  0.,  2.]], dtype=float32)
    """
    magnitudes = np.concatenate([abs(p.value).ravel() for _, p in prunable(net)])
    count = round(sparsity * len(magnitudes))
    if count:
        threshold = np.partition(magnitudes, count - 1)[count - 1]
        for _, p in prunable(net):
            p.value = np.where(abs(p.value) <= threshold, 0, p.value)


def zero_share(net):
    """The share of the prunable weights that are zero."""
    weights = [to_host(p.value) for _, p in prunable(net)]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)
