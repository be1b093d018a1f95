"""What a checkpoint for inpainting sees beside the latent: the mask, and the picture without what it hides.

Its UNet takes nine channels (Rombach et al. 2022, section 4.5): four of the noisy latent, one of the mask,
four of the latent of the masked picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Encode = Callable[[torch.Tensor], torch.Tensor]
"""A picture (n, 3, H, W), -1 to 1 -> its scaled latent (n, 4, H/8, W/8), as the sampler sees latents."""


def inpaint_conditioning(
    picture: torch.Tensor, mask: torch.Tensor, encode: Encode, *, weight: float = 1.0, hard: bool = True
) -> torch.Tensor:
    """The five channels to append to every noisy latent, (n, 5, h, w): mask, then latent.

    picture: (n, 3, H, W), -1 to 1. mask: (1 or n, 1, H, W), 0 to 1, 1 is repainted. weight: the option
    ``inpainting_mask_weight``, 0 to 1: how much of what is repainted the model may not see. `hard`
    (``mask_round``) makes the mask 0 and 1. Hidden pixels are mid-grey; the mask is reduced to the latent's
    size by taking the nearest pixel, so that it keeps its two values.
    """
    mask = mask.expand(len(picture), -1, -1, -1).to(picture)
    if hard:
        mask = mask.round()
    latents = encode(torch.lerp(picture, picture * (1.0 - mask), weight))
    small = torch.nn.functional.interpolate(mask, size=latents.shape[-2:], mode="nearest")
    return torch.cat([small.to(latents), latents], dim=1)


def blank_conditioning(latents: torch.Tensor, encode: Encode, *, factor: int = 8) -> torch.Tensor:
    """The same for text to image: everything is repainted, and nothing is to be seen, (n, 5, h, w).

    `latents` (n, 4, h, w) gives number, size, device and dtype; `factor` is the VAE's.
    """
    count, _, height, width = latents.shape
    grey = latents.new_zeros((1, 3, height * factor, width * factor))
    conditioning = inpaint_conditioning(grey, latents.new_ones((1, 1, *grey.shape[-2:])), encode)
    return conditioning.expand(count, -1, -1, -1)
