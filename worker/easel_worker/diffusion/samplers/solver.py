"""The loop that every sampler runs in.

A sampler is a function that is called once per picture with a `Solver` (the model, the noise levels, the
random numbers) and returns its step: `step(x, i)` takes the latent at sigmas[i] to sigmas[i + 1]. What it has
to remember between steps lives in its closure.

All of them solve dx/dsigma = (x - denoised(x, sigma)) / sigma (Karras et al. 2022, equation 4), some with
noise added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
Step = Callable[[torch.Tensor, int], torch.Tensor]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Solver:
    """What a sampler works with.

    denoise: (x, sigma) -> the model's guess at the data. sigmas: descending, one more than there are steps.
    noise: the next unit noise, drawn per image. eta: how much of it an ancestral step adds; 0 none, 1 full.
    """

    denoise: Denoise
    sigmas: Sequence[float]
    noise: Callable[[], torch.Tensor]
    eta: float = 1.0

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1


Sampler = Callable[[Solver], Step]


def solve(sampler: Sampler, solver: Solver, x: torch.Tensor, on_step: OnStep) -> torch.Tensor:
    """Take `x` from sigmas[0] to the last sigma. `on_step(done, steps)` follows every step and may raise to
    stop.
    """
    step = sampler(solver)
    for i in range(solver.steps):
        x = step(x, i)
        on_step(i + 1, solver.steps)
    return x


def toward(denoised: torch.Tensor, x: torch.Tensor, sigma: float, target: float) -> torch.Tensor:
    """Euler's step, written as what it is: keep target/sigma of the noise. Exact in one step down to 0."""
    return torch.lerp(denoised, x, target / sigma)
