"""What is told about a picture: its infotext, and A1111's `info` object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from easel_contract.infotext import build
from easel_contract.options import RenderOptions
from easel_worker.outputs.record import GenerationRecord, ImageFacts


def infotext(record: GenerationRecord, image: ImageFacts, options: RenderOptions | None = None) -> str:
    """Parameters of one picture, in A1111's order of keys (1.10)."""
    parameters = _parameters(record, image, options or RenderOptions())
    return build(image.prompt, image.negative_prompt, parameters)


def grid_infotext(record: GenerationRecord, first: ImageFacts, options: RenderOptions | None = None) -> str:
    """Parameters of a grid: the main prompt and the first picture's seeds."""
    parameters = _parameters(record, first, options or RenderOptions())
    return build(record.prompt, record.negative_prompt, parameters)


def describe(
    record: GenerationRecord, images: Sequence[ImageFacts], infotexts: Sequence[str], *, grids: int
) -> dict[str, object]:
    """A1111's `info`. The first `grids` pictures of the answer, and infotexts, are grids'."""
    return {
        "prompt": images[0].prompt,
        "all_prompts": [image.prompt for image in images],
        "negative_prompt": images[0].negative_prompt,
        "all_negative_prompts": [image.negative_prompt for image in images],
        "seed": images[0].seed,
        "all_seeds": [image.seed for image in images],
        "subseed": images[0].subseed,
        "all_subseeds": [image.subseed for image in images],
        "subseed_strength": record.subseed_strength,
        "width": record.width,
        "height": record.height,
        "sampler_name": record.sampler,
        "cfg_scale": record.cfg_scale,
        "steps": record.steps,
        "batch_size": record.batch_size,
        "restore_faces": record.restore_faces,
        "face_restoration_model": record.face_restoration_model if record.restore_faces else None,
        "sd_model_name": record.model_name,
        "sd_model_hash": record.model_hash,
        "sd_vae_name": record.vae_name,
        "sd_vae_hash": record.vae_hash,
        "seed_resize_from_w": record.seed_resize_from_w,
        "seed_resize_from_h": record.seed_resize_from_h,
        "denoising_strength": record.denoising_strength,
        "extra_generation_params": {
            key: _jsonable(value)
            for key, value in {**record.extra, **images[0].extra}.items()
            if value is not None
        },
        "index_of_first_image": grids,
        "infotexts": list(infotexts),
        "styles": list(record.styles),
        "job_timestamp": f"{record.when:%Y%m%d%H%M%S}",
        "clip_skip": record.clip_skip,
        "is_using_inpainting_conditioning": record.conditional_mask_weight is not None,
        "version": record.version,
    }


def _parameters(record: GenerationRecord, image: ImageFacts, options: RenderOptions) -> Mapping[str, object]:
    """Every key with its value or None, in the order of `easel_contract.infotext.KEYS`."""
    varied = record.subseed_strength != 0
    resized = record.seed_resize_from_w > 0 and record.seed_resize_from_h > 0
    denoised = record.kind == "img2img" or record.hires
    model, vae = record.model_name, record.vae_name
    return {
        "Steps": record.steps,
        "Sampler": record.sampler,
        "Schedule type": record.schedule,
        "CFG scale": record.cfg_scale,
        "Image CFG scale": record.image_cfg_scale,
        "Seed": image.seed,
        "Face restoration": record.face_restoration_model if record.restore_faces else None,
        "Size": f"{record.width}x{record.height}",
        "Model hash": (record.model_hash or None) if options.add_model_hash_to_info else None,
        "Model": model if options.add_model_name_to_info else None,
        "FP8 weight": record.fp8_weight,
        "Cache FP16 weight for LoRA": record.cache_fp16_weight,
        "VAE hash": record.vae_hash if vae and options.add_vae_hash_to_info else None,
        "VAE": vae if options.add_vae_name_to_info else None,
        "Variation seed": image.subseed if varied else None,
        "Variation seed strength": record.subseed_strength if varied else None,
        "Seed resize from": f"{record.seed_resize_from_w}x{record.seed_resize_from_h}" if resized else None,
        "Denoising strength": record.denoising_strength if denoised else None,
        "Conditional mask weight": record.conditional_mask_weight,
        "Clip skip": record.clip_skip if record.clip_skip > 1 else None,
        "ENSD": record.ensd or None,
        "Token merging ratio": record.token_merging_ratio or None,
        "Token merging ratio hr": record.token_merging_ratio_hr or None,
        "Init image hash": record.init_image_hash,
        "RNG": None if record.rng == "GPU" else record.rng,
        "Tiling": True if record.tiling else None,
        **record.extra,
        **image.extra,
        "Version": record.version if options.add_version_to_infotext else None,
        "User": record.user if options.add_user_name_to_info else None,
    }


def _jsonable(value: object) -> object:
    """What JSON can hold; the rest becomes null, as A1111's answers have it."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
    return value
