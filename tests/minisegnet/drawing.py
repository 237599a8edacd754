"""Strategies that the drawn comparisons with PyTorch share: sizes, dtypes, layouts of the input in memory."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

few = st.integers(1, 3)
batches = st.sampled_from([2, 1, 3, 2, 1, 0])  # numbers of images: an empty batch now and then
dtypes = st.sampled_from([np.float64, np.float32])
seeds = st.integers(0, 999)


def drawn(max_examples):
    """Settings of a test that draws its own configurations: the same ones on every run."""
    return settings(max_examples=max_examples, deadline=None, derandomize=True)


def pairs(low, high):
    """An int, or (vertical, horizontal)."""
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


def both(value):
    """An int or a pair as a pair."""
    return value if isinstance(value, tuple) else (value, value)


LAYOUTS = {
    "plain": np.copy,
    "every second": lambda a: a.repeat(2, axis=-1)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "Fortran": np.asfortranarray,
}


@st.composite
def arrays(draw, *shape, dtype=None):
    """Normal random numbers of this shape, float64 or float32 unless given, in any of several layouts."""
    values = np.random.default_rng(draw(seeds)).standard_normal(shape)
    return LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](values.astype(dtype or draw(dtypes)))
