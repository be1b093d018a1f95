"""Outpainting: the picture grows side by side, each side an img2img of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from PIL import Image

from easel_contract.errors import ContractError
from easel_contract.limits import Limits
from easel_contract.requests.scripts import OutpaintingMk2, PoorMansOutpainting
from easel_worker.generation.job import Job, Picture, Source
from easel_worker.generation.result import Generate, Result, Shot
from easel_worker.generation.scripts.limits import check_count
from easel_worker.generation.scripts.sources import source_of
from easel_worker.imaging.inpainting import MaskedContent, MaskFields
from easel_worker.imaging.outpainting import (
    Margins,
    TiledCanvas,
    expand,
    margins,
    poor_mans,
    poor_mans_grid,
)


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


def canvas_of(script: PoorMansOutpainting, job: Job, added: Margins, limits: Limits) -> TiledCanvas:
    """The job's picture on its grown canvas, in tiles of the job's size.

    Raises:
        ContractError: 422, there would be more tiles than the operator allows.
    """
    image = source_of(job).images[0]
    grid = poor_mans_grid(added.grown(image.size), job.rendered_size, script.pixels)
    check_count(grid.count * len(job.pictures), limits, "tiles")
    return poor_mans(image, added, job.rendered_size, pixels=script.pixels, mask_blur=script.mask_blur)


def outpainting_mk2(script: OutpaintingMk2, job: Job, added: Margins, generate: Generate) -> Result:
    """Grow the first init image, once for every picture of the job: one side after the other."""
    source = source_of(job)
    result = Result([])
    for picture in job.pictures:
        image = source.images[0]
        facts: Mapping[str, object] = {}
        whole = True
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
            drawn = generate(_run(job, source, picture, run.init, run.mask, run.latent_mask, fields))
            image = run.finish(drawn.shots[0].image)
            result.show(drawn.maps)
            facts = drawn.shots[0].facts
            whole = whole and drawn.shots[0].whole
            if drawn.interrupted:
                result.interrupted = True
                break
        result.shots.append(Shot(image, picture, job, {**facts, "Script": "Outpainting mk2"}, whole=whole))
        if result.interrupted:
            break
    return result


def poor_mans_outpainting(
    script: PoorMansOutpainting, job: Job, canvas: TiledCanvas, generate: Generate
) -> Result:
    """Grow the first init image on all sides at once, in tiles of the job's size.

    Each tile has the next seed, as in A1111. Interrupted, tiles that are not drawn yet stay black.
    """
    source = source_of(job)
    fields = MaskFields(
        blur_x=canvas.blur,
        blur_y=canvas.blur,
        only_masked=False,
        content=MaskedContent(script.inpainting_fill),
    )
    result = Result([])
    for picture in job.pictures:
        tiles = [run.init for run in canvas.runs]
        facts: Mapping[str, object] = {}
        whole = True
        for number, run in enumerate(canvas.runs):
            seeded = replace(picture, seed=picture.seed + number, subseed=picture.subseed + number)
            drawn = generate(_run(job, source, seeded, run.init, run.mask, run.latent_mask, fields))
            tiles[number] = drawn.shots[0].image
            result.show(drawn.maps)
            facts = drawn.shots[0].facts
            whole = whole and drawn.shots[0].whole
            if drawn.interrupted:
                result.interrupted = True
                break
        result.shots.append(
            Shot(
                canvas.finish(tiles),
                picture,
                job,
                {**facts, "Script": "Poor man's outpainting"},
                whole=whole,
            )
        )
        if result.interrupted:
            break
    return result


def _run(
    job: Job,
    source: Source,
    picture: Picture,
    init: Image.Image,
    mask: Image.Image,
    latent_mask: Image.Image,
    fields: MaskFields,
) -> Job:
    return replace(
        job.with_pictures([picture]),
        width=init.width,
        height=init.height,
        batch_size=1,
        source=replace(
            source, images=(init,), resize_mode=0, mask=mask, latent_mask=latent_mask, fields=fields
        ),
    )
