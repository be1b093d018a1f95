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
        context = positive.expand(images, -1, -1)
        if self._guided:
            context = torch.cat([context, negative.expand(images, -1, -1)])
        self._context = context.contiguous()

    def __call__(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        """The model's guess at the data in `x` = data + sigma * noise; both (images, 4, h, w), float32."""
        output = self._predict(x, sigma)
        if self._velocity:  # Salimans & Ho 2022, appendix D, in variance-exploding scale
            return torch.add(x * (1.0 / (sigma**2 + 1.0)), output, alpha=-sigma / (sigma**2 + 1.0) ** 0.5)
        return torch.add(x, output, alpha=-sigma)

    def _predict(self, x: torch.Tensor, sigma: float) -> torch.Tensor:
        # The UNet was trained on x scaled to unit variance.
        scaled = (x * (sigma**2 + 1.0) ** -0.5).to(self._dtype)
        if self._guided:
            scaled = torch.cat([scaled, scaled])
        timesteps = torch.full(
            (len(scaled),), self._sigmas.timestep(sigma), dtype=torch.float32, device=x.device
        )
        output: torch.Tensor = self._unet(scaled, timesteps, self._context, return_dict=False)[0]
        output = output.float()
        if not self._guided:
            return output
        positive, negative = output.chunk(2)
        return torch.lerp(negative, positive, self._cfg_scale)
