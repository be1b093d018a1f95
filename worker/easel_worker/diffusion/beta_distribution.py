"""The quantiles of the beta distribution, without scipy."""

from __future__ import annotations

from math import lgamma

import numpy as np

from easel_worker.diffusion.sigmas import Floats

_BISECTIONS = 60  # halvings of [0, 1]: more than float64 can tell apart
_TERMS = 300  # of the continued fraction; it needs about the square root of the larger parameter
_TINY = 1e-300  # stands in for a zero divisor (Lentz's method)


def beta_quantiles(probabilities: Floats, a: float, b: float) -> Floats:
    """Where the distribution function of Beta(a, b), a and b > 0, reaches each probability, by bisection."""
    low, high = np.zeros_like(probabilities), np.ones_like(probabilities)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = _distribution(middle, a, b) < probabilities
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(probabilities >= 1, 1.0, np.where(probabilities <= 0, 0.0, (low + high) / 2))


def _distribution(x: Floats, a: float, b: float) -> Floats:
    """The regularised incomplete beta function, for x strictly between 0 and 1.

    By its continued fraction (Abramowitz & Stegun 26.5.8), which converges fast below the mean; above it the
    mirror image is taken.
    """
    mirrored = x > (a + 1) / (a + b + 2)
    near = np.where(mirrored, 1 - x, x)
    first, second = np.where(mirrored, b, a), np.where(mirrored, a, b)
    near = np.clip(near, _TINY, 1 - 2**-53)
    log_front = first * np.log(near) + second * np.log1p(-near) + lgamma(a + b) - lgamma(a) - lgamma(b)
    area = np.exp(log_front) / first * _fraction(near, first, second)
    mirrored_area: Floats = np.where(mirrored, 1 - area, area)
    return mirrored_area


def _fraction(x: Floats, a: Floats, b: Floats) -> Floats:
    """1 / (1 + d1 / (1 + d2 / (1 + ...))) by Lentz's method, with d of Abramowitz & Stegun 26.5.8."""
    numerator = np.ones_like(x)
    denominator = _not_zero(1 - (a + b) * x / (a + 1))
    denominator = 1 / denominator
    result = denominator.copy()
    for m in range(1, _TERMS):
        for d in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            denominator = 1 / _not_zero(1 + d * denominator)
            numerator = _not_zero(1 + d / numerator)
            change = denominator * numerator
            result = result * change
        if np.abs(change - 1).max(initial=0.0) < 1e-14:
            break
    return result


def _not_zero(value: Floats) -> Floats:
    return np.where(np.abs(value) < _TINY, _TINY, value)
