"""Sampling, from names and options to a latent: the one entry for whoever draws a picture.

    plan = plan_txt2img("DPM++ 2M", "karras", 20, model=checkpoint.sigmas)
    run = SamplingRun(plan, denoise, NoiseSource(seeds, shape, device=device))
    latent = run.solve(run.start(), on_step)

A plan is which levels are visited and how the latent enters and leaves them; it is made without a tensor, so
that a request can be checked early. A run is one batch on its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.noise import NoiseSource
from easel_worker.diffusion.samplers.dpm_solver import dpm_adaptive, dpm_fast, fast_orders
from easel_worker.diffusion.samplers.heun import restart, restart_steps
from easel_worker.diffusion.samplers.lcm import lcm
from easel_worker.diffusion.samplers.options import SamplerOptions
from easel_worker.diffusion.samplers.registry import SamplerSpec, find_sampler
from easel_worker.diffusion.samplers.solver import Denoise, DenoisePair, OnStep, Solver, solve
from easel_worker.diffusion.samplers.unipc import unipc
from easel_worker.diffusion.schedules import ScheduleOptions, ddim_timesteps, schedule
from easel_worker.diffusion.sigmas import Floats, ModelSigmas

__all__ = [
    "AUTOMATIC",
    "SamplerOptions",
    "SamplingPlan",
    "SamplingRun",
    "model_levels",
    "plan_img2img",
    "plan_txt2img",
]

AUTOMATIC = "automatic"
_LARGEST_STRENGTH = 0.999
# An LCM knows every 20th timestep, 50 of 1000 (Luo et al. 2023, section 4.3).
_LCM_STRIDE = 20
# Levels of an image to image schedule before it is cut: 150 steps at strength 0.0015.
_MOST_LEVELS = 100_000


@dataclass(frozen=True)
class SamplingPlan:
    """How one batch is sampled.

    levels: the sigmas to visit, descending; a single one means no steps. noise_sigma: the level of the noise
    that is added at the start; only image to image of the samplers on their own timesteps starts elsewhere
    than at levels[0]. start_scale, finish_scale: what the latent is multiplied with on entering and leaving.
    brownian_range: the ends of the schedule before it was cut.
    """

    spec: SamplerSpec
    options: SamplerOptions
    levels: tuple[float, ...]
    noise_sigma: float
    start_scale: float = 1.0
    finish_scale: float = 1.0
    brownian_range: tuple[float, float] | None = None

    @property
    def steps(self) -> int:
        """How many steps a user is shown: solver steps, not model calls. One fewer than there are levels.

        DPM fast makes about a third of them, with up to three calls each; DPM adaptive decides on the way.
        Both tell their own count with every step.
        """
        return len(self.levels) - 1

    @property
    def steps_made(self) -> int | None:
        """How many steps the sampler tells of; None where only the run shows it (DPM adaptive)."""
        if self.spec.sampler is dpm_adaptive:
            return None if self.steps else 0
        if self.spec.sampler is dpm_fast:
            return len(fast_orders(self.steps))
        return len(restart_steps(self.levels)) if self.spec.sampler is restart else self.steps

    @property
    def calls_per_step(self) -> int:
        """What a step counts for in prompt editing: 2 for second-order samplers, whose prompt schedule is
        made for twice the steps asked for.
        """
        return self.spec.calls_per_step

    @property
    def one_image(self) -> bool:
        """The images of a batch have to be drawn one by one."""
        return self.spec.one_image

    @property
    def eta(self) -> float:
        return self.spec.eta(self.options)


def model_levels(model: ModelSigmas, options: SamplerOptions) -> ModelSigmas:
    """The model's levels under `use_downcasted_alpha_bar` and, after it, `sd_noise_schedule`. The denoiser
    has to be given the same."""
    if options.use_downcasted_alpha_bar:
        model = model.downcast()
    return model.zero_terminal_snr() if options.sd_noise_schedule == "Zero Terminal SNR" else model


def plan_txt2img(
    sampler: str,
    scheduler: str,
    steps: int,
    *,
    model: ModelSigmas,
    options: SamplerOptions | None = None,
    sdxl: bool = False,
) -> SamplingPlan:
    """The way from pure noise.

    Args:
        sampler: A display name, as in `SAMPLERS`.
        scheduler: A name, as in `SCHEDULES`, or "automatic"; samplers on their own timesteps ignore it.
        steps: 1 or more.
        model: The model's levels, see `model_levels`.
        sdxl: The model is an SDXL.

    Raises:
        JobError: an unknown name, no steps.
    """
    spec, options = find_sampler(sampler), options or SamplerOptions()
    if steps < 1:
        raise JobError(f"steps: {steps} should be 1 or more")
    if spec.unit_variance:
        timesteps = ddim_timesteps(len(model), steps)
        if len(timesteps) < 2:
            timesteps = np.array([1.0, len(model) - 1.0])
        top = len(model) - 1.0 if spec.sampler is unipc else float(timesteps[-1])
        levels = _own_levels(spec, model, timesteps, top, options)
        return _on_timesteps(SamplingPlan(spec, options, levels, noise_sigma=levels[0]))
    whole = _scheduled(spec, scheduler, steps, model, options, sdxl)
    is_open = _is_open(spec)
    levels = _open_levels(model.largest, model.smallest, steps) if is_open else _falling(whole)
    first = (1 + levels[0] ** 2) ** 0.5 if options.sgm_noise_multiplier else levels[0]
    return SamplingPlan(spec, options, levels, noise_sigma=first, brownian_range=_range(whole))


def plan_img2img(
    sampler: str,
    scheduler: str,
    steps: int,
    denoising_strength: float,
    *,
    model: ModelSigmas,
    options: SamplerOptions | None = None,
    fixed_steps: bool = False,
    sdxl: bool = False,
) -> SamplingPlan:
    """The way from an image's latent: the end of a longer schedule.

    Args:
        denoising_strength: 0 to 1, how much of the schedule runs: with t = int(strength * steps) samplers on
            a schedule make t + 1 steps, those on their own timesteps t - 1.
        fixed_steps: `steps` are those that run, and the schedule is as much longer; so for the second pass of
            a hires fix, and with the option `img2img_fix_steps`. Strength 0 then makes none, and leaves the
            latent as it is.

    The others, and what it raises, as in `plan_txt2img`.
    """
    spec, options = find_sampler(sampler), options or SamplerOptions()
    if steps < 1:
        raise JobError(f"steps: {steps} should be 1 or more")
    if not 0 <= denoising_strength <= 1:
        raise JobError(f"denoising_strength: {denoising_strength} should be from 0 to 1")
    strength = min(denoising_strength, _LARGEST_STRENGTH)
    if fixed_steps or options.img2img_fix_steps:
        if strength == 0:
            return SamplingPlan(spec, options, levels=(0.0,), noise_sigma=0.0)
        begun = steps - 1
        steps = min(int(steps / strength), max(_MOST_LEVELS, steps))
    else:
        begun = int(strength * steps)
    if spec.unit_variance:
        return _cut_timesteps(spec, steps, begun, model, options)
    whole = _scheduled(spec, scheduler, steps, model, options, sdxl)
    # Counted from the top, as in A1111, where a schedule has more levels than steps; from the bottom where it
    # has fewer, because the model has no more.
    cut = _falling(whole[max(min(steps - begun - 1, len(whole) - begun - 2), 0) :])
    levels = cut
    if _is_open(spec):
        positive = [sigma for sigma in cut if sigma > 0] or [model.smallest]
        levels = _open_levels(positive[0], positive[-1], len(cut) - 1)
    return SamplingPlan(spec, options, levels, noise_sigma=levels[0], brownian_range=_range(whole))


def _scheduled(
    spec: SamplerSpec,
    scheduler: str,
    steps: int,
    model: ModelSigmas,
    options: SamplerOptions,
    sdxl: bool,
) -> tuple[float, ...]:
    """All levels of a schedule, with the next to last left out where the sampler or the job wants that."""
    if spec.sampler is lcm:
        model = model.every(_LCM_STRIDE)
    automatic = scheduler == AUTOMATIC
    settings = ScheduleOptions(
        options.sigma_min,
        options.sigma_max,
        options.rho,
        options.beta_dist_alpha,
        options.beta_dist_beta,
        sdxl,
    )
    if options.use_old_karras_scheduler_sigmas:
        low, high = options.sigma_min or 0.1, options.sigma_max or 10.0
        settings = replace(settings, sigma_min=low, sigma_max=high)
    discard = spec.facts.discard_next_to_last_sigma or options.always_discard_next_to_last_sigma
    levels = schedule(spec.facts.scheduler if automatic else scheduler, model, steps + discard, settings)
    if discard and len(levels) > 2:
        levels = np.delete(levels, -2)
    return tuple(float(sigma) for sigma in levels)


def _is_open(spec: SamplerSpec) -> bool:
    """Its levels are only the ends between which it chooses its own."""
    return spec.sampler in (dpm_fast, dpm_adaptive)


def _open_levels(high: float, low: float, steps: int) -> tuple[float, ...]:
    return _falling(np.geomspace(high, low, steps + 1).tolist())


def _falling(levels: Sequence[float]) -> tuple[float, ...]:
    """The levels without those that repeat the one before, as some schedules have when they are longer than
    the model's table: a step between equal levels does nothing, and several samplers would divide by its
    width.
    """
    return tuple(level for i, level in enumerate(levels) if i == 0 or level < levels[i - 1])


def _range(levels: tuple[float, ...]) -> tuple[float, float] | None:
    positive = [sigma for sigma in levels if sigma > 0]
    return (positive[-1], positive[0]) if len(positive) > 1 else None


def _own_levels(
    spec: SamplerSpec, model: ModelSigmas, timesteps: Floats, top: float, options: SamplerOptions
) -> tuple[float, ...]:
    """The levels of a sampler on its own timesteps; `timesteps` are DDIM's, ascending."""
    if spec.sampler is not unipc:
        return _falling(model.at(timesteps[::-1]).tolist())
    count, length = len(timesteps) + 1, len(model)
    if options.uni_pc_skip_type == "logSNR":
        levels = np.geomspace(float(model.at(np.array([top]))[0]), model.smallest, count)
    elif options.uni_pc_skip_type == "time_quadratic":
        # Even in the square root of the time, which is 1/length at the first timestep and 1 after the last.
        levels = model.at(np.linspace(((top + 1) / length) ** 0.5, length**-0.5, count) ** 2 * length - 1)
    else:
        levels = model.at(np.linspace(top, 0, count))
    return _falling(levels.tolist())


