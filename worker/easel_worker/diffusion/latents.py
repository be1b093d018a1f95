"""Latents made larger, and latents made of parts: upscale modes and masked content."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from easel_worker.diffusion.errors import JobError


@dataclass(frozen=True)
class LatentMode:
    """Arguments of `torch.nn.functional.interpolate`."""

    mode: str
    antialias: bool = False


LATENT_MODES = {
    "Latent": LatentMode("bilinear"),
    "Latent (antialiased)": LatentMode("bilinear", antialias=True),
    "Latent (bicubic)": LatentMode("bicubic"),
    "Latent (bicubic antialiased)": LatentMode("bicubic", antialias=True),
    "Latent (nearest)": LatentMode("nearest"),
    "Latent (nearest-exact)": LatentMode("nearest-exact"),
}
"""The latent upscale modes by the names that clients send as ``hr_upscaler``, in the order of the listing."""

DEFAULT_LATENT_MODE = "Latent"
"""For hires without an upscaler, and for img2img's resize mode 3."""


def resize_latents(
    latents: torch.Tensor, size: tuple[int, int], mode: str = DEFAULT_LATENT_MODE
) -> torch.Tensor:
    """Latents (n, c, h, w) at `size`, (width, height) in latent pixels.

    Corners are not aligned, as torch's default. Raises `JobError` for a mode that does not exist.
    """
    how = LATENT_MODES.get(mode)
    if how is None:
        raise JobError(f"upscaler: {mode!r} is no latent mode, use one of {', '.join(LATENT_MODES)}")
    width, height = size
    return torch.nn.functional.interpolate(
        latents, size=(height, width), mode=how.mode, antialias=how.antialias
    )


def noise_content(init: torch.Tensor, noise: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Masked content "latent noise": `noise` where `mask` is 1, `init` where it is 0, linear between.

    `noise` is standard normal, of `init`'s shape (n, 4, h, w), from new streams with the images' seeds;
    `mask` is broadcastable.
    """
    return init * (1.0 - mask) + noise * mask


def nothing_content(init: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Masked content "latent nothing": zeros where `mask` is 1, `init` where it is 0, linear between."""
    return init * (1.0 - mask)


def keep_outside(latents: torch.Tensor, init: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """`latents` where `mask` is 1, `init` where it is 0: the hard blend of inpainting, at every step."""
    return latents * mask + init * (1.0 - mask)
