"""The fully connected layer, and adding and joining maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from op_cases import close, drawn, torch_gradients

from kernels import ShapeError

# ------------------------------------------------------------------ linear


def test_linear_by_hand(ops):
    x, w, b = np.array([[1.0, 2]]), np.array([[1.0, 10], [3, 4], [0, 1]]), np.array([100.0, 200, 300])
    np.testing.assert_array_equal(ops.linear_forward(x, w, b), [[121, 211, 302]])
    dy = np.array([[1.0, 0.5, -2]])
    np.testing.assert_array_equal(ops.linear_backward_input(dy, w), [[2.5, 10]])
    np.testing.assert_array_equal(ops.linear_backward_weight(dy, x), [[1, 2], [0.5, 1], [-2, -4]])
    np.testing.assert_array_equal(ops.linear_backward_bias(dy), dy[0])


@drawn(100)
@given(
    seed=st.integers(0, 2**32 - 1),
    leading=st.lists(st.sampled_from([1, 2, 3, 4, 0]), max_size=3),
    sizes=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    bias=st.booleans(),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_linear_agrees_with_pytorch(ops, torch, seed, leading, sizes, bias, dtype):
    (ins, outs), rng = sizes, np.random.default_rng(seed)
    x, w, b, dy = (
        rng.normal(size=shape).astype(dtype) for shape in ((*leading, ins), (outs, ins), (outs,), (*leading, outs))
    )
    y, gradients = torch_gradients(torch, torch.nn.functional.linear, [x, w, b] if bias else [x, w], dy)
    close(ops.linear_forward(x, w, b if bias else None), y)
    close(ops.linear_backward_input(dy, w), gradients[0])
    close(ops.linear_backward_weight(dy, x), gradients[1])
    if bias:
        close(ops.linear_backward_bias(dy), gradients[2])


def test_linear_names_what_does_not_fit(ops):
    x, w, b = np.ones((4, 5)), np.ones((3, 5)), np.ones(3)
    with pytest.raises(
        ShapeError, match=r"^x has shape \(4, 4\), expected \(\.\.\., 5\) \(the weight has shape \(3, 5\)"
    ):
        ops.linear_forward(x[:, :4], w, b)
    with pytest.raises(ShapeError, match=r"^x has shape \(\), expected \(\.\.\., 5\)"):
        ops.linear_forward(np.array(1.0), w, b)
    with pytest.raises(ShapeError, match=r"^b has shape \(2,\), expected \(3,\)$"):
        ops.linear_forward(x, w, b[:2])
    for op, first in ((ops.linear_forward, x), (ops.linear_backward_input, np.ones((4, 3)))):
        with pytest.raises(ShapeError, match=r"^w has shape \(5,\), expected \(O, I\)$"):
            op(first, w[0], *([b] if op is ops.linear_forward else []))
    with pytest.raises(ShapeError, match=r"^dy has shape \(4, 5\), expected \(4, 3\)$"):
        ops.linear_backward_input(x, w)
    with pytest.raises(ShapeError, match=r"^dy has shape \(3, 2\), expected \(4, 2\)$"):
        ops.linear_backward_weight(np.ones((3, 2)), x)


# ------------------------------------------------------------------ add, concat


def test_add_by_hand(ops):
    a, b, c = np.array([[1.0, 2]]), np.array([[10.0, 20]]), np.array([[100.0, 200]])
    np.testing.assert_array_equal(ops.add_forward([a, b, c]), [[111, 222]])
    np.testing.assert_array_equal(ops.add_forward([a, a]), [[2, 4]])
    np.testing.assert_array_equal(ops.add_forward([a]), a)


def test_add_refuses_to_broadcast(ops):
    with pytest.raises(ShapeError, match=r"^branch 1 has shape \(1, 3\), expected \(2, 3\)$"):
        ops.add_forward([np.ones((2, 3)), np.ones((1, 3))])


@drawn(50)
@given(
    channels=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    rest=st.lists(st.integers(1, 3), max_size=2),
    N=st.integers(0, 2),
    seed=st.integers(0, 2**32 - 1),
)
def test_concat_joins_channels_and_its_backward_splits_them_again(ops, channels, rest, N, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(N, c, *rest)) for c in channels]
    y = ops.concat_forward(arrays)
    assert y.shape == (N, sum(channels), *rest)
    start = 0
    for a in arrays:
        np.testing.assert_array_equal(y[:, start : start + a.shape[1]], a)
        start += a.shape[1]
    parts = ops.concat_backward(y, channels)
    assert len(parts) == len(arrays)
    for part, a in zip(parts, arrays, strict=True):
        np.testing.assert_array_equal(part, a)


def test_concat_names_the_branch_that_does_not_fit(ops):
    with pytest.raises(
        ShapeError, match=r"^branch 1 has shape \(2, 1, 5\), expected \(2, 'any', 4\), as branch 0 has$"
    ):
        ops.concat_forward([np.ones((2, 3, 4)), np.ones((2, 1, 5))])
    with pytest.raises(
        ShapeError, match=r"^branch 1 has shape \(1, 3, 4\), expected \(2, 'any', 4\), as branch 0 has$"
    ):
        ops.concat_forward([np.ones((2, 3, 4)), np.ones((1, 3, 4))])
    with pytest.raises(ShapeError, match=r"^dy has shape \(2, 5, 4\): 5 channels, expected 4$"):
        ops.concat_backward(np.ones((2, 5, 4)), [3, 1])
