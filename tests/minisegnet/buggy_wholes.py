"""As buggy_layers: losses, combinators whose inner layers are right, and layers that break the contract of backward."""

import numpy as np

from minisegnet.combine import Branches
from minisegnet.core import Layer, Parameter
from minisegnet.losses import Loss

# ------------------------------------------------------------------ losses


def softmax(scores):
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class CrossEntropy(Loss):
    """The right one, for scores (N, C): the mean of -weight[t] * log p[t] over the labels that are not ignored."""

    def __init__(self, weight=None, ignore_index=-100):
        self.weight, self.ignore_index = weight, ignore_index

    def weights(self, scores, target):
        """(w, keep): the weight of each label, and 0 where it is ignored."""
        keep, labels = target != self.ignore_index, np.where(target < scores.shape[1], target, 0)
        w = np.ones(len(target)) if self.weight is None else np.array(self.weight)[labels]
        return w, keep

    def forward(self, scores, target):
        w, keep = self.weights(scores, target)
        rows = np.flatnonzero(keep)
        value = -(w[rows] * np.log(softmax(scores)[rows, target[rows]])).sum() / (w * keep).sum()
        return float(value), (scores, target)

    def backward(self, saved, dvalue=1.0):
        scores, target = saved
        w, keep = self.weights(scores, target)
        return dvalue * self.factor(w, keep)[:, None] * self.error(scores, target) / self.count(w, keep)

    def onehot(self, scores, target):
        return (np.arange(scores.shape[1]) == target[:, None]) * 1.0

    def factor(self, w, keep):
        return w * keep

    def error(self, scores, target):
        return softmax(scores) - self.onehot(scores, target)

    def count(self, w, keep):
        return (w * keep).sum()


class MeanMissing(CrossEntropy):
    def count(self, w, keep):
        return 1


class MeanTwice(CrossEntropy):
    def count(self, w, keep):
        return (w * keep).sum() ** 2


class DividesByAll(CrossEntropy):
    def count(self, w, keep):
        return len(keep)


class DividesByKept(CrossEntropy):
    """Forgets the class weights in the denominator."""

    def count(self, w, keep):
        return keep.sum()


class DividesByWeights(CrossEntropy):
    """Has weights, and a value that is divided by the number of labels."""

    def forward(self, scores, target):
        value, saved = super().forward(scores, target)
        w, keep = self.weights(scores, target)
        return value * (w * keep).sum() / len(target), saved


class SumOfLosses(DividesByAll):
    """The value is a sum, the gradient that of a mean."""

    def forward(self, scores, target):
        value, saved = super().forward(scores, target)
        w, keep = self.weights(scores, target)
        return value * (w * keep).sum(), saved


class OddFactor(CrossEntropy):
    def count(self, w, keep):
        return keep.sum() / 1.3


class Smoothed(Loss):
    """Half of the distribution asked for is spread evenly; the mean is missing in backward."""

    def forward(self, scores, target):
        q = 0.5 * (np.arange(scores.shape[1]) == target[:, None]) + 0.5 / scores.shape[1]
        return float(-(q * np.log(softmax(scores))).sum() / len(target)), (scores, q)

    def backward(self, saved, dvalue=1.0):
        scores, q = saved
        return dvalue * (softmax(scores) - q)


class IgnoreForgotten(CrossEntropy):
    def factor(self, w, keep):
        return w


class IgnoreHalfForgotten(CrossEntropy):
    """Leaves out the 1 of ignored labels, but not their probabilities."""

    def error(self, scores, target):
        return softmax(scores) - self.onehot(scores, target) * (target != self.ignore_index)[:, None]

    def factor(self, w, keep):
        return w


class WeightsForgotten(CrossEntropy):
    def factor(self, w, keep):
        return keep * 1.0


class LabelNotTakenOff(CrossEntropy):
    def error(self, scores, target):
        return softmax(scores)


class SoftmaxMissing(CrossEntropy):
    def error(self, scores, target):
        return scores - self.onehot(scores, target)


class MSE(Loss):
    """gradient(difference) is what backward makes of scores - target, before dvalue."""

    def __init__(self, gradient):
        self.gradient = gradient

    def config(self):
        return ""

    def forward(self, scores, target):
        return float(np.square(scores - target).mean()), scores - target

    def backward(self, saved, dvalue=1.0):
        return dvalue * self.gradient(saved)


class DvalueIgnored(MSE):
    def backward(self, saved, dvalue=1.0):
        return self.gradient(saved)


class L1(MSE):
    def forward(self, scores, target):
        return float(np.abs(scores - target).mean()), scores - target


class L1Sum(MSE):
    def forward(self, scores, target):
        return float(np.abs(scores - target).sum()), scores - target


# ------------------------------------------------------------------ combinators


class Add(Branches):
    """The right one: Σ f_i(x)."""

    def forward(self, x):
        results = [layer.forward(x) for layer in self]
        return sum(y for y, _ in results), [saved for _, saved in results]

    def backward(self, dy, saved):
        return sum(self.returned(dy, saved))

    def returned(self, dy, saved):
        return [layer.backward(dy, record) for layer, record in zip(self, saved, strict=True)]


