"""The passes of a job: from prompts, seeds and perhaps a latent to the next latent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from easel_contract.samplers import SamplerChoice
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, make_conditioning
from easel_worker.diffusion.encode import LATENT_FACTOR, encode_pixels
from easel_worker.diffusion.errors import JobError
from easel_worker.diffusion.guidance import Guidance, GuidanceOptions
from easel_worker.diffusion.guidance_hooks import (
    GuidanceHooks,
    RefinerSwitch,
    Successor,
    keep_unmasked,
    keep_unmasked_input,
)
from easel_worker.diffusion.inpaint_conditioning import blank_conditioning
from easel_worker.diffusion.latents import keep_outside
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.prompts.networks import cut_networks
from easel_worker.diffusion.samplers.registry import find_sampler
from easel_worker.diffusion.sampling import SamplingPlan, SamplingRun, model_levels
from easel_worker.diffusion.size_ids import BASE_NUMBERS, SizeIds, base_ids, refiner_ids
from easel_worker.diffusion.soft_inpaint import SoftInpaint
from easel_worker.diffusion.text import TextModel, TextOptions
from easel_worker.diffusion.token_merging import merges, token_merging
from easel_worker.diffusion.unet_batch import Padding
from easel_worker.generation.courses import first_course, hires_course, img2img_course
from easel_worker.generation.img2img import Beginning
from easel_worker.generation.job import Hires, Job, Picture
from easel_worker.generation.networks import attach_networks
from easel_worker.generation.sampling import noise_for, run_pass, sampler_options, shown_of
from easel_worker.generation.studio import Studio
from easel_worker.imaging.resize import Size


@dataclass(frozen=True)
class Pass:
    """What the passes of a job differ in.

    steps: how many model calls the prompts are scheduled for. hires_steps: the same of a hires pass, in one.
    refined: whether the refiner takes part.
    """

    batch: Sequence[Picture]
    plan: SamplingPlan
    size: Size
    steps: int
    hires_steps: int | None = None
    refined: bool = False


def first_pass(job: Job, batch: Sequence[Picture], checkpoint: Checkpoint, studio: Studio) -> torch.Tensor:
    """From noise to latents (n, 4, h, w)."""
    checkpoint = _with_levels(checkpoint, job)
    choice = job.steps.choice
    plan = first_course(job, checkpoint.sigmas, sdxl=checkpoint.size_numbers > 0)
    the_pass = Pass(
        batch, plan, job.rendered_size, _calls(choice, job.steps.steps), refined=job.refines_first
    )
    return _sample(job, the_pass, checkpoint, studio)


def img2img_pass(
    job: Job, batch: Sequence[Picture], checkpoint: Checkpoint, beginning: Beginning, studio: Studio
) -> torch.Tensor:
    """From a picture's latents to others."""
    checkpoint = _with_levels(checkpoint, job)
    choice = job.steps.choice
    sdxl = checkpoint.size_numbers > 0
    plan = img2img_course(job, beginning.source, checkpoint.sigmas, sdxl=sdxl)
    the_pass = Pass(batch, plan, job.rendered_size, _calls(choice, job.steps.steps), refined=True)
    latents = _sample(job, the_pass, checkpoint, studio, beginning=beginning, init=beginning.init)
    if beginning.mask is None or beginning.source.soft is not None:
        return latents
    return keep_outside(latents, beginning.init, beginning.mask)


def hires_pass(
    job: Job,
    hires: Hires,
    batch: Sequence[Picture],
    enlarged: torch.Tensor,
    size: Size,
    checkpoint: Checkpoint,
    studio: Studio,
) -> torch.Tensor:
    """From the first pass's latents, enlarged to `size` in pixels, to the final ones. Strength 0 changes
    nothing."""
    checkpoint = _with_levels(checkpoint, job)
    first, choice = job.steps.choice, hires.choice or job.steps.choice
    plan = hires_course(job, hires, checkpoint.sigmas, sdxl=checkpoint.size_numbers > 0)
    if plan.steps == 0:
        return enlarged
    own = [
        replace(
            picture,
            prompt=hires.prompt or picture.prompt,
            negative_prompt=hires.negative_prompt or picture.negative_prompt,
            networks=hires.networks if hires.prompt else picture.networks,
        )
        for picture in batch
    ]
    the_pass = Pass(
        own,
        plan,
        size,
        _calls(first, job.steps.steps),
        hires_steps=_calls(choice, hires.steps),
        refined=job.options.hires_fix_refiner_pass in ("second pass", "both passes"),
    )
    return _sample(job, the_pass, checkpoint, studio, init=enlarged)


