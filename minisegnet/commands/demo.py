"""`minisegnet demo`."""

import argparse

from .common import natural, positive


def add(commands):
    demo = commands.add_parser(
        "demo",
        help="train a small U-Net on generated pictures, in about a minute",
        description="Checks the gradients of a small U-Net, trains it on pictures generated in code, prints the "
        "falling loss and writes two pictures. Needs no data and opens no window.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--steps", type=positive, default=1000, help="training steps")
    demo.add_argument("--width", type=positive, default=8, help="channels of the first level")
    demo.add_argument("--seed", type=natural, default=0, help="seed of the pictures and the initial weights")
    demo.add_argument(
        "--out",
        default="minisegnet-demo",
        metavar="FOLDER",
        help="where the pictures go; earlier ones there are replaced",
    )
    demo.set_defaults(run=run)


def run(options):
    from .. import demo

    demo.run(options.steps, options.width, options.seed, options.out)
    return 0
