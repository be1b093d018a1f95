"""The finished model as its companions are trained on it: frozen, and with plain attention."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from easel_shapes.recipe.networks import build_text_encoder, build_unet, build_vae
from easel_worker.diffusion.libraries import load_file
from easel_worker.diffusion.tokenizer import clip_tokenizer


@dataclass(frozen=True)
class Base:
    """The model's networks in float32; none of their weights wants a gradient."""

    unet: Any
    vae: Any
    text_encoder: Any

    def tokens(self, captions: list[str]) -> torch.Tensor:
        """(len(captions), 77) int64: begin, the words, end, padding."""
        ids = clip_tokenizer()(captions, padding="max_length", truncation=True).input_ids
        return torch.tensor(ids, device=self.text_encoder.device)

    def read(self, captions: list[str]) -> torch.Tensor:
        """The text encoder's states of the captions: (n, 77, width)."""
        states: torch.Tensor = self.text_encoder(self.tokens(captions)).last_hidden_state
        return states


def load_base(model: Path, device: torch.device) -> Base:
    """The networks of the diffusers folder `model`, made by this recipe."""
    unet, vae, text_encoder = build_unet(training=True), build_vae(), build_text_encoder()
    unet.load_state_dict(_weights(model / "unet" / "diffusion_pytorch_model.safetensors"))
    vae.load_state_dict(_weights(model / "vae" / "diffusion_pytorch_model.safetensors"))
    text = _weights(model / "text_encoder" / "model.safetensors")
    text_encoder.load_state_dict({name.removeprefix("text_model."): tensor for name, tensor in text.items()})
    for network in (unet, vae, text_encoder):
        network.requires_grad_(False).eval().to(device)
    unet.to(memory_format=torch.channels_last)
    return Base(unet, vae, text_encoder)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor.float() for name, tensor in load_file(str(path)).items()}
