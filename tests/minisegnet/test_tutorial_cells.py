"""Tutorials as cells: the percent format read, and written as a notebook; how cells look in a terminal."""

import ast
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minisegnet import layers
from minisegnet.tutorial import shelf
from minisegnet.tutorial.cells import Cell, prompted, split
from minisegnet.tutorial.markdown import BOLD, CODE, ITALIC, PLAIN, render
from minisegnet.tutorial.notebook import notebook
from minisegnet.tutorial.variables import Variables, describe

# ------------------------------------------------------------------ splitting

TRAPS = '''\
"""The module's own text."""

# %% [markdown]
# # Title
#
# a % b, %% and # stay
#     indented code
#

#%%
text = """
# %% [markdown]
# this is a string
"""

# a comment
#%%% no marker
    # %% nor this

# %% [markdown]

# %%


# %%
x = 1  # %% nor this
'''


def test_what_looks_like_a_marker_and_is_none():
    cells = split(TRAPS)
    assert [cell.kind for cell in cells] == ["code", "text", "code", "code"]
    assert cells[0].source == '"""The module\'s own text."""'
    assert cells[1].source == "# Title\n\na % b, %% and # stay\n    indented code"
    assert cells[2].source.startswith('text = """\n# %% [markdown]')
    assert cells[2].source.endswith("    # %% nor this")
    assert cells[3] == Cell("code", "x = 1  # %% nor this", 26)


def test_each_cell_knows_its_line():
    lines = TRAPS.splitlines()
    for cell in split(TRAPS):
        first = cell.source.splitlines()[0]
        assert lines[cell.line - 1] in (first, f"# {first}")


@pytest.mark.parametrize("script", ["", "\n\n", "# %%\n", "# %% [markdown]\n#\n#\n"])
def test_nothing_makes_no_cell(script):
    assert split(script) == []


def test_line_ends_and_marks_of_other_systems():
    script = "# %% [markdown]\n# déjà vu\n\n# %%\nx = '→'\n"
    assert split("\ufeff" + script.replace("\n", "\r\n")) == split(script)


text_lines = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zs")), max_size=8)
texts = st.lists(st.lists(text_lines.filter(bool), min_size=1).map(" ".join) | st.just(""), min_size=1)
statements = st.sampled_from(
    ["x = 1", "def f():\n    # %% not here\n\n    return 2", "s = '''\n# %%\n# %% [markdown]\n'''", "# only a comment"]
)
sources = st.one_of(
    st.tuples(st.just("text"), texts.map("\n".join)),
    st.tuples(st.just("code"), st.lists(statements, min_size=1).map("\n\n".join)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(sources))
def test_cells_written_as_a_script_are_read_again(cells):
    script = "".join(
        "# %%\n" + source + "\n\n"
        if kind == "code"
        else "# %% [markdown]\n" + "".join(f"# {line}".rstrip() + "\n" for line in source.split("\n")) + "\n"
        for kind, source in cells
    )
    expected = [(kind, source.strip("\n") if kind == "text" else source) for kind, source in cells]
    assert [(cell.kind, cell.source) for cell in split(script)] == [cell for cell in expected if cell[1]]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("# %% [raw]\n# x\n", r"of\.py, line 1: a cell begins with .* got `# %% \[raw\]`"),
        ("x = 1\n# %% my title\nx\n", r"of\.py, line 2: a cell begins with"),
        ("# %% [markdown]\n# one\nx = 1\n", r"of\.py, line 3: .* begins with `# `, got 'x = 1'; code needs a cell"),
        ("# %% [markdown]\n#one\n", r"of\.py, line 2: .* got '#one'"),
        ("# %%\nx = 1\n\n# %%\nfor i in 3\n", r"of\.py, line 5: the cell is no complete Python: expected ':'"),
        ("# %%\nx = '''\n", r"of\.py, line \d: this is no Python: .*string"),
        ("# %%\nx = (1,\n# %%\n2)\n", r"of\.py, line 2: the cell is no complete Python: '\(' was never closed"),
    ],
)
def test_what_is_wrong_with_a_script_is_said_with_its_line(script, message):
    with pytest.raises(ValueError, match=message):
        split(script, "of.py")


