"""A worker's handler with small random control networks, and pictures for them to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from easel_contract.controlnet.models import FOLDER
from easel_worker.diffusion.checkpoint import load_checkpoint
from easel_worker.diffusion.random_model import build_random_checkpoint

from ...small_models.control import small_controlnet, write_diffusers_file, write_original_file
from ...small_models.ip_adapter import ip_adapter, write_clip_folder, write_flat
from ..desk import BARE, Answer, Desk

CANNY = "control_v11p_sd15_canny"
"""A ControlNet for `tiny-random`."""
INPAINT = "control_v11p_sd15_inpaint"
IP_ADAPTER = "ip-adapter_sd15"
LAYERS = 9
"""Weights that `advanced_weighting` has for the ControlNets."""


def build(data_dir: Path) -> Desk:
    """A handler with the random model and networks for it."""
    model = build_random_checkpoint(data_dir / "models" / "Stable-diffusion" / "tiny-random")
    unet = load_checkpoint(model, device=torch.device("cpu"), dtype=torch.float32).unet
    folder = data_dir / "models" / FOLDER
    write_original_file(small_controlnet(unet, seed=1), folder / f"{CANNY}.safetensors")
    write_diffusers_file(small_controlnet(unet, seed=2), folder / "sub" / f"{INPAINT}.safetensors")
    write_flat(ip_adapter(unet), folder / f"{IP_ADAPTER}.safetensors")
    write_clip_folder(data_dir / "models" / "annotators" / "clip_vision" / "clip_h")
    return Desk(data_dir, BARE)


def unit(**fields: Any) -> dict[str, Any]:
    """A unit that follows the edges of `drawing`, which is as large as a sample, unless told otherwise."""
    return {
        "enabled": True,
        "module": "canny",
        "model": CANNY,
        "image": drawing(),
        "pixel_perfect": True,
        **fields,
    }


def units(*given: dict[str, Any]) -> dict[str, Any]:
    """Units where requests have them."""
    return {"alwayson_scripts": {"ControlNet": {"args": list(given)}}}


def controlled(desk: Desk, fields: dict[str, Any] | None = None, /, **unit_fields: Any) -> Answer:
    """txt2img with one unit."""
    return desk.txt2img(**units(unit(**unit_fields)), **(fields or {}))


def drawing(size: tuple[int, int] = (64, 64), *, shift: int = 0) -> Image.Image:
    """A dark box on light ground, right of the middle by `shift`."""
    image = Image.new("RGB", size, (230, 220, 210))
    width, height = size
    box = (width // 4 + shift, height // 4, width * 3 // 4 + shift, height * 3 // 4)
    ImageDraw.Draw(image).rectangle(box, fill=(40, 60, 90))
    return image


def box_mask(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """The middle is masked."""
    mask = Image.new("L", size)
    mask.paste(255, (size[0] // 3, size[1] // 3, size[0] * 2 // 3, size[1] * 2 // 3))
    return mask


def equal(one: Answer, other: Answer) -> bool:
    """Whether the first pictures are the same, bit for bit."""
    return bool(np.array_equal(one.pixels[0], other.pixels[0]))
