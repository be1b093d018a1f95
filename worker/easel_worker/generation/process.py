"""A job, batch by batch: first pass or init picture, hires pass, decoding, and what comes after.

txt2img   noise ──► pass ──┬──────────────────────────────► decode ──► faces
                           └─ hires: enlarge ──► pass ──┘
img2img   picture ──► encode ──► pass ──► decode ──► faces ──► colours, composite
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from PIL import Image

from easel_contract.checkpoints import ModelFile
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.errors import JobError, NanError
from easel_worker.diffusion.samplers.registry import find_sampler
from easel_worker.diffusion.taesd import TaesdFiles
from easel_worker.diffusion.tiling import tiling
from easel_worker.generation import hires, img2img
from easel_worker.generation.control.facts import control_facts
from easel_worker.generation.control.run import units_at_work
from easel_worker.generation.facts import facts_of
from easel_worker.generation.job import Hires, Job, Picture, Source
from easel_worker.generation.passes import first_pass, hires_pass, img2img_pass
from easel_worker.generation.result import Drawn, Result, Shot
from easel_worker.generation.small_vaes import uses_taesd, with_taesd
from easel_worker.generation.studio import Studio

Batch = Sequence[Picture]


@torch.inference_mode()
def generate(job: Job, studio: Studio) -> Result:
    """Render a job. One that is interrupted comes out as far as it got: whole batches, and the running one
    decoded from where its sampler was.

    Raises:
        JobError: the model cannot do what is asked.
        NanError: the model overflowed.
        ContractError: an upscaler or face restorer is not there.
    """
    result = Result([])
    for batch in batches_of(job):
        studio.watch.batch_begins(len(batch))
        studio.told.clear()
        told: Mapping[str, object] = {}
        acted = job
        with ExitStack() as stack:
            stack.enter_context(_networks_come_off(studio, batch))
            lent = _with_vaes(studio, job) if job.vaes else studio
            if studio.taesd is not None and uses_taesd(job):
                lent = _with_small_vaes(lent, job, studio.taesd)
            lent = _tiled(lent, stack) if job.tiling else lent
            begun_at = len(result.shots) % job.batch_size
            source = None if job.source is None else _beginning_at(job.source, begun_at)
            units = units_at_work(job, source, batch, lent)
            lent = replace(lent, units=units)
            if source is None:
                drawn, acted = _txt2img(job, batch, lent)
            else:
                drawn, extras, told = _img2img(job, source, batch, lent)
                result.extras += extras
            result.show(units.maps if units else [])
        whole = not studio.watch.cut_short
        result.shots += [
            Shot(
                one.image,
                picture,
                acted,
                {**told, **facts_of(acted, picture), **studio.told, **control_facts(job.units)},
                one.copies,
                whole,
            )
            for one, picture in zip(drawn, batch, strict=True)
        ]
        studio.watch.batch_done(len(batch))
        if studio.watch.interrupted:
            result.interrupted = True
            break
    return result


@contextmanager
def _networks_come_off(studio: Studio, batch: Batch) -> Iterator[None]:
    """However a batch ends, no checkpoint goes on with its networks."""
    try:
        yield
    except NanError as error:
        names = ", ".join(dict.fromkeys(use.name[:60] for one in batch for use in one.networks if use.acts))
        if names:
            raise JobError(
                f"prompt: {error}; with these networks: {names}; use smaller multipliers"
            ) from None
        raise
    finally:
        if studio.networks is not None:
            studio.networks.detach()


def _with_vaes(studio: Studio, job: Job) -> Studio:
    """The studio with the job's VAEs in the checkpoints that it lends."""

    def checkpoint(model: ModelFile) -> Checkpoint:
        found, vae = studio.checkpoint(model), job.vaes.get(model)
        return found if vae is None else studio.with_vae(found, vae)

    return replace(studio, checkpoint=checkpoint)


def _with_small_vaes(studio: Studio, job: Job, files: TaesdFiles) -> Studio:
    """The studio with TAESD in every checkpoint that it lends, as far as the job's options ask for it."""
    return replace(studio, checkpoint=lambda model: with_taesd(studio.checkpoint(model), job, files))


