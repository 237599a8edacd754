"""Layer and Parameter: the contract that every layer, combinator and net keeps.

    y, saved = layer.forward(x)       saved is a NamedTuple with exactly what the chain rule will need
    dx = layer.backward(dy, saved)    adds dL/dw to the grad of each Parameter, returns dL/dx

Nothing that was received, returned or saved is ever modified, and a layer keeps no memory of a forward pass: so it can
be used twice in a net, and everything that happened can be looked at afterwards.
"""

import contextlib
import functools
import inspect
import math

import numpy as np

from kernels import ShapeError, check_device_name, device_of, is_device_array, ops_for, to_device, to_host


class Parameter:
    """A trainable array `value`, and `grad` of the same shape, into which backward passes add.

    On the GPU both are parts of large arrays that hold those of the whole net (`to`, `Storage`), so that an optimiser
    updates all parameters at once.

    >>> p = Parameter(np.ones(3, np.float32))
    >>> p.grad += 2
    >>> p.zero_grad()
    >>> p
    Parameter(shape=(3,), dtype=float32)
    """

    def __init__(self, value):
        self._value = check_array(value, "a parameter's value").copy()  # its own: optimisers change it in place
        self.place = None  # in a Storage, if it is on the GPU
        self.zero_grad()

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        """Replace the elements by those of another array, which must have the same shape and dtype.

        A NumPy array will do whatever the device; it is copied there.
        """
        value = check_array(value, "a parameter's value")
        if value.shape != self.shape:
            raise ShapeError(f"the value of a parameter of shape {self.shape} can't become one of {value.shape}")
        if value.dtype != self.dtype:
            raise TypeError(f"the value of a {self.dtype} parameter can't become {value.dtype}; use net.astype")
        if self.place is None:
            self._value = to_host(value)
        else:
            ops_for(self._value).assign(self._value, value)

    @property
    def shape(self):
        return tuple(self._value.shape)

    @property
    def dtype(self):
        return self._value.dtype

    @property
    def device(self):
        """Where it is: "cpu" or "cuda"."""
        return device_of(self._value)

    @property
    def size(self):
        return self._value.size

    @property
    def grad(self):
        """The sum of what backward passes have added since zero_grad; zeros if that is nothing."""
        if not self._has_grad:
            self.grad = ops_for(self._value).zeros_like(self._value)
        return self._grad

    @grad.setter
    def grad(self, grad):
        if self.place is None:
            self._grad = grad
        else:
            self._grad = self.place.view(self.place.storage.grads)
            ops_for(self._grad).assign(self._grad, grad)
        self._has_grad = True

    def zero_grad(self):
        self._grad, self._has_grad = None, False

    def add_grad(self, grad):
        """grad += this array, which must be new and of no further use to the caller.

        For the first one after zero_grad that is the array itself: nothing has to be added to zeros. (A view of another
        array, or one that can't be written to, is copied: it is somebody else's.)

        >>> p, dw = Parameter(np.ones(2)), np.array([3.0, 4.0])
        >>> p.add_grad(dw)
        >>> p.grad is dw
        True
        >>> p.add_grad(np.array([10.0, 10.0]))
        >>> p.grad
        array([13., 14.])
        """
        if self._has_grad or (tuple(grad.shape), grad.dtype) != (self.shape, self.dtype):
            ops_for(grad).add_into(self.grad, grad)
        elif self.place is None and isinstance(grad, np.ndarray):
            own = grad.flags.writeable and not (isinstance(grad.base, np.ndarray) and grad.base.size != grad.size)
            self.grad = grad if own else grad.copy()
        else:
            self.grad = grad

    def astype(self, dtype):
        """Convert value and grad in place. For one that is on the GPU see `Layer.astype`."""
        self._value, self.grad = self._value.astype(dtype), self.grad.astype(dtype)

    def __repr__(self):
        return f"Parameter(shape={self.shape}, dtype={self.dtype})"


