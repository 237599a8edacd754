"""Pictures of any size in, masks of the same size out."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minisegnet import predict as module
from minisegnet.cli import main
from minisegnet.layers import Conv2d
from minisegnet.predict import find_pictures, output_names, predict, predict_files, starts
from minisegnet.train import Config, train
from minisegnet.trained import Recipe, Trained, load_trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    config = Config(data="shapes:size=32,count=8", model_settings={"width": 2, "depth": 2}, epochs=1)
    train(config, folder, quiet=True)
    return folder


def brightness_net(**recipe):
    """Class 1 where a grey picture is brighter than a half: exact, and every pixel by itself."""
    net = Conv2d(1, 2, 1, rng=0)
    net.weight.value = np.array([[[[0.0]]], [[[8.0]]]], np.float32)
    net.bias.value = np.array([0.0, -4.0], np.float32)
    about = {"name": "grey", "model": "", "model_settings": {}, "channels": 1, "classes": ("dark", "light")}
    about |= {"colours": [[0, 0, 0], [255, 255, 0]], "kind": "segmentation", "resize": 0, "normalise": "none"}
    return Trained(net.eval(), Recipe(**about | {"mean": (0.0,), "std": (1.0,)} | recipe), Path("none"), {})


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (33, 31), (64, 64), (100, 70), (65, 200)])
@pytest.mark.parametrize("tile", [512, 70, 64, 1])
def test_every_pixel_gets_its_own_class_whatever_the_tiles(size, tile):
    image = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
    mask, p = predict(brightness_net(), image, tile)
    np.testing.assert_array_equal(mask, image[:, :, 0] > 127)
    assert p.shape == (2, *size)
    np.testing.assert_allclose(p.sum(axis=0), 1, rtol=1e-5)


def test_a_resized_picture_comes_back_at_its_own_size():
    image = np.zeros((60, 90, 1), np.uint8)
    image[:, 45:] = 255
    mask, p = predict(brightness_net(resize=30), image)
    assert mask.shape == (60, 90)
    assert p.shape == (2, 60, 90)
    assert (mask[:, :42] == 0).all()
    assert (mask[:, 48:] == 1).all()


def test_tiles_agree_with_the_whole_where_the_net_sees_enough(run):
    trained = load_trained(run)
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    whole, tiled = predict(trained, image).probabilities, predict(trained, image, tile=64).probabilities
    assert abs(whole - tiled).mean() < 0.02


@given(st.integers(1, 300), st.integers(2, 100), st.data())
def test_tiles_cover_the_picture(length, tile, draw):
    overlap = draw.draw(st.integers(0, tile - 1))
    begins = starts(length, tile, overlap)
    assert begins[0] == 0
    assert begins[-1] + tile >= length
    for a, b in pairwise(begins):
        assert 0 < b - a <= tile - overlap
    assert length <= tile or begins[-1] + tile == length


def picture(path, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)).save(path, **options)
    return path


def test_files_folders_and_patterns(tmp_path, monkeypatch):
    for name in ("a/1.png", "a/b/2.jpg", "a/notes.txt", "c/3.bmp", "c/4.png"):
        if name.endswith("txt"):
            (tmp_path / name).write_text("no picture", encoding="utf-8")
        else:
            picture(tmp_path / name)
    found = find_pictures([tmp_path / "a", str(tmp_path / "c/*.png"), tmp_path / "c/4.png"])
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a/1.png", "a/b/2.jpg", "c/4.png"]
    monkeypatch.chdir(tmp_path)
    assert [p.as_posix() for p in find_pictures(["c/*"])] == ["c/3.bmp", "c/4.png"]
    with pytest.raises(FileNotFoundError, match=r"not found: nowhere\.png, x\*\.png"):
        find_pictures(["nowhere.png", "x*.png", "a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures in"):
        find_pictures([tmp_path / "empty"])


def test_results_never_take_each_others_names(tmp_path):
    names = output_names([Path("a/1.png"), Path("b/1.png"), Path("b/2.png")])
    assert list(names.values()) == ["a_1", "b_1", "2"]
    with pytest.raises(ValueError, match="would both become"):
        output_names([Path("x/a/1.png"), Path("y/a/1.png")])


def test_the_command_writes_masks_overlays_and_probabilities(run, tmp_path, capsys):
    picture(tmp_path / "in/one.png")
    picture(tmp_path / "in/two.jpg", (33, 51))
    out = tmp_path / "out"
    assert main(["predict", str(run), str(tmp_path / "in"), "--out", str(out), "--probabilities"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        f"{name}{end}" for name in ("one", "two") for end in (".png", "_overlay.png", "_probabilities.npy")
    ]
    with Image.open(out / "two.png") as mask, Image.open(out / "two_overlay.png") as overlay:
        assert (mask.mode, mask.size, overlay.size) == ("P", (33, 51), (33, 51))
        np.testing.assert_array_equal(np.array(mask), np.load(out / "two_probabilities.npy").argmax(axis=0))
    assert "one.png" in capsys.readouterr().out


def test_probabilities_are_written_whole_or_not_at_all(run, tmp_path, monkeypatch, capsys):
    command = ["predict", str(run), str(picture(tmp_path / "one.png")), "--out", str(tmp_path / "out")]
    assert main([*command, "--probabilities"]) == 0
    before = (tmp_path / "out/one_probabilities.npy").read_bytes()

    def half(file, array):
        with open(file, "wb") if isinstance(file, Path) else file as opened:
            opened.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(np, "save", half)
    assert main([*command, "--probabilities"]) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert (tmp_path / "out/one_probabilities.npy").read_bytes() == before


def test_a_picture_turned_by_its_tag_is_predicted_upright(run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to look at
    picture(tmp_path / "turned.jpg", (48, 32), exif=exif)
    list(predict_files(load_trained(run), [tmp_path / "turned.jpg"], tmp_path / "out"))
    with Image.open(tmp_path / "out/turned.png") as mask:
        assert mask.size == (32, 48)


def test_inputs_are_never_overwritten(run, tmp_path, capsys):
    path = picture(tmp_path / "one.png")
    before = path.read_bytes()
    assert main(["predict", str(run), str(path), "--out", str(tmp_path)]) == 1
    assert "where results would overwrite them" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_what_is_no_run_is_named(tmp_path, capsys):
    assert main(["predict", str(tmp_path), "x.png"]) == 1
    assert "holds no checkpoint" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "none.safetensors"), "x.png"]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_ramp_never_reaches_zero():
    assert (module.ramp(5, 4) > 0).all()
    assert module.ramp(7, 0).tolist() == [1] * 7


def test_one_bad_picture_does_not_keep_the_others_from_their_masks(run, tmp_path, capsys):
    for name in ("a.png", "c.png"):
        picture(tmp_path / "in" / name)
    (tmp_path / "in/b.png").write_bytes(b"no picture")
    (tmp_path / "in/._a.png").write_bytes(b"what macOS leaves behind")
    for _ in range(2):  # the second time results lie among the inputs
        assert (
            main(["predict", str(run), str(tmp_path / "in"), "--out", str(tmp_path / "in/masks"), "--no-overlay"]) == 1
        )
        text = capsys.readouterr().err
        assert "1 of 3 pictures could not be read:" in text
        assert "b.png" in text
        assert sorted(p.name for p in (tmp_path / "in/masks").iterdir()) == ["a.png", "c.png"]
