"""Reads control networks: single files in all their spellings, and diffusers folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.control.adapter import T2IModel
from easel_worker.diffusion.control.config import FROM_CHECKPOINT, adapter_config, control_config
from easel_worker.diffusion.control.factors import ControlLora, whole_shapes
from easel_worker.diffusion.control.kinds import ControlKind, find_kind, weights_file
from easel_worker.diffusion.control.model import ControlModel, family_of
from easel_worker.diffusion.control.names import adapter_names, control_names
from easel_worker.diffusion.control.network import ControlNet
from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import Source, StoredWeights, open_weights
from easel_worker.diffusion.weights import read_config

_HINT_CHANNELS, _LATENT_CHANNELS = 3, 4
_TOLD = (*FROM_CHECKPOINT, "controlnet_conditioning_channel_order", "global_pool_conditions")
"""What is taken from a folder's config.json: what shapes do not tell."""
_MAX_YAML_BYTES = 1024 * 1024
_POOLED = re.compile(r"^\s*global_average_pooling\s*:\s*[Tt]rue\s*(?:#.*)?$", re.MULTILINE)


def load_control(
    path: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool = False,
    check: Callable[[ControlKind], object] = lambda kind: None,
) -> ControlModel:
    """Load a ControlNet, union model, control-LoRA or T2I-adapter.

    Kind, family and sizes are told by its weights' names and shapes. The file is mapped, and each weight
    copied once, to `device` as `dtype`. ``<name>.yaml`` beside a file may say that residuals are pooled.

    Args:
        path: A file, or a diffusers folder.
        allow_pickle: Files that are no safetensors are read too, with torch's restricted reader.
        check: Told the kind before any weight is read; what it raises passes through.

    Raises:
        CheckpointError: for everything that is wrong with it, naming it.
    """
    told: dict[str, Any] = {}
    if path.is_dir():
        told = {key: value for key, value in read_config(path / "config.json").items() if key in _TOLD}
    elif _yaml_says_pooled(path.with_suffix(".yaml")):
        told = {"global_pool_conditions": True}
    with open_weights(weights_file(path), device, allow_pickle=allow_pickle) as stored:
        try:
            name = path.name if path.is_dir() else path.stem
            kind = find_kind(stored.shapes)
            check(kind)
            return _load(
                name, kind, stored, {**told, **stored.told().get("unet", {})}, _Target(device, dtype)
            )
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Target:
    device: torch.device
    dtype: torch.dtype


def _load(
    name: str, kind: ControlKind, stored: StoredWeights, told: Mapping[str, Any], target: _Target
) -> ControlModel:
    if kind == "ip-adapter":
        raise CheckpointError("this is an IP-adapter, which is no network beside the UNet")
    names = adapter_names(stored.shapes) if kind == "t2i" else control_names(stored.shapes)
    shapes = {ours: stored.shapes[whole] for ours, whole in names.items()}
    if kind == "t2i":
        config = adapter_config(shapes)
        family = family_of({"addition_embed_type": "text_time"} if config["downscale_factor"] == 16 else {})
        weights = _read(stored, names, target)
        return T2IModel(name, kind, family, config, weights, layers=4)
    whole = whole_shapes(shapes)
    config = {**control_config(whole, union=kind == "union"), **told}
    _check(config)
    layers = 1 + sum(one.startswith("controlnet_down_blocks.") and one.endswith(".weight") for one in shapes)
    make = ControlLora if kind == "lora" else ControlNet
    return make(name, kind, family_of(config), config, _read(stored, names, target), layers)


def _check(config: Mapping[str, Any]) -> None:
    if config["conditioning_channels"] != _HINT_CHANNELS:
        raise CheckpointError(
            f"it takes pictures of {config['conditioning_channels']} channels; supported are {_HINT_CHANNELS}"
        )
    if config["in_channels"] != _LATENT_CHANNELS:
        raise CheckpointError(
            f"it takes latents of {config['in_channels']} channels; supported are {_LATENT_CHANNELS}"
        )


def _read(stored: StoredWeights, names: Mapping[str, str], target: _Target) -> dict[str, torch.Tensor]:
    return {
        ours: stored.read(Source(whole), dtype=target.dtype, device=target.device)
        for ours, whole in names.items()
    }


def _yaml_says_pooled(path: Path) -> bool:
    # One line of it matters, so no YAML parser is let at a stranger's file.
    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            return False
        return _POOLED.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False
