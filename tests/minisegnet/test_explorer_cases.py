"""The page's own computing, over all cases of all layers and over losses, compared with what was recorded in NumPy.

One page is open; every case is handed to it as a manifest and arrays, and its modules compute, explain and judge.
"""

import json

import numpy as np
import pytest
from explorer_pages import Driven, browser, make_page
from layer_cases import CASES, Case

from minisegnet import layers, losses, trace
from minisegnet.explorer.pack import KINDS, as_base64, pack

MORE = [
    Case("upsample_bilinear_factor", lambda: layers.Upsample(scale_factor=(1.4, 1.7), mode="bilinear"), (1, 2, 4, 5)),
    Case(
        "pool_unpool_that_meets",
        lambda: layers.PoolUnpool(layers.Conv2d(2, 2, 1), kernel_size=3, stride=1, padding=1),
        (1, 2, 5, 6),
    ),
]
COMBINED = {"Sequential", "Sum", "Concat", "PoolUnpool", "SameSize"}
SHOWN = [  # a net that flattens its only sample away has no scores
    case for case in (*CASES, *MORE) if case.kinds <= {*KINDS, *COMBINED} and case.name != "flatten_all"
]

READ = """
    const texts = JSON.parse(given);
    const pass = new (modules["data.js"].Pass)(texts.manifest, (key) => texts.arrays[key]);
    const listed = (tensor) => [...tensor.data].map(String);
"""
COMPUTE = (
    "(given) => {"
    + READ
    + """
    const { forward, backward, gradients } = modules["compute.js"];
    const found = [];
    for (const stop of pass.stops) {
        const get = (name) => pass.array(stop, name);
        const own = stop.params.length ? gradients(stop, get) : {};
        const made = { ...forward(stop, get), ...backward(stop, get), ...own };
        for (const [name, tensor] of Object.entries(made)) {
            const explained = name === "argmax" ? [] : listed(tensor).map((_, place) => {
                const index = modules["tensor.js"].indexAt(stop.shapes[name], place);
                const { total, agrees, count } = modules["explain.js"].explain(pass, stop, name, index);
                return [String(total), agrees, count];
            });
            found.push([stop.number, name, listed(tensor), explained]);
        }
    }
    return JSON.stringify(found);
}"""
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of the explorer, for its modules."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    make_page("classifier", path)
    with browser() as chromium:
        one = Driven(chromium, path)
        yield one.page
        assert not one.said
        one.context.close()


def given(recorded, room=10**9):
    """A trace as the page's modules get it."""
    manifest, arrays = pack(recorded, room)
    manifest |= {"classes": [str(c) for c in range(20)], "hasTruth": True}
    return json.dumps({"manifest": manifest, "arrays": {key: as_base64(array) for key, array in arrays.items()}})


def wrapped(case):
    """A pass through a case's layer, one sample of it, and a last layer that makes scores of three classes."""
    layer, rng = case.layer(np.float32), np.random.default_rng(3)
    shape = (1, *case.x_shape[1:]) if len(case.x_shape) > 1 else (1, *case.x_shape)
    x = rng.normal(size=shape).astype(np.float32)
    y = layer.forward(x)[0]
    if y.ndim == 4:
        net = layers.Sequential(case=layer, scores=layers.Conv2d(y.shape[1], 3, 1, rng=rng))
    else:
        net = layers.Sequential(case=layer, flat=layers.Flatten(), scores=layers.Linear(y.size, 3, rng=rng))
    net.train(layer.training)
    target = rng.integers(0, 3, (1, *y.shape[2:]) if y.ndim == 4 else 1)
    return trace.record(net, x, losses.CrossEntropyLoss(), target)


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: case.name)
def test_the_page_computes_and_explains_what_numpy_did(page, case):
    """All numbers of y, dx and the gradients; each explained by terms that add up to it, as many as NumPy finds."""
    recorded = wrapped(case)
    for number, name, values, explained in json.loads(page.evaluate(COMPUTE, given(recorded))):
        stop = recorded.stops[number]
        array = stop[name].astype(np.float64)
        where, scale = f"{stop.name} {name}", np.abs(array).max() + 1e-30
        np.testing.assert_allclose(np.array(values, float), array.ravel(), rtol=0, atol=3e-6 * scale, err_msg=where)
        for place, (total, agrees, count) in enumerate(explained):
            index = np.unravel_index(place, array.shape)
            ours = trace.Trace.explain(recorded, stop.name, index, name)
            assert agrees, (where, index)
            assert count == len(ours.products), (where, index)
            assert float(total) == pytest.approx(ours.total, rel=1e-6, abs=1e-6 * np.abs(ours.products).sum())


