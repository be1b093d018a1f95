"""The small models of every family in memory, each loaded once for all tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from easel_worker.diffusion.checkpoint import Checkpoint, load_checkpoint

from .small_models import KINDS, write_file, write_folder


@cache
def small_checkpoint(name: str) -> Checkpoint:
    """A model of `small_models.KINDS`, in float32. Tests leave it as it was."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        path = write_file(KINDS[name], write_folder(KINDS[name], place / name), place / f"{name}.safetensors")
        return load_checkpoint(path, device=torch.device("cpu"), dtype=torch.float32)


def unet_output(checkpoint: Checkpoint) -> torch.Tensor:
    """What the UNet answers to one fixed question."""
    generator = torch.Generator().manual_seed(5)
    config = checkpoint.unet.config
    latent = torch.randn(2, config.in_channels, 8, 8, generator=generator)
    context = torch.randn(2, 77, config.cross_attention_dim, generator=generator)
    more = {}
    if checkpoint.size_numbers:
        pooled = (checkpoint.text_encoder_2 or checkpoint.text_encoder).config.projection_dim
        more["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, pooled, generator=generator),
            "time_ids": torch.full((2, checkpoint.size_numbers), 64.0),
        }
    with torch.inference_mode():
        out: torch.Tensor = checkpoint.unet(
            latent.to(checkpoint.dtype), 500, context.to(checkpoint.dtype), return_dict=False, **more
        )[0]
    return out


def weights_of(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """All weights that networks can change, by path; the tensors themselves, no copies."""
    parts = {
        "unet": checkpoint.unet,
        "te1": checkpoint.text_encoder,
        "te2": checkpoint.text_encoder_2,
    }
    return {
        f"{part}.{name}": parameter.detach()
        for part, module in parts.items()
        if module is not None
        for name, parameter in module.named_parameters()
    }
