"""DPM-Solver++ in the data prediction (Lu et al. 2022)."""

from __future__ import annotations

from math import log

import torch

from easel_worker.diffusion.samplers.solver import Solver, Step, toward


def dpmpp_2m(solver: Solver) -> Step:
    """Second-order multistep (Lu et al. 2022, algorithm 2; k-diffusion `sample_dpmpp_2m`).

    One model call per step; time is -log(sigma). The first step and a last step down to 0 are first order.
    """
    earlier: torch.Tensor | None = None

    def step(x: torch.Tensor, i: int) -> torch.Tensor:
        nonlocal earlier
        sigma, target = solver.sigmas[i], solver.sigmas[i + 1]
        denoised = solver.denoise(x, sigma)
        estimate = denoised
        if earlier is not None and target > 0:
            ratio = log(solver.sigmas[i - 1] / sigma) / log(sigma / target)
            estimate = torch.lerp(earlier, denoised, 1 + 1 / (2 * ratio))
        earlier = denoised
        return toward(estimate, x, sigma, target)

    return step
