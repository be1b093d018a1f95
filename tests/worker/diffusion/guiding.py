"""Guidance by hand, to compare with: noise, prompts, and single calls of the random model's UNet."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.conditioning import Conditioning, make_conditioning
from easel_worker.diffusion.prompts.editing import PromptSteps
from easel_worker.diffusion.text import TextModel

SIGMA = 3.0
CLOSE: dict[str, Any] = {"atol": 2e-4, "rtol": 1e-4}


def noise(images: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn((images, 4, 8, 8), generator=torch.Generator().manual_seed(seed)) * SIGMA


def prompts(
    checkpoint: Checkpoint, *positive: str, negative: str | Sequence[str] = "blurry", steps: int = 10
) -> Conditioning:
    negatives = [negative] * len(positive) if isinstance(negative, str) else negative
    return make_conditioning(TextModel(checkpoint), positive, negatives, PromptSteps(steps))


def text(checkpoint: Checkpoint, prompt: str) -> torch.Tensor:
    return TextModel(checkpoint).encode(prompt).context


def predict(
    checkpoint: Checkpoint, x: torch.Tensor, context: torch.Tensor, sigma: float = SIGMA, **more: Any
) -> torch.Tensor:
    """One image's denoised latent for one text, by hand."""
    scaled = x / (sigma**2 + 1) ** 0.5
    picture = more.pop("picture", None)
    if picture is not None:
        scaled = torch.cat([scaled, picture], dim=1)
    timestep = torch.tensor([checkpoint.sigmas.timestep(sigma)])
    output = checkpoint.unet(scaled, timestep, context, return_dict=False, **more)[0]
    if checkpoint.prediction_type == "v_prediction":
        return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5
    return x - sigma * output


def with_unet(checkpoint: Checkpoint, **config: Any) -> Checkpoint:
    """The checkpoint with another random UNet."""
    torch.manual_seed(5)
    with torch.inference_mode(False):
        unet = UNet2DConditionModel.from_config({**checkpoint.unet.config, **config})
    return dataclasses.replace(checkpoint, unet=unet.eval().requires_grad_(False))
