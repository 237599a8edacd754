"""Optimisers: what turns gradients into better weights.

    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for x, target in batches:
        scores, saved = net.forward(x)
        value, loss_saved = loss.forward(scores, target)
        net.backward(loss.backward(loss_saved), saved)  # adds dL/dw to every Parameter's grad
        optimizer.step()                                # changes every Parameter's value, in place
        optimizer.zero_grad()

The arithmetic itself is two kernel ops, `sgd_update` and `adam_update`; an optimiser checks the numbers, keeps the
buffers that remember earlier gradients, and saves and loads them.
"""

import math

import numpy as np

from kernels import ShapeError, ops_for, to_host

from .core import Parameter, check_array, check_int, check_number

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "clip_grad_norm"]


class Optimizer:
    """Base of all optimisers. A subclass names its `buffers` and defines `update`; everything else works by itself.

    Parameters
        params: the Parameters to train, `net.parameters()`; one that comes twice is stepped once
        lr: the learning rate, at least 0; may be set at any time, which is what schedules do
        buffers: names of the arrays to keep for each Parameter, zero at the start

    The buffers have the dtype that the Parameters have now: convert a net (`net.astype`) before making its optimiser.

    Raises ValueError for an empty list or a bad number, TypeError for what isn't a Parameter.

    >>> class SignDescent(Optimizer):
    ...     def update(self, parameter):
    ...         parameter.value[:] -= self.lr * np.sign(parameter.grad)
    >>> p = Parameter(np.array([1.0, 2.0]))
    >>> p.grad += [0.3, -7]
    >>> SignDescent([p], lr=0.5).step()
    >>> p.value
    array([0.5, 2.5])
    """

    def __init__(self, params, lr, buffers=()):
        self.params = check_params(type(self).__name__, params)
        self.lr = lr
        self.step_count = 0
        self.devices = [p.place for p in self.params]  # where they were when the buffers were made
        self.targets = runs(self.params, buffers)
        self.buffers = {name: [None] * len(self.params) for name in buffers}
        for target in self.targets:
            for name, array in zip(buffers, target.buffers, strict=True):
                for i, view in target.views(array):
                    self.buffers[name][i] = view

    @property
    def lr(self):
        return self._lr

    @lr.setter
    def lr(self, lr):
        self._lr = self._number("lr", lr, low=0)

    def update(self, parameter, *buffers):
        """Change one Parameter's value, and its buffers, in place.

        On the GPU it is called once for all Parameters that lie side by side in memory, with one that stands for them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def step(self):
        """Take one step with the gradients that the backward passes have added up.

        Nothing is changed unless every gradient fits its value.
        """
        for i, parameter in enumerate(self.params):
            if parameter.place is not self.devices[i]:
                raise TypeError(
                    f"{type(self).__name__} was made before parameter {i} of shape {parameter.shape} was moved to its "
                    f"device ({parameter.device}); call net.to before making the optimiser"
                )
            if getattr(parameter.grad, "shape", None) != parameter.shape:
                got = getattr(parameter.grad, "shape", type(parameter.grad).__name__)
                raise ShapeError(
                    f"{type(self).__name__}: the gradient of parameter {i} is {got}, expected an array of shape "
                    f"{parameter.shape}; backward passes must add to it: parameter.grad += ..."
                )
        for arrays in self.buffers.values():
            for i, (array, parameter) in enumerate(zip(arrays, self.params, strict=True)):
                if array.dtype != parameter.dtype:
                    raise TypeError(
                        f"{type(self).__name__} was made for {array.dtype} parameters, but parameter {i} of shape "
                        f"{parameter.shape} is {parameter.dtype} now; call net.astype before making the optimiser"
                    )
        self.step_count += 1
        for target in self.targets:
            self.update(target, *target.buffers)

    def zero_grad(self):
        """Set all gradients to zero: backward passes only ever add."""
        for parameter in self.params:
            parameter.zero_grad()

    def state_dict(self):
        """What the next steps depend on, besides the Parameters and the constructor's arguments.

        "step" and "lr" are plain numbers, "velocity.0" (buffer name, position of the Parameter) copies of arrays.
        """
        state = {"step": self.step_count, "lr": self.lr}
        for name, arrays in self.buffers.items():
            state.update({f"{name}.{i}": to_host(array) for i, array in enumerate(arrays)})
        return state

    def load_state_dict(self, state):
        """Take over a `state_dict`; steps then continue as if they had never stopped, to the last bit.

        Nothing is changed unless everything fits: KeyError for missing or unknown names, ShapeError for a buffer of
        another shape, ValueError or TypeError for a bad number or array. Arrays are converted to the buffers' dtype.
        """
        mine = {f"{name}.{i}": array for name, arrays in self.buffers.items() for i, array in enumerate(arrays)}
        check_names(self, ["step", "lr", *mine], state)
        step = check_int(f"{type(self).__name__}: step", state["step"], 0)
        lr = self._number("lr", state["lr"], low=0)
        for name, array in mine.items():
            if check_array(state[name], f"{type(self).__name__}: {name}").shape != tuple(array.shape):
                raise ShapeError(
                    f"{type(self).__name__} can't load this state: {name} is {state[name].shape}, "
                    f"expected {tuple(array.shape)}; it belongs to another net"
                )
        for name, array in mine.items():
            ops_for(array).assign(array, state[name].astype(array.dtype))
        self.step_count, self.lr = step, lr

    def _number(self, name, value, high=math.inf, open_high=True, **bounds):
        """A finite number within the bounds; the error names this optimiser."""
        return check_number(f"{type(self).__name__}: {name}", value, high=high, open_high=open_high, **bounds)


# ------------------------------------------------------------------ what is updated at once


class Single:
    """One Parameter, number i of an optimiser's, with buffers of zeros."""

    def __init__(self, i, parameter, buffers):
        self.i, self.parameter = i, parameter
        self.buffers = [ops_for(parameter.value).zeros_like(parameter.value) for _ in buffers]

    @property
    def value(self):
        return self.parameter.value

    @property
    def grad(self):
        return self.parameter.grad

    def views(self, array):
        """(i, its part of a buffer)."""
        yield self.i, array


