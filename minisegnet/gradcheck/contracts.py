"""What every forward and backward pass promises besides the right numbers."""

import numpy as np

from ..core import arrays_in
from .report import Contract


def check_contracts(subject):
    """A list of Contracts, kept or broken; it ends at one that is broken and without which nothing can be measured."""
    contracts = []
    for check in (well_formed, forward_modifies_nothing, same_forward):
        contracts.append(check(subject))
        if contracts[-1].stops and not contracts[-1].kept:
            return contracts
    contracts += [backward_modifies_nothing(subject), keeps_dtype(subject), *repeatable(subject)]
    adjoint = check_adjoint(subject)
    return contracts + ([adjoint] if adjoint else [])


def same(a, b):
    """Whether two arrays are bit for bit the same, NaN being the same as NaN; what is no array, another check finds."""
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray)):
        return type(a) is type(b)
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def all_same(these, those):
    return len(these) == len(those) and all(same(a, b) for a, b in zip(these, those, strict=True))


def copies(subject):
    """{name: copy} of the arrays that no pass may modify: the weights, and the target of a loss."""
    values = {name: p.value.copy() for name, p in subject.parameters.items()}
    targets = arrays_in(getattr(subject.layer, "target", None))
    return values | {"target" if i == 0 else f"target {i}": t.copy() for i, t in enumerate(targets)}


def changed(subject, before):
    """The names of those that differ from the copies."""
    return [name for name, array in copies(subject).items() if not same(array, before[name])]


# ------------------------------------------------------------------ forward


def well_formed(subject):
    y = subject.y
    text = ""
    if y.dtype != np.float64:
        text = f"forward made {y.dtype} out of float64: it must keep the dtype of x, or nothing can be measured"
    elif not np.isfinite(y).all():
        bad = np.argwhere(~np.isfinite(y))
        where = "[" + ",".join(map(str, bad[0])) + "]"
        text = f"y{where} is {y[tuple(bad[0])]} ({len(bad)} of {y.size} are NaN or infinite): nothing can be measured"
    return Contract("y finite, dtype kept", not text, text, stops=True)


def forward_modifies_nothing(subject):
    x, before = subject.x.copy(), copies(subject)
    with subject.keeping_weights():
        subject.forward(x)
        weights = changed(subject, before)
    names = ([] if same(x, subject.x) else ["x"]) + weights
    text = f"forward modified {', '.join(names)} in place; work on a copy: somebody else still needs it"
    return Contract("forward modifies nothing", not names, text, stops=bool(weights))


def same_forward(subject):
    text = (
        "the same x gave two different y; if it draws random numbers, draw them from a numpy.random.Generator that is "
        "an attribute of the layer"
    )
    return Contract("forward repeats", same(subject.forward()[0], subject.y), text, stops=True)


# ------------------------------------------------------------------ backward


def backward_modifies_nothing(subject):
    """It may modify neither what it receives nor what forward received, returned and saved."""
    x, dy, before = subject.x.copy(), subject.dy.copy(), copies(subject)
    y, saved = subject.forward(x)
    kept = {"x": x.copy(), "y": y.copy(), "the saved record": [a.copy() for a in arrays_in(saved)]}
    with subject.keeping_weights():
        subject.layer.backward(dy, saved)
        weights = changed(subject, before)
    names = [] if same(dy, subject.dy) else ["dy"]
    for (name, old), new in zip(kept.items(), (x, y, arrays_in(saved)), strict=True):
        names += [] if all_same(arrays_in(old), arrays_in(new)) else [name]
    names += weights
    text = f"backward modified {', '.join(names)} in place; work on a copy: somebody else still needs it"
    return Contract("backward modifies nothing", not names, text)


def keeps_dtype(subject):
    wrong = {n: g.dtype for n, g in subject.grads.items() if isinstance(g, np.ndarray) and g.dtype != np.float64}
    listed = ", ".join(f"that of {name} is {dtype}" for name, dtype in wrong.items())
    text = f"gradients must have the dtype of dy, here float64, but {listed}"
    return Contract("gradients keep the dtype", not wrong, text)


def repeatable(subject):
    """The same record gives the same gradients, whatever happened in between, and they add up."""
    saved = subject.forward()[1]
    subject.forward(0.9 * np.flip(subject.x))
    later = subject.backward(saved)
    text = (
        "after a forward pass with another x, backward gives other gradients for the first one's record: keep what it "
        "needs in saved, not in self, or a layer that is used twice in a net gets a wrong gradient"
    )
    own_record = all(same(later[name], grad) for name, grad in subject.grads.items())
    contracts = [Contract("backward needs its record alone", own_record, text)]
    try:
        dx = subject.add_backward(saved)
    except Exception as error:
        text = f"a second backward with the same record raised {type(error).__name__}: {error}"
        return [*contracts, Contract("backward repeats", False, text)]
    contracts.append(Contract("backward repeats", same(dx, later["x"]), "a second backward gave another dx"))
    if subject.parameters:
        contracts.append(accumulates(later, subject.parameter_grads()))
    return contracts


def accumulates(once, twice):
    """`twice`, the gradients after two backward passes, must be two times `once`."""
    wrong = [n for n, g in twice.items() if not np.allclose(g, 2 * once[n], rtol=1e-9, atol=1e-12, equal_nan=True)]
    text = f"after two backward passes the gradient of {', '.join(wrong)} is not twice that of one"
    if wrong and all(same(twice[name], once[name]) for name in wrong):
        text = (
            f"the gradient of {', '.join(wrong)} was replaced, not added to: backward has `=` where `+=` is needed, so "
            f"a layer that is used twice keeps only its last use"
        )
    return Contract("gradients accumulate", not wrong, text)


def check_adjoint(subject):
    """For a linear layer <f(z) - f(0), dy> = <z, backward(dy)>, to rounding; None for a layer that is not linear."""
    if not subject.x.size or not subject.y.ndim:
        return None
    a, b = subject.rng.standard_normal((2, *subject.x.shape))
    try:
        with np.errstate(all="ignore"):
            origin = subject.forward(np.zeros_like(a))[0].copy()
            fa, fb, fab = (subject.forward(z.copy())[0] - origin for z in (a, b, 2 * a - 3 * b))
    except ValueError:
        return None  # what refuses some inputs is not linear
    if not np.allclose(fab, 2 * fa - 3 * fb, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(fab).max(initial=0))):
        return None
    dx = subject.add_backward(subject.forward(a.copy())[1])
    if not isinstance(dx, np.ndarray) or (dx.shape, dx.dtype) != (a.shape, a.dtype):
        return None  # that is reported elsewhere
    left, right = float((fa * subject.dy).sum()), float((a * dx).sum())
    size = (np.linalg.norm(fa) + np.linalg.norm(origin)) * np.linalg.norm(subject.dy)
    size += np.linalg.norm(a) * np.linalg.norm(dx)
    text = f"<f(x), dy> = {left:.10g}, but <x, backward(dy)> = {right:.10g}: backward is not the transpose of forward"
    kept = bool(abs(left - right) <= 1e-12 * size)
    return Contract("linear, and backward is its adjoint", kept, text, is_consequence=True)
