"""`minisegnet eval`."""

from .common import add_device


def add(commands):
    parser = commands.add_parser(
        "eval",
        help="measure a trained net on a data set",
        description="Measures a trained net: IoU, accuracy (which is the recall), precision and F1 of each class, "
        "their means, and the confusion matrix as a picture. Prints the table and writes it beside the checkpoint, or "
        "where --out says.",
    )
    parser.add_argument("run_folder", metavar="RUN", help="the folder of a run, or a checkpoint file")
    parser.add_argument("--data", help="the data set (default: the one it was trained with)")
    parser.add_argument("--split", help="the split (default: the one it was validated on)")
    parser.add_argument("--out", metavar="FOLDER", help="where eval.csv and eval_confusion.png go")
    add_device(parser)
    parser.set_defaults(run=run)


def run(options):
    from tqdm import tqdm

    from .. import charts, data
    from ..evaluate import evaluate
    from ..predict import results_folder
    from ..train.folder import evaluation_files, measures_of_classes
    from ..trained import check_same_classes, load_trained

    trained = load_trained(options.run_folder, options.device)
    config = trained.config
    spec = options.data or config["val_data"] or config["data"]
    recipe = trained.recipe
    dataset = data.open_like(spec, recipe.channels, options.split or config["val_split"])
    check_same_classes(recipe, dataset)
    loader = data.DataLoader(dataset, 1, transform=recipe.transform(resize=True))

    def progress(batches):
        return tqdm(batches, unit="picture", leave=False, disable=None)

    out = results_folder(options.out or trained.path.parent)
    confusion, _ = evaluate(trained.net, loader, len(recipe.classes), progress=progress)
    table, picture = evaluation_files(out)
    measures_of_classes(table, recipe.classes, confusion)
    charts.confusion(confusion.matrix, recipe.classes, picture)
    print(f"{trained.path} on {spec}, {dataset.split}: {len(dataset)} pictures\n")
    print(confusion.table(recipe.classes))
    print(f"\n{table}, {picture}")
    return 0
