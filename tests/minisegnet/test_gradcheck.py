"""The gradient checker itself: what it compares, where it doesn't, what it promises about what it is given."""

import math

import buggy_wholes as bw
import numpy as np
import pytest

from kernels import ShapeError
from minisegnet import layers, losses
from minisegnet.combine import Concat, PoolUnpool, SameSize, Sequential, Sum
from minisegnet.core import Layer, Parameter, watch
from minisegnet.gradcheck import gradcheck


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape)


def small_net():
    level = Sequential(layers.MaxPool2d(2), layers.Conv2d(3, 3, 3, padding=1, rng=2), layers.Upsample(scale_factor=2))
    return Sequential(
        layers.Conv2d(2, 3, 3, padding=1, rng=1),
        layers.BatchNorm2d(3),
        layers.ReLU(),
        Concat(layers.Identity(), level),
        head=layers.Conv2d(6, 2, 1, rng=3),
    )


# name: (makes the layer, x)
RIGHT = {
    "conv": (lambda: layers.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, rng=0), normal(2, 2, 5, 4)),
    "conv same": (lambda: layers.Conv2d(2, 3, 2, padding="same", dilation=2, bias=False, rng=0), normal(1, 2, 4, 5)),
    "transposed conv": (lambda: layers.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1, rng=0), normal(1, 2, 3, 2)),
    "linear": (lambda: layers.Linear(4, 3, rng=0), normal(5, 4)),
    "max pool": (lambda: layers.MaxPool2d(3, 2, 1), normal(2, 2, 5, 6)),
    "average pool": (lambda: layers.AvgPool2d(3, 2, 1, ceil_mode=True), normal(1, 2, 5, 6)),
    "adaptive pool": (lambda: layers.AdaptiveAvgPool2d((2, 3)), normal(1, 2, 5, 4)),
    "upsample": (lambda: layers.Upsample(scale_factor=1.5, mode="bilinear"), normal(1, 2, 4, 3)),
    "batch norm": (lambda: layers.BatchNorm2d(3), normal(2, 3, 3, 2)),
    "batch norm, eval": (lambda: layers.BatchNorm2d(3).eval(), normal(2, 3, 3, 2)),
    "softmax": (lambda: layers.Softmax(), normal(2, 4, 3)),
    "dropout": (lambda: layers.Dropout(0.5, rng=0), normal(4, 5)),
    "sum": (lambda: Sum(layers.Identity(), layers.Tanh()), normal(2, 3)),
    "pool and unpool": (lambda: PoolUnpool(layers.Conv2d(2, 2, 3, padding=1, rng=0)), normal(1, 2, 5, 4)),
    "same size": (lambda: SameSize(layers.Conv2d(2, 2, 3, stride=2, rng=0)), normal(1, 2, 6, 5)),
    "net": (small_net, normal(2, 2, 4, 6)),
}
LINEAR = {"conv", "conv same", "transposed conv", "linear", "average pool", "adaptive pool", "upsample", "dropout"}
LINEAR |= {"batch norm, eval", "same size"}
ADJOINT = "linear, and backward is its adjoint"


@pytest.mark.parametrize("name", RIGHT)
class TestRightLayers:
    def test_every_entry_of_every_tensor_is_compared(self, name):
        make, x = RIGHT[name]
        layer = make()
        report = gradcheck(layer, x)
        assert report, report
        assert [row.name for row in report.rows] == ["x", *(name for name, _ in layer.named_parameters())]
        assert [row.shape for row in report.rows] == [x.shape, *(p.shape for p in layer.parameters())]
        assert [row.checked for row in report.rows] == [x.size, *(p.size for p in layer.parameters())]
        assert not any(row.not_differentiable for row in report.rows)
        assert report.diagnosis == report.guilty == []

    def test_adjoint_identity_of_linear_layers(self, name):
        make, x = RIGHT[name]
        assert (ADJOINT in [c.name for c in gradcheck(make(), x).contracts]) == (name in LINEAR)

    def test_an_empty_batch(self, name):
        make, x = RIGHT[name]
        report = gradcheck(make(), x[:0])
        assert report, report
        assert report.row("x").checked == 0
        assert all(row.checked == math.prod(row.shape) for row in report.rows)
        assert all(row.analytic == row.numeric == 0 for row in report.rows[1:])


