"""The report of a gradient check: truthy or not, and a table for people."""

import math
import textwrap
from dataclasses import dataclass, field

WIDTH = 120
HEAD = ("", "tensor", "shape", "checked", "kinks", "max abs", "max rel", "worst at", "analytic", "numeric")


@dataclass
class TensorRow:
    """One tensor's comparison.

        abs = |analytic - numeric|        rel = abs / max(|analytic|, |numeric|, atol/rtol)

    so that noise on a gradient that is truly zero does not look like an error of 100 %.

    Attributes
        name, shape: of the tensor; atol, rtol: the tolerances
        checked, failed: how many entries and directions were compared, and how many of them disagree
        max_abs, max_rel: the largest errors
        worst: the entry of the largest rel, an index or the name of a direction; analytic, numeric: its two numbers
        compared: all of them, a list of (index or name of a direction, analytic, numeric)
        not_differentiable: indices and names of directions where there is no slope
        lost: the same, where rounding errors hide the slope
        problem: what else is wrong with the gradient: its type, its shape, NaN; "" for nothing
        ok: whether nothing failed and there is no problem

    >>> row = TensorRow("weight", (1, 2), atol=1e-5, rtol=1e-3)
    >>> row.compare((0, 0), 2.0, 2.0)
    >>> row.compare((0, 1), 3.0, 4.0)
    >>> row.ok, row.failed, row.max_abs, row.max_rel, row.worst
    (False, 1, 1.0, 0.25, (0, 1))
    """

    name: str
    shape: tuple
    atol: float
    rtol: float
    checked: int = 0
    failed: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    worst: object = None
    analytic: float = math.nan
    numeric: float = math.nan
    not_differentiable: list = field(default_factory=list)
    lost: list = field(default_factory=list)
    compared: list = field(default_factory=list)
    problem: str = ""

    def agree(self, analytic, numeric):
        """Whether two numbers are equal within the tolerances; never so for NaN."""
        return abs(analytic - numeric) <= self.atol + self.rtol * abs(numeric)

    def compare(self, index, analytic, numeric):
        """Count one comparison."""
        analytic, numeric = float(analytic), float(numeric)
        error = abs(analytic - numeric)
        relative = error / max(abs(analytic), abs(numeric), self.atol / self.rtol)
        if math.isnan(relative):
            error = relative = math.inf
        self.checked += 1
        self.failed += not self.agree(analytic, numeric)
        self.max_abs = max(self.max_abs, error)
        if self.worst is None or relative > self.max_rel:
            self.max_rel, self.worst, self.analytic, self.numeric = relative, index, analytic, numeric
        self.compared.append((index, analytic, numeric))

    @property
    def ok(self):
        return not self.failed and not self.problem

    def cells(self):
        """The row as text."""
        cells = ("ok" if self.ok else "FAIL", self.name, "x".join(map(str, self.shape)) or "()")
        cells += (str(self.checked), str(len(self.not_differentiable)))
        if not self.checked:
            return (*cells, *["-"] * 5)
        errors = f"{self.max_abs:.1e}", f"{self.max_rel:.1e}"
        return (*cells, *errors, place(self.worst), f"{self.analytic:+.4e}", f"{self.numeric:+.4e}")


@dataclass
class Contract:
    """A promise, whether it was kept, and what happened if not.

    Attributes
        name: what is promised
        kept: whether it was
        text: what happened, if it was not
        is_consequence: it is broken whenever a gradient is wrong, and so is no diagnosis of its own
        stops: where it is broken, finite differences mean nothing

    >>> import numpy as np
    >>> from minisegnet.gradcheck import gradcheck
    >>> from minisegnet.layers import ReLU
    >>> class Careless(ReLU):
    ...     def backward(self, dy, saved):
    ...         dy[saved.y <= 0] = 0  # dy belongs to the caller
    ...         return dy
    >>> report = gradcheck(Careless(), np.array([[-1.0, 2.0]]))
    >>> for contract in report.contracts:
    ...     if not contract.kept:
    ...         print(f"{contract.name}: {contract.text}")
    backward modifies nothing: backward modified dy in place; work on a copy: somebody else still needs it
    """

    name: str
    kept: bool
    text: str
    is_consequence: bool = False
    stops: bool = False


