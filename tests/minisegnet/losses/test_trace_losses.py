"""Every loss of a trace is explained: its value as a sum over the pixels, and the gradient of each score."""

import numpy as np
import pytest
from loss_cases import CASES, VOID

from minisegnet import losses, trace
from minisegnet.layers import Identity


def loss_trace(case, dtype=np.float64):
    scores, target = case.arrays(dtype)
    return trace.record(Identity(), scores, case.loss, target)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=lambda d: d.__name__)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradients_are_sums_of_their_terms(case, dtype):
    t = loss_trace(case, dtype)
    for stop in t.losses:
        for of in ("value", "dscores"):
            relative = 1e-12 if dtype == np.float64 else 1e-5
            for index in np.ndindex(stop[of].shape):
                found = t.explain(stop.name, index, of)
                products = [term.product for term in found.terms]
                size = np.abs(products).sum() + np.finfo(dtype).tiny
                assert abs(sum(products) - stop[of][index]) <= relative * size, found
                assert found.agrees


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value_and_gradients_are_those_of_the_loss(case):
    scores, target = case.arrays()
    value, saved = case.loss.forward(scores, target)
    t = loss_trace(case)
    np.testing.assert_array_equal(t["loss"]["value"], value)
    np.testing.assert_array_equal(t["loss"]["dscores"], case.loss.backward(saved))
    np.testing.assert_array_equal(t.stops[-1].dy, t["loss"]["dscores"])


def test_every_public_loss_has_a_case():
    names = {stop.kind for case in CASES for stop in loss_trace(case).losses}
    assert names | {"OnHost"} == set(losses.__all__) - {"Loss"}


def test_a_loss_on_the_host_is_that_loss():
    scores, target = np.array([[3.0, 1.0]]), np.array([[1.0, 1.0]])
    t = trace.record(Identity(), scores, losses.OnHost(losses.MSELoss()), target)
    assert [stop.name for stop in t.losses] == ["loss", "loss.0"]
    assert t.explain("loss", (), "value").total == t.explain("loss.0", (), "value").total == 2
    assert t.explain("loss", (0, 0), "dscores").total == t.explain("loss.0", (0, 0), "dscores").total == 2


def test_cross_entropy_tells_what_goes_into_a_gradient():
    scores = np.log([[[1.0, 1.0]], [[3.0, 1.0]]])[None]  # p = 1/4, 3/4 and 1/2, 1/2
    loss = losses.CrossEntropyLoss([2.0, 6.0], ignore_index=VOID)
    t = trace.record(Identity(), scores, loss, np.array([[[1, VOID]]]))
    found = t.explain("loss", (0, 1, 0, 0), "dscores")
    wanted = {"p": 0.75, "ignored": False, "sum of weights": 6.0, "target": 1, "y": 1.0, "p - y": -0.25}
    wanted |= {"class weight": 6.0, "smoothing": 0.0}
    assert found.facts == pytest.approx(wanted)
    assert [g.name for g in found.groups] == ["p", "-y"]
    assert found.total == pytest.approx(-0.25)
    silent = t.explain("loss", (0, 1, 0, 1), "dscores")
    assert (silent.total, silent.recorded, silent.facts["ignored"]) == (0, 0, True)
    assert silent.note == "the target is the ignored label: this pixel is silent"
    p = t.explain("loss", (0, 1, 0, 0), "p")
    assert p.agrees
    assert p.total == pytest.approx(0.75)


def test_smoothing_is_a_share_of_its_own():
    scores = np.random.default_rng(0).standard_normal((1, 3, 1, 2))
    loss = losses.CrossEntropyLoss([1.0, 2.0, 3.0], label_smoothing=0.3)
    t = trace.record(Identity(), scores, loss, np.array([[[0, 2]]]))
    found = t.explain("loss", (0, 1, 0, 0), "dscores")
    assert [g.name for g in found.groups] == ["p", "-y", "smoothing, p", "smoothing, -y"]
    p, scale = float(t["loss"]["p"][0, 1, 0, 0]), 1 / (1 + 3)
    expected = [p * 0.7 * scale, 0, p * 0.1 * 6 * scale, -2 * 0.1 * scale]
    np.testing.assert_allclose(found.products, expected, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("size", [1e4, 1e2])
def test_confident_scores_overflow_nowhere(size):
    scores = size * np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    for loss in (losses.CrossEntropyLoss(), losses.FocalLoss(), losses.EntropyPenalty()):
        t = trace.record(Identity(), scores, loss, np.array([1, 1]))
        assert t.explain("loss", (), "value").agrees
        assert all(t.explain("loss", index, "dscores").agrees for index in np.ndindex(2, 3))


def test_everything_ignored_explains_a_zero():
    t = trace.record(Identity(), np.ones((1, 2)), losses.CrossEntropyLoss(ignore_index=VOID), np.array([VOID]))
    found = t.explain("loss", (), "value")
    assert (list(found.terms), found.total, found.recorded, found.agrees) == ([], 0, 0, True)


def test_parts_of_a_weighted_sum_are_stops_of_their_own():
    loss = losses.WeightedSum([losses.MSELoss(), losses.WeightedSum([losses.L1Penalty(), losses.L1Loss()])], [1, 0.5])
    t = trace.record(Identity(), np.array([3.0]), loss, np.array([1.0]))
    assert [stop.name for stop in t.losses] == ["loss", "loss.0", "loss.1", "loss.1.0", "loss.1.1"]
    found = t.explain("loss", (), "value")
    assert [term.factors for term in found.terms] == [
        (("weight", None, 1.0), ("value.0", None, 4.0)),
        (("weight", None, 0.5), ("value.1", None, 5.0)),
    ]
    assert [term.product for term in t.explain("loss", 0, "dscores").terms] == [4, 1]
    assert t["loss.1.0"]["dvalue"] == 0.5
