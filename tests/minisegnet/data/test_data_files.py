"""Reading pictures and masks: what is damaged, too large or ambiguous is an error that names the file."""

import pickle
import re

import numpy as np
import pytest
from data_cases import bomb, exif, labels, picture, save, save_palette, write
from PIL import Image, ImageFile

from minisegnet.data import VOID, DataError
from minisegnet.data.files import Coding, read_image, read_label_pixels, read_mask, stored_as
from minisegnet.losses import CrossEntropyLoss


def named(path, text):
    """A DataError whose text is the path and something that matches."""
    return pytest.raises(DataError, match=f"^{re.escape(str(path))}: {text}")


# ------------------------------------------------------------------ damaged


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_half_a_picture_is_an_error_never_padded(tmp_path, name, share):
    data = save(tmp_path / name, picture(64, 64)).read_bytes()
    path = write(tmp_path / "cut" / name, data[: int(len(data) * share)])
    with named(path, "(is damaged|isn't a picture)"):
        read_image(path)
    with named(path, "(is damaged|isn't a picture|is a JPEG)"):
        read_label_pixels(path)


def test_a_flipped_byte_of_a_png_is_found_wherever_it_is(tmp_path):
    """But for the last chunk, IEND, which holds nothing, each byte belongs to the signature, a length or a checksum."""
    data = save(tmp_path / "a.png", picture(5, 5)).read_bytes()
    read_image(tmp_path / "a.png")
    for position in range(len(data) - 12):
        broken = bytearray(data)
        broken[position] ^= 0x10
        path = write(tmp_path / "b.png", bytes(broken))
        with named(path, "(is damaged|isn't a picture|is too large)"):
            read_image(path)


def test_files_that_are_no_pictures(tmp_path):
    empty = write(tmp_path / "empty.png", b"")
    text = write(tmp_path / "text.png", "This is text, not a picture.")
    for read in (read_image, read_label_pixels):
        with named(empty, r"is empty \(0 bytes\)$"):
            read(empty)
        with named(text, r"isn't a picture; it begins with b'This is text, no'$"):
            read(text)
        with named(tmp_path / "none.png", "can't be read: No such file"):
            read(tmp_path / "none.png")
    for path in (empty, text, tmp_path / "none.png"):
        with named(path, "(is empty|isn't a picture|can't be read)"):
            stored_as(path)


