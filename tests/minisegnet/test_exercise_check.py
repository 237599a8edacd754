"""What check says of files that are neither simply right nor wrong: borrowed, broken, unreadable, chatty."""

import numpy as np
import pytest
from exercise_solutions import SOLUTIONS, filled

from minisegnet.exercise.catalogue import EXERCISES
from minisegnet.exercise.checking import PRINTED, check_file
from minisegnet.exercise.diagnosis import Run, what_they_share
from minisegnet.exercise.exercise import Case
from minisegnet.exercise.loading import exercise_of, fingerprint
from minisegnet.exercise.mistakes import same
from minisegnet.exercise.show import result_text
from minisegnet.exercise.trouble import Unchecked


@pytest.fixture
def check(tmp_path):
    def run(text, name="relu.py"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return check_file(path)

    return run


def relu(body):
    return filled("relu", body)


# ------------------------------------------------------------------ borrowed

BORROWED = {
    "minisegnet.layers": "from minisegnet import layers\ny, kept = layers.ReLU().forward(x)\n"
    "return layers.ReLU().backward(dy, kept)",
    "kernels": "from kernels import ops_for\nreturn ops_for(x).relu_backward(dy, x)",
}


@pytest.mark.parametrize("lender", BORROWED)
def test_a_framework_that_does_the_work_is_noticed(lender, check):
    result = check(relu(BORROWED[lender]))
    assert (result.status, result.borrowed, result.passed) == ("borrowed", [lender], False)
    text = " ".join(result_text(result).split())
    assert f"The numbers are right, but {lender} computed them." in text


def test_pytorch_that_does_the_work_is_noticed(check):
    pytest.importorskip("torch")
    body = "import torch\nt = torch.tensor(x, requires_grad=True)\ntorch.relu(t).backward(torch.tensor(dy))\n"
    assert check(relu(body + "return t.grad.numpy()")).borrowed == ["torch"]


def test_a_class_made_from_ours_is_noticed(check):
    text = filled("adam", SOLUTIONS["adam"])
    text = text[: text.index("    def update")] + "\n" + text[text.index("if __name__") :]
    text = text.replace("class Adam(Optimizer)", "from minisegnet import optim\n\nclass Adam(optim.Adam)")
    text = text.replace('super().__init__(params, lr, buffers=("m", "v"))', "super().__init__(params, lr, betas, eps)")
    assert check(text).borrowed == ["minisegnet.optim"]


TAKEN = {
    "imported": "ReLU = C",
    "inherited": "class ReLU(C):\n    pass",
    "borrowed methods": "from minisegnet.core import Layer\n\nclass ReLU(Layer):\n    "
    "forward, backward = C.forward, C.backward",
}


@pytest.mark.parametrize("way", TAKEN)
def test_a_backward_that_was_not_written_in_the_file_is_noticed(way, check):
    result = check('EXERCISE = "relu"\nfrom minisegnet.layers import ReLU as C\n' + TAKEN[way])
    assert (result.status, result.borrowed, result.passed) == ("borrowed", ["minisegnet.layers"], False)


def test_a_backward_from_a_module_of_ones_own_is_to_be_written_in_the_file(check, tmp_path, monkeypatch):
    (tmp_path / "my_relu_for_a_test.py").write_text(
        relu(SOLUTIONS["relu"]).replace("EXERCISE", "OTHER"), encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = check('EXERCISE = "relu"\nfrom my_relu_for_a_test import ReLU')
    assert (result.status, result.borrowed) == ("borrowed", ["my_relu_for_a_test"])


def test_an_optimiser_and_a_function_that_were_not_written_in_the_file_are_noticed(check):
    assert check('EXERCISE = "adam"\nfrom minisegnet.optim import Adam').borrowed == ["minisegnet.optim"]
    text = """EXERCISE = "numeric-gradient"
import functools
from minisegnet.exercise.topics.numeric import central


@functools.wraps(central)
def numeric_gradient(f, x, eps):
    return central(f, x, eps)
"""
    assert check(text).borrowed == ["minisegnet.exercise.topics.numeric"]


def test_a_wrong_answer_that_borrows_is_wrong(check):
    body = "from kernels import ops_for\nreturn -ops_for(x).relu_backward(dy, x)"
    assert check(relu(body)).status == "wrong"


def test_comparing_with_ours_at_the_end_of_the_file_is_no_borrowing(check):
    text = relu(SOLUTIONS["relu"]).replace(
        "if __name__", "from minisegnet import layers\nOURS = layers.ReLU()(np.ones(3))\n\nif __name__"
    )
    assert check(text).status == "right"


# ------------------------------------------------------------------ broken


def test_an_error_is_told_with_its_line_and_the_shapes_in_it(check):
    result = check(filled("conv2d", "dx = np.zeros_like(x)\ndx[0] += dy[0] * w\nreturn dx"), "conv2d.py")
    lines = result.message.splitlines()
    assert lines[0] == "line 67, in backward:"
    assert lines[1] == "    dx[0] += dy[0] * w"
    assert lines[2].startswith("ValueError: operands could not be broadcast together with shapes (")
    assert lines[3] == "where dx is (1, 1, 3, 3), dy is (1, 1, 2, 2), w is (1, 1, 2, 2)"
    assert lines[4].startswith("two arrays don't fit together")
    assert lines[5] == "The case was: one 3x3 picture, kernel 2, no padding."
    assert result.diagnosis[0].id == "raises-ValueError"
    assert "Traceback" not in result_text(result)


def test_an_error_in_one_of_many_shapes_says_in_which(check):
    result = check(relu("if x.ndim == 4:\n    raise KeyError('four')\nreturn dy * (x > 0)"))
    assert "KeyError: 'four'" in result.message
    assert "The case was: x of shape (1, 2, 3, 5)." in result.message


def test_a_small_case_that_was_wrong_before_an_error_is_shown(check):
    result = check(filled("softmax-cross-entropy", "return dvalue * (p - target)"), "softmax_cross_entropy.py")
    assert "The case was: 2 samples, 3 classes" in result.message
    assert result.example["label"] == "two samples, two classes"
    text = result_text(result)
    assert "Before that, another case was wrong. By hand: two samples, two classes" in text
    assert "dscores yours" in text


@pytest.mark.parametrize(
    ("name", "change", "case"),
    [
        ("conv2d", ("d * w[o]", "d"), "2 pictures 1x4x5 to 2 channels, kernel 3, stride 2, padding 1"),
        ("average-pool", (" / k**2", ""), "2 pictures 1x5x6, kernel 3, stride 2"),
        ("max-pool", ("+=", "="), "2 pictures 1x5x6, kernel 3, stride 2"),
    ],
)
def test_finite_differences_take_a_case_that_shows_something(name, change, case, check):
    result = check(filled(name, SOLUTIONS[name].replace(*change)), EXERCISES[name].file_name)
    assert result.table_case == case
    assert all(row["failed"] for row in result.table if row["name"] == "dx")
    assert f"gradcheck, on {case}:" in " ".join(result_text(result).split())


def test_each_gradient_that_is_wrong_is_explained_by_itself(check):
    body = SOLUTIONS["conv2d"].replace("dw[o] +=", "dw[o] =")
    text = " ".join(result_text(check(filled("conv2d", body), "conv2d.py")).split())
    assert "Why dweight: w[0,0] was multiplied by x[0,0] = 1" in text
    assert "Why dx" not in text
    body = SOLUTIONS["linear"].replace("dy.T @ x", "-dy.T @ x").replace("dy @ w", "-dy @ w")
    text = result_text(check(filled("linear", body), "linear.py"))
    assert "Why dweight: w[1,2]" in text
    assert "Why dx: x[0,0]" in text
    assert "Why dbias" not in text


def test_the_reason_why_adam_moves_that_far_has_the_numbers_of_the_case(check):
    text = " ".join(result_text(check(filled("adam", "pass"), "adam.py")).split())
    assert "By hand: lr 0.1, betas 0.9 and 0.99, eps 0.01" in text
    assert "0.1*3/3.01 = 0.0997 for the first number and 0.1*0.03/0.04 = 0.075 for the second" in text


def test_a_batch_that_is_not_summed_up_is_shown_on_two_small_pictures(check):
    body = SOLUTIONS["conv2d"].replace("(d * window).sum(axis=0)", "(d * window)[0]")
    result = check(filled("conv2d", body), "conv2d.py")
    assert result.example["label"] == "two 2x2 pictures, kernel 2, no padding: one window each"
    assert result.example["expected"] == {"dweight": [[[[51, 62], [73, 84]]]]}


def test_a_wrong_shape_is_explained(check):
    text = SOLUTIONS["conv2d"].replace("return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]", "return dxp")
    result = check(filled("conv2d", text), "conv2d.py")
    assert result.diagnosis[0].text == (
        "dx has shape (1, 1, 4, 4), expected (1, 1, 2, 2): the padding is not cropped, dx = dxp[:, :, p:p + H, p:p + W]"
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return self.backward(dy, saved)", "RecursionError"),
        ("import sys\nsys.exit(0)", "SystemExit"),
        ("return dy * None", "something is None"),
        ("return dy @ x.T @ dy[:1]", "does one of them have to be transposed?"),
        ("return dy if x > 0 else 0 * dy", "`if` needs one True or False"),
        ("return dy @ wrong.T", "name 'wrong' is not defined"),
        (
            "del globals()['np']\nreturn np.where(x > 0, dy, 0)",
            "put the line `import numpy as np` at the top of the file",
        ),
        ("return dy[..., 99]", "an index is too large for that axis"),
        ("dx = np.zeros(x.shape, int)\ndx += dy * (x > 0)\nreturn dx", "make it with np.zeros_like(x)"),
    ],
)
def test_errors_are_explained(body, text, check):
    result = check(relu(body))
    assert result.status == "wrong"
    assert text in result.message


def test_an_error_before_anything_is_run(check):
    result = check(relu("return dy") + "\nraise ValueError('at the end')\n")
    assert result.message.splitlines()[1:] == ["    raise ValueError('at the end')", "ValueError: at the end"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (relu("return dy * (x > 0"), "line 36: Python can't read this: '(' was never closed"),
        ("x = '\0'", "is not Python"),
        (relu("return dy").replace("class ReLU", "class Relu"), "has no class ReLU; the exercise needs it"),
        (relu("return dy").replace("(Layer)", "(object)"), "must be a class made from Layer: class ReLU(Layer)"),
        ('EXERCISE = "numeric-gradient"\nnumeric_gradient = 3', "must be a function"),
        ('EXERCISE = "reluu"', "there is no exercise 'reluu'; do you mean"),
    ],
)
def test_what_cannot_be_checked_says_why(text, message, check):
    result = check(text)
    assert result.status == "unchecked"
    assert message in result.message
    assert "It can't be checked" in result_text(result)


