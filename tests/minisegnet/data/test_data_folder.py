"""Your own pictures: names, lists and splits, and what masks mean."""

import re

import numpy as np
import pytest
from data_cases import labels, make_folder, picture, save, save_palette, write

from minisegnet import data
from minisegnet.data import VOID, DataError


def fold(root, split="train", **options):
    return data.open(f"folder:{root}", split=split, **options)


# ------------------------------------------------------------------ which pictures


def test_a_folder_with_lists(tmp_path):
    root = make_folder(tmp_path, stems=["1", "2", "10", "11", "12"])
    write(root / "train.txt", b"\xef\xbb\xbf10\r\n2.png  \r\n\r\nimages/1.png\r\n")
    write(root / "val.txt", "images/11.png masks/12.png\n12\n")
    train, val = fold(root), fold(root, "val")
    assert train.names == ["images/10.png", "images/2.png", "images/1.png"]
    assert val.mask_path(0) == root / "masks" / "12.png"
    assert val.names == ["images/11.png", "images/12.png"]
    assert fold(root, "all").names == [f"images/{n}.png" for n in (1, 2, 10, 11, 12)]  # numbers in order
    assert data.splits(f"folder:{root}") == ("train", "val")
    np.testing.assert_array_equal(train[1][1], labels(seed=1))
    with pytest.raises(DataError, match=r"has no split 'test', .*; there is train, val, all"):
        fold(root, "test")


def test_lists_that_name_what_is_not_there_are_reported_whole(tmp_path):
    root = make_folder(tmp_path)
    write(root / "train.txt", "p0\nq1\n../p1\nimages/p1.png masks/q.png\nq7\n")
    with pytest.raises(DataError, match="4 problems with folder train") as caught:
        fold(root)
    for part in (
        f"line 2 names q1, but there is no such picture in {root / 'images'}",
        f"line 3 names ../p1, which leads out of {root / 'images'}",
        f"line 4 names masks/q.png, but there is no file {root / 'masks' / 'q.png'}",
        "line 5 names q7, but",
    ):
        assert part in str(caught.value)
    write(root / "train.txt", "\n")
    with pytest.raises(DataError, match=r"train.txt: names no pictures"):
        fold(root)


def test_a_name_that_a_list_repeats_counts_once(tmp_path):
    root = make_folder(tmp_path)
    write(root / "train.txt", "p0\np1\np0\np1.png\n")
    dataset = fold(root)
    assert len(dataset) == 2
    assert f"{root / 'train.txt'}: line 3 repeats line 1 (p0); it counts once" in dataset.notes
    assert f"{root / 'train.txt'}: line 4 names p1 again; it counts once" in dataset.notes


def test_a_list_for_val_alone_leaves_the_rest_for_train(tmp_path):
    root = make_folder(tmp_path)
    write(root / "valid.txt", "p1.png\n")
    assert fold(root).names == ["images/p0.png", "images/p2.png", "images/p3.png"]
    assert fold(root, "val").names == ["images/p1.png"]
    assert "train is what valid.txt doesn't name" in fold(root).notes


def test_without_lists_a_part_is_drawn_for_val(tmp_path):
    root = make_folder(tmp_path, count=10)
    train, val = fold(root), fold(root, "val")
    assert (len(train), len(val)) == (8, 2)
    assert sorted(train.names + val.names) == fold(root, "all").names
    assert fold(root, "val", seed=0).names == val.names
    assert len({tuple(fold(root, "val", seed=seed).names) for seed in range(5)}) > 1
    assert len(fold(root, "val", val_fraction=0.5)) == 5
    assert len(fold(root, "val", val_fraction=0.01)) == 1
    assert len(fold(root, "train", val_fraction=0.99)) == 1
    assert any("2 of the pictures are drawn for val, the others are train (val_fraction=0.2" in n for n in train.notes)
    with pytest.raises(ValueError, match=r"val_fraction must be in \(0, 1\), got 1"):
        fold(root, val_fraction=1)
    with pytest.raises(ValueError, match="seed must be at least 0"):
        fold(root, seed=-1)


def test_folders_for_the_splits(tmp_path):
    root = make_folder(tmp_path, stems=["train/a", "train/b", "val/a"])
    assert fold(root).names == ["images/train/a.png", "images/train/b.png"]
    assert fold(root, "val").names == ["images/val/a.png"]
    assert data.splits(f"folder:{root}") == ("train", "val")


