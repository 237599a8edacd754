"""The tables of what was measured on a GPU, from the same dicts that `--json` writes."""

from .gpu import TF32
from .show import mebibytes, number, summary_table, table, two_places

LEGEND_OPS = """\
ms                  median time, of events on the GPU
GFLOP/s, %          operations on numbers (a multiply-add is two), and their share of the card's peak in float32
GB/s, %             bytes that have to move at least, and their share of the card's memory bandwidth; above 100 where
                    the card's cache holds the data
NCHW, ch. last      PyTorch's time in ms in its two memory layouts, TF32 off; of an update: as it comes, and fused
ratio               the better of them / our time: above 1 we are faster
TF32                for information: PyTorch's better time in ms when it rounds factors to TF32"""

LEGEND_STEP = """\
ms, GFLOP/s, %      median of one training step: forward, loss, backward, Adam; 3 x 2 x the net's multiply-adds; their
                    share of the card's peak in float32
NCHW, ch. last      PyTorch's time in ms in its two memory layouts, TF32 off
ratio               the better of them / our time: above 1 we are faster
TF32                for information: PyTorch's better time in ms when it rounds factors to TF32
CPU ms, x CPU       our own step on the processor, with all threads, and how many times as fast the GPU is
memory              what the arrays of the net and its training take on the GPU at most; PyTorch's less of two"""


def report(document):
    """The whole output of one run as text; its last line is the whole in short."""
    rows = document["rows"]
    if document["bench"] == "ops":
        parts = [head(document), ops_table(rows), LEGEND_OPS, summary_table(document["summary"])]
    else:
        parts = [head(document), step_table(rows), LEGEND_STEP]
    parts += [without_torch(document), "\n".join(f"failed: {text}" for text in document["failed"])]
    return "\n\n".join(filter(None, [*parts, in_short(document)]))


def head(document):
    machine, card, peaks = document["machine"], document["card"], document["peaks"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "numpy", "numba", "torch") if machine[name])
    cudnn = f", cuDNN {document['cudnn']}" if document["cudnn"] else ""
    lines = [f"minisegnet {machine['minisegnet']}, bench {document['bench']}: cuda, float32"]
    if document["simulated"]:
        lines.append("the simulator: kernels run as Python threads, and their times say nothing about any GPU")
    else:
        lines += [
            f"{card['name']}, compute capability {card['compute_capability']}, {card['multiprocessors']} "
            f"multiprocessors, {card['total'] / 2**30:.1f} GiB, driver for CUDA {card['driver']}, toolkit "
            f"{card['toolkit']}",
            f"at best {or_unknown(peaks['gflops'])} GFLOP/s (cores x clock) and {or_unknown(peaks['gbs'])} GB/s "
            f"(memory clock x bus)",
        ]
    lines.append(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}; {versions}{cudnn}")
    return "\n".join([*lines, document["caution"]])


def ops_table(rows):
    heads = ("op", "shape", "ms", "GFLOP/s", "%", "GB/s", "%", "NCHW", "ch. last", "ratio", "TF32")
    lines = []
    for row in rows:
        plain = {name: ms for name, ms in row["torch_ms"].items() if not name.endswith(TF32)}
        theirs = [number(ms) + (" fused" if name == "fused" else "") for name, ms in plain.items()]
        lines.append(
            (
                row["op"],
                row["shape"],
                number(row["ms"]),
                number(row["gflops"]),
                share(row["percent_of_flops"]) if row["flops"] else "",
                number(row["gbs"]),
                share(row["percent_of_bandwidth"]),
                *theirs,
                *[""] * (2 - len(theirs)),
                two_places(row["ratio"]),
                tf32(row),
            )
        )
    return table(heads, lines, left=2, optional=("NCHW", "ch. last", "ratio", "TF32"))


def step_table(rows):
    heads = ("model", "input", "ms", "GFLOP/s", "%", "NCHW", "ch. last", "ratio", "TF32", "CPU ms", "x CPU", "memory")
    lines = []
    for row in rows:
        theirs, memory = row["torch_ms"], row["torch_memory_peak_bytes"].values()
        lines.append(
            (
                row["model"],
                "x".join(map(str, row["input"])),
                number(row["ms"]),
                number(row["gflops"]),
                share(row["percent_of_flops"]),
                number(theirs.get("NCHW")),
                number(theirs.get("channels_last")),
                two_places(row["ratio"]),
                tf32(row),
                number(row["cpu_ms"]),
                number(row["ratio_cpu"]),
                mebibytes(row["memory_peak_bytes"], exact=True),
                mebibytes(min(memory), exact=True) if memory else "",
            )
        )
    optional = ("NCHW", "ch. last", "ratio", "TF32", "CPU ms", "x CPU", "PyTorch's")
    return table((*heads, "PyTorch's"), lines, left=2, optional=optional)


def tf32(row):
    """PyTorch's better time with TF32 on, as text."""
    return number(min((ms for name, ms in row["torch_ms"].items() if name.endswith(TF32)), default=None))


def share(percent):
    """A percentage as text.

    >>> share(41.3), share(0.02), share(None)
    ('41', '0.02', 'unknown')
    """
    return "unknown" if percent is None else f"{percent:.0f}" if percent >= 1 else f"{percent:.2f}"


def or_unknown(value):
    return "unknown" if value is None else number(value)


def without_torch(document):
    if document["torch_on_gpu"]:
        return ""
    if not document["machine"]["torch"]:
        return "PyTorch is not installed, so nothing is compared with it: pip install torch"
    if document["simulated"]:
        return "PyTorch takes no part in the simulator."
    version = document["machine"]["torch"]
    return f"PyTorch {version} sees no GPU, so nothing is compared with it: install its build for CUDA"


def in_short(document):
    """One line with the figures that matter most."""
    if document["bench"] == "ops":
        ratios = [row["ratio"] for row in document["rows"] if row["ratio"] is not None]
        best = max(
            (row["percent_of_flops"] for row in document["rows"] if row["percent_of_flops"] is not None), default=None
        )
        facts = [f"{len(document['rows'])} ops measured"]
        facts += [f"{min(ratios):.2f} to {max(ratios):.2f} times PyTorch's speed"] if ratios else []
        facts += [f"at most {share(best)}% of the card's peak"] if best is not None else []
    else:
        facts = [", ".join(step_facts(row)) for row in document["rows"][:1]]
    facts += [f"{len(document['failed'])} failed"] if document["failed"] else []
    return f"in short: {', '.join(facts)}"


def step_facts(row):
    yield f"{row['model']} {number(row['ms'])} ms a step"
    if row["ratio"] is not None:
        yield f"{row['ratio']:.2f} times PyTorch's speed"
    if row["ratio_cpu"] is not None:
        yield f"{number(row['ratio_cpu'])} times our CPU's"
    if row["percent_of_flops"] is not None:
        yield f"{share(row['percent_of_flops'])}% of the card's peak"
