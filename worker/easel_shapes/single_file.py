"""The same weights as one LDM-format file, as Stable Diffusion 1.x was published and web UIs read it.

Names follow CompVis/stable-diffusion's `openaimodel.py`, `model.py` and `FrozenCLIPEmbedder`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.libraries import load_file, save_file
from easel_worker.diffusion.weights import read_config

_UNET_ENDS = {
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "conv_in.": "input_blocks.0.0.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
    "mid_block.resnets.0.": "middle_block.0.",
    "mid_block.attentions.0.": "middle_block.1.",
    "mid_block.resnets.1.": "middle_block.2.",
}
_RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
_VAE_ATTENTION = {
    "group_norm.": "norm.",
    "to_q.": "q.",
    "to_k.": "k.",
    "to_v.": "v.",
    "to_out.0.": "proj_out.",
}


def write_ldm_file(folder: Path, path: Path) -> None:
    """Convert the diffusers folder of a Stable Diffusion 1.x-shaped model to the file `path`.

    The tensors stay what they are, number format included. The header tells what their shapes do not: heads
    and groups under ``easel.config``, and under ModelSpec's name what the UNet predicts.
    """
    unet = read_config(folder / "unet" / "config.json")
    vae = read_config(folder / "vae" / "config.json")
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in _load(folder / "unet" / "diffusion_pytorch_model.safetensors").items():
        weights[f"model.diffusion_model.{unet_name(name, unet)}"] = tensor
    for name, tensor in _load(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        renamed = vae_name(name, len(vae["block_out_channels"]))
        # LDM's attention in the VAE is made of 1 x 1 convolutions.
        is_matrix = ".attn_1." in renamed and tensor.ndim == 2
        weights[f"first_stage_model.{renamed}"] = tensor[:, :, None, None] if is_matrix else tensor
    for name, tensor in _load(folder / "text_encoder" / "model.safetensors").items():
        plain = name.removeprefix("text_model.")
        weights[f"cond_stage_model.transformer.text_model.{plain}"] = tensor
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": "pt", **_header(folder, unet, vae)}
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, str(path), header)
    path.chmod(0o644)  # safetensors makes files that their owner alone can read


def _header(folder: Path, unet: dict[str, Any], vae: dict[str, Any]) -> dict[str, str]:
    text = read_config(folder / "text_encoder" / "config.json")
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json")
    told = {
        "unet": {key: unet[key] for key in ("attention_head_dim", "norm_num_groups")},
        "vae": {"norm_num_groups": vae["norm_num_groups"]},
        "text_encoder": {"num_attention_heads": text["num_attention_heads"]},
    }
    velocity = scheduler.get("prediction_type") == "v_prediction"
    return {
        "easel.config": json.dumps(told, sort_keys=True),
        "modelspec.prediction_type": "v" if velocity else "epsilon",
    }


def unet_name(name: str, config: dict[str, Any]) -> str:
    """LDM's name of a diffusers UNet weight; `config` is the UNet's config.json."""
    for ours, theirs in _UNET_ENDS.items():
        if name.startswith(ours):
            return _resnet(theirs + name[len(ours) :])
    kind, block, part, index, rest = name.split(".", 4)
    layers, number, step = int(config["layers_per_block"]), int(block), int(index)
    if kind == "down_blocks":
        first = (layers + 1) * number + 1
        if part == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        return _resnet(f"input_blocks.{first + step}.{int(part == 'attentions')}.{rest}")
    first = (layers + 1) * number
    if part == "upsamplers":
        # The upsampler comes after the attention where the block has one.
        place = 2 if "CrossAttn" in config["up_block_types"][number] else 1
        return f"output_blocks.{first + layers}.{place}.{rest}"
    return _resnet(f"output_blocks.{first + step}.{int(part == 'attentions')}.{rest}")


def vae_name(name: str, blocks: int) -> str:
    """LDM's name of a diffusers VAE weight; `blocks` is the number of resolutions."""
    if name.startswith(("quant_conv.", "post_quant_conv.")):
        return name
    side, rest = name.split(".", 1)
    rest = rest.replace("conv_norm_out.", "norm_out.").replace("conv_shortcut.", "nin_shortcut.")
    if rest.startswith("mid_block.resnets."):
        index, rest = rest.removeprefix("mid_block.resnets.").split(".", 1)
        return f"{side}.mid.block_{int(index) + 1}.{rest}"
    if rest.startswith("mid_block.attentions.0."):
        rest = rest.removeprefix("mid_block.attentions.0.")
        for ours, theirs in _VAE_ATTENTION.items():
            rest = theirs + rest.removeprefix(ours) if rest.startswith(ours) else rest
        return f"{side}.mid.attn_1.{rest}"
    if not rest.startswith(("down_blocks.", "up_blocks.")):
        return f"{side}.{rest}"
    kind, block, part, index, rest = rest.split(".", 4)
    # LDM counts the decoder's blocks from the highest resolution, diffusers in the order they run.
    at = f"down.{block}" if kind == "down_blocks" else f"up.{blocks - 1 - int(block)}"
    if part == "resnets":
        return f"{side}.{at}.block.{index}.{rest}"
    return f"{side}.{at}.{'downsample' if kind == 'down_blocks' else 'upsample'}.{rest}"


def _resnet(name: str) -> str:
    """`name` is in place already, its last parts are still diffusers' where it belongs to a resnet."""
    for ours, theirs in _RESNET.items():
        found = name.find(f".{ours}")
        if found >= 0 and "transformer_blocks" not in name:
            return f"{name[: found + 1]}{theirs}{name[found + 1 + len(ours) :]}"
    return name


def _load(path: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(str(path))
    return weights
