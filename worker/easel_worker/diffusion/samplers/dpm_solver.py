"""DPM-Solver in the noise prediction: DPM fast and DPM adaptive (Lu et al. 2022a).

Both choose their own levels between the first and the last of `solver.sigmas`, even in log(sigma), and end
at the last without a step to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import atan, exp, isfinite, log

import numpy as np
import torch

from easel_worker.diffusion.errors import NanError
from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels

# k-diffusion `sample_dpm_adaptive`: tolerances, first width in log(sigma), and the least factor of a step
# that counts as good.
_RTOL, _ATOL = 0.05, 0.0078
_FIRST_WIDTH = 0.05
_ACCEPT_FROM = 0.81


class _Slopes:
    """The noise predictions of one step from `x` at `sigma`, each computed once."""

    def __init__(self, solver: Solver, x: torch.Tensor, sigma: float) -> None:
        self._solver, self._x, self._sigma = solver, x, sigma
        self._first = self._slope(x, sigma)
        self._between: tuple[float, torch.Tensor] | None = None

    def _slope(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        return (x - self._solver.denoise(x, sigma)) / sigma

    def order_1(self, target: float) -> torch.Tensor:
        """DPM-Solver-1: Euler's step."""
        return torch.add(self._x, self._first, alpha=target - self._sigma)

    def order_2(self, target: float, place: float = 1 / 2) -> torch.Tensor:
        """DPM-Solver-2: one more slope at `place` of the way in log(sigma)."""
        change = self._slope_at(target, place) - self._first
        return torch.add(self.order_1(target), change, alpha=(target - self._sigma) / (2 * place))

    def order_3(self, target: float) -> torch.Tensor:
        """DPM-Solver-3: slopes at one and two thirds of the way."""
        change = self._slope_at(target, 1 / 3) - self._first
        middle = self._level(target, 2 / 3)
        there = torch.add(self.order_1(middle), change, alpha=2 * self._curvature(middle))
        change = self._slope(there, middle) - self._first
        return torch.add(self.order_1(target), change, alpha=1.5 * self._curvature(target))

    def _slope_at(self, target: float, place: float) -> torch.Tensor:
        level = self._level(target, place)
        if self._between is None or self._between[0] != level:
            self._between = level, self._slope(self.order_1(level), level)
        return self._between[1]

    def _level(self, target: float, place: float) -> float:
        return float(self._sigma * (target / self._sigma) ** place)

    def _curvature(self, target: float) -> float:
        """The integral of the way's part, 0 to 1, over sigma: what a slope that changes linearly adds."""
        return target - (self._sigma - target) / log(self._sigma / target)


def dpm_fast(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """DPM-Solver-fast (Lu et al. 2022a, section 3.4): as many model calls as there were steps asked for.

    Steps of third order, and a last one or two of lower order to come out even.
    """
    orders = fast_orders(len(solver.sigmas) - 1)
    solver.steps = len(orders)
    levels = [float(sigma) for sigma in np.geomspace(solver.sigmas[0], solver.sigmas[-1], len(orders) + 1)]
    for order, sigma, target in zip(orders, levels, levels[1:], strict=False):
        down, up = _limited_levels(solver, sigma, target)
        slopes = _Slopes(solver, x, sigma)
        x = (slopes.order_1, slopes.order_2, slopes.order_3)[order - 1](down)
        x = torch.add(x, solver.noise(), alpha=solver.options.s_noise * up)
        yield x


def fast_orders(calls: int) -> list[int]:
    """The order of each step of DPM fast, which is how many of the model calls it makes."""
    if not calls:
        return []
    count = calls // 3 + 1
    return [3] * (count - 2) + [2, 1] if calls % 3 == 0 else [3] * (count - 1) + [calls % 3]


def dpm_adaptive(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """DPM-Solver-23 with a step size that follows the error (Lu et al. 2022a, appendix C; k-diffusion
    `sample_dpm_adaptive`).

    Three model calls per step. A step whose error is too large is made again, shorter; it counts as a step.
    The error is measured over all of `x`, so one image at a time gives the picture of its seed.

    Raises `NanError` where the error is not a number, which no step size would mend.
    """
    sigma, end = solver.sigmas[0], solver.sigmas[-1]
    whole = log(sigma / end)
    width = _FIRST_WIDTH
    order = 1.5 if solver.eta else 3.0
    before = x
    done = 0
    while log(sigma / end) > 1e-5:
        target = max(end, sigma * exp(-width))
        down, up = _limited_levels(solver, sigma, target)
        slopes = _Slopes(solver, x, sigma)
        low, high = slopes.order_2(down, 1 / 3), slopes.order_3(down)
        allowed = torch.clamp(torch.maximum(low.abs(), before.abs()) * _RTOL, min=_ATOL)
        error = float(((low - high) / allowed).square().mean().sqrt())
        if not isfinite(error):
            raise NanError("DPM adaptive: the UNet produced values that are not finite")
        factor = 1 + atan((1 / (error + 1e-8)) ** (1 / order) - 1)
        if factor >= _ACCEPT_FROM:
            before = low
            x = torch.add(high, solver.noise(), alpha=solver.options.s_noise * up)
            sigma = target
        width *= factor
        done += 1
        left = max(log(sigma / end), 0.0)
        # As many more as the way so far took per unit of log(sigma), at least one until the end.
        more = done * left / (whole - left) if left < whole else solver.steps
        solver.steps = done + (max(1, round(more)) if left > 1e-5 else 0)
        yield x


def _limited_levels(solver: Solver, sigma: float, target: float) -> tuple[float, float]:
    """`ancestral_levels` that never go below the last level."""
    down, up = ancestral_levels(sigma, target, solver.eta)
    if down < solver.sigmas[-1]:
        down = solver.sigmas[-1]
        up = max(target**2 - down**2, 0.0) ** 0.5
    return down, up
