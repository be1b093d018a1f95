"""The loop that every sampler runs in.

A sampler is a generator: it gets a `Solver` (the model, the noise levels, the random numbers) and the latent
at the first level, and yields the latent after each step. What it has to remember between steps are its local
variables, and it may make as many steps as it likes.

All of them solve dx/dsigma = (x - denoised(x, sigma)) / sigma (Karras et al. 2022, equation 4), some with
noise added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch

from easel_worker.diffusion.samplers.options import SamplerOptions

Denoise = Callable[[torch.Tensor, float], torch.Tensor]
"""(x, sigma) -> the model's guess at the data in x, guided."""
DenoisePair = Callable[[torch.Tensor, float, float], tuple[torch.Tensor, torch.Tensor]]
"""(x, sigma, factor) -> the guess with the guidance scale times `factor`, and the unconditional guess."""
Noise = Callable[[], torch.Tensor]
"""The next unit noise, drawn per image."""
BrownianNoise = Callable[[float, float], torch.Tensor]
"""(sigma, target) -> the increment of a Brownian path between the two, scaled to unit variance."""
OnStep = Callable[[int, int], None]


class Solver:
    """What a sampler works with.

    sigmas: the levels to visit, one more than there are steps. brownian: for samplers that solve a stochastic
    equation; independent `noise` where none is given. denoise_pair: for samplers that need the unconditional
    prediction. eta: how much noise an ancestral step adds; 0 none, 1 full.
    """

    def __init__(
        self,
        denoise: Denoise,
        sigmas: Sequence[float],
        noise: Noise,
        *,
        brownian: BrownianNoise | None = None,
        denoise_pair: DenoisePair | None = None,
        eta: float = 1.0,
        options: SamplerOptions | None = None,
    ) -> None:
        self.sigmas = sigmas
        self.noise = noise
        self.brownian: BrownianNoise = brownian or (lambda sigma, target: noise())
        self.eta = eta
        self.options = options or SamplerOptions()
        # How many steps there will be; samplers that choose their own correct it, adaptive ones as they go.
        self.steps = len(sigmas) - 1
        self.calls = 0
        # The model's last guess at the picture: what previews show, and what an interrupted job returns.
        self.newest_denoised: torch.Tensor | None = None
        self._denoise = denoise
        self._denoise_pair = denoise_pair

    def denoise(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The model's guess at the data in `x`."""
        self.calls += 1
        self.newest_denoised = self._denoise(x, sigma)
        return self.newest_denoised

    def denoise_pair(self, x: torch.Tensor, sigma: float, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The guess with `factor` times the guidance scale, and the one without prompt.

        Raises `TypeError` where the denoiser cannot tell the two apart.
        """
        if self._denoise_pair is None:
            raise TypeError("this sampler needs denoise_pair")
        self.calls += 1
        guided, unconditional = self._denoise_pair(x, sigma, factor)
        self.newest_denoised = guided
        return guided, unconditional

    def intervals(self) -> Iterator[tuple[float, float]]:
        """Each step's level and target."""
        return pairwise(self.sigmas)

    def churned(self, x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, float]:
        """The latent with `s_churn`'s noise of one step, and the level it is at then (Karras et al. 2022,
        algorithm 2).
        """
        options = self.options
        if options.s_churn <= 0:
            return x, sigma
        noise = self.noise()  # drawn at every step: the levels with churn must not move the others' noise
        if not options.s_tmin <= sigma <= options.churn_until:
            return x, sigma
        raised = sigma * (1 + min(options.s_churn / (len(self.sigmas) - 1), 2**0.5 - 1))
        return torch.add(x, noise, alpha=options.s_noise * (raised**2 - sigma**2) ** 0.5), raised


Sampler = Callable[[Solver, torch.Tensor], Iterator[torch.Tensor]]


def solve(sampler: Sampler, solver: Solver, x: torch.Tensor, on_step: OnStep) -> torch.Tensor:
    """Take `x` from sigmas[0] to the last sigma.

    `on_step(done, steps)` follows every step and may raise to stop; `solver.newest_denoised` is then the
    picture as far as it got. `steps` is the sampler's own count, an estimate where that is open.
    """
    for done, latent in enumerate(sampler(solver, x), start=1):
        x = latent
        on_step(done, solver.steps)
    return x


def toward(denoised: torch.Tensor, x: torch.Tensor, sigma: float, target: float) -> torch.Tensor:
    """Euler's step, written as what it is: keep target/sigma of the noise. Exact in one step down to 0."""
    return torch.lerp(denoised, x, target / sigma)


def ancestral_levels(sigma: float, target: float, eta: float) -> tuple[float, float]:
    """How far an ancestral step goes down, and how much noise brings it back: down^2 + up^2 = target^2.

    With eta 1 the added noise has the variance of the posterior between the two levels (k-diffusion
    `get_ancestral_step`; Song et al. 2020, equation 16).
    """
    up = min(target, eta * (target**2 * (sigma**2 - target**2) / sigma**2) ** 0.5)
    return (target**2 - up**2) ** 0.5, up
