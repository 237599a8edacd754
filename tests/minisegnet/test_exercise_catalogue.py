"""The exercises themselves: numbers worked out by hand, hints, files, sources."""

import ast
import re

import numpy as np
import pytest

import minisegnet
from minisegnet.core import Layer
from minisegnet.exercise.catalogue import EXERCISES, ORDER, find
from minisegnet.exercise.exercise import HERE
from minisegnet.exercise.kinds import OfLayer

ROOT = HERE.parents[1]
NAMES = [exercise.name for exercise in ORDER]
TUTORIALS = {
    "02_convolution_backward",
    "03_pooling",
    "04_relu_softmax_cross_entropy",
    "05_fully_connected",
    "06_gradient_checking",
    "07_optimisers",
    "08_segmentation_losses",
    "09_upsampling",
    "10_from_fcn_to_deeplab",
    "11_deep_nets_learn",
}


@pytest.fixture(params=NAMES)
def exercise(request):
    return EXERCISES[request.param]


def test_the_framework_agrees_with_what_was_worked_out_by_hand(exercise):
    for case in exercise.hand:
        got = exercise.kind.run(exercise.ours(case), case)
        for name, value in case.expected.items():
            assert np.shape(value) == got[name].shape, (case.label, name)
            np.testing.assert_allclose(got[name], np.array(value, float), rtol=1e-6, atol=1e-9, err_msg=name)


def test_small_cases_are_small_and_explained(exercise):
    assert exercise.hand
    for case in exercise.hand:
        explained = {name for name in case.expected if name in exercise.hints or name.startswith("d")}
        assert explained <= set(case.because) <= set(case.expected), case.label
        assert all(np.size(value) <= 12 for value in case.inputs.values() if not callable(value))


def test_there_are_cases_of_many_shapes(exercise):
    cases = exercise.cases(np.random.default_rng(0))
    assert len({case.label for case in cases}) == len(cases) >= 3
    again = exercise.cases(np.random.default_rng(0))
    first = next(name for name, value in cases[0].inputs.items() if isinstance(value, np.ndarray))
    assert np.array_equal(cases[0].inputs[first], again[0].inputs[first], equal_nan=True)
    results = exercise.right(cases[0])
    assert set(exercise.hints) <= set(results), "hints for a result that there isn't"
    if exercise.kind is OfLayer and not exercise.is_bug:
        gradients = {name for name in results if name.startswith("d")}
        assert set(exercise.hints) in (gradients, {"dx"})


def test_hints_come_in_three_steps(exercise):
    for hints in exercise.hints.values():
        assert len(hints) == 3
        assert all(hint.strip() for hint in hints)


def test_it_says_where_to_go_from_here(exercise):
    assert exercise.tutorial in TUTORIALS
    assert (ROOT / exercise.source).is_file()
    assert exercise.stars in (1, 2, 3)
    assert exercise.is_bug or (exercise.first and exercise.done)
    for path in re.findall(r"(?:minisegnet|kernels)/[\w/]+\.py", exercise.done):
        assert (ROOT / path).is_file(), path
    for name in re.findall(r"bug-[\w-]+", exercise.done):
        assert name in EXERCISES


def test_mistakes_have_names_of_their_own(exercise):
    keys = [(mistake.id, mistake.of) for mistake in exercise.mistakes]
    assert len(keys) == len(set(keys))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name, _ in keys)


def test_the_stories_name_their_sources():
    stories = [exercise.story for exercise in ORDER if exercise.is_bug]
    assert len(stories) >= 8
    for story in stories:
        assert story.sources
        for source in story.sources:
            assert re.match(r"[\w.-]+/[\w.-]+ (issue|PR) #\d+$|[\w.-]+/[\w.-]+, \S+ \(commit \w{7}\)$", source), source


# ------------------------------------------------------------------ files


def imported(text):
    tree = ast.parse(text)
    outside = [node for node in tree.body if not isinstance(node, ast.If)]
    found = set()
    for node in (n for top in outside for n in ast.walk(top)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


ALLOWED = {"typing.NamedTuple", "numpy", "minisegnet.core.Layer", "minisegnet.core.Parameter", "minisegnet.core.as_rng"}
ALLOWED |= {"minisegnet.losses.Loss", "minisegnet.optim.Optimizer"}


def test_the_file_takes_nothing_ready_made_from_the_framework(exercise):
    text = exercise.template.read_text(encoding="utf-8")
    assert imported(text) <= ALLOWED
    assert f'EXERCISE = "{exercise.name}"\n' in text
    assert f"minisegnet exercise check {exercise.file_name}" in text
    assert max(map(len, text.splitlines())) <= 120
    assert ("raise NotImplementedError(" in text) is not exercise.is_bug


def test_a_template_has_forward_and_no_backward(exercise):
    if exercise.is_bug:
        return
    tree = ast.parse(exercise.template.read_text(encoding="utf-8"))
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    to_write = next(f for n, f in functions.items() if n in ("backward", "update", "numeric_gradient"))
    assert isinstance(to_write.body[-1], ast.Raise)
    assert not any(isinstance(node, (ast.BinOp, ast.AugAssign, ast.Return, ast.For)) for node in ast.walk(to_write))
    assert "forward" in functions or to_write.name != "backward"


def test_every_file_belongs_to_an_exercise():
    files = {path for folder in ("templates", "gallery") for path in (HERE / folder).glob("*.py")}
    assert files == {e.template for e in ORDER} | {HERE / "templates/__init__.py", HERE / "gallery/__init__.py"}


def test_find_knows_near_names():
    assert find("conv2d") is EXERCISES["conv2d"]
    with pytest.raises(ValueError, match=r"there is no exercise 'maxpool'; do you mean .*max-pool"):
        find("maxpool")
    with pytest.raises(ValueError, match=r"there is no exercise 'xyzzy'; `minisegnet exercise list` shows all"):
        find("xyzzy")


def test_a_learners_layer_is_a_layer_of_the_framework(tmp_path):
    """It works in a net, in float32, beside ours."""
    from exercise_solutions import SOLUTIONS, filled

    from minisegnet.exercise.loading import load

    module = load(filled("conv2d", SOLUTIONS["conv2d"]), tmp_path / "conv2d.py", EXERCISES["conv2d"])
    mine = module.Conv2d(3, 4, 3, padding=1, rng=0)
    assert isinstance(mine, Layer)
    net = minisegnet.Sequential(mine, minisegnet.layers.ReLU(), minisegnet.layers.MaxPool2d(2))
    y, saved = net.forward(np.ones((2, 3, 6, 6), np.float32))
    dx = net.backward(np.ones_like(y), saved)
    assert y.dtype == dx.dtype == mine.weight.grad.dtype == np.float32
    assert mine.weight.grad.any()
