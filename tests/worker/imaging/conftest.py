"""Small pictures for this folder's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

Paint = Callable[..., Image.Image]


@pytest.fixture
def paint() -> Paint:
    """A smooth, colourful RGB picture of any size; the same for the same seed."""

    def paint(width: int, height: int, seed: int = 0) -> Image.Image:
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)

    return paint
