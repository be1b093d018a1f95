"""DPM-Solver++ in the data prediction, without noise and ancestral (Lu et al. 2022b)."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

import torch

from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels, toward


def dpmpp_2m(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Second-order multistep (Lu et al. 2022b, algorithm 2; k-diffusion `sample_dpmpp_2m`).

    One model call per step; time is -log(sigma). The first step and a last step down to 0 are first order.
    """
    earlier: torch.Tensor | None = None
    earlier_h = 0.0
    for sigma, target in solver.intervals():
        denoised = solver.denoise(x, sigma)
        h = log(sigma / target) if target > 0 else 0.0
        estimate = denoised
        if earlier is not None and target > 0:
            estimate = torch.lerp(earlier, denoised, 1 + h / (2 * earlier_h))
        earlier, earlier_h = denoised, h
        x = toward(estimate, x, sigma, target)
        yield x


def dpmpp_2s_ancestral(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Second-order singlestep, ancestral (Lu et al. 2022b, algorithm 1 with r = 1/2; k-diffusion
    `sample_dpmpp_2s_ancestral`). Two model calls per step.
    """
    for sigma, target in solver.intervals():
        down, up = ancestral_levels(sigma, target, solver.eta)
        denoised = solver.denoise(x, sigma)
        if down > 0:
            middle = (sigma * down) ** 0.5
            denoised = solver.denoise(toward(denoised, x, sigma, middle), middle)
        x = toward(denoised, x, sigma, down)
        if up > 0:
            x = torch.add(x, solver.noise(), alpha=solver.options.s_noise * up)
        yield x
