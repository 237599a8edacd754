"""How the explorer's page is made: modules into one script, arrays that travel, the command; no browser needed."""

import base64
import json
import re

import numpy as np
import pytest
from PIL import Image

from minisegnet import layers, losses, models, trace
from minisegnet.cli import main
from minisegnet.explorer import Subject, generated, of_run, subject, write_explorer
from minisegnet.explorer.bundle import bundle
from minisegnet.explorer.pack import COPIES, MATRICES, pack
from minisegnet.explorer.page import modules

# ------------------------------------------------------------------ one script


def test_modules_come_after_those_they_import():
    sources = {
        "main.js": 'import {\n  one,\n  two as second,\n} from "./b.js";\nimport { zero } from "./a.js";\n',
        "b.js": 'import { zero } from "./a.js";\nexport function one() {}\nexport const two = zero;\n',
        "a.js": "export class zero {}\n",
        "unused.js": "export const x = 1;\n",
    }
    script = bundle(sources, "main.js")
    assert re.findall(r'^modules\["(.*?)"\] =', script, re.MULTILINE) == ["a.js", "b.js", "main.js"]
    assert 'const { one, two: second } = modules["b.js"];' in script
    assert "return { one, two };" in script
    assert not re.search(r"^(import|export)", script, re.MULTILINE)


