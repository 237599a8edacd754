"""The exceptions of our own."""


class ShapeError(ValueError):
    """An array has the wrong shape. The text says what came, what was expected and, where possible, the fix.

    >>> import numpy as np, kernels
    >>> dy, y = np.ones((2, 3)), np.ones((3, 2))
    >>> kernels.ops_for(y).relu_backward(dy, y)
    Traceback (most recent call last):
        ...
    kernels.errors.ShapeError: dy has shape (2, 3), expected (3, 2)
    """


class DeviceError(RuntimeError):
    """There is no such device on this machine, or it can't be used. The text says what is missing.

    Nothing ever falls back to the CPU by itself. To do so where there is no GPU:

    >>> import kernels
    >>> try:
    ...     device = kernels.check_device_name("cuda")
    ... except DeviceError as error:  # device 'cuda' can't be used: ...; device 'cpu' works everywhere
    ...     device = "cpu"
    >>> device in kernels.DEVICES
    True
    """

    expected = True  # nothing is wrong with the program: the message is enough
