"""A tiny Stable Diffusion 1.x with random weights, as a diffusers folder, for tests and benchmarks.

It draws nothing meaningful, yet it behaves like a model: seed, prompt, size and step count all change the
picture, the sampler's trajectory is smooth, and the real CLIP vocabulary is in place. 3.4 million parameters,
13 MB, fp32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from easel_worker.diffusion.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    UNet2DConditionModel,
    save_file,
)
from easel_worker.diffusion.tokenizer import MAX_LENGTH, write_tokenizer

_WIDTH = 32  # of the text encoder, and so of the UNet's cross-attention

_UNET: dict[str, Any] = {
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    # No attention at full latent resolution: it is what makes SD 1.5 slow on a CPU.
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "block_out_channels": [32, 32, 64, 64],
    "layers_per_block": 1,
    "cross_attention_dim": _WIDTH,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
_VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [8, 16, 16, 32],
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
_TEXT: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": _WIDTH,
    "intermediate_size": 2 * _WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": MAX_LENGTH,
    "hidden_act": "quick_gelu",
    "projection_dim": _WIDTH,
    "bos_token_id": 49406,
    "eos_token_id": 49407,
    "pad_token_id": 49407,
}
# Stable Diffusion 1.x's noise levels, and DDIM's habits as its folder has them.
SCHEDULER: dict[str, Any] = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
# How strongly a layer answers, times 1/sqrt(fan in). Found by looking at pictures: below, prompts hardly
# matter; above, the picture is noise.
_GAINS = {
    "attn2.to_out": 3.0,
    "attn2.to_q": 2.0,
    "attn2.to_k": 2.0,
    "time_emb_proj": 0.7,
    "decoder.conv_out": 0.55,
    "encoder.conv_out": 1.5,
}
_SMALL_RESIDUAL = 0.15


def build_random_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write the model into `folder` (made if missing, files replaced) and return `folder`.

    The same seed writes the same bytes on every machine: the weights are numpy's PCG64 stream times
    constants. Prediction type is epsilon, latents have 4 channels at 1/8 of the picture's sides.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(_UNET)
        vae = AutoencoderKL.from_config(_VAE)
        text_encoder = CLIPTextModel(CLIPTextConfig(**_TEXT))
    unet_weights = _draw(unet, rng)
    _let_noise_through(unet_weights)
    text_weights = {f"text_model.{name}": tensor for name, tensor in _draw(text_encoder, rng).items()}

    unet_config = {"_class_name": "UNet2DConditionModel", **_UNET}
    _write_model(folder / "unet", unet_config, "diffusion_pytorch_model.safetensors", unet_weights)
    vae_config = {"_class_name": "AutoencoderKL", **_VAE}
    _write_model(folder / "vae", vae_config, "diffusion_pytorch_model.safetensors", _draw(vae, rng))
    text_config = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **_TEXT}
    _write_model(folder / "text_encoder", text_config, "model.safetensors", text_weights)
    write_tokenizer(folder / "tokenizer")
    _write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    _write_json(folder / "model_index.json", MODEL_INDEX)
    return folder


def _draw(model: Any, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for name, like in sorted(model.state_dict().items()):
        shape = tuple(like.shape)
        if name.endswith("bias"):
            values = np.zeros(shape, dtype=np.float32)
        elif len(shape) == 1:  # the scale of a normalisation
            values = np.ones(shape, dtype=np.float32)
        else:
            spread = 1.0 if "token_embedding" in name else 0.1 if "position_embedding" in name else 0.0
            if not spread:
                gain = next((g for part, g in _GAINS.items() if part in name), 1.0)
                spread = gain / float(np.sqrt(np.prod(shape[1:])))
            values = rng.standard_normal(shape, dtype=np.float32) * np.float32(spread)
        weights[name] = torch.from_numpy(values)
    return weights


def _let_noise_through(weights: dict[str, torch.Tensor]) -> None:
    """Wire the UNet so that it predicts the direction of its own input, plus the random network's opinion.

    A network of random weights alone never removes noise, and every picture would be static. Here the input
    latent travels as pairs (x, -x) from conv_in over the outermost skip connection to conv_out: the last
    group norm scales it to unit variance, silu(x) - silu(-x) = x, so the prediction is noise-like wherever
    the input is mostly noise.
    """
    conv_in, conv_out = weights["conv_in.weight"], weights["conv_out.weight"]
    shortcut = weights["up_blocks.3.resnets.1.conv_shortcut.weight"]
    residual = weights["up_blocks.3.resnets.1.conv2.weight"]
    latents = conv_out.shape[0]
    skip_from = shortcut.shape[1] - conv_in.shape[0]
    conv_out *= _SMALL_RESIDUAL * 4
    for channel in range(2 * latents):
        latent, sign = channel // 2, 1.0 if channel % 2 == 0 else -1.0
        conv_in[channel] = 0
        conv_in[channel, latent, 1, 1] = sign
        shortcut[channel] = 0
        shortcut[channel, skip_from + channel] = 1
        residual[channel] *= _SMALL_RESIDUAL
        conv_out[:, channel] = 0
        conv_out[latent, channel, 1, 1] = sign


def _write_model(
    folder: Path, config: dict[str, Any], file_name: str, weights: dict[str, torch.Tensor]
) -> None:
    _write_json(folder / "config.json", config)
    # The metadata is what diffusers and transformers look for to know that torch wrote the file.
    save_file(weights, str(folder / file_name), metadata={"format": "pt"})
    # safetensors makes files that their owner alone can read; a model is no secret.
    (folder / file_name).chmod(0o644)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
