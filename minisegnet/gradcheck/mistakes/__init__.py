"""Names the mistake behind a wrong gradient.

First it finds out what the layer computes, from its numbers alone: is y what a convolution with these weights would
give? a max pool? a softmax? Then it works out the gradients that the classic mistakes for that function would produce,
and says which one is exactly what backward returned. For a layer that it doesn't know it compares the wrong gradient
with the numeric one: a constant factor, a rotation, a transposition?

`evidence` has what all families share; each other module is a family.
"""

import numpy as np

from . import combining, convolution, elementwise, fully_connected, general, loss, normalisation, pooling
from .evidence import fits

FAMILIES = (
    convolution.conv2d,
    convolution.conv_transpose2d,
    fully_connected.linear,
    pooling.max_pool2d,
    pooling.avg_pool2d,
    elementwise.relu,
    elementwise.sigmoid,
    elementwise.tanh,
    elementwise.dropout,
    elementwise.softmax,
    normalisation.batch_norm,
    loss.cross_entropy,
    loss.difference,
)


def diagnose(subject, report):
    """Sentences that say which mistake the failing tensors fit; they admit it where none does."""
    sentences = [contract.text for contract in report.contracts if not (contract.kept or contract.is_consequence)]
    failing = [row for row in report.rows if not row.ok]
    sentences += [row.problem + general.explain_shape(subject, row) for row in failing if row.problem]
    failing = [row for row in failing if not row.problem]
    composed = any(True for _ in subject.layer.children())
    if composed and failing:
        sentences.append(combining.SENTENCE.format(type(subject.layer).__name__))
        found = combining.mistakes(subject)
        if found:
            return sentences + found
    with np.errstate(all="ignore"):
        suspects = [s for find in FAMILIES for s in find(subject)] if failing else []
    for row in failing:
        named = [s.text for s in suspects if s.tensor == row.name and fits(subject.grads[row.name], s.wrong)]
        named = named or general.mistakes(subject, row) or ([] if composed else [general.unknown(row)])
        sentences += [f"the gradient of {row.name}: {text}" for text in dict.fromkeys(named)]
    return sentences
