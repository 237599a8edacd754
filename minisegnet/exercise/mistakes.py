"""Mistakes that can be made in any backward pass: what they give, and how to say so.

Each is a row of a table; `diagnosis` computes the formula in every case that failed and compares.
"""

import math

import numpy as np

from .exercise import Mistake


def first_axis(case):
    return len(case.x) if case.x.ndim else 1


def pixels(case):
    """H'*W', the pixels of y."""
    return math.prod(case.dy.shape[2:])


def kernel_area(case):
    """Pixels under the kernel, where the case has one."""
    weight = case.values.get("weight")
    if weight is not None and weight.ndim > 2:
        return math.prod(weight.shape[2:])
    return int(case.arguments.get("kernel_size", 1)) ** 2


def scaled(count, power):
    """A formula: the right result times count(case)**power; None where that changes nothing."""

    def formula(run, name):
        number = count(run.case) if "dy" in run.case.inputs else 1
        return run.right[name] * float(number) ** power if number > 1 else None

    return formula


def dy_itself(run, name):
    return run.case.dy if "dy" in run.case.inputs and run.case.dy.shape == run.right[name].shape else None


def swapped(run, name):
    right = run.right[name]
    return right.swapaxes(0, 1) if right.ndim > 1 and right.shape[0] == right.shape[1] > 1 else None


# Mistakes about any result; their formulas take the run and the result's name.
ANY_RESULT = (
    Mistake("zero", "", lambda run, name: 0 * run.right[name], "it is zero everywhere: nothing is ever added to it"),
    Mistake("wrong-sign", "", lambda run, name: -run.right[name], "it has the wrong sign"),
    Mistake("dy-itself", "dx", dy_itself, "it is dy itself: the layer's own derivative is missing"),
    Mistake(
        "dy-missing",
        "",
        lambda run, name: run.without_dy(name),
        "dy is missing: each derivative has to be multiplied by dy (the chain rule)",
    ),
    Mistake(
        "first-sample-only",
        "",
        lambda run, name: run.of_one(0, name),
        "only the first sample of the batch counts; the gradient of a parameter is the sum over all of them",
    ),
    Mistake(
        "last-sample-only",
        "",
        lambda run, name: run.of_one(-1, name),
        "only the last sample of the batch counts; the gradient of a parameter is the sum over all of them",
    ),
    Mistake("doubled", "", lambda run, name: 2 * run.right[name], "it is twice what it should be: added twice?"),
    Mistake("halved", "", lambda run, name: run.right[name] / 2, "it is half of what it should be"),
    Mistake(
        "divided-by-batch",
        "",
        scaled(first_axis, -1),
        "it is divided by N: the mean over the batch belongs into the loss, the layers only add up",
    ),
    Mistake("multiplied-by-batch", "", scaled(first_axis, 1), "it is N times too large: is something added N times?"),
    Mistake("divided-by-kernel", "", scaled(kernel_area, -1), "it is too small by the kernel's area kH*kW"),
    Mistake("multiplied-by-kernel", "", scaled(kernel_area, 1), "it is too large by the kernel's area kH*kW"),
    Mistake(
        "divided-by-pixels", "", scaled(pixels, -1), "it is divided by the number of pixels, which is not asked for"
    ),
    Mistake("transposed", "", swapped, "it is transposed: its first two axes are swapped"),
    Mistake(
        "mirrored",
        "",
        lambda run, name: run.right[name][..., ::-1, ::-1] if run.right[name].ndim > 3 else None,
        "its last two axes are reversed: rotated by 180 degrees once too often, or once too little",
    ),
)


# What gradcheck says, by words that only this sentence has, and the name that machines get.
GRADCHECK_IDS = {
    "the kernel is not rotated": "kernel-not-rotated",
    "it is rotated by 180": "weight-gradient-rotated",
    "input and output channels are swapped": "channels-swapped",
    "windows that overlap overwrite": "windows-overwrite",
    "the stride is ignored": "stride-ignored",
    "the dilation is ignored": "dilation-ignored",
    "the padding is not cropped": "padding-not-cropped",
    "the padding is ignored": "padding-ignored",
    "the kernel is rotated by 180": "kernel-rotated",
    "only the first image": "first-image-only",
    "only the last image": "last-image-only",
    "only the first sample": "first-sample-only",
    "only the last sample": "last-sample-only",
    "it is summed over the wrong axes": "bias-wrong-axes",
    "the weight is transposed": "weight-transposed",
    "it is transposed": "transposed",
    "every one of several tied": "ties-all-win",
    "gradients are lost where windows overlap": "overlap-lost",
    "it is not divided by the window": "not-divided",
    "at the border it is divided": "border-divisor",
    "the mask is taken from dy": "mask-from-dy",
    "the mask is missing": "mask-missing",
    "the mask is inverted": "mask-inverted",
    "dy is missing": "dy-missing",
    "the slope of the negative side": "slope-missing",
    "the derivative is y*(1 - y) of the output": "derivative-of-input",
    "a factor is missing: the derivative is y*(1 - y)": "factor-missing",
    "the factor 1/(1 - p) is missing": "scale-missing",
    "only the first is there: mean and variance are treated": "constant-statistics",
    "the one through the variance is missing": "way-through-variance-missing",
    "the one through the mean is missing": "way-through-mean-missing",
    "in eval mode mean and variance are constants": "eval-mode-ignored",
    "the factor weight is missing": "weight-missing",
    "it is the sum of dy*x": "not-normalised",
    "dy is multiplied by weight": "weight-too-often",
    "it is the gradient of bias": "gradient-of-bias",
    "the 1 of the label is not taken off": "label-not-taken-off",
    "the softmax is missing": "softmax-missing",
    "ignore_index is forgotten": "ignore-index-forgotten",
    "the Jacobian is replaced by its diagonal": "jacobian-diagonal",
    "the sum runs over the wrong axes": "sum-over-wrong-axes",
}

# What is to be added to such a sentence for someone who writes a backward pass, by its name.
GRADCHECK_ADDS = {
    "kernel-not-rotated": ". If you stamp (dxp[window] += g * w[o]), the kernel stays upright; if you gather, "
    "it is turned",
}

# Promises that gradcheck looks at besides numbers, by their names.
PROMISES = {
    "forward modifies nothing": "forward-modifies",
    "forward repeats": "forward-differs",
    "backward modifies nothing": "modifies-in-place",
    "gradients keep the dtype": "wrong-dtype",
    "backward needs its record alone": "remembers-in-self",
    "backward repeats": "backward-differs",
    "gradients accumulate": "gradient-replaced",
    "y finite, dtype kept": "not-finite",
}


def same(a, b, tolerance=1e-7):
    """Whether two results are equal to rounding; NaN equals NaN."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    size = np.abs(b[np.isfinite(b)]).max(initial=0)
    return np.allclose(a, b, rtol=tolerance, atol=tolerance * size, equal_nan=True)
