"""Dropout: what is dropped, how the rest is scaled, and when."""

import numpy as np
import pytest

from minisegnet.layers import Dropout, Sequential


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_dropped_and_the_mean_stays(p):
    x = np.random.default_rng(1).uniform(1, 2, (200, 300))
    y = Dropout(p, rng=0)(x)
    dropped = y == 0
    assert abs(dropped.mean() - p) < 0.01
    np.testing.assert_allclose(y[~dropped], x[~dropped] / (1 - p), rtol=1e-12)
    assert abs(y.mean() / x.mean() - 1) < 0.02


def test_backward_drops_the_same_elements():
    layer = Dropout(0.5, rng=0)
    y, saved = layer.forward(np.ones((50, 4)))
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx = layer.backward(dy, saved)
    np.testing.assert_array_equal(dx, np.where(y > 0, 2 * dy, 0))
    layer.forward(np.ones((50, 4)))  # another draw changes nothing for the first record
    np.testing.assert_array_equal(layer.backward(dy, saved), dx)


def test_every_pass_draws_anew_and_the_seed_decides():
    x = np.ones((20, 20))
    layer = Dropout(0.5, rng=3)
    first, second = layer(x), layer(x)
    assert not np.array_equal(first, second)
    again = Dropout(0.5, rng=3)
    np.testing.assert_array_equal(again(x), first)
    np.testing.assert_array_equal(again(x), second)
    assert not np.array_equal(Dropout(0.5, rng=4)(x), first)
    generator = np.random.default_rng(3)
    shared = [Dropout(0.5, rng=generator), Dropout(0.5, rng=generator)]
    np.testing.assert_array_equal(shared[0](x), first)
    np.testing.assert_array_equal(shared[1](x), second)


def test_float32_and_float64_drop_the_same():
    x = np.ones((20, 20))
    single, double = Dropout(0.3, rng=0)(x.astype(np.float32)), Dropout(0.3, rng=0)(x)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single == 0, double == 0)


@pytest.mark.parametrize("layer", [Dropout(0.5, rng=0).eval(), Dropout(0, rng=0)], ids=["eval", "p=0"])
def test_nothing_is_dropped_or_drawn(layer):
    x = np.random.default_rng(0).standard_normal((3, 4))
    before = layer.rng.bit_generator.state
    y, saved = layer.forward(x)
    assert y is x
    assert saved.keep is None
    assert layer.backward(y, saved) is y
    assert layer.rng.bit_generator.state == before


def test_everything_is_dropped():
    layer = Dropout(1, rng=0)
    y, saved = layer.forward(np.ones((3, 4)))
    assert not y.any()
    assert not layer.backward(np.ones((3, 4)), saved).any()


def test_a_net_switches_its_dropout():
    net = Sequential(Dropout(0.5, rng=0), Dropout(0.5, rng=1))
    x = np.ones((10, 10))
    assert (net(x) == 0).any()
    assert (net.eval()(x) == 1).all()
    assert (net.train()(x) == 0).any()


def test_label():
    assert Dropout(0.25).label() == "Dropout(0.25)"
    assert Dropout().p == 0.5
