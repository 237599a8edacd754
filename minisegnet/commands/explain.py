"""`minisegnet explain`."""

import argparse

from .common import natural

LARGE = 20_000_000  # bytes of a page that browsers take long to open


def add(commands):
    parser = commands.add_parser(
        "explain",
        help="write a page that steps through forward and backward, pixel by pixel",
        description="Records one forward and one backward pass of a trained net over a picture, and writes one page "
        "that shows where each number comes from: every layer, every gradient, every pixel. The page needs no network. "
        "With no picture and no net given it trains a small U-Net on generated pictures first, in half a minute, "
        "and compiles for one more when it does so for the first time.",
    )
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="the picture (default: a generated one)")
    parser.add_argument("--mask", metavar="MASK", help="its truth: a picture whose pixels are class indices")
    parser.add_argument("--checkpoint", metavar="RUN", help="the folder of a run, or a checkpoint file")
    parser.add_argument(
        "--size",
        type=natural,
        help="longest side that the picture is brought to, 0: as it is (default: 64)",
    )
    parser.add_argument(
        "--crop",
        nargs="?",
        type=place,
        const=(),
        metavar="ROW,COLUMN",
        help="don't shrink the picture, but cut a square of --size pixels out of it: around ROW,COLUMN, or with --crop "
        "alone where the net is wrong most often",
    )
    parser.add_argument(
        "--class-weights",
        default="",
        metavar="NUMBERS",
        help="weights of the classes in the loss, one for each class, such as 1,2.5,0.3 (default: those of the run)",
    )
    parser.add_argument(
        "--training",
        action="store_true",
        help="record a step of training: batch normalisation by this picture, and dropout",
    )
    parser.add_argument(
        "-o",
        "--out",
        default="explorer.html",
        metavar="FILE",
        help="the page; it replaces another page of the explorer, but no other file (default: explorer.html)",
    )
    parser.set_defaults(run=run)


def place(text):
    """(row, column) from "120,80", for argparse."""
    try:
        row, column = (natural(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be ROW,COLUMN, such as 120,80, got {text!r}") from None
    return row, column


def run(options):
    from ..explorer import check_output, generated, of_run, write_explorer

    check_output(options.out)
    if options.picture is None and options.mask is not None:
        raise ValueError(f"give a PICTURE that {options.mask} is the mask of, and --checkpoint RUN, a net, too")
    more = {"--size": options.size, "--crop": options.crop, "--class-weights": options.class_weights or None}
    more |= {"--training": options.training or None}
    unused = [name for name, value in more.items() if value is not None]
    if options.picture is None and options.checkpoint is None and unused:
        raise ValueError(f"{', '.join(unused)} would be ignored: give a PICTURE and --checkpoint RUN, a net, too")
    if (options.picture is None) != (options.checkpoint is None):
        missing = "--checkpoint RUN, a net to look at" if options.checkpoint is None else "a PICTURE to look at"
        raise ValueError(f"give {missing}, too; or neither, for a generated picture and a small net")
    if options.picture is None:
        print("Training a small U-Net on generated pictures")
        subject = generated()
    else:
        subject = of_run(
            options.checkpoint,
            options.picture,
            options.mask,
            64 if options.size is None else options.size,
            options.class_weights,
            options.training,
            options.crop,
        )
    path = write_explorer(subject, options.out)
    size = path.stat().st_size
    print(f"{path}   {size / 1e6:.1f} MB   {subject.title}")
    if size > LARGE:
        print("   a page over 20 MB is slow in a browser; a smaller --size, or --crop, makes it smaller")
    for note in subject.notes:
        print(f"   {note}")
    return 0
