"""First-order samplers: Euler, Euler a, DDIM."""

from __future__ import annotations

import torch

from easel_worker.diffusion.samplers.solver import Solver, Step, toward


def euler(solver: Solver) -> Step:
    """Euler's method (Karras et al. 2022, algorithm 2 without churn)."""

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        sigma, target = solver.sigmas[i], solver.sigmas[i + 1]
        return toward(solver.denoise(x, sigma), x, sigma, target)

    return step


def euler_ancestral(solver: Solver) -> Step:
    """Euler's step below the target, then fresh noise up to it (k-diffusion `sample_euler_ancestral`).

    The same step is DDIM with eta (Song et al. 2020, equations 12 and 16, in variance-exploding scale): eta 0
    is deterministic, eta 1 is DDPM's.
    """

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        sigma, target = solver.sigmas[i], solver.sigmas[i + 1]
        down, up = ancestral_levels(sigma, target, solver.eta)
        x = toward(solver.denoise(x, sigma), x, sigma, down)
        return torch.add(x, solver.noise(), alpha=up) if up > 0 else x

    return step


def ancestral_levels(sigma: float, target: float, eta: float) -> tuple[float, float]:
    """How far an ancestral step goes down, and how much noise brings it back: down^2 + up^2 = target^2.

    With eta 1 the added noise has the variance of the posterior between the two levels (k-diffusion
    `get_ancestral_step`; Song et al. 2020, equation 16).
    """
    up = min(target, eta * (target**2 * (sigma**2 - target**2) / sigma**2) ** 0.5)
    return (target**2 - up**2) ** 0.5, up
