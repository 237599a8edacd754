"""What a solution leaves behind in the arrays that it has to change: gradients added to, buffers of an optimiser."""

import numpy as np

from ..core import Parameter
from .kinds import gradient_name, prepare


def replaced_gradients(layer, case):
    """The gradients, by the names that results have, that a second backward pass replaces instead of adding to them.

    One that is zero, or that nothing was added to, is not among them.
    """
    prepare(layer, case)
    layer.zero_grad()
    after = []
    for _ in range(2):
        _, saved = layer.forward(case.x.copy())
        layer.backward(case.dy.copy(), saved)
        after.append({gradient_name(name): np.array(p.grad) for name, p in layer.named_parameters()})
    once, twice = after
    return {name for name, grad in once.items() if grad.any() and np.array_equal(grad, twice[name])}


def untouched_buffers(make, case):
    """The names of an optimiser's buffers that are still zero after a step, though no gradient was."""
    parameters = [Parameter(np.array(value, np.float64)) for value in case.start]
    optimiser = make(parameters)
    for parameter in parameters:
        parameter.grad = np.ones_like(parameter.value)
    optimiser.step()
    return [name for name, arrays in optimiser.buffers.items() if not any(array.any() for array in arrays)]
