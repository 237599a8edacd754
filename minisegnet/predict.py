"""Pictures in, masks out, for pictures of any size.

A picture that is larger than a tile is cut into tiles that overlap; their probabilities are blended, each tile counting
less towards its edges, where the net sees less of the surroundings. A picture that is too small for the net is padded
with copies of its edge, and the padding cut off again.
"""

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kernels import ops_for

from .files import atomic_write
from .trained import scores_of

__all__ = ["Prediction", "classify", "predict"]

SMALLEST = 64  # pixels: shorter sides are padded to this; deep nets halve them five or six times
OVERLAP = 64  # pixels that neighbouring tiles have in common, or a quarter of a small tile


class Prediction(NamedTuple):
    """What `predict` returns.

    Attributes
        mask: the most likely class of each pixel, int64 (H, W)
        probabilities: of each class at each pixel, float32 (classes, H, W); over the classes they sum to 1

    >>> p = np.array([[[0.9, 0.2]], [[0.1, 0.8]]], np.float32)
    >>> Prediction(p.argmax(axis=0), p).mask
    array([[0, 1]])
    """

    mask: np.ndarray
    probabilities: np.ndarray


def predict(trained, image, tile=512):
    """The Prediction for an 8-bit picture (H, W, channels), at its size. For a classifier, see `classify`.

    Parameters
        trained: a Trained net, see `load_trained`
        image: uint8 (H, W, channels)
        tile: side of the largest piece that the net sees at once, in pixels, after resizing to the size it was trained
            on; at least 64

    >>> from minisegnet import layers
    >>> from minisegnet.trained import Recipe, Trained
    >>> net = layers.Conv2d(1, 2, 1).eval()  # the score of class 1 is the pixel less 0.5
    >>> net.weight.value, net.bias.value = np.array([[[[0]]], [[[1]]]], np.float32), np.array([0, -0.5], np.float32)
    >>> recipe = Recipe("bright", "", {}, 1, ("dark", "bright"), [], "segmentation", 0, "none", (0.0,), (1.0,))
    >>> image = np.array([[[0], [100]], [[200], [255]]], np.uint8)
    >>> mask, probabilities = predict(Trained(net, recipe, Path("bright.safetensors"), {}), image)
    >>> mask, probabilities.shape
    (array([[0, 0],
           [1, 1]]), (2, 2, 2))
    """
    recipe = trained.recipe
    H, W = image.shape[:2]
    small = shrink(image, recipe.resize)
    padded, (top, left) = pad(small, SMALLEST)
    x = recipe.transform()(padded, None)[0][None]
    p = tiled(trained.net, x, len(recipe.classes), max(tile, SMALLEST))
    p = p[:, :, top : top + small.shape[0], left : left + small.shape[1]]
    if p.shape[2:] != (H, W):
        scale = (p.shape[2] / H, p.shape[3] / W)
        p = ops_for(p).upsample_bilinear2d_forward(np.ascontiguousarray(p), (H, W), scale, False)
    return Prediction(p[0].argmax(axis=0), p[0])


def classify(trained, image):
    """The probability of each class for a whole picture, (classes,), of a net trained on classified pictures.

    Parameters
        trained: a Trained net, see `load_trained`
        image: uint8 (H, W, channels)

    >>> from minisegnet import layers
    >>> from minisegnet.trained import Recipe, Trained
    >>> net = layers.Sequential(layers.AdaptiveAvgPool2d(1), layers.Flatten(), layers.Linear(1, 2)).eval()
    >>> net[2].weight.value, net[2].bias.value = np.array([[0], [0]], np.float32), np.log([1, 3]).astype(np.float32)
    >>> recipe = Recipe("any", "", {}, 1, ("cat", "dog"), [], "classification", 0, "none", (0.0,), (1.0,))
    >>> classify(Trained(net, recipe, Path("any.safetensors"), {}), np.zeros((4, 5, 1), np.uint8))
    array([0.25, 0.75], dtype=float32)
    """
    x = trained.recipe.transform()(shrink(image, trained.recipe.resize), None)[0][None]
    scores = scores_of(trained.net, x)
    return ops_for(scores).softmax_forward(scores, 1)[0]


def shrink(image, longest):
    """The picture with this longest side, or as it is for 0."""
    if not longest:
        return image
    from .data import transforms

    return transforms.LongestSide(longest)(image, None)[0]