def test_which_exercise_a_file_answers():
    assert exercise_of("x = (\nEXERCISE = 'conv2d'  # mine", "a.py") is EXERCISES["conv2d"]
    assert exercise_of("", "some/where/max_pool.py") is EXERCISES["max-pool"]
    with pytest.raises(
        Unchecked, match=r'alice.py does not say which exercise it is; put the line EXERCISE = "conv2d"'
    ):
        exercise_of("", "alice.py")


def test_files_that_are_none(tmp_path):
    assert "there is no file" in check_file(tmp_path / "none.py").message
    assert "is a folder" in check_file(tmp_path).message
    (tmp_path / "latin.py").write_bytes(b"# \xff")
    assert "is not UTF-8 text (byte 2)" in check_file(tmp_path / "latin.py").message


# ------------------------------------------------------------------ other things to notice


def test_what_the_code_prints_is_shown_once(check):
    result = check(relu("print('shape', dy.shape)\nreturn dy * (x > 0)"))
    assert result.printed == "shape (2, 3)\n"
    assert "  | shape (2, 3)" in result_text(result)


def test_endless_prints_are_cut_off(check):
    result = check(relu("for _ in range(1000):\n    print('x' * 99)\nreturn dy * (x > 0)"))
    assert result.passed
    assert len(result.printed) == PRINTED


