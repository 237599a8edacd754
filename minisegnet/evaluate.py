"""How good a net is on a data set."""

import numpy as np

from .metrics import ConfusionMatrix
from .trained import scores_of

__all__ = ["evaluate"]


def evaluate(net, loader, classes, criterion=None, progress=None):
    """(ConfusionMatrix, mean loss of the batches or NaN) of a net in inference mode over a loader's batches.

    Parameters
        net: any Layer, on any device; it is left in inference mode
        loader: a DataLoader, or what else gives batches with `images` and `targets`
        classes: how many
        criterion: a loss to measure too, or None
        progress: what to wrap the loader in, such as tqdm

    >>> from minisegnet import data, layers, losses
    >>> dataset = [(np.array([[[0], [51]]], np.uint8), np.array([[0, 1]]))]  # one picture of two pixels
    >>> net = layers.Conv2d(1, 2, 1)
    >>> net.weight.value[:], net.bias.value[:] = 0, [1, 0]  # always class 0
    >>> confusion, loss = evaluate(net, data.DataLoader(dataset, batch_size=1), 2, losses.CrossEntropyLoss())
    >>> confusion.accuracy(), round(loss, 2)  # the mean of log(1 + e^-1) and 1 + log(1 + e^-1)
    (0.5, 0.81)
    """
    net.eval()
    confusion, total, batches = ConfusionMatrix(classes), 0.0, 0
    for batch in progress(loader) if progress else loader:
        scores = scores_of(net, batch.images)
        if criterion is not None:
            total += criterion(scores, batch.targets)
        confusion.update(batch.targets, scores.argmax(axis=1))
        batches += 1
    return confusion, total / batches if criterion is not None and batches else float("nan")


def panel_rows(net, dataset, transform, count):
    """[(image, truth, prediction)] of up to `count` pictures, spread evenly over the data set, for a panel."""
    net.eval()
    rows = []
    for i in np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int):
        image, mask = dataset[int(i)]
        shown, target = transform(image, mask)
        rows.append((as_picture(image, target.shape), target, scores_of(net, shown[None]).argmax(axis=1)[0]))
    return rows


def as_picture(image, size):
    """The picture at the size of its mask, for a transform may have changed that."""
    if image.shape[:2] == tuple(size):
        return image
    from .data import transforms

    return transforms.Resize(tuple(size))(image, None)[0]
