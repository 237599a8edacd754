"""The demo, shortened, and the pictures it learns from."""

import numpy as np
import pytest
from PIL import Image

from minisegnet import demo
from minisegnet.data import shapes


def test_demo_learns_and_writes_its_pictures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "SIZE", 24)
    miou = demo.run(steps=60, width=4, seed=0, out=tmp_path / "new" / "folder")
    text = capsys.readouterr().out
    assert "gradcheck of Sequential: ok" in text
    losses = [float(line.split()[3]) for line in text.splitlines() if line.startswith("   step")]
    assert len(losses) == 10
    assert losses[-1] < 0.8 * losses[0]
    assert miou > 0.18  # "ground" everywhere gives 0.17
    assert f"mean IoU {miou:.1%}" in text
    for name in ("prediction.png", "loss.png"):
        path = tmp_path / "new" / "folder" / name
        assert str(path) in text
        with Image.open(path) as picture:
            assert min(picture.size) > 200
            assert len(picture.convert("L").getcolors()) > 20, "the picture is empty"


def test_demo_repeats_itself():
    curves = [
        demo.train(demo.small_unet(4, 2, np.random.default_rng(0)), 3, np.random.default_rng(1)) for _ in range(2)
    ]
    assert curves[0] == curves[1]


def test_shapes_are_what_they_say():
    images, masks = shapes.draw(40, 40, rng=0)
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(np.unique(masks)) == {0, 1, 2, 3}
    again, _ = shapes.draw(40, 40, rng=0)
    np.testing.assert_array_equal(images, again)
    assert not np.array_equal(images, shapes.draw(40, 40, rng=1)[0])


def test_no_rule_for_single_pixels_tells_the_classes_apart():
    """A linear classifier on each pixel's colour, fitted by least squares, does little better than saying 'ground'."""
    images, masks = shapes.draw(60, 32, rng=0)
    colours = images.transpose(0, 2, 3, 1).reshape(-1, 3).astype(np.float64)
    features = np.column_stack([colours, np.ones(len(colours))])
    weights, *_ = np.linalg.lstsq(features, np.eye(4)[masks.ravel()], rcond=None)
    predicted = (features @ weights).argmax(axis=1)
    assert (predicted == masks.ravel()).mean() < (masks == 0).mean() + 0.02


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_outlines_have_a_sensible_size(kind):
    rng = np.random.default_rng(0)
    areas = [shapes.outline(kind, 64, rng).mean() for _ in range(50)]
    assert all(0 < area < 0.4 for area in areas)
    assert np.mean(areas) > 0.03
