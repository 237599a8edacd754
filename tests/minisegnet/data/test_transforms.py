"""The transforms: cases worked out by hand, what they accept, and their text."""

import numpy as np
import pytest

from minisegnet import ShapeError
from minisegnet.data.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    GaussianNoise,
    HorizontalFlip,
    LongestSide,
    Normalize,
    Pad,
    QuarterTurns,
    RandomCrop,
    RandomScale,
    Resize,
    Rotate,
    Standardize,
    ToArray,
    Transform,
    VerticalFlip,
    from_text,
    to_text,
)
from minisegnet.data.transforms.resample import resize_image, resize_mask, rotate_image, rotate_mask
from minisegnet.data.transforms.values import chroma_map


def grey(rows):
    """An image (H, W, 1) from its rows."""
    return np.array(rows, np.uint8)[..., None]


def noise(height, width, channels=3, rng=0):
    return np.random.default_rng(rng).integers(0, 256, (height, width, channels), np.uint8)


# ------------------------------------------------------------------ size


def test_resizing_by_hand():
    assert resize_image(grey([[10, 20], [30, 40]]), 1, 1).tolist() == [[[25]]]
    assert resize_image(grey([[0, 100]]), 1, 4)[0, :, 0].tolist() == [0, 25, 75, 100]
    assert resize_mask(np.array([[0, 1], [2, 3]]), 4, 3).tolist() == [[0, 1, 1], [0, 1, 1], [2, 3, 3], [2, 3, 3]]
    assert resize_mask(np.arange(6)[None], 1, 2).tolist() == [[1, 4]]


def test_shrinking_is_antialiased():
    """A fine chequerboard turns grey; taking every fourth pixel would make it black or white."""
    y, x = np.mgrid[:32, :32]
    board = grey(255 * ((x + y) % 2))
    assert abs(resize_image(board, 8, 8).astype(int) - 128).max() <= 4


@pytest.mark.parametrize(
    ("size", "length", "expected"),
    [
        ((30, 40), 20, (15, 20)),
        ((40, 30), 80, (80, 60)),
        ((1, 100), 10, (1, 10)),
        ((7, 7), 7, (7, 7)),
        ((3, 4), 2, (2, 2)),
    ],
)
def test_the_longest_side_becomes_what_was_asked_for(size, length, expected):
    image, mask = LongestSide(length)(np.zeros((*size, 3), np.uint8), np.zeros(size, np.int64))
    assert image.shape == (*expected, 3)
    assert mask.shape == expected


@pytest.mark.parametrize("size", [(7, 5), (3, 11), (13, 9), (1, 1), (20, 2)])
def test_masks_as_pytorch_resizes_to_the_nearest_centre(size):
    torch = pytest.importorskip("torch")
    mask = np.random.default_rng(0).integers(0, 255, (7, 9))
    like = torch.nn.functional.interpolate(torch.tensor(mask[None, None]).double(), size, mode="nearest-exact")
    np.testing.assert_array_equal(resize_mask(mask, *size), like[0, 0].numpy())


