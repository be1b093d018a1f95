"""Reads a checkpoint that is one file in LDM's format, as web UIs and model sites have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.parts import (
    ModelParts,
    build_text_encoder,
    build_unet,
    build_vae,
    fill_position_ids,
)
from easel_worker.diffusion.single_file.families import UNET, VAE, EncoderPlace, Family, find_family
from easel_worker.diffusion.single_file.ldm_text import text_config, text_sources
from easel_worker.diffusion.single_file.ldm_unet import unet_config, unet_sources
from easel_worker.diffusion.single_file.ldm_vae import vae_config, vae_sources
from easel_worker.diffusion.single_file.prediction import find_prediction, is_zero_terminal_snr
from easel_worker.diffusion.single_file.stored import Shapes, Source, StoredWeights, open_weights
from easel_worker.diffusion.tokenizer import clip_tokenizer

_NAMED_AT_MOST = 5
SCHEDULER: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}
"""The noise levels of all families."""


@dataclass(frozen=True)
class _Target:
    """Where weights are put to."""

    device: torch.device
    dtype: torch.dtype


def load_file_parts(
    path: Path, *, device: torch.device, dtype: torch.dtype, allow_pickle: bool = False
) -> ModelParts:
    """Load an LDM-format file with what lies beside it: ``<name>.vae.safetensors`` stands in for its VAE, and
    ``<name>.yaml`` may say that it predicts the velocity.

    Family and sizes are told by its weights' names and shapes. Raises `CheckpointError`, naming the file, for
    everything that is wrong with it.
    """
    target = _Target(device, dtype)
    with open_weights(path, device, allow_pickle=allow_pickle) as stored:
        try:
            return _parts(path, stored, target)
        except CheckpointError as error:
            if str(path.parent) in str(error):  # it is about the VAE beside, and says so
                raise
            raise CheckpointError(f"{path}: {error}") from error


def vae_beside(path: Path) -> Path | None:
    """The VAE that belongs to a checkpoint by its name, as A1111's `sd_vae` Automatic finds it."""
    beside = path.with_name(f"{path.stem}.vae.safetensors")
    return beside if beside.is_file() else None


def _parts(path: Path, stored: StoredWeights, target: _Target) -> ModelParts:
    family = find_family(stored.shapes)
    told = stored.told()
    encoders = [
        _text_encoder(stored, place, told.get(part, {}), target)
        for place, part in zip(family.encoders, ("text_encoder", "text_encoder_2"), strict=False)
    ]
    pooled = encoders[-1].config.projection_dim if family.sizes else 0
    shapes = _below(stored.shapes, UNET)
    unet = build_unet(unet_config(shapes, family, pooled, told.get("unet", {})), "its UNet")
    _fill(unet, unet_sources(shapes), UNET, stored, target)
    vae = _vae(path, stored, family, told.get("vae", {}), target)
    tokenizer = clip_tokenizer()
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


def _text_encoder(
    stored: StoredWeights, place: EncoderPlace, told: Mapping[str, int], target: _Target
) -> Any:
    shapes = _below(stored.shapes, place.prefix)
    encoder = build_text_encoder(text_config(shapes, place, told), "its text encoder")
    _fill(encoder, text_sources(shapes, place), place.prefix, stored, target)
    fill_position_ids(encoder, target.device)
    return encoder


def _vae(path: Path, stored: StoredWeights, family: Family, told: Mapping[str, int], target: _Target) -> Any:
    beside = vae_beside(path)
    if beside is None:
        return _ldm_vae(stored, VAE, family, told, target)
    with open_weights(beside, target.device) as other:
        try:
            # Published VAEs come with and without the prefix.
            prefix = VAE if any(name.startswith(VAE) for name in other.shapes) else ""
            return _ldm_vae(other, prefix, family, other.told().get("vae", {}), target)
        except CheckpointError as error:
            raise CheckpointError(f"{beside}: {error}") from error


def _ldm_vae(
    stored: StoredWeights, prefix: str, family: Family, told: Mapping[str, int], target: _Target
) -> Any:
    shapes = _below(stored.shapes, prefix)
    vae = build_vae(vae_config(shapes, family.scaling_factor, told), "its VAE")
    _fill(vae, vae_sources(shapes), prefix, stored, target)
    return vae


def _below(shapes: Shapes, prefix: str) -> dict[str, tuple[int, ...]]:
    return {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}


def _fill(
    module: torch.nn.Module,
    sources: Mapping[str, Source],
    prefix: str,
    stored: StoredWeights,
    target: _Target,
) -> None:
    """Give `module`, built on the meta device, its weights. What the file has beyond them is ignored: files
    hold averages, losses and positions that rendering has no use for."""
    expected = module.state_dict()
    missing = sorted(expected.keys() - sources.keys())
    if missing:
        raise CheckpointError(
            f"weights are missing in {prefix or 'it'}*: {_shorten(missing)} (by diffusers' names)"
        )
    loaded: dict[str, torch.Tensor] = {}
    for name, like in expected.items():
        source = sources[name]
        full = Source(prefix + source.name, source.take)
        tensor = stored.read(full, dtype=target.dtype, device=target.device)
        if tensor.shape != like.shape:
            raise CheckpointError(
                f"{full.name} makes a weight of shape {tuple(tensor.shape)}, its neighbours ask for"
                f" {tuple(like.shape)}"
            )
        loaded[name] = tensor
    module.load_state_dict(loaded, strict=True, assign=True)


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more
