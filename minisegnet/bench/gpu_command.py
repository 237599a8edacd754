"""What `minisegnet bench ops` and `minisegnet bench step` do with `--device cuda`, from options to a document."""

import functools

from tqdm import tqdm

from kernels.cuda.launch import SIMULATED

from . import gpu, show, step
from .card import card, peaks
from .command import choose
from .measure import FULL, QUICK, import_torch, machine
from .rows import CPU, GPU, TINY, rows

SHORT = {"rounds": 1, "seconds": 0.0}  # for the simulator, where times mean nothing


def bench_ops(options, count):
    """The document of `bench ops`: a dict that JSON can hold. `count` are the threads of the CPU."""
    head = document(options, count)
    if options.plot and None in head["peaks"].values():
        raise ValueError("--plot draws what the card can do at best, and its driver does not tell that")
    scale = TINY if SIMULATED else CPU if options.quick else GPU
    chosen = choose({row.name: row for row in rows(options.quick, scale)}, options.only)
    finished, failed = measured({row.name: functools.partial(gpu.measure_op, row, timing(options)) for row in chosen})
    for row in finished:
        row["percent_of_flops"] = percent(row["gflops"], head["peaks"]["gflops"])
        row["percent_of_bandwidth"] = percent(row["gbs"], head["peaks"]["gbs"])
    return head | {"rows": finished, "failed": failed, "summary": show.summarise(finished)}


def bench_step(options, count):
    """The document of `bench step`."""
    head = document(options, count)
    models = step.TINY if SIMULATED else step.MODELS if options.quick else step.LARGE | step.MODELS
    chosen = choose({f"{key} {model.name}": (key, model) for key, model in models.items()}, options.only)
    finished, failed = measured({m.name: functools.partial(gpu.measure_step, m, timing(options)) for _, m in chosen})
    keys = {model.name: key for key, model in chosen}
    for row in finished:
        row["percent_of_flops"] = percent(row["gflops"], head["peaks"]["gflops"])
        row["cpu_ms"] = row["ratio_cpu"] = None
        if options.cpu:
            try:
                seconds = step.probe(keys[row["model"]], "ours", "cpu", None, count)["step_seconds"]
            except RuntimeError as error:  # for lack of memory, say: that must not cost the figures of the GPU
                failed.append(str(error))
            else:
                row["cpu_ms"], row["ratio_cpu"] = 1e3 * seconds, 1e3 * seconds / row["ms"]
    return head | {"rows": finished, "failed": failed}


def document(options, count):
    """What the document says about the machine; ValueError if something was asked for that can't be done there."""
    if options.rung or options.backend != "cpu":
        raise ValueError("--backend and --rung choose what computes on the CPU; leave them out with --device cuda")
    found, torch = card(), import_torch()
    return {
        "bench": options.bench,
        "device": "cuda",
        "caution": show.CAUTION,
        "quick": options.quick,
        "simulated": SIMULATED,
        "threads": count,
        "machine": machine(),
        "card": found,
        "peaks": peaks(found),
        "torch_on_gpu": gpu.torch_on_gpu(),
        "cudnn": torch.backends.cudnn.version() if torch else None,
    }


def measured(calls):
    """(finished rows, texts about what failed) of {name: call that measures a row}. RuntimeError if all failed.

    A result that differs or a card that is too small must not cost the rows before and after.
    """
    finished, failed = [], []
    for name, measure in (progress := tqdm(calls.items(), leave=False, disable=None)):
        progress.set_description(name)
        try:
            finished.append(measure())
        except (RuntimeError, MemoryError) as error:
            failed.append(str(error) if str(error).startswith(name) else f"{name}: {error}")
    if not finished:
        raise RuntimeError("nothing could be measured\n" + "\n".join(failed))
    return finished, failed


def timing(options):
    return SHORT if SIMULATED else QUICK if options.quick else FULL


def percent(reached, peak):
    """How much of the peak was reached; None where one of them is not known."""
    return None if reached is None or peak is None else 100 * reached / peak
