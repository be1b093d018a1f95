"""TAESD: a VAE of 2.4 million weights that works in a fraction of the real one's time.

For previews, and for pictures where the options `sd_vae_encode_method` and `sd_vae_decode_method` ask for it.
The networks and the names of their weights are those of madebyollin/taesd (MIT), so that its files load as
they are. They are looked for in ``models/VAE-approx``; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.latent_rgb import SDXL_SCALING, to_levels
from easel_worker.diffusion.weights import keep_name, load_weights

if TYPE_CHECKING:
    from easel_worker.diffusion.checkpoint import Checkpoint

CHANNELS = 4
"""Of latents."""
WIDTH = 64
STAGES = 3
"""Each doubles, or halves, width and height."""
BLOCKS = 3
"""Per stage; one more at full size."""


class _SoftClamp(nn.Module):
    """Latents beyond +-3 are squeezed, as the network was trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x / 3) * 3


class _Block(nn.Module):
    """Three convolutions beside a short cut."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH), nn.ReLU(), _conv(WIDTH), nn.ReLU(), _conv(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.relu(self.conv(x) + x)
        return out


def _conv(channels: int, out: int = WIDTH, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(channels, out, 3, padding=1, bias=bias)


def decoder_network(latent_channels: int = 4) -> nn.Sequential:
    """(N, latent_channels, h, w) latents as the UNet sees them -> (N, 3, 8h, 8w) colours of 0 to 1."""
    layers: list[nn.Module] = [_SoftClamp(), _conv(latent_channels), nn.ReLU()]
    for _ in range(STAGES):
        layers += [_Block() for _ in range(BLOCKS)]
        layers += [nn.Upsample(scale_factor=2), _conv(WIDTH, bias=False)]
    return nn.Sequential(*layers, _Block(), _conv(WIDTH, 3))


def encoder_network(latent_channels: int = 4) -> nn.Sequential:
    """(N, 3, 8h, 8w) colours of 0 to 1 -> (N, latent_channels, h, w) latents as the UNet sees them."""
    layers: list[nn.Module] = [_conv(3), _Block()]
    for _ in range(STAGES):
        layers += [nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False)]
        layers += [_Block() for _ in range(BLOCKS)]
    return nn.Sequential(*layers, _conv(WIDTH, latent_channels))


class _Half:
    """One of TAESD's networks, and where and in which numbers it computes."""

    def __init__(self, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self.network = network
        self._device = device
        self._dtype = dtype


class TaesdDecoder(_Half):
    """A loaded decoder: (N, 4, h, w) latents to (N, 8h, 8w, 3) RGB pictures."""

    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """(N, 4, h, w) latents to (N, 3, 8h, 8w) colours, -1 to 1 or a little beyond, float32."""
        drawn: torch.Tensor = self.network(latents.to(self._device, self._dtype)).float()
        return drawn * 2 - 1

    def __call__(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        return to_levels(self.pixels(latents).permute(0, 2, 3, 1))


class TaesdEncoder(_Half):
    """A loaded encoder: (N, 3, 8h, 8w) colours, -1 to 1, to (N, 4, h, w) latents as the UNet sees them."""

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        latents: torch.Tensor = self.network((pixels.to(self._device, self._dtype) + 1) / 2)
        return latents.float()


class TaesdFiles:
    """TAESD's networks by the checkpoint that they are for, each read once. Lives on the torch thread.

    Args:
        folder: Holds ``taesd_decoder.safetensors`` and ``taesd_encoder.safetensors`` for SD 1.x and 2.x,
            ``taesdxl_decoder.safetensors`` and ``taesdxl_encoder.safetensors`` for SDXL.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loaded: dict[tuple[str, torch.device, torch.dtype], nn.Module] = {}

    def decoder(self, checkpoint: Checkpoint) -> TaesdDecoder:
        """Raises `CheckpointError`: the file is missing or broken, or there is none for such latents."""
        network = self._network(checkpoint, "decoder", decoder_network)
        return TaesdDecoder(network, device=checkpoint.device, dtype=checkpoint.dtype)

    def encoder(self, checkpoint: Checkpoint) -> TaesdEncoder:
        """Raises `CheckpointError`: as `decoder`."""
        network = self._network(checkpoint, "encoder", encoder_network)
        return TaesdEncoder(network, device=checkpoint.device, dtype=checkpoint.dtype)

    def _network(self, checkpoint: Checkpoint, part: str, build: Callable[[], nn.Module]) -> nn.Module:
        channels = int(checkpoint.vae.config.latent_channels)
        if channels != CHANNELS:
            raise CheckpointError(
                f"TAESD is for latents of {CHANNELS} channels, {checkpoint.name} has {channels}"
            )
        is_sdxl = abs(checkpoint.scaling_factor - SDXL_SCALING) < 1e-4
        stem = f"{'taesdxl' if is_sdxl else 'taesd'}_{part}"
        key = (stem, checkpoint.device, checkpoint.dtype)
        if key not in self._loaded:
            with torch.device("meta"):
                network = build()
            load_weights(
                network, self._folder, stem, keep_name, dtype=checkpoint.dtype, device=checkpoint.device
            )
            self._loaded[key] = network.eval().requires_grad_(False)
        return self._loaded[key]
