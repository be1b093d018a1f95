"""Hypernetwork files in A1111's format, for whatever widths they are made for. Deterministic."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

SETTINGS: dict[str, Any] = {
    "layer_structure": [1, 2, 1],
    "activation_func": "relu",
    "is_layer_norm": False,
    "weight_initialization": "Normal",
    "use_dropout": False,
    "activate_output": False,
    "last_layer_dropout": False,
}


def hypernetwork_states(
    widths: Sequence[int], *, layer_norm: bool = False, seed: int = 0, strength: float = 0.5
) -> dict[int, tuple[Any, Any]]:
    """By width the tensors for keys and those for values: two layers, the inner one twice as wide. Names
    count the activation and the normalisation between them, too."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * strength / shape[-1] ** 0.5

    def one(width: int) -> OrderedDict[str, torch.Tensor]:
        last = 3 if layer_norm else 2
        state = OrderedDict({"linear.0.weight": random(2 * width, width), "linear.0.bias": random(2 * width)})
        if layer_norm:
            state |= {"linear.2.weight": 1 + random(2 * width), "linear.2.bias": random(2 * width)}
        state |= {f"linear.{last}.weight": random(width, 2 * width), f"linear.{last}.bias": random(width)}
        return state

    return {width: (one(width), one(width)) for width in widths}


def write_hypernetwork(path: Path, widths: Sequence[int], *, layer_norm: bool = False, **more: Any) -> Path:
    """A ``.pt`` as A1111 saves it, or the same as ``.safetensors``; folders are made."""
    settings = {**SETTINGS, "is_layer_norm": layer_norm, **more.pop("settings", {})}
    states = hypernetwork_states(widths, layer_norm=layer_norm, **more)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pt":
        torch.save({"step": 100, "name": path.stem, "sd_checkpoint": None, **settings, **states}, path)
        return path
    tensors = {
        f"{width}.{letter}.{name}": tensor
        for width, pair in states.items()
        for letter, state in zip("kv", pair, strict=True)
        for name, tensor in state.items()
    }
    save_file(tensors, path, {name: json.dumps(value) for name, value in settings.items()})
    return path
