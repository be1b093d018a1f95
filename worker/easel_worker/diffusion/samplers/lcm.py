"""Latent consistency models: from noise to data at once, then part of the noise back."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from easel_worker.diffusion.samplers.solver import Solver


def lcm(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1; Luo et al. 2023, algorithm 3).

    The skip connection of the consistency function weighs less than 1e-5 at every level of a latent diffusion
    model and is left out.
    """
    for sigma, target in solver.intervals():
        x = solver.denoise(x, sigma)
        if target > 0:
            x = torch.add(x, solver.noise(), alpha=target)
        yield x
