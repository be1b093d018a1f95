"""What a job may set about noise, schedule and sampler."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite

from easel_worker.diffusion.errors import JobError

UNIPC_VARIANTS = ("bh1", "bh2", "vary_coeff")
UNIPC_SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")
NOISE_SCHEDULES = ("Default", "Zero Terminal SNR")


@dataclass(frozen=True)
class SamplerOptions:
    """A1111's request fields and options for sampling, by their names there and with their defaults.

    Raises `JobError` naming the field for a value that is out of range or not a finite number.
    """

    eta: float | None = None
    """How much noise a step of an ancestral sampler or of DDIM adds: 0 none, 1 full. None: the option for the
    sampler's kind, `eta_ancestral` or `eta_ddim`."""
    eta_ancestral: float = 1.0
    eta_ddim: float = 0.0
    s_churn: float = 0.0
    """Noise added before each step of Euler, Heun and DPM2, summed over the steps (Karras et al. 2022,
    algorithm 2)."""
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    """The levels between which there is churn; 0 for the upper one is infinity."""
    s_noise: float = 1.0
    """The standard deviation of all noise that is added after the start."""
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    """The ends of the schedule; 0 is the model's own."""
    rho: float = 0.0
    """The exponent of the Karras and Polyexponential schedules; 0 is their own, 7 and 1."""
    beta_dist_alpha: float = 0.6
    beta_dist_beta: float = 0.6
    use_old_karras_scheduler_sigmas: bool = False
    """Schedules between two sigmas go from 10 to 0.1, whatever the model."""
    always_discard_next_to_last_sigma: bool = False
    sgm_noise_multiplier: bool = False
    """Start from noise * sqrt(1 + sigma^2) instead of noise * sigma."""
    sd_noise_schedule: str = "Default"
    """"Zero Terminal SNR" rescales the model's levels so that the last is nearly pure noise."""
    use_downcasted_alpha_bar: bool = False
    """The model's alphas are rounded to half precision."""
    uni_pc_variant: str = "bh1"
    uni_pc_skip_type: str = "time_uniform"
    uni_pc_order: int = 3
    uni_pc_lower_order_final: bool = True
    img2img_fix_steps: bool = False
    """Image to image makes as many steps as asked, instead of the part that the denoising strength says."""
    img2img_extra_noise: float = 0.0
    """Noise added to the latent of an image, beside that of the first level."""
    initial_noise_multiplier: float = 1.0
    """Image to image: what the noise at the start is multiplied with."""
    no_dpmpp_sde_batch_determinism: bool = False
    """Independent noise from the image's stream instead of a Brownian path."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not (isfinite(value) or item.name == "s_tmax"):
                raise JobError(f"{item.name}: {value} should be a finite number")
        not_negative = ("s_churn", "s_tmin", "s_tmax", "s_noise", "sigma_min", "sigma_max", "rho")
        for name in (*not_negative, "img2img_extra_noise", "initial_noise_multiplier"):
            if not getattr(self, name) >= 0:
                raise JobError(f"{name}: {getattr(self, name)} should be 0 or more")
        for name in ("eta", "eta_ancestral", "eta_ddim"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise JobError(f"{name}: {value} should be from 0 to 1")
        for name in ("beta_dist_alpha", "beta_dist_beta"):
            if not 0.01 <= getattr(self, name) <= 100:
                raise JobError(f"{name}: {getattr(self, name)} should be from 0.01 to 100")
        if not 1 <= self.uni_pc_order <= 50:
            raise JobError(f"uni_pc_order: {self.uni_pc_order} should be from 1 to 50")
        for name, known in (
            ("uni_pc_variant", UNIPC_VARIANTS),
            ("uni_pc_skip_type", UNIPC_SKIP_TYPES),
            ("sd_noise_schedule", NOISE_SCHEDULES),
        ):
            if getattr(self, name) not in known:
                raise JobError(f"{name}: {getattr(self, name)!r} is unknown, use {', '.join(known)}")

    @property
    def churn_until(self) -> float:
        """`s_tmax` with its 0 read as infinity."""
        return self.s_tmax or float("inf")
