"""The gallery: bugs of weights, losses and optimisers that real frameworks had."""

from dataclasses import replace

import numpy as np

from ... import layers, losses
from ..exercise import Case, Exercise, Story, normal
from ..kinds import OfLayer, OfLoss, OfOptimiser
from . import linear, optimisers
from .losses import DICE, DICE_HAND, Dice, dice_cases, scores_cases

GRADIENT_OVERWRITTEN = Exercise(
    name="bug-gradient-overwritten",
    title="a layer that forgets its first use",
    tutorial="05_fully_connected",
    stars=1,
    kind=OfLayer,
    subject="Linear",
    ours=lambda case: layers.Linear(**case.arguments, rng=0, dtype=np.float64),
    hand=(
        Case(
            "one sample, two backward passes",
            {"x": np.array([[1.0, 2]]), "dy": np.array([[10.0]])},
            {"in_features": 2, "out_features": 1},
            {"weight": np.array([[3.0, 4]]), "bias": np.array([1.0])},
            expected={"y": [[12]], "dx": [[30, 40]], "dweight": [[20, 40]], "dbias": [20]},
            because={
                "dweight": "each pass gives dw = dy * x = 10 20, so after two of them there must be 20 40",
                "dx": "dx is made anew in each pass: dy * w = 10*3, 10*4",
                "dbias": "each pass gives db = 10, so after two of them there must be 20",
            },
            passes=2,
        ),
    ),
    cases=lambda rng: [
        replace(case, label=case.label + text, passes=n)
        for case in linear.cases(rng)
        for n, text in ((1, ""), (2, ", two passes"))
    ],
    hints={
        "dweight": (
            "What is in weight.grad after one backward pass, and what after two?",
            "`out=` writes the result over what was there.",
            "add to it: self.weight.grad += dy.T @ x",
        )
    },
    done="",
    source="minisegnet/layers/linear.py",
    story=Story(
        "Caffe had just decided that all layers add to their gradients, so that a batch can come in parts. Its "
        "convolution for cuDNN came from a branch that cleared them first, and nobody noticed: there were tests for "
        "cuDNN and tests for shared weights, but none for both. The lesson was that the gradient checker itself has to "
        "look at it; gradcheck here makes two passes and compares.",
        ("BVLC/caffe PR #3254", "BVLC/caffe PR #1977"),
    ),
)


def with_void(case):
    """The same labels with some void ones."""
    target = case.target.copy()
    target[::2] = 255
    return Case(case.label + ", void labels", case.inputs | {"target": target})


def some_void(rng):
    cases = [case for case in scores_cases(rng) if len(case.target) > 1]
    return [f(case) for case in cases for f in (with_void, lambda case: case)]


CROSS_ENTROPY_IGNORE = Exercise(
    name="bug-cross-entropy-ignore",
    title="a mean over pixels that don't count",
    tutorial="08_segmentation_losses",
    stars=1,
    kind=OfLoss,
    subject="SoftmaxCrossEntropy",
    ours=lambda case: losses.CrossEntropyLoss(ignore_index=255),
    hand=(
        Case(
            "two pixels, one of them void",
            {"scores": np.array([[0.0, 0.0], [5.0, 1.0]]), "target": np.array([0, 255]), "dvalue": 1.0},
            expected={"value": np.log(2), "dscores": [[-0.5, 0.5], [0, 0]]},
            because={
                "value": "one pixel counts, with p = (1/2, 1/2): the mean over this one is log 2 = 0.6931",
                "dscores": (
                    "the first pixel alone counts: (p - (1, 0)) / 1 pixel = (-1/2, 1/2); the void one has no gradient"
                ),
            },
        ),
    ),
    cases=some_void,
    hints={
        "value": (
            "Over how many pixels is the mean taken? Over how many should it be?",
            "`known` is True for the pixels that count; known.sum() is how many there are. The gradient is divided by "
            "the same number as the value.",
            "count = max(known.sum(), 1): then a picture with no known pixel gives 0 and not NaN",
        )
    },
    done="",
    source="minisegnet/losses/cross_entropy.py",
    story=Story(
        "MMSegmentation computed the loss of each pixel with PyTorch, with 0 for void ones, and then took the mean "
        "itself: over all of them. PyTorch's own mean leaves them out. On a data set where half of the pixels are void "
        "the learning rate was in effect halved, differently in each batch. It was reported in 2021 and repaired in "
        "2022, by an option: avg_non_ignore, off unless asked for. A first attempt divided by zero where all pixels of "
        "a picture were void.",
        (
            "open-mmlab/mmsegmentation issue #546",
            "open-mmlab/mmsegmentation issue #886",
            "open-mmlab/mmsegmentation PR #1409",
        ),
    ),
)


def shifted(rng, shift, *shape):
    return Case(
        f"scores around {shift:g}, shape {shape}", {"x": normal(rng, *shape) + shift, "dy": normal(rng, *shape)}
    )


