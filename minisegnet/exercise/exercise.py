"""What an exercise consists of."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One situation to run a solution in: what it is built with, and what goes in.

    Attributes
        label: the case in a few words: "3x3 kernel, stride 2"
        inputs: what goes in, by name: x and dy for a layer, scores, target and dvalue for a loss
        arguments: the constructor's
        values: what the parameters and buffers are set to, by name
        expected: what must come out, worked out by hand; None: what the framework gives
        because: {result: where one of its numbers comes from}, for each gradient worked out by hand
        eval: whether the layer is in eval mode
        passes: how many forward and backward passes are made before the gradients are looked at
    """

    label: str
    inputs: dict
    arguments: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    expected: dict | None = None
    because: dict = field(default_factory=dict)
    eval: bool = False
    passes: int = 1

    def __getattr__(self, name):
        """An input or parameter value by its name, which keeps formulas short: case.x, case.weight."""
        for known in (vars(self).get("inputs", {}), vars(self).get("values", {}), vars(self).get("arguments", {})):
            if name in known:
                return known[name]
        raise AttributeError(f"the case {vars(self).get('label')!r} has no {name}")


@dataclass(frozen=True)
class Mistake:
    """A classic mistake: what it would have made of one of the results, and how to say so.

    Attributes
        id: its name for machines: "mask-from-dy"
        of: the result that it spoils: "dx"; "" for any
        formula: (case, right) -> the wrong result, right being the dict of right results; None where it can't happen
        text: what is wrong, and what is right
    """

    id: str
    of: str
    formula: Callable
    text: str


@dataclass(frozen=True)
class Story:
    """Where a bug of the gallery comes from: what happened, in our own words, and where it can be read."""

    text: str
    sources: tuple


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
        name, title: "conv2d", "the backward pass of a convolution"
        tutorial: the one it belongs to
        stars: how hard it is, 1 to 3
        kind: how it is run (see `kinds`)
        subject: the name of the class or function in the learner's file
        ours: (case) -> what gives the right results: a layer, loss, optimiser or function of the framework
        hand: Cases with results worked out by hand, tiny
        cases: (rng) -> more Cases, of many shapes
        mistakes: the Mistakes that are known here, besides those that `gradcheck` knows
        hints: {result: (the idea, the formula, nearly the code)}, in the order in which to write them
        first: what to begin with
        done: what to do after it
        source: the framework's own code, to compare with afterwards
        speed: a larger Case for the comparison of speeds; None: there is nothing to win
        story: of a bug in the gallery
        hidden: results that a learner doesn't have to know about, such as the running statistics
    """

    name: str
    title: str
    tutorial: str
    stars: int
    kind: type
    subject: str
    ours: Callable
    hand: tuple
    cases: Callable
    hints: dict
    done: str
    source: str
    mistakes: tuple = ()
    first: str = ""
    speed: Callable | None = None
    story: Story | None = None

    @property
    def is_bug(self):
        return self.story is not None

    @property
    def template(self):
        """The file that `start` copies."""
        return HERE / ("gallery" if self.is_bug else "templates") / self.file_name

    @property
    def file_name(self):
        return self.name.replace("-", "_") + ".py"

    def all_cases(self):
        """Those worked out by hand, then those of many shapes."""
        return [*self.hand, *self.cases(np.random.default_rng(0))]

    def right(self, case):
        """The results that are right in this case: the framework's, and those worked out by hand."""
        by_hand = {name: np.asarray(value, np.float64) for name, value in (case.expected or {}).items()}
        return self.kind.run(self.ours(case), case) | by_hand


def normal(rng, *shape):
    """Random numbers, none of them tied, none near a kink at 0.

    >>> np.abs(normal(np.random.default_rng(0), 100)).min() >= 0.05
    np.True_
    """
    x = rng.normal(size=shape)
    return x + 0.05 * np.sign(x)