class Run:
    """Parameters on the GPU whose values lie side by side in one Storage, as if they were one long Parameter."""

    def __init__(self, members, buffers):
        self.members = members  # [(i, Parameter)]
        first, last = members[0][1].place, members[-1][1].place
        part = slice(first.start, last.stop)
        self.value, self.grads = first.storage.values[part], first.storage.grads[part]
        self.buffers = [ops_for(self.value).zeros_like(self.value) for _ in buffers]

    @property
    def grad(self):
        for _, parameter in self.members:
            parameter.grad  # noqa: B018  # zeros are written there if no backward pass has added anything
        return self.grads

    def views(self, array):
        """(i, its part of a buffer) of each Parameter."""
        begin = self.members[0][1].place.start
        for i, parameter in self.members:
            start = parameter.place.start - begin
            yield i, array[start : start + parameter.size].reshape(parameter.shape)


def runs(params, buffers):
    """What to update, with buffers of these names: a Single for each Parameter on the host, Runs on the GPU."""
    found, run = [], []
    for i, parameter in enumerate(params):
        place = parameter.place
        if place is None:
            found.append(Single(i, parameter, buffers))
            continue
        before = run[-1][1].place if run else None
        if before is not None and (before.storage, before.stop) != (place.storage, place.start):
            found.append(Run(run, buffers))
            run = []
        run.append((i, parameter))
    return [*found, Run(run, buffers)] if run else found


# ------------------------------------------------------------------ gradient descent