def test_a_print_before_an_error_is_shown(check):
    assert check(relu("print('here')\nreturn dy[7]")).printed == "here\n"


def test_float64_out_of_float32_is_noted(check):
    result = check(relu("return (dy * (x > 0)).astype(float)"))
    assert result.status == "right"
    assert result.notes[0].startswith("dx becomes float64 where x and dy are float32")
    assert "Note: dx becomes float64" in result_text(result)


def test_a_forward_that_was_changed_is_named(check):
    result = check(relu(SOLUTIONS["relu"]).replace("np.where(x > 0, x, 0)", "np.where(x > 0, x, 1)"))
    assert result.diagnosis[0].id == "forward-changed"


def test_a_forward_that_was_made_faster_is_fine(check):
    assert check(relu(SOLUTIONS["relu"]).replace("np.where(x > 0, x, 0)", "x * (x > 0)")).passed


def test_a_layer_that_remembers_in_self_is_named(check):
    text = filled("linear", SOLUTIONS["linear"]).replace("dy.T @ x", "dy.T @ self.x")
    result = check(text.replace("y = x @ w.T + b", "y, self.x = x @ w.T + b, x"), "linear.py")
    assert "remembers-in-self" in [entry.id for entry in result.diagnosis]


def test_add_grad_is_fine_too(check):
    text = SOLUTIONS["linear"].replace("self.weight.grad += dy.T @ x", "self.weight.add_grad(dy.T @ x)")
    assert check(filled("linear", text), "linear.py").passed


