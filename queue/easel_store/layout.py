"""The data directory's tree: AUTOMATIC1111's, so that an existing models folder can be put in its place."""

from __future__ import annotations

from pathlib import Path

from easel_store.base import StoreError

MODEL_FOLDERS = (
    "Stable-diffusion",
    "VAE",
    "VAE-approx",
    "Lora",
    "LyCORIS",
    "hypernetworks",
    "ControlNet",
    "ControlNetPreprocessor",
    "annotators",
    "ESRGAN",
    "RealESRGAN",
    "SwinIR",
    "DAT",
    "ScuNET",
    "GFPGAN",
    "Codeformer",
    "deepbooru",
    "torch_deepdanbooru",
    "BLIP",
    "interrogate",
    "CLIP",
)
"""Folders under ``models/``, named as A1111 and its ControlNet extension name them."""

OUTPUT_FOLDERS = (
    "txt2img-images",
    "txt2img-grids",
    "img2img-images",
    "img2img-grids",
    "extras-images",
)
"""Folders under ``outputs/``."""


def make_layout(data_dir: Path) -> None:
    """Make every folder that is missing; what exists (links to another disk too) is left alone.

    Raises:
        StoreError: the data directory cannot be written; says which folder and why.
    """
    folders = [data_dir / "models" / name for name in MODEL_FOLDERS]
    folders += [data_dir / "outputs" / name for name in OUTPUT_FOLDERS]
    folders.append(data_dir / "embeddings")
    for folder in folders:
        _make(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreError(
            f"cannot make {folder}: {exc.strerror or exc}; set EASEL_DATA_DIR to a folder this user may write"
        ) from exc
