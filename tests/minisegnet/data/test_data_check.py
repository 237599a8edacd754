"""`minisegnet data check`: all that is wrong is found in one pass, and what is counted is right."""

import numpy as np
import pytest
from data_cases import bomb, labels, make_camvid, make_folder, picture, save, write
from PIL import Image

from minisegnet import data
from minisegnet.class_weights import class_weights, count_pixels
from minisegnet.data import VOID
from minisegnet.data.check import check


def texts(items):
    return [f"{file}: {text}" for file, text in items]


def has(items, *parts):
    """Whether there is one item that holds all the parts."""
    return any(all(str(part) in text for part in parts) for text in texts(items))


def test_a_good_data_set(tmp_path):
    root = make_camvid(tmp_path)
    report = check(f"camvid:{root}", progress=False)
    assert report
    assert report.problems == []
    assert list(report.parts) == ["train", "val"]
    expected = count_pixels(data.open(f"camvid:{root}"))
    np.testing.assert_array_equal(report.pixels, expected.pixels)
    np.testing.assert_array_equal(report.images, expected.images)
    np.testing.assert_array_equal(
        report.pixels, sum(np.bincount(labels(11, seed=i).ravel(), minlength=11) for i in range(3))
    )
    for rule in ("median-frequency", "sqrt-median-frequency", "enet"):
        np.testing.assert_array_equal(report.weights[rule], class_weights(rule, expected))
    text = str(report)
    assert f"camvid:{root}" in text
    assert "train: 3 pictures of 8x6 (width x height)\n  stored as RGB (3); read with 3 channels" in text
    assert "val: 2 pictures" in text
    assert f"{report.weights['enet'][0]:.3f}" in text
    assert text.endswith("no problems found")


