"""The explorer in a browser: every kind of layer, compared with NumPy's numbers; keyboard, addresses, nudges."""

import copy
import re

import numpy as np
import pytest
from explorer_pages import Driven, browser, make_page, number, subjects

from minisegnet import losses
from minisegnet.trace.explanation import EXPLAINERS

NAMES = ("all kinds", "inference", "classifier", "unet")


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{name: (path, trace)} of all pages."""
    folder = tmp_path_factory.mktemp("pages")
    return {name: (folder / f"{name}.html", make_page(name, folder / f"{name}.html")) for name in NAMES}


@pytest.fixture(scope="module")
def driven(chromium, pages):
    """{name: Driven}: one open page for each subject."""
    opened = {name: Driven(chromium, path) for name, (path, _) in pages.items()}
    yield opened
    for one in opened.values():
        one.context.close()


def explained_arrays(stop):
    """Names of a stop's arrays that both sides explain."""
    known = {of for kind, of in EXPLAINERS if kind == stop.kind} - {"mean", "var"}
    names = {name.removeprefix("saved.") for name in stop.arrays}
    branches = [f"{of[:-1]}{branch}" for of in known if of.endswith(".*") for branch in stop.branches]
    return sorted((known & names) | set(branches))


def elements(shape, rng, count=3):
    """First, last and some other indices of an array."""
    corners = {tuple(0 for _ in shape), tuple(size - 1 for size in shape)}
    return sorted(corners | {tuple(int(rng.integers(size)) for size in shape) for _ in range(count)})


@pytest.mark.parametrize("name", NAMES)
def test_every_sum_is_numpys(driven, pages, name):
    """Value, terms and the elements in them, for elements of every array of every stop."""
    rng, trace, kinds = np.random.default_rng(0), pages[name][1], set()
    numbered = [*enumerate(trace.stops), (-1, trace.losses[0])]
    for k, stop in numbered:
        for of in explained_arrays(stop):
            for index in elements(stop[of].shape, rng):
                ours = trace.explain(stop.name, index, of)
                page = driven[name].explain(k, of, index)
                where = f"{stop.name} ({stop.kind}) {of}{index}"
                scale = max(np.abs(ours.products).sum(), 1e-30)
                assert page["agrees"], where
                assert abs(page["recorded"] - ours.recorded) <= 1e-5 * scale, where
                assert abs(page["total"] - ours.total) <= 1e-5 * scale, where
                assert len(page["products"]) == len(ours.products), where
                np.testing.assert_allclose(
                    np.sort(page["products"]), np.sort(ours.products), rtol=1e-4, atol=1e-5 * scale, err_msg=where
                )
                elements_of = {array: {tuple(i) for i in indices} for array, indices in page["indices"]}
                for g in ours.groups:
                    for factor in g.factors:
                        if factor.index is not None and factor.array in stop:
                            assert elements_of[factor.array] >= {tuple(i) for i in factor.index.tolist()}, where
                kinds.add(stop.kind)
    if name == "all kinds":
        assert len(kinds) >= 19


@pytest.mark.parametrize("name", NAMES)
def test_the_browser_computes_the_net_as_python_does(driven, name):
    worst = driven[name].page.evaluate(
        """() => {
            const pass = modules["data.js"].readPass(document);
            const { runForward, runBackward, lossOf } = modules["network.js"];
            const values = runForward(pass);
            const grads = runBackward(pass, pass.array(pass.loss, "dscores"));
            let worst = Math.abs(lossOf(pass, values) - pass.array(pass.loss, "value").data[0]);
            for (const stop of pass.stops) {
                for (const [made, base] of [[values, "y"], [grads, "dx"]]) {
                    for (const name of pass.names(stop, base)) {
                        const [a, b] = [pass.array(stop, name).data, made[stop.number][name].data];
                        const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
                        a.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - b[i]) / largest); });
                    }
                }
            }
            return worst;
        }"""
    )
    assert 0 < worst < 1e-5


