"""Every diagnosis of gradcheck, on layers written by hand that have the mistake: it is named, and no other."""

import functools
import re

import buggy_functions as bf
import buggy_layers as bl
import buggy_wholes as bw
import numpy as np
import pytest

from minisegnet import layers
from minisegnet.combine import Concat, Sequential
from minisegnet.gradcheck import gradcheck
from minisegnet.gradcheck.mistakes import FAMILIES
from minisegnet.gradcheck.subject import Subject
from minisegnet.losses import MSELoss, WeightedSum

IMAGES = (2, 3, 7, 8)


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape)


def elementwise(name):
    return lambda: bf.Elementwise(*bf.ELEMENTWISE[name])


ROTATED = "the kernel is not rotated by 180 degrees"
ROTATED_DW = "it is rotated by 180 degrees: flipped once too often"
SWAPPED = "input and output channels are swapped"
STRIDE = "the stride is ignored: output pixel i belongs to input pixel i*stride"
DILATION = "the dilation is ignored: tap r belongs to input pixel i + r*dilation"
UNCROPPED = "the padding is not cropped"
OVERWRITTEN = "windows that overlap overwrite each other"
LOST = "gradients are lost where windows overlap"
TWO_IMAGES = normal(2, 3, 6, 7)
SMALL = normal(3, 4, 3, 3)
TIES = np.round(normal(2, 2, 6, 6))

