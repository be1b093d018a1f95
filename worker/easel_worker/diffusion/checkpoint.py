"""A Stable Diffusion model in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.folder import load_folder
from easel_worker.diffusion.lora.adapters import Adapters
from easel_worker.diffusion.parts import ModelParts, Prediction
from easel_worker.diffusion.sigmas import ModelSigmas, model_sigmas
from easel_worker.diffusion.single_file.load import load_file_parts
from easel_worker.diffusion.size_ids import BASE_NUMBERS, REFINER_NUMBERS
from easel_worker.diffusion.text import ConditioningCache

if TYPE_CHECKING:
    from easel_worker.diffusion.taesd import TaesdDecoder, TaesdEncoder

_TAKES: dict[int, Literal["latent", "mask", "picture"]] = {0: "latent", 4: "picture", 5: "mask"}
"""What a UNet is for, by how many channels it takes beside the latent's."""


@dataclass(eq=False)
class Checkpoint:
    """One loaded model: what `txt2img` needs, on one device, in one dtype.

    `unet`, `vae` and `text_encoder` are diffusers' and transformers' modules in evaluation mode.
    `conditionings` remembers encoded prompts for as long as the model lives. `adapters` is what LoRAs put in
    its weights' place; drop it before modules are moved or taken apart. SDXL has a second text encoder with
    its own tokenizer; SDXL's refiner has only that one, as its first.
    """

    name: str
    path: Path
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    prediction_type: Prediction
    sigmas: ModelSigmas
    device: torch.device
    dtype: torch.dtype
    own_nbytes: int
    conditionings: ConditioningCache = field(default_factory=ConditioningCache)
    adapters: Adapters = field(default_factory=Adapters)
    text_encoder_2: Any = None
    tokenizer_2: Any = None
    encoder: TaesdEncoder | None = None
    """Encodes pictures in the VAE's place."""
    decoder: TaesdDecoder | None = None
    """Decodes latents in the VAE's place."""

    @property
    def nbytes(self) -> int:
        """Bytes of its weights, and of those that networks have made to stand in for some of them."""
        return self.own_nbytes + self.adapters.nbytes

    @property
    def modules(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        parts = (self.unet, self.vae, self.text_encoder, self.text_encoder_2)
        return tuple(module for module in parts if module is not None)

    def to(self, device: torch.device) -> None:
        """Move all weights, in place. Remembered encodings and what networks made stay behind and are
        forgotten."""
        self.adapters.drop()
        for module in self.modules:
            module.to(device)
        self.conditionings.clear()
        self.device = device

    @property
    def takes(self) -> Literal["latent", "mask", "picture"]:
        """What the UNet sees at each step: the latent alone, or beside it a mask and the picture without what
        it hides (an inpainting checkpoint), or a picture (InstructPix2Pix)."""
        channels = int(self.unet.config.in_channels) - int(self.vae.config.latent_channels)
        return _TAKES[channels]

    def shares_latents_with(self, other: Checkpoint) -> bool:
        """Whether the other's UNet can go on from this one's latents."""
        return (self.scaling_factor, self.vae.config.latent_channels) == (
            other.scaling_factor,
            other.vae.config.latent_channels,
        )

    @property
    def size_numbers(self) -> int:
        """How many numbers about the picture the UNet is told: 6 for SDXL, 5 for its refiner, else 0."""
        return _size_numbers(self.unet, self.text_encoder_2 or self.text_encoder)

    @property
    def scaling_factor(self) -> float:
        """What the VAE's latents are multiplied with before the UNet sees them; 0.18215 for SD 1.x."""
        return float(self.vae.config.scaling_factor)


def load_checkpoint(
    path: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    allow_pickle: bool = False,
    own_vae: bool = False,
) -> Checkpoint:
    """Load a model: a diffusers folder, or a single file in LDM's format.

    Its name is the folder's, or the file's without suffix. Weights are converted to `dtype` and put on
    `device`; nothing is downloaded. allow_pickle: files that are no safetensors are read too, with torch's
    restricted reader. own_vae: a VAE that lies beside a single file is taken only where it has none itself.

    Raises:
        CheckpointError: for everything that is wrong with the folder or file.
    """
    if path.is_dir():
        parts, name = load_folder(path, device=device, dtype=dtype), path.name
    elif path.is_file():
        parts = load_file_parts(path, device=device, dtype=dtype, allow_pickle=allow_pickle, own_vae=own_vae)
        name = path.stem
    else:
        raise CheckpointError(f"{path} does not exist: expected a model file or a diffusers model folder")
    _check_fit(path, parts)
    for module in parts.modules:
        module.eval().requires_grad_(False)
    return Checkpoint(
        name=name,
        path=path,
        unet=parts.unet,
        vae=parts.vae,
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        prediction_type=parts.prediction_type,
        sigmas=model_sigmas(parts.scheduler),
        device=device,
        dtype=dtype,
        own_nbytes=sum(_nbytes(module) for module in parts.modules),
        text_encoder_2=parts.text_encoder_2,
        tokenizer_2=parts.tokenizer_2,
    )


def _check_fit(path: Path, parts: ModelParts) -> None:
    unet, encoders = parts.unet, parts.text_encoders
    width, wanted = sum(encoder.config.hidden_size for encoder in encoders), unet.config.cross_attention_dim
    if width != wanted:
        raise CheckpointError(
            f"{path}: the UNet attends to {wanted} features, the text encoder gives {width}"
        )
    latents = parts.vae.config.latent_channels
    if unet.config.in_channels - latents not in _TAKES:
        known = ", ".join(f"{latents + more} ({takes})" for more, takes in _TAKES.items())
        raise CheckpointError(
            f"{path}: the UNet takes {unet.config.in_channels} channels, the VAE's latents have {latents};"
            f" expected {known}"
        )
    for tokenizer, encoder in zip(parts.tokenizers, encoders, strict=True):
        words, known_words = len(tokenizer), encoder.config.vocab_size
        if words > known_words:
            raise CheckpointError(
                f"{path}: the tokenizer has {words} tokens, the text encoder knows {known_words}"
            )
    pooled = hasattr(encoders[-1], "text_projection")
    if unet.config.addition_embed_type not in (None, "text_time"):
        raise CheckpointError(f"{path}: addition_embed_type {unet.config.addition_embed_type!r} is unknown")
    if pooled != (unet.config.addition_embed_type == "text_time"):
        raise CheckpointError(f"{path}: a pooled text goes with an SDXL UNet, and neither without the other")
    if pooled and _size_numbers(unet, encoders[-1]) not in (BASE_NUMBERS, REFINER_NUMBERS):
        raise CheckpointError(
            f"{path}: the UNet's projection_class_embeddings_input_dim leaves room for"
            f" {_size_numbers(unet, encoders[-1])} numbers beside the pooled text;"
            " expected 6 (SDXL) or 5 (its refiner)"
        )


def _size_numbers(unet: Any, last_encoder: Any) -> int:
    config = unet.config
    if config.addition_embed_type != "text_time":
        return 0
    pooled = int(last_encoder.config.projection_dim)
    return (int(config.projection_class_embeddings_input_dim) - pooled) // int(config.addition_time_embed_dim)


def _nbytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