# ------------------------------------------------------------------ notebook


def test_a_notebook_is_valid_and_has_the_same_cells():
    nbformat = pytest.importorskip("nbformat", reason="nbformat checks notebooks; pip install 'minisegnet[test]'")
    cells = split(TRAPS)
    made = nbformat.reads(notebook(cells), as_version=nbformat.NO_CONVERT)
    nbformat.validate(made)
    assert (made.nbformat, made.nbformat_minor) == (4, 5)
    kinds = {"markdown": "text", "code": "code"}
    assert [(kinds[cell.cell_type], cell.source) for cell in made.cells] == [(c.kind, c.source) for c in cells]
    assert len({cell.id for cell in made.cells}) == len(cells)


def test_a_notebook_has_no_outputs_and_is_the_same_each_time():
    cells = split(TRAPS)
    made = json.loads(notebook(cells))
    for cell in made["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    assert notebook(cells) == notebook(split(TRAPS))


# ------------------------------------------------------------------ in a terminal


def test_code_looks_as_at_pythons_prompt_and_can_be_read_back():
    source = "@f\ndef g(x):\n\n    return '''a\nb'''\n\n\n# why\ny = [1,\n     2]"
    shown = prompted(source).splitlines()
    assert [line[:3] for line in shown] == [">>>", "...", "...", "...", "...", "", "", ">>>", ">>>", "..."]
    assert "\n".join(line[4:] for line in shown) == source
    ast.parse("\n".join(line[4:] for line in shown))


LISTED = "1. first thing that is long\n   and goes on\n2. second\n\n* a\n* b"


def test_lists_keep_their_items_and_their_indent():
    assert render(LISTED, width=20).splitlines() == [
        "1. first thing that",
        "   is long and goes",
        "   on",
        "2. second",
        "",
        "* a",
        "* b",
    ]


def test_code_and_tables_are_left_as_they_stand():
    text = "so:\n\n    y[i] = sum   over r\n\n```python\nx  =  1\n\ny\n```\n\n| a | b |\n|---|---|"
    assert render(text, width=10) == "so:\n\n    y[i] = sum   over r\n\n    x  =  1\n\n    y\n\n| a | b |\n|---|---|"


def test_colour_replaces_the_marks():
    assert render("## Head", colour=True) == f"{BOLD}Head{PLAIN}"
    assert render("use `x` **now**", colour=True) == f"use {CODE}x{PLAIN} {BOLD}now{PLAIN}"
    assert render("## The `x` of *all*", colour=True) == f"{BOLD}The x of all{PLAIN}"
    assert render("it *is so*, (*both*) `a*b*c`", colour=True) == (
        f"it {ITALIC}is so{PLAIN}, ({ITALIC}both{PLAIN}) {CODE}a*b*c{PLAIN}"
    )
    for product in ("N*H*W pixels", "2 * x and 3 * y", "(k-1)*d*(s)", "a*b, c*d"):
        assert render(product, colour=True) == product
    assert render("it *is* so") == "it *is* so"
    assert render("## Head\nuse `x` **now**") == "## Head\nuse `x` **now**"
    assert render("see [there](https://example.org)") == "see there (https://example.org)"


@settings(deadline=None)
@given(st.lists(text_lines.filter(bool), min_size=1, max_size=40), st.integers(20, 100))
def test_paragraphs_lose_no_word(words, width):
    shown = render("a " + " ".join(words), width)
    assert shown.split() == ["a", *words]
    assert all(len(line) <= width for line in shown.splitlines())


# ------------------------------------------------------------------ variables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.1"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (1e-9, "1e-09"),
        (True, "True"),
        (None, "None"),
        ("a" * 100, "'" + "a" * 56 + "..."),
        ([], "[]"),
        ((1, 2.5), "(1, 2.5)"),
        (list(range(100)), "list of 100"),
        ([np.zeros(3)], "list of 1"),
        (np.zeros((0, 3)), "float64 (0, 3)"),
        (np.array([True, False]), "bool (2,), 1 0"),
        (np.array(["a"]), "<U1 (1,)"),
        (np.full(9, np.nan), "float64 (9,), all nan"),
        (np.r_[np.full(6, np.nan), 1:7.0], "float64 (12,), 1 to 6, 6 nan"),
        (np.r_[np.arange(8.0), np.inf], "float64 (9,), 0 to inf"),
        (layers.Conv2d(1, 2, 3, rng=0), "Conv2d, 20 parameters"),
        (layers.ReLU(), "ReLU, 0 parameters"),
        (layers.BatchNorm2d(1).weight, "Parameter, float32 (1,), 1"),
        (layers.ReLU().forward(np.zeros(2))[1], "ReLUSaved with y"),
        (np.random.default_rng(0), "Generator"),
        (np, None),
        (len, None),
        (int, None),
        ([len], None),
    ],
)
def test_values_in_a_few_words(value, text):
    assert describe(value) == text


