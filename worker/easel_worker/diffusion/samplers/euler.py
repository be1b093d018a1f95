"""First-order samplers: Euler, Euler a, DDIM, DDIM CFG++."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels, toward

# Guidance scale 12.5 is CFG++'s 1, from which on it leaves the manifold (Chung et al. 2024, section 4).
_CFGPP_FACTOR = 1 / 12.5


def euler(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Euler's method (Karras et al. 2022, algorithm 2)."""
    for level, target in solver.intervals():
        x, sigma = solver.churned(x, level)
        x = toward(solver.denoise(x, sigma), x, sigma, target)
        yield x


def euler_ancestral(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Euler's step below the target, then fresh noise up to it (k-diffusion `sample_euler_ancestral`)."""
    return _with_noise(solver, x, solver.options.s_noise)


def ddim(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """DDIM (Song et al. 2020, equations 12 and 16): in variance-exploding scale the step of Euler a.

    eta 0 is deterministic, eta 1 is DDPM. s_noise is no parameter of it.
    """
    return _with_noise(solver, x, 1.0)


def _with_noise(solver: Solver, x: torch.Tensor, s_noise: float) -> Iterator[torch.Tensor]:
    for sigma, target in solver.intervals():
        down, up = ancestral_levels(sigma, target, solver.eta)
        x = toward(solver.denoise(x, sigma), x, sigma, down)
        if up > 0:
            x = torch.add(x, solver.noise(), alpha=s_noise * up)
        yield x


def ddim_cfgpp(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """DDIM whose noise goes back along the unconditional prediction (CFG++, Chung et al. 2024, algorithm 2).

    The guidance scale is divided by 12.5, so that the usual range around 7 means what it says there.
    """
    for sigma, target in solver.intervals():
        down, up = ancestral_levels(sigma, target, solver.eta)
        guided, unconditional = solver.denoise_pair(x, sigma, _CFGPP_FACTOR)
        x = torch.add(guided, x - unconditional, alpha=down / sigma)
        if up > 0:
            x = torch.add(x, solver.noise(), alpha=up)
        yield x
