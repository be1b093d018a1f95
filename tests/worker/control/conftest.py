"""Small checkpoints of the families that control networks exist for, and a pass through one by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint

from ...one_thread import one_thread
from ..diffusion.small_models import KINDS, Kind, write_folder

__all__ = ["one_thread"]

CPU = torch.device("cpu")
EVEN = "sd1-even"
"""A Stable Diffusion 1.x whose last two levels are as wide as each other, as the published ones are."""
TWIN = "-twin"
"""After a family's name: another checkpoint of the same layout."""
_KINDS = {
    **KINDS,
    EVEN: Kind({**KINDS["sd1"].unet, "block_out_channels": [32, 64, 64, 64]}, KINDS["sd1"].encoders),
}


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A family's checkpoint as a diffusers folder, made when first asked for."""
    home, made = tmp_path_factory.mktemp("checkpoints"), {}

    def folder(name: str) -> Path:
        if name not in made:
            kind = _KINDS[name.removesuffix(TWIN)]
            made[name] = write_folder(kind, home / name, seed=int(name.endswith(TWIN)))
        return made[name]

    return folder


@pytest.fixture(scope="session")
def checkpoint_of(folder_of: Callable[[str], Path]) -> Callable[[str], Checkpoint]:
    """The same, loaded."""
    loaded: dict[str, Checkpoint] = {}

    def checkpoint(name: str) -> Checkpoint:
        if name not in loaded:
            loaded[name] = load_checkpoint(folder_of(name), device=CPU, dtype=torch.float32)
        return loaded[name]

    return checkpoint


@pytest.fixture
def sd1(checkpoint_of: Callable[[str], Checkpoint]) -> Checkpoint:
    return checkpoint_of("sd1")


@pytest.fixture
def sdxl(checkpoint_of: Callable[[str], Checkpoint]) -> Checkpoint:
    return checkpoint_of("sdxl")