LABELS = np.array([0, 2, 255, 1])
LOSSES = {
    "cross-entropy": (losses.CrossEntropyLoss([1, 2, 3], 255, label_smoothing=0.1), normal(4, 3), LABELS),
    "cross-entropy, none": (losses.CrossEntropyLoss(ignore_index=255, reduction="none"), normal(4, 3), LABELS),
    "bce": (losses.BCEWithLogitsLoss(), normal(4, 3), np.eye(4, 3)),
    "probabilities": (losses.BCELoss(reduction="none"), np.full((2, 3), 0.3), np.eye(2, 3)),
    "mse": (losses.MSELoss(reduction="sum"), normal(4, 3), normal(4, 3, seed=2)),
    "l1": (losses.L1Loss(), normal(4, 3), normal(4, 3, seed=2)),
    "dice": (losses.DiceLoss(ignore_index=255), normal(4, 3), LABELS),
    "penalty": (losses.EntropyPenalty(), normal(4, 3), None),
    "weighted": (
        losses.WeightedSum([losses.CrossEntropyLoss(ignore_index=255), losses.MSELoss()], [1, 0.5]),
        normal(4, 3),
        (LABELS, normal(4, 3, seed=2)),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_right_losses(name, dtype):
    loss, scores, target = LOSSES[name]
    if isinstance(target, tuple):
        target = tuple(t.astype(dtype) if t.dtype.kind == "f" else t for t in target)
    elif target is not None and target.dtype.kind == "f":
        target = target.astype(dtype)
    report = gradcheck(loss, scores.astype(dtype), target=target)
    assert report, report
    assert [row.name for row in report.rows] == ["x"]
    assert report.row("x").checked == scores.size
    assert report.label == repr(loss)


# ------------------------------------------------------------------ what it is given stays as it is


def state_of(layer):
    """Everything that a layer holds, as comparable text."""
    parts = [(name, sorted(vars(part).items(), key=str), part.training) for name, part in layer.named_layers()]
    generators = [v.bit_generator.state for _, attributes, _ in parts for _, v in attributes if hasattr(v, "random")]
    grads = [(p.value.tobytes(), p.grad.tobytes(), p.dtype) for p in layer.parameters()]
    arrays = {name: array.tobytes() for name, array in layer.state_dict().items()}
    return repr((arrays, grads, generators, [training for *_, training in parts]))


@pytest.mark.parametrize("training", [True, False])
def test_the_layer_and_its_random_state_are_left_as_they_are(training):
    shared = np.random.default_rng(5)
    net = Sequential(
        layers.Dropout(0.5, rng=shared),
        layers.Conv2d(2, 2, 3, rng=0),
        layers.BatchNorm2d(2),
        layers.Dropout(rng=shared),
    ).train(training)
    x = normal(2, 2, 4, 4).astype(np.float32)
    y, saved = net.forward(x)
    net.backward(y, saved)  # gradients and running statistics are no longer those of a new net
    arrays, before, x_before = [p.value for p in net.parameters()], state_of(net), x.copy()
    assert gradcheck(net, x)
    assert state_of(net) == before
    assert all(p.value is array for p, array in zip(net.parameters(), arrays, strict=True))
    np.testing.assert_array_equal(x, x_before)
    assert x.dtype == np.float32


def test_the_check_runs_in_float64_on_a_copy():
    net, seen = small_net(), set()

    def note(layer, pass_, inputs, result):
        seen.add((inputs[0].dtype, layer is net))

    with watch(note):
        gradcheck(net, normal(1, 2, 4, 4).astype(np.float32))
    assert seen == {(np.dtype(np.float64), False)}


def test_a_target_is_left_as_it_is():
    target, scores = normal(2, 3).astype(np.float32), normal(2, 3, seed=2)
    before = target.copy()
    assert gradcheck(losses.MSELoss(), scores, target=target)
    np.testing.assert_array_equal(target, before)
    assert target.dtype == np.float32


def test_a_read_only_x_of_integers_or_a_list():
    x = np.arange(1, 7).reshape(2, 3)
    x.flags.writeable = False
    assert gradcheck(layers.Tanh(), x).row("x").checked == 6
    assert gradcheck(layers.Tanh(), [[1, 2.5]]).row("x").checked == 2


# ------------------------------------------------------------------ dy, sampling, seeds


def fed(layer, x, **options):
    """The dy that backward was fed."""
    found = []

    def note(layer, pass_, inputs, result):
        if pass_ == "backward":
            found.append(inputs[0].copy())

    with watch(note):
        assert gradcheck(layer, x, **options)
    assert all(np.array_equal(dy, found[0]) for dy in found)
    return found[0]


def test_dy_is_random_and_not_uniform():
    dy = fed(layers.ReLU(), normal(10, 10))
    assert len(np.unique(dy)) == 100
    assert dy.min() < 0 < dy.max()
    np.testing.assert_array_equal(dy, fed(layers.ReLU(), normal(10, 10), rng=0))
    assert not np.array_equal(dy, fed(layers.ReLU(), normal(10, 10), rng=np.random.default_rng(1)))


@pytest.mark.parametrize("seed", [0, 1])
def test_dy_is_not_the_x_of_the_same_seed(seed):
    class MaskOfDy(layers.ReLU):
        def backward(self, dy, saved):
            return dy * (dy > 0)

    x = np.random.default_rng(seed).standard_normal((4, 5))
    assert not gradcheck(MaskOfDy(), x, rng=seed)
    assert not gradcheck(MaskOfDy(), x, rng=np.random.default_rng(seed))


def test_a_generator_that_is_passed_in_is_not_used_up():
    rng = np.random.default_rng(3)
    gradcheck(layers.ReLU(), normal(2, 2), rng=rng)
    assert rng.random() == np.random.default_rng(3).random()


def test_the_gradient_of_a_mean_is_not_lost_in_atol():
    scores = normal(1000, 2)

    class NearlyMSE(losses.MSELoss):
        def backward(self, saved, dvalue=1.0):
            return super().backward(saved, dvalue) * 1.002

    assert gradcheck(losses.MSELoss(), scores, target=np.zeros((1000, 2)))
    assert not gradcheck(NearlyMSE(), scores, target=np.zeros((1000, 2)))


def test_large_tensors_are_sampled():
    layer, x = layers.Linear(20, 30, rng=0), normal(4, 20)
    checked = {row.name: row.checked for row in gradcheck(layer, x).rows}
    assert checked == {"x": 80, "weight": 50 + 5, "bias": 30}  # 600 weights: samples and directions
    checked = {row.name: row.checked for row in gradcheck(layer, x, dense=600).rows}
    assert checked["weight"] == 600
    checked = {row.name: row.checked for row in gradcheck(layer, x, dense=0, samples=3).rows}
    assert checked == {"x": 8, "weight": 8, "bias": 8}


class OneEntryWrong(layers.Linear):
    def backward(self, dy, saved):
        before = self.weight.grad[17, 3]
        dx = super().backward(dy, saved)
        self.weight.grad[17, 3] += 0.5 * (self.weight.grad[17, 3] - before)
        return dx


def test_a_direction_finds_what_no_sample_saw():
    report = gradcheck(OneEntryWrong(20, 30, rng=0), normal(4, 20), dense=0, samples=1)
    row = report.row("weight")
    assert not report
    assert all(isinstance(index, str) or index != (17, 3) for index, *_ in row.compared)
    assert row.worst.startswith("direction")
    assert "fits none of the classic mistakes; start at the worst entry, direction" in report.diagnosis[0]
    assert [row.name for row in report.rows if not row.ok] == ["weight"]


def test_the_wrong_entry_is_the_worst_one():
    row = gradcheck(OneEntryWrong(20, 30, rng=0), normal(4, 20), dense=600).row("weight")
    assert (row.worst, row.failed) == ((17, 3), 1)
    assert row.analytic == pytest.approx(1.5 * row.numeric)
    assert row.max_rel == pytest.approx(1 / 3)
    assert row.max_abs == pytest.approx(abs(row.analytic - row.numeric))


def test_tolerances_and_the_step_can_be_chosen():
    class Rough(layers.Tanh):
        def backward(self, dy, saved):
            return super().backward(dy, saved) * 1.01

    assert not gradcheck(Rough(), normal(3, 3))
    assert gradcheck(Rough(), normal(3, 3), rtol=0.02)
    assert gradcheck(Rough(), normal(3, 3), atol=0.1)
    assert gradcheck(layers.Tanh(), normal(3, 3), eps=1e-4, atol=1e-7, rtol=1e-6)


# ------------------------------------------------------------------ errors


class Raises(layers.Identity):
    def backward(self, dy, saved):
        raise ValueError("no idea how")


def test_what_a_layer_raises_is_passed_on_with_its_name():
    with pytest.raises(ValueError, match=r"^body\.1 Raises\(\): no idea how$"):
        gradcheck(Sequential(body=Sequential(layers.ReLU(), Raises())), normal(2, 3))


def test_a_note_names_the_layer_behind_the_error_of_another():
    net = Sequential(layers.Linear(3, 3, rng=0), layers.Tanh(), bw.Returns(lambda dx: None))
    with pytest.raises(TypeError, match="Tanh") as caught:
        gradcheck(net, normal(2, 3))
    assert len(caught.value.__notes__) == 1
    assert caught.value.__notes__[0].startswith("the layer 2 fails by itself:\ngradcheck of Returns(): FAILED")
    assert "backward returned None" in caught.value.__notes__[0]


def test_a_note_names_the_layer_in_front_of_the_error():
    net = Sequential(bw.SingleForward(), layers.Linear(3, 2, rng=0))
    with pytest.raises(TypeError, match="dtypes are never mixed") as caught:
        gradcheck(net, normal(2, 3))
    assert "the layer 0 fails by itself" in caught.value.__notes__[0]
    assert "forward made float32 out of float64" in caught.value.__notes__[0]


def test_a_wrong_input_needs_no_note():
    with pytest.raises(ShapeError, match=r"1 Linear\(4, 2\): x has shape") as caught:
        gradcheck(Sequential(layers.Tanh(), layers.Linear(4, 2)), normal(2, 3))
    assert not hasattr(caught.value, "__notes__")


def test_a_note_names_a_layer_deep_inside():
    net = Sequential(body=Sequential(layers.Tanh(), last=bw.Returns(lambda dx: dx[:1])))
    with pytest.raises(ShapeError, match=r"body\.0 Tanh\(\): dy has shape") as caught:
        gradcheck(net, normal(2, 3))
    assert [note.split(" fails")[0] for note in caught.value.__notes__] == ["the layer body.last"]
    assert "the gradient of x has shape (1, 3), expected (2, 3)" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((layers.ReLU, [1.0]), TypeError, "gradcheck takes a layer or a loss, got <class .*ReLU'>; write ReLU"),
        ((print, [1.0]), TypeError, "gradcheck takes a layer or a loss, got <built-in function print>$"),
        ((layers.ReLU(), [1.0], 0), ValueError, r"eps must be in \(0, inf\), got 0"),
        ((layers.ReLU(), [1.0], 1e-6, -1), ValueError, r"atol must be in \(0, inf\), got -1"),
        ((layers.ReLU(), [1.0], 1e-6, 1e-5, "x"), TypeError, "rtol must be a number, got 'x'"),
        ((layers.ReLU(), [1.0], 1e-6, 1e-5, 1e-3, 1.5), TypeError, "rng must be a seed"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        gradcheck(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"target": np.zeros(3)}, TypeError, r"target is for losses, but ReLU\(\) is none"),
        ({"dense": -1}, ValueError, "dense must be at least 0, got -1"),
        ({"samples": 0}, ValueError, "samples must be at least 1, got 0"),
    ],
)
def test_bad_options(options, error, text):
    with pytest.raises(error, match=text):
        gradcheck(layers.ReLU(), normal(3), **options)