@pytest.mark.parametrize("case", SHOWN, ids=lambda case: case.name)
def test_what_is_called_recorded_is_what_was_recorded(page, case):
    """With no room for anything that can be computed: bit for bit; and the rest is not called recorded."""
    recorded = wrapped(case)
    found = page.evaluate(
        "(given) => {"
        + READ
        + """
        return JSON.stringify(pass.stops.flatMap((stop) => ["y", "dx"].flatMap((base) => pass.names(stop, base)
            .map((name) => [stop.number, name, pass.isRecorded(stop, name), listed(pass.array(stop, name))]))));
    }""",
        given(recorded, room=0),
    )
    sure = 0
    for number, name, is_recorded, values in json.loads(found):
        stop = recorded.stops[number]
        if is_recorded:
            np.testing.assert_array_equal(np.array(values, np.float64), stop[name].ravel().astype(np.float64))
            sure += 1
        assert is_recorded or stop.kind not in ("Conv2d", "ConvTranspose2d", "Linear")
    assert sure >= 2


def test_all_kinds_are_there():
    assert {kind for case in SHOWN for kind in case.kinds} >= set(KINDS) - {"unpool", "resize", "fork", "concat", "sum"}


# ------------------------------------------------------------------ the loss

SIZE = (5, 7)


def with_loss(loss, scale=1.0, void=255, seed=0):
    rng = np.random.default_rng(seed)
    net = layers.Conv2d(2, 4, 1, rng=rng)
    net.weight.value *= np.float32(scale)
    target = rng.integers(0, 4, (1, *SIZE))
    target[0, 0, :3] = void
    return trace.record(net, rng.normal(size=(1, 2, *SIZE)).astype(np.float32), loss, target)


LOSSES = {
    "plain": {},
    "weights": {"weight": [1.0, 5.0, 0.2, 2.0]},
    "sum": {"weight": [1.0, 5.0, 0.2, 2.0], "reduction": "sum"},
    "smoothing": {"label_smoothing": 0.3, "weight": [1.0, 5.0, 0.2, 2.0]},
    "no weight": {"weight": [0.0, 0.0, 0.0, 0.0]},
}
FACTS = (
    "(given) => {"
    + READ
    + """
    const [, , H, W] = pass.loss.shapes.scores;
    const facts = [];
    for (let i = 0; i < H; i++) for (let j = 0; j < W; j++) facts.push(modules["pixel.js"].pixelFacts(pass, i, j));
    const tab = Object.create(modules["pixel.js"].PixelTab.prototype, { pass: { value: pass } });
    const { lossOf, runForward } = modules["network.js"];
    const explained = (of, index) => modules["explain.js"].explain(pass, pass.loss, of, index);
    const value = explained("value", []);
    return JSON.stringify({
        loss: facts.map((one) => one.loss), part: facts.map((one) => one.part), costliest: tab.findCostliest(),
        value: lossOf(pass, runForward(pass)), total: value.total, agrees: value.agrees,
        dscores: facts.map((one) => [0, 1, 2, 3].map((c) => {
            const { total, agrees } = explained("dscores", [0, c, one.row, one.column]);
            return agrees ? total : null;
        })),
    });
}"""
)


