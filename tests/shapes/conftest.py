"""The judge that reads the model's pictures, and one thread, with which small pictures are drawn as fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from easel_shapes.recipe.classifier import ShapeNet, load_classifier


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def judge() -> ShapeNet:
    return load_classifier()
