"""The judge that reads the model's pictures."""

from __future__ import annotations

import pytest

from easel_shapes.recipe.classifier import ShapeNet, load_classifier

from ..one_thread import one_thread

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def judge() -> ShapeNet:
    return load_classifier()