@pytest.mark.parametrize("scale", [1.0, 400.0], ids=["usual", "certain"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_part_of_each_pixel_in_the_loss(page, name, scale):
    """What a pixel adds, the costliest pixel and the whole, where p is rounded to 0 as well."""
    recorded = with_loss(losses.CrossEntropyLoss(ignore_index=255, **LOSSES[name]), scale)
    stop = recorded.losses[0]
    each, _ = losses.CrossEntropyLoss(ignore_index=255, **{**LOSSES[name], "reduction": "none"}).forward(
        stop["scores"].astype(np.float64), stop["target"]
    )
    known = stop["target"] != 255
    weight = np.array(LOSSES[name].get("weight", [1.0] * 4))
    divisor = 1 if name == "sum" else weight[stop["target"][known]].sum()
    parts = each[0] / divisor if divisor else 0 * each[0]
    plain, _ = losses.CrossEntropyLoss(ignore_index=255, reduction="none").forward(
        stop["scores"].astype(np.float64), stop["target"]
    )
    found = json.loads(page.evaluate(FACTS, given(recorded)))
    np.testing.assert_allclose(np.reshape(found["part"], SIZE), parts, rtol=1e-6)
    np.testing.assert_allclose(np.reshape(found["loss"], SIZE), plain[0], rtol=1e-6)
    assert tuple(found["costliest"]) == np.unravel_index(parts.argmax(), SIZE)
    assert found["agrees"]
    assert found["value"] == pytest.approx(float(stop["value"]), rel=1e-5)
    assert found["total"] == pytest.approx(float(stop["value"]), rel=1e-5)
    dscores = np.array(found["dscores"], float).reshape(*SIZE, 4).transpose(2, 0, 1)
    np.testing.assert_allclose(dscores, stop["dscores"][0], atol=1e-6 * np.abs(stop["dscores"]).max())


def test_the_gradient_begins_with_what_arrives_at_the_loss(page):
    """dL/dvalue is 1 for a loss by itself; where it is another number, the page says that one."""
    recorded = with_loss(losses.CrossEntropyLoss(ignore_index=255))
    recorded.losses[0].arrays["dvalue"] = np.array(3.0)
    recorded.losses[0].arrays["dscores"] = 3 * recorded.losses[0]["dscores"]
    found = json.loads(page.evaluate(FACTS, given(recorded)))
    assert None not in np.ravel(found["dscores"])


@pytest.mark.parametrize(
    ("terms", "value", "agrees"),
    [
        ([np.inf], 1.0, False),
        ([np.inf], np.inf, True),
        ([-np.inf], np.inf, False),
        ([np.nan], np.nan, True),
        ([np.nan], 1.0, False),
        ([1.0], np.inf, False),
        ([1.0, 2.0], 3.0, True),
        ([1.0, 2.0], 3.001, False),
        ([], 0.0, True),
    ],
)
def test_the_verdict_knows_infinity_and_nan(page, terms, value, agrees):
    found = page.evaluate(
        """([terms, value]) => {
            const { finished, group, number } = modules["explanation.js"];
            const pass = { array: () => ({ data: [Number(value)], shape: [] }), isRecorded: () => true };
            return finished(pass, {}, "y", [], { groups: [group([number("term", terms.map(Number))])] }).agrees;
        }""",
        [[repr(float(term)).replace("inf", "Infinity").replace("nan", "NaN") for term in terms],
         repr(float(value)).replace("inf", "Infinity").replace("nan", "NaN")],
    )  # fmt: skip
    assert found == agrees


def test_an_element_outside_is_no_element(page):
    recorded = with_loss(losses.CrossEntropyLoss(ignore_index=255))
    with pytest.raises(Exception, match=r"\[0,0,0,7\] is no element of an array of shape 1,4,5,7"):
        page.evaluate(
            "(given) => {" + READ + 'modules["explain.js"].explain(pass, pass.stops[0], "y", [0, 0, 0, 7]); }',
            given(recorded),
        )


@pytest.mark.parametrize("layer", [layers.ReLU(), layers.LeakyReLU(0.2), layers.Dropout(1, rng=0), layers.MaxPool2d(2)])
def test_what_is_no_number_goes_the_same_way(page, layer):
    """NaN and infinity through gates, forward and backward, on the page and in Python's explanations."""
    x = np.array([np.nan, -np.inf, np.inf, 1, -2, 3, -4, 5, 6, -7, -np.inf, -np.inf], np.float32).reshape(1, 1, 2, 6)
    net = layers.Sequential(case=layer, scores=layers.Conv2d(1, 3, 1, rng=0))
    with np.errstate(all="ignore"):
        y, saved = net.forward(x)
        recorded = trace.record(net, x, losses.CrossEntropyLoss(), np.zeros((1, *y.shape[2:]), int))
        stop = recorded.stops[0]
        for name in ("y", "dx"):
            for index in np.ndindex(stop[name].shape):
                assert recorded.explain("case", index, name).agrees, (name, index)
    for number, name, values, explained in json.loads(page.evaluate(COMPUTE, given(recorded))):
        if number == 0:
            np.testing.assert_allclose(np.array(values, float), stop[name].ravel(), rtol=1e-6)
            assert all(agrees for _, agrees, _ in explained)


# ------------------------------------------------------------------ one number for many


def test_shares_of_gradient(page):
    """Of a fork: the lengths of the gradients that come back over each branch, as shares of their sum."""
    branches = layers.Sum(a=layers.Conv2d(2, 3, 3, padding=1, rng=0), b=layers.Conv2d(2, 3, 1, rng=1))
    recorded = trace.record(
        branches, np.ones((1, 2, 4, 5), np.float32), losses.CrossEntropyLoss(), np.zeros((1, 4, 5), int)
    )
    fork = recorded.stops[0]
    lengths = np.array([np.linalg.norm(fork[f"dy.{name}"].astype(np.float64)) for name in "ab"])
    found = page.evaluate(
        "(given) => {" + READ + 'return modules["overview.js"].sharesOf(pass, pass.stops[0]); }', given(recorded)
    )
    np.testing.assert_allclose(found, lengths / lengths.sum(), rtol=1e-6)
    assert found[0] != pytest.approx(found[1], rel=0.01)


def test_how_far_a_gradient_is_spread(page):
    """The fewest pixels that hold 90 % of it, counted here once more."""
    dx = np.random.default_rng(0).normal(size=(1, 3, 6, 7)) ** 3
    sizes = np.sort(np.abs(dx).sum(axis=(0, 1)).ravel())[::-1]
    count = int(np.searchsorted(sizes.cumsum(), 0.9 * sizes.sum()) + 1)
    found = page.evaluate(
        '([data, shape]) => modules["pixel.js"].spreadOf({ data, shape })', [dx.ravel().tolist(), list(dx.shape)]
    )
    assert (found["count"], found["side"]) == (count, round(count**0.5))
    assert found["total"] == pytest.approx(sizes.sum())


@pytest.mark.parametrize("step", [0.3, -0.5])
def test_pixels_that_flip(page, step):
    rng = np.random.default_rng(5)
    net = layers.Sequential(layers.Conv2d(2, 4, 3, padding=1, rng=rng), layers.Tanh(), layers.Conv2d(4, 4, 1, rng=rng))
    x, target = rng.normal(size=(1, 2, *SIZE)).astype(np.float32), rng.integers(0, 4, (1, *SIZE))
    recorded = trace.record(net, x, losses.CrossEntropyLoss(), target)
    double = net.astype(np.float64)
    before = double.forward(x.astype(np.float64))[0].argmax(axis=1)
    double[2].bias.value[0] += step
    after = double.forward(x.astype(np.float64))[0].argmax(axis=1)
    found = page.evaluate(
        "(given) => {"
        + READ
        + "const [, step] = [pass, texts.step];"
        + 'return new (modules["nudge.js"].Nudger)(pass).nudge(pass.stops[2], "bias", [0], step).flipped; }',
        json.dumps({**json.loads(given(recorded)), "step": step}),
    )
    assert 0 < found < before.size / 2
    assert found == (before != after).sum()


def test_shares_in_a_mean_are_added_up(page):
    recorded = wrapped(next(case for case in CASES if case.name == "avg_pool_padded"))
    notes = page.evaluate(
        "(given) => {"
        + READ
        + 'const note = (index) => modules["explain.js"].explain(pass, pass.stops[0], "y", index).note;'
        + "return [note([0, 0, 0, 0]), note([0, 0, 1, 1])]; }",
        given(recorded),
    )
    assert notes == ["the shares add up to 0.4444", "the shares add up to 1"]


# ------------------------------------------------------------------ geometry


def test_the_receptive_field_through_unpooling(page):
    """At odd sizes too: through the windows of the pooling at the other end."""
    net = layers.Sequential(
        around=layers.PoolUnpool(layers.Conv2d(2, 2, 3, padding=1, rng=0)), scores=layers.Conv2d(2, 3, 1, rng=1)
    )
    H, W = 7, 10
    x = np.random.default_rng(0).normal(size=(1, 2, H, W)).astype(np.float32)
    recorded = trace.record(net, x, losses.CrossEntropyLoss(), np.zeros((1, H, W), int))

    def span(place, size):
        k = place // 2
        return None if k >= size // 2 else (2 * max(k - 1, 0), 2 * min(k + 1, size // 2 - 1) + 1)

    found = page.evaluate(
        "(given) => {"
        + READ
        + """
        const boxes = [];
        for (let i = 0; i < 7; i++) for (let j = 0; j < 10; j++) {
            boxes.push(modules["network.js"].receptiveFields(pass, i, j)[0]);
        }
        return boxes; }""",
        given(recorded),
    )
    for (i, j), box in zip(np.ndindex(H, W), found, strict=True):
        rows, columns = span(i, H), span(j, W)
        expected = None if rows is None else [rows[0], columns[0], rows[1], columns[1]]
        assert box == expected, (i, j)


def test_scatter_of_a_transposed_convolution_says_its_own_formula(page):
    recorded = wrapped(next(case for case in CASES if case.name == "conv_transposed_grouped"))
    found = page.evaluate(
        "(given) => {"
        + READ
        + 'const { symbols, picked, groups } = modules["scatter.js"].scatter(pass, pass.stops[0], [0, 1, 1, 1]);'
        + "return { symbols, picked, weights: groups[0].factors[1].indices }; }",
        given(recorded),
    )
    assert found["symbols"].startswith("dx[n,c,i,j] += dy[n,o,a,b] · weight[c,o,r,s]")
    assert found["picked"] == "dx[0,2+c,…] += dy[0,1,1,1] · weight[2+c,0,r,s]"
    assert {tuple(index[:2]) for index in found["weights"]} == {(2, 0), (3, 0)}
