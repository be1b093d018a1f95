"""Soft inpainting: a mask's grey levels mean how much a latent may change, not a place to cut."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from easel_worker.diffusion.errors import JobError

# Keeps lengths of zero out of the denominator.
_TINY = 1e-4


@dataclass(frozen=True)
class SoftInpaint:
    """The hook that mixes each denoised latent with the init latent; the script's first arguments.

    power: how much more of the picture is kept at high noise levels (``mask blend power``, default 1).
    scale: how much is kept overall (``mask blend scale``, default 0.5; 0 keeps only what mask 0 keeps).
    detail: how far contrast is preserved where both are mixed (``inpaint detail preservation``, default 4;
    1 mixes lengths linearly, higher values go towards the greater one).

    Raises `JobError` for a negative power or scale, or a detail that is not above 0.
    """

    power: float = 1.0
    scale: float = 0.5
    detail: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("mask blend power", self.power), ("mask blend scale", self.scale)):
            if not 0.0 <= value < math.inf:
                raise JobError(f"soft inpainting: {name} {value} should be 0 or more")
        if not 0.0 < self.detail < math.inf:
            raise JobError(f"soft inpainting: inpaint detail preservation {self.detail} should be above 0")

    def strength(self, mask: torch.Tensor, sigma: float) -> torch.Tensor:
        """How much of the denoised latent is taken at noise level `sigma`: mask ** (scale * sigma ** power).

        Mask 0 and 1 stay; a grey one approaches 1 as the noise level falls. At high noise the init picture
        leads there, and details are free in the end.
        """
        share = mask.clamp(0.0, 1.0) ** (self.scale * sigma**self.power)
        return torch.where(mask > 0, share, 0.0)  # also for 0 ** 0

    def blend(
        self, denoised: torch.Tensor, init: torch.Tensor, mask: torch.Tensor, sigma: float
    ) -> torch.Tensor:
        """What the sampler gets instead of `denoised`.

        Latents are (n, 4, h, w); `mask` can be broadcast to them, 1 is repainted.

        Mixed linearly by `strength`, then every pixel's vector over the channels is given the length

            ((1 - s) * |init| ** detail + s * |denoised| ** detail) ** (1 / detail)

        the power mean of the two lengths: two vectors that point apart would else cancel out, and mixed
        regions look washed out. At mask 0 the result is `init`, at mask 1 `denoised`. The schedule follows
        sigma alone, so it is the same for every number of steps.
        """
        share = self.strength(mask, sigma)
        mixed = torch.lerp(init, denoised, share)
        # The mean is homogeneous, so lengths relative to the greater one cannot overflow in the power.
        lengths = torch.stack([_length(init), _length(denoised)])
        unit = lengths.amax(dim=0) + _TINY
        first, second = lengths / unit
        mean = torch.lerp(first**self.detail, second**self.detail, share) ** (1.0 / self.detail)
        scaled = mixed * (mean * unit / (_length(mixed) + _TINY))
        # Outside the transition nothing is mixed, so nothing is rounded either.
        return torch.where(share == 0, init, torch.where(share == 1, denoised, scaled))


def _length(latents: torch.Tensor) -> torch.Tensor:
    """Euclidean length over the channels, (n, 1, h, w)."""
    length: torch.Tensor = torch.linalg.vector_norm(latents, dim=1, keepdim=True)
    return length
