"""Initial weights: the promised statistics, the same numbers in both dtypes, bilinear upsampling, error texts."""

import math

import numpy as np
import pytest

import kernels
from kernels import ShapeError
from minisegnet import init, layers

SHAPE = (40, 30, 5, 7)  # 42000 numbers; fan_in 1050, fan_out 1400

# name: (function of (rng, dtype) that draws, expected mean, expected standard deviation, bound or None)
DRAWS = {
    "uniform": (lambda **k: init.uniform(SHAPE, -1, 3, **k), 1, 4 / math.sqrt(12), (-1, 3)),
    "normal": (lambda **k: init.normal(SHAPE, -2, 0.5, **k), -2, 0.5, None),
    "xavier_uniform": (
        lambda **k: init.xavier_uniform(SHAPE, gain=2.0, **k),
        0,
        2 * math.sqrt(2 / 2450),
        (-2 * math.sqrt(6 / 2450), 2 * math.sqrt(6 / 2450)),
    ),
    "xavier_normal": (lambda **k: init.xavier_normal(SHAPE, gain=2.0, **k), 0, 2 * math.sqrt(2 / 2450), None),
    "kaiming_uniform": (
        lambda **k: init.kaiming_uniform(SHAPE, a=2.0, **k),
        0,
        math.sqrt(2 / 5 / 1050),
        (-math.sqrt(6 / 5 / 1050), math.sqrt(6 / 5 / 1050)),
    ),
    "kaiming_normal": (
        lambda **k: init.kaiming_normal(SHAPE, mode="fan_out", nonlinearity="tanh", **k),
        0,
        5 / 3 / math.sqrt(1400),
        None,
    ),
}


@pytest.mark.parametrize("name", DRAWS)
class TestDraws:
    def test_statistics(self, name):
        draw, mean, std, bounds = DRAWS[name]
        w = draw(rng=1, dtype=np.float64)
        assert w.shape == SHAPE
        # five standard errors: of the mean std/sqrt(n), of the standard deviation at most std/sqrt(2n)
        assert abs(w.mean() - mean) < 5 * std / math.sqrt(w.size)
        assert abs(w.std() - std) < 5 * std / math.sqrt(2 * w.size)
        kurtosis = ((w - w.mean()) ** 4).mean() / w.var() ** 2
        assert kurtosis == pytest.approx(1.8 if bounds else 3.0, abs=0.15)  # uniform, normal
        if bounds:
            low, high = bounds
            assert low <= w.min() < low + 0.001 * (high - low)
            assert high - 0.001 * (high - low) < w.max() <= high

    def test_one_seed_gives_the_same_numbers_in_both_dtypes(self, name):
        draw = DRAWS[name][0]
        single, double = draw(rng=5, dtype=np.float32), draw(rng=5, dtype=np.float64)
        assert (single.dtype, double.dtype) == (np.float32, np.float64)
        np.testing.assert_array_equal(single, double.astype(np.float32))

    def test_float32_is_the_default(self, name):
        assert DRAWS[name][0](rng=0).dtype == np.float32

    def test_randomness_comes_from_rng_alone(self, name):
        draw = DRAWS[name][0]
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        np.testing.assert_array_equal(draw(rng=3), draw(rng=np.random.default_rng(3)))
        assert not np.array_equal(draw(rng=3), draw(rng=4))
        assert not np.array_equal(draw(), draw())
        rng = np.random.default_rng(3)
        assert not np.array_equal(draw(rng=rng), draw(rng=rng))  # one generator goes on
        np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_constant_is_a_new_array_each_time():
    first, second = init.constant((2, 3), 1.5), init.constant((2, 3), 1.5)
    assert first.dtype == np.float32
    assert (first == 1.5).all()
    first[:] = 0
    assert (second == 1.5).all()
    assert init.constant((2,), dtype=np.float64).tolist() == [0.0, 0.0]
    assert init.constant((2,), dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 20), (20, 10)), ((16, 8, 3, 3), (72, 144)), ((16, 1, 3, 5), (15, 240)), ([4, 2, 1], (2, 4))],
)
def test_fans(shape, expected):
    assert init.fans(shape) == expected


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("conv_transpose2d") == 1
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == init.calculate_gain("leaky_relu", 0) == math.sqrt(2)
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)


def test_kaiming_uses_the_slope_for_the_leaky_relu_only():
    np.testing.assert_array_equal(
        init.kaiming_normal((3, 4), a=9.0, nonlinearity="relu", rng=0), init.kaiming_normal((3, 4), rng=0)
    )
    ratio = init.kaiming_normal((3, 4), a=1.0, rng=0, dtype=np.float64) / init.kaiming_normal(
        (3, 4), rng=0, dtype=np.float64
    )
    np.testing.assert_allclose(ratio, 1 / math.sqrt(2))


