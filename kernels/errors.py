"""The exceptions of our own."""


class ShapeError(ValueError):
    """An array has the wrong shape. The text says what came, what was expected and, where possible, the fix."""


class DeviceError(RuntimeError):
    """There is no such device on this machine, or it can't be used. The text says what is missing."""

    expected = True  # nothing is wrong with the program: the message is enough