TWO = {"b.js": 'import { a } from "./a.js";\nexport const b = 1;'}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ('import { b } from "./b.js";\nexport const a = 1;', "in a circle: a.js -> b.js -> a.js"),
        ('import { c } from "./c.js";', "a.js imports c.js, which is not there; there are b.js, a.js"),
        ('import { x } from "./b.js";\nexport const a = 1;', "a.js imports x from b.js, which does not export it"),
        ("export default 1;", "a.js has a line that the bundle does not understand: export default 1;"),
        ('import * as b from "./b.js";', "a.js has a line that the bundle does not understand: import * as b"),
    ],
)
def test_what_can_not_be_bundled_is_said(module, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        bundle(TWO | {"a.js": module}, "a.js")


def test_every_module_of_the_page_is_used():
    script = bundle(modules(), "main.js")
    assert {name for name in modules() if f'modules["{name}"] = ' in script} == set(modules())


def test_drawing_computing_and_data_are_apart():
    """What computes knows nothing of the page."""
    computing = [name for name in modules() if re.match("compute|expla|links|network|nudge.js|scatter|tensor", name)]
    assert len(computing) == 15
    for name in computing:
        text = modules()[name]
        assert not re.search(r"\bdocument\.(create|query|body)|innerHTML|getContext", text), name


# ------------------------------------------------------------------ arrays


def small_subject(net=None, size=(8, 9)):
    rng = np.random.default_rng(0)
    return Subject(
        net=net or models.UNet(3, 4, width=2, depth=1, rng=0),
        x=rng.normal(size=(1, 3, *size)).astype(np.float32),
        target=rng.integers(0, 4, (1, *size)),
        loss=losses.CrossEntropyLoss(ignore_index=255),
        picture=np.zeros((*size, 3), np.uint8),
        classes=("a", "b", "<script>", "d"),
        colours=np.zeros((4, 3), np.uint8),
        title="</title><b>$x",
    )


def recorded(made):
    return trace.record(made.net, made.x, made.loss, made.target)


def test_arrays_travel_once_and_copies_not_at_all():
    found = recorded(small_subject())
    manifest, arrays = pack(found)
    sent = {stop["name"]: stop["arrays"] for stop in manifest["stops"]}
    for stop in found.stops:
        for name, kinds in COPIES.items():
            if stop.kind in kinds:
                assert not any(each.split(".")[0] == name for each in sent[stop.name]), stop.name
        if stop.kind == "MaxPool2d":
            np.testing.assert_array_equal(arrays[sent[stop.name]["argmax"]], stop["argmax"])
        if stop.kind in MATRICES:
            assert {"y", "dx", "weight", "dweight"} <= set(sent[stop.name]), stop.name
            np.testing.assert_array_equal(arrays[sent[stop.name]["y"]], stop.y)
    assert [name for name, own in sent.items() if "x" in own] == [found.stops[0].name]
    assert len({id(array) for array in arrays.values()}) == len(arrays)
    json.dumps(manifest)


def test_what_can_be_computed_gives_way_where_room_is_short():
    found = recorded(small_subject())
    whole = sum(array.nbytes for array in pack(found)[1].values())
    least = sum(array.nbytes for array in pack(found, room=0)[1].values())
    middle = sum(array.nbytes for array in pack(found, room=(whole + least) // 2)[1].values())
    assert least < middle <= (whole + least) // 2 < whole
    sent = {stop["name"]: stop["arrays"] for stop in pack(found, room=0)[0]["stops"]}
    assert all("weight" in sent[stop.name] for stop in found.stops if "weight" in stop)


def test_room_is_taken_by_what_is_sent_alone():
    """Whatever was left out for want of room is larger than what is left."""
    found = recorded(small_subject())
    for room in range(0, 60_000, 1500):
        manifest, arrays = pack(found, room)
        left = room - sum(array.nbytes for array in arrays.values())
        sent = {stop["name"]: stop["arrays"] for stop in manifest["stops"]}
        missing = [
            stop[f"d{name}"].nbytes for stop in found.stops for name in stop.params if f"d{name}" not in sent[stop.name]
        ]
        assert all(size > left for size in missing)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_labels_arrive_as_they_are(dtype):
    made = small_subject()
    target = made.target.astype(dtype)
    target[0, 0, 0] = void = 300 if dtype != np.uint8 else 255
    made = made._replace(target=target, loss=losses.CrossEntropyLoss(ignore_index=void))
    manifest, arrays = pack(recorded(made))
    np.testing.assert_array_equal(arrays[manifest["loss"]["arrays"]["target"]], target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "c"), "colours": np.zeros((3, 3), np.uint8)}, "scores 4 classes, the subject names 3"),
        ({"colours": np.zeros((2, 3), np.uint8)}, "names 4 classes and has 2 colours"),
        ({"picture": np.zeros((5, 6, 3), np.uint8)}, "the scores are 8x9, the picture is 5x6: bring both to one size"),
        ({"picture": np.zeros((8, 9, 3))}, r"picture is float64 of shape \(8, 9, 3\), expected uint8"),
    ],
)
def test_a_subject_that_does_not_fit_is_refused(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        write_explorer(small_subject(size=(8, 9))._replace(**change), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_small_unet_fits_into_20_mb(tmp_path):
    made = small_subject(models.UNet(3, 4, width=16, rng=0), size=(64, 64))
    path = write_explorer(made, tmp_path / "page.html")
    assert 10e6 < path.stat().st_size < 20e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": losses.FocalLoss()}, "ends in a CrossEntropyLoss, this one has FocalLoss"),
        ({"loss": losses.CrossEntropyLoss(reduction="none")}, 'reduction="none" gives no one number'),
        ({"net": layers.Sequential(layers.Conv2d(3, 4, 1, rng=0), layers.Softmax(1))}, r"Softmax \(1\); it knows Re"),
        ({"x": np.zeros((2, 3, 8, 9), np.float32), "target": np.zeros((2, 8, 9), int)}, "one picture, this pass has 2"),
    ],
)
def test_what_the_page_can_not_show_is_said(change, message):
    with pytest.raises(ValueError, match=message):
        pack(recorded(small_subject()._replace(**change)))


# ------------------------------------------------------------------ the page


