"""Heun's second-order method, plain and with restarts: two model calls per step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from easel_worker.diffusion.samplers.solver import Solver, toward
from easel_worker.diffusion.schedules import karras_ramp

# The levels between which a restart runs, and from how many steps on there is one, or there are two
# (Xu et al. 2023, appendix C.2, as A1111 sets them).
_RESTART_FROM, _RESTART_TO = 0.1, 2.0
_ONE_RESTART, _TWO_RESTARTS = 20, 36
_STEPS_OF_ONE = 9


def heun(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Euler's step, then the mean of the slopes at both ends (Karras et al. 2022, algorithm 2)."""
    for level, target in solver.intervals():
        x, sigma = solver.churned(x, level)
        x = _heun_step(solver, x, sigma, target)
        yield x


def _heun_step(solver: Solver, x: torch.Tensor, sigma: float, target: float) -> torch.Tensor:
    denoised = solver.denoise(x, sigma)
    guess = toward(denoised, x, sigma, target)
    if target == 0:  # where the slope is not defined: Euler's step
        return guess
    slope = (x - denoised) / sigma
    slope_ahead = (guess - solver.denoise(guess, target)) / target
    return torch.add(x, slope + slope_ahead, alpha=(target - sigma) / 2)


def restart(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Heun's method that goes back up with fresh noise once or twice, and down again (Xu et al. 2023)."""
    steps = restart_steps(solver.sigmas)
    solver.steps = len(steps)
    reached = solver.sigmas[0]
    for sigma, target in steps:
        if sigma > reached:
            up = (sigma**2 - reached**2) ** 0.5
            x = torch.add(x, solver.noise(), alpha=solver.options.s_noise * up)
        x = _heun_step(solver, x, sigma, target)
        reached = target
        yield x


def restart_steps(sigmas: Sequence[float]) -> list[tuple[float, float]]:
    """The steps of Restart instead of those down `sigmas`, each from a level to a lower one.

    As many as there were. Below 20 steps there is no restart. Else 9 of them, from 36 steps on twice a
    quarter, run from about 2 down to about 0.1 again; the others follow Karras' schedule between the same
    ends.
    """
    count = len(sigmas) - 1
    if count < _ONE_RESTART:
        return list(pairwise(sigmas))
    again, times = (count // 4, 2) if count >= _TWO_RESTARTS else (_STEPS_OF_ONE, 1)
    lowest = sigmas[-2] if sigmas[-1] == 0 else sigmas[-1]
    way_down = np.append(karras_ramp(sigmas[0], lowest, count - again * times), 0.0)
    low = int(np.abs(way_down - _RESTART_FROM).argmin())
    high = int(np.abs(way_down - _RESTART_TO).argmin())
    pieces = [way_down]
    if high < low < len(way_down) - 1:
        loop = karras_ramp(way_down[high], way_down[low], again + 1)
        pieces = [way_down[: low + 1], *[loop] * times, way_down[low:]]
    return [(float(sigma), float(target)) for piece in pieces for sigma, target in pairwise(piece)]
