"""A picture as CLIP's image encoders take it (Radford et al. 2021; openai/CLIP `_transform`)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from easel_worker.interrogate.pixels import DEVIATION, MEAN

Pixels = NDArray[np.uint8]


def clip_pixels(image: Pixels, side: int, mask: Pixels | None = None) -> torch.Tensor:
    """The middle square of an RGB picture (h, w, 3), normalised, (1, 3, side, side), float32.

    The shorter side is scaled to `side`, bicubically, and what is beyond the square is cut off. mask: (h, w),
    0 hides a pixel, 255 shows it; hidden ones get CLIP's mean colour, the 0 of what it takes.
    """
    scaled = _square(Image.fromarray(image), side, Image.Resampling.BICUBIC)
    values = (scaled / np.float32(255.0) - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    if mask is not None:
        shown = _square(Image.fromarray(mask), side, Image.Resampling.BILINEAR)
        values *= shown[..., None] / np.float32(255.0)
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]


def _square(picture: Image.Image, side: int, how: Image.Resampling) -> NDArray[np.float32]:
    width, height = picture.size
    shorter = min(width, height)
    size = side * width // shorter, side * height // shorter
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(picture.resize(size, how), np.float32)[top : top + side, left : left + side]
