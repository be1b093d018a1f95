"""CLIP's image encoders (Radford et al. 2021), which show a picture to IP-Adapters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ClipView:
    """What CLIP sees in one picture, and in none.

    projected: (1, projection width), the embedding that is compared with texts. hidden: (1, tokens, width),
    the layer before the last: 257 tokens of ViT-H. blank_hidden: the same of a picture of zeros, CLIP's mean
    colour. float32 on the encoder's device.
    """

    projected: torch.Tensor
    hidden: torch.Tensor
    blank_hidden: torch.Tensor


class ClipVision:
    """An image encoder on its device. Lives on the torch thread."""

    name: str
    path: Path

    def __init__(self, model: Any, path: Path) -> None: ...

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""
        raise NotImplementedError

    def to(self, device: torch.device) -> ClipVision:
        """Move it; returns itself."""
        raise NotImplementedError

    def look(self, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> ClipView:
        """Encode an RGB picture (h, w, 3). mask: (h, w), 0 hides the pixel, 255 shows it."""
        raise NotImplementedError


def find_clip_vision(models: Path, name: str, *, allow_pickle: bool = False) -> Path:
    """The file or folder of an encoder, ``clip_h``, ``clip_g`` or ``clip_vitl``, below
    ``models/annotators/clip_vision``.

    Raises:
        FileNotFoundError: names what is looked for.
    """
    raise NotImplementedError


def load_clip_vision(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool = False
) -> ClipVision:
    """Load an encoder: transformers' folder, or one file with the vision tower's weights.

    Raises:
        CheckpointError: names the file and what is wrong with it.
    """
    raise NotImplementedError
