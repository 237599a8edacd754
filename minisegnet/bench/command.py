"""What `minisegnet bench ops` and `minisegnet bench step` do, from their options to the output."""

import fnmatch
import json
import os
import sys
from pathlib import Path

from tqdm import tqdm

import kernels

from . import show
from .measure import FULL, QUICK, Others, import_torch, machine, threads

PICTURES = (".png", ".svg", ".pdf")


def run(options):
    """Measure, print, write; returns the exit code. `options` are those of `cli.add_bench`."""
    try:
        check_files(options)
        kernels.check_device_name(options.device)
        with threads(options.threads) as count:
            others = Others()
            document = measured(options, count)
        write(document | {"others_cores": others.cores()}, options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"minisegnet bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("minisegnet bench: stopped", file=sys.stderr)
        return 130
    return 1 if document.get("failed") else 0


def measured(options, count):
    """The document of what was asked for, on the device that was asked for."""
    if options.device == "cuda":
        from . import gpu_command

        return (gpu_command.bench_ops if options.bench == "ops" else gpu_command.bench_step)(options, count)
    return (bench_ops if options.bench == "ops" else bench_step)(options, count)


def bench_ops(options, count):
    """The document of `bench ops`: a dict that JSON can hold."""
    from . import ops
    from .peaks import PeakMeter
    from .rows import CPU, SMALL, rows

    scale = SMALL if options.rung == "loops" else CPU
    chosen = choose({row.name: row for row in rows(options.quick, scale)}, options.only)
    meter, finished, timing = PeakMeter(count), [], QUICK if options.quick else FULL
    for row in (progress := tqdm(chosen, unit="op", leave=False, disable=None)):
        progress.set_description(row.name)
        finished.append(ops.measure(row, options.backend, options.rung, timing))
        meter.sample()
    for row in finished:
        least = 1e3 * meter.peaks.seconds(row["flops"], row["bytes"])  # milliseconds
        row["percent_of_peak"] = 100 * least / row["ms"]
    return document(options, count, meter.peaks, finished) | {"summary": show.summarise(finished)}


def bench_step(options, count):
    """The document of `bench step`."""
    from . import step
    from .peaks import PeakMeter

    if options.rung == "loops":
        raise ValueError(
            "a training step with --rung loops would take hours; try bench ops --rung loops --only 'conv 1x1'"
        )
    layouts = step.LAYOUTS[:1] if options.quick else step.LAYOUTS
    numpy_rungs = ["windows"] if options.quick else list(step.NUMPY_RUNGS)
    chosen = choose({f"{key} {model.name}": (key, model) for key, model in step.MODELS.items()}, options.only)
    timing, settings = QUICK if options.quick else FULL, (options.backend, options.rung)
    meter, finished = PeakMeter(count), []
    for key, model in (progress := tqdm(chosen, unit="model", leave=False, disable=None)):
        progress.set_description(f"{model.name}: first step and memory")
        fresh = step.fresh_process(key, *settings, count, layouts if import_torch() else ())
        progress.set_description(f"{model.name}: training")
        row = step.measure(model, *settings, timing, fused=not options.quick)
        progress.set_description(f"{model.name}: training in NumPy")
        finished.append(row | fresh | {"numpy": step.against_numpy(model, *settings, numpy_rungs)})
        meter.sample()
    for row in finished:
        row["percent_of_peak"] = 100 * row["gflops"] / meter.peaks.gflops
    return document(options, count, meter.peaks, finished)


def document(options, count, peaks, rows):
    return {
        "bench": options.bench,
        "caution": show.CAUTION,
        "backend": options.backend,
        "rung": options.rung,
        "quick": options.quick,
        "threads": count,
        "machine": machine(),
        "peaks": peaks._asdict(),
        "rows": rows,
    }


def choose(named, pattern):
    """The values of a dict whose names have the pattern in them; ValueError if there are none.

    >>> choose({"max pool forward": 1, "ReLU forward": 2}, "POOL*FOR")
    [1]
    """
    wanted = [value for name, value in named.items() if fnmatch.fnmatch(name.lower(), f"*{(pattern or '').lower()}*")]
    if not wanted:
        raise ValueError(f"--only {pattern!r} fits no row; there are:\n  " + "\n  ".join(named))
    return wanted


# ------------------------------------------------------------------ files


def check_files(options):
    """Raise before anything is measured if the results could not be written afterwards."""
    if options.plot and Path(options.plot).suffix.lower() not in PICTURES:
        raise ValueError(f"--plot {options.plot}: the name must end in {', '.join(PICTURES)}")
    for name, path in (("--json", options.json), ("--plot", options.plot)):
        if path not in (None, "-"):
            folder = Path(path).parent
            if Path(path).is_dir():
                raise ValueError(f"{name} {path}: this is a folder, expected the name of a file")
            if not (folder.is_dir() and os.access(folder, os.W_OK)):
                raise ValueError(f"{name} {path}: can't write into the folder {folder}")


def write(document, options):
    """The tables, or the JSON that was asked for instead, to standard output; files where they were asked for."""
    text = json.dumps(document, indent=2)
    if options.json == "-":
        print(text)
    elif options.device == "cuda":
        from . import gpu_show

        print(gpu_show.report(document))
    else:
        print(show.report(document))
    if options.json not in (None, "-"):
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    if options.plot:
        from . import roofline

        roofline.draw(document, options.plot)
