"""DPM-Solver++ for the stochastic equation, with noise from a Brownian path (Lu et al. 2022b).

With eta 0 they are solvers of the ordinary equation again. A last step down to 0 gives the denoised latent.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import expm1, log

import torch

from easel_worker.diffusion.samplers.solver import Solver, ancestral_levels, toward


def dpmpp_sde(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Second-order singlestep with r = 1/2 (k-diffusion `sample_dpmpp_sde`). Two model calls per step."""
    s_noise = solver.options.s_noise
    for sigma, target in solver.intervals():
        denoised = solver.denoise(x, sigma)
        if target > 0:
            middle = (sigma * target) ** 0.5
            down, up = ancestral_levels(sigma, middle, solver.eta)
            halfway = toward(denoised, x, sigma, down)
            if up > 0:
                halfway = torch.add(halfway, solver.brownian(sigma, middle), alpha=s_noise * up)
            denoised = solver.denoise(halfway, middle)
        down, up = ancestral_levels(sigma, target, solver.eta)
        x = toward(denoised, x, sigma, down)
        if up > 0:
            x = torch.add(x, solver.brownian(sigma, target), alpha=s_noise * up)
        yield x


def dpmpp_2m_sde(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Second-order multistep, the midpoint form (k-diffusion `sample_dpmpp_2m_sde`)."""
    return _two_steps(solver, x, heun=False)


def dpmpp_2m_sde_heun(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Second-order multistep, Heun's form (k-diffusion `sample_dpmpp_2m_sde`, solver type heun)."""
    return _two_steps(solver, x, heun=True)


def _two_steps(solver: Solver, x: torch.Tensor, *, heun: bool) -> Iterator[torch.Tensor]:
    earlier: torch.Tensor | None = None
    earlier_h = 0.0
    for sigma, target in solver.intervals():
        denoised = solver.denoise(x, sigma)
        if target == 0:
            x = denoised
        else:
            h = log(sigma / target)
            damped = h * (1 + solver.eta)
            x = _decay(denoised, x, damped)
            if earlier is not None:
                weight = 1 + expm1(-damped) / damped if heun else -expm1(-damped) / 2
                x = torch.add(x, denoised - earlier, alpha=weight * h / earlier_h)
            x = _diffuse(solver, x, sigma, target, h)
            earlier, earlier_h = denoised, h
        yield x


def dpmpp_3m_sde(solver: Solver, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Third-order multistep (k-diffusion `sample_dpmpp_3m_sde`), of lower order in its first two steps."""
    past: list[tuple[torch.Tensor, float]] = []  # newest first: denoised, and the width of its step
    for sigma, target in solver.intervals():
        denoised = solver.denoise(x, sigma)
        if target == 0:
            x = denoised
        else:
            h = log(sigma / target)
            damped = h * (1 + solver.eta)
            x = _decay(denoised, x, damped)
            phi_2 = expm1(-damped) / damped + 1
            if len(past) == 1:
                (one, h_1) = past[0]
                x = torch.add(x, denoised - one, alpha=phi_2 * h / h_1)
            elif past:
                (one, h_1), (two, h_2) = past
                near, far = (denoised - one) * (h / h_1), (one - two) * (h / h_2)
                second = (near - far) * (h / (h_1 + h_2))
                first = torch.add(near, second, alpha=h_1 / h)
                x = torch.add(x, first, alpha=phi_2)
                x = torch.add(x, second, alpha=0.5 - phi_2 / damped)
            x = _diffuse(solver, x, sigma, target, h)
            past = [(denoised, h), *past[:1]]
        yield x


def _decay(denoised: torch.Tensor, x: torch.Tensor, damped: float) -> torch.Tensor:
    """The exact solution over one step if the prediction stayed what it is."""
    return torch.lerp(x, denoised, -expm1(-damped))


def _diffuse(solver: Solver, x: torch.Tensor, sigma: float, target: float, h: float) -> torch.Tensor:
    if solver.eta == 0:
        return x
    up = target * (-expm1(-2 * solver.eta * h)) ** 0.5
    return torch.add(x, solver.brownian(sigma, target), alpha=solver.options.s_noise * up)
