"""Pictures -> latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import JobError, NanError

LATENT_FACTOR = 8
"""The VAE's factor between a picture's sides and its latent's."""


def encode(checkpoint: Checkpoint, images: Sequence[Image.Image]) -> torch.Tensor:
    """Latents (n, 4, h // 8, w // 8), float32, of pictures of one size; sides are cut to multiples of 8.

    The mean of the VAE's distribution, not a sample of it: the same picture has the same latent, and what a
    sample would add is far below what is seen. One picture at a time, so that none depends on its neighbours.
    Of the checkpoint's `encoder` where it has one.
    Raises `NanError` where the VAE overflows, `JobError` for a picture below 8 x 8 pixels.
    """
    return torch.cat([_encode(checkpoint, to_tensor(image)) for image in images])


def encode_pixels(checkpoint: Checkpoint, pixels: torch.Tensor) -> torch.Tensor:
    """The same for pixels (n, 3, h, w), -1 to 1."""
    return torch.cat([_encode(checkpoint, one) for one in torch.split(pixels, 1)])


def to_tensor(image: Image.Image) -> torch.Tensor:
    """(1, 3, h, w), -1 to 1, of an "RGB" picture; sides cut to multiples of 8."""
    width, height = (side - side % LATENT_FACTOR for side in image.size)
    if min(width, height) < LATENT_FACTOR:
        raise JobError(f"init image: {image.width}x{image.height} should be at least 8x8")
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)[:height, :width] / 127.5 - 1.0)
    return pixels.permute(2, 0, 1).unsqueeze(0)


def _encode(checkpoint: Checkpoint, pixels: torch.Tensor) -> torch.Tensor:
    ready = pixels.to(checkpoint.device, checkpoint.dtype, memory_format=torch.channels_last)
    if checkpoint.encoder is not None:
        return checkpoint.encoder(ready)
    mean: torch.Tensor = checkpoint.vae.encode(ready).latent_dist.mode().float()
    if not bool(torch.isfinite(mean).all()):
        raise NanError(
            f"the VAE of {checkpoint.name} produced values that are not finite in {checkpoint.dtype} "
            "for the init image; run it in bf16 or fp32"
        )
    return mean * checkpoint.scaling_factor