ADDRESSES = {
    "convolution forward": ("F1", "forward", "y", (0, 1, 2, 3), "y"),
    "convolution gather": ("B1", "gather", "dx", (0, 1, 4, 5), "x"),
    "convolution at a corner": ("B1", "gather", "dx", (0, 0, 0, 0), "x"),
    "batch normalisation": ("B2", "gather", "dx", (0, 2, 1, 3), "x"),
    "ReLU": ("F3", "forward", "y", (0, 1, 1, 1), "y"),
    "max pool": ("B4", "gather", "dx", (0, 3, 2, 2), "x"),
    "fork": ("B5", "gather", "dx", (0, 1, 1, 1), "x"),
}


@pytest.mark.parametrize("case", ADDRESSES)
def test_what_is_shown_is_what_numpy_says(driven, pages, case):
    at, view, of, index, slot = ADDRESSES[case]
    trace = pages["all kinds"][1]
    stop = dict(trace.timeline)[at]
    shown = driven["all kinds"].numbers(f"#at={at}&view={view}&{slot}={','.join(map(str, index))}")
    found = trace.explain(stop.name, index, of)
    assert "✓ the same to 1e-5" in shown["verdict"]
    assert f"sum of {len(found.products)} term" in shown["verdict"]
    assert shown["ring"].startswith(f"{of}[{','.join(map(str, index))}] = ")
    assert number(shown["ring"]) == pytest.approx(found.recorded, rel=1e-5, abs=1e-12)
    assert f"{of}[{','.join(map(str, index))}] = " in shown["formula"]


def test_terms_add_up_on_the_way(driven, pages):
    """The running sums in the table, in both orders, end in the recorded number."""
    page, trace = driven["all kinds"], pages["all kinds"][1]
    shown = page.numbers("#at=F1&view=forward&y=0,1,2,3")
    ours = trace.explain("first", (0, 1, 2, 3))
    sums = [number(row[-1]) for row in shown["rows"]]
    np.testing.assert_allclose(sums, [term.running for term in ours.terms][: len(sums)], rtol=1e-3, atol=1e-5)
    page.page.keyboard.press("o")
    sizes = page.page.evaluate(
        "() => [...document.querySelectorAll('.row[data-term]')].map((row) => row.children[2].textContent)"
    )
    by_size = [abs(number(text)) for text in sizes]
    assert by_size == sorted(by_size, reverse=True)
    page.page.keyboard.press("o")


def test_turning_the_kernel_moves_no_number(driven):
    page = driven["all kinds"]

    def card():
        return page.page.evaluate(
            """() => {
                const card = document.querySelector("[data-card=gather]");
                return [card.querySelector(".big").textContent,
                    [...card.querySelectorAll("figure:nth-of-type(3) td[data-term]")].map((cell) => cell.title)];
            }"""
        )

    page.go("#at=B1&view=gather&x=0,1,4,5")
    total, products = card()
    page.page.keyboard.press("r")
    page.page.wait_for_selector("#rotate[aria-pressed=true]")
    turned_total, turned = card()
    page.page.keyboard.press("r")
    assert total == turned_total
    assert turned == products[::-1]
    assert len(products) > 1


def test_scatter_adds_up_to_gather(driven):
    """Everything that scatter sends to one dx is what gather finds for it."""
    gathered, scattered = driven["all kinds"].page.evaluate(
        """() => {
            const pass = modules["data.js"].readPass(document);
            const { indexAt } = modules["tensor.js"];
            const found = [[], []];
            for (const stop of pass.stops.filter((one) => modules["links.js"].hasLinks(one))) {
                const target = stop.shapes.x.map((size, axis) => (axis ? Math.floor(size / 2) : 0));
                found[0].push(modules["explain.js"].explain(pass, stop, "dx", target).total);
                let sum = 0;
                for (let i = 0; i < pass.array(stop, "dy").data.length; i++) {
                    const sent = modules["scatter.js"].scatter(pass, stop, indexAt(stop.shapes.y, i));
                    sent.targets.forEach((one, t) => {
                        if (one.join() === target.join()) sum += sent.groups[0].products[t];
                    });
                }
                found[1].push(sum);
            }
            return found;
        }"""
    )
    assert len(gathered) >= 10
    np.testing.assert_allclose(scattered, gathered, rtol=1e-9, atol=1e-14)


# ------------------------------------------------------------------ getting about


