"""Reads a diffusers folder: unet/, vae/, text_encoder/ (and SDXL's text_encoder_2/), scheduler/."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.parts import (
    ModelParts,
    Prediction,
    build_text_encoder,
    build_unet,
    build_vae,
    fill_position_ids,
    is_projected,
)
from easel_worker.diffusion.tokenizer import load_tokenizer
from easel_worker.diffusion.weights import (
    keep_name,
    load_weights,
    read_config,
    rename_clip,
    rename_clip_projected,
    rename_vae,
)


def load_folder(path: Path, *, device: torch.device, dtype: torch.dtype) -> ModelParts:
    """Load a diffusers folder; a tokenizer that is missing is CLIP's own.

    Weights are read from safetensors only. Raises `CheckpointError` for everything that is wrong with the
    folder.
    """
    scheduler = read_config(path / "scheduler" / "scheduler_config.json")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(f"{path}: prediction_type {prediction!r} is unknown: epsilon or v_prediction")
    unet = build_unet(read_config(path / "unet" / "config.json"), str(path / "unet" / "config.json"))
    load_weights(unet, path / "unet", "diffusion_pytorch_model", keep_name, dtype=dtype, device=device)
    vae = build_vae(read_config(path / "vae" / "config.json"), str(path / "vae" / "config.json"))
    load_weights(vae, path / "vae", "diffusion_pytorch_model", rename_vae, dtype=dtype, device=device)
    # SDXL's refiner has its second encoder only.
    names = [name for name in ("", "_2") if (path / f"text_encoder{name}").is_dir()] or [""]
    encoders = [_text_encoder(path / f"text_encoder{name}", device, dtype) for name in names]
    tokenizers = [load_tokenizer(path / f"tokenizer{name}") for name in names]
    second = len(names) > 1
    return ModelParts(
        unet=unet,
        vae=vae,
        text_encoder=encoders[0],
        tokenizer=tokenizers[0],
        scheduler=scheduler,
        prediction_type=cast(Prediction, prediction),
        text_encoder_2=encoders[1] if second else None,
        tokenizer_2=tokenizers[1] if second else None,
    )


def _text_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    config = read_config(folder / "config.json")
    encoder = build_text_encoder(config, str(folder / "config.json"))
    rename = rename_clip_projected if is_projected(config) else rename_clip
    load_weights(encoder, folder, "model", rename, dtype=dtype, device=device)
    fill_position_ids(encoder, device)
    return encoder
