"""Mistakes of a combinator: how it hands out dy to the layers inside, and what it makes of the dx that they return."""

from dataclasses import dataclass

import numpy as np

from ...core import watch
from .evidence import agrees

SENTENCE = "all layers inside are right by themselves: look at how {} combines their gradients"


@dataclass
class Part:
    """What happened to one of the layers inside."""

    name: str
    x: np.ndarray = None
    y: np.ndarray = None
    dy: np.ndarray = None
    dx: np.ndarray = None


def mistakes(subject):
    """Sentences about what goes wrong between the layers; none where that can't be seen from the numbers."""
    parts, dx = record(subject)
    unused = [p.name for p in parts if p.y is not None and p.dy is None]
    if unused:
        listed = ", ".join(unused)
        return [f"backward is never called for {listed}: what went forward through it has to come back through it"]
    parts = [part for part in parts if part.y is not None]
    for form in (chain, add, concat, multiply):
        expected = form(subject, parts)
        if expected is not None:
            return list(compare(parts, dx, *expected))
    return []


def record(subject):
    """(a Part for each direct layer, dx) of one forward and backward pass; of a layer used twice the last use."""
    parts = {id(child): Part(name) for name, child in subject.layer.children()}

    def note(layer, pass_, arguments, result):
        if id(layer) in parts:
            first = arguments[0].copy()
            found = {"x": first, "y": result[0].copy()} if pass_ == "forward" else {"dy": first, "dx": result.copy()}
            vars(parts[id(layer)]).update(found)

    with watch(note):
        saved = subject.forward()[1]
        dx = subject.backward(saved)["x"]
    return list(parts.values()), dx


def compare(parts, dx, dys, dx_parts, formula):
    """Sentences: did each part get the dy, and x the sum, that the chain rule gives?"""
    wrong = [i for i, part in enumerate(parts) if not same(part.dy, dys[i])]
    for i in wrong:
        owners = [p.name for p, dy in zip(parts, dys, strict=True) if same(parts[i].dy, dy)]
        text = f": it got what belongs to {owners[0]}" if owners else ""
        yield f"{parts[i].name} is given the wrong dy{text}; {formula}"
    if wrong or same(dx, sum(dx_parts)):
        return
    lost = [p for p in parts if len(dx_parts) > 1 and same(dx, sum(dx_parts) - p.dx)]
    if lost:
        yield f"the gradient of {lost[0].name} is lost: dx is the sum of what all branches return"
    elif len(dx_parts) > 1:
        yield "dx is not the sum of what the branches return"
    else:
        yield f"dx is not what {parts[0].name} returns, the last one that backward comes to"


def same(a, b):
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ what does it do with the results of its layers?
# Each returns None, or (the dy that each part should get, the arrays that add up to dx, the rule in words).


def chain(subject, parts):
    """One after the other."""
    xs, ys = [subject.x, *(p.y for p in parts)], [*(p.x for p in parts), subject.y]
    if not parts or not all(agrees(a, b) for a, b in zip(xs, ys, strict=True)):
        return None
    dys = [*(p.dx for p in parts[1:]), subject.dy]
    return dys, [parts[0].dx], "each layer gets the dx of the one behind it, the last one dy"


def side_by_side(subject, parts):
    return len(parts) > 1 and all(agrees(p.x, subject.x) for p in parts)


def add(subject, parts):
    """Side by side, the results added."""
    if not side_by_side(subject, parts) or any(p.y.shape != subject.y.shape for p in parts):
        return None
    if not agrees(sum(p.y for p in parts), subject.y):
        return None
    return [subject.dy] * len(parts), [p.dx for p in parts], "a sum copies its gradient: each branch gets all of dy"


def concat(subject, parts):
    """Side by side, the results joined along the channels."""
    rests = {(p.y.shape[:1], p.y.shape[2:]) for p in parts if p.y.ndim > 1}
    if not side_by_side(subject, parts) or len(rests) != 1 or any(p.y.ndim < 2 for p in parts):
        return None
    if not agrees(np.concatenate([p.y for p in parts], axis=1), subject.y):
        return None
    dys = np.split(subject.dy, np.cumsum([p.y.shape[1] for p in parts])[:-1], axis=1)
    return dys, [p.dx for p in parts], "each branch gets its own channels of dy, in the order of the results"


def multiply(subject, parts):
    """Side by side, the results multiplied."""
    if not side_by_side(subject, parts) or any(p.y.shape != subject.y.shape for p in parts):
        return None
    if not agrees(np.prod([p.y for p in parts], axis=0), subject.y):
        return None
    others = [np.prod([q.y for q in parts if q is not p], axis=0) for p in parts]
    dys = [subject.dy * other for other in others]
    return dys, [p.dx for p in parts], "by the product rule each factor gets dy times all the others"