def test_the_keyboard_reaches_everything(driven):
    page = driven["unet"].page
    count = page.evaluate("() => Number(document.querySelector('#slider').max)")
    page.keyboard.press("Escape")
    page.evaluate("() => document.activeElement.blur()")

    def at():
        return page.evaluate("() => new URLSearchParams(location.hash.slice(1)).get('at')")

    page.keyboard.press("Home")
    seen = [at()]
    for _ in range(count):
        page.keyboard.press("ArrowRight")
        seen.append(at())
    last = count // 2
    assert seen == [*(f"F{k + 1}" for k in range(last)), "loss", *(f"B{last - k}" for k in range(last))]
    page.keyboard.press("ArrowLeft")
    assert at() == "B2"
    page.keyboard.press("b")
    assert at() == "F2"
    page.keyboard.press("ArrowDown")
    assert at() == "F3"
    page.keyboard.press("ArrowUp")
    assert at() == "F2"
    page.keyboard.press("End")
    for key, view in (("2", "scatter"), ("3", "weight"), ("1", "gather")):
        page.keyboard.press(key)
        assert f"view={view}" in page.evaluate("() => location.hash")
    for key, tab in (("p", "pixel"), ("n", "nudge"), ("l", "layer")):
        page.keyboard.press(key)
        assert not page.evaluate(f"() => document.getElementById('{tab}').hidden")
    before = page.evaluate("() => new URLSearchParams(location.hash.slice(1)).get('x')").split(",")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("PageUp")
    after = page.evaluate("() => new URLSearchParams(location.hash.slice(1)).get('x')").split(",")
    assert (int(after[3]), int(after[1])) == (int(before[3]) + 1, int(before[1]) + 1)
    page.keyboard.press("t")
    assert page.locator(".row.active").count() == 1
    page.keyboard.press("?")
    assert page.evaluate("() => document.getElementById('about').open")
    page.keyboard.press("Escape")


def test_tab_reaches_every_part(driven):
    page = driven["unet"].page
    driven["unet"].go("#at=B2&view=gather")
    page.evaluate("() => document.activeElement.blur()")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.update(
            page.evaluate(
                """() => ["#line", "#overview", "#tabs", "#views", ".panel[data-array=dy]", ".panel[data-array=dx]",
                    ".strip", ".list", ".card"].filter((part) => document.activeElement.closest(part))"""
            )
        )
    assert len(reached) == 8  # a batch normalisation has no cards


def test_a_selection_survives_the_step(driven):
    """The y that a layer has made is the x of the next, and its dy the dx of the next."""
    page = driven["unet"]
    page.go("#at=F1&view=forward&y=0,2,5,7")
    page.page.keyboard.press("b")
    assert "y=0,2,5,7" in page.page.evaluate("() => location.hash")
    page.page.keyboard.press("ArrowLeft")
    found = page.page.evaluate("() => location.hash")
    assert "at=B2" in found
    assert "x=0,2,5,7" in found


