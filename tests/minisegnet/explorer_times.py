"""How long a page of the explorer takes to open, to answer a click and to nudge.

    python tests/minisegnet/explorer_times.py explorer.html ...

Not a test: times depend on the machine. The page should open within 2 seconds and answer a click within 0.1.
"""

import statistics
import sys
import time
from pathlib import Path

from explorer_pages import Driven, browser

CLICK = """async (act) => {
    const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const acts = {
        cell: () => { const cells = document.querySelectorAll(".panel.of-input td[data-at], .panel td[data-at]");
            cells[Math.floor(Math.random() * cells.length)].click(); },
        step: () => document.querySelector("[data-go='1']").click(),
        term: () => document.querySelector(".step").click(),
    };
    await drawn();
    const start = performance.now();
    acts[act]();
    await drawn();
    return performance.now() - start;
}"""


def times(chromium, path):
    """{what: milliseconds} for one page."""
    start = time.perf_counter()
    one = Driven(chromium, path)
    found = {"open, with a new window": [1000 * (time.perf_counter() - start)]}
    one.page.wait_for_load_state()
    found["open"] = [one.page.evaluate("() => performance.getEntriesByType('navigation')[0].loadEventEnd")]
    one.page.wait_for_timeout(1500)  # the thumbnails of the diagram are drawn in the pauses of everything else
    count = int(one.page.get_attribute("#slider", "max"))
    found["step"] = [one.page.evaluate(CLICK, "step") for _ in range(count)]
    for at in ("F1", "B1", "B2"):
        one.page.evaluate("at => { location.hash = `#at=${at}&view=`; }", at)
        one.page.wait_for_timeout(100)
        found[f"click at {at}"] = [one.page.evaluate(CLICK, "cell") for _ in range(15)]
        found[f"term at {at}"] = [one.page.evaluate(CLICK, "term") for _ in range(5)]
    found["nudge of the first layer"] = [
        one.page.evaluate(
            """() => {
                const pass = modules["data.js"].readPass(document);
                const stop = pass.stops[0];
                const nudger = new (modules["nudge.js"].Nudger)(pass);
                nudger.start();
                return nudger.nudge(stop, stop.params[0], stop.shapes[stop.params[0]].map(() => 0), 0.01).ms;
            }"""
        )
    ]
    one.context.close()
    return found


if __name__ == "__main__":
    with browser() as chromium:
        for name in sys.argv[1:]:
            print(f"{name}   {Path(name).stat().st_size / 1e6:.1f} MB")
            for what, found in times(chromium, Path(name)).items():
                print(f"   {what:<26}median {statistics.median(found):6.0f} ms   longest {max(found):6.0f} ms")
