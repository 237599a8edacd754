"""Hypothesis draws the same examples on every run, so that a failure repeats."""

from hypothesis import settings

settings.register_profile("minisegnet", derandomize=True, deadline=None)
settings.load_profile("minisegnet")
