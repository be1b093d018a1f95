"""One random model for this folder's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint
from easel_worker.diffusion.random_model import build_random_checkpoint
from easel_worker.generation import drawing

from ...one_thread import one_thread

__all__ = ["one_thread"]

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_random_checkpoint(tmp_path_factory.mktemp("models") / "tiny-random")


@pytest.fixture(scope="session")
def checkpoint(model_folder: Path) -> Checkpoint:
    return load_checkpoint(model_folder, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def draw(checkpoint: Checkpoint) -> Draw:
    """Draw a 64 x 64 picture in 4 steps, unless told otherwise."""

    def draw(**fields: Any) -> NDArray[np.uint8]:
        usual = {"prompt": "a photo of a cat", "width": 64, "height": 64, "steps": 4}
        return drawing.draw(**{"checkpoint": checkpoint, **usual, **fields})

    return draw