def test_the_page_is_whole_and_safe(tmp_path):
    path = write_explorer(small_subject(), tmp_path / "page.html")
    text = path.read_text(encoding="utf-8")
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:" in text
    assert not re.search(r"https?:|@import|url\(|\$\{?style|src=", text)
    assert "&lt;/title&gt;&lt;b&gt;$x" in text
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', text)[1])
    assert manifest["classes"][2] == "<script>"
    assert "<script>" not in re.search(r'id="manifest">(.*?)</script>', text)[1]
    packed = dict(re.findall(r'<script type="text/plain" id="(\w+)">(.*?)</script>', text))
    assert set(packed) == set(manifest["arrays"])
    found = recorded(small_subject())
    key = manifest["stops"][0]["arrays"]["weight"]
    weight = np.frombuffer(base64.b64decode(packed[key]), "<f4").reshape(manifest["arrays"][key]["shape"])
    np.testing.assert_array_equal(weight, found.stops[0]["weight"])


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a small run."""
    out = tmp_path_factory.mktemp("explained") / "run"
    settings = ["--set", "width=2", "--set", "depth=1", "--epochs", "1", "--panels-every", "0", "--quiet"]
    assert main(["train", "--data", "shapes:size=16,count=8", "--out", str(out), *settings]) == 0
    return out


@pytest.fixture
def picture(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "street.png")
    mask = rng.integers(0, 4, (40, 60), dtype=np.uint8)
    mask[:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path / "street.png"


def test_explain_writes_a_page(run, picture, tmp_path, capsys):
    out = tmp_path / "page.html"
    mask = picture.with_name("mask.png")
    arguments = ["explain", picture, "--mask", mask, "--checkpoint", run, "--size", 30, "-o", out]
    assert main([str(argument) for argument in arguments]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out} ")
    assert "unet on street.png" in said
    manifest = json.loads(re.search(r'id="manifest">(.*?)</script>', out.read_text(encoding="utf-8"))[1])
    assert manifest["arrays"]["picture"]["shape"] == [20, 30, 3]
    assert manifest["classes"] == ["ground", "disc", "square", "triangle"]
    assert manifest["hasTruth"]


def test_modes_and_class_weights(run, picture):
    plain = of_run(run, picture, picture.with_name("mask.png"))
    assert not plain.net.training
    assert plain.loss.weight is None
    assert (plain.target == 255).any()
    other = of_run(run, picture, picture.with_name("mask.png"), size=0, class_weights="1,2,3,4", training=True)
    assert other.net.training
    assert other.loss.weight.tolist() == [1, 2, 3, 4]
    assert other.x.shape == (1, 3, 40, 60)


def test_without_a_mask_the_prediction_takes_its_place(run, picture):
    made = of_run(run, picture, size=16)
    np.testing.assert_array_equal(made.target[0], made.net.eval()(made.x)[0].argmax(axis=0))
    assert not made.has_truth
    assert any("no mask was given" in note for note in made.notes)


def test_without_a_mask_a_step_of_training_predicts_as_it_trains(run, picture):
    """What takes the place of the truth is what the recorded pass itself predicts."""
    made = of_run(run, picture, size=16, training=True)
    scores = recorded(made).losses[0]["scores"]
    np.testing.assert_array_equal(made.target[0], scores[0].argmax(axis=0))
    assert (of_run(run, picture, size=16).target != made.target).any()


def test_a_large_page_is_named_with_its_remedy(run, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minisegnet.commands.explain.LARGE", 50_000)
    arguments = ["explain", picture, "--checkpoint", run, "--size", 30, "-o", tmp_path / "page.html"]
    assert main([str(argument) for argument in arguments]) == 0
    assert "is slow in a browser; a smaller --size, or --crop, makes it smaller" in capsys.readouterr().out


def test_errors_name_the_file_and_the_fix(run, picture, tmp_path, capsys):
    def fails(*arguments):
        assert main(["explain", *map(str, arguments), "-o", str(tmp_path / "page.html")]) == 1
        assert not (tmp_path / "page.html").exists()
        return capsys.readouterr().err

    assert "give --checkpoint RUN, a net to look at, too" in fails(picture)
    assert "give a PICTURE to look at, too" in fails("--checkpoint", run)
    assert "give a PICTURE that mask.png is the mask of" in fails("--mask", "mask.png")
    assert "--size, --training would be ignored: give a PICTURE" in fails("--size", 30, "--training")
    assert "--class-weights would be ignored: give a PICTURE" in fails("--class-weights", "1,2")
    assert "holds no checkpoint" in fails(picture, "--checkpoint", tmp_path)
    assert "nowhere.png" in fails(tmp_path / "nowhere.png", "--checkpoint", run)
    assert "expected one for each of the 4 classes" in fails(picture, "--checkpoint", run, "--class-weights", "1,2")
    said = fails(picture, "--checkpoint", run, "--class-weights", "median-frequency")
    assert "class weights: expected 4 numbers, such as 1,2.5,..., got 'median-frequency'" in said
    assert "one of" not in said
    Image.new("L", (7, 5)).save(tmp_path / "other.png")
    assert "other.png: is 7x5 pixels, its picture 60x40" in fails(
        picture, "--checkpoint", run, "--mask", tmp_path / "other.png"
    )
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(tmp_path / "white.png")
    assert "white.png: holds only 0 and 255, and 255 means void; write 1" in fails(
        picture, "--checkpoint", run, "--mask", tmp_path / "white.png"
    )


@pytest.mark.parametrize("given", ["street.png", "mask.png"])
def test_no_other_file_is_replaced(run, picture, tmp_path, capsys, given):
    out = tmp_path / given
    before = out.read_bytes()
    arguments = ["explain", picture, "--mask", tmp_path / "mask.png", "--checkpoint", run, "-o", out]
    assert main([str(argument) for argument in arguments]) == 1
    assert f"{out} exists and is no page of the explorer; name another file" in capsys.readouterr().err
    assert out.read_bytes() == before
    with pytest.raises(FileExistsError, match="is a folder; name a file"):
        write_explorer(small_subject(), tmp_path)


def test_a_page_is_replaced(tmp_path):
    path = write_explorer(small_subject(), tmp_path / "page.html")
    size = path.stat().st_size
    write_explorer(small_subject(size=(12, 13)), path)
    assert path.stat().st_size > size


def test_what_shrinking_costs_is_said(run, picture):
    """The shares of right pixels, counted here once more."""
    made = of_run(run, picture, picture.with_name("mask.png"), size=30)
    whole = of_run(run, picture, picture.with_name("mask.png"), size=0)

    def share(subject):
        known = subject.target != 255
        return round(100 * (subject.net.eval()(subject.x).argmax(axis=1) == subject.target)[known].mean())

    expected = (
        f"{share(made)} % of the pixels right, {share(whole)} % at full size: brought from 60x40 to 30x20 (--size)"
    )
    assert made.notes[0] == expected
    assert not any("--size" in note for note in whole.notes)


def test_a_crop_is_cut_at_full_size(run, picture):
    pixels = np.asarray(Image.open(picture))
    made = of_run(run, picture, picture.with_name("mask.png"), size=16, crop=(20, 58))
    np.testing.assert_array_equal(made.picture, pixels[12:28, 44:60])
    assert made.notes[0] == "rows 12 to 27 and columns 44 to 59 of 60x40, at full size (--crop)"
    whole = of_run(run, picture, picture.with_name("mask.png"), size=0)
    wrong = (whole.net.eval()(whole.x).argmax(axis=1) != whole.target)[0] & (whole.target[0] != 255)
    most = max(wrong[i : i + 16, j : j + 16].sum() for i in range(25) for j in range(45))
    made = of_run(run, picture, picture.with_name("mask.png"), size=16, crop=())
    top, left = map(int, re.match(r"rows (\d+) to \d+ and columns (\d+)", made.notes[0]).groups())
    assert wrong[top : top + 16, left : left + 16].sum() == most
    with pytest.raises(ValueError, match="--crop alone needs a --mask"):
        of_run(run, picture, size=16, crop=())


def test_too_narrow_a_picture_is_named(run, tmp_path):
    Image.new("RGB", (300, 3)).save(tmp_path / "strip.png")
    with pytest.raises(ValueError, match=r"strip.png: 32x1 is too narrow for this net, give a larger --size"):
        of_run(run, tmp_path / "strip.png", size=32)


def test_the_generated_subject(monkeypatch, capsys):
    monkeypatch.setattr("minisegnet.demo.SIZE", 16)
    made = generated(steps=2, width=2, depth=1)
    assert made.net.training
    assert made.x.shape == (1, 3, 16, 16)
    assert set(np.unique(made.target)) <= {0, 1, 2, 3}
    again = generated(steps=2, width=2, depth=1)
    for name, parameter in made.net.named_parameters():
        np.testing.assert_array_equal(parameter.value, dict(again.net.named_parameters())[name].value)
    assert subject.STEPS >= 100
