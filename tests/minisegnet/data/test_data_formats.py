"""The published layouts, and the line of text that opens them."""

import pickle
import re

import numpy as np
import pytest
from data_cases import labels, make_camvid, make_folder, picture, save, save_palette, write

from minisegnet import data
from minisegnet.data import VOID, DataError
from minisegnet.data.dataset import Dataset
from minisegnet.data.formats.cityscapes import TRAIN_ID
from minisegnet.data.formats.voc import palette

# ------------------------------------------------------------------ CamVid


def test_camvid(tmp_path):
    root = make_camvid(tmp_path)
    train = data.open(f"camvid:{root}")
    assert (len(train), train.name, train.split, train.channels, len(train.classes)) == (3, "camvid", "train", 3, 11)
    assert train.classes[:4] == ("sky", "building", "pole", "road")
    assert train.colours[3].tolist() == [128, 64, 128]
    assert train.names == ["train/0.png", "train/1.png", "train/2.png"]
    assert (train.image_path(1), train.mask_path(1)) == (root / "train" / "1.png", root / "trainannot" / "1.png")
    image, mask = train[1]
    assert (image.shape, image.dtype, mask.dtype) == ((6, 8, 3), np.uint8, np.int64)
    np.testing.assert_array_equal(mask, labels(11, seed=1))
    np.testing.assert_array_equal(train[-2][0], image)
    assert data.splits(f"camvid:{root}") == ("train", "val")
    assert len(data.open(f"camvid:{root}", split="validation")) == 2
    assert data.open(f"camvid:{root}", channels=1)[0][0].shape == (6, 8, 1)
    assert repr(train) == "<camvid train: 3 pictures, 11 classes, colour>"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(train))[1][1], mask)  # to a worker process and back
    with pytest.raises(IndexError, match="camvid train has 3 samples, got index 3"):
        train[3]


def test_camvid_as_it_was_published_has_absolute_paths_and_void_11(tmp_path):
    root = make_camvid(tmp_path, train=1)
    save(root / "trainannot" / "0.png", np.full((6, 8), 11, np.uint8))
    write(root / "train.txt", "/SegNet/CamVid/train/0.png /SegNet/CamVid/trainannot/0.png\r\n\r\n")
    dataset = data.open(f"camvid:{root}")
    assert dataset.image_path(0) == root / "train" / "0.png"
    assert (dataset[0][1] == VOID).all()


def test_a_list_that_names_missing_files_is_reported_whole_before_anything_is_read(tmp_path):
    root = make_camvid(tmp_path)
    write(root / "train.txt", "train/0.png trainannot/0.png\n" + "train/7.png trainannot/1.png\ntrain/1.png\n"
          "train/8.png trainannot/9.png\n../x.png trainannot/2.png\ntrain/0.png trainannot/1.png\n")  # fmt: skip
    write(root / "train" / "0.png", "no picture, but this isn't read yet")
    with pytest.raises(DataError) as caught:
        data.open(f"camvid:{root}")
    text = str(caught.value)
    assert f"{root}: 6 problems with camvid train" in text
    for part in (
        "train.txt: line 2 names train/7.png, but there is no file",
        "train.txt: line 3 is 'train/1.png', expected \"PICTURE MASK\"",
        "train.txt: line 4 names train/8.png, but there is no file",
        "train.txt: line 4 names trainannot/9.png, but there is no file",
        f"train.txt: line 5 names ../x.png, which leads out of {root}",
        "train.txt: line 6 names the picture train/0.png again, after line 1, with another mask",
    ):
        assert part in text


def test_a_long_list_of_problems_is_cut(tmp_path):
    root = make_camvid(tmp_path)
    write(root / "train.txt", "".join(f"train/{i}.png trainannot/0.png\n" for i in range(10, 40)))
    with pytest.raises(DataError, match=r"30 problems .*`minisegnet data check --all` lists them") as caught:
        data.open(f"camvid:{root}")
    assert str(caught.value).count("\n") == 11
    assert str(caught.value).endswith("and 20 more")


