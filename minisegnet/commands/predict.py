"""`minisegnet predict`."""

from .common import add_device, positive


def add(commands):
    parser = commands.add_parser(
        "predict",
        help="segment pictures with a trained net",
        description="Segments pictures of any size with a trained net. For each NAME.jpg it writes NAME.png, whose "
        "pixels are the classes (with a palette, so that viewers show them in colour), and NAME_overlay.png. Prints "
        "the share of each class. A net trained to classify prints the most likely classes instead, and writes those "
        "of all pictures into one table, predictions.csv.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run, or a checkpoint file")
    parser.add_argument(
        "inputs", nargs="+", metavar="PICTURES", help='files, folders, or patterns such as "shots/*.jpg"'
    )
    parser.add_argument(
        "--out", "-o", default="predictions", metavar="FOLDER", help="where results go (default: predictions)"
    )
    parser.add_argument("--no-overlay", action="store_true", help="masks only")
    parser.add_argument("--probabilities", action="store_true", help="also NAME_probabilities.npy (classes, H, W)")
    parser.add_argument(
        "--tile", type=positive, default=512, help="largest side that the net sees at once (default: 512)"
    )
    add_device(parser)
    parser.set_defaults(run=run)


def run(options):
    from tqdm import tqdm

    from ..predict import classify_files, predict_files
    from ..trained import load_trained

    trained = load_trained(options.run_folder, options.device)

    def progress(items):
        return tqdm(items, unit="picture", leave=False, disable=None)

    if trained.recipe.kind == "classification":
        for path, table, p in classify_files(trained, options.inputs, options.out, progress=progress):
            best = sorted(((share, name) for name, share in p.items()), reverse=True)[:3]
            tqdm.write(f"{path} -> {table}   " + ", ".join(f"{name} {share:.1%}" for share, name in best))
        return 0
    wanted = options.inputs, options.out, not options.no_overlay, options.probabilities, options.tile
    for path, target, shares in predict_files(trained, *wanted, progress=progress):
        most = sorted(((share, name) for name, share in shares.items() if share), reverse=True)[:4]
        tqdm.write(f"{path} -> {target}   " + ", ".join(f"{name} {share:.0%}" for share, name in most))
    return 0
