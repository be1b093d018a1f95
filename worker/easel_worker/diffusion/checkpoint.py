"""A Stable Diffusion model in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import torch

from easel_worker.diffusion.errors import CheckpointError
from easel_worker.diffusion.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    UNet2DConditionModel,
)
from easel_worker.diffusion.sigmas import ModelSigmas, model_sigmas
from easel_worker.diffusion.text import ConditioningCache
from easel_worker.diffusion.tokenizer import load_tokenizer
from easel_worker.diffusion.weights import keep_name, load_weights, read_config, rename_clip, rename_vae

Prediction = Literal["epsilon", "v_prediction"]


_TAKES: dict[int, Literal["latent", "mask", "picture"]] = {0: "latent", 4: "picture", 5: "mask"}
"""What a UNet is for, by how many channels it takes beside the latent's."""


@dataclass(eq=False)
class Checkpoint:
    """One loaded model: what `txt2img` needs, on one device, in one dtype.

    `unet`, `vae` and `text_encoder` are diffusers' and transformers' modules in evaluation mode.
    `conditionings` remembers encoded prompts for as long as the model lives. SDXL has a second text encoder
    with its own tokenizer.
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
    nbytes: int
    conditionings: ConditioningCache = field(default_factory=ConditioningCache)
    text_encoder_2: Any = None
    tokenizer_2: Any = None

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
    def scaling_factor(self) -> float:
        """What the VAE's latents are multiplied with before the UNet sees them; 0.18215 for SD 1.x."""
        return float(self.vae.config.scaling_factor)


def load_checkpoint(path: Path, *, device: torch.device, dtype: torch.dtype) -> Checkpoint:
    """Load a diffusers folder: unet/, vae/, text_encoder/, scheduler/; tokenizer/ unless it is CLIP's own.

    Weights are read from safetensors only, converted to `dtype` and put on `device`; nothing is downloaded.
    The checkpoint's name is the folder's. Raises `CheckpointError` for everything that is wrong with the
    folder.
    """
    if path.is_file():
        raise CheckpointError(
            f"{path} is a file: expected a diffusers model folder with unet/, vae/, text_encoder/"
        )
    if not path.is_dir():
        raise CheckpointError(f"{path} does not exist: expected a diffusers model folder")
    scheduler = read_config(path / "scheduler" / "scheduler_config.json")
    sigmas = model_sigmas(scheduler)
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(f"{path}: prediction_type {prediction!r} is unknown: epsilon or v_prediction")

    unet = _build(UNet2DConditionModel.from_config, path / "unet")
    load_weights(unet, path / "unet", "diffusion_pytorch_model", keep_name, dtype=dtype, device=device)
    vae = _build(AutoencoderKL.from_config, path / "vae")
    load_weights(vae, path / "vae", "diffusion_pytorch_model", rename_vae, dtype=dtype, device=device)
    text_encoder = _build(_text_encoder, path / "text_encoder")
    load_weights(text_encoder, path / "text_encoder", "model", rename_clip, dtype=dtype, device=device)
    _fill_position_ids(text_encoder, device)
    tokenizer = load_tokenizer(path / "tokenizer")
    _check_fit(path, unet, vae, text_encoder, tokenizer)

    modules = (unet, vae, text_encoder)
    for module in modules:
        module.eval().requires_grad_(False)
    for module in (unet, vae):
        # Convolutions are the bulk of the work, and both cuDNN and oneDNN prefer channels last.
        module.to(memory_format=torch.channels_last)
    return Checkpoint(
        name=path.name,
        path=path,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        prediction_type=cast(Prediction, prediction),
        sigmas=sigmas,
        device=device,
        dtype=dtype,
        nbytes=sum(_nbytes(module) for module in modules),
    )


def _build(make: Any, folder: Path) -> Any:
    """The module that config.json describes, without memory for its weights yet."""
    config = read_config(folder / "config.json")
    try:
        with torch.device("meta"):
            return make(config)
    except Exception as error:  # the libraries raise anything for a configuration they cannot follow
        raise CheckpointError(
            f"{folder / 'config.json'} describes no model that we can build: {error}"
        ) from error


def _text_encoder(config: dict[str, Any]) -> Any:
    return CLIPTextModel(CLIPTextConfig.from_dict(config))


def _fill_position_ids(text_encoder: Any, device: torch.device) -> None:
    """The one buffer that no file stores (0, 1, 2, ...) and that the meta device left empty."""
    embeddings = text_encoder.embeddings
    count = embeddings.position_embedding.num_embeddings
    embeddings.position_ids = torch.arange(count, device=device).expand((1, -1))


def _check_fit(path: Path, unet: Any, vae: Any, text_encoder: Any, tokenizer: Any) -> None:
    width, wanted = text_encoder.config.hidden_size, unet.config.cross_attention_dim
    if width != wanted:
        raise CheckpointError(
            f"{path}: the UNet attends to {wanted} features, the text encoder gives {width}"
        )
    latents = vae.config.latent_channels
    if unet.config.in_channels - latents not in _TAKES:
        known = ", ".join(f"{latents + more} ({takes})" for more, takes in _TAKES.items())
        raise CheckpointError(
            f"{path}: the UNet takes {unet.config.in_channels} channels, the VAE's latents have {latents};"
            f" expected {known}"
        )
    words, known = len(tokenizer), text_encoder.config.vocab_size
    if words > known:
        raise CheckpointError(f"{path}: the tokenizer has {words} tokens, the text encoder knows {known}")


def _nbytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
