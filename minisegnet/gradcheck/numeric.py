"""Finite differences that notice where there is no derivative."""

import functools
import math
from typing import NamedTuple

import numpy as np

# Pairs of steps (times eps) for a careful slope: smaller ones step around a kink or a sharp bend that is near,
# larger ones rise above rounding errors.
SMALLER = ((1, 0.1), (0.1, 0.01), (0.01, 1e-3), (1e-3, 1e-4))
LARGER = ((10, 1), (100, 10), (1e3, 100), (1e4, 1e3), (1e5, 1e4), (1e6, 1e5))
SMALLEST = 1e-9  # a step is at least this share of the number that it moves, or rounding would swallow it


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

    `entry` and `direction` say what is to be moved: they return a function that measures the slopes to both sides, for
    a step of a given number of eps. `slope` and `careful_slope` take that function.
    """

    def __init__(self, subject, array, eps, atol, rtol):
        self.subject, self.array, self.eps, self.atol, self.rtol = subject, array, eps, atol, rtol
        self.y = subject.forward()[0].copy()  # a copy, for y may be a view of an array that is about to move

    def entry(self, index):
        """Slopes by one entry."""
        return self.moving(index, 1.0, abs(self.array[index]))

    def direction(self, direction):
        """Slopes along a direction, an array of the moved array's shape."""
        return self.moving(..., direction, np.abs(self.array).max() / np.abs(direction).max())

    def moving(self, where, direction, size):
        """A function of a number of eps: the slopes for array[where] = what it is ± step*direction."""
        place, unit = self.array[where].copy(), max(self.eps, SMALLEST * size)

        @functools.cache
        def sides(factor):
            step = unit * factor
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
        """dL along `sides`, or None where L has a kink."""
        first = sides(1)
        if abs(first.gap) <= self.tolerance(first.central):
            return first.central
        return self.careful_slope(sides)

    def careful_slope(self, sides):
        """dL from the pair of steps that agree best, or None where none do: L has a kink.

        On a smooth L the gap between right and left slope is step*L'', so extrapolated from two steps to a step of 0
        it vanishes. At a kink it stays, at a jump it grows, and rounding errors make it random, or hide the step.
        """
        best, least = math.nan, math.inf
        first = sides(1)
        noisy = not self.noise / first.step <= 0.01 * self.tolerance(first.central)
        for coarse, fine in SMALLER + (LARGER if noisy else ()):
            a, b, ratio = sides(coarse), sides(fine), coarse / fine
            gap_at_zero = (ratio * b.gap - a.gap) / (ratio - 1)
            doubt = abs(gap_at_zero) + abs(a.central - b.central) + self.noise / b.step
            if doubt < least:  # never so if it is NaN
                best, least = b.central, doubt
            if least <= 0.01 * self.tolerance(best):
                break
        return best if least <= 0.5 * self.tolerance(best) else None

    @functools.cached_property
    def noise(self):
        """How much of L may be rounding errors: what it does if all numbers move by a unit in their last place."""
        rng, before = np.random.default_rng(0), {name: a.copy() for name, a in self.subject.tensors.items()}
        found = [2.0**-53 * np.linalg.norm(self.y * self.subject.dy)]
        for _ in range(3):
            try:
                for array in self.subject.tensors.values():
                    array *= 1 + 2.0**-52 * rng.choice([-1, 1], array.shape)
                found.append(abs(self.rise()))
            finally:
                for name, array in before.items():
                    self.subject.tensors[name][...] = array
        return np.nanmax(found)

    def tolerance(self, slope):
        return self.atol + self.rtol * abs(slope)
