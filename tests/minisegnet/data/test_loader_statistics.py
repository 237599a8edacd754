"""Mean and standard deviation of a data set."""

import numpy as np
import pytest
from loader_cases import Mixed, Trouble

from minisegnet.data.dataset import DataError
from minisegnet.data.statistics import statistics
from minisegnet.data.transforms import Compose, Normalize, ToArray


def noisy(count, channels=3, rng=0):
    rng = np.random.default_rng(rng)
    sizes = rng.integers(1, 20, (count, 2))
    return Mixed([(rng.integers(0, 256, (*size, channels), np.uint8), None) for size in sizes])


@pytest.mark.parametrize("channels", [1, 3])
def test_all_pixels_count_alike(channels):
    """The oracle puts all pixels of all pictures, which differ in size, into one array."""
    dataset = noisy(7, channels)
    pixels = np.concatenate([image.reshape(-1, channels) for image, _ in dataset.samples]) / 255
    mean, std = statistics(dataset)
    assert mean.dtype == std.dtype == np.float64
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-13)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-13)


def test_a_tiny_deviation_is_exact():
    """Σx² - (Σx)² would lose it in float32."""
    image = np.full((1000, 1000, 1), 255, np.uint8)
    image[0, 0] = 254
    n = image.size
    mean, std = statistics([(image, None)])
    assert mean[0] == pytest.approx(1 - 1 / 255 / n, rel=1e-14)
    assert std[0] == pytest.approx(np.sqrt((n - 1) / n**2) / 255, rel=1e-12)


def test_limit_takes_pictures_spread_evenly():
    grey = Mixed([(np.full((1, 1, 1), value, np.uint8), None) for value in (0, 51, 102, 153, 204, 255)])
    assert statistics(grey, limit=2)[0] == pytest.approx([153 / 2 / 255])  # the first and the fourth
    assert statistics(grey, limit=99)[0] == pytest.approx([0.5])


def test_normalising_with_them_gives_mean_0_and_deviation_1():
    dataset = noisy(1)
    image, _ = Compose([ToArray(), Normalize(*statistics(dataset))])(*dataset[0])
    np.testing.assert_allclose(image.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(image.std((1, 2)), 1, rtol=1e-5)


def test_errors_name_the_picture():
    with pytest.raises(ValueError, match="the data set has no pictures"):
        statistics([])
    with pytest.raises(DataError, match=r"^train/0001.png: OSError: image file is truncated$"):
        statistics(Trouble(3, 1, "raise_error"))
    mixed = Mixed([(np.zeros((1, 1, c), np.uint8), None) for c in (3, 1)])
    with pytest.raises(DataError, match=r"^val/1.jpg: the picture has 1 channels, those before it 3; .* channels=1"):
        statistics(mixed)
    with pytest.raises(DataError, match=r"^val/0.jpg: TypeError: the image has shape \(2, 2, 3\) and dtype float64"):
        statistics(Mixed([(np.zeros((2, 2, 3)), None)]))
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        statistics(mixed, limit=0)