@pytest.mark.parametrize("size", [(7, 5), (3, 11), (13, 9), (20, 2)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_as_pytorch_resizes_with_antialiasing(size, channels):
    torch = pytest.importorskip("torch")
    image = noise(7, 9, channels)
    like = torch.nn.functional.interpolate(
        torch.tensor(image.transpose(2, 0, 1)[None]).double(), size, mode="bilinear", antialias=True
    )
    np.testing.assert_allclose(resize_image(image, *size), like[0].numpy().transpose(1, 2, 0), atol=1.01)


def test_random_scale_stays_within_its_bounds_and_above_zero():
    scale = RandomScale(0.5, 2, rng=0)
    heights = [scale(np.zeros((100, 50, 1), np.uint8))[0].shape for _ in range(50)]
    assert all(50 <= H <= 200 and abs(H - 2 * W) <= 1 for H, W, _ in heights)
    assert min(heights)[0] < 70 < 150 < max(heights)[0]
    assert RandomScale(0.01, 0.01)(grey([[1, 2]]))[0].shape == (1, 1, 1)
    assert RandomScale(0.5, 0.5)(grey([[1], [2], [3]]))[0].shape == (2, 1, 1)  # 1.5 is rounded up


# ------------------------------------------------------------------ windows


def test_center_crop_by_hand():
    image, mask = grey(np.arange(12).reshape(3, 4)), np.arange(12).reshape(3, 4)
    cropped, cropped_mask = CenterCrop(1, 2)(image, mask)
    assert cropped[..., 0].tolist() == cropped_mask.tolist() == [[5, 6]]
    padded, padded_mask = CenterCrop((5, 2), fill=9)(image, mask)
    assert padded[..., 0].tolist() == [[9, 9], [1, 2], [5, 6], [9, 10], [9, 9]]
    assert padded_mask.tolist() == [[255, 255], [1, 2], [5, 6], [9, 10], [255, 255]]


def test_padding_by_hand():
    image, mask = Pad(((1, 0), (2, 1)), fill=7)(grey([[1, 2]]), np.array([[3, 4]]))
    assert image[..., 0].tolist() == [[7, 7, 7, 7, 7], [7, 7, 1, 2, 7]]
    assert mask.tolist() == [[255] * 5, [255, 255, 3, 4, 255]]
    assert Pad(1)(grey([[1]]))[0].shape == (3, 3, 1)
    assert Pad((0, 2))(grey([[1]]))[0].shape == (1, 5, 1)


def test_random_crops_reach_every_place_and_no_other():
    image = grey(np.arange(12).reshape(3, 4))
    crop = RandomCrop(2, 3, rng=0)
    found = {tuple(crop(image)[0][0, :, 0].tolist()) for _ in range(100)}
    assert found == {(0, 1, 2), (1, 2, 3), (4, 5, 6), (5, 6, 7)}
    same = RandomCrop(3, 4)(image, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(same[0], image)
    np.testing.assert_array_equal(same[1], image[..., 0])


def test_a_crop_larger_than_the_picture_holds_all_of_it():
    crop = RandomCrop(3, 2, fill=50, rng=0)
    tops = set()
    for _ in range(50):
        image, mask = crop(grey([[1, 2, 3]]), np.array([[1, 2, 3]]))
        (top,) = np.flatnonzero((mask != 255).any(1))
        tops.add(int(top))
        assert mask[top].tolist() in ([1, 2], [2, 3])
        np.testing.assert_array_equal(image[..., 0], np.where(mask == 255, 50, mask))
    assert tops == {0, 1, 2}


# ------------------------------------------------------------------ flips and turns


def test_flips_and_quarter_turns_by_hand():
    rows = np.array([[0, 1, 2], [3, 4, 5]])
    for transform, expected in (
        (HorizontalFlip(1), [[2, 1, 0], [5, 4, 3]]),
        (VerticalFlip(1), [[3, 4, 5], [0, 1, 2]]),
        (HorizontalFlip(0), [[0, 1, 2], [3, 4, 5]]),
    ):
        image, mask = transform(grey(rows), rows)
        assert image[..., 0].tolist() == mask.tolist() == expected
    turns = QuarterTurns(rng=0)
    results = [turns(grey(rows), rows) for _ in range(40)]
    assert all(image[..., 0].tolist() == mask.tolist() for image, mask in results)
    assert {str(mask.tolist()) for _, mask in results} == {
        "[[0, 1, 2], [3, 4, 5]]",
        "[[2, 5], [1, 4], [0, 3]]",
        "[[5, 4, 3], [2, 1, 0]]",
        "[[3, 0], [4, 1], [5, 2]]",
    }


def test_flips_come_with_their_probability():
    flip = HorizontalFlip(0.25, rng=0)
    flipped = sum(int(flip(grey([[0, 1]]))[0][0, 0, 0]) for _ in range(2000))
    assert flipped == pytest.approx(500, abs=5 * np.sqrt(2000 * 0.25 * 0.75))


def test_rotation_by_hand():
    square = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    for angle, like in ((0, square), (90, np.rot90(square)), (180, np.rot90(square, 2)), (-90, np.rot90(square, -1))):
        np.testing.assert_array_equal(rotate_mask(square, angle, 255), like)
        np.testing.assert_array_equal(rotate_image(grey(square), angle, 9)[..., 0], like)
    eighth = rotate_mask(np.ones((9, 9), int), 45, 255)
    assert (eighth[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert (eighth[4] == 1).all()


def test_rotation_is_counter_clockwise_and_within_its_bounds():
    image = np.zeros((101, 101, 3), np.uint8)
    image[50, 90] = 255  # at the right, in the middle
    mask = np.zeros((101, 101), int)
    mask[48:53, 88:93] = 1
    turned, turned_mask = rotate_image(image, 30, 0), rotate_mask(mask, 30, 255)
    y, x = 50 - 40 * np.sin(np.pi / 6), 50 + 40 * np.cos(np.pi / 6)  # y points down, so it goes up
    brightest = np.unravel_index(turned[..., 0].argmax(), (101, 101))
    np.testing.assert_allclose(brightest, (y, x), atol=1)
    np.testing.assert_allclose(np.argwhere(turned_mask == 1).mean(0), (y, x), atol=0.5)
    rotate = Rotate(10, rng=0)
    heights = [np.argwhere(rotate(image, mask)[1] == 1).mean(0)[0] - 50 for _ in range(100)]
    highest = 40 * np.sin(np.radians(10)) + 0.5
    assert -highest < min(heights) < -highest + 2
    assert highest - 2 < max(heights) < highest


# ------------------------------------------------------------------ values


def drawn(rng):
    """The numbers that ColorJitter draws, each -1 to 1: brightness, contrast, saturation, hue."""
    rng = np.random.default_rng(rng)
    return [*rng.uniform(-1, 1, 3), rng.uniform(-1, 1)]


def test_color_jitter_by_hand():
    image = np.array([[[100, 100, 100], [50, 60, 70]]], np.uint8)
    x = image.astype(float)
    luma = np.array([0.299, 0.587, 0.114])
    for rng in range(3):
        b, c, s, _ = drawn(rng)
        brighter = x * (1 + 0.4 * b)
        np.testing.assert_allclose(ColorJitter(brightness=0.4)(image, rng=rng)[0], brighter, atol=0.51)
        mean = (x @ luma).mean()
        np.testing.assert_allclose(
            ColorJitter(contrast=0.4)(image, rng=rng)[0], mean + (1 + 0.4 * c) * (x - mean), atol=0.51
        )
        L = (x @ luma)[..., None]
        np.testing.assert_allclose(
            ColorJitter(saturation=0.4)(image, rng=rng)[0], L + (1 + 0.4 * s) * (x - L), atol=0.51
        )
        b, c, s = (1 + 0.4 * value for value in (b, c, s))
        step = (mean * b) + c * (b * x - mean * b)
        L = (step @ luma)[..., None]
        np.testing.assert_allclose(ColorJitter(0.4, 0.4, 0.4)(image, rng=rng)[0], L + s * (step - L), atol=0.51)


def test_hue_keeps_luma_and_greys_and_half_a_turn_inverts_the_chroma():
    luma = np.array([0.299, 0.587, 0.114])
    for turn in (0.1, -0.25, 0.5):
        np.testing.assert_allclose(luma @ chroma_map(1, turn), luma, atol=1e-12)
        np.testing.assert_allclose(chroma_map(1, turn) @ np.ones(3), 1, atol=1e-3)
    x = np.array([50.0, 60, 70])
    np.testing.assert_allclose(chroma_map(1, 0.5) @ x, 2 * (luma @ x) - x, atol=0.1)
    np.testing.assert_allclose(chroma_map(1, 0.2) @ chroma_map(1, 0.3), chroma_map(1, 0.5), atol=1e-12)
    image = noise(5, 4) // 4 + 90
    h = 0.2 * drawn(1)[3]
    np.testing.assert_allclose(ColorJitter(hue=0.2)(image, rng=1)[0], image @ chroma_map(1, h).T, atol=0.51)


def test_color_jitter_of_a_grey_picture_and_of_extremes():
    image = grey([[0, 100], [200, 255]])
    b, c, _, _ = drawn(0)
    b, c, mean = 1 + 0.5 * b, 1 + 0.5 * c, image.mean()
    by_hand = np.clip(b * mean + c * b * (image.astype(float) - mean), 0, 255)
    np.testing.assert_allclose(ColorJitter(0.5, 0.5, 0.5, 0.5)(image, rng=0)[0], by_hand, atol=0.51)
    np.testing.assert_array_equal(ColorJitter(0, 0, 1, 0.5)(image, rng=0)[0], image)
    white = ColorJitter(brightness=1)(np.full((1, 1, 3), 250, np.uint8), rng=0)[0]
    assert white.tolist() == [[[255, 255, 255]]]  # cut, not wrapped around


def test_gaussian_noise_has_its_deviation():
    image, mask = GaussianNoise(0.05, rng=0)(np.full((100, 100, 3), 128, np.uint8), np.ones((100, 100), int))
    assert image.mean() == pytest.approx(128, abs=0.5)
    assert image.std() == pytest.approx(0.05 * 255, rel=0.02)
    assert (image[..., 0] != image[..., 1]).mean() > 0.9  # each channel its own
    assert (mask == 1).all()
    assert GaussianNoise(0.5, rng=0)(grey([[0] * 99]))[0].min() == 0


def test_to_array_normalize_and_standardize_by_hand():
    image, mask = ToArray()(np.array([[[0, 51], [255, 102]]], np.uint8), np.array([[1, 255]], np.uint8))
    assert (image.dtype, mask.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(image, np.array([[[0, 1]], [[0.2, 0.4]]], np.float32))
    assert image.flags.c_contiguous
    normal, _ = Normalize([0.5, 0.2], [0.5, 0.1])(image)
    np.testing.assert_allclose(normal, [[[-1, 1]], [[0, 2]]], atol=1e-6)
    assert normal.dtype == np.float32
    single, _ = Normalize(0.5, 0.5)(image)
    np.testing.assert_allclose(single, 2 * image - 1, atol=1e-6)
    standard, _ = Standardize()(image)
    assert standard.dtype == np.float32
    np.testing.assert_allclose(standard, (image - 0.4) / np.sqrt(0.14), atol=1e-6)
    np.testing.assert_array_equal(Standardize()(np.full((1, 2, 2), 0.7, np.float32))[0].round(4), 0)


# ------------------------------------------------------------------ arguments

ALL = [
    (Resize, (3, 5)),
    (RandomScale, (0.5, 2)),
    (RandomCrop, (3, 5)),
    (CenterCrop, (3, 5)),
    (Pad, (2,)),
    (HorizontalFlip, ()),
    (VerticalFlip, ()),
    (Rotate, (30,)),
    (QuarterTurns, ()),
    (ColorJitter, (0.2, 0.2, 0.2, 0.1)),
    (GaussianNoise, (0.1,)),
    (ToArray, ()),
    (Normalize, (0.5, 0.2)),
    (Standardize, ()),
]
IDS = [kind.__name__ for kind, _ in ALL]


@pytest.mark.parametrize(("kind", "arguments"), ALL, ids=IDS)
@pytest.mark.parametrize("shape", [(7, 9, 3), (7, 9, 1), (1, 1, 1), (2, 1, 3)])
def test_every_transform_takes_odd_sizes_and_changes_nothing_that_it_is_given(kind, arguments, shape):
    transform = kind(*arguments)
    image, mask = noise(*shape), noise(*shape)[..., 0].astype(np.int64)
    if kind in (Normalize, Standardize):
        image, mask = ToArray()(image, mask)
    image = np.asfortranarray(image)[::-1]  # not contiguous, and read-only
    kept, kept_mask = image.copy(), mask.copy()
    image.flags.writeable = mask.flags.writeable = False
    with_mask, new_mask = transform(image, mask, np.random.default_rng(3))
    alone, nothing = transform(image, None, np.random.default_rng(3))
    labelled, label = transform(image, 4, 3)  # a seed does too
    np.testing.assert_array_equal(with_mask, alone)
    np.testing.assert_array_equal(with_mask, labelled)
    assert nothing is None
    assert label == 4
    size = with_mask.shape[1:] if kind in (ToArray, Normalize, Standardize) else with_mask.shape[:2]
    assert new_mask.shape == size
    assert new_mask.dtype == np.int64
    assert with_mask.shape[0 if size == with_mask.shape[1:] else 2] in (1, 3)
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(mask, kept_mask)
    own = kind(*arguments, rng=3) if kind not in FIXED else transform
    np.testing.assert_array_equal(own(image, mask)[0], with_mask)


FIXED = (Resize, CenterCrop, Pad, ToArray, Normalize, Standardize)  # nothing random


@pytest.mark.parametrize(("kind", "arguments"), ALL, ids=IDS)
def test_every_transform_refuses_what_is_no_sample(kind, arguments):
    transform, image = kind(*arguments), noise(4, 6)
    name = rf"^{kind.__name__}\("
    if kind in (Normalize, Standardize):
        with pytest.raises(TypeError, match=name + r".*dtype uint8; expected a float32 .* put ToArray\(\) before this"):
            transform(image)
        image = ToArray()(image)[0]
    else:
        with pytest.raises(TypeError, match=name + r".*\(3, 4, 6\) and dtype float32; .* before ToArray\(\)"):
            transform(ToArray()(image)[0])
    with pytest.raises(TypeError, match=name + ".*the image is a str, not an array"):
        transform("a.png")
    with pytest.raises(ShapeError, match=name + r".*the image has shape \(4, 6\); .*image\[..., None\]"):
        transform(image.reshape(-1)[:24].reshape(4, 6))
    with pytest.raises(ShapeError, match=name + ".*which has no pixels"):
        transform(image[:0])
    with pytest.raises(TypeError, match=name + ".*the mask is an array of float64, expected an integer array"):
        transform(image, np.zeros((4, 6)))
    with pytest.raises(TypeError, match=name + ".*the mask is str, expected"):
        transform(image, "mask.png")
    with pytest.raises(ShapeError, match=name + r".*the mask has shape \(6, 4\), the image is 4x6"):
        transform(image, np.zeros((6, 4), int))


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: LongestSide(0), ValueError, r"^LongestSide: length must be at least 1, got 0$"),
        (lambda: Resize(0), ValueError, r"^Resize: size \(height, width\) must be at least 1, got 0$"),
        (lambda: Resize(1.5, 2), TypeError, r"^Resize: size .* must be an integer or a pair"),
        (lambda: RandomCrop((1, 2, 3)), ValueError, r"^RandomCrop: size .* must be one integer or two"),
        (lambda: CenterCrop(3, -1), ValueError, r"^CenterCrop: size .* must be at least 1, got \(3, -1\)"),
        (lambda: RandomCrop(3, fill=256), ValueError, r"^RandomCrop: fill must be in \[0, 255\], got 256"),
        (lambda: Rotate(3, fill=0.5), TypeError, r"^Rotate: fill must be an integer, got 0.5"),
        (lambda: Rotate(-3), ValueError, r"^Rotate: degrees must be in \[0, 360\], got -3"),
        (lambda: RandomScale(0, 1), ValueError, r"^RandomScale: low must be in \(0, inf\), got 0"),
        (lambda: RandomScale(2, 1), ValueError, r"^RandomScale: low must not be above high, got 2 and 1"),
        (lambda: Pad(-1), ValueError, r"^Pad: padding must be at least 0, got -1"),
        (lambda: HorizontalFlip(1.5), ValueError, r"^HorizontalFlip: p must be in \[0, 1\], got 1.5"),
        (lambda: VerticalFlip(p="x"), TypeError, r"^VerticalFlip: p must be a number, got 'x'"),
        (lambda: ColorJitter(hue=0.6), ValueError, r"^ColorJitter: hue must be in \[0, 0.5\], got 0.6"),
        (lambda: ColorJitter(saturation=-1), ValueError, r"^ColorJitter: saturation must be in \[0, 1\]"),
        (lambda: GaussianNoise(float("nan")), ValueError, r"^GaussianNoise: std must be in \[0, 1\], got nan"),
        (lambda: Normalize(0.5, 0), ValueError, r"^Normalize: std must be in \(0, inf\), got 0"),
        (lambda: Normalize([], 1), ValueError, r"^Normalize: mean must be a number or a list"),
        (lambda: Normalize([[1]], 1), TypeError, r"^Normalize: mean must be a number"),
        (lambda: QuarterTurns(rng=-1), ValueError, r"^QuarterTurns: rng must be a seed"),
        (lambda: Compose([ToArray]), TypeError, r"^Compose: entry 0 .* write ToArray\(\), not ToArray$"),
        (lambda: Compose([ToArray(), 3]), TypeError, r"^Compose: entry 1 must be a transform, got 3$"),
        (lambda: Compose(ToArray()), TypeError, r"^Compose: transforms must be a list of them, got ToArray\(\)$"),
    ],
)
def test_bad_arguments(make, kind, text):
    with pytest.raises(kind, match=text):
        make()


def test_normalize_wants_as_many_channels_as_numbers():
    with pytest.raises(ShapeError, match=r"^Normalize\(.*the image has 3 channels, std has 2; give one number or 3$"):
        Normalize(0.5, [1, 2])(np.zeros((3, 2, 2), np.float32))


def test_a_transform_without_apply():
    class Nothing(Transform):
        pass

    with pytest.raises(NotImplementedError, match="Nothing has no apply"):
        Nothing()(grey([[1]]))


# ------------------------------------------------------------------ text


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (Resize(3, 5), "Resize(3, 5)"),
        (LongestSide(40), "LongestSide(40)"),
        (Resize((3, 5)), "Resize(3, 5)"),
        (RandomCrop(4, rng=3), "RandomCrop(4, 4)"),
        (RandomCrop(4, 5, fill=7), "RandomCrop(4, 5, 7)"),
        (Pad([1, 2], fill=7), "Pad([1, 2], 7)"),
        (HorizontalFlip(), "HorizontalFlip()"),
        (VerticalFlip(0.25), "VerticalFlip(0.25)"),
        (ColorJitter(0.1, hue=0.2), "ColorJitter(0.1, hue=0.2)"),
        (RandomScale(np.float32(0.5), 2), "RandomScale(0.5, 2.0)"),
        (Normalize(np.array([0.1, 0.2, 0.3]), 1), "Normalize((0.1, 0.2, 0.3), (1.0,))"),
        (Compose([QuarterTurns(), ToArray()]), "Compose([QuarterTurns(), ToArray()])"),
        (Compose([]), "Compose([])"),
    ],
)
def test_repr_shows_the_settings(transform, text):
    assert repr(transform) == text


@pytest.mark.parametrize(("kind", "arguments"), ALL, ids=IDS)
def test_text_and_back(kind, arguments):
    transform = kind(*arguments)
    again = from_text(to_text(transform))
    assert repr(again) == repr(Compose([transform]))
    image = noise(6, 8) if kind not in (Normalize, Standardize) else ToArray()(noise(6, 8))[0]
    np.testing.assert_array_equal(again(image, None, 5)[0], transform(image, None, np.random.default_rng(5))[0])


def test_a_chain_as_text():
    text = "RandomCrop(176, 240); HorizontalFlip(); ColorJitter(0.2, 0.2); ToArray(); Normalize((0.4,), (0.3,))"
    assert to_text(from_text(text)) == text
    lines = """
        RandomCrop(176, 240)   # a comment
        HorizontalFlip(p=0.5)
        Normalize([0.1, 0.2, 0.3],
                  std=[1, 1, 1])
    """
    assert to_text(from_text(lines)) == "RandomCrop(176, 240); HorizontalFlip(); " + (
        "Normalize((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))"
    )
    assert from_text("").transforms == from_text(" \n").transforms == []
    assert to_text(Compose([Compose([ToArray()]), Compose([])])) == "ToArray()"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Flip()", r"no transform is called 'Flip'; did you mean \w+Flip\?|no transform is called 'Flip'; there are"),
        ("Wobble()", "no transform is called 'Wobble'; there are Resize, LongestSide, RandomScale, "),
        ("Compose([])", "no transform is called 'Compose'"),
        ("HorizontalFlip", r"'HorizontalFlip' is not understood; expected a name with arguments: HorizontalFlip\(\)"),
        ("a = ToArray()", "'a = ToArray\\(\\)' is not understood"),
        ("transforms.ToArray()", "'transforms.ToArray\\(\\)' is not understood"),
        ("ToArray()()", "is not understood"),
        ("import os", "'import os' is not understood"),
        ("RandomCrop(176, 240", r"is not understood \(SyntaxError: "),
        ("ToArray(\0)", "is not understood"),
        ("(" * 5000, "is not understood"),
        ("Resize(open('x'))", r"the arguments of \"Resize\(open\('x'\)\)\" must be plain numbers, lists or strings"),
        ("Resize(size)", r"the arguments of 'Resize\(size\)' must be plain"),
        ("Resize(*[3, 5])", "must be plain"),
        ("Resize(**{'height': 3})", "must be plain"),
        ("Resize([3] * 2)", "must be plain"),
        ("Resize({[]: 3})", "must be plain"),
        ("Resize(0)", r"'Resize\(0\)': Resize: size \(height, width\) must be at least 1, got 0$"),
        ("ToArray(3)", r"'ToArray\(3\)': ToArray\(\) takes no arguments"),
        ("ToArray(); HorizontalFlip(q=1)", r"'HorizontalFlip\(q=1\)': .*unexpected keyword argument 'q'"),
    ],
)
def test_text_that_is_not_understood(text, message):
    with pytest.raises(ValueError, match=f"^transforms: {message}" if message[:2] in ("no", "th") else message):
        from_text(text)


def test_text_must_be_text():
    with pytest.raises(TypeError, match=r"transforms must be a text such as .* got 3"):
        from_text(3)


def test_no_text_for_a_transform_of_ones_own():
    class ToArray(Transform):
        pass

    with pytest.raises(ValueError, match=r"^ToArray\(\) has no text: it is none of Resize, "):
        to_text(Compose([ToArray()]))
