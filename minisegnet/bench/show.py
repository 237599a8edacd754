"""The tables, from the same dicts that `--json` writes."""

import math

LEGEND_OPS = """\
ms, GFLOP/s, GB/s   median time; operations on numbers (a multiply-add is two); bytes that have to move at least
% of peak           how near the op comes to what this machine can do at best: the multiply-adds or the memory traffic
                    measured above, whichever takes longer; above 100 where a cache holds the data or fewer
                    multiplications do (Winograd)
NCHW, ch. last      PyTorch's time in ms in its two memory layouts; of an update: as it comes, and fused
ratio               the better time of PyTorch / our time: above 1 we are faster"""

LEGEND_STEP = """\
ms, GFLOP/s         median of one training step: forward, loss, backward, Adam; 3 x 2 x the net's multiply-adds
NCHW, ch. last      PyTorch's time in ms in its two memory layouts, with torch.optim.Adam as it comes
ratio               the better of them / our time: above 1 we are faster
fused               PyTorch's best of both layouts and of Adam with and without fused=True, and its ratio
first s             seconds of the first step in a fresh process, with the compile cache as it is (for an empty one
                    set NUMBA_CACHE_DIR to an empty folder); PyTorch's in brackets
memory              growth of peak resident memory by the net and its training, in a fresh process; PyTorch's least"""

BUSY = 0.1  # cores in use by others from which on they are mentioned
CAUTION = "Figures of different runs or machines can't be compared: only ratios, taken in turns within one run, can."


def report(document):
    """The whole output of one run as text."""
    parts = [head(document)]
    if document["bench"] == "ops":
        parts += [ops_table(document["rows"]), LEGEND_OPS, summary_table(document["summary"])]
    else:
        parts += [step_table(document["rows"]), LEGEND_STEP, numpy_lines(document["rows"])]
    if not document["machine"]["torch"]:
        parts.append("PyTorch is not installed, so nothing is compared with it: pip install torch")
    return "\n\n".join(filter(None, [*parts, warning(document)]))


def warning(document):
    """What to think of ratios that were measured while others were at work; nothing on a quiet machine."""
    if not (document["others_cores"] or 0) > BUSY:
        return ""
    return (
        f"Careful: other processes kept {document['others_cores']:.1f} cores busy meanwhile. PyTorch's threads wait by "
        f"spinning, which\ncosts them much more than ours when cores are short, so these ratios flatter us. Measure "
        f"again on a quiet machine."
    )


def head(document):
    machine, peaks = document["machine"], document["peaks"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "numpy", "numba", "torch") if machine[name])
    rung = f", convolution {document['rung']}" if document["rung"] else ""
    return "\n".join(
        [
            f"minisegnet {machine['minisegnet']}, bench {document['bench']}: {document['backend']}{rung}, float32",
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}",
            f"threads: {document['threads']}; at best {peaks['gflops']:,.0f} GFLOP/s (multiply-adds, micro-kernel for "
            f"{machine['simd']}) and {peaks['gbs']:,.1f} GB/s (triad)",
            CAUTION,
        ]
    )


def ops_table(rows):
    heads = ("op", "shape", "ms", "GFLOP/s", "GB/s", "% of peak", "NCHW", "ch. last", "ratio")
    lines = []
    for row in rows:
        own = (row["ms"], row["gflops"], row["gbs"])
        theirs = [number(ms) + (" fused" if name == "fused" else "") for name, ms in row["torch_ms"].items()]
        theirs = [*theirs, *[""] * (2 - len(theirs))]
        percent = f"{row['percent_of_peak']:.0f}"
        lines.append((row["op"], row["shape"], *map(number, own), percent, *theirs, two_places(row["ratio"])))
    return table(heads, lines, left=2, optional=("NCHW", "ch. last", "ratio"))


def step_table(rows):
    heads = ("model", "input", "ms", "GFLOP/s", "% of peak", "NCHW", "ch. last", "ratio", "fused", "ratio", "first s")
    heads += ("memory", "PyTorch's")
    lines = [step_cells(row) for row in rows]
    return table(heads, lines, left=2, optional=("NCHW", "ch. last", "ratio", "fused", "PyTorch's"))