def test_splits_and_lists_that_are_not_there(tmp_path):
    root = make_camvid(tmp_path)
    with pytest.raises(DataError, match=r"has no split 'test', .* a list test.txt; there is train, val"):
        data.open(f"camvid:{root}", split="test")
    with pytest.raises(DataError, match=r"there is no other one either: is it the right folder?"):
        data.open(f"camvid:{root / 'train'}")
    write(root / "val.txt", "\n\n")
    with pytest.raises(DataError, match=r"val.txt: names no pictures"):
        data.open(f"camvid:{root}", split="val")


def test_a_mask_of_another_size_is_an_error_when_it_is_read(tmp_path):
    root = make_camvid(tmp_path)
    save(root / "trainannot" / "1.png", labels(2, 8, 6))
    dataset = data.open(f"camvid:{root}")
    dataset[0]
    text = r"trainannot.1.png: the mask is 6x8 pixels, but its picture train/1.png is 8x6 \(width x height"
    with pytest.raises(DataError, match=text):
        dataset[1]


def test_open_like_keeps_to_the_channels_of_a_net(tmp_path):
    root = make_folder(tmp_path)
    assert data.open(f"folder:{root}").channels == 3
    for channels in (1, 3):
        assert data.open_like(f"folder:{root}", channels).channels == channels
        assert data.open_like(f"folder:{root}", channels, "val")[0][0].shape[2] == channels
    assert data.open_like(f"folder:{root},channels=3", 1).channels == 3  # what is said in the text counts
    assert data.open_like("shapes:size=16", 1).channels == 3  # there is no choice


def test_a_damaged_picture_names_itself_when_it_is_read(tmp_path):
    root = make_camvid(tmp_path)
    dataset = data.open(f"camvid:{root}")
    path = root / "train" / "2.png"
    write(path, path.read_bytes()[:80])
    with pytest.raises(DataError, match=re.escape(f"{path}: is damaged")):
        dataset[2]


# ------------------------------------------------------------------ VOC


def make_voc(base):
    mask = np.array([[0, 5, 15, 255], [20, 0, 0, 255]], np.uint8)
    for i in ("2007_000032", "2007_000033", "without_mask"):
        save(base / "JPEGImages" / f"{i}.jpg", picture(2, 4))
    for i in ("2007_000032", "2007_000033"):
        save_palette(base / "SegmentationClass" / f"{i}.png", mask, palette())
    for split in ("train", "trainval"):
        write(base / "ImageSets" / "Segmentation" / f"{split}.txt", "2007_000032\n2007_000033\n")
    return mask


@pytest.mark.parametrize("below", ["", "VOC2012", "VOCdevkit/VOC2012", "TrainVal/VOCdevkit/VOC2011"])
def test_voc(tmp_path, below):
    mask = make_voc(tmp_path / below)
    dataset = data.open(f"voc:{tmp_path}")
    assert (len(dataset), len(dataset.classes), dataset.classes[15]) == (2, 21, "person")
    assert dataset.colours[15].tolist() == [192, 128, 128]
    np.testing.assert_array_equal(dataset[0][1], mask)
    assert data.splits(f"voc:{tmp_path}") == ("train", "trainval")


def test_voc_masks_in_colours(tmp_path):
    mask = make_voc(tmp_path)
    save(tmp_path / "SegmentationClass" / "2007_000032.png", palette()[mask])
    np.testing.assert_array_equal(data.open(f"voc:{tmp_path}")[0][1], mask)


def test_a_split_of_voc_that_is_not_there_or_empty(tmp_path):
    make_voc(tmp_path)
    with pytest.raises(DataError, match=r"has no split 'val', .*Segmentation/val.txt; there is train, trainval"):
        data.open(f"voc:{tmp_path}", split="val")
    write(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "")
    with pytest.raises(DataError, match=r"val.txt: names no pictures"):
        data.open(f"voc:{tmp_path}", split="val")


