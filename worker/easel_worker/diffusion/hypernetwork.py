"""Hypernetworks: small networks that change what attention layers read as keys and as values.

The format is A1111's: for each width of a context, one network for keys and one for values, each a row of
linear layers with activations and perhaps normalisations between; x becomes x + network(x) * multiplier.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from easel_worker.diffusion.lora.adapters import Handle, Hook
from easel_worker.diffusion.lora.file import NetworkError, read_tensors

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "swish": nn.Hardswish,  # as those who trained with that name had it
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
}
_LINEAR = ("", "linear", "none")
# Names of the first files, which had two layers.
_OLD = {"linear1.": "linear.0.", "linear2.": "linear.1."}
_FLAT = re.compile(r"(\d+)\.(k|v|0|1)\.(.+)")


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """One file's networks: by the width that they are for, that of keys and that of values. float32."""

    layers: Mapping[int, tuple[nn.Module, nn.Module]]
    nbytes: int


def read_hypernetwork(path: Path, *, allow_pickle: bool = False) -> Hypernetwork:
    """Read A1111's ``.pt``, or the same as ``.safetensors``: tensors ``<width>.<k or v>.linear.<n>.weight``
    and the settings (`activation_func`, `is_layer_norm`, `activate_output`) as texts of its header.

    Raises:
        NetworkError: it cannot be read, is a pickle that is not allowed, or holds something else.
    """
    stored, metadata = read_tensors(path, allow_pickle=allow_pickle)
    told: dict[str, Any] = {key: _value(text) for key, text in metadata.items()}
    # In A1111's files widths are keys too, and they are numbers.
    told |= {str(key): value for key, value in stored.items()}
    try:
        layers = {
            width: (_network(keys, told), _network(values, told))
            for width, (keys, values) in _pairs(stored).items()
        }
        _check(layers)
    except (IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise NetworkError(f"{path.name} is no hypernetwork that is known: {error}") from error
    if not layers:
        raise NetworkError(f"{path.name} is no hypernetwork")
    return Hypernetwork(layers, sum(_nbytes(one) for pair in layers.values() for one in pair))


def hooks_for(unet: nn.Module, network: Hypernetwork, multiplier: float) -> list[Hook]:
    """What lets a hypernetwork act on a UNet's attention layers, those to the text and those to itself.

    Hooks before the layers that make keys and values: they go together with others that replace attention.
    An empty list where the file has no network of any of the UNet's widths.
    """
    made: list[Hook] = []
    moved: dict[int, tuple[nn.Module, nn.Module]] = {}
    for to_key, to_value in _attentions(unet):
        width = int(to_key.in_features)
        if width not in network.layers:
            continue
        if width not in moved:
            keys, values = (_like(one, to_key.weight) for one in network.layers[width])
            moved[width] = keys, values
        for layer, change in zip((to_key, to_value), moved[width], strict=True):
            made.append(_hook(layer, change, multiplier))
    return made


def _hook(layer: nn.Module, change: nn.Module, multiplier: float) -> Hook:
    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        context, *rest = inputs
        return (context + change(context) * multiplier, *rest)

    def register() -> Handle:
        return layer.register_forward_pre_hook(before)

    return register


def _attentions(unet: nn.Module) -> Iterator[tuple[Any, Any]]:
    for module in unet.modules():
        to_key, to_value = getattr(module, "to_k", None), getattr(module, "to_v", None)
        if to_key is not None and to_value is not None:
            yield to_key, to_value


def _pairs(stored: Mapping[Any, Any]) -> dict[int, tuple[Any, Any]]:
    """The two tables of tensors of each width."""
    found = {
        key: (value[0], value[1])
        for key, value in stored.items()
        if isinstance(key, int) and isinstance(value, list | tuple) and len(value) == 2
    }
    for key, tensor in stored.items():
        if flat := _FLAT.fullmatch(str(key)):
            pair = found.setdefault(int(flat[1]), ({}, {}))
            pair[flat[2] in "v1"][flat[3]] = tensor
    return found


def _network(state: Mapping[str, torch.Tensor], told: Mapping[str, Any]) -> nn.Sequential:
    """The layers, told by their tensors: a matrix is a linear layer, a vector of weights a normalisation."""
    named = {}
    for name, tensor in state.items():
        for old, new in _OLD.items():
            name = name.replace(old, new) if name.startswith(old) else name
        named[name] = tensor
    places = sorted({int(name.split(".")[1]) for name in named})
    linear = [place for place in places if named[f"linear.{place}.weight"].ndim == 2]
    if not linear:
        raise ValueError("no layers")
    layers: list[nn.Module] = []
    for place in places:
        weight, bias = named[f"linear.{place}.weight"], named[f"linear.{place}.bias"]
        if place not in linear:
            layers.append(_filled(nn.LayerNorm(len(weight)), weight, bias))
            continue
        layers.append(_filled(nn.Linear(weight.shape[1], weight.shape[0]), weight, bias))
        if place != linear[-1] or told.get("activate_output", True):
            layers += _activation(told)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _activation(told: Mapping[str, Any]) -> list[nn.Module]:
    name = str(told.get("activation_func") or "").lower()
    if name in _LINEAR:
        return []
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation {name[:60]!r}; known are linear, {', '.join(sorted(_ACTIVATIONS))}")
    return [_ACTIVATIONS[name]()]


def _filled(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> nn.Module:
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer


def _check(layers: Mapping[int, tuple[nn.Sequential, nn.Sequential]]) -> None:
    """Each network must take and give its width."""
    for width, pair in layers.items():
        for network in pair:
            if network(torch.zeros(1, width)).shape != (1, width):
                raise ValueError(f"the network for width {width} gives something else")


def _like(network: nn.Module, weight: torch.Tensor) -> nn.Module:
    """A copy on the device and in the number format of `weight`."""
    return copy.deepcopy(network).to(device=weight.device, dtype=weight.dtype)


def _value(text: str) -> Any:
    """A text of a header: JSON where it is, else itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {"True": True, "False": False, "None": None}.get(text, text)


def _nbytes(network: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in network.parameters())