def _tiled(studio: Studio, stack: ExitStack) -> Studio:
    """The studio with every checkpoint that it lends, a refiner's too, drawing without edges until the stack
    is left."""

    def checkpoint(model: ModelFile) -> Checkpoint:
        found = studio.checkpoint(model)
        small = [part.network for part in (found.encoder, found.decoder) if part is not None]
        stack.enter_context(tiling(found.unet, found.vae, *small))
        return found

    return replace(studio, checkpoint=checkpoint)


def batches_of(job: Job) -> Iterator[Batch]:
    """The job's batches; single pictures where a sampler looks at the whole batch at once."""
    choices = [job.steps.choice, *([job.hires.choice] if job.hires and job.hires.choice else [])]
    if any(find_sampler(choice.sampler).one_image for choice in choices):
        yield from ((picture,) for picture in job.pictures)
    else:
        yield from job.batches


def passes_of(job: Job) -> int:
    """How often each batch of a job goes through a sampler."""
    first = job.firstpass is None
    second = job.hires is not None and job.hires.denoising_strength > 0
    return first + second


def _txt2img(job: Job, batch: Batch, studio: Studio) -> tuple[list[Drawn], Job]:
    """The pictures, and the job that was done: without its hires pass where the first one was cut short."""
    checkpoint = studio.checkpoint(job.model)
    if job.firstpass is None:
        latents = first_pass(job, batch, checkpoint, studio)
    else:
        latents = hires.encoded(job.firstpass, job, checkpoint, len(batch))
    # What is skipped or interrupted in the first pass is shown as it is.
    if job.hires is None:
        return _decoded(job, checkpoint, latents, studio), job
    if studio.watch.cut_short:
        done = job.first_pass_alone
        return _decoded(done, checkpoint, latents, studio), done
    return _hires(job, job.hires, batch, latents, checkpoint, studio), job


def _hires(
    job: Job, asked: Hires, batch: Batch, latents: torch.Tensor, first: Checkpoint, studio: Studio
) -> list[Drawn]:
    checkpoint = studio.checkpoint(asked.model) if asked.model else first
    size = hires.size_of(job, asked)
    options = job.options
    before = None
    if options.save_images_before_highres_fix:
        before = decode(first, latents, fall_back=options.auto_vae_precision)
    enlarged = hires.enlarge(
        latents,
        asked,
        size,
        checkpoint=first,
        after=checkpoint,
        upscaler=studio.upscaler,
        fall_back=options.auto_vae_precision,
    )
    latents = hires_pass(job, asked, batch, enlarged, size.final_size, checkpoint, studio)
    drawn = _decoded(job, checkpoint, latents, studio)
    if before is None:
        return drawn
    return [
        one.keeping("before-highres-fix", Image.fromarray(pixels))
        for one, pixels in zip(drawn, before, strict=True)
    ]


def _beginning_at(source: Source, place: int) -> Source:
    """The source for pictures from `place` in a batch on, where a sampler takes them one by one."""
    images = source.images
    place %= len(images)
    return replace(source, images=images[place:] + images[:place]) if place else source


def _img2img(
    job: Job, source: Source, batch: Batch, studio: Studio
) -> tuple[list[Drawn], list[Image.Image], Mapping[str, object]]:
    """The finished pictures, the extra ones, and what infotexts tell of how they were made."""
    checkpoint = studio.checkpoint(job.model)
    beginning = img2img.begin(job, source, batch, checkpoint, studio)
    latents = img2img_pass(job, batch, checkpoint, beginning, studio)
    drawn = _decoded(job, checkpoint, latents, studio)
    finished, extras = img2img.finish(job, source, drawn, latents, beginning)
    return finished, extras, img2img.img2img_facts(job, checkpoint, beginning)


def _decoded(job: Job, checkpoint: Checkpoint, latents: torch.Tensor, studio: Studio) -> list[Drawn]:
    pictures = list(decode(checkpoint, latents, fall_back=job.options.auto_vae_precision))
    if studio.units is not None:
        pictures = studio.units.finished(pictures)
    drawn = [Drawn(Image.fromarray(pixels)) for pixels in pictures]
    if not job.restore_faces:
        return drawn
    options = job.options
    if options.save_images_before_face_restoration:
        drawn = [one.keeping("before-face-restoration") for one in drawn]
    name, weight = options.face_restoration_model, options.code_former_weight
    return [one.now(studio.restore_faces(one.image, name, weight)) for one in drawn]
