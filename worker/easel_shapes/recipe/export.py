"""Writes the trained networks as the diffusers folder that ships: fp16 safetensors and configurations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from easel_shapes.recipe import sitting, train_vae
from easel_shapes.recipe.networks import CLIP_TOKENS, TEXT_CONFIG, UNET_CONFIG, VAE_CONFIG, Vocabulary
from easel_worker.diffusion.libraries import save_file
from easel_worker.diffusion.random_model import MODEL_INDEX, SCHEDULER

_TABLE = "embeddings.token_embedding.weight"


def export(work: Path, target: Path, pictures: NDArray[np.uint8], device: torch.device) -> None:
    """Write the model trained in `work` to the folder `target`.

    `pictures` are those that the latents were whitened over. The denoiser's weights are the running means.
    Raises `FileNotFoundError` where a stage was not trained.
    """
    vae = train_vae.load_vae(work, device)
    train_vae.whiten(vae, pictures, device)
    state = sitting.load(work / "denoiser.pt", device)
    if state is None:
        raise FileNotFoundError(f"{work / 'denoiser.pt'} is missing: train the denoiser first")
    unet, text = split_networks(state["mean"])
    text[_TABLE] = full_table(text[_TABLE], Vocabulary(tuple(state["tokens"])))
    write_model(target, unet=unet, vae=vae.state_dict(), text_encoder=text)


def split_networks(
    weights: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The training's one dictionary -> the UNet's and the text encoder's."""
    unet = {name.removeprefix("unet."): t for name, t in weights.items() if name.startswith("unet.")}
    text = {
        name.removeprefix("text_encoder."): t
        for name, t in weights.items()
        if name.startswith("text_encoder.")
    }
    return unet, text


def full_table(table: torch.Tensor, vocabulary: Vocabulary) -> torch.Tensor:
    """The training's table of word vectors -> one row for every CLIP token."""
    return table[vocabulary.row_of().to(table.device)]


def write_model(
    target: Path,
    *,
    unet: dict[str, torch.Tensor],
    vae: dict[str, torch.Tensor],
    text_encoder: dict[str, torch.Tensor],
) -> None:
    """Write the folder; `model_index.json` last, so that a folder that has it is complete."""
    stem = "diffusion_pytorch_model.safetensors"
    _write_network(target / "unet", {"_class_name": "UNet2DConditionModel", **UNET_CONFIG}, stem, unet)
    _write_network(target / "vae", {"_class_name": "AutoencoderKL", **VAE_CONFIG}, stem, vae)
    config = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **TEXT_CONFIG}
    # transformers before 5.6 looks for the prefix, later versions read both.
    prefixed = {f"text_model.{name}": tensor for name, tensor in text_encoder.items()}
    if text_encoder[_TABLE].shape[0] != CLIP_TOKENS:
        raise ValueError(f"the table has {text_encoder[_TABLE].shape[0]} rows; CLIP has {CLIP_TOKENS} tokens")
    _write_network(target / "text_encoder", config, "model.safetensors", prefixed)
    _write_json(
        target / "scheduler" / "scheduler_config.json", {**SCHEDULER, "prediction_type": "v_prediction"}
    )
    _write_json(target / "model_index.json", MODEL_INDEX)


def _write_network(
    folder: Path, config: dict[str, Any], file_name: str, weights: dict[str, torch.Tensor]
) -> None:
    _write_json(folder / "config.json", config)
    half = {name: tensor.detach().half().cpu().contiguous() for name, tensor in weights.items()}
    # The metadata is what diffusers and transformers look for to know that torch wrote the file.
    save_file(half, str(folder / file_name), metadata={"format": "pt"})
    (folder / file_name).chmod(0o644)  # safetensors makes files that their owner alone can read


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