def test_voc_that_is_incomplete(tmp_path):
    with pytest.raises(DataError, match="isn't in VOC's layout: no folder ImageSets/Segmentation"):
        data.open(f"voc:{tmp_path}")
    make_voc(tmp_path / "VOC2012")
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    write(lists / "val.txt", "without_mask\n")
    with pytest.raises(DataError, match=r"val.txt: line 1 names SegmentationClass/without_mask.png, but there is no"):
        data.open(f"voc:{tmp_path}", split="val")
    write(lists / "val.txt", "../../secret\n")
    with pytest.raises(DataError, match="which leads out of"):
        data.open(f"voc:{tmp_path}", split="val")
    make_voc(tmp_path / "VOC2007")
    with pytest.raises(DataError, match=r"holds several years, take one: .*VOC2007, .*VOC2012"):
        data.open(f"voc:{tmp_path}")


def test_the_palette_follows_vocs_rule():
    """The check values of the published table."""
    colours = palette()
    assert colours[[1, 8, 15, 20, 255]].tolist() == [
        [128, 0, 0], [64, 0, 0], [192, 128, 128], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip
    assert len(np.unique(colours, axis=0)) == 256


# ------------------------------------------------------------------ Cityscapes

IDS = np.array([[0, 1, 7, 8, 11], [23, 24, 26, 33, 16]], np.uint8)
TRAIN_IDS = np.array([[255, 255, 0, 1, 2], [10, 11, 13, 18, 255]], np.uint8)


def make_cityscapes(root, masks, kind="labelIds", split="train"):
    for i, mask in enumerate(masks):
        city, name = f"city{i % 2}", f"city{i % 2}_00000{i}_000019"
        save(root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture(2, 5, seed=i))
        save(root / "gtFine" / split / city / f"{name}_gtFine_{kind}.png", mask)
    return root


def test_cityscapes_ids_become_train_ids(tmp_path):
    root = make_cityscapes(tmp_path, [IDS] * 3)
    dataset = data.open(f"cityscapes:{root}")
    assert (len(dataset), len(dataset.classes), dataset.classes[18]) == (3, 19, "bicycle")
    assert dataset.colours[0].tolist() == [128, 64, 128]
    np.testing.assert_array_equal(dataset[0][1], TRAIN_IDS)
    assert dataset.names[1] == "leftImg8bit/train/city0/city0_000002_000019_leftImg8bit.png"
    assert data.splits(f"cityscapes:{root}") == ("train",)


def test_the_table_of_ids_is_the_published_one():
    published = (
        "255 255 255 255 255 255 255 0 1 255 255 2 3 4 255 255 255 5 255 6 7 8 9 10 11 12 13 14 15 255 255 16 17 18"
    )
    assert [TRAIN_ID[i] for i in range(34)] == [int(n) for n in published.split()]


def test_cityscapes_train_ids_as_they_are(tmp_path):
    root = make_cityscapes(tmp_path, [TRAIN_IDS], "labelTrainIds")
    np.testing.assert_array_equal(data.open(f"cityscapes:{root}", ids="trainIds")[0][1], TRAIN_IDS)
    with pytest.raises(DataError, match=r'has no mask: .*labelIds.png; .*labelTrainIds.png is there.* ids="trainIds"'):
        data.open(f"cityscapes:{root}")


def test_ids_where_train_ids_are_expected_and_the_other_way_round(tmp_path):
    root = make_cityscapes(tmp_path / "a", [IDS], "labelTrainIds")
    with pytest.raises(
        DataError, match=r"labelTrainIds.png: label 23 on 1 .*holds labelIds, but trainIds were expected"
    ):
        data.open(f"cityscapes:{root},ids=trainIds")[0]
    root = make_cityscapes(tmp_path / "b", [TRAIN_IDS], "labelIds")
    with pytest.raises(DataError, match=r"labelIds.png: label 255 on 3 .*holds trainIds, but labelIds were expected"):
        data.open(f"cityscapes:{root}")[0]


def test_cityscapes_that_is_incomplete(tmp_path):
    root = make_cityscapes(tmp_path, [IDS])
    lonely = save(root / "leftImg8bit" / "train" / "city9" / "city9_0_0_leftImg8bit.png", picture())
    with pytest.raises(DataError, match=re.escape(f"{lonely}: has no mask: there is no gtFine/train/city9/")):
        data.open(f"cityscapes:{root}")
    with pytest.raises(DataError, match="has no split 'val', which would be a folder leftImg8bit/val; there is train"):
        data.open(f"cityscapes:{root}", split="val")
    with pytest.raises(DataError, match="has no folder gtCoarse/train"):
        data.open(f"cityscapes:{root}", annotation="gtCoarse")
    (root / "leftImg8bit" / "val").mkdir()
    (root / "gtFine" / "val").mkdir()
    with pytest.raises(DataError, match=r"val: holds no pictures \(.png .jpg"):
        data.open(f"cityscapes:{root}", split="val")
    with pytest.raises(ValueError, match="ids must be"):
        data.open(f"cityscapes:{root}", ids="ids")
    with pytest.raises(ValueError, match="annotation must be"):
        data.open(f"cityscapes:{root}", annotation="fine")


# ------------------------------------------------------------------ class folders


def make_classes(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            save(root / name / "deep" / f"{i}.png", picture(seed=i))
    return root


def test_imagefolder_draws_a_part_of_each_class_for_val(tmp_path):
    root = make_classes(tmp_path, {"dog": 10, "Cat": 5})
    write(root / "dog" / "notes.txt", "no picture")
    write(root / "dog" / "._0.png", "litter")
    train, val = data.open(f"imagefolder:{root}"), data.open(f"imagefolder:{root}", split="val")
    assert (train.kind, train.classes, train.channels) == ("classification", ("Cat", "dog"), 3)
    assert (len(train), len(val), len(data.open(f"imagefolder:{root}", split="all"))) == (12, 3, 15)
    assert sorted(val.labels) == [0, 1, 1]
    assert not set(train.images) & set(val.images)
    image, label = train[0]
    assert (image.shape, label) == ((6, 8, 3), 0)
    assert train.names[-1].startswith("dog/deep/")
    again = data.open(f"imagefolder:{root}", split="val", seed=0)
    other = data.open(f"imagefolder:{root},val_fraction=0.4,seed=3", split="val")
    assert (again.images, len(other)) == (val.images, 6)


def test_imagefolder_with_folders_for_the_splits(tmp_path):
    make_classes(tmp_path / "train", {"a": 2, "b": 1})
    make_classes(tmp_path / "val", {"b": 1})
    assert data.splits(f"imagefolder:{tmp_path}") == ("train", "val")
    assert data.open(f"imagefolder:{tmp_path}").labels == (0, 0, 1)
    assert data.open(f"imagefolder:{tmp_path}", split="val").labels == (1,)
    assert len(data.open(f"imagefolder:{tmp_path}", split="all")) == 4
    make_classes(tmp_path / "val", {"c": 1})
    with pytest.raises(DataError, match=r"c: is no class of .*train: a, b"):
        data.open(f"imagefolder:{tmp_path}", split="val")
    with pytest.raises(DataError, match="has no split 'test'"):
        data.open(f"imagefolder:{tmp_path}", split="test")


def test_imagefolder_without_classes_or_pictures(tmp_path):
    with pytest.raises(DataError, match="holds no folders: each class's pictures belong into a folder"):
        data.open(f"imagefolder:{tmp_path}")
    make_classes(tmp_path, {"a": 1, "empty": 0})
    with pytest.raises(DataError, match="empty: holds no pictures"):
        data.open(f"imagefolder:{tmp_path}")


# ------------------------------------------------------------------ the line of text


def test_unknown_kinds_and_options(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'coco:x': .* one of camvid:PATH, voc:PATH, .*, shapes$"):
        data.open("coco:x")
    with pytest.raises(TypeError, match='is given as text such as "camvid:PATH", got 3'):
        data.open(3)
    with pytest.raises(FileNotFoundError, match=r"camvid:.*none: there is no folder"):
        data.open(f"camvid:{tmp_path / 'none'}")
    with pytest.raises(ValueError, match="expected camvid:PATH, got 0 paths"):
        data.open("camvid:")
    with pytest.raises(ValueError, match="camvid has no option size; it has: channels"):
        data.open(f"camvid:{tmp_path}", size=3)
    with pytest.raises(ValueError, match=r"shapes: seed is given twice|shapes:seed=1: seed is given twice"):
        data.open("shapes:seed=1", seed=2)
    with pytest.raises(ValueError, match="shapes are generated and take no path"):
        data.open("shapes:64")
    with pytest.raises(ValueError, match=r"channels must be 1 \(grey\) or 3 \(colour\), got 4"):
        data.open(f"camvid:{make_camvid(tmp_path)}", channels=4)
    with pytest.raises(TypeError, match="split must be a name"):
        data.open("shapes", split=3)


def test_a_bare_path_is_understood_if_only_one_layout_is_possible(tmp_path):
    roots = {
        "camvid": make_camvid(tmp_path / "a"),
        "cityscapes": make_cityscapes(tmp_path / "c", [IDS]),
        "folder": make_folder(tmp_path / "d"),
        "imagefolder": make_classes(tmp_path / "e", {"x": 3, "y": 3}),
        "voc": tmp_path / "b",
    }
    make_voc(roots["voc"])
    for kind, root in roots.items():
        assert data.open(str(root)).name == kind
        assert data.open(root).name == kind
    with pytest.raises(ValueError, match=r"looks like none of the layouts; say which one: camvid:PATH"):
        data.open(str(tmp_path / "a" / "train"))
    with pytest.raises(ValueError, match=r"train.txt is a file; a data set is a folder"):
        data.open(str(roots["camvid"] / "train.txt"))
    make_folder(roots["camvid"])
    with pytest.raises(ValueError, match="could be camvid or folder; say which one"):
        data.open(str(roots["camvid"]))


def test_a_path_may_have_commas_and_equals_signs(tmp_path):
    root = make_folder(tmp_path / "a,seed=3")
    assert len(data.open(f"folder:{root}", split="all")) == 4


# ------------------------------------------------------------------ the base class


def test_a_data_set_of_ones_own_needs_three_methods():
    class Squares(Dataset):
        def __len__(self):
            return 2

        def image(self, i):
            return np.full((4, 4, 1), i, np.uint8)

        def mask(self, i):
            return np.full((4, 4 + i), i)

    squares = Squares("squares", "train", ["a", "b"], channels=1)
    assert squares[0][1].shape == (4, 4)
    assert squares.names[1] == "squares train 1"
    with pytest.raises(DataError, match=r"squares train 1: the mask is 5x4 pixels, but its picture .* is 4x4"):
        squares[1]
    with pytest.raises(ValueError, match="colours must be a table of 2 rows"):
        Squares("squares", "train", ["a", "b"], colours=[[0, 0, 0]])
    for attempt in (len, lambda d: d.image(0), lambda d: d.mask(0)):
        with pytest.raises(NotImplementedError, match="Dataset must"):
            attempt(Dataset("x", "train", ["a"]))


def test_names_of_the_package():
    assert {"open", "splits", "Dataset", "DataError", "VOID", "shapes"} <= set(dir(data))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = data.nothing
