# %% [markdown]
# # Gradient checking
#
# At the end you can measure gradients, you know what the measurement is worth, and you have hunted down three mistakes
# with it. Say you have derived a backward pass and written it down. Is it right? A net with a wrong gradient often
# learns all the same, only worse, so a falling loss proves nothing. Builds on `04_relu_softmax_cross_entropy.py` and
# `05_fully_connected.py`.

# %%
import numpy as np

from minisegnet import Layer, layers
from minisegnet.gradcheck import gradcheck
from minisegnet.tutorial import draw

rng = np.random.default_rng(6)
np.set_printoptions(precision=4, suppress=True, linewidth=110)

# %% [markdown]
# ## Two ways to measure a slope
#
#     one-sided:   (f(x + h) - f(x)) / h
#     central:     (f(x + h) - f(x - h)) / (2 * h)
#
# By hand, for f(x) = x^3 at x = 2, where the slope is 3 * x^2 = 12. With h = 0.1:
#
#     one-sided:   (2.1^3 - 2^3) / 0.1   = (9.261 - 8) / 0.1     = 12.61
#     central:     (2.1^3 - 1.9^3) / 0.2 = (9.261 - 6.859) / 0.2 = 12.01
#
# Why is the second so much better? Write f(x + h) = f + h f' + h^2/2 f'' + h^3/6 f''' + ..., and f(x - h) with -h. Then
#
#     one-sided = f' + h/2 f'' + ...            an error that shrinks like h
#     central   = f' + h^2/6 f''' + ...         f'' has cancelled: an error that shrinks like h^2


# %%
def one_sided(f, x, h):
    return (f(x + h) - f(x)) / h


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


for h in (0.1, 0.01, 0.001):
    errors = [slope(lambda x: x**3, 2.0, h) - 12 for slope in (one_sided, central)]
    print(f"h = {h:5g}   error one-sided {errors[0]:.6f}   central {errors[1]:.6f}")
    assert np.allclose(errors, [6 * h + h**2, h**2], atol=1e-9)

# %% [markdown]
# ## How small a step?
#
# Not as small as possible. A computer knows f only to u * |f|, where u = 1.1e-16 in float64 and 6e-8 in float32. The
# difference of two nearly equal numbers keeps that error, and the division by 2h blows it up:
#
#     error of the central difference, about:   h^2/6 * |f'''|  +  u * |f| / h
#
# The first grows with h, the second shrinks. The sum is least where its derivative is 0, at h^3 = 3 u |f|/|f'''|. Here
# with f = exp, all of whose derivatives are exp again, in the mean over 200 places x.

# %%
steps = 10.0 ** np.arange(-14, 0.1, 0.25)
fig, axes = draw.panels(2, size=(12, 4.2))
for ax, dtype, places in zip(axes, (np.float64, np.float32), (rng.uniform(1, 2, size=(200, 1)),) * 2, strict=True):
    x, h, u = places.astype(dtype), steps.astype(dtype), np.finfo(dtype).eps / 2
    exact = np.exp(x.astype(np.float64))
    slopes = {"one-sided": one_sided, "central": central}
    errors = {name: np.abs(slope(np.exp, x, h) / exact - 1).mean(axis=0) for name, slope in slopes.items()}
    draw.curve(ax, errors, x=steps, xlabel="step h", ylabel="relative error", log=True, title=dtype.__name__)
    ax.set_xscale("log")
    best, predicted = steps[errors["central"].argmin()], (3 * u) ** (1 / 3)
    print(f"{dtype.__name__}: best h {best:.0e} (predicted {predicted:.0e}), error there {errors['central'].min():.0e}")
    assert 0.1 < best / predicted < 10
axes[0].axvline(1e-6, color="0.5", linewidth=1)
axes[0].annotate("gradcheck's eps", (1e-6, 2), (4, 0), textcoords="offset points", fontsize=10, va="top")
draw.show(fig, "06_error_against_step")

# %% [markdown]
# Two Vs. The right arm is the formula's error (slope 1 for one-sided, 2 for central), the left arm is rounding, up to
# an error of 1 where x + h is x again. In float32 even the best step leaves only about five digits: check in float64,
# always. `gradcheck` works on a copy in float64. Its step is 1e-6, a little left of the best: a short step is less
# likely to cross a kink (see below).
#
# ## Equal, but how nearly?
#
#     |analytic - numeric| <= atol + rtol * |numeric|           here atol = 1e-5, rtol = 1e-3
#
# rtol alone is no good: where the true gradient is 0, the numeric one is noise, 1e-11 say, and any error is 100 % of
# that. atol alone is no good: a gradient of 12345 need not be right to 1e-5, and a larger one can't even be measured so
# well. And NaN must never pass:


