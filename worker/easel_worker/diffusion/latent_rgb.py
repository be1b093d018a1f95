"""Latents to colours by one matrix: a preview that costs next to nothing.

A latent's channels are nearly a linear function of the colours that they stand for (found by keturn, 2022,
for SD 1.4: "Decoding latents to RGB without upscaling", discuss.huggingface.co). All latents here are as the
UNet sees them: multiplied with the VAE's scaling factor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.weights import read_config

FILE = "latent_rgb.json"
"""Beside a VAE's weights: the matrix that was fitted for it, where another one fits badly."""

SDXL_SCALING = 0.13025
"""The scaling factor by which SDXL's VAE is told from that of SD 1.x and 2.x, which is 0.18215."""


@dataclass(frozen=True)
class LatentRgb:
    """colours = latent @ matrix + bias, one pixel per latent pixel. Colours are -1 to 1.

    matrix: one row (red, green, blue) per latent channel. bias: red, green, blue.
    """

    matrix: tuple[tuple[float, float, float], ...]
    bias: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, latents: torch.Tensor) -> NDArray[np.uint8]:
        """(N, C, h, w) latents to (N, h, w, 3) RGB pictures.

        Raises:
            ValueError: the latents have another number of channels than the matrix.
        """
        if latents.shape[1] != len(self.matrix):
            raise ValueError(f"latents of {latents.shape[1]} channels, a matrix for {len(self.matrix)}")
        matrix = torch.tensor(self.matrix, device=latents.device)
        bias = torch.tensor(self.bias, device=latents.device)
        return to_levels(torch.einsum("nchw,cr->nhwr", latents.float(), matrix) + bias)


def to_levels(colours: torch.Tensor) -> NDArray[np.uint8]:
    """Colours of -1 to 1 as 256 levels. Beyond that they are cut off; what is not a number is grey."""
    levels = torch.nan_to_num(colours).add(1.0).mul(127.5).round().clamp(0, 255)
    found: NDArray[np.uint8] = levels.to(torch.uint8).cpu().numpy()
    return found


SD1 = LatentRgb(
    ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))
)
"""SD 1.x and 2.x: keturn's, see above."""

_SDXL_WEIGHTS = ((60, 60, 60), (-60, -5, 10), (25, 15, -5), (-70, -50, -35))
_SDXL_BIASES = (150, 140, 130)

SDXL = LatentRgb(
    tuple((red / 127.5, green / 127.5, blue / 127.5) for red, green, blue in _SDXL_WEIGHTS),
    (_SDXL_BIASES[0] / 127.5 - 1, _SDXL_BIASES[1] / 127.5 - 1, _SDXL_BIASES[2] / 127.5 - 1),
)
"""SDXL: T. A. Vass, "Explaining the SDXL latent space" (2024), in the callback guide of diffusers; there for
colours of 0 to 255."""


def latent_rgb_of(checkpoint: Checkpoint) -> LatentRgb | None:
    """The matrix of a checkpoint's VAE: the one stored beside it, else its family's; None for latents that no
    known family has.

    Raises:
        CheckpointError: the stored one cannot be read.
    """
    stored = checkpoint.path / "vae" / FILE
    if stored.is_file():
        return read_latent_rgb(stored)
    if checkpoint.vae.config.latent_channels != len(SD1.matrix):
        return None
    return SDXL if abs(checkpoint.scaling_factor - SDXL_SCALING) < 1e-4 else SD1


def read_latent_rgb(path: Path) -> LatentRgb:
    """A stored matrix. Raises `CheckpointError` when that is not what the file holds."""
    stored = read_config(path)
    try:
        matrix = np.asarray(stored["matrix"], dtype=float)
        bias = np.asarray(stored["bias"], dtype=float)
    except (KeyError, ValueError, TypeError):
        matrix = bias = np.empty(0)
    if matrix.ndim != 2 or matrix.shape[1] != 3 or bias.shape != (3,) or not np.isfinite(matrix).all():
        raise CheckpointError(
            f"{path}: expected a matrix of three numbers per latent channel, and a bias of three"
        )
    return LatentRgb(tuple((row[0], row[1], row[2]) for row in matrix.tolist()), tuple(bias.tolist()))


def write_latent_rgb(path: Path, fitted: LatentRgb) -> None:
    """Store a matrix where `latent_rgb_of` finds it: ``<checkpoint>/vae/latent_rgb.json``."""
    stored = {"matrix": fitted.matrix, "bias": fitted.bias}
    path.write_text(json.dumps(stored) + "\n", encoding="utf-8")


def fit_latent_rgb(latents: torch.Tensor, pictures: torch.Tensor) -> LatentRgb:
    """The matrix and bias with the least squared error.

    Args:
        latents: (N, C, h, w).
        pictures: (N, 3, h, w), what they stand for in colours of -1 to 1, averaged down to the latents' size.
    """
    features = latents.double().permute(0, 2, 3, 1).flatten(0, 2)
    features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    colours = pictures.double().permute(0, 2, 3, 1).flatten(0, 2)
    solved = torch.linalg.lstsq(features, colours).solution
    rows = [(row[0], row[1], row[2]) for row in solved.round(decimals=4).tolist()]
    return LatentRgb(tuple(rows[:-1]), rows[-1])
