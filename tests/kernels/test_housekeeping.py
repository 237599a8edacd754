"""What layers, losses and optimisers do with whole arrays, on every backend."""

import numpy as np
import pytest

from kernels import ShapeError

both = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)


def there(ops, array):
    return ops.from_host(np.ascontiguousarray(array))


@both
def test_arrays_go_there_and_back(ops, dtype):
    x = np.arange(12, dtype=dtype).reshape(3, 4)
    sent = there(ops, x)
    back = ops.to_host(sent)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, x)
    back[:] = 0
    np.testing.assert_array_equal(ops.to_host(sent), x)  # copies both ways
    assert ops.to_host(there(ops, x[:0])).shape == (0, 4)


@both
def test_zeros_like(ops, dtype):
    zeros = ops.to_host(ops.zeros_like(there(ops, np.ones((2, 3), dtype))))
    assert zeros.shape == (2, 3)
    assert zeros.dtype == dtype
    assert not zeros.any()


@both
def test_arrays_are_changed_in_place(ops, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3, 5)).astype(dtype)
    a = there(ops, x)
    ops.add_into(a, there(ops, y))
    np.testing.assert_array_equal(ops.to_host(a), x + y)
    ops.scale(a, 0.25)
    np.testing.assert_array_equal(ops.to_host(a), (x + y) / 4)
    ops.multiply_into(a, there(ops, x))
    np.testing.assert_array_equal(ops.to_host(a), (x + y) / 4 * x)
    ops.assign(a, there(ops, x))
    ops.add_sign_into(a, there(ops, np.where(y > 1, 0, y)), 0.5)
    np.testing.assert_array_equal(ops.to_host(a), x + dtype(0.5) * np.sign(np.where(y > 1, 0, y)))
    np.testing.assert_array_equal(ops.to_host(ops.nonzero(there(ops, np.where(y > 0, 0, y)))), y <= 0)
    ops.assign(a, there(ops, y))
    np.testing.assert_array_equal(ops.to_host(a), y)
    ops.assign(a, x)  # from the host, whatever the backend
    np.testing.assert_array_equal(ops.to_host(a), x)


def test_assigning_another_shape_raises(ops):
    with pytest.raises((ShapeError, ValueError), match="shape"):
        ops.assign(there(ops, np.zeros((2, 3))), there(ops, np.zeros((2, 2))))


@both
def test_sums(ops, dtype):
    rng = np.random.default_rng(1)
    arrays = [rng.normal(size=shape).astype(dtype) for shape in [(3,), (40, 7), (1, 2, 2, 5)]]
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    squares = sum(np.square(a, dtype=np.float64).sum() for a in arrays)
    assert ops.sum_of_squares([there(ops, a) for a in arrays]) == pytest.approx(squares, rel=rtol)
    assert ops.total(there(ops, arrays[1])) == pytest.approx(arrays[1].sum(dtype=np.float64), rel=rtol, abs=10 * rtol)
    assert ops.total(there(ops, arrays[1][:0])) == 0


def test_sums_of_non_finite_numbers_are_not_finite(ops):
    for bad in (np.nan, np.inf):
        assert not np.isfinite(ops.total(there(ops, np.array([1.0, bad]))))
        assert not np.isfinite(ops.sum_of_squares([there(ops, np.array([1.0, bad]))]))


@both
@pytest.mark.parametrize("weighted", [True, False])
def test_weighted_total(ops, dtype, weighted):
    losses = np.array([[0.5, 1.0, 2.0], [4.0, 0.0, 8.0]], dtype)
    target = np.array([[0, 2, 1], [255, 255, 2]])
    weight = np.array([1.0, 10.0, 100.0], dtype) if weighted else None
    found = ops.weighted_total(
        there(ops, losses), there(ops, target), None if weight is None else there(ops, weight), 255
    )
    assert found == (15.5, 211.0 if weighted else 4.0)
    assert all(type(value) is float for value in found)
    empty = ops.weighted_total(there(ops, losses[:0]), there(ops, target[:0]), None, 255)
    assert empty == (0.0, 0.0)


def test_dropout_masks_follow_the_generator(ops):
    first, same, other = (
        ops.to_host(ops.dropout_mask((4, 60), 0.25, np.random.default_rng(seed))) for seed in (3, 3, 4)
    )
    assert first.dtype == bool
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    assert 0.65 < first.mean() < 0.85  # keeps three in four
    rng = np.random.default_rng(3)
    masks = [ops.to_host(ops.dropout_mask((4, 60), 0.25, rng)) for _ in range(2)]
    assert (masks[0] != masks[1]).any()  # the generator moves on
    assert ops.to_host(ops.dropout_mask((50,), 0.0, rng)).all()
    assert not ops.to_host(ops.dropout_mask((50,), 1.0, rng)).any()


@both
def test_running_statistics(ops, dtype):
    mean, var = np.array([0.5, -1.0], dtype), np.array([2.0, 4.0], dtype)
    batch_mean, batch_var = np.array([1.5, 1.0], dtype), np.array([3.0, 0.0], dtype)
    new_mean, new_var = ops.batch_norm_running(*(there(ops, a) for a in (mean, var, batch_mean, batch_var)), 0.1, 4)
    np.testing.assert_allclose(ops.to_host(new_mean), [0.6, -0.8], rtol=1e-6)
    np.testing.assert_allclose(ops.to_host(new_var), [0.9 * 2 + 0.1 * 4, 3.6], rtol=1e-6)
    assert ops.to_host(new_var).dtype == dtype
