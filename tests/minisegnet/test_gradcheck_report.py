"""The report of a gradient check: what it says, and that it is pleasant to read."""

import math

import buggy_functions as bf
import buggy_layers as bl
import buggy_wholes as bw
import numpy as np
import pytest

from minisegnet import layers, losses
from minisegnet.combine import Sequential
from minisegnet.gradcheck import Contract, GradcheckReport, TensorRow, gradcheck
from minisegnet.gradcheck.report import WIDTH, abridged, wrap


def normal(*shape):
    return np.random.default_rng(1).normal(size=shape)


def row(name="x", **changes):
    found = TensorRow(name, (2, 3), 1e-5, 1e-3)
    for key, value in changes.items():
        setattr(found, key, value)
    return found


def report(rows=(), contracts=(), label="Layer()", **lists):
    return GradcheckReport(label, list(rows), list(contracts), 1e-6, 1e-5, 1e-3, **lists)


def compared(*triples):
    found = row()
    for index, analytic, numeric in triples:
        found.compare(index, analytic, numeric)
    return found


# ------------------------------------------------------------------ rows


class TestTensorRow:
    def test_errors_of_the_worst_entry(self):
        found = compared(((0, 0), 1.0, 1.0), ((0, 1), 2.0, 4.0), ((0, 2), 100.0, 101.0))
        assert (found.checked, found.failed, found.ok) == (3, 2, False)
        assert (found.max_abs, found.max_rel) == (2.0, 0.5)
        assert (found.worst, found.analytic, found.numeric) == ((0, 1), 2.0, 4.0)

    def test_max_abs_and_max_rel_may_be_at_different_entries(self):
        found = compared(((0, 0), 100.0, 103.0), ((0, 1), 1.0, 2.0))
        assert (found.max_abs, found.max_rel, found.worst) == (3.0, 0.5, (0, 1))

    def test_noise_on_a_gradient_of_0_is_no_large_relative_error(self):
        found = compared(((0, 0), 0.0, 1e-9))
        assert found.ok
        assert found.max_rel == pytest.approx(1e-7)  # 1e-9 / (atol/rtol)

    @pytest.mark.parametrize(("analytic", "ok"), [(1.00099, True), (1.00102, False), (0.999, True), (0.9989, False)])
    def test_the_tolerance(self, analytic, ok):
        assert compared(((0, 0), analytic, 1.0)).ok == ok  # atol + rtol = 0.00101

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("bad", [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (math.inf, math.inf)])
    def test_nan_and_infinity_fail_and_are_the_worst(self, order, bad):
        entries = [((0, 0), 1.0, 2.0), ((0, 1), *bad), ((0, 2), 3.0, 3.0)]
        found = compared(*entries[::order])
        assert found.failed == 2
        assert found.worst == (0, 1)
        assert found.max_abs == found.max_rel == math.inf

    def test_the_first_of_several_right_entries_stands_for_all(self):
        found = compared(((0, 0), 0.0, 0.0), ((0, 1), 0.0, 0.0))
        assert (found.worst, found.max_abs, found.max_rel, found.ok) == ((0, 0), 0.0, 0.0, True)

    def test_a_problem_fails_whatever_was_compared(self):
        assert not row(problem="it is None").ok


# ------------------------------------------------------------------ truth


def test_truth():
    kept, broken = Contract("a", True, ""), Contract("b", False, "why")
    right, wrong, empty = compared(((0, 0), 1.0, 1.0)), compared(((0, 0), 1.0, 2.0)), row()
    kinks = row(not_differentiable=[(0, 0)])
    assert report([right], [kept])
    assert report([empty])  # an empty batch
    assert report([right, kinks])
    assert not report([right, wrong])
    assert not report([right], [kept, broken])
    assert not report([kinks])
    assert [report([r], [c]).wrong for r, c in ((right, kept), (wrong, kept), (right, broken), (kinks, kept))] == [
        False,
        True,
        True,
        False,
    ]


def test_rows_by_name():
    found = gradcheck(layers.Linear(3, 2, rng=0), normal(4, 3))
    assert found.row("bias") is found.rows[2]
    with pytest.raises(KeyError, match="no tensor 'b'; there are x, weight, bias"):
        found.row("b")


# ------------------------------------------------------------------ text


def columns(line):
    return line.split()


def found_words(lines):
    return " ".join(lines).split()


def test_the_table_of_a_right_layer():
    found = gradcheck(layers.Conv2d(2, 3, 3, padding=1, rng=0), normal(1, 2, 4, 5))
    lines = str(found).splitlines()
    assert lines[0] == "gradcheck of Conv2d(2, 3, kernel_size=3, padding=1): ok"
    assert lines[1].split("  ")[-1].strip() == "numeric"
    assert " ".join(columns(lines[1])) == ("tensor shape checked kinks max abs max rel worst at analytic numeric")
    assert columns(lines[2])[:5] == ["ok", "x", "1x2x4x5", "40", "0"]
    assert columns(lines[3])[:5] == ["ok", "weight", "3x2x3x3", "54", "0"]
    assert columns(lines[4])[:5] == ["ok", "bias", "3", "3", "0"]
    for line, r in zip(lines[2:5], found.rows, strict=True):
        assert columns(line)[5:] == [
            f"{r.max_abs:.1e}",
            f"{r.max_rel:.1e}",
            "[" + ",".join(map(str, r.worst)) + "]",
            f"{r.analytic:+.4e}",
            f"{r.numeric:+.4e}",
        ]
    assert len({len(line) for line in lines[1:5]}) == 1  # aligned
    assert (
        "ok    y finite, dtype kept; forward modifies nothing; forward repeats; backward modifies nothing" in lines[5]
    )
    assert " ".join(found_words(lines[5:])).endswith("gradients accumulate; linear, and backward is its adjoint")
    assert repr(found) == str(found)