# %%
def agree(analytic, numeric, atol=1e-5, rtol=1e-3):
    return bool(abs(analytic - numeric) <= atol + rtol * abs(numeric))


cases = {(12345.678, 12345.69): True, (0.0, 3e-11): True, (2.0, 1.0): False, (np.nan, 1.0): False, (1e-6, 3e-6): True}
for (analytic, numeric), expected in cases.items():
    print(f"analytic {analytic:<12g} numeric {numeric:<12g} agree: {agree(analytic, numeric)}")
    assert agree(analytic, numeric) == expected
print("written the other way round, `not error > tolerance`, NaN passes:", not abs(np.nan - 1.0) > 1e-3)

# %% [markdown]
# The last case is a trap. Gradients of 1e-6 are compared with an atol of 1e-5, and *everything* passes, even 0. The
# loss of a batch of pictures is a mean over so many pixels that all its gradients are that small:

# %%
largest = 1 / (4 * 360 * 480)
print(f"largest dscores of 4 pictures of 360x480 pixels: {largest:.1e}   would 0 pass for it? {agree(0.0, largest)}")

# %% [markdown]
# So check with few pixels, and scale: `gradcheck` feeds losses a dvalue of about the number of entries.
#
# ## A checker in ten lines
#
# A layer has many outputs. To measure one slope we need one number, so take L = sum of y * dy with random numbers dy.
# Then dL/dy = dy, which is just what backward is given, and backward's dx and dw must be dL/dx and dL/dw.


# %%
def numeric_gradient(f, array, h=1e-6):
    """df/darray, entry by entry; f takes no argument and looks at the array, which is moved and put back."""
    gradient = np.zeros_like(array)
    for i in np.ndindex(array.shape):
        before = array[i]
        array[i] = before + h
        above = f()
        array[i] = before - h
        gradient[i] = (above - f()) / (2 * h)
        array[i] = before
    return gradient


conv = layers.Conv2d(2, 3, 3, padding=1, rng=rng, dtype=np.float64)
x = rng.normal(size=(2, 2, 4, 5))
y, saved = conv.forward(x)
dy = rng.normal(size=y.shape)
claims = {"x": conv.backward(dy, saved), "weight": conv.weight.grad, "bias": conv.bias.grad}
for (name, claim), array in zip(claims.items(), (x, conv.weight.value, conv.bias.value), strict=True):
    error = np.abs(numeric_gradient(lambda: (conv(x) * dy).sum(), array) - claim).max()
    print(f"d{name:7s} {claim.size:3d} entries, largest error {error:.1e}")
    assert error < 1e-7

# %% [markdown]
# Every parameter is an input like x, and is checked the same way. The cost: two forward passes for each entry. That is
# why nets aren't *trained* with finite differences: backward gets all entries in the time of about two forward passes.
#
# ## Why dy must be random
#
# It is tempting to take L = sum of y. Then dy is 1 everywhere, and a backward that forgets dy altogether passes:


# %%
class Square(Layer):
    def forward(self, x):
        return x**2, x

    def backward(self, dy, saved):
        return 2 * saved  # the factor dy is missing


x = rng.normal(size=(2, 3))
for name, dy in (("ones", np.ones((2, 3))), ("random", rng.normal(size=(2, 3)))):
    numeric = numeric_gradient(lambda dy=dy: (Square()(x) * dy).sum(), x)
    passes = np.allclose(Square().backward(dy, x), numeric, rtol=1e-3, atol=1e-5)
    print(f"dy {name}: {'passes' if passes else 'fails'}")
    assert passes == (name == "ones")

# %% [markdown]
# For softmax and batch normalisation ones are even worse. Their outputs have a sum that is always the same, so the
# right dx for dy = 1 is 0, and there are mistakes that give 0, too (tutorial 4 has an example).
#
# ## Where there is no slope
#
# At a kink the slopes to the left and to the right differ, and the central difference is their mean. For ReLU at 0 it
# says 0.5, where backward says 0. Neither is wrong: there is nothing to compare. Worse, a kink *near* x spoils it: at
# x = 3e-7 the slope is 1, but a step of 1e-6 to the left lands on the other side.

# %%
for at in (0.0, 3e-7):
    print(f"ReLU at x = {at:g}: central difference {central(lambda x: max(x, 0.0), at, 1e-6):.2f}")