# name: (makes the layer, x, {tensor: what the diagnosis of it says})
CASES = {
    # ---- convolution, most of them with stride, padding and dilation
    "kernel not flipped": (lambda: bl.KernelNotFlipped(3, 4, 3, 2, 1), normal(*IMAGES), {"x": ROTATED}),
    "kernel not flipped, plain": (lambda: bl.KernelNotFlipped(3, 4, 3), normal(*IMAGES), {"x": ROTATED}),
    "kernel flipped twice": (lambda: bl.KernelFlippedTwice(3, 4, 3, 2, 1, 2), normal(*IMAGES), {"x": ROTATED}),
    "other names": (lambda: bl.OtherNames(3, 4, 3), normal(*IMAGES), {"x": ROTATED}),
    "rotated, oblong": (
        lambda: bl.Rotates(4, 2, (2, 3), stride=(3, 1), padding=(1, 5), dilation=(1, 2), groups=2, rng=0),
        normal(1, 4, 6, 5),
        {"x": ROTATED},
    ),
    "rotated, same": (lambda: bl.Rotates(2, 2, 2, padding="same", rng=0), normal(1, 2, 4, 5), {"x": ROTATED}),
    "transposed, rotated, oblong": (
        lambda: bl.TransposeRotates(2, 4, (2, 3), (2, 5), (0, 1), output_padding=(1, 3), groups=2, rng=0),
        normal(1, 2, 3, 2),
        {"x": "the kernel is rotated by 180 degrees: dx is a plain convolution"},
    ),
    "dw flipped": (lambda: bl.WeightGradientFlipped(3, 4, 3, 2, 1), normal(*IMAGES), {"weight": ROTATED_DW}),
    "channels swapped": (lambda: bl.ChannelsSwapped(3, 3, 3, 2, 1), normal(*IMAGES), {"x": f"{SWAPPED}: dx[c]"}),
    "dw channels swapped": (
        lambda: bl.WeightChannelsSwapped(3, 3, 3, 2, 1),
        normal(*IMAGES),
        {"weight": f"{SWAPPED}: weight is (out, in, kH, kW)"},
    ),
    "stride ignored": (
        lambda: bl.StrideIgnored(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"x": f"{STRIDE}, so dy must be spread", "weight": f"{STRIDE}, so x must be read in steps"},
    ),
    "dilation ignored": (
        lambda: bl.DilationIgnored(3, 4, 3, 2, 1, 2),
        normal(*IMAGES),
        {"x": DILATION, "weight": DILATION},
    ),
    "padding not cropped": (lambda: bl.PaddingNotCropped(3, 4, 3, 2, 1), normal(*IMAGES), {"x": UNCROPPED}),
    "padding kept": (
        lambda: bl.PaddingKept(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"x": "has shape (2, 3, 9, 10), expected (2, 3, 7, 8): the padding is not cropped"},
    ),
    "padding ignored": (
        lambda: bl.PaddingIgnored(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"weight": "the padding is ignored"},
    ),
    "windows overwrite": (lambda: bl.WindowsOverwrite(3, 4, 3, 2, 1), normal(*IMAGES), {"x": OVERWRITTEN}),
    "taps overwrite": (lambda: bl.TapsOverwrite(3, 4, 3, 2, 1), normal(*IMAGES), {"x": OVERWRITTEN}),
    "last image only": (
        lambda: bl.LastImageOnly(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"weight": "only the last image counts: dw is the sum", "bias": "only the last image counts; db sums"},
    ),
    "first image only": (
        lambda: bl.FirstImageOnly(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"weight": "only the first image counts: dw is the sum", "bias": "only the first image counts; db sums"},
    ),
    "bias, channels too": (
        lambda: bl.BiasOfEverything(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {
            "bias": "it is summed over the wrong axes: the channels are summed too; db sums dy over all axes but "
            "that of "
            "the channels, dy.sum(axis=(0, 2, 3))"
        },
    ),
    "bias, wrong axis": (
        lambda: bl.BiasOfImages(3, 2, 3, 2, 1),
        normal(*IMAGES),
        {"bias": "it is summed over the wrong axes: axis 0 is kept, not that of the channels"},
    ),
    "bias of one pixel": (
        lambda: bl.BiasOfOnePixel(3, 4, 3, 2, 1),
        normal(*IMAGES),
        {"bias": "it is summed over the wrong axes: only the first pixel counts"},
    ),
    "bias forgotten": (lambda: bl.ForgetsBias(3, 4, 3), normal(*IMAGES), {"bias": "it is zero everywhere"}),
    "mean over the batch": (
        lambda: bl.MeanOverBatch(3, 4, 3),
        normal(5, 3, 4, 4),
        {"weight": "it is 5 times too small, and 5 is N (the batch): a factor 1/5 is there once too often"},
    ),
    "sign": (lambda: bl.SignWrong(3, 4, 3), normal(*IMAGES), {"weight": "it has the wrong sign"}),
    "transposed, rotated": (
        lambda: bl.TransposeRotated(3, 4, 3, 2, 1),
        normal(2, 3, 4, 3),
        {"x": "the kernel is rotated by 180 degrees: dx is a plain convolution", "w": ROTATED_DW},
    ),
    "transposed, swapped": (
        lambda: bl.TransposeSwapped(3, 3, 3, 2, 1),
        normal(2, 3, 4, 3),
        {"x": f"{SWAPPED}: dx[c]", "w": f"{SWAPPED}: weight is (in, out, kH, kW)"},
    ),
    # ---- fully connected
    "weight transposed": (
        lambda: bl.WeightTransposed(4, 4),
        normal(3, 4),
        {"x": "the weight is transposed: forward is y = x @ w.T, so dx = dy @ w"},
    ),
    "dw transposed": (
        lambda: bl.WeightGradientTransposed(4, 4),
        normal(3, 4),
        {"W": "it is transposed: dw = dy.T @ x"},
    ),
    "y = x w, transposed": (
        lambda: bl.XWTransposed(4, 4),
        normal(3, 4),
        {
            "x": "forward is y = x @ w, so dx = dy @ w.T",
            "W": "it is transposed: forward is y = x @ w, so dw = x.T @ dy",
        },
    ),
    "dw forgotten": (
        lambda: bl.ForgetsWeight(4, 2),
        normal(3, 4) * [[0], [1], [1]],
        {"W": "it is zero everywhere: backward never adds to it"},  # as is what the first sample alone would give
    ),
    "no bias, one sample": (
        lambda: bl.NoBias(3, 3),
        normal(1, 3),
        {"x": "the weight is transposed"},
    ),
    "last sample only": (lambda: bl.LastSampleOnly(4, 2), normal(3, 4), {"W": "only the last sample counts"}),
    "first sample only": (lambda: bl.FirstSampleOnly(4, 2), normal(3, 4), {"W": "only the first sample counts"}),
    "bias of samples": (
        lambda: bl.BiasOfSamples(4, 3),
        normal(3, 4),
        {"b": "axis 0 is kept, not that of the channels"},
    ),
    # ---- pooling
    "max pool, ties": (lambda: bf.MaxPool(3, 2, 1), TIES, {"x": "every one of several tied maxima"}),
    "max pool, ties, no attributes": (bf.HalvingTies, TIES, {"x": "every one of several tied maxima"}),
    "max pool, windows": (lambda: bf.MaxPoolOverwrites(3, 2, 1), TWO_IMAGES, {"x": LOST}),
    "max pool, taps": (lambda: bf.MaxPoolOverwritesByTap(3, 1), TWO_IMAGES, {"x": LOST}),
    "max pool, index": (lambda: bf.MaxPoolIndexed(3, 1, 1), TWO_IMAGES, {"x": LOST}),
    "average pool, divisor": (
        lambda: bf.AvgPoolNotDivided(3, 2, 1),
        TWO_IMAGES,
        {"x": "not divided by the window's size"},
    ),
    "average pool, windows": (lambda: bf.AvgPoolOverwrites(3, 2, 1), TWO_IMAGES, {"x": OVERWRITTEN}),
    "average pool, taps": (lambda: bf.AvgPoolOverwritesByTap(3, 2, 1), TWO_IMAGES, {"x": OVERWRITTEN}),
    "average pool, border": (lambda: bf.AvgPoolOfPicture(3, 2, 1), TWO_IMAGES, {"x": "at the border it is divided by"}),
    "average pool, no padding": (
        lambda: bf.AvgPoolNotDivided(2, 2),
        TWO_IMAGES,
        {"x": "not divided by the window's size"},
    ),
    "average pool, oblong": (
        lambda: bf.AvgPoolOblongNotDivided((3, 6), (2, 1), (1, 3)),
        TWO_IMAGES,
        {"x": "not divided by the window's size"},
    ),
    "global average": (
        lambda: bf.GlobalAverage(lambda dy, x: np.ones_like(x) * dy),
        normal(2, 3, 6, 7),
        {"x": "it is 42 times too large, and 42 is H*W (the pixels): a factor 1/42 is missing"},
    ),
    # ---- element by element
    "relu, mask of dy": (elementwise("relu, mask of dy"), SMALL, {"x": "the mask is taken from dy"}),
    "relu, no mask": (elementwise("relu, no mask"), SMALL, {"x": "the mask is missing"}),
    "relu, inverted": (elementwise("relu, inverted"), SMALL, {"x": "the mask is inverted"}),
    "relu, no dy": (elementwise("relu, no dy"), SMALL, {"x": "dy is missing"}),
    "leaky, mask of dy": (elementwise("leaky, mask of dy"), SMALL, {"x": "the mask is taken from dy"}),
    "leaky, no mask": (elementwise("leaky, no mask"), SMALL, {"x": "the mask is missing"}),
    "leaky, inverted": (elementwise("leaky, inverted"), SMALL, {"x": "the mask is inverted"}),
    "leaky, no dy": (elementwise("leaky, no dy"), SMALL, {"x": "dy is missing"}),
    "leaky, no slope": (
        elementwise("leaky, no slope"),
        SMALL,
        {"x": "the slope of the negative side is missing, dx = dy where x > 0, else 0.2*dy"},
    ),
    "sigmoid of x": (elementwise("sigmoid of x"), SMALL, {"x": "y*(1 - y) of the output y, not of the input x"}),
    "sigmoid, factor": (
        elementwise("sigmoid, factor"),
        SMALL,
        {"x": "a factor is missing: the derivative is y*(1 - y)"},
    ),
    "sigmoid, no dy": (elementwise("sigmoid, no dy"), SMALL, {"x": "dy is missing"}),
    "tanh of x": (elementwise("tanh of x"), SMALL, {"x": "1 - y² of the output y, not of the input x"}),
    "tanh, no square": (elementwise("tanh, no square"), SMALL, {"x": "the square is missing"}),
    "tanh, no dy": (elementwise("tanh, no dy"), SMALL, {"x": "dy is missing"}),
    "softmax, diagonal": (elementwise("softmax, diagonal"), SMALL, {"x": "the Jacobian is replaced by its diagonal"}),
    "softmax, y alone": (elementwise("softmax, y alone"), SMALL, {"x": "the Jacobian is replaced by its diagonal"}),
    "softmax, sum of all": (elementwise("softmax, sum of all"), SMALL, {"x": "the sum runs over the wrong axes"}),
    "softmax, sum of images": (elementwise("softmax, sum of images"), SMALL, {"x": "the sum runs over the wrong axes"}),
    "log-softmax, no sum": (
        elementwise("log-softmax, no sum"),
        SMALL,
        {"x": "the sum is missing: dx = dy - exp(y) * Σ dy"},
    ),
    "log-softmax, diagonal": (elementwise("log-softmax, diagonal"), SMALL, {"x": "the sum is missing"}),
    "log-softmax, sum of all": (
        elementwise("log-softmax, sum of all"),
        SMALL,
        {"x": "the sum runs over the wrong axes"},
    ),
    "dropout, no mask": (
        lambda: bf.DropOut(lambda dy, keep: dy),
        SMALL,
        {"x": "the mask is missing: what forward dropped"},
    ),
    "dropout, mask lost": (
        lambda: bf.DropOut(lambda dy, keep: 2 * dy),
        SMALL,
        {"x": "the mask is missing: what forward dropped"},
    ),
    "dropout, no factor": (
        lambda: bf.DropOut(lambda dy, keep: keep * dy),
        SMALL,
        {"x": "the factor 1/(1 - p) is missing"},
    ),
    # ---- batch normalisation
    "no weight and bias": (
        bf.Standardise,
        SMALL,
        {"x": "only the first is there: mean and variance are treated as constants"},
    ),
    "statistics constant": (
        lambda: bf.StatisticsConstant(4),
        SMALL,
        {"x": "only the first is there: mean and variance are treated as constants"},
    ),
    "variance constant": (lambda: bf.VarianceConstant(4), SMALL, {"x": "the one through the variance is missing"}),
    "mean constant": (lambda: bf.MeanConstant(4), SMALL, {"x": "the one through the mean is missing"}),
    "gamma forgotten": (lambda: bf.GammaForgotten(4), SMALL, {"x": "the factor weight is missing"}),
    "gamma of x": (lambda: bf.GammaOfX(4), SMALL, {"gamma": "it is the sum of dy*x"}),
    "gamma twice": (lambda: bf.GammaTwice(4), SMALL, {"gamma": "dy is multiplied by weight"}),
    "gamma of beta": (lambda: bf.GammaOfBeta(4), SMALL, {"gamma": "it is the gradient of bias"}),
    "beta": (lambda: bf.BetaOfFirstImage(4), SMALL, {"beta": "only the first image counts"}),
    "eval like training": (
        lambda: bf.EvalLikeTraining(4).eval(),
        SMALL,
        {"x": "in eval mode mean and variance are constants"},
    ),
    "eval, running": (lambda: bf.BatchNorm(4).eval(), SMALL, {"x": "in eval mode mean and variance are constants"}),
    # ---- whatever the layer is
    "square, dy itself": (elementwise("square, dy itself"), SMALL, {"x": "it is dy itself"}),
    "square, factor 2": (
        elementwise("square, factor 2"),
        SMALL,
        {"x": "it is 0.5 times the right one everywhere: a factor 2 is missing"},
    ),
    "square, factor 1.7": (elementwise("square, factor 1.7"), SMALL, {"x": "it is 1.7 times the right one everywhere"}),
    "wrong sign": (elementwise("sign"), SMALL, {"x": "it has the wrong sign"}),
    "zero": (elementwise("zero"), SMALL, {"x": "it is zero everywhere"}),
    "independent": (elementwise("independent"), SMALL, {"x": "it should be zero everywhere"}),
    "factor 2 or batch": (
        elementwise("square, factor 2"),
        SMALL[:2],
        {"x": "2 is N (the batch): a factor 1/2 is there once too often or a factor 2 is missing, such as that of a"},
    ),
    "elementwise mean": (
        elementwise("mean over the batch"),
        SMALL,
        {"x": "it is 3 times too small, and 3 is N (the batch)"},
    ),
    "rotated": (elementwise("rotated"), SMALL, {"x": "its last two axes are reversed"}),
    "batch and channels": (
        elementwise("batch and channels swapped"),
        normal(2, 2, 3, 4),
        {"x": "it is transposed: its first two axes are swapped"},
    ),
    "rows and columns": (
        elementwise("rows and columns swapped"),
        normal(1, 2, 3, 3),
        {"x": "it is transposed: its last two axes are swapped"},
    ),
    "first row": (
        elementwise("first row"),
        SMALL,
        {"x": "36 of 108 entries are wrong, all of them at 0 of axis 2, and the gradient is 0 there"},
    ),
    "no idea": (
        elementwise("no idea"),
        SMALL,
        {"x": "it fits none of the classic mistakes; start at the worst entry, ["},
    ),
}
SCORES, LABELS = normal(5, 3), np.array([0, 2, 1, 2, 0])
VOID = np.array([0, 255, 1, 2, 255])
TARGET = normal(2, 3, 4, 5)[::-1] * 0.9
WEIGHT = [1.0, 2.0, 4.0]

# name: (loss, scores, target, what the diagnosis says)
LOSSES = {
    "mean missing": (bw.MeanMissing(), SCORES, LABELS, "it is not divided by the number of labels (5)"),
    "mean twice": (bw.MeanTwice(), SCORES, LABELS, "it is divided by the number of labels (5) twice"),
    "ignored labels counted": (
        bw.DividesByAll(ignore_index=255),
        SCORES,
        VOID,
        "it is divided by the number of labels (5), but the value is divided by the number of labels that are not "
        "ignored (3)",
    ),
    "weights not counted": (
        bw.DividesByKept(WEIGHT, 255),
        SCORES,
        VOID,
        "it is divided by the number of labels that are not ignored (3), but the value is divided by the sum of the "
        "labels' class weights (7)",
    ),
    "weights counted": (
        bw.DividesByWeights(WEIGHT),
        SCORES,
        LABELS,
        "it is divided by the sum of the labels' class weights (12), but the value is divided by the number "
        "of labels (5)",
    ),
    "label smoothing": (
        bw.Smoothed(),
        SCORES,
        LABELS,
        "it is 5 times too large, and 5 is N (the batch): a factor 1/5 is missing",
    ),
    "a strange factor": (bw.OddFactor(), SCORES, LABELS, "it is 1.3 times the right one everywhere"),
    "sum": (
        bw.SumOfLosses(),
        SCORES,
        LABELS,
        "it is divided by the number of labels (5), but the value is not divided at all",
    ),
    "ignore_index": (bw.IgnoreForgotten(ignore_index=255), SCORES, VOID, "ignore_index is forgotten"),
    "ignore_index 0": (bw.IgnoreForgotten(ignore_index=0), SCORES, LABELS, "ignore_index is forgotten"),
    "ignore_index, half": (bw.IgnoreHalfForgotten(ignore_index=0), SCORES, LABELS, "ignore_index is forgotten"),
    "weights": (bw.WeightsForgotten(WEIGHT), SCORES, LABELS, "the class weights are forgotten"),
    "weights, ignore_index": (bw.WeightsForgotten(WEIGHT, 255), SCORES, VOID, "the class weights are forgotten"),
    "label": (bw.LabelNotTakenOff(WEIGHT), SCORES, LABELS, "the 1 of the label is not taken off"),
    "softmax": (bw.SoftmaxMissing(), SCORES, LABELS, "the softmax is missing"),
    "mse, factor 2": (bw.MSE(lambda d: d / d.size), TARGET * 2, TARGET, "the derivative of d² is 2*d, not d"),
    "mse, mean": (
        bw.MSE(lambda d: 2 * d),
        normal(2, 3, 4, 5),
        TARGET,
        "it is 120 times too large, and 120 is the number of entries of x: a factor 1/120 is missing",
    ),
    "mse, mean twice": (
        bw.MSE(lambda d: 2 * d / d.size**2),
        normal(2, 3, 4, 5),
        TARGET,
        "it is 120 times too small, and 120 is the number of entries of x: a factor 1/120 is there once too often",
    ),
    "mse, mean of channels": (
        bw.MSE(lambda d: 2 * d / (d.size / 3)),
        normal(2, 3, 4, 5),
        TARGET,
        "it is 3 times too large, and 3 is C (the channels): a factor 1/3 is missing",
    ),
    "mse, mean of pixels": (
        bw.MSE(lambda d: 2 * d / 3),
        normal(2, 3, 4, 5),
        TARGET,
        "it is 40 times too large, and 40 is N*H*W (all pixels): a factor 1/40 is missing",
    ),
    "l1": (bw.L1(lambda d: d / d.size), normal(2, 3, 4, 5), TARGET, "the derivative of |d| is sign(d), not d"),
    "l1, sum": (bw.L1Sum(lambda d: d), normal(2, 3, 4, 5), TARGET, "the derivative of |d| is sign(d), not d"),
    "dvalue": (bw.DvalueIgnored(lambda d: 2 * d / d.size), normal(2, 3, 4, 5), TARGET, "dvalue is ignored"),
}


@functools.cache
def report_of(name):
    make, x, _ = CASES[name]
    return gradcheck(make(), x)


@pytest.mark.parametrize("name", CASES)
def test_the_mistake_is_named_and_no_other(name):
    report, expected = report_of(name), CASES[name][2]
    assert not report
    assert [row.name for row in report.rows if not row.ok] == list(expected)
    assert len(report.diagnosis) == len(expected), report.diagnosis
    for sentence, (tensor, text) in zip(report.diagnosis, expected.items(), strict=True):
        assert sentence.startswith(f"the gradient of {tensor}")
        assert text in sentence
    assert all(sentence.split(":")[0] in str(report) for sentence in report.diagnosis)


@pytest.mark.parametrize("name", LOSSES)
def test_a_losses_mistake_is_named_and_no_other(name):
    loss, scores, target, text = LOSSES[name]
    report = gradcheck(loss, scores, target=target)
    assert not report
    assert len(report.diagnosis) == 1, report.diagnosis
    assert report.diagnosis[0].startswith("the gradient of x: ")
    assert text in report.diagnosis[0]


RIGHT = {
    "convolution": (lambda: bl.Conv(3, 4, 3, 2, 1, 2), normal(*IMAGES)),
    "transposed convolution": (lambda: bl.ConvTranspose(3, 4, 3, 2, 1), normal(2, 3, 4, 3)),
    "fully connected": (lambda: bl.FullyConnected(4, 3), normal(3, 4)),
    "fully connected, x w": (lambda: bl.FullyConnectedXW(4, 3), normal(3, 4)),
    "max pool": (lambda: bf.MaxPool(3, 2, 1), TWO_IMAGES),
    "average pool": (lambda: bf.AvgPool(3, 2, 1), TWO_IMAGES),
    "batch normalisation": (lambda: bf.BatchNorm(4), SMALL),
    "sum": (lambda: bw.Add(layers.Tanh(), layers.ReLU()), SMALL),
    "scale": (bw.Scale, normal(4)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_layers_that_the_wrong_ones_derive_from_are_right(name):
    make, x = RIGHT[name]
    report = gradcheck(make(), x)
    assert report, report
    assert report.diagnosis == []


@pytest.mark.parametrize("loss", [bw.CrossEntropy(), bw.CrossEntropy(WEIGHT), bw.CrossEntropy(WEIGHT, 2)])
def test_the_loss_that_the_wrong_ones_derive_from_is_right(loss):
    assert gradcheck(loss, SCORES, target=LABELS)


def test_every_suspect_is_found_guilty_in_some_case():
    """No family suspects a mistake that no test makes."""

    def stripped(text):
        return re.sub(r"[\d.]+|\(.*\)", "#", text)

    suspected, named = set(), set()
    subjects = [Subject(make(), x, None, 0) for make, x, _ in CASES.values()]
    subjects += [Subject(loss, scores, target, 0) for loss, scores, target, _ in LOSSES.values()]
    reports = [report_of(name) for name in CASES]
    reports += [gradcheck(loss, scores, target=target) for loss, scores, target, _ in LOSSES.values()]
    for subject, report in zip(subjects, reports, strict=True):
        subject.run()
        with np.errstate(all="ignore"):
            suspected |= {stripped(s.text) for family in FAMILIES for s in family(subject)}
        named |= {stripped(sentence.split(": ", 1)[1]) for sentence in report.diagnosis}
    assert suspected - named == set()


# ------------------------------------------------------------------ combinators and nets


def two(kind):
    """The combinator with two layers inside that are right, and a map of the same size."""
    return kind(layers.Conv2d(2, 2, 3, padding=1, rng=0), layers.Tanh())


COMBINATORS = {
    "forgotten dx": (
        lambda: two(bw.AddForgets),
        "the gradient of 1 is lost: dx is the sum of what all branches return",
    ),
    "never called": (
        lambda: bw.AddNeverCalls(layers.ReLU(), conv=layers.Conv2d(2, 2, 1, rng=0)),
        "backward is never called for conv",
    ),
    "halved": (
        lambda: two(bw.AddHalves),
        "0 is given the wrong dy; a sum copies its gradient: each branch gets all of dy",
    ),
    "doubled": (lambda: two(bw.AddDoubles), "dx is not the sum of what the branches return"),
    "parts of dy swapped": (
        lambda: two(bw.Join),
        "0 is given the wrong dy: it got what belongs to 1; each branch gets its own",
    ),
    "product": (lambda: two(bw.Multiply), "by the product rule each factor gets dy times all the others"),
    "sideways": (
        lambda: two(bw.ChainSideways),
        "0 is given the wrong dy: it got what belongs to 1; each layer gets the dx",
    ),
    "wrong dx": (lambda: two(bw.ChainOfFirst), "dx is not what 0 returns, the last one that backward comes to"),
}


@pytest.mark.parametrize("name", COMBINATORS)
def test_a_combinator_with_right_layers_inside(name):
    make, text = COMBINATORS[name]
    report = gradcheck(make(), normal(2, 2, 4, 5))
    kind = type(make()).__name__
    assert not report
    assert report.guilty == []
    assert report.diagnosis[0] == (
        f"all layers inside are right by themselves: look at how {kind} combines their gradients"
    )
    assert text in report.diagnosis[1]
    assert "none of the classic" not in str(report)


@pytest.mark.parametrize("make", [lambda: two(bw.AddOdd), lambda: bw.Twice(layers.Tanh())])
def test_a_combinator_of_an_unknown_kind(make):
    report = gradcheck(make(), normal(2, 2, 4, 5))
    assert not report
    assert report.guilty == []
    assert "all layers inside are right by themselves" in report.diagnosis[0]
    assert not any("is given the wrong dy" in sentence or "fits none" in sentence for sentence in report.diagnosis)


def net_with(layer):
    body = Sequential(layers.Conv2d(2, 3, 3, padding=1, rng=0), act=layer)
    return Sequential(stem=layers.Conv2d(2, 2, 1, rng=1), level=Concat(layers.Identity(), body), head=layers.Tanh())


def test_the_guilty_layer_deep_in_a_net_is_named_with_its_diagnosis():
    report = gradcheck(net_with(elementwise("relu, mask of dy")()), normal(1, 2, 4, 4))
    assert not report
    assert [name for name, _ in report.guilty] == ["level.1.act"]
    assert report.guilty[0][1].diagnosis[0].startswith("the gradient of x: the mask is taken from dy")
    assert report.diagnosis == []
    assert "the layer level.1.act fails by itself:" in str(report)
    assert "-> the gradient of x: the mask is taken from dy" in str(report)


def test_the_guilty_combinator_deep_in_a_net_is_named():
    report = gradcheck(net_with(bw.AddForgets(layers.Tanh(), layers.ReLU())), normal(1, 2, 4, 4))
    assert [name for name, _ in report.guilty] == ["level.1.act"]
    assert "the gradient of 1 is lost" in report.guilty[0][1].diagnosis[1]


def test_a_layer_that_sits_on_a_kink_is_not_guilty():
    net = Sequential(layers.Conv2d(1, 1, 1, bias=False, rng=0), layers.ReLU(), bl.BiasOfOnePixel(1, 1, 1))
    report = gradcheck(net, np.zeros((1, 1, 2, 2)))  # nothing at all can be compared in the ReLU
    assert [name for name, _ in report.guilty] == ["2"]


def test_two_guilty_layers_are_both_named_and_a_shared_one_once():
    shared = elementwise("sign")()
    report = gradcheck(Sequential(shared, layers.Tanh(), bl.SignWrong(2, 2, 1), shared), normal(1, 2, 3, 3))
    assert [name for name, _ in report.guilty] == ["0", "2"]


def test_a_wrong_term_of_a_weighted_sum_is_named():
    wrong = bw.MSE(lambda d: d / d.size)
    report = gradcheck(WeightedSum([MSELoss(), wrong], [1, 0.5]), normal(2, 3), target=normal(2, 3)[::-1])
    assert not report
    assert [name for name, _ in report.guilty] == ["WeightedSum.losses.1"]
    assert "the derivative of d² is 2*d" in report.guilty[0][1].diagnosis[0]


def test_a_mean_over_the_pixels_of_a_smaller_y_is_named():
    class MeanBias(layers.Conv2d):
        def backward(self, dy, saved):
            dx = super().backward(dy, saved)
            self.bias.grad += dy.mean(axis=(0, 2, 3)) - dy.sum(axis=(0, 2, 3))
            return dx

    x = np.random.default_rng(1).normal(size=(2, 2, 8, 8))
    report = gradcheck(MeanBias(2, 3, 3, stride=2, padding=1, rng=0), x)
    assert not report
    assert "32 times too small, and 32 is N*H'*W' (all pixels of y)" in report.diagnosis[0]
