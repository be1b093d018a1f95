"""LDM's autoencoder: its configuration from the shapes, and diffusers' names of its weights.

LDM (`model.py` of CompVis/latent-diffusion) counts the decoder's levels from the highest resolution,
diffusers in the order in which they run; its attention is made of 1 x 1 convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.parts import build_vae
from easel_worker.diffusion.single_file.families import VAE
from easel_worker.diffusion.single_file.fill import Target, below, fill
from easel_worker.diffusion.single_file.stored import Shapes, Source, StoredWeights

_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_GROUPS = 32


def vae_prefix(stored: StoredWeights) -> str:
    """What the names of a VAE's weights begin with in its own file: published ones come with and without."""
    return VAE if any(name.startswith(VAE) for name in stored.shapes) else ""


def ldm_vae(
    stored: StoredWeights, prefix: str, scaling_factor: float, told: Mapping[str, int], target: Target
) -> Any:
    """diffusers' autoencoder from weights with LDM's names. Arguments as of `vae_config`."""
    shapes = below(stored.shapes, prefix)
    vae = build_vae(vae_config(shapes, scaling_factor, told), "its VAE")
    fill(vae, vae_sources(shapes), prefix, stored, target)
    return vae


def vae_config(shapes: Shapes, scaling_factor: float, told: Mapping[str, int]) -> dict[str, Any]:
    """diffusers' configuration of the autoencoder whose weights have these shapes (names without
    "first_stage_model."). Raises `CheckpointError` where they do not make one."""
    config = autoencoder_config(
        shapes, "encoder.down.{level}.block.{layer}.conv1.weight", ("post_quant_conv.weight", 0)
    )
    if config is None:
        raise CheckpointError("it has no VAE (first_stage_model.*) that can be read")
    return config | {"scaling_factor": scaling_factor} | dict(told)


def autoencoder_config(shapes: Shapes, convolutions: str, latents: tuple[str, int]) -> dict[str, Any] | None:
    """diffusers' configuration of an autoencoder, as far as shapes tell it; None where they make none.

    convolutions: the name of the first convolution of the encoder's blocks, by ``level`` and ``layer``.
    latents: a convolution, and which of its sides has a channel for each of the latents.
    """
    channels: list[int] = []
    while (first := convolutions.format(level=len(channels), layer=0)) in shapes:
        channels.append(shapes[first][0])
    layers = 0
    while convolutions.format(level=0, layer=layers) in shapes:
        layers += 1
    name, side = latents
    shape = shapes.get(name, ())
    if not channels or len(shape) != 4:
        return None
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "layers_per_block": layers,
        "latent_channels": shape[side],
        "in_channels": 3,
        "out_channels": 3,
        "norm_num_groups": _GROUPS,
    }


def vae_sources(shapes: Shapes) -> dict[str, Source]:
    """Where each weight of diffusers' autoencoder is."""
    levels = len({name.split(".")[2] for name in shapes if name.startswith("decoder.up.")})
    sources = {}
    for name, shape in shapes.items():
        ours = vae_name(name, levels)
        if ours is not None:
            is_convolution = ".attentions." in ours and len(shape) == 4
            sources[ours] = Source(name, _matrix) if is_convolution else Source(name)
    return sources


def vae_name(name: str, levels: int) -> str | None:
    """diffusers' name of an LDM autoencoder's weight; None for what is none (losses, averages)."""
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    side, _, rest = name.partition(".")
    if side not in ("encoder", "decoder"):
        return None
    rest = rest.replace("norm_out.", "conv_norm_out.").replace("nin_shortcut.", "conv_shortcut.")
    if found := re.match(r"mid\.block_([12])\.(.+)", rest):
        return f"{side}.mid_block.resnets.{int(found[1]) - 1}.{found[2]}"
    if found := re.match(r"mid\.attn_1\.(norm|q|k|v|proj_out)\.(.+)", rest):
        return f"{side}.mid_block.attentions.0.{_ATTENTION[found[1]]}.{found[2]}"
    if found := re.match(r"down\.(\d+)\.(?:block\.(\d+)|downsample)\.(.+)", rest):
        place = "downsamplers.0" if found[2] is None else f"resnets.{found[2]}"
        return f"{side}.down_blocks.{found[1]}.{place}.{found[3]}"
    if found := re.match(r"up\.(\d+)\.(?:block\.(\d+)|upsample)\.(.+)", rest):
        place = "upsamplers.0" if found[2] is None else f"resnets.{found[2]}"
        return f"{side}.up_blocks.{levels - 1 - int(found[1])}.{place}.{found[3]}"
    return f"{side}.{rest}" if rest.startswith(("conv_in.", "conv_out.", "conv_norm_out.")) else None


def _matrix(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:, :, 0, 0]
