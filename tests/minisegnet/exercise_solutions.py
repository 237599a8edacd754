"""Answers to the exercises: right ones, wrong ones with the mistake's name, and repairs of the gallery's bugs.

An answer is the text that stands in place of the template's `raise NotImplementedError(...)`; a repair is a list of
(old, new) pieces of the file.
"""

import textwrap

from minisegnet.exercise.catalogue import EXERCISES


def filled(name, body):
    """The template of an exercise with an answer in it."""
    text = EXERCISES[name].template.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    (at,) = [i for i, line in enumerate(lines) if line.lstrip().startswith("raise NotImplementedError(")]
    indent = lines[at][: len(lines[at]) - len(lines[at].lstrip())]
    lines[at] = textwrap.indent(textwrap.dedent(body).strip("\n"), indent) + "\n"
    return "".join(lines)


def repaired(name):
    """The file of a bug, repaired."""
    text = EXERCISES[name].template.read_text(encoding="utf-8")
    for old, new in REPAIRS[name]:
        assert text.count(old) == 1, (name, old, text.count(old))
        text = text.replace(old, new)
    return text


# ------------------------------------------------------------------ right ones

CONV = """
    xp = pad(x, p)
    O, C, kH, kW = w.shape
    dw, dxp = np.zeros_like(w), np.zeros_like(xp)
    for i, j in np.ndindex(dy.shape[2:]):
        window = xp[{window}]
        for o in range(O):
            d = dy[:, o, i, j][:, None, None, None]
            dw[o] += (d * window).sum(axis=0)
            dxp[{window}] += d * w[o]
    self.weight.grad += dw
    self.bias.grad += dy.sum(axis=(0, 2, 3))
    return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]
"""
STRIDED = CONV.replace("{window}", ":, :, i * s : i * s + kH, j * s : j * s + kW")
DILATED = CONV.replace("{window}", ":, :, i : i + d * (kH - 1) + 1 : d, j : j + d * (kW - 1) + 1 : d")
DILATED = DILATED.replace("d = dy[", "dout = dy[").replace("(d *", "(dout *").replace("+= d *", "+= dout *")
TRANSPOSED = """
    dyp = np.pad(dy, ((0, 0), (0, 0), (p, p), (p, p)))
    C, O, kH, kW = w.shape
    dw, dx = np.zeros_like(w), np.zeros_like(x)
    for i, j in np.ndindex(x.shape[2:]):
        window = dyp[:, :, i * s : i * s + kH, j * s : j * s + kW]
        for c in range(C):
            dw[c] += (x[:, c, i, j][:, None, None, None] * window).sum(axis=0)
            dx[:, c, i, j] = (window * w[c]).sum(axis=(1, 2, 3))
    self.weight.grad += dw
    self.bias.grad += dy.sum(axis=(0, 2, 3))
    return dx
"""
LOOPS = """
    xp = pad(x, p)
    dxp = np.zeros_like(xp)
    for n, o, i, j in np.ndindex(dy.shape):
        for c, r, t in np.ndindex(w.shape[1:]):
            self.weight.grad[o, c, r, t] += dy[n, o, i, j] * xp[n, c, i * s + r, j * s + t]
            dxp[n, c, i * s + r, j * s + t] += dy[n, o, i, j] * w[o, c, r, t]
    self.bias.grad += dy.sum(axis=(0, 2, 3))
    return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]
"""
TAPS = """
    xp = pad(x, p)
    dxp, (rows, cols) = np.zeros_like(xp), dy.shape[2:]
    for n, o, c, r, t in np.ndindex(len(x), *w.shape):
        place = n, c, slice(r, r + (rows - 1) * s + 1, s), slice(t, t + (cols - 1) * s + 1, s)
        self.weight.grad[o, c, r, t] += (dy[n, o] * xp[place]).sum()
        dxp[place] += dy[n, o] * w[o, c, r, t]
    self.bias.grad += dy.sum(axis=(0, 2, 3))
    return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]
"""
LINEAR = """
    self.weight.grad += dy.T @ x
    self.bias.grad += dy.sum(axis=0)
    return dy @ w
"""
CONV1D = """
    dx, length = np.zeros_like(x), dy.shape[1]
    for i in range(length):
        dx[:, i : i + len(w)] += dy[:, i : i + 1] * w
    self.weight.grad += [(dy * x[:, r : r + length]).sum() for r in range(len(w))]
    self.bias.grad += dy.sum()
    return dx
"""
AVERAGE = """
    dx = np.zeros(x_shape, dy.dtype)
    for i, j in np.ndindex(dy.shape[2:]):
        dx[:, :, i * s : i * s + k, j * s : j * s + k] += dy[:, :, i : i + 1, j : j + 1] / k**2
    return dx
"""
MAX = """
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(dy.shape):
        window = x[n, c, i * s : i * s + k, j * s : j * s + k]
        a, b = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i * s + a, j * s + b] += dy[n, c, i, j]
    return dx
"""
BILINEAR = """
    dh = np.zeros((N, C, H * factor, W), dy.dtype)
    for j, (low, high, t) in enumerate(zip(*places(W, factor), strict=True)):
        dh[:, :, :, low] += (1 - t) * dy[:, :, :, j]
        dh[:, :, :, high] += t * dy[:, :, :, j]
    dx = np.zeros((N, C, H, W), dy.dtype)
    for i, (low, high, t) in enumerate(zip(*places(H, factor), strict=True)):
        dx[:, :, low, :] += (1 - t) * dh[:, :, i, :]
        dx[:, :, high, :] += t * dh[:, :, i, :]
    return dx
"""
NORM = """
    m = dy.size // len(w)
    dbias, dweight = dy.sum(axis=(0, 2, 3)), (dy * xhat).sum(axis=(0, 2, 3))
    self.bias.grad += dbias
    self.weight.grad += dweight
    inside = dy - dbias[:, None, None] / m - xhat * dweight[:, None, None] / m
    return (w / std)[:, None, None] * inside
"""
NUMERIC = """
    gradient = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        old = x[k]
        x[k] = old + eps
        right = f(x)
        x[k] = old - eps
        left = f(x)
        x[k] = old
        gradient[k] = (right - left) / (2 * eps)
    return gradient
"""
CROSS_ENTROPY = """
    dscores = p.copy()
    dscores[np.arange(len(target)), target] -= 1
    return dvalue * dscores / len(target)
"""
MOMENTUM = """
    g = parameter.grad + self.weight_decay * parameter.value
    velocity *= self.momentum
    velocity += g
    parameter.value[...] -= self.lr * velocity
"""
ADAM = """
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    parameter.value[...] -= self.lr * m_hat / (v_hat**0.5 + self.eps)
"""
DICE = "return -dvalue * (2 * t * below - above) / below**2"
SKIP = "return dy[:, :C] + self.inner.backward(dy[:, C:], inner_saved)"

