"""What surrounds an img2img pass: from pictures and masks to latents, and from results back into pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from easel_contract.requests import SoftInpainting
from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.encode import LATENT_FACTOR, encode, encode_pixels, to_tensor
from easel_worker.diffusion.inpaint_conditioning import inpaint_conditioning
from easel_worker.diffusion.latents import noise_content, nothing_content, resize_latents
from easel_worker.generation.job import Job, Picture, Source
from easel_worker.generation.result import Drawn
from easel_worker.generation.sampling import noise_for
from easel_worker.generation.studio import Studio
from easel_worker.imaging.color import correct_colours
from easel_worker.imaging.inpainting import Inpainting, MaskedContent, MaskFields, prepare
from easel_worker.imaging.levels import to_unit
from easel_worker.imaging.overlay import composite, mask_picture, masked_result
from easel_worker.imaging.resize import ResizeMode, Size, resize, scale_to
from easel_worker.imaging.soft_composite import SoftComposite, opacity_mask


@dataclass(frozen=True)
class Beginning:
    """What a batch starts from.

    source: the job's. images: what was encoded, per picture. masked: per picture what inpainting needs, None
    without a mask. init: (n, 4, h, w) latents, with the masked content. original: the same without it. mask:
    (n, 1, h, w), 1 is painted anew, or None. condition: (n, channels, h, w) that an inpainting or
    InstructPix2Pix checkpoint sees beside the latent, or None.
    """

    source: Source
    images: tuple[Image.Image, ...]
    masked: tuple[Inpainting | None, ...]
    init: torch.Tensor
    original: torch.Tensor
    mask: torch.Tensor | None = None
    condition: torch.Tensor | None = None


def begin(
    job: Job, source: Source, batch: Sequence[Picture], checkpoint: Checkpoint, studio: Studio
) -> Beginning:
    """Fit the source to the job and encode it. Picture i starts from image i modulo how many there are."""
    size = job.rendered_size
    name = job.options.upscaler_for_img2img
    upscaler = studio.upscaler(name) if name and name.casefold() != "none" else None
    fields = source.fields
    prepared: list[tuple[Image.Image, Inpainting | None]] = []
    for image in source.images[: len(batch)]:
        masked = None
        if source.mask is not None:
            masked = prepare(
                image,
                source.mask,
                size,
                fields,
                resize_mode=source.resize_mode,
                upscaler=upscaler,
                latent=source.latent_mask,
            )
        if masked is not None:
            prepared.append((masked.init, masked))
        elif source.resize_mode == ResizeMode.STRETCH_LATENT:
            prepared.append((image, None))
        else:
            prepared.append((resize(image, size, source.resize_mode, upscaler), None))
    chosen = [prepared[i % len(prepared)] for i in range(len(batch))]
    width, height = (side // LATENT_FACTOR for side in size)
    latents = torch.cat(
        [resize_latents(encode(checkpoint, [image]), (width, height)) for image, _ in prepared]
    )
    init = original = latents[[i % len(prepared) for i in range(len(batch))]]
    mask = _latent_masks([masked for _, masked in chosen], (width, height), checkpoint.device)
    if mask is not None:
        if fields.content is MaskedContent.LATENT_NOISE:
            noise = noise_for(job, batch, size, channels=init.shape[1], device=checkpoint.device)()
            init = noise_content(init, noise, mask)
        elif fields.content is MaskedContent.LATENT_NOTHING:
            init = nothing_content(init, mask)
    return Beginning(
        source=source,
        images=tuple(image for image, _ in chosen),
        masked=tuple(masked for _, masked in chosen),
        init=init,
        original=original,
        mask=mask,
        condition=_condition(job, checkpoint, chosen, original, (width, height)),
    )


def _latent_masks(
    masked: Sequence[Inpainting | None], size: Size, device: torch.device
) -> torch.Tensor | None:
    if all(one is None for one in masked):
        return None
    whole = np.ones((size[1], size[0]), dtype=np.float32)
    masks = [whole if one is None else one.latent_mask(size) for one in masked]
    return torch.from_numpy(np.stack(masks)).unsqueeze(1).to(device)


def _condition(
    job: Job,
    checkpoint: Checkpoint,
    chosen: Sequence[tuple[Image.Image, Inpainting | None]],
    original: torch.Tensor,
    size: Size,
) -> torch.Tensor | None:
    """What checkpoints with more input channels than the latent's are conditioned on.

    InstructPix2Pix: the picture's latent, not scaled. Inpainting: see `masked_conditioning`; without a mask
    all of the picture is painted anew.
    """
    if checkpoint.takes == "latent":
        return None
    if checkpoint.takes == "picture":
        return original / checkpoint.scaling_factor
    parts = []
    width, height = (side * LATENT_FACTOR for side in size)
    for image, masked in chosen:
        # With resize mode 3 the picture still has its own size: only its latent was stretched.
        pixels = to_tensor(scale_to(image, (width, height)))
        mask = torch.ones_like(pixels[:, :1])
        if masked is not None:
            mask = torch.from_numpy(to_unit(masked.mask))[None, None]
        parts.append(
            inpaint_conditioning(
                pixels,
                mask,
                lambda seen: encode_pixels(checkpoint, seen),
                weight=job.options.inpainting_mask_weight,
                hard=masked is None or masked.hard,
            )
        )
    return torch.cat(parts)


def finish(
    job: Job, source: Source, drawn: Sequence[Drawn], latents: torch.Tensor, beginning: Beginning
) -> tuple[list[Drawn], list[Image.Image]]:
    """The finished pictures, and the extra ones that options ask for.

    drawn: what was decoded from `latents`.
    """
    options = job.options
    finished: list[Drawn] = []
    extras: list[Image.Image] = []
    for i, one in enumerate(drawn):
        if options.save_init_img:
            one = one.keeping("init-image", source.images[i % len(source.images)])
        if options.img2img_color_correction:
            if options.save_images_before_color_correction:
                one = one.keeping("before-color-correction")
            one = one.now(correct_colours(one.image, beginning.images[i]))
        masked = beginning.masked[i]
        if masked is None:
            finished.append(one)
            continue
        overlay = _overlay(source, masked, one, i, latents, beginning)
        placed = masked.place(one.image)
        if options.save_mask:
            one = one.keeping("mask", mask_picture(overlay))
        if options.save_mask_composite:
            one = one.keeping("mask-composite", masked_result(placed, overlay))
        if options.return_mask:
            extras.append(mask_picture(overlay))
        if options.return_mask_composite:
            extras.append(masked_result(placed, overlay))
        whole = composite(masked.original, placed, overlay) if options.overlay_inpaint else placed
        finished.append(one.now(whole))
    return finished, extras


def _overlay(
    source: Source,
    masked: Inpainting,
    one: Drawn,
    i: int,
    latents: torch.Tensor,
    beginning: Beginning,
) -> Image.Image:
    """Where the result shows over the original, "L", in the final picture's frame."""
    if source.soft is None or beginning.mask is None:
        return masked.overlay_mask
    opacity = _soft_composite(source.soft).opacity(
        beginning.original[i].cpu().numpy(),
        latents[i].cpu().numpy(),
        beginning.mask[i, 0].cpu().numpy(),
    )
    return masked.place_mask(opacity_mask(opacity, one.image.size))


