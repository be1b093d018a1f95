"""The way of each of a job's passes through the noise levels, before anything is drawn."""

from __future__ import annotations

from easel_worker.diffusion.sampling import SamplingPlan, model_levels, plan_img2img, plan_txt2img
from easel_worker.diffusion.sigmas import ModelSigmas, model_sigmas
from easel_worker.generation.job import Hires, Job, Source
from easel_worker.generation.sampling import sampler_options

PUBLISHED = model_sigmas({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
"""The levels of Stable Diffusion's published models. A model decides which levels a pass visits; on how many
they are it has a say only where more are asked for than it has."""


def first_course(job: Job, levels: ModelSigmas, *, sdxl: bool = False) -> SamplingPlan:
    """txt2img's first pass. levels: the model's; sdxl: it is one."""
    choice = job.steps.choice
    return plan_txt2img(
        choice.sampler,
        choice.scheduler,
        job.steps.steps,
        model=levels,
        options=sampler_options(job.options),
        sdxl=sdxl,
    )


def img2img_course(job: Job, source: Source, levels: ModelSigmas, *, sdxl: bool = False) -> SamplingPlan:
    """img2img's pass."""
    choice = job.steps.choice
    return plan_img2img(
        choice.sampler,
        choice.scheduler,
        job.steps.steps,
        job.denoising_strength,
        model=levels,
        options=sampler_options(job.options, noise_multiplier=source.noise_multiplier),
        sdxl=sdxl,
    )


def hires_course(job: Job, hires: Hires, levels: ModelSigmas, *, sdxl: bool = False) -> SamplingPlan:
    """The second pass of txt2img. With strength 0 it makes no steps."""
    choice = hires.choice or job.steps.choice
    return plan_img2img(
        choice.sampler,
        choice.scheduler,
        hires.steps,
        hires.denoising_strength,
        model=levels,
        options=sampler_options(job.options, noise_multiplier=1.0),
        fixed_steps=True,
        sdxl=sdxl,
    )


def steps_of(job: Job) -> list[int | None]:
    """The steps of each pass, 0 for one that is not run; None where only the run tells.

    Raises:
        JobError: as `plan_txt2img`.
    """
    levels = model_levels(PUBLISHED, sampler_options(job.options))
    if job.source is not None:
        return [img2img_course(job, job.source, levels).steps_made]
    first = first_course(job, levels).steps_made if job.firstpass is None else 0
    return [first] if job.hires is None else [first, hires_course(job, job.hires, levels).steps_made]