SOLUTIONS = {
    "relu": "return dy * (x > 0)",
    "leaky-relu": "return np.where(x > 0, dy, self.negative_slope * dy)",
    "sigmoid": "return dy * y * (1 - y)",
    "linear": LINEAR,
    "softmax-cross-entropy": CROSS_ENTROPY,
    "numeric-gradient": NUMERIC,
    "average-pool": AVERAGE,
    "max-pool": MAX,
    "conv1d": CONV1D,
    "conv2d": STRIDED,
    "dilated-conv": DILATED,
    "transposed-conv": TRANSPOSED,
    "bilinear-upsampling": BILINEAR,
    "concat-skip": SKIP,
    "batchnorm": NORM,
    "dropout": "return dy if keep is None else keep * dy / (1 - self.p)",
    "dice": DICE,
    "momentum": MOMENTUM,
    "adam": ADAM,
}


def but(body, *changes):
    """An answer with pieces replaced: (old, new), (old, new), ..."""
    body = textwrap.dedent(body)
    for old, new in changes:
        assert old in body, old
        body = body.replace(old, new)
    return body


# ------------------------------------------------------------------ wrong ones, with the names of their mistakes

LAST_STAMPS = """
    for c, o, r, t in np.ndindex(w.shape):
        for i, j in np.ndindex(x.shape[2:]):
            self.weight.grad[c, o, r, t] = (x[:, c, i, j] * dyp[:, o, i * s + r, j * s + t]).sum()
"""
FIRST_PIXELS = "for n, o in np.ndindex(dy.shape[:2]):\n    self.bias.grad[o] = dy[n, o, 0].sum()"
FULL = "np.stack([np.{}(d, {}, 'full') for d in dy])"