def test_everything_wrong_with_a_data_set_is_found_in_one_pass(tmp_path):
    """A folder with each of the faults at once; every one is reported, with its file."""
    root = make_folder(tmp_path, count=16, classes=3)
    images, masks = root / "images", root / "masks"
    cut = images / "p0.png"
    write(cut, cut.read_bytes()[:90])
    flipped = images / "p1.png"
    write(flipped, flipped.read_bytes()[:70] + b"?" + flipped.read_bytes()[71:])
    write(images / "p2.png", b"")
    write(masks / "p2.png", "text")
    write(images / "p3.png", bomb())
    save(masks / "p4.png", labels(3, 8, 6))
    save(masks / "p5.png", np.full((6, 8), 7, np.uint8))
    save(masks / "p6.png", np.full((6, 8), VOID, np.uint8))
    save(masks / "p7.png", np.full((6, 8), 300, np.uint16))
    (masks / "p8.png").unlink()
    save(masks / "p9.tif", labels(3))
    save(masks / "p15.png", np.where(labels(3) == 2, VOID, labels(3)).astype(np.uint8))
    save(images / "p10.png", np.full((6, 8), 9, np.uint8))
    save(images / "p11.png", picture(seed=12))
    save(images / "p13.png", picture() // 32)
    save(masks / "p14.png", picture())
    write(root / "train.txt", "".join(f"p{i}\n" for i in range(15)) + "missing\n../out\np14\n")
    write(root / "val.txt", "p12\np15\n")

    report = check(f"folder:{root}", classes=3, progress=False)
    assert not report
    problems = report.problems
    for parts in (
        (cut, "is damaged"),
        (flipped, "is damaged"),
        (images / "p2.png", "is empty (0 bytes)"),
        (masks / "p2.png", "isn't a picture"),
        (images / "p3.png", "is too large"),
        (masks / "p4.png", "the mask is 6x8 pixels, but its picture images/p4.png is 8x6"),
        (masks / "p5.png", "label 7 on 48 pixels"),
        (masks / "p7.png", "label 300 on 48 pixels"),
        (images / "p8.png", "has no mask"),
        (images / "p9.png", "has 2 masks"),
        (masks / "p14.png", "is a colour mask"),
        (root / "train.txt", "line 16 names missing"),
        (root / "train.txt", "line 17 names ../out, which leads out"),
        (images / "p12.png", "val has the same picture as", images / "p12.png"),
    ):
        assert has(problems, *parts), (parts, texts(problems))
    assert len(problems) == len(set(problems)) == 14, texts(problems)
    for parts in (
        (masks / "p6.png", "every pixel is void"),
        (images / "p10.png", "all pixels are 9: the picture is empty"),
        (images / "p12.png", "is the same picture as", images / "p11.png"),
        (images / "p13.png", "the brightest pixel is 7 of 255"),
    ):
        assert has(report.warnings, *parts), (parts, texts(report.warnings))
    assert sum("every pixel is void" in text for text in texts(report.warnings)) == 1, "p15 has only some void"
    assert any("line 18 repeats line 15 (p14)" in note for note in report.notes)
    text = str(report)
    assert "\n14 problems:\n" in text
    assert all(line in text for line in texts(problems))
    assert "no problems found" not in text


def test_pictures_in_two_splits(tmp_path):
    root = make_camvid(tmp_path)
    save(root / "val" / "1.png", picture(seed=2))  # train has it too, under another name
    report = check(f"camvid:{root}", progress=False)
    assert texts(report.problems) == [
        f"{root / 'val' / '1.png'}: val has the same picture as {root / 'train' / '2.png'} in train: "
        f"its scores would be too good"
    ]
    assert check(f"camvid:{root}", split="val", progress=False)
    assert not check(f"camvid:{root}", split=["train", "val"], progress=False)


def test_0_and_255_are_explained_in_any_layout(tmp_path):
    root = make_folder(tmp_path, count=2)
    for i in range(2):
        save(root / "masks" / f"p{i}.png", labels(2, seed=i) * np.uint8(255))
    report = check(f"folder:{root}", split="all", progress=False)
    assert len(report.problems) == 1
    assert has(report.problems, root / "masks", "255 is the label of void pixels", "values=0+255")
    opened = data.open(f"folder:{root}", split="all", values="0+1", void=255)
    report = check(opened, progress=False)
    assert has(report.problems, "all: the masks hold only 0 and 255")
    assert check(f"folder:{root}", split="all", values="0+255", progress=False)


def test_classes_that_do_not_occur(tmp_path):
    root = make_folder(tmp_path, count=4, classes=3)
    save(root / "masks" / "p3.png", labels(2))
    write(root / "train.txt", "p0\np1\np2\n")
    write(root / "val.txt", "p3\n")
    report = check(f"folder:{root}", classes=["a", "b", "c", "d"], progress=False)
    assert report
    assert has(report.warnings, "class d never occurs in train")
    assert has(report.warnings, "class c has no score in val: it never occurs")
    assert len(report.warnings) == 2
    assert report.weights["median-frequency"][3] == 0


def test_classes_without_names_are_called_by_their_number(tmp_path):
    root = make_folder(tmp_path, count=2)
    report = check(f"folder:{root}", split="all", classes=3, progress=False)
    assert texts(report.warnings) == ["folder: class 2 never occurs in all"]


def test_what_is_alike_is_summarised(tmp_path):
    root = make_folder(tmp_path, count=9)
    for i in range(9):
        save(root / "masks" / f"p{i}.png", picture(seed=i) // 64)
    write(root / "images" / "p3.png", b"")
    report = check(f"folder:{root}", split="all", progress=False)
    assert len(report.problems) == 11  # the folder, nine masks, a picture
    assert not report.warnings, "nothing was counted, so it is no news that a class never occurs"
    lines = str(report).splitlines()
    assert sum("is a colour mask" in line for line in lines) == 3
    assert f"  and 6 more like this, such as {root / 'masks' / 'p8.png'} (--all lists them)" in lines
    assert sum("is empty (0 bytes)" in line for line in lines) == 1
    assert all(line in report.text(everything=True) for line in texts(report.problems))


def test_a_class_of_a_few_pixels_is_pointed_out(tmp_path):
    root = make_folder(tmp_path, count=4)
    for i in range(4):
        save(root / "images" / f"p{i}.png", picture(40, 40, seed=i))
        save(root / "masks" / f"p{i}.png", labels(2, 40, 40, seed=i))
    mask = labels(2, 40, 40, seed=2)
    mask[7, 9] = 2
    save(root / "masks" / "p2.png", mask)
    report = check(f"folder:{root}", progress=False)
    assert has(report.warnings, root / "masks" / "p2.png", "class 2 has only 1 pixel in train, val, the first one here")
    assert not has(report.warnings, "class 1 has only")
    mask[:, 9] = 2
    save(root / "masks" / "p2.png", mask)
    assert not has(check(f"folder:{root}", progress=False).warnings, "has only")


def test_a_folder_without_pictures(tmp_path):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    text = str(check(f"folder:{tmp_path}", progress=False))
    assert "\ntrain: no pictures\n" in text
    assert f"{tmp_path / 'images'}: holds no pictures" in text
    for nonsense in ("generated", "class", "note", "warning"):
        assert nonsense not in text


def test_a_data_set_that_cannot_be_opened_is_a_report_too(tmp_path):
    report = check(f"voc:{tmp_path}", progress=False)
    assert not report
    assert has(report.problems, tmp_path, "isn't in VOC's layout")
    assert "1 problem:" in str(report)
    with pytest.raises(ValueError, match="could not be opened, so nothing was counted"):
        _ = report.pixels
    report = check(f"camvid:{tmp_path}", progress=False)
    assert has(report.problems, "has no split: neither lists nor folders of one were found")
    report = check(f"camvid:{make_camvid(tmp_path)}", split=["train", "test"], progress=False)
    assert has(report.problems, "has no split 'test'")
    assert report.pixels.sum() == 3 * 48
    with pytest.raises(ValueError, match="unknown data set"):
        check("coco:x", progress=False)


def test_an_empty_split_and_a_split_without_labels(tmp_path):
    root = make_folder(tmp_path, count=1)
    report = check(f"folder:{root}", progress=False)
    assert has(report.problems, root, "val has no pictures")
    save(root / "masks" / "p0.png", np.full((6, 8), VOID, np.uint8))
    report = check(f"folder:{root}", split="all", classes=3, progress=False)
    assert report.weights == {}
    assert has(report.warnings, "every pixel is void")
    assert "void" in str(report)


def test_grey_and_colour_pictures_together(tmp_path):
    root = make_folder(tmp_path, count=3)
    save(root / "images" / "p0.png", picture(channels=1))
    report = check(f"folder:{root}", split="all", progress=False)
    assert report
    assert "stored as RGB (2), L (1); read with 3 channels" in str(report)
    report = check(f"folder:{root}", split="all", channels=1, progress=False)
    assert has(report.warnings, "all has colour pictures, which are read as grey ones")


def test_classification(tmp_path):
    for i, name in enumerate(("cat", "cat", "dog")):
        save(tmp_path / name / f"{i}.png", picture(seed=i))
    report = check(f"imagefolder:{tmp_path}", split="all", contact_sheet=tmp_path / "s.png", progress=False)
    assert report.pixels.tolist() == [2, 1]
    assert "labels" in str(report)
    assert (tmp_path / "s.png").is_file()


def test_the_contact_sheet_shows_pictures_beside_their_masks(tmp_path):
    root = make_folder(tmp_path / "data", count=2)
    for i in range(2):
        save(root / "images" / f"p{i}.png", np.full((40, 60, 3), (10, 200, 30), np.uint8))
        mask = np.full((40, 60), VOID, np.uint8)
        mask[:, :30] = i
        save(root / "masks" / f"p{i}.png", mask)
    sheet = tmp_path / "sheet.png"
    report = check(f"folder:{root}", split="all", colours="0000ff+ffff00", contact_sheet=sheet, progress=False)
    assert report.sheet == sheet
    assert f"contact sheet: {sheet}" in str(report)
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for colour in ((10, 200, 30), (0, 0, 255), (255, 255, 0), (255, 0, 255)):  # pictures, both classes, void
        assert (pixels == colour).all(1).sum() > 2000, colour
    red, green, blue = pixels.T
    assert not ((blue == 255) & (green == 0) & (red > 0) & (red < 255)).any(), "class and void are mixed at the border"
    before = sheet.read_bytes()
    with pytest.raises(FileExistsError, match=r"sheet.png exists already; name another file"):
        check(f"folder:{root}", contact_sheet=sheet, progress=False)
    assert sheet.read_bytes() == before


def test_a_sheet_leaves_out_what_cannot_be_read(tmp_path):
    root = make_folder(tmp_path, count=2)
    write(root / "images" / "p0.png", picture().tobytes())
    for name in ("some.png", "none.png"):
        assert not check(f"folder:{root}", split="all", contact_sheet=tmp_path / name, progress=False)
        write(root / "images" / "p1.png", picture().tobytes())
    with Image.open(tmp_path / "some.png") as some, Image.open(tmp_path / "none.png") as none:
        assert some.height > none.height


def test_progress_can_be_shown(capsys):
    check("shapes:size=16,count=3", split="train", progress=True)
    assert capsys.readouterr().out == ""
