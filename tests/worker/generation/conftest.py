"""One handler with the shipped model for this folder's tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import easel_shapes

from ...one_thread import one_thread
from ..desk import Desk
from . import controlled

__all__ = ["one_thread"]

OTHER = "other"
"""A second checkpoint: the shipped weights, taken for a model that predicts noise, so it draws otherwise."""


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The shipped model, and `OTHER` beside it. Tests leave its data directory as it was."""
    data_dir = tmp_path_factory.mktemp("desk")
    add_variant(data_dir, OTHER, prediction_type="epsilon")
    add_variant(data_dir, easel_shapes.NAME)
    return Desk(data_dir, default_checkpoint=easel_shapes.NAME, checkpoint_cache=2)


@pytest.fixture(scope="session")
def lenient(desk: Desk) -> Desk:
    """The same files at a service that is not strict."""
    return Desk(desk.settings.data_dir, default_checkpoint=easel_shapes.NAME, strict=False)


def add_variant(data_dir: Path, name: str, **scheduler: Any) -> Path:
    """The shipped model in a data directory, with other values in its scheduler's configuration."""
    folder = data_dir / "models" / "Stable-diffusion" / name
    shutil.copytree(easel_shapes.model_folder(), folder)
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **scheduler}))
    return folder


@pytest.fixture(scope="session")
def control_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A random model and random control networks."""
    return controlled.build(tmp_path_factory.mktemp("control"))