WRONG = {
    "relu": [
        ("mask-from-dy", "return dy * (dy > 0)"),
        ("mask-missing", "return dy"),
        ("mask-inverted", "return dy * (x < 0)"),
        ("dy-missing", "return (x > 0) * 1.0"),
        ("open-at-zero", "return dy * (x >= 0)"),
        ("times-y", "return dy * np.maximum(x, 0)"),
        ("modifies-in-place", "dy[x <= 0] = 0\nreturn dy"),
        ("zero", "return 0 * dy"),
        ("wrong-sign", "return -dy * (x > 0)"),
        ("returns-none", "dx = dy * (x > 0)"),
        ("wrong-shape", "return (dy * (x > 0)).sum(axis=0)"),
        ("no-array", "return x > 0"),
        ("raises-AttributeError", "return dy * saved.mask"),
    ],
    "leaky-relu": [
        ("slope-missing", "return dy * (x > 0)"),
        ("mask-from-dy", "return np.where(dy > 0, dy, self.negative_slope * dy)"),
        ("mask-inverted", "return np.where(x > 0, self.negative_slope * dy, dy)"),
        ("slope-forgotten-in-sign", "return np.where(x > 0, dy, -self.negative_slope * dy)"),
        ("slope-times-x", "return np.where(x > 0, dy, self.negative_slope * x)"),
    ],
    "sigmoid": [
        ("factor-missing", "return dy * y"),
        ("factor-y-missing", "return dy * (1 - y)"),
        ("dy-missing", "return y * (1 - y)"),
        ("sigmoid-of-y", "z = 1 / (1 + np.exp(-y))\nreturn dy * z * (1 - z)"),
    ],
    "linear": [
        ("weight-transposed", but(LINEAR, ("dy @ w", "dy @ (w.T if w.shape[0] == w.shape[1] else w)"))),
        ("returns-tuple", "return dy @ w, dy.T @ x, dy.sum(axis=0)"),
        ("gradient-replaced", but(LINEAR, ("self.weight.grad +=", "self.weight.grad ="))),
        ("bias-mean", but(LINEAR, ("dy.sum(axis=0)", "dy.mean(axis=0)"))),
        ("divided-by-batch", but(LINEAR, ("dy.T @ x", "dy.T @ x / len(x)"))),
        ("first-sample-only", but(LINEAR, ("dy.T @ x", "dy[:1].T @ x[:1]"))),
        ("zero", but(LINEAR, ("self.bias.grad += dy.sum(axis=0)", ""))),
        (
            "products-overwrite",
            but(
                LINEAR,
                (
                    "return dy @ w",
                    "dx = np.zeros_like(x)\nfor o in range(len(w)):\n    dx[:] = dy[:, o : o + 1] * w[o]\nreturn dx",
                ),
            ),
        ),
        ("weight-gradient-from-w", but(LINEAR, ("dy.T @ x", "dy.sum(axis=0)[:, None] * w"))),
        ("raises-ValueError", but(LINEAR, ("dy @ w", "w @ dy"))),
    ],
    "softmax-cross-entropy": [
        ("not-averaged", but(CROSS_ENTROPY, (" / len(target)", ""))),
        ("dvalue-ignored", but(CROSS_ENTROPY, ("dvalue * ", ""))),
        ("neither-averaged-nor-dvalue", but(CROSS_ENTROPY, ("dvalue * ", ""), (" / len(target)", ""))),
        ("divided-by-all-scores", but(CROSS_ENTROPY, ("/ len(target)", "/ p.size"))),
        ("label-not-taken-off", "return dvalue * p / len(target)"),
        ("wrong-sign", but(CROSS_ENTROPY, ("return dvalue", "return -dvalue"))),
        (
            "derivative-of-log-alone",
            "d = np.zeros_like(p)\nn = np.arange(len(target))\nd[n, target] = -1 / p[n, target]\n"
            "return dvalue * d / len(target)",
        ),
        (
            "only-the-label",
            "d = np.zeros_like(p)\nn = np.arange(len(target))\nd[n, target] = p[n, target] - 1\n"
            "return dvalue * d / len(target)",
        ),
        ("modifies-in-place", but(CROSS_ENTROPY, ("p.copy()", "p"))),
    ],
    "numeric-gradient": [
        ("one-sided", but(NUMERIC, ("x[k] = old - eps", "x[k] = old"), ("2 * eps", "eps"))),
        ("step-not-doubled", but(NUMERIC, ("(2 * eps)", "eps"))),
        ("not-divided", but(NUMERIC, (" / (2 * eps)", ""))),
        (
            "all-moved-at-once",
            "return np.full_like(x, (f(x + eps) - f(x - eps)) / (2 * eps))",
        ),
        ("sum-of-both", but(NUMERIC, ("right - left", "right + left"))),
        ("left-moved-left", but(NUMERIC, ("    x[k] = old\n", ""))),
    ],
    "average-pool": [
        ("not-divided", but(AVERAGE, (" / k**2", ""))),
        ("divided-by-side", but(AVERAGE, ("k**2", "k"))),
        ("divided-by-stride", but(AVERAGE, ("k**2", "s**2"))),
        ("windows-overwrite", but(AVERAGE, ("+=", "="))),
        (
            "to-first-pixel",
            but(AVERAGE, ("i * s : i * s + k, j * s : j * s + k", "i * s : i * s + 1, j * s : j * s + 1")),
        ),
        ("stride-ignored", but(AVERAGE, ("i * s : i * s + k, j * s : j * s + k", "i : i + k, j : j + k"))),
    ],
    "max-pool": [
        ("overlap-lost", but(MAX, ("+=", "="))),
        ("last-tie-wins", but(MAX, ("window.argmax()", "window.size - 1 - window.ravel()[::-1].argmax()"))),
        (
            "ties-all-win",
            "dx = np.zeros_like(x)\nfor n, c, i, j in np.ndindex(dy.shape):\n"
            "    place = n, c, slice(i * s, i * s + k), slice(j * s, j * s + k)\n"
            "    dx[place] += (x[place] == x[place].max()) * dy[n, c, i, j]\nreturn dx",
        ),
        ("shared-equally", but(AVERAGE, ("np.zeros(x_shape, dy.dtype)", "np.zeros_like(x)"))),
        ("whole-window", but(AVERAGE, ("np.zeros(x_shape, dy.dtype)", "np.zeros_like(x)"), (" / k**2", ""))),
        (
            "ties-share",
            "dx = np.zeros_like(x)\nfor n, c, i, j in np.ndindex(dy.shape):\n"
            "    place = n, c, slice(i * s, i * s + k), slice(j * s, j * s + k)\n"
            "    winners = x[place] == x[place].max()\n"
            "    dx[place] += winners / winners.sum() * dy[n, c, i, j]\nreturn dx",
        ),
        ("raises-IndexError", but(MAX, ("i * s + a, j * s + b", "i * k + a, j * k + b"))),
    ],
    "conv1d": [
        ("kernel-not-rotated", but(CONV1D, ("* w\n", "* w[::-1]\n"))),
        ("windows-overwrite", but(CONV1D, ("dx[:, i : i + len(w)] +=", "dx[:, i : i + len(w)] ="))),
        ("weight-gradient-rotated", but(CONV1D, ("in range(len(w))]", "in reversed(range(len(w)))]"))),
        (
            "dy-turned-round",
            but(CONV1D, ("[(dy * x[:, r : r + length]).sum()", "[(dy[:, ::-1] * x[:, r : r + length]).sum()")),
        ),
        (
            "first-sample-only",
            but(CONV1D, ("[(dy * x[:, r : r + length]).sum()", "[(dy * x[:, r : r + length])[0].sum()")),
        ),
        (
            "taps-overwrite",
            "dx, length = np.zeros_like(x), dy.shape[1]\nfor r in range(len(w)):\n"
            "    dx[:, r : r + length] = dy * w[r]\n    self.weight.grad[r] += (dy * x[:, r : r + length]).sum()\n"
            "self.bias.grad += dy.sum()\nreturn dx",
        ),
        (
            "products-overwrite",
            but(
                CONV1D,
                (
                    "self.weight.grad += [(dy * x[:, r : r + length]).sum() for r in range(len(w))]",
                    "for n, i in np.ndindex(dy.shape):\n    self.weight.grad[:] = dy[n, i] * x[n, i : i + len(w)]",
                ),
            ),
        ),
        ("bias-from-one", but(CONV1D, ("+= dy.sum()", "+= dy[:, 0].sum()"))),
        (
            "divided-by-batch",
            but(CONV1D, ("[(dy * x[:, r : r + length]).sum()", "[(dy * x[:, r : r + length]).sum() / len(x)")),
        ),
    ],
    "conv2d": [
        ("kernel-not-rotated", but(STRIDED, ("d * w[o]", "d * w[o, :, ::-1, ::-1]"))),
        (
            "weight-gradient-rotated",
            but(STRIDED, ("self.weight.grad += dw", "self.weight.grad += dw[:, :, ::-1, ::-1]")),
        ),
        (
            "windows-overwrite",
            but(STRIDED, ("    for o in", "    dxp[:, :, i * s : i * s + kH, j * s : j * s + kW] = 0\n    for o in")),
        ),
        ("padding-not-cropped", but(STRIDED, ("p : p + x.shape[2], p : p + x.shape[3]", ": x.shape[2], : x.shape[3]"))),
        ("wrong-shape", but(STRIDED, ("return dxp[:, :, p : p + x.shape[2], p : p + x.shape[3]]", "return dxp"))),
        ("bias-mean", but(STRIDED, ("dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(0, 2, 3))"))),
        ("first-image-only", but(STRIDED, ("(d * window).sum(axis=0)", "(d * window)[0]"))),
        ("mean-over-batch", but(STRIDED, ("(d * window).sum(axis=0)", "(d * window).mean(axis=0)"))),
        (
            "padding-ignored",
            but(
                STRIDED,
                ("self.weight.grad += dw", "self.weight.grad += wrong"),
                ("xp = pad(x, p)", "xp, xq = pad(x, p), np.pad(x, ((0, 0), (0, 0), (0, 2 * p), (0, 2 * p)))"),
                ("dw, dxp =", "wrong, dw, dxp = np.zeros_like(w),"),
                (
                    "        dw[o] +=",
                    "        wrong[o] += (d * xq[:, :, i * s : i * s + kH, j * s : j * s + kW]).sum(axis=0)\n        "
                    "dw[o] +=",
                ),
            ),
        ),
        ("channels-swapped", but(STRIDED, ("d * w[o]", "d * (w[:, o] if O == C else w[o])"))),
        ("raises-ValueError", but(STRIDED, ("[:, None, None, None]", ""))),
        ("products-overwrite", but(LOOPS, ("dxp[n, c, i * s + r, j * s + t] +=", "dxp[n, c, i * s + r, j * s + t] ="))),
        ("products-overwrite", but(STRIDED, ("+= d * w[o]", "= d * w[o]"))),
        ("products-overwrite", but(LOOPS, ("self.weight.grad[o, c, r, t] +=", "self.weight.grad[o, c, r, t] ="))),
        ("products-overwrite", but(STRIDED, ("self.bias.grad += dy.sum(axis=(0, 2, 3))", FIRST_PIXELS))),
        ("last-window-only", but(STRIDED, ("dw[o] +=", "dw[o] ="))),
        ("taps-overwrite", but(TAPS, ("dxp[place] +=", "dxp[place] ="))),
        (
            "wrong-shape",
            but(STRIDED, ("p : p + x.shape[2], p : p + x.shape[3]", "p + 1 : p + 1 + x.shape[2], p + 1 :")),
        ),
    ],
    "dilated-conv": [
        ("kernel-not-rotated", but(DILATED, ("dout * w[o]", "dout * w[o, :, ::-1, ::-1]"))),
        ("weight-gradient-rotated", but(DILATED, ("+= dw", "+= dw[:, :, ::-1, ::-1]"))),
        ("padding-not-cropped", but(DILATED, ("p : p + x.shape[2], p : p + x.shape[3]", ": x.shape[2], : x.shape[3]"))),
        ("products-overwrite", but(DILATED, ("+= dout * w[o]", "= dout * w[o]"))),
        ("last-window-only", but(DILATED, ("dw[o] +=", "dw[o] ="))),
        (
            "dilation-ignored",
            but(
                DILATED,
                (
                    "dxp[:, :, i : i + d * (kH - 1) + 1 : d, j : j + d * (kW - 1) + 1 : d]",
                    "dxp[:, :, i : i + kH, j : j + kW]",
                ),
            ),
        ),
    ],
    "transposed-conv": [
        ("kernel-rotated", but(TRANSPOSED, ("window * w[c]", "window * w[c, :, ::-1, ::-1]"))),
        ("weight-gradient-rotated", but(TRANSPOSED, ("+= dw", "+= dw[:, :, ::-1, ::-1]"))),
        (
            "stride-ignored",
            but(
                TRANSPOSED,
                (
                    "        dx[:, c, i, j]",
                    "        window = dyp[:, :, i : i + kH, j : j + kW]\n        dx[:, c, i, j]",
                ),
            ),
        ),
        (
            "padding-ignored",
            but(
                TRANSPOSED,
                (
                    "        dx[:, c, i, j]",
                    "        window = dyq[:, :, i * s : i * s + kH, j * s : j * s + kW]\n        dx[:, c, i, j]",
                ),
                ("C, O, kH", "dyq = np.pad(dy, ((0, 0), (0, 0), (0, 2 * p), (0, 2 * p)))\nC, O, kH"),
                (
                    "        dw[c] +=",
                    "        window = dyp[:, :, i * s : i * s + kH, j * s : j * s + kW]\n        dw[c] +=",
                ),
            ),
        ),
        (
            "products-overwrite",
            but(
                TRANSPOSED,
                (
                    "        dx[:, c, i, j] = (window * w[c]).sum(axis=(1, 2, 3))",
                    "        for o, r, t in np.ndindex(w.shape[1:]):\n"
                    "            dx[:, c, i, j] = window[:, o, r, t] * w[c, o, r, t]",
                ),
            ),
        ),
        ("products-overwrite", but(TRANSPOSED, ("self.weight.grad += dw", LAST_STAMPS))),
        ("bias-mean", but(TRANSPOSED, ("dy.sum(axis=(0, 2, 3))", "dy.mean(axis=(0, 2, 3))"))),
    ],
    "bilinear-upsampling": [
        ("weights-swapped", but(BILINEAR, ("(1 - t) *", "T *"), (" t *", " (1 - t) *"), ("T *", "t *"))),
        ("nearest", but(BILINEAR, ("(1 - t) *", "1 *"), (" t *", " 0 *"))),
        ("upper-forgotten", but(BILINEAR, (" t *", " 0 *"))),
        ("no-weights", but(BILINEAR, ("(1 - t) *", "1 *"), (" t *", " 1 *"))),
        (
            "lost-where-equal",
            "low, high, t = places(W, factor)\ndh = np.zeros((N, C, H * factor, W), dy.dtype)\n"
            "dh[:, :, :, low] += (1 - t) * dy\ndh[:, :, :, high] += t * dy\n"
            "low, high, t = places(H, factor)\nt = t[:, None]\ndx = np.zeros((N, C, H, W), dy.dtype)\n"
            "dx[:, :, low, :] += (1 - t) * dh\ndx[:, :, high, :] += t * dh\nreturn dx",
        ),
    ],
    "concat-skip": [
        ("skip-lost", "return self.inner.backward(dy[:, C:], inner_saved)"),
        ("inside-lost", "return dy[:, :C]"),
        ("inside-not-called", "return dy[:, :C]"),
        (
            "halves-exchanged",
            "O = dy.shape[1] - C\nif O != C:\n    "
            + SKIP
            + "\nreturn dy[:, O:] + self.inner.backward(dy[:, :O], inner_saved)",
        ),
        ("raises-ValueError", "return dy + self.inner.backward(dy, inner_saved)"),
        ("modifies-in-place", "dx = dy[:, :C]\ndx += self.inner.backward(dy[:, C:], inner_saved)\nreturn dx"),
    ],
    "batchnorm": [
        (
            "constant-statistics",
            but(NORM, ("inside = dy - dbias[:, None, None] / m - xhat * dweight[:, None, None] / m", "inside = dy")),
        ),
        ("way-through-variance-missing", but(NORM, (" - xhat * dweight[:, None, None] / m", ""))),
        ("way-through-mean-missing", but(NORM, (" - dbias[:, None, None] / m", ""))),
        ("weight-missing", but(NORM, ("(w / std)", "(1 / std)"))),
        ("sums-not-divided", but(NORM, ("m = dy.size // len(w)", "m = 1"))),
        ("gradient-of-bias", but(NORM, ("self.weight.grad += dweight", "self.weight.grad += dbias"))),
        ("weight-too-often", but(NORM, ("self.weight.grad += dweight", "self.weight.grad += dweight * w"))),
        ("var-for-std", but(NORM, ("(w / std)", "(w / std**2)"))),
    ],
    "dropout": [
        ("mask-missing", "return dy"),
        ("scale-missing", "return dy if keep is None else keep * dy"),
        ("new-mask", "return dy if keep is None else (self.rng.random(dy.shape) >= self.p) * dy / (1 - self.p)"),
        ("scaled-by-p", "return dy if keep is None else keep * dy / self.p"),
        ("scaled-twice", "return dy if keep is None else keep * dy / (1 - self.p) ** 2"),
        ("raises-TypeError", "return keep * dy / (1 - self.p)"),
    ],
    "dice": [
        ("quotient-rule-sign", but(DICE, ("- above", "+ above"))),
        ("below-constant", "return -dvalue * 2 * t / below"),
        ("not-squared", but(DICE, ("below**2", "below"))),
        ("two-forgotten", but(DICE, ("2 * t", "t"))),
        ("one-minus-forgotten", but(DICE, ("-dvalue", "dvalue"))),
        ("dvalue-ignored", but(DICE, ("-dvalue *", "-"))),
    ],
    "momentum": [
        (
            "memory-lost",
            but(MOMENTUM, ("velocity *= self.momentum\nvelocity += g", "velocity = self.momentum * velocity + g")),
        ),
        ("uphill", but(MOMENTUM, ("-= self.lr", "+= self.lr"))),
        ("decay-forgotten", but(MOMENTUM, (" + self.weight_decay * parameter.value", " + 0"))),
        ("gradient-modified", but(MOMENTUM, ("g = parameter.grad + ", "g = parameter.grad\ng += "))),
        (
            "decay-not-remembered",
            but(
                MOMENTUM,
                (" + self.weight_decay * parameter.value", " + 0"),
                ("self.lr * velocity", "self.lr * (velocity + self.weight_decay * parameter.value)"),
            ),
        ),
        (
            "dampened",
            but(MOMENTUM, ("velocity += g", "velocity += (1 if self.step_count == 1 else 1 - self.momentum) * g")),
        ),
        ("raises-AttributeError", but(MOMENTUM, ("parameter.value[...]", "parameter.value"))),
    ],
    "adam": [
        ("no-correction", but(ADAM, (" / (1 - beta1**t)", ""), (" / (1 - beta2**t)", ""))),
        ("only-m-corrected", but(ADAM, (" / (1 - beta2**t)", ""))),
        ("only-v-corrected", but(ADAM, (" / (1 - beta1**t)", ""))),
        ("correction-inverted", but(ADAM, ("m / (1", "m * (1"), ("v / (1", "v * (1"))),
        ("eps-inside", but(ADAM, ("(v_hat**0.5 + self.eps)", "(v_hat + self.eps) ** 0.5"))),
        (
            "eps-before-correction",
            but(ADAM, ("m_hat / (v_hat**0.5 + self.eps)", "m_hat * (1 - beta2**t) ** 0.5 / (v**0.5 + self.eps)")),
        ),
        (
            "memory-lost",
            but(
                ADAM,
                ("m *= beta1\nm += (1 - beta1) * g", "m = beta1 * m + (1 - beta1) * g"),
                ("v *= beta2\nv += (1 - beta2) * g * g", "v = beta2 * v + (1 - beta2) * g * g"),
            ),
        ),
        ("memory-lost", but(ADAM, ("m *= beta1\nm += (1 - beta1) * g", "m = beta1 * m + (1 - beta1) * g"))),
        ("memory-lost", but(ADAM, ("v *= beta2\nv += (1 - beta2) * g * g", "v = beta2 * v + (1 - beta2) * g * g"))),
        ("g-not-squared", but(ADAM, ("* g * g", "* abs(g)"))),
        ("root-missing", but(ADAM, ("v_hat**0.5", "v_hat"))),
    ],
}