def test_two_paths_and_other_names_of_folders(tmp_path):
    root = make_folder(tmp_path / "a")
    (root / "masks").rename(root / "truth")
    (root / "images").rename(root / "photos")
    dataset = data.open(f"folder:{root / 'photos'},{root / 'truth'}", split="all")
    assert dataset.names[0] == "photos/p0.png"
    assert len(data.open(f"folder:{root / 'photos'}", split="all", masks=str(root / "truth"))) == 4
    assert data.splits(f"folder:{root / 'photos'},{root / 'truth'}") == ("train", "val")
    with pytest.raises(DataError, match="has no folder images/ or image/ for the pictures; name both"):
        fold(root)
    with pytest.raises(DataError, match="nothing: is no folder; it should hold the masks"):
        data.open(f"folder:{root / 'photos'},{root / 'nothing'}")
    with pytest.raises(ValueError, match="expected folder:PATH or folder:IMAGES,MASKS, got 3 paths"):
        data.open(f"folder:{root},{root},{root}")
    both = make_folder(tmp_path / "b")
    save(both / "labels" / "p0.png", labels())
    with pytest.raises(DataError, match="holds masks/ and labels/: which has the masks"):
        fold(both)


@pytest.mark.parametrize("ending", ["_mask", "_L", "_P", "_gt"])
def test_masks_with_an_ending_of_their_own(tmp_path, ending):
    root = make_folder(tmp_path)
    for i in range(4):
        (root / "masks" / f"p{i}.png").rename(root / "masks" / f"p{i}{ending}.png")
    dataset = fold(root, "all")
    assert dataset.mask_path(2).name == f"p2{ending}.png"


def test_pictures_without_masks_and_names_that_are_not_clear(tmp_path):
    root = make_folder(tmp_path, count=6)
    (root / "masks" / "p1.png").unlink()
    save(root / "masks" / "p2.tif", labels())
    save(root / "masks" / "p3_mask.png", labels())
    save(root / "images" / "p4.jpg", picture())
    with pytest.raises(DataError, match="4 problems") as caught:
        fold(root)
    for part in (
        f"{root / 'images' / 'p1.png'}: has no mask: there is no p1.png in {root / 'masks'}",
        f"{root / 'images' / 'p2.png'}: has 2 masks: masks/p2.png, masks/p2.tif",
        f"{root / 'images' / 'p3.png'}: has 2 masks: masks/p3.png, masks/p3_mask.png",
        "and images/p4.jpg have the same name: which one?",
    ):
        assert part in str(caught.value)
    write(root / "train.txt", "p0\np5\n")  # with a list, only what it names must be clear
    assert len(fold(root)) == 2


def test_masks_without_pictures_are_noted(tmp_path):
    root = make_folder(tmp_path)
    (root / "images" / "p3.png").unlink()
    assert any(
        n.startswith(f"1 of the masks belong to no picture, such as {root / 'masks' / 'p3.png'}")
        for n in fold(root).notes
    )


def test_no_pictures_and_litter(tmp_path):
    for name in ("images", "masks"):
        write(tmp_path / name / "Thumbs.db", "litter")
        write(tmp_path / name / "._a.png", "litter")
    with pytest.raises(DataError, match=r"images: holds no pictures \(.png"):
        fold(tmp_path)
    save(tmp_path / "images" / "a.png", picture())
    with pytest.raises(DataError, match=r"masks: holds no pictures \(.png"):
        fold(tmp_path)


# ------------------------------------------------------------------ channels


def test_channels_follow_from_the_pictures_of_all_splits(tmp_path):
    root = make_folder(tmp_path)
    for i in range(4):
        save(root / "images" / f"p{i}.png", picture(channels=1))
    write(root / "train.txt", "p0\np1\n")
    write(root / "val.txt", "p2\np3\n")
    assert fold(root).channels == 1
    assert fold(root)[0][0].shape == (6, 8, 1)
    assert fold(root, channels=3)[0][0].shape == (6, 8, 3)
    save(root / "images" / "p3.png", picture())
    assert (fold(root).channels, fold(root, "val").channels) == (3, 3)
    assert "channels=3, as some of the pictures are in colour" in fold(root).notes
    assert fold(root, channels=1)[0][0].shape == (6, 8, 1)


def test_a_file_that_is_no_picture_is_found_when_headers_are_read(tmp_path):
    root = make_folder(tmp_path)
    write(root / "images" / "p0.png", b"")
    with pytest.raises(DataError, match=re.escape(f"{root / 'images' / 'p0.png'}: is empty (0 bytes)")):
        fold(root)


