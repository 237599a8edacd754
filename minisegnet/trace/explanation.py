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
    """Register the function below it for these kinds of stops and this array; then `Trace.explain` finds it.

    Parameters
        kinds: classes of layers; one that is not minisegnet's is called by module and class, "my_layers.Double"
        of: "y", "dx", "dweight", ...; "dx.*" for all branches of a join, and the function is called with
            (stop, branch, index)

    >>> from minisegnet import layers, trace
    >>> class Double(layers.Identity):
    ...     def forward(self, x):
    ...         return 2 * x, None
    ...     def backward(self, dy, saved):
    ...         return 2 * dy
    >>> kind = f"{Double.__module__}.Double"
    >>> @explains(kind, of="y")
    ... def doubled(stop, index):
    ...     return Sum("y = 2 * x", f"y{[*index]} = 2 * x{[*index]}", [group(number("2", 2), at(stop, "x", *index))])
    >>> t = trace.record(Double(), np.array([10.0, 20.0]), dy=np.ones(2))
    >>> print(t.explain("Double", 1))
    Double, Double(): y[1]
    <BLANKLINE>
      y = 2 * x
      y[1] = 2 * x[1]
      = 2 * 20 = 40
    <BLANKLINE>
        2   x         product  sum
        +2  [1]  +20  +40      40
    <BLANKLINE>
    sum of 1 term: 40
    recorded: 40, the same up to rounding
    >>> del EXPLAINERS[kind, "y"]  # an example leaves nothing behind
    """

    def register(function):
        EXPLAINERS.update({(kind, of): function for kind in kinds})
        return function

    return register


# ------------------------------------------------------------------ terms


class Factor(NamedTuple):
    """One factor of each term of a group, as columns.

    Attributes
        array: the recorded array, or what else the number is: "1/D"
        index: which elements of it, (terms, axes); None for a number that belongs to no element
        value: their values, (terms,) in float64

    >>> from minisegnet import layers, trace
    >>> t = trace.record(layers.ReLU(), np.array([-1.0, 2.0]), dy=np.array([5.0, 6.0]))
    >>> dy, gate = t.explain("ReLU", 1, of="dx").groups[0].factors
    >>> dy
    Factor(array='dy', index=array([[1]]), value=array([6.]))
    """

    array: str
    index: np.ndarray | None
    value: np.ndarray


class Group(NamedTuple):
    """Terms of one kind: term t is the product of value[t] of each factor.

    Attributes
        name: "" where all terms are of one kind
        factors: a tuple of Factor
        products: the terms, (terms,) in float64

    >>> Group("", (number("x", [1, 2]), number("w", [10, 20]))).products
    array([10., 40.])
    """

    name: str
    factors: tuple

    @property
    def products(self):
        return np.prod([factor.value for factor in self.factors], axis=0)

    def __len__(self):
        return len(self.factors[0].value)


class Term(NamedTuple):
    """One term by itself, as `Explanation.terms` gives it.

    Attributes
        group: the name of its group
        factors: a tuple of (array, index, value)
        product: of the values of the factors
        running: the sum of all terms up to this one

    >>> from minisegnet import layers, trace
    >>> t = trace.record(layers.ReLU(), np.array([-1.0, 2.0]), dy=np.array([5.0, 6.0]))
    >>> list(t.explain("ReLU", 1, of="dx").terms)
    [Term(group='', factors=(('dy', (1,), 6.0), ('gate', None, 1.0)), product=6.0, running=6.0)]
    """

    group: str
    factors: tuple
    product: float
    running: float


def at(stop, array, *index):
    """A factor: elements of an array of the stop. Each index is a number, or an array with one for each term.

    >>> from minisegnet import layers, trace
    >>> t = trace.record(layers.ReLU(), np.array([[1.0, 2.0, 3.0]]), dy=np.ones((1, 3)))
    >>> at(t["ReLU"], "x", 0, np.array([0, 2]))  # x[0, 0] and x[0, 2]
    Factor(array='x', index=array([[0, 0],
           [0, 2]]), value=array([1., 3.]))
    """
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
    """Terms from factors, as a `Group`; a factor that has a single value has it for all terms.

    >>> group(number("x", [1, 2, 3]), number("1/4", 0.25)).products
    array([0.25, 0.5 , 0.75])
    """
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
    """What an explainer returns; see `explains`.

    Attributes
        symbols: the formula, with letters
        picked: the same with the picked indices
        groups: a list of Group, whose terms add up to the number
        note: what the numbers alone don't say: which gate, which switch
        facts: further numbers that belong to the element, by name
        seen: a Group of elements that were looked at and have no part in the sum: the losers of a maximum

    >>> found = Sum("y = 2 * x", "y[1] = 2 * x[1]", [group(number("2", 2), number("x", 20.0, 1))])
    >>> found.groups[0].products
    array([40.])
    """

    symbols: str
    picked: str
    groups: list
    note: str = ""
    facts: dict | None = None
    seen: Group | None = None


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
        products, terms: all terms as an array (terms,) in float64, and one by one as `Term`s
        total: their sum; agrees: whether it is the recorded number, up to rounding

    >>> from minisegnet import layers, trace
    >>> net = layers.Linear(2, 1).astype(np.float64)
    >>> net.weight.value, net.bias.value = np.array([[2.0, 3.0]]), np.array([1.0])
    >>> y = trace.record(net, np.array([[10.0, 20.0]]), dy=np.ones((1, 1))).explain("Linear", (0, 0))
    >>> y.symbols, y.products, y.total, y.agrees
    ('y[n,o] = Σ_i x[n,i] * weight[o,i] + bias[o]', array([20., 60.,  1.]), 81.0, True)
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
