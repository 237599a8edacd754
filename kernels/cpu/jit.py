"""How kernels are compiled: lazily, in parallel where asked for, and cached on disk."""

import functools

import numba

from .micro import FORCED

CACHE = FORCED is None  # a forced vector width is for tests; its code must not be found by ordinary runs
FAST = {"contract", "nsz", "reassoc"}  # sums may be reordered and fused; NaN and infinity keep their meaning

jit = functools.partial(numba.njit, cache=CACHE, fastmath=FAST, error_model="numpy", nogil=True)
parallel = functools.partial(jit, parallel=True)
