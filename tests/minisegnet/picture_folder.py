"""A data set on disk, for tests of whole commands."""

import numpy as np
from PIL import Image


def make_folder(path, count=8, classes=2, size=16, channels=3, void=()):
    """images/ and masks/ with noise, as 0.png, 1.png, ...; the masks of the pictures in `void` are all void."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for i in range(count):
        mask = rng.integers(0, classes, (size, size), np.uint8)
        mask.flat[:classes] = np.arange(classes)
        mask[...] = 255 if i in void else mask
        image = rng.integers(0, 256, (size, size, channels), np.uint8)
        Image.fromarray(image[:, :, 0] if channels == 1 else image).save(path / "images" / f"{i}.png")
        Image.fromarray(mask).save(path / "masks" / f"{i}.png")
    return path
