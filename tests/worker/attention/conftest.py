"""A random model, image encoders and pictures for this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import easel_shapes
from easel_worker.diffusion.attention.clip_vision import ClipVision, load_clip_vision
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.random_model import build_random_checkpoint

from ...one_thread import one_thread
from ...small_models.ip_adapter import write_clip_folder
from ..diffusion.small_models import KINDS, write_folder

__all__ = ["one_thread"]

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """SD 1.x with random weights."""
    folder = build_random_checkpoint(tmp_path_factory.mktemp("models") / "tiny-random")
    return load_checkpoint(folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="session")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = write_folder(KINDS["sdxl"], tmp_path_factory.mktemp("models") / "tiny-xl")
    return load_checkpoint(folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="session")
def shapes() -> Checkpoint:
    """The trained model that ships."""
    return load_checkpoint(easel_shapes.model_folder(), device=CPU, dtype=torch.float32)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip_folder(tmp_path_factory.mktemp("clip") / "clip_h")


@pytest.fixture(scope="session")
def clip(clip_folder: Path) -> ClipVision:
    return load_clip_vision(clip_folder, device=CPU, dtype=torch.float32)


@pytest.fixture(scope="session")
def image() -> NDArray[np.uint8]:
    """Colours that change slowly, 90 x 60."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((10, 10, 1), np.uint8))