def places(page, slot="y"):
    """The stop and the picked element that the address names."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    found = page.evaluate(
        f"() => {{ const p = new URLSearchParams(location.hash.slice(1)); return [p.get('at'), p.get('{slot}')]; }}"
    )
    return found[0], tuple(map(int, found[1].split(",")))


@pytest.mark.parametrize(
    ("name", "start"), [("unet", (0, 0, 0, 0)), ("unet", (0, 2, 11, 4)), ("all kinds", (0, 1, 3, 2))]
)
def test_the_place_that_is_followed_stays_where_it_is(driven, pages, name, start):
    """Through small maps and back, by upsampling and unpooling: a whole walk ends at the same pixel."""
    page, trace = driven[name].page, pages[name][1]
    driven[name].go(f"#at=F1&view=forward&y={','.join(map(str, start))}")
    page.evaluate("() => document.activeElement.blur()")
    height, width = trace.stops[0].y.shape[2:]
    shares = (start[2] + 0.5) / height, (start[3] + 0.5) / width
    for _ in range(2 * len(trace.stops)):
        page.keyboard.press("ArrowRight")
        at, y = places(page)
        stop = dict(trace.timeline)[at]
        shape = (
            stop["scores"].shape if at == "loss" else next(a for n, a in stop.arrays.items() if n.startswith("y")).shape
        )
        assert y[2:] == tuple(int(share * side + 1e-9) for share, side in zip(shares, shape[2:], strict=True)), at
    assert (at, y) == ("B1", start)


def test_the_page_opens_where_the_loss_is_largest(chromium, pages):
    """In the coordinates of the layer that is shown, which may be smaller than the scores."""
    path, trace = pages["all kinds"]
    one = Driven(chromium, path)
    loss = trace.losses[0]
    dscores = loss["dscores"]
    costs, _ = losses.CrossEntropyLoss(loss["weight"], 255, "none").forward(loss["scores"], loss["target"])
    _, row, column = np.unravel_index(costs.argmax(), costs.shape)
    for slot, array in (("x", trace["first"]["x"]), ("y", trace["first"].y)):
        expected = tuple(
            int((place + 0.5) / full * side)
            for place, full, side in zip((row, column), dscores.shape[2:], array.shape[2:], strict=True)
        )
        assert places(one.page, slot) == ("F1", (0, 0, *expected))
    one.page.keyboard.press("b")
    assert (
        places(one.page, "x")[1][2:] == places(one.page, "y")[1][2:] or trace["first"].y.shape[2:] != dscores.shape[2:]
    )
    one.context.close()


@pytest.mark.parametrize("view", ["at=F2&view=forward", "at=B2&view=gather"])
def test_batch_normalisation_shows_the_element_in_all_panels(driven, view):
    """The same element of x, y, dy and dx: framed or ringed, however many others stand in the sum."""
    page = driven["unet"]
    page.go(f"#{view}&y=0,1,10,11&x=0,1,10,11")
    marked = page.page.evaluate(
        "() => [...document.querySelectorAll('.panel')].map((panel) =>"
        " [...panel.querySelectorAll('td.lit, td.ring')].map((cell) => cell.dataset.at))"
    )
    assert marked == [["0,1,10,11"]] * (2 if "F2" in view else 3)


def test_the_loss_is_shown_where_the_table_is(driven):
    driven["unet"].go("#at=loss&view=value&y=0,1,10,11")
    page = driven["unet"].page
    assert page.locator("td[data-at='0,0,10,11']").count() == 1
    shown = number(page.get_attribute("td[data-at='0,0,10,11']", "title"))
    p = page.evaluate("() => [...document.querySelectorAll('.classes tr.truth td')].map((cell) => cell.textContent)[2]")
    assert shown == pytest.approx(-np.log(float(p)), abs=0.01)


def test_an_address_restores_the_view(chromium, pages):
    path, trace = pages["unet"]
    one = Driven(chromium, path, "#at=B1&view=weight&w=1,0,2,1")
    shown = one.numbers("#at=B1&view=weight&w=1,0,2,1")
    found = trace.explain("down.0", (1, 0, 2, 1), "dweight")
    assert f"dweight[1,0,2,1] = " in shown["formula"]  # noqa: F541
    assert number(shown["formula"].strip()) == pytest.approx(found.recorded, rel=1e-4)
    wrong = Driven(chromium, path, "#at=F999&y=1,2")
    assert wrong.page.evaluate("() => location.hash").startswith("#at=F1&")
    assert not one.said
    assert not wrong.said
    one.context.close()
    wrong.context.close()


def test_clicks_pick_elements_and_terms(driven, pages):
    page, trace = driven["all kinds"], pages["all kinds"][1]
    page.go("#at=F1&view=forward&y=0,1,2,3")
    page.page.click('.panel[data-array="y"] td[data-at="0,1,3,1"]')
    assert "y=0,1,3,1" in page.page.evaluate("() => location.hash")
    ring = page.page.get_attribute(".panel td.ring", "title")
    assert number(ring) == pytest.approx(float(trace["first"].y[0, 1, 3, 1]), rel=1e-5)
    page.page.click(".row[data-term='2']")
    assert page.page.locator(".row.active").count() == 1
    lit = page.page.get_attribute('.panel[data-array="x"] td.active', "data-at")
    term = list(trace.explain("first", (0, 1, 3, 1)).terms)[2]
    assert lit == ",".join(map(str, term.factors[0][1]))
    page.page.click(".box[data-stop='3']")
    assert "at=F4" in page.page.evaluate("() => location.hash")


# ------------------------------------------------------------------ one pixel


def test_why_a_pixel_is_wrong(driven, pages):
    page, trace = driven["all kinds"].page, pages["all kinds"][1]
    driven["all kinds"].go("#at=loss&view=dscores&y=0,1,4,5&tab=pixel")
    loss = trace.losses[0]
    label = int(loss["target"][0, 4, 5])
    rows = page.evaluate(
        "() => [...document.querySelectorAll('#pixel .classes tr')].slice(1)"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    assert len(rows) == 3
    for c, (_, score, p, y, difference, gradient, _) in enumerate(rows):
        values = [number(text.replace("+", "")) for text in (score, p, y, difference, gradient)]
        probability = float(loss["p"][0, c, 4, 5])
        expected = [loss["scores"][0, c, 4, 5], probability, c == label, probability - (c == label)]
        np.testing.assert_allclose(values, [*expected, loss["dscores"][0, c, 4, 5]], rtol=6e-3, atol=1e-9)
    assert page.locator("#pixel .trail button").count() == len(trace.stops)


def test_the_trail_is_a_backward_pass_of_one_pixel(driven, pages):
    """The gradients of the trail, against a pass that begins with this pixel's gradient alone."""
    from minisegnet.trace import record

    trace, subject = pages["all kinds"][1], subjects()["all kinds"]
    dscores = np.zeros_like(trace.losses[0]["dscores"])
    dscores[:, :, 4, 5] = trace.losses[0]["dscores"][:, :, 4, 5]
    ours = record(subject.net, subject.x, dy=dscores)
    sizes = driven["all kinds"].page.evaluate(
        """() => {
            const pass = modules["data.js"].readPass(document);
            const { grads } = modules["pixel.js"].trailOf(pass, 4, 5);
            return pass.stops.map((stop) => Math.hypot(...pass.names(stop, "dx")
                .map((name) => modules["tensor.js"].norm(grads[stop.number][name]))));
        }"""
    )
    for stop, size in zip(ours.stops, sizes, strict=True):
        parts = [array for name, array in stop.arrays.items() if name == "dx" or name.startswith("dx.")]
        expected = np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in parts))
        assert size == pytest.approx(expected, rel=1e-4, abs=1e-12), stop.name


