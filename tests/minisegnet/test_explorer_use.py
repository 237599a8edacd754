"""The explorer's page in use: sums without terms, branches of several sizes, clicks, colours, the keyboard's focus."""

import re

import numpy as np
import pytest
from explorer_pages import Driven, browser, make_subject, number

from minisegnet import layers, losses, trace
from minisegnet.explorer import write_explorer

SIZE = (6, 9)


def with_gaps(rng):
    """A stride that steps over pixels, a padding as large as the kernel, stamps with gaps between them."""
    return layers.Sequential(
        strided=layers.Conv2d(2, 4, 1, stride=2, rng=rng),
        padded=layers.Conv2d(4, 4, 2, padding=2, rng=rng),
        gaps=layers.ConvTranspose2d(4, 4, 1, stride=2, rng=rng),
        grouped=layers.Conv2d(4, 4, 3, padding=1, groups=2, rng=rng),
        size=layers.Upsample(size=SIZE),
        scores=layers.Conv2d(4, 3, 1, rng=rng),
    )


def with_branches(rng):
    """Branches of different width and size."""
    return layers.Sequential(
        sides=layers.Concat(
            narrow=layers.Conv2d(2, 2, 3, padding=1, rng=rng), wide=layers.Conv2d(2, 6, 3, padding=(1, 0), rng=rng)
        ),
        scores=layers.Conv2d(8, 3, 1, rng=rng),
    )


NETS = {"gaps": with_gaps, "branches": with_branches}


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def opened(chromium, tmp_path_factory):
    """{name: (page in the browser, trace)}."""
    folder, found = tmp_path_factory.mktemp("used"), {}
    for name, make in NETS.items():
        subject = make_subject(make(np.random.default_rng(0)), size=SIZE)
        recorded = trace.record(subject.net, subject.x, subject.loss, subject.target)
        found[name] = Driven(chromium, write_explorer(subject, folder / f"{name}.html")), recorded
    yield found
    for one, _ in found.values():
        assert not one.said
        one.context.close()


@pytest.mark.parametrize(
    ("address", "stop", "of", "index"),
    [
        ("at=B1&view=gather&x=0,0,1,1", "strided", "dx", (0, 0, 1, 1)),
        ("at=F2&view=forward&y=0,1,0,0", "padded", "y", (0, 1, 0, 0)),
        ("at=B2&view=scatter&y=0,1,0,0", "padded", None, None),
        ("at=F3&view=forward&y=0,2,1,1", "gaps", "y", (0, 2, 1, 1)),
    ],
)
def test_a_sum_without_terms_is_shown(opened, address, stop, of, index):
    one, recorded = opened["gaps"]
    shown = one.numbers(f"#{address}")
    if of is None:
        assert "0 products" in shown["verdict"]
        return
    ours = recorded.explain(stop, index, of)
    assert "✓" in shown["verdict"]
    assert f"sum of {len(ours.products)} term" in shown["verdict"]
    assert number(shown["ring"]) == pytest.approx(ours.recorded, rel=1e-5, abs=1e-12)
    assert sum(term.factors[0][0] == "x" for term in ours.terms) == 0


def test_a_card_shows_a_map_that_has_a_part(opened):
    """Of a convolution in groups, when a map of another group was chosen."""
    one, _ = opened["gaps"]
    one.go("#at=F4&view=forward&x=0,0,1,1&y=0,3,1,1")
    cells = one.page.locator("[data-card=forward] td[data-term]")
    assert cells.count() == 3 * 9
    assert "x, map 2" in one.page.text_content("[data-card=forward]")


def test_each_branch_has_elements_of_its_own(opened):
    """The element that an address names, or a click picks, is one of the branch in question."""
    one, recorded = opened["branches"]
    joint = next(k for k, stop in enumerate(recorded.stops, 1) if stop.kind == "concat")
    for branch, index in (("wide", (0, 5, 3, 3)), ("narrow", (0, 1, 3, 8)), ("wide", (0, 5, 5, 6))):
        shown = one.numbers(f"#at=B{joint}&view=to {branch}&x={','.join(map(str, index))}")
        assert "✓" in shown["verdict"]
        assert shown["ring"].startswith(f"dx.{branch}[{','.join(map(str, index))}] = ")
        assert number(shown["ring"]) == pytest.approx(recorded.stops[joint - 1][f"dx.{branch}"][index], rel=1e-5)
    shown = one.numbers(f"#at=B{joint}&view=to wide&x=0,1,3,8")  # wide has 7 columns
    assert "✓" in shown["verdict"]
    assert "x=0,1,3,6" in shown["at"]
    one.page.click('.panel[data-array="dx.wide"] td[data-at="0,1,4,2"]')
    assert "x=0,1,4,2" in one.page.evaluate("() => location.hash")


# ------------------------------------------------------------------ clicks and colours


