"""What a unit of a request asks of the UNet's attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from easel_worker.diffusion.attention.ip_adapter import ImageTokens, IPAdapter

Mode = Literal["balanced", "prompt", "control"]
"""The control modes: "Balanced", "My prompt is more important", "ControlNet is more important"."""

ReferenceKind = Literal["reference_only", "reference_adain", "reference_adain+attn"]


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """A picture as a prompt, through an IP-Adapter.

    weight: 0 is none, 1 the adapter's own strength. layer_weights: a factor for each of the UNet's
    transformers in the order they run, 16 in SD 1.x, 11 in SDXL (`advanced_weighting`). start, end: the part
    of the sampler's steps that it acts in, 0 to 1, the end included. mode: other than balanced, a layer
    counts 0.825 to the power of how far its block is from the middle one; "control" lets the negative prompt
    go without the picture. region: (H, W) of any size, 0 to 1, where it acts. field: names the unit in
    errors.
    """

    adapter: IPAdapter
    tokens: ImageTokens
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: Mode = "balanced"
    layer_weights: tuple[float, ...] | None = None
    region: torch.Tensor | None = None
    field: str = "controlnet"


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture whose look the generated one takes over, without any model.

    latent: the picture's, (1 or images, 4, h, w), scaled as the sampler's, of any size that the UNet takes.
    noise: likewise, of variance 1; the latent is noised with it to every level. weight: how many of the
    blocks take part (see `reference.py`), 0 is none. style_fidelity: 0 to 1 (`threshold_a`), how far the
    negative prompt goes without the reference, so that guidance pushes towards it; mode "prompt" makes it 0,
    "control" 1. start, end, field: as above.
    """

    kind: ReferenceKind
    latent: torch.Tensor
    noise: torch.Tensor
    weight: float = 1.0
    style_fidelity: float = 0.5
    start: float = 0.0
    end: float = 1.0
    mode: Mode = "balanced"
    field: str = "controlnet"


@dataclass(frozen=True, eq=False)
class Revision:
    """A picture in place of an SDXL prompt's pooled text, see `revision.py`.

    embedding: (1 or images, width), the picture's by ViT-bigG (`ClipView.projected`), perhaps `augmented`;
    one for all of a batch or each image's own. weight: its share of the pooled vector; the text has what
    units leave of 1. ignore_prompt: the positive prompt does not count, neither its words nor its pooled
    vector. start, end, field: as above. Control modes mean nothing to it: the negative prompt is always
    without the picture.
    """

    embedding: torch.Tensor
    weight: float = 1.0
    ignore_prompt: bool = False
    start: float = 0.0
    end: float = 1.0
    field: str = "controlnet"


Unit = ImagePrompt | Reference | Revision


def acts(unit: Unit, progress: float) -> bool:
    """Whether a unit acts when this part of the sampler's steps, 0 to 1, is done."""
    return unit.start <= progress <= unit.end