SOFTMAX_SHIFT = Exercise(
    name="bug-softmax-shift",
    title="a softmax safe from large scores, not from small ones",
    tutorial="04_relu_softmax_cross_entropy",
    stars=1,
    kind=OfLayer,
    subject="Softmax",
    ours=lambda case: layers.Softmax(dim=-1),
    hand=(
        Case(
            "three rows of equal scores: 0, a thousand, minus a thousand",
            {
                "x": np.array([[0.0, 0.0], [1000.0, 1000.0], [-1000.0, -1000.0]]),
                "dy": np.array([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0]]),
            },
            expected={"y": [[0.5, 0.5]] * 3, "dx": [[1, -1]] * 3},
            because={
                "y": "equal scores have equal probabilities, whatever they are",
                "dx": (
                    "with y = 1/2, 1/2 the mean of dy, weighted with y, is 2: dx = y * (dy - 2) = 1/2 * (4 - 2), 1/2 * "
                    "(0 - 2)"
                ),
            },
        ),
    ),
    cases=lambda rng: [
        shifted(rng, shift, *shape) for shift in (0, -5, 800, -800, -1e5) for shape in ((2, 3), (1, 4), (2, 2, 3))
    ],
    hints={
        "y": (
            "Which number is taken off from scores that are all negative?",
            "exp(-1000) is 0 in the computer, and 0/0 is NaN. The largest score of a row must become 0, also where it "
            "is negative: shift is the row's maximum, and not the larger one of 0 and the maximum.",
            "shift = x.max(axis=-1, keepdims=True)",
        )
    },
    done="",
    source="kernels/reference/softmax.py",
    story=Story(
        "NNlib, below Julia's Flux, searched for the largest score beginning with 0 instead of with the first score. "
        "For scores that were all below 0 it took off 0, and for (-10000, -10000) the result was 0/0. Large positive "
        "scores, which everybody tests, were right.",
        ("FluxML/NNlib.jl PR #43",),
    ),
)

DICE_QUOTIENT = Exercise(
    name="bug-dice-quotient",
    title="a Dice loss with a derivative done in a hurry",
    tutorial="08_segmentation_losses",
    stars=1,
    kind=OfLoss,
    subject="DiceLoss",
    ours=lambda case: Dice(**case.arguments),
    hand=(DICE_HAND,),
    cases=dice_cases,
    hints={
        "dscores": (
            "The value is right, so differentiate it yourself, with paper and pencil.",
            "It is the quotient rule: what is (u/v)'?",
            "(u/v)' = (u'*v - u*v') / v**2",
        )
    },
    done="",
    source=DICE.source,
    story=Story(
        "One of the best known U-Nets for PyTorch came with a Dice loss whose backward was written by hand. Its "
        "quotient rule had a plus. The author had only used it to measure nets, never to train them, and so nothing "
        "had looked wrong until a reader differentiated it again. A gradient check takes a second.",
        ("milesial/Pytorch-UNet issue #35",),
    ),
)

ADAM_CORRECTION = Exercise(
    name="bug-adam-correction",
    title="an Adam that starts too slowly",
    tutorial="07_optimisers",
    stars=1,
    kind=OfOptimiser,
    subject="Adam",
    ours=optimisers.our_adam,
    hand=(optimisers.ADAM_HAND,),
    cases=optimisers.adam_cases,
    hints={
        "value": (
            "At the first step m is (1 - beta1) * g, a tenth of g. What should m^ be?",
            "m is too small by the factor 1 - beta1^t. What undoes a factor?",
            "divide m and v by it, don't multiply",
        )
    },
    done="",
    source=optimisers.ADAM.source,
    story=Story(
        "ConvNetJS, a framework for the browser, multiplied where it should divide. Someone saw in its own "
        "demonstration on MNIST that Adam was much worse than Adadelta, looked into the paper, and compared line by "
        "line. An optimiser with such a bug still makes the loss smaller: only comparing with another one, or with "
        "numbers worked out by hand, shows it.",
        ("karpathy/convnetjs PR #70", "karpathy/convnetjs PR #107"),
    ),
)

ADAM_EPSILON = Exercise(
    name="bug-adam-epsilon",
    title="an Adam that is right as long as eps is small",
    tutorial="07_optimisers",
    stars=2,
    kind=OfOptimiser,
    subject="Adam",
    ours=optimisers.our_adam,
    hand=(optimisers.ADAM_HAND,),
    cases=optimisers.adam_cases,
    hints={
        "value": (
            "Write both forms for the first step, with eps. Where in the second one is eps multiplied by something?",
            "m^/(sqrt(v^) + eps) with v^ = v/c is m^*sqrt(c)/(sqrt(v) + eps*sqrt(c)), c = 1 - beta2^t: in the "
            "rearranged form eps has to be multiplied by sqrt(c).",
            "np.sqrt(v) / np.sqrt(1 - beta2**t) + self.eps, and then step = lr / (1 - beta1**t)",
        )
    },
    done="",
    source=optimisers.ADAM.source,
    story=Story(
        "The paper itself offers the rearranged form, with a different constant, `epsilon hat`. TensorFlow used it "
        "with the ordinary epsilon, PyTorch did until 2019, nanochat until 2026. With 1e-8 it makes no difference; "
        "with 0.1, which the documentation recommended for some nets, the first steps are up to thirty times smaller "
        "than meant.",
        ("tensorflow/tensorflow issue #9047", "pytorch/pytorch PR #22628", "karpathy/nanochat issue #304"),
    ),
)
