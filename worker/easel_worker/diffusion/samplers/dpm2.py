"""The midpoint rule in log(sigma): DPM2 and its ancestral form. Two model calls per step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels, toward


def dpm2(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """DPM-Solver-2 (Lu et al. 2022a, algorithm 1), with churn (k-diffusion `sample_dpm_2`)."""
    for level, target in solver.intervals():
        x, sigma = solver.churned(x, level)
        x = _midpoint_step(solver, x, sigma, target)
        yield x


def dpm2_ancestral(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """The same step below the target, then fresh noise up to it (k-diffusion `sample_dpm_2_ancestral`)."""
    for sigma, target in solver.intervals():
        down, up = ancestral_levels(sigma, target, solver.eta)
        x = _midpoint_step(solver, x, sigma, down)
        if up > 0:
            x = torch.add(x, solver.noise(), alpha=solver.options.s_noise * up)
        yield x


def _midpoint_step(solver: Solver, x: torch.Tensor, sigma: float, target: float) -> torch.Tensor:
    denoised = solver.denoise(x, sigma)
    if target == 0:  # there is no middle of log(sigma): Euler's step
        return denoised
    middle = (sigma * target) ** 0.5
    halfway = toward(denoised, x, sigma, middle)
    slope = (halfway - solver.denoise(halfway, middle)) / middle
    return torch.add(x, slope, alpha=target - sigma)
