"""LDM's UNet: its configuration from the shapes, and diffusers' names of its weights.

LDM (CompVis/latent-diffusion `openaimodel.py`) numbers all blocks of one side in a row: with L residual
blocks per level, level b has input blocks (L + 1) b + 1 to (L + 1) b + L and then a downsampling one, and
output blocks (L + 1) b to (L + 1) b + L, counted from the lowest resolution.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.families import Family
from easel_worker.diffusion.single_file.stored import Shapes, Source

_ENDS = {
    "time_embed.0.": "time_embedding.linear_1.",
    "time_embed.2.": "time_embedding.linear_2.",
    "label_emb.0.0.": "add_embedding.linear_1.",
    "label_emb.0.2.": "add_embedding.linear_2.",
    "input_blocks.0.0.": "conv_in.",
    "out.0.": "conv_norm_out.",
    "out.2.": "conv_out.",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_RESNET = {
    "in_layers.0.": "norm1.",
    "in_layers.2.": "conv1.",
    "emb_layers.1.": "time_emb_proj.",
    "out_layers.0.": "norm2.",
    "out_layers.3.": "conv2.",
    "skip_connection.": "conv_shortcut.",
}
_HEADS = 8
_GROUPS = 32


def unet_config(shapes: Shapes, family: Family, pooled: int, told: Mapping[str, int]) -> dict[str, Any]:
    """diffusers' configuration of the UNet.

    Args:
        shapes: By name, without "model.diffusion_model.".
        pooled: Width of the pooled text that the family's UNet is told; 0 for none.
        told: What the file itself says about heads and groups.

    Raises:
        CheckpointError: the blocks are not laid out as in Stable Diffusion.
    """
    layers = residual_blocks(shapes)
    channels: list[int] = []
    depths: list[int] = []
    while f"input_blocks.{(layers + 1) * len(channels) + 1}.0.out_layers.3.weight" in shapes:
        first = (layers + 1) * len(channels) + 1
        channels.append(_shape(shapes, f"input_blocks.{first}.0.out_layers.3.weight")[0])
        depths.append(_depth(shapes, f"input_blocks.{first}.1."))
    contexts = {s[1] for name, s in shapes.items() if name.endswith(".attn2.to_k.weight")}
    if not channels or len(contexts) != 1:
        raise CheckpointError("its UNet has no blocks that attend to a text, so it is no Stable Diffusion")
    heads = [max(width // family.head_size, 1) for width in channels] if family.head_size else _HEADS
    linear = any(name.endswith(".proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths]
    config: dict[str, Any] = {
        "in_channels": _shape(shapes, "input_blocks.0.0.weight")[1],
        "out_channels": _shape(shapes, "out.2.weight")[0],
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        "cross_attention_dim": contexts.pop(),
        "attention_head_dim": heads,
        "use_linear_projection": linear,
        # Where the last level has no attention, the middle takes its entry.
        "transformer_layers_per_block": [
            *(d or 1 for d in depths[:-1]),
            _depth(shapes, "middle_block.1.") or 1,
        ],
        "norm_num_groups": _GROUPS,
    }
    if family.sizes:
        told_width = _shape(shapes, "label_emb.0.0.weight")[1]
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (told_width - pooled) // family.sizes,
            "projection_class_embeddings_input_dim": told_width,
        }
    return config | dict(told)


def unet_sources(shapes: Shapes) -> dict[str, Source]:
    """Where each weight of diffusers' UNet is; names as in `unet_config`."""
    layers = residual_blocks(shapes)
    renamed = ((name, unet_name(name, layers)) for name in shapes)
    return {ours: Source(name) for name, ours in renamed if ours is not None}


def unet_name(name: str, layers: int) -> str | None:
    """diffusers' name of an LDM UNet weight; None for what is none. layers: residual blocks per level."""
    for theirs, ours in _ENDS.items():
        if name.startswith(theirs):
            return ours + name[len(theirs) :]
    if found := re.match(r"middle_block\.([012])\.(.+)", name):
        place = _MIDDLE[found[1]]
        return f"mid_block.{place}.{_inside(found[2], place)}"
    found = re.match(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", name)
    if found is None:
        return None
    side, number, step, rest = found[1], int(found[2]), int(found[3]), found[4]
    block, index = divmod(number - (side == "input"), layers + 1)
    level = f"{'down' if side == 'input' else 'up'}_blocks.{block}"
    if side == "input" and index == layers:
        return f"{level}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if step and rest.startswith("conv."):
        return f"{level}.upsamplers.0.{rest}"
    place = f"{'attentions' if step else 'resnets'}.{index}"
    return f"{level}.{place}.{_inside(rest, place)}"


def _inside(rest: str, place: str) -> str:
    if place.startswith("resnets"):
        for theirs, ours in _RESNET.items():
            if rest.startswith(theirs):
                return ours + rest[len(theirs) :]
    return rest


def residual_blocks(shapes: Iterable[str]) -> int:
    """Residual blocks per level: those before the first downsampling. Of names as in `unet_config`."""
    found = (re.match(r"input_blocks\.(\d+)\.0\.op\.", name) for name in shapes)
    downs = [int(match[1]) for match in found if match]
    if not downs or min(downs) < 2:
        raise CheckpointError("its UNet has no downsampling blocks (input_blocks.*.0.op.* are missing)")
    return min(downs) - 1


def _depth(shapes: Shapes, prefix: str) -> int:
    """Transformer blocks of the attention at `prefix`."""
    places = (re.match(rf"{re.escape(prefix)}transformer_blocks\.(\d+)\.", name) for name in shapes)
    return max((int(found[1]) + 1 for found in places if found), default=0)


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if len(shape) < 2:
        raise CheckpointError(f"its UNet lacks {name}")
    return shape
