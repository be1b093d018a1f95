"""Small random checkpoints of every family, as a diffusers folder and as the LDM file of the same weights.

Their layouts are the published ones, their sizes are not: heads, groups and numbers of levels are what a
reader cannot see in a file and has to know.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from easel_shapes.single_file import unet_name, vae_name
from easel_worker.diffusion.random_model import SCHEDULER

WEIGHTS = "diffusion_pytorch_model.safetensors"
_CROSS, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"


@dataclass(frozen=True)
class Kind:
    """One family. encoders: (prefix in the file, width, layers, projection or 0, OpenCLIP's names)."""

    unet: dict[str, Any]
    encoders: tuple[tuple[str, int, int, int, bool], ...]
    scaling: float = 0.18215
    prediction: str = "epsilon"
    folders: tuple[str, ...] = ("text_encoder",)
    words: int = 49408
    scheduler: dict[str, Any] = field(default_factory=dict)


def _unet(
    context: int, depths: tuple[int, ...], heads: Any, *, middle: int = 0, **more: Any
) -> dict[str, Any]:
    down = [_CROSS if depth else _PLAIN for depth in depths]
    return {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [32, 64, 64, 128][: len(depths)],
        "down_block_types": down,
        "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
        "layers_per_block": 1,
        "cross_attention_dim": context,
        "attention_head_dim": heads,
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), middle or depths[-1] or 1],
        "norm_num_groups": 32,
    } | more


def _told(width: int) -> dict[str, Any]:
    """SDXL's further inputs: a pooled vector of 64 and numbers as 8 features each."""
    return {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": width,
        "use_linear_projection": True,
    }


_L = ("cond_stage_model.transformer.text_model.", 64, 2, 0, False)
KINDS: dict[str, Kind] = {
    "sd1": Kind(_unet(64, (1, 1, 1, 0), 8), (_L,)),
    "sd1-inpainting": Kind(_unet(64, (1, 1, 1, 0), 8, in_channels=9), (_L,)),
    "sd2": Kind(
        _unet(128, (1, 1, 1, 0), [1, 1, 1, 2], use_linear_projection=True),
        (("cond_stage_model.model.", 128, 2, 0, True),),
        prediction="v_prediction",
    ),
    "sdxl": Kind(
        _unet(64 + 128, (0, 1, 2), [1, 1, 1], **_told(64 + 6 * 8)),
        (
            ("conditioner.embedders.0.transformer.text_model.", 64, 3, 0, False),
            ("conditioner.embedders.1.model.", 128, 3, 64, True),
        ),
        scaling=0.13025,
        folders=("text_encoder", "text_encoder_2"),
    ),
    "sdxl-refiner": Kind(
        _unet(128, (0, 2, 2, 0), [1, 1, 1, 2], middle=2, **_told(64 + 5 * 8)),
        (("conditioner.embedders.0.model.", 128, 3, 64, True),),
        scaling=0.13025,
        folders=("text_encoder_2",),
    ),
}
KINDS["sdxl-inpainting"] = Kind(
    {**KINDS["sdxl"].unet, "in_channels": 9},
    KINDS["sdxl"].encoders,
    scaling=0.13025,
    folders=KINDS["sdxl"].folders,
)


def write_folder(kind: Kind, folder: Path, seed: int = 0) -> Path:
    """The model as a diffusers folder, without tokenizers: they are CLIP's."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel.from_config(kind.unet)
        vae = AutoencoderKL.from_config(
            {
                "block_out_channels": [32, 32, 64, 64],
                "down_block_types": ["DownEncoderBlock2D"] * 4,
                "up_block_types": ["UpDecoderBlock2D"] * 4,
                "layers_per_block": 1,
                "latent_channels": 4,
                "norm_num_groups": 32,
                "scaling_factor": kind.scaling,
            }
        )
        unet.save_pretrained(str(folder / "unet"))
        vae.save_pretrained(str(folder / "vae"))
        for name, (_, width, layers, projection, openclip) in zip(kind.folders, kind.encoders, strict=True):
            _encoder(kind.words, width, layers, projection, openclip).save_pretrained(str(folder / name))
    scheduler = {**SCHEDULER, "prediction_type": kind.prediction, **kind.scheduler}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text("{}")
    return folder


def write_file(kind: Kind, folder: Path, path: Path, header: dict[str, str] | None = None) -> Path:
    """The folder's weights as one file in LDM's format, as published: no header beyond torch's, OpenCLIP's
    encoder of SD 2.x with the layer that nobody uses."""
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in load_file(folder / "unet" / WEIGHTS).items():
        told = name.replace("add_embedding.linear_1.", "label_emb.0.0.")
        told = told.replace("add_embedding.linear_2.", "label_emb.0.2.")
        weights[f"model.diffusion_model.{told if told != name else unet_name(name, kind.unet)}"] = tensor
    for name, tensor in vae_weights(folder).items():
        weights[f"first_stage_model.{name}"] = tensor
    for place, (prefix, width, _, projection, openclip) in zip(kind.folders, kind.encoders, strict=True):
        stored = load_file(folder / place / "model.safetensors")
        plain = {name.removeprefix("text_model."): tensor for name, tensor in stored.items()}
        weights |= _openclip(prefix, plain, width, projection) if openclip else _clip(prefix, plain)
    # What published files hold besides.
    weights["betas"] = torch.linspace(0.0, 1.0, 1000)
    weights["model_ema.decay"] = torch.tensor(0.9999)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: t.clone().contiguous() for name, t in weights.items()}, path, header or {"format": "pt"})
    return path


def vae_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The folder's VAE by LDM's names, without prefix."""
    weights = {}
    for name, tensor in load_file(folder / "vae" / WEIGHTS).items():
        ldm = vae_name(name, 4)
        is_matrix = ".attn_1." in ldm and tensor.ndim == 2
        weights[ldm] = (tensor[:, :, None, None] if is_matrix else tensor).clone()
    return weights