class SGD(Optimizer):
    """Gradient descent: go a small step against the gradient, with momentum also along the earlier steps.

        g        = grad + weight_decay * value      (the gradient of the loss + weight_decay/2 * Σ value²)
        velocity = momentum * velocity + g          (g itself at the first step)
        value    = value - lr * velocity            (nesterov: lr * (g + momentum * velocity))

    "Stochastic" because the gradient comes from a random batch. The velocity is a sum of past gradients, weighted by
    momentum^age: what they agree on adds up, to at most 1/(1 - momentum) times one gradient; what alternates cancels.
    Nesterov's variant applies the velocity one step early, which brakes sooner where the slope turns.

    Parameters
        params: `net.parameters()`
        lr: learning rate, at least 0
        momentum: at least 0; usual is 0.9
        weight_decay: strength of the pull of all values towards 0, at least 0
        nesterov: needs momentum

    Raises ValueError or TypeError for a bad argument.
    Source: Sutskever et al., On the importance of initialization and momentum in deep learning (2013), with PyTorch's
    arrangement, in which lr multiplies the velocity when it is used and not when it is built.

    >>> p = Parameter(np.array([1.0]))
    >>> optimizer = SGD([p], lr=0.1, momentum=0.9)
    >>> for _ in range(3):
    ...     p.grad = np.array([1.0])
    ...     optimizer.step()
    ...     print(round(float(p.value[0]), 3))
    0.9
    0.71
    0.439
    """

    def __init__(self, params, lr, momentum=0, weight_decay=0, nesterov=False):
        self.momentum = self._number("momentum", momentum, low=0)
        self.weight_decay = self._number("weight_decay", weight_decay, low=0)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov=True needs momentum, got momentum=0; use for example momentum=0.9")
        super().__init__(params, lr, buffers=("velocity",) if self.momentum else ())

    def update(self, parameter, velocity=None):
        ops_for(parameter.value).sgd_update(
            parameter.value, parameter.grad, velocity, self.lr, self.momentum, self.weight_decay, self.nesterov
        )


# ------------------------------------------------------------------ a step size for every weight


class Adam(Optimizer):
    """Steps of about lr for every weight, whether its gradients are large or small.

        g = grad + weight_decay * value
        m = beta1 * m + (1 - beta1) * g                      (running mean of the gradient)
        v = beta2 * v + (1 - beta2) * g²                     (running mean of its square)
        value = value - lr * m^ / (sqrt(v^) + eps),  m^ = m/(1 - beta1^t),  v^ = v/(1 - beta2^t),  t = 1, 2, ...

    m and v start at 0, and the divisions take that pull towards 0 out again. Where gradients keep their sign,
    m^/sqrt(v^) is about ±1; where they are mostly noise it is near 0. eps is outside the root: a gradient of just eps
    moves its weight by lr/2.

    Parameters
        params: `net.parameters()`
        lr: learning rate, at least 0
        betas: (beta1, beta2), each in [0, 1): how much of the running means is kept at each step
        eps: greater than 0; keeps the step finite where the gradient is 0
        weight_decay: at least 0; enters the gradient, and so is divided by sqrt(v^) with it (see AdamW)

    Raises ValueError or TypeError for a bad argument.
    Source: Kingma and Ba, Adam: a method for stochastic optimization (2015), algorithm 1.

    >>> p = Parameter(np.array([1.0, 1.0]))
    >>> p.grad += [1000, -1e-8]
    >>> Adam([p], lr=0.1).step()
    >>> p.value
    array([0.9 , 1.05])
    """

    decoupled = False  # where the weight decay goes: into the gradient

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0):
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"{type(self).__name__}: betas must be two numbers (beta1, beta2), got {betas!r}")
        self.betas = tuple(self._number(f"beta{i}", beta, low=0, high=1) for i, beta in enumerate(betas, 1))
        self.eps = self._number("eps", eps, low=0, open_low=True)
        self.weight_decay = self._number("weight_decay", weight_decay, low=0)
        super().__init__(params, lr, buffers=("m", "v"))

    def update(self, parameter, m, v):
        options = self.lr, *self.betas, self.eps, self.weight_decay, self.decoupled
        ops_for(parameter.value).adam_update(parameter.value, parameter.grad, m, v, self.step_count, *options)


