"""gradcheck: compares every gradient of a layer, loss or net with finite differences, in float64, on a copy."""

import numpy as np
from tqdm import tqdm

from ..core import check_int, check_number
from .contracts import check_contracts
from .mistakes import diagnose
from .numeric import Stencil
from .report import GradcheckReport, TensorRow
from .subject import LossAsLayer, Subject

DIRECTIONS = 5  # random directions for a tensor too large to check densely
TIE_GROUPS = 20  # at most this many groups of equal values are moved together
SECOND_LOOKS = 10  # as many disagreements per tensor are measured again, with care, before anybody is accused


def gradcheck(layer, x, eps=1e-6, atol=1e-5, rtol=1e-3, rng=0, *, target=None, dense=500, samples=50):
    """Compare the gradients of `layer` at input x with central differences; returns a report, truthy if all agree.

    For a random, non-uniform dy the loss is L = Σ y*dy. backward claims to know dL/dx and dL/dw for every parameter;
    the check moves one entry at a time by ±eps, runs forward, and compares (L₊ - L₋)/(2*eps) with the claim:

        |analytic - numeric| <= atol + rtol*|numeric|

    It works on a copy in float64: the layer, x and target are left as they are. Tensors of up to `dense` entries are
    checked entry by entry, larger ones at `samples` random entries and along some random directions. An entry where the
    slopes to the left and to the right differ however small the step is no place to compare (a ReLU at 0, a tie in a
    max pool): it is listed as "not differentiable here". Values that are tied are moved together instead, which is
    smooth again. Where curvature or rounding errors are large, other steps than eps are tried; a slope that none of
    them shows is listed as "lost in rounding errors".

    The report also says whether backward keeps its contract (nothing modified, repeatable, gradients accumulate, and
    for a linear layer <f(x), y> = <x, fᵀ(y)>), and names the classic mistake that a wrong gradient fits. In a failing
    net the layers inside are checked one by one to find the guilty one.

    Parameters
        layer: a Layer; or a loss, with its `target`
        x: the input (any floating dtype); small is quick, and odd sizes and non-integers find more
        eps: half the step of the difference
        atol, rtol: the tolerances above
        rng: seed or Generator for dy and the sampling

    What forward or backward raises is passed on, with a note where a layer inside fails by itself.

    Source: CS231n notes, section "Gradient checks"; Griewank and Walther, Evaluating Derivatives (2008), for the
    adjoint identity.

    >>> from minisegnet.layers import ReLU
    >>> report = gradcheck(ReLU(), np.array([[-1.0, 0.0, 2.0]]))
    >>> bool(report), report.row("x").checked, report.row("x").not_differentiable
    (True, 2, [(0, 1)])
    >>> class Forgetful(ReLU):
    ...     def backward(self, dy, saved):
    ...         return dy
    >>> print(*gradcheck(Forgetful(), np.array([[-1.0, 2.0]])).diagnosis)
    the gradient of x: the mask is missing: the gate is open only where x > 0, dx = dy * (x > 0)
    """
    eps, atol, rtol = (check_number(n, v, 0, open_low=True) for n, v in (("eps", eps), ("atol", atol), ("rtol", rtol)))
    settings = {"eps": eps, "atol": atol, "rtol": rtol}
    sizes = {"dense": check_int("dense", dense, 0), "samples": check_int("samples", samples)}
    subject = Subject(layer, x, target, rng)
    try:
        subject.run()
    except Exception as error:
        error.guilty = guilty_layers(subject, settings | {"dense": 0, "samples": 1})
        for name, report in error.guilty:
            error.add_note(f"the layer {name} fails by itself:\n{report}")
        raise
    contracts = check_contracts(subject)
    measurable = all(c.kept or not c.stops for c in contracts)
    names = tqdm(subject.tensors, desc="gradcheck", unit="tensor", leave=False, delay=2, disable=None)
    rows = [check_tensor(subject, name, **settings, **sizes) for name in names] if measurable else []
    report = GradcheckReport(subject.label, rows, contracts, **settings)
    if report.wrong:
        report.guilty = guilty_layers(subject, settings | sizes)
        report.diagnosis = [] if report.guilty else diagnose(subject, report)
    return report


