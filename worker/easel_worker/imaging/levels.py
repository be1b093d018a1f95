"""Between the 256 levels of a picture and numbers from 0 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

HIGHEST = np.float32(255)


def to_unit(image: Image.Image) -> Floats:
    """A picture's levels as float32, 0 to 1: (H, W, 3) of "RGB", (H, W) of "L"."""
    unit: Floats = np.asarray(image, dtype=np.float32) / HIGHEST
    return unit


def to_picture(unit: Floats) -> Image.Image:
    """The picture of numbers from 0 to 1, (H, W, 3) or (H, W): the nearest level, clipped."""
    return Image.fromarray(np.rint(unit * HIGHEST).clip(0, HIGHEST).astype(np.uint8))
