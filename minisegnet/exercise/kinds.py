"""How a layer, a loss, an optimiser or a function is built and run in a case.

`run` returns the results by name, in the order in which they are looked at; `methods` are those that a
learner's file has to define itself.
"""

import copy

import numpy as np

from ..core import Layer, Parameter
from ..losses import Loss
from ..optim import Optimizer


def build(module, exercise, case):
    """The learner's layer, loss or optimiser for a case; a function is taken as it is."""
    made = getattr(module, exercise.subject)
    return exercise.kind.build(made, copy.deepcopy(case.arguments))


class OfLayer:
    """y, dx, then d + name for each parameter and the layer's buffers."""

    base, methods, first_axis = Layer, ("forward", "backward"), "plane"

    @staticmethod
    def build(made, arguments):
        return made(**arguments)

    @staticmethod
    def run(layer, case):
        prepare(layer, case)
        layer.zero_grad()
        for _ in range(case.passes):
            y, saved = unpack(layer.forward(case.x.copy()))
            # what forward returned is the next layer's to keep: a copy, whatever backward does to it
            results = {"y": np.copy(y), "dx": layer.backward(case.dy.copy(), saved)}
        grads = {gradient_name(name): np.array(p.grad) for name, p in layer.named_parameters()}
        buffers = {name: np.array(getattr(layer, name)) for name in layer.buffers if getattr(layer, name) is not None}
        return results | grads | buffers


def prepare(layer, case):
    """A layer in float64 with the case's values and mode."""
    layer.astype(np.float64)
    parameters = dict(layer.named_parameters())
    for name, value in case.values.items():
        if name in parameters:
            parameters[name].value = np.array(value, np.float64)
        else:
            setattr(layer, name, np.array(value, np.float64))
    layer.train(not case.eval)
    return layer


def gradient_name(name):
    """What the gradient of a parameter is called: dweight, d(inner.weight)."""
    return f"d({name})" if "." in name else "d" + name


def unpack(result):
    """y and saved, or a sentence about what forward should have returned."""
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(f"forward must return two things, y and saved, but returned {type(result).__name__}")
    return result


class OfLoss:
    """value, then d + the name of what goes in."""

    base, methods, first_axis = Loss, ("forward", "backward"), "plane"

    @staticmethod
    def build(made, arguments):
        return made(**arguments)

    @staticmethod
    def run(loss, case):
        value, saved = unpack(loss.forward(case.scores.copy(), case.target.copy()))
        return {"value": np.asarray(value, np.float64), "dscores": loss.backward(saved, case.dvalue)}


class OfOptimiser:
    """value after each step: (steps, parameters, numbers)."""

    base, methods, first_axis = Optimizer, ("update",), "step"

    @staticmethod
    def build(made, arguments):
        return lambda parameters: made(parameters, **arguments)

    @staticmethod
    def run(make, case):
        parameters = [Parameter(np.array(value, np.float64)) for value in case.start]
        optimiser, after = make(parameters), []
        for grads in case.grads:
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = np.array(grad, np.float64)
            optimiser.step()
            after.append([p.value.copy() for p in parameters])
        grads = np.array([p.grad for p in parameters])
        return {"value": np.array(after), "grad afterwards": grads}


class OfFunction:
    """gradient, and x as it is afterwards."""

    base, methods, first_axis = None, (), "plane"

    @staticmethod
    def build(made, arguments):
        return made

    @staticmethod
    def run(function, case):
        x = case.x.copy()
        return {"gradient": function(case.f, x, case.eps), "x afterwards": x}
