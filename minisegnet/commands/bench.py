"""`minisegnet bench ops` and `minisegnet bench step`."""

import argparse

from kernels import CONV_RUNGS, available

from .common import add_device, positive


def add(commands):
    bench = commands.add_parser(
        "bench",
        help="measure how fast ops and training steps are, beside PyTorch's if it is installed",
        description="Measures how fast this package is on this machine. Where PyTorch is installed, it computes the "
        "same in turns with us, in one run: only such ratios can be relied on, and only if the machine has nothing "
        "else to do meanwhile (the report says so if it has).",
    )
    kinds = bench.add_subparsers(title="what to measure", metavar="WHAT", dest="bench", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write everything as JSON to FILE (replaced if it exists), or without FILE print it instead of the tables",
    )
    add_device(common)
    common.add_argument("--backend", choices=available(), default="cpu", help="what computes on the CPU (default: cpu)")
    common.add_argument(
        "--rung", choices=CONV_RUNGS, help="take the convolutions from one rung of the ladder (default: the backend's)"
    )
    common.add_argument(
        "--threads", type=positive, metavar="N", help="threads, ours and PyTorch's (default: one for each core)"
    )
    common.add_argument(
        "--only",
        metavar="PATTERN",
        help="only rows with this in their name; * stands for anything: --only 'conv*backward'",
    )
    common.add_argument("--quick", action="store_true", help="fewer rows and repetitions: about half a minute")
    common.set_defaults(run=run, plot=None, cpu=True)
    ops = kinds.add_parser(
        "ops",
        parents=[common],
        help="each hot op at the sizes of a U-Net",
        description="Measures each hot op, at the sizes that it has in a U-Net of width 16: time, GFLOP/s, GB/s, how "
        "near it comes to what this machine can do at best, PyTorch's times in both memory layouts, and the ratio of "
        "its better one to ours (above 1 we are faster). Takes about a minute, and more when kernels are compiled for "
        "the first time. With --rung loops the maps are much smaller; with --device cuda they are those of a U-Net of "
        "width 64 and 16 pictures of 256x256 (with --quick, those of the CPU).",
    )
    ops.add_argument(
        "--plot", metavar="FILE", help="draw a roofline picture too: a .png, .svg or .pdf (replaced if it exists)"
    )
    step = kinds.add_parser(
        "step",
        parents=[common],
        help="one training step of each model",
        description="Measures one training step (forward, loss, backward, Adam) of three models: a U-Net of width 16 "
        "with and without BatchNorm, and a small classifier. Beside its time: the first step in a fresh process, the "
        "peak of memory, and how much faster it is than the rungs in NumPy. PyTorch trains the same net on the same "
        "batch from the same weights. Takes some minutes, since the NumPy rungs are slow. With --device cuda there is "
        "a U-Net of width 64 with 16 pictures of 256x256 too (not with --quick), and our own CPU instead of NumPy.",
    )
    step.add_argument(
        "--no-cpu", dest="cpu", action="store_false", help="with --device cuda: don't measure our CPU's step beside it"
    )


def run(options):
    from ..bench import command

    return command.run(options)
