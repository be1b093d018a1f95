"""Text encoders in single files: their configurations from the shapes, transformers' names of their weights.

SD 1.x and SDXL's first encoder are stored as transformers names them; the others as OpenCLIP does
(mlfoundations/open_clip `transformer.py`), with the attention's three matrices in one and the projection
transposed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.families import EncoderPlace
from easel_worker.diffusion.single_file.stored import Shapes, Source
from easel_worker.diffusion.weights import rename_clip

_HEAD_SIZE = 64
_BOS, _EOS = 49406, 49407
_WITH_PROJECTION = "CLIPTextModelWithProjection"
_ENDS = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def text_sources(shapes: Shapes, place: EncoderPlace) -> dict[str, Source]:
    """Where each weight of transformers' encoder is; `shapes` without the place's prefix."""
    if not place.openclip:
        renamed = ((name, rename_clip(name)) for name in shapes)
        return {ours: Source(name) for name, ours in renamed if ours is not None}
    layers = _layers(shapes, r"transformer\.resblocks") - (not place.whole)
    sources = {}
    for name, shape in shapes.items():
        for ours, source in _openclip(name, shape[0] if shape else 0, layers):
            sources[f"text_model.{ours}" if place.projected else ours] = source
    if place.projected:
        sources["text_projection.weight"] = Source("text_projection", torch.t)
    return {ours: source for ours, source in sources.items() if source.name in shapes}


def text_config(shapes: Shapes, place: EncoderPlace, told: Mapping[str, int]) -> dict[str, Any]:
    """transformers' configuration of the encoder; arguments as in `text_sources`. Raises `CheckpointError`
    where the shapes do not make one."""
    if place.openclip:
        names = "token_embedding.weight", "positional_embedding", "transformer.resblocks.0.mlp.c_fc.weight"
        layers = _layers(shapes, r"transformer\.resblocks") - (not place.whole)
    else:
        shapes = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
        names = (
            "embeddings.token_embedding.weight",
            "embeddings.position_embedding.weight",
            "encoder.layers.0.mlp.fc1.weight",
        )
        layers = _layers(shapes, r"encoder\.layers")
    missing = [name for name in names if len(shapes.get(name, ())) != 2]
    if missing:
        raise CheckpointError(f"its text encoder lacks {place.prefix}{missing[0]}")
    (words, width), (positions, _), (inner, _) = (shapes[name] for name in names)
    projection = shapes.get("text_projection", (width, width))
    if len(projection) != 2:
        raise CheckpointError(f"{place.prefix}text_projection is no matrix")
    return {
        "architectures": [_WITH_PROJECTION if place.projected else "CLIPTextModel"],
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": max(width // _HEAD_SIZE, 1),
        "max_position_embeddings": positions,
        "hidden_act": "gelu" if place.openclip else "quick_gelu",
        "projection_dim": projection[1],
        # The pooled vector is read at the first EOS.
        "bos_token_id": _BOS,
        "eos_token_id": _EOS,
        "pad_token_id": 0 if place.openclip else _EOS,
    } | dict(told)


def _openclip(name: str, rows: int, layers: int) -> list[tuple[str, Source]]:
    if name in _ENDS:
        return [(_ENDS[name], Source(name))]
    found = re.match(r"transformer\.resblocks\.(\d+)\.(.+?)[._](weight|bias)$", name)
    if found is None or int(found[1]) >= layers:
        return []
    place, inside, end = f"encoder.layers.{found[1]}", found[2], found[3]
    if inside == "attn.in_proj":
        return [
            (f"{place}.self_attn.{letter}_proj.{end}", Source(name, _third(part, rows // 3)))
            for part, letter in enumerate("qkv")
        ]
    return [(f"{place}.{_INSIDE[inside]}.{end}", Source(name))] if inside in _INSIDE else []


def _third(part: int, rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda fused: fused[part * rows : (part + 1) * rows]


def _layers(shapes: Shapes, stem: str) -> int:
    places = (re.match(rf"{stem}\.(\d+)\.", name) for name in shapes)
    return max((int(found[1]) + 1 for found in places if found), default=0)
