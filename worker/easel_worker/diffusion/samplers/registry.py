"""The samplers by name: what the contract says of each, and the function that is it."""

from __future__ import annotations

from dataclasses import dataclass

from easel_contract.samplers import SAMPLERS as KNOWN
from easel_contract.samplers import Sampler as Facts
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.samplers.dpm2 import dpm2, dpm2_ancestral
from easel_worker.diffusion.samplers.dpm_solver import dpm_adaptive, dpm_fast
from easel_worker.diffusion.samplers.dpmpp import dpmpp_2m, dpmpp_2s_ancestral
from easel_worker.diffusion.samplers.dpmpp_sde import (
    dpmpp_2m_sde,
    dpmpp_2m_sde_heun,
    dpmpp_3m_sde,
    dpmpp_sde,
)
from easel_worker.diffusion.samplers.euler import ddim, ddim_cfgpp, euler, euler_ancestral
from easel_worker.diffusion.samplers.heun import heun, restart
from easel_worker.diffusion.samplers.lcm import lcm
from easel_worker.diffusion.samplers.lms import lms, plms
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.samplers.solver import Sampler
from easel_worker.diffusion.samplers.unipc import unipc


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler as users know it: `facts` are its names and flags, `sampler` the function.

    unit_variance: it works on latents of DDPM's scale, so it starts from noise * sqrt(1 + sigma^2) and what
    it returns is scaled back. one_image: it looks at the whole latent at once, so a batch has to be drawn
    image by image to give each the picture of its seed.
    """

    facts: Facts
    sampler: Sampler

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def unit_variance(self) -> bool:
        return self.facts.own_steps

    @property
    def calls_per_step(self) -> int:
        """Model calls per step as prompt editing counts them: 2 for second-order samplers."""
        return 2 if self.facts.second_order else 1

    @property
    def one_image(self) -> bool:
        return self.sampler is dpm_adaptive

    def eta(self, options: SamplerOptions) -> float:
        """How much noise its steps add: the request's eta, else the option of its kind."""
        if options.eta is not None:
            return options.eta
        return options.eta_ddim if self.sampler in (ddim, ddim_cfgpp) else options.eta_ancestral


_FUNCTIONS: dict[str, Sampler] = {
    "DPM++ 2M": dpmpp_2m,
    "DPM++ SDE": dpmpp_sde,
    "DPM++ 2M SDE": dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": dpmpp_2m_sde_heun,
    "DPM++ 2S a": dpmpp_2s_ancestral,
    "DPM++ 3M SDE": dpmpp_3m_sde,
    "Euler a": euler_ancestral,
    "Euler": euler,
    "LMS": lms,
    "Heun": heun,
    "DPM2": dpm2,
    "DPM2 a": dpm2_ancestral,
    "DPM fast": dpm_fast,
    "DPM adaptive": dpm_adaptive,
    "Restart": restart,
    "DDIM": ddim,
    "DDIM CFG++": ddim_cfgpp,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
}
SAMPLERS: dict[str, SamplerSpec] = {facts.name: SamplerSpec(facts, _FUNCTIONS[facts.name]) for facts in KNOWN}


def find_sampler(name: str) -> SamplerSpec:
    """The sampler with this display name. Raises `JobError` naming those that there are."""
    found = SAMPLERS.get(name)
    if found is None:
        raise JobError(f"sampler: {name!r} is unknown, use one of {', '.join(SAMPLERS)}")
    return found
