"""T2I-adapters: features of a hint alone, added inside the UNet's down blocks.

Mou et al. 2023, "T2I-Adapter: Learning Adapters to Dig out More Controllable Ability for Text-to-Image
Diffusion Models". They know nothing of latent, time and text, so they run once per pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional

from easel_worker.diffusion.control.model import WHAT, Attached, ControlModel, fill
from easel_worker.diffusion.libraries import T2IAdapter
from easel_worker.diffusion.skeletons import build

_XL = "full_adapter_xl"


class Adapter(Attached):
    """A T2I-adapter beside a UNet: diffusers' `T2IAdapter`."""

    def __init__(self, module: Any, config: Mapping[str, Any]) -> None:
        self.module: Any = module
        self._channels = int(config["in_channels"])
        self._scale = int(config["downscale_factor"])

    def features(self, hint: torch.Tensor) -> list[torch.Tensor]:
        """One tensor per level of the UNet: (n, 3, H, W) -> (n, features, h, w)."""
        # Adapters for drawings look at one channel; maps for them are grey.
        hint = hint[:, : self._channels]
        height, width = hint.shape[-2:]
        sides = [-(-side // self._scale) * self._scale for side in (height, width)]
        if sides != [height, width]:  # SDXL's are folded by 16, pictures are multiples of 8
            hint = functional.interpolate(hint, size=sides, mode="bilinear", align_corners=False)
        found: list[torch.Tensor] = self.module(hint)
        return found


@dataclass(eq=False)
class T2IModel(ControlModel):
    """A T2I-adapter; see `ControlModel`."""

    _built: Adapter | None = field(default=None, init=False)

    @property
    def accepts(self) -> tuple[int, ...]:
        # Clients send five weights for Stable Diffusion 1.x, whose last acts nowhere.
        return (self.layers, self.layers + 1) if self.family == "sd1" else (self.layers,)

    def rebind(self) -> None:
        if self._built is not None:
            fill(self._built.module, self.weights, self.name)

    def misfit(self, unet: Any) -> str | None:
        places = _places(self.config, unet.config)
        channels = list(self.config["channels"])
        if self.config["adapter_type"] == "light_adapter":
            channels.append(channels[-1])
        scales = (2, 2, 4, 4) if self.config["adapter_type"] == _XL else (1, 2, 4, 8)
        mine = list(zip(channels, scales, strict=False))
        if places[: len(mine)] == mine:
            return None
        made = "SDXL" if self.family == "sdxl" else "Stable Diffusion 1.x"
        return (
            f"is a {WHAT[self.kind]} for {made} with features of {_told(mine)}, the checkpoint takes"
            f" {_told(places)}"
        )

    def attach(self, unet: Any) -> Adapter:
        if self._built is None:
            module = build(T2IAdapter, self.config, self.name)
            self._built = Adapter(fill(module, self.weights, self.name), self.config)
        return self._built


def _places(config: Mapping[str, Any], unet: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Where a UNet takes features, in order: their number, and how many latent pixels one covers."""
    kinds, widths = unet["down_block_types"], unet["block_out_channels"]
    places = []
    for level, (kind, width) in enumerate(zip(kinds, widths, strict=True)):
        last = level == len(widths) - 1
        # A level without attention takes them after it was made smaller.
        places.append((width, 2 ** (level + (not last and not kind.startswith("CrossAttn")))))
    if config["adapter_type"] == _XL:
        places.append((widths[-1], 2 ** (len(widths) - 1)))
    return places


def _told(places: list[tuple[int, int]]) -> str:
    return ", ".join(f"{width} at 1/{scale}" for width, scale in places)
