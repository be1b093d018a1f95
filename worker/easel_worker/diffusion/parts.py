"""What a checkpoint is made of, whatever it is read from, and how its modules are built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from easel_worker.diffusion.libraries import (
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    UNet2DConditionModel,
)
from easel_worker.diffusion.skeletons import build, build_on_meta

Prediction = Literal["epsilon", "v_prediction"]
"""What the UNet predicts: the noise, or the velocity (Salimans & Ho 2022)."""


@dataclass(eq=False)
class ModelParts:
    """The modules of a checkpoint with their weights. scheduler: as in diffusers' scheduler_config.json."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Mapping[str, Any]
    prediction_type: Prediction
    text_encoder_2: Any = None
    tokenizer_2: Any = None

    @property
    def text_encoders(self) -> tuple[Any, ...]:
        return (
            (self.text_encoder,) if self.text_encoder_2 is None else (self.text_encoder, self.text_encoder_2)
        )

    @property
    def tokenizers(self) -> tuple[Any, ...]:
        return (self.tokenizer,) if self.text_encoder_2 is None else (self.tokenizer, self.tokenizer_2)

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.unet, self.vae, *self.text_encoders)


def build_unet(config: Mapping[str, Any], where: str) -> Any:
    """A UNet on torch's meta device. Raises `CheckpointError`, which begins with `where`, for a configuration
    that none can be built from; so do the others."""
    return build(UNet2DConditionModel, config, where)


def build_vae(config: Mapping[str, Any], where: str) -> Any:
    """An autoencoder on torch's meta device."""
    return build(AutoencoderKL, config, where)


def is_projected(config: Mapping[str, Any]) -> bool:
    """Whether a text encoder's configuration is of one that gives a pooled vector."""
    return "CLIPTextModelWithProjection" in (config.get("architectures") or ())


def build_text_encoder(config: Mapping[str, Any], where: str) -> Any:
    """A text encoder on torch's meta device, with a projection where its configuration names that class."""
    kind = CLIPTextModelWithProjection if is_projected(config) else CLIPTextModel
    return build_on_meta(lambda: kind(CLIPTextConfig.from_dict(dict(config))), where)


def fill_position_ids(text_encoder: Any, device: torch.device) -> None:
    """The one buffer that no file stores (0, 1, 2, ...) and that the meta device left empty."""
    inner = getattr(text_encoder, "text_model", text_encoder)
    count = inner.embeddings.position_embedding.num_embeddings
    inner.embeddings.position_ids = torch.arange(count, device=device).expand((1, -1))