line = np.linspace(-1.5, 1.5, 301)
fig, axes = draw.panels(3, size=(12, 3.8))
curves = {"ReLU at 0": np.maximum(line, 0), "ReLU at 3e-7": np.maximum(line + 0.3, 0)}
for ax, (name, values) in zip(axes, curves.items(), strict=False):
    ends = np.interp([-1, 1], line, values)
    draw.curve(ax, {"L": values}, x=line, xlabel="step, in millionths", ylabel="L, in millionths", title=name)
    ax.plot([-1, 1], ends, color="#d55e00", marker="o", linewidth=1.5)
    ax.set_title(f"{name}: central difference {(ends[1] - ends[0]) / 2:.2f}", fontsize=12)
tie = {"one of them moved": np.maximum(line, 0), "both moved together": line}
draw.curve(axes[2], tie, x=line, xlabel="step, in millionths", ylabel="change of L", title="max of two equal numbers")
draw.show(fig, "06_kinks")

# %% [markdown]
# `gradcheck` looks at both one-sided slopes. Where they agree there is no kink. Where they differ, it makes the step
# smaller: beside the kink they soon agree, and on it they never do. Then the entry is listed, not compared. If too few
# entries are left, move x a little.

# %%
for at in (3e-7, 0.0):
    report = gradcheck(layers.ReLU(), np.array([[at, 1.0, -2.0]]))
    print(f"x = {at:g}: compared {report.row('x').checked}, left out {report.row('x').not_differentiable}")
    assert report
    assert report.row("x").checked == (3 if at else 2)
print(report)

# %% [markdown]
# A tie in a max pool is a kink, too. In the window 2 2 / 1 0 the maximum is 2 and belongs to both; raise one, and y
# follows; lower it, and the other one holds y up. But raise and lower both *together*, and y follows smoothly with
# slope 1: that can be compared with the sum of their two gradients, 1 + 0. (Max pool gives all of it to the first, see
# `03_pooling.py`.)

# %%
report = gradcheck(layers.MaxPool2d(2), np.array([[[[2.0, 2.0], [1.0, 0.0]]]]))
print(report)
for where, analytic, numeric in report.row("x").compared:
    print(f"compared: {where!s:15s} analytic {analytic:+.4f}   numeric {numeric:+.4f}")
assert "ties at 2" in [where for where, *_ in report.row("x").compared]

# %% [markdown]
# ## Linear layers: a test without a step
#
# A convolution without bias, a pool of averages, an enlargement: these are linear, y = A x for some large matrix A that
# nobody builds. Then dx = A^T dy, whatever x is, and for any two random x and dy
#
#     <A x, dy> = <x, A^T dy>         with <a, b> = the sum of all a * b
#     <forward(x), dy> = <x, backward(dy)>
#
# Both sides are sums of w * x * dy over all triples that belong together, one in forward's order and one in backward's.
# No step, no kinks, and the two agree to rounding.

# %%
conv = layers.Conv2d(1, 1, 3, bias=False, rng=rng, dtype=np.float64)
x, dy = rng.normal(size=(1, 1, 4, 4)), rng.normal(size=(1, 1, 2, 2))
y, saved = conv.forward(x)
left, right = (y * dy).sum(), (x * conv.backward(dy, saved)).sum()
print(f"<A x, dy> = {left:.15f}\n<x, A^T dy> = {right:.15f}")
assert abs(left - right) < 1e-13

# %% [markdown]
# For a convolution A is the matrix W of tutorials 1 and 2: its columns are what forward makes of single bright pixels,
# its rows what backward makes of a dy with a single 1.
#
# `gradcheck` finds out by itself whether a layer is linear, and then does this test as well. It sees errors far below
# the tolerance of finite differences, such as one of a ten-millionth:


# %%
class Nearly(layers.AvgPool2d):
    def backward(self, dy, saved):
        return super().backward(dy, saved) * (1 + 1e-7)


report = gradcheck(Nearly(2), rng.normal(size=(1, 1, 4, 4)))
print(report)
assert report.row("x").ok
assert not report

# %% [markdown]
# ## How to read a report
#
# One row for x and one for each parameter: how many entries were checked and how many kinks were left out, the largest
# error, absolute and relative, and the worst entry with both numbers. Below, the promises that any backward pass must
# keep: nothing modified that others still need, the same result again from the same record, and gradients *added* to
# what is there. That last one matters: a layer that is used twice gets two gradients, and their sum is right. `=` in
# place of `+=` keeps one of them. All numbers of a single pass are right, so only a second one shows it:


