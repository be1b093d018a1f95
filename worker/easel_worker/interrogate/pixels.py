"""From a picture to the numbers that BLIP and CLIP take."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures (Radford et al., 2021); BLIP took them over."""


def to_tensor(picture: Image.Image, side: int, *, crop: bool) -> Tensor:
    """(1, 3, side, side), normalised. `crop`: the middle square, as CLIP; else squeezed, as BLIP."""
    rgb = picture.convert("RGB")
    if crop:
        rgb = ImageOps.fit(rgb, (side, side), Image.Resampling.BICUBIC)
    else:
        rgb = rgb.resize((side, side), Image.Resampling.BICUBIC)
    values = (np.asarray(rgb, np.float32) / 255.0 - np.array(MEAN, np.float32)) / np.array(
        DEVIATION, np.float32
    )
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