def test_kaiming_keeps_the_size_of_values_through_many_relu_layers():
    """What the formula is for: after 20 layers the mean square is still about 1; gain 1 would give 1e-6."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 300))
    for _ in range(20):
        x = np.maximum(x @ init.kaiming_normal((300, 300), rng=rng, dtype=np.float64).T, 0)
    assert 0.2 < (x**2).mean() < 5


def test_usage_with_a_layer():
    conv = layers.Conv2d(3, 8, 3, rng=1)
    conv.weight.value = init.kaiming_normal(conv.weight.shape, rng=0)
    np.testing.assert_array_equal(conv.weight.value, init.kaiming_normal((8, 3, 3, 3), rng=0))


# ------------------------------------------------------------------ against PyTorch


@pytest.mark.parametrize("nonlinearity", init.GAINS)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_bounds_and_gains_are_pytorchs(nonlinearity, mode):
    torch = pytest.importorskip("torch")
    a = 0.3
    assert init.calculate_gain(nonlinearity, a) == torch.nn.init.calculate_gain(nonlinearity, a)
    weight = torch.empty(SHAPE, dtype=torch.float64)
    torch.nn.init.kaiming_uniform_(weight, a, mode, nonlinearity, generator=torch.Generator().manual_seed(0))
    mine = init.kaiming_uniform(SHAPE, a, mode, nonlinearity, rng=0, dtype=np.float64)
    assert mine.max() == pytest.approx(float(weight.max()), rel=1e-3)  # both within 1e-3 of the bound
    torch.nn.init.xavier_uniform_(weight, 1.7, generator=torch.Generator().manual_seed(0))
    mine = init.xavier_uniform(SHAPE, 1.7, rng=0, dtype=np.float64)
    assert mine.max() == pytest.approx(float(weight.max()), rel=1e-3)


# ------------------------------------------------------------------ bilinear


def test_bilinear_by_hand():
    np.testing.assert_array_equal(init.bilinear((1, 1, 1, 1)), [[[[1]]]])
    tent3, tent4 = np.array([0.5, 1, 0.5]), np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(init.bilinear((1, 1, 3, 4))[0, 0], np.outer(tent3, tent4))
    tent5 = np.array([1, 2, 3, 2, 1]) / 3
    np.testing.assert_allclose(init.bilinear((1, 1, 5, 5), np.float64)[0, 0], np.outer(tent5, tent5), rtol=1e-15)
    assert init.bilinear((1, 1, 4, 4)).dtype == np.float32


def test_bilinear_leads_channel_i_to_channel_i():
    tent = init.bilinear((1, 1, 4, 4))[0, 0]
    full = init.bilinear((3, 3, 4, 4))
    for c in range(3):
        for o in range(3):
            np.testing.assert_array_equal(full[c, o], tent if c == o else 0 * tent)
    np.testing.assert_array_equal(init.bilinear((3, 1, 4, 4)), np.broadcast_to(tent, (3, 1, 4, 4)))
    two_groups = init.bilinear((4, 2, 4, 4))
    assert [int(two_groups[c].any(axis=(1, 2)).argmax()) for c in range(4)] == [0, 1, 0, 1]


def upsample(x, kernel, stride, padding, groups):
    C = x.shape[1]
    w = init.bilinear((C, C // groups, kernel, kernel), x.dtype)
    ops = kernels.ops_for(x)
    return ops.conv_transpose2d_forward(x, w, None, stride, padding, 0, 1, groups)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("grouped", [False, True])
class TestBilinearUpsamples:
    def image(self):
        return np.random.default_rng(0).normal(size=(2, 3, 5, 6))

    def test_areas(self, scale, grouped):
        """Kernel 2s - s % 2: inside the border the output is that of bilinear resizing, align_corners=False."""
        x = self.image()
        kernel = 2 * scale - scale % 2
        y = upsample(x, kernel, scale, (kernel - scale) // 2, 3 if grouped else 1)
        assert y.shape == (2, 3, 5 * scale, 6 * scale)
        expected = kernels.ops_for(x).upsample_bilinear2d_forward(x, y.shape[2:], (1 / scale, 1 / scale), False)
        inner = (..., slice(scale, -scale), slice(scale, -scale))
        np.testing.assert_allclose(y[inner], expected[inner], rtol=1e-10, atol=1e-12)
        if scale > 1:
            assert not np.allclose(y, expected)  # the border is darker, as documented

    def test_points(self, scale, grouped):
        """Kernel 2s - 1, padding s - 1: bilinear resizing with align_corners=True, border and all."""
        x = self.image()
        y = upsample(x, 2 * scale - 1, scale, scale - 1, 3 if grouped else 1)
        assert y.shape == (2, 3, 4 * scale + 1, 5 * scale + 1)
        expected = kernels.ops_for(x).upsample_bilinear2d_forward(x, y.shape[2:], (1 / scale, 1 / scale), True)
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)

    def test_pytorch(self, scale, grouped):
        torch = pytest.importorskip("torch")
        F = torch.nn.functional
        x, groups = torch.from_numpy(self.image()), 3 if grouped else 1
        kernel = 2 * scale - scale % 2
        w = torch.from_numpy(init.bilinear((3, 3 // groups, kernel, kernel), np.float64))
        y = F.conv_transpose2d(x, w, stride=scale, padding=(kernel - scale) // 2, groups=groups)
        expected = F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
        inner = (..., slice(scale, -scale), slice(scale, -scale))
        np.testing.assert_allclose(y[inner], expected[inner], rtol=1e-10, atol=1e-12)
        w = torch.from_numpy(init.bilinear((3, 3 // groups, 2 * scale - 1, 2 * scale - 1), np.float64))
        y = F.conv_transpose2d(x, w, stride=scale, padding=scale - 1, groups=groups)
        expected = F.interpolate(x, size=tuple(y.shape[2:]), mode="bilinear", align_corners=True)
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: init.fans((3,)), ShapeError, r"at least two axes.*got \(3,\); for a bias use constant or uniform"),
        (lambda: init.xavier_uniform(()), ShapeError, "at least two axes"),
        (lambda: init.xavier_normal((4,)), ShapeError, "at least two axes"),
        (lambda: init.kaiming_uniform((4,)), ShapeError, "at least two axes"),
        (lambda: init.kaiming_normal((4,)), ShapeError, "at least two axes"),
        (lambda: init.normal(5), TypeError, r"shape must be a tuple of integers such as \(16, 3, 3, 3\), got 5"),
        (lambda: init.uniform((2, 0)), ValueError, "each size in shape must be at least 1, got 0"),
        (lambda: init.constant((2, 1.5)), TypeError, "each size in shape must be an integer, got 1.5"),
        (lambda: init.kaiming_normal((2, 2), mode="fan_avg"), ValueError, "unknown mode 'fan_avg'; use 'fan_in' or"),
        (lambda: init.kaiming_uniform((2, 2), mode="fan"), ValueError, "unknown mode 'fan'"),
        (
            lambda: init.kaiming_normal((2, 2), nonlinearity="gelu"),
            ValueError,
            "unknown nonlinearity 'gelu'; known are linear, .*leaky_relu",
        ),
        (lambda: init.calculate_gain("selu"), ValueError, "unknown nonlinearity 'selu'"),
        (lambda: init.calculate_gain("leaky_relu", "0.1"), TypeError, "a must be a number, got '0.1'"),
        (lambda: init.kaiming_normal((2, 2), a=math.nan), ValueError, r"a must be in \(-inf, inf\), got nan"),
        (lambda: init.normal((2,), std=-1), ValueError, r"std must be in \[0, inf\), got -1"),
        (lambda: init.normal((2,), std=math.inf), ValueError, r"std must be in \[0, inf\), got inf"),
        (lambda: init.normal((2,), mean=-math.inf), ValueError, r"mean must be in \(-inf, inf\), got -inf"),
        (lambda: init.uniform((2,), 2, 1), ValueError, "low must be at most high, got low=2, high=1"),
        (lambda: init.uniform((2,), high=math.inf), ValueError, r"high must be in \(-inf, inf\), got inf"),
        (lambda: init.constant((2,), math.nan), ValueError, r"value must be in \(-inf, inf\), got nan"),
        (lambda: init.xavier_uniform((2, 2), gain=-1), ValueError, r"gain must be in \[0, inf\), got -1"),
        (lambda: init.xavier_normal((2, 2), gain="tanh"), TypeError, "gain must be a number, got 'tanh'"),
        (lambda: init.normal((2,), dtype=np.float16), TypeError, "dtype must be float32 .* got float16"),
        (lambda: init.constant((2,), dtype=int), TypeError, "dtype must be float32 .* got int64"),
        (lambda: init.uniform((2,), rng=0.5), TypeError, "rng must be a seed"),
        (
            lambda: init.bilinear((3, 4, 4)),
            ShapeError,
            r"shape must be \(C_in, C_out/groups, kH, kW\), got \(3, 4, 4\)",
        ),
        (
            lambda: init.bilinear((3, 2, 4, 4)),
            ShapeError,
            r"must be a multiple of the second, got shape \(3, 2, 4, 4\); use \(C, C, kH, kW\), or \(C, 1, kH, kW\)",
        ),
        (lambda: init.bilinear((1, 1, 4, 4), np.int32), TypeError, "dtype must be float32"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()
