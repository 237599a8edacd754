"""Pages of the explorer for tests, and a browser that drives them."""

import contextlib
import json
import re
import shutil
import time

import numpy as np
import pytest

from minisegnet import layers, losses, models, trace
from minisegnet.explorer import Subject, write_explorer

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SIZE = (10, 11)
CLASSES = ("ground", "disc", "square")


def all_kinds(rng):
    """A net with every kind of layer on maps: strides, dilations, padding, groups, overlapping windows, ties."""
    S, C = layers.Sequential, layers.Conv2d
    return S(
        first=C(2, 4, 3, stride=2, padding=1, rng=rng),
        norm=layers.BatchNorm2d(4),
        relu=layers.ReLU(),
        overlapping=layers.MaxPool2d(3, stride=2, padding=1),
        sides=layers.Concat(
            skip=layers.Identity(),
            dilated=S(conv=C(4, 2, 3, padding=2, dilation=2, groups=2, rng=rng), leaky=layers.LeakyReLU(0.1)),
        ),
        residual=layers.Sum(layers.Identity(), S(conv=C(6, 6, (1, 3), padding=(0, 1), rng=rng), tanh=layers.Tanh())),
        switches=layers.PoolUnpool(S(conv=C(6, 6, 1, rng=rng), sigmoid=layers.Sigmoid())),
        up=layers.ConvTranspose2d(6, 4, 3, stride=2, padding=1, groups=2, rng=rng),
        average=layers.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        whole=layers.SameSize(S(mean=layers.AdaptiveAvgPool2d((2, 3)), drop=layers.Dropout(0.4, rng))),
        enlarge=layers.Upsample(size=SIZE, mode="bilinear", align_corners=True),
        nearest=layers.SameSize(
            S(nearest=layers.Upsample(scale_factor=1.5, mode="nearest"), crop=layers.AvgPool2d(2, 2)), mode="nearest"
        ),
        scores=C(4, 3, 1, rng=rng),
    )


def classifier(rng):
    """A net with Linear layers: one answer for the whole picture."""
    return layers.Sequential(
        conv=layers.Conv2d(2, 3, 3, stride=3, rng=rng),
        relu=layers.ReLU(),
        flat=layers.Flatten(),
        hidden=layers.Linear(27, 5, rng=rng),
        tanh=layers.Tanh(),
        scores=layers.Linear(5, 3, rng=rng),
    )


def make_subject(net, size=SIZE, channels=2, is_map=True, training=True, smoothing=0.0):
    """A random picture for a net, with three classes, weights and ignored pixels."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(1, channels, *size)).astype(np.float32)
    target = rng.integers(0, 3, (1, *size)) if is_map else np.array([2])
    if is_map:
        target[0, 0, :3] = 255
    return Subject(
        net=net.train(training),
        x=x,
        target=target,
        loss=losses.CrossEntropyLoss([1.0, 2.0, 0.5], ignore_index=255, label_smoothing=smoothing),
        picture=rng.integers(0, 256, (*size, 3)).astype(np.uint8),
        classes=CLASSES,
        colours=np.array([[0, 0, 0], [200, 100, 0], [0, 100, 200]], np.uint8),
        title="a <test> & more",
        notes=("made by a test",),
    )


def subjects():
    """{name: Subject}; nets are made anew by every call, so that dropout drops the same."""
    return {
        "all kinds": make_subject(all_kinds(np.random.default_rng(0))),
        "inference": make_subject(all_kinds(np.random.default_rng(0)), training=False, smoothing=0.1),
        "classifier": make_subject(classifier(np.random.default_rng(0)), is_map=False),
        "unet": make_subject(models.UNet(2, 3, width=3, depth=2, rng=np.random.default_rng(0)), size=(12, 13)),
    }


def make_page(name, path, **options):
    """Write the page of a subject; returns the trace that it shows."""
    subject = subjects()[name]
    found = trace.record(subject.net, subject.x, subject.loss, subject.target)
    write_explorer(subjects()[name], path, **options)
    return found


@contextlib.contextmanager
def browser():
    """A Chromium of the system; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this system: install the package chromium")
    with sync_api.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


class Driven:
    """A page in the browser: goes to views, reads numbers, notes all that the console says."""

    def __init__(self, chromium, path, address="", **context):
        self.context = chromium.new_context(viewport={"width": 1280, "height": 800}, **context)
        self.page, self.said = self.context.new_page(), []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.said.append(request.url) if "file:" not in request.url else None)
        self.page.goto(path.resolve().as_uri() + address)
        self.until("() => document.body.dataset.ready")

    def until(self, condition, argument=None, seconds=60):
        """Wait until a function in the page gives true. Playwright's own evals, which the page's policy forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition, argument):
            assert time.monotonic() < end, f"{condition} did not come true in {seconds} s: {self.said}"
            self.page.wait_for_timeout(20)

    def go(self, address):
        self.page.evaluate("address => { location.hash = address; }", address)
        self.until(
            "address => new URLSearchParams(location.hash.slice(1)).get('view')"
            "  === new URLSearchParams(address.slice(1)).get('view')",
            address,
        )
        self.page.evaluate("() => new Promise(requestAnimationFrame)")

    def numbers(self, address):
        """What the page's explanation and its drawing say at an address."""
        self.go(address)
        return json.loads(
            self.page.evaluate(
                """() => JSON.stringify({
                    verdict: document.querySelector(".verdict").textContent,
                    formula: document.querySelector("#formula").textContent,
                    ring: document.querySelector(".panel td.ring")?.title ?? null,
                    rows: [...document.querySelectorAll(".row[data-term]")].map((row) =>
                        [...row.children].map((cell) => cell.textContent)),
                    at: location.hash,
                })"""
            )
        )

    def explain(self, stop, of, index):
        """The page's own explanation of one number."""
        return json.loads(
            self.page.evaluate(
                """([number, of, index]) => {
                    globalThis.pass ??= modules["data.js"].readPass(document);
                    const stop = number < 0 ? pass.loss : pass.stops[number];
                    const found = modules["explain.js"].explain(pass, stop, of, index);
                    return JSON.stringify({
                        total: found.total, recorded: found.recorded, agrees: found.agrees,
                        isRecorded: found.isRecorded, products: found.groups.flatMap((group) => group.products),
                        indices: found.groups.flatMap((group) => group.factors.filter((f) => f.indices)
                            .map((f) => [f.array, f.indices])),
                    });
                }""",
                [stop, of, list(index)],
            )
        )


def number(text):
    """The number at the end of a text of the page."""
    return float(re.search(r"(\S+)$", text.replace("−", "-"))[1])