def copy_with(path: Path, to: Path, *, without: str = "", **more: torch.Tensor) -> Path:
    """A file's copy without the weights whose names begin with `without`, and with others."""
    kept = {n: t for n, t in load_file(path).items() if not without or not n.startswith(without)}
    save_file({**kept, **more}, to, {"format": "pt"})
    return to


def as_pickle(path: Path, to: Path, *, archive: bool = True) -> Path:
    """A file's weights as torch saved them once, and before 1.6 without an archive around them."""
    torch.save({"state_dict": load_file(path), "global_step": 7}, to, _use_new_zipfile_serialization=archive)
    return to


def beside(path: Path, suffix: str, source: Path) -> Path:
    """Put a copy of `source` beside a checkpoint, as ``<name><suffix>``."""
    return Path(shutil.copyfile(source, path.with_name(path.stem + suffix)))


def _encoder(words: int, width: int, layers: int, projection: int, openclip: bool) -> Any:
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=77,
        hidden_act="gelu" if openclip else "quick_gelu",
        projection_dim=projection or width,
        bos_token_id=min(49406, words - 2),
        eos_token_id=min(49407, words - 1),
        pad_token_id=0 if openclip else min(49407, words - 1),
    )
    module = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "embedding" in name:  # the libraries' start is too small to tell words apart
                weight.mul_(50)
    return module


def _clip(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ids = {f"{prefix}embeddings.position_ids": torch.arange(77)[None]}  # as older files have them
    return ids | {prefix + name: tensor for name, tensor in weights.items()}


def _openclip(
    prefix: str, weights: dict[str, torch.Tensor], width: int, projection: int
) -> dict[str, torch.Tensor]:
    named = {
        "token_embedding.weight": weights["embeddings.token_embedding.weight"],
        "positional_embedding": weights["embeddings.position_embedding.weight"],
        "ln_final.weight": weights["final_layer_norm.weight"],
        "ln_final.bias": weights["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
        "text_projection": weights["text_projection.weight"].T if projection else torch.eye(width),
    }
    layers = 0
    while f"encoder.layers.{layers}.mlp.fc1.weight" in weights:
        layers += 1
    for layer in range(layers):
        named |= _block(weights, layer, layer)
    if not projection:
        named |= _block(weights, 0, layers)
    return {prefix + name: tensor for name, tensor in named.items()}


def _block(weights: dict[str, torch.Tensor], layer: int, number: int) -> dict[str, torch.Tensor]:
    def of(name: str) -> torch.Tensor:
        return weights[f"encoder.layers.{layer}.{name}"]

    to = f"transformer.resblocks.{number}."
    named = {}
    for end in ("weight", "bias"):
        fused = [of(f"self_attn.{letter}_proj.{end}") for letter in "qkv"]
        named[f"{to}attn.in_proj_{end}"] = torch.cat(fused)
        for theirs, ours in (
            ("attn.out_proj", "self_attn.out_proj"),
            ("ln_1", "layer_norm1"),
            ("ln_2", "layer_norm2"),
            ("mlp.c_fc", "mlp.fc1"),
            ("mlp.c_proj", "mlp.fc2"),
        ):
            named[f"{to}{theirs}.{end}"] = of(f"{ours}.{end}")
    return named
