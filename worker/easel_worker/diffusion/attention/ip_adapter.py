"""IP-Adapters: a picture beside the prompt (Ye et al. 2023, "IP-Adapter: Text Compatible Image Prompt Adapter
for Text-to-Image Diffusion Models")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from easel_worker.diffusion.attention.clip_vision import ClipView

Kind = Literal["base", "plus", "full", "faceid"]
"""base: 4 tokens from CLIP's embedding. plus (and plus-face): tokens drawn from its hidden layer by a
resampler. full (full-face): every token of the hidden layer. faceid: from a face's embedding."""


@dataclass(frozen=True, eq=False)
class ImageTokens:
    """A picture as tokens beside the prompt's; both (1, tokens, context width). blank: of no picture."""

    shown: torch.Tensor
    blank: torch.Tensor


@dataclass(eq=False)
class IPAdapter:
    """One loaded file. `layers` has the key and value matrices of each cross-attention, in diffusers' order
    of a UNet's layers: down, up, middle."""

    name: str
    path: Path
    kind: Kind
    projection: nn.Module
    layers: list[tuple[torch.Tensor, torch.Tensor]]

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        raise NotImplementedError

    def to(self, device: torch.device) -> IPAdapter:
        """Move it; returns itself."""
        raise NotImplementedError

    def embed(self, views: Sequence[ClipView]) -> ImageTokens:
        """Pictures as tokens; several are averaged."""
        raise NotImplementedError


def load_ip_adapter(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool = False
) -> IPAdapter:
    """Read a file in its original form (``image_proj`` and ``ip_adapter`` in a pickle) or a flat safetensors.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    raise NotImplementedError