class AddForgets(Add):
    """One branch's dx is left out of the sum."""

    def backward(self, dy, saved):
        return self.returned(dy, saved)[0]


class AddNeverCalls(Add):
    def returned(self, dy, saved):
        return [self[0].backward(dy, saved[0])]


class AddHalves(Add):
    """Shares dy out, as if the sum were a mean."""

    def returned(self, dy, saved):
        return [layer.backward(dy / 2, record) for layer, record in zip(self, saved, strict=True)]


class AddDoubles(Add):
    def backward(self, dy, saved):
        return 2 * super().backward(dy, saved)


class AddOdd(Add):
    """f_0(x) + 2*f_1(x), where backward knows nothing of the 2."""

    def forward(self, x):
        (a, first), (b, second) = (layer.forward(x) for layer in self)
        return a + 2 * b, [first, second]


class Join(Branches):
    """Concat, but the parts of dy are handed out the wrong way round."""

    def forward(self, x):
        results = [layer.forward(x) for layer in self]
        return np.concatenate([y for y, _ in results], axis=1), [saved for _, saved in results]

    def backward(self, dy, saved):
        first, second = np.split(dy, 2, axis=1)
        return self[0].backward(second, saved[0]) + self[1].backward(first, saved[1])


class Multiply(Add):
    """f_0(x) * f_1(x), with the backward pass of a sum."""

    def forward(self, x):
        (a, first), (b, second) = (layer.forward(x) for layer in self)
        return a * b, [first, second]


class ChainSideways(Branches):
    """One after the other, but every layer is given the dy of the last one."""

    def forward(self, x):
        records = []
        for layer in self:
            x, saved = layer.forward(x)
            records.append(saved)
        return x, records

    def backward(self, dy, saved):
        for layer, record in zip(self, saved, strict=True):
            dx = layer.backward(dy, record)
        return dx


class ChainOfFirst(ChainSideways):
    """Returns what the wrong layer returned."""

    def backward(self, dy, saved):
        first = dy
        for layer, record in zip(reversed(list(self)), reversed(saved), strict=True):
            dy = layer.backward(dy, record)
            first = dy if layer is self[-1] else first
        return first


class Twice(Branches):
    """The same layer twice, one after the other; the second backward is forgotten."""

    def forward(self, x):
        y, first = self[0].forward(x)
        y, second = self[0].forward(y)
        return y, [first, second]

    def backward(self, dy, saved):
        return self[0].backward(dy, saved[1])


# ------------------------------------------------------------------ the contract


class Scale(Layer):
    """The right one: y = w * x, with one number w; subclasses break one promise each."""

    def __init__(self):
        self.w = Parameter(np.full(1, 3.0))

    def forward(self, x):
        return self.w.value * x, x

    def backward(self, dy, x):
        self.w.grad += (dy * x).sum()
        return self.w.value * dy


class ChangesX(Scale):
    def forward(self, x):
        y, before = self.w.value * x, x.copy()
        x *= 2
        return y, before


class ChangesWeight(Scale):
    def forward(self, x):
        y = self.w.value * x
        self.w.value += 1e-3
        return y, x


class ChangesDy(Scale):
    def backward(self, dy, x):
        self.w.grad += (dy * x).sum()
        dy *= self.w.value
        return dy


class ChangesSaved(Scale):
    """Two steps of the record are added up in place."""

    def forward(self, x):
        return self.w.value * x, {"x": x.copy(), "steps": [np.zeros(1)]}

    def backward(self, dy, saved):
        saved["steps"][0] += 1
        return super().backward(dy, saved["x"])


class ChangesWeightBackwards(Scale):
    def backward(self, dy, x):
        dx = super().backward(dy, x)
        self.w.value -= 0.1 * self.w.grad
        return dx


class Remembers(Scale):
    """Keeps x in self."""

    def forward(self, x):
        self.x = x
        return self.w.value * x, None

    def backward(self, dy, saved):
        return super().backward(dy, self.x)


class UsesUp(Scale):
    """Throws the record away after use."""

    def forward(self, x):
        return self.w.value * x, [x]

    def backward(self, dy, saved):
        return super().backward(dy, saved.pop())


class Alternates(Scale):
    def backward(self, dy, x):
        self.sign = -getattr(self, "sign", 1)
        return super().backward(dy, x) * self.sign


class Doubles(Scale):
    """Adds twice where the gradient is not zero yet."""

    def backward(self, dy, x):
        self.w.grad += self.w.grad
        return super().backward(dy, x)


class Random(Scale):
    def forward(self, x):
        return self.w.value * x + np.random.default_rng().normal(size=x.shape), x


class SingleForward(Scale):
    def forward(self, x):
        return (self.w.value * x).astype(np.float32), x


class SingleBackward(Scale):
    def backward(self, dy, x):
        return super().backward(dy, x).astype(np.float32)


class SingleGrad(Scale):
    def backward(self, dy, x):
        dx = super().backward(dy, x)
        self.w.grad = self.w.grad.astype(np.float32)
        return dx


class Returns(Scale):
    """backward returns what `make` makes of dx."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def backward(self, dy, x):
        return self.make(super().backward(dy, x))
