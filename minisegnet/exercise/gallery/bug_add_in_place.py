"""Exercise bug-add-in-place: find the bug and repair it.

Two layers side by side, their results added, as in a residual block:

    y = first(x) + second(x)

What a layer saves for its backward may be its own result: a ReLU, for one, keeps y to know where it was open. No layer
may change an array that somebody else still needs.

Someone's residual net had right outputs and wrong gradients, depending on the order of the two layers.

Check it:   minisegnet exercise check bug_add_in_place.py             (or run this file)
Stuck?      minisegnet exercise check bug_add_in_place.py --hint 1    (then 2, then 3)
"""

from typing import NamedTuple

from minisegnet.core import Layer

EXERCISE = "bug-add-in-place"


class Saved(NamedTuple):
    first: tuple  # what each of the two layers saved
    second: tuple


class Add(Layer):
    def __init__(self, first, second):
        self.first, self.second = first, second

    def forward(self, x):
        y, first = self.first.forward(x)
        h, second = self.second.forward(x)
        y += h
        return y, Saved(first, second)

    def backward(self, dy, saved):
        dx = self.first.backward(dy, saved.first)
        return dx + self.second.backward(dy, saved.second)


if __name__ == "__main__":
    from minisegnet.exercise import check_this_file

    check_this_file(__file__)
