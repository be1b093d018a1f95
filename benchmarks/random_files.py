"""Single files of random weights with the published layouts of Stable Diffusion, of any size.

Written tensor by tensor, so that a file of seven gigabytes takes no memory; numbers repeat after 16 MB, which
no reader can tell from others. Beside a file its diffusers configuration can be written, which diffusers'
`from_single_file` wants where there is no hub.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from easel_shapes.single_file import unet_name, vae_name
from easel_worker.diffusion.random_model import MODEL_INDEX, SCHEDULER
from easel_worker.diffusion.tokenizer import write_tokenizer

Shape = tuple[int, ...]
_CROSS, _PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
_POOL = 8 * 1024 * 1024
"""Random numbers that are drawn, and used again and again."""


@dataclass(frozen=True)
class Encoder:
    """A text encoder. openclip: stored in OpenCLIP's names, with a projection."""

    prefix: str
    width: int
    layers: int
    openclip: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {
            "vocab_size": 49408,
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.width // 64,
            "max_position_embeddings": 77,
            "hidden_act": "gelu" if self.openclip else "quick_gelu",
            "projection_dim": self.width,
            "bos_token_id": 49406,
            "eos_token_id": 49407,
            "pad_token_id": 49407,
        }


@dataclass(frozen=True)
class Layout:
    """A model's configuration in diffusers' words."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    encoders: tuple[Encoder, ...]


def sd15(*, width: int = 320, context: int = 768, layers: int = 12, vae_width: int = 128) -> Layout:
    """SD 1.5, or with smaller widths a model of its architecture."""
    kinds = [_CROSS, _CROSS, _CROSS, _PLAIN]
    unet = {
        "in_channels": 4,
        "out_channels": 4,
        "sample_size": 64,
        "block_out_channels": [width, 2 * width, 4 * width, 4 * width],
        "layers_per_block": 2,
        "attention_head_dim": 8,
        "cross_attention_dim": context,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
    }
    encoder = Encoder("cond_stage_model.transformer.text_model.", context, layers)
    return Layout(unet, _vae(vae_width, 0.18215), (encoder,))


def sdxl() -> Layout:
    """SDXL's base model."""
    kinds = [_PLAIN, _CROSS, _CROSS]
    unet = {
        "in_channels": 4,
        "out_channels": 4,
        "sample_size": 128,
        "block_out_channels": [320, 640, 1280],
        "layers_per_block": 2,
        "attention_head_dim": [5, 10, 20],
        "cross_attention_dim": 2048,
        "transformer_layers_per_block": [1, 2, 10],
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
    }
    encoders = (
        Encoder("conditioner.embedders.0.transformer.text_model.", 768, 12),
        Encoder("conditioner.embedders.1.model.", 1280, 32, openclip=True),
    )
    return Layout(unet, _vae(128, 0.13025), encoders)


def _vae(width: int, scaling: float) -> dict[str, Any]:
    return {
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": [width, 2 * width, 4 * width, 4 * width],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2,
        "latent_channels": 4,
        "norm_num_groups": 32,
        "sample_size": 512,
        "scaling_factor": scaling,
    }