def test_the_receptive_field_holds_all_gradient(driven, pages):
    """Outside the box that a pixel can see, its gradient is zero; without batch statistics, which see everything."""
    box, outside, inside = driven["inference"].page.evaluate(
        """() => {
            const pass = modules["data.js"].readPass(document);
            const pixel = [9, 0];
            const { boxes, picture } = modules["pixel.js"].trailOf(pass, ...pixel);
            const [top, left, bottom, right] = boxes[0];
            let [outside, inside] = [0, 0];
            picture.data.forEach((value, place) => {
                const [, , i, j] = modules["tensor.js"].indexAt(picture.shape, place);
                const isIn = i >= top && i <= bottom && j >= left && j <= right;
                if (isIn) inside += Math.abs(value); else outside += Math.abs(value);
            });
            return [boxes[0], outside, inside];
        }"""
    )
    assert outside == 0
    assert inside > 0
    assert box[2] == 9
    assert box[1] == 0


def test_what_a_pixel_looks_at_is_compared_with_what_it_sees(driven):
    """With the statistics of the batch every pixel sees the whole picture: nothing is called less."""

    def words(name):
        driven[name].go("#at=F1&view=forward&tab=pixel&pixel=4,5")
        return driven[name].page.text_content("#pixel .words")

    assert "it can see the whole picture" in words("unet")
    assert "less" not in words("unet")
    seen, looked = words("inference").split("frame;")
    height, width = map(int, re.search(r"can see (\d+)×(\d+)", seen).groups())
    count = int(re.search(r"lies on (\d+) pixels", looked)[1])
    assert ("looks at less" in looked) == (count < height * width)


# ------------------------------------------------------------------ nudges


def loss_with(subject, name, index, step):
    """The loss in float64 after one number of the net, or of x, has been changed."""
    net, x = copy.deepcopy(subject.net).astype(np.float64), subject.x.astype(np.float64)
    array = x if name == "x" else dict(net.named_parameters())[name].value
    array[index] += step
    return subject.loss.forward(net.forward(x)[0], subject.target)[0]


