"""Metrics: how much of a segmentation is right, counted in one confusion matrix.

    matrix = ConfusionMatrix(classes=11)
    for batch in loader:
        matrix.update(batch.targets, net(batch.images).argmax(axis=1))
    print(matrix.table(names))

All pixels of all pictures go into one matrix and everything is computed from its sums, as the segmentation
benchmarks do. (The mean of the scores of single pictures is another number: it lets a class that fills a picture with
three pixels weigh as much as a whole street.)
"""

import math

import numpy as np

from kernels import ShapeError

from .core import brief, check_int

__all__ = ["ConfusionMatrix"]

CHUNK = 8192  # pixels that are counted at a time: what is computed on the way then stays in the processor's cache


class ConfusionMatrix:
    """matrix[t, p] is the number of pixels of class t that were taken for class p: right ones are on the diagonal.

    With TP = matrix[c, c], truth = Σ matrix[c, :] and predicted = Σ matrix[:, c], for each class c:

        class_accuracy, recall   TP / truth                        which part of the class was found
        precision                TP / predicted                    which part of what was found is right
        iou                      TP / (truth + predicted - TP)     intersection over union, the Jaccard index
        f1                       2 TP / (truth + predicted)        the Dice coefficient, 2 iou/(1 + iou)

    A score whose divisor is 0 is NaN and does not count in means: iou and f1 of a class that is neither in the truth
    nor in the predictions, recall of one that is not in the truth, precision of one that was never predicted.

    Parameters
        classes: how many, at least 1
        ignore_index: the target value of pixels that are not scored (void), or None

    >>> matrix = ConfusionMatrix(3)
    >>> matrix.update(np.array([[0, 0, 1], [1, 1, 255]]), np.array([[0, 1, 1], [1, 1, 0]]))
    >>> matrix.matrix
    array([[1, 1, 0],
           [0, 3, 0],
           [0, 0, 0]])
    >>> matrix.accuracy(), matrix.iou(), matrix.mean_iou()
    (0.8, array([0.5 , 0.75,  nan]), 0.625)
    """

    def __init__(self, classes, ignore_index=255):
        self.classes = check_int("ConfusionMatrix: classes", classes)
        self.ignore_index = ignore_index
        if ignore_index is not None:
            self.ignore_index = check_int("ConfusionMatrix: ignore_index", ignore_index, -math.inf)
        self.matrix = np.zeros((self.classes, self.classes), np.int64)

    # ------------------------------------------------------------------ counting

    def update(self, target, prediction):
        """Count the pixels of one or more pictures: two arrays of integers, of any but the same shape.

        Raises TypeError for anything but integers, ShapeError for different shapes, IndexError for a class out of
        range (a prediction must be in range at void pixels too); nothing is counted then.
        """
        target, prediction = check_labels("target", target), check_labels("prediction", prediction)
        if target.shape != prediction.shape:
            raise ShapeError(
                f"ConfusionMatrix: target has shape {target.shape}, prediction {prediction.shape}, expected the same; "
                f"a prediction is scores.argmax(axis=1), at the size of the target"
            )
        target, prediction = target.ravel(), prediction.ravel()
        self._check_range("prediction", prediction, None, "a net for other classes?")
        self._check_range("target", target, self.ignore_index, f"{self.ignore_index} is the value that is not scored")
        for start in range(0, target.size, CHUNK):
            self._count(target[start : start + CHUNK], prediction[start : start + CHUNK])

    def _count(self, target, prediction):
        """Add the pixels of two one-dimensional arrays."""
        if self.ignore_index is not None:
            scored = target != self.ignore_index
            target, prediction = target[scored], prediction[scored]
        # Each pair (t, p) has a number of its own, t * classes + p: to count those is to count the pairs.
        pairs = target.astype(np.int64, copy=False) * self.classes + prediction.astype(np.int64, copy=False)
        self.matrix += np.bincount(pairs, minlength=self.matrix.size).reshape(self.matrix.shape)

    def merge(self, other):
        """Add the counts of another matrix of as many classes, for example that of another worker."""
        if not isinstance(other, ConfusionMatrix):
            raise TypeError(f"ConfusionMatrix: merge takes another ConfusionMatrix, got {brief(other)}")
        if other.classes != self.classes:
            raise ShapeError(f"ConfusionMatrix: a matrix of {other.classes} classes can't join one of {self.classes}")
        self.matrix += other.matrix

    def _check_range(self, name, labels, ignored, hint):
        """Raise IndexError unless all labels are in 0..classes-1, or the ignored one."""
        if not labels.size or (labels.min() >= 0 and labels.max() < self.classes):
            return
        outside = (labels < 0) | (labels >= self.classes)
        if ignored is not None:
            outside &= labels != ignored
        if outside.any():
            raise IndexError(
                f"ConfusionMatrix: {name} {labels[outside][0]} at {outside.sum()} of {labels.size} pixels, "
                f"expected 0..{self.classes - 1} ({hint})"
            )

    # ------------------------------------------------------------------ scores

    def accuracy(self):
        """The share of all pixels that are right; NaN if none were counted."""
        return float(ratio(np.trace(self.matrix), self.matrix.sum()))

    def class_accuracy(self):
        """For each class, the share of its pixels that were found: float64 (classes,)."""
        return ratio(self.matrix.diagonal(), self.matrix.sum(axis=1))

    recall = class_accuracy

    def precision(self):
        """For each class, the share of the pixels predicted as this class that are of it: float64 (classes,)."""
        return ratio(self.matrix.diagonal(), self.matrix.sum(axis=0))

    def iou(self):
        """For each class, the pixels in both truth and prediction over those in either: float64 (classes,)."""
        right = self.matrix.diagonal()
        return ratio(right, self._truth_and_predicted() - right)

    def f1(self):
        """For each class, the harmonic mean of precision and recall: float64 (classes,)."""
        return ratio(2 * self.matrix.diagonal(), self._truth_and_predicted())

    def mean_class_accuracy(self):
        """The mean of class_accuracy over the classes that have one."""
        return mean(self.class_accuracy())

    def mean_iou(self):
        """The mean of iou over the classes that have one: the usual single figure for a segmentation."""
        return mean(self.iou())

    def _truth_and_predicted(self):
        return self.matrix.sum(axis=1) + self.matrix.sum(axis=0)

    # ------------------------------------------------------------------ showing

    def as_dict(self, names=None):
        """All scores as plain numbers for JSON or CSV; what is NaN is None.

        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        >>> scores = matrix.as_dict(["ground", "disc"])
        >>> scores["accuracy"], scores["mean_iou"], scores["classes"][1]["iou"], scores["classes"][1]["accuracy"]
        (0.75, 0.375, 0.0, None)
        """
        columns = {
            "pixels": self.matrix.sum(axis=1),
            "iou": self.iou(),
            "accuracy": self.class_accuracy(),
            "precision": self.precision(),
            "f1": self.f1(),
        }
        return {
            "pixels": int(self.matrix.sum()),
            "accuracy": plain(self.accuracy()),
            "mean_class_accuracy": plain(self.mean_class_accuracy()),
            "mean_iou": plain(self.mean_iou()),
            "classes": [
                {"class": name, **{column: plain(values[i]) for column, values in columns.items()}}
                for i, name in enumerate(self._names(names))
            ],
        }

    def table(self, names=None):
        """The scores as text in columns, one line for each class, means below.

        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
        >>> print(matrix.table(["ground", "disc"]))
        class      pixels     IoU  accuracy  precision      F1
        ground     100.0%   75.0%     75.0%     100.0%   85.7%
        disc         0.0%    0.0%         -       0.0%    0.0%
        mean IoU 37.5%, pixels right 75.0%, mean class accuracy 75.0%, of 4 pixels
        (accuracy of a class: the share of its pixels that were found, also called recall)
        """
        names = [str(name) for name in self._names(names)]
        width = max(8, *map(len, names))
        lines = [f"{'class':<{width}}  {'pixels':>7}  {'IoU':>6}  {'accuracy':>8}  {'precision':>9}  {'F1':>6}"]
        shares = ratio(self.matrix.sum(axis=1), self.matrix.sum())
        for name, share, *scores in zip(
            names, shares, self.iou(), self.class_accuracy(), self.precision(), self.f1(), strict=True
        ):
            cells = [f"{percent(value):>{size}}" for value, size in zip(scores, (6, 8, 9, 6), strict=True)]
            lines.append(f"{name:<{width}}  {percent(share):>7}  {'  '.join(cells)}")
        lines.append(
            f"mean IoU {percent(self.mean_iou())}, pixels right {percent(self.accuracy())}, "
            f"mean class accuracy {percent(self.mean_class_accuracy())}, of {self.matrix.sum()} pixels"
        )
        lines.append("(accuracy of a class: the share of its pixels that were found, also called recall)")
        return "\n".join(lines)

    def _names(self, names):
        names = list(range(self.classes)) if names is None else list(names)
        if len(names) != self.classes:
            raise ValueError(f"ConfusionMatrix: got {len(names)} names for {self.classes} classes")
        return names

    def __repr__(self):
        ignore = "" if self.ignore_index == 255 else f", ignore_index={self.ignore_index}"
        return f"ConfusionMatrix({self.classes}{ignore})"


# ------------------------------------------------------------------ numbers


def ratio(part, whole):
    """part / whole in float64, NaN where whole is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean(scores):
    """The mean of those that are not NaN; NaN if there are none."""
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if scores.size else math.nan


def plain(value):
    """A Python int or float, or None for NaN."""
    if isinstance(value, np.integer):
        return int(value)
    return None if math.isnan(value) else float(value)


def percent(value):
    """0.5 as "50.0%", NaN as "-"."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"


# ------------------------------------------------------------------ checks


def check_labels(name, labels):
    """The labels themselves, if they are an array of integers; a TypeError otherwise."""
    if not isinstance(labels, np.ndarray):
        raise TypeError(f"ConfusionMatrix: {name} must be a NumPy array, got {type(labels).__name__}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"ConfusionMatrix: {name} has {labels.dtype} values, expected integers, the numbers of classes; "
            f"of scores take scores.argmax(axis=1)"
        )
    return labels
