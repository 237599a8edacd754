"""The combinators: values and gradients worked out by hand, odd sizes, and what they accept."""

import numpy as np
import pytest
from layer_cases import randomised
from oracle import assert_agrees, requires_torch

from minisegnet import Layer, ShapeError
from minisegnet.gradcheck import gradcheck
from minisegnet.layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    PoolUnpool,
    ReLU,
    SameSize,
    Sequential,
    Sum,
    Tanh,
    Upsample,
)


class Times(Layer):
    """y = factor * x, and a list of what happened, in order."""

    def __init__(self, factor, log=None):
        self.factor, self.log = factor, log

    def forward(self, x):
        if self.log is not None:
            self.log.append(f"forward {self.factor}")
        return self.factor * x, ()

    def backward(self, dy, saved):
        if self.log is not None:
            self.log.append(f"backward {self.factor}")
        return self.factor * dy


class Resize(Layer):
    """Zeros of this height and width, to see what becomes of a branch's size."""

    def __init__(self, *size):
        self.size = size

    def forward(self, x):
        return np.ones((*x.shape[:2], *self.size)), x.shape

    def backward(self, dy, saved):
        self.dy = dy
        return np.zeros(saved)


def plane(rows):
    return np.array(rows, np.float64)[None, None]


# ------------------------------------------------------------------ Sequential


def test_sequential_runs_forward_in_order_and_backward_in_reverse():
    log = []
    net = Sequential(Times(2, log), Times(3, log), last=Times(5, log))
    y, saved = net.forward(np.array([1.0]))
    dx = net.backward(np.array([7.0]), saved)
    assert (y, dx) == (30, 210)
    assert log == ["forward 2", "forward 3", "forward 5", "backward 5", "backward 3", "backward 2"]
    assert len(saved.records) == 3


def test_sequential_by_name_number_and_slice():
    conv, relu, head = Conv2d(1, 2, 3), ReLU(), Conv2d(2, 1, 1)
    net = Sequential(conv, relu, head=head)
    assert [*net] == [conv, relu, head]
    assert (net[0], net["1"], net[-1], net["head"]) == (conv, relu, head, head)
    assert [name for name, _ in net.children()] == ["0", "1", "head"]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "head.weight", "head.bias"]
    part = net[:2]
    assert isinstance(part, Sequential)
    assert [*part] == [conv, relu]
    with pytest.raises(IndexError):
        net[3]
    with pytest.raises(KeyError, match="tail"):
        net["tail"]


@pytest.mark.parametrize("cls", [Sequential, Sum, Concat])
def test_branches_take_layers_and_at_least_one(cls):
    name = cls.__name__
    with pytest.raises(ValueError, match=rf"^{name}: at least one layer is needed, got none"):
        cls()
    with pytest.raises(TypeError, match=rf"^{name}: entry 1 must be a layer, got <class .*>; write ReLU\(\), not ReLU"):
        cls(ReLU(), ReLU)
    with pytest.raises(TypeError, match=rf"^{name}: entry head must be a layer, got 'conv'$"):
        cls(ReLU(), head="conv")
    with pytest.raises(TypeError, match=rf"^{name}: entry 0 must be a layer, got \["):
        cls([ReLU(), ReLU()])


@pytest.mark.parametrize("cls", [PoolUnpool, SameSize])
def test_a_body_must_be_a_layer(cls):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}: body must be a layer, got <class .*>; write ReLU\(\), not"):
        cls(ReLU)
    with pytest.raises(TypeError, match=rf"^{cls.__name__}: body must be a layer, got None"):
        cls(None)


@pytest.mark.parametrize("cls", [Sequential, Sum, Concat])
def test_a_record_of_another_net_raises(cls):
    one, two = cls(ReLU()), cls(ReLU(), ReLU())
    x = np.ones((2, 3))
    _, saved = one.forward(x)
    with pytest.raises(ValueError, match=rf"^{cls.__name__}: the saved record has 1 entries for 2 layers"):
        two.backward(two(x), saved)


# ------------------------------------------------------------------ Sum


