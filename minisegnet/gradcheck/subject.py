"""What is being checked: a float64 copy of a layer or loss, its input, a random dy and the gradients it claims."""

import contextlib
import copy

import numpy as np

from ..core import Layer, as_rng, watch
from ..losses import Loss


class LossPasses:
    """The two passes of a loss in the form that a layer's have.

    They are no methods of LossAsLayer itself: a layer puts its name in front of errors, and the loss did so already.
    """

    def forward(self, x):
        value, saved = self.loss.forward(x, self.target)
        return np.asarray(value, np.float64), saved

    def backward(self, dy, saved):
        return self.loss.backward(saved, dy if dy.ndim else float(dy))


class LossAsLayer(LossPasses, Layer):
    """A loss and its target, seen as a layer from scores to the loss value."""

    def __init__(self, loss, target):
        self.loss, self.target = loss, in_float64(target)

    def label(self):
        return self.loss.label()


def in_float64(target):
    """The target with its floating-point arrays in float64; labels, None and numbers stay as they are."""
    if isinstance(target, tuple):
        return tuple(in_float64(t) for t in target)
    return target.astype(np.float64) if isinstance(target, np.ndarray) and target.dtype.kind == "f" else target


class Subject:
    """The copy, with everything needed to run it again and again under the same conditions.

    Attributes
        layer, x, dy: the float64 copy, its input, the gradient fed into backward
        y, saved: what forward gave at x
        inputs: {id of a layer inside: the x that it was given}
        parameters: {name: Parameter}
        grads: {name: the gradient that backward claims}
    """

    def __init__(self, layer, x, target, rng):
        if isinstance(layer, Loss):
            layer = LossAsLayer(layer, target)
        elif target is not None:
            raise TypeError(f"target is for losses, but {layer!r} is none")
        if not isinstance(layer, Layer):
            hint = "; write ReLU(), not ReLU" if isinstance(layer, type) else ""
            raise TypeError(f"gradcheck takes a layer or a loss, got {layer!r}{hint}")
        self.layer = copy.deepcopy(layer).astype(np.float64)
        # A stream of its own: x may well come from the same seed, and dy must not be the same numbers again.
        self.label, self.rng = layer.label(), as_rng(rng).spawn(1)[0]
        self.x = np.array(x, np.float64)
        self.parameters = dict(self.layer.named_parameters())
        parts = [part for _, part in self.layer.named_layers()]
        generators = [v for part in parts for v in vars(part).values() if isinstance(v, np.random.Generator)]
        self.draws = [(g, g.bit_generator.state) for g in generators]
        named = [(part, name, getattr(part, name, None)) for part in parts for name in part.buffers]
        self.buffers = [(part, name, value.copy()) for part, name, value in named if value is not None]
        self.inputs = {}

    @property
    def tensors(self):
        """{"x": array, parameter name: array}: the live arrays, which a stencil may move and put back."""
        return {"x": self.x, **{name: p.value for name, p in self.parameters.items()}}

    def run(self):
        """The first forward and backward pass."""

        def note(layer, pass_, arguments, result):
            if pass_ == "forward":
                self.inputs.setdefault(id(layer), arguments[0])

        with watch(note):
            self.y, self.saved = self.forward()
        self.dy = self.random_dy()
        self.grads = self.backward(self.saved)

    def random_dy(self):
        """A gradient to feed into backward: no two entries alike.

        The value of a loss is usually a mean: dy is larger there, so that each dx is about 1 and not lost in atol.
        """
        if self.y.ndim:
            return self.rng.standard_normal(self.y.shape)
        return np.array(self.rng.uniform(1, 2) * max(1, self.x.size))

    def forward(self, x=None):
        """(y, saved) at x, with the same random draws (dropout) and running statistics each time."""
        for generator, state in self.draws:
            generator.bit_generator.state = state
        for part, name, value in self.buffers:
            setattr(part, name, value.copy())
        result = self.layer.forward(self.x.copy() if x is None else x)
        if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], np.ndarray)):
            raise TypeError(f"{self.label}: forward must return y, saved (an array and a record), got {result!r:.80}")
        return result

    def backward(self, saved):
        """{name: gradient} of a backward pass that starts from zero gradients."""
        self.layer.zero_grad()
        dx = self.add_backward(saved)
        return {"x": np.copy(dx) if isinstance(dx, np.ndarray) else dx, **self.parameter_grads()}

    def add_backward(self, saved):
        """dx of a backward pass that adds to the gradients; the weights stay as they are, whatever backward does."""
        with self.keeping_weights():
            return self.layer.backward(self.dy.copy(), saved)

    @contextlib.contextmanager
    def keeping_weights(self):
        """Puts back the values of all parameters at the end of a `with` block."""
        before = {name: p.value.copy() for name, p in self.parameters.items()}
        try:
            yield
        finally:
            for name, array in before.items():
                self.parameters[name].value[...] = array

    def parameter_grads(self):
        """{name: copy of the gradient that has accumulated}."""
        return {name: np.array(p.grad) for name, p in self.parameters.items()}
