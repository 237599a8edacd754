"""Class weights: how much a pixel of each class counts in the loss, so that rare classes are learnt too.

    weight = class_weights("median-frequency", data.open("camvid:PATH"))
    loss = losses.CrossEntropyLoss(weight, ignore_index=255)

In a street scene a third of the pixels are road and one in two hundred is a pedestrian: unweighted, a net does well by
never saying "pedestrian". Weights raise the accuracy of rare classes (and the mean over classes), and cost a little of
the accuracy over all pixels.
"""

from typing import NamedTuple

import numpy as np

from .core import brief
from .data.dataset import VOID, DataError
from .losses.base import check_weights

__all__ = ["RULES", "PixelCounts", "class_weights", "count_pixels"]

RULES = ("none", "median-frequency", "sqrt-median-frequency", "enet")


class PixelCounts(NamedTuple):
    """How many pixels of each class there are in a data set; see `count_pixels`.

    Attributes
        pixels: of each class, int64 (classes,)
        image_pixels: of all pictures that have at least one pixel of the class, void ones counted, int64 (classes,)
        images: how many pictures those are, int64 (classes,)
        void: pixels of no class, an int

    >>> counts = PixelCounts(np.array([60, 30]), np.array([100, 100]), np.array([2, 2]), void=10)
    >>> counts.pixels / counts.pixels.sum()
    array([0.66666667, 0.33333333])
    """

    pixels: np.ndarray
    image_pixels: np.ndarray
    images: np.ndarray
    void: int


def class_weights(rule, dataset):
    """The weights as float32 (classes,), or None for rule "none".

    rule
        "none"                    all classes count the same
        "median-frequency"        median(freq) / freq(c), with freq(c) = pixels of c / those of the pictures with c
        "sqrt-median-frequency"   the square root of that: half way to no weights
        "enet"                    1 / log(1.02 + p(c)), with p(c) = pixels of c / all pixels that have a class
        numbers                   one for each class: a list, or text such as "1, 2.5, 0.5"
    dataset: a Dataset, or the PixelCounts of one

    The rules of the median leave out classes without a single pixel and give them 0: nothing is known about them. Of
    pictures with one label each, a label counts as one pixel and all pictures as one, so freq(c) is c's share.

    Raises ValueError for an unknown rule, numbers that don't fit the classes or a data set without labels, TypeError
    for anything else.
    Sources: Eigen and Fergus, Predicting depth, surface normals and semantic labels (2015), section 6.3.2, for the
    median frequency; Paszke et al., ENet (2016), section 5.2.

    >>> counts = PixelCounts(np.array([60, 30, 10]), np.array([100, 100, 50]), np.array([2, 2, 1]), 0)
    >>> class_weights("median-frequency", counts)  # frequencies 0.6, 0.3, 0.2
    array([0.5, 1. , 1.5], dtype=float32)
    >>> class_weights("enet", counts).round(2)
    array([2.07, 3.6 , 8.82], dtype=float32)
    """
    if isinstance(rule, str) and rule not in RULES:
        rule = numbers(rule)
    if not isinstance(rule, str):
        return explicit(rule, len(dataset.pixels if isinstance(dataset, PixelCounts) else dataset.classes))
    if rule == "none":
        return None
    counts = dataset if isinstance(dataset, PixelCounts) else count_pixels(dataset)
    total = counts.pixels.sum()
    if not total:
        raise ValueError(f"there is no labelled pixel to compute class weights {rule!r} from; use 'none'")
    if rule == "enet":
        return (1 / np.log(1.02 + counts.pixels / total)).astype(np.float32)
    there = counts.pixels > 0
    frequency = counts.pixels[there] / counts.image_pixels[there]
    weights = np.zeros(len(there))
    weights[there] = np.median(frequency) / frequency
    return (np.sqrt(weights) if rule == "sqrt-median-frequency" else weights).astype(np.float32)


def count_pixels(dataset):
    """The PixelCounts of all masks of a data set.

    Raises DataError, naming the file, for a label that is neither a class nor void.

    >>> from minisegnet.data import Dataset
    >>> class Two(Dataset):
    ...     def __len__(self):
    ...         return 2
    ...     def mask(self, i):
    ...         return np.array([[0, 1], [0, 255]]) if i == 0 else np.array([[0, 0]])
    >>> count_pixels(Two("two", "train", classes=("ground", "cell")))
    PixelCounts(pixels=array([4, 1]), image_pixels=array([6, 4]), images=array([2, 1]), void=1)
    """
    classes = len(dataset.classes)
    pixels, image_pixels, images = (np.zeros(classes, np.int64) for _ in range(3))
    void = 0
    for i in range(len(dataset)):
        mask = np.asarray(dataset.mask(i)).ravel()
        labels = mask[mask != VOID]
        void += mask.size - labels.size
        if labels.size and (labels.min() < 0 or labels.max() >= classes):
            outside = labels[(labels < 0) | (labels >= classes)]
            raise DataError(
                dataset.mask_path(i) or dataset.names[i],
                f"label {outside[0]} at {outside.size} pixels, expected 0..{classes - 1} or {VOID} (void)",
            )
        count = np.bincount(labels, minlength=classes)
        pixels += count
        image_pixels += mask.size * (count > 0)
        images += count > 0
    if dataset.kind == "classification":
        image_pixels[pixels > 0] = pixels.sum()
    return PixelCounts(pixels, image_pixels, images, void)


def numbers(text):
    """A list of the numbers in a text such as "1, 2.5"; a ValueError that lists the rules if it is something else."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(
            f"unknown class weights {text!r}, expected one of {', '.join(RULES)} or numbers such as '1, 2.5'"
        ) from None


def explicit(weights, classes):
    """The weights that somebody has chosen, as an array, if there is one for each class and not all are 0."""
    weights = check_weights("class weights", weights)
    if weights is None or weights.size != classes:
        got = "None" if weights is None else f"{weights.size} numbers"
        raise ValueError(f"class weights: got {got}, expected one for each of the {classes} classes")
    if not weights.any():
        raise ValueError(f"class weights: all are 0, so no pixel would count; got {brief(weights)}")
    return weights.astype(np.float32)