def _sample(
    job: Job,
    the_pass: Pass,
    checkpoint: Checkpoint,
    studio: Studio,
    *,
    init: torch.Tensor | None = None,
    beginning: Beginning | None = None,
) -> torch.Tensor:
    plan, options = the_pass.plan, job.options
    channels = int(checkpoint.vae.config.latent_channels)
    noise = noise_for(job, the_pass.batch, the_pass.size, channels=channels, device=checkpoint.device)
    text = _text_model(job, the_pass, checkpoint, studio)
    conditioning = _conditioning(job, the_pass, text)
    _tell_embeddings(job, conditioning, studio)
    _tell_unfit_embeddings(job, the_pass, text, studio)
    padding = _padding(job)
    guidance = Guidance(
        checkpoint,
        conditioning,
        GuidanceOptions(
            cfg_scale=job.steps.cfg_scale,
            image_cfg_scale=beginning.source.image_cfg_scale
            if beginning and checkpoint.takes == "picture"
            else None,
            s_min_uncond=options.s_min_uncond,
            s_min_uncond_all=options.s_min_uncond_all,
            skip_early_cond=options.skip_early_cond,
            padding=padding,
        ),
        calls=max(plan.steps * plan.calls_per_step, 1),
        picture=_condition(job, the_pass, checkpoint, beginning),
        size_ids=_size_ids(job, the_pass, checkpoint),
        empty=text.encode("").context if padding == "empty" else None,
        hooks=_hooks(job, the_pass, checkpoint, studio, beginning),
    )
    run = SamplingRun(plan, guidance, noise, denoise_pair=guidance.pair, step_done=guidance.step_done)
    second = the_pass.hires_steps is not None
    acting = studio.units.acting(guidance, the_pass.size, second=second) if studio.units else nullcontext()
    ratio = job.merging_ratio(second=second)
    if ratio and not merges(checkpoint.unet):
        studio.problems.append(
            f"token_merging_ratio: {checkpoint.name} has no attention at full size: no token was merged"
        )
    with acting, token_merging(checkpoint.unet, ratio):
        shown = shown_of(run, guidance, options.live_preview_content)
        return run_pass(run, run.start(init), studio.watch, shown)


def _hooks(
    job: Job, the_pass: Pass, checkpoint: Checkpoint, studio: Studio, beginning: Beginning | None
) -> GuidanceHooks:
    hooks = GuidanceHooks()
    if beginning is not None and beginning.mask is not None:
        init, mask = beginning.init, beginning.mask
        asked = beginning.source.soft
        if asked is not None:
            soft = SoftInpaint(
                power=asked.mask_blend_power,
                scale=asked.mask_blend_scale,
                detail=asked.inpaint_detail_preservation,
            )
            hooks.blend_denoised = lambda latent, sigma: soft.blend(latent, init, mask, sigma)
        elif the_pass.plan.spec.unit_variance:
            hooks.blend_input = keep_unmasked_input(init, mask)
        else:
            hooks.blend_denoised = keep_unmasked(init, mask)
    refiner = job.refiner
    if refiner is not None and the_pass.refined:

        def load() -> Successor:
            other = _with_levels(studio.checkpoint(refiner.model), job)
            text = _text_model(job, the_pass, other, studio, refiner=True)
            return Successor(
                other,
                _conditioning(job, the_pass, text),
                size_ids=_size_ids(job, the_pass, other),
                empty=text.encode("").context if _padding(job) == "empty" else None,
                picture=_refined_condition(job, the_pass, checkpoint, other, beginning),
            )

        by_steps = job.options.refiner_switch_by_sample_steps
        hooks.before_call.append(RefinerSwitch(refiner.switch_at, load, by_steps=by_steps))
    return hooks