def test_sum_copies_its_gradient_to_every_branch():
    net = Sum(Identity(), Times(2), Times(10))
    y, saved = net.forward(np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(y, [[13, 26]])
    np.testing.assert_array_equal(net.backward(np.array([[1.0, -3.0]]), saved), [[13, -39]])


def test_a_gradient_passes_a_residual_block_undiminished():
    conv = Conv2d(2, 2, 3, padding=1)
    for p in conv.parameters():
        p.value[...] = 0
    net = Sum(Identity(), Sequential(conv, ReLU()))
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    y, saved = net.forward(x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(net.backward(x, saved), x)


def test_sum_with_one_branch_is_that_branch_but_owns_its_arrays():
    x = np.ones((1, 2))
    y, saved = Sum(Identity()).forward(x)
    dx = Sum(Identity()).backward(y, saved)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(dx, y)


def test_sum_needs_the_same_channels():
    with pytest.raises(ShapeError, match=r"^Sum: branch 1 has shape \(1, 3, 4, 4\), expected \(1, 2, 4, 4\)"):
        Sum(Identity(), Conv2d(2, 3, 1))(np.ones((1, 2, 4, 4), np.float32))


# ------------------------------------------------------------------ Concat


def test_concat_splits_dy_along_the_channels():
    net = Concat(Times(1), Conv2d(2, 1, 1, bias=False, dtype=np.float64), Times(3))
    net[1].weight.value[...] = 10
    x = np.array([1.0, 2]).reshape(1, 2, 1, 1)
    y, saved = net.forward(x)
    np.testing.assert_array_equal(y.ravel(), [1, 2, 30, 3, 6])
    dx = net.backward(np.array([1.0, 10, 100, 1000, 10000]).reshape(1, 5, 1, 1), saved)
    np.testing.assert_array_equal(dx.ravel(), [1 + 1000 + 3000, 10 + 1000 + 30000])
    np.testing.assert_array_equal(net[1].weight.grad.ravel(), [100, 200])


def test_concat_of_features():
    net = Concat(Linear(3, 2, rng=0), Identity())
    assert net(np.ones((4, 3), np.float32)).shape == (4, 5)


# ------------------------------------------------------------------ sizes that differ


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3, 3), [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
        ((2, 2), [[1, 1, 0], [1, 1, 0], [0, 0, 0]]),  # the odd row and column are added below and on the right
        ((3, 2), [[1, 1, 0], [1, 1, 0], [1, 1, 0]]),
        ((4, 5), [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
    ],
)
def test_a_result_is_padded_with_zeros_or_cropped_to_the_first_ones_size(size, expected):
    x = np.zeros((1, 1, 3, 3))
    np.testing.assert_array_equal(Sum(Identity(), Resize(*size))(x)[0, 0], expected)
    np.testing.assert_array_equal(Concat(Identity(), Resize(*size))(x)[0, 1], expected)


def test_half_of_it_is_padded_or_cropped_on_each_side():
    padded = Sum(Identity(), Resize(5, 6))(np.zeros((1, 1, 7, 9)))[0, 0]
    assert padded.sum() == 30
    assert padded[1:6, 1:7].all()
    branch = Resize(7, 8)
    net = Sum(Identity(), branch)
    y, saved = net.forward(np.zeros((1, 1, 5, 5)))
    net.backward(np.arange(25.0).reshape(1, 1, 5, 5), saved)
    assert branch.dy.shape == (1, 1, 7, 8)
    np.testing.assert_array_equal(branch.dy[0, 0, 1:6, 1:6], np.arange(25).reshape(5, 5))
    assert branch.dy.sum() == np.arange(25).sum()


@pytest.mark.parametrize("cls", [Sum, Concat])
@pytest.mark.parametrize(("size", "shown"), [((3, 6), "3x6"), ((6, 12), "6x12"), ((1, 1), "1x1")])
def test_sizes_too_far_apart_are_refused(cls, size, shown):
    with pytest.raises(ShapeError) as caught:
        cls(Identity(), Resize(*size))(np.zeros((1, 1, 6, 6)))
    assert str(caught.value) == (
        f"{cls.__name__}: a branch's result is {shown[0]}x{shown[2:]} pixels, the first one's 6x6: too far apart to "
        f"pad or crop; put an Upsample or a stride where one is missing"
    )


@pytest.mark.parametrize("cls", [Sum, Concat])
def test_a_single_pixel_more_or_less_is_never_too_much(cls):
    net = cls(Identity(), Sequential(MaxPool2d(2, ceil_mode=True), Upsample(scale_factor=2)))
    assert net(np.ones((1, 1, 1, 3))).shape[2:] == (1, 3)  # 1 -> 1 -> 2, 3 -> 2 -> 4
    assert cls(Identity(), Resize(1, 1))(np.ones((1, 1, 2, 2))).shape[2:] == (2, 2)


@pytest.mark.parametrize("cls", [Sum, Concat])
def test_a_dy_of_another_size_is_not_taken_for_a_branch_to_fit(cls):
    net = cls(Identity(), AvgPool2d(3, stride=1, padding=1))
    y, saved = net.forward(np.ones((1, 2, 5, 5)))
    with pytest.raises(
        ShapeError,
        match=rf"^{cls.__name__}: dy has shape \(1, ., 7, 5\), expected \(1, ., 5, 5\)",
    ):
        net.backward(np.ones((*y.shape[:2], 7, 5)), saved)


def unet(width, depth, pool, up):
    """A U-Net of any depth: nothing but levels inside levels."""
    inner = Sequential(Conv2d(width, width, 3, padding=1, rng=depth), Tanh())
    if depth == 0:
        return inner
    return Sequential(
        Concat(Identity(), Sequential(pool(), unet(width, depth - 1, pool, up), up(width))),
        Conv2d(2 * width, width, 1, rng=depth),
    )


UPS = {
    "transposed": lambda width: ConvTranspose2d(width, width, 2, stride=2, rng=0),
    "nearest": lambda width: Upsample(scale_factor=2),
    "bilinear": lambda width: Upsample(scale_factor=2, mode="bilinear"),
}


@pytest.mark.parametrize("up", UPS)
@pytest.mark.parametrize("pool", [lambda: MaxPool2d(2), lambda: MaxPool2d(2, ceil_mode=True)], ids=["floor", "ceil"])
@pytest.mark.parametrize(("size", "depth"), [((5, 7), 2), ((7, 9), 2), ((9, 13), 2), ((9, 13), 3), ((15, 31), 3)])
def test_odd_sizes_in_nested_skips_never_fail(size, depth, pool, up):
    net = unet(2, depth, pool, UPS[up])
    x = np.random.default_rng(0).standard_normal((1, 2, *size)).astype(np.float32)
    y, saved = net.forward(x)
    assert y.shape == x.shape
    assert net.backward(np.random.default_rng(1).standard_normal(y.shape).astype(np.float32), saved).shape == x.shape


@requires_torch
@pytest.mark.parametrize("size", [(5, 7), (7, 9), (9, 13)])
def test_odd_sizes_in_nested_skips_agree_with_pytorch(size):
    x = np.random.default_rng(0).standard_normal((2, 2, *size))
    for dtype in (np.float64, np.float32):
        net = unet(2, 2, lambda: MaxPool2d(2), UPS["transposed"]).astype(dtype)
        assert_agrees(net, x.astype(dtype), np.random.default_rng(1))


def test_odd_sizes_in_nested_skips_pass_the_gradient_check():
    net = unet(2, 2, lambda: MaxPool2d(2), UPS["transposed"])
    report = gradcheck(net, np.random.default_rng(0).standard_normal((1, 2, 5, 7)), dense=40, samples=30)
    assert report, report


# ------------------------------------------------------------------ PoolUnpool


def test_pool_unpool_puts_values_back_where_the_maxima_were():
    net = PoolUnpool(Times(10))
    x = plane([[1, 5, 3, 3], [2, 4, 3, 3]])
    y, saved = net.forward(x)
    np.testing.assert_array_equal(y[0, 0], [[0, 50, 30, 0], [0, 0, 0, 0]])
    dx = net.backward(plane([[1, 2, 3, 4], [5, 6, 7, 8]]), saved)
    np.testing.assert_array_equal(dx[0, 0], [[0, 20, 30, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("size", [(5, 5), (5, 4), (2, 7), (9, 13)])
def test_pool_unpool_gives_an_odd_size_back(size):
    x = np.random.default_rng(0).standard_normal((2, 3, *size))
    y, saved = PoolUnpool(Identity()).forward(x)
    assert y.shape == x.shape
    assert not y[:, :, size[0] // 2 * 2 :].any()  # no window has visited the last row of an odd size
    assert PoolUnpool(Identity()).backward(y, saved).shape == x.shape


class Ramp(Times):
    """Adds 0, 1, 2, ... to what the pooling gave, so that equal maxima become different values."""

    def __init__(self):
        super().__init__(1.0)

    def forward(self, x):
        return x + np.arange(x.size).reshape(x.shape), ()


def test_pool_unpool_where_two_windows_chose_one_pixel_the_last_value_stays():
    net = PoolUnpool(Ramp(), kernel_size=2, stride=1)
    y, saved = net.forward(plane([[0, 0, 0], [0, 9, 0], [0, 0, 0]]))
    np.testing.assert_array_equal(y[0, 0], [[0, 0, 0], [0, 9 + 3, 0], [0, 0, 0]])  # assigned, not added
    dx = net.backward(plane([[1, 1, 1], [1, 5, 1], [1, 1, 1]]), saved)
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0], [0, 5, 0], [0, 0, 0]])  # once, not four times


@pytest.mark.parametrize("body", [Conv2d(2, 3, 1), MaxPool2d(2), AdaptiveAvgPool2d(1)], ids=repr)
def test_a_body_that_changes_the_shape_is_refused(body):
    with pytest.raises(
        ShapeError, match=r"^PoolUnpool: the body made \(1, ., ., .\) out of \(1, 2, 4, 4\); it must end"
    ):
        PoolUnpool(body)(np.ones((1, 2, 8, 8), np.float32))


def test_pool_unpool_bad_geometry_names_the_pool():
    with pytest.raises(ValueError, match=r"^MaxPool2d: padding=\(2, 2\) must be at most half of kernel_size=\(2, 2\)"):
        PoolUnpool(Identity(), padding=2)


# ------------------------------------------------------------------ SameSize


def test_same_size_resizes_to_its_input():
    x = plane([[1, 2, 3, 4]] * 2)
    np.testing.assert_array_equal(SameSize(MaxPool2d(2), mode="nearest")(x)[0, 0], [[2, 2, 4, 4]] * 2)
    np.testing.assert_array_equal(SameSize(MaxPool2d(2))(x)[0, 0], [[2, 2.5, 3.5, 4]] * 2)
    np.testing.assert_allclose(SameSize(MaxPool2d(2), align_corners=True)(x)[0, 0], [[2, 8 / 3, 10 / 3, 4]] * 2)
    np.testing.assert_array_equal(SameSize(MaxPool2d(2), mode="pad")(x)[0, 0], [[0, 2, 4, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "pad"])
def test_same_size_leaves_alone_what_has_the_size(mode):
    x = np.ones((1, 1, 3, 3))
    y, saved = SameSize(Identity(), mode=mode).forward(x)
    assert y is x
    assert SameSize(Identity(), mode=mode).backward(y, saved) is y


def test_image_pooling_spreads_the_mean_over_the_map():
    net = SameSize(AdaptiveAvgPool2d(1))
    y, saved = net.forward(plane([[1, 2, 3], [4, 5, 9]]))
    np.testing.assert_array_equal(y[0, 0], np.full((2, 3), 4))
    dx = net.backward(plane([[6, 0, 0], [0, 6, 12]]), saved)
    np.testing.assert_allclose(dx[0, 0], np.full((2, 3), 4), rtol=1e-15)


def test_same_size_bad_options():
    with pytest.raises(ValueError, match=r'^SameSize: mode must be "bilinear", "nearest" or "pad", got \'cubic\''):
        SameSize(Identity(), mode="cubic")
    for mode in ("nearest", "pad"):
        with pytest.raises(ValueError, match=r'^SameSize: align_corners=True needs mode="bilinear"'):
            SameSize(Identity(), mode=mode, align_corners=True)


def test_same_size_needs_maps_before_and_after():
    with pytest.raises(
        ShapeError, match=r'^SameSize\(mode="bilinear"\): x has shape \(2, 3\), expected \(N, C, H, W\)'
    ):
        SameSize(Identity())(np.ones((2, 3)))


# ------------------------------------------------------------------ records and modes


def test_passes_may_be_kept_and_taken_back_in_any_order():
    """The layers remember nothing: two forward passes, then their backward passes in the order of choice."""
    net = randomised(Sequential(Conv2d(1, 2, 3, padding=1), LeakyReLU(), MaxPool2d(2), Conv2d(2, 1, 1)))
    net.astype(np.float64)
    rng = np.random.default_rng(0)
    xs, dys = rng.standard_normal((2, 1, 1, 4, 6)), rng.standard_normal((2, 1, 1, 2, 3))
    alone = []
    for x, dy in zip(xs, dys, strict=True):
        alone.append(net.backward(dy, net.forward(x)[1]))
    together = [p.grad for p in net.parameters()]
    net.zero_grad()
    records = [net.forward(x)[1] for x in xs]
    np.testing.assert_array_equal(net.backward(dys[1], records[1]), alone[1])
    np.testing.assert_array_equal(net.backward(dys[0], records[0]), alone[0])
    for p, grad in zip(net.parameters(), together, strict=True):
        np.testing.assert_allclose(p.grad, grad, rtol=1e-12)


def test_modes_reach_every_layer_inside():
    net = Concat(Identity(), PoolUnpool(Sum(Dropout(0.5), SameSize(Sequential(BatchNorm2d(1), Dropout(0.1))))))
    parts = [layer for _, layer in net.named_layers()]
    assert len(parts) == 10
    assert all(layer.training for layer in parts)
    assert net.eval() is net
    assert not any(layer.training for layer in parts)


@requires_torch
@pytest.mark.parametrize("cls", [Sequential, Sum, Concat])
def test_a_batch_norm_used_twice_moves_its_statistics_twice(cls):
    bn = randomised(BatchNorm2d(2)).astype(np.float64)
    assert_agrees(cls(bn, bn), np.random.default_rng(0).standard_normal((2, 2, 3, 4)), np.random.default_rng(1))


def test_a_map_of_half_the_size_is_a_missing_layer_and_not_an_odd_size():
    x = np.ones((1, 1, 4, 4))
    for kind in (Sum, Concat):
        with pytest.raises(ShapeError, match="a branch's result is 2x2 pixels, the first one's 4x4"):
            kind(Identity(), MaxPool2d(2)).forward(x)
