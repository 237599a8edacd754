"""The one exception of our own."""


class ShapeError(ValueError):
    """An array has the wrong shape. The text says what came, what was expected and, where possible, the fix."""