def _cut_timesteps(
    spec: SamplerSpec, steps: int, begun: int, model: ModelSigmas, options: SamplerOptions
) -> SamplingPlan:
    """Image to image on own timesteps: the noise is that of the timestep above the one where sampling starts,
    as in A1111.
    """
    timesteps = ddim_timesteps(len(model), steps)
    begun = min(begun, len(timesteps) - 1)
    noise_sigma = float(model.at(timesteps[begun : begun + 1])[0])
    kept = timesteps[:begun]
    levels = _own_levels(spec, model, kept, float(kept[-1]), options) if begun else (noise_sigma,)
    return _on_timesteps(SamplingPlan(spec, options, levels, noise_sigma))


def _on_timesteps(plan: SamplingPlan) -> SamplingPlan:
    """The scales of a sampler that sees latents of unit variance, x / sqrt(1 + sigma^2)."""
    start = ((1 + plan.levels[0] ** 2) / (1 + plan.noise_sigma**2)) ** 0.5
    return replace(plan, start_scale=start, finish_scale=(1 + plan.levels[-1] ** 2) ** -0.5)


class SamplingRun:
    """One batch on its way through a plan.

    denoise: the model, (x, sigma) -> denoised; called with x = data + sigma * noise. denoise_pair: see
    `DenoisePair`, needed for DDIM CFG++ only. noise: the images' random streams, unused so far: the first
    noise is the starting one. step_done: hears `(done, steps)` after every step, before `on_step` does
    (`Guidance.step_done`).
    """

    def __init__(
        self,
        plan: SamplingPlan,
        denoise: Denoise,
        noise: NoiseSource,
        *,
        denoise_pair: DenoisePair | None = None,
        step_done: OnStep | None = None,
    ) -> None:
        self.plan = plan
        self._noise = noise
        self._step_done = step_done
        brownian = None
        wanted = plan.spec.facts.brownian_noise and not plan.options.no_dpmpp_sde_batch_determinism
        if wanted and plan.brownian_range is not None and plan.steps > 0:
            brownian = noise.brownian(*plan.brownian_range)
        self._solver = Solver(
            denoise,
            plan.levels,
            noise,
            brownian=brownian,
            denoise_pair=denoise_pair,
            eta=plan.eta,
            options=plan.options,
        )

    def start(
        self, init: torch.Tensor | None = None, *, first_noise: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The latent at the first level: noise, or an image's latent with noise.

        Args:
            init: (images, 4, h, w), float32, the image's latent; None starts from noise alone.
            first_noise: Instead of the streams' next, where a caller has drawn that already.
        """
        plan, options = self.plan, self.plan.options
        noise = self._noise() if first_noise is None else first_noise
        if init is None:
            return noise * (plan.start_scale * _entry(plan))
        sigma = plan.noise_sigma + (options.img2img_extra_noise if plan.noise_sigma > 0 else 0.0)
        noise = noise * (options.initial_noise_multiplier * sigma)
        return (init + noise) * plan.start_scale

    def solve(self, x: torch.Tensor, on_step: OnStep) -> torch.Tensor:
        """The finished latent. `on_step(done, steps)` follows every step; what it raises comes out of here,
        and `newest_denoised` is then the picture as far as it got.
        """
        told = self._step_done

        def stepped(done: int, steps: int) -> None:
            if told is not None:
                told(done, steps)
            on_step(done, steps)

        if self.plan.steps > 0:
            x = solve(self.plan.spec.sampler, self._solver, x, stepped)
        return x * self.plan.finish_scale if self.plan.finish_scale != 1.0 else x

    @property
    def newest_denoised(self) -> torch.Tensor | None:
        """The model's last guess at the picture, None before its first call: for previews, and the result of
        an interrupted job.
        """
        return self._solver.newest_denoised


def _entry(plan: SamplingPlan) -> float:
    """What unit noise is multiplied with: unit variance for samplers on timesteps, else the noise's level."""
    return (1 + plan.noise_sigma**2) ** 0.5 if plan.spec.unit_variance else plan.noise_sigma