class AdamW(Adam):
    """Adam with the weight decay taken out of the gradient: first value = value * (1 - lr * weight_decay), then Adam.

    In Adam the decay is divided by sqrt(v^) like everything in the gradient, so that weights with large gradients
    hardly decay. Here all weights decay at the same rate.

    Parameters and errors as for Adam; weight_decay is 0.01 if not given.
    Source: Loshchilov and Hutter, Decoupled weight decay regularization (2019), algorithm 2, with PyTorch's reading
    of the decay as lr * weight_decay.

    >>> p = Parameter(np.array([1.0]))  # its gradient is 0: only the decay acts
    >>> AdamW([p], lr=0.1, weight_decay=0.5).step()
    >>> p.value
    array([0.95])
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay)


# ------------------------------------------------------------------ keeping steps small


def clip_grad_norm(params, max_norm):
    """Scale all gradients, in place, so that together they are no longer than max_norm; returns the length before.

        norm = sqrt(Σ grad²) over all Parameters (summed in float64);  grad *= min(1, max_norm/(norm + 1e-6))

    The direction stays the same, so a single bad batch can't throw the weights far away. Call it between backward and
    step. max_norm is greater than 0; inf only measures.

    A norm of inf turns the infinite gradients into NaN and the others into 0, a norm of NaN turns all into NaN, as in
    PyTorch: test the returned number (`math.isfinite`) before you step.

    Raises ValueError for max_norm <= 0 or no parameters, TypeError for what isn't a Parameter.
    Source: Pascanu, Mikolov and Bengio, On the difficulty of training recurrent neural networks (2013), algorithm 1.

    >>> p = Parameter(np.zeros(2))
    >>> p.grad += [3, 4]
    >>> clip_grad_norm([p], max_norm=1.0)
    5.0
    >>> p.grad.round(3)
    array([0.6, 0.8])
    """
    params = check_params("clip_grad_norm", params)
    max_norm = check_number("max_norm", max_norm, low=0, open_low=True)
    ops = ops_for(params[0].value)
    with np.errstate(over="ignore", invalid="ignore"):  # the norm may be inf, and inf * 0 is NaN, as documented
        norm = math.sqrt(ops.sum_of_squares([parameter.grad for parameter in params]))
        factor = float(np.minimum(1.0, max_norm / (norm + 1e-6)))  # np.minimum keeps NaN, min would not
        for parameter in params:
            ops.scale(parameter.grad, factor)
    return norm


# ------------------------------------------------------------------ checks


def check_params(owner, params):
    """The Parameters as a list, each once; `owner` is the name that errors give."""
    fix = "use net.parameters()"
    try:
        params = list(params)
    except TypeError:
        raise TypeError(f"{owner}: params must be a list of Parameters, got {type(params).__name__}; {fix}") from None
    for i, parameter in enumerate(params):
        if not isinstance(parameter, Parameter):
            raise TypeError(f"{owner}: params[{i}] is a {type(parameter).__name__}, expected a Parameter; {fix}")
    if not params:
        raise ValueError(f"{owner}: params is empty, there is nothing to train; {fix} of a net that has some")
    return list(dict.fromkeys(params))


def check_names(owner, expected, state):
    """Raise KeyError unless the keys of `state` are exactly the expected ones."""
    missing, unknown = [n for n in expected if n not in state], [n for n in state if n not in expected]
    if missing or unknown:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"unknown {', '.join(map(str, unknown))}"] if unknown else []
        raise KeyError(f"{type(owner).__name__} can't load this state: {'; '.join(parts)}")
