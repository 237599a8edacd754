"""The report of a run: whole, self-contained, and safe whatever the files of the run say."""

import base64
import html.parser
import io
import os
import re
import shlex

import numpy as np
import pytest
from PIL import Image

from minisegnet import report
from minisegnet.report import write_report

METRICS = """epoch,step,lr,train_loss,val_loss,val_miou,val_accuracy,val_class_accuracy,seconds,images_per_second
1,10,0.001,1.5,1.25,0.25,0.5,0.3,30.5,11.25
2,20,0.0005,0.75,0.5,0.625,0.875,0.7,30.5,11.5
3,30,0.0001,0.5,,,,,30.5,11.75
"""
CLASSES = "class,iou,accuracy,precision,f1,pixels\nroad,0.875,0.9,0.95,0.93,1234567\nnever seen,,,,,0\n"
CONFIG = 'model = "unet"\ndata = "folder:my/pictures"\nloss = "cross-entropy"\n'


def png(colour=(255, 0, 0)):
    data = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(data, format="PNG")
    return data.getvalue()


@pytest.fixture
def run(tmp_path):
    """The folder of a run with everything in it."""
    folder = tmp_path / "run7"
    (folder / "panels").mkdir(parents=True)
    for name, text in {"metrics.csv": METRICS, "classes.csv": CLASSES, "config.toml": CONFIG}.items():
        (folder / name).write_text(text, encoding="utf-8")
    for i, name in enumerate(("curves", "confusion", "panels/epoch-0005", "panels/epoch-0010", "panels/best")):
        (folder / f"{name}.png").write_bytes(png((i, 0, 0)))
    return folder


class Page(html.parser.HTMLParser):
    """The elements of a page, its text, and whether every element that is opened is closed."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, path):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += f"{data}\n"

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_everything_is_on_the_page(run):
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    lines = page.text.split("\n")
    for text in ("run7: training report", "0.625", "best val mIoU, epoch 2", "1.5 min", "87.5%", "1 234 567", "road"):
        assert text in lines, text
    headings = re.findall(r"<h2>(.*?)</h2>", page.source)
    assert headings == [
        "Curves",
        "Pictures",
        "Classes",
        "What was taken for what",
        "Epochs",
        "Configuration",
        "Do it again",
    ]
    assert "unet · folder:my/pictures · cross-entropy" in page.text
    assert "the share of a class's pixels that were found, which is also called recall" in page.text
    assert CONFIG in page.text
    assert [attributes for attributes in page.all("tr") if attributes] == [{"class": "best"}]
    assert re.search(r'<tr class="best"><td>2</td>', page.source)
    assert "nan" not in page.text.lower().split()
    assert [attributes["style"] for attributes in page.all("i")] == ["width:87.5%"]  # the bar of the only IoU


def test_pictures_are_inside_the_page(run):
    page = Page(write_report(run))
    prefix = "data:image/png;base64,"
    shown = []
    for attributes in page.all("img"):
        assert attributes["src"].startswith(prefix)
        assert attributes["alt"]
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(attributes["src"].removeprefix(prefix)))))
        shown.append(int(pixels[0, 0, 0]))
    assert shown == [0, 4, 2, 3, 1]  # curves, the best net's panel, those of epochs 5 and 10, confusion
    assert "epoch 5" in page.text
    assert "epoch 10" in page.text


def test_the_page_asks_for_nothing_from_elsewhere(run):
    page = Page(write_report(run))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object", "a")]
    assert not re.search(r"https?:|@import|url\(", page.source)
    assert page.all("meta")[0] == {"charset": "utf-8"}
    assert "prefers-color-scheme: dark" in page.source
    assert "width=device-width" in page.source


@pytest.mark.parametrize(
    "nasty", ["<script>alert(1)</script>", "</pre><b>&amp;", '"><img src=x onerror=y>', "$title ${x}"]
)
def test_what_the_files_say_is_shown_and_not_obeyed(run, nasty):
    (run / "config.toml").write_text(f"model = '''{nasty}'''\n", encoding="utf-8")
    (run / "classes.csv").write_text('class,iou\n"' + nasty.replace('"', '""') + '",0.5\n', encoding="utf-8")
    usual = len(Page(write_report(run)).all("img"))
    page = Page(write_report(run))
    assert not page.all("script")
    assert not page.all("b") or all(not attributes for attributes in page.all("b"))
    assert len(page.all("img")) == usual == 5
    assert page.text.count(nasty) == 3  # in the line under the title, among the classes, in the configuration


def test_the_folders_name_is_escaped_too(run):
    folder = run.rename(run.with_name("a & b $1"))
    page = Page(write_report(folder))
    assert "a & b $1: training report" in page.text
    assert "a &amp; b $1" in page.source


@pytest.mark.parametrize("missing", ["classes.csv", "config.toml", "curves.png", "confusion.png", "panels"])
def test_what_is_missing_is_left_out(run, missing):
    complete = len(re.findall("<h2>", Page(write_report(run)).source))
    path = run / missing
    if path.is_dir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    else:
        path.unlink()
    assert len(re.findall("<h2>", Page(write_report(run)).source)) == complete - (2 if missing == "config.toml" else 1)


def test_a_run_without_validation(run):
    (run / "metrics.csv").write_text("epoch,train_loss,seconds\n1,0.5,3661\n", encoding="utf-8")
    page = Page(write_report(run))
    assert "best val mIoU" not in page.text
    assert {"1 h 1 min", "epoch", "0.5"} <= set(page.text.split("\n"))


def test_a_long_run_shows_some_of_its_panels(run):
    for e in range(1, 100):
        (run / "panels" / f"epoch-{e:04d}.png").write_bytes(png())
    page = Page(write_report(run))
    assert len(page.all("details")) == report.PANELS
    assert "\nepoch 1\n" in page.text
    assert "\nepoch 99\n" in page.text
    (run / "panels" / "best.png").unlink()
    page = Page(write_report(run))
    assert page.source.index("epoch 99") < page.source.index("epoch 1<")


@pytest.mark.parametrize("name", ["run7", "my run; it's $HOME"])
def test_the_command_to_do_it_again_works_from_any_folder(name, run, tmp_path, monkeypatch):
    folder = run.rename(run.with_name(name))
    monkeypatch.chdir(folder.parent)
    text = Page(write_report(folder.name)).text
    command = re.search("minisegnet train --config .* --out again", text)[0]
    if os.name == "nt":
        assert f'"{folder / "config.toml"}"' in command or str(folder / "config.toml") in command
    else:
        words = shlex.split(command)
        assert words == ["minisegnet", "train", "--config", str(folder / "config.toml"), "--out", "again"]
    assert "Relative paths in the configuration count from the folder in which the run was started" in text


def test_it_can_be_written_again(run):
    first = write_report(run).read_bytes()
    assert write_report(str(run)).read_bytes() == first
    assert sorted(p.name for p in run.iterdir() if p.name.startswith(".")) == []


def test_folders_that_are_no_run(tmp_path, run):
    with pytest.raises(FileNotFoundError, match=r"metrics\.csv does not exist: a report needs the folder of a run"):
        write_report(tmp_path)
    for text, problem in {
        "": "it has no rows",
        "a,b\n": "it has no rows",
        "a,b\n1,2\n3\n": "line 3 has not as many",
    }.items():
        (run / "metrics.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"metrics\.csv is not a table of a run: {problem}"):
            write_report(run)
    (run / "metrics.csv").write_text(METRICS, encoding="utf-8")
    (run / "config.toml").write_text("model = \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.toml is not a configuration: "):
        write_report(run)
