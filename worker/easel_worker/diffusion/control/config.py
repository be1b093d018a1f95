"""diffusers' configurations of control networks, from the shapes of their weights.

What shapes do not tell (heads, groups of a normalisation, widths of sinusoids) is the checkpoint's that the
network is attached to: it was copied from one of that kind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.single_file.stored import Shapes

FROM_CHECKPOINT = (
    "act_fn",
    "addition_time_embed_dim",
    "attention_head_dim",
    "downsample_padding",
    "flip_sin_to_cos",
    "freq_shift",
    "mid_block_scale_factor",
    "norm_eps",
    "norm_num_groups",
    "num_attention_heads",
    "resnet_time_scale_shift",
    "upcast_attention",
)
"""Fields of a UNet's configuration that a ControlNet shares and no shape tells."""

_FULL_SCALE, _XL_SCALE = 8, 16


def control_config(shapes: Shapes, *, union: bool) -> dict[str, Any]:
    """The configuration of a ControlNet, but for `FROM_CHECKPOINT`.

    Args:
        shapes: By diffusers' names.
        union: It is a union model.

    Raises:
        CheckpointError: the blocks are not laid out as in Stable Diffusion.
    """
    widths: list[int] = []
    depths: list[int] = []
    while (name := f"down_blocks.{len(widths)}.resnets.0.conv1.weight") in shapes:
        depths.append(_depth(shapes, f"down_blocks.{len(widths)}.attentions.0."))
        widths.append(shapes[name][0])
    if not widths:
        raise CheckpointError("it has no down blocks (down_blocks.0.resnets.0.conv1.weight is missing)")
    contexts = {s[1] for name, s in shapes.items() if name.endswith(".attn2.to_k.weight") and len(s) == 2}
    linear = any(name.endswith(".proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    middle = _depth(shapes, "mid_block.attentions.0.")
    hint = [_of(shapes, "controlnet_cond_embedding.conv_in.weight")[0]]
    while (name := f"controlnet_cond_embedding.blocks.{2 * len(hint) - 1}.weight") in shapes:
        hint.append(shapes[name][0])
    config: dict[str, Any] = {
        "in_channels": _of(shapes, "conv_in.weight")[1],
        "conditioning_channels": _of(shapes, "controlnet_cond_embedding.conv_in.weight")[1],
        "conditioning_embedding_out_channels": hint,
        "block_out_channels": widths,
        "layers_per_block": _count(shapes, r"down_blocks\.0\.resnets"),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "transformer_layers_per_block": [*(d or 1 for d in depths[:-1]), middle or depths[-1] or 1],
        "use_linear_projection": linear,
    }
    if len(contexts) == 1:
        config["cross_attention_dim"] = contexts.pop()
    if not union:
        config["mid_block_type"] = "UNetMidBlock2DCrossAttn" if middle else "UNetMidBlock2D"
    if "add_embedding.linear_1.weight" in shapes:
        config |= {
            "addition_embed_type": "text_time",
            "projection_class_embeddings_input_dim": _of(shapes, "add_embedding.linear_1.weight")[1],
        }
    if union:
        types, channels = _of(shapes, "task_embedding")
        config |= {
            "num_control_type": types,
            "num_trans_channel": channels,
            "num_trans_layer": _count(shapes, "transformer_layes"),
            "num_proj_channel": _of(shapes, "spatial_ch_projs.weight")[0],
        }
    return config


def adapter_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of a T2I-adapter; shapes by diffusers' names.

    Which of the three kinds it is, the first convolution tells: pictures of 1 or 3 channels are folded by 8
    (Stable Diffusion 1.x) or 16 (SDXL).
    """
    full = "adapter.conv_in.weight" in shapes
    channels: list[int] = []
    while (name := _output(len(channels), full)) in shapes:
        channels.append(shapes[name][0])
    folded = _of(shapes, "adapter.conv_in.weight" if full else "adapter.body.0.in_conv.weight")[1]
    scale = next((s for s in (_FULL_SCALE, _XL_SCALE) if folded in (s * s, 3 * s * s)), None)
    if scale is None or not channels:
        raise CheckpointError(
            f"its first convolution takes {folded} channels; expected 64 or 192 (Stable Diffusion 1.x),"
            " 256 or 768 (SDXL)"
        )
    return {
        "in_channels": folded // scale**2,
        # The light kind repeats the last level by itself.
        "channels": channels if full else channels[:-1],
        "num_res_blocks": _count(shapes, r"adapter\.body\.0\.resnets"),
        "downscale_factor": scale,
        "adapter_type": ("full_adapter_xl" if scale == _XL_SCALE else "full_adapter")
        if full
        else "light_adapter",
    }


def from_checkpoint(config: Mapping[str, Any], unet: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with what it lacks of `FROM_CHECKPOINT`, from the configuration of a checkpoint's UNet."""
    shared = {key: unet[key] for key in FROM_CHECKPOINT if unet.get(key) is not None}
    return {**shared, **config}


def _output(level: int, full: bool) -> str:
    return f"adapter.body.{level}." + ("resnets.0.block1.weight" if full else "out_conv.weight")


def _count(shapes: Shapes, stem: str) -> int:
    places = (re.match(rf"{stem}\.(\d+)\.", name) for name in shapes)
    return max((int(found[1]) + 1 for found in places if found), default=0)


def _depth(shapes: Shapes, prefix: str) -> int:
    return _count(shapes, rf"{re.escape(prefix)}transformer_blocks")


def _of(shapes: Shapes, name: str) -> tuple[int, ...]:
    shape = shapes.get(name, ())
    if len(shape) < 2:
        raise CheckpointError(f"it lacks {name}")
    return shape