# ------------------------------------------------------------------ what masks mean


def with_masks(root, *masks):
    """A folder whose masks are these."""
    for i, mask in enumerate(masks):
        save(root / "images" / f"p{i}.png", picture(*np.shape(mask)[:2]))
        save(root / "masks" / f"p{i}.png", np.asarray(mask))
    return root


def u8(*rows):
    return np.array(rows, np.uint8)


def test_classes_are_guessed_from_the_masks_of_all_splits_and_this_is_noted(tmp_path):
    root = with_masks(tmp_path, u8([0, 1]), u8([0, 255]), u8([0, 3]))
    write(root / "train.txt", "p0\np1\n")
    dataset = fold(root)
    assert dataset.classes == ("class 0", "class 1", "class 2", "class 3")
    assert "4 classes, as all 3 masks hold the labels 0, 1, 3; name them with classes=..." in dataset.notes
    assert dataset[1][1].tolist() == [[0, VOID]]


def test_classes_by_number_names_and_file(tmp_path):
    root = with_masks(tmp_path, u8([0, 1]), u8([0, 2]))
    assert fold(root, classes=5).classes[4] == "class 4"
    assert data.open(f"folder:{root},classes=5").classes == fold(root, classes="5").classes
    assert fold(root, classes=["sky", "road", "car"]).classes == ("sky", "road", "car")
    assert data.open(f"folder:{root},classes=sky+road+car").classes == ("sky", "road", "car")
    named = write(tmp_path / "names.txt", "sky\nroad\ndeep blue car\n")
    assert fold(root, classes=str(named)).classes == ("sky", "road", "deep blue car")
    write(root / "codes.txt", "a\nb\nc\nd\n")
    dataset = fold(root)
    assert dataset.classes == ("a", "b", "c", "d")
    assert f"the classes are those of {root / 'codes.txt'}" in dataset.notes
    with pytest.raises(DataError, match=r"p1.png: label 2 on 1 pixels .* 2 classes are the values 0 to 1"):
        fold(root, "all", classes=2)[1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"classes": ["a", "a"]}, "two or more different names"),
        ({"classes": "onlyone"}, "two or more different names such as"),
        ({"classes": 2, "values": "0+1+2"}, "classes has 2 entries, values has 3 entries: they must be as many"),
        ({"colours": "000000+red"}, "a colour must be six hexadecimal digits.* got 'red'"),
        ({"colours": [(0, 0, 0), (0, 0, 256)]}, r"got \(0, 0, 256\)"),
        ({"values": "0+x"}, "a pixel value must be a whole number, got 'x'"),
        ({"values": [0, -1]}, "a pixel value must be at least 0, got -1"),
        ({"void": "x"}, "a pixel value must be a whole number, got 'x'"),
        ({"colors": "000000+ffffff"}, "folder has no option colors; it has: masks, classes, colours"),
    ],
)
def test_options_that_make_no_sense(tmp_path, options, text):
    root = make_folder(tmp_path)
    with pytest.raises(ValueError, match=text):
        fold(root, **options)


def test_files_of_classes_that_make_no_sense(tmp_path):
    root = make_folder(tmp_path)
    for content, text in (
        ("one\n", r"classes.txt: must name two or more different classes, one a line, got \['one'\]"),
        ("a 0 0 0\nb\n", "b has no colour, though others have"),
        ("a 0 0 0\nb 1 2 300\n", r"line 2 has the colour \(1, 2, 300\); red, green and blue are 0 to 255"),
    ):
        write(root / "classes.txt", content)
        with pytest.raises(DataError, match=text):
            fold(root)


@pytest.mark.parametrize("options", [{}, {"classes": 2}])
def test_masks_of_0_and_255_are_noticed_and_explained(tmp_path, options):
    root = with_masks(tmp_path, u8([0, 255]), u8([255, 255]), u8([0, 0]))
    with pytest.raises(DataError, match=r"masks: .* only 0 and 255, and 255 is the label of void.* values=0\+255$"):
        fold(root, **options)
    for values in ("0+255", [0, 255]):
        dataset = fold(root, "all", values=values, **options)
        assert [dataset[i][1].tolist() for i in range(3)] == [[[0, 1]], [[1, 1]], [[0, 0]]]


def test_two_classes_with_some_void_are_fine(tmp_path):
    root = with_masks(tmp_path, u8([0, 255]), u8([1, 0]))
    assert fold(root, "all", classes=2)[0][1].tolist() == [[0, VOID]]


