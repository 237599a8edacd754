"""Activations: functions of each element by itself, and softmax, which looks at a whole axis."""

from typing import NamedTuple

import numpy as np

from kernels import ops_for

from ..core import Layer, check_axis, check_dim, check_number


class ReLUSaved(NamedTuple):
    y: np.ndarray  # y > 0 exactly where x > 0, and the next layer keeps y anyway: no memory of its own


class ReLU(Layer):
    """Rectified linear unit: a gate, open for positive values.

    Forward:   y = max(x, 0)
    Backward:  dx = dy where x > 0, else 0. At x = 0, where no derivative exists, 0 is taken. NaN stays NaN.

    Shapes: any; y as x. Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines (2010).

    >>> y, saved = ReLU().forward(np.array([-1.0, 0.0, 2.0]))
    >>> y, ReLU().backward(np.array([5.0, 6.0, 7.0]), saved)
    (array([0., 0., 2.]), array([0., 0., 7.]))
    """

    def forward(self, x):
        y = ops_for(x).relu_forward(x)
        return y, ReLUSaved(y)

    def backward(self, dy, saved):
        (y,) = self.check_saved(saved, ReLUSaved)
        return ops_for(dy).relu_backward(dy, y)  # forward: y = max(x, 0)


class LeakyReLUSaved(NamedTuple):
    x: np.ndarray


class LeakyReLU(Layer):
    """ReLU that lets a little of the negative side through, so that a unit never stops learning.

    Forward:   y = x where x > 0, else negative_slope * x
    Backward:  dx = dy where x > 0, else negative_slope * dy

    Shapes: any; y as x. Source: Maas et al., Rectifier nonlinearities improve neural network acoustic models (2013).

    >>> LeakyReLU(0.1)(np.array([-10.0, 2.0]))
    array([-1.,  2.])
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = check_number("negative_slope", negative_slope)

    def forward(self, x):
        return ops_for(x).leaky_relu_forward(x, self.negative_slope), LeakyReLUSaved(x)

    def backward(self, dy, saved):
        (x,) = self.check_saved(saved, LeakyReLUSaved)
        return ops_for(dy).leaky_relu_backward(dy, x, self.negative_slope)

    def config(self):
        return f"{self.negative_slope:g}"


class SigmoidSaved(NamedTuple):
    y: np.ndarray


class Sigmoid(Layer):
    """Logistic function: squeezes any number into 0..1.

    Forward:   y = 1 / (1 + exp(-x)), computed without overflow
    Backward:  dx = dy * y * (1 - y): at most a quarter of dy, which is why deep sigmoid nets learn slowly

    Shapes: any; y as x. Source: Bishop, Pattern Recognition and Machine Learning (2006), equation 4.88.

    >>> Sigmoid()(np.array([0.0, 1000.0]))
    array([0.5, 1. ])
    """

    def forward(self, x):
        y = ops_for(x).sigmoid_forward(x)
        return y, SigmoidSaved(y)

    def backward(self, dy, saved):
        (y,) = self.check_saved(saved, SigmoidSaved)
        return ops_for(dy).sigmoid_backward(dy, y)


class TanhSaved(NamedTuple):
    y: np.ndarray


class Tanh(Layer):
    """Hyperbolic tangent: squeezes any number into -1..1.

    Forward:   y = tanh(x)
    Backward:  dx = dy * (1 - y²)

    Shapes: any; y as x. Source: LeCun et al., Efficient BackProp (1998), section 4.4.

    >>> Tanh()(np.array([0.0, 1000.0]))
    array([0., 1.])
    """

    def forward(self, x):
        y = ops_for(x).tanh_forward(x)
        return y, TanhSaved(y)

    def backward(self, dy, saved):
        (y,) = self.check_saved(saved, TanhSaved)
        return ops_for(dy).tanh_backward(dy, y)


class SoftmaxSaved(NamedTuple):
    y: np.ndarray


class Softmax(Layer):
    """Turns scores along an axis into probabilities: positive, and summing to one.

    Forward:   y[c] = exp(x[c]) / Σ_k exp(x[k])
    Backward:  every y depends on every x of its axis, dy[k]/dx[c] = y[k] * ((k == c) - y[c]), so
               dx[c] = y[c] * (dy[c] - Σ_k dy[k] * y[k]); the dx of an axis sum to zero

    Shapes: any with an axis `dim` (1: the channels); y as x. To train, use CrossEntropyLoss on the scores instead: it
    has the softmax inside, and its gradient is simply p - onehot(target).
    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.

    >>> Softmax()(np.array([[0.0, np.log(3.0)]]))
    array([[0.25, 0.75]])
    """

    def __init__(self, dim=1):
        self.dim = check_dim(dim)

    def forward(self, x):
        check_axis(x, self.dim)
        y = ops_for(x).softmax_forward(x, self.dim)
        return y, SoftmaxSaved(y)

    def backward(self, dy, saved):
        (y,) = self.check_saved(saved, SoftmaxSaved)
        return ops_for(dy).softmax_backward(dy, y, self.dim)

    def config(self):
        return f"dim={self.dim}"


class LogSoftmaxSaved(NamedTuple):
    y: np.ndarray


class LogSoftmax(Layer):
    """Logarithm of the softmax, without the overflow that taking them one after the other would bring.

    Forward:   y[c] = x[c] - log Σ_k exp(x[k])
    Backward:  dx[c] = dy[c] - exp(y[c]) * Σ_k dy[k]

    Shapes: any with an axis `dim` (1: the channels); y as x. Source: as Softmax.

    >>> LogSoftmax()(np.array([[1000.0, 1000.0]])).round(4)
    array([[-0.6931, -0.6931]])
    """

    def __init__(self, dim=1):
        self.dim = check_dim(dim)

    def forward(self, x):
        check_axis(x, self.dim)
        y = ops_for(x).log_softmax_forward(x, self.dim)
        return y, LogSoftmaxSaved(y)

    def backward(self, dy, saved):
        (y,) = self.check_saved(saved, LogSoftmaxSaved)
        return ops_for(dy).log_softmax_backward(dy, y, self.dim)

    def config(self):
        return f"dim={self.dim}"