def test_a_decompression_bomb_is_refused(tmp_path):
    for size in ((60000, 60000), (12000, 12000)):  # above twice Pillow's limit, and above the limit
        path = write(tmp_path / "bomb.png", bomb(*size))
        for read in (read_image, read_label_pixels, stored_as):
            with named(path, r"is too large to be opened .*; if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS"):
                read(path)


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_where_pillow_only_warns_it_is_refused_too(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture(10, 10))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 99)
    with pytest.warns(Image.DecompressionBombWarning), named(path, "is too large to be opened .10x10 pixels exceed"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(path).shape == (10, 10, 3)


def test_pillow_must_not_be_told_to_pad(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", picture())
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="damaged pictures would be filled up with grey in silence; set it to False"):
        read_image(path)


def test_pages_of_a_tiff(tmp_path):
    pages = [Image.fromarray(picture(channels=1, seed=i)) for i in range(3)]
    path = save(tmp_path / "stack.tif", pages[0], save_all=True, append_images=pages[1:])
    with named(path, "has 3 pages; save each as a file of its own"):
        read_image(path)


def test_the_error_survives_the_way_out_of_a_worker():
    error = pickle.loads(pickle.dumps(DataError("a.png", "is empty")))
    assert (type(error), str(error), error.file, error.text) == (DataError, "a.png: is empty", "a.png", "is empty")


# ------------------------------------------------------------------ pictures of all kinds


def test_grey_rgba_cmyk_palette_and_16_bit_pictures_come_out_alike(tmp_path):
    rgb, grey = picture(), picture(channels=1)
    alpha = np.full((6, 8, 1), 77, np.uint8)
    np.testing.assert_array_equal(read_image(save(tmp_path / "rgb.png", rgb)), rgb)
    np.testing.assert_array_equal(read_image(save(tmp_path / "rgba.png", np.concatenate([rgb, alpha], 2))), rgb)
    grey_path = save(tmp_path / "grey.png", grey)
    np.testing.assert_array_equal(read_image(grey_path), np.stack([grey] * 3, 2))
    np.testing.assert_array_equal(read_image(grey_path, 1), grey[:, :, None])
    wide = (grey.astype(np.uint16) << 8) + 200
    np.testing.assert_array_equal(read_image(save(tmp_path / "16.png", wide), 1), grey[:, :, None])
    np.testing.assert_array_equal(read_image(save(tmp_path / "16.tif", wide)), np.stack([grey] * 3, 2))
    ink = Image.new("CMYK", (8, 6), (0, 255, 255, 0))  # magenta and yellow make red
    assert read_image(save(tmp_path / "ink.jpg", ink)).reshape(-1, 3).mean(0) == pytest.approx([254, 0, 0], abs=3)
    palette = save_palette(tmp_path / "p.png", np.array([[0, 1]], np.uint8), [[10, 20, 30], [40, 50, 60]])
    assert read_image(palette).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    half = Image.fromarray(np.array([[0, 1]], np.uint8), "L")
    half.putpalette(bytes([10, 20, 30, 40, 50, 60]))
    assert read_image(save(tmp_path / "pt.png", half, transparency=b"\x00\x80")).tolist() == [
        [[10, 20, 30], [40, 50, 60]]
    ]
    black_and_white = save(tmp_path / "1.png", Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"))
    assert read_image(black_and_white, 1).ravel().tolist() == [0, 255]


def test_colour_is_weighted_for_one_channel(tmp_path):
    path = save(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    assert read_image(path, 1).ravel().tolist() == [76, 150, 29]  # 0.299, 0.587, 0.114


def test_pictures_of_floats_or_huge_numbers_are_refused(tmp_path):
    path = save(tmp_path / "f.tif", np.zeros((2, 2), np.float32))
    with named(path, "pixels are floating-point numbers; save the picture with 8 or 16 bits"):
        read_image(path)
    path = save(tmp_path / "i.tif", np.array([[0, 70000]], np.int32))
    with named(path, "pixels range from 0 to 70000, expected 8 or 16 bits"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, lambda a: np.rot90(a))],
)
def test_a_picture_is_turned_as_exif_says(tmp_path, name, orientation, turned):
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8, :8] = 250
    path = save(tmp_path / name, pixels, exif=exif(orientation))
    np.testing.assert_allclose(read_image(path, 1)[:, :, 0], turned(pixels), atol=8)


def test_a_mask_is_turned_as_its_own_exif_says(tmp_path):
    mask = labels(3)
    path = save(tmp_path / "a.png", mask, exif=exif(6))
    np.testing.assert_array_equal(read_mask(path, Coding.plain(3)), np.rot90(mask, -1))


# ------------------------------------------------------------------ masks


def test_palette_masks_are_read_by_index(tmp_path):
    mask = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (256, 3))
    path = save_palette(tmp_path / "m.png", mask, palette)
    assert stored_as(path) == "P"
    read = read_mask(path, Coding.plain(3))
    np.testing.assert_array_equal(read, mask)
    assert read.dtype == np.int64


def test_16_bit_masks_are_not_clipped(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 1, 300], [65535, 300, 255]], np.uint16))
    assert read_label_pixels(path).tolist() == [[0, 1, 300], [65535, 300, 255]]
    coding = Coding({0: 0, 1: 1, 300: 2, 255: VOID, 65535: VOID}, None, 3, {})
    assert read_mask(path, coding).tolist() == [[0, 1, 2], [VOID, 2, VOID]]
    with named(path, r"label 300 on 2 pixels, 65535 on 1 pixels \(first at x=2, y=0\); .* 0 to 1, and 255 for void$"):
        read_mask(path, Coding.plain(2))


