"""The loader: batches, order, determinism, balance, and what it says about bad samples and arguments."""

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loader_cases import Mixed, Pictures, Trouble

from minisegnet import ShapeError
from minisegnet.data.dataset import DataError
from minisegnet.data.loader import DataLoader, class_aware
from minisegnet.data.transforms import Compose, GaussianNoise, Normalize, RandomCrop, ToArray


def indices(batches):
    return [batch.indices for batch in batches]


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "minisegnet data"]


# ------------------------------------------------------------------ batches


def test_a_batch_has_arrays_as_a_net_takes_them():
    images, targets, which = next(iter(DataLoader(Pictures(5), 2)))
    assert (images.shape, images.dtype) == ((2, 3, 3, 4), np.float32)
    assert (targets.shape, targets.dtype) == ((2, 3, 4), np.int64)
    assert which == (0, 1)
    np.testing.assert_allclose(images[1, 0, 0] * 255, [10, 11, 12, 13], rtol=1e-6)
    np.testing.assert_array_equal(targets[1], np.ones((3, 4)))


def test_one_channel_and_a_last_batch_of_one():
    batches = list(DataLoader(Pictures(5, channels=1), 2))
    assert [batch.images.shape for batch in batches] == [(2, 1, 3, 4), (2, 1, 3, 4), (1, 1, 3, 4)]
    assert batches[-1].indices == (4,)


def test_labels_of_whole_pictures_and_no_masks():
    labels = Mixed([(np.zeros((2, 2, 1), np.uint8), i) for i in (4, 0, 2)])
    batch = next(iter(DataLoader(labels, 3, transform=Compose([RandomCrop(1), ToArray()]))))
    assert batch.targets.dtype == np.int64
    assert batch.targets.tolist() == [4, 0, 2]
    unlabelled = Mixed([(np.zeros((2, 2, 1), np.uint8), None)] * 2)
    assert next(iter(DataLoader(unlabelled, 2))).targets is None


def test_a_float64_transform_gives_float32_batches():
    def double(image, mask, rng):
        return image.transpose(2, 0, 1) / 255, mask

    assert next(iter(DataLoader(Pictures(1), 1, transform=double))).images.dtype == np.float32


@given(
    count=st.integers(1, 25),
    batch_size=st.integers(1, 9),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    seed=st.integers(0, 2**70),
    epoch=st.integers(0, 3),
)
def test_every_sample_comes_once(count, batch_size, shuffle, drop_last, seed, epoch):
    if drop_last and count < batch_size:
        batch_size = count
    loader = DataLoader(Pictures(count), batch_size, shuffle=shuffle, drop_last=drop_last, rng=seed)
    found = indices(loader.batches(epoch))
    assert len(found) == len(loader)
    sizes = [len(batch) for batch in found]
    rest = count % batch_size
    assert sizes == [batch_size] * (count // batch_size) + ([rest] if rest and not drop_last else [])
    flat = [i for batch in found for i in batch]
    assert len(set(flat)) == len(flat) == sum(sizes)
    if not shuffle:
        assert flat == list(range(len(flat)))


@given(
    count=st.integers(1, 12),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 99),
    prefetch=st.integers(1, 4),
    balanced=st.booleans(),
    data=st.data(),
)
def test_a_part_of_an_epoch_is_the_same_as_in_the_whole(count, batch_size, seed, prefetch, balanced, data):
    """Resuming in mid-epoch: the same order and the same random numbers, whatever was drawn before."""
    how = {"shuffle": True, "balanced": balanced, "rng": seed, "transform": RandomCrop(2, 2)}
    loader = DataLoader(Pictures(count), batch_size, **how)
    whole = list(loader.batches(epoch=2))
    start = data.draw(st.integers(0, len(loader)))
    part = list(DataLoader(Pictures(count), batch_size, prefetch=prefetch, **how).batches(epoch=2, start=start))
    assert len(part) == len(whole) - start
    for a, b in zip(whole[start:], part, strict=True):
        assert a.indices == b.indices
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_iterating_counts_epochs():
    loader = DataLoader(Pictures(20), 20, shuffle=True, rng=1)
    first, second = indices(loader), indices(loader)
    assert first != second
    assert loader.epoch == 2
    assert (first, second) == (indices(loader.batches(0)), indices(loader.batches(1)))
    loader.epoch = 1  # as after resuming
    assert indices(loader) == second


