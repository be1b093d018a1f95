"""TAESD's decoder: a VAE of 1.2 million weights that draws a preview in a fraction of the real one's time.

The network and the names of its weights are those of madebyollin/taesd (MIT), so that its files load as they
are. They are looked for in ``models/VAE-approx``; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from easel_worker.diffusion.latent_rgb import to_levels
from easel_worker.diffusion.weights import keep_name, load_weights

WIDTH = 64
STAGES = 3
"""Each doubles width and height."""
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


class Taesd:
    """A loaded decoder: (N, 4, h, w) latents to (N, 8h, 8w, 3) RGB pictures."""

    def __init__(self, network: nn.Module, *, device: torch.device, dtype: torch.dtype) -> None:
        self._network = network
        self._device = device
        self._dtype = dtype

    def __call__(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        drawn = self._network(latents.to(self._device, self._dtype)).float()
        return to_levels(drawn.permute(0, 2, 3, 1) * 2 - 1)


def load_taesd(folder: Path, stem: str, *, device: torch.device, dtype: torch.dtype) -> Taesd:
    """Load ``<folder>/<stem>.safetensors``.

    Raises:
        CheckpointError: it is missing, no safetensors file, or holds another network.
    """
    with torch.device("meta"):
        network = decoder_network()
    load_weights(network, folder, stem, keep_name, dtype=dtype, device=device)
    return Taesd(network.eval().requires_grad_(False), device=device, dtype=dtype)