def test_a_wrong_row_is_marked_and_explained_below():
    lines = str(gradcheck(bl.SignWrong(2, 3, 3), normal(1, 2, 4, 4))).splitlines()
    assert lines[0] == "gradcheck of SignWrong(): FAILED"
    assert [columns(line)[:2] for line in lines[2:5]] == [["ok", "x"], ["FAIL", "weight"], ["ok", "bias"]]
    assert lines[-1] == "  -> the gradient of weight: it has the wrong sign"


def test_a_parameter_that_is_one_number():
    class Offset(layers.Identity):
        def __init__(self):
            self.b = bw.Parameter(np.zeros(()))

        def forward(self, x):
            return x + self.b.value, super().forward(x)[1]

        def backward(self, dy, saved):
            self.b.grad = self.b.grad + dy.sum()
            return dy

    found = gradcheck(Offset(), normal(3))
    assert found, found
    assert found.row("b").worst == ()
    assert "b       ()           1" in str(found)


def test_what_was_not_compared_is_listed_up_to_five():
    x = normal(3, 3)
    x[0] = 0
    text = str(gradcheck(layers.ReLU(), x))
    assert "  not differentiable here (a kink or a tie), not compared: x[0,0], x[0,1], x[0,2]" in text.splitlines()
    x[1] = 0
    assert "x[0,2], x[1,0], x[1,1] and 1 more" in str(gradcheck(layers.ReLU(), x))
    assert columns(str(gradcheck(layers.ReLU(), x)).splitlines()[2])[3:5] == ["3", "6"]


def test_directions_among_what_was_not_compared():
    x = normal(6, 6)
    x[0, 0] = 0
    text = str(gradcheck(layers.ReLU(), x, dense=0, samples=2))
    assert "not compared: x direction 0, x direction 1" in text


def test_a_table_without_comparisons_has_dashes():
    text = str(gradcheck(layers.ReLU(), np.zeros((1, 2))))
    assert text.splitlines()[0].endswith("FAILED")
    assert columns(text.splitlines()[2]) == ["ok", "x", "1x2", "0", "2", *["-"] * 5]


def test_a_report_without_rows_has_no_table():
    lines = str(gradcheck(bw.Random(), normal(3))).splitlines()
    assert lines[0] == "gradcheck of Random(): FAILED"
    assert "tensor" not in lines[1]
    assert any(line.startswith("  FAIL  forward repeats: the same x gave two different y") for line in lines)


def test_a_broken_promise_is_told_once():
    text = " ".join(str(gradcheck(bw.ChangesDy(), normal(3))).split())
    assert text.count("backward modified dy in place") == 1
    assert "FAIL backward modifies nothing: backward modified dy in place" in text


def test_a_nets_report_contains_that_of_the_guilty_layer():
    net = Sequential(layers.Tanh(), block=Sequential(bf.Elementwise(*bf.ELEMENTWISE["sign"])))
    lines = str(gradcheck(net, normal(2, 3))).splitlines()
    start = lines.index("  the layer block.0 fails by itself:")
    assert lines[start + 1] == "    gradcheck of Elementwise(): FAILED"
    assert lines[-1] == "      -> the gradient of x: it has the wrong sign"
    assert all(line.startswith("    ") for line in lines[start + 1 :])


def wide_net(head):
    stage = Sequential(convolution=layers.Conv2d(3, 120, 3, padding=1, rng=0), normalisation=layers.BatchNorm2d(120))
    refine = Sequential(upsampling=layers.ConvTranspose2d(120, 2, 2, stride=2, rng=1), head_of_the_decoder=head)
    return Sequential(encoder=Sequential(stage_number_1=stage), decoder=Sequential(refinement=refine))


@pytest.mark.parametrize("head", [layers.Tanh(), bf.Elementwise(*bf.ELEMENTWISE["no idea"])])
def test_wide_nets_fit_into_120_columns(head):
    found = gradcheck(wide_net(head), normal(1, 3, 5, 5), dense=10, samples=3)
    lines = str(found).splitlines()
    assert bool(found) == isinstance(head, layers.Tanh)
    assert max(map(len, lines)) <= WIDTH
    names = [columns(line)[1] for line in lines[2:7]]
    assert names[0] == "x"
    assert all(name.startswith("encoder") for name in names[1:])
    assert all(name.endswith("weight") or name.endswith("bias") for name in names[1:])
    assert len({len(line) for line in lines[1 : 2 + len(found.rows)]}) == 1


def test_long_labels_are_cut():
    loss = losses.CrossEntropyLoss(weight=[0.123456] * 30)
    first = str(gradcheck(loss, normal(2, 30), target=np.array([3, 4]))).splitlines()[0]
    assert len(first) <= WIDTH
    assert first.startswith("gradcheck of CrossEntropyLoss(weight=[0.123456,")
    assert first.endswith(" ...: ok")


def test_every_line_of_a_long_diagnosis_fits():
    text = str(gradcheck(bl.StrideIgnored(3, 4, 3, 2, 1), normal(2, 3, 7, 8)))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "so dy must be spread out with stride - 1 zeros" in " ".join(text.split())
    continued = [line for line in text.splitlines() if line.startswith("     ") and not line.startswith("      ")]
    assert len(continued) >= 2  # the diagnosis goes on below its beginning


def test_wrap():
    lines = wrap("  -> ", "word " * 60)
    assert lines[0].startswith("  -> word word")
    assert lines[1].startswith("     word word")
    assert max(map(len, lines)) <= WIDTH


@pytest.mark.parametrize(("width", "text"), [(14, "encoder.weight"), (13, "enco...weight"), (12, "enco...eight")])
def test_abridged(width, text):
    assert abridged("encoder.weight", width) == text
