"""Reading pictures and masks from files. What is damaged, too large or ambiguous is an error, never quietly repaired.

Pictures and masks are both turned as their own EXIF tag says. A mask's pixels are numbers or colours with a meaning,
so they are never converted, only looked up: see `Coding`.
"""

import contextlib
import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from .dataset import VOID, DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
GREY16 = ("I;16", "I;16L", "I;16B", "I;16N")  # Pillow's names for 16 bits a pixel
GREY = ("1", "L", "LA", "I", "F", *GREY16)
LOSSY = ("JPEG", "MPO", "JPEG2000")


def is_picture(path):
    """Whether a file's name is that of a picture; names that begin with a dot are litter of file browsers."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path, channels=3):
    """A picture as uint8 (H, W, channels), channels 1 or 3.

    Grey pictures are repeated for 3 channels, colour ones weighted (ITU-R 601) for 1. Transparency is dropped, CMYK
    converted. Of 16 bits the upper 8 are kept, for all pictures alike: brightness stays comparable.
    """
    image = decode(path)
    wanted = "L" if channels == 1 else "RGB"
    if image.mode in (*GREY16, "I"):
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise DataError(path, f"pixels range from {pixels.min()} to {pixels.max()}, expected 8 or 16 bits")
        image = Image.fromarray((pixels.astype(np.uint16) >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise DataError(path, "pixels are floating-point numbers; save the picture with 8 or 16 bits")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")  # through RGBA, since the palette may have transparent entries
    pixels = np.array(image.convert(wanted))
    return pixels[:, :, None] if channels == 1 else pixels


def read_label_pixels(path):
    """A mask's pixels as they are stored, with nothing converted: integers (H, W), or colours uint8 (H, W, 3).

    Palette pictures give their indices, 16 bits stay 16 bits, transparency is dropped.
    """
    image = decode(path)
    if image.format in LOSSY or image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise DataError(
            path,
            f"is a {image.format} picture ({image.mode}), which {'blurs' if image.format in LOSSY else 'changes'} "
            f"labels; save masks as PNG, from where they were drawn",
        )
    if image.mode == "F":
        raise DataError(path, "pixels are floating-point numbers, expected whole ones, the class indices")
    pixels = np.asarray(image)
    if image.mode in ("RGB", "RGBA", "RGBX", "RGBa"):
        return pixels[:, :, :3]
    if image.mode in ("LA", "PA", "La"):
        return pixels[:, :, 0]
    return pixels.astype(np.uint8) if image.mode == "1" else pixels


def decode(path):
    """The file as a Pillow image: complete, with all checksums right, turned as its EXIF tag says.

    A JPEG has no checksums: one that is cut off is noticed, a flipped bit in the middle may not be.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is on, so damaged pictures would be filled up with grey in silence; "
            "set it to False"
        )
    with naming(path):
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            check_pixels(image)
            pages = getattr(image, "n_frames", 1) if image.format in ("TIFF", "GIF") else 1
            image.verify()  # checksums: decoding alone passes over those of a PNG's pixels
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            kind, image = image.format, ImageOps.exif_transpose(image)
    if pages > 1:
        raise DataError(path, f"has {pages} pages; save each as a file of its own")
    image.format = kind  # turning forgets it
    return image


def stored_as(path):
    """Pillow's name for how a picture's pixels are stored, such as RGB, L (grey) or P (palette); reads the header."""
    with naming(path), Image.open(path) as image:
        return image.mode


def has_colour(path):
    """Whether a picture is a colour picture, from its header alone."""
    return stored_as(path) not in GREY


@contextlib.contextmanager
def naming(path):
    """Within a `with` block, whatever goes wrong with a file is a DataError that names it."""
    try:
        yield
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            path,
            f"is too large to be opened ({error}): a small file that claims to be so large may be an attack; "
            f"if you trust it, raise PIL.Image.MAX_IMAGE_PIXELS, or cut it into tiles",
        ) from None
    except UnidentifiedImageError:
        head = path.read_bytes()[:16]
        raise DataError(path, f"isn't a picture; it begins with {head!r}" if head else "is empty (0 bytes)") from None
    except Exception as error:  # decoders raise all kinds of errors when they are fed with damaged data
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(path, f"can't be read: {error.strerror}") from None
        raise DataError(path, f"is damaged: {error}") from error


def check_pixels(image):
    """A DecompressionBombError if the header claims more pixels than Pillow's limit (there, only a warning)."""
    limit, (width, height) = Image.MAX_IMAGE_PIXELS, image.size
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(f"{width}x{height} pixels exceed the limit of {limit}")


