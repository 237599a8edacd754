"""All exercises, in a good order: from one sum to a convolution, then what trains nets; last the gallery of bugs."""

import difflib

from .topics import (
    bugs_deep,
    bugs_pooling,
    bugs_training,
    bugs_upsampling,
    conv1d,
    convolution,
    elementwise,
    joining,
    losses,
    norm,
    numeric,
    optimisers,
    pooling,
    resize,
    transposed,
)
from .topics import linear as fully_connected

ORDER = (
    elementwise.RELU,
    elementwise.LEAKY_RELU,
    elementwise.SIGMOID,
    fully_connected.LINEAR,
    losses.SOFTMAX_CROSS_ENTROPY,
    numeric.NUMERIC_GRADIENT,
    pooling.AVERAGE_POOL,
    pooling.MAX_POOL,
    conv1d.CONV1D,
    convolution.CONV2D,
    convolution.DILATED_CONV,
    transposed.TRANSPOSED_CONV,
    resize.BILINEAR,
    joining.CONCAT_SKIP,
    norm.BATCH_NORM,
    elementwise.DROPOUT,
    losses.DICE,
    optimisers.MOMENTUM,
    optimisers.ADAM,
    bugs_training.DICE_QUOTIENT,
    bugs_training.SOFTMAX_SHIFT,
    bugs_training.CROSS_ENTROPY_IGNORE,
    bugs_training.GRADIENT_OVERWRITTEN,
    bugs_pooling.MAX_POOL_TIES,
    bugs_pooling.MAX_POOL_NAN,
    bugs_pooling.AVERAGE_POOL_BORDER,
    bugs_upsampling.BILINEAR_HALF_PIXEL,
    bugs_upsampling.TRANSPOSED_OUTPUT_PADDING,
    bugs_deep.BATCH_NORM_VARIANCE,
    bugs_deep.BATCH_NORM_EVAL,
    bugs_deep.ADD_IN_PLACE,
    bugs_deep.DROPOUT_ZEROS,
    bugs_training.ADAM_CORRECTION,
    bugs_training.ADAM_EPSILON,
)
EXERCISES = {exercise.name: exercise for exercise in ORDER}


def find(name):
    """The Exercise of that name; ValueError, with names that are near, if there is none."""
    if name in EXERCISES:
        return EXERCISES[name]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), EXERCISES, n=3, cutoff=0.5)
    hint = f"do you mean {' or '.join(near)}?" if near else "`minisegnet exercise list` shows all"
    raise ValueError(f"there is no exercise {name!r}; {hint}")
