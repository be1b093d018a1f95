"""Small IP-Adapters and CLIP image encoders, in every form that they are published in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

SIDE = 28
"""Of the pictures that the encoders see, in pixels; four patches."""
WIDTH = 128
PROJECTED = 64

Tensors = dict[str, torch.Tensor]
Kind = Literal["base", "plus", "full", "faceid"]


def clip_vision(seed: int = 0) -> Any:
    """An image encoder of two heads, whose hidden layer is 128 wide and whose embedding 64."""
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=PROJECTED,
        num_hidden_layers=3,
        num_attention_heads=WIDTH // 64,
        image_size=SIDE,
        patch_size=14,
        hidden_act="gelu",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIPVisionModelWithProjection(config).eval()


def write_clip_folder(folder: Path, seed: int = 0) -> Path:
    """As transformers publish one."""
    clip_vision(seed).save_pretrained(str(folder))
    return folder


def write_clip_file(path: Path, seed: int = 0, *, openclip: bool = False) -> Path:
    """One file of the same weights, by transformers' names or by OpenCLIP's."""
    weights = clip_vision(seed).state_dict()
    if openclip:
        weights = _openclip(weights)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    return path


def ip_adapter(unet: Any, kind: Kind = "base", seed: int = 0, strength: float = 3.0) -> Tensors:
    """The weights of an IP-Adapter for diffusers' `unet` and `clip_vision`, by their published names.

    strength: times the spread at which a layer keeps its input's; above 1, so that pictures show it.
    """
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, gain: float = 1.0) -> torch.Tensor:
        return torch.randn((rows, columns), generator=generator) * gain / columns**0.5

    context = int(unet.config.cross_attention_dim)
    weights = {f"image_proj.{name}": tensor for name, tensor in _projection(kind, context, matrix).items()}
    number = 0
    for name, module in unet.named_modules():
        if name.endswith((".attn1", ".attn2")):
            if name.endswith("2"):
                for letter in "kv":
                    made = matrix(module.to_k.out_features, context, strength)
                    weights[f"ip_adapter.{number}.to_{letter}_ip.weight"] = made
            number += 1
    return weights


def write_flat(weights: Tensors, path: Path) -> Path:
    """The weights as a safetensors."""
    save_file(weights, path)
    return path


def write_pickle(weights: Tensors, path: Path) -> Path:
    """The weights as they were published first: a pickle of two dicts."""
    torch.save(nested(weights), path)
    return path


def nested(weights: Tensors) -> dict[str, Tensors]:
    """The weights as the two dicts of the original form."""
    made: dict[str, Tensors] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in weights.items():
        part, rest = name.split(".", 1)
        made[part][rest] = tensor
    return made


def _projection(kind: Kind, context: int, matrix: Any) -> Tensors:
    if kind == "base":
        return _linear("proj", matrix(4 * context, PROJECTED)) | _norm("norm", context)
    if kind == "full":
        return (
            _linear("proj.0", matrix(WIDTH, WIDTH))
            | _linear("proj.2", matrix(context, WIDTH))
            | _norm("proj.3", context)
        )
    if kind == "faceid":
        return (
            _linear("proj.0", matrix(2 * 512, 512))
            | _linear("proj.2", matrix(4 * context, 2 * 512))
            | _norm("norm", context)
        )
    inner, tokens, heads = 64, 6, 2
    weights = {"latents": matrix(tokens, inner, 8.0)[None]}
    weights |= _linear("proj_in", matrix(inner, WIDTH)) | _linear("proj_out", matrix(context, inner))
    weights |= _norm("norm_out", context)
    for layer in range(4):
        place = f"layers.{layer}"
        weights |= _norm(f"{place}.0.norm1", inner) | _norm(f"{place}.0.norm2", inner)
        weights |= _norm(f"{place}.1.0", inner)
        weights[f"{place}.0.to_q.weight"] = matrix(64 * heads, inner)
        weights[f"{place}.0.to_kv.weight"] = matrix(2 * 64 * heads, inner)
        weights[f"{place}.0.to_out.weight"] = matrix(inner, 64 * heads)
        weights[f"{place}.1.1.weight"] = matrix(4 * inner, inner)
        weights[f"{place}.1.3.weight"] = matrix(inner, 4 * inner)
    return weights


def _linear(name: str, weight: torch.Tensor) -> Tensors:
    return {f"{name}.weight": weight, f"{name}.bias": torch.linspace(-0.1, 0.1, len(weight))}


def _norm(name: str, width: int) -> Tensors:
    return {f"{name}.weight": torch.linspace(0.8, 1.2, width), f"{name}.bias": torch.zeros(width)}


def _openclip(weights: Tensors) -> Tensors:
    ends = {
        "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post",
        "encoder.layers": "transformer.resblocks",
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm": "ln_",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    named: Tensors = {"visual.proj": weights["visual_projection.weight"].T}
    for name, tensor in weights.items():
        plain = name.removeprefix("vision_model.")
        for ours, theirs in ends.items():
            plain = plain.replace(ours, theirs)
        if ".self_attn.q_proj." in plain:
            fused = [weights[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            named[f"visual.{plain.replace('self_attn.q_proj.', 'attn.in_proj_')}"] = torch.cat(fused)
        elif ".self_attn." not in plain and not plain.startswith("visual_projection"):
            named[f"visual.{plain}"] = tensor
    return named
