"""A network that makes a picture from a picture: loaded from its file, run in tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from easel_worker.upscaling.architectures import build
from easel_worker.upscaling.errors import WeightsError
from easel_worker.upscaling.tiles import Pixels, run_in_tiles
from easel_worker.upscaling.tiling import DEFAULT, Tiling
from easel_worker.upscaling.upscalers import Tick
from easel_worker.upscaling.weights import read_weights


class Network:
    """One network on its device: ``network(picture)`` is the picture `scale` times larger.

    Lives on the torch thread.
    """

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor
        self.scale = int(descriptor.scale)
        self.architecture = str(descriptor.architecture.name)

    def __call__(self, picture: Image.Image, *, tick: Tick, tiling: Tiling = DEFAULT) -> Image.Image:
        """An RGB picture from an RGB picture. `tick` is called before each tile."""
        pixels = np.asarray(picture, np.float32) / 255.0
        done = run_in_tiles(
            pixels, self._forward, scale=self.scale, tile=tiling.tile, overlap=tiling.overlap, tick=tick
        )
        if not np.isfinite(done).all():
            raise WeightsError("the upscaler's network makes values that are not numbers; is its file whole?")
        return Image.fromarray((done.clip(0, 1) * 255.0 + 0.5).astype(np.uint8))

    @torch.inference_mode()
    def _forward(self, pixels: Pixels) -> Pixels:
        device, dtype = self._descriptor.device, self._descriptor.dtype
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        made = self._descriptor(tensor.to(device, dtype))[0].float().cpu().numpy()
        result: Pixels = made.transpose(1, 2, 0)
        return result


def load_network(path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool) -> Network:
    """Load an upscaler's file. fp16 and bf16 only where the architecture bears them, else fp32.

    Raises:
        WeightsError: the file cannot be used as an upscaler.
        ContractError: 501, the library for it is not installed.
    """
    descriptor = build(read_weights(path, allow_pickle=allow_pickle), path)
    if (descriptor.input_channels, descriptor.output_channels) != (
        3,
        3,
    ) or descriptor.purpose == "Inpainting":
        raise WeightsError(f"{path} is a {descriptor.architecture.name} that is no upscaler of RGB pictures")
    if descriptor.purpose == "FaceSR":
        raise WeightsError(f"{path} restores faces ({descriptor.architecture.name}) and enlarges nothing")
    return Network(descriptor.to(device, pick(descriptor, device, dtype)))


def pick(descriptor: Any, device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """The number format for a network: the worker's own if the architecture bears it; fp32 on a CPU."""
    if device.type == "cpu":
        return torch.float32
    if dtype is torch.float16 and descriptor.supports_half:
        return torch.float16
    if dtype is torch.bfloat16 and descriptor.supports_bfloat16:
        return torch.bfloat16
    return torch.float32