@pytest.mark.parametrize("void", [255, -100])
def test_a_click_on_a_picture_picks_that_pixel(chromium, tmp_path, void):
    """Row and column of the scores; a pixel without a label too."""
    subject = make_subject(layers.Conv2d(2, 3, 1, rng=0), size=SIZE)
    target = subject.target.copy()
    target[target == 255] = void
    subject = subject._replace(target=target, loss=losses.CrossEntropyLoss(ignore_index=void))
    one = Driven(chromium, write_explorer(subject, tmp_path / "page.html"))
    canvas = one.page.locator("#pictures canvas").nth(2)
    box = canvas.bounding_box()
    for row, column in ((4, 1), (0, 2), (2, 8)):
        place = {"x": (column + 0.5) / 9 * box["width"], "y": (row + 0.5) / 6 * box["height"]}
        canvas.click(position=place)
        found = one.page.evaluate("() => location.hash")
        assert f"pixel={row},{column}" in found
        label = target[0, row, column]
        assert f"y=0,{label if label != void else 0},{row},{column}" in found
    assert not one.said
    one.context.close()


COLOURS = {
    "dx": [(20, 90, 170), (150, 190, 225), (243, 242, 238), (246, 190, 125), (190, 85, 0)],
    "y": [(232, 235, 237), (120, 178, 172), (0, 92, 88)],
}


@pytest.mark.parametrize(("address", "name"), [("at=B4&view=gather", "dx"), ("at=F4&view=forward", "y")])
def test_each_cell_has_the_colour_of_its_number(opened, address, name):
    """Gradients: blue below zero, orange above, on a scale around zero; values from the smallest to the largest."""
    one, recorded = opened["gaps"]
    one.go(f"#{address}")
    array = recorded["grouped"][name].astype(np.float64)
    most = np.abs(array).max()
    low, high = (-most, most) if name == "dx" else (array.min(), array.max())
    cells = one.page.evaluate(
        f"""() => [...document.querySelectorAll('.panel[data-array="{name}"] td[data-at]')]
            .map((cell) => [cell.dataset.at, getComputedStyle(cell).backgroundColor])"""
    )
    assert len(cells) > 20
    for at, shown in cells:
        place = (array[tuple(map(int, at.split(",")))] - low) / (high - low) * (len(COLOURS[name]) - 1)
        expected = [np.interp(place, range(len(COLOURS[name])), part) for part in zip(*COLOURS[name], strict=True)]
        np.testing.assert_allclose([int(part) for part in re.findall(r"\d+", shown)[:3]], expected, atol=1.01)


def test_names_of_branches_can_not_break_out(chromium, tmp_path):
    """Whatever a branch is called, in every place that shows its name."""
    name = '"><img src=x onerror=alert(1)>'
    net = layers.Sequential(layers.Sum(**{name: layers.Identity(), "b": layers.Tanh()}), layers.Conv2d(2, 3, 1, rng=0))
    one = Driven(chromium, write_explorer(make_subject(net, size=SIZE), tmp_path / "page.html"))
    for address in ("at=F1&view=to b", "at=F4&view=forward", "at=B4&view=to b", "at=B1&view=gather"):
        one.go(f"#{address}")
        assert one.page.locator("img").count() == 0
    assert not one.said
    one.context.close()


# ------------------------------------------------------------------ focus


def focused(page):
    """What has the keyboard's focus, in words."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    return page.evaluate(
        """() => {
            const here = document.activeElement;
            return here.dataset.view ?? here.name ?? here.id ?? here.className;
        }"""
    )


def test_drawing_again_leaves_the_focus_where_it_was(opened):
    one, _ = opened["gaps"]
    page = one.page
    one.go("#at=B4&view=gather&x=0,0,1,1")
    page.focus("#views [data-view=scatter]")
    page.keyboard.press("Enter")
    assert "view=scatter" in page.evaluate("() => location.hash")
    assert focused(page) == "scatter"
    page.focus("[data-card=weight] button")
    page.keyboard.press("Enter")
    assert page.evaluate("() => document.activeElement.closest('.card').dataset.card") == "weight"
    page.focus(".box.here")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => document.activeElement.matches('.box.here')")
    page.focus(".terms .list")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.matches('.terms .list')")


def test_the_focus_stays_while_a_nudge_is_typed(opened):
    one, _ = opened["gaps"]
    page = one.page
    one.go("#at=F4&view=forward&tab=nudge")
    page.select_option("[name=what]", "weight")
    page.fill("[name=index]", "1,1,2,2")
    page.press("[name=index]", "Tab")
    assert focused(page) == "step"
    page.fill("[name=step]", "0.01")
    page.keyboard.press("Enter")
    assert focused(page) == "step"
    assert page.input_value("[name=index]") == "1,1,2,2"
    assert page.locator("[data-change]").count() == 1


def test_arrows_in_a_grid_move_in_that_grid(opened):
    one, _ = opened["gaps"]
    page = one.page
    one.go("#at=F4&view=forward&x=0,0,1,1&y=0,0,1,1")
    page.focus(".panel[data-array=x] td[tabindex='0']")
    page.keyboard.press("ArrowRight")
    assert "x=0,0,1,2" in page.evaluate("() => location.hash")
    assert page.evaluate("() => document.activeElement.closest('.panel').dataset.array") == "x"
    assert page.evaluate("() => document.activeElement.dataset.at") == "0,0,1,2"


def test_each_tab_names_its_panel(opened):
    page = opened["gaps"][0].page
    for name in ("layer", "pixel", "nudge"):
        assert page.get_attribute(f"#tab-{name}", "aria-controls") == name
        assert page.get_attribute(f"#{name}", "aria-labelledby") == f"tab-{name}"
    page.click("#tab-pixel")
    assert page.evaluate("() => [...document.querySelectorAll('[role=tab]')].map((tab) => tab.tabIndex)") == [-1, 0, -1]