# ------------------------------------------------------------------ the gallery, repaired

REPAIRS = {
    "bug-max-pool-ties": [
        (
            "winners = x[:, :, rows, cols] == y[:, :, i, j][:, :, None, None]",
            "window = x[:, :, rows, cols].reshape(*x.shape[:2], -1)\n"
            "                winners = np.zeros_like(window)\n"
            "                np.put_along_axis(winners, window.argmax(axis=2)[:, :, None], 1, axis=2)\n"
            "                winners = winners.reshape(*x.shape[:2], k, k)",
        )
    ],
    "bug-max-pool-nan": [
        ("if x[n, c, a, b] > y[n, c, i, j]:", "if x[n, c, a, b] > y[n, c, i, j] or np.isnan(x[n, c, a, b]):")
    ],
    "bug-average-pool-border": [
        (
            "dx[:, :, i * s : i * s + k] += dy[:, :, i : i + 1] / k",
            "window = dx[:, :, i * s : i * s + k]\n            window += dy[:, :, i : i + 1] / window.shape[2]",
        )
    ],
    "bug-bilinear-half-pixel": [
        ("place = min(i / self.factor, size - 1)", "place = min(max((i + 0.5) / self.factor - 0.5, 0), size - 1)")
    ],
    "bug-transposed-output-padding": [
        (
            "yp = np.zeros((N, w.shape[1], (H - 1) * s + k, (W - 1) * s + k), x.dtype)",
            "yp = np.zeros((N, w.shape[1], (H - 1) * s + k + extra, (W - 1) * s + k + extra), x.dtype)",
        ),
        ("        y = np.pad(y, ((0, 0), (0, 0), (0, extra), (0, extra)))\n", ""),
        ("        dy = dy[:, :, : dy.shape[2] - extra, : dy.shape[3] - extra]\n", ""),
    ],
    "bug-batch-norm-variance": [
        (
            "self.momentum * (var - self.running_var)",
            "self.momentum * (x.var(axis=(0, 2, 3), ddof=1) - self.running_var)",
        )
    ],
    "bug-batch-norm-eval": [
        ("xhat, std, _ = saved", "xhat, std, training = saved"),
        (
            "        return (self.weight.value / std)[:, None, None] * centred",
            "        return (self.weight.value / std)[:, None, None] * (centred if training else dy)",
        ),
    ],
    "bug-add-in-place": [("        y += h\n        return y, Saved", "        return y + h, Saved")],
    "bug-dropout-zeros": [
        ("    x: np.ndarray\n    y: np.ndarray", "    keep: np.ndarray | None"),
        ("return x, Saved(x, x)", "return x, Saved(None)"),
        ("return y, Saved(x, y)", "return y, Saved(keep)"),
        ("        x, y = saved\n", "        (keep,) = saved\n        if keep is None:\n            return dy\n"),
        ("        scale = np.ones_like(x)\n", ""),
        (
            "        np.divide(y, x, out=scale, where=x != 0)  # what x was multiplied by; 0/0 can't be computed\n"
            "        return dy * scale",
            "        return keep * dy / (1 - self.p)",
        ),
    ],
    "bug-gradient-overwritten": [("np.matmul(dy.T, x, out=self.weight.grad)", "self.weight.grad += dy.T @ x")],
    "bug-softmax-shift": [
        (
            "        shift = np.zeros((*x.shape[:-1], 1), x.dtype)\n        for k in range(x.shape[-1]):\n"
            "            shift = np.maximum(shift, x[..., k : k + 1])\n",
            "        shift = x.max(axis=-1, keepdims=True)\n",
        )
    ],
    "bug-cross-entropy-ignore": [
        ("return float(losses.mean()), Saved", "return float(losses.sum() / max(known.sum(), 1)), Saved"),
        ("known[:, None] / len(target)", "known[:, None] / max(known.sum(), 1)"),
    ],
    "bug-dice-quotient": [("2 * t * below + above", "2 * t * below - above")],
    "bug-adam-correction": [
        ("unbiased_m = m * (1", "unbiased_m = m / (1"),
        ("unbiased_v = v * (1", "unbiased_v = v / (1"),
    ],
    "bug-adam-epsilon": [
        ("step = self.lr * np.sqrt(1 - beta2**t) / (1 - beta1**t)", "step = self.lr / (1 - beta1**t)"),
        ("(np.sqrt(v) + self.eps)", "(np.sqrt(v / (1 - beta2**t)) + self.eps)"),
    ],
}