# %%
class Replaces(layers.Linear):
    def backward(self, dy, saved):
        dx = super().backward(dy, saved)
        self.weight.grad = dy.T @ saved.x
        return dx


report = gradcheck(Replaces(3, 2, rng=0), rng.normal(size=(4, 3)))
print(report)
assert all(row.ok for row in report.rows)
assert not report

# %% [markdown]
# ## The hunt: first case
#
# Three layers that look right. After each table: what do you suspect, and what would you try, before you read on?


# %%
class FirstCase(layers.ReLU):
    def backward(self, dy, saved):
        dx = dy.copy()
        dx[dx <= 0] = 0
        return dx


x = rng.normal(size=(2, 5))
first = gradcheck(FirstCase(), x, rng=1)
print(*first.table(), sep="\n")
for where, analytic, numeric in first.row("x").compared:
    print(f"   x {x[where]:+.2f}   analytic {analytic:+.3f}   numeric {numeric:+.3f}")

# %% [markdown]
# Compare the columns. Numeric is 0 where x is negative, as it should be for a gate. Analytic is never negative,
# whatever x is: its gate looks at dy. `gradcheck` works out what each of the classic mistakes would give, and names the
# one that fits to the last digit.

# %%
print(*first.diagnosis)
assert "the mask is taken from dy" in first.diagnosis[0]


class FirstCaseSolved(layers.ReLU):
    def backward(self, dy, saved):
        return np.where(saved.y > 0, dy, 0)


assert gradcheck(FirstCaseSolved(), x)

# %% [markdown]
# ## Second case
#
# The largest of each 3x3 window. In backward its gradient goes to the pixel that was the largest.


