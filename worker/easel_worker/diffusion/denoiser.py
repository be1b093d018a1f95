"""The model as samplers want it: a noisy latent and its sigma in, the denoised latent out."""

from __future__ import annotations

from typing import Any

import torch

from easel_worker.diffusion.checkpoint import Checkpoint


class Denoiser:
    """Classifier-free guidance (Ho & Salimans 2022) around a UNet, for one job.

    `positive` and `negative` are conditionings of equal length, (1, tokens, width). At `cfg_scale` 1 the
    guided prediction is the positive one, so the other is not computed.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        positive: torch.Tensor,
        negative: torch.Tensor,
        *,
        cfg_scale: float,
        images: int,
    ) -> None:
        self._unet: Any = checkpoint.unet
        self._sigmas = checkpoint.sigmas
        self._velocity = checkpoint.prediction_type == "v_prediction"
        self._dtype = checkpoint.dtype
        self._cfg_scale = cfg_scale
        self._guided = cfg_scale != 1.0
        # Contiguous once here, where `expand` alone would be copied by every cross-attention of every step.
        self._both = torch.cat([part.expand(images, -1, -1) for part in (positive, negative)])
        self._context = self._both if self._guided else self._both[:images]

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The model's guess at the data in `x` = data + sigma * noise; both (images, 4, h, w), float32."""
        output = self._predict(x, sigma, self._context)
        if self._guided:
            output = _guide(output, self._cfg_scale)
        return self._denoised(x, sigma, output)

    def pair(self, x: torch.Tensor, sigma: float, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The guess with `factor` times the guidance scale, and the one for the negative prompt alone."""
        output = self._predict(x, sigma, self._both)
        guided = _guide(output, self._cfg_scale * factor)
        return self._denoised(x, sigma, guided), self._denoised(x, sigma, output.chunk(2)[1])

    def _denoised(self, x: torch.Tensor, sigma: float, output: torch.Tensor) -> torch.Tensor:
        if self._velocity:  # Salimans & Ho 2022, appendix D, in variance-exploding scale
            return torch.add(x * (1.0 / (sigma**2 + 1.0)), output, alpha=-sigma / (sigma**2 + 1.0) ** 0.5)
        return torch.add(x, output, alpha=-sigma)

    def _predict(self, x: torch.Tensor, sigma: float, context: torch.Tensor) -> torch.Tensor:
        """The UNet's output for as many copies of `x` as the context has conditionings."""
        # The UNet was trained on x scaled to unit variance.
        scaled = (x * (sigma**2 + 1.0) ** -0.5).to(self._dtype)
        if len(context) != len(x):
            scaled = torch.cat([scaled, scaled])
        timesteps = torch.full(
            (len(scaled),), self._sigmas.timestep(sigma), dtype=torch.float32, device=x.device
        )
        output: torch.Tensor = self._unet(scaled, timesteps, context, return_dict=False)[0]
        return output.float()


def _guide(output: torch.Tensor, scale: float) -> torch.Tensor:
    positive, negative = output.chunk(2)
    return torch.lerp(negative, positive, scale)