def test_what_fails_only_with_a_stride_is_said(check):
    text = SOLUTIONS["conv2d"].replace(
        "dxp[:, :, i * s : i * s + kH, j * s : j * s + kW]", "dxp[:, :, i : i + kH, j : j + kW]"
    )
    result = check(filled("conv2d", text), "conv2d.py")
    assert result.shared == "it is wrong where stride is 2 or 3, and right where it is 1"
    assert result.diagnosis[0].id == "stride-ignored"


def test_what_has_nothing_in_common_is_not_said():
    def run(ok, **arguments):
        case = Case("", {"x": np.ones((2, 2))}, arguments)
        return Run(None, case, {"dx": np.ones(2)}, {"dx": np.ones(2) * (1 if ok else 2)})

    assert what_they_share([run(True, stride=1), run(False, stride=2), run(True, stride=3)]) == ""
    assert what_they_share([run(False, stride=1), run(True, stride=2)]) == ""
    assert what_they_share([run(False, stride=2)]) == ""


def test_a_mistake_nobody_knows_gets_help_all_the_same(check):
    result = check(relu("return dy * (x > 0) * np.cos(x)"))
    assert result.diagnosis == []
    assert "fits none of the mistakes that are known" in " ".join(result_text(result).split())


def test_same_is_not_fooled():
    assert same([1.0, np.nan], [1.0, np.nan])
    assert not same([1.0, np.nan], [1.0, 2.0])
    assert not same([1.0], [1.0, 1.0])
    assert not same([1.0, 1e-3], [1.0, 2e-3])


def test_the_fingerprint_is_that_of_what_is_done():
    text = relu(SOLUTIONS["relu"])
    assert fingerprint(text) == fingerprint(text.replace('"""Exercise', '"""My exercise') + "\n# mine\n")
    assert fingerprint(text) != fingerprint(relu("return dy"))
    assert fingerprint("a = (") != fingerprint("a = [")