@dataclass
class GradcheckReport:
    """Truthy when every gradient agrees and every contract was kept; str() is the table.

    Attributes
        label: what was checked
        rows: a TensorRow for x and one for each parameter
        contracts: a list of Contract
        diagnosis: sentences that name the mistake that a wrong gradient fits
        guilty: for a failing net, (dotted name, report) of the layers inside that fail by themselves

    >>> import numpy as np
    >>> from minisegnet.gradcheck import gradcheck
    >>> from minisegnet.layers import Linear, Sequential
    >>> class Forgetful(Linear):
    ...     def backward(self, dy, saved):
    ...         dx = super().backward(dy, saved)
    ...         self.bias.zero_grad()
    ...         return dx
    >>> net = Sequential(first=Linear(2, 3, rng=0), second=Forgetful(3, 1, rng=1))
    >>> report = gradcheck(net, np.ones((2, 2)))
    >>> bool(report), [row.name for row in report.rows if not row.ok], [name for name, _ in report.guilty]
    (False, ['second.bias'], ['second'])
    """

    label: str
    rows: list
    contracts: list
    eps: float
    atol: float
    rtol: float
    diagnosis: list = field(default_factory=list)
    guilty: list = field(default_factory=list)

    def __bool__(self):
        return self.checked_something and not self.wrong

    @property
    def wrong(self):
        """Whether a gradient disagrees or a contract is broken."""
        return not all(row.ok for row in self.rows) or not all(c.kept for c in self.contracts)

    @property
    def checked_something(self):
        """False when every single entry sat on a kink or was lost: then nothing was found out."""
        return any(row.checked for row in self.rows) or not any(row.not_differentiable + row.lost for row in self.rows)

    def row(self, name):
        """The row of the tensor `name`."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no tensor {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def __str__(self):
        label = textwrap.shorten(self.label.splitlines()[0], WIDTH - 24, placeholder=" ...")
        lines = [f"gradcheck of {label}: {'ok' if self else 'FAILED'}", *self.table(), *self.promises()]
        lines += self.skipped("not differentiable here (a kink or a tie), not compared", "not_differentiable")
        lines += self.skipped("lost in rounding errors, not compared (are x or weights very large?)", "lost")
        if not self.checked_something:
            lines.append("  nothing could be compared; if every entry sits on a kink, move x a little")
        broken = {c.text for c in self.contracts if not c.kept}  # shown above already
        for sentence in self.diagnosis:
            lines += [] if sentence in broken else wrap("  -> ", sentence)
        for name, report in self.guilty:
            lines.append(f"  the layer {name} fails by itself:")
            lines += ["    " + line for line in str(report).splitlines()]
        return "\n".join(lines)

    def table(self):
        """The rows as aligned lines of text; long names lose their middle where the table would be too wide."""
        if not self.rows:
            return []
        cells = [HEAD, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
        widths[1] = min(widths[1], max(20, WIDTH - 4 - sum(widths) - 2 * len(widths) + widths[1]))
        lines = []
        for mark, name, *rest in cells:
            left = [mark.ljust(widths[0]), abridged(name, widths[1]).ljust(widths[1]), rest[0].ljust(widths[2])]
            lines.append("  " + "  ".join([*left, *(c.rjust(w) for c, w in zip(rest[1:], widths[3:], strict=True))]))
        return lines

    def promises(self):
        """The contracts as lines of text: those that were kept together, each broken one by itself."""
        kept = [c.name for c in self.contracts if c.kept]
        lines = wrap("  ok    ", "; ".join(kept)) if kept else []
        for c in self.contracts:
            lines += [] if c.kept else wrap("  FAIL  ", f"{c.name}: {c.text}")
        return lines

    def skipped(self, text, kind):
        """The entries in the list `kind` of all rows, the first of them by name, as lines of text."""
        found = [row.name + place(index) for row in self.rows for index in getattr(row, kind)]
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        return wrap("  ", f"{text}: {', '.join(found[:5])}{more}") if found else []

    __repr__ = __str__


def abridged(name, width):
    """A name that fits into `width`, with its beginning and its end.

    >>> abridged("decoder.convolution.weight", 20)
    'decoder....on.weight'
    """
    if len(name) <= width:
        return name
    end = (width - 3) // 2 + 1
    return name[: width - 3 - end] + "..." + name[-end:]


def place(index):
    """An index as [0,2,1]; the name of a direction as it is, with a space in front where a tensor's name precedes."""
    return f" {index}" if isinstance(index, str) else "[" + ",".join(map(str, index)) + "]"


def wrap(first, text):
    """Lines of at most WIDTH characters; the later ones are indented as far as `first` reaches."""
    return textwrap.wrap(
        text, WIDTH - 4, initial_indent=first, subsequent_indent=" " * len(first), break_long_words=False
    )