def check_tensor(subject, name, eps, atol, rtol, dense, samples):
    """The row of the report for one tensor: x or a parameter."""
    array, grad = subject.tensors[name], subject.grads[name]
    row = TensorRow(name, array.shape, atol, rtol, problem=problem_of(name, grad, array))
    if not isinstance(grad, np.ndarray) or grad.shape != array.shape:
        return row
    stencil = Stencil(subject, array, eps, atol, rtol)
    for index in entries(array, dense, samples, subject.rng):
        compare(row, stencil, index, stencil.moving(index), grad[index])
    for value, group in tied(array, row.not_differentiable, eps):
        sides, name = stencil.moving(..., group), f"ties at {value:g}"
        if stencil.slope(sides) is not None:  # otherwise they are no ties but kinks, which are listed already
            compare(row, stencil, name, sides, (grad * group).sum())
    if array.size > dense:
        for i in range(DIRECTIONS):
            direction = subject.rng.standard_normal(array.shape)
            direction /= np.linalg.norm(direction)
            compare(row, stencil, f"direction {i}", stencil.moving(..., direction), (grad * direction).sum())
    return row


def problem_of(name, grad, array):
    """What is wrong with a gradient before any number is compared, or nothing."""
    if grad is None:
        return f"backward returned None: it must end with `return dx`, an array of x's shape {array.shape}"
    if not isinstance(grad, np.ndarray):
        return f"backward returned {type(grad).__name__}, expected dx alone, an array of x's shape {array.shape}"
    if grad.shape != array.shape:
        return f"the gradient of {name} has shape {grad.shape}, expected {array.shape}"
    bad = np.argwhere(~np.isfinite(grad))
    if not len(bad):
        return ""
    where = "[" + ",".join(map(str, bad[0])) + "]"
    return f"the gradient of {name} is {grad[tuple(bad[0])]} at {where} ({len(bad)} of {grad.size} are NaN or infinite)"


def compare(row, stencil, index, sides, analytic):
    """Compare one slope, where there is one that can be measured."""
    numeric = stencil.slope(sides)
    if numeric is not None and not row.agree(analytic, numeric) and row.failed < SECOND_LOOKS:
        numeric = stencil.careful_slope(sides)
    if numeric is None:
        row.not_differentiable.append(index)
    elif np.isnan(numeric):
        row.lost.append(index)
    else:
        row.compare(index, analytic, numeric)


def entries(array, dense, samples, rng):
    """The indices to check: all of a small array, a random choice from a large one."""
    if array.size <= dense:
        return list(np.ndindex(array.shape))
    chosen = np.sort(rng.choice(array.size, size=min(samples, array.size), replace=False))
    return [tuple(int(i) for i in np.unravel_index(c, array.shape)) for c in chosen]


def tied(array, indices, eps):
    """(value, mask) of the groups of entries that are equal (but for eps) to one of those at `indices`."""
    groups, seen = [], np.zeros(array.shape, bool)
    for index in indices:
        group = np.abs(array - array[index]) <= eps
        if not seen[index] and group.sum() > 1 and len(groups) < TIE_GROUPS:
            groups.append((array[index], group.astype(np.float64)))
            seen |= group
    return groups


def guilty_layers(subject, settings):
    """(dotted name, report) of the layers inside that fail by themselves, at the inputs they really get."""
    guilty, seen = [], set()
    for name, child, x, target in parts_of(subject):
        if id(child) in seen:
            continue
        seen.add(id(child))
        try:
            report = gradcheck(child, x, rng=subject.rng, target=target, **settings)
            inside = report.guilty
        except Exception as error:  # its text names the layer that raised; the one to blame may be another
            report, inside = None, getattr(error, "guilty", [])
        guilty += [(f"{name}.{inner}", r) for inner, r in inside]
        if report is not None and report.wrong and not inside:
            guilty.append((name, report))
    return guilty


def parts_of(subject):
    """(name, layer or loss, its x, its target) of each direct part that was run."""
    layer = subject.layer
    if not isinstance(layer, LossAsLayer):
        return [
            (name, child, subject.inputs[id(child)], None)
            for name, child in layer.children()
            if id(child) in subject.inputs
        ]
    parts = list(layer.loss.children())
    targets = layer.target if isinstance(layer.target, tuple) else (layer.target,) * len(parts)
    return [(name, loss, subject.x, target) for (name, loss), target in zip(parts, targets, strict=True)]
