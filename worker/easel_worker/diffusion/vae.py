"""VAEs in files of their own, which stand in for a checkpoint's.

Read are LDM's names (with or without ``first_stage_model.``), diffusers' names in one file, and diffusers'
folders. What a VAE's weights do not tell is the factor of its latents (0.18215 for SD 1.x and 2.x, 0.13025
for SDXL, whose VAE has the same shapes): a folder's config.json and a ModelSpec header do, other files take
the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from easel_worker.diffusion.checkpoint import Checkpoint
from easel_worker.diffusion.encode import LATENT_FACTOR
from easel_worker.diffusion.errors import CheckpointError, JobError
from easel_worker.diffusion.parts import build_vae
from easel_worker.diffusion.single_file.families import SD1, SDXL, UNET, VAE
from easel_worker.diffusion.single_file.fill import Target, fill
from easel_worker.diffusion.single_file.ldm_vae import autoencoder_config, ldm_vae, vae_prefix
from easel_worker.diffusion.single_file.stored import Shapes, Source, StoredWeights, open_weights
from easel_worker.diffusion.weights import load_weights, read_config, rename_vae

_WEIGHTS = "diffusion_pytorch_model"
_ARCHITECTURE = "modelspec.architecture"


@dataclass(eq=False)
class Vae:
    """One loaded VAE. module: diffusers' AutoencoderKL in evaluation mode, whose configuration has the
    scaling factor that it was loaded for."""

    name: str
    module: Any
    nbytes: int

    def to(self, device: torch.device) -> None:
        """Move its weights, in place."""
        self.module.to(device)


def load_vae(
    path: Path,
    *,
    scaling_factor: float,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool = False,
) -> Vae:
    """Load a VAE for checkpoints whose latents are multiplied with `scaling_factor`.

    Floating-point weights become `dtype`. allow_pickle: files that are no safetensors are read too, with
    torch's restricted reader.

    Raises:
        CheckpointError: it is no VAE, or a broken one; names the file.
        JobError: it says that it is one for another factor.
    """
    target = Target(device, dtype)
    if path.is_dir():
        module = _from_folder(path, scaling_factor, target)
    else:
        with open_weights(path, device, allow_pickle=allow_pickle) as stored:
            try:
                module = _from_file(path, stored, scaling_factor, target)
            except CheckpointError as error:
                raise CheckpointError(f"{path}: {error}") from error
    factor = 2 ** (len(module.config.block_out_channels) - 1)
    if factor != LATENT_FACTOR:
        raise CheckpointError(
            f"{path}: a place of its latents is {factor} pixels wide, {LATENT_FACTOR} are supported"
        )
    module.eval().requires_grad_(False)
    nbytes = sum(tensor.nbytes for tensor in module.state_dict().values())
    return Vae(path.name, module, nbytes)


def with_vae(checkpoint: Checkpoint, vae: Vae) -> Checkpoint:
    """The checkpoint with another VAE. All else is shared with it, encoded prompts included.

    Raises:
        JobError: the VAE's latents have another number of channels.
    """
    theirs, ours = vae.module.config.latent_channels, checkpoint.vae.config.latent_channels
    if theirs != ours:
        raise JobError(
            f"sd_vae: the latents of {vae.name} have {theirs} channels, those of {checkpoint.name} {ours}: it"
            " belongs to another family of models"
        )
    return replace(checkpoint, vae=vae.module)


def _from_folder(path: Path, scaling_factor: float, target: Target) -> Any:
    config = read_config(path / "config.json")
    _check_factor(path, config.get("scaling_factor"), scaling_factor)
    module = build_vae({**config, "scaling_factor": scaling_factor}, str(path / "config.json"))
    load_weights(module, path, _WEIGHTS, rename_vae, dtype=target.dtype, device=target.device)
    return module


def _from_file(path: Path, stored: StoredWeights, scaling_factor: float, target: Target) -> Any:
    shapes = stored.shapes
    if any(name.startswith(UNET) for name in shapes):
        raise CheckpointError("this is a checkpoint, not a VAE: it belongs into models/Stable-diffusion")
    _check_factor(path, _factor_of(stored.metadata), scaling_factor)
    told = stored.told().get("vae", {})
    if any(name.startswith("encoder.down_blocks.") for name in shapes):
        module = build_vae(_config(shapes, scaling_factor, told), "its VAE")
        sources = {rename_vae(name): Source(name) for name in shapes}
        fill(module, sources, "", stored, target)
        return module
    prefix = vae_prefix(stored)
    if f"{prefix}decoder.conv_in.weight" not in shapes:
        raise CheckpointError(
            f"no weight is named decoder.conv_in.weight, with or without {VAE}: it is no VAE"
        )
    return ldm_vae(stored, prefix, scaling_factor, told, target)


def _config(shapes: Shapes, scaling_factor: float, told: Mapping[str, int]) -> dict[str, Any]:
    """diffusers' configuration of an autoencoder in diffusers' names."""
    config = autoencoder_config(
        shapes, "encoder.down_blocks.{level}.resnets.{layer}.conv1.weight", ("decoder.conv_in.weight", 1)
    )
    if config is None:
        raise CheckpointError("its weights make no VAE")
    own = {
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "scaling_factor": scaling_factor,
    }
    return config | own | dict(told)


def _factor_of(metadata: Mapping[str, str]) -> float | None:
    """What a ModelSpec header (Stability-AI/ModelSpec) tells of the family."""
    architecture = metadata.get(_ARCHITECTURE, "").lower()
    if architecture.startswith("stable-diffusion-xl"):
        return SDXL.scaling_factor
    return (
        SD1.scaling_factor
        if architecture.startswith(("stable-diffusion-v1", "stable-diffusion-v2"))
        else None
    )


def _check_factor(path: Path, told: object, wanted: float) -> None:
    if isinstance(told, int | float) and abs(told - wanted) > 1e-6:
        raise JobError(
            f"sd_vae: {path.name} is made for latents times {told:g}, the checkpoint's are times {wanted:g}"
            f" ({SD1.scaling_factor:g} is SD 1.x and 2.x, {SDXL.scaling_factor:g} SDXL)"
        )
