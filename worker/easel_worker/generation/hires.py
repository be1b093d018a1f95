"""The hires fix: a second pass over the first one's picture, made larger."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from PIL import Image

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.decode import decode
from easel_worker.diffusion.encode import encode
from easel_worker.diffusion.latents import LATENT_MODES, resize_latents
from easel_worker.generation.job import Hires, Job, Picture
from easel_worker.imaging.hires_size import HiresSize, hires_size
from easel_worker.imaging.resize import Upscaler, scale_to


def size_of(job: Job, hires: Hires) -> HiresSize:
    """The sizes of a job's second pass."""
    return hires_size(job.rendered_size, scale=hires.scale, resize_x=hires.resize_x, resize_y=hires.resize_y)


def enlarge(
    latents: torch.Tensor,
    hires: Hires,
    size: HiresSize,
    *,
    checkpoint: Checkpoint,
    after: Checkpoint,
    upscaler: Callable[[str], Upscaler],
    fall_back: bool = False,
) -> torch.Tensor:
    """The first pass's latents at the second pass's size: in latent space, or as pictures by an upscaler.

    checkpoint, after: of the first pass and of the second; they may be the same. fall_back: see `decode`.
    """
    mode = hires.upscaler if hires.upscaler in LATENT_MODES else None
    if mode is not None and checkpoint.shares_latents_with(after):
        enlarged = resize_latents(latents, size.latent_size, mode)
    else:
        enlarger = upscaler("Lanczos" if mode else hires.upscaler)
        decoded = decode(checkpoint, latents, fall_back=fall_back)
        pictures = [Image.fromarray(pixels) for pixels in decoded]
        enlarged = encode(after, [scale_to(picture, size.size, enlarger) for picture in pictures])
    rows, columns = size.kept
    return enlarged[..., rows, columns].contiguous()


def encoded(image: Image.Image, job: Job, checkpoint: Checkpoint, count: int) -> torch.Tensor:
    """Latents that stand in for a first pass: one picture, for each of `count`."""
    latent = encode(checkpoint, [scale_to(image, job.rendered_size)])
    return latent.expand(count, -1, -1, -1)


def hires_facts(job: Job, hires: Hires, picture: Picture) -> Mapping[str, object]:
    """What the infotext tells of a second pass, in A1111's names and order. The prompts are the picture's
    own, which are not repeated."""
    by_scale = not hires.resize_x and not hires.resize_y
    choice = hires.choice
    own = job.steps.choice
    return {
        "Hires upscale": hires.scale if by_scale else None,
        "Hires resize": None if by_scale else f"{hires.resize_x}x{hires.resize_y}",
        "Hires steps": hires.steps if hires.steps != job.steps.steps else None,
        "Hires upscaler": hires.upscaler,
        "Hires sampler": choice.sampler if choice and choice.sampler != own.sampler else None,
        "Hires schedule type": choice.label if choice and choice.label != own.label else None,
        "Hires checkpoint": hires.model.name if hires.model else None,
        "Hires prompt": hires.prompt if hires.prompt not in ("", picture.prompt) else None,
        "Hires negative prompt": hires.negative_prompt
        if hires.negative_prompt not in ("", picture.negative_prompt)
        else None,
    }