def test_a_sample_is_transformed_alike_in_any_batch_and_differently_in_another_epoch():
    def pictures(batch_size, epoch, rng=0):
        loader = DataLoader(Pictures(6), batch_size, rng=rng, transform=GaussianNoise(0.1))
        return np.concatenate([batch.images for batch in loader.batches(epoch)])

    np.testing.assert_array_equal(pictures(2, 0), pictures(5, 0))
    assert (pictures(2, 0) != pictures(2, 1)).any()
    assert (pictures(2, 0) != pictures(2, 0, rng=1)).any()
    noise = pictures(2, 0) - pictures(2, 0)[:1]
    assert noise[1:].std((1, 2, 3)).min() > 0.05  # each sample has noise of its own


def test_a_generator_gives_one_seed():
    a, b = (DataLoader(Pictures(9), 9, shuffle=True, rng=np.random.default_rng(5)) for _ in range(2))
    assert a.seed == b.seed
    assert indices(a) == indices(b)
    assert indices(a.batches(0)) == indices(b.batches(0))
    assert DataLoader(Pictures(9), 9, rng=None).seed != DataLoader(Pictures(9), 9, rng=None).seed


# ------------------------------------------------------------------ balance


def test_probabilities_by_hand():
    """Classes 0, 1, 2 are in 3, 1, 1 of the samples: a third of the draws for each class."""
    np.testing.assert_allclose(class_aware([[0], [0, 1], [0, 2], []]), [1 / 9, 4 / 9, 4 / 9, 0])


def test_balanced_draws_rare_classes_as_often_as_others():
    size = (2, 2)
    samples = [(np.zeros((*size, 1), np.uint8), np.zeros(size, np.int64)) for _ in range(40)]
    samples[7] = (samples[7][0], np.array([[1, 255], [255, 255]]))  # the only one with class 1
    samples[8] = (samples[8][0], np.full(size, 255))  # void: never drawn
    loader = DataLoader(Mixed(samples), 10, balanced=True, rng=0)
    drawn = Counter(i for epoch in range(50) for batch in loader.batches(epoch) for i in batch.indices)
    assert sum(drawn.values()) == 50 * 40
    assert drawn[7] == pytest.approx(1000, abs=5 * np.sqrt(500))  # half of 2000 draws, within five standard deviations
    assert drawn[8] == 0


def test_a_sample_that_is_drawn_twice_is_transformed_twice():
    samples = [(np.full((4, 4, 1), 128, np.uint8), 0)]
    samples = Mixed(samples * 2)
    loader = DataLoader(samples, 2, balanced=True, rng=0, transform=GaussianNoise(0.1))
    twice = [batch for epoch in range(20) for batch in loader.batches(epoch) if len(set(batch.indices)) == 1]
    assert twice
    assert all((batch.images[0] != batch.images[1]).any() for batch in twice)


def test_balance_needs_masks():
    image = np.zeros((2, 2, 1), np.uint8)
    with pytest.raises(DataError, match=r"^val/1.jpg: there is no mask, and balanced=True needs all of them$"):
        iter(DataLoader(Mixed([(image, 0), (image, None)]), 1, balanced=True))
    with pytest.raises(ValueError, match="all pixels of all masks are void"):
        iter(DataLoader(Mixed([(image, np.full((2, 2), 255))]), 1, balanced=True))
    with pytest.raises(DataError, match=r"^train/0001.png: OSError: image file is truncated$"):
        iter(DataLoader(Trouble(3, 1, "raise_error"), 1, balanced=True))


# ------------------------------------------------------------------ bad samples


def test_an_error_in_the_data_set_names_the_sample_and_comes_in_its_turn():
    loader = DataLoader(Trouble(6, 4, "raise_error"), 2)
    batches = iter(loader)
    assert [next(batches).indices, next(batches).indices] == [(0, 1), (2, 3)]
    with pytest.raises(DataError, match=r"^train/0004.png: OSError: image file is truncated$") as caught:
        next(batches)
    assert isinstance(caught.value.__cause__, OSError)
    assert not loader_threads()


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("raise_data_error", DataError, r"^/pictures/7.png: is half a PNG$"),
        ("run_out_of_memory", MemoryError, r"^no room for a picture$"),
        ("raise_system_exit", SystemExit, r"^read from a thread$"),
    ],
)
def test_errors_that_say_enough_come_as_they_are(what, kind, text):
    with pytest.raises(kind, match=text):
        list(DataLoader(Trouble(2, 1, what), 1))