def test_masks_whose_values_are_no_indices(tmp_path):
    root = with_masks(tmp_path, u8([0, 85, 170]))
    with pytest.raises(DataError, match=r"hold the values 0, 85, 170: too far apart .* as values=0\+85\+170"):
        fold(root)
    assert data.open(f"folder:{root},values=0+85+170", split="all")[0][1].tolist() == [[0, 1, 2]]
    for mask, text in ((u8([0, 0]), "no label but 0 was found in 1 masks"), (u8([255, 255]), "no label but void")):
        save(root / "masks" / "p0.png", mask)
        save(root / "images" / "p0.png", picture(1, 2))
        with pytest.raises(DataError, match=text):
            fold(root)


def test_masks_that_are_all_jpegs(tmp_path):
    root = make_folder(tmp_path)
    for i in range(4):
        save(root / "masks" / f"p{i}.jpg", labels(2) * np.uint8(200))
        (root / "masks" / f"p{i}.png").unlink()
    first = root / "masks" / "p0.jpg"
    text = f"none of the masks can be read; {first}: is a JPEG picture (L), which blurs labels; save masks as PNG"
    with pytest.raises(DataError, match=re.escape(text)):
        fold(root)


def test_trimaps_of_the_pets(tmp_path):
    """1 is the pet, 2 the background, 3 the outline."""
    root = with_masks(tmp_path, u8([1, 2, 3]))
    assert fold(root, "all", values="2+1", void=3)[0][1].tolist() == [[1, 0, VOID]]
    with pytest.raises(DataError, match=r"label 3 on 1 pixels .* 2 classes are the values 1, 2, and 255 for void"):
        fold(root, "all", values="2+1")[0]


def test_colour_masks(tmp_path):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [224, 224, 192]], np.uint8)
    root = with_masks(tmp_path, colours[[[0, 1, 2, 3]]])
    with pytest.raises(DataError, match=r"holds colour masks with the colours 000000, 0000ff, e0e0c0, ff0000, and no"):
        fold(root)
    options = {"colours": "000000+ff0000+#0000ff", "void": "#e0e0c0"}
    dataset = fold(root, "all", **options)
    assert dataset[0][1].tolist() == [[0, 1, 2, VOID]]
    np.testing.assert_array_equal(dataset.colours, colours[:3])
    assert fold(root, "all", colours=[(0, 0, 0), (255, 0, 0), (0, 0, 255)], void=[(224, 224, 192)])[0][1][0, 3] == VOID
    write(root / "classes.txt", "ground 0 0 0\nred car 255 0 0\nsky\t0, 0, 255\nvoid 224 224 192\n")
    dataset = fold(root, "all")
    assert (dataset.classes, dataset[0][1].tolist()) == (("ground", "red car", "sky"), [[0, 1, 2, VOID]])
    with pytest.raises(DataError, match=r"p0.png: colour \(224, 224, 192\) at x=3, y=0 belongs to no class"):
        fold(root, "all", colours="000000+ff0000+0000ff", classes="a+b+c")[0]


def test_palette_masks_are_indices_whatever_their_colours(tmp_path):
    root = with_masks(tmp_path, u8([0, 1, 2]))
    save_palette(root / "masks" / "p0.png", u8([2, 0, 1]), [[9, 9, 9], [8, 8, 8], [9, 9, 9]])
    assert fold(root, "all")[0][1].tolist() == [[2, 0, 1]]


def test_cityscapes_ids_in_a_folder_of_19_classes(tmp_path):
    root = with_masks(tmp_path, u8([0, 26]))
    with pytest.raises(DataError, match=r"label 26 on 1 .* In Cityscapes, 19 to 33 occur only among labelIds"):
        fold(root, "all", classes=19)[0]


def test_opening_reads_no_more_masks_than_it_needs(tmp_path, monkeypatch):
    from minisegnet.data.formats import meaning

    root = make_folder(tmp_path, count=30)
    read = []
    real = meaning.read_label_pixels
    monkeypatch.setattr(meaning, "read_label_pixels", lambda path: read.append(path) or real(path))
    monkeypatch.setattr(meaning, "LOOKED_AT", 10)
    assert any("10 of 30 masks hold the labels 0, 1" in note for note in fold(root).notes)
    assert len(read) == 10
    read.clear()
    fold(root, classes=2)
    assert 0 < len(read) <= 8
    read.clear()
    fold(root, values="0+1")
    assert read == []