NUDGES = [
    ("F1", "first.weight", "weight", (1, 0, 1, 2), 0.01),
    ("F1", "first.weight", "weight", (1, 0, 1, 2), -0.5),
    ("F2", "norm.weight", "weight", (2,), 0.1),
    ("F2", "norm.bias", "bias", (1,), 0.1),
    ("F1", "x", "x", (0, 1, 4, 5), 0.2),
]


@pytest.mark.parametrize(("at", "parameter", "name", "index", "step"), NUDGES)
@pytest.mark.parametrize("subject_name", ["all kinds", "inference"])
def test_a_nudge_is_what_python_finds(driven, pages, subject_name, at, parameter, name, index, step):
    page = driven[subject_name]
    page.go(f"#at={at}&view=forward&tab=nudge")
    page.page.select_option("[name=what]", name)
    page.page.fill("[name=index]", ",".join(map(str, index)))
    page.page.press("[name=index]", "Tab")
    page.page.fill("[name=step]", str(step))
    page.page.click("#nudge button[type=submit]")
    found = float(page.page.get_attribute("#nudge [data-change] >> nth=0", "data-change"))
    shown = page.page.locator("#nudge .results tr").nth(1).locator("td").all_text_contents()
    before, after = (loss_with(subjects()[subject_name], parameter, index, s) for s in (0, step))
    assert found == pytest.approx(after - before, rel=1e-5, abs=1e-10)
    stop = pages[subject_name][1].stops[int(at[1:]) - 1] if name != "x" else pages[subject_name][1].stops[0]
    assert number(shown[2].replace("+", "")) == pytest.approx(float(stop[f"d{name}"][index]) * step, rel=1e-3)


def test_a_typed_element_is_forgotten_with_the_next_pick(driven):
    page = driven["unet"].page

    def nudged():
        return page.input_value("[name=index]")

    driven["unet"].go("#at=F1&view=forward&tab=nudge&w=0,0,0,0")
    page.select_option("[name=what]", "weight")
    page.fill("[name=index]", "1,1,2,2")
    page.press("[name=index]", "Tab")
    assert nudged() == "1,1,2,2"
    driven["unet"].go("#at=B1&view=weight&tab=nudge&w=2,0,1,1")
    assert nudged() == "2,0,1,1"
    driven["unet"].go("#at=F1&view=forward&tab=nudge&w=0,0,0,0")
    assert nudged() == "0,0,0,0"


def test_a_nudge_says_what_it_can_not_read(driven):
    page = driven["unet"].page
    driven["unet"].go("#at=F1&view=forward&tab=nudge&w=0,0,0,0")
    page.select_option("[name=what]", "weight")
    for typed in ("9,9,9,9", "abc", "0,0"):
        page.fill("[name=index]", typed)
        page.press("[name=index]", "Tab")
        said = page.text_content("#nudge .wrong")
        assert f"“{typed}” is no element: weight has the shape" in said
        assert "4 whole numbers from 0,0,0,0 to " in said
    for step in ("0", ""):
        page.fill("[name=step]", step)
        page.click("#nudge button[type=submit]")
        assert "type a number that is not 0" in page.text_content("#nudge .wrong")


def test_a_nudge_computes_only_what_it_reaches(driven):
    same, new = driven["all kinds"].page.evaluate(
        """() => {
            const pass = modules["data.js"].readPass(document);
            const { runForward } = modules["network.js"];
            const base = runForward(pass);
            const stop = pass.stops.at(-1);
            const weight = pass.array(stop, "weight");
            const tensor = { data: weight.data.map((value) => value + 1), shape: weight.shape };
            const made = runForward(pass, base, { stop, name: "weight", tensor });
            return [made.filter((value, k) => value === base[k]).length, made.length];
        }"""
    )
    assert same == new - 1


# ------------------------------------------------------------------ the whole page