def step_cells(row):
    """One line of step_table."""
    theirs, memory, exact = row["torch_ms"], row["torch_memory_peak_bytes"].values(), row["memory_is_exact"]
    first = f"{row['first_step_seconds']:.2f}"
    if row["torch_first_step_seconds"]:
        first += f" ({min(row['torch_first_step_seconds'].values()):.2f})"
    least = min((peak for peak in memory if peak is not None), default=None)
    return (
        row["model"],
        "x".join(map(str, row["input"])),
        number(row["ms"]),
        number(row["gflops"]),
        f"{row['percent_of_peak']:.0f}",
        number(theirs.get("NCHW")),
        number(theirs.get("channels_last")),
        two_places(row["ratio"]),
        number(min(theirs.values())) if row["ratio_fused"] else "",
        two_places(row["ratio_fused"]),
        first,
        mebibytes(row["memory_peak_bytes"], exact),
        mebibytes(least, exact) if memory else "",
    )


def numpy_lines(rows):
    """How our steps compare with the rungs in NumPy."""
    lines = [
        f"{row['model']}: {found['times']:.1f} times as fast as {NUMPY_NAMES[name]} ({number(found['ms'])} ms)"
        for row in rows
        for name, found in row["numpy"].items()
    ]
    return "\n".join(lines)


NUMPY_NAMES = {
    "windows": "with the convolution of the NumPy rung `windows`",
    "reference": "the backend `reference`, all NumPy",
}


def summarise(rows):
    """For each group: geometric mean and minimum of the ratios; empty without PyTorch.

    >>> summarise([{"group": "g", "op": op, "shape": "1", "ratio": ratio} for op, ratio in (("a", 0.5), ("b", 2.0))])
    [{'group': 'g', 'rows': 2, 'geometric_mean': 1.0, 'minimum': 0.5, 'minimum_of': 'a 1'}]
    """
    groups = {}
    for row in rows:
        if row["ratio"] is not None:
            groups.setdefault(row["group"], []).append(row)
    found = []
    for group, members in groups.items():
        slowest = min(members, key=lambda row: row["ratio"])
        mean = math.exp(math.fsum(math.log(row["ratio"]) for row in members) / len(members))
        found.append(
            {
                "group": group,
                "rows": len(members),
                "geometric_mean": mean,
                "minimum": slowest["ratio"],
                "minimum_of": f"{slowest['op']} {slowest['shape']}",
            }
        )
    return found


def summary_table(summary):
    if not summary:
        return ""
    lines = []
    for group in summary:
        figures = str(group["rows"]), two_places(group["geometric_mean"]), two_places(group["minimum"])
        lines.append((group["group"], group["minimum_of"], *figures))
    return table(("ratios", "the smallest is that of", "rows", "geometric mean", "smallest"), lines, left=2)


# ------------------------------------------------------------------ text


def table(heads, lines, left, optional=()):
    """Columns of text, the first `left` of them flush left; optional ones are left out where they are empty."""
    columns = [column for column in zip(heads, *lines, strict=True) if column[0] not in optional or any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    text = []
    for cells in zip(*columns, strict=True):
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        text.append("  ".join(padded).rstrip())
    return "\n".join([text[0], "-" * sum(widths, 2 * len(widths) - 2), *text[1:]])


def number(value):
    """Three digits that matter; nothing for None.

    >>> [number(v) for v in (0.01234, 1.234, 12.34, 123.4, 12345.6, None)]
    ['0.012', '1.23', '12.3', '123', '12,346', '']
    """
    if value is None:
        return ""
    places = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{places}f}"


def two_places(value):
    """A ratio as text; nothing for None."""
    return "" if value is None else f"{value:.2f}"


def mebibytes(count, exact):
    """Bytes as MiB, "not measured" for None.

    >>> mebibytes(3 * 2**20, True), mebibytes(2**20, False), mebibytes(None, False)
    ('3 MiB', 'at most 1 MiB', 'not measured')
    """
    if count is None:
        return "not measured"
    return f"{'' if exact else 'at most '}{count / 2**20:,.0f} MiB"
