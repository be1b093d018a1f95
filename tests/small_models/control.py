"""Small random control networks of every kind, and the same weights in every spelling that files have.

All weights differ from their UNet's and none is zero, as after training. The names of LDM's files are made
with another converter than the one that reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, T2IAdapter, UNet2DConditionModel
from safetensors.torch import save_file

from easel_shapes.single_file import unet_name

Weights = dict[str, torch.Tensor]

HINT_CHANNELS = (8, 8, 16, 16)
RANK = 4
_SHARED = (
    "addition_embed_type",
    "addition_time_embed_dim",
    "attention_head_dim",
    "block_out_channels",
    "cross_attention_dim",
    "down_block_types",
    "layers_per_block",
    "norm_num_groups",
    "projection_class_embeddings_input_dim",
    "transformer_layers_per_block",
    "use_linear_projection",
)


def small_controlnet(unet: Any, seed: int = 0, **more: Any) -> Any:
    """A ControlNet for a UNet: half of it, changed a little, and a hint that matters."""
    config = {name: unet.config[name] for name in _SHARED}
    config |= {"conditioning_embedding_out_channels": HINT_CHANNELS, **more}
    return _trained(ControlNetModel.from_config(config), unet, seed)


def small_union(unet: Any, seed: int = 0, types: int = 6) -> Any:
    """A union model with as many control types."""
    config = {name: unet.config[name] for name in _SHARED}
    first = config["block_out_channels"][0]
    config |= {
        "conditioning_embedding_out_channels": HINT_CHANNELS,
        "num_control_type": types,
        "num_trans_channel": first,
        "num_proj_channel": first,
        "num_trans_head": 2,
        "num_trans_layer": 2,
    }
    return _trained(ControlNetUnionModel.from_config(config), unet, seed)


def small_adapter(
    channels: tuple[int, ...], kind: str = "full_adapter", seed: int = 0, inputs: int = 3
) -> Any:
    """A T2I-adapter with features of these widths."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return T2IAdapter(
            in_channels=inputs,
            channels=list(channels),
            num_res_blocks=4 if kind == "light_adapter" else 2,
            downscale_factor=16 if kind == "full_adapter_xl" else 8,
            adapter_type=kind,
        ).requires_grad_(False)


def add_control(data_dir: Path, checkpoint: str, name: str, seed: int = 0) -> Path:
    """Put a ControlNet for one of a data directory's checkpoints (a folder) beside it."""
    unet = UNet2DConditionModel.from_pretrained(
        str(data_dir / "models/Stable-diffusion" / checkpoint / "unet")
    )
    path = data_dir / "models" / "ControlNet" / f"{name}.safetensors"
    return write_original_file(small_controlnet(unet, seed), path)


def _trained(net: Any, unet: Any, seed: int) -> Any:
    """The UNet's weights where it has them, all a little changed; what starts at zero no longer is."""
    base = unet.state_dict()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, weight in net.named_parameters():
            if name in base and base[name].shape == weight.shape:
                weight.copy_(base[name])
                weight.add_(torch.randn_like(weight), alpha=0.02)
            elif name.startswith(("controlnet_down", "controlnet_mid", "spatial_ch_projs")):
                weight.copy_(torch.randn_like(weight) * 0.1)
            elif name.startswith("controlnet_cond_embedding.") and weight.ndim == 4:
                # Enough to keep a hint's contrast through all of them.
                weight.copy_(torch.randn_like(weight) * (2.0 / weight[0].numel() ** 0.5))
    return net.eval().requires_grad_(False)


def write_folder(net: Any, folder: Path) -> Path:
    """diffusers' folder."""
    net.save_pretrained(str(folder))
    return folder


def write_diffusers_file(net: Any, path: Path, prefix: str = "") -> Path:
    """One file with diffusers' names."""
    return _save({prefix + name: tensor for name, tensor in net.state_dict().items()}, path)


