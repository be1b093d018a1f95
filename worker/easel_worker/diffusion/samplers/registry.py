"""The samplers by name, and the noise levels each of them walks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.samplers.dpmpp import dpmpp_2m
from easel_worker.diffusion.samplers.euler import euler, euler_ancestral
from easel_worker.diffusion.samplers.heun import heun
from easel_worker.diffusion.samplers.lms import lms
from easel_worker.diffusion.samplers.solver import Sampler
from easel_worker.diffusion.samplers.unipc import unipc
from easel_worker.diffusion.schedules import ddim_timesteps, schedule
from easel_worker.diffusion.sigmas import Floats, ModelSigmas

OwnLevels = Callable[[ModelSigmas, int], Floats]
AUTOMATIC = "automatic"


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler as users know it.

    name: A1111's display name. scheduler: the one that "automatic" means. eta: the default where a job gives
    none. own_levels: for samplers that ignore the scheduler and choose their levels themselves; they work on
    latents of unit variance, so they start from noise * sqrt(1 + sigma^2) and what they return is scaled
    back.
    """

    name: str
    aliases: tuple[str, ...]
    sampler: Sampler
    scheduler: str = "uniform"
    eta: float = 1.0
    own_levels: OwnLevels | None = None

    def levels(self, model: ModelSigmas, steps: int, scheduler: str) -> Floats:
        """The sigmas to visit, descending. Raises `JobError` for an unknown scheduler."""
        if self.own_levels is not None:
            return self.own_levels(model, steps)
        return schedule(self.scheduler if scheduler == AUTOMATIC else scheduler, model, steps)


def _ddim_levels(model: ModelSigmas, steps: int) -> Floats:
    return model.at(ddim_timesteps(len(model), steps)[::-1])


def _unipc_levels(model: ModelSigmas, steps: int) -> Floats:
    """Timesteps evenly spaced from the last to 0, both included ("time uniform", Zhao et al. 2023)."""
    return model.at(np.linspace(len(model) - 1, 0, steps + 1))


SAMPLERS: dict[str, SamplerSpec] = {
    spec.name: spec
    for spec in (
        SamplerSpec("DPM++ 2M", ("k_dpmpp_2m",), dpmpp_2m, scheduler="karras"),
        SamplerSpec("Euler a", ("k_euler_a", "k_euler_ancestral"), euler_ancestral),
        SamplerSpec("Euler", ("k_euler",), euler),
        SamplerSpec("LMS", ("k_lms",), lms),
        SamplerSpec("Heun", ("k_heun",), heun),
        SamplerSpec("DDIM", ("ddim",), euler_ancestral, eta=0.0, own_levels=_ddim_levels),
        SamplerSpec("UniPC", ("unipc",), unipc, own_levels=_unipc_levels),
    )
}


def find_sampler(name: str) -> SamplerSpec:
    """The sampler with this display name. Raises `JobError` naming those that there are."""
    found = SAMPLERS.get(name)
    if found is None:
        raise JobError(f"sampler: {name!r} is unknown, use one of {', '.join(SAMPLERS)}")
    return found