def _condition(
    job: Job, the_pass: Pass, checkpoint: Checkpoint, beginning: Beginning | None
) -> torch.Tensor | None:
    """What a checkpoint with further input channels sees beside the latent; without a picture, nothing but
    that everything is to be painted."""
    if beginning is not None:
        return beginning.condition
    if checkpoint.takes == "latent":
        return None
    if checkpoint.takes == "picture":
        raise JobError(f"{checkpoint.name} changes pictures: use img2img")
    width, height = the_pass.size
    like = torch.empty(1, 4, height // LATENT_FACTOR, width // LATENT_FACTOR, device=checkpoint.device)
    return blank_conditioning(like, lambda pixels: encode_pixels(checkpoint, pixels))


def _refined_condition(
    job: Job, the_pass: Pass, checkpoint: Checkpoint, refiner: Checkpoint, beginning: Beginning | None
) -> torch.Tensor | None:
    """The same for a refiner: a plain one sees the latent alone, whatever the first checkpoint saw."""
    if refiner.takes == "latent":
        return None
    if beginning is not None and refiner.takes != checkpoint.takes:
        raise JobError(f"refiner_checkpoint: {refiner.name} is no refiner for {checkpoint.name}")
    return _condition(job, the_pass, refiner, beginning)


def _size_ids(job: Job, the_pass: Pass, checkpoint: Checkpoint) -> SizeIds | None:
    """What an SDXL or its refiner is told about the picture: the pass's own size, and the options' crop."""
    if not checkpoint.size_numbers:
        return None
    options = job.options
    width, height = the_pass.size
    if checkpoint.size_numbers == BASE_NUMBERS:
        return base_ids(
            width,
            height,
            crop_top=options.sdxl_crop_top,
            crop_left=options.sdxl_crop_left,
            device=checkpoint.device,
        )
    return refiner_ids(
        width,
        height,
        crop_top=options.sdxl_crop_top,
        crop_left=options.sdxl_crop_left,
        aesthetic=options.sdxl_refiner_high_aesthetic_score,
        negative_aesthetic=options.sdxl_refiner_low_aesthetic_score,
        device=checkpoint.device,
    )


def _conditioning(job: Job, the_pass: Pass, text: TextModel) -> Conditioning:
    return make_conditioning(
        text,
        [_words(picture.prompt, job) for picture in the_pass.batch],
        [picture.negative_prompt for picture in the_pass.batch],
        PromptSteps(the_pass.steps, the_pass.hires_steps, old=job.options.use_old_scheduling),
    )


def _words(prompt: str, job: Job) -> str:
    """A prompt without its networks' tags."""
    return cut_networks(prompt).text if job.networks else prompt


def _text_model(
    job: Job, the_pass: Pass, checkpoint: Checkpoint, studio: Studio, *, refiner: bool = False
) -> TextModel:
    """The checkpoint's text side, with the pass's networks in the whole checkpoint from here on."""
    options = job.options
    attached = attach_networks(job, the_pass.batch, checkpoint, studio, refiner=refiner)
    return TextModel(
        checkpoint,
        TextOptions(
            clip_skip=options.CLIP_stop_at_last_layers,
            emphasis=options.emphasis,
            backtrack=options.comma_padding_backtrack,
            clip_l_skip=options.sdxl_clip_l_skip,
        ),
        embeddings=studio.embeddings,
        bundled=attached.embeddings,
        adapters=attached.text_key,
    )


def _tell_embeddings(job: Job, conditioning: Conditioning, studio: Studio) -> None:
    if conditioning.embeddings and job.options.textual_inversion_add_hashes_to_infotext:
        hashes = (f"{one.name}: {one.short_hash}" for one in conditioning.embeddings)
        studio.told["TI hashes"] = ", ".join(hashes)


def _tell_unfit_embeddings(job: Job, the_pass: Pass, text: TextModel, studio: Studio) -> None:
    """Of textual inversions that the checkpoint cannot use, and whose names are in the prompts."""
    unfit = {} if text.embeddings is None else text.embeddings.skipped
    if not unfit:
        return
    prompts = {
        "prompt": " ".join({_words(picture.prompt, job) for picture in the_pass.batch}),
        "negative_prompt": " ".join({picture.negative_prompt for picture in the_pass.batch}),
    }
    for name, reason in unfit.items():
        named = re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)
        studio.problems.extend(
            f"{field}: embedding {name!r} {reason}; its name was read as words"
            for field, prompt in prompts.items()
            if named.search(prompt)
        )


def _padding(job: Job) -> Padding:
    if job.options.pad_cond_uncond_v0:
        return "repeat"
    return "empty" if job.options.pad_cond_uncond else "none"


def _with_levels(checkpoint: Checkpoint, job: Job) -> Checkpoint:
    """The checkpoint on the noise levels that the option `sd_noise_schedule` asks for."""
    levels = model_levels(checkpoint.sigmas, sampler_options(job.options))
    return checkpoint if levels is checkpoint.sigmas else replace(checkpoint, sigmas=levels)


def _calls(choice: SamplerChoice, steps: int) -> int:
    """Model calls that so many steps are counted as by prompts that change."""
    return steps * find_sampler(choice.sampler).calls_per_step
