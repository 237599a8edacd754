"""Pictures, masks and data sets on disk, made for the tests."""

import struct
import zlib

import numpy as np
from PIL import Image


def picture(height=6, width=8, channels=3, seed=0):
    """A random picture (H, W, channels), or (H, W) for one channel."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return pixels[:, :, 0] if channels == 1 else pixels


def labels(classes=2, height=6, width=8, seed=0):
    """A random mask (H, W) in which every class occurs."""
    mask = np.random.default_rng(seed).integers(0, classes, (height, width), np.uint8)
    mask.flat[:classes] = np.arange(classes)
    return mask


def save(path, pixels, mode=None, **options):
    """Write an array as a picture, and make the folders on the way; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def save_palette(path, indices, palette):
    """Write indices as a palette PNG."""
    image = Image.fromarray(indices, "L")
    image.putpalette(np.asarray(palette, np.uint8).tobytes(), "RGB")
    return save(path, image)


def write(path, data):
    """Write text or bytes, and make the folders on the way; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8"))
    return path


def bomb(width=60000, height=60000):
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def exif(orientation):
    """An EXIF block that says how a picture was held."""
    block = Image.Exif()
    block[274] = orientation
    return block


def make_folder(root, count=4, classes=2, stems=None):
    """images/ and masks/ with pairs of the same stems; returns root."""
    for i, stem in enumerate(stems or [f"p{i}" for i in range(count)]):
        save(root / "images" / f"{stem}.png", picture(seed=i))
        save(root / "masks" / f"{stem}.png", labels(classes, seed=i))
    return root


def make_camvid(root, train=3, val=2):
    """SegNet's layout."""
    for split, count in (("train", train), ("val", val)):
        pairs = [(f"{split}/{i}.png", f"{split}annot/{i}.png") for i in range(count)]
        for i, (image, mask) in enumerate(pairs):
            save(root / image, picture(seed=i + 100 * (split == "val")))
            save(root / mask, labels(11, seed=i))
        write(root / f"{split}.txt", "".join(f"{image} {mask}\n" for image, mask in pairs))
    return root