def write_ldm(layout: Layout, path: Path, *, seed: int = 0, dtype: str = "F16") -> Path:
    """The model as one file in LDM's format, `dtype` "F16" or "F32"."""
    shapes = dict(_ldm_shapes(layout))
    size = {"F16": 2, "F32": 4}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        end = at + math.prod(shape) * size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    numbers = np.random.Generator(np.random.PCG64(seed)).standard_normal(_POOL, dtype=np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            for piece in _values(name, shape, numbers):
                file.write(piece.astype(np.float16 if dtype == "F16" else np.float32).tobytes())
    return path


def write_lora(layout: Layout, path: Path, *, rank: int = 16, seed: int = 0) -> Path:
    """A LoRA in kohya's names for every attention and feed-forward matrix of the UNet, fp16."""
    rng = np.random.Generator(np.random.PCG64(seed))
    weights: dict[str, torch.Tensor] = {}

    def drawn(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * 0.02).half()

    for name, shape in _shapes(lambda: UNet2DConditionModel.from_config(layout.unet)):
        if "transformer_blocks." not in name or not name.endswith(".weight") or len(shape) != 2:
            continue
        stem = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        weights[f"{stem}.lora_down.weight"] = drawn(rank, shape[1])
        weights[f"{stem}.lora_up.weight"] = drawn(shape[0], rank)
        weights[f"{stem}.alpha"] = torch.tensor(float(rank)).half()
    save_file(weights, path)
    return path


def write_control(layout: Layout, folder: Path, *, seed: int = 0) -> Path:
    """A ControlNet for the UNet as a diffusers folder, fp16."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = ControlNetModel.from_unet(
            UNet2DConditionModel.from_config(layout.unet), load_weights_from_unet=False
        )
    net.half().save_pretrained(str(folder))
    return folder


def write_config(layout: Layout, folder: Path) -> Path:
    """The model's folder without weights, for SD 1.5's layout: what `from_single_file(config=…)` wants."""
    parts = {
        "unet": {"_class_name": "UNet2DConditionModel", **layout.unet},
        "vae": {"_class_name": "AutoencoderKL", **layout.vae},
        "text_encoder": {
            "architectures": ["CLIPTextModel"],
            "model_type": "clip_text_model",
            **layout.encoders[0].config,
        },
    }
    for part, config in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps(config))
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    write_tokenizer(folder / "tokenizer")
    (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX))
    return folder


def _values(name: str, shape: Shape, numbers: np.ndarray) -> Iterator[np.ndarray]:
    """A tensor's values piece by piece: normalisations do nothing, the rest keeps its input's size."""
    count = math.prod(shape)
    if len(shape) < 2 and not name.endswith("in_proj_bias"):
        yield np.full(count, 0.0 if name.endswith("bias") else 1.0, dtype=np.float32)
        return
    spread = 1.0 / math.sqrt(max(math.prod(shape[1:]), 1))
    while count > 0:
        piece = numbers[: min(count, _POOL)]
        yield piece * np.float32(spread)
        count -= len(piece)


def _ldm_shapes(layout: Layout) -> Iterator[tuple[str, Shape]]:
    for name, shape in _shapes(lambda: UNet2DConditionModel.from_config(layout.unet)):
        told = name.replace("add_embedding.linear_1.", "label_emb.0.0.")
        told = told.replace("add_embedding.linear_2.", "label_emb.0.2.")
        yield f"model.diffusion_model.{told if told != name else unet_name(name, layout.unet)}", shape
    levels = len(layout.vae["block_out_channels"])
    for name, shape in _shapes(lambda: AutoencoderKL.from_config(layout.vae)):
        ldm = vae_name(name, levels)
        is_matrix = ".attn_1." in ldm and len(shape) == 2
        yield f"first_stage_model.{ldm}", (*shape, 1, 1) if is_matrix else shape
    for encoder in layout.encoders:
        names = _openclip_shapes(encoder) if encoder.openclip else _clip_shapes(encoder)
        for name, shape in names:
            yield encoder.prefix + name, shape


def _clip_shapes(encoder: Encoder) -> Iterator[tuple[str, Shape]]:
    yield from _shapes(lambda: CLIPTextModel(CLIPTextConfig(**encoder.config)))


def _openclip_shapes(encoder: Encoder) -> Iterator[tuple[str, Shape]]:
    width = encoder.width
    yield "token_embedding.weight", (49408, width)
    yield "positional_embedding", (77, width)
    yield "text_projection", (width, width)
    for end in ("weight", "bias"):
        yield f"ln_final.{end}", (width,)
    for layer in range(encoder.layers):
        block = f"transformer.resblocks.{layer}."
        yield f"{block}attn.in_proj_weight", (3 * width, width)
        yield f"{block}attn.in_proj_bias", (3 * width,)
        for name, rows, columns in (
            ("attn.out_proj", width, width),
            ("mlp.c_fc", 4 * width, width),
            ("mlp.c_proj", width, 4 * width),
        ):
            yield f"{block}{name}.weight", (rows, columns)
            yield f"{block}{name}.bias", (rows,)
        for name in ("ln_1", "ln_2"):
            yield f"{block}{name}.weight", (width,)
            yield f"{block}{name}.bias", (width,)


def _shapes(build: Callable[[], Any]) -> list[tuple[str, Shape]]:
    with torch.device("meta"):
        module = build()
    return [
        (name.removeprefix("text_model."), tuple(tensor.shape))
        for name, tensor in module.state_dict().items()
        if not name.endswith("position_ids")
    ]
