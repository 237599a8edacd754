"""`minisegnet explain`."""

from .common import natural


def add(commands):
    parser = commands.add_parser(
        "explain",
        help="write a page that steps through forward and backward, pixel by pixel",
        description="Records one forward and one backward pass of a trained net over a picture, and writes one page "
        "that shows where each number comes from: every layer, every gradient, every pixel. The page needs no network. "
        "With no picture and no net given it trains a small U-Net on generated pictures first, in about 20 seconds.",
    )
    parser.add_argument("picture", nargs="?", metavar="PICTURE", help="the picture (default: a generated one)")
    parser.add_argument("--mask", metavar="MASK", help="its truth: a picture whose pixels are class indices")
    parser.add_argument("--checkpoint", metavar="RUN", help="the folder of a run, or a checkpoint file")
    parser.add_argument(
        "--size",
        type=natural,
        default=64,
        help="longest side that the picture is brought to, 0: as it is (default: 64)",
    )
    parser.add_argument(
        "--class-weights", default="", metavar="NUMBERS", help="weights of the classes in the loss, such as 1,2.5,0.3"
    )
    parser.add_argument(
        "--training",
        action="store_true",
        help="record a step of training: batch normalisation by this picture, and dropout",
    )
    parser.add_argument("-o", "--out", default="explorer.html", metavar="FILE", help="default: explorer.html")
    parser.set_defaults(run=run)


def run(options):
    from ..explorer import generated, of_run, write_explorer

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
            options.size,
            options.class_weights,
            options.training,
        )
    path = write_explorer(subject, options.out)
    print(f"{path}   {path.stat().st_size / 1e6:.1f} MB   {subject.title}")
    for note in subject.notes:
        print(f"   {note}")
    return 0