class Storage:
    """All values of a net's parameters in one array on the GPU, and all gradients in another.

    Each begins at a multiple of ALIGNED elements, so that kernels can read several at once; the gaps stay 0.
    """

    ALIGNED = 64

    def __init__(self, parameters, device):
        starts, size = [], 0
        for parameter in parameters:
            starts.append(size)
            size += -(-parameter.size // self.ALIGNED) * self.ALIGNED
        flat = np.zeros((2, size), parameters[0].dtype)
        for parameter, start in zip(parameters, starts, strict=True):
            part = slice(start, start + parameter.size)
            flat[0, part], flat[1, part] = to_host(parameter.value).ravel(), to_host(parameter.grad).ravel()
        self.values, self.grads = (to_device(array, device) for array in flat)
        self.places = [Place(self, s, p.shape) for p, s in zip(parameters, starts, strict=True)]


class Place:
    """Where in a Storage a Parameter is: from `start` on to `stop`."""

    def __init__(self, storage, start, shape):
        self.storage, self.start, self.shape = storage, start, shape
        self.size = math.prod(shape)
        self.stop = start + -(-self.size // storage.ALIGNED) * storage.ALIGNED

    def view(self, array):
        """This Parameter's part of one of the Storage's arrays, or of one of the same length, in its own shape."""
        return array[self.start : self.start + self.size].reshape(self.shape)


def members(name, value, kind):
    """(dotted name, item) for each instance of `kind` that an attribute is or, as a list or dict, holds."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        yield from ((f"{name}.{key}", item) for key, item in items if isinstance(item, kind))


class Buffer:
    """An array attribute that belongs to a layer's state but is not trained, handled like a Parameter."""

    def __init__(self, layer, attribute):
        self.layer, self.attribute = layer, attribute

    @property
    def device(self):
        return device_of(self.value)

    @property
    def value(self):
        return getattr(self.layer, self.attribute)

    @value.setter
    def value(self, value):
        setattr(self.layer, self.attribute, value)

    def astype(self, dtype):
        self.value = self.value.astype(dtype)


class Layer:
    """Base of all layers. A subclass defines `forward` and `backward`; everything else works by itself.

    Parameters and sub-layers, also in lists and dicts, are found among the attributes, in the order they were set.
    Arrays that belong to the state but are not trained are named in `buffers`; any other plain array is nobody's
    business but the layer's own: it is neither trained nor saved.

    >>> class Double(Layer):
    ...     def forward(self, x):
    ...         return 2 * x, None
    ...     def backward(self, dy, saved):
    ...         return 2 * dy
    >>> Double()(np.ones(2))
    array([2., 2.])
    """

    buffers: tuple[str, ...] = ()
    training = True

    def forward(self, x):
        """Returns (y, saved)."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy, saved):
        """Adds to each Parameter's grad, returns dx."""
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name, wrap in {"__init__": named_init, "forward": _observed, "backward": _observed}.items():
            if name in vars(cls):
                setattr(cls, name, wrap(vars(cls)[name], name))

    def __call__(self, x):
        """y alone, with nothing kept for backward. For inference call net.eval() first."""
        return self.forward(x)[0]

    # ------------------------------------------------------------------ what is inside

    def children(self):
        """(name, layer) of each direct sub-layer."""
        for name, value in vars(self).items():
            yield from members(name, value, Layer)

    def named_layers(self, prefix=""):
        """(dotted name, layer) of this layer and all below it; a layer used twice comes once for each use."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_layers(f"{prefix}.{name}" if prefix else name)

    def _named_state(self):
        """(dotted name, Parameter or Buffer) of everything that belongs to the state, each once, in order."""
        seen = set()
        for prefix, layer in self.named_layers():
            for attribute, value in vars(layer).items():
                found = [(name, p, id(p)) for name, p in members(attribute, value, Parameter)]
                if attribute in layer.buffers and value is not None:
                    found = [(attribute, Buffer(layer, attribute), (id(layer), attribute))]
                for name, item, key in found:
                    if key not in seen:
                        seen.add(key)
                        yield f"{prefix}.{name}" if prefix else name, item

    def named_parameters(self):
        """(dotted name, Parameter) in order; a shared Parameter comes once, under its first name."""
        return ((name, item) for name, item in self._named_state() if isinstance(item, Parameter))

    def parameters(self):
        """All Parameters, each once: what an optimiser takes."""
        return [parameter for _, parameter in self.named_parameters()]

    # ------------------------------------------------------------------ state

    def train(self, mode=True):
        """Switch dropout and batch normalisation of all sub-layers to training (or with False to inference)."""
        for _, layer in self.named_layers():
            layer.training = bool(mode)
        return self

    def eval(self):
        """Switch to inference: dropout does nothing, batch normalisation uses its running statistics."""
        return self.train(False)

    def zero_grad(self):
        """Set the gradient of every Parameter to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def astype(self, dtype):
        """Convert all Parameters, gradients and buffers in place, to float32 or float64. Returns self."""
        dtype, device = check_float(dtype), self.device
        self.to("cpu")
        for _, item in self._named_state():
            item.astype(dtype)
        return self.to(device)

    @property
    def device(self):
        """Where parameters and buffers are: "cpu" or "cuda"."""
        return next((device_of(item.value) for _, item in self._named_state()), "cpu")

    def to(self, device):
        """Move all Parameters, gradients and buffers to a device, "cpu" or "cuda". Returns self.

        Make the optimiser afterwards. ValueError for an unknown device, DeviceError that says what is missing
        where there is no GPU.
        """
        devices = {device_of(item.value) for _, item in self._named_state()}
        if devices <= {check_device_name(device)}:
            return self
        parameters = self.parameters()
        if len({parameter.dtype for parameter in parameters}) > 1:
            raise TypeError("the net's parameters are float32 and float64; call net.astype first")
        if device == "cpu":
            for parameter in parameters:
                value, grad = to_host(parameter.value), to_host(parameter.grad)
                parameter.place = None
                parameter._value, parameter.grad = value, grad
        elif parameters:
            storage = Storage(parameters, device)
            for parameter, place in zip(parameters, storage.places, strict=True):
                parameter.place, parameter._value = place, place.view(storage.values)
                parameter._grad, parameter._has_grad = place.view(storage.grads), True
        for _, item in self._named_state():
            if isinstance(item, Buffer):
                item.value = to_device(item.value, device)
        return self

    def state_dict(self):
        """Copies of all parameter values and buffers, by dotted name: NumPy arrays, whatever the device."""
        return {name: to_host(item.value) for name, item in self._named_state()}

    def load_state_dict(self, state, strict=True):
        """Take over the arrays of a `state_dict`. Nothing is changed unless everything fits.

        With strict=True missing and unknown names are an error (KeyError); shapes must always agree (ShapeError).
        Values are converted to this net's dtype. Returns (missing names, unknown names).
        """
        mine = dict(self._named_state())
        missing, unknown = [n for n in mine if n not in state], [n for n in state if n not in mine]
        if strict and (missing or unknown):
            parts = [f"missing {', '.join(missing)}"] if missing else []
            parts += [f"unknown {', '.join(unknown)}"] if unknown else []
            raise KeyError(f"{self.label()} can't load this state: {'; '.join(parts)} (strict=False ignores them)")
        wrong = []
        for name, item in mine.items():
            if name in state and np.shape(state[name]) != tuple(item.value.shape):
                wrong.append(f"{name} is {np.shape(state[name])}, expected {tuple(item.value.shape)}")
        if wrong:
            raise ShapeError(f"{self.label()} can't load this state: {'; '.join(wrong)}")
        state = {name: to_host(array) if is_device_array(array) else array for name, array in state.items()}
        arrays = {name: np.array(state[name], item.value.dtype) for name, item in mine.items() if name in state}
        for name, array in arrays.items():
            item = mine[name]
            item.value = array if isinstance(item, Parameter) else to_device(array, item.device)
        return missing, unknown

    # ------------------------------------------------------------------ for backward passes

    def check_saved(self, saved, kind):
        """The record itself, if it is the `kind` that this layer's forward returns; otherwise a TypeError."""
        if not isinstance(saved, kind):
            raise TypeError(
                f"backward got a {type(saved).__name__} as its saved record, expected the {kind.__name__} that "
                f"forward returned: y, saved = layer.forward(x); dx = layer.backward(dy, saved)"
            )
        return saved

    # ------------------------------------------------------------------ showing

    def config(self):
        """The constructor's arguments as text, for print(net)."""
        return ""

    def label(self):
        """Name and configuration in one line: Conv2d(3, 16, kernel_size=3)."""
        return f"{type(self).__name__}({self.config()})"

    def multiply_adds(self, x_shape, y_shape):
        """Multiply-adds of one forward pass, as papers count them: those of convolutions and matrix products."""
        return 0

    def summary(self, input_shape):
        """A table of layers, output shapes, parameters, multiply-adds and activation memory, from one run on zeros.

        See `minisegnet.summary.Summary`; print it or look at its `rows`.
        """
        from .summary import summarise

        return summarise(self, input_shape)

    def __repr__(self):
        lines = [f"({name}): {child!r}" for name, child in self.children()]
        if not lines:
            return self.label()
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}({self.config()}\n  {body}\n)"


# ------------------------------------------------------------------ watching and naming

_watchers = []


@contextlib.contextmanager
def watch(callback):
    """Within a `with` block, call `callback(layer, pass_, inputs, result)` after every forward and backward pass.

    pass_ is "forward" (inputs (x,), result (y, saved)) or "backward" (inputs (dy, saved), result dx). Sub-layers are
    reported before the layer that contains them.

    >>> from minisegnet.layers import ReLU
    >>> with watch(lambda layer, pass_, inputs, result: print(pass_, layer)):
    ...     y = ReLU()(np.ones(2))
    forward ReLU()
    """
    _watchers.append(callback)
    try:
        yield
    finally:
        _watchers.remove(callback)


def is_watched():
    """Whether any `watch` is active."""
    return bool(_watchers)


def _observed(method, name):
    """Wrap a forward or backward: report it to watchers, and put the layer's name in front of an error's text."""

    @functools.wraps(method)
    def call(self, *inputs, **named):
        if getattr(type(self), name) is not call:
            return method(self, *inputs, **named)  # reached through super(): the subclass's own pass is observed
        try:
            if named or not inputs:
                inputs = inspect.signature(method).bind(self, *inputs, **named).args[1:]
            check_inputs(name, *inputs)
            result = method(self, *inputs)
        except (ValueError, TypeError, IndexError) as error:
            name_error(error, self)
            raise
        for watcher in tuple(_watchers):
            watcher(self, name, inputs, result)
        return result

    return call


def named_init(method, name="__init__"):
    """Wrap an __init__: put the class in front of an error's text: "Conv2d: stride must be at least 1, got 0"."""

    @functools.wraps(method)
    def call(self, *args, **kwargs):
        try:
            method(self, *args, **kwargs)
        except (ValueError, TypeError) as error:
            if not hasattr(error, "named"):  # else by a layer that this one was building
                error.named = True
                error.args = (f"{type(self).__name__}: {error}",)
            raise

    return call


def name_error(error, layer):
    """Make the error's text say which layer failed: "encoder.2 Conv2d(3, 16, ...): x has shape ...".

    Called for the failing layer first, then for each layer around it, so that the path grows from the inside.
    """
    if not hasattr(error, "failed"):
        error.failed, error.path, error.text = layer, (), str(error)
        error.inner = layer
    elif error.inner is not layer:
        name = next((name for name, child in layer.children() if child is error.inner), type(error.inner).__name__)
        error.path, error.inner = (name, *error.path), layer
    where = f"{'.'.join(error.path)} " if error.path else ""
    error.args = (f"{where}{error.failed.label()}: {error.text}",)


def arrays_in(record):
    """All arrays in nested tuples, lists and dicts, such as a saved record."""
    if isinstance(record, np.ndarray) or is_device_array(record):
        return [record]
    items = record.values() if isinstance(record, dict) else record if isinstance(record, (tuple, list)) else ()
    return [array for item in items for array in arrays_in(item)]


# ------------------------------------------------------------------ checks


def check_inputs(name, array, *_):
    """Raise TypeError unless the first argument of a forward or backward pass is a floating-point array."""
    try:
        ops_for(array)
    except TypeError as error:
        raise TypeError(f"{error} (this was given as {'x' if name == 'forward' else 'dy'})") from None
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(
            f"{name} got {array.dtype} values, expected float32 or float64; "
            f"convert them: x.astype(np.float32) (and pictures to 0..1: x / 255)"
        )


def check_array(value, name):
    """The value itself, if it is an array of float32 or float64."""
    if not isinstance(value, np.ndarray) and not is_device_array(value):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    check_float(value.dtype)
    return value


def check_float(dtype):
    """np.dtype of float32 or float64; otherwise a TypeError."""
    dtype = np.dtype(dtype)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 (to train) or float64 (to check), got {dtype}")
    return dtype


def check_int(name, value, minimum=1):
    """A Python int of at least `minimum`; TypeError or ValueError otherwise."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {brief(value)}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def check_number(name, value, low=None, high=None, open_low=False, open_high=False):
    """A Python float within the bounds, which are part of the range unless open; NaN is outside of any range."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number, got {brief(value)}")
    above = low is None or (value > low if open_low else value >= low)
    below = high is None or (value < high if open_high else value <= high)
    if not (above and below and value == value):
        left = "(-inf" if low is None else f"{'(' if open_low else '['}{low:g}"
        right = "inf)" if high is None else f"{high:g}{')' if open_high else ']'}"
        raise ValueError(f"{name} must be in {left}, {right}, got {value}")
    return float(value)


def check_dim(dim):
    """An axis number, negative ones counting from the end, as an int."""
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
        raise TypeError(f"dim must be an integer, got {dim!r}")
    return int(dim)


def check_axis(x, dim):
    """Raise ShapeError unless x has an axis `dim`."""
    if not -x.ndim <= dim < x.ndim:
        raise ShapeError(f"x has shape {x.shape}, expected one with an axis {dim}")


def brief(value):
    """repr of a value for an error's text; of a large array its shape."""
    is_large = isinstance(value, np.ndarray) and value.size > 4
    return f"an array of shape {value.shape}" if is_large else repr(value)


def as_rng(rng):
    """A numpy.random.Generator from a seed, a Generator, or None (then a fresh, unpredictable one).

    One Generator passed to several layers gives each of them other numbers; one seed gives all the same.
    """
    text = f"rng must be a seed (an integer of at least 0), a numpy.random.Generator or None, got {rng!r}"
    if isinstance(rng, (bool, float)):
        raise TypeError(text)
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(text) from None
