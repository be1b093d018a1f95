"""A handler with the shipped model and random ones, and pictures to begin with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from easel_worker.diffusion.random_model import build_random_checkpoint
from easel_worker.models.starter import NAME, install_shapes

from ...one_thread import one_thread
from ..desk import BARE, Desk

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the random model, which is the default, and the shipped one."""
    folder = tmp_path_factory.mktemp("img2img")
    models = folder / "models" / "Stable-diffusion"
    install_shapes(models / NAME)
    build_random_checkpoint(models / "tiny-random")
    return folder


@pytest.fixture(scope="session")
def desk(data_dir: Path) -> Desk:
    """Renders with `tiny-random` unless told otherwise."""
    return Desk(data_dir, BARE)


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


@pytest.fixture(scope="session")
def further_channels(data_dir: Path) -> None:
    """Random checkpoints that take nine and eight channels, as inpainting and InstructPix2Pix ones do."""
    models = data_dir / "models" / "Stable-diffusion"
    for name, channels in (("tiny-inpainting", 9), ("tiny-pix2pix", 8)):
        shutil.copytree(models / "tiny-random", models / name)
        folder = models / name / "unet"
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "in_channels": channels}))
        path = folder / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        first = weights["conv_in.weight"]
        more = torch.randn(
            first.shape[0], channels - 4, *first.shape[2:], generator=torch.Generator().manual_seed(1)
        )
        weights["conv_in.weight"] = torch.cat([first, more * first.std()], dim=1)
        save_file(weights, path, metadata={"format": "pt"})
