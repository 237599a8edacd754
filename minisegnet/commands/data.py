"""`minisegnet data check`."""

TEXT = """Data sets are named KIND:PATH.

  folder:PATH         PATH/images and PATH/masks (or labels), one mask for each picture, of the same name; train.txt and
                      val.txt if there are any, else a part is kept for validation
  folder:IMAGES,MASKS two folders
  camvid:PATH         train.txt, val.txt with an image and a mask on each line
  voc:PATH            PASCAL VOC (VOCdevkit/VOC2012)
  cityscapes:PATH     leftImg8bit and gtFine; ids become the 19 train ids
  imagefolder:PATH    a folder of pictures for each class (to classify)
  shapes              generated pictures; shapes:size=64,count=200,seed=3

Options follow the path, separated by commas: folder:PATH,classes=ground+cell,values=0+255,val_fraction=0.2
(classes: their names; values: what stands for them in the masks; colours=; channels=1 or 3; void=; seed=)

A mask is a PNG whose pixels are class numbers (grey or palette), or colours of the data set's table; 255 is void: not
trained on, not counted."""


def add(commands):
    import argparse

    parser = commands.add_parser(
        "data",
        help="check a data set",
        description=TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kinds = parser.add_subparsers(title="what to do", metavar="WHAT", required=True)
    check = kinds.add_parser(
        "check",
        help="read every picture and mask, and report all that is wrong",
        description="Reads every picture and mask of a data set and reports everything that is wrong with them in one "
        "pass, how often each class occurs, and what class weights that suggests. Exit code 1 if there are problems.",
    )
    check.add_argument("data", help="such as folder:PATH; see `minisegnet data --help`")
    check.add_argument("--split", action="append", help="only this split (may be repeated; default: all)")
    check.add_argument("--sheet", metavar="FILE", help="draw a contact sheet of pictures with their masks (a PNG)")
    check.add_argument("--all", action="store_true", help="print all findings, also when many are alike")
    check.set_defaults(run=run_check)


def run_check(options):
    from ..data.check import check

    report = check(options.data, split=options.split, contact_sheet=options.sheet)
    print(report.text(options.all))
    return 0 if report else 1
