"""Latents -> pictures."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import NanError


def decode(checkpoint: Checkpoint, latents: torch.Tensor, *, fall_back: bool = False) -> NDArray[np.uint8]:
    """Decode (N, 4, h, w) latents to (N, 8h, 8w, 3) RGB, rounded to the nearest of 256 levels.

    One image at a time: the VAE takes far more memory per image than the UNet, and a picture must not depend
    on its neighbours in the batch.

    Args:
        fall_back: Where a VAE in half precision overflows, decode again in 32 bits (`auto_vae_precision`).

    Raises:
        NanError: latents or pictures are not finite.
    """
    _require_finite(latents, "the UNet", checkpoint)
    pictures = []
    for latent in torch.split(latents, 1):
        scaled = latent / checkpoint.scaling_factor
        decoded = _decoded(checkpoint.vae, scaled.to(checkpoint.dtype))
        if fall_back and checkpoint.dtype != torch.float32 and not bool(torch.isfinite(decoded).all()):
            decoded = _decoded(deepcopy(checkpoint.vae).float(), scaled.float())
        _require_finite(decoded, "the VAE", checkpoint)
        levels = decoded.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        pictures.append(levels[0].permute(1, 2, 0).contiguous().cpu().numpy())
    return np.stack(pictures)


def _decoded(vae: Any, scaled: torch.Tensor) -> torch.Tensor:
    decoded: torch.Tensor = vae.decode(scaled, return_dict=False)[0].float()
    return decoded


def _require_finite(tensor: torch.Tensor, source: str, checkpoint: Checkpoint) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise NanError(
            f"{source} of {checkpoint.name} produced values that are not finite in {checkpoint.dtype};"
            " run it in bf16 or fp32"
        )
