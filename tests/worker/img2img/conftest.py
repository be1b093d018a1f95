"""A handler with the shipped model and random ones, and pictures to begin with."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from easel_worker.diffusion.random_model import build_random_checkpoint

from ...one_thread import one_thread
from .desk import Desk

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Renders with `tiny-random` unless told otherwise."""
    folder = tmp_path_factory.mktemp("img2img")
    build_random_checkpoint(folder / "models" / "Stable-diffusion" / "tiny-random")
    return Desk(folder)


@pytest.fixture
def init() -> Image.Image:
    """64 x 64, different everywhere."""
    y, x = np.mgrid[0:64, 0:64].astype(np.uint8)
    return Image.fromarray(np.stack([x * 4, y * 4, (x ^ y) * 3], axis=-1))


@pytest.fixture
def mask() -> Image.Image:
    """The middle is to be painted anew, 24 x 24 pixels."""
    mask = Image.new("L", (64, 64))
    mask.paste(255, (20, 20, 44, 44))
    return mask
