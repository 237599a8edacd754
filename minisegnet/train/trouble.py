"""What stops a run: requests to stop, a loss that explodes, memory that runs out. Each says where, and how to go on."""

import contextlib
import signal
import threading
import traceback

import numpy as np

from ..core import Layer


class TrainingError(RuntimeError):
    """A run that can't go on, though nothing is wrong with the program: a message is enough.

    >>> import kernels, tempfile
    >>> from minisegnet.train import Config, train
    >>> tiny = {"width": 2, "depth": 1}
    >>> config = Config(data="shapes:size=16,count=8", model="unet", model_settings=tiny, optimizer="sgd", lr=1e30)
    >>> with tempfile.TemporaryDirectory() as folder, kernels.use("reference"), np.errstate(all="ignore"):
    ...     try:
    ...         train(config, out=f"{folder}/first", quiet=True)
    ...     except TrainingError as error:
    ...         print(str(error).partition(";")[0])  # the rest says what is left, and what may help
    the loss is nan at step 2 (epoch 1)
    """

    expected = True


class Interrupted(RuntimeError):
    """The run was asked to stop, by Ctrl-C for example, and has saved where it is; `signal` is the signal's number.

    >>> raise Interrupted(signal.SIGINT, "runs/a/last.safetensors")
    Traceback (most recent call last):
        ...
    minisegnet.train.trouble.Interrupted: stopped as asked; `--resume` goes on from runs/a/last.safetensors
    """

    def __init__(self, signal, path):
        super().__init__(f"stopped as asked; `--resume` goes on from {path}")
        self.signal = signal


@contextlib.contextmanager
def stop_requests():
    """Within the block Ctrl-C, SIGTERM and SIGHUP (the terminal was closed) only ask to stop.

    The function that comes back gives the signal's number, or 0. The second signal, whichever it is, is not held back.
    One that was ignored before, as nohup does with SIGHUP, still is.
    """
    if threading.current_thread() is not threading.main_thread():  # the only one that can deal with signals
        yield lambda: 0
        return
    asked, before = [], {}

    def ask(number, frame):
        asked.append(number)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # there is no SIGHUP on Windows
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, ask)
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        restore()


def not_finite(net):
    """The name of the first parameter or buffer that holds NaN or infinity, None if all is well.

    >>> from minisegnet.layers import Linear
    >>> net = Linear(2, 1, rng=0)
    >>> not_finite(net)
    >>> net.bias.value[0] = np.inf
    >>> not_finite(net)
    'bias'
    """
    return next((name for name, array in net.state_dict().items() if not np.isfinite(array).all()), None)


def layer_of(error, net):
    """The dotted name of the innermost layer of the net in whose code an exception was raised; None if in none's.

    >>> from minisegnet import Sequential
    >>> from minisegnet.layers import Linear
    >>> net = Sequential(fc=Linear(2, 1, rng=0))
    >>> try:
    ...     net(np.zeros((1, 3), np.float32))
    ... except ValueError as error:
    ...     layer_of(error, net)
    'fc'
    """
    names = {id(layer): name for name, layer in net.named_layers()}
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        layer = frame.f_locals.get("self")
        if isinstance(layer, Layer):
            found = names.get(id(layer)) or found
    return found