class Coding(NamedTuple):
    """What a mask's pixels mean.

    values    {pixel value: class}, for grey and palette masks
    colours   {(red, green, blue): class}, for colour masks; None if there is no such table
    classes   how many classes there are; a value may also mean VOID
    hint      for errors about a value: {value: what may have happened}
    """

    values: dict
    colours: dict | None
    classes: int
    hint: dict

    @classmethod
    def plain(cls, classes, colours=None, void=(VOID,), hint=None):
        """Pixel value = class, 0 to classes - 1; those in `void` are VOID."""
        values = {c: c for c in range(classes)} | dict.fromkeys(void, VOID)
        return cls(values, colours, classes, hint or {})


def read_mask(path, coding):
    """A mask as int64 (H, W): class indices and VOID, by the tables of a `Coding`."""
    pixels = read_label_pixels(path)
    if pixels.ndim == 2:
        return decode_values(path, pixels, coding)
    if coding.colours is not None:
        return decode_colours(path, pixels, coding.colours)
    if (pixels == pixels[:, :, :1]).all():  # grey, stored as colour
        return decode_values(path, pixels[:, :, 0], coding)
    raise DataError(
        path,
        f"is a colour mask, with {describe_colours(pixels)}, and no table says which class a colour "
        f"is; give the colours in class order, such as colours=000000+ff0000",
    )


def decode_values(path, pixels, coding):
    """Pixel values to classes, by a table lookup."""
    top = max(coding.values)
    table = np.full(top + 2, -1, np.int64)  # the last entry stands for everything that is out of range
    table[list(coding.values)] = list(coding.values.values())
    inside = (pixels >= 0) & (pixels <= top) if pixels.dtype != np.uint8 or top < 255 else None
    mask = table[pixels if inside is None else np.where(inside, pixels, top + 1)]
    unknown = mask < 0
    if unknown.any():
        found, counts = np.unique(pixels[unknown], return_counts=True)
        y, x = np.argwhere(unknown)[0]
        listed = ", ".join(f"{v} on {n} pixels" for v, n in zip(found[:8], counts[:8], strict=True))
        listed += f" and {len(found) - 8} more" if len(found) > 8 else ""
        hints = {coding.hint[int(v)] for v in found if int(v) in coding.hint}
        raise DataError(
            path,
            f"label {listed} (first at x={x}, y={y}); {describe_values(coding)}"
            + "".join(f". {hint}" for hint in sorted(hints)),
        )
    return mask


def describe_values(coding):
    """Which pixel values are right, for an error's text."""
    classes = sorted(value for value, c in coding.values.items() if c != VOID)
    void = sorted(value for value, c in coding.values.items() if c == VOID)
    is_plain = classes == list(range(coding.classes))
    allowed = f"0 to {coding.classes - 1}" if is_plain else ", ".join(map(str, classes))
    voids = f", and {', '.join(map(str, void[:4]))}{', ...' if len(void) > 4 else ''} for void" if void else ""
    return f"the data set's {coding.classes} classes are the values {allowed}{voids}"


def packed(colours):
    """Colours (..., 3) as one integer each: red, green and blue in 8 bits each."""
    red, green, blue = np.moveaxis(np.asarray(colours, np.int64), -1, 0)
    return red << 16 | green << 8 | blue


def decode_colours(path, pixels, colours):
    """Colours to classes; only exactly the colours of the table are known."""
    codes = packed(list(colours))
    order = np.argsort(codes)
    sorted_codes, classes = codes[order], np.array(list(colours.values()), np.int64)[order]
    found = packed(pixels)
    nearest = np.minimum(np.searchsorted(sorted_codes, found), len(sorted_codes) - 1)
    unknown = sorted_codes[nearest] != found
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        others = len(np.unique(found[unknown])) - 1
        smeared = "; that many look like a mask that was once a JPEG or was resized smoothly" if others > 50 else ""
        raise DataError(
            path,
            f"colour {tuple(map(int, pixels[y, x]))} at x={x}, y={y} belongs to no class, nor to void "
            f"({unknown.sum()} pixels of {others + 1} unknown colours{smeared})",
        )
    return classes[nearest]


def describe_colours(pixels, most=8):
    """The colours that occur, as hexadecimal text."""
    codes = np.unique(packed(pixels))
    more = f" and {len(codes) - most} more" if len(codes) > most else ""
    return f"the colours {', '.join(f'{code:06x}' for code in codes[:most])}{more}"