TOUR = """async (step) => {
    const frame = () => new Promise(requestAnimationFrame);
    const press = async (key) => {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        await frame();
    };
    const slider = document.getElementById("slider");
    let count = 0;
    for (let k = 0; k <= Number(slider.max); k += step) {
        slider.value = k;
        slider.dispatchEvent(new Event("input"));
        await frame();
        const views = Math.max(1, document.querySelectorAll("#views [data-view]").length);
        for (let v = 1; v <= views; v++) {
            if (views > 1) await press(String(v));
            if (!document.querySelector(".verdict").textContent.match(/✓|product/)) throw new Error(location.hash);
            if (document.documentElement.scrollWidth > innerWidth) throw new Error(`too wide: ${location.hash}`);
            count += 1;
        }
        if (k % 8 === 0) for (const key of ["p", "n", "l"]) await press(key);
    }
    return count;
}"""


@pytest.mark.parametrize(
    "name", ["all kinds", "classifier", *(pytest.param(name, marks=pytest.mark.slow) for name in ("inference", "unet"))]
)
def test_every_view_of_every_stop_draws_without_a_complaint(chromium, pages, name):
    """No message on the console, no request, nothing wider than the window."""
    path, trace = pages[name]
    one = Driven(chromium, path)
    assert one.page.evaluate(TOUR, 1) > 2 * len(trace.stops)
    assert not one.said
    one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1920, 1080), (390, 844)])
def test_it_fits_a_projector_and_a_phone(chromium, pages, scheme, size):
    one = Driven(chromium, pages["all kinds"][0], color_scheme=scheme)
    one.page.set_viewport_size({"width": size[0], "height": size[1]})
    assert one.page.evaluate(TOUR, 4) > 10
    assert not one.said
    one.context.close()


def test_a_unet_needs_no_scrolling_on_a_small_screen(chromium, pages):
    """At 1280x800 every view of a U-Net fits, and no table or card loses a column."""
    one = Driven(chromium, pages["unet"][0])
    found = one.page.evaluate(
        TOUR.replace(
            "count += 1;",
            """
            const lost = [...document.querySelectorAll(".card, .list, #overview")]
                .find((one) => one.scrollWidth > one.clientWidth + 1);
            const height = document.documentElement.scrollHeight;
            if (height > innerHeight || lost) throw new Error(`${height} ${lost?.className} ${location.hash}`);
            count += 1;""",
        ),
        1,
    )
    assert found > 80
    one.context.close()


def test_text_is_large_enough_to_read(driven):
    for address in ("#at=B1&view=gather", "#at=loss&view=dscores", "#at=F1&view=forward&tab=pixel"):
        driven["all kinds"].go(address)
        smallest = driven["all kinds"].page.evaluate(
            """() => Math.min(...[...document.querySelectorAll("body *:not(script):not(style)")]
                .filter((one) => one.offsetParent
                    && [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
                .map((one) => parseFloat(getComputedStyle(one).fontSize)))"""
        )
        assert smallest >= 14


def test_nothing_moves_for_readers_who_prefer_it_so(chromium, pages):
    one = Driven(chromium, pages["unet"][0], reduced_motion="reduce")
    moving = "() => [...document.querySelectorAll('*')].map((e) => parseFloat(getComputedStyle(e).transitionDuration))"
    assert max(one.page.evaluate(moving)) == 0
    one.context.close()
    other = Driven(chromium, pages["unet"][0], reduced_motion="no-preference")
    assert 0 < max(other.page.evaluate(moving)) <= 0.3
    other.context.close()


def test_with_no_room_the_page_computes_what_it_lacks(chromium, pages, tmp_path):
    path = tmp_path / "small.html"
    trace = make_page("unet", path, room=0)
    assert path.stat().st_size < pages["unet"][0].stat().st_size
    one = Driven(chromium, path)
    for k, stop in enumerate(trace.stops):
        for of in explained_arrays(stop):
            index = tuple(size // 2 for size in stop[of].shape)
            page = one.explain(k, of, index)
            assert page["agrees"], (stop.name, of)
            largest = float(np.abs(stop[of]).max())
            assert page["recorded"] == pytest.approx(float(stop[of][index]), rel=1e-4, abs=1e-5 * largest)
    assert not one.explain(1, "y", (0, 0, 1, 1))["isRecorded"]
    assert one.explain(0, "y", (0, 0, 1, 1))["isRecorded"]
    assert not one.said
    one.context.close()
