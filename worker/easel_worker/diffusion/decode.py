"""Latents -> pictures."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.encode import LATENT_FACTOR
from easel_worker.diffusion.errors import NanError

AT_ONCE = 4 * 128 * 128
"""Pixels that the VAE decodes in one pass, unless a single picture has more. Below, its layers are too small
to keep all threads busy; above, several in a pass are no faster than one after the other, and take
more memory."""


def decode(checkpoint: Checkpoint, latents: torch.Tensor, *, fall_back: bool = False) -> NDArray[np.uint8]:
    """Decode (N, 4, h, w) latents to (N, 8h, 8w, 3) RGB, rounded to the nearest of 256 levels.

    Small pictures together, larger ones one at a time: the VAE takes far more memory per image than the UNet.

    Args:
        fall_back: Where a VAE in half precision overflows, decode again in 32 bits (`auto_vae_precision`).

    Raises:
        NanError: latents or pictures are not finite.
    """
    _require_finite(latents, "the UNet", checkpoint)
    pictures = []
    pixels = latents.shape[-2] * latents.shape[-1] * LATENT_FACTOR**2
    for some in torch.split(latents, max(1, AT_ONCE // pixels)):
        decoded = _decoded(checkpoint, some, fall_back=fall_back)
        _require_finite(decoded, "the VAE", checkpoint)
        levels = decoded.add(1.0).mul(127.5).round().clamp(0, 255).to(torch.uint8)
        pictures.append(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return np.concatenate(pictures)


def _decoded(checkpoint: Checkpoint, latents: torch.Tensor, *, fall_back: bool) -> torch.Tensor:
    """Colours -1 to 1, by the checkpoint's `decoder` where it has one."""
    if checkpoint.decoder is not None:
        return checkpoint.decoder.pixels(latents)
    scaled = latents / checkpoint.scaling_factor
    decoded = _by_vae(checkpoint.vae, scaled.to(checkpoint.dtype))
    if fall_back and checkpoint.dtype != torch.float32 and not bool(torch.isfinite(decoded).all()):
        decoded = _by_vae(deepcopy(checkpoint.vae).float(), scaled.float())
    return decoded


def _by_vae(vae: Any, scaled: torch.Tensor) -> torch.Tensor:
    decoded: torch.Tensor = vae.decode(scaled, return_dict=False)[0].float()
    return decoded


def _require_finite(tensor: torch.Tensor, source: str, checkpoint: Checkpoint) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise NanError(
            f"{source} of {checkpoint.name} produced values that are not finite in {checkpoint.dtype};"
            " run it in bf16 or fp32"
        )
