"""Image encoders in single files: their configuration from the shapes, transformers' names of their weights.

They are published as transformers name them (``vision_model.…``, ``visual_projection.weight``) and as
OpenAI's CLIP and OpenCLIP do (``visual.…``; mlfoundations/open_clip `transformer.py`), with the attention's
three matrices in one and the projection transposed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import Shapes, Source

INNER = "vision_model."
_PATCHES = f"{INNER}embeddings.patch_embedding.weight"
_POSITIONS = f"{INNER}embeddings.position_embedding.weight"
_PROJECTION = "visual_projection.weight"
_HEADS = {1024: 16, 1280: 16, 1664: 16}
"""By width: ViT-L, ViT-H and ViT-bigG. All others have one per 64 features."""
_OPENAI = (1024, 768)
"""Width and projection of OpenAI's ViT-L, the one whose activation is the quick GELU."""
_ENDS = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def keep_vision(name: str) -> str | None:
    """The `Rename` of transformers' folders: a whole CLIP's text half and the positions' numbers are left."""
    seen = name.startswith((INNER, _PROJECTION)) and not name.endswith("position_ids")
    return name if seen else None


def vision_sources(shapes: Shapes) -> dict[str, Source]:
    """Where each weight of transformers' encoder is in a file of these weights."""
    sources = {name: Source(name) for name in shapes if keep_vision(name)}
    for name, shape in shapes.items():
        if name.startswith("visual."):
            sources |= _openclip(name, shape)
    return sources


def vision_config(shapes: Shapes, sources: Mapping[str, Source]) -> dict[str, Any]:
    """transformers' configuration of the encoder. Raises `CheckpointError` where the shapes make none."""
    patches, positions, projection, inner = (
        _shape(shapes, sources, name)
        for name in (_PATCHES, _POSITIONS, _PROJECTION, f"{INNER}encoder.layers.0.mlp.fc1.weight")
    )
    transposed = sources[_PROJECTION].name != _PROJECTION
    width, projected = patches[0], projection[1 if transposed else 0]
    layers = (re.match(rf"{INNER}encoder\.layers\.(\d+)\.", name) for name in sources)
    return {
        "hidden_size": width,
        "intermediate_size": inner[0],
        "projection_dim": projected,
        "num_hidden_layers": 1 + max(int(found[1]) for found in layers if found),
        "num_attention_heads": _HEADS.get(width, max(width // 64, 1)),
        "image_size": isqrt(positions[0] - 1) * patches[-1],
        "patch_size": patches[-1],
        "hidden_act": "quick_gelu" if (width, projected) == _OPENAI else "gelu",
    }


def _shape(shapes: Shapes, sources: Mapping[str, Source], name: str) -> tuple[int, ...]:
    if name not in sources:
        raise CheckpointError(
            f"it has no {name}: expected an image encoder of CLIP, with weights vision_model.* and"
            " visual_projection.weight, or visual.*"
        )
    return shapes[sources[name].name]


def _openclip(name: str, shape: tuple[int, ...]) -> dict[str, Source]:
    plain = name.removeprefix("visual.")
    if plain == "proj":
        return {_PROJECTION: Source(name, torch.t)}
    if plain in _ENDS:
        return {INNER + _ENDS[plain]: Source(name)}
    found = re.match(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$", plain)
    if found is None:
        return {}
    place, inside, end = f"{INNER}encoder.layers.{found[1]}", found[2], found[3]
    if inside == "attn.in_proj":
        rows = shape[0] // 3
        return {
            f"{place}.self_attn.{letter}_proj.{end}": Source(name, _third(part, rows))
            for part, letter in enumerate("qkv")
        }
    return {f"{place}.{_INSIDE[inside]}.{end}": Source(name)} if inside in _INSIDE else {}


def _third(part: int, rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda fused: fused[part * rows : (part + 1) * rows]
