"""The reference: every public name is on a page of it, and says what it does with an example that runs."""

import doctest
import importlib.util
import inspect
import pathlib
import pkgutil

import pytest

import minisegnet

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def load(name):
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load("reference")
PAGES = {module: page for page, (_, modules) in reference.REFERENCE.items() for module in modules}
NAMES = sorted({address for module in PAGES for address in reference.public(module)})


def found(address):
    """The class or function at "package.module.name", also where a function is called as its module is."""
    module, _, name = address.rpartition(".")
    return getattr(importlib.import_module(module), name)


# ------------------------------------------------------------------ each name


@pytest.mark.parametrize("address", NAMES)
def test_every_public_name_has_an_example(address):
    text = found(address).__doc__ or ""
    assert len(text.splitlines()) > 1, "one line is not enough: what it does, formula, shapes, errors, an example"
    examples = doctest.DocTestParser().get_examples(text)
    assert any(example.want for example in examples), "the docstring needs an example (>>>) with its result"
    assert not any(example.options.get(doctest.SKIP) for example in examples), "a skipped example shows nothing"


def test_the_names_are_those_that_people_use():
    """What the README and the tutorials import is in; helpers stay out."""
    last = {address.rpartition(".")[2] for address in NAMES}
    assert {"Conv2d", "SGD", "Warmup", "ConfusionMatrix", "gradcheck", "record", "conv2d_forward", "train"} <= last
    assert not {"check_params", "check_sizes", "ratio", "sides", "checksum", "grid", "named_init"} & last
    assert not [name for name in last if name.startswith("_") or name.endswith("Saved")]


def test_no_page_shows_a_name_twice():
    for title, modules in reference.REFERENCE.values():
        shown = [line for line in reference.reference(title, modules).splitlines() if line.startswith(":::")]
        assert len(shown) > len(modules), title
        assert sorted(set(shown)) == sorted(shown), title


# ------------------------------------------------------------------ each module

INTERNAL = {  # not on any page, and why
    "__main__": "python -m minisegnet",
    "_version": "minisegnet.__version__",
    "bench": "minisegnet bench; nothing else imports it",
    "cli": "the command line; its reference is --help",
    "commands": "the command line",
    "demo": "minisegnet demo",
    "exercise": "minisegnet exercise, and the files that it writes",
    "files": "how the other modules write their files",
    "report": "report.html, which every run writes",
    "tutorial": "minisegnet tutorial, and the drawings of the tutorials",
}


def is_shown(module):
    """Whether a module of minisegnet has a chapter on a page, or one of its names stands in another's."""
    return module in PAGES or any(address.rpartition(".")[0] == module for address in NAMES)


def test_every_module_is_on_a_page_or_internal():
    modules = [name for _, name, _ in pkgutil.iter_modules(minisegnet.__path__)]
    assert [name for name in modules if not is_shown(f"minisegnet.{name}") and name not in INTERNAL] == []
    assert [name for name in INTERNAL if is_shown(f"minisegnet.{name}") or name not in modules] == []


@pytest.mark.parametrize("module", PAGES)
def test_modules_that_a_module_offers_are_on_a_page_too(module):
    module = importlib.import_module(module)
    offered = [getattr(module, name) for name in getattr(module, "__all__", ())]
    offered = [value.__name__ for value in offered if inspect.ismodule(value)]
    assert [name for name in offered if name not in PAGES] == []


def test_modules_loaded_later_are_on_a_page_too():
    assert [name for name in minisegnet.LATER if f"minisegnet.{name}" not in PAGES and name not in INTERNAL] == []


@pytest.mark.parametrize("module", PAGES)
def test_a_chapter_begins_with_the_modules_own_words(module):
    assert len((importlib.import_module(module).__doc__ or "").strip()) > 20


# ------------------------------------------------------------------ docstrings as Markdown


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    result = doctest.testmod(load("docstrings"))
    assert result.attempted
    assert not result.failed
