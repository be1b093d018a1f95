"""Units on a checkpoint in bfloat16: the picture of float32, as far as such numbers tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from easel_worker.diffusion.attention.clip_vision import load_clip_vision
from easel_worker.diffusion.attention.ip_adapter import load_ip_adapter
from easel_worker.diffusion.attention.units import ImagePrompt, Mode, Reference, ReferenceKind, Unit
from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint

from ...small_models.ip_adapter import ip_adapter, write_flat
from .conftest import CPU
from .small_pass import call, noise

HALF, WHOLE = torch.bfloat16, torch.float32


@pytest.fixture(scope="module")
def half(checkpoint: Checkpoint) -> Checkpoint:
    return load_checkpoint(checkpoint.path, device=CPU, dtype=HALF)


def compare(checkpoint: Checkpoint, half: Checkpoint, whole_unit: Unit, half_unit: Unit) -> None:
    plain, expected = call(checkpoint), call(checkpoint, [whole_unit])
    got = call(half, [half_unit])
    assert got.dtype == torch.float32
    assert (got - expected).abs().mean() < 0.3 * (expected - plain).abs().mean()


@pytest.mark.parametrize("mode", ["balanced", "control"])
def test_an_image_prompt(
    mode: Mode,
    checkpoint: Checkpoint,
    half: Checkpoint,
    clip_folder: Path,
    image: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    path = write_flat(ip_adapter(checkpoint.unet, "plus"), tmp_path / "ip-adapter.safetensors")
    region = torch.linspace(1.0, 0.2, 64).expand(64, -1)
    units = []
    for dtype in (WHOLE, HALF):
        adapter = load_ip_adapter(path, device=CPU, dtype=dtype)
        view = load_clip_vision(clip_folder, device=CPU, dtype=dtype).look(image)
        assert view.hidden.dtype == torch.float32
        units.append(ImagePrompt(adapter, adapter.embed([view]), mode=mode, region=region))
    compare(checkpoint, half, *units)


@pytest.mark.parametrize("kind", ["reference_only", "reference_adain+attn"])
def test_a_reference(kind: ReferenceKind, checkpoint: Checkpoint, half: Checkpoint) -> None:
    unit = Reference(kind, noise(seed=7), noise(seed=8) / 3, weight=2.0)
    compare(checkpoint, half, unit, unit)
