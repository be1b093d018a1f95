"""Heun's second-order method: two model calls per step."""

from __future__ import annotations

import torch

from easel_worker.diffusion.samplers.solver import Solver, Step, toward


def heun(solver: Solver) -> Step:
    """Euler's step, then the mean of the slopes at both ends (Karras et al. 2022, algorithm 1 without churn).

    The slope at sigma 0 is not defined, so a last step down to 0 is Euler's.
    """

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        sigma, target = solver.sigmas[i], solver.sigmas[i + 1]
        denoised = solver.denoise(x, sigma)
        guess = toward(denoised, x, sigma, target)
        if target == 0:
            return guess
        slope = (x - denoised) / sigma
        slope_ahead = (guess - solver.denoise(guess, target)) / target
        return torch.add(x, slope + slope_ahead, alpha=(target - sigma) / 2)

    return step
