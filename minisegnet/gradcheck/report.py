"""The report of a gradient check: truthy or not, and a table for people."""

import math
import textwrap
from dataclasses import dataclass, field

WIDTH = 120
HEAD = ("", "tensor", "shape", "checked", "kinks", "max abs", "max rel", "worst at", "analytic", "numeric")


@dataclass
class TensorRow:
    """One tensor's comparison.

    Errors: abs = |analytic - numeric|; rel = abs / max(|analytic|, |numeric|, atol/rtol), so that noise on a gradient
    that is truly zero does not look like an error of 100 %. worst is the entry (or direction) of the largest rel.
    """

    name: str
    shape: tuple
    atol: float
    rtol: float
    checked: int = 0
    failed: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    worst: object = None  # an index, or the name of a direction
    analytic: float = math.nan
    numeric: float = math.nan
    not_differentiable: list = field(default_factory=list)  # indices and names of directions
    lost: list = field(default_factory=list)  # the same, where rounding errors hide the slope
    compared: list = field(default_factory=list)  # (index or name of direction, analytic, numeric)
    problem: str = ""  # what else is wrong with the gradient: its type, its shape, NaN

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
    """A promise, whether it was kept, and what happened if not."""

    name: str
    kept: bool
    text: str
    is_consequence: bool = False  # broken whenever a gradient is wrong: no diagnosis of its own
    stops: bool = False  # where it is broken, finite differences mean nothing


@dataclass
class GradcheckReport:
    """Truthy when every gradient agrees and every contract was kept; str() is the table.

    Attributes
        label: what was checked
        rows: a TensorRow for x and one for each parameter
        contracts: a list of Contract
        diagnosis: sentences that name the mistake that a wrong gradient fits
        guilty: for a failing net, (dotted name, report) of the layers inside that fail by themselves
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