def test_a_label_out_of_range_says_which_and_on_how_many_pixels(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[2, 3:6], mask[4, 0] = 11, 40
    path = save(tmp_path / "m.png", mask)
    text = (
        r"label 11 on 3 pixels, 40 on 1 pixels \(first at x=3, y=2\); the data set's 11 classes are the values 0 to 10"
    )
    with named(path, text):
        read_mask(path, Coding.plain(11))
    mask[4, 0] = 0
    read = read_mask(save(tmp_path / "n.png", mask), Coding.plain(12))
    np.testing.assert_array_equal(read, mask)


def test_values_of_ones_own(tmp_path):
    path = save(tmp_path / "m.png", np.array([[0, 255, 7]], np.uint8))
    assert read_mask(path, Coding({0: 0, 255: 1, 7: VOID}, None, 2, {})).tolist() == [[0, 1, VOID]]
    with named(path, "label 7 on 1 pixels .* 2 classes are the values 0, 255$"):
        read_mask(path, Coding({0: 0, 255: 1}, None, 2, {}))


COLOURS = {(0, 0, 0): 0, (255, 0, 0): 1, (0, 128, 64): 2, (224, 224, 192): VOID}


def test_colour_masks_are_read_by_an_exact_table(tmp_path):
    classes = np.random.default_rng(0).integers(0, 4, (6, 8))
    pixels = np.array(list(COLOURS), np.uint8)[classes]
    coding = Coding.plain(3, colours=COLOURS)
    expected = np.array([0, 1, 2, VOID])[classes]
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", pixels), coding), expected)
    opaque = np.concatenate([pixels, np.full((6, 8, 1), 255, np.uint8)], 2)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "rgba.png", opaque), coding), expected)


def test_an_unknown_colour_is_an_error_with_its_position(tmp_path):
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[2, 5] = 254, 0, 0  # nearly red isn't red
    pixels[3, 0:2] = 1, 2, 3
    path = save(tmp_path / "m.png", pixels)
    with named(path, r"colour \(254, 0, 0\) at x=5, y=2 belongs to no class, .* \(3 pixels of 2 unknown colours\)$"):
        read_mask(path, Coding.plain(3, colours=COLOURS))
    path = save(tmp_path / "smooth.png", picture(20, 20))
    with named(path, ".*unknown colours; that many look like a mask that was once a JPEG or was resized smoothly"):
        read_mask(path, Coding.plain(3, colours=COLOURS))


def test_colours_without_a_table(tmp_path):
    path = save(tmp_path / "m.png", np.array([[[0, 0, 0], [255, 128, 0]]], np.uint8))
    with named(path, "is a colour mask, with the colours 000000, ff8000, and no table says .* colours=000000"):
        read_mask(path, Coding.plain(2))
    grey = save(tmp_path / "g.png", np.array([[[0, 0, 0], [1, 1, 1], [255, 255, 255]]], np.uint8))
    assert read_mask(grey, Coding.plain(2)).tolist() == [[0, 1, VOID]]  # grey, stored as colour


def test_masks_must_be_stored_without_loss(tmp_path):
    path = save(tmp_path / "m.jpg", labels(2))
    with named(path, r"is a JPEG picture \(L\), which blurs labels; save masks as PNG, from where they were drawn"):
        read_mask(path, Coding.plain(2))
    path = save(tmp_path / "f.tif", np.zeros((2, 2), np.float32))
    with named(path, "pixels are floating-point numbers, expected whole ones"):
        read_mask(path, Coding.plain(2))


def test_a_mask_with_transparency_is_read_without_it(tmp_path):
    mask = labels(3)
    pixels = np.stack([mask, np.full_like(mask, 90)], 2)
    path = save(tmp_path / "m.png", Image.fromarray(pixels))
    assert stored_as(path) == "LA"
    np.testing.assert_array_equal(read_mask(path, Coding.plain(3)), mask)


def test_running_out_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    def load(image):
        raise MemoryError("no room")

    path = save(tmp_path / "a.png", picture())
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError, match="no room"):
        read_image(path)


def test_black_and_white_masks_have_two_classes(tmp_path):
    path = save(tmp_path / "m.png", Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"))
    assert read_mask(path, Coding.plain(2)).tolist() == [[0, 1]]


def test_a_picture_whose_pixels_are_all_void_has_no_loss_and_no_gradient(tmp_path):
    mask = read_mask(save(tmp_path / "m.png", np.full((6, 8), VOID, np.uint8)), Coding.plain(3))
    assert (mask == VOID).all()
    loss = CrossEntropyLoss(ignore_index=VOID)
    value, saved = loss.forward(np.random.default_rng(0).normal(size=(1, 3, 6, 8)), mask[None])
    assert value == 0
    assert not loss.backward(saved).any()
