"""`minisegnet train`."""

from .common import add_settings, given_settings

TEXT = """Trains a net on a data set and keeps everything in one folder: the configuration, a table of metrics, curves,
panels of pictures, the last and the best net, and report.html, which shows all of it.

A data set is KIND:PATH. Kinds: folder (images/ and masks/ inside, or two folders: folder:IMAGES,MASKS), camvid, voc,
cityscapes, imagefolder (a folder of pictures for each class, to classify), shapes (generated, needs no path). See
`minisegnet data --help` for their layouts."""

EXAMPLES = """examples:
  minisegnet train --data folder:my/photos --model unet --set width=16 --epochs 30 --out runs/photos
  minisegnet train --data shapes --epochs 2 --out runs/shapes
  minisegnet train --resume --out runs/photos
  minisegnet train --config runs/photos/config.toml --lr 1e-3 --out runs/slower
  minisegnet train --data folder:new --init runs/photos --freeze encoder --out runs/new

exit codes: 0 done, 1 something is wrong (the message says what), 2 wrong arguments, 130 stopped by Ctrl-C, 143 by
SIGTERM and 129 by SIGHUP (the terminal was closed) after saving: --resume goes on from there"""


def add(commands):
    import argparse

    parser = commands.add_parser(
        "train",
        help="train a net on a data set",
        description=TEXT,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the folder of the run")
    parser.add_argument("--config", metavar="FILE", help="a TOML file with settings; flags win over it")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--resume", action="store_true", help="go on with the run in --out, with its own settings")
    there.add_argument("--overwrite", action="store_true", help="delete the run in --out first")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no messages")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(options):
    from ..train.config import Config
    from ..train.trainer import train

    given = given_settings(options)
    if options.resume and (given or options.config):
        flags = ["--set" if name == "model_settings" else "--" + name.replace("_", "-") for name in given]
        named = ", ".join(flags + ["--config"] * bool(options.config))
        raise ValueError(f"a resumed run keeps its own settings; leave out {named}, or start a new one with --out")
    if options.resume:
        train(None, options.out, resume=True, quiet=options.quiet)
        return 0
    config = Config.read(options.config, **given) if options.config else Config(**given)
    if not config.data:
        raise ValueError("there is nothing to train on; name a data set: --data folder:PATH, or --data shapes")
    train(config, options.out, overwrite=options.overwrite, quiet=options.quiet)
    return 0
