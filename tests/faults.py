"""Break backward passes one line at a time and see whether the tests notice.

    python tests/faults.py            all faults, each in a copy of the project; exit code 1 if one goes unnoticed
    python tests/faults.py --list     only say what they are
    python tests/faults.py max_pool   those whose file or description contains the word

A test suite that lets one of these pass can't be trusted with a real mistake.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OPS, LAYERS, LOSSES = "tests/kernels", "tests/minisegnet", "tests/minisegnet/losses"
CONV, POOL, NORM, SOFTMAX = (f"{OPS}/test_ops_{name}.py" for name in ("conv", "pool", "norm", "softmax"))
RESIZE, ELEMENTWISE, LINEAR = (f"{OPS}/test_ops_{name}.py" for name in ("resize", "elementwise", "linear"))
EVERY_LAYER = f"{LAYERS}/test_every_layer.py"


class Fault(NamedTuple):
    what: str
    path: str
    right: str
    wrong: str
    tests: str  # where to look first; the whole suite would notice it too


FAULTS = [
    Fault("conv dx: kernel not rotated", "kernels/reference/conv.py", "w[:, :, ::-1, ::-1]", "w", CONV),
    Fault("conv dx: padding not cropped", "kernels/reference/conv.py", "dh * (kH - 1) - top,", "dh * (kH - 1),", CONV),
    Fault("conv dx: stride ignored", "kernels/reference/conv.py",
          "spread[:, :, ::sh, ::sw] = dy", "spread[:, :, : dy.shape[2], : dy.shape[3]] = dy", CONV),
    Fault("conv dw: rotated", "kernels/reference/conv.py",
          "dw[ys] = np.moveaxis(product, -1, 0)", "dw[ys] = np.moveaxis(product, -1, 0)[:, :, ::-1, ::-1]", CONV),
    Fault("conv db: only the first image", "kernels/reference/conv.py", "return dy.sum(axis=(0, 2, 3)",
          "return dy[:1].sum(axis=(0, 2, 3)", CONV),
    Fault("conv dx: one channel group taken twice", "kernels/reference/conv.py",
          "np.tensordot(rotated[ys], view[:, ys]", "np.tensordot(rotated[ys], view[:, : len(w) // groups]", CONV),
    Fault("transposed conv dx: kernel rotated", "kernels/reference/conv.py",
          "dx = conv2d_forward(dy, w, None,", "dx = conv2d_forward(dy, w[:, :, ::-1, ::-1], None,", CONV),
    Fault("max pool dx: lost where windows overlap", "kernels/reference/pool.py",
          "dx = np.bincount(target, weights=dy.ravel(), minlength=N * C * H * W)",
          "dx = np.zeros(N * C * H * W); dx[target] = dy.ravel()", POOL),
    Fault("max pool: ties go to the last", "kernels/reference/pool.py", "winner = values.argmax(axis=-1)",
          "winner = kH * kW - 1 - values[..., ::-1].argmax(axis=-1)", POOL),
    Fault("max unpool dx: overwritten values get a gradient", "kernels/reference/pool.py",
          "    dx[np.take_along_axis(last, switches, axis=2) != order] = 0\n", "", POOL),
    Fault("average pool dx: not divided", "kernels/reference/pool.py", "dx[:, :, *window] += share",
          "dx[:, :, *window] += dy", POOL),
    Fault("average pool dx: = instead of +=", "kernels/reference/pool.py", "dx[:, :, *window] += share",
          "dx[:, :, *window] = share", POOL),
    Fault("adaptive pool dx: not divided", "kernels/reference/pool.py", "None, None] / area", "None, None]", POOL),
    Fault("upsampling dx: = instead of +=", "kernels/reference/resize.py", "target[place] += source",
          "target[place] = source", RESIZE),
    Fault("bilinear dx: weights exchanged", "kernels/reference/resize.py", "[(low, 1 - t), (high, t)]",
          "[(low, t), (high, 1 - t)]", RESIZE),
    Fault("fit dx: other side cropped", "kernels/reference/resize.py",
          "pad_or_crop(dy, (-top, -bottom), (-left, -right))",
          "pad_or_crop(dy, (-bottom, -top), (-left, -right))", RESIZE),
    Fault("ReLU dx: mask from dy", "kernels/reference/activation.py", "np.where(y <= 0, 0, dy)",
          "np.where(dy <= 0, 0, dy)", ELEMENTWISE),
    Fault("ReLU dx: derivative 1 at 0", "kernels/reference/activation.py", "np.where(y <= 0, 0, dy)",
          "np.where(y < 0, 0, dy)", ELEMENTWISE),
    Fault("ReLU dx: in place", "kernels/reference/activation.py", "return np.where(y <= 0, 0, dy)",
          "dy[y <= 0] = 0; return dy", EVERY_LAYER),
    Fault("leaky ReLU dx: slope forgotten", "kernels/reference/activation.py", "np.where(x > 0, dy, slope * dy)",
          "np.where(x > 0, dy, 0)", ELEMENTWISE),
    Fault("sigmoid dx: y² instead of y(1-y)", "kernels/reference/activation.py", "dy * y * (1 - y)", "dy * y * y",
          ELEMENTWISE),
    Fault("tanh dx: 1 - y", "kernels/reference/activation.py", "dy * (1 - y * y)", "dy * (1 - y)", ELEMENTWISE),
    Fault("dropout dx: not scaled", "kernels/reference/activation.py", "np.where(keep, dy * scale, 0)",
          "np.where(keep, dy, 0)", ELEMENTWISE),
    Fault("softmax dx: diagonal of the Jacobian", "kernels/reference/softmax.py",
          "y * (dy - (dy * y).sum(axis=dim, keepdims=True))", "y * (dy - dy * y)", SOFTMAX),
    Fault("log-softmax dx: sum forgotten", "kernels/reference/softmax.py",
          "dy - np.exp(y) * dy.sum(axis=dim, keepdims=True)", "dy - np.exp(y) * dy", SOFTMAX),
    Fault("cross-entropy dx: p not times the weight", "kernels/reference/softmax.py",
          "(p * q.sum(axis=1, keepdims=True) - q)", "(p * (q.sum(axis=1, keepdims=True) > 0) - q)", SOFTMAX),
    Fault("cross-entropy: ignored pixels speak", "kernels/reference/softmax.py",
          "return np.where(valid[:, None], q, 0)", "return q", SOFTMAX),
    Fault("linear db: divided by the batch", "kernels/reference/linear.py", "rows(dy).sum(axis=0,",
          "rows(dy).mean(axis=0,", LINEAR),
    Fault("batch norm dx: way through the mean missing", "kernels/reference/norm.py",
          "(per_channel(dbias) + normed * per_channel(dweight))", "(normed * per_channel(dweight))", NORM),
    Fault("batch norm dx: way through the variance missing", "kernels/reference/norm.py",
          "(per_channel(dbias) + normed * per_channel(dweight))", "(per_channel(dbias))", NORM),
    Fault("batch norm and ReLU dx: dy not stopped", "kernels/reference/norm.py",
          "batch_norm_train_backward(relu_backward(dy, y), x,", "batch_norm_train_backward(dy, x,", NORM),
    Fault("batch norm and ReLU: the batch's gradient in eval", "minisegnet/pairs.py",
          "ops.batch_norm_relu_train_backward if training", "ops.batch_norm_relu_train_backward if True",
          f"{LAYERS}/test_fusion.py"),
    Fault("batch norm: statistics treated as the batch's in eval", "minisegnet/layers/norm.py",
          "ops.batch_norm_train_backward if training", "ops.batch_norm_train_backward if True", EVERY_LAYER),
    Fault("Conv2d dw: = instead of +=", "minisegnet/layers/conv.py",
          "self.weight.add_grad(ops.conv2d_backward_weight",
          'setattr(self.weight, "grad", ops.conv2d_backward_weight', EVERY_LAYER),
    Fault("Flatten dx: column by column", "minisegnet/layers/linear.py", "return dy.reshape(x_shape)",
          'return dy.reshape(x_shape, order="F")', EVERY_LAYER),
    Fault("Concat: parts of dy in the wrong order", "minisegnet/combine.py",
          "zip(self, parts, records, shapes, strict=True)", "zip(self, parts[::-1], records, shapes, strict=True)",
          EVERY_LAYER),
    Fault("Sum: one branch forgotten", "minisegnet/combine.py",
          "for layer, record, shape in zip(self, records, shapes, strict=True)",
          "for layer, record, shape in list(zip(self, records, shapes, strict=True))[:1]", EVERY_LAYER),
    Fault("PoolUnpool: the body's gradient skipped", "minisegnet/combine.py",
          "dpooled = self.body.backward(dh, body_saved)", "dpooled = dh", EVERY_LAYER),
    Fault("SameSize: resizing's gradient without corners", "minisegnet/combine.py",
          "mode=self.mode, align_corners=self.align_corners)", "mode=self.mode)", EVERY_LAYER),
    Fault("cross-entropy mean: divided by the pixels", "minisegnet/losses/base.py",
          "return dvalue / count if count else 0.0", "return dvalue / max(1, np.prod(shape))", LOSSES),
    Fault("MSE: factor 2 forgotten", "minisegnet/losses/regression.py",
          "return dlosses * 2 * ", "return dlosses * ", LOSSES),
    Fault("Dice: quotient rule without its second half", "minisegnet/losses/overlap.py",
          "-over_union * ratio\n", "0 * ratio\n", LOSSES),
    Fault("focal: factor (1-p)^gamma held constant", "minisegnet/losses/focal.py",
          "(1 + self.gamma * np.exp(-ce) * ce_over_miss)", "1", LOSSES),
    Fault("distillation: temperature once too few", "minisegnet/losses/distillation.py",
          "dlosses * self.temperature * d", "dlosses * d", LOSSES),
]  # fmt: skip


def unnoticed(fault):
    """Whether the tests pass in spite of the fault, and the end of what they printed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("kernels", "minisegnet", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        source = copy / fault.path
        text = source.read_text(encoding="utf-8")
        if fault.right not in text:
            return True, f"{fault.path} no longer contains {fault.right!r}: this fault needs a new place"
        source.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
        # The faults are in the reference and above it; the compiled backend would only be compiled anew in each copy.
        default = copy / "kernels" / "__init__.py"
        text = default.read_text(encoding="utf-8")
        default.write_text(text.replace("(_HOST_BACKENDS[0], None)", '("reference", None)'), encoding="utf-8")
        options = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "-k", "not cpu"]
        command = [sys.executable, "-m", "pytest", *options, fault.tests]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, encoding="utf-8")
        # 1: tests failed, as they should. Anything else (a collection error, no tests) proves nothing.
        return done.returncode != 1, done.stdout[-500:]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("word", nargs="?", default="", help="only faults whose file or description contains it")
    options.add_argument("--list", action="store_true", help="list the faults and stop")
    options = options.parse_args()
    chosen = [fault for fault in FAULTS if options.word in f"{fault.what} {fault.path}"]
    if options.list:
        print("\n".join(f"{fault.path}: {fault.what}" for fault in chosen))
        return 0
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        # A test that fails on the right code too would notice everything and mean nothing, so that is asked first.
        places = dict.fromkeys(fault.tests for fault in chosen)
        healthy = [Fault("no fault", "pyproject.toml", "[", "[", tests) for tests in places]
        for fault, (passed, text) in zip(healthy, pool.map(unnoticed, healthy), strict=True):
            if not passed:
                print(f"{fault.tests} fails without any fault:\n{text}")
                return 1
        for fault, (passed, text) in zip(chosen, pool.map(unnoticed, chosen), strict=True):
            missed += passed
            print(f"{'NOT NOTICED' if passed else 'noticed':11s}  {fault.path}: {fault.what}", flush=True)
            if passed:
                print(text)
    print(f"{len(chosen) - missed} of {len(chosen)} deliberate faults were noticed")
    return 1 if missed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
