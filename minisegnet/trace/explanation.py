"""An explanation: one number of a pass, taken apart into the terms of its sum.

    at(stop, "dy", n, o, i, j)       a factor for each term: elements of a recorded array
    number("1/D", values)            a factor that stands in no recorded array
    group(factor, factor, ...)       terms of one kind: the products of their factors
    Sum(symbols, picked, [group])    what an explainer returns: the formula, and the groups that add up to the number

An explainer is a function of a stop and an index, registered under the kinds of stops and the array that it explains:

    @explains("ReLU", of="dx")
    def gate(stop, index): ...

It derives the sum from the definition of the layer and the recorded arrays, in float64; it never calls a backward pass.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

EXPLAINERS = {}  # (kind, of) -> function(stop, index) -> Sum; of "dx.*" gets the branch too: (stop, branch, index)


def explains(*kinds, of):
    """Register the function below it for these kinds of stops and this array."""

    def register(function):
        EXPLAINERS.update({(kind, of): function for kind in kinds})
        return function

    return register


# ------------------------------------------------------------------ terms


class Factor(NamedTuple):
    """One factor of each term, as columns."""

    array: str  # the recorded array, or what else the number is: "1/D"
    index: np.ndarray | None  # (terms, axes); None for a number that belongs to no element
    value: np.ndarray  # (terms,) in float64


class Group(NamedTuple):
    """Terms of one kind: term t is the product of value[t] of each factor."""

    name: str  # "" where all terms are of one kind
    factors: tuple

    @property
    def products(self):
        return np.prod([factor.value for factor in self.factors], axis=0)

    def __len__(self):
        return len(self.factors[0].value)


class Term(NamedTuple):
    """One term by itself."""

    group: str
    factors: tuple  # of (array, index, value)
    product: float
    running: float  # the sum of all terms up to this one


def at(stop, array, *index):
    """A factor: elements of an array of the stop. Each index is a number, or an array with one for each term."""
    return number(array, stop[array][tuple(index)], *index)


def number(name, values, *index):
    """A factor that stands in no recorded array: a constant, or something derived, with the index that it belongs to.

    >>> number("1/4", 0.25)
    Factor(array='1/4', index=None, value=array([0.25]))
    """
    columns = [np.ravel(column) for column in np.broadcast_arrays(*index)] if index else []
    rows = np.stack(columns, axis=1) if columns else None
    return Factor(name, rows, np.ravel(values).astype(np.float64))


def group(*factors, name=""):
    """Terms from factors; one that has a single value has it for all terms."""
    lengths = {len(factor.value) for factor in factors} - {1}
    count = lengths.pop() if lengths else 1

    def long(factor):
        index = factor.index
        if index is not None:
            index = np.broadcast_to(index, (count, index.shape[1]))
        return Factor(factor.array, index, np.broadcast_to(factor.value, count))

    return Group(name, tuple(long(factor) for factor in factors))


def grid(*sizes):
    """All combinations of places in several lists, in row-major order: an array of positions for each list.

    >>> grid(2, 3)
    array([[0, 0, 0, 1, 1, 1],
           [0, 1, 2, 0, 1, 2]])
    """
    return np.indices(sizes).reshape(len(sizes), -1)


class Sum(NamedTuple):
    """What an explainer finds."""

    symbols: str  # the formula, with letters
    picked: str  # the same with the picked indices
    groups: list  # of Group
    note: str = ""  # what the numbers alone don't say: which gate, which switch
    facts: dict | None = None  # further numbers that belong to the element, by name
    seen: Group | None = None  # elements that were looked at and have no part in the sum: the losers of a maximum


# ------------------------------------------------------------------ the whole


@dataclasses.dataclass
class Explanation:
    """Where one recorded number comes from. Print it, or look at its parts.

    Attributes
        stop: the Stop; of, index: which element of which of its arrays
        recorded: the number in the trace
        symbols, picked: the formula with letters, and with the picked indices
        groups: the terms, as columns, in groups of one kind
        note, facts, seen: see `Sum`
    """

    stop: object
    of: str
    index: tuple
    recorded: float
    symbols: str
    picked: str
    groups: list
    note: str = ""
    facts: dict = dataclasses.field(default_factory=dict)
    seen: Group | None = None

    @property
    def products(self):
        """All terms, (terms,)."""
        return np.concatenate([np.zeros(0), *(g.products for g in self.groups)])

    @property
    def total(self):
        """The sum of the terms, in float64."""
        return float(self.products.sum())

    @property
    def tolerance(self):
        """How far total may be from recorded: rounding, which is relative to the size of the terms."""
        dtype = self.stop.dtype
        relative = 1e-12 if dtype == np.float64 else 1e-5
        return float(relative * np.abs(self.products).sum() + np.finfo(dtype).tiny)

    @property
    def agrees(self):
        """Whether the terms add up to the recorded number; NaN agrees with NaN."""
        if np.isfinite(self.total) and np.isfinite(self.recorded):
            return abs(self.total - self.recorded) <= self.tolerance
        return bool(np.array_equal(self.total, self.recorded, equal_nan=True))

    @property
    def terms(self):
        """The terms one by one, as `Term`s."""
        running = 0.0
        for g in self.groups:
            for t, product in enumerate(g.products.tolist()):
                running += product
                factors = tuple((f.array, index_of(f, t), float(f.value[t])) for f in g.factors)
                yield Term(g.name, factors, product, running)

    def text(self, limit=12, by="position"):
        """As text: the formula, then a table of at most `limit` terms, by "position" or by "size"."""
        from .show import explanation_text

        return explanation_text(self, limit, by)

    def __str__(self):
        return self.text()


def index_of(factor, t):
    """The index of a factor in term t as a tuple; None for a number of its own."""
    return None if factor.index is None else tuple(factor.index[t].tolist())


def brackets(*index):
    """[0,1,4,7], for formulas.

    >>> brackets(0, "c", 4)
    '[0,c,4]'
    """
    return f"[{','.join(map(str, index))}]"