def test_a_transform_that_fails_names_the_sample():
    with pytest.raises(DataError, match=r"^train/0000.png: TypeError: Normalize\(.*put ToArray\(\) before"):
        list(DataLoader(Pictures(2), 1, transform=Normalize(0.5, 0.5)))
    with pytest.raises(DataError, match=r"^train/0000.png: ShapeError: .*mask has shape \(3, 4\), the image is 2x4"):
        list(DataLoader(Pictures(2), 1, transform=lambda image, mask, rng: (image[:2], mask)))
    with pytest.raises(DataError, match=r"^sample 0: TypeError: .*the image is a str"):
        list(DataLoader([("a.png", None)], 1))


def image(height, width, channels=3):
    return np.zeros((height, width, channels), np.uint8)


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (
            (image(5, 3), None),
            r"^pictures of different sizes can't form a batch: val/0.jpg is 4x6, val/1.jpg is 5x3 \(height x width\); "
            r"make them alike by a transform, such as RandomCrop\(4, 3\), CenterCrop or Resize, or take batch_size=1$",
        ),
        (
            (image(4, 6, 1), None),
            r"different channels can't form a batch: val/0.jpg has 3, val/1.jpg has 1; .* channels=1 \(grey\)",
        ),
        ((image(4, 6), 3), r"different kinds can't form a batch: val/0.jpg has no mask, val/1.jpg has one label$"),
        ((image(4, 6), np.zeros((4, 6), int)), r"val/0.jpg has no mask, val/1.jpg has a mask$"),
    ],
)
def test_samples_that_do_not_fit_together(second, text):
    dataset = Mixed([(image(4, 6), None), second])
    with pytest.raises(ShapeError, match=text):
        list(DataLoader(dataset, 2))
    assert len(list(DataLoader(dataset, 1))) == 2


def test_cropping_makes_different_sizes_fit():
    dataset = Mixed([(image(4, 6), np.zeros((4, 6), int)), (image(3, 9), np.zeros((3, 9), int))])
    (batch,) = DataLoader(dataset, 2, transform=RandomCrop(5, 7))
    assert batch.images.shape == (2, 3, 5, 7)
    assert (batch.targets == 255).any((1, 2)).all()


# ------------------------------------------------------------------ leaving, and bad arguments


def test_leaving_early_ends_the_thread():
    for batch in DataLoader(Pictures(50), 1):
        assert batch.indices == (0,)
        assert len(loader_threads()) == 1
        break
    assert not loader_threads()
    batches = iter(DataLoader(Pictures(50), 1))
    next(batches)
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt)
    assert not loader_threads()


def test_only_as_much_as_asked_for_is_made_beforehand():
    read, enough = [], threading.Event()

    class Counted(Pictures):
        def __getitem__(self, i):
            read.append(i)
            if len(read) == 4:
                enough.set()
            return super().__getitem__(i)

    batches = iter(DataLoader(Counted(50), 1, prefetch=3))
    assert not read  # nothing before the first is asked for
    next(batches)
    assert enough.wait(20)  # the first one and three more, without being asked for them
    threading.Event().wait(0.05)
    assert len(read) == 4
    batches.close()


def test_start_at_the_end_gives_nothing():
    loader = DataLoader(Pictures(4), 2)
    assert list(loader.batches(0, start=2)) == []
    assert list(DataLoader(Pictures(4), 2, workers=2).batches(0, start=2)) == []
    with pytest.raises(ValueError, match=r"start must be at most 2, the batches of an epoch, got 3"):
        loader.batches(0, start=3)
    with pytest.raises(ValueError, match=r"epoch must be at least 0, got -1"):
        loader.batches(-1)


@pytest.mark.parametrize(
    ("kwargs", "kind", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
        ({"workers": -1}, ValueError, "workers must be at least 0, got -1"),
        ({"prefetch": 0}, ValueError, "prefetch must be at least 1, got 0"),
        ({"rng": -3}, ValueError, "rng must be a seed"),
        ({"rng": "x"}, TypeError, "rng must be a seed"),
        ({"transform": 3}, TypeError, r"transform must be called as t\(image, mask, rng\), got 3"),
        ({"transform": ToArray}, TypeError, r"transform must be called as t\(image, mask, rng\), got <class"),
        ({"dataset": None}, TypeError, "the data set must have a length and samples"),
        ({"dataset": []}, ValueError, "the data set has no samples"),
        ({"batch_size": 9, "drop_last": True}, ValueError, "8 samples don't fill one batch of 9, and drop_last"),
    ],
)
def test_bad_arguments(kwargs, kind, text):
    with pytest.raises(kind, match=text):
        DataLoader(**{"dataset": Pictures(8), "batch_size": 2, **kwargs})