def pad(image, smallest):
    """(picture, (rows, columns) put before it): sides shorter than `smallest` get copies of their edges."""
    missing = [max(0, smallest - side) for side in image.shape[:2]]
    before = [m // 2 for m in missing]
    pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    return np.pad(image, [*pads, (0, 0)], mode="edge"), tuple(before)


def tiled(net, x, classes, tile):
    """Probabilities (1, classes, H, W) of a picture x (1, channels, H, W), tile by tile."""
    H, W = x.shape[2:]
    overlap = min(OVERLAP, tile // 4)
    if H <= tile and W <= tile:
        return softmax(scores_of(net, x))
    total, weight = np.zeros((1, classes, H, W), x.dtype), np.zeros((H, W), x.dtype)
    for top in starts(H, tile, overlap):
        for left in starts(W, tile, overlap):
            part = (slice(top, min(H, top + tile)), slice(left, min(W, left + tile)))
            p = softmax(scores_of(net, np.ascontiguousarray(x[:, :, part[0], part[1]])))
            w = np.minimum.outer(ramp(p.shape[2], overlap), ramp(p.shape[3], overlap)).astype(x.dtype)
            total[:, :, part[0], part[1]] += w * p
            weight[part] += w
    return total / weight


def softmax(scores):
    return ops_for(scores).softmax_forward(scores, 1)


def starts(length, tile, overlap):
    """Where tiles begin, so that neighbours overlap by at least `overlap` and the last one ends with the picture.

    >>> starts(10, 4, 1), starts(3, 4, 1)
    ([0, 3, 6], [0])
    """
    if length <= tile:
        return [0]
    count = max(2, -(-(length - overlap) // (tile - overlap)))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def ramp(length, overlap):
    """Weights along a tile: 1 inside, falling towards both ends over the overlap.

    >>> ramp(6, 2)
    array([0.33333333, 0.66666667, 1.        , 1.        , 0.66666667, 0.33333333])
    """
    distance = np.arange(1, length + 1)
    return np.minimum(1, np.minimum(distance, distance[::-1]) / (overlap + 1))


# ------------------------------------------------------------------ files


def find_pictures(inputs):
    """All picture files among files, folders (with all that is below) and patterns such as "shots/*.png", in order.

    FileNotFoundError names everything that is not there; ValueError if nothing is left.
    """
    from .data.files import is_picture

    found, missing = [], []
    for text in map(str, inputs):
        path = Path(text)
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if is_picture(p))
        elif path.is_file():
            found.append(path)
        else:
            matches = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) if glob_like(text) else []
            found += [p for p in matches if p.is_file()]
            missing += [] if matches else [text]
    if missing:
        raise FileNotFoundError(f"not found: {', '.join(missing)}")
    if not found:
        raise ValueError(f"no pictures in {', '.join(map(str, inputs))}")
    return list(dict.fromkeys(found))


def glob_like(text):
    return any(c in text for c in "*?[")


def output_names(pictures):
    """{picture: name without ending} for the results; where two have the same name, their folders come in front.

    >>> output_names([Path("a/1.png"), Path("b/1.png"), Path("b/2.png")])[Path("b/1.png")]
    'b_1'
    """
    stems = [p.stem for p in pictures]
    names = {p: p.stem if stems.count(p.stem) == 1 else f"{p.parent.name}_{p.stem}" for p in pictures}
    taken = {}
    for picture, name in names.items():
        if name in taken:
            raise ValueError(f"{taken[name]} and {picture} would both become {name}; predict them into two folders")
        taken[name] = picture
    return names


def results_folder(path):
    """The folder that results go into, made if it is not there. FileExistsError if a file is in its place."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        in_the_way = next((p for p in (path, *path.parents) if p.is_file()), path)
        raise FileExistsError(
            f"{in_the_way} is a file; --out names a folder for the results, give another one"
        ) from None
    return path


def readable(trained, pictures, bad):
    """(path, 8-bit picture) of those that can be read; what is wrong with the others is added to the list `bad`."""
    from .data import DataError
    from .data.files import read_image

    for path in pictures:
        try:
            image = read_image(path, trained.recipe.channels)
        except (DataError, OSError) as error:
            bad.append(str(error))
            continue
        yield path, image


def check_all_read(bad, count):
    """ValueError that lists what was wrong with the pictures that could not be read, if there were any."""
    if bad:
        raise ValueError(f"{len(bad)} of {count} pictures could not be read:\n  " + "\n  ".join(bad))


def classify_files(trained, inputs, out, progress=None):
    """Write predictions.csv into the folder `out`: for each picture its most likely class, and p(class) of all classes.

    Yields (picture, table's path, {class: probability}) one after the other; the table is written when all are done.
    Pictures that can't be read are left out, and a ValueError at the end names them; progress wraps the list.
    """
    found, names, bad = find_pictures(inputs), trained.recipe.classes, []
    target = results_folder(out) / "predictions.csv"
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["picture", "class", *(f"p({name})" for name in names)])
    for path, image in readable(trained, progress(found) if progress else found, bad):
        p = classify(trained, image).tolist()
        rows.writerow([path, names[int(np.argmax(p))], *(f"{share:.6g}" for share in p)])
        yield path, target, dict(zip(names, p, strict=True))
    atomic_write(target, text.getvalue())
    check_all_read(bad, len(found))


def predict_files(trained, inputs, out, overlay=True, probabilities=False, tile=512, progress=None):
    """Write a mask NAME.png (the pixel is the class; with a palette to look at) for each picture into the folder `out`.

    overlay: also NAME_overlay.png, the mask laid over the picture. probabilities: also NAME_probabilities.npy, float32
    (classes, H, W). Pictures rotated by their EXIF tag are turned upright first, as viewers show them, and so is their
    mask. Yields (picture, mask's path, {class: share of the pixels}) one after the other; progress wraps the list.
    Pictures that can't be read are left out, and a ValueError at the end names them.
    """
    from . import pictures as draw

    out, bad = Path(out), []
    found = [p for p in find_pictures(inputs) if p.resolve().parent != out.resolve()]  # earlier results are no inputs
    if not found:
        raise ValueError(f"all pictures lie in {out}, where results would overwrite them; choose another folder")
    names = output_names(found)
    results_folder(out)
    for path, image in readable(trained, progress(found) if progress else found, bad):
        mask, p = predict(trained, image, tile)
        target = out / f"{names[path]}.png"
        colours = np.asarray(trained.recipe.colours, np.uint8)
        draw.save_mask(target, mask, colours)
        if overlay:
            draw.save_picture(out / f"{names[path]}_overlay.png", draw.overlay(image, mask, colours))
        if probabilities:
            data = io.BytesIO()
            np.save(data, p)
            atomic_write(out / f"{names[path]}_probabilities.npy", data.getvalue())
        shares = np.bincount(mask.ravel(), minlength=len(colours)) / mask.size
        yield path, target, dict(zip(trained.recipe.classes, shares.tolist(), strict=True))
    check_all_read(bad, len(found))