def _soft_composite(soft: SoftInpainting) -> SoftComposite:
    return SoftComposite(
        mask_influence=soft.composite_mask_influence,
        threshold=soft.composite_difference_threshold,
        contrast=soft.composite_difference_contrast,
        scale=soft.mask_blend_scale,
    )


CONTENT_NAMES = ("fill", "original", "latent noise", "latent nothing")


def img2img_facts(job: Job, checkpoint: Checkpoint, beginning: Beginning) -> Mapping[str, object]:
    """What infotexts tell of masks and of what only some checkpoints take, in A1111's names and order;
    nothing of a mask that was blank."""
    source = beginning.source
    facts: dict[str, object] = {}
    if checkpoint.takes == "picture":
        facts["Image CFG scale"] = source.image_cfg_scale
    if checkpoint.takes == "mask":
        facts["Conditional mask weight"] = job.options.inpainting_mask_weight
    if beginning.mask is not None:
        facts |= _mask_facts(source.fields)
        if source.soft is not None:
            facts |= _soft_facts(source.soft)
    return facts


def _mask_facts(fields: MaskFields) -> Mapping[str, object]:
    facts: dict[str, object] = {}
    if fields.blur_x == fields.blur_y:
        facts["Mask blur"] = fields.blur_x
    else:
        facts |= {"Mask blur x": fields.blur_x, "Mask blur y": fields.blur_y}
    if fields.only_masked:
        facts |= {"Inpaint area": "Only masked", "Masked area padding": fields.padding}
    if fields.content is not MaskedContent.ORIGINAL:
        facts["Masked content"] = CONTENT_NAMES[fields.content]
    if fields.inverted:
        facts["Mask mode"] = "Inpaint not masked"
    return facts


def _soft_facts(soft: SoftInpainting) -> Mapping[str, object]:
    return {
        "Soft inpainting enabled": True,
        "Soft inpainting schedule bias": soft.mask_blend_power,
        "Soft inpainting preservation strength": soft.mask_blend_scale,
        "Soft inpainting transition contrast boost": soft.inpaint_detail_preservation,
        "Soft inpainting mask influence": soft.composite_mask_influence,
        "Soft inpainting difference threshold": soft.composite_difference_threshold,
        "Soft inpainting difference contrast": soft.composite_difference_contrast,
    }
