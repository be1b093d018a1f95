"""The shipped model, drawn with by the worker's own code, and the judge that reads its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_shapes import model_folder
from easel_shapes.recipe.classifier import ShapeNet, load_classifier
from easel_shapes.recipe.evaluate import draw
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint

Render = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shapes_checkpoint() -> Checkpoint:
    return load_checkpoint(model_folder(), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def judge() -> ShapeNet:
    return load_classifier()


@pytest.fixture(scope="session")
def render(shapes_checkpoint: Checkpoint) -> Render:
    """`render(prompt, seed=0, side=128)`: one picture, (side, side, 3)."""

    def render(prompt: str, *, seed: int = 0, side: int = 128) -> NDArray[np.uint8]:
        return draw(shapes_checkpoint, prompt, seeds=(seed,), side=side)[0]

    return render