# %%
class SecondCase(Layer):
    def __init__(self, stride):
        self.stride = stride

    def forward(self, x):
        N, C, H, W = x.shape
        y = np.zeros((N, C, (H - 3) // self.stride + 1, (W - 3) // self.stride + 1), x.dtype)
        winner = np.zeros((2, *y.shape), int)
        for n, c, i, j in np.ndindex(y.shape):
            top, left = i * self.stride, j * self.stride
            window = x[n, c, top : top + 3, left : left + 3]
            r, s = np.unravel_index(window.argmax(), (3, 3))
            y[n, c, i, j], winner[:, n, c, i, j] = window[r, s], (top + r, left + s)
        return y, (winner, x.shape)

    def backward(self, dy, saved):
        winner, x_shape = saved
        dx = np.zeros(x_shape, dy.dtype)
        for n, c, i, j in np.ndindex(dy.shape):
            row, column = winner[:, n, c, i, j]
            self.pass_on(dx, (n, c, row, column), dy[n, c, i, j])
        return dx

    def pass_on(self, dx, pixel, amount):
        dx[pixel] = amount


x = rng.normal(size=(1, 1, 9, 9))
reports = {stride: gradcheck(SecondCase(stride), x) for stride in (1, 2, 3)}
for stride, report in reports.items():
    print(f"stride {stride}: {report.row('x').failed:2d} of {report.row('x').checked} entries disagree")
assert reports[3]
assert not reports[2]

# %% [markdown]
# Varying the settings is the best tool there is. With stride 3 nothing is wrong, with stride 2 a little, with stride 1
# much: the more the windows overlap, the worse. And then a pixel can win in several windows.

# %%
where, analytic, numeric = max(reports[1].row("x").compared, key=lambda entry: abs(entry[1] - entry[2]))
winner, _ = SecondCase(1).forward(x)[1]
wins = int((winner == np.array(where[2:]).reshape(2, 1, 1, 1, 1)).all(axis=0).sum())
print(f"the worst pixel, {where[2:]}, has won {wins} windows: analytic {analytic:+.3f}, numeric {numeric:+.3f}")
print(*reports[1].diagnosis)
assert wins > 1


class SecondCaseSolved(SecondCase):
    def pass_on(self, dx, pixel, amount):
        dx[pixel] += amount


assert all(gradcheck(SecondCaseSolved(stride), x) for stride in (1, 2, 3))

# %% [markdown]
# ## Third case
#
# Take off the mean of each map, y = x - mean. A constant is subtracted, so the derivative is 1, isn't it?


# %%
class ThirdCase(Layer):
    def forward(self, x):
        return x - x.mean(axis=(2, 3), keepdims=True), None

    def backward(self, dy, saved):
        return dy


third = gradcheck(ThirdCase(), rng.normal(size=(1, 2, 3, 3)))
print(*third.table(), *third.promises(), sep="\n")
maps = np.array([[a, n] for _, a, n in third.row("x").compared]).reshape(2, 9, 2)
print("sum over each map: analytic", maps[:, :, 0].sum(axis=1), "  numeric", maps[:, :, 1].sum(axis=1))
assert np.allclose(maps[:, :, 1].sum(axis=1), 0, atol=1e-6)

# %% [markdown]
# Ask what must be true of the right answer. The same number added to all of x changes nothing in y, so the numeric dx
# of a map sum to 0. The analytic ones don't. What is missing is the way through the mean, which is no constant: it
# moves with x. With M pixels in a map,
#
#     y[k] = x[k] - (sum over i of x[i])/M              dy[k]/dx[i] = (k == i) - 1/M
#     dx[i] = sum over k of dy[k] * ((k == i) - 1/M) = dy[i] - (sum over k of dy[k])/M
#
# The mistake comes back in batch normalisation, where there is a mean and a variance to forget.


# %%
class ThirdCaseSolved(ThirdCase):
    def backward(self, dy, saved):
        return dy - dy.mean(axis=(2, 3), keepdims=True)


print(*third.diagnosis)
assert gradcheck(ThirdCaseSolved(), rng.normal(size=(1, 2, 3, 3)))

# %% [markdown]
# ## The guilty layer in a net
#
# Now the first case hides in a net. All gradients come from the end: those of the layers behind the culprit have not
# been through it and are right; those in front of it are wrong.

# %%
net = layers.Sequential(
    first=layers.Conv2d(1, 2, 3, padding=1, rng=rng),
    bend=FirstCase(),
    level=layers.Concat(layers.Identity(), layers.Sequential(layers.MaxPool2d(2), layers.Upsample(scale_factor=2))),
    last=layers.Conv2d(4, 2, 3, padding=1, rng=rng),
)
report = gradcheck(net, rng.normal(size=(1, 1, 4, 6)))
print(*report.table(), sep="\n")
wrong = {row.name for row in report.rows if not row.ok}
assert wrong == {"x", "first.weight", "first.bias"}

# %% [markdown]
# So it stands between `first` and `last`. To be sure, check each layer there by itself, with the x that it really gets.
# `gradcheck` has done that already, with a report of its own for each of the guilty:

# %%
for name, inside in report.guilty:
    print(f"{name}: {inside.diagnosis[0]}")
assert [name for name, _ in report.guilty] == ["bend"]

# %% [markdown]
# ## What it can't see
#
# Whether forward computes what you meant. It compares backward with forward, and if both are wrong in the same way, all
# is well, as far as it can tell. So compare forward with a case that was worked out by hand, or with another program.


# %%
class Ninths(layers.AvgPool2d):
    def forward(self, x):
        y, saved = super().forward(x)
        return y * 4 / 9, saved

    def backward(self, dy, saved):
        return super().backward(dy, saved) * 4 / 9


ones = np.ones((1, 1, 2, 2))
print("gradcheck:", bool(gradcheck(Ninths(2), x[..., :4, :4])), "  the mean of four ones:", Ninths(2)(ones).item())
assert gradcheck(Ninths(2), x[..., :4, :4])
assert Ninths(2)(ones).item() != 1

# %% [markdown]
# ## Try
#
# 1. Draw the V for f(x) = sin(100 x). Where does the right arm begin now, and what does the formula for the best h say?
# 2. Break `minisegnet.layers` on purpose: subclass `Linear`, `Sigmoid` or `BatchNorm2d` with a backward of your own
#    that forgets something, and see whether `gradcheck` can name it.
# 3. Replace MaxPool2d in the last net by `SecondCase(1)` with an Upsample to fit. Two culprits: which of them are
#    named?
#
# The sources: `minisegnet/gradcheck/check.py`, `numeric.py` (how it tells a kink from a curve), `contracts.py` (the
# promises) and `mistakes/` (how it names them).

# %% [markdown]
# ## Check yourself
#
# 1. A forward pass of your net takes 10 ms, and it has a million weights. How long does a full check take?
# 2. Why is it no use to check a ReLU net at x = 0?
# 3. Backward returns dx = dy for a layer that computes y = 3 - x. What do you read in the report?

# %% [markdown]
# ## Answers
#
# 1. Two forward passes for each weight: 20,000 s, five and a half hours. So check small nets of the same layers;
#    `gradcheck` itself takes a sample of the entries of large arrays, and some random directions.
# 2. Without biases all values are 0 then, and every ReLU sits on its kink: no entry of x can be compared. Those of the
#    weights can, but they are all 0, and 0 = 0 proves nothing.
# 3. analytic and numeric differ in sign only, and so in all entries: "it has the wrong sign".
