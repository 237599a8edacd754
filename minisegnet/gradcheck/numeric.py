"""Finite differences that notice where there is no derivative."""

import functools
import math
from typing import NamedTuple

import numpy as np

# Pairs of steps (times eps) for a careful slope: smaller ones step around a kink or a sharp bend that is near,
# larger ones rise above rounding errors.
SMALLER = ((1, 0.1), (0.1, 0.01), (0.01, 1e-3), (1e-3, 1e-4))
LARGER = ((10, 1), (100, 10), (1e3, 100), (1e4, 1e3), (1e5, 1e4), (1e6, 1e5))

NOISE = tuple(10.0**power for power in range(-8, 1))  # steps (times eps) that show how large rounding errors are


class Sides(NamedTuple):
    """The slopes of L from the middle to the right and to the left, over a step."""

    right: float
    left: float
    step: float

    @property
    def central(self):
        """(L₊ - L₋)/(2*step)"""
        return (self.right + self.left) / 2

    @property
    def gap(self):
        return self.right - self.left


class Stencil:
    """Moves one array of a subject back and forth and measures the slope of L = Σ y*dy.

    `moving` says what is to be moved; it returns a function that measures the slopes to both sides over a given step.
    `slope` and `careful_slope` take that function.
    """

    def __init__(self, subject, array, eps, atol, rtol):
        self.subject, self.array, self.eps, self.atol, self.rtol = subject, array, eps, atol, rtol
        self.y = subject.forward()[0].copy()  # a copy, for y may be a view of an array that is about to move

    def moving(self, where, direction=1.0):
        """Slopes for array[where] ± step*direction: a function of the step, as a number of eps."""
        place = self.array[where].copy()

        @functools.cache
        def sides(factor):
            step = self.eps * factor
            try:
                self.array[where] = place + step * direction
                right = self.rise() / step
                self.array[where] = place - step * direction
                left = self.rise() / -step
            finally:
                self.array[where] = place
            return Sides(right, left, step)

        return sides

    def rise(self):
        """L where the array is now, minus L where it started; NaN where the layer refuses its input.

        The difference is taken of y, before it is summed with dy: two nearly equal large sums would lose digits.
        """
        try:
            with np.errstate(all="ignore"):
                return float(((self.subject.forward()[0] - self.y) * self.subject.dy).sum())
        except ValueError:  # a step over the edge of what is allowed, such as a probability below 0
            return math.nan

    def slope(self, sides):
        """dL along `sides`; None where L has a kink, NaN where rounding errors hide the slope."""
        first = sides(1)
        if abs(first.gap) <= self.tolerance(first.central):
            return first.central
        return self.careful_slope(sides)

    def careful_slope(self, sides):
        """The same, from the pair of steps that agree best.

        On a smooth L the gap between right and left slope is step*L'', so extrapolated from two steps to a step of 0
        it vanishes. At a kink it stays, at a jump it grows, and rounding errors make it random, or hide the step.
        """
        best, least, first = math.nan, math.inf, sides(1)
        noisy = not self.noise / first.step <= 0.01 * self.tolerance(first.central)
        for coarse, fine in SMALLER + (LARGER if noisy else ()):
            a, b, ratio = sides(coarse), sides(fine), coarse / fine
            gap_at_zero = (ratio * b.gap - a.gap) / (ratio - 1)
            doubt = abs(gap_at_zero) + abs(a.central - b.central) + self.noise / b.step
            if doubt < least:  # never so if it is NaN
                best, least = b.central, doubt
            if least <= 0.01 * self.tolerance(best):
                break
        if least <= self.tolerance(best):
            return best
        lost = noisy and self.noise / b.step > 0.5 * self.tolerance(first.central)  # even with the largest step
        return math.nan if lost else None

    @functools.cached_property
    def noise(self):
        """How much of L is rounding errors.

        Rounding alone keeps L₊ - 2*L + L₋ from vanishing as fast as the step does: so its median over many small steps
        of everything at once is noise. Equal numbers take the same step, so that ties stay ties.
        """
        rng, tensors = np.random.default_rng(0), self.subject.tensors.values()
        before = [array.copy() for array in tensors]
        units = [equally_random(array, rng) for array in tensors]
        rest = []
        try:
            for factor in NOISE:
                bend = 0.0
                for step in (factor * self.eps, -factor * self.eps):
                    for array, old, unit in zip(tensors, before, units, strict=True):
                        array[...] = old + step * unit
                    bend += self.rise()
                rest.append(abs(bend))
        finally:
            for array, old in zip(tensors, before, strict=True):
                array[...] = old
        rounded_y = 2.0**-53 * np.linalg.norm(self.y * self.subject.dy)
        return max(rounded_y, np.median(rest))  # the first if the other is NaN: the layer refuses such a step

    def tolerance(self, slope):
        return self.atol + self.rtol * abs(slope)


def equally_random(array, rng):
    """Random numbers in -1..1 in the array's shape, the same where the array's entries are the same."""
    values, which = np.unique(array, return_inverse=True)
    return rng.uniform(-1, 1, values.shape)[which].reshape(array.shape)
