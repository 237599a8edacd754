"""The command line: `minisegnet COMMAND`, or `python -m minisegnet COMMAND`."""

import argparse
import sys

from ._version import __version__


def main(arguments=None):
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    return options.run(options)


def parser():
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="minisegnet", description="Learn backpropagation by watching it learn to segment images."
    )
    top.add_argument("--version", action="version", version=f"minisegnet {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        help="train a small U-Net on generated pictures, in less than a minute",
        description="Checks the gradients of a small U-Net, trains it on pictures generated in code, prints the "
        "falling loss and writes two pictures. Needs no data and opens no window.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--steps", type=positive, default=500, help="training steps")
    demo.add_argument("--width", type=positive, default=8, help="channels of the first level")
    demo.add_argument("--seed", type=natural, default=0, help="seed of the pictures and the initial weights")
    demo.add_argument(
        "--out",
        default="minisegnet-demo",
        metavar="FOLDER",
        help="where the pictures go; earlier ones there are replaced",
    )
    demo.set_defaults(run=run_demo)
    return top


def run_demo(options):
    from . import demo

    try:
        demo.run(options.steps, options.width, options.seed, options.out)
    except OSError as error:
        print(f"minisegnet demo: {error}", file=sys.stderr)
        return 1
    return 0


def natural(text, least=0):
    """A whole number of at least `least`, for argparse."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
    return value


def positive(text):
    """A whole number of at least 1, for argparse."""
    return natural(text, 1)
