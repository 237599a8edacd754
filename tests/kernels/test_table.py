"""The op table, and the choice of a backend."""

import inspect
import types
from types import SimpleNamespace

import children
import numpy as np
import pytest

import kernels
from kernels import OPS, OpTable, reference
from kernels.table import HOUSEKEEPING


@pytest.mark.parametrize("op", OPS)
def test_every_backend_has_every_op_with_the_tables_parameters(ops, op):
    expected = inspect.signature(OPS[op]).parameters
    actual = inspect.signature(getattr(ops, op)).parameters
    assert list(actual) == list(expected)
    assert all(p.default is p.empty for p in actual.values()), "no op has defaults: the layers decide"


def test_every_op_of_the_table_is_documented():
    assert len(OPS) > 40
    assert [name for name, op in OPS.items() if not inspect.getdoc(op)] == []


def test_the_reference_exports_no_op_that_the_table_lacks():
    functions = {name for name, value in vars(reference).items() if inspect.isfunction(value)}
    assert functions == set(OPS) | set(HOUSEKEEPING)


def test_a_table_takes_each_op_from_the_first_module_that_has_it():
    def relu_forward(x):
        return "fast"

    table = OpTable("fast", SimpleNamespace(relu_forward=relu_forward), reference)
    assert table.relu_forward is relu_forward
    assert table.relu_backward is reference.relu_backward
    assert OpTable("slow", reference, SimpleNamespace(relu_forward=relu_forward)).relu_forward is reference.relu_forward
    assert repr(table) == "OpTable('fast')"


def test_a_table_knows_no_other_names(ops):
    with pytest.raises(AttributeError, match="conv3d_forward"):
        ops.conv3d_forward  # noqa: B018  # the lookup itself is what is tested
    with pytest.raises(AttributeError, match="conv3d_forward"):
        ops.conv3d_forward = reference.conv2d_forward


def test_available_begins_with_the_default():
    assert kernels.available() == ("cpu", "reference")
    out, _ = children.run("import kernels, numpy\nprint(kernels.ops_for(numpy.zeros(1)).name)")
    assert out == kernels.available()[0]


def test_ops_for_gives_the_backend_in_use(ops):
    assert kernels.ops_for(np.zeros(2, np.float32)) is ops
    assert kernels.ops_for(np.zeros((2, 3))[:, ::2]) is ops


def test_use_nests_and_gives_back_what_was_there_before():
    default = kernels.ops_for(np.zeros(1)).name
    with kernels.use("reference") as outer:
        assert outer.name == kernels.ops_for(np.zeros(1)).name == "reference"
        for name in kernels.available():
            with kernels.use(name) as inner:
                assert inner.name == kernels.ops_for(np.zeros(1)).name == name
            assert kernels.ops_for(np.zeros(1)) is outer
    assert kernels.ops_for(np.zeros(1)).name == default


def fail_inside(name):
    with kernels.use(name):
        raise RuntimeError("inside")


def test_use_gives_back_after_an_exception():
    default = kernels.ops_for(np.zeros(1)).name
    for name in kernels.available():
        with pytest.raises(RuntimeError, match=r"^inside$"):
            fail_inside(name)
        assert kernels.ops_for(np.zeros(1)).name == default


def test_an_unknown_backend_is_named_with_those_that_exist():
    known = ", ".join(kernels.available())
    with pytest.raises(ValueError, match=rf"^unknown backend 'tpu'; available here: {known}$"), kernels.use("tpu"):
        pytest.fail("entered")
    with pytest.raises(ValueError, match=r"^unknown backend None"), kernels.use(None):
        pytest.fail("entered")


@pytest.mark.parametrize("foreign", [[1.0], (1.0,), 1.0, None, "x", np.float64(1), memoryview(b"x")], ids=type)
def test_other_types_are_refused_with_the_way_out(foreign):
    name = type(foreign).__name__
    with pytest.raises(TypeError, match=rf"^expected a NumPy array, got {name}; convert it: np\.asarray\(x, dtype="):
        kernels.ops_for(foreign)


def test_a_torch_tensor_is_refused(torch):
    with pytest.raises(TypeError, match=r"^expected a NumPy array, got Tensor"):
        kernels.ops_for(torch.zeros(2))


def test_an_op_that_no_module_has_is_named():
    with pytest.raises(ValueError, match=r"^no module of the backend 'half' has the op conv2d_forward$"):
        OpTable("half", types.SimpleNamespace())
