"""What is told about a picture: its infotext, and A1111's `info` object."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from easel_contract.infotext import build
from easel_worker import __version__
from easel_worker.handlers.plan import Plan

VERSION = f"Easel {__version__}"


def infotext(plan: Plan, seed: int) -> str:
    """Parameters of the picture of `seed`, in A1111's order of keys (1.10); ours to read back as its own."""
    request = plan.request
    return build(
        request.prompt,
        request.negative_prompt,
        {
            "Steps": request.steps,
            "Sampler": plan.choice.sampler,
            "Schedule type": plan.choice.label,
            "CFG scale": _number(request.cfg_scale),
            "Seed": seed,
            "Size": f"{request.width}x{request.height}",
            "Model hash": plan.model_hash or None,
            "Model": plan.model.name,
            "Clip skip": request.clip_skip if request.clip_skip > 1 else None,
            "RNG": plan.rng if plan.rng != "NV" else None,
            "Eta": None if request.eta is None else _number(request.eta),
            "Version": VERSION,
        },
    )


def describe(plan: Plan, infotexts: Sequence[str], when: datetime, *, grid: bool) -> dict[str, object]:
    """A1111's `info`. With `grid`, the first picture and the first infotext are the grid's."""
    request = plan.request
    count = len(plan.seeds)
    return {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * count,
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * count,
        "seed": plan.seeds[0],
        "all_seeds": list(plan.seeds),
        "subseed": request.subseed,
        "all_subseeds": [request.subseed] * count,  # without variation strength they change nothing
        "subseed_strength": request.subseed_strength,
        "width": request.width,
        "height": request.height,
        "sampler_name": plan.choice.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": request.restore_faces,
        "face_restoration_model": None,
        "sd_model_name": plan.model.name,
        "sd_model_hash": plan.model_hash,
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": request.seed_resize_from_w,
        "seed_resize_from_h": request.seed_resize_from_h,
        "denoising_strength": request.denoising_strength,
        "extra_generation_params": {} if request.eta is None else {"Eta": request.eta},
        "index_of_first_image": int(grid),
        "infotexts": list(infotexts),
        "styles": request.styles,
        "job_timestamp": f"{when:%Y%m%d%H%M%S}",
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
    }


def _number(value: float) -> int | float:
    """7.0 is written as 7, as A1111 does."""
    return int(value) if value.is_integer() else value