def test_only_what_changed_is_told():
    variables = Variables()
    namespace = {"x": np.arange(10.0), "n": 1, "_hidden": 2, "__name__": "__main__", "f": len}
    assert [line.split(":")[0] for line in variables.changes(namespace)] == ["x", "n"]
    assert variables.changes(namespace) == []
    namespace["x"][3:5] = [4, 3]  # in place, with the same lowest and highest value
    assert variables.changes(namespace) == ["x: float64 (10,), 0 to 9"]
    namespace["x"] = namespace["x"].copy()
    assert variables.changes(namespace) == []
    parameter = namespace["w"] = layers.Conv2d(1, 1, 3, rng=0).weight
    variables.changes(namespace)
    parameter.value += 1
    assert len(variables.changes(namespace)) == 1


def test_many_changes_stay_calm():
    lines = Variables().changes({f"v{k}": k for k in range(12)})
    assert len(lines) == 9
    assert lines[-1] == "and v8, v9, v10, v11"


# ------------------------------------------------------------------ which tutorial


@pytest.fixture
def folder(tmp_path):
    for name, title in [("00_start", "Begin"), ("02_scatter_and_gather", "Ways back"), ("12_scatter_fast", "Be fast")]:
        text = f"# %% [markdown]\n# # {title}\n#\n# One sentence\n# of two lines. Another.\n"
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    (tmp_path / "notes.py").write_text("x = 1\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("2", 2),
        ("02", 2),
        ("0", 0),
        ("12", 12),
        ("scatter_and_gather", 2),
        ("Scatter and Gather", 2),
        ("02_scatter_and_gather", 2),
        ("tutorials/02_scatter_and_gather.py", 2),
        ("gather", 2),
        ("scatter-fast", 12),
        ("ways back", 2),
    ],
)
def test_a_tutorial_is_found_by_what_one_remembers(name, number, folder):
    assert shelf.find(name, folder).number == number


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scatter", "'scatter' may mean 02_scatter_and_gather or 12_scatter_fast; give more of the name"),
        ("3", "there is no tutorial '3'; there are 00_start, 02_scatter_and_gather, 12_scatter_fast"),
        ("nonsense", "there is no tutorial 'nonsense'; there are 00_start"),
        ("", "there is no tutorial ''"),
        ("notes", "there is no tutorial 'notes'"),
    ],
)
def test_a_name_that_means_none_or_several(name, message, folder):
    with pytest.raises(ValueError, match=message):
        shelf.find(name, folder)


def test_title_and_summary(folder):
    tutorial = shelf.find("2", folder)
    assert (tutorial.title, tutorial.topic) == ("Ways back", "scatter_and_gather")
    assert tutorial.summary == "One sentence of two lines."


def test_a_tutorial_without_a_title_is_named(folder):
    (folder / "05_bare.py").write_text("# %%\nx = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"05_bare\.py must begin with a cell of text whose first line is `# # Title`"):
        _ = shelf.find("5", folder).title


def test_without_tutorials(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no tutorials in .*; install minisegnet again"):
        shelf.tutorials(tmp_path)