def test_a_losses_error_names_the_loss_once():
    with pytest.raises(ShapeError, match=r"^MSELoss\(\): target has shape \(2,\), expected \(3,\)"):
        gradcheck(losses.MSELoss(), normal(3), target=normal(2))


@pytest.mark.parametrize("forward", [lambda x: x, lambda x: (1.0, None), lambda x: (x, 1, 2)])
def test_forward_must_return_y_and_saved(forward):
    class Odd(Layer):
        def forward(self, x):
            return forward(x)

    with pytest.raises(TypeError, match=r"Odd\(\): forward must return y, saved \(an array and a record\), got"):
        gradcheck(Odd(), normal(2, 3))


# ------------------------------------------------------------------ layers that nobody expects


class Strange(Layer):
    """y = w0*x with parameters and attributes that mislead whoever guesses; the gradient of x is too large."""

    def __init__(self, shapes, **attributes):
        for i, shape in enumerate(shapes):
            setattr(self, f"w{i}", Parameter(np.ones(shape)))
        vars(self).update(attributes)

    def forward(self, x):
        return 3 * x, x

    def backward(self, dy, x):
        return 6 * dy


@pytest.mark.parametrize("x_shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5), (1, 1, 1, 1), (2, 1, 3, 2, 2)])
@pytest.mark.parametrize(
    ("shapes", "attributes"),
    [
        ([], {}),
        ([], {"kernel_size": "large", "stride": None, "padding": -1}),
        ([], {"kernel_size": 2, "stride": (1, 2, 3), "eps": "small", "running_mean": None}),
        ([(3,)], {}),
        ([(4, 3)], {"bias": None}),
        ([(3, 3), (3,)], {}),
        ([(3, 3, 3, 3), (3,)], {"stride": "fast", "padding": "same", "dilation": 0, "groups": "two"}),
        ([(1, 1, 2, 2), (2,), (2,)], {"pads": 7}),
        ([(0, 3, 1, 1)], {}),
        ([(2, 2), (2, 2), (2,), (2,)], {"running_mean": np.zeros(3), "running_var": 1}),
        ([()], {"weight": np.zeros(3)}),
    ],
)
def test_a_diagnosis_never_crashes(x_shape, shapes, attributes):
    report = gradcheck(Strange(shapes, **attributes), normal(*x_shape))
    assert not report
    assert "twice too large" in report.diagnosis[0] or "2 times" in report.diagnosis[0], report.diagnosis
    assert len(report.diagnosis) == 1


def test_a_diagnosis_of_a_fully_connected_layer_on_a_single_sample():
    class Wrong(layers.Linear):
        def backward(self, dy, saved):
            return super().backward(dy, saved) * 1.5

    report = gradcheck(Wrong(3, 3, rng=0), normal(3))
    assert report.diagnosis == ["the gradient of x: it is 1.5 times the right one everywhere"]