def write_original_file(net: Any, path: Path, prefix: str = "control_model.") -> Path:
    """One file with the names of lllyasviel's ControlNet."""
    weights = {prefix + name: tensor for name, tensor in original_weights(net).items()}
    return _save(weights, path)


def original_weights(net: Any) -> Weights:
    """A ControlNet's weights by their first names."""
    blocks = 2 * (len(net.config.conditioning_embedding_out_channels) - 1)
    return {_original(name, net.config, blocks): tensor for name, tensor in net.state_dict().items()}


def _original(name: str, config: Mapping[str, Any], blocks: int) -> str:
    place, _, end = name.rpartition(".")
    if place.startswith("controlnet_cond_embedding."):
        part = place.split(".", 1)[1]
        number = 0 if part == "conv_in" else blocks + 1 if part == "conv_out" else int(part.split(".")[1]) + 1
        return f"input_hint_block.{2 * number}.{end}"
    if place.startswith("controlnet_down_blocks."):
        return f"zero_convs.{place.split('.')[1]}.0.{end}"
    if place == "controlnet_mid_block":
        return f"middle_block_out.0.{end}"
    for ours, theirs in (
        ("add_embedding.linear_1", "label_emb.0.0"),
        ("add_embedding.linear_2", "label_emb.0.2"),
    ):
        if place == ours:
            return f"{theirs}.{end}"
    return unet_name(name, dict(config))


def write_control_lora(net: Any, unet: Any, path: Path, rank: int = RANK) -> tuple[Path, Any]:
    """A control-LoRA with the network's hint and outputs, and factors of low rank in place of its half of the
    UNet. Also gives the ControlNet that it stands for: the UNet's weights plus the factors' products."""
    base, stored = unet.state_dict(), {}
    merged = dict(net.state_dict())
    generator = torch.Generator().manual_seed(1)
    blocks = 2 * (len(net.config.conditioning_embedding_out_channels) - 1)
    for name, tensor in net.state_dict().items():
        original = _original(name, net.config, blocks)
        if name not in base or tensor.ndim == 1:
            stored[original] = tensor
            continue
        weight = base[name][:, : tensor.shape[1]]
        up = torch.randn((weight.shape[0], rank), generator=generator) * 0.05
        down = torch.randn((rank, *weight.shape[1:]), generator=generator) * 0.05
        merged[name] = weight + (up @ down.flatten(1)).reshape(weight.shape)
        stem = original.removesuffix(".weight")
        stored[f"{stem}.up"] = up.reshape(*up.shape, *(1 for _ in weight.shape[2:]))
        stored[f"{stem}.down"] = down
    stored["lora_controlnet"] = torch.tensor([])
    twin = type(net).from_config(net.config)
    twin.load_state_dict(merged)
    return _save(stored, path), twin.eval().requires_grad_(False)


def write_original_adapter(adapter: Any, path: Path) -> Path:
    """One file with the names of TencentARC's T2I-Adapter."""
    return _save(original_adapter_weights(adapter), path)


def original_adapter_weights(adapter: Any) -> Weights:
    """A T2I-adapter's weights by their first names."""
    light = adapter.config.adapter_type == "light_adapter"
    per_level = adapter.config.num_res_blocks
    weights = {}
    for name, tensor in adapter.state_dict().items():
        plain = name.removeprefix("adapter.")
        if light:
            plain = plain.replace(".resnets.", ".body.")
        elif plain.startswith("body."):
            _, level, *rest = plain.split(".")
            block = int(rest.pop(1)) if rest[0] == "resnets" else 0
            rest = rest[1:] if rest[0] == "resnets" else rest
            plain = ".".join(["body", str(int(level) * per_level + block), *rest])
        weights[plain] = tensor
    return weights


def as_pickle(weights: Mapping[str, torch.Tensor], path: Path) -> Path:
    """The weights as classic ControlNet files have them."""
    torch.save({"state_dict": dict(weights)}, path)
    return path


def _save(weights: Mapping[str, torch.Tensor], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.clone().contiguous() for name, t in weights.items()}, path, {"format": "pt"})
    return path
