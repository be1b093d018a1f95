"""Outpainting: the picture grows side by side, each side an img2img of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests.scripts import OutpaintingMk2, PoorMansOutpainting
from easel_worker.generation.job import Job, Picture, Source
from easel_worker.generation.result import Generate, Result, Shot
from easel_worker.generation.scripts.sources import source_of
from easel_worker.imaging.inpainting import MaskedContent, MaskFields
from easel_worker.imaging.outpainting import Margins, expand, margins, poor_mans


def margins_of(script: OutpaintingMk2 | PoorMansOutpainting, job: Job, limits: Limits) -> Margins:
    """By how much the job's picture grows.

    Raises:
        ContractError: 422, the grown picture is larger than the operator allows.
    """
    added = margins(source_of(job).images[0].size, script.pixels, script.directions)
    width, height = added.grown(source_of(job).images[0].size)
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise ContractError(
            f"the picture would be {width}x{height}, more than this service allows; at most "
            f"{limits.max_side} to a side and {limits.max_pixels} pixels in all",
            field="script_args.pixels",
            kind="too_large",
        )
    return added


def outpainting_mk2(script: OutpaintingMk2, job: Job, added: Margins, generate: Generate) -> Result:
    """Grow the first init image, once for every picture of the job: one side after the other."""
    source = source_of(job)
    result = Result([])
    for picture in job.pictures:
        image = source.images[0]
        for side, pixels in added.steps():
            run = expand(
                image,
                side,
                pixels,
                job.rendered_size,
                mask_blur=script.mask_blur,
                noise_q=script.noise_q,
                color_variation=script.color_variation,
            )
            fields = MaskFields(
                blur_x=run.blur_x, blur_y=run.blur_y, only_masked=False, content=MaskedContent.ORIGINAL
            )
            drawn = generate(
                _run(job, source, [picture], run.init, run.mask, run.latent_mask, fields, run.size)
            )
            if not drawn.shots:
                return result
            image = run.finish(drawn.shots[0].image)
        result.shots.append(Shot(image, picture, job))
    return result


def poor_mans_outpainting(
    script: PoorMansOutpainting, job: Job, added: Margins, generate: Generate
) -> Result:
    """Grow the first init image on all sides at once, in tiles of the job's size."""
    source = source_of(job)
    canvas = poor_mans(
        source.images[0],
        added,
        job.rendered_size,
        pixels=script.pixels,
        mask_blur=script.mask_blur,
    )
    fields = MaskFields(
        blur_x=canvas.blur,
        blur_y=canvas.blur,
        only_masked=False,
        content=MaskedContent(script.inpainting_fill),
    )
    result = Result([])
    for picture in job.pictures:
        tiles = []
        for run in canvas.runs:
            size = run.init.size
            drawn = generate(_run(job, source, [picture], run.init, run.mask, run.latent_mask, fields, size))
            if not drawn.shots:
                return result
            tiles.append(drawn.shots[0].image)
        result.shots.append(Shot(canvas.finish(tiles), picture, job))
    return result


def _run(
    job: Job,
    source: Source,
    pictures: Sequence[Picture],
    init: Image.Image,
    mask: Image.Image,
    latent_mask: Image.Image,
    fields: MaskFields,
    size: tuple[int, int],
) -> Job:
    return replace(
        job.with_pictures(pictures),
        width=size[0],
        height=size[1],
        batch_size=1,
        source=replace(
            source, images=(init,), resize_mode=0, mask=mask, latent_mask=latent_mask, fields=fields
        ),
    )
