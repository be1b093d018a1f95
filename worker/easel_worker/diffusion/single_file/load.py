"""Reads a checkpoint that is one file in LDM's format, as web UIs and model sites have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.parts import (
    ModelParts,
    build_text_encoder,
    build_unet,
    fill_position_ids,
)
from easel_worker.diffusion.placing import read_ahead
from easel_worker.diffusion.single_file.families import UNET, VAE, EncoderPlace, Family, find_family
from easel_worker.diffusion.single_file.fill import Target, below, fill
from easel_worker.diffusion.single_file.ldm_text import text_config, text_sources
from easel_worker.diffusion.single_file.ldm_unet import unet_config, unet_sources
from easel_worker.diffusion.single_file.ldm_vae import ldm_vae, vae_prefix
from easel_worker.diffusion.single_file.prediction import find_prediction, is_zero_terminal_snr
from easel_worker.diffusion.single_file.stored import StoredWeights, open_weights
from easel_worker.diffusion.tokenizer import shared_tokenizer

SCHEDULER: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
"""The noise levels of all families."""


def load_file_parts(
    path: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool = False,
    own_vae: bool = False,
) -> ModelParts:
    """Load an LDM-format file with what lies beside it: ``<name>.vae.safetensors`` stands in for its VAE, and
    ``<name>.yaml`` may say that it predicts the velocity. own_vae: only where it has no VAE of its own.

    Family and sizes are told by its weights' names and shapes. Raises `CheckpointError`, naming the file, for
    everything that is wrong with it.
    """
    target = Target(device, dtype)
    read_ahead(path)
    with open_weights(path, device, allow_pickle=allow_pickle) as stored:
        try:
            return _parts(path, stored, target, own_vae=own_vae)
        except CheckpointError as error:
            if str(path.parent) in str(error):  # it is about the VAE beside, and says so
                raise
            raise CheckpointError(f"{path}: {error}") from error


def vae_beside(path: Path) -> Path | None:
    """The VAE that belongs to a checkpoint by its name, as A1111's `sd_vae` Automatic finds it."""
    beside = path.with_name(f"{path.stem}.vae.safetensors")
    return beside if beside.is_file() else None


def _parts(path: Path, stored: StoredWeights, target: Target, *, own_vae: bool) -> ModelParts:
    family = find_family(stored.shapes)
    told = stored.told()
    encoders = [
        _text_encoder(stored, place, told.get(part, {}), target)
        for place, part in zip(family.encoders, ("text_encoder", "text_encoder_2"), strict=False)
    ]
    pooled = encoders[-1].config.projection_dim if family.sizes else 0
    shapes = below(stored.shapes, UNET)
    unet = build_unet(unet_config(shapes, family, pooled, told.get("unet", {})), "its UNet")
    fill(unet, unet_sources(shapes), UNET, stored, target)
    beside = None if own_vae and any(name.startswith(VAE) for name in stored.shapes) else vae_beside(path)
    vae = _vae(beside, stored, family, told.get("vae", {}), target)
    tokenizer = shared_tokenizer()
    prediction = find_prediction(path, stored, family, unet)
    return ModelParts(
        unet=unet,
        vae=vae,
        text_encoder=encoders[0],
        tokenizer=tokenizer,
        scheduler={**SCHEDULER, "rescale_betas_zero_snr": is_zero_terminal_snr(stored)},
        prediction_type=prediction,
        text_encoder_2=encoders[1] if len(encoders) > 1 else None,
        tokenizer_2=tokenizer if len(encoders) > 1 else None,
    )


def _text_encoder(stored: StoredWeights, place: EncoderPlace, told: Mapping[str, int], target: Target) -> Any:
    shapes = below(stored.shapes, place.prefix)
    encoder = build_text_encoder(text_config(shapes, place, told), "its text encoder")
    fill(encoder, text_sources(shapes, place), place.prefix, stored, target)
    fill_position_ids(encoder, target.device)
    return encoder


def _vae(
    beside: Path | None, stored: StoredWeights, family: Family, told: Mapping[str, int], target: Target
) -> Any:
    if beside is None:
        return ldm_vae(stored, VAE, family.scaling_factor, told, target)
    with open_weights(beside, target.device) as other:
        try:
            return ldm_vae(
                other, vae_prefix(other), family.scaling_factor, other.told().get("vae", {}), target
            )
        except CheckpointError as error:
            raise CheckpointError(f"{beside}: {error}") from error
