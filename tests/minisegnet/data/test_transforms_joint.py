"""Image and mask stay registered: a picture whose colours tell the mask agrees with it after any chain."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minisegnet.data.transforms import (
    CenterCrop,
    Compose,
    HorizontalFlip,
    Pad,
    QuarterTurns,
    RandomCrop,
    RandomScale,
    Resize,
    Rotate,
    ToArray,
    VerticalFlip,
)

COLOURS = np.array([[10, 240, 60], [250, 20, 110], [70, 130, 220], [180, 180, 20]], np.uint8)  # of classes 0 to 3
FILL = 100


def picture(height, width, rng, channels=3):
    """A mask of squares of 8 pixels, and the image that it has when each class has its colour."""
    cells = np.random.default_rng(rng).integers(0, 4, (height // 8 + 1, width // 8 + 1))
    mask = np.kron(cells, np.ones((8, 8), np.int64))[:height, :width]
    return COLOURS[mask][..., :channels], mask


def uniform(mask, reach):
    """Where all pixels at most `reach` away have the same class, and none of them is missing."""
    padded = np.pad(mask, reach, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1))
    return (windows == mask[..., None, None]).all((2, 3))


def assert_registered(image, mask, reach):
    """Away from the edges between classes, which bilinear interpolation blurs, every pixel has its class's colour."""
    expected = np.where((mask == 255)[..., None], FILL, COLOURS[np.minimum(mask, 3)][..., : image.shape[2]])
    inner = uniform(mask, reach)
    difference = abs(image.astype(int) - expected)[inner]
    assert difference.max(initial=0) <= 2
    return inner.mean()


EXACT = st.one_of(
    st.builds(RandomCrop, st.integers(1, 40), st.integers(1, 40), fill=st.just(FILL)),
    st.builds(CenterCrop, st.integers(1, 40), st.integers(1, 40), fill=st.just(FILL)),
    st.builds(Pad, st.tuples(st.integers(0, 3), st.integers(0, 3)), fill=st.just(FILL)),
    st.builds(HorizontalFlip),
    st.builds(VerticalFlip),
    st.builds(QuarterTurns),
)


@given(
    chain=st.lists(EXACT, max_size=6),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_chains_that_only_move_pixels_agree_in_every_pixel(chain, size, channels, seed):
    image, mask = Compose(chain)(*picture(*size, seed, channels), seed)
    assert assert_registered(image, mask, reach=0) == 1
    assert image.shape == (*mask.shape, channels)


BLURRING = st.one_of(
    st.builds(lambda low, more: RandomScale(low, low + more), st.floats(0.7, 1.5), st.floats(0, 0.5)),
    st.builds(Resize, st.integers(30, 60), st.integers(30, 60)),
    st.builds(Rotate, st.floats(0, 180), fill=st.just(FILL)),
)


@given(
    before=EXACT,  # one alone, since several could leave strips so thin that a smaller mask misses them
    blurring=BLURRING,
    more=st.lists(EXACT, max_size=3),
    size=st.tuples(st.integers(25, 45), st.integers(25, 45)),
    channels=st.sampled_from([1, 3]),
    seed=st.integers(0, 1000),
)
def test_chains_that_interpolate_agree_inside(before, blurring, more, size, channels, seed):
    image, mask = before(*picture(*size, seed, channels), seed)
    assume(min(mask.shape) >= 20)
    image, mask = Compose([blurring, *more])(image, mask, seed)
    assert_registered(image, mask, reach=4)


def centre(weights):
    """The centre of gravity (y, x)."""
    y, x = np.mgrid[: weights.shape[0], : weights.shape[1]]
    return np.array([(y * weights).sum(), (x * weights).sum()]) / weights.sum()


def disc(height, width, radius=18):
    """A bright disc beside the middle, and its mask."""
    y, x = np.mgrid[:height, :width]
    mask = ((y - 0.45 * height) ** 2 + (x - 0.55 * width) ** 2 < radius**2).astype(np.int64)
    return (200 * mask).astype(np.uint8)[..., None], mask


@pytest.mark.parametrize(
    "transform",
    [Resize(61, 47), Resize(200, 190), RandomScale(0.4, 0.4), RandomScale(1.7, 1.7), RandomScale(3, 3), Rotate(40)],
)
@pytest.mark.parametrize("seed", range(3))
def test_no_shift_between_image_and_mask(transform, seed):
    """Not even by the half pixel by which two conventions of resizing differ."""
    image, mask = transform(*disc(60, 80), seed)
    np.testing.assert_allclose(centre(image[..., 0]), centre(mask == 1), atol=0.2)


def test_masks_get_no_new_classes():
    """Between classes 1 and 3 a mean would be 2."""
    mask = np.where(np.arange(40)[:, None] + np.arange(40) < 40, 1, 3)
    image = COLOURS[mask]
    for transform in (Resize(33, 57), RandomScale(0.3, 0.3), Rotate(90), Compose([Rotate(20), Resize(99)])):
        assert set(np.unique(transform(image, mask, 0)[1])) <= {1, 3, 255}, transform


def test_a_seed_decides_everything():
    chain = Compose(
        [
            RandomScale(0.8, 1.2),
            Rotate(20),
            RandomCrop(30, 30),
            HorizontalFlip(),
            VerticalFlip(),
            QuarterTurns(),
            ToArray(),
        ]
    )
    sample = picture(40, 50, 0)
    results = [chain(*sample, seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert (results[0][0] != results[2][0]).any()


def test_a_seed_of_a_chain_gives_each_member_other_numbers():
    """Two flips with one generator: both, none or one of them. Seeded each by itself they would always agree."""
    chain = Compose([HorizontalFlip(), VerticalFlip()])
    corners = {int(chain(np.array([[[0], [1]], [[2], [3]]], np.uint8), None, seed)[0][0, 0, 0]) for seed in range(30)}
    assert corners == {0, 1, 2, 3}
