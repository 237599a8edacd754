"""`minisegnet prune`."""

from .common import add_settings, given_settings


def add(commands):
    parser = commands.add_parser(
        "prune",
        help="set the smallest weights of a trained net to zero and train the rest",
        description="Sets the smallest weights of a run's best net to zero and trains the others again on the same "
        "data. Unless flags say otherwise, that is --sparsity 0.8, a quarter of the run's learning rate and a third of "
        "its epochs; all else is as it was. The result is a new run in --out, with which `minisegnet train --resume` "
        "goes on if it is stopped. Prints the share of zeros and the mean IoU, before and after.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of the run to prune")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the folder of the new run")
    parser.add_argument("--overwrite", action="store_true", help="delete the run in --out first")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no messages")
    add_settings(parser, skip=("init", "freeze", "model", "model_settings"))
    parser.set_defaults(run=run)


def run(options):
    from pathlib import Path

    from ..checkpoint import load
    from ..train.config import Config
    from ..train.parts import zero_share
    from ..train.trainer import train
    from ..trained import load_trained

    folder = Path(options.run_folder)
    if folder.resolve() == Path(options.out).resolve():
        raise ValueError(f"--out {options.out} is the run to prune; give the pruned one a folder of its own")
    trained = load_trained(folder)
    if not (folder / "config.toml").exists():
        raise FileNotFoundError(f"{folder} has no config.toml; name the folder of a run")
    before = Config.read(folder / "config.toml")
    changes = {"sparsity": 0.8, "lr": before.lr / 4, "epochs": max(1, before.epochs // 3)} | given_settings(options)
    if not changes["sparsity"]:
        raise ValueError("--sparsity 0 prunes nothing")
    config = before.replace(**changes, init=str(trained.path), freeze="")
    result = train(config, options.out, overwrite=options.overwrite, quiet=options.quiet)
    pruned = load_trained(result.folder)
    print(f"{zero_share(trained.net):.1%} of the weights were zero before, {zero_share(pruned.net):.1%} are now")
    print(f"mean IoU {load(trained.path).state['best']:.3f} before, {result.best_miou:.3f} now")
    return 0
